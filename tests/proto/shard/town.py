"""A town of nodes with homes and a steward. Leaders, leases, clocks, cut-offs and crashes are real; Raft is not."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import Any

from casty_proto.machine import MILLISECOND, SECOND, Instant, Wake
from casty_proto.shard.homes import (
    Close,
    Drop,
    Fill,
    Filled,
    Halt,
    Home,
    HomeOptions,
    Homes,
    LeaderChanged,
    LeaseChanged,
    Open,
    Owner,
    Phase,
    ShardClosed,
    TellLeader,
)
from casty_proto.shard.leases import (
    Applied,
    Confirm,
    Confirmed,
    Deposed,
    Elected,
    GrantReceived,
    LeaderKnown,
    LeaseBegun,
    LeaseGiver,
    LeaseHolder,
    LeaseOptions,
    LeaseOver,
    RequestReceived,
    SendGrant,
    SendRequest,
)
from casty_proto.shard.steward import (
    Begin,
    End,
    Present,
    ProposeGifts,
    ReleaseReceived,
    Settled,
    Steward,
    StewardOptions,
    Survey,
)


class Node:
    """One node: its clock, its leases, its homes, and whatever it leads."""

    def __init__(self, town: Town, name: str) -> None:
        self.town = town
        self.name = name
        self.holder = LeaseHolder(TOWN_LEASES)
        self.homes = Homes(name, TOWN_HOMES)
        self.giver = LeaseGiver(TOWN_LEASES)
        self.steward = Steward(self.giver, StewardOptions(max_shards=3, patience_ns=SECOND))
        self.believes = False
        self.applied = 0
        self.open: dict[int, int] = {}
        self.alive = True
        self.cut_off_until = 0
        self.term = 0
        self.led_in = 0
        """The last term in which it led."""

    @property
    def hears(self) -> bool:
        """Whether anything reaches it, or comes from it."""
        return self.alive and self.town.now >= self.cut_off_until

    @property
    def now(self) -> Instant:
        return self.town.zero[self.name] + self.town.now * self.town.rates[self.name] // 1000

    def apply(self, index: int) -> None:
        """Everything of the log up to `index`: first whose the shards are, then what the lease may rely upon."""
        town = self.town
        while self.applied < index:
            self.applied += 1
            for shard, node, before in town.log[self.applied - 1]:
                self.feed(Owner("r", shard, node, self.applied, before))
        self.hold(Applied(self.applied))
        self.plan()
        if self.believes:
            self.survey()

    def plan(self) -> None:
        for shard in range(SHARDS):
            self.feed(Home("r", shard, self.town.home(shard)))

    def survey(self) -> None:
        owners, epochs = self.town.owners_at(self.applied)
        homes = tuple([self.town.home(shard) for shard in range(SHARDS)])
        self.steer(Present(tuple(self.town.members)))
        self.steer(Survey("r", owners, epochs, homes))

    def feed(self, event: Any) -> None:
        rng, town = self.town.rng, self.town
        for effect in self.homes.handle(event, self.now):
            match effect:
                case Fill(_, shard, epoch, _):
                    self.later(rng.randrange(50 * MILLISECOND), Filled("r", shard, epoch))
                case Open(_, shard, epoch):
                    self.open[shard] = epoch
                case Close(_, shard, epoch):
                    # Running handlers end after a while, or never.
                    if rng.random() < 0.9:
                        self.later(rng.randrange(100 * MILLISECOND), ShardClosed("r", shard, epoch))
                case Halt(_, shard, _, _) | Drop(_, shard, _):
                    self.open.pop(shard, None)
                case TellLeader(to, message):
                    town.send(self, to, lambda to=to, m=message: town.nodes[to].steer(ReleaseReceived(self.name, m)))
        self.homes.invariants()
        if isinstance(event, ShardClosed) and self.homes.phase_of("r", event.shard) is not Phase.OPEN:
            self.open.pop(event.shard, None)

    def later(self, delay: int, event: Any) -> None:
        self.town.later(delay, lambda: self.feed(event) if self.alive else None)

    def hold(self, event: Any) -> None:
        for effect in self.holder.handle(event, self.now):
            match effect:
                case SendRequest(to, message):
                    self.town.send(
                        self, to, lambda to=to, m=message: self.town.nodes[to].give(RequestReceived(self.name, m))
                    )
                case LeaseBegun():
                    self.feed(LeaseChanged(True))
                case LeaseOver():
                    self.feed(LeaseChanged(False))

    def give(self, event: Any) -> None:
        for effect in self.giver.handle(event, self.now):
            match effect:
                case Confirm(ticket):
                    self.town.later(self.town.delay(), lambda t=ticket: self.confirm(t))
                case SendGrant(to, message):
                    self.town.send(
                        self, to, lambda to=to, m=message: self.town.nodes[to].hold(GrantReceived(self.name, m))
                    )

    def confirm(self, ticket: int) -> None:
        if self.alive:
            # It makes sure by hearing of a majority.
            led = self.town.leader == self.name and self.hears
            if led:
                self.apply(len(self.town.log))
            self.give(Confirmed(ticket, len(self.town.log) if led else None))

    def steer(self, event: Any) -> None:
        for effect in self.steward.handle(event, self.now):
            if isinstance(effect, ProposeGifts):
                delay, term = self.town.rng.randrange(20 * MILLISECOND), self.led_in
                self.town.later(delay, lambda e=effect, t=term: self.commit(e, t))
        self.steward.invariants()

    def commit(self, proposal: ProposeGifts, term: int) -> None:
        town = self.town
        # What was proposed in an earlier term is committed before the first lease of the next one is given, or never.
        if town.term == term and self.hears:
            owners, epochs = town.owners_at(len(town.log))
            town.log.append(
                [
                    (shard, gift.to, owners[shard])
                    for gift in proposal.gifts
                    if gift.to is not None
                    for shard, epoch in gift.shards
                    if epochs[shard] == epoch
                ]
            )
            index = len(town.log)
            for name in town.nodes:
                town.later(town.delay(), lambda n=name: town.learn(n, index))
            self.apply(index)
        if self.alive and self.believes:
            self.steer(Settled(proposal.request))

    def lead(self, term: int) -> None:
        self.led_in = term
        if self.believes:
            self.give(Deposed())
            self.steer(End())
        self.believes = True
        self.apply(len(self.town.log))
        self.give(Elected())
        self.steer(Begin())
        self.survey()

    def wake(self) -> None:
        for machine, feed in ((self.holder, self.hold), (self.homes, self.feed), (self.steward, self.steer)):
            deadline = machine.deadline()
            if deadline is not None and deadline <= self.now:
                feed(Wake())


SHARDS = 6
TOWN_LEASES = LeaseOptions(duration_ns=SECOND)
TOWN_HOMES = HomeOptions(max_closing=2, close_timeout_ns=300 * MILLISECOND, repeat_ns=100 * MILLISECOND)


class Town:
    """Nodes, a log that is simply there, members that come and go, and messages that are lost or late."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.names = [f"n{number}" for number in range(4)]
        self.rates = {name: 1000 + rng.randint(0, 100) for name in self.names}
        self.zero = {name: rng.randrange(10 * SECOND) for name in self.names}
        self.members = list(self.names)
        self.log: list[list[tuple[int, str, str | None]]] = []
        self.leader: str | None = None
        self.term = 0
        self.now = 0
        self.queue: list[tuple[int, int, Any]] = []
        self.count = 0
        self.calm = False
        self.moved = 0
        self.nodes = {name: Node(self, name) for name in self.names}

    def home(self, shard: int) -> str | None:
        return self.members[shard % len(self.members)] if self.members else None

    def owners_at(self, index: int) -> tuple[tuple[str | None, ...], tuple[int, ...]]:
        owners: list[str | None] = [None] * SHARDS
        epochs = [0] * SHARDS
        for epoch, entry in enumerate(self.log[:index], 1):
            for shard, node, _ in entry:
                owners[shard], epochs[shard] = node, epoch
        return tuple(owners), tuple(epochs)

    def later(self, delay: int, what: Any) -> None:
        self.count += 1
        heappush(self.queue, (self.now + delay, self.count, what))

    def delay(self) -> int:
        rng = self.rng
        if self.calm or rng.random() < 0.9:
            return rng.randrange(5 * MILLISECOND)
        return rng.randrange(2 * SECOND)

    def send(self, sender: Node, to: str, what: Any) -> None:
        if sender.hears and (self.calm or self.rng.random() < 0.9):
            self.later(self.delay(), lambda: what() if self.nodes[to].hears else None)

    def learn(self, name: str, index: int) -> None:
        """The log reaches everybody in the end."""
        node = self.nodes[name]
        if node.hears:
            node.apply(index)
        elif node.alive:
            self.later(100 * MILLISECOND, lambda: self.learn(name, index))

    def elect(self) -> None:
        alive = [name for name in self.names if self.nodes[name].alive]
        old, self.leader = self.leader, self.rng.choice(alive)
        leader = self.leader
        self.term = term = self.term + 1
        self.nodes[leader].lead(term)
        for name in self.names:
            self.later(self.delay(), lambda n=name: self.tell_of(n, leader, term))
        if old is not None and old != leader:
            self.later(self.delay(), lambda: self.depose(old))

    def tell_of(self, name: str, leader: str, term: int) -> None:
        node = self.nodes[name]
        if node.hears and term > node.term:
            node.term = term
            node.hold(LeaderKnown(leader))
            node.feed(LeaderChanged(leader))
        elif node.alive and not node.hears:
            self.later(100 * MILLISECOND, lambda: self.tell_of(name, leader, term))

    def depose(self, name: str) -> None:
        node = self.nodes[name]
        if name != self.leader and node.believes:
            node.believes = False
            node.give(Deposed())
            node.steer(End())

    def change_members(self, members: list[str]) -> None:
        self.members = members
        for name in self.names:
            self.later(self.delay(), lambda n=name: self.replan(n))

    def replan(self, name: str) -> None:
        node = self.nodes[name]
        if node.alive:
            node.plan()
            if node.believes:
                node.survey()

    def trouble(self) -> None:
        draw = self.rng.random()
        if draw < 0.02:
            self.elect()
        elif draw < 0.05:
            # Alive or not, it is a member no more, or is one again.
            name = self.rng.choice(self.names)
            members = [each for each in self.names if (each in self.members) != (each == name)]
            if members:
                self.change_members(members)
        elif draw < 0.08:
            self.cut_off(self.rng.choice(self.names), self.rng.randrange(4 * SECOND))
        elif draw < 0.09:
            alive = [name for name in self.names if self.nodes[name].alive]
            if len(alive) > 2:
                self.crash(self.rng.choice(alive))

    def cut_off(self, name: str, duration: int) -> None:
        """Nothing reaches it for a while. The others take it for dead after a second, and for alive when it is back."""
        self.nodes[name].cut_off_until = self.now + duration

        def member(is_one: bool) -> None:
            others = [each for each in self.members if each != name]
            if others and not self.calm and self.nodes[name].alive:
                self.change_members([each for each in self.names if each in others or (is_one and each == name)])

        if duration > SECOND:
            self.later(SECOND, lambda: member(False))
            self.later(duration, lambda: member(True))

    def crash(self, name: str) -> None:
        node = self.nodes[name]
        node.alive = False
        node.open.clear()
        self.change_members([each for each in self.members if each != name] or [self.names[0]])
        if self.leader == name:
            self.elect()

    def check(self) -> None:
        for shard in range(SHARDS):
            owners = [name for name, node in self.nodes.items() if shard in node.open and node.holder.holds(node.now)]
            assert len(owners) <= 1, f"shard {shard} is open at {owners}, at {self.now}"

    def run(self, until: int) -> None:
        while self.now < until:
            if self.queue and self.queue[0][0] <= self.now:
                heappop(self.queue)[2]()
            else:
                step = self.now + 20 * MILLISECOND
                self.now = min(step, self.queue[0][0]) if self.queue else step
                for node in self.nodes.values():
                    if node.alive:
                        node.wake()
                if not self.calm:
                    self.trouble()
            self.check()

    def live(self) -> None:
        """Some seconds of trouble, and then peace."""
        self.elect()
        self.run(8 * SECOND)
        self.calm = True
        for node in self.nodes.values():
            node.cut_off_until = 0
        self.elect()
        self.change_members([name for name in self.names if self.nodes[name].alive])
        self.run(self.now + 8 * SECOND)
