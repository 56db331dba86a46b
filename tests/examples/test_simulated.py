"""The examples that run under simulation: a handful of seeds here, and as many as one likes by command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from casty_sim.__main__ import main
from casty_sim.simulation import Simulated
from examples.bank.simulated import test_no_money_is_lost as bank
from examples.sensors.simulated import test_everything_arrives as sensors

from .programs import execute


@pytest.mark.parametrize(("simulated", "seeds"), [(bank, range(3)), (sensors, range(3))], ids=["bank", "sensors"])
def test_a_handful_of_seeds(simulated: Simulated, seeds: range) -> None:
    summary = simulated.campaign(seeds)
    assert not summary.failures, summary.failures[0].problem
    assert summary.reached


def test_the_command_runs_an_example_as_it_asks_to_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    name = "examples.bank.simulated:test_no_money_is_lost"
    assert main(["replay", name, "0"]) == 0
    assert "seed 0, 5 nodes" in capsys.readouterr().out
    assert main(["run", name, "--seeds", "1", "--jobs", "1", "--nodes", "3", "--duration", "2", "--no-faults"]) == 0
    out = capsys.readouterr().out
    assert f"{name}: 1 seeds, 0 failed" in out
    assert re.search(r"^ +0  a transfer was said again$", out, re.MULTILINE)


def test_a_bank_that_forgets_what_was_said_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the memory of answers, a transfer that is said again counts twice."""
    from examples.bank.account import Account

    monkeypatch.setattr(Account, "_transfer", lambda self, msg, ctx: ctx.reply(self._pay(msg)))
    [found] = bank.campaign(range(8), stop_at_first=True).failures
    assert "the tellers were told of" in found.problem or "has no order" in found.problem


def test_the_bank_runs_on_real_sockets_and_its_books_are_right(tmp_path: Path) -> None:
    done = execute("-m", "examples.bank", "--seconds", "1.5", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^branch-1 has handed over its accounts$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("the books are right: 600 in all, and each transfer counted once\n")
    assert "Traceback" not in done.stderr
