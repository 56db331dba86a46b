"""The formulas of section 3 about dissemination, and the rounds of section 4, on the queues of the machine alone.

`test_conformance_dissemination` has the same of whole machines, where that is not too slow.
"""

from __future__ import annotations

from math import exp, log
from statistics import mean

import pytest

from casty_proto.machine import SECOND
from casty_proto.swim import SwimOptions, UpdatePayload, retransmit_limit

from .bench import Bench
from .epidemic import Epidemic


def uninfected(n: int, factor: float) -> float:
    """SWIM 4.1, as section 3 has it: how many have not heard the news after `factor * ln n` periods, at most."""
    return float(n ** -((2 - 4 / n) * factor - 2))


@pytest.mark.parametrize("factor", [1.0, 1.25, 1.5, 2.0])
@pytest.mark.parametrize("n", [10, 50, 100])
def test_section_3_uninfected_after_lambda_log_n_periods(n: int, factor: float) -> None:
    """News travels in pings and their answers only. The mean of some runs is below what the formula has."""
    runs = 4000 // n
    left = []
    for seed in range(runs):
        epidemic = Epidemic(n, 1000, seed=seed)
        epidemic.probe(factor * log(n))
        left.append(epidemic.uninfected)
    assert mean(left) <= uninfected(n, factor)
    assert factor > 1 or mean(left) > uninfected(n, factor) / 8, "it is not far below"


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_section_3_uninfected_after_lambda_log_n_periods_of_whole_machines(factor: float) -> None:
    """No gossip but in pings and acks, and no states compared; item after item in one cluster of 50."""
    n = 50
    options = SwimOptions(gossip_interval_ns=3600 * SECOND, sync_interval_ns=86_400 * SECOND, retransmit_mult=50)
    bench = Bench(5, options, watched=False)
    names = bench.grow(n)
    bench.run_until(bench.converged, 60)
    left = []
    for item in range(40):
        bench.run(12 + item / 40)
        speaker, payload = names[item % n], bytes([item])
        bench.feed(speaker, UpdatePayload(payload))
        bench.run(factor * log(n))
        known = [bench.hosts[name].machine._core.members[speaker].payload for name in names]
        left.append(sum(told != payload for told in known))
    assert mean(left) <= uninfected(n, factor)
    assert factor > 1 or mean(left) > 0


@pytest.mark.parametrize("m", [2, 3, 4, 6])
def test_section_3_push_residue_is_e_to_the_minus_m(m: int) -> None:
    """Who was missed, of 1000: e^-m after m transmissions for each member, which are m for each who has the news."""
    missed, sent = [], []
    for seed in range(20):
        epidemic = Epidemic(1000, m, seed=seed)
        while not epidemic.is_over:
            epidemic.gossip(1)
        missed.append(epidemic.uninfected / 1000)
        sent.append(sum(epidemic.told) / 1000)
    residue = mean(missed)
    assert residue == pytest.approx(exp(-mean(sent)), rel=0.1)
    assert residue == pytest.approx(exp(-m * (1 - residue)), rel=0.1)
    assert m < 6 or residue == pytest.approx(exp(-m), rel=0.1)


@pytest.mark.parametrize(
    ("n", "loss", "rounds", "worst", "transmissions", "runs"),
    [
        (10, 0.0, 2.85, 5, 3.6, 1000),
        (10, 0.25, 3.5, 8, None, 1000),
        (100, 0.0, 5.67, 8, 6.5, 300),
        (100, 0.25, 7.0, 10, None, 300),
        (1000, 0.0, 8.2, 10, 9.1, 40),
        (1000, 0.25, 9.9, 12, None, 40),
    ],
)
def test_section_4_rounds_until_everybody_has_the_news(
    n: int, loss: float, rounds: float, worst: int, transmissions: float | None, runs: int
) -> None:
    """Fan-out 3, limit 4 * ceil(log10(N + 1)). Section 4 has 5, 7 and 9 for the worst, of fewer runs."""
    took, told, missed = [], [], 0
    for seed in range(runs):
        epidemic = Epidemic(n, retransmit_limit(4, n), seed=seed, loss=loss)
        while epidemic.uninfected and not epidemic.is_over:
            epidemic.gossip(3)
        if epidemic.uninfected:
            missed += 1
            continue
        took.append(epidemic.rounds)
        told.append(sum(epidemic.told) / n)
    assert mean(took) == pytest.approx(rounds, abs=0.3)
    assert max(took) <= worst
    assert transmissions is None or mean(told) == pytest.approx(transmissions, abs=0.15)
    assert missed <= runs * 0.015
