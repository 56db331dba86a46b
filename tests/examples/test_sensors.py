"""The sensor pipeline runs as the README says: four processes, one of which is killed, and everything arrives."""

from __future__ import annotations

import re
from pathlib import Path

from .programs import execute


def test_everything_arrives_although_a_node_is_killed(tmp_path: Path) -> None:
    done = execute("-m", "examples.sensors", "--count", "40", "--interval", "0.01", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    checks = re.findall(r"^  ([✓✗]) (.+)$", done.stdout, re.MULTILINE)
    assert [mark for mark, _ in checks] == ["✓"] * 6
    assert checks[0][1] == "120 of 120 readings have arrived, each once, in order"
    assert re.fullmatch(r"(\d+) of \1 alerts have arrived", checks[1][1])
    assert re.search(r"^\S+ show     killing node-[12] \(process \d+\) with SIGKILL$", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout


def test_what_cannot_be_done_in_time_is_given_up_and_the_exit_status_says_so(tmp_path: Path) -> None:
    done = execute("-m", "examples.sensors", "--timeout", "0.5", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout.endswith("\nnot complete after 0.5 s\n")
