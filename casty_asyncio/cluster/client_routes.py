"""How the messages of an outside client get to entities: straight to the node that owns the shard.

Theory of operation
-------------------
Each message goes to the gateway of one node, which says when the owner has it. As far as the client knows, that node is
the owner itself; where it is not, or not any more, the node passes the message on, as it does with its own.

Rules
-----
 1. The messages to one shard are sent through one node at a time. When another one is to be used, what was sent is
    settled first, and the rest waits here: so they stay in order.
 2. What cannot be sent yet waits: while no node is connected, while the type is not known, and while more than
    `UNDER_WAY_MAX` messages, or `UNDER_WAY_BYTES` of them, are on their way. So many may wait, and so many bytes, as
    the `Limits` say; more are refused, which makes dead letters of tells, and makes asks try again.
 3. What was sent to a node that is lost, or held to be dead, before it said that the owner has it: nobody knows what
    became of it, and nobody repeats it.
 4. A node that leaves gives back what it has not passed on, and that is sent through another one, in its place.
 5. An ask that an owner has had fails when the shard was taken from that owner, and not given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from attrs import define, frozen

from casty_proto.cluster import events as said
from casty_proto.cluster.records import RegionKind, RegionSettings
from casty_proto.machine import Instant, Rejected
from casty_proto.shard.hashing import shard_of

from ..asks import Ask
from ..errors import ActorStoppedError, NotSendableError, OutcomeUnknownError, UnreachableError
from .asking import EntityAsk, EntityAsks
from .client_wire import Accepted, Deliver, Refusal
from .items import Items
from .names import SINGLETON_ID
from .refs import EntityRef, ShardedRef
from .regions import Region

if TYPE_CHECKING:
    from ..remote.remoting import Remoting
    from .client_links import Link, Links
    from .client_view import View
    from .member import Request

UNDER_WAY_MAX = 2**16
"""How many messages may be on their way at a time. More wait as well."""
UNDER_WAY_BYTES = 64 * 2**20
"""How many bytes of them. One message may have more."""
_AGAIN_SECONDS = 0.05
_FRAME_ROOM = 256
"""What a message needs besides itself and the names in its address, in bytes."""
_BYTES_MAX = 4
"""The most that a character of a name takes."""

type Spot = tuple[str, int]


@frozen
class Limits:
    """What may wait in a client until it can be sent. One message may wait whatever its size."""

    messages: int
    size: int
    """In bytes."""


@define(eq=False)
class _Message:
    """One message for an entity."""

    region: str
    entity: str
    item: bytes
    request: Request
    number: int = 0
    """Its place among those of its lane."""

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return isinstance(self.request, EntityAsk) and self.request.future.done()


class _Lane:
    """What goes to one shard."""

    __slots__ = ("link", "sent", "spot", "under_way", "waiting")

    def __init__(self, spot: Spot) -> None:
        self.spot = spot
        self.link: Link | None = None
        """Through which node it goes."""
        self.under_way: dict[_Posted, None] = {}
        """What the gateway there has not answered."""
        self.sent = 0
        """The number of the last message that was sent for the first time."""
        self.waiting: deque[_Message] = deque()


class ClientRegion(Region):
    """One type, or one singleton, as a client uses it."""

    def __init__(self, routes: Routes, name: str) -> None:
        self.name = name
        self.runtime = routes.runtime
        self.items = routes.items
        self.asks = routes.asks
        self._routes = routes

    @property
    def settings(self) -> RegionSettings | None:
        """What the nodes have agreed upon; `None` while it is not known here."""
        view = self._routes.view
        known = None if view is None else view.regions.get(self.name)
        return None if known is None else known.settings

    @property
    def version(self) -> int:
        """A client knows of no log; the gateways say since when something is lost."""
        return 0

    def tell(self, entity: str, data: bytes, request: Request, *, quiet: bool = False) -> int:
        """Send a message. Returns the shard; -1 while it waits for the type. Raises `NotSendableError`.

        `quiet` or not: a gateway says of each message what became of it.
        """
        return self._routes.tell(_Message(self.name, entity, data, request))


class Routes:
    """The messages of one client, on their way to their entities."""

    def __init__(self, remoting: Remoting, links: Links, limits: Limits) -> None:
        self.runtime = remoting.runtime
        self.items = Items(remoting)
        self.asks = EntityAsks(self.runtime, self.items)
        self.view: View | None = None
        self._links = links
        self._limits = limits
        self._limit = remoting.options.max_message - _FRAME_ROOM
        self._regions: WeakValueDictionary[str, ClientRegion] = WeakValueDictionary()
        """Those that something refers to."""
        self._unknown: dict[str, deque[_Message]] = {}
        """What waits for types that are not known."""
        self._lanes: dict[Spot, _Lane] = {}
        self._stuck: dict[_Lane, None] = {}
        """Those in which something waits."""
        self._waiting = 0
        self._waiting_bytes = 0
        self._under_way = 0
        self._under_way_bytes = 0
        self._accepted: dict[EntityAsk, tuple[Spot, int]] = {}
        """The asks that an owner has, each with its shard and the epoch of that."""
        self._is_pumping_soon = False
        self._over: str | None = None

    # -- types ---------------------------------------------------------------------------------------------------------

    def region(self, name: str) -> ClientRegion:
        """The one of that name, known or not."""
        found = self._regions.get(name)
        if found is None:
            found = self._regions[name] = ClientRegion(self, name)
        return found

    def known(self, name: str) -> ShardedRef[Any] | EntityRef[Any] | None:
        """What stands for one that the cluster has; `None` where nothing is known of it."""
        found = None if self.view is None else self.view.regions.get(name)
        if found is None:
            return None
        region = self.region(name)
        return EntityRef(region, SINGLETON_ID) if found.kind is RegionKind.SINGLETON else ShardedRef(region)

    # -- on the way ----------------------------------------------------------------------------------------------------

    def tell(self, message: _Message) -> int:
        """Send a message. Returns the shard; -1 while it waits for the type. Raises `NotSendableError`.

        `quiet` or not: a gateway says of each message what became of it.
        """
        size = len(message.item) + _BYTES_MAX * (len(message.entity) + len(message.region))
        if size > self._limit:
            raise NotSendableError(
                f"a message to /{message.region}/{message.entity} cannot be sent: with its address it takes up to "
                f"{size} bytes, and {self._limit} are allowed (Remote.max_message)"
            )
        known = None if self.view is None else self.view.regions.get(message.region)
        if known is None:
            if self._may_wait(message):
                self._unknown.setdefault(message.region, deque()).append(message)
            return -1
        shard = shard_of(message.entity, len(known.table))
        spot = (message.region, shard)
        lane = self._lanes.get(spot)
        if lane is None:
            lane = self._lanes[spot] = _Lane(spot)
        if (lane.waiting or not self._goes(lane, message)) and self._may_wait(message):
            lane.waiting.append(message)
            self._is_stuck(lane)
        return shard

    def _may_wait(self, message: _Message) -> bool:
        reason = self._over
        if reason is None and self._is_full(message):
            self._forget_those_over()
            if self._is_full(message):
                reason = (
                    f"{self._waiting} messages of this client, {self._waiting_bytes} bytes, wait already for the "
                    "cluster (max_waiting and max_waiting_bytes of ClusterClient)"
                )
        if reason is not None:
            message.request.answered(Rejected(reason))
            return False
        self._waits(message)
        return True

    def _is_full(self, message: _Message) -> bool:
        limits = self._limits
        if self._waiting >= limits.messages:
            return True
        return self._waiting > 0 and self._waiting_bytes + len(message.item) > limits.size

    def _waits(self, message: _Message) -> None:
        self._waiting += 1
        self._waiting_bytes += len(message.item)

    def _waits_no_more(self, message: _Message) -> None:
        self._waiting -= 1
        self._waiting_bytes -= len(message.item)

    def _forget_those_over(self) -> None:
        self._waiting = self._waiting_bytes = 0
        for queue in (*[lane.waiting for lane in self._stuck], *self._unknown.values()):
            left = [message for message in queue if not message.is_over]
            queue.clear()
            queue.extend(left)
            for message in left:
                self._waits(message)

    def _goes(self, lane: _Lane, message: _Message) -> bool:
        """Send a message, unless it has to wait (rules 1 and 2)."""
        link = self._link_for(lane)
        if link is None or self._under_way >= UNDER_WAY_MAX:
            return False
        if self._under_way and self._under_way_bytes + len(message.item) > UNDER_WAY_BYTES:
            return False
        if link is not lane.link:
            if lane.under_way:
                return False
            lane.link = link
        gateway = link.gateway
        assert gateway is not None
        conversation = gateway.conversation
        if not conversation.session.has_room:
            message.request.answered(Rejected(f"too much waits for {link.node_id}"))
            return True
        self._under_way += 1
        self._under_way_bytes += len(message.item)
        if message.number == 0:
            lane.sent += 1
            message.number = lane.sent
        # The name of what is asked is of use in errors only.
        posted = _Posted(self, lane, link, message)
        lane.under_way[posted] = None
        ask = Ask(self.runtime, gateway, None, 0.0, posted)
        ask.message = Deliver(message.region, message.entity, message.item, ask.handle())
        conversation.asking.ask(gateway, ask)
        return True

    def _link_for(self, lane: _Lane) -> Link | None:
        """Through which node the next message to a shard goes: its owner, as far as that is known and possible."""
        view = self.view
        known = None if view is None else view.regions.get(lane.spot[0])
        if known is not None and lane.spot[1] < len(known.table):
            link = self._links.of(known.owner(lane.spot[1]))
            if link is not None:
                return link
        if lane.link is not None and lane.link.is_open and not lane.link.is_down:
            return lane.link
        return self._links.best()

    def pump(self) -> None:
        """Send what waits, as far as it can go now."""
        self._is_pumping_soon = False
        for lane in list(self._stuck):
            waiting = lane.waiting
            while waiting:
                if not waiting[0].is_over and not self._goes(lane, waiting[0]):
                    break
                self._waits_no_more(waiting.popleft())
            else:
                del self._stuck[lane]

    def pump_soon(self) -> None:
        """The same, when what is in hand is done."""
        if self._stuck and not self._is_pumping_soon:
            self._is_pumping_soon = True
            self.runtime.loop.call_soon(self.pump)

    def settled(self, posted: _Posted, answer: object) -> None:
        """A gateway has said what became of a message, or never will."""
        lane, link, message = posted.lane, posted.link, posted.message
        del lane.under_way[posted]
        self._under_way -= 1
        self._under_way_bytes -= len(message.item)
        request = message.request
        match answer:
            case Accepted(epoch):
                request.answered(said.Done(epoch))
                if isinstance(request, EntityAsk) and not request.future.done():
                    self._keep(request, lane.spot, epoch)
            case Refusal(reason, is_certain, is_for_others, has_ended):
                link.is_closing = link.is_closing or has_ended
                if is_for_others and self._over is None:
                    self._take_back(lane, message)
                else:
                    request.answered(Rejected(reason) if is_certain else said.Unknown(reason))
            case ActorStoppedError() if not isinstance(answer, UnreachableError) and self._over is None:
                link.is_closing = True
                self._take_back(lane, message)
            case _:
                request.answered(said.Unknown(f"{link.node_id}, which was to pass it on, is lost: {answer}"))
        if type(answer) is not Refusal or answer.has_ended:
            self.pump_soon()

    def _take_back(self, lane: _Lane, message: _Message) -> None:
        """It was not handled, and another node may take it, or the same one later (rule 4)."""
        place = 0
        while place < len(lane.waiting) and 0 < lane.waiting[place].number < message.number:
            place += 1
        lane.waiting.insert(place, message)
        self._waits(message)
        self._is_stuck(lane)

    def _is_stuck(self, lane: _Lane) -> None:
        """Something waits, and is tried again after a while: not all that it may wait for is told."""
        if not self._stuck:
            self.runtime.clock.set(self, _AGAIN_SECONDS)
        self._stuck[lane] = None

    def on_due(self, now: Instant) -> None:
        """Try again."""
        self.pump()
        if self._stuck:
            self.runtime.clock.set(self, _AGAIN_SECONDS)

    # -- changes -------------------------------------------------------------------------------------------------------

    def see(self, view: View) -> None:
        """The cluster is another one."""
        self.view = view
        for name in [name for name in self._unknown if name in view.regions]:
            for message in self._unknown.pop(name):
                self._waits_no_more(message)
                if not message.is_over:
                    self.tell(message)
        for lane in self._lanes.values():
            if lane.under_way and lane.link is not None and lane.link.is_down:
                gone = UnreachableError("the cluster holds it to be dead")
                for posted in list(lane.under_way):
                    posted.set_exception(gone)
        for ask, (spot, epoch) in list(self._accepted.items()):
            if view.taken.get(spot, 0) > epoch:
                self._lose(ask)
        self.pump()

    def _keep(self, ask: EntityAsk, spot: Spot, epoch: int) -> None:
        view = self.view
        if view is not None and view.taken.get(spot, 0) > epoch:
            self._lose(ask)
            return
        self._accepted[ask] = (spot, epoch)
        ask.future.add_done_callback(lambda _: self._accepted.pop(ask, None))

    def _lose(self, ask: EntityAsk) -> None:
        """Rule 5."""
        ask.fail(OutcomeUnknownError(f"{ask.cell.path}: the node that had {ask.kind()} is gone"))

    def end(self, reason: str) -> None:
        """Nothing can be sent any more, and nothing comes."""
        self._over = reason
        self.runtime.clock.cancel(self)
        queues = [*[lane.waiting for lane in self._lanes.values()], *self._unknown.values()]
        self._unknown, self._stuck = {}, {}
        self._waiting = self._waiting_bytes = 0
        for queue in queues:
            for message in list(queue):
                message.request.answered(Rejected(reason))
            queue.clear()
        self.asks.fail_all(reason)


class _Posted:
    """Stands for the future of a `Deliver`: one message that a gateway has."""

    __slots__ = ("_is_over", "_routes", "lane", "link", "message")

    def __init__(self, routes: Routes, lane: _Lane, link: Link, message: _Message) -> None:
        self._routes = routes
        self.lane = lane
        self.link = link
        self.message = message
        self._is_over = False

    def done(self) -> bool:
        """Whether the gateway has answered, or never will."""
        return self._is_over

    def set_result(self, value: Any) -> None:
        """It has answered."""
        if not self._is_over:
            self._is_over = True
            self._routes.settled(self, value)

    def set_exception(self, error: Exception) -> None:
        """It never will."""
        self.set_result(error)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Nobody has the handle but the gateway."""
