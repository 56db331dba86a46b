"""Executors: what a program hands to threads runs as a step of the simulation.

1.  A function runs all at once, in the thread of the world, some time after it was handed over; its result comes some
    time after that. Both times are drawn. So it sees the loop at another moment than the one of its call, as a thread
    would, and a crash can come before it, and between it and its result.
2.  No loop is running while it runs, as in a thread.
3.  `time.sleep` in it delays its result by that much.
4.  An executor with one worker runs one function after the other. One with more may run them in any order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from casty_proto.machine import MICROSECOND, MILLISECOND, Instant, Nanoseconds, nanoseconds

from ..boundary import refuse
from ..tape import Stream
from . import running
from .handles import SimTimer

if TYPE_CHECKING:
    from .loop import SimLoop

START_NS: Nanoseconds = 20 * MICROSECOND
SPREAD_NS: Nanoseconds = MILLISECOND
"""How long it takes at least, and at most longer, until a function runs, and until its result is there."""


class Executors:
    """The part of a loop that runs functions of executors."""

    def _begin_executors(self) -> None:
        self._default_executor: Executor | None = None
        self._executors_closed = False
        self._executor_choices: Stream | None = None
        self._free_at: dict[int, Instant] = {}
        """Until when executors with one worker are busy, by number."""
        self._numbers: dict[int, tuple[int, Executor]] = {}
        """Executors by their addresses, which are theirs for as long as they are kept here."""
        self._handed_over: dict[asyncio.Future[Any], None] = {}
        """Those of the default executor that are not over."""
        self.slept_ns: Nanoseconds | None = None
        """How long the function that runs at the moment has slept; `None` when none runs."""

    def run_in_executor[T, *Ts](
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function as a step of its own (rules 1 to 4). Raises `NotSimulatedError` for a pool of processes."""
        loop = cast("SimLoop", self)
        loop._check_closed()
        if executor is None:
            executor = self._default_executor
            if self._executors_closed:
                raise RuntimeError("Executor shutdown has been called")
        if isinstance(executor, ProcessPoolExecutor):
            refuse("a process pool")
        if executor is not None and getattr(executor, "_shutdown", False):
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: asyncio.Future[T] = loop.create_future()
        if executor is self._default_executor:
            self._handed_over[future] = None
        self._at(self._starts(executor), self._run_function, future, executor, func, args)
        return future

    def _run_function(
        self, future: asyncio.Future[Any], executor: Executor | None, func: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        # A function that has not begun can be cancelled. One that has runs to its end all the same.
        if future.cancelled():
            self._handed_over.pop(future, None)
            return
        loop = cast("SimLoop", self)
        before, self.slept_ns = self.slept_ns, 0
        result, problem = None, None
        running.pause()
        try:
            result = func(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # A future cannot raise it: that is how coroutines end.
            problem = RuntimeError("the function raised StopIteration") if isinstance(error, StopIteration) else error
        finally:
            slept, self.slept_ns = self.slept_ns, before
            running.enter(loop)
        self._at(self._ends(executor, slept), self._settle, future, result, problem)

    def _settle(self, future: asyncio.Future[Any], result: Any, problem: BaseException | None) -> None:
        self._handed_over.pop(future, None)
        if future.done():
            return
        if problem is not None:
            future.set_exception(problem)
        else:
            future.set_result(result)

    def sleep_in_thread(self, seconds: float) -> None:
        """The function that runs at the moment sleeps (rule 3)."""
        assert self.slept_ns is not None, "called by what an executor runs"
        self.slept_ns += nanoseconds(max(0.0, seconds))

    # -- when ----------------------------------------------------------------------------------------------------------

    def _delay(self) -> Nanoseconds:
        if self._executor_choices is None:
            self._executor_choices = cast("SimLoop", self).host.stream("executor")
        return START_NS + int(self._executor_choices.raw() ** 3 * SPREAD_NS)

    def _starts(self, executor: Executor | None) -> Instant:
        at = cast("SimLoop", self).host.now() + self._delay()
        if executor is None or getattr(executor, "_max_workers", 1) != 1:
            return at
        number = self._number_of(executor)
        self._free_at[number] = at = max(at, self._free_at.get(number, 0))
        return at

    def _ends(self, executor: Executor | None, slept: Nanoseconds) -> Instant:
        at = cast("SimLoop", self).host.now() + self._delay() + slept
        if executor is not None and getattr(executor, "_max_workers", 1) == 1:
            number = self._number_of(executor)
            self._free_at[number] = at = max(at, self._free_at.get(number, 0))
        return at

    def _number_of(self, executor: Executor) -> int:
        found = self._numbers.get(id(executor))
        if found is None:
            found = self._numbers[id(executor)] = (len(self._numbers), executor)
        return found[0]

    def _at(self, at: Instant, callback: Callable[..., object], *args: Any) -> SimTimer:
        return cast("SimLoop", self).call_at_instant(at, callback, *args)

    # -- the default executor ------------------------------------------------------------------------------------------

    def set_default_executor(self, executor: Executor) -> None:
        """Whose number of workers counts where none is named. Raises `TypeError` for what is no pool of threads."""
        from concurrent.futures import ThreadPoolExecutor

        if not isinstance(executor, ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Take no more functions for the default executor. Those that were handed over run before this returns."""
        self._executors_closed = True
        if self._handed_over:
            await asyncio.wait(list(self._handed_over), timeout=timeout)
