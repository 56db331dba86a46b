"""What the tests of the storage share: records that a node might write, connections that fail, crashes."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casty_asyncio.cluster import storage_file
from casty_asyncio.cluster.storage import Storage, StorageError
from casty_asyncio.cluster.storage_file import FILE_NAME, RecordFile
from casty_proto.cluster.disk import Membership, NodeRecord
from casty_proto.cluster.records import NodeInfo
from casty_proto.raft import Append, Ballot, Base, Command, Configuration, Entry, SaveSnapshot, Snapshot
from casty_proto.raft.sessions import Sessions

LOG = logging.getLogger("tests.storage")
JOURNAL_NAME = f"{FILE_NAME}-journal"
VOTERS = Configuration(("a.1",))
SNAPSHOT_EVERY = 40


def history(count: int) -> tuple[NodeRecord, ...]:
    """The first records of a node: it founds a cluster, is elected, commits, and takes a snapshot now and then."""
    records: list[NodeRecord] = [Membership("shop", NodeInfo("a", 1, "host:1")), Base(0, 0, VOTERS), Ballot(1, "a.1")]
    index = 0
    while len(records) < count:
        index += 1
        records.append(Append((entry(index),)))
        if index % SNAPSHOT_EVERY == 0:
            records.append(SaveSnapshot(Snapshot(index, 1, VOTERS, Sessions().encode(), b"state" * 20)))
            records.append(Base(index - 5, 1, VOTERS))
    return tuple(records[:count])


def entry(index: int, size: int = 60) -> Entry:
    """An entry of the only leader that there was."""
    return Entry(index, 1, Command(index.to_bytes(4) * (size // 4)), time_ns=index)


def found(directory: Path) -> tuple[NodeRecord, ...]:
    """What is in a directory."""
    with RecordFile(directory) as file:
        return file.records


def written(directory: Path, records: tuple[NodeRecord, ...]) -> Path:
    """A directory with these records, and nobody in it."""
    with RecordFile(directory) as file:
        file.append(records)
    return directory


class Told:
    """What a storage has called back."""

    def __init__(self, storage: Storage) -> None:
        self.tickets: list[int] = []
        self.failures: list[StorageError] = []
        storage.on_written = self.tickets.append
        storage.on_failed = self.failures.append


class Connection(sqlite3.Connection):
    """A connection that does something before each statement."""

    before: Callable[[str], None] | None = None

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if self.before is not None:
            self.before(sql)
        return super().execute(sql, *parameters)


def hook(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None], *pragmas: str) -> None:
    """Have `before` called before each statement for a file of records, in the thread that executes it."""

    def connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, factory=Connection, timeout=0, isolation_level=None)
        if path.name == FILE_NAME:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")
            connection.before = before
        return connection

    monkeypatch.setattr(storage_file, "connect", connect)


def copied(directory: Path, to: Path) -> Path:
    """What a crash of this moment would leave."""
    to.mkdir()
    for name in (FILE_NAME, JOURNAL_NAME):
        if (directory / name).exists():
            shutil.copyfile(directory / name, to / name)
    return to
