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
    read once for so many messages as a turn of one actor has, and a turn shrinks while handlers are slow. An actor
    with a long mailbox goes to the end of the queue after its turn. After a suspension
    a worker handles one message more, and unless that suspends again the loop is next: a thousand handlers that resume
    in one step of the loop would otherwise have a turn each before the loop has its own.
4.  Context variables that a handler sets must not be seen by another actor, and neither by the next message. A worker
    compares its context with the system's after every message, which is a comparison of two pointers unless something
    was set. Where the system's has values that can change, being equal says too little, and identity is compared. A
    worker whose context differs retires, and so does one that somebody cancelled; a fresh one takes its place. Who asks
    for his own cancellation and then does not wait for it leaves that to the rest of his turn: to the same actor.
5.  Idle workers wait on a future each. `MAX_IDLE` of them are kept; the others retire.
6.  Whatever comes out of a handler, its actor goes back to the engine: one that stayed in the hands of a dead worker
    could never stop, and neither could the system. Only then do `KeyboardInterrupt` and `SystemExit` go on to the loop,
    as they would from any task.
7.  A worker does nothing in the call that creates it, whatever the task factory (`asyncio.eager_task_factory`): that
    call is a `tell` in the middle of somebody's handler.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from inspect import CORO_CREATED, getcoroutinestate
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

_TICKETS = tuple(tuple(range(n - 1, -1, -1)) for n in range(TURN + 1))
"""How many more messages a turn may have, after each one.

A turn iterates over these because `Worker.send` can then shorten it from outside at no cost per message: it sets the
position of the iterator.
"""

_ATOMS = (type(None), bool, int, float, complex, str, bytes)
"""Types whose equal values cannot be told apart."""


class _Alike:
    """Compares contexts by the identity of their values."""

    def __init__(self, base: Context) -> None:
        self._items = tuple(base.items())

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Context)
            and len(other) == len(self._items)
            and all(other.get(var) is value for var, value in self._items)
        )

    __hash__ = None  # type: ignore[assignment]


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
        self.base_or_alike: object = base if all(type(value) in _ATOMS for value in base.values()) else _Alike(base)
        """What the context of a worker is compared with."""
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
        else:
            self.active = Worker(self)

    def claim(self, worker: Worker) -> None:
        """A worker that is being run becomes the active one, if nobody is."""
        if self.active is None:
            self.active = worker

    def in_hand(self) -> Cell | None:
        """The actor whose handler or hook makes this call, in its own task."""
        worker = self.current
        return None if worker is None or asyncio.current_task() is not worker.task else worker.cell

    def pace(self, elapsed: float) -> bool:
        """Adapt the length of a turn. True when the quantum is used up, and the loop must have its turn."""
        if elapsed < QUANTUM_SECONDS:
            self.turn = min(TURN, self.turn * 2)
            return False
        self.turn = max(1, self.turn // 4)
        return True

    def progress(self) -> object:
        """Something that changes while actors that wait have their turns. `None` when none waits."""
        ready = self.ready
        return (self.active, len(ready), ready[0] if ready else None) if ready or self.active is not None else None

    def running(self) -> list[Worker]:
        """The workers that have an actor in hand."""
        return [worker for worker in self.workers if worker.cell is not None]

    async def close(self) -> None:
        """End the idle workers, and from now on every one that has nothing to do.

        A worker with a handler that does not end is left behind. Should it end some day, its actor ends as well.
        """
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
        self._step_began = 0.0
        self._resumed = False
        self._tickets: Any = iter(_TICKETS[0])
        self._last_ticket = 0
        self._created = False
        self.task: asyncio.Task[None] = pool.loop.create_task(self, context=self._context, name="casty-worker")
        self._created = True
        pool.workers[self] = None

    # -- what the task calls ---------------------------------------------------------------------------------------

    def send(self, value: Any) -> Any:
        if not self._created:
            return None  # rule 7
        pool = self.pool
        pool.current = self
        if pool.active is None:
            pool.active = self
        if self.cell is not None:
            self._resumed = True
            self._tickets.__setstate__(self._last_ticket)  # rule 3
        self._step_began = pool.clock()
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
        pool.claim(self)
        # Whether this is a cancellation or not, `_soiled` will say at the end of the turn: no message more, also not
        # after a handler that has things to await before it ends.
        self._resumed = True
        self._last_ticket = TURN
        self._tickets.__setstate__(TURN)
        self._step_began = pool.clock()
        unborn = getcoroutinestate(self._inner) == CORO_CREATED
        try:
            yielded = self._inner.throw(typ if val is None else val)
        finally:
            if unborn:
                self._leave()  # Cancelled before its first step, so that `_work` cannot do it.
            pool.current = None
        if self.cell is not None and pool.active is self:
            self._hand_over()
        return yielded

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._inner.__await__()

    # What tools that print the stack of a task look at.
    __name__ = property(lambda self: "idle worker" if self.cell is None else f"worker of {self.cell.path}")
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
        # A worker that is thrown away with its loop leaves as well, but there is nobody left to take its place.
        if pool.current is self and pool.active is None and pool.ready:
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
        left = pool.turn
        while ready and pool.active is self:
            self.cell = ready.popleft()
            left -= await self._turn(self.cell, pool.turn)
            self.cell = None
            if self._soiled():
                return False
            pool.claim(self)
            if self._resumed:
                self._resumed = False
                if ready and pool.active is self:
                    await _yield_to_loop()
                left = pool.turn
            if left > 0:
                continue
            if pool.pace(clock() - self._step_began) and pool.active is self:
                await _yield_to_loop()
            left = pool.turn
        return True

    async def _turn(self, cell: Cell, most: int) -> int:
        """Let one actor handle at most `most` messages. Returns how many there were."""
        pool = self.pool
        take, base, own = pool.runtime.take, pool.base_or_alike, self._context
        body: Body = cell.body
        context, context_first = body.context, body.context_first
        self._tickets = tickets = iter(_TICKETS[most])
        self._last_ticket = most - 1
        left = most
        for left in tickets:
            item = take(cell)
            if item is IDLE:
                # An exception may lead here, from frame to frame: let go of the last message, and of what it holds.
                message = result = None
                return most - left - 1
            kind = type(item)
            message = item
            try:
                if kind is Job:
                    result = None
                    await body.run(item)
                else:
                    if kind is Ask:
                        message, context._ask = item.message, item
                    elif kind is Envelope:
                        message, context._sender = item.message, item.sender
                    result = body.handler(context, message) if context_first else body.handler(message, context)
                    if type(result) is CoroutineType:
                        result = await result
                    if result is not None and result is not SAME:
                        await body.follow(result, message)
            except Exception as error:
                body.failed(error, item)
            except BaseException as error:
                if pool.current is not self:
                    raise  # This task is thrown away with its loop.
                if kind is not Job:
                    body.broken_off(error, item)
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    context._sender = context._ask = None
                    pool.ready.append(cell)
                    self.task.add_done_callback(asyncio.Task.exception)  # It is raised by the loop, and so not unseen.
                    raise
            if kind is Ask and item.future.done():
                context._ask = item.message = None  # As `settle` would, for what most asks come to.
            elif message is not item:
                body.settle(item)
            try:
                if own != base:
                    break
            except Exception:
                # The values of context variables are compared, and they need not like it.
                break
        item = message = result = None
        pool.ready.append(cell)
        return most - left

    def _soiled(self) -> bool:
        """Whether a handler left something behind in this task that another actor could see (rule 4)."""
        try:
            return self._context != self.pool.base_or_alike or self.task.cancelling() > 0
        except Exception:
            return True
