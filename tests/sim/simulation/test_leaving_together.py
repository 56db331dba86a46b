"""All nodes are told to end at about the same instant, as a deployment ends: none waits for one that has gone."""

from __future__ import annotations

import asyncio

from casty_asyncio import ActorSystem, ReplicationConfig
from casty_sim.simulation import Faults, Sim, SimNode, simulate

from .counters import Add, Counter

LONGEST_SECONDS = 10.0
"""A third of the time for which a node waits for others to take what it has: nobody is there who could."""


async def application(node: SimNode) -> None:
    """A node with entities whose states have a copy on another one."""
    replication = ReplicationConfig(factor=2, sync_count=1)
    async with ActorSystem.distributed(node.id, node.port, seeds=node.seeds, name="casty", node_id=node.id) as system:
        await system.spawn(Counter, name="counters", sharded=True, num_shards=16, replication=replication)
        await system.serve()


async def leave_together(sim: Sim, longest_pause: float) -> None:
    """Form a cluster, give it something to hand over, and end it."""
    for name in sim.nodes:
        sim.start(name, application)
    async with sim.client("casty") as client:
        await client.wait_for(len(sim.nodes))
        counters = client.sharded_ref("counters")
        for number in range(20):
            await counters[f"c{number}"].ask(Add(1), timeout=30.0)
    sim.unleash()
    await asyncio.sleep(sim.random.uniform(0.0, 5.0))
    began = sim.clock
    for name in sorted(sim.nodes, key=lambda _: sim.random.random()):
        sim.terminate(name)
        await asyncio.sleep(sim.random.uniform(0.0, longest_pause))
    while left := [name for name in sim.nodes if sim.node(name).up]:
        assert sim.clock - began < LONGEST_SECONDS, f"{left} wait still"
        await asyncio.sleep(0.1)


@simulate(seeds=12, nodes=4, faults=Faults.none())
async def at_the_same_instant(sim: Sim) -> None:
    """Nobody has heard of it from anybody."""
    await leave_together(sim, 0.0)


@simulate(seeds=12, nodes=4, faults=Faults(("tail", "pause", "clog"), at_once=False))
async def while_some_are_slow(sim: Sim) -> None:
    """Some leave when others have heard of nothing yet."""
    await leave_together(sim, 0.05)


def test_all_nodes_end_when_they_are_told_to_at_the_same_instant() -> None:
    assert at_the_same_instant().failures == []


def test_all_nodes_end_when_some_are_slow_to_hear_of_it() -> None:
    assert while_some_are_slow().failures == []
