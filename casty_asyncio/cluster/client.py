"""The outside client: an actor system that uses a cluster without being a part of it.

    feed     follows one node, and finds another (`client_feed.py`)     -> a `View` of the cluster (`client_view.py`)
    links    a connection with every member (`client_links.py`)
    routes   messages to the owners of entities (`client_routes.py`)

The other ends of all that are the gateways of the nodes (`gateway.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from attrs import evolve, field, frozen

from casty_proto.actor import Reason
from casty_proto.address import AddressError, NodeAddress, parse_endpoint
from casty_proto.cluster.checks import split_key
from casty_proto.cluster.topology import Topology

from ..errors import ClusterTimeoutError, ContactError, SystemShutDownError, UsageError
from ..generic import Answer, Asked
from ..lookup import Lookup, MissingRef
from ..receptionist import Listing, ServiceKey
from ..refs import ActorRef
from ..remote.remoting import Remoting
from ..runtime import Runtime
from ..system import ActorSystem
from ..transport import Contexts, Remote, Tls
from .broadcast import BroadcastRef
from .client_feed import Feed
from .client_links import Links
from .client_routes import Limits, Routes
from .client_view import View
from .client_wire import allow_types
from .discovery import instance_of
from .events import ClientConnected, ClientDisconnected, ClusterMember, MemberStatus, member_changes
from .finding import find_somewhere
from .names import SINGLETON_ID
from .options import check_count, check_timeout
from .placeless import PlacelessRefs, ask_anyone
from .refs import EntityRef, ShardedRef
from .styles import BroadcastBehavior, ShardedBehavior, SingletonBehavior

if TYPE_CHECKING:
    from asyncio import Task

type Endpoint = tuple[str, int] | str
"""A host and a port, or both in one text."""

_WAIT_SECONDS = 30.0
_REFUSED_SECONDS = 0.5
"""How long a node at whose address nobody listens is waited for. A client has others, and who listens there later is
another process."""


class ClusterClient(ActorSystem):
    """An actor system outside of a cluster, which finds, tells, asks and streams with the actors in it.

    `async with ClusterClient(contact_points=[("node-1", 25520)]) as client:`. It listens nowhere and joins nothing; its
    own actors can be addressed by all nodes, over the connections that it makes. It keeps a copy of who is a member,
    who owns what, and which services there are, from whichever node it reaches; when that node is lost, it goes on with
    another. What is sent to entities goes straight to the nodes that own them.
    """

    def __init__(
        self,
        contact_points: Sequence[Endpoint],
        system_name: str = "casty",
        *,
        tls: Tls | Contexts | None = None,
        secret: str | bytes | None = None,
        address_map: Mapping[Endpoint, Endpoint] | None = None,
        remote: Remote | None = None,
        connect_timeout: float = _WAIT_SECONDS,
        max_waiting: int = 4096,
        max_waiting_bytes: int = 64 * 2**20,
        shutdown_timeout: float = 10.0,
        seed: int | None = None,
    ) -> None:
        """`contact_points` are nodes, as `("host", port)` or `"host:port"`; any one of them that lives is enough.

        `system_name` is that of the cluster. `secret` and `tls` say who may come in. `address_map` says what to dial
        instead of the addresses by which nodes know each other, for tunnels. What else can be set for the connections
        is in `remote`. `connect_timeout` is how long, in seconds, `start` waits for the cluster; with 0 it does not
        wait, and the client connects in the background.

        `max_waiting` messages for entities, and `max_waiting_bytes` of them, wait while no node can be reached, or
        while more are on their way than the nodes take. More are refused: told ones become dead letters, and asks are
        tried again until their timeout, and fail with `NotHandledError`.

        Raises `UsageError` and `InvalidNameError`.
        """
        if isinstance(contact_points, str):
            raise UsageError("contact_points is a list of ('host', port) or 'host:port', not one text")
        self._contacts = tuple(dict.fromkeys([_address("a contact point", each) for each in contact_points]))
        if not self._contacts:
            raise UsageError("a client needs at least one contact point, such as ('localhost', 25520)")
        check_timeout("connect_timeout", connect_timeout)
        check_count("max_waiting", max_waiting)
        check_count("max_waiting_bytes", max_waiting_bytes)
        base = remote or Remote(refused_after=_REFUSED_SECONDS)
        if base.host is not None:
            raise UsageError("a client listens nowhere; give no host in remote")
        known = base.address_map
        if address_map is not None:
            known = {
                _address("address_map", node): _address("address_map", dialled) for node, dialled in address_map.items()
            }
        given = evolve(
            base,
            secret=base.secret if secret is None else secret,
            tls=base.tls if tls is None else tls,
            address_map=known,
        )
        super().__init__(system_name, shutdown_timeout=shutdown_timeout, seed=seed, remote=given)
        self._connect_timeout = connect_timeout
        self._limits = Limits(max_waiting, max_waiting_bytes)
        self._links: Links | None = None
        self._routes: Routes | None = None
        self._feed: Feed | None = None
        self._following: Task[None] | None = None
        self._view: View | None = None
        self._waiting: dict[asyncio.Future[None], None] = {}

    # -- beginning and end ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect with the cluster. A no-op when that was done.

        Raises `ContactError`, with the reason for each contact point, when no node is reached in time, or when none of
        them can ever be one that takes this client. The client can be started again then.
        """
        await super().start()

    async def _connect(self, remoting: Remoting) -> None:
        runtime = remoting.runtime
        allow_types(remoting.types)
        await remoting.start()
        self._links = links = Links(remoting, self._link_changed)
        self._routes = routes = Routes(remoting, links, self._limits)
        remoting.refs.placeless = PlacelessRefs(runtime, routes.region)
        self._feed = Feed(runtime, links, self._contacts, self._see, self._connection_changed, self._notify)
        self._following = runtime.tracker.start(self._feed.run(), "casty-client")
        if self._connect_timeout == 0:
            return
        try:
            await self._wait_connected(self._connect_timeout, gives_up=True)
        except BaseException:
            await self._let_go("the client did not start")
            await remoting.close()
            self._links = self._routes = self._feed = None
            raise

    async def _end(self, runtime: Runtime) -> tuple[str, ...]:
        # Handlers that still run may use what is connected.
        await self._stop_following()
        self._notify()
        try:
            return await super()._end(runtime)
        finally:
            await self._let_go("the client was shut down")

    async def _stop_following(self) -> None:
        following, self._following = self._following, None
        if self._links is not None:
            self._links.end()
        if following is not None:
            following.cancel()
            await asyncio.wait([following])

    async def _let_go(self, reason: str) -> None:
        await self._stop_following()
        if self._routes is not None:
            self._routes.end(reason)
        if self._links is not None:
            self._links.close()
        self._notify()

    # -- the cluster ---------------------------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology | None:
        """Who is a member and who owns what, as far as it is known here; `None` before the first copy."""
        return None if self._view is None else self._view.topology

    @property
    def members(self) -> tuple[ClusterMember, ...]:
        """All members, those included that are unreachable; empty before the first copy."""
        return () if self._view is None else self._view.users_members

    @property
    def leader_id(self) -> str | None:
        """The node that the one followed takes for the leader, if it knows of one."""
        leader = None if self._view is None else self._view.topology.leader
        return None if leader is None else split_key(leader)[0]

    @property
    def is_connected(self) -> bool:
        """Whether some node tells this client what happens."""
        return self._feed is not None and self._feed.link is not None

    @property
    def connected_to(self) -> str | None:
        """The id of the node that is followed; `None` while there is none."""
        link = None if self._feed is None else self._feed.link
        return None if link is None else link.node_id

    async def wait_connected(self, timeout: float = _WAIT_SECONDS) -> None:
        """Wait until some node tells this client what happens. Raises `ContactError` after `timeout` seconds."""
        check_timeout("the timeout of wait_connected", timeout)
        await self.start()
        await self._wait_connected(timeout, gives_up=False)

    async def _wait_connected(self, timeout: float, *, gives_up: bool) -> None:
        feed = self._feed
        assert feed is not None
        try:
            async with asyncio.timeout(timeout):
                await self._until(lambda: self.is_connected or (gives_up and feed.is_hopeless))
        except TimeoutError as error:
            raise ContactError(self._problems(f"no node of cluster {self.name!r} within {timeout:g} s")) from error
        if not self.is_connected:
            raise ContactError(self._problems(f"no node of cluster {self.name!r} that takes this client"))

    def _problems(self, what: str) -> str:
        assert self._feed is not None
        return "\n".join([f"{what}:", *[f"  {address}: {why}" for address, why in self._feed.problems.items()]])

    async def wait_for(self, count: int, timeout: float = _WAIT_SECONDS) -> None:
        """Wait until at least `count` members are known to be up. Raises `ClusterTimeoutError` after `timeout` s."""
        check_count("the count of wait_for", count)
        check_timeout("the timeout of wait_for", timeout)
        await self.start()
        try:
            async with asyncio.timeout(timeout):
                await self._until(lambda: self._view is not None and self._view.up >= count)
        except TimeoutError as error:
            known = ", ".join([f"{member.node_id} ({member.status.value})" for member in self.members]) or "none"
            raise ClusterTimeoutError(
                f"the client waited {timeout:g} s for {count} members that are up, and knows of: {known}"
            ) from error

    async def wait_for_service[M](
        self, key: ServiceKey[M], count: int = 1, timeout: float = _WAIT_SECONDS
    ) -> Listing[M]:
        """Wait until at least `count` actors offer a service, and return all that do.

        Raises `ClusterTimeoutError` after `timeout` seconds.
        """
        check_count("the count of wait_for_service", count)
        check_timeout("the timeout of wait_for_service", timeout)
        await self.start()
        try:
            async with asyncio.timeout(timeout):
                await self._until(lambda: len(self.receptionist.listing(key)) >= count)
        except TimeoutError as error:
            raise ClusterTimeoutError(
                f"the client waited {timeout:g} s for {count} actors that offer {key.name!r}, and knows of "
                f"{len(self.receptionist.listing(key))}"
            ) from error
        return self.receptionist.listing(key)

    # -- what changes --------------------------------------------------------------------------------------------------

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so. Raises `SystemShutDownError` once it cannot become so any more."""
        runtime = self._runtime("ended")
        while not condition():
            if self.stopping:
                raise SystemShutDownError(f"the client of {self.name!r} was shut down")
            future: asyncio.Future[None] = runtime.loop.create_future()
            self._waiting[future] = None
            try:
                await future
            finally:
                self._waiting.pop(future, None)

    def _notify(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _link_changed(self) -> None:
        if self._feed is not None:
            self._feed.link_changed()
        if self._routes is not None:
            self._routes.pump_soon()

    def _connection_changed(self, reason: str | None) -> None:
        runtime, feed = self._runtime("never"), self._feed
        if reason is not None:
            runtime.publish(ClientDisconnected(reason))
        elif feed is not None and feed.link is not None:
            runtime.publish(ClientConnected(feed.link.address))
        self._notify()

    def _see(self, view: View) -> None:
        """The cluster is another one."""
        before, self._view = self._view, view
        assert self._links is not None
        assert self._routes is not None
        self._links.set_members(view.topology.members)
        self._list_services(before, view)
        self._routes.see(view)
        runtime = self._runtime("never")
        for event in member_changes(() if before is None else before.users_members, view.users_members):
            runtime.publish(event)
        self._notify()

    def _list_services(self, before: View | None, view: View) -> None:
        remoting = self._runtime("never").remoting
        if remoting is None:
            return
        old = {} if before is None else before.services
        same_members = before is not None and before.members == view.members
        for name in {**old, **view.services}:
            entries = view.services.get(name, ())
            if same_members and entries == old.get(name, ()):
                continue
            found = [
                instance_of(remoting, key, view.members[key].address, number, text)
                for key, number, text in entries
                if key in view.members
            ]
            there = tuple([instance for instance in found if instance is not None])
            self.receptionist.set_elsewhere(ServiceKey(name), there)

    # -- actors --------------------------------------------------------------------------------------------------------

    def _used(self) -> Routes:
        if self._routes is None:
            raise UsageError(f"the client of {self.name!r} was not started; use `async with`, or await client.start()")
        return self._routes

    if not TYPE_CHECKING:  # Its types are those of `ActorSystem.spawn`.

        def spawn(self, actor: Any, name: str | None = None, **options: Any) -> Any:
            """Spawn an actor of the client; see `ActorSystem.spawn`. Raises `UsageError` for what nodes alone have."""
            is_for_nodes = isinstance(actor, ShardedBehavior | SingletonBehavior | BroadcastBehavior)
            if is_for_nodes or options.get("sharded") or options.get("singleton"):
                raise UsageError(
                    f"spawn of {name!r}: sharded types, singletons and broadcasted actors live on the nodes of a "
                    "cluster; spawn it there, and use client.sharded_ref(name), singleton_ref or broadcast_ref here"
                )
            return super().spawn(actor, name, **options)

    def entity_ref(self, name: str, entity_id: str) -> EntityRef[Any]:
        """The ref of one entity of a sharded type, whether the type is known yet or not. Raises `UsageError`."""
        return self.sharded_ref(name)[entity_id]

    def sharded_ref(self, name: str) -> ShardedRef[Any]:
        """The ref of a sharded type: `client.sharded_ref("players")["alice"]`. Raises `UsageError`."""
        return ShardedRef(self._used().region(_name(name)))

    def singleton_ref(self, name: str) -> EntityRef[Any]:
        """The ref of a singleton of the cluster. Raises `UsageError`."""
        return EntityRef(self._used().region(_name(name)), SINGLETON_ID)

    def broadcast_ref(self, name: str) -> BroadcastRef[Any]:
        """All instances of a broadcasted actor, as far as they are known here. Raises `UsageError`."""
        return BroadcastRef(self, _name(name))

    async def ask(
        self, ref: ActorRef[Asked], build: Callable[[ActorRef[Answer]], Asked], timeout: float = 5.0
    ) -> Answer:
        answer: Answer = await ask_anyone(super().ask, ref, build, timeout, "client.ask")
        return answer

    @overload
    def lookup[M](self, key: ServiceKey[M]) -> Listing[M]: ...

    @overload
    def lookup(self, key: str) -> Lookup: ...

    def lookup(self, key: ServiceKey[Any] | str) -> Listing[Any] | Lookup:
        """Find actors; see `ActorSystem.lookup`.

        A listing has what this client knows at the moment; awaiting it waits for the first copy. A name is that of an
        actor of the client, of a sharded type or of a singleton; when the answer is awaited, also one that was claimed
        for an actor, or that of an actor of any node.
        """
        if isinstance(key, ServiceKey):
            listing = super().lookup(key)
            if self._view is not None or self._routes is None:
                return listing
            return _EarlyListing(listing.key, listing.instances, first=lambda: self._first_listing(key))
        found = super().lookup(key)
        routes = self._routes
        if routes is None or found.ref is not None or "://" in key:
            return found
        name = key.removeprefix("/")
        missing = MissingRef(self._runtime("ended"), self._parse(key), Reason.NOT_AWAITED)
        region = routes.known(name)
        return Lookup(region, missing) if region is not None else Lookup(None, missing, lambda: self._find_any(name))

    async def _first_listing(self, key: ServiceKey[Any]) -> Listing[Any]:
        await self._until(lambda: self._view is not None)
        return self.receptionist.listing(key)

    async def _find_any(self, path: str) -> ActorRef[Any] | None:
        """A type, whoever has claimed the name, or an actor of any node: the first in the order of the members."""
        await self._until(lambda: self._view is not None)
        region = self._used().known(path)
        if region is not None:
            return region

        there = [member.address for member in self.members if member.status is not MemberStatus.UNREACHABLE]
        return await find_somewhere(super().lookup, self.name, there, path)


@frozen
class _EarlyListing[M](Listing[M]):
    """What is known before the first copy."""

    first: Callable[[], Awaitable[Listing[M]]] | None = field(default=None, eq=False, repr=False)

    def __await__(self) -> Generator[Any, Any, Listing[M]]:
        assert self.first is not None
        return self.first().__await__()


def _name(name: str) -> str:
    given: object = name
    if not isinstance(given, str) or not given:
        raise UsageError(f"the name of a type or of a singleton must be a text, not {name!r}")
    return name


def _address(what: str, given: object) -> NodeAddress:
    try:
        if isinstance(given, str):
            return NodeAddress(*parse_endpoint(given))
        if isinstance(given, tuple) and len(given) == 2:
            return NodeAddress(*given)
    except (AddressError, TypeError) as error:
        raise UsageError(f"{what} is given as ('host', port) or 'host:port', not {given!r}: {error}") from error
    raise UsageError(f"{what} is given as ('host', port) or 'host:port', not {given!r}")
