"""Leases: both sides by themselves, and then many of them under elections, delays and clocks that drift."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.machine import MILLISECOND, SECOND, Instant, Note, Wake
from casty_proto.shard.leases import (
    Answering,
    Applied,
    Confirm,
    Confirmed,
    Deposed,
    Elected,
    GrantReceived,
    LeaderKnown,
    LeaseBegun,
    LeaseGiver,
    LeaseGrant,
    LeaseHolder,
    LeaseOptions,
    LeaseOver,
    LeaseRequest,
    Relinquish,
    RequestReceived,
    Round,
    SendGrant,
    SendRequest,
    Taking,
)

OPTIONS = LeaseOptions(duration_ns=1 * SECOND)
D = OPTIONS.duration_ns


def holder(applied: int = 5) -> LeaseHolder:
    """A holder that has asked "l" its first question, at 0."""
    made = LeaseHolder(OPTIONS)
    made.handle(Applied(applied), 0)
    assert made.handle(LeaderKnown("l"), 0) == (SendRequest("l", LeaseRequest(1)),)
    return made


def giver(now: Instant = 0) -> LeaseGiver:
    made = LeaseGiver(OPTIONS)
    assert made.handle(Elected(), now) == ()
    return made


# -- the holder --------------------------------------------------------------------------------------------------------


def test_rule_1_a_lease_ends_its_duration_after_it_was_asked_for_not_after_it_came() -> None:
    made = holder()
    assert made.handle(GrantReceived("l", LeaseGrant(1, D, 5)), D // 2) == (LeaseBegun(),)
    assert made.until == D
    assert made.holds(D - 1)
    assert not made.holds(D)


def test_rule_1_when_it_is_over_the_holder_says_so_whatever_happens_next() -> None:
    made = holder()
    made.handle(GrantReceived("l", LeaseGrant(1, D, 5)), 10)
    made.handle(LeaderKnown(None), 20)
    assert made.handle(Wake(), D - 1) == ()
    assert made.handle(Applied(6), D) == (LeaseOver("nobody has renewed it in time"),)
    assert made.handle(Wake(), D + 1) == ()


def test_rule_1_an_answer_that_comes_when_it_would_be_over_gives_nothing() -> None:
    made = holder()
    assert made.handle(GrantReceived("l", LeaseGrant(1, D, 5)), D) == ()
    assert not made.holds(D)


def test_rule_1_a_later_answer_extends_it_and_an_earlier_one_does_not_shorten_it() -> None:
    made = holder()
    asked = made.handle(Wake(), D // 4)
    assert asked == (SendRequest("l", LeaseRequest(2)),)
    assert made.handle(GrantReceived("l", LeaseGrant(2, D, 5)), D // 2) == (LeaseBegun(),)
    assert made.handle(GrantReceived("l", LeaseGrant(1, D, 5)), D // 2) == ()
    assert made.until == D // 4 + D


def test_rule_2_a_lease_waits_until_what_it_needs_is_applied() -> None:
    made = holder(applied=5)
    assert made.handle(GrantReceived("l", LeaseGrant(1, D, 8)), 10) == ()
    assert not made.holds(10)
    assert made.handle(Applied(7), 20) == ()
    assert made.handle(Applied(8), 30) == (LeaseBegun(),)
    assert made.until == D


def test_rule_2_one_that_is_over_by_then_is_of_no_use() -> None:
    made = holder(applied=5)
    made.handle(GrantReceived("l", LeaseGrant(1, D, 8)), 10)
    assert made.handle(Applied(8), D) == ()
    made.invariants()


def test_rule_6_it_asks_again_every_quarter_and_at_once_when_there_is_another_leader() -> None:
    made = holder()
    assert made.deadline() == D // 4
    assert made.handle(Wake(), D // 4 - 1) == ()
    assert made.handle(Wake(), D // 4) == (SendRequest("l", LeaseRequest(2)),)
    assert made.handle(LeaderKnown("m"), D // 4 + 1) == (SendRequest("m", LeaseRequest(3)),)
    assert made.handle(LeaderKnown("m"), D // 4 + 2) == ()
    assert made.handle(LeaderKnown(None), D // 4 + 3) == ()
    assert made.deadline() is None


def test_rule_6_it_asks_with_what_it_answers_anyhow_once_half_of_that_time_has_passed() -> None:
    made = holder()
    assert made.handle(Answering(), D // 8 - 1) == ()
    assert made.handle(Answering(), D // 8) == (SendRequest("l", LeaseRequest(2)),)
    assert made.deadline() == D // 8 + D // 4
    assert made.handle(Answering(), D // 8 + 1) == ()
    made.handle(LeaderKnown(None), D // 8 + 2)
    assert made.handle(Answering(), D) == ()
    made.handle(Relinquish(), D)
    assert made.handle(Answering(), 2 * D) == ()


def test_rule_6_the_old_leader_may_still_answer_its_question_once() -> None:
    made = holder()
    made.handle(LeaderKnown("m"), 5)
    assert made.handle(GrantReceived("l", LeaseGrant(1, D, 0)), 10) == (LeaseBegun(),)
    assert made.until == D
    assert made.handle(GrantReceived("l", LeaseGrant(1, D, 0)), 11) == ()


@pytest.mark.parametrize(
    "rubbish",
    ["x", None, LeaseRequest(1), LeaseGrant(-1, D, 0), LeaseGrant(1, D, 2**63), LeaseGrant(True, D, 0)],
)
def test_rule_7_rubbish_is_noted_and_changes_nothing(rubbish: object) -> None:
    made = holder()
    (note,) = made.handle(GrantReceived("l", rubbish), 10)
    assert isinstance(note, Note)
    assert not made.holds(10)
    assert made.handle(GrantReceived("l", LeaseGrant(1, D, 0)), 10) == (LeaseBegun(),)


def test_rule_6_who_was_not_asked_gives_nothing_and_uses_up_no_question() -> None:
    made = holder()
    made.handle(LeaderKnown("l"), 0)
    made.handle(LeaderKnown("m"), 5)
    for peer, number in (("x", 1), ("x", 2), ("m", 1), ("l", 2)):
        assert made.handle(GrantReceived(peer, LeaseGrant(number, D, 0)), 10) == ()
    assert not made.holds(10)
    assert made.handle(GrantReceived("l", LeaseGrant(1, D, 0)), 10) == (LeaseBegun(),)


def test_rule_7_a_lease_that_is_longer_than_ours_may_be_is_not_taken() -> None:
    made = holder()
    (note,) = made.handle(GrantReceived("l", LeaseGrant(1, D + 1, 0)), 10)
    assert isinstance(note, Note)
    assert not made.holds(10)


def test_who_ends_holds_nothing_any_more_and_asks_nobody() -> None:
    made = holder()
    made.handle(GrantReceived("l", LeaseGrant(1, D, 0)), 10)
    assert made.handle(Relinquish(), 20) == (LeaseOver("this node ends"),)
    assert made.deadline() is None
    assert made.handle(LeaderKnown("m"), 30) == ()
    assert made.handle(GrantReceived("l", LeaseGrant(2, D, 0)), 30) == ()
    made.invariants()


def test_questions_that_nobody_answers_are_forgotten() -> None:
    made = holder()
    for n in range(1, 100):
        made.handle(Wake(), n * (D // 4))
        made.invariants()
    assert made.handle(GrantReceived("l", LeaseGrant(1, D, 0)), 10) == ()


# -- the giver ---------------------------------------------------------------------------------------------------------


def test_rule_3_it_gives_when_it_has_made_sure_after_it_was_asked() -> None:
    made = giver()
    assert made.handle(RequestReceived("a", LeaseRequest(7)), 10) == (Confirm(1),)
    assert made.handle(Confirmed(1, 42), 20) == (SendGrant("a", LeaseGrant(7, D, 42)),)
    assert made.ended_at("a") == 20 + OPTIONS.margin_ns


def test_rule_3_a_confirmation_that_is_under_way_is_too_old_for_a_question_that_comes_now() -> None:
    made = giver()
    made.handle(RequestReceived("a", LeaseRequest(1)), 10)
    assert made.handle(RequestReceived("b", LeaseRequest(5)), 11) == ()
    assert made.handle(RequestReceived("b", LeaseRequest(4)), 12) == ()
    assert made.handle(Confirmed(1, 9), 20) == (SendGrant("a", LeaseGrant(1, D, 9)), Confirm(2))
    assert made.handle(Confirmed(2, 9), 30) == (SendGrant("b", LeaseGrant(5, D, 9)),)


def test_rule_3_without_certainty_nothing_is_given() -> None:
    made = giver()
    made.handle(RequestReceived("a", LeaseRequest(1)), 10)
    assert made.handle(Confirmed(1, None), 20) == ()
    assert made.handle(RequestReceived("a", LeaseRequest(2)), 30) == (Confirm(2),)


def test_rule_3_an_answer_to_another_ticket_or_to_a_former_leader_gives_nothing() -> None:
    made = giver()
    made.handle(RequestReceived("a", LeaseRequest(1)), 10)
    made.handle(Deposed(), 11)
    assert made.handle(Confirmed(1, 9), 12) == ()
    made.handle(Elected(), 13)
    made.handle(RequestReceived("a", LeaseRequest(2)), 14)
    assert made.handle(Confirmed(1, 9), 15) == ()
    assert made.handle(Confirmed(2, 9), 16) == (SendGrant("a", LeaseGrant(2, D, 9)),)


def test_rule_4_a_new_leader_waits_for_all_that_others_may_have_given() -> None:
    made = giver(now=100)
    assert not made.has_ended("never heard of", 100 + OPTIONS.margin_ns - 1)
    assert made.has_ended("never heard of", 100 + OPTIONS.margin_ns)
    assert OPTIONS.margin_ns >= D * 11 // 10


def test_rule_4_who_does_not_lead_knows_of_no_end() -> None:
    made = LeaseGiver(OPTIONS)
    assert made.ended_at("a") is None
    assert not made.has_ended("a", 10**18)
    assert made.handle(RequestReceived("a", LeaseRequest(1)), 10) == ()


def test_rule_5_while_something_is_taken_from_a_node_it_is_given_nothing() -> None:
    made = giver()
    made.handle(Taking("a"), 5)
    made.handle(Taking("a"), 5)
    made.handle(RequestReceived("a", LeaseRequest(1)), 10)
    assert made.handle(Confirmed(1, 9), 20) == ()
    made.handle(Taking("a", done=True), 21)
    made.handle(RequestReceived("a", LeaseRequest(2)), 22)
    assert made.handle(Confirmed(2, 9), 23) == ()
    made.handle(Taking("a", done=True), 24)
    made.handle(RequestReceived("a", LeaseRequest(3)), 25)
    assert made.handle(Confirmed(3, 9), 26) == (SendGrant("a", LeaseGrant(3, D, 9)),)


def test_rule_8_renewals_wait_for_each_other_and_are_confirmed_together() -> None:
    made = giver()
    granted(made, "a", 10)
    granted(made, "b", 20)
    pace = D // 6
    assert made.handle(RequestReceived("a", LeaseRequest(2)), 30) == ()
    assert made.handle(RequestReceived("b", LeaseRequest(2)), 40) == ()
    assert made.deadline() == 20 + pace
    assert made.handle(Wake(), 20 + pace - 1) == ()
    assert made.handle(Wake(), 20 + pace) == (Confirm(3),)
    assert made.deadline() is None
    made.invariants()


def test_rule_8_renewals_share_a_round_that_there_is_anyhow() -> None:
    made = giver()
    granted(made, "a", 10)
    assert made.handle(Round(), 20) == ()
    assert made.handle(RequestReceived("a", LeaseRequest(2)), 30) == ()
    assert made.handle(Round(), 31) == (Confirm(2),)
    assert made.handle(RequestReceived("a", LeaseRequest(3)), 32) == ()
    assert made.handle(Round(), 33) == ()  # The one that is under way was asked for before.
    assert made.handle(Confirmed(2, 5), 34) == (SendGrant("a", LeaseGrant(2, D, 5)),)
    assert made.handle(Round(), 35) == (Confirm(3),)
    made.invariants()


def test_rule_8_who_has_no_lease_does_not_wait_and_takes_the_others_along() -> None:
    made = giver()
    granted(made, "a", 10)
    assert made.handle(RequestReceived("a", LeaseRequest(2)), 20) == ()
    assert made.handle(RequestReceived("b", LeaseRequest(1)), 21) == (Confirm(2),)
    grants = made.handle(Confirmed(2, 5), 22)
    assert [effect.to for effect in grants if isinstance(effect, SendGrant)] == ["a", "b"]


def test_rule_8_who_has_little_left_of_its_lease_does_not_wait() -> None:
    made = giver()
    granted(made, "a", 10)
    granted(made, "b", 10 + D // 2)
    assert made.handle(RequestReceived("b", LeaseRequest(2)), 11 + D // 2) == ()
    assert made.handle(RequestReceived("a", LeaseRequest(2)), 12 + D // 2) == (Confirm(3),)


def granted(made: LeaseGiver, node: str, now: Instant) -> None:
    """Give a node a lease, which it asks for for the first time."""
    (confirm,) = made.handle(RequestReceived(node, LeaseRequest(1)), now)
    assert isinstance(confirm, Confirm)
    (grant,) = made.handle(Confirmed(confirm.ticket, 5), now)
    assert isinstance(grant, SendGrant)


@pytest.mark.parametrize("rubbish", ["x", LeaseGrant(1, D, 0), LeaseRequest(-1), LeaseRequest(2**63)])
def test_rule_7_who_asks_for_no_lease_gets_none(rubbish: Any) -> None:
    made = giver()
    (note,) = made.handle(RequestReceived("a", rubbish), 10)
    assert isinstance(note, Note)
    made.invariants()


@pytest.mark.parametrize(
    "wrong", [{"duration_ns": 0}, {"duration_ns": 1.5}, {"duration_ns": 2**62}, {"drift_percent": -1}]
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        LeaseOptions(**wrong)


# -- all together ------------------------------------------------------------------------------------------------------


class Cluster:
    """Nodes with clocks of their own, a log that is simply there, and one thing to own.

    A leader is elected at any time, also while another one still believes that it leads: that one is found out when it
    makes sure. What it stands for is Raft; what is tested is that no two nodes ever act as the owner at one instant.
    """

    def __init__(self, seed: int, nodes: int, drift_percent: int) -> None:
        self.rng = rng = random.Random(seed)
        self.names = [f"n{number}" for number in range(nodes)]
        self.rates = {name: 1000 + rng.randint(0, 10 * drift_percent) for name in self.names}
        self.zero = {name: rng.randrange(10 * SECOND) for name in self.names}
        self.holders = {name: LeaseHolder(OPTIONS) for name in self.names}
        self.givers = {name: LeaseGiver(OPTIONS) for name in self.names}
        self.applied = dict.fromkeys(self.names, 0)
        self.log: list[str] = [self.names[0]]
        """The owners, one after the other."""
        self.leader: str | None = None
        self.term = 0
        self.believers: set[str] = set()
        self.now = 0
        self.queue: list[tuple[int, int, Any]] = []
        self.count = 0
        self.taken = 0

    def local(self, name: str) -> Instant:
        return self.zero[name] + self.now * self.rates[name] // 1000

    def later(self, delay: int, what: Any) -> None:
        self.count += 1
        heappush(self.queue, (self.now + delay, self.count, what))

    def delay(self) -> int:
        rng = self.rng
        return rng.randrange(5 * MILLISECOND) if rng.random() < 0.8 else rng.randrange(3 * D)

    def holder(self, name: str, event: Any) -> None:
        for effect in self.holders[name].handle(event, self.local(name)):
            if isinstance(effect, SendRequest) and self.rng.random() < 0.9:
                to, message = effect.to, effect.message
                self.later(self.delay(), lambda to=to, m=message: self.giver(to, RequestReceived(name, m)))
        self.holders[name].invariants()

    def giver(self, name: str, event: Any) -> None:
        for effect in self.givers[name].handle(event, self.local(name)):
            if isinstance(effect, Confirm):
                ticket = effect.ticket
                # Making sure: it is answered later, and only if it led at some instant after it was asked.
                self.later(self.delay(), lambda t=ticket: self.confirm(name, t, led=self.leader == name))
            elif isinstance(effect, SendGrant) and self.rng.random() < 0.9:
                to, message = effect.to, effect.message
                self.later(self.delay(), lambda to=to, m=message: self.holder(to, GrantReceived(name, m)))
        self.givers[name].invariants()

    def confirm(self, name: str, ticket: int, led: bool) -> None:
        # `led` was evaluated when this ran; whoever leads now led after the question.
        self.giver(name, Confirmed(ticket, len(self.log) if led else None))

    def elect(self) -> None:
        self.leader = leader = self.rng.choice(self.names)
        self.term += 1
        if leader in self.believers:
            self.givers[leader].handle(Deposed(), self.local(leader))
        self.believers.add(leader)
        self.giver(leader, Elected())
        for name in self.names:
            self.later(self.delay(), lambda n=name: self.holder(n, LeaderKnown(leader)))
        for name in list(self.believers - {leader}):
            self.later(self.delay(), lambda n=name: self.depose(n))

    def depose(self, name: str) -> None:
        if name != self.leader and name in self.believers:
            self.believers.discard(name)
            self.giver(name, Deposed())

    def give_away(self) -> None:
        """The leader gives the thing to somebody else, if the owner's lease has ended."""
        leader, owner = self.leader, self.log[-1]
        if leader is None or not self.givers[leader].has_ended(owner, self.local(leader)):
            return
        self.giver(leader, Taking(owner))
        term = self.term
        self.later(self.rng.randrange(20 * MILLISECOND), lambda: self.commit(leader, owner, term))

    def commit(self, leader: str, owner: str, term: int) -> None:
        # What was proposed in an earlier term is committed before the first lease of the next one is given, or never.
        if self.term == term and self.log[-1] == owner:
            self.log.append(self.rng.choice([name for name in self.names if name != owner]))
            self.taken += 1
            for name in self.names:
                index = len(self.log)
                self.later(self.delay(), lambda n=name, i=index: self.apply(n, i))
        if leader in self.believers:
            self.giver(leader, Taking(owner, done=True))

    def apply(self, name: str, index: int) -> None:
        self.applied[name] = max(self.applied[name], index)
        self.holder(name, Applied(self.applied[name]))

    def owners(self) -> list[str]:
        """Who would act as the owner at this instant."""
        return [
            name
            for name in self.names
            if self.applied[name]
            and self.log[self.applied[name] - 1] == name
            and self.holders[name].holds(self.local(name))
        ]

    def run(self, until: int) -> int:
        """Returns for how many steps somebody owned the thing."""
        for name in self.names:
            self.apply(name, 1)
        self.elect()
        owned = 0
        while self.now < until:
            if self.queue and self.queue[0][0] <= self.now:
                heappop(self.queue)[2]()
            else:
                self.now = min(self.now + 20 * MILLISECOND, self.queue[0][0] if self.queue else self.now + D)
                self.step()
            owners = self.owners()
            assert len(owners) <= 1, f"{owners} at {self.now}"
            owned += len(owners)
        return owned

    def step(self) -> None:
        for name in self.names:
            deadline = self.holders[name].deadline()
            if deadline is not None and deadline <= self.local(name):
                self.holder(name, Wake())
        draw = self.rng.random()
        if draw < 0.004:
            self.elect()
        elif draw < 0.3:
            self.give_away()


