"""The gateways that an outside client can talk to: one on each member that it knows of.

Rules
-----
 1. The client keeps a connection with every member. Only so can every node address the client's actors, and answer
    its asks: nobody can dial it.
 2. A member that cannot be reached is tried again, after a back-off, for as long as it is a member that is up.
 3. A process that is lost, and no member any more, is not dialled any more either.
 4. A link ends with the process of its node. What is under way over it has failed before `on_down` is called.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Phase
from casty_proto.address import ActorAddress, AddressError, NodeAddress
from casty_proto.cluster.records import Status
from casty_proto.cluster.topology import TopologyMember

from ..errors import ClusterError, UnreachableError
from ..remote.refs import RemoteRef
from ..stand_in import StandIn
from .client_wire import GATEWAY

if TYPE_CHECKING:
    from ..remote.remoting import Remoting
    from ..transport.peer import Peer

BACKOFF_MIN, BACKOFF_MAX = 0.05, 5.0
"""How long, in seconds, it takes until a member is tried again."""
WARN_AFTER = 5
"""After how many attempts the log says that a member cannot be reached."""
SUSPECT_SECONDS = 10.0
"""How long a node that did not answer is the last to be asked again."""


class NoClusterError(ClusterError):
    """What was reached is no node of a cluster, and will not become one. Nothing was changed."""


class Link:
    """The way to one node."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.member: TopologyMember | None = None
        """What the cluster says of it; `None` while it is known as a contact point only, and once it is no member."""
        self.gateway: RemoteRef[Any] | None = None
        self.peer: Peer | None = None
        """The process that was there last."""
        self.attempts = 0
        """How often it was tried in vain."""
        self.is_closing = False
        """Whether it takes no messages any more."""
        self.suspect_until = 0.0
        """Until when it is asked last, in seconds of the loop's clock."""
        self.connecting: asyncio.Task[None] | None = None
        self.undo: Callable[[], None] | None = None
        """Ends the watch over the gateway."""

    @property
    def is_up(self) -> bool:
        """Whether its process is held to be there, and takes something."""
        gateway = self.gateway
        if gateway is None or self.is_closing:
            return False
        try:
            return not gateway.conversation.is_gone(gateway.number)
        except UnreachableError:
            return False

    @property
    def is_open(self) -> bool:
        """Whether something that is sent to it now goes out at once, and does not wait for a connection."""
        return self.is_up and self.peer is not None and self.peer.link.attached is not None

    @property
    def is_down(self) -> bool:
        """Whether the cluster holds it to be dead."""
        return self.member is not None and self.member.status is Status.DOWN

    @property
    def address(self) -> str:
        """Where it can be dialled, as `host:port`."""
        return self.member.address if self.member is not None else self.gateway.node.address if self.gateway else ""


