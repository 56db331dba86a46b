"""What the tests of nodes share: clusters in one loop, nodes that crash, and actors for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from casty_asyncio import ActorRef, ActorSystem, DistributedSystem, RaftConfig
from casty_asyncio.cluster.cluster import Cluster
from casty_asyncio.cluster.hosting import Hosting
from casty_asyncio.cluster.names import SINGLETON_ID
from casty_asyncio.events import EventStreamSubscribe

from ..probe import Probe

FAST = RaftConfig(heartbeat_interval=0.05, election_timeout_min=0.1, election_timeout_max=0.2)
PATIENCE = 20.0
"""Seconds after which something that a test waits for counts as lost. Nothing takes as long but on a busy machine."""


def node(node_id: str | None = None, *seeds: object, **options: Any) -> DistributedSystem:
    """A node that is not started yet. Its seeds are nodes that run, or addresses."""
    known = [str(seed.address) if isinstance(seed, ActorSystem) else str(seed) for seed in seeds]
    given = {"raft_config": FAST, "shutdown_timeout": 2.0, "leave_timeout": 5.0, "port": 0, **options}
    return ActorSystem.distributed("127.0.0.1", node_id=node_id, seeds=known, **given)


@asynccontextmanager
async def cluster(count: int, **options: Any) -> AsyncIterator[list[DistributedSystem]]:
    """So many nodes, `node-1` and so on, which have all found each other."""
    async with AsyncExitStack() as stack:
        systems: list[DistributedSystem] = []
        for number in range(1, count + 1):
            system = node(f"node-{number}", *systems[:1], **options)
            systems.append(await stack.enter_async_context(system))
        await joined(*systems)
        yield systems


async def joined(*systems: DistributedSystem) -> None:
    """Wait until they are all members of one cluster, which bears the loss of as many of them as it ever will."""
    for system in systems:
        await system.wait_for(len(systems), PATIENCE)


async def crash(system: DistributedSystem) -> None:
    """End a node with nobody told."""
    inside = inside_of(system)
    inside.member.end()
    inside.lanes.close()
    inside.views.gone.set()
    await system.shutdown()


def inside_of(system: DistributedSystem) -> Cluster:
    """What a node is made of."""
    return system._joined()


def hosting_of(system: DistributedSystem) -> Hosting:
    """What it hosts."""
    return inside_of(system).hosting


def owner_of(systems: list[DistributedSystem], name: str, entity_id: str = SINGLETON_ID) -> DistributedSystem:
    """The node that has the shard of an entity open."""
    found = [each for each in systems if has_open(each, name, entity_id)]
    assert len(found) == 1, f"{len(found)} nodes have {name}/{entity_id}"
    return found[0]


def has_open(system: DistributedSystem, name: str, entity_id: str = SINGLETON_ID) -> bool:
    """Whether a node may begin to handle something for an entity."""
    member = inside_of(system).member
    if member.has_ended:
        return False
    shard = member.node.shard_of(name, entity_id)
    return member.node.owns(name, shard, member.now()) is not None


async def taken_up(systems: list[DistributedSystem], name: str, entity_id: str = SINGLETON_ID) -> None:
    """Wait until one of these nodes has the shard of an entity: what was asked before that may have been lost."""
    await until(lambda: any(has_open(each, name, entity_id) for each in systems))


def is_kept(system: DistributedSystem, name: str, entity_id: str) -> bool:
    """Whether all backups have told a node that they have the newest state of an entity that the node owns."""
    node = inside_of(system).member.node
    links = node._owning._keeping._replica._primary._shards[name, node.shard_of(name, entity_id)].links
    return bool(links) and all(entity_id not in link.behind for link in links.values())


def ids_at(system: DistributedSystem, name: str, count: int) -> list[str]:
    """The ids of entities that a node has, so many of them."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        if has_open(system, name, f"e{number}"):
            found.append(f"e{number}")
        number += 1
        assert number < 100_000, f"{system.node_id} has next to nothing of {name}"
    return found


async def all_open(systems: list[DistributedSystem], name: str) -> None:
    """Wait until every shard is open, and each of these nodes has some, as long as there are enough."""

    keys = {inside_of(each).member.node.key for each in systems}

    def is_settled() -> bool:
        for each in systems:
            node = inside_of(each).member.node
            region = node.state.region(name)
            if region is None or node.gaps():
                return False
            owners = {region.owner(shard) for shard in range(region.num_shards)}
            if not owners <= keys or len(owners) < min(len(keys), region.num_shards):
                return False
        return True

    await until(is_settled)


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.005)


async def within(awaitable: Awaitable[Any]) -> Any:
    """Wait, but not for ever."""
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def subscribed(system: ActorSystem, *kinds: type[Any]) -> Probe:
    """A probe that is told of every event of these classes from now on."""
    probe = Probe(system)
    for kind in kinds:
        system.event_stream.tell(EventStreamSubscribe(kind, probe.ref))
    await until(lambda: set(kinds) <= set(system._events._subscriptions))
    return probe


async def next_of(probe: Probe, kind: type[Any]) -> Any:
    """The next event of a class; others are let go."""
    while True:
        event = await within(probe._come.get())
        if isinstance(event, kind):
            return event


async def tell_until_handled(ref: ActorRef[Any], message: Any) -> None:
    """For messages that nobody answers."""
    await within(ref.send(message))
