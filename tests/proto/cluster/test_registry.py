"""The registry: one node by itself, then several over a network that loses, doubles and reorders."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.cluster.registry import (
    Deregister,
    Difference,
    ListingChanged,
    Members,
    Part,
    Register,
    Registry,
    RegistryOptions,
    RegistryReceived,
    RegistrySend,
    Versions,
    Want,
)
from casty_proto.machine import MILLISECOND, SECOND, Note, Wake

OPTIONS = RegistryOptions(max_entries=3)


def node(own: str = "a", *others: str, options: RegistryOptions = OPTIONS) -> Registry:
    made = Registry(own, random.Random(1), options)
    if others:
        made.handle(Members((own, *others)), 0)
    return made


def test_rule_1_a_change_raises_the_version_and_is_told_to_all() -> None:
    made = node("a", "b", "c")
    change = (True, "k", 7, "/x")
    assert made.handle(Register("k", 7, "/x"), 0) == (
        ListingChanged("k"),
        RegistrySend("b", Difference("a", 0, (change,))),
        RegistrySend("c", Difference("a", 0, (change,))),
    )
    assert made.listing("k") == (("a", 7, "/x"),)
    assert made.version_of("a") == 1
    assert made.handle(Register("k", 7, "/x"), 0) == ()


def test_rule_1_an_actor_that_ends_is_taken_off_all_its_keys_at_once() -> None:
    made = node("a", "b")
    made.handle(Register("k", 7, "/x"), 0)
    made.handle(Register("l", 7, "/x"), 0)
    made.handle(Register("l", 8, "/y"), 0)
    effects = made.handle(Deregister(7), 0)
    assert effects == (
        ListingChanged("k"),
        ListingChanged("l"),
        RegistrySend("b", Difference("a", 3, ((False, "k", 7, "/x"), (False, "l", 7, "/x")))),
    )
    assert made.handle(Deregister(7), 0) == ()
    assert made.handle(Deregister(8, "k"), 0) == ()
    assert made.listing("l") == (("a", 8, "/y"),)
    made.invariants()


def test_rule_2_a_difference_applies_to_the_version_that_it_starts_from() -> None:
    made = node("a", "b")
    first, second = (True, "k", 1, "/x"), (True, "k", 2, "/y")
    assert made.handle(RegistryReceived("b", Difference("b", 0, (first,))), 0) == (ListingChanged("k"),)
    assert made.handle(RegistryReceived("b", Difference("b", 0, (first,))), 0) == ()
    assert made.handle(RegistryReceived("b", Difference("b", 0, (first, second))), 0) == (ListingChanged("k"),)
    assert made.listing("k") == (("b", 1, "/x"), ("b", 2, "/y"))
    assert made.handle(RegistryReceived("b", Difference("b", 5, (first,))), 0) == (RegistrySend("b", Want("b", 2)),)


def test_rule_2_what_is_wanted_is_the_difference_or_else_the_whole() -> None:
    made = node("a", "b")
    for number in range(5):
        made.handle(Register("k", number, f"/{number}"), 0)
    assert made.handle(RegistryReceived("b", Want("a", 3)), 0) == (
        RegistrySend("b", Difference("a", 3, ((True, "k", 3, "/3"), (True, "k", 4, "/4")))),
    )
    assert made.handle(RegistryReceived("b", Want("a", 0)), 0) == (
        RegistrySend("b", Part("a", 5, 0, 2, (("k", 0, "/0"), ("k", 1, "/1"), ("k", 2, "/2")))),
        RegistrySend("b", Part("a", 5, 1, 2, (("k", 3, "/3"), ("k", 4, "/4")))),
    )
    assert made.handle(RegistryReceived("b", Want("a", 5)), 0) == ()
    assert made.handle(RegistryReceived("b", Want("nobody", 0)), 0) == ()


def test_rule_5_parts_count_when_all_are_there_in_any_order_and_of_one_version() -> None:
    made = node("a", "b")
    assert made.handle(RegistryReceived("b", Part("b", 4, 1, 2, (("k", 2, "/y"),))), 0) == ()
    assert made.handle(RegistryReceived("b", Part("b", 5, 1, 2, (("k", 3, "/z"),))), 0) == ()
    assert made.handle(RegistryReceived("b", Part("b", 4, 0, 2, (("k", 1, "/x"),))), 0) == ()
    assert made.handle(RegistryReceived("b", Part("b", 5, 0, 2, (("k", 1, "/x"),))), 0) == (ListingChanged("k"),)
    assert made.listing("k") == (("b", 1, "/x"), ("b", 3, "/z"))
    assert made.version_of("b") == 5


def test_rule_8_a_whole_list_announces_only_the_keys_that_are_different() -> None:
    made = node("a", "b")
    made.handle(RegistryReceived("b", Difference("b", 0, ((True, "k", 1, "/x"), (True, "l", 2, "/y")))), 0)
    changed = made.handle(RegistryReceived("b", Part("b", 9, 0, 1, (("k", 1, "/x"), ("m", 3, "/z")))), 0)
    assert changed == (ListingChanged("l"), ListingChanged("m"))
    assert made.handle(RegistryReceived("b", Part("b", 10, 0, 1, (("k", 1, "/x"), ("m", 3, "/z")))), 0) == ()
    assert made.version_of("b") == 10


def test_rule_3_a_list_goes_with_its_node_and_does_not_come_back() -> None:
    made = node("a", "b", "c")
    made.handle(RegistryReceived("b", Difference("b", 0, ((True, "k", 1, "/x"),))), 0)
    assert made.handle(Members(("a", "c")), 0) == (ListingChanged("k"),)
    assert made.listing("k") == ()
    assert made.handle(RegistryReceived("c", Part("b", 1, 0, 1, (("k", 1, "/x"),))), 0) == ()
    assert made.handle(RegistryReceived("b", Difference("b", 0, ((True, "k", 1, "/x"),))), 0) == ()
    assert made.listing("k") == ()
    made.invariants()


def test_rule_9_what_a_dead_node_offers_is_kept_and_listed_again_when_it_is_back() -> None:
    made = node("a", "b", "c")
    made.handle(Register("k", 9, "/own"), 0)
    made.handle(RegistryReceived("b", Difference("b", 0, ((True, "k", 1, "/x"), (True, "k", 2, "/y")))), 0)
    everybody = ("a", "b", "c")
    assert made.handle(Members(everybody, ("a", "b")), 0) == (ListingChanged("k"),)
    assert made.listing("k") == (("a", 9, "/own"),), "its own it offers, whatever the others hold of it"
    assert made.handle(Members(everybody, ("b",)), 0) == ()
    assert made.handle(RegistryReceived("b", Difference("b", 2, ((True, "l", 3, "/z"),))), 0) == ()
    assert made.listing("l") == ()
    assert made.handle(Members(everybody), 0) == (ListingChanged("k"), ListingChanged("l"))
    assert made.listing("k") == (("a", 9, "/own"), ("b", 1, "/x"), ("b", 2, "/y"))
    made.handle(Members(everybody, ("b",)), 0)
    assert made.handle(Members(("a", "c")), 0) == (), "it was not listed before either"
    made.invariants()


def test_rule_1_nobody_else_changes_a_nodes_list() -> None:
    made = node("a", "b", "c")
    assert made.handle(RegistryReceived("c", Difference("b", 0, ((True, "k", 1, "/x"),))), 0) == ()
    assert made.handle(RegistryReceived("b", Part("a", 9, 0, 1, (("k", 1, "/x"),))), 0) == ()
    assert made.version_of("a") == 0


def test_rule_4_versions_are_compared_from_time_to_time() -> None:
    made = node("a", "b")
    made.handle(Register("k", 1, "/x"), 0)
    at = made.deadline()
    assert at is not None
    assert SECOND // 2 <= at <= 2 * SECOND
    assert made.handle(Wake(), at - 1) == ()
    assert made.handle(Wake(), at) == (RegistrySend("b", Versions((("a", 1),))),)
    made.handle(Members(("a",)), at)
    assert made.deadline() is None


def test_rule_4_both_get_what_they_lack() -> None:
    made = node("a", "b", "c")
    made.handle(Register("k", 1, "/x"), 0)
    made.handle(RegistryReceived("c", Difference("c", 0, ((True, "k", 1, "/c"),))), 0)
    effects = made.handle(RegistryReceived("b", Versions((("b", 4), ("c", 1)))), 0)
    assert effects == (
        RegistrySend("b", Want("b", 0)),
        RegistrySend("b", Difference("a", 0, ((True, "k", 1, "/x"),))),
    )


def test_rule_4_of_some_versions_only_those_are_compared() -> None:
    made = node("a", "b")
    made.handle(Register("k", 1, "/x"), 0)
    assert made.handle(RegistryReceived("b", Versions((), whole=False)), 0) == ()
    assert made.handle(RegistryReceived("b", Versions((("a", 1),))), 0) == ()


def test_rule_5_of_many_versions_some_are_told() -> None:
    made = node("a", *"bcdef")
    for other in "bcdef":
        made.handle(RegistryReceived(other, Difference(other, 0, ((True, "k", 1, "/x"),))), 0)
    at = made.deadline()
    assert at is not None
    (effect,) = made.handle(Wake(), at)
    assert isinstance(effect, RegistrySend)
    assert isinstance(effect.message, Versions)
    assert (len(effect.message.versions), effect.message.whole) == (3, False)


def test_rule_6_a_listing_is_ordered_by_node_and_then_by_registration() -> None:
    made = node("b", "a", "c")
    made.handle(Register("k", 9, "/first"), 0)
    made.handle(Register("k", 3, "/second"), 0)
    for other in "ca":
        made.handle(RegistryReceived(other, Difference(other, 0, ((True, "k", 1, "/x"),))), 0)
    assert made.listing("k") == (("a", 1, "/x"), ("b", 9, "/first"), ("b", 3, "/second"), ("c", 1, "/x"))


@pytest.mark.parametrize(
    "rubbish",
    [
        None,
        "x",
        Difference("b", -1, ()),
        Difference("b", 0, ((1, "k", 1, "/x"),)),  # type: ignore[arg-type]
        Difference("b", 0, ((True, "", 1, "/x"),)),
        Difference("b", 0, ((True, "k", 1, "/x"),) * 4),
        Part("b", 1, 1, 1, ()),
        Part("b", 1, 0, 1, (("k", "1", "/x"),)),  # type: ignore[arg-type]
        Versions((("b", -1),)),
        Versions((("b", 1),) * 4),
        Versions((), whole=1),  # type: ignore[arg-type]
        Want("", 0),
        Want("b", True),
    ],
)
def test_rule_7_rubbish_is_noted_and_changes_nothing(rubbish: object) -> None:
    made = node("a", "b")
    (note,) = made.handle(RegistryReceived("b", rubbish), 0)
    assert isinstance(note, Note)
    assert made.version_of("b") == 0
    assert made.handle(RegistryReceived("stranger", rubbish), 0) == ()


def test_rule_7_a_list_that_is_too_long_is_not_taken() -> None:
    made = node("a", "b", options=RegistryOptions(max_entries=3, max_list=5))
    (note,) = made.handle(RegistryReceived("b", Part("b", 1, 0, 6, ())), 0)
    assert isinstance(note, Note)
    for number in range(5):
        made.handle(Register("k", number, "/x"), 0)
    (note,) = made.handle(Register("k", 5, "/x"), 0)
    assert isinstance(note, Note)
    assert len(made.listing("k")) == 5


def test_rule_7_a_list_that_grows_too_long_by_differences_or_parts_is_not_taken() -> None:
    made = node("a", "b", "c", options=RegistryOptions(max_entries=3, max_list=5))
    for base, changes in (
        (0, ((True, "k", 1, "/x"), (True, "k", 2, "/x"), (True, "k", 3, "/x"))),
        (3, ((True, "k", 4, "/x"), (True, "k", 5, "/x"), (False, "k", 9, "/x"))),
        (6, ((False, "k", 5, "/x"), (True, "k", 6, "/x"), (True, "k", 6, "/y"))),
    ):
        assert made.handle(RegistryReceived("b", Difference("b", base, changes)), 0) == (ListingChanged("k"),)
    for grown in (((True, "k", 7, "/x"),), ((False, "k", 9, "/x"), (True, "k", 7, "/x"))):
        (note,) = made.handle(RegistryReceived("b", Difference("b", 9, grown)), 0)
        assert isinstance(note, Note)
    assert [number for _, number, _ in made.listing("k")] == [1, 2, 3, 4, 6]
    parts = tuple([("k", number, "/x") for number in range(3)])
    assert made.handle(RegistryReceived("b", Part("c", 1, 0, 5, parts)), 0) == ()
    assert made.handle(RegistryReceived("b", Part("c", 1, 0, 5, parts)), 0) == (), "the same part again is no more"
    (note,) = made.handle(RegistryReceived("b", Part("c", 1, 1, 5, parts)), 0)
    assert isinstance(note, Note)
    assert made.version_of("c") == 0
    made.invariants()


def test_rule_7_a_difference_up_to_no_version_is_rubbish() -> None:
    made = node("a", "b")
    last = 2**63 - 1
    made.handle(RegistryReceived("b", Part("b", last, 0, 1, ())), 0)
    (note,) = made.handle(RegistryReceived("b", Difference("b", last, ((True, "k", 1, "/x"),))), 0)
    assert isinstance(note, Note)
    assert made.version_of("b") == last


# -- all together ------------------------------------------------------------------------------------------------------


class Net:
    """Some registries, and messages that are lost, doubled and late."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.names = ("a", "b", "c", "d")
        options = RegistryOptions(max_entries=4, compare_every_ns=100 * MILLISECOND)
        self.nodes = {name: Registry(name, random.Random(self.rng.getrandbits(32)), options) for name in self.names}
        self.seen: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.now = 0
        self.queue: list[tuple[int, int, str, str, Any]] = []
        self.count = 0
        self.sent = 0
        self.lossy = True
        for name in self.names:
            self.feed(name, Members(self.names))

    def feed(self, name: str, event: Any) -> None:
        one = self.nodes[name]
        announced = []
        for effect in one.handle(event, self.now):
            match effect:
                case RegistrySend(to, message):
                    self.sent += 1
                    for _ in range(self.rng.choice([0, 1, 1, 2]) if self.lossy else 1):
                        self.count += 1
                        heappush(
                            self.queue, (self.now + self.rng.randrange(50 * MILLISECOND), self.count, to, name, message)
                        )
                case ListingChanged(key):
                    announced.append(key)
        one.invariants()
        for key in ("k", "l"):
            listing = one.listing(key)
            different = self.seen.get((name, key), ()) != listing
            assert different == (key in announced), "each change is announced, and nothing else"
            self.seen[name, key] = listing

    def run_until(self, end: int) -> None:
        while self.now < end:
            deadlines = [deadline for one in self.nodes.values() if (deadline := one.deadline()) is not None]
            self.now = max(self.now, min([*deadlines, end, *([self.queue[0][0]] if self.queue else [])]))
            while self.queue and self.queue[0][0] <= self.now:
                _, _, to, sender, message = heappop(self.queue)
                self.feed(to, RegistryReceived(sender, message))
            for name, one in self.nodes.items():
                deadline = one.deadline()
                if deadline is not None and deadline <= self.now:
                    self.feed(name, Wake())
                    after = one.deadline()
                    assert after is None or after > self.now


@given(st.integers(0, 2**32))
@settings(max_examples=40)
def test_rule_4_copies_become_equal_whatever_was_lost(seed: int) -> None:
    net = Net(seed)
    rng = net.rng
    for number in range(60):
        name = rng.choice(net.names)
        if rng.random() < 0.6:
            net.feed(name, Register(rng.choice("kl"), number, f"/{number}"))
        else:
            net.feed(name, Deregister(rng.randrange(number + 1)))
        net.run_until(net.now + rng.randrange(40 * MILLISECOND))
    net.lossy = False
    net.run_until(net.now + 2 * SECOND)
    for key in ("k", "l"):
        assert len({one.listing(key) for one in net.nodes.values()}) == 1
    sent = net.sent
    net.run_until(net.now + 2 * SECOND)
    # In peace there is nothing but a comparison now and then.
    assert net.sent - sent <= 4 * 2 * 20 + 4
