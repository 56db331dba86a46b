"""The kitchen and the waiter, in two processes: what each prints is what the example's text says."""

from __future__ import annotations

import ast
import subprocess
import textwrap
from pathlib import Path

from .programs import ROOT, TIMEOUT, command, environment, execute

PROGRAM = ROOT / "examples" / "two_terminals.py"


def announced(who: str) -> str:
    """What the docstring says that one of the two prints."""
    text = ast.get_docstring(ast.parse(PROGRAM.read_text(encoding="utf-8"))) or ""
    block = text.partition(f"{who} prints:\n" if who == "The waiter" else "and the kitchen:\n")[2].lstrip("\n")
    lines = [line for line in block.split("\n\n")[0].splitlines() if line.startswith("    ")]
    assert lines, who
    return textwrap.dedent("\n".join(lines)) + "\n"


def test_the_two_programs_talk_to_each_other(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(PROGRAM, "kitchen", "--port", "0"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as kitchen:
        assert kitchen.stdout is not None
        opened, port = kitchen.stdout.readline(), kitchen.stdout.readline().strip().rpartition(":")[2]
        try:
            waiter = execute(PROGRAM, "waiter", "--port", port, folder=tmp_path)
            output, errors = kitchen.communicate(timeout=TIMEOUT)
        finally:
            kitchen.kill()
    assert waiter.stdout == announced("The waiter")
    assert waiter.stderr == ""
    assert waiter.returncode == 0
    assert opened + output == announced("the kitchen")
    assert "KeyError: 'Lobster'" in errors
    assert kitchen.returncode == 0


def test_without_a_kitchen_the_waiter_says_so(tmp_path: Path) -> None:
    done = execute(PROGRAM, "waiter", "--port", "1", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Is the kitchen open? casty://diner@127.0.0.1:1/kitchen cannot be looked up: ")
