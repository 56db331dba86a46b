"""Plans: what holds for every strategy, what is refused, and what changes from one plan to the next."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.shard import NUM_SHARDS_MAX, Member, Move, Placement, Plan, Rendezvous, Ring, moves, plan

PLACEMENTS: list[Placement] = [Ring(), Ring(None), Ring(0), Rendezvous()]
ROLES = st.lists(st.sampled_from(["front", "back"]), max_size=2)
MEMBERS = st.lists(
    st.builds(Member, st.text(max_size=4), st.integers(1, 3), ROLES), max_size=7, unique_by=lambda one: one.name
)
EACH = pytest.mark.parametrize("placement", PLACEMENTS, ids=repr)
A, B, C = Member("a"), Member("b"), Member("c")


@frozen
class InTurn:
    """A strategy of a user: shards are dealt out in the order of names."""

    def place(self, members: Sequence[tuple[str, int]], num_shards: int, copies: int) -> list[int]:
        return [(shard + copy) % len(members) for shard in range(num_shards) for copy in range(copies)]


@EACH
@given(MEMBERS, st.integers(1, 30), st.integers(1, 5), st.sampled_from([None, "front"]), st.randoms())
def test_o1_o2_o5_o6_q1_q6_each_shard_has_its_homes_among_those_who_can_whatever_their_order(
    placement: Placement, some: list[Member], shards: int, replicas: int, role: str | None, rng: random.Random
) -> None:
    table = plan(some, shards, replicas, role=role, placement=placement)
    able = sorted([one.name for one in some if role is None or role in one.roles])
    assert table.nodes == tuple(able)
    for shard in range(shards):
        homes = table.homes(shard)
        assert len(dict.fromkeys(homes)) == len(homes) == min(replicas, len(able))
        assert all(home in able for home in homes)
        assert table.owner(shard) == (homes[0] if homes else None)
        assert table.backups(shard) == homes[1:]
    assert table.owners() == tuple([table.owner(shard) for shard in range(shards)])
    assert sorted([s for name in able for s in table.owned_by(name)]) == (list(range(shards)) if able else [])
    shuffled = rng.sample(some, len(some))
    assert plan(shuffled, shards, replicas, role=role, placement=placement) == table


@EACH
@given(MEMBERS, st.integers(1, 30), st.integers(1, 5))
def test_rule_7_owners_do_not_depend_on_the_number_of_replicas_nor_do_the_first_backups(
    placement: Placement, some: list[Member], shards: int, replicas: int
) -> None:
    few = plan(some, shards, replicas, placement=placement)
    more = plan(some, shards, replicas + 1, placement=placement)
    for shard in range(shards):
        assert more.homes(shard)[: few.copies] == few.homes(shard)


@EACH
def test_q4_whoever_comes_and_goes_leaves_everything_as_it_was(placement: Placement) -> None:
    before = plan([A, B], 500, 2, placement=placement)
    assert plan([A, B, C], 500, 2, placement=placement) != before
    assert plan([B, A], 500, 2, placement=placement) == before


@EACH
def test_q7_nobody_owns_where_nobody_is_and_a_single_member_owns_everything(placement: Placement) -> None:
    empty = plan([], 8, 3, placement=placement)
    assert empty == Plan(8, (), 0, ())
    assert empty.owners() == (None,) * 8
    assert (empty.owner(7), empty.homes(7), empty.backups(7), empty.owned_by("a")) == (None, (), (), ())
    alone = plan([A], 8, 3, placement=placement)
    assert alone == Plan(8, ("a",), 1, (0,) * 8)
    assert alone.owned_by("a") == tuple(range(8))


def test_rule_4_only_members_with_the_role_hold_anything_and_the_others_do_not_matter() -> None:
    front, back = Member("a", roles=("front",)), Member("b", roles=("back", "front"))
    assert plan([front, back, C], 64, 3, role="front") == plan([Member("a"), Member("b")], 64, 3)
    assert plan([front, back, C], 64, 3, role="nobody").nodes == ()


def test_rule_8_a_strategy_of_ones_own_replaces_the_default() -> None:
    table = plan([C, A, B], 4, 2, placement=InTurn())
    assert [table.homes(shard) for shard in range(4)] == [("a", "b"), ("b", "c"), ("c", "a"), ("a", "b")]


@pytest.mark.parametrize("number", [0, -1, NUM_SHARDS_MAX + 1, 1.0, True])
def test_a_number_of_shards_or_replicas_that_makes_no_sense_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=r"num_shards is .*; expected a whole number from 1 to 65536"):
        plan([A], number)
    with pytest.raises(ValueError, match=r"replicas is .*; expected a whole number from 1 to 16"):
        plan([A], 8, number)


@pytest.mark.parametrize("weight", [0, -1, 65, 1.0, True])
def test_a_weight_that_makes_no_sense_is_refused(weight: int) -> None:
    with pytest.raises(ValueError, match=r"weight is .*; expected a whole number from 1 to 64"):
        Member("a", weight)


def test_roles_are_several_texts() -> None:
    with pytest.raises(TypeError, match=r"roles are 'front'; expected several texts, such as \('front',\)"):
        Member("a", roles="front")
    with pytest.raises(TypeError):
        Member("a", roles=(1,))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Member(7)  # type: ignore[arg-type]


def test_two_members_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="there are two members 'a'; expected different names"):
        plan([A, B, Member("a", 2)], 8)
    assert plan([Member("a", roles=("x",)), Member("a")], 8, role="x").nodes == ("a",)


@pytest.mark.parametrize("shard", [-1, 8])
def test_a_shard_that_there_is_not_is_refused(shard: int) -> None:
    for table in (plan([A, B], 8), plan([], 8)):
        for question in (table.owner, table.homes, table.backups):
            with pytest.raises(IndexError, match=f"shard {shard} is out of range; expected 0 to 7"):
                question(shard)


# What changes ---------------------------------------------------------------------------------------------------------


@EACH
@given(MEMBERS, MEMBERS, st.integers(1, 30), st.integers(1, 4), st.integers(1, 4))
def test_moves_are_the_shards_whose_homes_differ(
    placement: Placement, some: list[Member], others: list[Member], shards: int, few: int, more: int
) -> None:
    before = plan(some, shards, few, placement=placement)
    after = plan(others, shards, more, placement=placement)
    slow = [Move(shard, before.homes(shard), after.homes(shard)) for shard in range(shards)]
    assert list(moves(before, after)) == [move for move in slow if move.before != move.after]


def test_a_move_tells_whether_the_owner_changes() -> None:
    assert Move(0, ("a", "b"), ("b", "a")).owner_changes
    assert Move(0, (), ("a",)).owner_changes
    assert Move(0, ("a",), ()).owner_changes
    assert not Move(0, ("a", "b"), ("a", "c")).owner_changes


def test_plans_of_different_shards_are_not_compared() -> None:
    with pytest.raises(ValueError, match="one plan has 8 shards and the other 9; expected the same"):
        moves(plan([A], 8), plan([A], 9))
