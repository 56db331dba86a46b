"""One life of a node in the cluster scenario of applications: a real actor system, its clients, and what is watched.

The checkers are those of machines. They are fed with what the driver tells its node, and with what the node tells the
driver, from a node type that listens (`_listening`); with the handlers of the entities; and with what clients are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from attrs import evolve

from casty_asyncio import ClusterError, ReplicationConfig
from casty_asyncio.cluster.bodies import EntityClassBody
from casty_asyncio.cluster.cluster import Cluster
from casty_asyncio.cluster.hosting import Hosting
from casty_asyncio.cluster.names import SINGLETON_ID
from casty_asyncio.cluster.system import DistributedSystem
from casty_proto.cluster import events
from casty_proto.cluster.events import NodeEffect, NodeEvent, Standing
from casty_proto.cluster.node import Node
from casty_proto.cluster.outcomes import Removal
from casty_proto.cluster.records import RegionKind
from casty_proto.cluster.registry import Deregister, Register
from casty_proto.machine import SECOND, Instant, Persist, Reply

from ..checkers.cluster_copies import ANSWERS
from ..simulation.node import SimNode
from ..world import Host, Violation
from .app_actors import ACTORS, Watched
from .app_clients import AppClient
from .cluster_ops import BOSS, PLAIN, REGISTERS, Op, Spot

if TYPE_CHECKING:
    from .app_cluster import AppCluster


class Life:
    """One start of one host."""

    def __init__(self, cluster: AppCluster, node: SimNode) -> None:
        self.cluster = cluster
        self.sim_node = node
        self.host: Host = node.host
        self.name = node.id
        self.life = node.host.life
        self.keeps = cluster.keeps_disk(node.id)
        self.node: Node
        self.app: Hosting
        self.system: AppSystem
        self.refs: dict[str, Any] = {}
        self.ready = False
        """Whether it is a member, and all regions are there."""
        self.is_told_to_end = False
        self.registered: dict[int, tuple[str, str]] = {}
        """Actors that can be discovered: key and path by number."""
        self.given: dict[Spot, tuple[int, str | None]] = {}
        """How this node heard that it has a shard: at which epoch, and who gave it; `None` where it was taken."""
        self.serial = 0
        self.clients = [AppClient(cluster, self, number) for number in range(cluster.clients_at(node.host))]
        self._handlers = node.host.stream("handlers")
        self._running: dict[Spot, int] = {}
        self._unsaved: dict[Any, tuple[Spot, int, tuple[int, ...]]] = {}
        """States of which it was not said yet whether they are durable."""
        self._naming: dict[Any, tuple[str, int]] = {}

    # -- the program ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole of it, until it is told to end, or is no member any more."""
        try:
            async with AppSystem(self) as system:
                self.system = system
                await self._spawn(system)
                self.ready = True
                tasks = [asyncio.create_task(client.run()) for client in self.clients]
                try:
                    await system.serve()
                finally:
                    self.ready = False
                    for task in tasks:
                        task.cancel()
        except ClusterError as error:
            self.sim_node.log.info("the node has ended: %s", error)

    async def _spawn(self, system: AppSystem) -> None:
        for name, (kind, settings) in self.cluster.regions.items():
            more: dict[str, Any] = {"singleton": True}
            if kind is RegionKind.ENTITIES:
                idle = settings.idle_timeout_ns
                more = {
                    "sharded": True,
                    "num_shards": settings.num_shards,
                    "idle_timeout": None if idle is None else idle / SECOND,
                    "remember": settings.remember,
                }
            kept = ReplicationConfig(settings.factor, settings.sync_count, settings.timeout_ns / SECOND)
            more |= {"role": settings.role, "replication": kept, "life": self}
            self.refs[name] = await system.spawn(ACTORS[name], name=name, **more)

    def ref(self, region: str, entity: str) -> Any:
        """The ref of an entity, for clients."""
        found = self.refs[region]
        return found[entity] if region != BOSS else found

    # -- handlers ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def handler(self, region: str, op: Op) -> AsyncIterator[None]:
        """Around what an entity does for an operation: it is watched, and takes time."""
        cluster, spot = self.cluster, (region, self.node.shard_of(region, op.entity))
        epoch = self._acts(spot)
        with cluster.judging():
            cluster.writes.begins(op)
            if epoch is None:
                raise Violation("single owner", f"{self.node.key} handles {op.entity} of {spot}, which it does not own")
            cluster.owners.handles(self.host, spot, epoch)
        self._running[spot] = self._running.get(spot, 0) + 1
        try:
            if self._handlers.chance(0.5):
                await asyncio.sleep(self._handlers.raw() ** 2 * cluster.longest_handler_ns / SECOND)
            yield
            if self._acts(spot) == epoch:
                with cluster.judging():
                    cluster.owners.handles(self.host, spot, epoch)
        finally:
            self._running[spot] -= 1

    def _acts(self, spot: Spot) -> int | None:
        return self.node.acts(*spot, self.host.now())

    # -- what the node is told, and tells ------------------------------------------------------------------------------

    def told(self, event: NodeEvent) -> None:
        """The driver tells its node something."""
        cluster, key = self.cluster, self.node.key
        match event:
            case events.Closed(region, shard) if event.is_last:
                if self._running.get((region, shard)):
                    raise Violation("hand-over", f"{key} closes {region}/{shard} while a handler runs in it")
                cluster.owners.closed(self.host, key, event)
            case events.Handled(region, shard, epoch, _, state, request):
                if request is not None:
                    numbers = tuple(self.content(state, region)) if region not in (REGISTERS, PLAIN) else ()
                    self._unsaved[request] = ((region, shard), epoch, numbers)
            case Register(name, number, path):
                self.registered[number] = (name, path)
            case Deregister(number, _):
                self.registered.pop(number, None)
            case events.ClaimName(request, name, number, _):
                cluster.views.claims(name, key)
                self._naming[request] = (name, number)
            case events.ReleaseName(_, name, number):
                cluster.views.releases(name, key, number)
            case _:
                pass

    def says(self, effect: NodeEffect) -> None:
        """The node tells its driver something."""
        cluster, host = self.cluster, self.host
        match effect:
            case events.Send(_, message):
                if type(message.body) in ANSWERS:
                    cluster.copies.says(host, self.node.key, message.body)
            case Persist():
                host.moment()
            case Reply(request, result):
                self._on_reply(request, result)
            case events.OpenShard():
                self._opens(effect)
            case events.ResumeShard():
                cluster.owners.resumes(host, effect)
            case events.HaltShard():
                cluster.owners.halts(host, effect)
            case events.DropShard():
                cluster.owners.drops(host, effect)
            case events.Durable(request):
                self._on_durable(request)
            case events.NotDurable(request, _):
                self._unsaved.pop(request, None)
                cluster.world.reach("a write was not durable")
            case events.Rest():
                cluster.world.reach("an entity was to rest")
            case _:
                self._says_of_the_cluster(effect)

    def _on_reply(self, request: Any, result: Any) -> None:
        self._unsaved.pop(request, None)
        naming = self._naming.pop(request, None)
        if naming is not None:
            self.cluster.views.claimed(naming[0], self.node.key, naming[1], result)

    def _opens(self, effect: events.OpenShard) -> None:
        cluster, spot = self.cluster, (effect.region, effect.shard)
        heard = self.given.get(spot)
        cluster.owners.opens(self.host, effect, heard[1] if heard is not None and heard[0] == effect.epoch else None)
        if effect.waiting:
            cluster.world.reach("messages waited through a hand-over")
        where = f"{effect.region}/{effect.shard} is opened by {self.node.key} at epoch {effect.epoch}"
        states = {entity_of(name): self.content(data, effect.region) for name, data in effect.entities}
        cluster.opened(spot, states, where)

    def _on_durable(self, request: Any) -> None:
        known = self._unsaved.pop(request, None)
        if known is not None:
            spot, epoch, numbers = known
            self.cluster.owners.acknowledges(self.host, spot, epoch)
            self.cluster.durable |= dict.fromkeys(numbers)

    def _says_of_the_cluster(self, effect: Any) -> None:
        cluster, host = self.cluster, self.host
        match effect:
            case events.StandingChanged(standing):
                if standing is Standing.MEMBER:
                    cluster.views.member_of(host, self.node.cluster)
                    cluster.policy.became_member(host)
                    cluster.world.reach("a node joined")
                    host.moment()
                elif standing is Standing.EXPELLED:
                    cluster.world.reach("a node was expelled")
            case events.OwnersChanged():
                cluster.owners_changed(self, effect)
            case events.LeaderChanged():
                cluster.views.leader(host, effect)
                if effect.leader == self.node.key:
                    host.moment()
            case events.NameChanged() | events.MemberUp() | events.MemberChanged() | events.MemberLeaving():
                cluster.views.told(host, effect)
            case events.MemberUnreachable():
                cluster.views.told(host, effect)
                cluster.losses.doubted(effect)
            case events.MemberReachable():
                cluster.views.told(host, effect)
            case events.MemberGone():
                cluster.views.told(host, effect)
                if effect.reason is Removal.LEFT:
                    cluster.left[effect.member.key] = None
            case _:
                pass

    # -- states --------------------------------------------------------------------------------------------------------

    def content(self, data: bytes | None, region: str) -> Any:
        """What is in the state of an entity, as it is sent."""
        if data is None:
            return None if region == REGISTERS else []
        return self.app.items.state_of(data)

    def contents(self, spot: Spot, names: list[str]) -> dict[str, Any]:
        """What the entities of a shard that is open here have now."""
        shard, found = self.app.shards[spot], {}
        for name in names:
            here = SINGLETON_ID if name == BOSS else name
            entity = shard.entities.get(here)
            body = None if entity is None else entity.body
            if isinstance(body, EntityClassBody) and isinstance(body.instance, Watched):
                found[name] = body.instance.get_state()
                continue
            saved = entity.saved if entity is not None else shard.states.get(here)
            found[name] = self.content(saved or self.node.state_of(*spot, here), spot[0])
        return found

    def forget(self) -> None:
        """The run is over, and nothing of it is to be kept alive by whoever looks at what came of it."""
        for name in ("system", "app", "node", "clients", "refs", "_unsaved", "_naming"):
            self.__dict__.pop(name, None)


