"""The run that is timed: three nodes on the whole asyncio stack, ten simulated seconds under faults, and a client that
increments replicated counters all the while."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from casty_asyncio import Actor, ActorSystem, CastyError, Context, ReplicationConfig
from casty_sim.simulation import Faults, Sim, SimNode, simulate


@dataclass(frozen=True)
class Increment:
    """Answered with the new value."""


class Counter(Actor[Increment]):
    """Replicated on one more node."""

    def __init__(self, entity_id: str) -> None:
        self.value = 0

    async def receive(self, msg: Increment, ctx: Context) -> None:
        self.value += 1
        ctx.reply(self.value)


async def node(node: SimNode) -> None:
    """One member."""
    async with ActorSystem.distributed(node.id, node.port, seeds=node.seeds, node_id=node.id) as system:
        replication = ReplicationConfig(factor=2, sync_count=1)
        await system.spawn(Counter, name="counters", sharded=True, num_shards=16, replication=replication)
        await system.serve()


@simulate(seeds=20, nodes=3, faults=Faults.swarm(without=["wipe"]))
async def increments(sim: Sim) -> None:
    """Three nodes and a client."""
    for name in sim.nodes:
        sim.start(name, node)
    async with sim.client() as client:
        counters = client.sharded_ref("counters")
        while sim.clock < sim.duration:
            try:
                await counters[sim.random.choice("abc")].ask(Increment(), timeout=2.0)
                sim.reach("acknowledged")
            except (CastyError, TimeoutError):
                sim.reach("unknown")
            await asyncio.sleep(sim.random.uniform(0.1, 0.5))
