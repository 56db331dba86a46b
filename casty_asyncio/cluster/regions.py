"""The types and singletons of the cluster, as this node uses them: how messages get to their entities."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from casty_proto.actor import Phase, Stop
from casty_proto.cluster import events
from casty_proto.cluster.records import RegionKind, RegionSettings
from casty_proto.machine import SECOND, Rejected
from casty_proto.shard.hashing import shard_of

from ..errors import AskTimeoutError, ClusterError, ClusterTimeoutError, NotHandledError
from .asking import Accepting, EntityAsk, EntityAsks
from .items import Form
from .names import SINGLETON_ID
from .recipes import Recipe
from .refs import EntityRef, ShardedRef

if TYPE_CHECKING:
    from ..refs import ActorRef, LocalRef
    from ..runtime import Runtime
    from .hosting import Hosting
    from .member import Member, Request
    from .views import Views

WAITING_MAX = 4096
"""How many messages wait here for a type that is not known yet."""
PLACES_MAX = 1024
"""Of how many entities of a type the shard is remembered."""
WAITED_FOR_MAX = 1024
"""For how many types that are not known yet messages wait."""
WAITING_BYTES = 64 * 2**20
"""How many bytes of messages wait for all of these together. One message may wait whatever its size."""
SEND_SECONDS = 10.0
"""How long a send waits besides what its type gives to the backups."""
REGISTER_SECONDS = 30.0
_AGAIN_SECONDS = 0.1


class Region:
    """One type, or one singleton, known here or not yet."""

    def __init__(self, regions: Regions, name: str) -> None:
        self.name = name
        self.runtime = regions.runtime
        self.items = regions.asks.items
        self.asks = regions.asks
        self._member = regions.member
        self._waiting: deque[tuple[str, bytes, Request]] = deque()
        self._waited_for = regions.waited_for
        self._waiting_bytes = 0
        self._shards: dict[str, int] = {}
        """Of entities that were told something, while there are `_num_shards`."""
        self._num_shards = 0

    @property
    def settings(self) -> RegionSettings | None:
        """What all nodes have agreed upon; `None` while this one does not know it."""
        known = self._member.node.state.region(self.name)
        return None if known is None else known.settings

    @property
    def version(self) -> int:
        """Up to which index of the log this node knows everything."""
        return self._member.node.state.changed

    @property
    def waits_for_backups(self) -> bool:
        """Whether a send is over only when backups have the state."""
        settings = self.settings
        return settings is not None and settings.sync_count != 0

    @property
    def send_timeout(self) -> float:
        """How long such a send may take."""
        settings = self.settings
        return SEND_SECONDS + (0.0 if settings is None else settings.timeout_ns / SECOND)

    def tell(self, entity: str, data: bytes, request: Request, *, quiet: bool = False) -> int:
        """Send a message. Returns the shard; -1 while it waits for the type to become known.

        A `quiet` one is told nothing when an owner has it, but only when it is lost.
        """
        if self._member.has_ended:
            request.answered(Rejected("this node belongs to no cluster any more"))
            return -1
        known = self._member.node.state.region(self.name)
        if known is None:
            self._wait(entity, data, request)
            return -1
        if known.num_shards != self._num_shards or len(self._shards) > PLACES_MAX:
            self._num_shards = known.num_shards
            self._shards.clear()
        shard = self._shards.get(entity, -1)
        if shard < 0:
            shard = self._shards[entity] = shard_of(entity, known.num_shards)
        self._member.post((self.name, shard), (data, request, not quiet))
        return shard

    async def accepted(self, ref: EntityRef[Any], message: Any, sender: ActorRef[Any] | None) -> None:
        """Send a message and wait until an owner has it.

        Raises `NotHandledError`, `OutcomeUnknownError` or `AskTimeoutError`.
        """
        self.runtime.check_thread()
        loop = self.runtime.loop
        data = self.items.message(ref, Form.RECEIPT, sender, None, message)
        until = loop.time() + SEND_SECONDS
        while True:
            future: asyncio.Future[None] = loop.create_future()
            self.tell(ref.entity_id, data, Accepting(future, f"{ref.path}, {type(message).__name__}"))
            try:
                async with asyncio.timeout_at(until):
                    await future
            except TimeoutError as error:
                raise AskTimeoutError(
                    f"nobody has taken {type(message).__name__} for {ref.path} within {SEND_SECONDS:g} s"
                ) from error
            except NotHandledError:
                if loop.time() + _AGAIN_SECONDS >= until or self.runtime.system.stopping:
                    raise
            else:
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    def became_known(self) -> None:
        """Send what has waited."""
        waiting = self._taken()
        for entity, data, request in waiting:
            since, shard = self.version, self.tell(entity, data, request)
            if isinstance(request, EntityAsk):
                self.asks.sent(request, shard, since)

    def give_up(self, reason: str) -> None:
        """It will not become known."""
        for _, _, request in self._taken():
            request.answered(Rejected(reason))

    def _wait(self, entity: str, data: bytes, request: Request) -> None:
        waited_for = self._waited_for
        size = sum([region._waiting_bytes for region in waited_for])
        is_heavy = size > 0 and size + len(data) > WAITING_BYTES
        if is_heavy or len(self._waiting) >= WAITING_MAX or len(waited_for) >= WAITED_FOR_MAX:
            request.answered(Rejected(f"{self.name!r} is not known here, and too much waits for it to become known"))
            return
        self._waiting.append((entity, data, request))
        self._waiting_bytes += len(data)
        waited_for[self] = None

    def _taken(self) -> deque[tuple[str, bytes, Request]]:
        waiting, self._waiting = self._waiting, deque()
        self._waiting_bytes = 0
        self._waited_for.pop(self, None)
        return waiting


class Answered:
    """A request to the node, for whoever awaits its answer."""

    __slots__ = ("future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Any] = loop.create_future()

    def answered(self, result: Any) -> None:
        """The node has answered."""
        if not self.future.done():
            self.future.set_result(result)


class Regions:
    """All of them."""

    def __init__(self, runtime: Runtime, member: Member, hosting: Hosting) -> None:
        self.runtime = runtime
        self.member = member
        self.hosting = hosting
        self.asks = EntityAsks(runtime, hosting.items)
        self._regions: WeakValueDictionary[str, Region] = WeakValueDictionary()
        """Those that something refers to. Strangers may name as many as they like."""
        self.waited_for: dict[Region, None] = {}
        """Those for which messages wait until they are known."""
        self._requests: dict[Answered, None] = {}

    def region(self, name: str) -> Region:
        """The one of that name, known or not."""
        found = self._regions.get(name)
        if found is None:
            found = self._regions[name] = Region(self, name)
        return found

    def ref(self, name: str, kind: RegionKind) -> ShardedRef[Any] | EntityRef[Any]:
        """What stands for it."""
        region = self.region(name)
        return EntityRef(region, SINGLETON_ID) if kind is RegionKind.SINGLETON else ShardedRef(region)

    def known(self, name: str) -> ShardedRef[Any] | EntityRef[Any] | None:
        """What stands for one that the cluster has; `None` where this node knows of none."""
        found = self.member.node.state.region(name)
        return None if found is None else self.ref(name, found.kind)

    async def request(self, event_of: Callable[[Answered], events.NodeEvent]) -> Any:
        """Ask the node for something, and wait for its answer, or until there is no cluster any more."""
        if self.member.has_ended:
            return Rejected("this node belongs to no cluster any more")
        request = Answered(self.runtime.loop)
        self._requests[request] = None
        try:
            self.member.feed(event_of(request))
            return await request.future
        finally:
            del self._requests[request]

    async def register(self, recipe: Recipe, guardian: LocalRef[Any], views: Views) -> None:
        """Tell the cluster of it, and host it here. Raises `ClusterError`, with nothing hosted here."""
        self.hosting.host(recipe, guardian)
        try:
            await self._register(recipe, views)
        except BaseException:
            self.hosting.regions.pop(recipe.name, None)
            raise

    async def _register(self, recipe: Recipe, views: Views) -> None:
        name = recipe.name
        reason = "this node has not become a member of a cluster yet; are its seeds right, and do they run?"
        try:
            async with asyncio.timeout(REGISTER_SECONDS):
                await views.until(views.joined.is_set)
                while not views.gone.is_set():
                    result = await self.request(
                        lambda request: events.AddRegion(request, name, recipe.kind, recipe.settings)
                    )
                    if type(result) is events.Done:
                        return
                    reason = result.reason
                    known = self.member.node.state.region(name)
                    if known is not None and (known.kind, known.settings) != (recipe.kind, recipe.settings):
                        raise ClusterError(f"{name!r} is known in the cluster with other settings: {reason}")
                    await asyncio.sleep(_AGAIN_SECONDS)
        except TimeoutError as error:
            raise ClusterTimeoutError(
                f"{name!r} could not be registered within {REGISTER_SECONDS:g} s: {reason}"
            ) from error
        raise ClusterError(f"{name!r} could not be registered: this node belongs to no cluster any more")

    def added(self, name: str) -> None:
        """The cluster has one more."""
        region = self._regions.get(name)
        if region is not None:
            region.became_known()

    def removed(self, name: str) -> None:
        """The cluster does not have it any more, nor does this node."""
        region = self.hosting.regions.pop(name, None)
        if region is not None and region.guardian._cell.phase < Phase.STOPPING:
            self.runtime.feed(Stop(region.guardian._cell))

    def give_up(self, reason: str) -> None:
        """This node belongs to no cluster any more."""
        for region in list(self.waited_for):
            region.give_up(reason)
        for request in list(self._requests):
            request.answered(Rejected(reason))
        self.asks.fail_all(reason)
