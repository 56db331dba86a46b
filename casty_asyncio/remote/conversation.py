"""What is said between two processes over their link: messages, asks and answers, lookups, and who watches whom.

Out: `tell` and its like encode a value with the codec of the session and push the frame. In: `handle` decodes each
frame that comes, whoever it is for, because what later frames mean depends on it, and passes it on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from casty_proto.actor import READY, Envelope, Reason
from casty_proto.link import Entry
from casty_proto.machine import Instant
from casty_proto.stream import StreamCompleted, StreamElement, StreamElements, StreamFailed
from casty_proto.wire import Decoder, EncodeError, Encoder, Malformed, Refused
from casty_proto.wire.encoder import ANNOUNCED
from casty_proto.wire.envelopes import (
    ANSWER,
    ASK,
    FAILED,
    FORGET,
    FOUND,
    FRAME_ONE,
    LOOKUP,
    ONE,
    REFUSED,
    TELL,
    TELL_FROM,
    TERMINATED,
    TWO,
    UNWATCH,
    WATCH,
    RefusedBecause,
    frame_one,
    frame_two,
    numbers,
    path_of,
)

from ..asks import Ask, _Handled, over
from ..errors import (
    ActorFailedError,
    ActorStoppedError,
    AskError,
    MailboxFullError,
    NotSendableError,
    UnreachableError,
)
from ..refs import ActorRef, LocalRef
from .asking import HANDLED, Answer, Asked, failure_of, failure_parts
from .refs import RemoteRef
from .watching import Watching

if TYPE_CHECKING:
    from ..transport.peer import Peer
    from .remoting import Remoting

_SWEEP_SECONDS = 5.0
_UNMISSED = (StreamElement, StreamElements, StreamCompleted, StreamFailed)
"""What was on its way when a consumer left is dropped silently (stream rule 24)."""
_ANNOUNCED = ANNOUNCED[0]
_ONE_SIZE, _TWO_SIZE = ONE.size, TWO.size


class Conversation:
    """One side of what is said with one peer. It lives as long as the peer is known, over one session after another."""

    def __init__(self, remoting: Remoting, peer: Peer) -> None:
        self.remoting = remoting
        self.runtime = remoting.runtime
        self.peer = peer
        self.session = peer.link.session
        self.watching = Watching(self)
        self._exports = remoting.exports
        self._asks: dict[int, Asked] = {}
        """Asked here, and to be answered there."""
        self._owed: dict[int, Ask] = {}
        """Asked there, and to be answered here."""
        self._lookups: dict[int, asyncio.Future[int]] = {}
        self._last_number = 0
        self._rooms: list[asyncio.Future[None]] = []
        self._interested = False
        self._renew_codec()

    def _renew_codec(self) -> None:
        remoting = self.remoting
        self._encode = Encoder(remoting.types, remoting.wire_options).encode
        self._decode = Decoder(remoting.types, remoting.wire_options).decode

    # -- out -----------------------------------------------------------------------------------------------------------

    def tell(self, ref: RemoteRef[Any], message: Any, sender: ActorRef[Any] | None) -> None:
        """Send a message. Raises `NotSendableError`; what cannot be taken becomes a dead letter."""
        reason = self._send(ref, message, sender)
        if reason is not None:
            self.runtime.dead_letter(ref, message, reason, sender)

    def offer(self, ref: RemoteRef[Any], message: Any, sender: ActorRef[Any] | None) -> bool:
        """As `tell`, for what cannot be repeated and has a limit of its own, such as the elements of a stream.

        False, and nothing was sent, where it would become a dead letter for want of room.
        """
        reason = self._send(ref, message, sender, ahead=True)
        if reason is not None and reason is not Reason.CONGESTED:
            self.runtime.dead_letter(ref, message, reason, sender)
        return reason is not Reason.CONGESTED

    def _send(
        self, ref: RemoteRef[Any], message: Any, sender: ActorRef[Any] | None, *, ahead: bool = False
    ) -> Reason | None:
        """Returns why the message was not taken, or `None` when it was."""
        peer = self.peer
        if not peer.flushing:
            peer.flush_soon()
        entry: Entry
        try:
            if sender is None:
                body = self._encode(message)
                entry = (FRAME_ONE.pack(_ONE_SIZE + len(body), TELL, ref.number) + body, ref, message)
            else:
                body = self._encode((message, sender))
                frame = FRAME_ONE.pack(_ONE_SIZE + len(body), TELL_FROM, ref.number) + body
                entry = (frame, ref, Envelope(message, sender))
        except EncodeError as error:
            raise _not_sendable(type(message).__name__, ref, error, sender is not None) from error
        if peer.link.gone is None and (self.session.push(entry) or (ahead and self.session.push_ahead(entry))):
            return None
        return self._not_taken(entry, body)

    def _not_taken(self, entry: Entry, body: bytes) -> Reason | None:
        """Why a frame that was not pushed cannot be; `None` when it was after all."""
        if self.peer.link.gone is not None:
            return Reason.UNREACHABLE
        if body[0] != _ANNOUNCED:
            return Reason.CONGESTED
        # The peer must see what later frames rely upon.
        return None if self._push_ahead(entry) else Reason.UNREACHABLE

    def _push_ahead(self, entry: Entry) -> bool:
        """Send what nobody could repeat. False when the link was lost, by this or before."""
        peer = self.peer
        if peer.link.gone is not None:
            return False
        if not peer.flushing:
            peer.flush_soon()
        if not self.session.push_ahead(entry):
            peer.break_off("it does not take what it is sent, and too much waits for it")
            return False
        return True

    def say(self, frame: bytes) -> bool:
        """Send a frame that nobody could repeat, and that has no value in it. False when the link was lost."""
        return self._push_ahead((frame, None, None))

    def ask(self, ref: RemoteRef[Any], ask: Ask) -> int:
        """Send the message of an ask, which ends at some time after. Returns its number. Raises `NotSendableError`."""
        self._last_number = number = self._last_number + 1
        peer = self.peer
        if not peer.flushing:
            peer.flush_soon()
        refs = self.remoting.refs
        refs.asking = ask
        try:
            body = self._encode(ask.message)
        except EncodeError as error:
            raise _not_sendable(ask.kind(), ref, error) from error
        finally:
            refs.asking = None
        asked = Asked(ask, ref, ask.message)
        entry = (frame_two(ASK, ref.number, number, body), ref, asked)
        # It may lead to the handle, which leads to the ask: no circle.
        ask.message = _Handled(ask.kind())
        if peer.link.gone is not None:
            ask.fail(UnreachableError(f"{ref.address} cannot be asked: its process is lost: {peer.link.gone}"))
            return number
        self._asks[number] = asked
        if not self.session.push(entry) and self._not_taken(entry, body) is Reason.CONGESTED:
            del self._asks[number]
            ask.fail(UnreachableError(f"{ref.address} cannot be asked: too much waits for its process"))
        if not self._interested:
            self.be_interested()
        return number

    def settle(self, number: int) -> None:
        """The ask is over here. Whoever would answer it need not."""
        if self._asks.pop(number, None) is not None:
            self.say(frame_one(FORGET, number))

    def answer(self, number: int, value: Any) -> None:
        """Send the answer to an ask. One that cannot be sent is a failure."""
        ask = self._owed.pop(number, None)
        if ask is not None:
            over(ask)
        try:
            body = self._encode(value)
        except EncodeError as error:
            path = "somebody" if ask is None else ask.cell.path
            text = f"the answer of {path} cannot be sent: {error}"
            self.runtime.log.error("%s", text)
            self.fail(number, ActorFailedError(text))
            return
        self._push_ahead((frame_one(ANSWER, number, body), None, None))

    def fail(self, number: int, error: Exception) -> None:
        """Send the failure of an ask."""
        ask = self._owed.pop(number, None)
        if ask is not None:
            over(ask)
        kind, text, cause, trace = failure_parts(error)
        try:
            body = self._encode((kind, text, cause, trace))
        except EncodeError:
            body = self._encode((kind, text, None, trace))
        self._push_ahead((frame_one(FAILED, number, body), None, None))

    async def lookup(self, path: str, incarnation: int | None) -> RemoteRef[Any] | None:
        """The actor at a path there. Raises `UnreachableError`."""
        self._last_number = number = self._last_number + 1
        self._lookups[number] = found = self.runtime.loop.create_future()
        if self.peer.link.gone is not None:
            found.set_exception(UnreachableError(f"{self.peer.node} is lost: {self.peer.link.gone}"))
        else:
            self.be_interested()
            self.say(frame_two(LOOKUP, number, incarnation or 0, path.encode()))
        try:
            at = await found
        finally:
            del self._lookups[number]
        return RemoteRef(self.remoting, self.peer.node, path, at) if at else None

    async def room(self) -> None:
        """Wait until less waits for the peer."""
        while self.peer.link.gone is None and not self.session.has_room:
            waiter = self.runtime.loop.create_future()
            self._rooms.append(waiter)
            await waiter

    def has_room(self) -> None:
        """Less waits for the peer."""
        waiting, self._rooms = self._rooms, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    # -- in ------------------------------------------------------------------------------------------------------------

    def handle(self, body: bytes, number: int) -> None:
        """A frame has come. Raises `Malformed`."""
        first, second = numbers(body)
        match body[0]:
            case 32:  # TELL
                self._on_tell(first, body, number)
            case 33:  # TELL_FROM
                self._on_tell_from(first, body, number)
            case 34:  # ASK
                self._on_ask(first, second, body)
            case 35:  # ANSWER
                self._on_answer(first, body)
            case 36:  # FAILED
                self._on_failed(first, body)
            case kind if kind == FORGET:
                self._on_forget(first)
            case kind if kind == WATCH:
                self.watching.on_watch(first)
            case kind if kind == UNWATCH:
                self.watching.on_unwatch(first)
            case kind if kind == TERMINATED:
                self.watching.on_terminated(first)
            case kind if kind == LOOKUP:
                self._on_lookup(first, second, path_of(body))
            case kind if kind == FOUND:
                self._on_found(first, second)
            case kind if kind == REFUSED:
                self._on_refused(first, second)

    def _on_tell(self, to: int, body: bytes, number: int) -> None:
        try:
            message = self._decode(body[_ONE_SIZE:])
        except Refused as error:
            self._refuse(number, RefusedBecause.UNDECODABLE, error)
            return
        target = self._exports.find(to)
        if target is None:
            self._refuse(number, RefusedBecause.UNKNOWN)
            return
        try:
            target.tell(message)
        except MailboxFullError:
            self.runtime.dead_letter(target, message, Reason.REJECTED)

    def _on_tell_from(self, to: int, body: bytes, number: int) -> None:
        try:
            pair = self._decode(body[_ONE_SIZE:])
        except Refused as error:
            self._refuse(number, RefusedBecause.UNDECODABLE, error)
            return
        if type(pair) is not tuple or len(pair) != 2 or not isinstance(pair[1], ActorRef):
            raise Malformed("a message has a sender that is no ref")
        message, sender = pair
        target = self._exports.find(to)
        if target is None:
            self._refuse(number, RefusedBecause.UNKNOWN)
            return
        try:
            target.tell(message, sender)
        except MailboxFullError:
            self.runtime.dead_letter(target, message, Reason.REJECTED, sender)

    def _on_ask(self, to: int, number: int, body: bytes) -> None:
        if number in self._owed:
            raise Malformed("two asks have the same number")
        target = self._exports.find(to)
        ask = Ask(self.runtime, self.remoting.nobody, None, 0.0, Answer(self, number))
        if isinstance(target, LocalRef):
            ask.cell = target._cell
        refs = self.remoting.refs
        refs.answering = ask
        try:
            message = self._decode(body[_TWO_SIZE:])
        except Refused as error:
            self._complain(error)
            ask.fail(AskError(f"{ask.cell.path} cannot be asked: the message cannot be decoded there: {error}"))
            return
        finally:
            refs.answering = None
        ask.message = message
        if target is None:
            ask.fail(ActorStoppedError(f"{ask.kind()} was not handled: the actor has stopped"))
            return
        if not isinstance(target, LocalRef):
            ask.fail(AskError("the handle of an ask can be told an answer, but not asked"))
            return
        if len(self._owed) >= self.remoting.options.max_asked:
            ask.fail(AskError(f"{target.path} cannot be asked: {len(self._owed)} asks of this process wait already"))
            return
        self._owed[number] = ask
        cell = target._cell
        outcome = self.runtime.deliver(cell, ask)
        if outcome is READY:
            self.runtime.make_ready(cell)
        elif outcome is not None:
            try:
                self.runtime.undelivered(outcome)
            except MailboxFullError as error:
                ask.fail(error)

    def _check_asked(self, number: int) -> None:
        """Late answers are nothing unusual; those to what was never asked are."""
        if not 0 < number <= self._last_number:
            raise Malformed("an answer came to what was never asked")

    def _on_answer(self, number: int, body: bytes) -> None:
        self._check_asked(number)
        try:
            value = self._decode(body[_ONE_SIZE:])
        except Refused as error:
            self._complain(error)
            self._fail_ask(number, AskError(f"its answer cannot be decoded here: {error}"))
            return
        pending = self._asks.pop(number, None)
        if pending is not None:
            pending.message = HANDLED
            if not pending.ask.future.done():
                pending.ask.future.set_result(value)
                return
        late: RemoteRef[Any] = RemoteRef(self.remoting, self.remoting.own, "/$ask", number)
        self.runtime.dead_letter(late, value, Reason.ASK_OVER)

    def _on_failed(self, number: int, body: bytes) -> None:
        self._check_asked(number)
        try:
            parts = self._decode(body[_ONE_SIZE:])
        except Refused as error:
            self._complain(error)
            self._fail_ask(number, ActorFailedError(f"it failed, and why cannot be decoded here: {error}"))
            return
        try:
            failure = failure_of(parts)
        except ValueError as error:
            raise Malformed(str(error)) from error
        self._fail_ask(number, failure)

    def _fail_ask(self, number: int, error: Exception) -> None:
        pending = self._asks.pop(number, None)
        if pending is not None:
            pending.message = HANDLED
            pending.ask.fail(error)

    def _on_forget(self, number: int) -> None:
        ask = self._owed.pop(number, None)
        if ask is not None:
            self._forget(ask)

    def _forget(self, ask: Ask) -> None:
        ask.future.end()  # type: ignore[attr-defined]
        over(ask)

    def _on_lookup(self, request: int, incarnation: int, path: str) -> None:
        found = self.remoting.find_local(path, incarnation or None)
        self.say(frame_two(FOUND, request, 0 if found is None else self._exports.number_of(found)))

    def _on_found(self, request: int, number: int) -> None:
        self._check_asked(request)
        waiting = self._lookups.get(request)
        if waiting is not None and not waiting.done():
            waiting.set_result(number)

    def _refuse(self, number: int, reason: RefusedBecause, error: Refused | None = None) -> None:
        if error is not None:
            self._complain(error)
        if self.say(frame_two(REFUSED, number, reason)):
            self.session.refuse(number)

    def _complain(self, error: Refused) -> None:
        self.peer.transport.complain(
            str(self.peer.node), "undecodable", f"a message of {self.peer.node} is refused: {error}"
        )

    def _on_refused(self, number: int, reason: int) -> None:
        if reason not in (*RefusedBecause,):
            raise Malformed(f"a frame was refused for the reason {reason}, which is none")
        entry = self.session.sent(number)
        if entry is None or entry[1] is None:
            raise Malformed("a frame was refused that is no message")
        self._report(entry, Reason.STOPPED if reason == RefusedBecause.UNKNOWN else Reason.UNDECODABLE)

    def _report(self, entry: Entry, reason: Reason) -> None:
        """A message did not arrive."""
        to, message = entry[1:]
        if type(message) is Asked:
            message = message.message
        if message is HANDLED:
            return
        if type(message) is Envelope:
            if reason is Reason.STOPPED and isinstance(message.message, _UNMISSED):
                return
            self.runtime.dead_letter(to, message.message, reason, message.sender)
        else:
            self.runtime.dead_letter(to, message, reason)

    # -- the end -------------------------------------------------------------------------------------------------------

    def lost(self, text: str, for_good: bool, left: tuple[Entry, ...]) -> None:
        """The session is over (rules 3 to 5)."""
        self.session = self.peer.link.session
        self._renew_codec()
        node = self.peer.node
        lost_letters = [entry for entry in left if entry[1] is not None]
        matters = lost_letters or self._asks or self._lookups or self.watching.is_needed
        level = logging.WARNING if matters and not self.runtime.system.stopping else logging.INFO
        self.peer.transport.report(node.node_id, "lost", f"{node} is lost: {text}", level)
        asks, self._asks = self._asks, {}
        for asked in asks.values():
            ask, address = asked.ask, asked.ref.address
            ask.fail(UnreachableError(f"{address} can no longer answer {ask.kind()}: its process is lost: {text}"))
        owed, self._owed = self._owed, {}
        for ask in owed.values():
            self._forget(ask)
        for waiting in self._lookups.values():
            if not waiting.done():
                waiting.set_exception(UnreachableError(f"{node} is lost: {text}"))
        self.watching.lost()
        self._interested = False
        self.runtime.clock.cancel(self)
        self.has_room()
        for entry in lost_letters:
            self._report(entry, Reason.UNREACHABLE)

    # -- interest ------------------------------------------------------------------------------------------------------

    @property
    def is_needed(self) -> bool:
        """Whether somebody, here or there, waits for something."""
        return bool(self._asks or self._lookups or self._owed or self._rooms or self.watching.is_used)

    def be_interested(self) -> None:
        """The peer's end matters to somebody from now on."""
        if self._interested or self.peer.link.gone is not None:
            return
        self._interested = True
        self.runtime.clock.set(self, _SWEEP_SECONDS)
        self.peer.set_interest(True)

    def on_due(self, now: Instant) -> None:
        """Look whether it still does. To look for that at the end of every ask would cost more than the ask."""
        self.watching.sweep()
        if self._asks or self._lookups or self.watching.is_needed:
            self.runtime.clock.set(self, _SWEEP_SECONDS)
            return
        self._interested = False
        self.peer.set_interest(False)


def _not_sendable(what: str, ref: RemoteRef[Any], error: EncodeError, has_sender: bool = False) -> NotSendableError:
    text = str(error)
    if has_sender:
        # They are sent as a tuple, of which nobody knows.
        text = text.replace("tuple[0]", what, 1) if text.startswith("tuple[0]") else text
        text = text.replace("tuple[1]", "its sender", 1) if text.startswith("tuple[1]") else text
    return NotSendableError(f"{what} cannot be sent to {ref.address}: {text}")