class Links:
    """All of them. `on_change` is called when one is there, and when one is lost."""

    def __init__(self, remoting: Remoting, on_change: Callable[[], None]) -> None:
        self._remoting = remoting
        self._runtime = remoting.runtime
        self._on_change = on_change
        self._by_id: dict[str, Link] = {}
        self._by_key: dict[str, Link] = {}
        self._has_ended = False

    # -- who is there --------------------------------------------------------------------------------------------------

    def of(self, key: str | None) -> Link | None:
        """The link to a member, if it can be used."""
        link = None if key is None else self._by_key.get(key)
        return link if link is not None and link.is_open and not link.is_down else None

    def best(self) -> Link | None:
        """The one to ask for anything, if there is one: of a member that is up, and that answered when last asked."""
        now = self._runtime.loop.time()
        open_ones = [link for link in self._by_id.values() if link.is_open]
        return min(open_ones, key=lambda link: _rank(link, now), default=None)

    def has_other(self, link: Link) -> bool:
        """Whether there is another one that could be used instead."""
        return any(each.is_open and not each.is_down for each in self._by_id.values() if each is not link)

    def addresses(self) -> tuple[str, ...]:
        """Where members can be dialled."""
        return tuple([link.member.address for link in self._by_id.values() if link.member is not None])

    # -- finding -------------------------------------------------------------------------------------------------------

    async def find(self, address: NodeAddress) -> RemoteRef[Any]:
        """The gateway of the node at an address. Raises `UnreachableError`, and `NoClusterError`."""
        name = self._runtime.name
        limit = self._remoting.options.connect_timeout
        try:
            async with asyncio.timeout(2 * limit):
                ref = await self._remoting.lookup(ActorAddress(name, address, f"/{GATEWAY}"))
        except TimeoutError as error:
            raise UnreachableError(f"{address} did not say within {2 * limit:g} s whether it is a node") from error
        if not isinstance(ref, RemoteRef):
            raise NoClusterError(
                f"{address} is an actor system, and no node of a cluster; nodes are started by "
                "ActorSystem.distributed(...)"
            )
        return ref

    def adopt(self, gateway: RemoteRef[Any]) -> Link:
        """The link to a gateway that was found."""
        link = self._by_id.get(gateway.node.node_id)
        if link is None:
            link = self._by_id[gateway.node.node_id] = Link(gateway.node.node_id)
        if link.gateway != gateway or not link.is_up:
            self._open(link, gateway)
        return link

    def set_members(self, members: tuple[TopologyMember, ...]) -> None:
        """These are the members. Connect with those that are new, and let those go that are none any more."""
        self._by_key = {}
        here = dict.fromkeys([one.node_id for one in members])
        for one in members:
            link = self._by_id.get(one.node_id)
            if link is None:
                link = self._by_id[one.node_id] = Link(one.node_id)
            if link.member is not None and link.member.address != one.address:
                self._stop_connecting(link)
            if link.member is not None and link.member.key != one.key:
                link.is_closing = False
            link.member = one
            self._by_key[one.key] = link
            self._see_to(link)
        for node_id, link in list(self._by_id.items()):
            if node_id not in here:
                link.member = None
                self._stop_connecting(link)
                if not link.is_up:
                    self._close(link)
                    self._forget(link)

    # -- one link ------------------------------------------------------------------------------------------------------

    def _see_to(self, link: Link) -> None:
        """Connect with a member, unless that is done or under way (rule 2)."""
        member = link.member
        wanted = member is not None and member.status is not Status.DOWN and not self._has_ended
        if not wanted:
            self._stop_connecting(link)
        elif link.gateway is None and link.connecting is None:
            assert member is not None
            link.connecting = self._runtime.tracker.start(
                self._connect(link, member.address), f"casty-client {member.address}"
            )

    async def _connect(self, link: Link, text: str) -> None:
        pause = BACKOFF_MIN
        try:
            address = NodeAddress.parse(text)
        except AddressError as error:
            self._runtime.log.warning("member %s has the address %r, which is none: %s", link.node_id, text, error)
            return
        gateway = None
        while gateway is None:
            try:
                gateway = await self.find(address)
                if gateway.node.node_id == link.node_id:
                    break
                problem, gateway = f"{gateway.node} is there", None
            except (UnreachableError, NoClusterError) as error:
                problem = str(error)
            self._complain(link, problem)
            await asyncio.sleep(pause * (0.75 + 0.5 * self._runtime.rng.random()))
            pause = min(2 * pause, BACKOFF_MAX)
        link.connecting = None
        self._open(link, gateway)

    def _complain(self, link: Link, problem: str) -> None:
        link.attempts += 1
        text = "member %s cannot be connected: %s; its actors cannot answer this client (see address_map)"
        level = logging.WARNING if link.attempts == WARN_AFTER else logging.DEBUG
        self._runtime.log.log(level, text, link.node_id, problem)

    def _stop_connecting(self, link: Link) -> None:
        task, link.connecting = link.connecting, None
        if task is not None:
            task.cancel()

    def _open(self, link: Link, gateway: RemoteRef[Any]) -> None:
        self._stop_connecting(link)
        self._close(link)
        cell = gateway._watchable()
        if cell is None or cell.phase == Phase.STOPPED:
            self._see_to(link)
            return
        body: StandIn = cell.body

        def lost() -> None:
            if link.gateway is gateway:
                link.gateway = link.undo = None
                if link.member is None:
                    self._forget(link)
                self._see_to(link)
                self._on_change()

        body.call_at_end(lost)
        link.attempts = 0
        link.gateway, link.is_closing, link.peer = gateway, False, gateway.conversation.peer
        link.undo = lambda: body.forget_at_end(lost)
        self._on_change()

    def _close(self, link: Link) -> None:
        undo, link.undo = link.undo, None
        link.gateway = None
        if undo is not None:
            undo()

    def _forget(self, link: Link) -> None:
        """It is no member any more, and its process is lost (rule 3)."""
        self._by_id.pop(link.node_id, None)
        peer = link.peer
        if peer is not None and peer.link.gone is None:
            peer.supersede("it is no member of the cluster any more")

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Connect with nobody any more. What is there can be used until the system has ended."""
        self._has_ended = True
        for link in self._by_id.values():
            self._stop_connecting(link)

    def close(self) -> None:
        """Let go of all."""
        for link in self._by_id.values():
            self._close(link)
        self._by_id.clear()
        self._by_key.clear()


def _rank(link: Link, now: float) -> tuple[bool, bool, bool]:
    is_member = link.member is not None and link.member.status is Status.UP
    return link.is_down, link.suspect_until > now, not is_member
