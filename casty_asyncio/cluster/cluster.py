"""One node of a cluster, put together: its identity, its disk, its lanes, and what it hosts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from casty_proto.address import AddressError, NodeAddress
from casty_proto.cluster import events
from casty_proto.cluster.node import Node, NodeRecovered, recover_node
from casty_proto.cluster.options import NodeOptions
from casty_proto.cluster.records import NodeInfo
from casty_proto.raft import Configuration
from casty_proto.wire import Kind

from ..errors import UsageError
from ..remote.remoting import Remoting
from ..transport.dialing import DialedItself, DialError, dial
from ..transport.transport import Transport
from .claims import Claims
from .client_wire import GATEWAY, allow_types
from .discovery import Discovery
from .gateway import Gateway
from .hosting import Hosting
from .items import EntityAnswer, Items
from .lanes import Lanes
from .member import Member
from .placeless import PlacelessRefs
from .refs import EntityRef
from .regions import Regions
from .status import allow_status
from .storage import Storage, StorageError
from .storage_file import FILE_NAME
from .views import Views

if TYPE_CHECKING:
    from .system import DistributedSystem

_DRAIN_SECONDS = 1.0
"""How long a node that leaves waits until the messages of outside clients are with the owners."""
_ITSELF_SECONDS = 1.0
"""How long it may take to find out whether a seed is this node under another name."""


def _others_know(recovered: NodeRecovered) -> bool:
    """Whether the cluster had other members than this node, as far as the disk tells."""
    configuration = recovered.raft.base.configuration
    for entry in recovered.raft.entries:
        if type(entry.payload) is Configuration:
            configuration = entry.payload
    return any(key != recovered.node.key for key in (*configuration.voters, *configuration.learners))


@frozen(kw_only=True)
class Setup:
    """What an application has said about a node."""

    seeds: tuple[str, ...]
    roles: tuple[str, ...]
    options: NodeOptions
    directory: Path | None


class Cluster:
    """One node, from its start to its end."""

    node_type: type[Node] = Node
    """What decides. A test can put one in its place that is watched, or broken."""

    def __init__(self, system: DistributedSystem, remoting: Remoting, setup: Setup) -> None:
        self.system = system
        self.remoting = remoting
        self.runtime = remoting.runtime
        self.setup = setup
        self.node: Node
        self.lanes: Lanes
        self.member: Member
        self.hosting: Hosting
        self.regions: Regions
        self.views: Views
        self.claims: Claims
        self.gateway: Gateway
        self._storage: Storage | None = None
        self._clears_disk = False

    # -- beginning -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and look for the cluster. Raises `UsageError` and `StorageError`; nothing was begun then."""
        seeds = [self._seed(text) for text in self.setup.seeds]
        recovered: NodeRecovered | None = None
        if self.setup.directory is not None:
            self._storage = await Storage.open(self.setup.directory, self.runtime.log)
            recovered = recover_node(self._storage.records)
        allow_types(self.remoting.types)
        allow_status(self.remoting.types)
        try:
            self._check_id(recovered)
            await self.remoting.start(lambda transport: self._build(transport, recovered))
            assert self.remoting.address is not None
            own = self.remoting.address
            self.member.begin(self.hosting, self.views, await self._known_seeds(seeds, own), self._disk_failed)
        except BaseException:
            await self.remoting.close()
            if self._storage is not None:
                await self._storage.close()
            raise

    def _seed(self, text: str) -> NodeAddress:
        try:
            return NodeAddress.parse(text)
        except (AddressError, TypeError, AttributeError) as error:
            raise UsageError(f"a seed is given as 'host:port', not {text!r}: {error}") from error

    def _check_id(self, recovered: NodeRecovered | None) -> None:
        wanted = self.remoting.options.node_id
        if recovered is not None and wanted is not None and recovered.node.node_id != wanted:
            raise UsageError(
                f"{self.setup.directory} is the directory of the node {recovered.node.node_id!r}, and this is "
                f"{wanted!r}; give each node its own"
            )

    def _build(self, transport: Transport, recovered: NodeRecovered | None) -> None:
        """It is known who this is, and nobody was accepted yet."""
        runtime, own = self.runtime, self.remoting.own
        if recovered is None:
            info = NodeInfo(own.node_id, own.generation, own.address, self.setup.roles)
        else:
            if recovered.node.node_id != own.node_id:
                raise UsageError(
                    f"{self.setup.directory} is the directory of the node {recovered.node.node_id!r}, and this is "
                    f"{own.node_id!r}; give each node its own, or a node_id that does not change with the address"
                )
            if recovered.node.address != own.address and _others_know(recovered):
                # Failure detection takes an address for part of who a process is.
                raise UsageError(
                    f"{recovered.node.node_id!r} is known to the others of its cluster at {recovered.node.address}, "
                    f"and would come back at {own.address}, where they do not look for it; advertise the address that "
                    f"it had, or empty {self.setup.directory}, and it joins as a new process"
                )
            info = evolve(recovered.node, address=own.address, roles=self.setup.roles)
        rng = Random(runtime.rng.getrandbits(64))
        self.node = self.node_type(info, rng, self.setup.options, recovered)
        self.lanes = Lanes(transport, self._received, self._lost)
        self.member = Member(runtime, self.node, self.lanes, self._storage)
        items = Items(self.remoting)
        runtime.dead_letters.opening[EntityAnswer] = items.late
        self.hosting = Hosting(runtime, self.member, items)
        self.regions = Regions(runtime, self.member, self.hosting)
        self.hosting.ref_of = lambda name, entity: EntityRef(self.regions.region(name), entity)
        discovery = Discovery(self.system.receptionist, self.remoting, self.member)
        self.views = Views(runtime, self.member, self.regions, discovery)
        self.claims = Claims(self.remoting, self.member, self.regions, self.views)
        self.remoting.refs.placeless = PlacelessRefs(runtime, self.regions.region)
        self.gateway = Gateway(runtime, self.member, self.views, self.system.receptionist)
        self.system._services[GATEWAY] = lambda _: self.gateway.behavior()
        self.system._for_others[GATEWAY] = None
        transport.take_lanes(self.lanes.accept)

    def _received(self, message: object) -> None:
        self.member.received(message)

    def _lost(self, address: str) -> None:
        self.member.lost(address)

    async def _known_seeds(self, seeds: list[NodeAddress], own: NodeAddress) -> tuple[str, ...]:
        """The seeds, with this node itself under the name that it goes by."""

        async def known(seed: NodeAddress) -> str:
            # Nobody is at another port of this machine but somebody else.
            if seed == own or seed.port != own.port:
                return str(seed)
            with suppress(DialError, TimeoutError):
                async with asyncio.timeout(_ITSELF_SECONDS):
                    try:
                        connection, _ = await dial(self.remoting.transport, seed, Kind.CLUSTER)
                    except DialedItself:
                        return str(own)
                    connection.close()
            return str(seed)

        found = await asyncio.gather(*(known(seed) for seed in seeds))
        return tuple(dict.fromkeys(found))

    def problems(self) -> str:
        """Why the cluster is not found, as far as the seeds tell, for errors. Empty when it is, and without seeds."""
        if self.views.joined.is_set():
            return ""
        seeds = dict.fromkeys([str(self._seed(text)) for text in self.setup.seeds])
        found = [self.lanes.problem_with(seed) or f"{seed} has not refused" for seed in seeds]
        return f"; its seeds: {'; '.join(found)}" if found else ""

    def who(self) -> tuple[str, int]:
        """The node, and the version of what it knows of the cluster, for lines of the log."""
        node: Node | None = getattr(self, "node", None)
        if node is None:
            return self.remoting.options.node_id or "a node that starts", 0
        return node.info.node_id, node.state.version

    # -- the end -------------------------------------------------------------------------------------------------------

    def _disk_failed(self, error: StorageError) -> None:
        self.runtime.log.critical("the node stops, since what it has promised cannot be written: %s", error)
        self.views.fault = error
        for shard in list(self.hosting.shards.values()):
            halted = events.HaltShard(shard.region.name, shard.number, shard.epoch, "the disk of its node failed")
            self.hosting.halt(halted)
        self.views.end(f"the disk of this node failed: {error}")
        self.lanes.close()

    async def leave(self, timeout: float) -> None:
        """Hand over what is here, and leave; for at most `timeout` seconds and what the last step takes."""
        views = self.views
        if not views.gone.is_set():
            await self.gateway.drain(min(timeout, _DRAIN_SECONDS))
            self.member.flush()
            self.member.feed(events.Depart())
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout + 1.0):
                    await views.gone.wait()
        if not views.gone.is_set():
            self.runtime.log.warning("the cluster was not left within %g s; others find out by themselves", timeout)
            views.end("this node is shut down")
        elif self.node.standing in (events.Standing.DEPARTED, events.Standing.EXPELLED):
            # What is on the disk is of no use any more: this life of the node is over.
            self._clears_disk = True
        self.member.end()
        self.lanes.close()

    async def close(self) -> None:
        """Let go of the disk."""
        storage, self._storage = self._storage, None
        if storage is None:
            return
        await storage.close()
        if self._clears_disk and self.setup.directory is not None:
            (self.setup.directory / FILE_NAME).unlink(missing_ok=True)
