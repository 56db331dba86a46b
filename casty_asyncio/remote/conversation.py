"""What is said between two processes over their link: messages, asks and answers, lookups, and who watches whom.

Out: `tell` and its like encode a value with the codec of the session and push the frame. In: `handle` decodes each
frame that comes, whoever it is for, because what later frames mean depends on it, and passes it on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from casty_proto.actor import READY, Reason
from casty_proto.link import Broken, Entry
from casty_proto.machine import Instant
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

from ..asks import Ask, over
from ..errors import (
    ActorFailedError,
    ActorStoppedError,
    AskError,
    MailboxFullError,
    NotSendableError,
    UnreachableError,
)
from ..refs import ActorRef, LocalRef
from .asking import Answer, failure_of, failure_parts
from .refs import RemoteRef
from .watching import Watching

if TYPE_CHECKING:
    from ..transport.peer import Peer
    from .remoting import Remoting

_SWEEP_SECONDS = 5.0
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
        self._asks: dict[int, tuple[Ask, RemoteRef[Any]]] = {}
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
        peer = self.peer
        if not peer.flushing:
            peer.flush_soon()
        try:
            body = self._encode(message) if sender is None else self._encode((message, sender))
        except EncodeError as error:
            raise NotSendableError(f"{type(message).__name__} cannot be sent to {ref.address}: {error}") from error
        kind = TELL if sender is None else TELL_FROM
        entry = (FRAME_ONE.pack(_ONE_SIZE + len(body), kind, ref.number) + body, ref, message)
        if peer.link.gone is not None or not self.session.push(entry):
            self._not_taken(entry, body, sender)

    def offer(self, ref: RemoteRef[Any], message: Any, sender: ActorRef[Any] | None) -> bool:
        """As `tell`, but False where the message would become a dead letter for want of room."""
        if self.peer.link.gone is None and self.session.is_full:
            return False
        self.tell(ref, message, sender)
        return True

    def _not_taken(self, entry: Entry, body: bytes, sender: ActorRef[Any] | None = None) -> None:
        if self.peer.link.gone is not None:
            reason = Reason.UNREACHABLE
        elif body[0] == _ANNOUNCED:
            # The peer must see what later frames rely upon.
            self._push_ahead(entry)
            return
        else:
            reason = Reason.CONGESTED
        self.runtime.dead_letter(entry[1], entry[2], reason, sender)

    def _push_ahead(self, entry: Entry) -> None:
        peer = self.peer
        if peer.link.gone is not None:
            return
        if not peer.flushing:
            peer.flush_soon()
        if not self.session.push_ahead(entry):
            peer.feed(Broken("it does not take what it is sent, and too much waits for it"))

    def say(self, frame: bytes) -> None:
        """Send a frame that nobody could repeat, and that has no value in it."""
        self._push_ahead((frame, None, None))

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
            raise NotSendableError(f"{ask.kind()} cannot be sent to {ref.address}: {error}") from error
        finally:
            refs.asking = None
        entry = (frame_two(ASK, ref.number, number, body), ref, ask)
        if peer.link.gone is not None:
            ask.fail(UnreachableError(f"{ref.address} cannot be asked: its process is lost: {peer.link.gone}"))
            return number
        self._asks[number] = (ask, ref)
        if not self.session.push(entry):
            if body[0] == _ANNOUNCED:
                self._push_ahead(entry)
            else:
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
        self._owed.pop(number, None)
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

    def _on_answer(self, number: int, body: bytes) -> None:
        try:
            value = self._decode(body[_ONE_SIZE:])
        except Refused as error:
            self._complain(error)
            self._fail_ask(number, AskError(f"its answer cannot be decoded here: {error}"))
            return
        pending = self._asks.pop(number, None)
        if pending is not None and not pending[0].future.done():
            pending[0].future.set_result(value)
            return
        late: RemoteRef[Any] = RemoteRef(self.remoting, self.remoting.own, "/$ask", number)
        self.runtime.dead_letter(late, value, Reason.ASK_OVER)

    def _on_failed(self, number: int, body: bytes) -> None:
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
            pending[0].fail(error)

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
        waiting = self._lookups.get(request)
        if waiting is not None and not waiting.done():
            waiting.set_result(number)

    def _refuse(self, number: int, reason: RefusedBecause, error: Refused | None = None) -> None:
        if error is not None:
            self._complain(error)
        self.say(frame_two(REFUSED, number, reason))

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
        why = Reason.STOPPED if reason == RefusedBecause.UNKNOWN else Reason.UNDECODABLE
        self.runtime.dead_letter(entry[1], _message_of(entry), why)

    # -- the end -------------------------------------------------------------------------------------------------------

    def lost(self, text: str, for_good: bool, left: tuple[Entry, ...]) -> None:
        """The session is over (rules 3 to 5)."""
        self.session = self.peer.link.session
        self._renew_codec()
        node = self.peer.node
        matters = left or self._asks or self._lookups or self.watching.is_needed
        self.runtime.log.log(logging.WARNING if matters else logging.INFO, "%s is lost: %s", node, text)
        asks, self._asks = self._asks, {}
        lost_letters = [(entry[1], _message_of(entry)) for entry in left if entry[1] is not None]
        for ask, ref in asks.values():
            ask.fail(UnreachableError(f"{ref.address} can no longer answer {ask.kind()}: its process is lost: {text}"))
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
        for to, message in lost_letters:
            self.runtime.dead_letter(to, message, Reason.UNREACHABLE)

    # -- interest ------------------------------------------------------------------------------------------------------

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


def _message_of(entry: Entry) -> Any:
    return entry[2].message if type(entry[2]) is Ask else entry[2]
