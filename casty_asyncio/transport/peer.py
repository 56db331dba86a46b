"""One peer: the driver of its link, its connections, and the frames between them and the conversation.

The connection for data carries the session. A node that can be dialled itself has a connection for control beside it,
on which nothing ever waits behind data: signs of life go there. An outside client has one connection for everything.

Nothing is written to a connection that its peer does not read, beyond what is limited: frames of the session wait in
the session, of acknowledgements only the last one counts, and of many questions for a sign one is answered.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Protocol, assert_never

from casty_proto.address import NodeAddress
from casty_proto.link import (
    COUNTED,
    Accepted,
    Ack,
    Attached,
    Broken,
    Busy,
    Bye,
    Closed,
    Dial,
    Dialed,
    DialFailed,
    Drop,
    Entry,
    Farewell,
    Idle,
    Interest,
    Link,
    LinkEffect,
    LinkEvent,
    LinkLost,
    Ping,
    PingFrame,
    Pong,
    Refreshed,
    Resume,
    Resumed,
    SayBusy,
    SayFresh,
    SayResumed,
    Superseded,
    Wanted,
    Write,
    unpacked,
)
from casty_proto.machine import Instant, Note, Wake
from casty_proto.wire import Established, Kind, Malformed, Node

from ..errors import WrongThreadError
from .connection import HIGH_WATER, SILENT, Connection
from .dialing import DialError, NotWelcome, dial

if TYPE_CHECKING:
    from .transport import Transport


class Conversation(Protocol):
    """What is said over a link."""

    def handle(self, body: bytes, number: int) -> None:
        """A frame of the session has come, the `number`-th. Raises `Malformed` for what can be none."""
        ...

    def lost(self, text: str, for_good: bool, left: tuple[Entry, ...]) -> None:
        """The session is over, and the next one begins."""
        ...

    def has_room(self) -> None:
        """Enough was acknowledged that those may go on who wait to send more."""
        ...

    @property
    def is_needed(self) -> bool:
        """Whether somebody, here or there, relies on it."""
        ...


_GREETING_MAX = 4
"""How many connections of one peer may wait for their `Resume`."""


class Peer:
    """Drives a link. Its frames go through `link.session`; call `flush_soon` after a push."""

    def __init__(self, transport: Transport, node: Node) -> None:
        self.node = node
        self.transport = transport
        self.dial_at = NodeAddress.parse(node.address) if node.address else None
        """Where it was reached before, or else says that it can be."""
        self.proven = False
        """Whether a handshake was made with it, and it is not known by hearsay alone."""
        self.link = Link(
            transport.own,
            node,
            transport.link_options,
            Random(transport.rng.getrandbits(64)),
            can_dial=self.dial_at is not None,
            keeps=not transport.own.address,
        )
        self.flushing = False
        """Whether what waits will be written soon."""
        self._loop = transport.loop
        self._thread = threading.get_ident()
        self._control: Connection | None = None
        """Dialled here."""
        self._dialing_control = False
        self._their_control: Connection | None = None
        """Dialled there."""
        self._machine = str(self.dial_at)
        """Where the last connection led, for complaints."""
        self._greeting: dict[Connection, None] = {}
        """Dialled by the peer, and waiting for its `Resume`."""
        self._ping_to_answer: int | None = None
        self._silent: tuple[Connection, Instant, int] | None = None
        """The attached connection, since when nothing has come over it, and how much it had passed on by then."""
        self._late_ack: Ack | None = None
        """What is to be acknowledged once the attached connection has room."""
        self._drained: list[asyncio.Future[None]] = []
        self._effects: deque[LinkEffect] = deque()
        self._performing = False
        self.conversation = transport.converse(self)

    def __repr__(self) -> str:
        return f"Peer({self.node})"

    @property
    def is_forgettable(self) -> bool:
        """Whether nothing would be lost without it."""
        link = self.link
        if link.gone is not None:
            return True
        is_open = link.attached is not None or self._their_control is not None or self._greeting or self.flushing
        return not is_open and link.deadline() is None and not link.is_used and not self.conversation.is_needed

    @property
    def worth(self) -> int:
        """How much would be lost without it, if it is forgettable: who comes back goes on where the session was."""
        if self.link.gone is not None:
            return 0
        return 2 if self.link.session.received else 1

    # -- the machine ---------------------------------------------------------------------------------------------------

    def feed(self, event: LinkEvent) -> None:
        """Give one event to the link and carry out its effects; those of an event that they lead to come after them."""
        queue = self._effects
        queue.extend(self.link.handle(event, self.transport.clock.now()))
        if self._performing:
            return
        self._performing = True
        try:
            while queue:
                self._carry_out(queue.popleft())
        finally:
            self._performing = False
        self._arm()

    def _arm(self) -> None:
        deadline = self.link.deadline()
        if deadline is None:
            self.transport.clock.cancel(self)
        else:
            self.transport.clock.set_at(self, deadline)

    def on_due(self, now: Instant) -> None:
        """The link's deadline has come."""
        self.feed(Wake())

    def _carry_out(self, effect: LinkEffect) -> None:
        match effect:
            case Dial():
                self._dial()
            case Write(connection, frame):
                assert isinstance(connection, Connection)
                if isinstance(frame, Ack):
                    self._say_ack(connection, frame)
                else:
                    connection.say(frame)
            case Attached():
                self._on_attached()
            case Drop(connection, text):
                assert isinstance(connection, Connection)
                self._greeting.pop(connection, None)
                connection.close()
                if self.link.attached is None:
                    self._drop_control()
            case Ping(number):
                self._ping(number)
            case LinkLost(text, for_good, left):
                self._on_lost(text, for_good, left)
            case Note(severity, text):
                self.transport.complain(self._machine, f"link, {severity.name}", text)
            case _:
                assert_never(effect)

    # -- connections ---------------------------------------------------------------------------------------------------

    def _dial(self) -> None:
        assert self.dial_at is not None
        self.transport.spawn(self._dial_data(self.dial_at), f"casty-dial {self.dial_at}")

    async def _dial_data(self, address: NodeAddress) -> None:
        try:
            connection, established = await dial(self.transport, address, self.transport.kind)
        except DialError as error:
            self.transport.log.debug("%s: %s", self.node, error)
            self.feed(DialFailed(str(error), error.refused))
            if self.transport.closing:
                self._release()  # There will be no other attempt.
            return
        try:
            found = self.transport.peer(established.peer, proven=True)
        except NotWelcome as error:
            connection.close()
            self.feed(Superseded(str(error)))
            return
        if found is not self:
            self.feed(Superseded(f"another process, {established.peer}, is at its address"))
        found.dialed(connection)

    def dialed(self, connection: Connection) -> None:
        """A connection to this peer was dialled, for whichever reason."""
        self._machine = connection.machine
        connection.give_to(self)
        self.feed(Dialed(connection))

    def accept(self, connection: Connection, established: Established) -> None:
        """The peer has dialled."""
        if self.link.gone is not None:
            # It does not know that yet.
            connection.say(Bye(self.link.gone))
            connection.close()
            return
        self._machine = connection.machine
        connection.give_to(self)
        if established.kind is Kind.CONTROL:
            before, self._their_control = self._their_control, connection
            connection.must_speak_within(self.transport.options.idle_after)
            if before is not None:
                before.close()
            return
        if len(self._greeting) == _GREETING_MAX:
            self._close_greeting(next(iter(self._greeting)))
        self._greeting[connection] = None
        connection.must_speak_within(self.transport.options.connect_timeout)

    def _close_greeting(self, connection: Connection) -> None:
        del self._greeting[connection]
        connection.close()

    def closed(self, connection: Connection, text: str) -> None:
        """A connection is gone."""
        if connection in self._greeting:
            del self._greeting[connection]
            if text is SILENT:
                self.transport.complain(
                    connection.machine, "silent", f"{self.node} at {connection.peer} was cut off: {text}"
                )
        self._forget_control(connection)
        self.feed(Closed(connection, text))

    def _forget_control(self, connection: Connection) -> None:
        if connection is self._control:
            self._control = None
        if connection is self._their_control:
            self._their_control = None

    def writable(self, connection: Connection) -> None:
        """There is room again."""
        if connection is not self.link.attached:
            return
        late, self._late_ack = self._late_ack, None
        if late is not None:
            connection.say(late)
        self._flush()

    def received(self, connection: Connection, bodies: list[bytes]) -> None:
        """Frames have come."""
        link = self.link
        session = link.session
        counted = 0
        handle = self.conversation.handle
        try:
            for body in bodies:
                if body[0] < COUNTED:
                    self._on_link_frame(connection, unpacked(body))
                    session = link.session
                elif connection is link.attached:
                    session.received += 1
                    counted += 1
                    handle(body, session.received)
                elif connection.sink is None:
                    return  # It was closed because of what came before.
                else:
                    raise Malformed("a frame of a session came before the session")
        except Malformed as error:
            self._on_malformed(connection, str(error))
            return
        if connection is link.attached:
            self._silent = None
        if self._ping_to_answer is not None:
            self._answer_ping(connection)
        if connection is self._their_control:
            connection.must_speak_within(self.transport.options.idle_after)
        acknowledgement = link.heard(self.transport.clock.now(), counted)
        if acknowledgement is not None:
            self._acknowledge(connection, acknowledgement)
        elif counted:
            self._arm()

    def _answer_ping(self, connection: Connection) -> None:
        """Only the last of those that came together, and not faster than the answers are read."""
        number, self._ping_to_answer = self._ping_to_answer, None
        if number is not None and connection.writable:
            connection.say(Pong(number))

    def _acknowledge(self, connection: Connection, acknowledgement: Ack) -> None:
        # What was refused of these frames is to be known before they are forgotten.
        if self.flushing:
            self._flush()
        self._say_ack(connection, acknowledgement)

    def _say_ack(self, connection: Connection, acknowledgement: Ack) -> None:
        if connection.writable:
            connection.say(acknowledgement)
        else:
            self._late_ack = acknowledgement

    def break_off(self, text: str) -> None:
        """End the session, because of what the peer does or does not do."""
        self.transport.complain(self._machine, "broken off", f"{self.node} is cut off: {text}")
        self.feed(Broken(text))

    def broken(self, connection: Connection, text: str) -> None:
        """What comes on a connection cannot be cut into frames any more."""
        self._on_malformed(connection, text)

    def _on_malformed(self, connection: Connection, text: str) -> None:
        self._ping_to_answer = None
        self.transport.complain(connection.machine, "frames", f"{self.node} at {connection.peer} is cut off: {text}")
        if connection is self.link.attached:
            self.feed(Broken(f"it sent what makes no sense: {text}"))
        connection.fail(text)

    def _on_link_frame(self, connection: Connection, frame: object) -> None:
        match frame:
            case Resume(session, received, insists) if connection in self._greeting:
                del self._greeting[connection]
                connection.must_speak_within(None)
                self.feed(Accepted(connection, session, received, insists))
            case SayResumed(session, received):
                self.feed(Resumed(connection, session, received))
            case SayFresh(session):
                self.feed(Refreshed(connection, session))
            case SayBusy():
                self.feed(Busy(connection))
            case Ack(received) if connection is self.link.attached:
                self._on_ack(received)
            case PingFrame(number):
                self._ping_to_answer = number
            case Pong():
                pass  # That something was heard is all that counts.
            case Idle():
                connection.close()
                self._forget_control(connection)
                self.feed(Closed(connection, "the peer needs it no longer", idle=True))
            case Bye(text):
                self.feed(Farewell(connection, text))
            case _:
                raise Malformed(f"a {type(frame).__name__} came out of turn")

    # -- the session ---------------------------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Write what waits in this turn of the loop, or see to it that there will be a connection for it."""
        if threading.get_ident() != self._thread:
            raise WrongThreadError(
                f"a message to {self.node} was sent from another thread; use system.threadsafe there"
            )
        self.flushing = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self.flushing = False
        link = self.link
        connection = link.attached
        if connection is None:
            self.feed(Wanted())
            return
        assert isinstance(connection, Connection)
        session = link.session
        while session.has_waiting and connection.writable:
            connection.write(b"".join(session.take(HIGH_WATER)))

    def _on_ack(self, received: int) -> None:
        session = self.link.session
        if not session.acknowledge(received):
            raise Malformed(f"{received} frames were acknowledged, which cannot be")
        self._let_go_on()

    def _let_go_on(self) -> None:
        """The peer has received more than before: those who wait for that may go on."""
        session = self.link.session
        if self._drained and not len(session):
            self._release()
        if session.has_room:
            self.conversation.has_room()

    def _on_attached(self) -> None:
        self._late_ack = None
        self._let_go_on()  # A connection begins with an acknowledgement.
        if not self.flushing:
            self._flush()

    def _on_lost(self, text: str, for_good: bool, left: tuple[Entry, ...]) -> None:
        self._release()
        if for_good:
            self._drop_control()
            if self._their_control is not None:
                self._their_control.close()
                self._their_control = None
            for connection in list(self._greeting):
                self._close_greeting(connection)
        self.conversation.lost(text, for_good, left)

    def set_interest(self, wanted: bool) -> None:
        """Whether the peer's end would matter to somebody."""
        self.feed(Interest(wanted))

    def supersede(self, text: str) -> None:
        """Another process has taken the peer's place. If it lives, it is to know."""
        self.say_farewell(text)
        self.feed(Superseded(text))

    # -- control -------------------------------------------------------------------------------------------------------

    def _ping(self, number: int) -> None:
        attached = self.link.attached
        assert isinstance(attached, Connection)
        if self._is_half_open(attached):
            attached.abort()
            self.feed(Closed(attached, "nothing came or went over it, although the peer gives signs of life"))
            return
        if attached.writable:
            # Also where there is a connection for control: what lies between forgets a connection that is not used.
            attached.say(PingFrame(number))
        if self._control is not None:
            self._control.say(PingFrame(number))
        elif self.transport.own.address and self.dial_at is not None and not self._dialing_control:
            self._dialing_control = True
            self.transport.spawn(self._dial_control(self.dial_at, number), f"casty-control {self.dial_at}")

    def _is_half_open(self, attached: Connection) -> bool:
        """Whether the connection for data is of no use, while the one for control gives the signs that the link wants.

        What is long on its way does not count as silence, as long as some of it is passed on.
        """
        now, passed_on = self.transport.clock.now(), attached.passed_on
        silent = self._silent
        if silent is None or silent[0] is not attached or (passed_on > silent[2] and not attached.writable):
            self._silent = attached, now, passed_on
            return False
        return now - silent[1] >= self.transport.link_options.mute_after_ns

    async def _dial_control(self, address: NodeAddress, number: int) -> None:
        try:
            connection, established = await dial(self.transport, address, Kind.CONTROL)
        except DialError as error:
            self.transport.log.debug("%s: no connection for control: %s", self.node, error)
            return
        finally:
            self._dialing_control = False
        same = (established.peer.node_id, established.peer.generation) == (self.node.node_id, self.node.generation)
        if not same or self.link.attached is None or self._control is not None:
            connection.close()
            return
        connection.give_to(self)
        self._control = connection
        connection.say(PingFrame(number))

    def _drop_control(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            control.close()

    # -- the end -------------------------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until the peer has acknowledged everything, or the link is lost."""
        if not len(self.link.session):
            return
        waiter = self._loop.create_future()
        self._drained.append(waiter)
        await waiter

    def _release(self) -> None:
        waiting, self._drained = self._drained, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def close(self, text: str) -> None:
        """This node ends: say farewell."""
        self.say_farewell(text)
        self._drop_control()

    def say_farewell(self, text: str) -> None:
        """Tell the peer that nothing more comes."""
        attached = self.link.attached
        if isinstance(attached, Connection):
            # What has come must not be taken for lost there.
            acknowledgement = self.link.acknowledgement()
            if acknowledgement is not None:
                attached.say(acknowledgement)
            attached.say(Bye(text))

    def end(self, text: str) -> None:
        """This node ends: report what the peer has not acknowledged."""
        self.feed(Superseded(text))
        self.transport.clock.cancel(self)
