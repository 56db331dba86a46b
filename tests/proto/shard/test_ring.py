"""The ring: against a slow version of itself, what it guarantees, and how it does with a million entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.shard import DEFAULT_NUM_SHARDS, Member, Plan, Rendezvous, Ring, moves, plan, shard_of

from .slow_ring import limit, slow_homes

IDS = 1_000_000
NAMES = st.text(min_size=1, max_size=6)
MEMBERS = st.lists(st.builds(Member, NAMES, st.integers(1, 3)), min_size=1, max_size=8, unique_by=lambda one: one.name)
SLACKS = st.sampled_from([None, 0, 1, 6, 50])


def members(count: int) -> list[Member]:
    return [Member(f"node-{number}") for number in range(count)]


def loads(table: Plan) -> Counter[str]:
    return Counter([owner for owner in table.owners() if owner is not None])


def moved(before: Plan, after: Plan) -> int:
    return sum([move.owner_changes for move in moves(before, after)])


@given(MEMBERS, st.integers(1, 40), st.integers(1, 4), SLACKS)
def test_the_plan_is_the_one_that_the_theory_of_operation_describes(
    some: list[Member], num_shards: int, replicas: int, slack: int | None
) -> None:
    table = plan(some, num_shards, replicas, placement=Ring(slack))
    slow = slow_homes(some, num_shards, min(replicas, len(some)), slack)
    assert [table.homes(shard) for shard in range(num_shards)] == slow


@settings(max_examples=25)
@given(st.integers(36, 48), st.integers(60, 200), st.integers(1, 16), st.sampled_from([0, 6]))
def test_lists_of_wishes_that_are_not_complete_give_the_same(
    count: int, shards: int, replicas: int, slack: int
) -> None:
    some = members(count)
    table = plan(some, shards, replicas, placement=Ring(slack))
    assert [table.homes(shard) for shard in range(shards)] == slow_homes(some, shards, replicas, slack)


@given(MEMBERS, st.integers(1, 200), st.sampled_from([0, 6, 50]))
def test_rule_5_nobody_owns_more_than_its_share_and_the_slack_and_one(
    some: list[Member], shards: int, slack: int
) -> None:
    owned = loads(plan(some, shards, placement=Ring(slack)))
    total = sum([one.weight for one in some])
    for one in some:
        assert owned[one.name] * total * 100 <= (shards * one.weight * (100 + slack) + total * 100)


@given(MEMBERS, NAMES, st.integers(1, 3), st.integers(1, 200), SLACKS)
def test_rule_6_a_shard_moves_between_two_that_stay_only_if_one_of_them_is_full(
    some: list[Member], name: str, weight: int, shards: int, slack: int | None
) -> None:
    fewer = [one for one in some if one.name != name] or [Member(name + "-")]
    more = [*fewer, Member(name, weight)]
    small, large = (plan(group, shards, placement=Ring(slack)) for group in (fewer, more))
    full_small, full_large = _full(small, fewer, slack), _full(large, more, slack)
    for move in moves(small, large):
        (old,), (new,) = move.before, move.after
        if new != name:
            # Read as a join, `old` is full afterwards or `new` was full before; as a leave it is the same.
            assert new in full_small or old in full_large
            assert slack is not None


def _full(table: Plan, some: list[Member], slack: int | None) -> list[str]:
    owned = loads(table)
    return [one.name for one in some if owned[one.name] == limit(one, some, table.num_shards, slack)]


def test_q3_without_a_limit_only_the_newcomer_gets_anything_and_only_the_leaver_loses() -> None:
    """Also C-6 and O-7. Of all steps of a sequence of joins, and of the same sequence of leaves backwards."""
    strategies = (Ring(None), Rendezvous())
    for placement in strategies:
        before = plan(members(1), 1000, placement=placement)
        for count in range(2, 20):
            after = plan(members(count), 1000, placement=placement)
            assert {move.after for move in moves(before, after)} == {(f"node-{count - 1}",)}
            ideal = 1000 / count
            assert moved(before, after) <= ideal + 3 * ideal**0.5
            before = after


def test_q3_with_few_nodes_the_limit_is_not_reached_and_nothing_else_moves() -> None:
    for count in range(1, 10):
        before, after = plan(members(count)), plan(members(count + 1))
        assert {move.after for move in moves(before, after)} == {(f"node-{count}",)}


def test_chance_makes_loads_half_as_uneven_as_independent_positions_would() -> None:
    """The variance of loads, without a limit, against that of rendezvous, which is num_shards / n."""
    squares = {}
    for placement in (Ring(None), Rendezvous()):
        owned = loads(plan(members(100), 4096, placement=placement))
        squares[placement] = sum([(owned[one.name] - 40.96) ** 2 for one in members(100)]) / 100
    assert squares[Ring(None)] < 0.7 * squares[Rendezvous()]


def test_q5_a_node_owns_in_proportion_to_its_weight() -> None:
    some = [Member("a", 1), Member("b", 2), Member("c", 3), Member("d", 4)]
    for placement in (Ring(None), Ring(), Rendezvous()):
        owned = loads(plan(some, placement=placement))
        for one in some:
            share = DEFAULT_NUM_SHARDS * one.weight / 10
            assert abs(owned[one.name] - share) <= 3 * share**0.5


def test_q6_when_an_owner_goes_its_first_backup_takes_over() -> None:
    """Always without a limit, and in this cluster of 100 with it for all but a few that find their next one full."""
    for placement, least in ((Ring(None), 1.0), (Rendezvous(), 1.0), (Ring(), 0.9)):
        before = plan(members(100), 4096 if least == 1.0 else DEFAULT_NUM_SHARDS, 2, placement=placement)
        after = plan(members(99), before.num_shards, 2, placement=placement)
        owned = before.owned_by("node-99")
        promoted = sum([before.backups(shard)[0] == after.owner(shard) for shard in owned])
        assert promoted >= least * len(owned)


def test_o4_of_nodes_that_claim_a_shard_at_once_the_same_one_wins_whoever_else_is_there() -> None:
    """With a single shard, all claim it in the first round."""
    some = members(30)
    ranking = []
    while some:
        table = plan(some, 1, 2, placement=Ring(None))
        ranking.append(table.homes(0))
        some = [one for one in some if one.name != table.owner(0)]
    for (_, *second), (first, *_) in pairwise(ranking):
        assert second == [first]
    names = [owner for owner, *_ in ranking]
    assert names != sorted(names)
    for earlier, later in combinations(names, 2):
        assert plan([Member(later), Member(earlier)], 1, placement=Ring(None)).owner(0) == earlier


@pytest.mark.parametrize("slack", [-1, 10_001, 1.5, True, "6"])
def test_a_slack_that_makes_no_sense_is_refused(slack: object) -> None:
    with pytest.raises(ValueError, match=r"slack_percent is .*; expected a whole number from 0 to 10000, or None"):
        Ring(slack)  # type: ignore[arg-type]


# The figures ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def entities() -> list[int]:
    """How many of a million entities are in each shard."""
    found = Counter([shard_of(f"entity-{number}", DEFAULT_NUM_SHARDS) for number in range(IDS)])
    return [found[shard] for shard in range(DEFAULT_NUM_SHARDS)]


@pytest.mark.parametrize("count", [1, 3, 10, 100])
def test_the_largest_load_of_a_million_entities_is_at_most_a_tenth_above_the_mean(
    count: int, entities: list[int]
) -> None:
    load: Counter[str] = Counter()
    for owner, number in zip(plan(members(count)).owners(), entities, strict=True):
        assert owner is not None
        load[owner] += number
    assert len(load) == count
    assert max(load.values()) <= 1.10 * IDS / count


@pytest.mark.parametrize("count", [3, 10, 100])
def test_q8_one_member_more_or_less_moves_at_most_a_quarter_more_than_its_share(count: int) -> None:
    """Of the shards, and of each single change: no more than 1.25 / n, with n before the change."""
    some = members(count)
    before = plan(some)
    for group in _changes(some):
        after = plan(group)
        assert moved(before, after) <= 1.25 * DEFAULT_NUM_SHARDS / count


def _changes(some: list[Member]) -> Iterable[list[Member]]:
    for number in range(3):
        yield [*some, Member(f"joins-{number}")]
        yield [one for one in some if one != some[number]]
