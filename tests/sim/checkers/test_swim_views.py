"""How views are compared with the truth, and the bounds within which they must agree with it."""

from __future__ import annotations

import pytest

from casty_proto.machine import MILLISECOND, SECOND
from casty_proto.swim import Identity, Member, State, SwimOptions
from casty_sim.checkers.swim_views import bounds, differences, overdue
from casty_sim.world import Violation

ALIVE, SUSPECT, DEAD, LEFT = State
OPTIONS = SwimOptions()
A, B, C = Identity("a", 1), Identity("b", 1), Identity("c", 1)


def member(identity: Identity, incarnation: int = 0, state: State = ALIVE, payload: bytes = b"") -> Member:
    return Member(identity, incarnation, state, identity.node_id, payload, told=incarnation)


TRUTH = {"a": member(A), "b": member(B, 2, payload=b"x")}


@pytest.mark.parametrize(
    ("others", "rules"),
    [
        ([TRUTH["b"]], []),
        ([TRUTH["b"], member(C, 0, DEAD)], []),
        ([TRUTH["b"], member(C, 0, LEFT)], []),
        ([TRUTH["b"], member(C)], ["completeness"]),
        ([TRUTH["b"], member(C, 0, SUSPECT)], ["completeness"]),
        ([], ["recovery"]),
        ([member(B, 2, DEAD)], ["recovery"]),
        ([member(B, 2, SUSPECT, b"x")], ["convergence"]),
        ([member(B, 1, payload=b"x")], ["convergence"]),
        ([member(B, 2, payload=b"y")], ["convergence"]),
    ],
)
def test_views_are_compared_with_the_truth(others: list[Member], rules: list[str]) -> None:
    announced = {other.identity.node_id: other for other in others}
    found = differences(TRUTH["a"], [TRUTH["a"], *others], announced, TRUTH, bounds(OPTIONS, 3))
    assert [difference.rule for difference in found] == rules
    overdue(found, 0)
    if rules:
        with pytest.raises(Violation, match=rules[0]):
            overdue(found, 10**6 * SECOND)


@pytest.mark.parametrize("announced", [{}, {"b": member(B, 2)}, {"b": member(B, 2, SUSPECT, b"x")}])
def test_what_is_announced_is_what_is_known(announced: dict[str, Member]) -> None:
    with pytest.raises(Violation, match="announcements"):
        differences(TRUTH["a"], [*TRUTH.values()], announced, TRUTH, bounds(OPTIONS, 3))


def test_the_bounds_follow_the_formulas() -> None:
    options = SwimOptions(
        probe_interval_ns=SECOND,
        probe_timeout_ns=100 * MILLISECOND,
        awareness_max=2,
        suspicion_mult=3,
        suspicion_max_mult=2,
        gossip_interval_ns=300 * MILLISECOND,
        sync_interval_ns=2 * SECOND,
    )
    limit = bounds(options, 5)
    spread = (4 * 3 + 4) * 2
    assert limit.detected_ns == pytest.approx(1.02 * (spread + (7 + 4 + 2) * 2 + 6) * SECOND)
    assert limit.recovered_ns == pytest.approx(1.02 * (3 * spread + (7 + 4 + 2) * 2) * SECOND)
    assert limit.suspected_ns == pytest.approx(0.98 * 3 * SECOND)
    assert limit.sends == 1 + 3 + (4 + 1) * 3 + 2 * 1 + 6
    assert (limit.turn, limit.retransmits) == (7, 4)
