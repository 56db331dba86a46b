"""The checker on known histories, both ways, and against a slow and obvious one."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_sim.checkers.linearizability import (
    NEVER,
    Add,
    CompareAndSet,
    Model,
    Operation,
    Read,
    Verdict,
    Write,
    check,
    counter,
    draw,
    register,
)


def op(client: str, call: int, ret: int, argument: Any, result: Any = None, key: str = "x") -> Operation:
    return Operation(client, key, call, ret, argument, result)


GOOD = {
    "empty": [],
    "one after the other": [op("a", 0, 1, Write(1)), op("b", 2, 3, Read(), 1)],
    "a read during a write may see the old value": [op("a", 0, 9, Write(1)), op("b", 1, 2, Read(), 0)],
    "a read during a write may see the new value": [op("a", 0, 9, Write(1)), op("b", 1, 2, Read(), 1)],
    "touching intervals are concurrent": [op("a", 0, 5, Write(1)), op("b", 5, 6, Read(), 0)],
    "an unanswered write may have happened": [op("a", 0, NEVER, Write(1)), op("b", 5, 6, Read(), 1)],
    "an unanswered write may not have happened": [op("a", 0, NEVER, Write(1)), op("b", 5, 6, Read(), 0)],
    "an unanswered write may happen late": [
        op("a", 0, NEVER, Write(1)),
        op("b", 5, 6, Read(), 0),
        op("b", 7, 8, Read(), 1),
    ],
    "keys do not touch each other": [op("a", 0, 1, Write(1), key="x"), op("a", 2, 3, Read(), 0, key="y")],
    "one of two compare-and-sets wins": [
        op("a", 0, 9, CompareAndSet(0, 1), True),
        op("b", 0, 9, CompareAndSet(0, 2), False),
    ],
}

BAD = {
    "a stale read": [op("a", 0, 1, Write(1)), op("b", 2, 3, Read(), 0)],
    "a value from nowhere": [op("b", 2, 3, Read(), 7)],
    "new, then old": [op("a", 0, 9, Write(1)), op("b", 1, 2, Read(), 1), op("c", 3, 4, Read(), 0)],
    "a lost write": [op("a", 0, 1, Write(1)), op("b", 2, 3, Write(2)), op("c", 4, 5, Read(), 1)],
    "an unanswered write undone": [
        op("a", 0, NEVER, Write(1)),
        op("b", 5, 6, Read(), 1),
        op("b", 7, 8, Read(), 0),
    ],
    "before its call": [op("b", 0, 1, Read(), 1), op("a", 2, NEVER, Write(1))],
    "two compare-and-sets win": [
        op("a", 0, 9, CompareAndSet(0, 1), True),
        op("b", 0, 9, CompareAndSet(0, 2), True),
    ],
    "the bad key is found among good ones": [
        op("a", 0, 1, Write(1), key="x"),
        op("a", 2, 3, Read(), 1, key="x"),
        op("a", 4, 5, Write(1), key="y"),
        op("a", 6, 7, Read(), 0, key="y"),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_could_have_happened_is_linearizable(name: str) -> None:
    assert check(GOOD[name], register(0)).verdict is Verdict.LINEARIZABLE


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_could_not_have_happened_is_not(name: str) -> None:
    finding = check(BAD[name], register(0))
    assert finding.verdict is Verdict.NOT_LINEARIZABLE
    assert not finding
    assert finding.stuck, "it says which operations did not fit"


def test_the_finding_names_the_key_that_broke() -> None:
    assert check(BAD["the bad key is found among good ones"], register(0)).key == "y"


def test_a_search_without_budget_says_unknown_and_not_that_all_is_well() -> None:
    history = [op(f"c{n}", 0, 100, Write(n)) for n in range(12)] + [op("r", 101, 102, Read(), 99)]
    finding = check(history, register(0), budget=50)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.steps > 50


def test_many_concurrent_writes_that_were_all_undone_are_refuted_within_the_budget() -> None:
    history = [op(f"c{n}", 0, 100, Write(n)) for n in range(12)] + [op("r", 101, 102, Read(), 99)]
    assert check(history, register(0)).verdict is Verdict.NOT_LINEARIZABLE


def test_a_long_history_of_few_clients_is_checked_in_about_as_many_steps_as_it_has_operations() -> None:
    history = []
    for n in range(3000):
        history.append(op("a", 10 * n, 10 * n + 5, Write(n)))
        history.append(op("b", 10 * n + 6, 10 * n + 9, Read(), n))
    finding = check(history, register(0))
    assert finding.verdict is Verdict.LINEARIZABLE
    assert finding.steps < 3 * len(history)


def test_a_counter_that_applied_a_retry_twice_is_not_linearizable() -> None:
    twice = [op("a", 0, 1, Add(1)), op("b", 2, 3, Read(), 2)]
    assert check(twice, counter()).verdict is Verdict.NOT_LINEARIZABLE
    assert check([op("a", 0, 1, Add(1), 1), op("b", 2, 3, Read(), 1)], counter()).verdict is Verdict.LINEARIZABLE


def test_a_drawn_history_shows_each_operation_on_one_axis() -> None:
    text = draw([op("a", 0, 10, Write(1)), op("b", 5, NEVER, Read())], width=11)
    assert text.splitlines() == [
        "       a |---------|  x: Write(value=1) = None",
        "       b      |---->  x: Read() = ?",
    ]


def slow(history: list[Operation], model: Model) -> bool:
    """Every order of every subset that has all answered operations."""
    optional = [each for each in history if not each.answered]
    answered = [each for each in history if each.answered]
    for mask in range(1 << len(optional)):
        chosen = answered + [each for index, each in enumerate(optional) if mask >> index & 1]
        if any(_fits(order, model) for order in permutations(chosen)):
            return True
    return False


def _fits(order: tuple[Operation, ...], model: Model) -> bool:
    state: Any = model.initial
    for position, operation in enumerate(order):
        if any(later.ret < operation.call for later in order[position + 1 :]):
            return False
        fits, state = model.step(state, operation)
        if not fits:
            return False
    return True


ARGUMENTS = st.one_of(
    st.builds(Write, st.integers(0, 2)),
    st.builds(Read),
    st.builds(CompareAndSet, st.integers(0, 2), st.integers(0, 2)),
)


@st.composite
def operations(draw_: st.DrawFn) -> Operation:
    argument = draw_(ARGUMENTS)
    call = draw_(st.integers(0, 12))
    ret = draw_(st.one_of(st.just(NEVER), st.integers(call, call + 6)))
    result = draw_(st.booleans()) if isinstance(argument, CompareAndSet) else draw_(st.integers(0, 2))
    return Operation("c", "x", call, ret, argument, result)


@settings(max_examples=300, deadline=None)
@given(st.lists(operations(), max_size=5))
def test_it_agrees_with_trying_every_order(history: list[Operation]) -> None:
    expected = Verdict.LINEARIZABLE if slow(history, register(0)) else Verdict.NOT_LINEARIZABLE
    assert check(history, register(0)).verdict is expected
