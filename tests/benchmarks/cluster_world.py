"""A lean loop around nodes of a cluster: a heap of what is to happen, and nothing that checks or records.

A message takes 0.3 to 1 ms, and messages of one node to another keep their order. What is to be durable is so after
0.5 ms. A node that has crashed is silent: nobody is told that a connection was lost, as when its machine loses power.
Who stands in for the application closes a shard within 1 ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from multiprocessing import Pool
from random import Random
from typing import Any

from attrs import frozen

from casty_proto.cluster.checks import NodeKey
from casty_proto.cluster.doors import Door, door_of
from casty_proto.cluster.events import (
    AddRegion,
    Closed,
    CloseShard,
    Done,
    DropShard,
    HaltShard,
    NodeEvent,
    OpenShard,
    Received,
    ResumeShard,
    Send,
    Standing,
    Start,
)
from casty_proto.cluster.node import Node
from casty_proto.cluster.options import NodeOptions
from casty_proto.cluster.records import NodeInfo, RegionKind, RegionSettings
from casty_proto.machine import MILLISECOND, SECOND, Instant, Nanoseconds, Persist, Persisted, Reply, Wake

from .swim_show import progress

LINK_MIN_NS: Nanoseconds = 300_000
LINK_MAX_NS: Nanoseconds = MILLISECOND
DISK_NS: Nanoseconds = 500_000
CLOSE_NS: Nanoseconds = MILLISECOND
STEP_NS: Nanoseconds = 5 * MILLISECOND
"""How often it is looked whether the nodes agree."""

type Spot = tuple[str, int]


class NotSoError(Exception):
    """Something did not come about in time."""


@frozen
class Home:
    """Where a shard is open."""

    name: str
    epoch: int


class Place:
    """A process, and when it is to be woken."""

    __slots__ = ("alarm", "name", "node", "up")

    def __init__(self, name: str, node: Node) -> None:
        self.name = name
        self.node = node
        self.alarm: Instant | None = None
        self.up = True


class Net:
    """Nodes by address, which is also their node id."""

    def __init__(self, seed: int, options: NodeOptions) -> None:
        self.rng = Random(seed)
        self.options = options
        self.now: Instant = 0
        self.places: dict[str, Place] = {}
        self.homes: dict[Spot, Home] = {}
        """The shards that are open."""
        self.opened: dict[Spot, Instant] = {}
        """When each of them was opened last."""
        self.done: dict[Any, bool] = {}
        """The answers to requests: whether it was done."""
        self.sent = 0
        self.by_door: Counter[Door | None] | None = None
        """Messages by what they are for, where that is counted."""
        self._ready: dict[tuple[str, str], Instant] = {}
        """When the last message of one node to another comes."""
        self._heap: list[tuple[Instant, int, Place | None, Any]] = []
        self._order = count()

    # What happens -----------------------------------------------------------------------------------------------------

    def start(self, name: str, *seeds: str) -> None:
        """Start a node."""
        node = Node(NodeInfo(name, 1, name), Random(self.rng.getrandbits(64)), self.options)
        place = self.places[name] = Place(name, node)
        self.feed(place, Start(seeds))

    def crash(self, name: str) -> None:
        """Stop a node without a word."""
        self.places[name].up = False
        self.homes = {spot: home for spot, home in self.homes.items() if home.name != name}

    def add_region(self, name: str, settings: RegionSettings, kind: RegionKind = RegionKind.ENTITIES) -> None:
        """Have the first node that is up add a region."""
        self.feed(self.up()[0], AddRegion(name, name, kind, settings))

    def after(self, delay_ns: Nanoseconds, what: Callable[[], None]) -> None:
        """Call something later."""
        heappush(self._heap, (self.now + delay_ns, next(self._order), None, what))

    # What is asked ----------------------------------------------------------------------------------------------------

    def up(self) -> list[Place]:
        """The nodes that run."""
        return [place for place in self.places.values() if place.up]

    def see_each_other(self) -> bool:
        """Whether all who run are members, and hold just those who run to be up."""
        up = self.up()
        keys = tuple(sorted([place.node.key for place in up]))
        return all(
            place.node.standing is Standing.MEMBER and place.node.state.up_members() == keys for place in reversed(up)
        )

    def is_owned(self, region: str) -> bool:
        """Whether all who run see an owner that runs for every shard of a region, and it is open there."""
        up = self.up()
        keys = {place.node.key for place in up}
        found = [place.node.state.region(region) for place in reversed(up)]
        return all(one is not None and keys.issuperset(one.owners) for one in found) and all(
            (region, shard) in self.homes for one in found[:1] if one is not None for shard in range(one.num_shards)
        )

    def leader(self) -> str | None:
        """The node that all who run take for the leader."""
        up = self.up()
        leading = [place for place in up if place.node.is_leader]
        if len(leading) != 1 or any(place.node.leader != leading[0].node.key for place in up):
            return None
        return leading[0].name

    def voters(self) -> tuple[NodeKey, ...]:
        """Who votes, as far as the leader knows."""
        leader = self.leader()
        return () if leader is None else self.places[leader].node.voters

    # The loop ---------------------------------------------------------------------------------------------------------

    def run(self, duration_ns: Nanoseconds) -> None:
        """Let time pass."""
        until = self.now + duration_ns
        heap = self._heap
        while heap and heap[0][0] <= until:
            at, _, place, what = heappop(heap)
            self.now = at
            if place is None:
                what()
            elif not place.up:
                continue
            elif what is not None:
                self.feed(place, what)
            elif place.alarm == at:
                self._ring(place, at)
        self.now = until

    def run_until(self, condition: Callable[[], bool], what: str, limit: float = 120.0) -> None:
        """Let time pass until something is so. Raises `NotSoError` after `limit` seconds."""
        until = self.now + round(limit * SECOND)
        while not condition():
            if self.now >= until:
                raise NotSoError(f"{what}: not so after {limit:.0f} s")
            self.run(STEP_NS)

    def feed(self, place: Place, event: NodeEvent) -> None:
        """One event, and what follows."""
        node = place.node
        for effect in node.handle(event, self.now):
            self._carry_out(place, effect)
        deadline = node.deadline()
        if deadline is not None and (place.alarm is None or deadline < place.alarm):
            self._arm(place, deadline)

    def _ring(self, place: Place, at: Instant) -> None:
        place.alarm = None
        deadline = place.node.deadline()
        if deadline is None:
            return
        if deadline <= at:
            self.feed(place, Wake())
        else:
            self._arm(place, deadline)

    def _arm(self, place: Place, deadline: Instant) -> None:
        place.alarm = at = max(deadline, self.now)
        heappush(self._heap, (at, next(self._order), place, None))

    def _carry_out(self, place: Place, effect: Any) -> None:
        match effect:
            case Send():
                self._send(place, effect)
            case Persist(ticket):
                self._later(place, DISK_NS, Persisted(ticket))
            case OpenShard(region, shard, epoch):
                self.opened[region, shard] = self.now
                self.homes[region, shard] = Home(place.name, epoch)
            case ResumeShard(region, shard, epoch):
                self.homes[region, shard] = Home(place.name, epoch)
            case CloseShard(region, shard, epoch):
                self._closed(place, region, shard)
                self._later(place, CLOSE_NS, Closed(region, shard, epoch))
            case HaltShard(region, shard) | DropShard(region, shard):
                self._closed(place, region, shard)
            case Reply(request, result):
                self.done[request] = type(result) is Done
            case _:
                pass

    def _closed(self, place: Place, region: str, shard: int) -> None:
        home = self.homes.get((region, shard))
        if home is not None and home.name == place.name:
            del self.homes[region, shard]

    def _later(self, place: Place, delay_ns: Nanoseconds, event: NodeEvent) -> None:
        heappush(self._heap, (self.now + delay_ns, next(self._order), place, event))

    def _send(self, place: Place, effect: Send) -> None:
        self.sent += 1
        if self.by_door is not None:
            self.by_door[door_of(effect.message.body)] += 1
        receiver = self.places.get(effect.to)
        if receiver is None:
            return
        link = (place.name, effect.to)
        at = self.now + LINK_MIN_NS + int(self.rng.random() * (LINK_MAX_NS - LINK_MIN_NS))
        self._ready[link] = at = max(at, self._ready.get(link, 0))
        heappush(self._heap, (at, next(self._order), receiver, Received(effect.message)))


def each[T, R](what: Callable[[T], R], tasks: list[T], jobs: int, title: str) -> list[R]:
    """The results of all tasks, in their order, from one process or several."""
    found: list[R] = []

    def shown(result: R) -> None:
        found.append(result)
        progress(f"{title}: {len(found)}/{len(tasks)}")

    progress(title)
    if jobs == 1:
        for task in tasks:
            shown(what(task))
    else:
        with Pool(jobs) as pool:
            for result in pool.imap(what, tasks):
                shown(result)
    progress("")
    return found
