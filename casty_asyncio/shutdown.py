"""The end of an actor system, in the order that loses nothing and leaves nothing behind.

1.  The application's actors stop, bottom-up. Handlers that run may end; no new ones begin.
2.  Handlers that have not ended in time are cancelled, and reported. Their actors' last hooks still run.
3.  The system's own actors stop, the task runner last: what the others piped or ran through it is cancelled, not
    orphaned.
4.  Timers, the alarm and the idle workers go.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from casty_proto.actor import Cell, Stop

if TYPE_CHECKING:
    from .runtime import Runtime

_CANCEL_ROUNDS = 5
_CANCEL_SECONDS = 0.2


async def shut_down(runtime: Runtime) -> tuple[str, ...]:
    """Run the whole sequence. Returns the paths of the actors whose handlers were cancelled."""
    try:
        machine = runtime.machine
        cancelled = await _stop_tree(runtime, machine.user, runtime.system.shutdown_timeout)
        last = machine.child(machine.system, "_task_runner")
        for cell in list((machine.system.children or {}).values()):
            if cell is not last:
                runtime.feed(Stop(cell))
                await runtime.system.wait_stopped(cell.body.ref)
        cancelled += await _stop_tree(runtime, machine.system, _CANCEL_SECONDS)
        return cancelled
    finally:
        await runtime.close()


async def _stop_tree(runtime: Runtime, guardian: Cell, timeout: float) -> tuple[str, ...]:
    """Stop everything below a guardian, by force where it does not stop by itself."""
    gone = runtime.guardian_gone[guardian]
    runtime.feed(Stop(guardian))
    if await _within(gone, timeout):
        return ()
    stuck = tuple(worker.cell.path for worker in runtime.pool.running() if worker.cell is not None)
    for path in stuck:
        runtime.log.error("%s: its handler did not end within %g s of the shutdown and is cancelled", path, timeout)
    runtime.ending = True
    for _ in range(_CANCEL_ROUNDS):
        runtime.pool.cancel_running()
        if await _within(gone, _CANCEL_SECONDS):
            return stuck
    for worker in runtime.pool.running():
        if worker.cell is not None:
            runtime.log.error("%s: its handler ignores cancellation and is left behind", worker.cell.path)
    return stuck


async def _within(event: asyncio.Event, timeout: float) -> bool:
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return False
    return True
