"""Supervision as arithmetic: the window of restarts, the back-off, deciders, and what a policy refuses."""

from __future__ import annotations

import sys
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.actor import STOP_ON_FAILURE, MultiChildStrategy, Policy, RestartWindow, SupervisionStrategy
from casty_proto.actor.supervision import describe
from casty_proto.machine import MILLISECOND, SECOND

BAD = ValueError("bad")


def backoffs(policy: Policy, *nths: int, seed: int = 1) -> list[int]:
    rng = Random(seed)
    return [policy.backoff_ns(nth, rng) for nth in nths]


# -- the window --------------------------------------------------------------------------------------------------------


def test_restarts_are_counted_until_there_were_as_many_as_allowed() -> None:
    window, policy = RestartWindow(), Policy(max_restarts=3, within_ns=100)
    assert [window.grant(policy, now) for now in (0, 0, 10, 20, 99)] == [1, 2, 3, None, None]


def test_a_restart_leaves_the_window_exactly_when_its_length_has_passed() -> None:
    window, policy = RestartWindow(), Policy(max_restarts=1, within_ns=100)
    assert [window.grant(policy, now) for now in (0, 99, 100, 199, 200)] == [1, None, 1, None, 1]


def test_a_restart_that_is_refused_does_not_count() -> None:
    window, policy = RestartWindow(), Policy(max_restarts=1, within_ns=100)
    assert [window.grant(policy, now) for now in (0, 50, 60, 70, 100)] == [1, None, None, None, 1]


def test_no_restart_at_all_can_be_allowed() -> None:
    assert RestartWindow().grant(Policy(max_restarts=0), 0) is None


def test_without_a_limit_restarts_are_granted_for_ever_and_few_are_remembered() -> None:
    window, policy = RestartWindow(), Policy(max_restarts=None, within_ns=10**6)
    granted = [window.grant(policy, now) for now in range(1_000)]
    assert granted[:64] == list(range(1, 65))
    assert set(granted[64:]) == {64}
    assert len(window._instants) == 64


def test_with_a_limit_all_restarts_are_remembered_that_count() -> None:
    window, policy = RestartWindow(), Policy(max_restarts=100, within_ns=10**6)
    assert [window.grant(policy, now) for now in range(101)] == [*range(1, 101), None]


@given(
    st.one_of(st.none(), st.integers(0, 5)),
    st.integers(1, 20),
    st.lists(st.integers(0, 15), max_size=40),
)
def test_the_window_against_a_list_of_all_granted_instants(
    max_restarts: int | None, within: int, gaps: list[int]
) -> None:
    window, policy = RestartWindow(), Policy(max_restarts=max_restarts, within_ns=within)
    granted: list[int] = []
    now = 0
    for gap in gaps:
        now += gap
        recent = [instant for instant in granted if now - instant < within]
        expected = None if max_restarts is not None and len(recent) >= max_restarts else len(recent) + 1
        assert window.grant(policy, now) == expected
        if expected is not None:
            granted.append(now)


# -- the back-off ------------------------------------------------------------------------------------------------------


def test_the_back_off_grows_by_its_multiplier_up_to_its_maximum() -> None:
    policy = Policy(backoff_initial_ns=100, backoff_max_ns=1_000, backoff_multiplier=3.0, jitter=0.0)
    assert backoffs(policy, 1, 2, 3, 4, 5) == [100, 300, 900, 1_000, 1_000]


def test_a_multiplier_of_one_keeps_the_back_off_as_it_is() -> None:
    policy = Policy(backoff_initial_ns=100, backoff_multiplier=1.0, jitter=0.0)
    assert backoffs(policy, 1, 2, 10**9) == [100, 100, 100]


def test_the_maximum_holds_for_the_first_restart_too() -> None:
    assert backoffs(Policy(backoff_initial_ns=100, backoff_max_ns=10, jitter=0.0), 1, 2) == [10, 10]
    assert backoffs(Policy(backoff_initial_ns=100, backoff_max_ns=0), 1, 2) == [0, 0]


@pytest.mark.parametrize("nth", [1, 2, 64, 10**9])
def test_no_back_off_stays_none(nth: int) -> None:
    assert backoffs(Policy(backoff_initial_ns=0, backoff_multiplier=float("inf")), nth) == [0]


@pytest.mark.parametrize("multiplier", [10.0, 1e300, sys.float_info.max, float("inf"), 10**400], ids="abcde")
@pytest.mark.parametrize("nth", [2, 3, 64, 10**6])
def test_huge_multipliers_do_not_overflow(multiplier: float, nth: int) -> None:
    policy = Policy(backoff_initial_ns=SECOND, backoff_max_ns=5 * SECOND, backoff_multiplier=multiplier, jitter=0.0)
    assert backoffs(policy, nth) == [5 * SECOND]


@pytest.mark.parametrize("initial", [10**300, 10**400], ids="ab")
def test_a_huge_first_back_off_does_not_overflow(initial: int) -> None:
    assert backoffs(Policy(backoff_initial_ns=initial, backoff_max_ns=7, jitter=0.0), 1, 2, 64) == [7, 7, 7]


