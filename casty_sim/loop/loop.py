"""The event loop of one simulated host.

Theory of operation
-------------------
A host has one loop for each of its lives. All loops of a world share its heap: a loop is woken by the world, for a
packet or when the earliest of its timers is due, and runs until it has nothing left to do at that instant.

1.  A turn is what asyncio calls an iteration: the callbacks that were ready when it began, in the order in which they
    became ready. Timers that are due join them before each turn, the earliest first, and in the order of their making
    where they are due together.
2.  The clock stands still during a turn. After `TURNS_AT_ONCE` turns without a pause it moves by `BREATH_NS`, so that a
    program that polls, with `sleep(0)`, for the time to pass, sees it pass, and the other hosts have their turn.
3.  The clock is the one of the host, as a whole number of nanoseconds that begins at 0, and `time()` is that number in
    seconds. It is never before the `when` of a timer that runs.
4.  Where the next thing to happen in the whole world is a timer of this loop, the loop moves the clock itself, without
    a way through the heap. It does exactly what the world would have done.
5.  A loop whose host has lost its power runs nothing any more, and keeps everything alive that it had: nothing of it
    may be finalised, since a power cut runs no `finally`.
6.  What is not simulated raises (`boundary`).
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import Context
from heapq import heapify, heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

from casty_proto.machine import MICROSECOND, SECOND, Instant, Nanoseconds

from ..boundary import Refusals, refuse
from ..tape import seed_of
from ..world import NEVER, Host
from . import running
from .executor import Executors
from .futures import SimFuture, SimTask
from .handles import SimHandle, SimTimer, due_ns, name_of
from .network import NetworkCalls
from .signals import Signals

TURNS_AT_ONCE = 100
BREATH_NS: Nanoseconds = 50 * MICROSECOND
"""Rule 2."""

FORGOTTEN_MIN = 64
"""So many timers that were cancelled are left in the heap at least, before it is tidied."""

log = logging.getLogger("asyncio")


if TYPE_CHECKING:
    from ..files import FileDisk
    from ..stack.stack import Stack


class DeadlockError(RuntimeError):
    """The loop was to run until something is done, and nothing will ever happen any more."""


class SimLoop(NetworkCalls, Executors, Signals, Refusals, asyncio.AbstractEventLoop):  # type: ignore[misc]
    """An event loop on the virtual clock.

    Without arguments it has a world of its own, with one host, and runs like any other loop:
    `asyncio.Runner(loop_factory=SimLoop)`. The loops of a larger world are made by their hosts.
    """

    def __init__(self, host: Host | None = None) -> None:
        self._ready: deque[SimHandle] = deque()
        self._timers: list[tuple[Instant, int, SimTimer]] = []
        self._forgotten = 0
        self._seq = 0
        self._number = 0
        self._breath_until: Instant = -1
        self._now: Instant = 0
        self._seconds = 0.0
        self._stopping = False
        self._running = False
        self._closed = False
        self._debug = False
        self._task_factory: Any = None
        self._stack: Stack | None = None
        self._on_exception: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._generators: dict[int, ref[AsyncGenerator[Any, Any]]] = {}
        self.is_driven = False
        """Whether a host drives it, and not `run_forever`."""
        self._is_buried = False
        self._buried: list[Any] = []
        """What will not run any more, and is to stay (rule 5)."""
        self.on_unhandled: Callable[[dict[str, Any]], object] | None = None
        """Who is told of errors that nobody has handled, as an exception handler is."""
        self.steps = 0
        """How many callbacks have run."""
        if host is None:
            from .alone import alone

            host = alone(self)
        self.host = host
        self.world = host.world
        self.random = Random(seed_of(host.world.tape.seed, f"random/{host.name}/{host.starts}"))
        """The randomness of the program: `random`, `os.urandom`, and what is made of them."""
        self._begin_executors()
        self._begin_signals()

    # -- the clock -----------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """The clock of the host, in seconds."""
        return self._seconds

    def look_at_clock(self) -> None:
        """The clock has moved (rule 2: it stands still for as long as the loop runs)."""
        self._now = now = self.host.now()
        self._seconds = now / 1e9

    def next_number(self) -> int:
        """A number that no task or future of this loop has."""
        self._number = number = self._number + 1
        return number

    @property
    def disk(self) -> FileDisk:
        """The files of the host."""
        return cast("FileDisk", self.host.disk)

    # -- callbacks -----------------------------------------------------------------------------------------------------

    def call_soon[*Ts](
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it in the next turn."""
        if self._closed:
            self._check_closed()
        handle = SimHandle(callback, args, context)
        if self._is_buried and getattr(callback, "__self__", None) is not self._stack:
            self._buried.append(handle)
        else:
            self._ready.append(handle)
        return handle

    def call_soon_threadsafe[*Ts](
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon`. Raises `NotSimulatedError` in another thread than that of the world."""
        if not running.is_own_thread():
            refuse("call_soon_threadsafe from another thread")
        return self.call_soon(callback, *args, context=context)

    def call_later[*Ts](
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it after `delay` seconds. Raises `TypeError` for a delay that is none."""
        if delay is None:
            raise TypeError("delay must not be None")
        if self._closed or self._is_buried:
            return self.call_at(self._seconds + delay, callback, *args, context=context)
        when = self._seconds + delay
        timer = SimTimer(when, callback, args, self, context)
        self._seq = seq = self._seq + 1
        heappush(self._timers, (due_ns(when), seq, timer))
        return timer

    def call_at[*Ts](
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it when the clock shows `when` seconds. Raises `TypeError` for a time that is none."""
        if when is None:
            raise TypeError("when cannot be None")
        if self._closed:
            self._check_closed()
        timer = SimTimer(when, callback, args, self, context)
        if self._is_buried:
            self._buried.append(timer)
            return timer
        self._seq = seq = self._seq + 1
        heappush(self._timers, (due_ns(when), seq, timer))
        return timer

    def call_at_instant(
        self, at: Instant, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> SimTimer:
        """Call it at an instant on the clock of the host."""
        timer = SimTimer(at / 1e9, callback, args, self, context)
        if self._is_buried and getattr(callback, "__self__", None) is not self._stack:
            self._buried.append(timer)
            return timer
        self._seq = seq = self._seq + 1
        heappush(self._timers, (at, seq, timer))
        return timer

    def forget_timer(self) -> None:
        """A timer in the heap was cancelled. When many have been, they are taken out."""
        self._forgotten += 1
        if self._forgotten > FORGOTTEN_MIN and self._forgotten * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapify(self._timers)
            self._forgotten = 0

    def fingerprint(self) -> tuple[int, ...]:
        """How far it has come, for a digest: the same in every process."""
        return (self.steps, self._number, len(self._timers), len(self._ready))

    def invariants(self) -> None:
        """Raises `AssertionError` where the timers are no heap."""
        timers = self._timers
        assert not timers or timers[0][:2] == min(entry[:2] for entry in timers), "the earliest timer is the first"

    # -- turns ---------------------------------------------------------------------------------------------------------

    def deadline(self) -> Instant | None:
        """When it wants to be woken, on the clock of the host."""
        if self._ready:
            return max(self._breath_until, 0)
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heappop(timers)
            self._forgotten -= 1
        return max(timers[0][0], self._breath_until) if timers else None

    def run_turns(self) -> None:
        """Run until nothing is left to do at this instant (rules 1 and 2), or it was stopped."""
        ready, now, step = self._ready, self._now, self.world.trace.step
        handle: SimHandle | None
        for _ in range(TURNS_AT_ONCE):
            timers = self._timers
            if timers and timers[0][0] <= now:
                self._take_due(now)
            count = len(ready)
            if not count:
                return
            self.steps += count
            for _ in range(count):
                if not ready:
                    # The host was switched off by one of its own callbacks.
                    return
                handle = ready.popleft()
                if not handle._cancelled:
                    if step is not None:
                        step(now, self.host.number, name_of(handle._callback))
                    try:
                        handle._context.run(handle._callback, *handle._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:
                        self._on_callback_failed(handle, error)
            # The traceback of an exception that a task holds has this frame, and the task would hold itself.
            handle = None
            if self._stopping or self._closed:
                return
        self._breath_until = now + BREATH_NS

    def _take_due(self, now: Instant) -> None:
        timers, ready = self._timers, self._ready
        while timers and timers[0][0] <= now:
            timer = heappop(timers)[2]
            if timer._cancelled:
                self._forgotten -= 1
            else:
                timer._scheduled = False
                ready.append(timer)

    def wake(self) -> None:
        """Run what is due, and what comes next as long as nothing else in the world comes before it (rule 4)."""
        world, host, heap, ready = self.world, self.host, self.world.heap, self._ready
        self.look_at_clock()
        while True:
            self.run_turns()
            if self._stopping or self._closed:
                return
            timers = self._timers
            if timers and not ready and not timers[0][2]._cancelled and timers[0][0] > self._breath_until:
                deadline = timers[0][0]
            elif (found := self.deadline()) is not None:
                deadline = found
            else:
                return
            at = deadline - host.ahead if host.rate == 1.0 else host.instant_of(deadline)
            if at > world.horizon or (heap and heap[0][0] <= at):
                return
            if at < world.now:
                at = world.now
            world.skip_to(at, host)
            self._now = now = at + host.ahead if host.rate == 1.0 else host.now()
            self._seconds = now / 1e9

    # -- tasks and futures ---------------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """A future, told apart by its number."""
        return SimFuture(loop=self)

    def create_task[T](
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **more: Any
    ) -> asyncio.Task[T]:
        """A task, told apart by its number."""
        self._check_closed()
        factory = self._task_factory
        if factory is None:
            return SimTask(coro, loop=self, name=name, context=context, **more)
        if context is not None:
            more["context"] = context
        task = factory(self, coro, **more)
        if name is not None:
            task.set_name(name)
        return cast(asyncio.Task[T], task)

    def set_task_factory(self, factory: Any) -> None:
        """Have tasks made by another one. Its tasks are told apart by their addresses, if it does not see to that."""
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._task_factory = factory

    def get_task_factory(self) -> Any:
        """What was set, or `None`."""
        return self._task_factory

    # -- running by itself ---------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until `stop`. Raises `DeadlockError` where nothing will ever happen any more."""
        self._check_may_run()
        self._running = True
        try:
            with running.simulation(self.world):
                if self._stopping:
                    # It was stopped before it ran: that means one turn.
                    self._one_turn()
                while not self._stopping:
                    self._run_on()
        finally:
            self._stopping = self._running = False

    def _one_turn(self) -> None:
        running.enter(self)
        try:
            self.look_at_clock()
            self.run_turns()
        finally:
            running.leave()

    def _run_on(self) -> None:
        world = self.world
        self.host.look_at_alarm()
        if not world.heap:
            raise DeadlockError(
                f"nothing will ever happen any more: no timer is set, and no packet is on its way\n{self.waiting()}"
            )
        world.run(NEVER)

    def waiting(self) -> str:
        """Which tasks are not done, and where they wait, for people."""
        lines = [f"  {task.get_name()} waits at {_place(task)}" for task in self.tasks()]
        return "\n".join(["These tasks wait:", *lines]) if lines else "No task waits."

    def tasks(self) -> list[asyncio.Task[Any]]:
        """All tasks that are not done, in the order of their making."""
        tasks = asyncio.all_tasks(self)
        return sorted(tasks, key=lambda task: getattr(task, "number", 0))

    def run_until_complete[T](self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until it is done, and return its result, or raise its exception."""
        self._check_may_run()
        is_new = not asyncio.isfuture(future)
        task: asyncio.Future[T] = asyncio.ensure_future(cast(Any, future), loop=self)
        if is_new:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.add_done_callback(self._on_complete)
        try:
            self.run_forever()
        except BaseException:
            if is_new and task.done() and not task.cancelled():
                task.exception()
            raise
        finally:
            task.remove_done_callback(self._on_complete)
        if not task.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return task.result()

    def _on_complete(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and isinstance(future.exception(), SystemExit | KeyboardInterrupt):
            return
        self.stop()

    def stop(self) -> None:
        """End `run_forever` after this turn. Raises `NotSimulatedError` where a host drives it."""
        if self.is_driven:
            refuse("loop.stop")
        self._stopping = True
        if self._running:
            self.world.halt()

    def is_running(self) -> bool:
        """Whether it runs callbacks, or can be woken to do so."""
        return self._running or (self.is_driven and not self._closed)

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Drop what was to be called. Raises `RuntimeError` while it runs."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if not self._closed:
            self._closed = True
            self._ready.clear()
            self._timers.clear()
            self.close_network()
            if not self.is_driven:
                # Those of larger worlds outlast the programs that write on them.
                self.disk.close()

    def bury(self) -> None:
        """Run nothing of the program any more, and let nothing of it be finalised (rule 5). The network stack goes on,
        for as long as the host has power."""
        stack = self.stack
        tasks = self.tasks()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        open_ones = [generator for each in self._generators.values() if (generator := each()) is not None]
        kept = [entry for entry in self._timers if getattr(entry[2]._callback, "__self__", None) is stack]
        self._buried += [tasks, open_ones, list(self._ready), self._timers]
        self._ready.clear()
        heapify(kept)
        self._timers = kept
        self._is_buried = True

    def dispose(self) -> None:
        """The world is over: let go of everything. What finalizers complain about is of no interest."""
        self._on_exception = _ignore
        # It may be the one who holds this loop. What a cycle holds is finalised in another order.
        self.on_unhandled = None
        self.bury()
        self._closed = True
        self._timers.clear()
        self._buried.clear()
        self._stack = None

    async def shutdown_asyncgens(self) -> None:
        """Close all asynchronous generators that are open, in the order in which they were begun."""
        open_ones = [generator for each in self._generators.values() if (generator := each()) is not None]
        self._generators.clear()
        results = await asyncio.gather(*[each.aclose() for each in open_ones], return_exceptions=True)
        for generator, result in zip(open_ones, results, strict=True):
            if isinstance(result, Exception):
                self.call_exception_handler(
                    {
                        "message": f"an error occurred during closing of asynchronous generator {generator!r}",
                        "exception": result,
                        "asyncgen": generator,
                    }
                )

    def on_generator_begun(self, generator: AsyncGenerator[Any, Any]) -> None:
        """An asynchronous generator was iterated for the first time."""
        number = self.next_number()
        self._generators[number] = ref(generator, lambda _: self._generators.pop(number, None))

    def on_generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        """An asynchronous generator that was not finished is about to be finalised."""
        if not self._closed:
            self.call_soon(self.create_task, generator.aclose())

    def _check_may_run(self) -> None:
        self._check_closed()
        if self._running:
            raise RuntimeError("This event loop is already running")
        if events._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    # -- errors --------------------------------------------------------------------------------------------------------

    def _on_callback_failed(self, handle: SimHandle, error: BaseException) -> None:
        if self._is_buried and getattr(handle._callback, "__self__", None) is not self._stack:
            # The program was ended in this step, and is not there any more.
            return
        self.call_exception_handler(
            {"message": f"Exception in callback {handle!r}", "exception": error, "handle": handle}
        )

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        """Have errors that nobody waits for reported to `handler`."""
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._on_exception = handler

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        """What was set, or `None`."""
        return self._on_exception

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log it."""
        error = context.get("exception")
        lines = [context.get("message") or "Unhandled exception in event loop"]
        lines += [f"{key}: {context[key]!r}" for key in sorted(context) if key not in ("message", "exception")]
        log.error("\n".join(lines), exc_info=error if error is not None else False)
        if self.on_unhandled is not None:
            self.on_unhandled(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error that nobody waits for."""
        try:
            if self._on_exception is None:
                self.default_exception_handler(context)
                return
            # Where it came from has a context, in which a handler may look for what it wants to tell.
            thing = context.get("task") or context.get("future") or context.get("handle")
            found = thing.get_context() if thing is not None and hasattr(thing, "get_context") else None
            if found is None:
                self._on_exception(self, context)
            else:
                found.run(self._on_exception, self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.default_exception_handler(
                {"message": "Unhandled error in exception handler", "exception": error, "context": context}
            )

    def get_debug(self) -> bool:
        """Whether the debug mode of asyncio is on."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """Switch the debug mode of asyncio. It changes nothing here."""
        self._debug = enabled

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self._running else "idle"
        return f"<SimLoop of {self.host.name}, {state}, at {self.host.now() / SECOND:.6f} s>"


def _ignore(_: asyncio.AbstractEventLoop, __: dict[str, Any]) -> None:
    """Nobody wants to know."""


def _place(task: asyncio.Task[Any]) -> str:
    """Where a task waits: the chain of what it awaits, from the first coroutine to the last that has a frame."""
    places: list[str] = []
    coroutine: Any = task.get_coro()
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        code = frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno} in {code.co_qualname}")
        coroutine = coroutine.cr_await
    return ", ".join(places) or "its beginning"
