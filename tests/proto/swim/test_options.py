"""Section 1: the published parameters, and what cannot be set."""

from __future__ import annotations

from typing import Any

import pytest

from casty_proto.machine import MILLISECOND, SECOND
from casty_proto.swim import MESSAGE_MIN, SwimOptions

TABLE: list[tuple[str, float, float, float]] = [
    # option, and its value in a local network, a wide one, and on one machine
    ("probe_interval_ns", SECOND, 5 * SECOND, SECOND),
    ("probe_timeout_ns", 500 * MILLISECOND, 3 * SECOND, 200 * MILLISECOND),
    ("indirect_probes", 3, 3, 1),
    ("suspicion_mult", 4, 6, 3),
    ("suspicion_max_mult", 6, 6, 6),
    ("retransmit_mult", 4, 4, 2),
    ("gossip_interval_ns", 200 * MILLISECOND, 500 * MILLISECOND, 100 * MILLISECOND),
    ("gossip_nodes", 3, 4, 3),
    ("gossip_to_dead_ns", 30 * SECOND, 60 * SECOND, 15 * SECOND),
    ("sync_interval_ns", 30 * SECOND, 60 * SECOND, 15 * SECOND),
    ("awareness_max", 8, 8, 8),
    ("message_limit", 1400, 1400, 1400),
    ("confirmations_wanted", 2, 4, 1),
]


@pytest.mark.parametrize(("name", "lan", "wan", "local"), TABLE)
def test_section_1_memberlist_s_numbers(name: str, lan: float, wan: float, local: float) -> None:
    sets = (SwimOptions(), SwimOptions.wan(), SwimOptions.local())
    assert [getattr(options, name) for options in sets] == [lan, wan, local]


def test_section_1_the_period_is_longer_than_the_timeout() -> None:
    """SWIM 3.1: the period is at least three round trips; a timeout is at least one."""
    for options in (SwimOptions(), SwimOptions.wan(), SwimOptions.local()):
        assert options.probe_timeout_ns < options.probe_interval_ns


def test_sets_can_be_changed_in_part() -> None:
    options = SwimOptions.wan(gossip_nodes=9, confirmations=1)
    assert (options.gossip_nodes, options.probe_interval_ns, options.confirmations_wanted) == (9, 5 * SECOND, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"probe_interval_ns": 0},
        {"probe_timeout_ns": SECOND},
        {"probe_timeout_ns": 0},
        {"indirect_probes": -1},
        {"awareness_max": 0},
        {"suspicion_mult": 0},
        {"suspicion_max_mult": 0},
        {"confirmations": -1},
        {"retransmit_mult": 0},
        {"gossip_interval_ns": 0},
        {"gossip_nodes": 0},
        {"gossip_to_dead_ns": -1},
        {"sync_interval_ns": 0},
        {"reclaim_ns": 0},
        {"message_limit": MESSAGE_MIN - 1},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SwimOptions(**wrong)


@pytest.mark.parametrize("wrong", [{"probe_interval_ns": 0.5}, {"buddy": 1}, {"confirmations": "2"}], ids=str)
def test_what_is_of_the_wrong_type_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        SwimOptions(**wrong)