def entity_of(name: str) -> str:
    """The entity that a node knows by this name."""
    return BOSS if name == SINGLETON_ID else name


class WatchedDriver(Cluster):
    """The driver of a node that is watched."""

    life: Life

    def _build(self, transport: Any, recovered: Any) -> None:
        assert isinstance(self.system, AppSystem)
        life = self.life = self.system.life
        self.node_type = _listening(life)
        super()._build(transport, recovered)
        life.app = self.hosting
        life.cluster.started(life)


class AppSystem(DistributedSystem):
    """A node of the scenario."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self._cluster_type = life.cluster.driver
        node, cluster = life.sim_node, life.cluster
        super().__init__(
            node.id,
            node.port,
            seeds=[f"{name}:{node.port}" for name in cluster.seeds_for(life.host)],
            node_id=node.id,
            roles=cluster.roles.info(node.id, 1).roles,
            persistence_dir=node.disk / "raft" if life.keeps else None,
        )
        options = evolve(
            cluster.options, leave_ns=self._setup.options.leave_ns, post_bytes=self._setup.options.post_bytes
        )
        self._setup = evolve(self._setup, options=options)


def _listening(life: Life) -> type[Node]:
    """The type of node of the run, with somebody who listens."""
    machine: Any = life.cluster.machine
    judging, check = life.cluster.judging, life.cluster.world.check_invariants

    class Listening(machine):  # type: ignore[misc]
        __slots__ = ()

        def __init__(self, *arguments: Any) -> None:
            life.node = self
            super().__init__(*arguments)

        def handle(self, event: NodeEvent, now: Instant) -> tuple[NodeEffect, ...]:
            with judging():
                life.told(event)
            effects: tuple[NodeEffect, ...] = super().handle(event, now)
            with judging():
                for effect in effects:
                    life.says(effect)
                if check:
                    self.invariants()
            return effects

    return Listening
