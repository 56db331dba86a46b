"""`simulate`: campaigns, failures, and what is said of them, as pytest and scripts see them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_sim import determinism
from casty_sim.determinism import CheckError, Difference, check
from casty_sim.simulation import Faults, Sim, SimulationFailedError, simulate
from casty_sim.simulation.closer import look_closer
from casty_sim.tape import Tape

from . import programs

HERE = "tests.sim.simulation.programs"


def test_calling_it_runs_all_seeds_and_counts_what_was_reached() -> None:
    summary = programs.answers()
    assert (summary.seeds, summary.failures, summary.reached) == (3, [], {"answered": 3})


def test_a_failure_names_the_seed_the_line_the_faults_and_the_command() -> None:
    with pytest.raises(SimulationFailedError) as caught:
        programs.never_down()
    text = str(caught.value)
    seed = caught.value.summary.failures[0].seed
    assert f"seed {seed} of never_down broke AssertionError in programs.py:never_down: line" in text
    assert "a node was down" in text
    assert f"::never_down --sim-seed {seed} --sim-trace" in text
    assert "crash" in text.partition("faults of this seed:")[2].partition("\n")[0]


def test_a_closer_look_finds_a_smaller_run_and_writes_its_tape_and_its_page(tmp_path: Path) -> None:
    seed = next(seed for seed in range(20) if programs.never_down.run(seed).failed)
    lines = look_closer(programs.never_down, seed, tmp_path, 10.0)
    assert "smallest run that was found" in lines[0]
    tape, about = Tape.load(tmp_path / f"never_down-{seed}.tape")
    assert about["settings"]["nodes"] <= 3
    assert about["rule"] == "AssertionError in programs.py:never_down"
    assert sum(value != 0.0 for values in tape._played.values() for value in values) <= 8
    assert "<html" in (tmp_path / f"never_down-{seed}.html").read_text(encoding="utf-8")


def test_seeds_may_be_spread_over_processes() -> None:
    summary = programs.answers.campaign(range(4), jobs=2)
    assert (summary.seeds, summary.failures) == (4, [])


def test_a_test_within_a_function_runs_in_one_process_only_and_says_why() -> None:
    async def inside(sim: Sim) -> None:
        await asyncio.sleep(1)

    simulated = simulate(nodes=1, faults=Faults.none())(inside)
    assert simulated.campaign(range(2)).seeds == 2
    with pytest.raises(TypeError, match="was made in a function, where another process cannot find it: use one job"):
        simulated.campaign(range(4), jobs=2)


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_hypothesis_may_choose_the_seed(seed: int) -> None:
    assert not programs.answers.run(seed).failed


async def wants_more(sim: Sim, tmp_path: Path) -> None:
    await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: programs.answers.run(-1), "a seed is a whole number of 0 or more, and not -1"),
        (lambda: simulate(seeds=0), "seeds"),
        (lambda: simulate(nodes=0), "nodes"),
        (lambda: simulate(duration=0), "duration"),
        (lambda: Faults.only("earthquake"), "there is no kind of fault 'earthquake'; there are loss,"),
        (lambda: Faults(down_at_once=-1), "down_at_once"),
        (lambda: Faults(drift=1.0), "drift"),
        (lambda: simulate(unhandled="all"), "unhandled"),  # type: ignore[arg-type]
        (lambda: simulate(reach="leader"), "a tuple of names, not 'leader'"),
        (lambda: simulate()(wants_more), "wants_more is given the Sim and nothing else"),  # type: ignore[arg-type]
        (lambda: simulate()(lambda sim: None), "no coroutine function"),  # type: ignore[arg-type, return-value]
        (lambda: simulate()(programs.takes_more), "given the Sim and nothing else.*'tmp_path'"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(call: object, text: str) -> None:
    assert callable(call)
    with pytest.raises((ValueError, TypeError), match=text):
        call()


def test_a_closer_look_says_where_it_can_write_nothing(tmp_path: Path) -> None:
    seed = next(seed for seed in range(20) if programs.never_down.run(seed).failed)
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert "no report could be written" in look_closer(programs.never_down, seed, taken, 0.0)[-1]


def test_a_closer_look_at_what_does_not_fail_again_says_so(tmp_path: Path) -> None:
    assert "it did NOT fail" in look_closer(programs.answers, 0, tmp_path, 1.0)[0]


# -- determinism -------------------------------------------------------------------------------------------------------


def compared(name: str, seeds: int, nodes: int) -> list[Difference]:
    simulated = getattr(programs, name)
    options = {"scenario": f"{HERE}:{name}", "mutant": "", "module": ""}
    found = check(options, simulated.options.settings(), range(seeds))
    return [each for each in found if isinstance(each, Difference)]


def test_seeds_do_the_same_in_processes_that_differ_in_all_that_must_not_matter() -> None:
    assert compared("answers", 4, 2) == []


def test_what_depends_on_the_process_is_found_and_the_first_event_pointed_at() -> None:
    first = compared("by_hash", 2, 1)[0]
    assert first.events[0] != first.events[1]
    assert first.before, "what was the same before is shown"
    assert "is not deterministic" in first.words()
    assert "the order of a set" in first.words()
    assert any(" runs " in line for line in first.before), "callbacks are events as well"
    named = [line.split(" ")[1] for line in (*first.before, *first.events)]
    assert set(named) <= {"n1", "test"}, "hosts are called what the test calls them"
    # The second question is the first that differs, and its bytes are in the event.
    assert "first" not in first.events[0]
    assert first.number > 10


@pytest.mark.parametrize(
    ("python", "text"),
    [
        ("#!/bin/sh\nexit 3", "that was to run seeds \\[0\\] ended with 3"),
        ("#!/bin/sh\necho well", "ended without their digests:\nwell"),
        ("#!/bin/sh\nexec sleep 20", "has not ended after 0.2 s"),
        ("", "could not be started"),
    ],
)
def test_a_process_that_says_nothing_of_its_seeds_is_an_error_with_the_reason(
    python: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(determinism, "CHUNK_SECONDS", 0.2 if "sleep" in python else 60.0)
    path = tmp_path / "python"
    path.write_text(python)
    path.chmod(0o700 if python else 0o600)
    order = {"seeds": [0]}
    with pytest.raises(CheckError, match=text):
        determinism._run(order, 0, str(path))


def test_a_program_may_print_whatever_it_wants_also_at_its_exit(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\necho hello\necho \'digests of seeds: {"0": "ab"}\'\necho goodbye')
    path.chmod(0o700)
    assert determinism._run({"seeds": [0]}, 0, str(path)) == {"0": "ab"}


# -- pytest ------------------------------------------------------------------------------------------------------------

WELL = """
from tests.sim.simulation.programs import answers as test_answers
"""
REACHES = """
from casty_sim import simulate

