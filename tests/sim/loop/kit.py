"""One host, or several, that run a coroutine function of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from casty_sim.loop import SimLoop
from casty_sim.simulation import Faults, Sim, simulate

type Test = Callable[[Sim], Awaitable[object]]


def alone[T](work: Callable[[], Awaitable[T]]) -> T:
    """Run it on a loop with a world to itself, and close that."""

    async def main() -> T:
        return await work()

    with asyncio.Runner(loop_factory=SimLoop) as runner:
        return runner.run(main())


def world(test: Test, *, nodes: int = 2, seed: int = 0, limit: float = 600.0) -> str:
    """Run it in a world without faults but those that it makes itself. Raises what it raises. Returns the digest."""
    outcome = simulate(nodes=nodes, faults=Faults.none(), limit=limit)(test).run(seed)
    assert not outcome.failed, f"{outcome.rule}: {outcome.problem}\n{outcome.traceback}"
    return outcome.digest
