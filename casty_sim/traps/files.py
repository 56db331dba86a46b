"""Files, as programs open, sync, rename and remove them."""

from __future__ import annotations

import builtins
import os
import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..files import SimConnection
from .replace import Place

if TYPE_CHECKING:
    from ..loop import SimLoop

_open, _os_open, _fsync, _connect = builtins.open, os.open, os.fsync, sqlite3.connect
_replace, _rename, _unlink, _remove = os.replace, os.rename, os.unlink, os.remove
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _opened(loop: SimLoop, file: Any, mode: str = "r", *args: Any, **named: Any) -> Any:
    if isinstance(file, int) or not any(letter in mode for letter in "wax+"):
        return _open(file, mode, *args, **named)
    path = loop.disk.before_write(file)
    opened = _open(file, mode, *args, **named)
    loop.disk.opened(opened.fileno(), path)
    return opened


def _opened_by_number(loop: SimLoop, path: Any, flags: int, *args: Any, **named: Any) -> int:
    if not flags & _WRITES:
        return _os_open(path, flags, *args, **named)
    full = loop.disk.before_write(path)
    descriptor = _os_open(path, flags, *args, **named)
    loop.disk.opened(descriptor, full)
    return descriptor


def _synced(loop: SimLoop, descriptor: Any) -> None:
    number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    loop.disk.synced(number)


def _renamed(original: Any) -> Any:
    def inside(loop: SimLoop, old: Any, new: Any, *args: Any, **named: Any) -> None:
        loop.disk.check()
        original(old, new, *args, **named)
        loop.disk.renamed(old, new)

    return inside


def _removed(original: Any) -> Any:
    def inside(loop: SimLoop, path: Any, *args: Any, **named: Any) -> None:
        original(path, *args, **named)
        loop.disk.removed(path)

    return inside


def _connected(loop: SimLoop, database: Any, *args: Any, **named: Any) -> sqlite3.Connection:
    text = os.fspath(database)
    path = unquote(urlsplit(text).path) if named.get("uri") else text
    if text == ":memory:" or "mode=memory" in text:
        plain: sqlite3.Connection = _connect(database, *args, **named)
        return plain
    if not loop.disk.holds(path):
        loop.disk.before_write(path)
    connection: sqlite3.Connection = _connect(database, *args, **{"factory": SimConnection, **named})
    if isinstance(connection, SimConnection):
        connection.disk = loop.disk
    loop.disk.connected(connection)
    return connection


def places() -> list[Place]:
    """The functions that open, sync, rename and remove files."""
    return [
        Place(builtins, "open", _opened),
        Place(os, "open", _opened_by_number),
        Place(os, "fsync", _synced),
        Place(os, "fdatasync", _synced),
        Place(os, "replace", _renamed(_replace)),
        Place(os, "rename", _renamed(_rename)),
        Place(os, "unlink", _removed(_unlink)),
        Place(os, "remove", _removed(_remove)),
        Place(sqlite3, "connect", _connected),
    ]
