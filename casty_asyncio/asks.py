"""Asks: a message, a future, and a deadline.

An ask always ends. It ends with the reply; with the handler's exception; with the end of the actor; or with its
timeout, whichever comes first. To know the second and third, the `Ask` itself is what waits in the mailbox, whichever
style it was made in.

When a handler returns without having answered, the reply may still come: from the actor itself, later, or from another
one that was given the handle. The actor then owes the answer. When it stops or restarts, and the handle is nowhere
referenced any more, nobody is left who could answer, and the ask fails at once. While somebody holds the handle, it
goes on. That is why the ask knows its handle by a weak reference only, and forgets its message when it was handled.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from casty_proto.actor import READY, Cell, Reason
from casty_proto.machine import Instant

from .clock import MAX_SECONDS, can_wait
from .errors import (
    ActorFailedError,
    ActorStoppedError,
    AskError,
    AskTimeoutError,
    MailboxFullError,
    UsageError,
    described,
)

if TYPE_CHECKING:
    from .body import Body
    from .refs import ReplyRef
    from .runtime import Runtime


class Asked(Protocol):
    """Who can be asked."""

    @property
    def path(self) -> str: ...


class Ask:
    """One request that waits for its answer; also the form in which its message waits in the mailbox."""

    __slots__ = ("_debtor", "_handle", "cell", "future", "message", "runtime", "timeout")

    def __init__(self, runtime: Runtime, cell: Asked, message: Any, timeout: float, future: Any = None) -> None:
        self.runtime = runtime
        self.cell = cell
        """Who is asked: a cell, or anything else that has a path."""
        self.message = message
        self.timeout = timeout
        self.future: asyncio.Future[Any] = runtime.loop.create_future() if future is None else future
        self._handle: weakref.ref[ReplyRef[Any]] | None = None
        self._debtor: Body | None = None

    def handle(self) -> ReplyRef[Any]:
        """The ref by which this ask is answered. There is one at a time."""
        handle = None if self._handle is None else self._handle()
        if handle is None:
            handle = self.runtime.reply_ref(self)
            self._handle = weakref.ref(handle)
        return handle

    def resolve(self, value: Any) -> None:
        """The answer has come."""
        if self.future.done():
            self.runtime.dead_letter(self.handle(), value, Reason.ASK_OVER)
        else:
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """No answer will come. A no-op when the ask is over."""
        if not self.future.done():
            self.future.set_exception(error)

    def fail_for(self, cause: Exception, path: str) -> None:
        """The handler of the message, in the actor at `path`, raised."""
        error = ActorFailedError(f"{path} failed on {self.kind()}: {described(cause)}")
        error.__cause__ = cause
        self.fail(error)

    def fail_undelivered(self, reason: Reason) -> bool:
        """The message did not reach the handler. Whether it is lost: somebody else may be there who handles it."""
        what = f"{self.kind()} was not handled by {self.cell.path}: {reason}"
        self.fail(ActorStoppedError(what) if reason is Reason.STOPPED else MailboxFullError(what))
        if not self.future.done():
            return False
        self.message = None
        return True

    def on_due(self, now: Instant) -> None:
        """The deadline has come."""
        self.fail(AskTimeoutError(f"{self.cell.path} did not answer {self.kind()} within {self.timeout:g} s"))

    # -- debts -----------------------------------------------------------------------------------------------------

    def owe(self, debtor: Body) -> None:
        """The handler returned without an answer; `debtor` may still give it.

        An earlier debtor, who handed the message on, owes nothing any more.
        """
        self.message = _Handled(self.kind())
        if self._debtor is not None and self._debtor is not debtor:
            self._debtor.debts.pop(self, None)
        self._debtor = debtor
        debtor.debts[self] = None

    def call_in(self, kind: type[AskError], cause: Exception | None) -> bool:
        """The debtor is gone, or has lost its state. Fails the ask now, or as soon as the last handle is dropped.

        Returns whether the ask is over.
        """
        what = f"{self.cell.path} can no longer answer {self.kind()}"
        handle = None if self._handle is None else self._handle()
        if handle is None:
            failure = kind(what)
            failure.__cause__ = cause
            self.fail(failure)
            return True
        # The cause itself must not be kept here: its traceback leads to the frames of the handler that failed, those to
        # the state of the actor, and that to the handle which is to be dropped.
        what = what if cause is None else f"{what}, because of {described(cause)}"
        # The collector may drop the last handle in any thread.
        self._handle = weakref.ref(handle, lambda _: self.runtime.call_in_loop(self._let_down, kind, what))
        return False

    def _let_down(self, kind: type[AskError], what: str) -> None:
        self.fail(kind(what))

    def kind(self) -> str:
        """The name of the class of the message, also when it was handled."""
        return self.message.kind if type(self.message) is _Handled else type(self.message).__name__


class _Over:
    """Stands for the future of an ask that nobody waits for any more."""

    @staticmethod
    def done() -> bool:
        return True


OVER: Any = _Over()
"""The future of all of them."""


class _Handled:
    """What is left of a message that was handled: the name of its class."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


def check_ask_timeout(timeout: Any, path: str) -> None:
    """Raises `UsageError` for what is no time to wait."""
    if not can_wait(timeout):
        raise UsageError(
            f"the timeout of an ask of {path} must be a number of seconds, 0 or more and at most "
            f"{MAX_SECONDS:g}, not {timeout!r}"
        )


def over(ask: Ask) -> None:
    """Nobody waits for the answer any more."""
    if ask._debtor is not None:
        ask._debtor.debts.pop(ask, None)
    # The future knows the exception, whose traceback knows the frame of who waited, and by its cause also that of the
    # handler, with the message, the handle, and so the ask: no circle.
    ask.future = OVER


async def ask_actor(
    runtime: Runtime, cell: Cell, message: Any, build: Callable[[Any], Any] | None, timeout: float
) -> Any:
    """Ask in either style: `message` as it is, or what `build` makes of the reply handle."""
    if runtime.pool.in_hand() is cell:
        raise UsageError(
            f"{cell.path} asks itself and waits, so it can never answer; tell itself a message, or use "
            "ctx.pipe_to_self(ref.ask(...))"
        )
    if asyncio._get_running_loop() is not runtime.loop:
        runtime.check_thread()
    if not (type(timeout) is float and 0.0 <= timeout <= MAX_SECONDS):
        check_ask_timeout(timeout, cell.path)
    ask = Ask(runtime, cell, message, timeout)
    if build is not None:
        # The handle lives in the message from here on, and nowhere else: see the theory of operation.
        ask.message = build(ask.handle())
    outcome = runtime.deliver(cell, ask)
    if outcome is READY:
        runtime.make_ready(cell)
    elif outcome is not None:
        runtime.undelivered(outcome)
    del message, build
    clock = runtime.clock
    if not ask.future.done():
        clock.expect(ask, timeout)
    try:
        return await ask.future
    finally:
        clock.forget(ask)
        over(ask)
