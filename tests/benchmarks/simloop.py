"""The simulated event loop: what a timer costs, and a whole cluster under faults.

The reference is the least loop that C tasks can run on: a heap of timers, a queue of callbacks, and a clock that jumps.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Any, cast

from casty_sim.loop import SimLoop
from casty_sim.trace import Trace

from . import simloop_cluster
from .harness import Figure, Measure

TASKS = 100
ROUNDS = 1000
SEEDS = 20


class _Handle:
    __slots__ = ("args", "callback", "cancelled_", "context")

    def __init__(self, callback: Any, args: Any, context: Context) -> None:
        self.callback, self.args, self.context = callback, args, context
        self.cancelled_ = False

    def cancel(self) -> None:
        self.cancelled_ = True


class LeastLoop:
    """A virtual clock, and nothing that the measured program does not need."""

    def __init__(self) -> None:
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._now = 0.0
        self._seq = 0

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = _Handle(callback, args, context or copy_context())
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        self._seq += 1
        handle = _Handle(callback, args, context or copy_context())
        heappush(self._timers, (when, self._seq, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=cast(Any, self))

    def create_task(self, coro: Any, **more: Any) -> Any:
        return asyncio.Task(coro, loop=cast(Any, self), **more)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """To its end."""
        asyncio._set_running_loop(cast(Any, self))
        try:
            task = self.create_task(main)
            ready, timers = self._ready, self._timers
            while not task.done():
                if not ready:
                    self._now = timers[0][0]
                while timers and timers[0][0] <= self._now:
                    ready.append(heappop(timers)[2])
                for _ in range(len(ready)):
                    handle = ready.popleft()
                    if not handle.cancelled_:
                        handle.context.run(handle.callback, *handle.args)
        finally:
            asyncio._set_running_loop(None)


async def _sleeper(number: int) -> None:
    for turn in range(ROUNDS):
        await asyncio.sleep((number * 7919 + turn * 104729) % 1000 / 1000 + 0.001)


async def _sleepers() -> None:
    await asyncio.gather(*[_sleeper(number) for number in range(TASKS)])


def _timed(run: Callable[[], object]) -> float:
    """Nanoseconds per wake-up. In a thread of its own, since this one has a loop that runs."""
    took: list[float] = []

    def measure() -> None:
        began = time.thread_time_ns()
        run()
        took.append((time.thread_time_ns() - began) / (TASKS * ROUNDS))

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    return took[0]


async def least() -> float:
    """Nanoseconds for a wake-up on the least loop."""
    return _timed(lambda: LeastLoop().run(_sleepers()))


def _simulated(*, keep: bool) -> Measure:
    async def measure() -> float:
        def run() -> None:
            loop = SimLoop()
            loop.world.trace = Trace(keep=keep, digest=keep)
            loop.run_until_complete(_sleepers())
            loop.close()

        return _timed(run)

    return measure


async def _seeds() -> float:
    """Runs of a cluster per second of one core."""
    rates: list[float] = []

    def run() -> None:
        began = time.thread_time()
        for seed in range(SEEDS):
            outcome = simloop_cluster.increments.run(seed)
            if outcome.failed:
                raise AssertionError(outcome.problem)
        rates.append(SEEDS / (time.thread_time() - began))

    _in_thread(run)
    return rates[0]


def _in_thread(run: Callable[[], None]) -> None:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


FIGURES = [
    Figure("timer wake-up, trace off", _simulated(keep=False), least, bar=1.5, unit="ns", at_most=True),
    Figure("timer wake-up, trace on", _simulated(keep=True), least, bar=2.5, unit="ns", at_most=True),
    Figure("three nodes on the whole stack, 10 s with faults", _seeds, bar=10.0, unit="seeds/s"),
]
