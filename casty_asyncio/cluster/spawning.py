"""How a node begins with a sharded type, a singleton, or an actor that is on every node.

The region gets an actor of its own here, the guardian, under which its entities live; then the cluster is told of it. A
name is taken from the first of these steps on, and free again when the second one fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Behavior
from casty_proto.cluster.records import RegionKind, RegionSettings
from casty_proto.machine import nanoseconds

from ..behaviors import Behaviors
from ..errors import ClusterError, DuplicateNameError, InvalidNameError, UsageError
from ..refs import LocalRef
from ..runtime import Runtime
from ..system import ActorSystem
from .broadcast import BroadcastRef, broadcast_key
from .names import SINGLETON_ID
from .options import NUM_SHARDS, ReplicationConfig, check_timeout
from .recipes import Recipe, recipe_of_factory
from .refs import EntityRef, ShardedRef, ShardEnvelope
from .styles import BroadcastBehavior, ShardedBehavior, SingletonBehavior

if TYPE_CHECKING:
    from .cluster import Cluster
    from .system import DistributedSystem


def region_name(name: str | None) -> str:
    """The name, which all nodes must know it by. Raises `InvalidNameError`."""
    if not isinstance(name, str) or not name:
        raise InvalidNameError("a sharded type, a singleton or a broadcasted actor needs a name")
    return name


def settings_of(
    kind: RegionKind,
    replication: ReplicationConfig | None,
    num_shards: int | None,
    idle_timeout: float | None,
    role: str | None,
    *,
    remember: bool,
) -> RegionSettings:
    """The settings that all nodes must agree on. Raises `UsageError` for what makes no sense."""
    replication = replication or ReplicationConfig()
    if not isinstance(replication, ReplicationConfig):
        raise UsageError(f"replication must be a ReplicationConfig, not {replication!r}")
    if idle_timeout is not None:
        check_timeout("idle_timeout", idle_timeout)
    try:
        return RegionSettings(
            num_shards=_num_shards(kind, num_shards),
            role=role,
            factor=replication.factor,
            sync_count=replication.sync_count,
            timeout_ns=nanoseconds(replication.timeout),
            idle_timeout_ns=None if idle_timeout is None else max(1, nanoseconds(idle_timeout)),
            remember=remember,
            hosted=True,
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"what was said of the type makes no sense: {error}") from error


def _num_shards(kind: RegionKind, given: int | None) -> int:
    if kind is RegionKind.SINGLETON:
        return 1
    return NUM_SHARDS if given is None else given


def spawn_broadcast(system: DistributedSystem, actor: BroadcastBehavior[Any], name: str | None) -> BroadcastRef[Any]:
    """An actor that is on every node that spawns it. Raises as `ActorSystem.spawn` does."""
    given = region_name(name)
    ActorSystem.spawn(system, Behaviors.discoverable(actor.behavior, key=broadcast_key(given)), given)
    return BroadcastRef(system, given)


def spawn_style(
    system: DistributedSystem,
    cluster: Cluster,
    actor: ShardedBehavior[Any] | SingletonBehavior[Any],
    name: str | None,
) -> ShardedRef[Any] | EntityRef[Any]:
    """A type or a singleton that is made of behaviors. Its ref can be used at once; messages wait until it is known."""
    kind = RegionKind.SINGLETON if isinstance(actor, SingletonBehavior) else RegionKind.ENTITIES
    shards = actor.num_shards if isinstance(actor, ShardedBehavior) else None
    settings = settings_of(kind, None, shards, actor.idle_timeout, actor.role, remember=False)
    recipe = recipe_of_factory(actor.factory, region_name(name), kind, settings, actor.mailbox, actor.supervision)
    runtime = system._runtime()
    work = spawn_region(system, cluster, recipe)
    runtime.tracker.start(_logged(work, runtime, recipe.name), f"casty-register {recipe.name}")
    return cluster.regions.ref(recipe.name, kind)


def spawn_region(system: DistributedSystem, cluster: Cluster, recipe: Recipe) -> Coroutine[Any, Any, Any]:
    """A type or a singleton: the name is taken at once, and the coroutine ends when the cluster knows of it."""
    return _register(system, cluster, recipe, _guardian(system, cluster, recipe))


def _guardian(system: DistributedSystem, cluster: Cluster, recipe: Recipe) -> LocalRef[Any]:
    """The parent of the entities that are here. Its name must be free, and is taken from now on."""
    if recipe.name in cluster.hosting.regions:
        raise DuplicateNameError(f"{recipe.name!r} was spawned on this node already")
    region = cluster.regions.region(recipe.name)

    def receive(_: Any, message: Any) -> Behavior[Any]:
        if isinstance(message, ShardEnvelope) and recipe.kind is RegionKind.ENTITIES:
            ShardedRef[Any](region).tell(message)
            return Behaviors.same()
        if recipe.kind is RegionKind.SINGLETON:
            EntityRef[Any](region, SINGLETON_ID).tell(message)
            return Behaviors.same()
        return Behaviors.unhandled()

    guardian = ActorSystem.spawn(system, Behaviors.receive(receive), recipe.name)
    assert isinstance(guardian, LocalRef)
    return guardian


async def _register(system: DistributedSystem, cluster: Cluster, recipe: Recipe, guardian: LocalRef[Any]) -> Any:
    try:
        await cluster.regions.register(recipe, guardian, cluster.views)
    except BaseException:
        if not system.stopping:
            # The name is free again when whoever has called learns of it.
            ended = asyncio.Event()
            guardian._cell.body.call_at_end(ended.set)
            system.stop(guardian)
            await ended.wait()
        raise
    return cluster.regions.ref(recipe.name, recipe.kind)


async def _logged(work: Coroutine[Any, Any, Any], runtime: Runtime, name: str) -> None:
    try:
        await work
    except ClusterError as error:
        runtime.log.error("%s: %s", name, error)
