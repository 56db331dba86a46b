"""The actor system of a node of a cluster: what an application starts on every machine."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from attrs import evolve

from casty_proto.actor import Behavior, Mailbox
from casty_proto.cluster import events as said
from casty_proto.cluster.checks import split_key
from casty_proto.cluster.options import NodeOptions
from casty_proto.cluster.records import RegionKind
from casty_proto.machine import Rejected, nanoseconds

from ..errors import (
    ClusterError,
    ClusterTimeoutError,
    ExpelledError,
    UsageError,
)
from ..generic import Answer, Asked
from ..health import Health
from ..logs import NodeLog
from ..lookup import Lookup, MissingRef
from ..metrics import Metric
from ..receptionist import Listing, ServiceKey
from ..refs import ActorRef, LocalRef
from ..remote.remoting import Remoting
from ..runtime import Runtime
from ..supervision import SupervisorConfig
from ..system import ActorSystem
from ..transport import Contexts, Remote, Tls
from .broadcast import BroadcastRef
from .claims import NAMES
from .cluster import Cluster, Setup
from .events import ClusterMember
from .finding import find_somewhere
from .names import SINGLETON_ID
from .options import NUM_SHARDS, GossipConfig, RaftConfig, ReplicationConfig, check_count, check_timeout, node_options
from .placeless import ask_anyone
from .recipes import recipe_of_class
from .refs import EntityRef, ShardedRef
from .spawning import region_name, settings_of, spawn_broadcast, spawn_region, spawn_style
from .status import STATUS, health_of, metrics_of, status_actor, status_of
from .storage import StorageError
from .styles import BroadcastBehavior, ShardedBehavior, SingletonBehavior
from .waiting import wait_for_copies, wait_for_health, wait_for_members, wait_until

if TYPE_CHECKING:
    from ..actor import Actor

_WAIT_SECONDS = 30.0

STARTED: list[Callable[[DistributedSystem], None]] = []
"""Told of every node that begins to start in this process: for simulators, which have to see all of a cluster."""


def _within(options: NodeOptions, max_message: int) -> NodeOptions:
    """Options with which no message of the node is too long, unless what it carries alone is."""
    most = max(1, max_message // 4)
    replica = evolve(options.replica, page_bytes=min(options.replica.page_bytes, most))
    return evolve(options, post_bytes=min(options.post_bytes, most), replica=replica)


class DistributedSystem(ActorSystem):
    """An actor system that is a node of a cluster.

    `async with ActorSystem.distributed("0.0.0.0", 25520, seeds=["node-1:25520"]) as system:`. It listens, looks for its
    cluster, and goes on looking until it is a member. Without seeds, or with itself as the only one, it founds one. At
    the end it hands over what it has, and leaves.
    """

    _cluster_type: type[Cluster] = Cluster
    """What drives the node. A test can put one in its place that is watched, or broken."""

    def __init__(
        self,
        host: str,
        port: int = 0,
        *,
        seeds: Sequence[str] = (),
        name: str = "casty",
        node_id: str | None = None,
        advertise: str | None = None,
        roles: Sequence[str] = (),
        raft_config: RaftConfig | None = None,
        gossip_config: GossipConfig | None = None,
        persistence_dir: str | PathLike[str] | None = None,
        tls: Tls | Contexts | None = None,
        secret: str | bytes | None = None,
        remote: Remote | None = None,
        shutdown_timeout: float = 10.0,
        leave_timeout: float = 30.0,
        seed: int | None = None,
    ) -> None:
        """`host` and `port` are where to listen; port 0 takes one that is free.

        `seeds` are nodes, as `"host:port"`, through which the cluster is found; `name` is that of the system, the same
        on all nodes. `node_id` names this node, and is its address if not given. `advertise` is the `host:port`, or the
        host alone, that others are to dial. With `persistence_dir` the node comes back as itself after a crash; without
        one, it is a new node each time. `roles` say what may live here. `secret` and `tls` say who may come in. What
        else can be set for the connections is in `remote`, whose own host, port and so on are not used.
        `leave_timeout` is how long, in seconds, a shutdown waits until others have taken what is here.

        Raises `UsageError` and `InvalidNameError`.
        """
        if isinstance(seeds, str) or isinstance(roles, str):
            raise UsageError("seeds and roles are lists of texts, not one text")
        check_timeout("leave_timeout", leave_timeout)
        base = remote or Remote()
        given = evolve(
            base,
            host=host,
            port=port,
            advertise=advertise,
            node_id=node_id,
            secret=base.secret if secret is None else secret,
            tls=base.tls if tls is None else tls,
        )
        super().__init__(name, shutdown_timeout=shutdown_timeout, seed=seed, remote=given)
        self._setup = Setup(
            seeds=tuple(seeds),
            roles=tuple(roles),
            options=_within(
                evolve(node_options(raft_config, gossip_config), leave_ns=nanoseconds(leave_timeout)),
                given.max_message,
            ),
            directory=None if persistence_dir is None else Path(persistence_dir),
        )
        self._cluster: Cluster | None = None
        self._services[STATUS] = lambda _: status_actor(self)
        self._for_others[STATUS] = None
        self._leave_timeout = leave_timeout

    # -- beginning and end ---------------------------------------------------------------------------------------------

    async def _connect(self, remoting: Remoting) -> None:
        for told in STARTED:
            told(self)
        cluster = self._cluster_type(self, remoting, self._setup)
        runtime = remoting.runtime
        plain = logging.getLogger(f"casty.{runtime.name}")
        runtime.log = NodeLog(plain, cluster.who)
        await cluster.start()
        self._cluster = cluster

    async def _end(self, runtime: Runtime) -> tuple[str, ...]:
        cluster = self._cluster
        if cluster is None:
            return await super()._end(runtime)
        try:
            try:
                await cluster.leave(self._leave_timeout)
            finally:
                # Whatever has gone wrong: nothing of the system is left.
                cancelled = await super()._end(runtime)
        finally:
            await cluster.close()
        return cancelled

    async def serve(self) -> None:
        """Run until somebody shuts the system down, or the process is told to end by SIGTERM or Ctrl-C.

        The node leaves the cluster then, and hands over what it has. Raises, after the shutdown, `ExpelledError` where
        the node is no member any more and did not ask for that, and `StorageError` where its disk has failed; then it
        is a member still, and comes back as itself when it is started again and there is room.
        """
        await self.start()
        runtime, cluster = self._runtime("never"), self._joined()
        loop = runtime.loop
        numbers = (signal.SIGTERM, signal.SIGINT)
        taken = []
        for number in numbers:
            with suppress(RuntimeError, ValueError):  # Not on every system, and in the main thread alone.
                loop.add_signal_handler(number, self.request_shutdown)
                taken.append(number)
        watched = [loop.create_task(event.wait(), name="casty-serve") for event in (cluster.views.gone, runtime.ended)]
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            await self.shutdown()
            await runtime.ended.wait()
        finally:
            for task in watched:
                task.cancel()
            for number in taken:
                loop.remove_signal_handler(number)
        if cluster.views.fault is not None:
            raise StorageError(str(cluster.views.fault)) from cluster.views.fault
        if cluster.views.expelled is not None:
            raise ExpelledError(f"{self.node_id} is no member of its cluster any more: {cluster.views.expelled}")

    # -- the cluster ---------------------------------------------------------------------------------------------------

    def _joined(self) -> Cluster:
        if self._cluster is None:
            raise UsageError(
                f"actor system {self.name!r} was not started yet; use `async with`, or await system.start()"
            )
        return self._cluster

    @property
    def node_id(self) -> str:
        """The name of this node. Raises `UsageError` before the start."""
        return self._joined().node.info.node_id

    @property
    def members(self) -> tuple[ClusterMember, ...]:
        """All members, as this node knows them: those included that are unreachable. Empty before it is one itself."""
        return self._joined().views.members()

    @property
    def leader_id(self) -> str | None:
        """The node that this one takes for the leader, if it knows of one."""
        leader = self._joined().node.leader
        return None if leader is None else split_key(leader)[0]

    @property
    def is_leader(self) -> bool:
        """Whether this node takes itself for the leader."""
        return self._joined().node.is_leader

    def health(self) -> Health:
        """How the node is: live until it is expelled or shut down, and ready while it can act as a member."""
        health = super().health()
        return health if self._cluster is None or not health.ready else health_of(self._cluster)

    def status(self) -> dict[str, Any]:
        """The cluster as this node sees it, made of what JSON knows. `python -m casty_asyncio inspect` shows it."""
        return super().status() if self._cluster is None else status_of(self._cluster)

    def metrics(self) -> tuple[Metric, ...]:
        """The figures of the system, and of the node."""
        return (*super().metrics(), *(() if self._cluster is None else metrics_of(self._cluster)))

    def owner_of(self, name: str, entity_id: str | None = None) -> str | None:
        """The node that owns an entity of a sharded type, or a singleton, as this node knows it; `None` for nobody.

        It may own it no more by the time that this is looked at. Messages find it without this.
        """
        node = self._joined().node
        region = node.state.region(name)
        if region is None:
            return None
        owner = region.owner(node.shard_of(name, SINGLETON_ID if entity_id is None else entity_id))
        return None if owner is None else split_key(owner)[0]

    async def wait_for(self, count: int, timeout: float = _WAIT_SECONDS) -> None:
        """Wait until the cluster has at least `count` members that are up, a leader, and votes for so many members.

        So after `wait_for(3)` any one of three nodes may fail, and the other two go on: of 3 or 4 members 3 vote, of 5
        or more 5. Raises `ClusterTimeoutError` after `timeout` seconds, `ExpelledError` where this node is no member
        any more, and `StorageError` where its disk has failed.
        """
        check_count("the count of wait_for", count)
        check_timeout("the timeout of wait_for", timeout)

        await self.start()
        await wait_for_members(self._joined(), count, timeout, self._setup.options.max_voters)

    async def wait_for_copies(self, name: str, timeout: float = _WAIT_SECONDS) -> None:
        """Wait until a sharded type or a singleton has all copies that its `ReplicationConfig` asks for.

        Then each of its shards is open at its owner, and `factor - 1` other nodes that are there have all its states:
        what is written from then on need not wait for a node that is being filled, nor is it acknowledged by fewer
        nodes than there are to be, as in a cluster that has just begun. Of a type that is not replicated all shards are
        open. Later failures may change that; `status()["gaps"]` says what lacks at the moment.

        Raises `ClusterTimeoutError` after `timeout` seconds, with what lacks and what to do, and what `wait_for`
        raises.
        """
        region_name(name)
        check_timeout("the timeout of wait_for_copies", timeout)
        await self.start()
        await wait_for_copies(self._joined(), name, timeout)

    async def wait_for_service[M](
        self, key: ServiceKey[M], count: int = 1, timeout: float = _WAIT_SECONDS
    ) -> Listing[M]:
        """Wait until at least `count` actors of the cluster offer a service, and return all that do.

        Raises what `wait_for` raises.
        """
        check_count("the count of wait_for_service", count)
        registry = self.receptionist

        def found() -> int:
            return len(registry.listing(key))

        check_timeout("the timeout of wait_for_service", timeout)
        await self.start()
        what = f"{count} actors that offer {key.name!r}"
        await wait_until(self._joined(), lambda: found() >= count, timeout, what, lambda: f"{found()}")
        return registry.listing(key)

    async def wait_ready(self, timeout: float = _WAIT_SECONDS) -> None:
        """Wait until the node can act as a member, which `health().ready` says.

        Raises `ClusterTimeoutError` after `timeout` seconds, and `ExpelledError` where this node is no member any more.
        """
        check_timeout("the timeout of wait_ready", timeout)
        await self.start()
        self._runtime("ended")
        await wait_for_health(self._joined(), self.health, timeout)

    async def forget(self, node_id: str, timeout: float = _WAIT_SECONDS) -> None:
        """Forget a member that is unreachable and does not come back: it counts for durability no more.

        What was kept by it alone is lost. For one that is no member nothing changes. Raises `ClusterError` where it is
        there, and `ClusterTimeoutError`.
        """
        check_timeout("the timeout of forget", timeout)
        cluster = self._joined()
        self._runtime("ended")
        try:
            async with asyncio.timeout(timeout):
                result = await cluster.regions.request(lambda request: said.ForgetNode(request, node_id))
        except TimeoutError as error:
            raise ClusterTimeoutError(f"{node_id!r} could not be forgotten within {timeout:g} s") from error
        if type(result) is not said.Done:
            kind = ClusterError if isinstance(result, Rejected) else ClusterTimeoutError
            raise kind(f"{node_id!r} was not forgotten: {result.reason}")

    async def remove(self, name: str, timeout: float = _WAIT_SECONDS) -> None:
        """Take a sharded type or a singleton out of the whole cluster: its entities stop, and their states are gone.

        The name is free when this returns. A no-op where there is none of that name. Raises `ClusterError` and
        `ClusterTimeoutError`; then it may be gone, or be going.
        """
        check_timeout("the timeout of remove", timeout)
        cluster = self._joined()
        node = cluster.node
        self._runtime("ended")
        if node.state.region(name) is None:
            return
        try:
            async with asyncio.timeout(timeout):
                result = await cluster.regions.request(lambda request: said.RemoveRegion(request, name))
                if type(result) is not said.Done:
                    raise ClusterError(f"{name!r} was not removed: {result.reason}")
                await cluster.views.until(lambda: node.state.region(name) is None)
        except TimeoutError as error:
            raise ClusterTimeoutError(f"{name!r} was not removed within {timeout:g} s") from error

    # -- actors --------------------------------------------------------------------------------------------------------

    @overload  # type: ignore[override]
    def spawn[M](self, actor: ShardedBehavior[M], name: str) -> ShardedRef[M]: ...

    @overload
    def spawn[M](self, actor: SingletonBehavior[M], name: str) -> EntityRef[M]: ...

    @overload
    def spawn[M](self, actor: BroadcastBehavior[M], name: str) -> BroadcastRef[M]: ...

    @overload
    def spawn[M](
        self,
        actor: Behavior[M],
        name: str | None = None,
        *,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
    ) -> ActorRef[M]: ...

    @overload
    def spawn[M](
        self,
        actor: type[Actor[M]],
        name: str,
        *,
        sharded: Literal[True],
        replication: ReplicationConfig | None = None,
        num_shards: int = NUM_SHARDS,
        idle_timeout: float | None = None,
        role: str | None = None,
        remember: bool = False,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, ShardedRef[M]]: ...

    @overload
    def spawn[M](
        self,
        actor: type[Actor[M]],
        name: str,
        *,
        singleton: Literal[True],
        replication: ReplicationConfig | None = None,
        role: str | None = None,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, EntityRef[M]]: ...

    @overload
    def spawn[M](
        self,
        actor: type[Actor[M]],
        name: str | None = None,
        *,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, ActorRef[M]]: ...

    def spawn(
        self,
        actor: Any,
        name: str | None = None,
        *,
        sharded: bool = False,
        singleton: bool = False,
        replication: ReplicationConfig | None = None,
        num_shards: int | None = None,
        idle_timeout: float | None = None,
        role: str | None = None,
        remember: bool = False,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Spawn an actor, a type of entities, or a singleton.

        With `sharded=True` the class is a type: `players["alice"]` is one of its entities, made where it belongs when
        it gets its first message. With `singleton=True` there is one actor of it in the whole cluster. Both live on
        nodes that have spawned them under the same name, with the same settings, and that have the `role`, if one is
        given. The coroutine ends when the cluster knows of them, and the ref can be used on every node.

        `replication` says how states are kept. `idle_timeout` is after how many seconds without a message an entity
        goes to sleep, where its state is safe elsewhere. With `remember` entities come back unprompted after a failure.
        `Behaviors.sharded(...)` and `Behaviors.singleton(...)` are the same for behaviors, with refs at once.

        Raises what `ActorSystem.spawn` raises, and `ClusterError` where the cluster has the name with other settings.
        """
        if isinstance(actor, BroadcastBehavior):
            self._joined()
            return spawn_broadcast(self, actor, name)
        if isinstance(actor, ShardedBehavior | SingletonBehavior):
            return spawn_style(self, self._joined(), actor, name)
        if not sharded and not singleton:
            for word, value in (
                ("replication", replication),
                ("num_shards", num_shards),
                ("idle_timeout", idle_timeout),
                ("role", role),
                ("remember", remember or None),
            ):
                if value is not None:
                    raise UsageError(f"spawn of {actor!r}: {word} is for sharded=True or singleton=True")
            return super().spawn(actor, name, mailbox=mailbox, supervision=supervision, **kwargs)
        if sharded and singleton:
            raise UsageError(f"spawn of {actor!r}: it is sharded or a singleton, not both")
        kind = RegionKind.SINGLETON if singleton else RegionKind.ENTITIES
        settings = settings_of(kind, replication, num_shards, idle_timeout, role, remember=remember)
        recipe = recipe_of_class(actor, region_name(name), kind, settings, mailbox, supervision, kwargs)
        return spawn_region(self, self._joined(), recipe)

    async def ask(
        self, ref: ActorRef[Asked], build: Callable[[ActorRef[Answer]], Asked], timeout: float = 5.0
    ) -> Answer:
        answer: Answer = await ask_anyone(super().ask, ref, build, timeout, "system.ask")
        return answer

    def lookup(self, key: Any) -> Any:
        """Find actors; see `ActorSystem.lookup`.

        A name is that of a sharded type or of a singleton of the cluster, one that was claimed (`claim_name`), or that
        of an actor of this node, in this order; when the answer is awaited, also that of an actor of another node. The
        listing of a service has those of all nodes.
        """
        found = super().lookup(key)
        cluster = self._cluster
        if cluster is None or not isinstance(found, Lookup) or "://" in key:
            return found
        name = key.removeprefix("/")
        ref = cluster.regions.known(name) or cluster.claims.known(name) or found.ref
        missing = MissingRef(self._runtime("ended"), self._parse(key))
        return Lookup(ref, missing, None if ref is not None else lambda: self._find_somewhere(name))

    async def _find_somewhere(self, path: str) -> ActorRef[Any] | None:
        """Ask all other members: this one may not know yet who has the name."""
        own = self._joined().node.info.address
        others = [member.address for member in self.members if member.address != own]
        return await find_somewhere(super().lookup, self.name, others, path)

    def _find_for_others(self, path: str, incarnation: int | None) -> LocalRef[Any] | None:
        first, slash, name = path.removeprefix("/").partition("/")
        if first != NAMES or not slash:
            return super()._find_for_others(path, incarnation)
        return None if self._cluster is None else self._cluster.claims.own(name)

    async def claim_name(self, name: str, ref: ActorRef[Any], timeout: float = _WAIT_SECONDS) -> None:
        """Give an actor of this node a name that no other actor of the cluster has at the same time.

        From then on `lookup(name)` finds it on all nodes, a moment later on those that lag behind, and at once where
        the answer is awaited. The name is free again when the actor has stopped, or its node leaves or is held to be
        dead: an actor whose node was cut off for so long goes on without the name, and a warning is logged. When the
        node is back, the name is claimed again by itself; where another actor has it by then, an error is logged, and
        it is not claimed any more. `NameChanged` on the event stream tells of all that. What must be done by one actor
        at a time, whatever happens, is the work of a singleton.

        To claim what the actor has already changes nothing. Raises `NameTakenError`, whose text says who has it;
        `ClusterTimeoutError` after `timeout` seconds, and other `ClusterError`s where the actor or the node has ended:
        the name is given up then; `InvalidNameError` for what is no name of an actor, and `UsageError` for what is no
        actor of this node.
        """
        check_timeout("the timeout of claim_name", timeout)
        self._runtime()
        await self._joined().claims.claim(name, ref, timeout)

    async def release_name(self, name: str, timeout: float = _WAIT_SECONDS) -> None:
        """Give up what `claim_name` has got. A no-op where no actor of this node has the name.

        Raises `InvalidNameError`, and `ClusterTimeoutError` after `timeout` seconds: it may be given up later then.
        """
        check_timeout("the timeout of release_name", timeout)
        self._runtime("ended")
        await self._joined().claims.release(name, timeout)
