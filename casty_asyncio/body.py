"""The driver's half of an actor: its handler, its hooks, and the jobs that the engine gives out.

`Body` is what both styles have in common. `BehaviorBody` runs a behavior, `ClassBody` an instance of an `Actor` class.
A worker calls `handler` itself, for each message; everything else that can happen to an actor goes through `run`.
"""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from casty_proto.actor import (
    RESTART,
    SAME,
    STOPPED,
    UNHANDLED,
    Behavior,
    Cell,
    Done,
    Envelope,
    Failed,
    Job,
    Judged,
    Phase,
    Reason,
    Renew,
    Spied,
    Stop,
    SupervisionStrategy,
    Task,
)

from .asks import Ask
from .context import ActorContext
from .errors import (
    ActorFailedError,
    ActorStoppedError,
    AskError,
    HandlerCancelledError,
    HandlerExitError,
    InvalidBehaviorError,
    RestartRequestedError,
)
from .mail import opened
from .refs import LocalRef
from .spy import spied

if TYPE_CHECKING:
    from .runtime import Runtime


def _not_started(*_: Any) -> Any:
    raise AssertionError("a message before the start")


class Body(ABC):
    """What runs one actor."""

    __slots__ = (
        "_debts",
        "_on_end",
        "cell",
        "context",
        "context_first",
        "handler",
        "ref",
        "runtime",
        "spies",
        "unmissed",
    )

    def __init__(self, runtime: Runtime, context_first: bool) -> None:
        self.runtime = runtime
        self.context_first: Final = context_first
        """The order of the handler's arguments: `(context, message)`, or `(message, context)`."""
        self.handler: Callable[..., Any] = _not_started
        self.cell: Cell
        self.ref: LocalRef[Any]
        self.context: ActorContext[Any] = ActorContext(self)
        self.spies: tuple[Spied[Any], ...] = ()
        """Whom to tell what this actor handles."""
        self.unmissed: tuple[type[Any], ...] = ()
        """Messages of these types lose nothing when they come after the end, and become no dead letters."""
        self._debts: dict[Ask, None] | None = None
        self._on_end: list[Callable[[], None]] | None = None

    def attach(self, cell: Cell) -> None:
        """The engine has accepted the actor."""
        self.cell = cell
        self.ref = LocalRef(self.runtime, cell)

    def install(self, handler: Callable[..., Any]) -> None:
        """Handle messages with `handler` from now on."""
        self.handler = spied(self, handler) if self.spies else handler

    # -- what the styles differ in ---------------------------------------------------------------------------------

    @abstractmethod
    async def start(self, error: Exception | None) -> None:
        """Create the incarnation and run its hook. `error` is why there was a restart, `None` at the first start."""

    @abstractmethod
    async def pre_restart(self, error: Exception, message: Any) -> None:
        """Run the hook of the incarnation that failed."""

    @abstractmethod
    async def post_stop(self) -> None:
        """Run the last hook."""

    @abstractmethod
    async def judge(self, child: LocalRef[Any], error: Exception) -> Any:
        """What is to become of a failing child: a `SupervisionStrategy`, or `None`; the caller checks."""

    @abstractmethod
    async def become(self, behavior: Behavior[Any]) -> None:
        """Go on with another behavior."""

    def release(self) -> None:
        """Drop the incarnation: nobody will run it again."""
        self.handler = _not_started

    def forget(self) -> None:
        """Drop what further incarnations would be made of: a ref to a stopped actor must not keep its state alive."""
        self.release()
        self.spies = ()

    # -- after a message -------------------------------------------------------------------------------------------

    async def follow(self, result: Any, message: Any) -> None:
        """Do what the handler's return value says. Called for anything but `None` and `Behaviors.same()`."""
        if not isinstance(result, Behavior) and inspect.isawaitable(result):
            result = await result
        if result is None or result is SAME:
            return
        if result is STOPPED:
            self.runtime.feed(Stop(self.cell))
        elif result is UNHANDLED:
            self.runtime.unhandled(self.ref, message)
        elif result is RESTART:
            self.runtime.feed(Renew(self.cell, RestartRequestedError(f"{self.cell.path} asked for this"), message))
        elif isinstance(result, Behavior):
            await self.become(result)
        else:
            raise InvalidBehaviorError(
                f"the handler of {self.cell.path} returned {result!r} for {type(message).__name__}; it must return a "
                "behavior, for example Behaviors.same()"
            )

    def failed(self, error: Exception, item: Any) -> None:
        """The handler raised."""
        _strip(error)
        message, _, ask = opened(item)
        if ask is not None:
            ask.fail_for(error, self.cell.path)
        self.runtime.feed(Failed(self.cell, error, message))

    def broken_off(self, error: BaseException, item: Any) -> None:
        """Something else than an ordinary exception came out of the handler.

        `CancelledError` is the end of the system, or somebody's mistake. `KeyboardInterrupt` and `SystemExit` are the
        end of the program, and no failure that a new incarnation could mend. The rest is a failure like any other.
        """
        failure = self._failure(error)
        ask = opened(item)[2]
        if isinstance(error, asyncio.CancelledError) and self.runtime.ending:
            if ask is not None:
                ask.fail_undelivered(Reason.STOPPED)
            self.runtime.feed(Stop(self.cell))
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            if ask is not None:
                ask.fail_for(failure, self.cell.path)
            self.runtime.feed(Stop(self.cell))
        else:
            self.failed(failure, item)

    def _failure(self, error: BaseException) -> Exception:
        """The same as an exception that supervision can deal with."""
        if isinstance(error, Exception):
            return _strip(error)
        failure: Exception
        if isinstance(error, asyncio.CancelledError):
            failure = HandlerCancelledError(
                f"a handler of {self.cell.path} was cancelled; a worker runs other actors too, and is not for "
                "cancelling"
            )
        else:
            failure = HandlerExitError(f"a handler of {self.cell.path} raised {type(error).__name__}")
        failure.__cause__ = error
        return failure

    def settle(self, item: Envelope | Ask) -> None:
        """The handler of a message that somebody may want an answer to has returned."""
        context = self.context
        context._sender = context._ask = None
        ask = item if type(item) is Ask else opened(item)[2]
        if not isinstance(ask, Ask):
            return
        if ask.future.done():
            # It may lead to the handle, which leads to the ask: no circle.
            ask.message = None
        else:
            ask.owe(self)

    def stash(self, message: Any, item: Any) -> bool:
        """Set the message in hand aside, which waits as `item` does. False, and nothing done, when there is no room."""
        return self.runtime.machine.stash(self.cell, item)

    def unstash(self) -> int:
        """Handle what was set aside next. Returns how many messages there were."""
        return self.runtime.machine.unstash(self.cell)

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def run(self, job: Job) -> None:
        """Run a job of the engine and report how it ended."""
        match job.task:
            case Task.START | Task.RESTART:
                await self._run_start(job)
            case Task.PRE_RESTART:
                assert job.error is not None
                self.context._renew()
                await self._run_hook("pre_restart", self.pre_restart(job.error, job.item), job)
            case Task.POST_STOP:
                await self._run_hook("post_stop", self.post_stop(), job)
            case Task.JUDGE:
                await self._run_judge(job)
            case Task.NOTICE:
                await self._run_notice(job.item)

    async def _run_start(self, job: Job) -> None:
        error = await self._outcome(self._begin(job))
        if error is None:
            self.runtime.feed(Done(self.cell, job.task))
            return
        self.broken_off(error, None)
        self.runtime.start_failed(self.cell)
        _let_through(error)

    async def _begin(self, job: Job) -> None:
        if job.error is not None:
            self.release()
            self.context._renew()
            self._call_debts_in(ActorFailedError, job.error)
        await self.start(job.error)

    async def _run_hook(self, name: str, hook: Awaitable[None], job: Job) -> None:
        error = await self._outcome(hook)
        if error is not None:
            self.runtime.hook_failed(self.ref, name, error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.runtime.feed(Stop(self.cell))
        self.runtime.feed(Done(self.cell, job.task))
        _let_through(error)

    async def _run_judge(self, job: Job) -> None:
        child, failure = job.subject, job.error
        assert child is not None
        assert failure is not None
        verdict: SupervisionStrategy | None = None

        async def judge() -> None:
            nonlocal verdict
            said = await self.judge(child.body.ref, failure)
            if not isinstance(said, SupervisionStrategy | None):
                raise TypeError(f"on_child_failure returned {said!r}; it must return a SupervisionStrategy or None")
            verdict = said

        if child.phase != Phase.SUSPENDED or child.error is not failure:
            return  # Something else has decided about it meanwhile.
        error = await self._outcome(judge())
        if error is not None:
            self.runtime.hook_failed(self.ref, "on_child_failure", error)
        self.runtime.feed(Judged(child, failure, job.item, verdict))
        _let_through(error)

    async def _run_notice(self, notice: Any) -> None:
        error = await self._outcome(self._handle(notice))
        if error is not None:
            self.broken_off(error, notice)
        _let_through(error)

    async def _handle(self, notice: Any) -> None:
        result = self.handler(self.context, notice) if self.context_first else self.handler(notice, self.context)
        if inspect.isawaitable(result):
            result = await result
        await self.follow(result, notice)

    async def _outcome(self, work: Awaitable[None]) -> BaseException | None:
        """Run something to its end. Returns what it raised, stripped of the frames that are ours."""
        try:
            await work
        except BaseException as error:
            if self.runtime.pool.in_hand() is not self.cell:
                raise  # The task is thrown away with its loop.
            return _strip(error)
        return None

    # -- the end ---------------------------------------------------------------------------------------------------

    @property
    def debts(self) -> dict[Ask, None]:
        """Asks whose handler has returned and whose answer may still come."""
        if self._debts is None:
            self._debts = {}
        return self._debts

    def _call_debts_in(self, kind: type[AskError], cause: Exception | None) -> None:
        for ask in list(self._debts or ()):
            if ask.call_in(kind, cause):
                self.debts.pop(ask, None)

    def call_at_end(self, callback: Callable[[], None]) -> None:
        """Call back once when the actor has stopped."""
        if self._on_end is None:
            self._on_end = []
        self._on_end.append(callback)

    def forget_at_end(self, callback: Callable[[], None]) -> None:
        """Undo `call_at_end`. A no-op when the actor has stopped."""
        if self._on_end is not None:
            self._on_end.remove(callback)

    def ended(self, error: Exception | None) -> None:
        """The actor has stopped: let go of everything, and tell whoever waits for that."""
        self.forget()
        self.context._release()
        self._call_debts_in(ActorStoppedError, error)
        callbacks, self._on_end = self._on_end, None
        for callback in callbacks or ():
            callback()


def _strip[E: BaseException](error: E) -> E:
    """Take the worker's own frame off the traceback: it says nothing, and it would keep the worker's locals alive."""
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        error.__traceback__ = error.__traceback__.tb_next
    return error


def _let_through(error: BaseException | None) -> None:
    """What ends a program goes on to the event loop, once the engine knows."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
