"""The formulas: published numbers, and slow and obvious versions."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil, log, log2, log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import MILLISECOND, SECOND
from casty_proto.swim.health import Health
from casty_proto.swim.maths import (
    confirmations_wanted,
    retransmit_limit,
    scaled,
    suspicion_minimum,
    suspicion_timeout,
    sync_scale,
)
from casty_proto.swim.suspicion import Suspicion


@pytest.mark.parametrize(
    ("n", "expected_ms"), [(5, 1000), (10, 1000), (50, 1698), (100, 2000), (500, 2698), (1000, 3000)]
)
def test_section_2_suspicion_minimum_for_one_interval(n: int, expected_ms: int) -> None:
    assert suspicion_minimum(1, n, SECOND) == expected_ms * MILLISECOND


@pytest.mark.parametrize(
    ("n", "minimum", "maximum"),
    [(1, 4, 24), (10, 4, 24), (50, 6.79, 40.75), (100, 8, 48), (1000, 12, 72), (10_000, 16, 96)],
)
def test_section_2_suspicion_bounds_on_a_local_network(n: int, minimum: float, maximum: float) -> None:
    minimum_ns = suspicion_minimum(4, n, SECOND)
    assert minimum_ns / SECOND == pytest.approx(minimum, abs=0.005)
    assert 6 * minimum_ns / SECOND == pytest.approx(maximum, abs=0.005)


@pytest.mark.parametrize("n", [1, 10, 50, 100, 1000, 10_000])
def test_section_2_suspicion_bounds_on_a_wide_network_are_7_5_times_as_long(n: int) -> None:
    assert suspicion_minimum(6, n, 5 * SECOND) == suspicion_minimum(4, n, SECOND) * 15 // 2


@pytest.mark.parametrize(
    ("confirmations", "elapsed", "remaining"),
    [(0, 0, 30), (1, 2, 14), (2, 3, 4.81), (3, 4, -2), (4, 5, -3), (5, 10, -8)],
)
def test_section_2_lifeguard_decay(confirmations: int, elapsed: int, remaining: float) -> None:
    """K = 3, from 30 s down to 2 s; what is negative is due at once."""
    timeout_ns = suspicion_timeout(confirmations, 3, 2 * SECOND, 30 * SECOND)
    assert timeout_ns - elapsed * SECOND == round(remaining * 1000) * MILLISECOND


@pytest.mark.parametrize(("confirmations", "expected_ms"), [*enumerate([2000, 1250, 810, 500, 500])])
def test_section_2_lifeguard_decay_of_half_a_second(confirmations: int, expected_ms: int) -> None:
    """The published numbers were measured with a tolerance; 810 stands for 811.28."""
    timeout_ns = suspicion_timeout(confirmations, 3, 500 * MILLISECOND, 2 * SECOND)
    assert timeout_ns / MILLISECOND == pytest.approx(expected_ms, abs=1)


@pytest.mark.parametrize(
    ("n", "expected_ms"),
    [(2, [500]), (3, [500]), (4, [500]), (5, [1000]), (6, [1000, 750, 604, 500, 500])],
)
def test_section_2_s_27_a_small_cluster_goes_straight_to_the_minimum(n: int, expected_ms: list[int]) -> None:
    minimum_ns = suspicion_minimum(5, n, 100 * MILLISECOND)
    wanted = confirmations_wanted(5 - 2, n)
    for confirmations, expected in enumerate(expected_ms):
        timeout_ns = suspicion_timeout(confirmations, wanted, minimum_ns, 2 * minimum_ns)
        assert timeout_ns / MILLISECOND == pytest.approx(expected, abs=1)


@given(st.integers(0, 10), st.integers(0, 8), st.integers(1, 10**6), st.integers(1, 10))
def test_lifeguard_decay_as_the_paper_writes_it(confirmations: int, wanted: int, minimum_ms: int, factor: int) -> None:
    """max(min, max - (max - min) * log(C + 1) / log(K + 1))"""
    minimum_ns = minimum_ms * MILLISECOND
    maximum_ns = minimum_ns * factor
    timeout_ns = suspicion_timeout(confirmations, wanted, minimum_ns, maximum_ns)
    if wanted == 0:
        assert timeout_ns == minimum_ns
        return
    exact = maximum_ns - (maximum_ns - minimum_ns) * log(confirmations + 1) / log(wanted + 1)
    assert timeout_ns == pytest.approx(max(minimum_ns, exact), abs=MILLISECOND + maximum_ns * 1e-12)
    assert minimum_ns <= timeout_ns <= maximum_ns


@given(st.integers(1, 6), st.integers(0, 8))
def test_rule_18_each_confirmation_shortens_the_time_by_less_than_the_one_before(factor: int, wanted: int) -> None:
    times = [suspicion_timeout(c, wanted, 1000 * SECOND, 1000 * factor * SECOND) for c in range(wanted + 3)]
    steps = [before - after for before, after in pairwise(times)]
    assert times == sorted(times, reverse=True)
    assert steps == sorted(steps, reverse=True)
    assert times[wanted:] == [1000 * SECOND] * 3


@pytest.mark.parametrize(
    ("multiplier", "n", "expected"),
    [
        *[(3, 0, 0), (3, 1, 3), (3, 99, 6)],
        *[(4, 1, 4), (4, 9, 4), (4, 10, 8), (4, 99, 8), (4, 100, 12), (4, 999, 12), (4, 1000, 16)],
    ],
)
def test_section_2_retransmit_limit(multiplier: int, n: int, expected: int) -> None:
    assert retransmit_limit(multiplier, n) == expected


@given(st.integers(1, 10), st.integers(0, 10**6))
def test_retransmit_limit_as_the_paper_writes_it(multiplier: int, n: int) -> None:
    """lambda * ceil(log10(n + 1)), by counting up the powers instead of taking the logarithm."""
    exponent = 0
    while 10**exponent < n + 1:
        exponent += 1
    assert retransmit_limit(multiplier, n) == multiplier * exponent


@given(st.integers(1, 10), st.integers(1, 10**6), st.integers(1, 10**10))
def test_suspicion_minimum_as_memberlist_writes_it(multiplier: int, n: int, interval_ns: int) -> None:
    minimum_ns = suspicion_minimum(multiplier, n, interval_ns)
    exact = Fraction(multiplier) * Fraction(max(1.0, log10(n))) * interval_ns
    assert exact - Fraction(multiplier * interval_ns, 1000) - 1 < minimum_ns <= exact


@pytest.mark.parametrize(("n", "expected"), [(0, 1), (1, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3), (129, 4)])
def test_section_2_full_state_interval(n: int, expected: int) -> None:
    assert sync_scale(n) == expected


@given(st.integers(33, 10**6))
def test_full_state_interval_as_memberlist_writes_it(n: int) -> None:
    assert sync_scale(n) == ceil(log2(n) - log2(32)) + 1


def test_section_2_local_health_scores() -> None:
    """S = 8: the scores are 0 to 7."""
    health = Health(8)
    deltas = [0, -1, -10, +1, -1, +10, *[-1] * 8]
    scores = [0, 0, 0, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    for delta, score in zip(deltas, scores, strict=True):
        health.change(delta)
        health.invariants()
        assert health.score == score
        assert health.scale(SECOND) == (1 + score) * SECOND


def test_section_2_period_and_timeout_at_the_paper_s_highest_score() -> None:
    """S = 8 is the highest score in the paper, and the number of scores here: 9 of them reach it."""
    health = Health(9)
    health.change(+100)
    assert health.score == 8
    assert (health.scale(SECOND), health.scale(SECOND // 2)) == (9 * SECOND, 4.5 * SECOND)


@given(st.integers(1, 10), st.lists(st.integers(-12, 12)))
def test_rule_14_health_stays_in_its_range(maximum: int, deltas: list[int]) -> None:
    health = Health(maximum)
    expected = 0
    for delta in deltas:
        health.change(delta)
        expected = sorted((0, expected + delta, maximum - 1))[1]
        assert health.score == expected
        assert scaled(100, health.score) == sum([100] * (expected + 1))


@given(
    st.integers(0, 5),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, SECOND)), max_size=12),
)
def test_rule_18_a_suspicion_counts_each_accuser_once_and_k_at_most(wanted: int, said: list[tuple[str, int]]) -> None:
    suspicion = Suspicion("a", 1000, wanted, SECOND, 6 * SECOND)
    accusers = ["a"]
    for by, _ in said:
        is_news = by not in accusers and len(accusers) - 1 < wanted
        if is_news:
            accusers.append(by)
        assert suspicion.confirm(by) == is_news
        timeout_ns = suspicion_timeout(len(accusers) - 1, wanted, SECOND, 6 * SECOND)
        assert suspicion.deadline == 1000 + timeout_ns
