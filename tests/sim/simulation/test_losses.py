"""How many nodes the faults of a seed may take at once, and when a loss is over."""

from __future__ import annotations

import asyncio

from casty_asyncio import Actor, ActorSystem, ReplicationConfig
from casty_asyncio.cluster import system as clustered
from casty_sim.simulation import Faults, Sim, SimNode, simulate
from casty_sim.simulation.losses import Losses

from .programs import echo


class Keeper(Actor[str]):
    """Has something to lose."""

    def __init__(self, entity_id: str) -> None:
        self.heard: list[str] = []

    async def receive(self, msg: str, ctx: object) -> None:
        self.heard.append(msg)


async def member(node: SimNode) -> None:
    """A node of a cluster. Without a disk, so that it comes back as another one."""
    async with ActorSystem.distributed(node.id, node.port, seeds=node.seeds, node_id=node.id) as system:
        kept = ReplicationConfig(factor=2, sync_count=1)
        await system.spawn(Keeper, name="keepers", sharded=True, num_shards=4, replication=kept)
        await system.serve()


def bears(losses: Losses, sim: Sim, name: str) -> bool:
    """Whether a node may be lost, without losing it."""
    before = dict(losses._lost)
    may = losses.may_lose(sim.node(name))
    losses._lost = before
    return may


def run(test: object, nodes: int, down_at_once: int = 1) -> None:
    # There is a kind that may be drawn, and none that is ever drawn.
    faults = Faults(("drift",), every=10_000.0, down_at_once=down_at_once, recovery=2.0)
    outcome = simulate(nodes=nodes, faults=faults)(test).run(1)  # type: ignore[arg-type]
    assert not outcome.failed, f"{outcome.problem}\n{outcome.traceback}"
    assert clustered.STARTED == []


def test_a_cluster_loses_nobody_before_all_are_there_and_the_next_one_when_all_is_made_good() -> None:
    async def test(sim: Sim) -> None:
        losses = sim._losses
        for name in sim.nodes:
            sim.start(name, member)
        assert bears(losses, sim, "n1"), "nobody has said that this is a cluster"
        await asyncio.sleep(0.01)
        assert not bears(losses, sim, "n1")
        await until(lambda: bears(losses, sim, "n1"))
        assert losses.may_lose(sim.node("n2"))
        sim.crash("n2")
        assert not losses.may_lose(sim.node("n1")), "n2 counts as lost"
        await asyncio.sleep(1.0)
        sim.restart("n2")
        await asyncio.sleep(0.01)
        assert not bears(losses, sim, "n1"), "n2 was just started"
        await until(lambda: bears(losses, sim, "n1"))

    run(test, nodes=3)


def test_who_is_needed_for_a_majority_is_not_lost() -> None:
    async def test(sim: Sim) -> None:
        for name in sim.nodes:
            sim.start(name, member)
        await asyncio.sleep(0.01)
        await until(lambda: bears(sim._losses, sim, "n1"))
        [system] = sim._losses._systems["n1"][1]
        assert system._cluster is not None
        assert len(system._cluster.node.voters) == 3
        sim.crash("n2")
        assert not sim._losses.may_lose(sim.node("n1")), "n3 would be alone"
        assert sim._losses.may_lose(sim.node("n2"))

    run(test, nodes=3, down_at_once=2)


def test_of_other_programs_it_is_over_when_they_have_been_up_for_a_while() -> None:
    async def test(sim: Sim) -> None:
        for name in sim.nodes:
            sim.start(name, echo)
        losses = sim._losses
        assert bears(losses, sim, "n1")
        sim.crash("n1")
        assert not bears(losses, sim, "n2")
        sim.restart("n1")
        await asyncio.sleep(1.9)
        assert not bears(losses, sim, "n2")
        await asyncio.sleep(0.2)
        assert bears(losses, sim, "n2")

    run(test, nodes=3)


async def until(condition: object) -> None:
    async with asyncio.timeout(60.0):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.05)
