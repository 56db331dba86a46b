"""What is said between two processes over their link.

A message's way: `tell` encodes it with the codec of the session and pushes the frame, and at the other end `handle`
decodes it, whoever it is for, because what later frames mean depends on it, and tells it to its receiver. All else that
is said has a part of its own: asks in `asking.py` and `answering.py`, lookups in `lookups.py`, who watches whom in
`watching.py`, and what did not arrive in `undelivered.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Envelope, Reason
from casty_proto.link import Entry
from casty_proto.machine import Instant
from casty_proto.wire import Decoder, EncodeError, Encoder, Malformed, Refused
from casty_proto.wire.encoder import ANNOUNCED
from casty_proto.wire.envelopes import (
    FORGET,
    FOUND,
    FRAME_ONE,
    LOOKUP,
    ONE,
    REFUSED,
    TELL,
    TELL_FROM,
    TERMINATED,
    UNWATCH,
    WATCH,
    RefusedBecause,
    numbers,
    path_of,
)

from ..errors import MailboxFullError
from ..refs import ActorRef
from .answering import Answering
from .asking import Asking
from .lookups import Lookups
from .undelivered import Undelivered, not_sendable
from .watching import Watching

if TYPE_CHECKING:
    from ..transport.peer import Peer
    from .refs import RemoteRef
    from .remoting import Remoting

_SWEEP_SECONDS = 5.0
_ANNOUNCED = ANNOUNCED[0]
_ONE_SIZE = ONE.size


class Conversation:
    """One side of what is said with one peer. It lives as long as the peer is known, over one session after another."""

    def __init__(self, remoting: Remoting, peer: Peer) -> None:
        self.remoting = remoting
        self.runtime = remoting.runtime
        self.peer = peer
        self.link = peer.link
        self.flow = peer.flow
        self.session = peer.link.session
        self.asking = Asking(self)
        self.answering = Answering(self)
        self.lookups = Lookups(self)
        self.watching = Watching(self)
        self.undelivered = Undelivered(self)
        self.interested = False
        """Whether the peer was told that its end matters to somebody here."""
        self._exports = remoting.exports
        self._rooms: deque[asyncio.Future[None]] = deque()
        self._renew_codec()

    def _renew_codec(self) -> None:
        """What is said about classes is said once in a session."""
        remoting = self.remoting
        self.encode = Encoder(remoting.types, remoting.wire_options).encode
        self.decode = Decoder(remoting.types, remoting.wire_options).decode

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
        flow = self.flow
        if not flow.flushing:
            flow.flush_soon()
        entry: Entry
        try:
            if sender is None:
                body = self.encode(message)
                entry = (FRAME_ONE.pack(_ONE_SIZE + len(body), TELL, ref.number) + body, ref, message)
            else:
                body = self.encode((message, sender))
                frame = FRAME_ONE.pack(_ONE_SIZE + len(body), TELL_FROM, ref.number) + body
                entry = (frame, ref, Envelope(message, sender))
        except EncodeError as error:
            raise not_sendable(type(message).__name__, ref, error, sender is not None) from error
        if self.link.gone is None and (self.session.push(entry) or (ahead and self.session.push_ahead(entry))):
            return None
        return self.not_taken(entry, body)

    def not_taken(self, entry: Entry, body: bytes) -> Reason | None:
        """Why a frame that was not pushed cannot be; `None` when it was after all."""
        if self.link.gone is not None:
            return Reason.UNREACHABLE
        if body[0] != _ANNOUNCED:
            return Reason.CONGESTED
        # The peer must see what later frames rely upon.
        return None if self.push_ahead(entry) else Reason.UNREACHABLE

    def push_ahead(self, entry: Entry) -> bool:
        """Send what nobody could repeat. False when the link was lost, by this or before."""
        flow = self.flow
        if self.link.gone is not None:
            return False
        if not flow.flushing:
            flow.flush_soon()
        if not self.session.push_ahead(entry):
            self.peer.break_off("it does not take what it is sent, and too much waits for it")
            return False
        return True

    def say(self, frame: bytes) -> bool:
        """Send a frame that nobody could repeat, and that has no value in it. False when the link was lost."""
        return self.push_ahead((frame, None, None))

    async def room(self) -> None:
        """Wait until less waits for the peer."""
        while self.link.gone is None and not self.session.has_room:
            waiter = self.runtime.loop.create_future()
            self._rooms.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.has_room()  # Its turn is the next one's.
                raise

    def has_room(self) -> None:
        """Less waits for the peer. As many may go on as there is room for; the others would only wait again."""
        self._let_go_on(self.session.room)

    def _let_go_on(self, count: int) -> None:
        while count > 0 and self._rooms:
            waiter = self._rooms.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

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
                self.answering.on_ask(first, second, body)
            case 35:  # ANSWER
                self.asking.on_answer(first, body)
            case 36:  # FAILED
                self.asking.on_failed(first, body)
            case kind if kind == FORGET:
                self.answering.on_forget(first)
            case kind if kind == WATCH:
                self.watching.on_watch(first)
            case kind if kind == UNWATCH:
                self.watching.on_unwatch(first)
            case kind if kind == TERMINATED:
                self.watching.on_terminated(first)
            case kind if kind == LOOKUP:
                self.lookups.on_lookup(first, second, path_of(body))
            case kind if kind == FOUND:
                self.lookups.on_found(first, second)
            case kind if kind == REFUSED:
                self.undelivered.on_refused(first, second)

    def _on_tell(self, to: int, body: bytes, number: int) -> None:
        try:
            message = self.decode(body[_ONE_SIZE:])
        except Refused as error:
            self.undelivered.refuse(number, RefusedBecause.UNDECODABLE, error)
            return
        target = self._exports.find(to)
        if target is None:
            self.undelivered.refuse(number, RefusedBecause.UNKNOWN)
            return
        try:
            target.tell(message)
        except MailboxFullError:
            self.runtime.dead_letter(target, message, Reason.REJECTED)

    def _on_tell_from(self, to: int, body: bytes, number: int) -> None:
        try:
            pair = self.decode(body[_ONE_SIZE:])
        except Refused as error:
            self.undelivered.refuse(number, RefusedBecause.UNDECODABLE, error)
            return
        if type(pair) is not tuple or len(pair) != 2 or not isinstance(pair[1], ActorRef):
            raise Malformed("a message has a sender that is no ref")
        message, sender = pair
        target = self._exports.find(to)
        if target is None:
            self.undelivered.refuse(number, RefusedBecause.UNKNOWN)
            return
        try:
            target.tell(message, sender)
        except MailboxFullError:
            self.runtime.dead_letter(target, message, Reason.REJECTED, sender)

    # -- the end -------------------------------------------------------------------------------------------------------

    def lost(self, text: str, for_good: bool, left: tuple[Entry, ...]) -> None:
        """The session is over (rules 3 to 5)."""
        self.session = self.link.session
        self._renew_codec()
        node = self.peer.node
        lost_letters = [entry for entry in left if entry[1] is not None]
        matters = lost_letters or self._is_waiting
        level = logging.WARNING if matters and not self.runtime.system.stopping else logging.INFO
        self.peer.transport.report(node.node_id, "lost", f"{node} is lost: {text}", level)
        self.asking.lost(text)
        self.answering.lost()
        self.lookups.lost(text)
        self.watching.lost()
        self.interested = False
        self.runtime.clock.cancel(self)
        self._let_go_on(len(self._rooms))
        for entry in lost_letters:
            self.undelivered.report(entry, Reason.UNREACHABLE)

    def is_gone(self, number: int) -> bool:
        """Whether nothing can arrive any more at whoever has that number there."""
        return self.link.gone is not None or self.undelivered.is_gone(number)

    # -- interest ------------------------------------------------------------------------------------------------------

    @property
    def _is_waiting(self) -> bool:
        """Whether somebody here waits for something that would not come if the peer were lost."""
        return bool(self.asking) or bool(self.lookups) or self.watching.is_needed

    @property
    def is_needed(self) -> bool:
        """Whether somebody, here or there, waits for something."""
        return bool(self.asking or self.lookups or self.answering or self._rooms or self.watching.is_used)

    def be_interested(self) -> None:
        """The peer's end matters to somebody from now on."""
        if self.interested or self.link.gone is not None:
            return
        self.interested = True
        self.runtime.clock.set(self, _SWEEP_SECONDS)
        self.peer.set_interest(True)

    def on_due(self, now: Instant) -> None:
        """Look whether it still does. To look for that at the end of every ask would cost more than the ask."""
        self.watching.sweep()
        if self._is_waiting:
            self.runtime.clock.set(self, _SWEEP_SECONDS)
            return
        self.interested = False
        self.peer.set_interest(False)
