"""The published numbers of SWIM's failure detector, of whole machines: who is probed when, and what that costs."""

from __future__ import annotations

from itertools import pairwise
from math import e
from random import Random

import pytest

from casty_proto.machine import SECOND, Wake
from casty_proto.swim import Ack, Gossip, Join, MemberSuspected, Ping, PingRequest, Received, Send, Swim, SwimOptions

from .script import ME, Script, alive, at, sent, who


def probed(others: list[str], periods: int, seed: int) -> list[str]:
    """Whom one member probes, period by period, while everybody answers."""
    swim = Swim(ME, at("me"), rng=Random(seed), options=SwimOptions())
    swim.handle(Join(), 0)
    for name in others:
        swim.handle(Received(at(name), Gossip(who(name), (alive(name),))), 0)
    targets: list[str] = []
    while len(targets) < periods:
        now = swim.deadline()
        assert now is not None
        for effect in swim.handle(Wake(), now):
            if isinstance(effect, Send) and isinstance(effect.message, Ping):
                ping = effect.message
                targets.append(ping.target.node_id)
                swim.handle(Received(effect.to, Ack(ping.target, ping.number)), now)
    return targets


@pytest.mark.parametrize("n", [3, 5, 10, 17])
def test_swim_4_3_every_member_is_probed_within_2_n_minus_1_periods(n: int) -> None:
    """Section 3 has the bound, section 4 the worst gap that was seen: 2(n - 1) - 1, here reached where n is small."""
    names = [f"n{number}" for number in range(n - 1)]
    worst = 0
    for seed in range(5):
        targets = probed(names, 40 * n, seed)
        for name in names:
            turns = [-1, *(period for period, target in enumerate(targets) if target == name)]
            worst = max(worst, *(after - before for before, after in pairwise(turns)))
    assert worst <= 2 * (n - 1) - 1 < 2 * n - 1
    assert n > 5 or worst == 2 * (n - 1) - 1


@pytest.mark.parametrize(("n", "expected"), [(10, 1.48), (50, e / (e - 1))])
def test_swim_3_a_crash_is_noticed_first_after_e_over_e_minus_1_periods(n: int, expected: float) -> None:
    """Sections 3 and 4: the mean until any of the others probes the one that crashed; 1.58 for 50, 1.48 for 10."""
    names = [f"n{number}" for number in range(n - 1)]
    periods = 12_000 // n
    starts = range(0, periods - 2 * n, 5)
    soonest = {(start, name): periods for start in starts for name in names}
    for seed in range(n - 1):
        turn: dict[str, int] = {}
        for period, target in reversed([*enumerate(probed(names, periods, seed))]):
            turn[target] = period
            if period in starts:
                for name in names:
                    soonest[period, name] = min(soonest[period, name], turn[name])
    waits = [period - start + 1 for (start, _), period in soonest.items()]
    assert sum(waits) / len(waits) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("n", [5, 10, 40])
def test_swim_3_load_is_one_ping_in_each_period_whatever_the_size(n: int) -> None:
    """Section 3: no ping-request where nothing fails."""
    script = Script(*(f"n{number}" for number in range(n - 1)))
    effects = script.advance(30)
    assert (len(sent(effects, Ping)), len(sent(effects, PingRequest))) == (30, 0)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_swim_3_load_of_a_failure_is_k_ping_requests(k: int) -> None:
    """Section 3: once in the period in which it is found; helpers say that they are there, so no period grows."""
    script = Script(*"pqrstuvw", options=SwimOptions(indirect_probes=k, awareness_max=1))
    script.silent["p"] = None
    effects: list[object] = []
    while not any(isinstance(effect, MemberSuspected) for effect in effects):
        assert script.now < 30 * SECOND, "nobody is suspected"
        effects += script.advance(0.1)
    requests = [e.message for e in effects if isinstance(e, Send) and isinstance(e.message, PingRequest)]
    assert [request.target for request in requests] == [who("p")] * k
