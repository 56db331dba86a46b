"""The gateway of a node: what outside clients talk to.

Theory of operation
-------------------
A client asks `Watch(seen)`, and is answered when there is something new: a number, and every part of the cluster's
picture that has changed since `seen`. Each part, which is a type, a service, or the rest, carries the number at which
it changed last; so nothing is kept for a client but the ask that it waits with, and a slow client costs nothing.

It sends a message for an entity as `Deliver`, and is told when the owner has it. The answer of the entity goes to the
client's own handle, over the client's own connection to the owner, and does not come by here.

Rules
-----
 1. The picture is looked at while somebody waits for news, at most once in `PAUSE_SECONDS`: it is as long as all
    shards together.
 2. A `Watch` is answered after `HOLD_SECONDS` at the latest, with nothing new if need be.
 3. What is gone is told as empty, up to `EMPTY_MAX` of it; then everybody is told everything.
 4. Of one process at most `WATCHES_EACH` questions wait, and of all together `WATCHES_MAX`. Who asks beyond that is
    told so at once, and to go elsewhere: a client that means well has one question out.
 5. Before the node leaves, all who wait are told, nothing is taken any more, and what was taken gets where it should.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import frozen

from casty_proto.actor import SAME, UNHANDLED, Behavior, Receive
from casty_proto.cluster import events as said
from casty_proto.cluster.events import Standing
from casty_proto.cluster.topology import TopologyRegion
from casty_proto.machine import Instant, Rejected

from ..refs import ReplyRef
from ..remote.answering import Answer
from ..remote.refs import RemoteRef
from .answers import give_answer
from .client_wire import HOLD_SECONDS, Accepted, Changes, Deliver, Entry, Head, Outside, Refusal, Watch

if TYPE_CHECKING:
    from ..receptionist import Registry
    from ..refs import ActorRef
    from ..runtime import Runtime
    from .member import Member
    from .views import Views

PAUSE_SECONDS = 0.05
EMPTY_MAX = 1024
WATCHES_EACH = 16
WATCHES_MAX = 16_384
_GONE = "its node leaves the cluster, or has left it"


@frozen
class _Part[T]:
    """One part of the picture, and the number at which it changed."""

    value: T
    number: int


class Gateway:
    """Serves the clients of one node."""

    def __init__(self, runtime: Runtime, member: Member, views: Views, registry: Registry) -> None:
        self.delivered = 0
        """How many messages of clients were sent on."""
        self._runtime = runtime
        self._member = member
        self._views = views
        self._registry = registry
        self._number = 0
        self._complete_from = 0
        """Who has seen less is told everything."""
        self._head: _Part[Head] | None = None
        self._regions: dict[str, _Part[TopologyRegion]] = {}
        self._services: dict[str, _Part[tuple[Entry, ...]]] = {}
        self._taken: dict[tuple[str, int], _Part[int]] = {}
        self._is_stale = True
        """Whether the picture may be another one by now."""
        self._waiting: dict[object, list[Watch]] = {}
        """The questions that are not answered yet, by the process that is to be told the answer."""
        self._waiting_count = 0
        self._relays: dict[_Relay, None] = {}
        self._look_soon = _Alarm(self._look_and_tell)
        self._is_looking_soon = False
        self._not_before: Instant = 0
        self._is_draining = False
        self._is_drained = asyncio.Event()
        self._hold = _Alarm(self._tell_all)
        views.changed = self.changed
        views.taken = self.taken
        views.lost = self.lost

    def behavior(self) -> Behavior[Any]:
        """The actor."""

        def receive(_: Any, message: object) -> Behavior[Any]:
            match message:
                case Deliver():
                    self._on_deliver(message)
                case Watch():
                    self._on_watch(message)
                case _:
                    return UNHANDLED
            return SAME

        return Receive(receive)

    @property
    def _has_ended(self) -> bool:
        return self._is_draining or self._views.gone.is_set() or self._member.has_ended

    # -- messages for entities -----------------------------------------------------------------------------------------

    def _on_deliver(self, message: Deliver) -> None:
        member = self._member
        if self._has_ended:
            self._answer(message.reply_to, Refusal(_GONE, is_certain=True, is_for_others=True, has_ended=True))
            return
        shard = member.node.shard_of(message.region, message.entity)
        self.delivered += 1
        relay = _Relay(self, message.region, shard, message.reply_to)
        self._relays[relay] = None
        member.feed(said.Tell(relay, message.region, shard, message.item))

    def settled(self, relay: _Relay, result: Any) -> None:
        """The node says what became of a message on its way."""
        self._relays.pop(relay, None)
        if not self._relays:
            self._is_drained.set()
        answer: Accepted | Refusal
        if type(result) is said.Done:
            region = self._member.node.state.region(relay.region)
            answer = Accepted(0 if region is None else region.epoch(relay.shard))
        else:
            node = self._member.node
            is_certain = isinstance(result, Rejected)
            is_outside = node.standing not in (Standing.MEMBER, Standing.LEAVING)
            is_for_others = is_certain and (is_outside or node.state.region(relay.region) is None)
            has_ended = self._has_ended or (is_outside and node.standing is not Standing.SEEKING)
            answer = Refusal(result.reason, is_certain, is_for_others, has_ended)
        self._answer(relay.reply_to, answer)

    # -- the picture ---------------------------------------------------------------------------------------------------

    def _on_watch(self, message: Watch) -> None:
        if self._has_ended:
            self._tell(message)
            return
        if message.seen < self._complete_from or message.seen == 0 or self._head is None:
            self._look()
        if self._head is not None and message.seen < self._number:
            self._tell(message)
            return
        if (problem := self._crowd(message)) is not None:
            self._answer(message.reply_to, Outside(problem, has_ended=False))
            return
        if not self._waiting:
            self._runtime.clock.set(self._hold, HOLD_SECONDS)
        self._wait(message)
        if self._is_stale:
            self.changed()

    def _crowd(self, message: Watch) -> str | None:
        """Why a question cannot wait (rule 4)."""
        process, own = _process(message), self._member.node.info.node_id
        if len(self._waiting.get(process, ())) >= WATCHES_EACH:
            left = [watch for watch in self._waiting[process] if not watch.reply_to._is_gone()]
            self._waiting_count -= len(self._waiting[process]) - len(left)
            self._waiting[process] = left
            if len(left) >= WATCHES_EACH:
                return f"{len(left)} questions of this client wait at {own} already; ask when one of them is answered"
        if self._waiting_count >= WATCHES_MAX:
            return f"too many clients wait for news of {own}; follow another node"
        return None

    def changed(self) -> None:
        """Something of the picture is another, perhaps."""
        self._is_stale = True
        clock = self._runtime.clock
        if self._views.gone.is_set():
            # What the node has to say of its end comes first.
            self._runtime.loop.call_soon(self._end)
        elif self._waiting and not self._is_looking_soon:
            self._is_looking_soon = True
            clock.set_at(self._look_soon, max(clock.now(), self._not_before))

    def taken(self, change: said.OwnersChanged) -> None:
        """Shards were taken from their owners."""
        self._number += 1
        for shard, _ in change.shards:
            self._taken[change.region, shard] = _Part(change.epoch, self._number)

    def lost(self, effect: said.AcceptedLost) -> None:
        """To whoever has asked it is all the same how a message was lost."""
        self._number += 1
        for shard, index in effect.shards:
            before = self._taken.get((effect.region, shard))
            last = index if before is None else max(index, before.value)
            self._taken[effect.region, shard] = _Part(last, self._number)

    def _look(self) -> None:
        """See what has changed (rule 1)."""
        if not self._is_stale or not self._views.joined.is_set():
            return
        self._is_stale = False
        node = self._member.node
        topology = node.topology()
        number = self._number + 1
        head = Head(topology.cluster, topology.version, topology.leader, topology.members)
        if self._head is None or self._head.value != head:
            self._head, self._number = _Part(head, number), number
        for region in topology.regions:
            known = self._regions.get(region.name)
            if known is None or known.value != region:
                self._regions[region.name], self._number = _Part(region, number), number
        if len(self._regions) > len(topology.regions):
            there = dict.fromkeys([region.name for region in topology.regions])
            self._regions = {name: part for name, part in self._regions.items() if name in there}
            self._number = self._complete_from = number
        self._look_at_services(number)

    def _look_at_services(self, number: int) -> None:
        listed = self._registry.all_keys()
        keys = dict.fromkeys([key.name for key in listed])
        for name in (*keys, *[name for name in self._services if name not in keys]):
            entries = self._member.node.listing(name)
            known = self._services.get(name)
            if entries != (() if known is None else known.value):
                self._services[name], self._number = _Part(entries, number), number
        if sum(not part.value for part in self._services.values()) > EMPTY_MAX:
            self._services = {name: part for name, part in self._services.items() if part.value}
            self._number = self._complete_from = number

    def _look_and_tell(self) -> None:
        self._is_looking_soon = False
        self._look()
        self._not_before = self._runtime.clock.now() + int(PAUSE_SECONDS * 1e9)
        if self._head is None:
            return
        for watch in self._taken_out():
            if watch.seen < self._number:
                self._tell(watch)
            elif not watch.reply_to._is_gone():
                self._wait(watch)
        if not self._waiting:
            self._runtime.clock.cancel(self._hold)

    def _tell_all(self) -> None:
        """They have waited long enough (rule 2)."""
        for watch in self._taken_out():
            self._tell(watch)

    def _wait(self, watch: Watch) -> None:
        self._waiting.setdefault(_process(watch), []).append(watch)
        self._waiting_count += 1

    def _taken_out(self) -> list[Watch]:
        waiting, self._waiting, self._waiting_count = self._waiting, {}, 0
        return [watch for watches in waiting.values() for watch in watches]

    def _tell(self, watch: Watch) -> None:
        self._answer(watch.reply_to, self._news(watch.seen))

    def _news(self, seen: int) -> Changes | Outside:
        if self._has_ended:
            return Outside(_GONE, has_ended=True)
        head = self._head
        if head is None:
            return Outside("its node belongs to no cluster yet", has_ended=False)
        is_complete = seen < max(1, self._complete_from)
        if is_complete:
            seen = 0
        return Changes(
            self._number,
            is_complete,
            head.value if head.number > seen else None,
            tuple([part.value for part in self._regions.values() if part.number > seen]),
            tuple([(name, part.value) for name, part in self._services.items() if part.number > seen]),
            tuple([(*spot, part.value) for spot, part in self._taken.items() if part.number > seen]),
        )

    def _answer(self, to: ActorRef[Any], answer: object) -> None:
        """Answer an ask, unless nobody waits for that any more."""
        if not to._is_gone():
            give_answer(self._runtime, to, answer)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def drain(self, timeout: float) -> None:
        """Send the clients to other nodes, and wait until what they sent is with the owners (rule 5)."""
        self._is_draining = True
        self._tell_all()
        if self._relays:
            self._is_drained.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._is_drained.wait()

    def _end(self) -> None:
        """There is no cluster here any more (rule 5)."""
        self._runtime.clock.cancel(self._hold)
        self._runtime.clock.cancel(self._look_soon)
        self._tell_all()
        relays, self._relays = self._relays, {}
        for relay in relays:
            self._answer(relay.reply_to, Refusal("its node had to leave the cluster", is_certain=False, has_ended=True))


def _process(watch: Watch) -> object:
    """Who is to be told: the process that has asked, or whom else the question names."""
    to = watch.reply_to
    if isinstance(to, ReplyRef):
        future: object = to._ask.future
        return future.asker if isinstance(future, Answer) else None
    return to.node if isinstance(to, RemoteRef) else None


class _Relay:
    """A message of a client on its way to the owner of its entity."""

    __slots__ = ("_gateway", "region", "reply_to", "shard")

    def __init__(self, gateway: Gateway, region: str, shard: int, reply_to: ActorRef[Any]) -> None:
        self._gateway = gateway
        self.region = region
        self.shard = shard
        self.reply_to = reply_to

    def answered(self, result: Any) -> None:
        """The node says what became of it."""
        self._gateway.settled(self, result)


class _Alarm:
    """Something to be done at its time."""

    __slots__ = ("_due",)

    def __init__(self, due: Callable[[], None]) -> None:
        self._due = due

    def on_due(self, now: Instant) -> None:
        """It is time."""
        self._due()
