"""Whole clusters in the simulator: a campaign, its determinism, bad clocks, planted bugs, and quiet runs."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from attrs import evolve

from casty_proto.cluster import events
from casty_proto.cluster.events import NodeEffect, NodeEvent
from casty_proto.cluster.node import Node
from casty_proto.machine import SECOND, Instant, Reply
from casty_sim.__main__ import main
from casty_sim.campaign import campaign
from casty_sim.scenario import Settings, run
from casty_sim.scenarios import SCENARIOS
from casty_sim.scenarios.cluster import ClusterScenario
from casty_sim.tape import Tape
from casty_sim.trace import Trace

SHORT = Settings(safety_ns=4 * SECOND)
USUAL = (
    "a cluster was formed",
    "a node joined",
    "a node came back as a new one",
    "a shard was handed over",
    "a shard was taken by force",
    "a shard was resumed",
    "a lease ended",
    "a write was not durable",
    "a name was given",
    "a name was refused",
    "another leader was elected",
    "a node was lost for good",
    "a disk was wiped",
    "a failed write stopped a host",
    "an entity rested",
    "an entity came back after a rest",
    "an ask ended with unknown",
)
"""What a few seeds reach. A campaign of hundreds reaches all of `ClusterScenario.states`."""


def test_a_short_campaign_finds_nothing_and_reaches_what_it_should() -> None:
    summary = campaign(SCENARIOS["cluster"], range(24), Settings())
    assert not summary.failures, summary.failures[0].problem
    assert summary.never(USUAL) == []
    assert 0 <= summary.well_after_ns <= ClusterScenario.bound_ns


def test_the_command_says_how_soon_all_was_well_again_and_the_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cluster", "--seeds", "2", "--jobs", "1"]) == 0
    assert re.search(
        r"all was well again at most \d+\.\d\d s after the last fault; the bound is 30 s", capsys.readouterr().out
    )


def test_invariants_hold_after_every_event() -> None:
    summary = campaign(SCENARIOS["cluster"], range(100, 104), evolve(SHORT, check_invariants=True))
    assert not summary.failures, summary.failures[0].problem


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_small_clusters_are_well_too(nodes: int) -> None:
    summary = campaign(SCENARIOS["cluster"], range(6), evolve(SHORT, nodes=nodes))
    assert not summary.failures, summary.failures[0].problem


def test_the_same_seed_gives_the_same_digest_in_another_process_under_another_hash_seed() -> None:
    program = (
        "from casty_sim.scenarios import SCENARIOS\nfrom casty_sim.scenario import Settings, run\n"
        "from casty_sim.tape import Tape\n"
        "junk = [object() for _ in range(12345)]\n"
        "print(*[run(SCENARIOS['cluster'], Tape(seed), Settings(safety_ns=4 * 10**9)).digest for seed in (3, 4)])"
    )
    here = [run(SCENARIOS["cluster"], Tape(seed), SHORT).digest for seed in (3, 4)]
    for hash_seed in ("0", "77"):
        command = [sys.executable, "-c", program]
        out = subprocess.run(command, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True)
        assert out.stdout.split() == here


def test_a_recorded_tape_replays_to_the_same_digest() -> None:
    tape = Tape(5, record=True)
    first = run(SCENARIOS["cluster"], tape, SHORT)
    assert run(SCENARIOS["cluster"], Tape(5, played=tape.recorded()), SHORT).digest == first.digest


def test_without_faults_no_host_crashes_and_no_lease_ends() -> None:
    for seed in range(4):
        trace = Trace(keep=True)
        outcome = run(SCENARIOS["cluster"], Tape(seed), evolve(SHORT, faults=False), trace)
        assert not outcome.failed, outcome.problem
        assert "a shard was taken by force" not in outcome.reached
        assert {line.kind for line in trace.lines or ()}.isdisjoint({"disk", "pause"})


def test_clocks_that_drift_beyond_the_margin_make_two_owners_and_that_is_found() -> None:
    summary = campaign(SCENARIOS["cluster-drift"], range(12), Settings())
    assert {failure.rule for failure in summary.failures} >= {"single owner"}


def test_a_rolling_restart_fails_no_ask() -> None:
    scenario = SCENARIOS["cluster-rolling"]
    summary = campaign(scenario, range(6), Settings())
    assert not summary.failures, summary.failures[0].problem
    assert summary.never(scenario.states) == []


def test_an_idle_cluster_of_five_has_no_suspicion_no_new_epoch_and_no_new_leader_for_an_hour() -> None:
    hour = Settings(safety_ns=3600 * SECOND)
    outcome = run(SCENARIOS["cluster-idle"], Tape(1), hour, Trace(digest=False))
    assert not outcome.failed, outcome.problem
    assert outcome.simulated_ns > hour.safety_ns


class Hasty(Node):
    """Says that a write is durable as soon as it is told of it, as one would that does not wait for its backups."""

    __slots__ = ()

    def handle(self, event: NodeEvent, now: Instant) -> tuple[NodeEffect, ...]:
        effects = super().handle(event, now)
        if type(event) is not events.Handled:
            return tuple([each for each in effects if type(each) not in (events.Durable, events.NotDurable)])
        answers = (events.Durable, events.NotDurable, Reply)
        said = [each for each in effects if type(each) not in answers]
        return (*said, events.Durable(event.request))


class Deaf(Node):
    """Goes on for ever with the lease that it had once."""

    __slots__ = ()

    def owns(self, region: str, shard: int, now: Instant) -> int | None:
        return self._owning._spots.get((region, shard))

    def acts(self, region: str, shard: int, now: Instant) -> int | None:
        return self.owns(region, shard, now)

    def handle(self, event: NodeEvent, now: Instant) -> tuple[NodeEffect, ...]:
        halts = (events.HaltShard, events.ResumeShard)
        return tuple([each for each in super().handle(event, now) if type(each) not in halts])


@pytest.mark.parametrize(("machine", "first", "rules"), [(Hasty, 20, {"durability"}), (Deaf, 0, {"single owner"})])
def test_planted_bugs_are_found(machine: type[Node], first: int, rules: set[str]) -> None:
    summary = campaign(ClusterScenario(machine), range(first, first + 40), Settings(), stop_at_first=True)
    assert summary.failures[0].rule in rules, summary.failures[0].problem
