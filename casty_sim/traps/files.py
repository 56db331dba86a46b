"""Files, as programs open, sync, rename and remove them."""

from __future__ import annotations

import builtins
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..files import SimConnection
from .replace import Place

if TYPE_CHECKING:
    from ..loop import SimLoop

_open, _os_open, _connect, _listdir = builtins.open, os.open, sqlite3.connect, os.listdir
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NAME_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"


def _opened(loop: SimLoop, file: Any, mode: str = "r", *args: Any, **named: Any) -> Any:
    writes = any(letter in mode for letter in "wax+")
    if writes and not isinstance(file, int) and os.fspath(file) != os.devnull:
        loop.disk.before_write(file, truncated="w" in mode)
    return _open(file, mode, *args, **named)


def _opened_by_number(loop: SimLoop, path: Any, flags: int, *args: Any, **named: Any) -> int:
    if flags & _WRITES and os.fspath(path) != os.devnull:
        loop.disk.before_write(_in(path, named.get("dir_fd")), truncated=bool(flags & os.O_TRUNC))
    return _os_open(path, flags, *args, **named)


def _synced(loop: SimLoop, descriptor: Any) -> None:
    loop.disk.synced(descriptor if isinstance(descriptor, int) else descriptor.fileno())


def _in(path: Any, directory: int | None) -> Any:
    """A path, where it may be meant from a directory that is open."""
    if directory is None or os.path.isabs(path):
        return path
    try:
        return os.path.join(os.readlink(f"/proc/self/fd/{directory}"), path)
    except OSError:
        return os.path.join(_path_of(directory), path)


def _path_of(directory: int) -> str:
    """Where systems have no `/proc`."""
    import fcntl

    get_path: int = getattr(fcntl, "F_GETPATH", 50)
    return fcntl.fcntl(directory, get_path, bytes(1024)).rstrip(b"\0").decode()


def _renamed(original: Any) -> Any:
    def inside(loop: SimLoop, src: Any, dst: Any, **named: Any) -> None:
        old = loop.disk.own(_in(src, named.get("src_dir_fd")), "renaming")
        new = loop.disk.own(_in(dst, named.get("dst_dir_fd")), "renaming to")
        loop.disk.check()
        original(src, dst, **named)
        loop.disk.renamed(old, new)

    return inside


def _removed(original: Any) -> Any:
    def inside(loop: SimLoop, path: Any, *, dir_fd: int | None = None) -> None:
        full = loop.disk.own(_in(path, dir_fd), "removing")
        original(path, dir_fd=dir_fd)
        loop.disk.removed(full)

    return inside


def _truncated(original: Any) -> Any:
    def inside(loop: SimLoop, path: Any, length: int) -> None:
        if not isinstance(path, int):
            loop.disk.before_write(path)
        original(path, length)

    return inside


def _changed(original: Any, what: str, at: int = 0) -> Any:
    """Something that changes what is called by the argument at that place."""

    def inside(loop: SimLoop, *args: Any, **named: Any) -> Any:
        if len(args) > at and not isinstance(args[at], int):
            loop.disk.own(_in(args[at], named.get("dir_fd")), what)
        return original(*args, **named)

    return inside


def _listed(loop: SimLoop, *args: Any) -> list[Any]:
    return sorted(_listdir(*args))


def _temporary_names(loop: SimLoop) -> Iterator[str]:
    """For `tempfile`, which has one sequence for the whole process otherwise."""
    while True:
        yield "".join(loop.random.choices(_NAME_LETTERS, k=8))


def _connected(loop: SimLoop, database: Any, *args: Any, **named: Any) -> sqlite3.Connection:
    text = os.fspath(database)
    path = unquote(urlsplit(text).path) if named.get("uri") else text
    reads = bool(named.get("uri")) and "mode=ro" in text
    if text == ":memory:" or "mode=memory" in text:
        plain: sqlite3.Connection = _connect(database, *args, **named)
        return plain
    if not reads:
        path = loop.disk.own(path)
    connection: sqlite3.Connection = _connect(database, *args, **{"factory": SimConnection, **named})
    if isinstance(connection, SimConnection):
        connection.disk = loop.disk
    if not reads:
        loop.disk.connected(connection, path)
    return connection


def places() -> list[Place]:
    """The functions that open, sync, rename and remove files, or change them in other ways."""
    return [
        Place(builtins, "open", _opened),
        Place(os, "open", _opened_by_number),
        Place(os, "fsync", _synced),
        Place(os, "fdatasync", _synced),
        Place(os, "replace", _renamed(os.replace)),
        Place(os, "rename", _renamed(os.rename)),
        Place(os, "unlink", _removed(os.unlink)),
        Place(os, "remove", _removed(os.remove)),
        Place(os, "truncate", _truncated(os.truncate)),
        Place(os, "mkdir", _changed(os.mkdir, "making")),
        Place(os, "rmdir", _changed(os.rmdir, "removing")),
        Place(os, "chmod", _changed(os.chmod, "changing")),
        Place(os, "utime", _changed(os.utime, "changing")),
        Place(os, "link", _changed(os.link, "linking to", 1)),
        Place(os, "symlink", _changed(os.symlink, "linking to", 1)),
        Place(os, "listdir", _listed),
        Place(tempfile, "_get_candidate_names", _temporary_names),
        Place(sqlite3, "connect", _connected),
    ]
