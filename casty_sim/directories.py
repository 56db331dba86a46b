"""The directories of simulated disks, and those that a process has left which was killed.

1.  A directory is locked by the process that has made it, for as long as it is in use. The system takes the lock away
    from a process that is gone, however it went.
2.  Before a process makes its first one, it removes those of the same user that nobody has locked.
3.  Another process may do so between the making and the locking of one. Then whoever has made it makes another.

Where there are no such locks, nothing is removed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

PREFIX = "casty-sim."
"""What the names of all of them begin with. Nothing else is ever removed."""

HAS_LOCKS = find_spec("fcntl") is not None

_looked_at: dict[Path, None] = {}
"""Where this process has removed what others have left."""


@frozen
class Directory:
    """An empty directory that is in use until `remove`."""

    path: Path
    _lock: int | None

    def remove(self) -> None:
        """Remove it, with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)


def new_directory(name: str, parent: Path | None = None) -> Directory:
    """One whose name has `name` in it: in memory, where the system has directories there. Raises `OSError`."""
    parent = parent or _usual_parent()
    if parent not in _looked_at:
        _looked_at[parent] = None
        remove_left(parent)
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}.", dir=parent)).resolve()
        if not HAS_LOCKS:
            return Directory(path, None)
        with suppress(FileNotFoundError):
            lock = _locked(path, wait=True)
            if lock is None or os.path.samestat(os.fstat(lock), os.stat(path)):
                return Directory(path, lock)


def _usual_parent() -> Path:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def remove_left(parent: Path) -> None:
    """Remove the directories that processes which are gone have left in `parent`. What cannot be removed stays."""
    if not HAS_LOCKS:
        return
    with suppress(OSError):
        for path in [each for each in parent.iterdir() if each.name.startswith(PREFIX)]:
            _remove_if_left(path)


def _remove_if_left(path: Path) -> None:
    with suppress(OSError):
        about = path.lstat()
        lock = _locked(path, wait=False) if about.st_uid == os.getuid() else None
        if lock is not None:
            Directory(path, lock).remove()


def _locked(path: Path, *, wait: bool) -> int | None:
    """The descriptor that holds the lock, or `None` where it cannot be had. Raises `OSError` for what is no directory,
    or is gone."""
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
