"""Seeds that are spread over processes: what comes back from them, and what is said where nothing does."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from casty_sim.__main__ import main
from casty_sim.campaign import NotSentError, WorkerError
from casty_sim.simulation import Faults, Simulated, simulate

from . import programs

ENDS_ITSELF = "a process that ran seeds has ended with status 3, and nothing is known about its seeds"
made_of_it = simulate(seeds=4, nodes=1, faults=Faults.none())(programs.body)
"""Has another name than its function."""


def script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a script of that text, with one argument."""
    path = folder / "script.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
    )


SCRIPT = """
from casty_sim import Faults, simulate

@simulate(seeds=4, nodes=1, faults=Faults.none())
async def hears(sim):
    sim.reach("heard")

"""
GUARDED = SCRIPT + 'if __name__ == "__main__":\n    print(hears.campaign(jobs=2).reached)\n'
UNGUARDED = SCRIPT + "print(hears.campaign(jobs=2).reached)\n"


def test_a_script_may_run_its_own_test_in_several_processes(tmp_path: Path) -> None:
    done = script(tmp_path, GUARDED)
    assert (done.stdout, done.stderr) == ("{'heard': 4}\n", "")


def test_a_script_without_a_guard_is_told_to_have_one_and_nothing_else(tmp_path: Path) -> None:
    done = script(tmp_path, UNGUARDED)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("Traceback") == 1, "not those of the processes as well"
    assert 'call it below `if __name__ == "__main__":`, or use one job' in done.stderr.splitlines()[-1]


def test_what_is_in_no_file_is_run_in_one_process_only_and_says_why() -> None:
    run = [sys.executable, "-c", SCRIPT + "print(hears.campaign(jobs=1).reached); hears.campaign(jobs=2)"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "{'heard': 4}\n"
    assert "NotSentError: hears of __main__ is in no file" in done.stderr.splitlines()[-1]


def test_a_test_may_have_another_name_than_its_function() -> None:
    assert made_of_it.campaign(jobs=2).reached == {"was there": 4}


def test_a_function_whose_name_is_taken_by_another_one_is_not_mistaken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "body", programs.answers)
    with pytest.raises(NotSentError, match=r"body of .*programs is not there by that name"):
        made_of_it.campaign(jobs=2)
    monkeypatch.delattr(programs, "body")
    with pytest.raises(NotSentError, match="not there by that name for another process: use one job"):
        made_of_it.campaign(jobs=2)


def test_a_module_that_another_process_cannot_import_is_an_error_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone_soon.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)
    hears: Simulated = import_module("gone_soon").hears
    (tmp_path / "gone_soon.py").write_text("raise LookupError('not any more')")
    with pytest.raises(NotSentError, match=r"cannot find what it is to run: use one job .LookupError: not any more"):
        hears.campaign(jobs=2)
    del sys.modules["gone_soon"]


def test_a_process_that_is_gone_is_an_error_with_the_way_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkerError, match=ENDS_ITSELF):
        programs.ends_the_process.campaign(jobs=2)
    assert main(["run", f"{programs.__name__}:ends_the_process", "--jobs", "2"]) == 2
    assert f"casty_sim: {ENDS_ITSELF}" in capsys.readouterr().err


OUTCOMES = """
import pytest, unittest
from casty_sim import simulate

@simulate(seeds=20, nodes=1)
async def test_skips(sim):
    if sim.seed == 10:
        pytest.skip("not here")

@simulate(seeds=20, nodes=1)
async def test_skips_as_unittest_does(sim):
    raise unittest.SkipTest("nor here")

@simulate(seeds=20, nodes=1)
async def test_is_known(sim):
    pytest.xfail("is known")

@simulate(seeds=20, nodes=1)
async def test_fails(sim):
    if sim.seed == 9:
        pytest.fail("says why")
"""
LEAVES = """
import pytest
from casty_sim import simulate

@simulate(seeds=20, nodes=1)
async def test_leaves(sim):
    pytest.exit("all of it", returncode=7)
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_outcomes_of_pytest_are_the_same_from_other_processes(pytester: pytest.Pytester, jobs: str) -> None:
    pytester.makepyfile(test_it=OUTCOMES)
    result = pytester.runpytest("--sim-jobs", jobs, "-rsx", "--sim-shrink", "0")
    result.assert_outcomes(skipped=2, xfailed=1, failed=1)
    result.stdout.fnmatch_lines(["seed 9 of test_fails broke Failed in test_it.py:test_fails: *says why*"])
    result.stdout.fnmatch_lines_random(["SKIPPED*test_it.py:*not here", "SKIPPED*nor here", "XFAIL*test_is_known*"])


def test_a_process_that_is_gone_fails_the_test_with_the_way_it_went(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it="from tests.sim.simulation.programs import ends_the_process as test_ends")
    result = pytester.runpytest("--sim-jobs", "2")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"--sim-jobs: {ENDS_ITSELF}*"])


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_test_may_end_the_session(pytester: pytest.Pytester, jobs: str) -> None:
    pytester.makepyfile(test_it=LEAVES)
    result = pytester.runpytest("--sim-jobs", jobs)
    assert result.ret == 7
    result.stdout.fnmatch_lines(["*Exit: all of it*"])
