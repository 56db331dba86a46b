"""Workers: the few tasks that run all actors.

Theory of operation
-------------------
An actor is not a task. Actors that have something to do wait in one run queue. One worker at a time is *active*: it
takes actors from the queue and runs their handlers, one message after the other, without going back to the event loop
in between, until the queue is empty or its quantum is used up.

1.  A handler that suspends parks its worker. `Worker.send` sees that, because it is what the task calls: when the inner
    coroutine yields while an actor is in hand, the worker is no longer active, and another one takes over. So a handler
    that awaits holds up nobody but its own actor. Noticing costs one Python call per step of the task, not per message.
2.  The handler runs in the worker's task from its first line to its last. `current_task()`, `asyncio.timeout` and
    `TaskGroup` therefore see one task, as they must.
3.  After `QUANTUM_SECONDS` of work the active worker yields, and the loop serves its sockets and timers. The clock is
    read once per turn of an actor, and a turn is a number of messages that shrinks while handlers are slow. An actor
    with a long mailbox goes to the end of the queue after its turn.
4.  Context variables that a handler sets must not be seen by another actor. A worker compares its context with the
    system's after every message, which is a comparison of two pointers unless something was set. A worker whose context
    differs retires, and so does one that somebody cancelled; a fresh one takes its place.
5.  Idle workers wait on a future each. `MAX_IDLE` of them are kept; the others retire.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import CoroutineType, TracebackType, coroutine
from typing import TYPE_CHECKING, Any

from casty_proto.actor import IDLE, SAME, Cell, Envelope, Job

from .asks import Ask

if TYPE_CHECKING:
    from .body import Body
    from .runtime import Runtime

TURN = 32
"""At most so many messages does one actor handle before the next one has its turn."""
QUANTUM_SECONDS = 0.001
MAX_IDLE = 16


@coroutine
def _yield_to_loop() -> Generator[None]:
    yield


class Pool:
    """The run queue and its workers."""

    def __init__(self, runtime: Runtime, loop: asyncio.AbstractEventLoop, base: Context, clock: Callable[[], float]):
        self.runtime = runtime
        self.loop = loop
        self.base = base
        """The context that every handler starts in."""
        self.clock = clock
        self.ready: deque[Cell] = deque()
        self.active: Worker | None = None
        """The worker that takes from the run queue, or has been woken to do so."""
        self.current: Worker | None = None
        """The worker whose step is being run right now."""
        self.idle: list[Worker] = []
        self.workers: dict[Worker, None] = {}
        self.turn = TURN
        self.closed = False

    def make_ready(self, cell: Cell) -> None:
        """Put an actor into the run queue, and see to it that somebody takes it out."""
        self.ready.append(cell)
        if self.active is None:
            self.activate()

    def activate(self) -> None:
        """Make an idle worker, or a new one, the active one."""
        if self.idle:
            worker = self.idle.pop()
            self.active = worker
            worker.wake()
        elif not self.closed:
            self.active = Worker(self)

    def claim(self, worker: Worker) -> None:
        """A worker that is being run becomes the active one, if nobody is."""
        if self.active is None:
            self.active = worker

    def running(self) -> list[Worker]:
        """The workers that have an actor in hand."""
        return [worker for worker in self.workers if worker.cell is not None]

    def cancel_running(self) -> None:
        """Cancel every handler that is suspended."""
        for worker in self.running():
            if worker is not self.current:
                worker.task.cancel()

    async def close(self) -> None:
        """End the idle workers. A worker with a handler that does not end is left behind."""
        self.closed = True
        tasks = [worker.task for worker in self.workers if worker.cell is None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class Worker(Coroutine[Any, None, None]):
    """One task that runs actors. To its task it is the coroutine; inside, it drives the real one."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.cell: Cell | None = None
        """The actor in hand."""
        self._waiter: asyncio.Future[None] | None = None
        self._inner = self._work()
        self._context = pool.base.copy()
        self.task: asyncio.Task[None] = pool.loop.create_task(self, context=self._context, name="casty-worker")
        pool.workers[self] = None

    # -- what the task calls ---------------------------------------------------------------------------------------

    def send(self, value: Any) -> Any:
        pool = self.pool
        pool.current = self
        pool.claim(self)
        try:
            yielded = self._inner.send(value)
        finally:
            pool.current = None
        if self.cell is not None and pool.active is self:
            self._hand_over()
        return yielded

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        pool = self.pool
        pool.current = self
        try:
            yielded = self._inner.throw(typ if val is None else val)
        finally:
            pool.current = None
        if self.cell is not None and pool.active is self:
            self._hand_over()
        return yielded

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._inner.__await__()

    # What tools that print the stack of a task look at.
    cr_await = property(lambda self: self._inner.cr_await)
    cr_code = property(lambda self: self._inner.cr_code)
    cr_frame = property(lambda self: self._inner.cr_frame)
    cr_running = property(lambda self: self._inner.cr_running)

    def _hand_over(self) -> None:
        """The handler in hand has suspended: let another worker go on with the run queue (rule 1)."""
        pool = self.pool
        pool.active = None
        if pool.ready:
            pool.activate()

    def wake(self) -> None:
        """End the wait for work."""
        waiter = self._waiter
        assert waiter is not None
        if not waiter.done():
            waiter.set_result(None)

    # -- the work --------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        pool = self.pool
        try:
            while await self._serve():
                if pool.active is self:
                    # Whoever got an answer just now often asks again at once: look once more before going to rest.
                    await _yield_to_loop()
                    if pool.ready:
                        continue
                if len(pool.idle) >= MAX_IDLE or pool.closed:
                    return
                await self._rest()
        finally:
            self._leave()

    def _leave(self) -> None:
        pool = self.pool
        pool.workers.pop(self, None)
        if self in pool.idle:
            pool.idle.remove(self)
        if pool.active is self:
            pool.active = None
            if pool.ready and not pool.closed:
                pool.activate()

    async def _rest(self) -> None:
        pool = self.pool
        if pool.active is self:
            pool.active = None
        self._waiter = waiter = pool.loop.create_future()
        pool.idle.append(self)
        try:
            await waiter
        finally:
            self._waiter = None

    async def _serve(self) -> bool:
        """Run actors until the queue is empty or another worker is active. False when this worker must retire."""
        pool = self.pool
        ready, clock = pool.ready, pool.clock
        began = clock()
        while ready and pool.active is self:
            self.cell = ready.popleft()
            await self._turn(self.cell, pool.turn)
            self.cell = None
            if self._soiled():
                return False
            pool.claim(self)
            if clock() - began < QUANTUM_SECONDS:
                pool.turn = min(TURN, pool.turn * 2)
            else:
                pool.turn = max(1, pool.turn // 4)
                if pool.active is self:
                    await _yield_to_loop()
                began = clock()
        return True

    async def _turn(self, cell: Cell, left: int) -> None:
        """Let one actor handle at most `left` messages."""
        pool = self.pool
        take, base, own = pool.runtime.take, pool.base, self._context
        body: Body = cell.body
        context = body.context
        while left:
            item = take(cell)
            if item is IDLE:
                return
            left -= 1
            kind = type(item)
            if kind is Job:
                await body.run(item)
                continue
            if kind is Ask:
                message, context._ask = item.message, item
            elif kind is Envelope:
                message, context._sender = item.message, item.sender
            else:
                message = item
            try:
                result = body.handler(context, message) if body.context_first else body.handler(message, context)
                if type(result) is CoroutineType:
                    result = await result
                if result is not None and result is not SAME:
                    await body.follow(result, message)
            except Exception as error:
                body.failed(error, item)
            except asyncio.CancelledError as error:
                # The rest of the turn is another worker's: this task is marked as cancelled.
                body.cancelled(error, item)
                left = 0
            if message is not item:
                body.settle(item)
            if own != base:
                break
        pool.ready.append(cell)

    def _soiled(self) -> bool:
        """Whether a handler left something behind in this task that another actor could see (rule 4)."""
        try:
            return self._context != self.pool.base or self.task.cancelling() > 0
        except Exception:
            # The values of context variables are compared, and they need not like it.
            return True
