"""Asks between processes.

Where it is asked there is an ordinary `Ask`, with a future and a timeout, that waits for a frame. Where it is answered
there is an ordinary `Ask` too, whose future is an `Answer`: whatever settles it becomes a frame. So all that is true of
an ask within one process is true between two: who owes the answer, and what happens when nobody can give it any more.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..asks import Ask, check_ask_timeout, over
from ..errors import (
    ActorFailedError,
    ActorStoppedError,
    AskError,
    MailboxFullError,
    UnreachableError,
    described,
)

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .conversation import Conversation
    from .refs import RemoteRef

_TEXT_MAX = 4000
_TRACEBACK_MAX = 20_000
_LINE_MAX = 500

_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (ActorFailedError, ActorStoppedError, MailboxFullError, AskError, UnreachableError)
}
"""What an ask can fail with elsewhere. Whatever else it is, is an `AskError`."""


HANDLED = object()
"""Stands for the message of an ask that was answered: it cannot be lost any more."""


class Asked:
    """An ask that was sent, and is to be answered there."""

    __slots__ = ("ask", "message", "ref")

    def __init__(self, ask: Ask, ref: RemoteRef[Any], message: Any) -> None:
        self.ask = ask
        self.ref = ref
        self.message = message
        """What was sent, in case that it is lost."""


class Answer:
    """Stands for the future of an ask that came from another process."""

    __slots__ = ("_callbacks", "_conversation", "_is_over", "number")

    def __init__(self, conversation: Conversation, number: int) -> None:
        self._conversation = conversation
        self._is_over = False
        self._callbacks: list[Callable[[Any], None]] | None = None
        self.number = number

    def done(self) -> bool:
        """Whether it was answered, or is no longer waited for."""
        return self._is_over

    def set_result(self, value: Any) -> None:
        """Send the answer."""
        self.end()
        self._conversation.answer(self.number, value)

    def set_exception(self, error: Exception) -> None:
        """Send the failure."""
        self.end()
        self._conversation.fail(self.number, error)

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
    conversation = ref.conversation
    ask = Ask(runtime, ref, message, timeout)
    if build is not None:
        ask.message = build(ask.handle())
    number = conversation.ask(ref, ask)
    del message, build
    if not ask.future.done():
        runtime.clock.expect(ask, timeout)
    try:
        return await ask.future
    finally:
        runtime.clock.forget(ask)
        conversation.settle(number)
        over(ask)


def failure_parts(error: Exception) -> tuple[str, str, BaseException | None, str]:
    """An exception as it is sent: the kind of failure, what happened, the cause and its traceback."""
    cause = error.__cause__
    if cause is None:
        return type(error).__name__, described_text(error), None, ""
    trace = "\n".join([clipped(line) for line in "".join(traceback.format_exception(cause)).splitlines()])
    return type(error).__name__, described_text(error), cause, sendable(trace[-_TRACEBACK_MAX:])


def failure_of(parts: Any) -> Exception:
    """What is raised to whoever asked. Raises `ValueError` for what is no failure."""
    if not (type(parts) is tuple and [type(part) for part in parts][:2] == [str, str] and len(parts) == 4):
        raise ValueError("a failure is not made of a kind, a text, a cause and a traceback")
    kind, text, cause, trace = parts
    if not isinstance(cause, BaseException | None) or type(trace) is not str:
        raise ValueError("a failure has a cause that is no exception")
    error = _KINDS.get(kind, AskError)(text)
    if cause is not None:
        if trace:
            cause.add_note(f"Traceback of the process where it was raised:\n{trace}")
        error.__cause__ = cause
    return error


def described_text(error: BaseException) -> str:
    """What an exception says, as long as it may be."""
    try:
        text = str(error)
    except Exception:
        text = described(error)
    return sendable(text[:_TEXT_MAX])


def sendable(text: str) -> str:
    """The text without what cannot be encoded."""
    return text.encode(errors="backslashreplace").decode()


def clipped(line: str) -> str:
    """A line of a traceback. The text of an exception must not crowd out where it was raised."""
    return line if len(line) <= _LINE_MAX else f"{line[:_LINE_MAX]}... ({len(line)} characters)"
