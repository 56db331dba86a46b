"""Running a program as its reader would: by its path, in a process of its own, from some other folder."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "__init__.py")
ANNOUNCED = "It prints:\n"
TIMEOUT = 50.0


def command(program: Path | str, *arguments: str) -> list[str]:
    """The command line that runs a program. Warnings are shown, so that tests see them."""
    return [sys.executable, "-W", "always", str(program), *arguments]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a user whose terminal speaks UTF-8. The packages are found where this tree is."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **(changes or {})}


def execute(program: Path | str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in `folder` to its end."""
    return subprocess.run(
        command(program, *arguments),
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
    )


def announced(program: Path) -> str | None:
    """What the docstring of a program says that it prints, or `None` if it does not say."""
    text = ast.get_docstring(ast.parse(program.read_text(encoding="utf-8")))
    if text is None or ANNOUNCED not in text:
        return None
    return textwrap.dedent(text.partition(ANNOUNCED)[2]).strip("\n") + "\n"
