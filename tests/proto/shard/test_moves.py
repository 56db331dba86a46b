"""Homes and the steward: each by itself, then a town of nodes whose leaders, leases, clocks and crashes are real."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.machine import MILLISECOND, Instant, Note, Wake
from casty_proto.shard.homes import (
    NOBODY,
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
    Confirmed,
    Elected,
    LeaseGiver,
    LeaseHolder,
    LeaseOptions,
    RequestReceived,
    SendGrant,
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

from .town import SHARDS, Town

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


def test_home_rule_9_what_is_to_be_nobodys_is_closed_and_released() -> None:
    homes = opened(1)
    assert homes.handle(Home("r", 1, NOBODY), 1) == (Close("r", 1, 5),)
    assert homes.handle(ShardClosed("r", 1, 5), 2) == (TellLeader("l", Released("r", ((1, 5),))),)
    assert homes.handle(Owner("r", 1, None, 8), 3) == (Drop("r", 1, 5),)
    homes.invariants()


def test_home_rule_9_what_is_not_open_is_released_at_once_and_never_opened() -> None:
    homes = opened(1)
    homes.handle(Owner("r", 2, "a", 6), 0)
    homes.handle(LeaseChanged(False), 1)
    assert homes.handle(Home("r", 1, NOBODY), 2) == (TellLeader("l", Released("r", ((1, 5),))),)
    assert homes.handle(Home("r", 2, NOBODY), 2) == (TellLeader("l", Released("r", ((2, 6),))),)
    assert homes.handle(Filled("r", 2, 6), 3) == ()
    assert homes.handle(LeaseChanged(True), 4) == ()
    assert [homes.phase_of("r", shard) for shard in (1, 2)] == [Phase.RELEASED] * 2
    homes.invariants()


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
    assert made.handle(Wake(), LEASES.margin_ns) == (ProposeGifts(1, (Give("r", "b", ((0, 3),), forced=True),)),)
    assert made.deadline() is None


def test_steward_a_node_that_is_here_and_gets_no_lease_is_waited_for_a_while_longer() -> None:
    made = steward()
    made.handle(Survey("r", ("a",), (3,), ("b",)), 1)
    assert made.deadline() == LEASES.margin_ns + 500
    assert made.handle(Wake(), LEASES.margin_ns + 499) == ()
    assert made.handle(Wake(), LEASES.margin_ns + 500) == (ProposeGifts(1, (Give("r", "b", ((0, 3),), forced=True),)),)


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


def test_steward_shards_of_a_region_that_is_removed_are_given_to_nobody_when_they_are_released() -> None:
    made = steward()
    closing = Survey("r", ("a", "a", None, "z"), (3, 4, 5, 6), (None,) * 4, closing=True)
    assert made.handle(closing, 1) == ()
    assert made.handle(ReleaseReceived("a", Released("r", ((1, 4),))), 2) == (
        ProposeGifts(1, (Give("r", None, ((1, 4),)),)),
    )
    made.invariants()
    assert made.handle(Wake(), LEASES.margin_ns) == (ProposeGifts(2, (Give("r", None, ((3, 6),), forced=True),)),)
    made.invariants()


def test_steward_a_region_that_is_gone_moves_nothing_and_neither_does_who_does_not_lead() -> None:
    made = steward()
    made.handle(Survey("r", ("a",), (3,), ("b",)), 1)
    made.handle(RegionGone("r"), 2)
    assert made.handle(ReleaseReceived("a", Released("r", ((0, 3),))), 3) == ()
    made.handle(End(), 4)
    assert made.handle(Survey("r", (None,), (0,), ("b",)), 5) == ()
    made.invariants()


def test_steward_rule_7_what_is_taken_is_given_apart_from_what_was_released_or_free() -> None:
    made = steward(StewardOptions(max_proposals=1))
    made.handle(Present(("a", "b", "c")), 0)
    # Something is under way, so that all the rest is proposed together.
    assert len(made.handle(Survey("s", (None,), (0,), ("a",)), 1)) == 1
    owners = ("z", "a", None, "z", "z", "a")
    assert made.handle(Survey("r", owners, (3, 4, 2, 6, 7, 8), ("b", "b", "b", "b", "c", "c")), 1) == ()
    assert made.handle(ReleaseReceived("a", Released("r", ((1, 4), (5, 8)))), 2) == ()
    made.handle(Survey("s", ("a",), (9,), ("a",)), LEASES.margin_ns)
    assert made.handle(Settled(1), LEASES.margin_ns) == (
        ProposeGifts(
            2,
            (
                Give("r", "b", ((0, 3), (3, 6)), forced=True),
                Give("r", "b", ((1, 4), (2, 2))),
                Give("r", "c", ((4, 7),), forced=True),
                Give("r", "c", ((5, 8),)),
            ),
        ),
    )
    made.invariants()


def test_steward_rule_7_who_released_before_it_was_gone_is_not_forced() -> None:
    made = steward(StewardOptions(max_proposals=1))
    made.handle(Survey("s", (None,), (0,), ("a",)), 1)
    made.handle(Survey("r", ("a", "a"), (3, 4), ("b", "b")), 1)
    made.handle(ReleaseReceived("a", Released("r", ((0, 3),))), 2)
    made.handle(Present(("b",)), 3)
    made.handle(Survey("s", ("a",), (9,), ("a",)), LEASES.margin_ns)
    assert made.handle(Settled(1), LEASES.margin_ns) == (
        ProposeGifts(2, (Give("r", "b", ((0, 3),)), Give("r", "b", ((1, 4),), forced=True))),
    )


def test_steward_rule_7_a_release_of_an_earlier_epoch_is_none() -> None:
    made = steward()
    made.handle(Survey("r", ("a",), (3,), ("b",)), 1)
    made.handle(ReleaseReceived("a", Released("r", ((0, 3),))), 2)
    made.handle(Survey("r", ("z",), (5,), ("b",)), 3)
    assert made.handle(Settled(1), LEASES.margin_ns) == (ProposeGifts(2, (Give("r", "b", ((0, 5),), forced=True),)),)


@pytest.mark.parametrize(
    "rubbish",
    ["x", Released("r", ((1,),)), Released("r", ((1, -1),)), Released(1, ()), Released("r", [])],  # type: ignore[arg-type]
)
def test_steward_rule_6_rubbish_is_noted(rubbish: Any) -> None:
    (note,) = steward().handle(ReleaseReceived("a", rubbish), 1)
    assert isinstance(note, Note)


# -- a town ------------------------------------------------------------------------------------------------------------


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
    assert sum(len(town.log) for town in towns) > 50
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
