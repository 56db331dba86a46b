"""What the tests of nodes share: nodes in one event loop, on loopback, with short times."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from casty_asyncio import ActorSystem, DistributedSystem, RaftConfig

FAST = RaftConfig(0.05, 0.1, 0.2)
NAME = "shop"


def node(node_id: str, *seeds: str, **options: Any) -> DistributedSystem:
    """A node that listens on a port of its own, once it is started."""
    given: dict[str, Any] = {"name": NAME, "raft_config": FAST, **options}
    return ActorSystem.distributed("127.0.0.1", 0, node_id=node_id, seeds=seeds, **given)


@asynccontextmanager
async def nodes(count: int, **options: Any) -> AsyncIterator[list[DistributedSystem]]:
    """So many nodes of one cluster, `n1` and so on, that know of each other."""
    async with AsyncExitStack() as stack:
        found: list[DistributedSystem] = []
        for number in range(1, count + 1):
            seeds = [str(found[0].address)] if found else []
            found.append(await stack.enter_async_context(node(f"n{number}", *seeds, **options)))
        for each in found:
            await each.wait_for(count)
        yield found
