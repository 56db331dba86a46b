"""What a node offers is not offered while it is held to be dead, and again when it is back: services and broadcasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from casty_asyncio import ActorContext, ActorSystem, Behavior, Behaviors, ClusterClient, ServiceKey
from casty_sim.simulation import Faults, Sim, SimNode, simulate

PATIENCE = 30.0
KEY: ServiceKey[str] = ServiceKey("clerks")
VICTIM = "n3"


def clerk(whose: str) -> Behavior[str]:
    """Says where it is."""

    def receive(ctx: ActorContext[str], message: str) -> Behavior[str]:
        ctx.reply(whose)
        return Behaviors.same()

    return Behaviors.receive(receive)


async def application(node: SimNode) -> None:
    """A node that offers both."""
    async with ActorSystem.distributed(node.id, node.port, seeds=node.seeds, name="casty", node_id=node.id) as system:
        system.spawn(Behaviors.discoverable(clerk(node.id), key=KEY), "clerk")
        system.spawn(Behaviors.broadcasted(clerk(node.id)), "clerks")
        await system.serve()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.05)


async def answers(client: ClusterClient) -> tuple[Any, ...]:
    """What all who hear a broadcast answer."""
    found: tuple[Any, ...] = tuple(sorted(await client.broadcast_ref("clerks").ask("where?")))
    return found


@simulate(seeds=4, nodes=3, faults=Faults.none())
async def one_of_three_dies(sim: Sim) -> None:
    """An ask of all fails for as long as nobody has missed it, and then no more."""
    for name in sim.nodes:
        sim.start(name, application)
    others = tuple(name for name in sim.nodes if name != VICTIM)
    async with sim.client("casty", contacts=list(others)) as client:
        listed = client.receptionist.listing
        await until(lambda: len(listed(KEY)) == 3 and len(client.broadcast_ref("clerks").instances) == 3)
        assert await answers(client) == tuple(sim.nodes)
        if sim.random.random() < 0.5:
            sim.crash(VICTIM)
        else:
            sim.pause(VICTIM, 12.0)
        await until(lambda: len(listed(KEY)) == 2 and len(client.broadcast_ref("clerks").instances) == 2)
        assert await answers(client) == others
        assert [await instance.ref.ask("where?") for instance in listed(KEY)] == list(others)
        if not sim.node(VICTIM).up:
            sim.start(VICTIM, application)
        await until(lambda: len(listed(KEY)) == 3 and len(client.broadcast_ref("clerks").instances) == 3)
        assert await answers(client) == tuple(sim.nodes)


def test_what_a_dead_node_offers_is_not_offered() -> None:
    assert one_of_three_dies().failures == []
