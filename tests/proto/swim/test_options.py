"""Section 1: the published parameters, and what cannot be set."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import fields

from casty_proto.machine import MILLISECOND, SECOND
from casty_proto.swim import MESSAGE_MIN, Join, Leave, State, SwimOptions
from casty_proto.swim.maths import scaled, suspicion_minimum, sync_scale

from .script import Script, alive, dead, suspect

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
        {"max_members": 0},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SwimOptions(**wrong)


LARGEST: dict[str, int] = {
    "probe_interval_ns": 3600 * SECOND,
    "probe_timeout_ns": 3600 * SECOND - 1,
    "indirect_probes": 100,
    "awareness_max": 100,
    "suspicion_mult": 100,
    "suspicion_max_mult": 100,
    "confirmations": 100,
    "retransmit_mult": 100,
    "gossip_interval_ns": 3600 * SECOND,
    "gossip_nodes": 100,
    "gossip_to_dead_ns": 86_400 * SECOND,
    "sync_interval_ns": 86_400 * SECOND,
    "reclaim_ns": 366 * 86_400 * SECOND,
    "max_members": 1_000_000,
    "message_limit": 2**20,
}


def test_every_number_has_a_largest_value() -> None:
    numbers = [option.name for option in fields(SwimOptions) if option.name != "buddy"]
    assert sorted(LARGEST) == sorted(numbers)
    SwimOptions(**LARGEST)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LARGEST)
@pytest.mark.parametrize("how", ["just", "absurdly"])
def test_what_is_too_large_is_refused(name: str, how: str) -> None:
    with pytest.raises(ValueError, match=name):
        SwimOptions(**{**LARGEST, name: LARGEST[name] + 1 if how == "just" else 2**2000})  # type: ignore[arg-type]


def test_no_length_of_time_is_longer_than_2_to_the_60() -> None:
    """A clock that has run for two centuries has 2**62 ns; the sum of both is a 64-bit number."""
    options = SwimOptions(**LARGEST)  # type: ignore[arg-type]
    n = options.max_members
    longest = {
        "suspicion": suspicion_minimum(options.suspicion_mult, n, options.probe_interval_ns)
        * options.suspicion_max_mult,
        "probe": scaled(options.probe_interval_ns, options.awareness_max - 1),
        "join": options.probe_interval_ns << 16,
        "sync": options.sync_interval_ns * sync_scale(n),
        "reclaim": options.reclaim_ns,
    }
    assert max(longest.values()) < 2**60


def test_a_member_with_the_largest_values_works() -> None:
    """It probes, accuses, confirms, forgets, looks for its seeds, and says goodbye, with deadlines below 2**63."""
    script = Script(*"pqrst", options=SwimOptions(**LARGEST))  # type: ignore[arg-type]
    script.now = 2**62
    script.do(Join(("seed:1",)))
    script.hear(suspect("p", by="q"), suspect("p", by="r"), dead("s"), alive("t", 1, bytes(1024)))
    script.machine._core.health.change(+1000)
    for _ in range(500):
        script.wake()
        assert script.now < 2**63
    assert script.state("p") == (State.DEAD, 0)
    script.do(Leave())
    while script.machine.deadline() is not None:
        script.wake()
    assert script.machine.me.state is State.LEFT
    assert script.now < 2**63


@pytest.mark.parametrize("wrong", [{"probe_interval_ns": 0.5}, {"buddy": 1}, {"confirmations": "2"}], ids=str)
def test_what_is_of_the_wrong_type_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        SwimOptions(**wrong)
