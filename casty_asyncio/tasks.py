"""Work beside the actors: coroutines that nobody awaits, tracked so that none outlives the system."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from casty_proto.actor import SAME, UNHANDLED, Behavior, Lifecycle, Receive

from .arguments import is_coroutine, is_ref_or_none
from .errors import UsageError
from .events import notify
from .refs import ActorRef

if TYPE_CHECKING:
    from .runtime import Runtime


@frozen
class TaskCompleted:
    """The coroutine of a `RunTask` returned `result`."""

    key: str | None
    result: Any = None


@frozen
class TaskFailed:
    """The coroutine of a `RunTask` raised."""

    key: str | None
    exception: BaseException


@frozen
class TaskCancelled:
    """The coroutine of a `RunTask` was cancelled, by `CancelTask` or by the end of the system."""

    key: str | None


type TaskResult = TaskCompleted | TaskFailed | TaskCancelled


def _closes_when_refused(message: Any, attribute: Any, value: Any) -> None:
    try:
        is_ref_or_none(message, attribute, value)
    except UsageError:
        message.discard()
        raise


@frozen
class RunTask:
    """Message to `/_task_runner`: run `coro` to its end, and tell `reply_to` how it ended.

    Raises `UsageError` for what is no coroutine or no ref. A task runner that has stopped closes the coroutine.
    """

    coro: Coroutine[Any, Any, Any] = field(validator=is_coroutine)
    reply_to: ActorRef[TaskResult] | None = field(default=None, validator=_closes_when_refused)
    key: str | None = None

    def discard(self) -> None:
        """Nobody will run it: close the coroutine, or Python would complain that it was never awaited."""
        coro = self.coro
        if isinstance(coro, CoroutineType) and inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
            coro.close()


@frozen
class CancelTask:
    """Message to `/_task_runner`: cancel the running tasks of that key."""

    key: str


type TaskRunnerMsg = RunTask | CancelTask


class TaskTracker:
    """Every task that the system started for somebody."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self,
        coro: Coroutine[Any, Any, Any],
        name: str,
        on_done: Callable[[asyncio.Task[Any]], None] | None = None,
    ) -> asyncio.Task[Any]:
        """Run a coroutine. `on_done` is told how it ended; without one, a failure is logged.

        Cancelled at once when the system is past its end.
        """
        task = self._runtime.loop.create_task(coro, name=name, context=self._runtime.pool.base.copy())
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        task.add_done_callback(self._log if on_done is None else on_done)
        if self.closed:
            task.cancel()
        return task

    async def close(self) -> None:
        """Cancel everything and wait until it is gone."""
        self.closed = True
        while tasks := [task for task in self._tasks if task is not asyncio.current_task()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1.0)
            stubborn = [task.get_name() for task in tasks if not task.done()]
            if stubborn:
                self._runtime.log.error("did not end when cancelled: %s", ", ".join(stubborn))
                return

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def _log(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._runtime.log.error("task %s failed", task.get_name(), exc_info=error)


def task_runner(runtime: Runtime) -> Behavior[TaskRunnerMsg]:
    """The actor `/_task_runner`: fire-and-forget work that is cancelled, not orphaned, when the system ends."""
    running: dict[asyncio.Task[Any], str | None] = {}

    def run(message: RunTask) -> None:
        def report(task: asyncio.Task[Any]) -> None:
            del running[task]
            _report(runtime, message, task)

        name = "casty-task" if message.key is None else f"casty-task {message.key}"
        running[runtime.tracker.start(message.coro, name, report)] = message.key

    def receive(_: Any, message: object) -> Behavior[TaskRunnerMsg]:
        match message:
            case RunTask():
                run(message)
            case CancelTask(key):
                for task in [task for task, its_key in running.items() if its_key == key]:
                    task.cancel()
            case _:
                return UNHANDLED
        return SAME

    async def post_stop(_: Any) -> None:
        tasks = list(running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    return Lifecycle(Receive(receive), post_stop=post_stop)


def _report(runtime: Runtime, message: RunTask, task: asyncio.Task[Any]) -> None:
    outcome: TaskResult
    if task.cancelled():
        outcome = TaskCancelled(message.key)
    elif (error := task.exception()) is not None:
        outcome = TaskFailed(message.key, error)
        if message.reply_to is None:
            runtime.log.error("task %s failed", message.key or "without a key", exc_info=error)
    else:
        outcome = TaskCompleted(message.key, task.result())
    if message.reply_to is not None:
        notify(message.reply_to, outcome)
