"""The answers that are kept for those who ask again: `cluster/answered.py`, and rules 16 and 17 of its package."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from casty_proto.cluster import (
    AlreadySo,
    Applied,
    ControlState,
    NameEntry,
    Outcome,
    Outdated,
    Refused,
    RegionAdded,
    StateError,
    Taken,
)
from casty_proto.cluster.answered import ANSWERS_MAX, Answer
from casty_proto.cluster.checks import REASON_MAX

OUTCOMES: list[Outcome] = [
    Applied(()),
    AlreadySo(),
    Outdated("late"),
    Refused("no"),
    Taken(NameEntry("a.1", 7, "/boss", 3)),
]


def answered(*numbers: int, floor: int = 1) -> ControlState:
    """Commands with these numbers of session 5 were applied, at their numbers and 100."""
    state = ControlState()
    for number in numbers:
        state.keep(5, number, floor, 100 + number, AlreadySo())
    return state


def test_what_has_changed_is_not_kept() -> None:
    state = ControlState()
    state.keep(5, 1, 1, 9, Applied((RegionAdded("r"),)))
    assert state.answer(5, 1) == Answer(9, Applied(()))


def test_rule_17_of_a_reason_so_much_is_kept_as_can_be_sent() -> None:
    state = ControlState()
    state.keep(5, 1, 1, 9, Refused("\u20ac" * REASON_MAX))
    state.keep(5, 2, 1, 10, Outdated("x" * 2 * REASON_MAX))
    for number in (1, 2):
        found: Any = state.answer(5, number)
        assert REASON_MAX - 3 < len(found.outcome.reason.encode()) <= REASON_MAX


def test_an_answer_is_kept_until_a_command_says_that_it_is_not_needed() -> None:
    state = answered(1, 2, 3)
    state.keep(5, 4, 3, 104, AlreadySo())
    assert [state.answer(5, number) is not None for number in (1, 2, 3, 4)] == [False, False, True, True]


def test_an_answer_is_kept_until_its_session_is_over() -> None:
    state = answered(1, 2)
    state.keep(6, 1, 1, 200, AlreadySo())
    state.end_sessions((5, 9))
    assert state.answer(5, 1) is None
    assert state.answer(6, 1) is not None


def test_rule_17_of_one_session_the_latest_are_kept() -> None:
    state = answered(*range(1, ANSWERS_MAX + 3))
    assert [state.answer(5, number) is None for number in (1, 2, 3)] == [True, True, False]
    state.invariants()


def test_rule_16_answers_are_part_of_a_snapshot() -> None:
    state = ControlState()
    for number, outcome in enumerate(reversed(OUTCOMES), 1):
        state.keep(50 - number, number, 1, 100 + number, outcome)
    copy = ControlState.decode(state.encode())
    assert copy.encode() == state.encode()
    for number, outcome in enumerate(reversed(OUTCOMES), 1):
        assert copy.answer(50 - number, number) == Answer(100 + number, outcome)
    assert (copy.version, copy.changed) == (0, 0), "an answer is no change"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ([5, 1, 105], "not enough|none that"),
        ([5, 1], "not enough"),
        ([5, True, 105, 1], "has no number"),
        ([5, 1, 105, 9], "none that this version"),
        ([5, 1, 105, 2, 7], "none that this version"),
        ([5, 1, 105, 4, "nobody", 1, "/x", 1], "no node key"),
        ([0, 1, 105, 1], "cannot have been applied"),
        ([5, 0, 105, 1], "cannot have been applied"),
        ([5, 1, 5, 1], "cannot have been applied"),
        ([6, 1, 101, 1], "two commands were applied at 101"),
    ],
)
def test_rule_16_what_cannot_have_been_answered_is_not_decoded(row: list[Any], text: str) -> None:
    header = [0, 1, 0, 0, 2]
    rows = [header, [7, 5, 2, 101, 1], [7, *row]]
    with pytest.raises(StateError, match=text):
        ControlState.decode(b"".join([msgpack.packb(one) for one in rows]))


def test_rule_16_more_answers_than_are_kept_are_not_decoded() -> None:
    rows = [[0, 1, 0, 0, ANSWERS_MAX + 1], *[[7, 5, number, 100 + number, 1] for number in range(1, ANSWERS_MAX + 2)]]
    with pytest.raises(StateError, match="257 answers"):
        ControlState.decode(b"".join([msgpack.packb(one) for one in rows]))
