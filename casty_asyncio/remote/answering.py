"""Asks that have come: asked there, and to be answered here (rule 4).

Such an ask is an ordinary `Ask`, whose future is an `Answer`: whatever settles it becomes a frame. `asking.py` is the
other end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.actor import READY
from casty_proto.wire import EncodeError, Malformed, Node, Refused
from casty_proto.wire.envelopes import ANSWER, FAILED, TWO, frame_one

from ..asks import Ask, over
from ..errors import ActorFailedError, ActorStoppedError, AskError, MailboxFullError
from ..refs import LocalRef
from .failures import failure_parts

if TYPE_CHECKING:
    from casty_proto.actor import Cell

    from .conversation import Conversation


class Answer:
    """Stands for the future of an ask that came from another process."""

    __slots__ = ("_answering", "_callbacks", "_is_over", "number")

    def __init__(self, answering: Answering, number: int) -> None:
        self._answering = answering
        self._is_over = False
        self._callbacks: list[Callable[[Any], None]] | None = None
        self.number = number

    @property
    def asker(self) -> Node:
        """The process that has asked."""
        return self._answering.peer

    def done(self) -> bool:
        """Whether it was answered, or is no longer waited for."""
        return self._is_over

    def set_result(self, value: Any) -> None:
        """Send the answer."""
        self.end()
        self._answering.answer(self.number, value)

    def set_exception(self, error: Exception) -> None:
        """Send the failure."""
        self.end()
        self._answering.fail(self.number, error)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back when it is over."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    def end(self) -> None:
        """Nobody waits any more."""
        self._is_over = True
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback(self)


class Answering:
    """The asks that one peer has sent."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._owed: dict[int, Ask] = {}

    def __len__(self) -> int:
        return len(self._owed)

    @property
    def peer(self) -> Node:
        """Who has sent them."""
        return self._conversation.peer.node

    # -- in ------------------------------------------------------------------------------------------------------------

    def on_ask(self, to: int, number: int, body: bytes) -> None:
        """An ask has come. Raises `Malformed`."""
        if number in self._owed:
            raise Malformed("two asks have the same number")
        conversation = self._conversation
        remoting, refs = conversation.remoting, conversation.remoting.refs
        target = remoting.exports.find(to)
        ask = Ask(conversation.runtime, remoting.nobody, None, 0.0, Answer(self, number))
        if isinstance(target, LocalRef):
            ask.cell = target._cell
        refs.answering = ask
        try:
            message = conversation.decode(body[TWO.size :])
        except Refused as error:
            conversation.undelivered.complain(error)
            ask.fail(AskError(f"{ask.cell.path} cannot be asked: the message cannot be decoded there: {error}"))
            return
        finally:
            refs.answering = None
        ask.message = message
        if target is None:
            ask.fail(ActorStoppedError(f"{ask.kind()} was not handled: the actor has stopped"))
        elif not isinstance(target, LocalRef):
            ask.fail(AskError("the handle of an ask can be told an answer, but not asked"))
        elif len(self._owed) >= remoting.options.max_asked:
            ask.fail(AskError(f"{target.path} cannot be asked: {len(self._owed)} asks of this process wait already"))
        else:
            self._owed[number] = ask
            self._deliver(ask, target._cell)

    def _deliver(self, ask: Ask, cell: Cell) -> None:
        runtime = self._conversation.runtime
        outcome = runtime.deliver(cell, ask)
        if outcome is READY:
            runtime.make_ready(cell)
        elif outcome is not None:
            try:
                runtime.undelivered(outcome)
            except MailboxFullError as error:
                ask.fail(error)

    def on_forget(self, number: int) -> None:
        """Nobody there waits for the answer any more."""
        ask = self._owed.pop(number, None)
        if ask is not None:
            _forget(ask)

    # -- out -----------------------------------------------------------------------------------------------------------

    def answer(self, number: int, value: Any) -> None:
        """Send the answer to an ask. One that cannot be sent is a failure."""
        ask = self._owed.pop(number, None)
        if ask is not None:
            over(ask)
        conversation = self._conversation
        try:
            body = conversation.encode(value)
        except EncodeError as error:
            path = "somebody" if ask is None else ask.cell.path
            text = f"the answer of {path} cannot be sent: {error}"
            conversation.runtime.log.error("%s", text)
            self.fail(number, ActorFailedError(text))
            return
        conversation.push_ahead((frame_one(ANSWER, number, body), None, None))

    def fail(self, number: int, error: Exception) -> None:
        """Send the failure of an ask."""
        ask = self._owed.pop(number, None)
        if ask is not None:
            over(ask)
        conversation = self._conversation
        kind, text, cause, trace = failure_parts(error)
        try:
            body = conversation.encode((kind, text, cause, trace))
        except EncodeError:
            body = conversation.encode((kind, text, None, trace))
        conversation.push_ahead((frame_one(FAILED, number, body), None, None))

    # -- the end -------------------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """The process is lost: nobody there waits for an answer."""
        owed, self._owed = self._owed, {}
        for ask in owed.values():
            _forget(ask)


def _forget(ask: Ask) -> None:
    ask.future.end()  # type: ignore[attr-defined]
    over(ask)
