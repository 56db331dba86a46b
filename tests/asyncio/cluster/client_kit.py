"""What the tests of outside clients share: nodes in one loop, messages, and actors for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from attrs import frozen

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorSystem,
    ClusterClient,
    ClusterEvent,
    DeadLetter,
    DistributedSystem,
    EventStreamSubscribe,
    RaftConfig,
    message,
)
from casty_asyncio.cluster.cluster import Cluster

from ..probe import Probe

FAST = RaftConfig(heartbeat_interval=0.05, election_timeout_min=0.1, election_timeout_max=0.2)
PATIENCE = 20.0
"""Seconds after which something that a test waits for counts as lost."""


@message(name="tests.client.add")
@frozen
class Add:
    """Add to the counter, and answer with what it has then."""

    amount: int = 1


@message(name="tests.client.get")
@frozen
class Get:
    """Answer with what the counter has."""

    reply_to: ActorRef[int] | None = None


@message(name="tests.client.where")
@frozen
class Where:
    """Answer with the id of the node."""


@message(name="tests.client.note")
@frozen
class Note:
    """Remember this."""

    number: int | str


@message(name="tests.client.notes")
@frozen
class Notes:
    """Answer with what was remembered."""


@message(name="tests.client.greet")
@frozen
class Greet:
    """Tell this actor something."""

    whom: ActorRef[Any]
    what: str = "hello"


@message(name="tests.client.keep")
@frozen
class Keep:
    """Answer when `Release` comes."""


@message(name="tests.client.release")
@frozen
class Release:
    """Answer those who wait."""


@message(name="tests.client.fail")
@frozen
class Fail:
    """Raise."""


class Counter(Actor[Any]):
    """An entity, singleton or plain actor that does all that."""

    def __init__(self, entity_id: str = "") -> None:
        self.entity_id = entity_id
        self.count = 0
        self.notes: list[int | str] = []
        self._kept: list[ActorRef[Any]] = []

    async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        match msg:
            case Add(amount):
                self.count += amount
                ctx.reply(self.count)
            case Get(None):
                ctx.reply(self.count)
            case Get(reply_to) if reply_to is not None:
                reply_to.tell(self.count)
            case Where():
                assert isinstance(ctx.system, DistributedSystem)
                ctx.reply(ctx.system.node_id)
            case Note(number):
                self.notes.append(number)
            case Notes():
                ctx.reply(list(self.notes))
            case Greet(whom, what):
                whom.tell(what)
            case Fail():
                raise ValueError("as it was asked to")
            case Keep():
                KEPT.set()
                await RELEASED.wait()
                ctx.reply("released")


class _Flag:
    """Something that happened, for actors and tests of one loop after another."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def clear(self) -> None:
        """It has not happened yet."""
        self._event = asyncio.Event()

    def set(self) -> None:
        """It has happened."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until it has."""
        await self._event.wait()


KEPT, RELEASED = _Flag(), _Flag()
"""An actor has a `Keep` in hand; it may go on."""


# -- nodes and clients -------------------------------------------------------------------------------------------------


def node(node_id: str, *seeds: object, **options: Any) -> DistributedSystem:
    """A node that is not started yet. Its seeds are nodes that run, or addresses."""
    known = [str(seed.address) if isinstance(seed, ActorSystem) else str(seed) for seed in seeds]
    given = {"raft_config": FAST, "shutdown_timeout": 2.0, "leave_timeout": 5.0, **options}
    return ActorSystem.distributed("127.0.0.1", 0, node_id=node_id, seeds=known, **given)


@asynccontextmanager
async def cluster(count: int, **options: Any) -> AsyncIterator[list[DistributedSystem]]:
    """So many nodes, `node-1` and so on, which have all found each other."""
    async with AsyncExitStack() as stack:
        systems: list[DistributedSystem] = []
        for number in range(1, count + 1):
            systems.append(await stack.enter_async_context(node(f"node-{number}", *systems[:1], **options)))
        await joined(*systems)
        yield systems


async def joined(*systems: DistributedSystem) -> None:
    """Wait until they are all members of one cluster that bears losses."""
    voters = len(systems) - 1 + len(systems) % 2
    for system in systems:
        await system.wait_for(len(systems), PATIENCE)
        await until(lambda system=system: len(inside_of(system).node.voters) >= voters)  # type: ignore[misc]


def client_of(*systems: ActorSystem, **options: Any) -> ClusterClient:
    """A client that is not started yet, with these nodes as its contact points."""
    given = {"connect_timeout": PATIENCE, "shutdown_timeout": 2.0, **options}
    return ClusterClient([str(system.address) for system in systems], **given)


def inside_of(system: DistributedSystem) -> Cluster:
    """What a node is made of."""
    return system._joined()


async def crash(system: DistributedSystem) -> None:
    """End a node at once, with nobody told: its connections break, and nobody listens there any more."""
    inside = inside_of(system)
    inside.member.end()
    inside.lanes.close()
    transport = inside.remoting.transport
    transport.closing = True
    await transport._listening.close()
    for connection in list(transport._connections):
        connection.abort()
    inside.views.gone.set()
    await system.shutdown()


def node_with(systems: list[DistributedSystem], node_id: str) -> DistributedSystem:
    """The one of that id."""
    return next(system for system in systems if system.node_id == node_id)


async def ids_owned_by(client: ClusterClient, system: DistributedSystem, name: str, count: int) -> list[str]:
    """The ids of entities, so many of them, whose shards a node has open, and that the client knows to be there."""
    found: list[str] = []

    def look() -> bool:
        member, topology = inside_of(system).member, client.topology
        region = next((one for one in topology.regions if one.name == name), None) if topology is not None else None
        found.clear()
        for number in range(1000 if region is not None else 0):
            assert region is not None
            shard = member.node.shard_of(name, f"e{number}")
            is_open = member.node.owns(name, shard, member.now()) is not None
            if is_open and region.owner(shard) == member.node.key:
                found.append(f"e{number}")
        return len(found) >= count

    await until(look)
    return found[:count]


async def linked(client: ClusterClient, count: int) -> None:
    """Wait until the client has links to so many members."""
    await client.wait_for(count, PATIENCE)

    def look() -> bool:
        links, topology = client._links, client.topology
        return links is not None and topology is not None and all(links.of(one.key) for one in topology.members)

    await until(look)


# -- waiting -----------------------------------------------------------------------------------------------------------


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.005)


def member_events(system: ActorSystem) -> Probe:
    """A probe that is told of what happens in the cluster from now on."""
    return _subscribed(system, ClusterEvent)


def dead_letters(system: ActorSystem) -> Probe:
    """A probe that is told of every dead letter from now on."""
    return _subscribed(system, DeadLetter)


def _subscribed(system: ActorSystem, kind: type[Any]) -> Probe:
    probe = Probe(system)
    system.event_stream.tell(EventStreamSubscribe(kind, probe.ref))
    return probe
