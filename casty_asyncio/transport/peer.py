"""One peer: the driver of its link, its connections, and the frames between them and the conversation.

The connection for data carries the session. A node that can be dialled itself has a connection for control beside it,
on which nothing ever waits behind data: signs of life go there. An outside client has one connection for everything.

What comes is read here; what goes is written by `flow.py`; `control.py` looks after signs of life.
"""

from __future__ import annotations

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
    Write,
    unpacked,
)
from casty_proto.machine import Instant, Note, Wake
from casty_proto.wire import Malformed, Node

from .connection import SILENT, Connection
from .control import Control
from .flow import Flow
from .meeting import Meeting

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


class Peer:
    """Drives a link. Its frames go through `link.session` and `flow`."""

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
        self.flow = Flow(self, self.link, transport.loop)
        self.control = Control(self)
        self.meeting = Meeting(self)
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
        is_open = link.attached is not None or self.control.theirs is not None or len(self.meeting)
        if is_open or self.flow.flushing:
            return False
        return link.deadline() is None and not link.is_used and not self.conversation.is_needed

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
                self.meeting.dial()
            case Write(connection, frame):
                assert isinstance(connection, Connection)
                if isinstance(frame, Ack):
                    self.flow.say_ack(connection, frame)
                else:
                    connection.say(frame)
            case Attached():
                self.flow.on_attached()
            case Drop(connection, text):
                assert isinstance(connection, Connection)
                self.meeting.end(connection)
                connection.close()
                if self.link.attached is None:
                    self.control.drop_ours()
            case Ping(number):
                self.control.ping(number)
            case LinkLost(text, for_good, left):
                self._on_lost(text, for_good, left)
            case Note(severity, text):
                self.transport.complain(self.meeting.machine, f"link, {severity.name}", text)
            case _:
                assert_never(effect)

    # -- connections ---------------------------------------------------------------------------------------------------

    def closed(self, connection: Connection, text: str) -> None:
        """A connection is gone."""
        if self.meeting.end(connection) and text is SILENT:
            self.transport.complain(
                connection.machine, "silent", f"{self.node} at {connection.peer} was cut off: {text}"
            )
        self.control.forget(connection)
        self.feed(Closed(connection, text))

    def writable(self, connection: Connection) -> None:
        """There is room again."""
        if connection is self.link.attached:
            self.flow.on_writable(connection)

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
        self.control.heard(connection)
        # Frames about the link are short, and do not matter.
        size = sum(map(len, bodies)) if counted else 0
        acknowledgement = link.heard(self.transport.clock.now(), counted, size)
        if acknowledgement is not None:
            self.flow.acknowledge(connection, acknowledgement)
        elif counted:
            self._arm()

    def break_off(self, text: str) -> None:
        """End the session, because of what the peer does or does not do."""
        self.transport.complain(self.meeting.machine, "broken off", f"{self.node} is cut off: {text}")
        self.feed(Broken(text))

    def broken(self, connection: Connection, text: str) -> None:
        """What comes on a connection cannot be cut into frames any more."""
        self._on_malformed(connection, text)

    def _on_malformed(self, connection: Connection, text: str) -> None:
        self.control.to_answer = None
        self.transport.complain(connection.machine, "frames", f"{self.node} at {connection.peer} is cut off: {text}")
        if connection is self.link.attached:
            self.feed(Broken(f"it sent what makes no sense: {text}"))
        connection.fail(text)

    def _on_link_frame(self, connection: Connection, frame: object) -> None:
        match frame:
            case Resume(session, received, insists) if self.meeting.end(connection):
                connection.must_speak_within(None)
                self.feed(Accepted(connection, session, received, insists))
            case SayResumed(session, received):
                self.feed(Resumed(connection, session, received))
            case SayFresh(session):
                self.feed(Refreshed(connection, session))
            case SayBusy():
                self.feed(Busy(connection))
            case Ack(received) if connection is self.link.attached:
                self.flow.on_ack(received)
            case PingFrame(number):
                self.control.to_answer = number
            case Pong():
                pass  # That something was heard is all that counts.
            case Idle():
                connection.close()
                self.control.forget(connection)
                self.feed(Closed(connection, "the peer needs it no longer", idle=True))
            case Bye(text):
                self.feed(Farewell(connection, text))
            case _:
                raise Malformed(f"a {type(frame).__name__} came out of turn")

    # -- the session ---------------------------------------------------------------------------------------------------

    def _on_lost(self, text: str, for_good: bool, left: tuple[Entry, ...]) -> None:
        self.flow.release()
        if for_good:
            self.control.drop()
            self.meeting.drop()
        self.conversation.lost(text, for_good, left)

    def set_interest(self, wanted: bool) -> None:
        """Whether the peer's end would matter to somebody."""
        self.feed(Interest(wanted))

    def supersede(self, text: str) -> None:
        """Another process has taken the peer's place. If it lives, it is to know."""
        self.say_farewell(text)
        self.feed(Superseded(text))

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self, text: str) -> None:
        """This node ends: say farewell."""
        self.say_farewell(text)
        self.control.drop_ours()

    def say_farewell(self, text: str) -> None:
        """Tell the peer that nothing more comes."""
        attached = self.link.attached
        if isinstance(attached, Connection):
            # What has come must not be taken for lost there.
            acknowledgement = self.link.acknowledgement()
            if acknowledgement is not None:
                attached.say(acknowledgement)
            attached.say_last(Bye(text))

    def end(self, text: str) -> None:
        """This node ends: report what the peer has not acknowledged."""
        self.feed(Superseded(text))
        self.transport.clock.cancel(self)