@simulate(seeds=2, nodes=1, reach=("here", "there"))
async def test_reaches(sim):
    sim.reach("here")
"""
MADE = """
from casty_sim import simulate

def made():
    @simulate(seeds=1, nodes=1)
    async def test(sim):
        assert sim.clock > 0.0, "nothing was done"
    return test

test_made = made()
"""
BROKEN = """
from tests.sim.simulation.programs import never_down as test_never_down
"""


def test_a_simulated_test_is_one_item_with_a_line_in_the_summary(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=WELL)
    result = pytester.runpytest("--sim-seeds", "2")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*= simulation =*", "test_it.py::test_answers: 2 seeds, */s, all is well"])


def test_a_state_that_no_seed_came_to_is_named_though_all_is_well(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=REACHES)
    result = pytester.runpytest()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_it.py::test_reaches: 2 seeds, *", "  never reached: there"])
    result.stdout.no_fnmatch_line("*never reached: here")
    assert "never reached" not in pytester.runpytest("--sim-seed", "1").stdout.str(), "of one run nobody expects all"


def test_a_failing_seed_fails_the_item_with_its_report_and_tape(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=BROKEN)
    result = pytester.runpytest("--sim-shrink", "3", "--sim-report", "found")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["seed * of never_down broke *a node was down*", "*smallest run*", "*report: found/*.html"]
    )
    tape = next((pytester.path / "found").glob("*.tape"))
    again = pytester.runpytest("--sim-tape", str(tape), "--sim-trace")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*crash*power cut*"])
    again.stdout.fnmatch_lines([f"*again: python -m pytest test_it.py::test_never_down --sim-tape {tape} --sim-trace"])
    # Of the tape, and not of the seed with what the test asks for.
    again.stdout.fnmatch_lines([f"*nodes: {Tape.load(tape)[1]['settings']['nodes']};*"])
    other = pytester.makepyfile(test_other=WELL)
    nothing = pytester.runpytest(str(other), "--sim-tape", str(tape))
    nothing.assert_outcomes(skipped=1)
    nothing.stdout.fnmatch_lines([f"nothing was run: {tape} is a tape of *:never_down"])


def test_a_test_that_a_function_made_is_called_what_pytest_calls_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=MADE)
    result = pytester.runpytest("--sim-shrink", "0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*again: python -m pytest test_it.py::test_made --sim-seed 0 --sim-trace", "*report: *test_made-0.html"]
    )
    spread = pytester.runpytest("--sim-jobs", "2")
    spread.assert_outcomes(failed=1)
    spread.stdout.fnmatch_lines(
        [
            "seed 0 of * broke AssertionError in *nothing was done",
            "  run in one process: made.<locals>.test was made in a function, where another process cannot find it",
        ]
    )


def test_one_seed_can_be_run_with_its_trace(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=WELL)
    result = pytester.runpytest("--sim-seed", "1", "--sim-trace")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*n1*start*start 1*"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--sim-trace"], "*--sim-trace prints one run: say which*"),
        (["--sim-seeds", "0"], "*--sim-seeds: must be a whole number of 1 or more, not '0'*"),
        (["--sim-seed", "one"], "*--sim-seed: must be a whole number of 0 or more, not 'one'*"),
        (["--sim-seed", "1", "--sim-seeds", "2"], "*--sim-seeds and --sim-seed both say what to run*"),
        (["--sim-tape", "no.tape"], "*--sim-tape: no.tape cannot be read as a tape*"),
    ],
)
def test_options_that_make_no_sense_are_refused(pytester: pytest.Pytester, options: list[str], text: str) -> None:
    pytester.makepyfile(test_it=WELL)
    result = pytester.runpytest(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([text])


MARKED = """
import pytest
from tests.sim.simulation.programs import answers, never_down

test_answers = pytest.mark.slow(answers)
test_never_down = pytest.mark.skip(reason="not today")(never_down)
"""
IN_A_CLASS = """
from casty_sim import Faults, simulate

class TestShop:
    @staticmethod
    @simulate(seeds=2, nodes=1, faults=Faults.none())
    async def test_opens(sim):
        assert sim.nodes == ("n1",)
"""
FIXTURES = """
import pytest
from casty_sim import simulate

@pytest.mark.usefixtures("tmp_path")
@simulate()
async def test_files(sim):
    assert sim.nodes
"""


def test_marks_of_pytest_are_obeyed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=MARKED)
    pytester.makeini("[pytest]\nmarkers = slow")
    pytester.runpytest_subprocess().assert_outcomes(passed=1, skipped=1)
    pytester.runpytest_subprocess("-m", "slow").assert_outcomes(passed=1, deselected=1)


def test_marks_that_have_no_effect_are_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=FIXTURES)
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_files is simulated, and pytest.mark.usefixtures has no effect*"])


def test_a_simulated_test_may_be_in_a_class(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=IN_A_CLASS)
    result = pytester.runpytest("--sim-jobs", "2")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_it.py::TestShop::test_opens: 2 seeds, *"])
