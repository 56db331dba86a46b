"""The corpus: minimal tapes of failures, replayed by every run of the tests.

Each tape says which rule it broke. With the planted bug that it names, it still does; without, nothing is broken. A
tape that names no bug is one of a bug that was mended. A new one is made by

    python -m casty_sim shrink SCENARIO SEED --save tests/sim/corpus/NAME.tape

with `--mutant NAME` for a planted bug.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from casty_sim.campaign import limited
from casty_sim.mutants import load
from casty_sim.scenario import Outcome, Scenario, Settings, run
from casty_sim.scenarios import SCENARIOS
from casty_sim.tape import Tape

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.tape"))
LARGEST = 64 * 1024


def played(path: Path, scenario_of: Any) -> tuple[Outcome, dict[str, Any]]:
    """What comes of a tape."""
    tape, about = Tape.load(path)
    with limited():
        return run(scenario_of(about), tape, Settings(**about["settings"])), about


def with_the_bug(about: dict[str, Any]) -> Scenario:
    """The scenario of a tape, with the planted bug in it."""
    return next(mutant.scenario for mutant in load() if mutant.name == about["mutant"])


def test_there_are_tapes_of_both_levels() -> None:
    scenarios = {Tape.load(path)[1]["scenario"] for path in CORPUS}
    assert {"raft", "cluster", "app-cluster"} <= scenarios


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_tape_is_small_and_says_what_it_is_of(path: Path) -> None:
    _, about = Tape.load(path)
    assert path.stat().st_size <= LARGEST
    assert about["rule"]
    assert about["problem"].startswith(about["rule"])
    assert about["scenario"] in SCENARIOS


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_tape_breaks_its_rule_with_the_bug_and_nothing_without(path: Path) -> None:
    found, about = played(path, lambda about: SCENARIOS[about["scenario"]])
    assert not found.failed, found.problem
    if about["mutant"]:
        found, _ = played(path, with_the_bug)
        assert found.rule == about["rule"], found.problem
