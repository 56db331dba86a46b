"""The end of an actor system, in the order that loses nothing and leaves nothing behind.

1.  The application's actors stop, bottom-up. Handlers that run may end; no new ones begin.
2.  Handlers that have not ended in time are cancelled, and reported. Their actors' last hooks still run. Such a hook,
    and a handler that cleans up, has `_PATIENCE_SECONDS` until it is cancelled in its turn. What has been cancelled
    `_CANCELLATIONS` times and is still there is left behind.
3.  What was sent to other systems is written out, they are told farewell, and all connections are closed.
4.  The system's own actors stop, the task runner last: what the others piped or ran through it is cancelled, not
    orphaned.
5.  Timers, the alarm and the idle workers go.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from casty_proto.actor import Cell, Phase, Stop

if TYPE_CHECKING:
    from .runtime import Runtime
    from .workers import Worker

_PATIENCE_SECONDS = 0.5
_PATIENCE_ROUNDS = 4
_CANCELLATIONS = 3
_SERVICE_SECONDS = 2.0
"""How long the system's own actors may take. The task runner waits for what it cancelled."""


async def shut_down(runtime: Runtime) -> tuple[str, ...]:
    """Run the whole sequence. Returns the paths of the actors whose handlers were cancelled."""
    try:
        machine = runtime.machine
        cancelled = await _stop_tree(runtime, machine.user, runtime.system.shutdown_timeout)
        await _disconnect(runtime)
        last = machine.child(machine.system, "_task_runner")
        await _stop_actors(runtime, [cell for cell in (machine.system.children or {}).values() if cell is not last])
        return cancelled + await _stop_tree(runtime, machine.system, _SERVICE_SECONDS)
    finally:
        await _disconnect(runtime)
        await runtime.close()


async def _disconnect(runtime: Runtime) -> None:
    remoting, runtime.remoting = runtime.remoting, None
    if remoting is not None:
        await remoting.close()
        runtime.dead_letters.report_the_end()


async def _stop_actors(runtime: Runtime, cells: list[Cell]) -> None:
    for cell in cells:
        runtime.feed(Stop(cell))
    for cell in cells:
        if cell.phase != Phase.STOPPED:
            gone = asyncio.Event()
            cell.body.call_at_end(gone.set)
            await _within(gone, _SERVICE_SECONDS)


async def _stop_tree(runtime: Runtime, guardian: Cell, timeout: float) -> tuple[str, ...]:
    """Stop everything below a guardian, by force where it does not stop by itself."""
    gone = runtime.guardian_gone[guardian]
    runtime.feed(Stop(guardian))
    if await _within(gone, timeout):
        return ()
    runtime.ending = True
    force = _Force(runtime, timeout)
    force.cancel(runtime.pool.running())
    while not await _within(gone, _PATIENCE_SECONDS):
        if not force.again():
            break
    return tuple(force.paths)


class _Force:
    """The handlers and hooks that have to be cancelled, and how often each has been."""

    def __init__(self, runtime: Runtime, timeout: float) -> None:
        self.paths: dict[str, None] = {}
        """Whose they were."""
        self._runtime = runtime
        self._timeout = timeout
        self._cancelled: dict[tuple[Worker, Cell], int] = {}
        self._stalled = 0
        self._progress: object = None

    def cancel(self, workers: list[Worker]) -> None:
        for worker in workers:
            cell = worker.cell
            assert cell is not None
            if cell.path not in self.paths:
                self.paths[cell.path] = None
                self._runtime.log.error(
                    "%s: its handler did not end within %g s of the shutdown and is cancelled", cell.path, self._timeout
                )
            self._cancelled[worker, cell] = self._cancelled.get((worker, cell), 0) + 1
            worker.task.cancel()

    def again(self) -> bool:
        """Cancel what still runs, or has been run for a while since the last time. False when that leads nowhere."""
        pool = self._runtime.pool
        running = pool.running()
        hopeless = [worker for worker in running if self._count(worker) >= _CANCELLATIONS]
        progress = pool.progress()
        self._stalled = self._stalled + 1 if progress == self._progress else 0
        self._progress = progress
        if len(hopeless) == len(running) and (progress is None or self._stalled > _PATIENCE_ROUNDS):
            for worker in hopeless:
                assert worker.cell is not None
                self._runtime.log.error("%s: its handler ignores cancellation and is left behind", worker.cell.path)
            return False
        self.cancel([worker for worker in running if worker not in hopeless])
        return True

    def _count(self, worker: Worker) -> int:
        assert worker.cell is not None
        return self._cancelled.get((worker, worker.cell), 0)


async def _within(event: asyncio.Event, timeout: float) -> bool:
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return False
    return True
