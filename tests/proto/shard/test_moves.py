"""Homes and the steward: each by itself, then a town of nodes whose leaders, leases, clocks and crashes are real."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.machine import MILLISECOND, SECOND, Instant, Note, Wake
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
    Give,
    Present,
    ProposeGifts,
    RegionGone,
    Released,
    ReleaseReceived,
    Settled,
    Steward,
    StewardOptions,
    Survey,
)

# -- homes by themselves -----------------------------------------------------------------------------------------------

OPTIONS = HomeOptions(max_closing=1, close_timeout_ns=100, repeat_ns=10)


def opened(*shards: int) -> Homes:
    """Node "a", with a lease and a leader "l", where these shards are open at epoch 5."""
    homes = Homes("a", OPTIONS)
    homes.handle(LeaderChanged("l"), 0)
    homes.handle(LeaseChanged(True), 0)
    for shard in shards:
        assert homes.handle(Owner("r", shard, "a", 5), 0) == (Fill("r", shard, 5, None),)
        assert homes.handle(Filled("r", shard, 5), 0) == (Open("r", shard, 5),)
    return homes


def test_home_rule_1_2_a_shard_is_opened_when_it_is_filled_and_there_is_a_lease() -> None:
    homes = Homes("a", OPTIONS)
    assert homes.handle(Owner("r", 1, "a", 5, "z"), 0) == (Fill("r", 1, 5, "z"),)
    assert homes.handle(Filled("r", 1, 4), 0) == ()
    assert homes.handle(Filled("r", 1, 5), 0) == ()
    assert homes.phase_of("r", 1) is Phase.HALTED
    assert homes.handle(LeaseChanged(True), 0) == (Open("r", 1, 5),)
    assert homes.handle(Filled("r", 1, 5), 0) == ()
    homes.invariants()


def test_home_rule_7_when_the_lease_is_over_all_is_halted_and_opened_as_it_was_with_the_next() -> None:
    homes = opened(1, 2)
    assert homes.handle(LeaseChanged(False), 1) == (
        Halt("r", 1, 5, "the lease of this node is over"),
        Halt("r", 2, 5, "the lease of this node is over"),
    )
    assert homes.handle(LeaseChanged(False), 2) == ()
    assert homes.handle(LeaseChanged(True), 3) == (Open("r", 1, 5), Open("r", 2, 5))


def test_home_rule_3_4_6_what_is_to_move_is_closed_in_turn_released_and_told_until_it_has_moved() -> None:
    homes = opened(1, 2)
    assert homes.handle(Home("r", 1, "b"), 10) == (Close("r", 1, 5),)
    assert homes.handle(Home("r", 2, "b"), 10) == ()
    assert homes.handle(ShardClosed("r", 1, 5), 20) == (TellLeader("l", Released("r", ((1, 5),))), Close("r", 2, 5))
    assert homes.handle(ShardClosed("r", 2, 5), 21) == (TellLeader("l", Released("r", ((2, 5),))),)
    assert homes.deadline() == 30
    assert homes.handle(Wake(), 30) == (TellLeader("l", Released("r", ((1, 5), (2, 5)))),)
    assert homes.handle(LeaderChanged("m"), 31) == (TellLeader("m", Released("r", ((1, 5), (2, 5)))),)
    assert homes.handle(Owner("r", 1, "b", 7, "a"), 32) == (Drop("r", 1, 5),)
    assert homes.handle(Owner("r", 2, "b", 7, "a"), 32) == (Drop("r", 2, 5),)
    assert homes.handle(Wake(), 41) == ()
    assert homes.deadline() is None


def test_home_rule_3_a_closing_that_lasts_too_long_is_halted_and_released() -> None:
    homes = opened(1)
    homes.handle(Home("r", 1, "b"), 10)
    assert homes.handle(Wake(), 109) == ()
    assert homes.handle(Wake(), 110) == (
        Halt("r", 1, 5, "its handlers did not end in time for it to move"),
        TellLeader("l", Released("r", ((1, 5),))),
    )
    assert homes.handle(ShardClosed("r", 1, 5), 111) == ()


def test_home_rule_5_what_shall_not_move_after_all_is_opened_again() -> None:
    homes = opened(1)
    homes.handle(Home("r", 1, "b"), 10)
    assert homes.handle(Home("r", 1, "a"), 11) == ()
    assert homes.handle(ShardClosed("r", 1, 5), 12) == (Open("r", 1, 5),)
    homes.invariants()


def test_home_rule_6_what_is_released_comes_back_only_through_the_leader() -> None:
    homes = opened(1)
    homes.handle(Home("r", 1, "b"), 10)
    homes.handle(ShardClosed("r", 1, 5), 11)
    assert homes.handle(Home("r", 1, "a"), 12) == ()
    assert homes.handle(LeaseChanged(False), 13) == ()
    assert homes.handle(LeaseChanged(True), 14) == ()
    assert homes.phase_of("r", 1) is Phase.RELEASED
    assert homes.handle(Owner("r", 1, "a", 8, "a"), 15) == (Drop("r", 1, 5), Fill("r", 1, 8, "a"))


def test_home_rule_7_a_closing_without_a_lease_is_halted_and_begins_again() -> None:
    homes = opened(1)
    homes.handle(Home("r", 1, "b"), 10)
    assert homes.handle(LeaseChanged(False), 11) == (Halt("r", 1, 5, "the lease of this node is over"),)
    assert homes.handle(ShardClosed("r", 1, 5), 12) == ()
    assert homes.handle(LeaseChanged(True), 13) == (Open("r", 1, 5), Close("r", 1, 5))
    homes.invariants()


def test_home_rule_8_an_older_owner_is_no_news() -> None:
    homes = opened(1)
    assert homes.handle(Owner("r", 1, "b", 5), 10) == ()
    assert homes.handle(Owner("r", 1, "b", 4), 10) == ()
    assert homes.handle(Owner("r", 9, "b", 4), 10) == ()
    assert homes.phase_of("r", 9) is None


def test_a_home_that_was_known_before_the_shard_counts_when_it_comes() -> None:
    homes = opened()
    homes.handle(Home("r", 1, "b"), 0)
    homes.handle(Owner("r", 1, "a", 5), 1)
    assert homes.handle(Filled("r", 1, 5), 2) == (Open("r", 1, 5), Close("r", 1, 5))


# -- the steward by itself ---------------------------------------------------------------------------------------------

LEASES = LeaseOptions(duration_ns=1 * MILLISECOND)


def steward(options: StewardOptions | None = None) -> Steward:
    giver = LeaseGiver(LEASES)
    giver.handle(Elected(), 0)
    made = Steward(giver, options or StewardOptions(patience_ns=500))
    made.handle(Begin(), 0)
    made.handle(Present(("a", "b")), 0)
    return made


def test_steward_what_nobody_owns_is_given_at_once() -> None:
    made = steward()
    assert made.handle(Survey("r", (None, "a"), (0, 3), ("b", "a")), 1) == (
        ProposeGifts(1, (Give("r", "b", ((0, 0),)),)),
    )
    made.invariants()


def test_steward_rule_3_what_is_proposed_is_not_proposed_again_until_it_is_settled() -> None:
    made = steward()
    survey = Survey("r", (None,), (0,), ("b",))
    made.handle(survey, 1)
    assert made.handle(survey, 2) == ()
    assert made.handle(Settled(1), 3) == (ProposeGifts(2, (Give("r", "b", ((0, 0),)),)),)
    made.handle(Survey("r", ("b",), (7,), ("b",)), 4)
    assert made.handle(Settled(2), 5) == ()
    assert made.moving == 0


def test_steward_rule_1_5_a_node_that_is_here_releases_first() -> None:
    made = steward()
    assert made.handle(Survey("r", ("a", "a"), (3, 4), ("b", "b")), 1) == ()
    assert made.handle(ReleaseReceived("b", Released("r", ((0, 3),))), 2) == ()
    assert made.handle(ReleaseReceived("a", Released("r", ((0, 2),))), 2) == ()
    assert made.handle(ReleaseReceived("a", Released("r", ((0, 3), (9, 9)))), 3) == (
        ProposeGifts(1, (Give("r", "b", ((0, 3),)),)),
    )
    assert made.handle(ReleaseReceived("a", Released("r", ((1, 4),))), 4) == (
        ProposeGifts(2, (Give("r", "b", ((1, 4),)),)),
    )


def test_steward_rule_1_a_node_that_is_gone_is_waited_for_until_its_lease_must_have_ended() -> None:
    made = steward()
    assert made.handle(Survey("r", ("z",), (3,), ("b",)), 1) == ()
    assert made.deadline() == LEASES.margin_ns
    assert made.handle(Wake(), LEASES.margin_ns - 1) == ()
    assert made.handle(Wake(), LEASES.margin_ns) == (ProposeGifts(1, (Give("r", "b", ((0, 3),)),)),)
    assert made.deadline() is None


def test_steward_a_node_that_is_here_and_gets_no_lease_is_waited_for_a_while_longer() -> None:
    made = steward()
    made.handle(Survey("r", ("a",), (3,), ("b",)), 1)
    assert made.deadline() == LEASES.margin_ns + 500
    assert made.handle(Wake(), LEASES.margin_ns + 499) == ()
    assert made.handle(Wake(), LEASES.margin_ns + 500) == (ProposeGifts(1, (Give("r", "b", ((0, 3),)),)),)


def test_steward_rule_2_who_is_taken_from_gets_no_lease_until_that_is_settled() -> None:
    giver = LeaseGiver(LEASES)
    giver.handle(Elected(), 0)
    made = Steward(giver, StewardOptions())
    made.handle(Begin(), 0)
    made.handle(Survey("r", ("z",), (3,), ("b",)), LEASES.margin_ns)
    from casty_proto.shard.leases import LeaseRequest

    giver.handle(RequestReceived("z", LeaseRequest(1)), LEASES.margin_ns)
    assert giver.handle(Confirmed(1, 9), LEASES.margin_ns) == ()
    made.handle(Settled(1), LEASES.margin_ns + 1)
    # It is proposed again at once, and z waits again.
    giver.handle(RequestReceived("z", LeaseRequest(2)), LEASES.margin_ns + 2)
    assert giver.handle(Confirmed(2, 9), LEASES.margin_ns + 2) == ()
    made.handle(Survey("r", ("b",), (9,), ("b",)), LEASES.margin_ns + 3)
    made.handle(Settled(2), LEASES.margin_ns + 3)
    giver.handle(RequestReceived("z", LeaseRequest(3)), LEASES.margin_ns + 4)
    assert [type(effect) for effect in giver.handle(Confirmed(3, 9), LEASES.margin_ns + 4)] == [SendGrant]


def test_steward_rule_4_proposals_are_bounded() -> None:
    made = steward(StewardOptions(max_shards=2, max_proposals=2))
    effects = made.handle(Survey("r", (None,) * 7, (0,) * 7, ("a", "b") * 3 + ("a",)), 1)
    assert effects == (
        ProposeGifts(1, (Give("r", "a", ((0, 0),)), Give("r", "b", ((1, 0),)))),
        ProposeGifts(2, (Give("r", "a", ((2, 0),)), Give("r", "b", ((3, 0),)))),
    )
    made.invariants()


def test_steward_a_region_that_is_gone_moves_nothing_and_neither_does_who_does_not_lead() -> None:
    made = steward()
    made.handle(Survey("r", ("a",), (3,), ("b",)), 1)
    made.handle(RegionGone("r"), 2)
    assert made.handle(ReleaseReceived("a", Released("r", ((0, 3),))), 3) == ()
    made.handle(End(), 4)
    assert made.handle(Survey("r", (None,), (0,), ("b",)), 5) == ()
    made.invariants()


@pytest.mark.parametrize(
    "rubbish",
    ["x", Released("r", ((1,),)), Released("r", ((1, -1),)), Released(1, ()), Released("r", [])],  # type: ignore[arg-type]
)
def test_steward_rule_6_rubbish_is_noted(rubbish: Any) -> None:
    (note,) = steward().handle(ReleaseReceived("a", rubbish), 1)
    assert isinstance(note, Note)


# -- a town ------------------------------------------------------------------------------------------------------------


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
                self.town.later(self.town.rng.randrange(20 * MILLISECOND), lambda e=effect: self.commit(e))
        self.steward.invariants()

    def commit(self, proposal: ProposeGifts) -> None:
        town = self.town
        if town.leader == self.name and self.hears:
            owners, epochs = town.owners_at(len(town.log))
            town.log.append(
                [
                    (shard, gift.to, owners[shard])
                    for gift in proposal.gifts
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

    def lead(self) -> None:
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
        self.nodes[self.leader].lead()
        leader = self.leader
        self.term = term = self.term + 1
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


@given(st.integers(0, 2**32))
@settings(max_examples=15)
def test_no_shard_is_ever_open_at_two_nodes_and_in_peace_each_is_open_at_its_home(seed: int) -> None:
    town = Town(seed)
    town.live()
    for shard in range(SHARDS):
        home = town.home(shard)
        assert home is not None
        assert shard in town.nodes[home].open, f"shard {shard} is not open at {home}"


def test_there_are_moves_and_crashes_in_it() -> None:
    towns = [Town(seed) for seed in range(6)]
    for town in towns:
        town.live()
    assert sum(len(town.log) for town in towns) > 60
    assert sum(not node.alive for town in towns for node in town.nodes.values()) > 2


@pytest.mark.parametrize(
    "bug", ["takes from who is gone at once", "opens without a lease", "releases before it closed"]
)
def test_each_of_these_mistakes_would_be_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if bug == "takes from who is gone at once":
        monkeypatch.setattr(Steward, "_has_ended", lambda self, owner, now: owner not in self._present)
    elif bug == "opens without a lease":
        monkeypatch.setattr(LeaseHolder, "holds", lambda self, now: True)
        monkeypatch.setattr(LeaseHolder, "_expire", lambda self, now: ())
    else:
        original = Homes._close_more

        def close_more(self: Homes, now: Instant) -> Any:
            effects = original(self, now)
            told = [
                TellLeader(self._leader, Released(effect.region, ((effect.shard, effect.epoch),)))
                for effect in effects
                if isinstance(effect, Close) and self._leader is not None
            ]
            return (*effects, *told)

        monkeypatch.setattr(Homes, "_close_more", close_more)
    with pytest.raises(AssertionError, match="is open at"):
        _many_towns()


def _many_towns() -> None:
    for seed in range(100):
        Town(seed).live()
