"""The disk of a simulated host, as applications see it: a directory of real files, of which a power cut takes what was
not synced.

Rules
-----
1.  What is written to a file is there for the program at once, and survives its end. It survives a power cut when
    `os.fsync` was called for the file since then.
2.  A power cut takes each file that was not synced back to how it was when it last was; or it stays as it is; or it is
    torn, which is to say that a beginning of what was written since then is there. Which of these is drawn for each
    file. What was in it before stays, up to there, if it was not truncated since. A new file is gone, or empty.
3.  Directories, renaming and removing are durable at once. What is in a file is not by that: after a power cut a new
    name may stand for a file that is empty, or torn.
4.  Files of SQLite are durable when a transaction is, as SQLite sees to that by itself. A power cut undoes transactions
    that had not been committed.
5.  On a full disk nothing can be opened for writing, synced or committed. On a failing one these fail now and then.
6.  Outside of its disk a host can read, and change nothing.

Files are written at once; what takes time is what the program waits for in an executor. Times of files, and the order
in which a directory is listed by other means than `os.listdir`, are those of the machine under the simulation.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from attrs import frozen

from .boundary import OUTSIDE, refuse
from .directories import Directory, new_directory
from .disk import Disk, DiskProfile
from .loop import running
from .tape import Stream


@frozen
class Synced:
    """A file as it was when it was last synced."""

    content: bytes | None
    """`None`: not there."""
    truncated: bool = False
    """Whether it was emptied since."""

    def torn(self, now: bytes, choices: Stream) -> bytes:
        """A part of what was written since (rule 2)."""
        if self.truncated or self.content is None:
            return now[: choices.below(len(now) + 1)]
        before = self.content
        same = next((at for at, (old, new) in enumerate(zip(before, now, strict=False)) if old != new), None)
        if same is None:
            same = min(len(before), len(now))
        upto = same + choices.below(len(now) - same + 1)
        return now[:upto] + before[upto:]


class FileDisk(Disk):
    """The files of one host, over all its lives. Its directory is made when it is first asked for."""

    def __init__(self, name: str, choices: Stream, profile: DiskProfile | None = None) -> None:
        super().__init__(choices, profile)
        self._name = name
        self.may_fail: Callable[[], bool] = _always
        """Whether the world can bear it right now that a write fails."""
        self.tell: Callable[[Callable[[], str]], object] = _ignore
        """Hears what a power cut has done to each file that was not synced, in words."""
        self._choices = choices
        self._directory: Directory | None = None
        self._synced: dict[str, Synced] = {}
        """Files that were opened for writing."""
        self._databases: dict[str, None] = {}
        """Files of which SQLite takes care (rule 4)."""
        self._connections: list[sqlite3.Connection] = []
        self._before_last_step: dict[str, bytes | None] | None = None
        """What there was when a program ended itself, for as long as its last step lasts."""

    @property
    def root(self) -> Path:
        """Its directory."""
        if self._directory is None:
            with running.outside():
                self._directory = new_directory(self._name)
        return self._directory.path

    def holds(self, path: Any) -> bool:
        """Whether a path is on this disk."""
        return self._directory is not None and Path(os.path.abspath(path)).is_relative_to(self._directory.path)

    # -- what programs do ----------------------------------------------------------------------------------------------

    def own(self, path: Any, what: str = "writing to") -> str:
        """The full path of a file on this disk. Raises `NotSimulatedError` for others (rule 6), and `OSError` after the
        end of the program."""
        if self._before_last_step is not None:
            raise OSError(errno.EIO, "the program has ended itself with os._exit")
        full: str = os.path.abspath(os.fspath(path))
        if not self.holds(full):
            refuse(f"{what} {full}", OUTSIDE)
        return full

    def before_write(self, path: Any, *, truncated: bool = False) -> None:
        """A file is about to be written. Raises what the program would see."""
        full = self.own(path)
        self.check()
        if full in self._databases:
            return
        known = self._synced.get(full)
        if known is None:
            with running.outside():
                known = Synced(_content(full))
        self._synced[full] = Synced(known.content, known.truncated or truncated)

    def synced(self, descriptor: int) -> None:
        """A file was synced. Whatever it is called by now, it is the one that the descriptor stands for."""
        self.check()
        with running.outside():
            which = os.fstat(descriptor)
            for path in list(self._synced):
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(path), which):
                        self._synced[path] = Synced(_content(path))

    def renamed(self, old: str, new: str) -> None:
        """A file, or a directory, has another name now (rule 3)."""
        if old == new:
            return
        self.removed(new)
        for path in list(self._synced):
            if path == old or path.startswith(old + os.sep):
                known = self._synced.pop(path)
                content = b"" if known.content is None else known.content
                self._synced[new + path[len(old) :]] = Synced(content, known.truncated)
        for path in list(self._databases):
            if path == old or path.startswith(old + os.sep):
                del self._databases[path]
                self._databases[new + path[len(old) :]] = None

    def removed(self, path: str) -> None:
        """A file is gone."""
        self._synced.pop(path, None)
        self._databases.pop(path, None)

    def connected(self, connection: sqlite3.Connection, path: str) -> None:
        """A database was opened."""
        self._connections.append(connection)
        self._synced.pop(path, None)
        self._databases[path] = None

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

    def begin_of_last_step(self) -> None:
        """The program has ended itself, but its last step still goes on: nothing can be opened for writing any more."""
        with running.outside():
            self._before_last_step = {path: _content(path) for path in self._synced}

    def end_of_last_step(self) -> None:
        """What was written to open files since then is undone."""
        before, self._before_last_step = self._before_last_step or {}, None
        with running.outside():
            for path, content in before.items():
                if _content(path) != content:
                    _restore(path, content)

    def power_cut(self) -> None:
        """Rules 2 and 4."""
        with running.outside():
            self.end_of_program()
            self._lose()
        self.failed = False

    def _lose(self) -> None:
        files, self._synced = self._synced, {}
        for path, known in sorted(files.items(), key=lambda item: item[0]):
            now = _content(path)
            if now == known.content or now is None:
                continue
            what = self._choices.pick(("back", "stays", "torn"))
            if what == "back":
                _restore(path, known.content)
            elif what == "torn":
                _restore(path, known.torn(now, self._choices))
            self.tell(partial(_fate, os.path.relpath(path, self.root), known.content, now, path))

    def wipe(self) -> None:
        """All files are gone."""
        with running.outside():
            self.end_of_program()
            self._synced.clear()
            self._databases.clear()
            for each in () if self._directory is None else list(self._directory.path.iterdir()):
                if each.is_dir():
                    shutil.rmtree(each)
                else:
                    each.unlink()
        self.full = self.failed = False

    def close(self) -> None:
        """Remove the directory: the world is over."""
        self.end_of_program()
        if self._directory is not None:
            self._directory.remove()
            self._directory = None


class SimConnection(sqlite3.Connection):
    """A database on the disk of a host, which may be full or fail."""

    disk: FileDisk | None = None

    def check(self, statement: str) -> None:
        """Raises `sqlite3.OperationalError` where the disk does not let it be done (rule 5)."""
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

    def cursor(self, factory: Any = None) -> Any:
        """As that of any connection."""
        return super().cursor(SimCursor if factory is None else factory)

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """As that of any connection."""
        return self.cursor().execute(sql, *args)  # type: ignore[no-any-return]

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """As that of any connection."""
        return self.cursor().executemany(sql, *args)  # type: ignore[no-any-return]

    def executescript(self, sql_script: str) -> sqlite3.Cursor:
        """As that of any connection."""
        return self.cursor().executescript(sql_script)  # type: ignore[no-any-return]

    def commit(self) -> None:
        """As that of any connection."""
        if self.in_transaction:
            self.check("COMMIT")
        super().commit()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> Any:
        if kind is None and self.in_transaction:
            try:
                self.check("COMMIT")
            except sqlite3.OperationalError:
                self.rollback()
                raise
        return super().__exit__(kind, error, traceback)


class SimCursor(sqlite3.Cursor):
    """A cursor of such a connection."""

    def _check(self, statement: str) -> None:
        if isinstance(self.connection, SimConnection):
            self.connection.check(statement)

    def execute(self, sql: str, *args: Any) -> Self:
        """As that of any cursor."""
        self._check(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> Self:
        """As that of any cursor."""
        self._check(sql)
        return super().executemany(sql, *args)

    def executescript(self, sql_script: str) -> sqlite3.Cursor:
        """As that of any cursor."""
        self._check(sql_script)
        return super().executescript(sql_script)


def _always() -> bool:
    return True


def _ignore(_: Callable[[], str]) -> None:
    """Nobody wants to know."""


def _fate(name: str, synced: bytes | None, written: bytes, path: str) -> str:
    """What a power cut has made of a file, in words."""
    left = _content(path)
    size = "it is gone" if left is None else f"{len(left)} bytes are left"
    what = "all of it stays" if left == written else f"back as it was, {size}" if left == synced else f"torn, {size}"
    before = 0 if synced is None else len(synced)
    return f"{name}: {len(written)} bytes, not synced since there were {before}; {what}"


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
