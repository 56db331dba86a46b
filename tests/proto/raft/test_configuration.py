"""Configurations: which changes are safe, and which one is in effect."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.raft import AddLearner, AddVoter, Change, Configuration, ConfigurationError, Remove
from casty_proto.raft.configuration import Configurations, voters_moved

KINDS: dict[str, type[Any]] = {"v": AddVoter, "l": AddLearner, "r": Remove}

SIMPLE = """
-       | -     | l1          | no voter
-       | -     | v1          | 1        | -
1       | -     | v2 l3       | 1,2      | 3
1,2     | 3     | r1 v5       | one voter
1,2     | 3     | v3 v4       | one voter
1,2     | 3     | l1 v5       | one voter
1,2     | 3     | r1 r2       | no voter
1,2     | 3     | l1 l2       | no voter
1,2     | 3     | l2 l3 l4 l5 | 1        | 2,3,4,5
1       | 2,3   | r1          | no voter
1       | 2,3   | r2 r3 r4 r5 | 1        | -
"""

IDEMPOTENT = """
-       | -     | v1 v1       | 1        | -
1       | -     | v1          | 1        | -
1,2     | -     | l1 l1       | 2        | 1
1,2     | -     | r1 r1       | 2        | -
1,2     | -     | r4          | 1,2      | -
1,2     | -     | l1 v1       | 1,2      | -
1       | 2     | v2 l2       | 1        | 2
"""


def names(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split(","))


def parse(table: str) -> list[Any]:
    return [tuple([cell.strip() for cell in line.split("|")]) for line in table.strip().splitlines()]


def changes(text: str) -> tuple[Change, ...]:
    return tuple([KINDS[item[0]](item[1:]) for item in text.split()])


@pytest.mark.parametrize("row", parse(SIMPLE) + parse(IDEMPOTENT))
def test_r_84_and_r_85_changes_one_after_the_other(row: tuple[str, ...]) -> None:
    configuration = Configuration(names(row[0]), names(row[1]))
    before = Configuration(names(row[0]), names(row[1]))
    if len(row) == 4:
        with pytest.raises(ConfigurationError, match=row[3]):
            configuration.changed(changes(row[2]))
    else:
        assert configuration.changed(changes(row[2])) == Configuration(names(row[3]), names(row[4]))
    assert configuration == before


@pytest.mark.parametrize(
    ("voters", "learners", "error"),
    [
        (("",), (), ValueError),
        (("n1", "n1"), (), ValueError),
        (("n1",), ("n1",), ValueError),
        (("n1",), (7,), TypeError),
    ],
)
def test_a_configuration_names_each_member_once(voters: Any, learners: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Configuration(voters, learners)


def test_the_order_of_names_does_not_matter() -> None:
    assert Configuration(("n2", "n1"), ("n4", "n3")) == Configuration(("n1", "n2"), ("n3", "n4"))


def all_majorities_meet(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """R-83, by brute force: no majority of one is without a member in common with a majority of the other."""
    return all(
        any(name in theirs for name in ours)
        for ours in combinations(old, len(old) // 2 + 1)
        for theirs in combinations(new, len(new) // 2 + 1)
    )


@pytest.mark.parametrize(
    ("old", "new", "safe"),
    [
        ("1,2,3", "1,2,3,4", True),
        ("1,2,3", "1,2", True),
        ("1,2,3", "1,2,3,4,5", False),
        ("1,2,3,4,5", "1,2,3", False),
        ("1,2,3", "2,3,4", False),
        ("1", "1,2", True),
        ("1,2", "1", True),
    ],
)
def test_r_83_one_voter_more_or_less_is_safe_and_more_is_not(old: str, new: str, safe: bool) -> None:
    assert all_majorities_meet(names(old), names(new)) is safe
    moved = voters_moved(Configuration(names(old)), Configuration(names(new)))
    assert (len(moved) <= 1) is safe


members = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True).map(tuple)
change = st.tuples(st.sampled_from("vlr"), st.sampled_from("abcdef")).map(lambda pair: KINDS[pair[0]](pair[1]))


@given(members, st.lists(change, max_size=4))
def test_r_83_every_change_that_is_allowed_keeps_majorities_meeting(
    voters: tuple[str, ...], made: list[Change]
) -> None:
    old = Configuration(voters)
    try:
        new = old.changed(made)
    except ConfigurationError:
        return
    assert all_majorities_meet(old.voters, new.voters)
    assert new.changed(()) == new


operations = st.lists(
    st.tuples(st.sampled_from(["push", "truncate", "compact"]), st.integers(1, 3), st.integers(0, 9)), max_size=12
)


@given(operations)
def test_r_83_the_newest_configuration_in_the_log_is_in_effect_and_a_truncation_restores_the_one_before(
    made: list[tuple[str, int, int]],
) -> None:
    """Thesis 4.1. The model is a list of all configurations by index, searched from the end."""
    history = Configurations(0, Configuration(("n0",)))
    model = {0: Configuration(("n0",))}
    base = last = 0
    for operation, step, number in made:
        if operation == "push":
            last += step
            model[last] = Configuration((f"n{number}",))
            history.push(last, model[last])
        elif operation == "truncate":
            first = max(base + 1, last - number)
            changed = any(index >= first for index in model)
            model = {index: configuration for index, configuration in model.items() if index < first}
            assert history.truncate(first) is changed
            last = min(last, first - 1)
        else:
            base = max(base, min(last, base + step))
            history.compact(base)
        assert history.latest == model[max(model)]
        for index in range(base, last + 1):
            assert history.at(index) == model[max(at for at in model if at <= index)]
    if len(model) > 1:
        above = [index for index in sorted(model) if index > base]
        if len(above) > 1:
            assert history.before_latest == model[above[-2]]


@pytest.mark.parametrize(("voters", "error"), [("abc", TypeError), (("\ud800",), ValueError)])
def test_rule_4_members_are_several_names_that_can_be_sent(voters: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Configuration(voters)
