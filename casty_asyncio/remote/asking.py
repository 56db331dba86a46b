"""Asks that are sent: asked here, and to be answered there (rule 4).

Where it is asked there is an ordinary `Ask`, with a future and a timeout, that waits for a frame. `answering.py` is the
other end. So all that is true of an ask within one process is true between two: who owes the answer, and what happens
when nobody can give it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Reason
from casty_proto.wire import EncodeError, Malformed, Refused
from casty_proto.wire.envelopes import ASK, FORGET, ONE, frame_one, frame_two

from ..asks import Ask, _Handled, check_ask_timeout, over
from ..errors import ActorFailedError, AskError, UnreachableError
from .failures import failure_of
from .undelivered import HANDLED, Asked, not_sendable

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .conversation import Conversation
    from .refs import RemoteRef


async def ask_remote(
    runtime: Runtime,
    ref: RemoteRef[Any],
    message: Any,
    build: Callable[[Any], Any] | None,
    timeout: float,
) -> Any:
    """Ask in either style; see `asks.ask_actor`."""
    runtime.check_thread()
    check_ask_timeout(timeout, ref.path)
    asking = ref.conversation.asking
    ask = Ask(runtime, ref, message, timeout)
    if build is not None:
        ask.message = build(ask.handle())
    number = asking.ask(ref, ask)
    del message, build
    if not ask.future.done():
        runtime.clock.expect(ask, timeout)
    try:
        return await ask.future
    finally:
        runtime.clock.forget(ask)
        asking.settle(number)
        over(ask)


class Asking:
    """The asks that were sent to one peer."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._asks: dict[int, Asked] = {}
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._asks)

    # -- out -----------------------------------------------------------------------------------------------------------

    def ask(self, ref: RemoteRef[Any], ask: Ask) -> int:
        """Send the message of an ask, which ends at some time after. Returns its number. Raises `NotSendableError`."""
        self._last_number = number = self._last_number + 1
        conversation = self._conversation
        flow = conversation.flow
        if not flow.flushing:
            flow.flush_soon()
        refs = conversation.remoting.refs
        refs.asking = ask
        try:
            body = conversation.encode(ask.message)
        except EncodeError as error:
            raise not_sendable(ask.kind(), ref, error) from error
        finally:
            refs.asking = None
        asked = Asked(ask, ref, ask.message)
        entry = (frame_two(ASK, ref.number, number, body), ref, asked)
        # It may lead to the handle, which leads to the ask: no circle.
        ask.message = _Handled(ask.kind())
        if (gone := conversation.peer.link.gone) is not None:
            ask.fail(UnreachableError(f"{ref.address} cannot be asked: its process is lost: {gone}"))
            return number
        self._asks[number] = asked
        if not conversation.session.push(entry) and conversation.not_taken(entry, body) is Reason.CONGESTED:
            del self._asks[number]
            ask.fail(UnreachableError(f"{ref.address} cannot be asked: too much waits for its process"))
        if not conversation.interested:
            conversation.be_interested()
        return number

    def settle(self, number: int) -> None:
        """The ask is over here. Whoever would answer it need not."""
        if self._asks.pop(number, None) is not None:
            self._conversation.say(frame_one(FORGET, number))

    # -- in ------------------------------------------------------------------------------------------------------------

    def on_answer(self, number: int, body: bytes) -> None:
        """The answer has come. Raises `Malformed`."""
        self._check(number)
        conversation = self._conversation
        try:
            value = conversation.decode(body[ONE.size :])
        except Refused as error:
            conversation.undelivered.complain(error)
            self._fail(number, AskError(f"its answer cannot be decoded here: {error}"))
            return
        asked = self._asks.pop(number, None)
        if asked is not None:
            asked.message = HANDLED
            if not asked.ask.future.done():
                asked.ask.future.set_result(value)
                return
        conversation.runtime.dead_letter(conversation.remoting.over(number), value, Reason.ASK_OVER)

    def on_failed(self, number: int, body: bytes) -> None:
        """There is no answer, and this is why. Raises `Malformed`."""
        self._check(number)
        conversation = self._conversation
        try:
            parts = conversation.decode(body[ONE.size :])
        except Refused as error:
            conversation.undelivered.complain(error)
            self._fail(number, ActorFailedError(f"it failed, and why cannot be decoded here: {error}"))
            return
        try:
            failure = failure_of(parts)
        except ValueError as error:
            raise Malformed(str(error)) from error
        self._fail(number, failure)

    def _check(self, number: int) -> None:
        """Late answers are nothing unusual; those to what was never asked are."""
        if not 0 < number <= self._last_number:
            raise Malformed("an answer came to what was never asked")

    def _fail(self, number: int, error: Exception) -> None:
        asked = self._asks.pop(number, None)
        if asked is not None:
            asked.message = HANDLED
            asked.ask.fail(error)

    # -- the end -------------------------------------------------------------------------------------------------------

    def lost(self, text: str) -> None:
        """The process is lost: nobody answers any more."""
        asks, self._asks = self._asks, {}
        for asked in asks.values():
            ask, address = asked.ask, asked.ref.address
            ask.fail(UnreachableError(f"{address} can no longer answer {ask.kind()}: its process is lost: {text}"))
