"""What tests of nodes as processes share: a node beside them that hosts nothing, and load that keeps account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from casty_asyncio import DistributedSystem, MemberStatus, OutcomeUnknownError

from .node_kit import inside_of, node, until, within
from .processes import NodeProcess
from .things import Add, Get


@asynccontextmanager
async def beside(*others: NodeProcess, **options: Any) -> AsyncIterator[DistributedSystem]:
    """A node in this process that belongs to the same cluster, and hosts nothing."""
    async with node("here", *(each.address for each in others), **{"leave_timeout": 0.5, **options}) as system:
        await system.wait_for(len(others) + 1, 20.0)
        size = len(others) + 1
        await until(lambda: len(inside_of(system).member.node.voters) >= size - 1 + size % 2)
        for name in ("counters", "plain", "boss"):
            await until(lambda name=name: system.lookup(name).ref is not None)  # type: ignore[misc]
        yield system


async def asked_again(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The answer to a question that may be asked any number of times."""
    while True:
        try:
            return await within(ask())
        except OutcomeUnknownError:
            await asyncio.sleep(0.01)


def by_id(nodes: list[NodeProcess], node_id: str | None) -> NodeProcess:
    """The one of that name."""
    return next(each for each in nodes if each.node_id == node_id)


def status_of(system: DistributedSystem, node_id: str) -> MemberStatus | None:
    """What a node thinks of another one."""
    return next((member.status for member in system.members if member.node_id == node_id), None)


class Load:
    """Three senders that increment counters, and know what was acknowledged."""

    def __init__(self, ref: Any, ids: int = 9) -> None:
        self.ref = ref
        self.acknowledged = [0] * ids
        self.unknown = [0] * ids
        self.failures: list[Exception] = []
        self._going = True
        self._tasks = [asyncio.ensure_future(self._send(number)) for number in range(3)]

    @property
    def total(self) -> int:
        """How many increments were acknowledged."""
        return sum(self.acknowledged)

    async def _send(self, sender: int) -> None:
        ids = len(self.acknowledged)
        number = sender
        while self._going:
            number = (number + 3) % ids
            try:
                await self.ref[f"c{number}"].ask(Add(), timeout=15.0)
            except Exception as error:
                self.failures.append(error)
                self.unknown[number] += 1
            else:
                self.acknowledged[number] += 1
            await asyncio.sleep(0.003)  # The processes that start meanwhile need the processor as well.

    async def more(self, count: int = 100) -> None:
        """Wait until so many more are acknowledged."""
        goal = self.total + count
        await until(lambda: self.total >= goal)

    async def end(self) -> None:
        """Send no more."""
        self._going = False
        await within(asyncio.gather(*self._tasks))

    async def check(self) -> None:
        """Every acknowledged increment is there, and nothing that was not sent."""
        for number, acknowledged in enumerate(self.acknowledged):
            found = await asked_again(lambda number=number: self.ref[f"c{number}"].ask(Get(), timeout=15.0))  # type: ignore[misc]
            assert acknowledged <= found <= acknowledged + self.unknown[number]