@given(st.integers(0, 2**32), st.integers(2, 5))
@settings(max_examples=25)
def test_no_two_nodes_ever_own_the_same_while_clocks_drift_within_the_margin(seed: int, nodes: int) -> None:
    Cluster(seed, nodes, OPTIONS.drift_percent).run(20 * SECOND)


def test_the_thing_is_owned_and_changes_hands() -> None:
    clusters = [Cluster(seed, 3, 10) for seed in range(5)]
    assert all(cluster.run(20 * SECOND) > 100 for cluster in clusters)
    assert sum(cluster.taken for cluster in clusters) > 5


@pytest.mark.parametrize("bug", ["from the receipt", "no wait", "no confirmation"])
def test_each_of_the_known_mistakes_would_be_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if bug == "from the receipt":
        original = LeaseHolder._on_grant

        def on_grant(self: LeaseHolder, peer: str, message: Any, now: Instant) -> Any:
            if message.number in self._questions:
                self._questions[message.number] = (peer, now)
            return original(self, peer, message, now)

        monkeypatch.setattr(LeaseHolder, "_on_grant", on_grant)
    elif bug == "no wait":
        monkeypatch.setattr(LeaseGiver, "has_ended", lambda self, node, now: now >= self._ends.get(node, 0))
    else:
        monkeypatch.setattr(
            Cluster,
            "confirm",
            lambda self, name, ticket, led: Cluster.giver(self, name, Confirmed(ticket, len(self.log))),
        )
    with pytest.raises(AssertionError, match=" at "):
        _many_clusters()


def _many_clusters() -> None:
    for seed in range(300):
        Cluster(seed, 3, OPTIONS.drift_percent).run(20 * SECOND)