@given(
    st.integers(1, 10**12),
    st.integers(0, 10**12),
    st.floats(1.0, 8.0),
    st.floats(0.0, 1.0),
    st.integers(1, 12),
    st.integers(),
)
def test_the_back_off_against_repeated_multiplication(
    initial: int, maximum: int, multiplier: float, jitter: float, nth: int, seed: int
) -> None:
    policy = Policy(backoff_initial_ns=initial, backoff_max_ns=maximum, backoff_multiplier=multiplier, jitter=jitter)
    longest = float(initial)
    for _ in range(nth - 1):
        longest *= multiplier
    longest = min(longest, maximum)
    slack = 1 + longest * 1e-9
    (delay,) = backoffs(policy, nth, seed=seed)
    assert longest * (1.0 - jitter) - slack <= delay <= longest + slack
    assert 0 <= delay <= maximum


def test_jitter_only_shortens_and_fills_its_range() -> None:
    policy = Policy(backoff_initial_ns=1_000_000, jitter=0.25)
    delays = backoffs(policy, *[1] * 1_000)
    assert all(750_000 <= delay <= 1_000_000 for delay in delays)
    assert min(delays) < 760_000
    assert max(delays) > 990_000


def test_the_same_seed_draws_the_same_back_offs() -> None:
    nths = range(1, 20)
    assert backoffs(Policy(), *nths, seed=5) == backoffs(Policy(), *nths, seed=5)
    assert backoffs(Policy(), *nths, seed=5) != backoffs(Policy(), *nths, seed=6)


# -- deciders ----------------------------------------------------------------------------------------------------------


def test_without_a_decider_the_strategy_decides() -> None:
    for strategy in SupervisionStrategy:
        assert Policy(strategy=strategy).decide(BAD) is strategy


def test_a_decider_chooses_by_the_error() -> None:
    def decider(error: Exception) -> SupervisionStrategy:
        return SupervisionStrategy.STOP if isinstance(error, ValueError) else SupervisionStrategy.ESCALATE

    policy = Policy(decider=decider)
    assert policy.decide(BAD) is SupervisionStrategy.STOP
    assert policy.decide(KeyError()) is SupervisionStrategy.ESCALATE


@pytest.mark.parametrize("verdict", [None, "restart", True, MultiChildStrategy.ONE_FOR_ALL])
def test_a_decider_that_returns_no_strategy_is_an_error(verdict: Any) -> None:
    with pytest.raises(TypeError, match=r"the decider returned .*; it must return a SupervisionStrategy"):
        Policy(decider=lambda _: verdict).decide(BAD)


# -- what a policy refuses ---------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_specification() -> None:
    policy = Policy()
    assert (policy.strategy, policy.max_restarts) == (SupervisionStrategy.RESTART, 3)
    assert (policy.within_ns, policy.multi_child) == (60 * SECOND, MultiChildStrategy.ONE_FOR_ONE)
    assert (policy.backoff_initial_ns, policy.backoff_max_ns) == (100 * MILLISECOND, 30 * SECOND)
    assert (policy.backoff_multiplier, policy.decider) == (2.0, None)
    assert STOP_ON_FAILURE.strategy is SupervisionStrategy.STOP


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_restarts": -1}, ValueError, "max_restarts must be 0 or more, or None for no limit, not -1"),
        ({"max_restarts": 1.5}, TypeError, "max_restarts must be a whole number, or None for no limit, not 1.5"),
        ({"max_restarts": True}, TypeError, "max_restarts must be a whole number, or None for no limit, not True"),
        ({"within_ns": 0}, ValueError, "'within_ns' must be > 0: 0"),
        ({"backoff_initial_ns": -1}, ValueError, "'backoff_initial_ns' must be >= 0: -1"),
        ({"backoff_max_ns": -1}, ValueError, "'backoff_max_ns' must be >= 0: -1"),
        ({"backoff_multiplier": 0.5}, ValueError, "'backoff_multiplier' must be >= 1.0: 0.5"),
        ({"backoff_multiplier": float("nan")}, ValueError, "'backoff_multiplier' must be >= 1.0: nan"),
        ({"jitter": -0.1}, ValueError, "'jitter' must be >= 0.0: -0.1"),
        ({"jitter": 1.1}, ValueError, "'jitter' must be <= 1.0: 1.1"),
        ({"jitter": float("nan")}, ValueError, "'jitter' must be >= 0.0: nan"),
        ({"strategy": "restart"}, TypeError, "'strategy' must be <enum 'SupervisionStrategy'>"),
        ({"multi_child": "one_for_all"}, TypeError, "'multi_child' must be <enum 'MultiChildStrategy'>"),
        ({"decider": SupervisionStrategy.STOP}, TypeError, "'decider' must be callable"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        Policy(**options)
    assert text in str(caught.value)


def test_a_limit_in_words() -> None:
    assert describe(Policy(max_restarts=3, within_ns=60 * SECOND)) == "3 restarts within 60 s"
    assert describe(Policy(max_restarts=None, within_ns=SECOND // 2)) == "any number of restarts within 0.5 s"
