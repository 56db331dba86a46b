"""SWIM in the simulator: a short campaign, its determinism, planted bugs, and runs in which nothing goes wrong."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from attrs import evolve

from casty_proto.machine import SECOND, Instant, Wake
from casty_proto.swim import (
    Gossip,
    Identity,
    Leave,
    MemberUpdated,
    Received,
    Send,
    Swim,
    SwimEffect,
    SwimEvent,
    SwimOptions,
)
from casty_sim.campaign import Summary, campaign
from casty_sim.scenario import Settings, run
from casty_sim.scenarios import SCENARIOS
from casty_sim.scenarios.swim import SwimScenario
from casty_sim.shrink import shrink
from casty_sim.tape import Tape

SHORT = Settings(safety_ns=5 * SECOND)


def test_a_campaign_finds_nothing_and_reaches_what_it_should() -> None:
    scenario = SCENARIOS["swim"]
    summary = campaign(scenario, range(200), Settings(check_invariants=True))
    assert not summary.failures, summary.failures[0].problem
    assert summary.never(scenario.states) == []


@pytest.mark.parametrize("nodes", [2, 3, 8])
def test_clusters_of_other_sizes_converge_too(nodes: int) -> None:
    summary = campaign(SCENARIOS["swim"], range(20), Settings(nodes=nodes))
    assert not summary.failures, summary.failures[0].problem


def test_the_same_seed_gives_the_same_digest_in_another_process_under_another_hash_seed() -> None:
    program = (
        "from casty_sim.scenarios import SCENARIOS\nfrom casty_sim.scenario import run\n"
        "from casty_sim.tape import Tape\n"
        "junk = [object() for _ in range(12345)]\n"
        "print(*[run(SCENARIOS['swim'], Tape(seed)).digest for seed in (3, 4, 5)])"
    )
    here = [run(SCENARIOS["swim"], Tape(seed)).digest for seed in (3, 4, 5)]
    for hash_seed in ("0", "77"):
        command = [sys.executable, "-c", program]
        out = subprocess.run(command, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True)
        assert out.stdout.split() == here


def test_a_recorded_tape_replays_to_the_same_digest() -> None:
    tape = Tape(5, record=True)
    first = run(SCENARIOS["swim"], tape, SHORT)
    assert run(SCENARIOS["swim"], Tape(5, played=tape.recorded()), SHORT).digest == first.digest


def test_nobody_is_suspected_where_nothing_goes_wrong() -> None:
    summary = campaign(SCENARIOS["swim"], range(30), Settings(faults=False))
    assert not summary.failures, summary.failures[0].problem
    assert "a payload changed" in summary.reached
    assert "a member left" in summary.reached
    for state in ("a member was suspected", "a member was declared dead", "a helper was asked"):
        assert state not in summary.reached


# Planted bugs --------------------------------------------------------------------------------------------------------


class Meek(Swim):
    """Hears nothing of what is said about itself, and so never objects."""

    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        if isinstance(event, Received):
            message: Any = event.message
            kept = tuple(each for each in message.updates if each.identity.node_id != self.me.identity.node_id)
            event = Received(event.peer, evolve(message, updates=kept))
        return super().handle(event, now)


class Patient(Swim):
    """Gives suspects as long to object as can be set."""

    def __init__(self, identity: Identity, *more: Any, options: SwimOptions, **named: Any) -> None:
        super().__init__(identity, *more, options=evolve(options, suspicion_mult=100, suspicion_max_mult=100), **named)


class Hasty(Swim):
    """Gives answers no time: the shortest of timeouts, and nobody is asked for help."""

    def __init__(self, identity: Identity, *more: Any, options: SwimOptions, **named: Any) -> None:
        hasty = evolve(options, probe_timeout_ns=1, probe_interval_ns=1000, indirect_probes=0)
        super().__init__(identity, *more, options=hasty, **named)


class Chatty(Swim):
    """Says everything twice."""

    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        effects = super().handle(event, now)
        return (*effects, *[effect for effect in effects if isinstance(effect, Send)])


class Rude(Swim):
    """Leaves without a word."""

    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        effects = super().handle(event, now)
        leaving = isinstance(event, Leave | Wake) and self.me.state.name == "LEFT"
        return tuple(each for each in effects if not (leaving and isinstance(each, Send)))


class Boastful(Swim):
    """Raises the incarnations of others."""

    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        return tuple(map(_raised, super().handle(event, now)))


def _raised(effect: SwimEffect) -> SwimEffect:
    if not isinstance(effect, Send) or not isinstance(effect.message, Gossip):
        return effect
    updates = tuple(evolve(update, incarnation=update.incarnation + 1) for update in effect.message.updates)
    return Send(effect.to, evolve(effect.message, updates=updates))


class Secretive(Swim):
    """Tells nobody that payloads have changed."""

    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        return tuple(effect for effect in super().handle(event, now) if not isinstance(effect, MemberUpdated))


def hunt(machine: type[Swim], settings: Settings = SHORT) -> Summary:
    return campaign(SwimScenario(machine), range(30), settings, stop_at_first=True)


@pytest.mark.parametrize(
    ("machine", "rules"),
    [
        (Meek, ("recovery",)),
        (Patient, ("completeness",)),
        (Chatty, ("load",)),
        (Rude, ("goodbye",)),
        (Boastful, ("invention",)),
        (Secretive, ("announcements",)),
    ],
)
def test_a_planted_bug_is_found(machine: type[Swim], rules: tuple[str, ...]) -> None:
    summary = hunt(machine)
    assert summary.failures, "not found"
    assert summary.failures[0].rule in rules, summary.failures[0].problem


def test_a_hasty_member_is_found_out_where_nothing_goes_wrong() -> None:
    failure = hunt(Hasty, Settings(faults=False)).failures[0]
    assert failure.rule in ("false positive", "load"), failure.problem


def test_a_planted_bug_shrinks_and_the_small_tape_replays() -> None:
    failure = hunt(Boastful).failures[0]
    scenario = SwimScenario(Boastful)
    small = shrink(scenario, Tape(failure.seed, record=True), SHORT, seconds=2.0)
    assert small.outcome.rule == failure.rule
    assert small.settings.nodes < SHORT.nodes or small.settings.safety_ns < SHORT.safety_ns
    assert run(scenario, small.tape(), small.settings).problem == small.outcome.problem
