"""The records of a node on its disk: in order, off the event loop, all or nothing.

Numbers are those of the rules in `storage.py`, and of `storage_file.py` where a test says so.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from casty_asyncio import CastyError
from casty_asyncio.cluster import storage as storage_module
from casty_asyncio.cluster import storage_file
from casty_asyncio.cluster.storage import BATCH_MAX, Storage, StorageError
from casty_asyncio.cluster.storage_file import FILE_NAME, LOCK_NAME, RecordFile
from casty_asyncio.cluster.storage_format import encode_record
from casty_proto.cluster.disk import NodeRecord, recover_node
from casty_proto.raft import Append, Ballot

from ..probe import within
from ..remote.kit import until
from .storage_kit import LOG, Told, entry, found, history, hook, written


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is in the file, on the disk or not. The others wait for the disk."""
    monkeypatch.setattr(storage_file, "SYNCHRONOUS", "OFF")
    monkeypatch.setattr(storage_file, "_sync", lambda directory: None)


async def opened(directory: Path) -> tuple[Storage, Told]:
    storage = await within(Storage.open(directory, LOG))
    return storage, Told(storage)


def write(storage: Storage, records: tuple[NodeRecord, ...], first: int = 1) -> None:
    for ticket, record in enumerate(records, first):
        storage.write(ticket, record)


async def until_written(told: Told, ticket: int) -> None:
    await until(lambda: told.tickets and told.tickets[-1] == ticket)


def storage_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("casty-storage")]


