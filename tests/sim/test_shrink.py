"""Shrinking: few nodes and few faults, of the same rule, and what is found replays.

The worlds are of toys, and break a rule when what a test names has struck. The clock of the search counts how often it
is looked at, so that what is found does not depend on how busy the machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from types import SimpleNamespace

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import MILLISECOND, SECOND
from casty_sim import shrink as shrinking
from casty_sim.elsewhere import FEW_FAULTS, FEW_NODES, Elsewhere
from casty_sim.faults import KINDS, STANDING, FaultOptions, FaultPlan, Nemesis, draw_plan, kinds_on, numbers_of
from casty_sim.network import Link
from casty_sim.scenario import Outcome, Scenario, Settings, run
from casty_sim.shrink import NotReproducible, Shrunk, shrink
from casty_sim.tape import Stream, Tape, without
from casty_sim.trace import Trace
from casty_sim.world import Violation, World

from .toy import Toy

SETTINGS = Settings(nodes=5, safety_ns=6 * SECOND)
OPTIONS = FaultOptions(kinds=tuple(kind for kind in KINDS if kind != "timely"), every_ns=300 * MILLISECOND)

type Breaks = Callable[[FaultPlan, Settings], bool]


def struck(plan: FaultPlan, *words: str) -> bool:
    """Whether something of each kind has been done."""
    return all(any(word in line for line in plan.log) for word in words)


class Toys(Scenario):
    """Toys under every fault, which break a rule when a test says so."""

    name = "toys"
    help = "toys"

    def __init__(self, breaks: Breaks, rule: str = "toys", *, standing: bool = True) -> None:
        self.breaks = breaks
        self.rule = rule
        self.options = OPTIONS if standing else evolve(OPTIONS, kinds=tuple(set_apart(OPTIONS.kinds)))

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        world = World(tape, ordered=False, trace=trace)
        plan = draw_plan(tape.stream("plan"), self.options, Link())
        outcome.plan = plan.words()
        hosts = [world.add_host(f"n{number}", Toy) for number in range(1, settings.nodes + 1)]
        for host in hosts:
            host.start()
        Nemesis(world, hosts, plan, self.options).begin()
        try:
            while world.now < settings.safety_ns:
                world.run(world.now + 100 * MILLISECOND)
                if self.breaks(plan, settings):
                    raise Violation(self.rule, "as planted")
        finally:
            outcome.faults = plan.faults
            outcome.events, outcome.simulated_ns = world.events, world.now


def set_apart(kinds: Sequence[str]) -> list[str]:
    """The kinds that strike."""
    return [kind for kind in kinds if kind not in STANDING]


def first_failure(scenario: Scenario, *, faults: int = 6) -> Tape:
    """The tape of the first seed that fails, under so many faults at least."""
    for seed in range(200):
        outcome = run(scenario, Tape(seed), SETTINGS)
        if outcome.failed and outcome.faults >= faults:
            return Tape(seed, record=True)
    raise AssertionError("no seed fails")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is a look at the clock, of which each try takes about one."""
    ticks = count()
    monkeypatch.setattr(shrinking, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))


def assert_replays(scenario: Scenario, small: Shrunk) -> None:
    again = run(scenario, small.tape(), small.settings)
    assert (again.problem, again.faults) == (small.outcome.problem, small.outcome.faults)


@pytest.mark.usefixtures("looks")
def test_what_takes_two_faults_is_left_with_two_faults_and_few_nodes() -> None:
    scenario = Toys(lambda plan, _: struck(plan, "crash", "partition"))
    small = shrink(scenario, first_failure(scenario), SETTINGS, seconds=300)
    assert small.outcome.faults == 2
    assert small.settings.nodes <= FEW_NODES
    assert_replays(scenario, small)


@pytest.mark.usefixtures("looks")
def test_what_is_wrong_with_links_all_the_time_is_left_out_unless_it_takes_that() -> None:
    scenario = Toys(lambda plan, _: struck(plan, "pause") and plan.link.loss > 0.0)
    small = shrink(scenario, first_failure(scenario), SETTINGS, seconds=300)
    assert small.outcome.faults == 2
    assert [kind for kind in small.outcome.plan.split(", ") if kind in STANDING] == ["loss"]
    assert_replays(scenario, small)


@pytest.mark.usefixtures("looks")
def test_what_takes_many_nodes_keeps_them_and_loses_its_faults() -> None:
    scenario = Toys(lambda plan, settings: settings.nodes >= 4 and struck(plan, "isolate"))
    small = shrink(scenario, first_failure(scenario), SETTINGS, seconds=200)
    assert small.settings.nodes in (4, 5)
    assert small.outcome.faults == 1
    assert_replays(scenario, small)


@pytest.mark.usefixtures("looks")
def test_what_takes_no_fault_is_left_with_none() -> None:
    scenario = Toys(lambda plan, _: True)
    small = shrink(scenario, first_failure(scenario, faults=1), SETTINGS, seconds=100)
    assert (small.outcome.faults, small.choices) == (0, 0)
    assert_replays(scenario, small)


@pytest.mark.usefixtures("looks")
def test_another_run_is_told_from_the_one_that_was_to_be_shrunk() -> None:
    scenario = Toys(lambda plan, _: struck(plan, "crash", "partition", "pause"))
    tape = first_failure(scenario)
    steps: list[Shrunk] = []
    small = shrink(scenario, tape, SETTINGS, seconds=300, progress=steps.append)
    for step in steps:
        assert step.is_elsewhere or step.seed == tape.seed
    assert small.outcome.faults == 3


