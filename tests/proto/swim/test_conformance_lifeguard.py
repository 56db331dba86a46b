"""Lifeguard's published vectors, of a whole machine: when a suspect is declared dead, and how long a probe takes."""

from __future__ import annotations

import pytest

from casty_proto.machine import MILLISECOND, SECOND, Instant
from casty_proto.swim import MemberDead, SwimEffect, SwimOptions

from .script import Script, quiet, suspect

ACCUSERS = "pqrstu"


def accused(options: SwimOptions, confirmations: int, elapsed_ns: int = 0) -> tuple[Script, Instant, list[SwimEffect]]:
    """`x` is suspected, and so many others confirm it after this time. Returns when it was accused first."""
    script = Script("x", *ACCUSERS, options=options)
    start = script.now
    script.hear(suspect("x", by="p"))
    script.now += elapsed_ns
    said = [suspect("x", by=name) for name in ACCUSERS[1 : confirmations + 1]]
    return script, start, script.hear(*said, source="q")


def death(script: Script) -> Instant:
    """When `x` is declared dead. It answers our probes, so that we do not confirm the accusation, but never objects."""
    effects: list[SwimEffect] = []
    while not any(isinstance(effect, MemberDead) for effect in effects):
        assert script.now < 1000 * SECOND
        deadline = script.machine.deadline()
        assert deadline is not None
        effects = script.advance((deadline - script.now) / SECOND)
    return script.now


@pytest.mark.parametrize(("confirmations", "expected"), [(0, 30), (1, 16), (2, 7.81), (3, 2), (4, 2), (5, 2)])
def test_section_2_lifeguard_iv_b_the_time_of_a_suspect_from_30_s_to_2_s(confirmations: int, expected: float) -> None:
    """K = 3; elapsed plus remaining of the published vectors: 0 + 30, 2 + 14, 3 + 4.81, and the minimum."""
    options = SwimOptions(suspicion_mult=2, suspicion_max_mult=15, confirmations=3)
    script, start, _ = accused(options, confirmations)
    assert death(script) - start == round(expected * 1000) * MILLISECOND


@pytest.mark.parametrize(("confirmations", "elapsed"), [(3, 4), (4, 5), (5, 10)])
def test_section_2_s_28_lifeguard_iv_b_a_time_that_is_over_ends_at_once(confirmations: int, elapsed: int) -> None:
    """K = 3, 2 s to 30 s: the published remaining times are -2, -3 and -8 s."""
    options = SwimOptions(suspicion_mult=2, suspicion_max_mult=15, confirmations=3)
    _, _, effects = accused(options, confirmations, elapsed * SECOND)
    assert [type(effect) for effect in quiet(effects)] == [MemberDead]


@pytest.mark.parametrize(("confirmations", "expected_ms"), [*enumerate([2000, 1250, 811, 500, 500])])
def test_section_2_lifeguard_iv_b_the_time_of_a_suspect_from_2_s_to_half_a_second(
    confirmations: int, expected_ms: int
) -> None:
    """K = 3; published is 810 for two confirmations, measured with a tolerance."""
    options = SwimOptions(
        probe_interval_ns=500 * MILLISECOND,
        probe_timeout_ns=100 * MILLISECOND,
        suspicion_mult=1,
        suspicion_max_mult=4,
        confirmations=3,
        awareness_max=1,
    )
    script, start, _ = accused(options, confirmations)
    assert death(script) - start == expected_ms * MILLISECOND