class Gate:
    """Holds up a commit, as a slow disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_closed = False
        self.reached = threading.Event()
        self.go_on = threading.Event()
        hook(monkeypatch, self.pass_by)

    def pass_by(self, sql: str) -> None:
        if sql == "COMMIT" and self.is_closed:
            self.reached.set()
            assert self.go_on.wait(30)


# -- what is written ---------------------------------------------------------------------------------------------------


async def test_a_new_directory_is_made_and_has_no_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(storage_file, "_sync", synced.append)
    directory = tmp_path / "one" / "two"
    storage, _ = await opened(directory)
    assert storage.records == ()
    await storage.close()
    assert (directory / FILE_NAME).exists()
    # Whatever has a new name in it is on the disk as well.
    assert sorted(synced) == [tmp_path, directory.parent, directory]


async def test_rule_1_records_are_found_again_in_the_order_of_the_writes(tmp_path: Path) -> None:
    storage, told = await opened(tmp_path)
    write(storage, history(100))
    await storage.close()
    assert told.tickets[-1] == 100
    again, told = await opened(tmp_path)
    assert again.records == history(100)
    write(again, history(150)[100:])
    await again.close()
    assert found(tmp_path) == history(150)
    assert not told.failures


async def test_rule_2_what_waits_for_the_disk_is_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    storage, told = await opened(tmp_path)
    gate.is_closed = True
    records = history(BATCH_MAX + 20)
    storage.write(1, records[0])
    await until(gate.reached.is_set)
    write(storage, records[1:], 2)
    # None of these calls has waited for the disk, and nothing is reported before it is durable (rule 3).
    assert told.tickets == []
    gate.is_closed = False
    gate.go_on.set()
    await storage.close()
    assert told.tickets == [1, BATCH_MAX + 1, BATCH_MAX + 20]


async def test_close_writes_what_waits_and_leaves_no_thread(tmp_path: Path) -> None:
    storage, told = await opened(tmp_path)
    assert len(storage_threads()) == 1
    write(storage, history(3000))
    await storage.close()
    assert told.tickets[-1] == 3000
    assert storage_threads() == []
    await storage.close()
    storage.write(3001, Ballot(2, None))
    await asyncio.sleep(0)
    assert told.tickets[-1] == 3000
    assert recover_node(found(tmp_path)) == recover_node(history(3000))


async def test_close_gives_up_on_a_disk_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(monkeypatch)
    monkeypatch.setattr(storage_module, "CLOSE_SECONDS", 0.05)
    storage, told = await opened(tmp_path)
    gate.is_closed = True
    write(storage, history(5))
    await storage.close()
    assert "the disk did not answer for 0.05 s" in caplog.text
    gate.go_on.set()
    monkeypatch.setattr(storage_module, "CLOSE_SECONDS", 30.0)
    await storage.close()
    assert storage_threads() == []
    # The first call of `close` was the end of the callbacks.
    assert told.tickets == []


async def test_rule_6_a_closed_loop_harms_nobody(tmp_path: Path) -> None:
    async def write_and_go() -> Storage:
        storage = await Storage.open(tmp_path, LOG)
        write(storage, history(10))
        await asyncio.sleep(0)
        return storage

    storage = await asyncio.to_thread(lambda: asyncio.run(write_and_go()))
    assert [thread.daemon for thread in storage_threads()] == [True]
    # Nobody closes it, so this does it from outside. What the thread was given before was one transaction.
    storage._thread.submit(storage._close_file, None)
    await asyncio.to_thread(storage._thread.shutdown)
    assert found(tmp_path) == history(10)
    assert storage_threads() == []


# -- who may open it ---------------------------------------------------------------------------------------------------


async def test_a_directory_that_is_in_use_is_refused(tmp_path: Path) -> None:
    storage, _ = await opened(tmp_path)
    with pytest.raises(StorageError, match=r"is in use by another process.*give this one a directory of its own"):
        await Storage.open(tmp_path, LOG)
    assert len(storage_threads()) == 1
    write(storage, history(5))
    await storage.close()
    assert found(tmp_path) == history(5)


async def test_a_file_that_another_program_reads_is_refused(tmp_path: Path) -> None:
    written(tmp_path, history(5))
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    try:
        other.execute("BEGIN")
        other.execute("SELECT count FROM head").fetchall()
        with pytest.raises(StorageError, match=f"{FILE_NAME} is in use"):
            await Storage.open(tmp_path, LOG)
    finally:
        other.close()
    assert found(tmp_path) == history(5)


async def test_an_open_that_is_cancelled_leaves_nothing_locked(tmp_path: Path) -> None:
    opening = asyncio.ensure_future(Storage.open(tmp_path, LOG))
    await asyncio.sleep(0)
    assert len(storage_threads()) == 1
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert storage_threads() == []
    assert found(tmp_path) == ()


async def test_a_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be used as the directory"):
        await Storage.open(tmp_path / "file", LOG)
    with pytest.raises(StorageError, match="cannot be used as the directory"):
        await Storage.open(tmp_path / "file" / "below", LOG)
    (tmp_path / "held" / LOCK_NAME).mkdir(parents=True)
    with pytest.raises(StorageError, match=f"{LOCK_NAME} cannot be locked"):
        await Storage.open(tmp_path / "held", LOG)
    (tmp_path / "taken" / FILE_NAME).mkdir(parents=True)
    with pytest.raises(StorageError, match=f"{FILE_NAME} cannot be opened"):
        await Storage.open(tmp_path / "taken", LOG)
    assert storage_threads() == []
    assert issubclass(StorageError, CastyError)


async def test_a_file_that_may_only_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, history(5))
    connect = storage_file.connect

    def connect_to_read(path: Path) -> sqlite3.Connection:
        if path.name != FILE_NAME:
            return connect(path)
        return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)

    monkeypatch.setattr(storage_file, "connect", connect_to_read)
    with pytest.raises(StorageError, match=r"cannot be opened: attempt to write a readonly database.*may write there"):
        await Storage.open(tmp_path, LOG)


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_rule_4_a_full_disk_ends_it_and_loses_nothing_that_was_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        hook(patch, lambda sql: None, "max_page_count = 30")
        storage, told = await opened(tmp_path)
        records = history(3000)
        write(storage, records[:50])
        await until_written(told, 50)
        write(storage, records[50:], 51)
        await until(lambda: told.failures)
        last = told.tickets[-1]
        storage.write(3001, Ballot(9, None))
        # It is locked still: this node is not known to have stopped.
        with pytest.raises(StorageError, match="is in use"):
            await Storage.open(tmp_path, LOG)
        await storage.close()
    assert "cannot be written: database or disk is full (SQLITE_FULL). See that there is room" in str(told.failures[0])
    assert len(told.failures) == 1
    assert told.tickets[-1] == last
    assert 50 <= last < 3000
    assert found(tmp_path) == records[:last]


async def test_rule_4_after_an_error_at_the_commit_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 0

    def fail(sql: str) -> None:
        nonlocal commits
        commits += sql == "COMMIT"
        if sql == "COMMIT" and commits == 4:
            raise sqlite3.OperationalError("disk I/O error")

    hook(monkeypatch, fail)
    storage, told = await opened(tmp_path)
    write(storage, history(5))
    await until(lambda: told.tickets)
    write(storage, history(10)[5:], 6)
    await until(lambda: told.failures)
    write(storage, history(15)[10:], 11)
    await storage.close()
    assert told.tickets == [5]
    assert [str(error) for error in told.failures] == [
        f"{tmp_path / FILE_NAME} cannot be written: disk I/O error. See that there is room, and that this user may "
        "write there."
    ]
    assert found(tmp_path) == history(5)


@pytest.mark.parametrize("record", [Append(()), "no record"])
async def test_rule_4_what_could_not_be_read_again_is_a_failure(tmp_path: Path, record: Any) -> None:
    storage, told = await opened(tmp_path)
    write(storage, history(5))
    await until(lambda: told.tickets)
    storage.write(6, record)
    await storage.close()
    assert len(told.failures) == 1
    assert "is not written any more" in str(told.failures[0])
    assert found(tmp_path) == history(5)


async def test_the_first_record_says_of_which_cluster_the_node_is(tmp_path: Path) -> None:
    storage, told = await opened(tmp_path)
    storage.write(1, Ballot(1, None))
    await storage.close()
    assert "the first record must say of which cluster it is" in str(told.failures[0])
    assert found(tmp_path) == ()


async def test_an_error_that_nobody_has_thought_of_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecordFile, "append", lambda self, records: 1 // 0)
    storage, told = await opened(tmp_path)
    write(storage, history(5))
    await storage.close()
    assert (
        str(told.failures[0]) == "a record could not be written: ZeroDivisionError: integer division or modulo by zero"
    )
    assert isinstance(told.failures[0].__cause__, ZeroDivisionError)


async def test_a_failure_is_logged_where_nobody_wants_to_be_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = await Storage.open(tmp_path, LOG)
    storage.write(1, Ballot(1, None))
    await storage.close()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "the first record must say" in caplog.text


async def test_a_full_disk_at_the_beginning_is_refused_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_in_no_room(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    connect = storage_file.connect
    with monkeypatch.context() as patch:
        patch.setattr(storage_file, "connect", connect_in_no_room)
        with pytest.raises(StorageError, match="cannot be opened: database or disk is full"):
            await Storage.open(tmp_path, LOG)
        assert not (tmp_path / FILE_NAME).exists()
    assert found(tmp_path) == ()
    assert not (tmp_path / f"{FILE_NAME}.new").exists()


def test_file_rule_4_every_commit_is_on_the_disk_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with RecordFile(tmp_path) as file:
        assert file._database is not None
        settings = [
            file._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "fullfsync", "journal_mode", "locking_mode")
        ]
    assert settings == [2, 1, "truncate", "exclusive"]


def test_file_rule_7_what_is_found_is_on_the_disk_before_it_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counter() -> int:
        return int.from_bytes((tmp_path / FILE_NAME).read_bytes()[24:28])

    written(tmp_path, history(5))
    before, statements, synced = counter(), list[str](), list[Path]()
    hook(monkeypatch, statements.append)
    monkeypatch.setattr(storage_file, "_sync", synced.append)
    assert found(tmp_path) == history(5)
    assert synced[-1] == tmp_path
    # SQLite counts the transactions that have changed the file.
    assert counter() == before + 1
    assert statements.index("COMMIT") < statements.index("SELECT seq, digest, body FROM records ORDER BY seq")
    assert statements[-1] == "COMMIT"


# -- compaction (storage_file.py, rule 6) ------------------------------------------------------------------------------


async def test_rule_5_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_file, "SLACK_BYTES", 10_000)
    records = history(6000)
    sizes: list[int] = []
    storage, told = await opened(tmp_path)
    for start in range(0, len(records), 500):
        write(storage, records[start : start + 500], start + 1)
        await until_written(told, start + 500)
        sizes.append((tmp_path / FILE_NAME).stat().st_size)
    await storage.close()
    assert not told.failures
    assert max(sizes) < 200_000 < sum([len(encode_record(record)) for record in records])
    again = found(tmp_path)
    assert len(again) < 1000
    assert recover_node(again) == recover_node(records)


def test_file_rule_6_a_file_that_has_grown_is_compacted_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, history(2000))
    with RecordFile(tmp_path) as file:
        assert file.records == history(2000)
    monkeypatch.setattr(storage_file, "SLACK_BYTES", 10_000)
    with RecordFile(tmp_path) as file:
        assert file.count == len(file.records) == 5
        assert not file.is_grown
        few = file.records
    assert recover_node(few) == recover_node(history(2000))
    assert found(tmp_path) == few


def test_file_rule_6_what_cannot_be_made_less_is_rewritten_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_file, "SLACK_BYTES", 2_000)
    # Without a snapshot all of it is needed.
    records = (*history(3), *[Append((entry(index),)) for index in range(1, 1001)])
    compactions = 0
    with RecordFile(tmp_path) as file:
        for record in records:
            file.append([record])
            if file.is_grown:
                file.compact()
                compactions += 1
    assert 2 <= compactions <= 8
    assert recover_node(found(tmp_path)) == recover_node(records)


def test_file_rule_6_long_logs_are_more_than_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_file, "APPEND_BYTES", 1000)
    records = (*history(3), Append(tuple([entry(index) for index in range(1, 101)])), Append((entry(101, 4000),)))
    written(tmp_path, records)
    with RecordFile(tmp_path) as file:
        file.compact()
    again = found(tmp_path)
    appends = [record for record in again if isinstance(record, Append)]
    assert len(appends) == 14
    assert all(len(record.entries) <= 8 for record in appends)
    assert recover_node(again) == recover_node(records)


async def test_rule_5_what_was_damaged_meanwhile_is_not_made_into_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So small a cache that what was written is read from the file again.
    hook(monkeypatch, lambda sql: None, "cache_size = 1")
    storage, told = await opened(tmp_path)
    write(storage, history(200))
    await until_written(told, 200)
    damage(tmp_path / FILE_NAME, entry(100).index.to_bytes(4) * 15)
    monkeypatch.setattr(storage_file, "SLACK_BYTES", 0)
    storage.write(201, history(201)[200])
    await storage.close()
    # The thread may look how much has grown after it has reported the 200th, and before it takes another one.
    assert told.tickets[-1] in (200, 201)
    assert "is damaged: record" in str(told.failures[0])
    with pytest.raises(StorageError, match="is damaged: record"):
        found(tmp_path)


def damage(path: Path, part: bytes) -> None:
    """Change a byte where `part` stands."""
    content = bytearray(path.read_bytes())
    content[content.index(part) + 7] ^= 1
    path.write_bytes(content)
