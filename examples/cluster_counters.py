"""A sharded, replicated counter on three nodes, one of which is shut down while it counts.

A sharded type has as many entities as there are ids; each lives on one of the nodes, and is made there when it gets its
first message. With a `ReplicationConfig` its state is on others too: here one backup has it before `send` returns. When
the node of the counter goes, another one takes the state and goes on, and what was sent meanwhile waits. The nodes are
in one process, to be short; on machines of their own each would end with `await system.serve()`.

Run it with `python examples/cluster_counters.py`. It prints:

    node-1, node-2 and node-3 are a cluster
    counters spread over 3 nodes: 1000 increments, none lost: True
    the node of 'hits' is shut down after 50 increments, and the counting goes on
    2 nodes are left, and one of them has 'hits'
    Total hits: 100
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from casty_asyncio import (
    Actor,
    ActorSystem,
    Context,
    DistributedSystem,
    ReplicationConfig,
    ShardedRef,
    run,
)


@dataclass(frozen=True)
class Increment:
    amount: int = 1


@dataclass(frozen=True)
class GetCount:
    pass


class Counter(Actor[Increment | GetCount]):
    def __init__(self, entity_id: str) -> None:
        self.entity_id = entity_id
        self.count = 0

    async def receive(self, msg: Increment | GetCount, ctx: Context) -> None:
        match msg:
            case Increment(amount):
                self.count += amount
            case GetCount():
                ctx.reply(self.count)


type Counters = ShardedRef[Increment | GetCount]


async def start_nodes(stack: AsyncExitStack) -> dict[str, DistributedSystem]:
    """Three nodes. The first founds the cluster, and the others join through it."""
    systems: dict[str, DistributedSystem] = {}
    seeds: list[str] = []
    for name in ("node-1", "node-2", "node-3"):
        system = ActorSystem.distributed("127.0.0.1", 0, node_id=name, seeds=seeds)
        systems[name] = await stack.enter_async_context(system)
        seeds = seeds or [str(system.address)]
    for system in systems.values():
        await system.wait_for(3)
    return systems


async def spawn_counters(system: DistributedSystem) -> Counters:
    """The type is spawned on all nodes that are to share its entities, with the same settings."""
    return await system.spawn(
        Counter,
        name="counters",
        sharded=True,
        num_shards=32,
        replication=ReplicationConfig(factor=3, sync_count=1),
    )


async def count_everywhere(systems: dict[str, DistributedSystem], refs: dict[str, Counters]) -> None:
    """The refs of all nodes lead to the same counters."""
    ids = [f"counter-{number}" for number in range(100)]
    for counters in refs.values():
        await asyncio.gather(*(counters[each].send(Increment(3)) for each in ids))
    await asyncio.gather(*(refs["node-1"][each].send(Increment()) for each in ids))
    counts = await asyncio.gather(*(refs["node-2"][each].ask(GetCount()) for each in ids))
    owners = {systems["node-3"].owner_of("counters", each) for each in ids}
    print(f"counters spread over {len(owners)} nodes: {sum(counts)} increments, none lost: {set(counts) == {10}}")


async def count_while_a_node_leaves(systems: dict[str, DistributedSystem], refs: dict[str, Counters]) -> None:
    """Nobody who counts has to know that a node goes."""
    going = systems["node-1"].owner_of("counters", "hits")
    assert going is not None
    others = [name for name in systems if name != going]
    hits = refs[others[0]]["hits"]

    for _ in range(50):
        await hits.send(Increment())
    print("the node of 'hits' is shut down after 50 increments, and the counting goes on")
    leaving = asyncio.create_task(systems[going].shutdown())
    for _ in range(50):
        await hits.send(Increment())
    await leaving

    await systems[others[0]].wait_for(2)
    left, owner = len(systems[others[0]].members), systems[others[0]].owner_of("counters", "hits")
    print(f"{left} nodes are left, and {'one of them' if owner in others else 'nobody'} has 'hits'")
    print(f"Total hits: {await refs[others[1]]['hits'].ask(GetCount())}")


async def main() -> None:
    async with AsyncExitStack() as stack:
        systems = await start_nodes(stack)
        print("node-1, node-2 and node-3 are a cluster")
        refs = {name: await spawn_counters(system) for name, system in systems.items()}
        await count_everywhere(systems, refs)
        await count_while_a_node_leaves(systems, refs)


if __name__ == "__main__":
    run(main())
