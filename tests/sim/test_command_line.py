"""`python -m casty_sim`: what is refused, what is printed, and that what is printed can be typed in."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from casty_proto.machine import SECOND
from casty_proto.raft import Raft
from casty_sim.__main__ import main
from casty_sim.scenario import Outcome, Scenario, Settings, run
from casty_sim.scenarios.raft import RaftScenario
from casty_sim.tape import Tape, TapeError
from casty_sim.trace import Trace

ROOT = Path(__file__).parent.parent.parent


class Careless(RaftScenario):
    """A scenario of one's own, with a machine that votes for anybody."""

    name = "careless"

    def __init__(self) -> None:
        super().__init__(Anybody)


class Anybody(Raft):
    """Votes for whoever asks."""

    __slots__ = ()

    def _would_vote(self, *_: object) -> bool:
        return True


class Broken(Scenario):
    """Fails with an exception that nobody expects."""

    name = "broken"
    help = "raises"

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        raise LookupError("where is it?")


class Empty(Scenario):
    """Does nothing at all."""

    name = "empty"
    help = "nothing"

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        return


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("run raft --nodes 0", "must be 1 or more"),
        ("run raft --nodes five", "invalid whole number"),
        ("run raft --seeds 0", "must be 1 or more"),
        ("run raft --first -3", "must be 0 or more"),
        ("run raft --jobs 0", "must be 1 or more"),
        ("run raft --duration nan", "must be more than 0"),
        ("run raft --duration inf", "at most 3600 seconds"),
        ("run raft --duration -1", "must be more than 0"),
        ("shrink raft 1 --seconds 0", "must be more than 0"),
        ("replay raft 1 --save /no/such/folder/x.tape", "cannot be written"),
        ("mutants --nodes 0", "must be 1 or more"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_before_anything_runs(
    arguments: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("run rafts", "there is no scenario 'rafts'; there are raft, swim"),
        ("run no.module:Thing", "no scenario that can be made"),
        ("run tests/test_it.py::test_it", "is a file: give the module that it is, as in tests.test_it:test_it"),
        ("run os:getcwd", "is no scenario: it must be a test made with simulate"),
        ("run casty_sim.tape:TapeError", "or a subclass of casty_sim.scenario.Scenario"),
        ("run raft --mutant Nobody", "no mutant 'Nobody' of raft"),
        ("replay raft 1.5", "neither a seed"),
        ("mutants --only zzz", "no mutant of tests.sim.mutants has 'zzz'"),
        ("shrink raft 1 --duration 1", "does not fail"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(
    arguments: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    assert text in capsys.readouterr().err


def test_every_command_helps_and_says_what_its_exit_status_means(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("list", "run", "replay", "shrink", "mutants"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert "Exit status: 0 when all is well" in capsys.readouterr().out.replace("\n", " ")


def test_a_failure_is_printed_first_with_commands_that_can_be_typed_in(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"{__name__}:Careless"
    assert main(["run", own, "--seeds", "50", "--jobs", "1", "--no-faults", "--duration", "3.1234567"]) == 1
    out = capsys.readouterr().out
    assert out.index(" broke ") < out.index("reached in how many runs")
    assert "stopped at the first failure" in out
    problem = out.partition(" broke ")[2].partition("\n")[0]
    replay = out.partition("replay: python -m casty_sim ")[2].partition("\n")[0]
    assert main(shlex.split(replay)) == 1
    replayed = capsys.readouterr().out
    assert f"broke {problem}" in replayed
    assert "BROKEN" in replayed
    monkeypatch.chdir(tmp_path)
    shrunk = out.partition("shrink: python -m casty_sim ")[2].partition("\n")[0]
    assert main([*shlex.split(shrunk), "--seconds", "1", "--save", "small.tape"]) == 1
    again = capsys.readouterr().out.partition("replay: python -m casty_sim ")[2]
    assert main(shlex.split(again)) == 1
    assert main(["replay", "raft", "small.tape"]) == 2
    assert "not of raft" in capsys.readouterr().err


def test_a_trace_shows_who_says_what_to_whom_and_what_becomes_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "raft", "4", "--trace"]) == 0
    out = capsys.readouterr().out
    assert " to n2, +0." in out
    assert "LOST" in out
    assert "asks" in out
    assert "Committed(" in out
    assert "applies" in out
    assert "over: " in out


def test_an_exception_that_nobody_expected_is_shown_with_where_it_came_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = f"{__name__}:Broken"
    assert main(["run", own, "--seeds", "1", "--jobs", "1"]) == 1
    assert "broke no exceptions: test_command_line.py" in capsys.readouterr().out
    assert main(["replay", own, "0"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().out


def test_json_says_how_to_replay_and_with_which_settings(capsys: pytest.CaptureFixture[str]) -> None:
    own = f"{__name__}:Careless"
    assert main(["run", own, "--seeds", "50", "--jobs", "1", "--json"]) == 1
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert content["settings"]["seeds"] == 50
    (failure,) = content["failures"]
    assert failure["replay"].startswith(f"python -m casty_sim replay {own} {failure['seed']} ")


def test_a_mutant_can_be_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "raft", "0", "--mutant", "AnswerAtOnce"]) == 1
    assert "broke durability" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"format": 1, "seed": "x", "streams": {}}',
        '{"format": 1, "seed": 1, "streams": []}',
        '{"format": 1, "seed": 1, "streams": {"a": null}}',
        '{"format": 1, "seed": 1, "streams": {"a": [1.5]}}',
        '{"format": 1, "seed": 1, "streams": {"a": [true]}}',
        '{"format": 1, "seed": 1, "streams": {}, "about": []}',
        '{"format": 1, "seed": 1, "streams": {}, "about": {"settings": []}}',
        '{"format": 1, "seed": 1, "streams": {}, "about": {"settings": {"colour": 1}}}',
        '{"format": 1, "seed": 1, "streams": {}, "about": {"settings": {"nodes": "five"}}}',
        "\x00\x01",
    ],
)
def test_a_file_that_is_no_tape_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.tape"
    file.write_text(content)
    assert main(["replay", "raft", str(file)]) == 2
    assert "casty_sim: " in capsys.readouterr().err


def test_a_tape_is_played_once() -> None:
    tape = Tape(1)
    run(Empty(), tape)
    with pytest.raises(TapeError, match="was played before"):
        run(Empty(), tape)


def test_a_tape_whose_failure_is_gone_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "old.tape"
    about = {"scenario": "raft", "settings": {"safety_ns": SECOND}, "rule": "durability"}
    file.write_text(json.dumps({"format": 1, "seed": 1, "streams": {}, "about": about}))
    assert main(["replay", "raft", str(file)]) == 0
    assert "saved when it broke durability" in capsys.readouterr().out


def test_an_interrupt_prints_what_was_found_so_far() -> None:
    command = [sys.executable, "-m", "casty_sim", "run", "raft", "--seeds", "100000", "--jobs", "1"]
    terminal, its_end = pty.openpty()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=its_end, text=True) as process:
        os.close(its_end)
        # On a terminal it shows how far it has come: now it is at work.
        err = os.read(terminal, 4096)
        os.kill(process.pid, signal.SIGINT)
        with suppress(OSError):  # That is how a terminal ends of which the other side is closed.
            while more := os.read(terminal, 4096):
                err += more
        out, _ = process.communicate(timeout=30)
    os.close(terminal)
    assert process.returncode == 130, err
    assert "interrupted after" in out
    assert b"Traceback" not in err


def test_states_are_counted_whether_a_test_has_named_them_before_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    for name, state in (("answers", "answered"), ("names_nothing", "seen")):
        assert main(["run", f"tests.sim.simulation.programs:{name}", "--seeds", "2", "--jobs", "1"]) == 0
        assert f"reached in how many runs:\n       2  {state}\n" in capsys.readouterr().out