@pytest.mark.usefixtures("looks")
def test_an_exception_on_another_line_is_another_problem() -> None:
    def breaks(plan: FaultPlan, _: Settings) -> bool:
        if struck(plan, "crash", "pause"):
            raise ValueError("two faults")
        if struck(plan, "partition"):
            raise ValueError("one fault")
        return False

    scenario = Toys(breaks)
    tape = next(Tape(seed, record=True) for seed in range(200) if "two" in run(scenario, Tape(seed), SETTINGS).problem)
    small = shrink(scenario, tape, SETTINGS, seconds=200)
    assert "two faults" in small.outcome.problem
    assert small.outcome.faults == 2


class Restless(Toys):
    """Hosts that start again and again at the same instant, where nothing strikes."""

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        super().play(tape, settings, trace, outcome)
        for _ in range(1_000_000):
            trace.started(settings.safety_ns, "n1", "again")
        raise AssertionError("it was not ended")


@pytest.mark.usefixtures("looks")
def test_a_try_in_which_hosts_do_nothing_but_start_is_ended() -> None:
    scenario = Restless(lambda plan, _: struck(plan, "crash", "partition"))
    small = shrink(scenario, first_failure(Toys(scenario.breaks)), SETTINGS, seconds=100)
    assert small.outcome.rule == "toys"
    assert small.outcome.faults == 2


@pytest.mark.usefixtures("looks")
def test_what_does_not_fail_is_refused() -> None:
    with pytest.raises(NotReproducible, match="does not fail"):
        shrink(Toys(lambda *_: False), Tape(1, record=True), SETTINGS, seconds=10)


def test_other_runs_have_few_faults_but_for_those_that_are_as_a_seed_has_them() -> None:
    scenario = Toys(lambda plan, _: struck(plan, "crash", "partition"))
    tape = first_failure(scenario)
    outcome = run(scenario, tape, SETTINGS)
    first = Shrunk(tape.seed, tape.recorded(), SETTINGS, outcome, parts=tape.parts())
    others, quiet = Elsewhere(first), Toys(lambda *_: False)
    ways: dict[str, list[int]] = {}
    for _ in range(60):
        other, settings = others.candidate(first)
        ways.setdefault(others.way, []).append(run(quiet, other, settings).faults)
    as_it_is = ways.pop("as it is")
    assert max(as_it_is) > FEW_FAULTS
    assert max(ways.pop("its faults")) in range(FEW_FAULTS, outcome.faults)
    assert set(ways) == {"its kinds", "all kinds"}
    for faults in ways.values():
        assert max(faults) in range(1, FEW_FAULTS + 1)


def test_what_has_found_something_is_tried_more_often() -> None:
    scenario = Toys(lambda plan, _: struck(plan, "crash"))
    tape = first_failure(scenario)
    first = Shrunk(tape.seed, tape.recorded(), SETTINGS, run(scenario, Tape(tape.seed), SETTINGS))
    others = Elsewhere(first)
    tried: list[str] = []
    for _ in range(60):
        others.candidate(first)
        tried.append(others.way)
        if others.way == "all kinds" and len(tried) % 3 == 0:
            others.found()
    assert tried.count("all kinds") > 20
    assert len(dict.fromkeys(tried)) == 4


@given(seed=st.integers(0, 2**32), left_out=st.sets(st.sampled_from(KINDS)))
def test_a_plan_without_some_kinds_is_the_same_plan_otherwise(seed: int, left_out: set[str]) -> None:
    stream = Stream("plan", seed, record=True)
    whole = draw_plan(stream, FaultOptions(), Link())
    assert stream.record is not None
    assert kinds_on(stream.record, stream.parts) == list(whole.enabled)
    left = without(stream.record, stream.parts, left_out)
    plan = draw_plan(Stream("plan", 0, left, then_zero=True), FaultOptions(), Link())
    assert plan.enabled == tuple(kind for kind in whole.enabled if kind not in left_out)
    plain = FaultPlan((), Link())
    for kind, of in HOW_HARD.items():
        assert of(plan) == of(plain if kind in left_out else whole)


HOW_HARD: dict[str, Callable[[FaultPlan], object]] = {
    "loss": lambda plan: plan.link.loss,
    "tail": lambda plan: (plan.link.tail, plan.link.tail_ns),
    "duplicate": lambda plan: plan.link.duplicate,
    "bandwidth": lambda plan: plan.link.bytes_per_second,
    "slow disk": lambda plan: plan.disk_slow,
    "failing disk": lambda plan: plan.disk_failing,
    "timely": lambda plan: plan.timely,
}


@given(kinds=st.lists(st.sampled_from(KINDS), unique=True))
def test_numbers_of_kinds_draw_a_plan_of_these_kinds(kinds: list[str]) -> None:
    stream = Stream("plan", 1, record=True)
    draw_plan(stream, FaultOptions(), Link())
    plan = draw_plan(Stream("plan", 1, numbers_of(kinds, stream.parts)), FaultOptions(), Link())
    assert plan.enabled == tuple(kind for kind in KINDS if kind in kinds)


def test_a_scenario_without_a_plan_is_looked_at_elsewhere_as_well() -> None:
    first = Shrunk(1, {"net/a": [0.5]}, SETTINGS, Outcome(1, rule="toys"))
    others = Elsewhere(first)
    drawn, nodes = [], []
    for _ in range(20):
        tape, settings = others.candidate(first)
        drawn.append(tape.stream("net/a").raw())
        nodes.append(settings.nodes)
    assert len(dict.fromkeys(drawn)) == 20
    assert set(nodes) <= {FEW_NODES, SETTINGS.nodes}
