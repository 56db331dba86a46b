"""Directories of simulated disks: gone when they are not in use any more, however the process went that used them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from casty_sim import directories
from casty_sim.directories import PREFIX, new_directory, remove_left

OTHER = """
import sys
from pathlib import Path
from casty_sim.directories import new_directory
made = new_directory("n1", Path(sys.argv[1]))
(made.path / "file").write_text("x")
print(made.path, flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(not directories.HAS_LOCKS, reason="this system has no locks of files")


@contextmanager
def another_process(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """One that has a directory there, and lives until its end."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_what_a_killed_process_has_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    with another_process(tmp_path) as (killed, left):
        killed.send_signal(signal.SIGKILL)
        killed.wait(30)
    assert (left / "file").exists()
    made = new_directory("n2", tmp_path)
    assert sorted(tmp_path.iterdir()) == [made.path]
    made.remove()
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_living_process_stays_while_it_lives(tmp_path: Path) -> None:
    with another_process(tmp_path) as (living, used):
        own = new_directory("n2", tmp_path)
        remove_left(tmp_path)
        assert (used / "file").read_text() == "x"
        assert own.path.exists(), "nor does it remove its own"
        living.kill()
        living.wait(30)
        remove_left(tmp_path)
        assert sorted(tmp_path.iterdir()) == [own.path]
        own.remove()


def test_nothing_else_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "casty-sim-n1-abc").mkdir()
    (tmp_path / f"{PREFIX}file").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.iterdir())
    remove_left(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / f"{PREFIX}n1.of_another_user").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os, "getuid", lambda: os.geteuid() + 1)
        remove_left(tmp_path)
    assert (tmp_path / f"{PREFIX}n1.of_another_user").exists()
    remove_left(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_one_that_another_process_removes_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = directories._locked
    taken: list[Path] = []

    def late(path: Path, *, wait: bool) -> int | None:
        if wait and len(taken) < 2:
            taken.append(path)
            if len(taken) == 1:
                # Before it is opened, and, the second time, between that and the lock.
                path.rmdir()
            else:
                descriptor = locked(path, wait=True)
                path.rmdir()
                return descriptor
        return locked(path, wait=wait)

    monkeypatch.setattr(directories, "_locked", late)
    made = new_directory("n1", tmp_path)
    assert len(taken) == 2
    assert made.path not in taken
    assert sorted(tmp_path.iterdir()) == [made.path]
    made.remove()


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "HAS_LOCKS", False)
    left = tmp_path / f"{PREFIX}n1.abc"
    left.mkdir()
    made = new_directory("n2", tmp_path)
    assert left.exists()
    made.remove()
    assert sorted(tmp_path.iterdir()) == [left]
