"""A machine that is too busy: now and then no node does anything for longer than its lease lasts."""

from __future__ import annotations

import asyncio

from casty_asyncio import ActorSystem, RaftConfig, ReplicationConfig
from casty_sim.simulation import Faults, Sim, SimNode, simulate

from .counters import Add, Counter

FAST = RaftConfig(heartbeat_interval=0.05, election_timeout_min=0.1, election_timeout_max=0.2)
"""With this a lease lasts for 150 ms."""
PAUSES = (0.1, 0.2)
PATIENCE = 20.0


async def application(node: SimNode) -> None:
    """A node with entities whose changes are acknowledged when another node has them."""
    replication = ReplicationConfig(factor=2, sync_count=1)
    system = ActorSystem.distributed(
        node.id, node.port, seeds=node.seeds[:3], name="casty", node_id=node.id, raft_config=FAST, leave_timeout=5.0
    )
    async with system:
        await system.spawn(Counter, name="counters", sharded=True, num_shards=16, replication=replication)
        await system.serve()


async def is_too_busy(sim: Sim) -> None:
    """Let all nodes do nothing at the same time, again and again."""
    while True:
        await asyncio.sleep(sim.random.uniform(0.0, 0.6))
        length = sim.random.uniform(*PAUSES)
        for name in sim.nodes:
            sim.pause(name, length)


@simulate(seeds=4, nodes=4, faults=Faults.none())
async def one_comes_and_one_leaves(sim: Sim) -> None:
    """Nobody is lost, so whoever asks hears what was done."""
    for name in sim.nodes[:3]:
        sim.start(name, application)
    async with sim.client("casty", contacts=sim.nodes[:3]) as client, asyncio.TaskGroup() as group:
        await client.wait_for(3)
        await client.entity_ref("counters", "first").ask(Add(1), PATIENCE)
        over = False

        async def ask(entity: str) -> None:
            ref, count = client.entity_ref("counters", entity), 0
            while not over:
                count += 1
                assert await ref.ask(Add(1), PATIENCE) == count
                await asyncio.sleep(sim.random.uniform(0.0, 0.005))

        for number in range(8):
            group.create_task(ask(f"e{number}"))
        busy = group.create_task(is_too_busy(sim))
        sim.start("n4", application)
        await client.wait_for(4)
        await asyncio.sleep(sim.random.uniform(0.0, 1.0))
        sim.terminate("n1")
        while sim.node("n1").up:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.1)
        busy.cancel()
        over = True


def test_asks_bear_that_all_leases_are_late_while_a_node_comes_and_another_leaves() -> None:
    assert one_comes_and_one_leaves().failures == []
