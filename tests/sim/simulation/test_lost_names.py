"""A node that is taken for dead loses the cluster-wide names of its actors, and has them again when it is back."""

from __future__ import annotations

import asyncio
from typing import Any

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorSystem,
    ClusterClient,
    DistributedSystem,
    EventStreamSubscribe,
    NameChanged,
    RaftConfig,
)
from casty_asyncio.cluster.events import MemberStatus
from casty_sim.simulation import Faults, Sim, SimNode, simulate

FAST = RaftConfig(heartbeat_interval=0.05, election_timeout_min=0.1, election_timeout_max=0.2)
PATIENCE = 30.0
NAME, HOLDER, HEIR = "ledger", "n3", "n2"


class Ledger(Actor[str]):
    """Says whose it is."""

    def __init__(self, whose: str) -> None:
        self.whose = whose

    def receive(self, msg: str, ctx: ActorContext[str]) -> None:
        ctx.reply(self.whose)


class Heir(Actor[NameChanged]):
    """Claims the name as soon as nobody has it."""

    def __init__(self, ledger: Any) -> None:
        self.ledger = ledger

    async def receive(self, msg: NameChanged, ctx: ActorContext[NameChanged]) -> None:
        if msg.node_id is None and isinstance(ctx.system, DistributedSystem):
            await ctx.system.claim_name(msg.name, self.ledger)


async def application(node: SimNode, *, has_heir: bool) -> None:
    """A node with an actor that has the name, or waits for it."""
    async with ActorSystem.distributed(
        node.id, node.port, seeds=node.seeds, name="casty", node_id=node.id, raft_config=FAST
    ) as system:
        ledger = await system.spawn(Ledger, whose=node.id)
        if node.id == HOLDER:
            await system.claim_name(NAME, ledger)
        if node.id == HEIR and has_heir:
            system.event_stream.tell(EventStreamSubscribe(NameChanged, await system.spawn(Heir, ledger=ledger)))
        await system.serve()


async def with_heir(node: SimNode) -> None:
    """Somebody waits for the name."""
    await application(node, has_heir=True)


async def without_heir(node: SimNode) -> None:
    """Nobody else wants it."""
    await application(node, has_heir=False)


async def whose(client: ClusterClient) -> str | None:
    """Who has the name."""
    ledger: Any = await client.lookup(NAME)
    return None if ledger is None else await ledger.ask("whose?", PATIENCE)


async def until_it_is_that_of(client: ClusterClient, node_id: str) -> None:
    """Wait until an actor of this node has the name."""
    async with asyncio.timeout(PATIENCE):
        while await whose(client) != node_id:  # noqa: ASYNC110 - it is to be seen by asking
            await asyncio.sleep(0.1)


async def until_held_to_be(client: ClusterClient, status: MemberStatus) -> None:
    """Wait until the others hold the holder to be this."""
    async with asyncio.timeout(PATIENCE):
        while (HOLDER, status) not in [(each.node_id, each.status) for each in client.members]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def taken_for_dead(sim: Sim, client: ClusterClient) -> None:
    """Have the holder disappear until the others hold it to be dead, and return."""
    await until_it_is_that_of(client, HOLDER)
    mend = None
    if sim.random.random() < 0.5:
        sim.pause(HOLDER, sim.random.uniform(10.0, 15.0))
    else:
        mend = sim.isolate(HOLDER)
    await until_held_to_be(client, MemberStatus.UNREACHABLE)
    await asyncio.sleep(sim.random.uniform(0.0, 2.0))
    if mend is not None:
        mend()
    await until_held_to_be(client, MemberStatus.UP)


@simulate(seeds=6, nodes=3, faults=Faults.none())
async def nobody_else_wants_it(sim: Sim) -> None:
    """It is where it was."""
    for name in sim.nodes:
        sim.start(name, without_heir)
    async with sim.client("casty", contacts=["n1", HEIR]) as client:
        await taken_for_dead(sim, client)
        await until_it_is_that_of(client, HOLDER)


@simulate(seeds=6, nodes=3, faults=Faults.none())
async def somebody_else_has_it(sim: Sim) -> None:
    """It stays with whoever has it by then."""
    for name in sim.nodes:
        sim.start(name, with_heir)
    async with sim.client("casty", contacts=["n1", HEIR]) as client:
        await taken_for_dead(sim, client)
        await asyncio.sleep(5.0)
        assert await whose(client) == HEIR


def test_who_was_taken_for_dead_has_its_name_again() -> None:
    assert nobody_else_wants_it().failures == []


def test_a_name_stays_with_who_has_claimed_it_while_the_other_was_taken_for_dead() -> None:
    assert somebody_else_has_it().failures == []
