"""The disk of a simulated host, as applications see it: a directory of real files, of which a power cut takes what was
not synced.

Rules
-----
1.  What is written to a file is there for the program at once, and survives its end. It survives a power cut when
    `os.fsync` was called for the file since then.
2.  A power cut takes each file that was not synced back to how it was when it last was; or it stays as it is; or it is
    torn, which is to say that a part of it is there. Which of these is drawn for each file.
3.  Renaming and removing are durable at once, and a name stays what it was for all that was in the file.
4.  Files of SQLite are durable when a transaction is, as SQLite sees to that by itself. A power cut undoes transactions
    that had not been committed.
5.  On a full disk nothing can be opened for writing, synced or committed. On a failing one these fail now and then.
6.  Outside of its disk a host can read, and write nothing.

Files are written at once; what takes time is what the program waits for in an executor.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .boundary import Absent, refuse
from .disk import Disk, DiskProfile
from .loop import running
from .tape import Stream

_OUTSIDE = Absent(
    "a host has a disk of its own, and shares no files with others", "Use a path below the disk of the host"
)


class FileDisk(Disk):
    """The files of one host, over all its lives. Its directory is made when it is first asked for."""

    def __init__(self, name: str, choices: Stream, profile: DiskProfile | None = None) -> None:
        super().__init__(choices, profile)
        self._name = name
        self.may_fail: Callable[[], bool] = _always
        """Whether the world can bear it right now that a write fails."""
        self._choices = choices
        self._root: Path | None = None
        self._unsynced: dict[str, bytes | None] = {}
        """Files that are not as they would be after a power cut, and how they would be; `None`: not there."""
        self._descriptors: dict[int, str] = {}
        self._connections: list[sqlite3.Connection] = []

    @property
    def root(self) -> Path:
        """Its directory."""
        if self._root is None:
            memory = Path("/dev/shm")
            parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
            with running.outside():
                self._root = Path(tempfile.mkdtemp(prefix=f"casty-sim-{self._name}-", dir=parent))
        return self._root

    def holds(self, path: Any) -> bool:
        """Whether a path is on this disk."""
        return self._root is not None and Path(os.path.abspath(path)).is_relative_to(self._root)

    # -- what programs do ----------------------------------------------------------------------------------------------

    def before_write(self, path: Any) -> str:
        """A file is about to be written. Returns its full path. Raises what the program would see."""
        full: str = os.path.abspath(os.fspath(path))
        if not self.holds(full):
            refuse(f"writing to {full}", _OUTSIDE)
        self.check()
        with running.outside():
            self._remember(full)
        return full

    def _remember(self, full: str) -> None:
        if full not in self._unsynced:
            self._unsynced[full] = _content(full)

    def opened(self, descriptor: int, path: str) -> None:
        """A file has been opened for writing."""
        self._descriptors[descriptor] = path

    def synced(self, descriptor: int) -> None:
        """A file was synced."""
        self.check()
        path = self._descriptors.get(descriptor)
        if path is not None:
            self._unsynced.pop(path, None)

    def renamed(self, old: Any, new: Any) -> None:
        """A file has another name now (rule 3)."""
        before = self._unsynced.pop(os.path.abspath(old), None)
        self._unsynced.pop(os.path.abspath(new), None)
        if before is not None:
            self._unsynced[os.path.abspath(new)] = before

    def removed(self, path: Any) -> None:
        """A file is gone."""
        self._unsynced.pop(os.path.abspath(path), None)

    def connected(self, connection: sqlite3.Connection) -> None:
        """A database was opened."""
        self._connections.append(connection)

    def check(self) -> None:
        """Raises `OSError` where the disk is full, or fails (rule 5)."""
        if self.full:
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.profile.failing and self._choices.chance(self.profile.failing) and self.may_fail():
            self.failed = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    # -- what is done to it --------------------------------------------------------------------------------------------

    def end_of_program(self) -> None:
        """The program is gone, and the system closes what it has left open. What was written stays."""
        connections, self._connections = self._connections, []
        for connection in connections:
            with suppress(sqlite3.Error):
                connection.close()
        self._descriptors.clear()

    def power_cut(self) -> None:
        """Rules 2 and 4."""
        with running.outside():
            self.end_of_program()
            self._lose()
        self.failed = False

    def _lose(self) -> None:
        unsynced, self._unsynced = self._unsynced, {}
        for path, before in sorted(unsynced.items()):
            now = _content(path)
            if now == before or now is None:
                continue
            what = self._choices.pick(("back", "stays", "torn"))
            if what == "back":
                _restore(path, before)
            elif what == "torn":
                _restore(path, now[: self._choices.below(len(now) + 1)])

    def wipe(self) -> None:
        """All files are gone."""
        with running.outside():
            self.end_of_program()
            self._unsynced.clear()
            for each in () if self._root is None else list(self._root.iterdir()):
                if each.is_dir():
                    shutil.rmtree(each)
                else:
                    each.unlink()
        self.full = self.failed = False

    def close(self) -> None:
        """Remove the directory: the world is over."""
        self.end_of_program()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None


class SimConnection(sqlite3.Connection):
    """A database on the disk of a host, which may be full or fail."""

    disk: FileDisk | None = None

    def _check(self, statement: str) -> None:
        word = statement.lstrip().partition(" ")[0].upper()
        if self.disk is None or word in ("SELECT", "PRAGMA", "BEGIN", "ROLLBACK", "EXPLAIN"):
            return
        try:
            self.disk.check()
        except OSError as error:
            is_full = error.errno == errno.ENOSPC
            problem = sqlite3.OperationalError("database or disk is full" if is_full else "disk I/O error")
            problem.sqlite_errorcode = sqlite3.SQLITE_FULL if is_full else sqlite3.SQLITE_IOERR
            problem.sqlite_errorname = "SQLITE_FULL" if is_full else "SQLITE_IOERR"
            raise problem from error

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """As that of any connection."""
        self._check(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """As that of any connection."""
        self._check(sql)
        return super().executemany(sql, *args)

    def commit(self) -> None:
        """As that of any connection."""
        if self.in_transaction:
            self._check("COMMIT")
        super().commit()


def _always() -> bool:
    return True


def _content(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None


def _restore(path: str, content: bytes | None) -> None:
    if content is None:
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    Path(path).write_bytes(content)
