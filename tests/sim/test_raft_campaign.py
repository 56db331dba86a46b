"""Raft in the simulator: a short campaign, its determinism, a planted bug, and the command line."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from casty_proto.machine import SECOND, Instant
from casty_proto.raft import Apply, Raft, RaftEffect, RaftEvent
from casty_sim.__main__ import main
from casty_sim.campaign import campaign
from casty_sim.scenario import Settings, run
from casty_sim.scenarios import SCENARIOS
from casty_sim.scenarios.raft import RaftScenario
from casty_sim.shrink import NotReproducible, shrink
from casty_sim.tape import Tape
from casty_sim.trace import Trace

SHORT = Settings(safety_ns=4 * SECOND)


def test_a_short_campaign_finds_nothing_and_reaches_what_it_should() -> None:
    scenario = SCENARIOS["raft"]
    summary = campaign(scenario, range(250), Settings(check_invariants=True))
    assert not summary.failures, summary.failures[0].problem
    assert summary.never(scenario.states) == []
    assert summary.unknown == 0


def test_the_same_seed_gives_the_same_digest_in_another_process_under_another_hash_seed() -> None:
    program = (
        "from casty_sim.scenarios import SCENARIOS\nfrom casty_sim.scenario import run\n"
        "from casty_sim.tape import Tape\n"
        "junk = [object() for _ in range(12345)]\n"
        "print(*[run(SCENARIOS['raft'], Tape(seed)).digest for seed in (3, 4)])"
    )
    here = [run(SCENARIOS["raft"], Tape(seed)).digest for seed in (3, 4)]
    for hash_seed in ("0", "77"):
        command = [sys.executable, "-c", program]
        out = subprocess.run(command, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True)
        assert out.stdout.split() == here


def test_neither_earlier_runs_nor_the_collector_change_what_a_seed_does() -> None:
    first = run(SCENARIOS["raft"], Tape(3), SHORT).digest
    for seed in range(4):
        run(SCENARIOS["swim"], Tape(seed), SHORT)
    thresholds = gc.get_threshold()
    gc.set_threshold(7)
    try:
        assert run(SCENARIOS["raft"], Tape(3), SHORT).digest == first
    finally:
        gc.set_threshold(*thresholds)


def test_without_faults_nothing_breaks() -> None:
    for seed in range(12):
        trace = Trace(keep=True)
        outcome = run(SCENARIOS["raft"], Tape(seed), evolve(SHORT, faults=False), trace)
        assert not outcome.failed, outcome.problem
        assert {line.kind for line in trace.lines or ()}.isdisjoint({"crash", "disk", "pause"})
        assert [line.text for line in trace.lines or () if line.kind == "fault"] == [
            line.text for line in trace.lines or () if "the core is healed" in line.text
        ]


def test_a_recorded_tape_replays_to_the_same_digest() -> None:
    tape = Tape(5, record=True)
    first = run(SCENARIOS["raft"], tape, SHORT)
    assert run(SCENARIOS["raft"], Tape(5, played=tape.recorded()), SHORT).digest == first.digest


class Forgetful(Raft):
    """Applies some batches twice, as one that lost count would."""

    __slots__ = ()

    def handle(self, event: RaftEvent, now: Instant) -> tuple[RaftEffect, ...]:
        effects: list[RaftEffect] = []
        for effect in super().handle(event, now):
            effects.append(effect)
            if isinstance(effect, Apply) and effect.entries[0].index % 7 == 0:
                effects.append(effect)
        return tuple(effects)


def test_a_planted_bug_is_found_and_shrinks() -> None:
    scenario = RaftScenario(Forgetful)
    summary = campaign(scenario, range(20), SHORT, stop_at_first=True)
    failure = summary.failures[0]
    assert failure.rule == "state machine safety"
    small = shrink(scenario, Tape(failure.seed, record=True), SHORT, seconds=5.0)
    assert small.outcome.rule == failure.rule
    assert small.settings.nodes < SHORT.nodes or small.settings.safety_ns < SHORT.safety_ns
    again = run(scenario, small.tape(), small.settings)
    assert again.problem == small.outcome.problem, "the small tape replays"


def test_what_does_not_fail_cannot_be_shrunk() -> None:
    with pytest.raises(NotReproducible, match="does not fail"):
        shrink(SCENARIOS["raft"], Tape(1, record=True), SHORT, seconds=1.0)


def test_the_summary_does_not_depend_on_how_the_seeds_are_spread() -> None:
    alone = campaign(SCENARIOS["raft"], range(12), SHORT, jobs=1)
    spread = campaign(SCENARIOS["raft"], range(12), SHORT, jobs=2)
    assert (alone.events, alone.reached, alone.simulated_ns) == (spread.events, spread.reached, spread.simulated_ns)


def test_the_command_line_lists_runs_and_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "raft" in capsys.readouterr().out
    assert main(["run", "raft", "--seeds", "8", "--jobs", "1", "--duration", "3", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["seeds"] == 8
    assert summary["failures"] == []
    tape = tmp_path / "one.tape"
    assert main(["replay", "raft", "3", "--duration", "3", "--save", str(tape)]) == 0
    first = capsys.readouterr().out
    assert main(["replay", "raft", str(tape), "--trace"]) == 0
    again = capsys.readouterr().out
    digest = first.partition("digest ")[2].split()[0]
    assert digest in again
    assert "leader in term" in again
    assert main(["replay", "raft", str(tmp_path / "nothing.tape")]) == 2
    assert "neither a seed" in capsys.readouterr().err
