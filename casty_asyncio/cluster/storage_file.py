"""The file in which a node keeps its records. It blocks, and is used by one thread.

Theory of operation
-------------------
The records are rows of an SQLite database, in order. Each row has a digest of itself and of the digest before it, and
`head` has the number of rows and the last digest. Whatever is missing, doubled, in another place or of another time is
found that way, also where SQLite would find nothing wrong.

1.  A directory belongs to one opener at a time. He holds an exclusive transaction on `node.lock`, an empty database:
    SQLite knows how to lock a file on every system, and the lock ends with the process, however that ends.
2.  A file is used whole or not at all: all of it is checked before the first record of it is believed. Where it is not
    as it was written, it is left as it is and refused.
3.  A new file gets its name when it is complete and durable. So an empty one is none of ours, but a damaged one.
4.  Several records that are appended together are one transaction, and durable when `append` returns. A crash before
    that leaves all of them, or none.
5.  The journal is a rollback journal. A write-ahead log would need one sync where this needs several; but behind a byte
    of it that is damaged it is forgotten without a word, with records that were reported as written (rule 2).
6.  When the rows have grown to twice what is left of them after compaction, and `SLACK_BYTES` more, they are replaced
    by those few that amount to the same, in one transaction. So a byte is rewritten about once on average, and the file
    is never much larger than two or three times what it has to hold. Its free pages are used again.
7.  What is read may be in the memory of the system only, where the process before was killed and the machine was not.
    So there is one commit more, and with it the whole file is on the disk, before anybody relies on what was in it.
8.  After an error nothing more is to be written: what is on the disk then is known only to who reads it again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from errno import EACCES
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from casty_proto.cluster.disk import Membership, NodeRecord, checkpoint_node, recover_node
from casty_proto.machine import shown
from casty_proto.raft import Append
from casty_proto.raft.entries import size_of

from ..errors import CastyError
from .lines import one_line
from .storage_format import RecordError, decode_record, encode_record

FILE_NAME = "node.db"
LOCK_NAME = "node.lock"
APPLICATION_ID = 0x43617374
FORMAT = 1

SLACK_BYTES = 1024 * 1024
APPEND_BYTES = 16 * 1024 * 1024
"""About the most in one `Append` that compaction makes of all the entries: SQLite limits what is in one row."""
SYNCHRONOUS = "FULL"
"""Nothing less is durable. Tests in which no power is cut do without."""
ROW_BYTES = 32
"""What a row counts besides its record."""

_RECORDS = "CREATE TABLE records (seq INTEGER PRIMARY KEY, digest BLOB NOT NULL, body BLOB NOT NULL)"
_HEAD = "CREATE TABLE head (count INTEGER NOT NULL, digest BLOB NOT NULL)"
_SCHEMA = [("table", "head", "head", _HEAD), ("table", "records", "records", _RECORDS)]
_START = bytes(16)
"""The digest before the first row."""

_USED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DENIED = (
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)
"""The system did not let SQLite do it. All other errors of SQLite are about what is in the file."""

_EMPTY_ADVICE = "start the node with an empty directory, and it joins as a new member"


class StorageError(CastyError):
    """The records of a node cannot be read, or cannot be written any more. The text says why, and what can be done."""


class RecordFile:
    """The records on the disk. The constructor opens them, and checks all that is there.

    Raises `StorageError`, as do all methods.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self.count = 0
        """How many rows there are."""
        self._digest = _START
        self._size = 0
        self._kept = 0
        """What the rows would count after compaction, as far as known."""
        _make(directory)
        self._lock = _locked(directory)
        self._database: sqlite3.Connection | None = None
        try:
            self.records = self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- opening -------------------------------------------------------------------------------------------------------

    def _open(self) -> tuple[NodeRecord, ...]:
        try:
            if not self.path.exists():
                _create(self.path)
            elif not self.path.stat().st_size:
                raise self._corrupt("it is empty")
            self._database = connect(self.path)
            self._prepare(self._database)
            records = self._read()
            self._settle(self._database)
        except StorageError:
            raise
        except Exception as error:
            raise self._unreadable(error) from error
        few = self._checkpoint(records)
        if not self.is_grown:
            return records
        self._replace(few)
        return few

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Lock the file, and see that it is one of these and sound."""
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA cell_size_check = ON")
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        application, form = _one(database, "PRAGMA application_id"), _one(database, "PRAGMA user_version")
        if application != APPLICATION_ID:
            raise self._corrupt("it is not marked as a file of records, so it may be another program's")
        if form > FORMAT:
            raise StorageError(
                f"{self.path} was made by a newer version of this program: it has format {form}, and this version "
                f"knows {FORMAT}. Run the newer version, or {_EMPTY_ADVICE}."
            )
        if form != FORMAT:
            raise self._corrupt(f"it claims to have format {form}")
        if (mode := _one(database, "PRAGMA journal_mode = TRUNCATE")) != "truncate":
            raise self._corrupt(f"its journal is of mode {mode}")
        database.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        # Where a sync of the system does not reach the disk.
        database.execute("PRAGMA fullfsync = ON")
        # From here on nobody else reads or writes it.
        database.execute("BEGIN EXCLUSIVE")
        database.execute("COMMIT")
        if (found := _one(database, "PRAGMA quick_check(1)")) != "ok":
            raise self._corrupt(found)
        schema = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").fetchall()
        if schema != _SCHEMA:
            raise self._corrupt("its tables are not those that it was made with")

    def _read(self) -> tuple[NodeRecord, ...]:
        """All records, each of them checked. Raises `StorageError` where one is missing."""
        assert self._database is not None
        self.count, self._digest, self._size = 0, _START, 0
        records: list[NodeRecord] = []
        # A cursor that is still in use would keep the file locked, even when its connection is closed.
        with closing(self._database.execute("SELECT seq, digest, body FROM records ORDER BY seq")) as rows:
            for seq, digest, body in rows:
                if type(body) is not bytes or seq != self.count + 1 or digest != _digest(self._digest, seq, body):
                    raise self._corrupt(f"record {self.count + 1} is not what was written")
                try:
                    records.append(decode_record(body))
                except RecordError as error:
                    raise self._corrupt(f"record {seq} cannot be understood: {error}") from error
                self._count(digest, body)
        if self._database.execute("SELECT count, digest FROM head").fetchall() != [(self.count, self._digest)]:
            raise self._corrupt(f"it has {self.count} records, and these are not all or not the last ones")
        return tuple(records)

    def _settle(self, database: sqlite3.Connection) -> None:
        """Make durable what was read (rule 7). Where the file may only be read, SQLite says so now, and not before."""
        database.execute("BEGIN IMMEDIATE")
        # This writes a page, also where it changes nothing.
        database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute("COMMIT")
        _sync(self.path.parent)

    def _checkpoint(self, records: tuple[NodeRecord, ...]) -> tuple[NodeRecord, ...]:
        """Few records that amount to the same."""
        try:
            recovered = recover_node(records)
        except Exception as error:
            raise self._corrupt(f"its records do not follow from one another: {error}") from error
        if recovered is None:
            if records:
                raise self._corrupt("its records do not say of which cluster they are")
            return ()
        few = tuple(_divided(checkpoint_node(recovered)))
        self._kept = sum([len(encode_record(record)) + ROW_BYTES for record in few])
        return few

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, records: Sequence[NodeRecord]) -> None:
        """Add records, all or none. They are durable when this returns. The first one that there is is a `Membership`.

        Raises `StorageError`. Then they may be found on the disk when it is read the next time, all or none.
        """
        try:
            if not self.count and type(records[0]) is not Membership:
                raise RecordError(f"the first record must say of which cluster it is, and not be {shown(records[0])}")
            bodies = [encode_record(record) for record in records]
            self._write(bodies)
        except (sqlite3.Error, OSError, RecordError) as error:
            raise self._unwritable(error) from error

    @property
    def is_grown(self) -> bool:
        """Whether it is time for `compact` (rule 6)."""
        return self._size > 2 * self._kept + SLACK_BYTES

    def compact(self) -> None:
        """Replace the records by few that amount to the same (rule 6).

        Raises `StorageError`. Then the one or the other is found on the disk when it is read the next time.
        """
        try:
            records = self._read()
        except StorageError:
            raise
        except Exception as error:
            raise self._unreadable(error) from error
        self._replace(self._checkpoint(records))

    def _replace(self, records: tuple[NodeRecord, ...]) -> None:
        try:
            self._write([encode_record(record) for record in records], in_place_of_all=True)
        except (sqlite3.Error, OSError, RecordError) as error:
            raise self._unwritable(error) from error

    def _write(self, bodies: list[bytes], in_place_of_all: bool = False) -> None:
        """One transaction."""
        assert self._database is not None
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        if in_place_of_all:
            execute("DELETE FROM records")
            self.count, self._digest, self._size = 0, _START, 0
        for body in bodies:
            self._count(_digest(self._digest, self.count + 1, body), body)
            execute("INSERT INTO records VALUES (?, ?, ?)", (self.count, self._digest, body))
        execute("UPDATE head SET count = ?, digest = ?", (self.count, self._digest))
        execute("COMMIT")

    def _count(self, digest: bytes, body: bytes) -> None:
        self.count += 1
        self._digest = digest
        self._size += len(body) + ROW_BYTES

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the directory. What was not committed is as if it had never been. Harmless when repeated."""
        for connection in (self._database, self._lock):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()

    # -- errors --------------------------------------------------------------------------------------------------------

    def _corrupt(self, why: object) -> StorageError:
        # SQLite may have several lines to say.
        line = one_line(" ".join(str(why).split()))
        return StorageError(
            f"{self.path} is damaged: {line}. Nothing of it was used. To go on without it, {_EMPTY_ADVICE}. Do not put "
            "an older copy in its place: it does not know what the node has promised to the others since then."
        )

    def _unreadable(self, error: Exception) -> StorageError:
        code = _code(error)
        if code in _USED:
            return _used(self.path)
        if code in _DENIED or isinstance(error, OSError | MemoryError):
            return _denied(self.path, "opened", error)
        # A damaged file makes the module fail in other ways as well: it puts parts of the file into its messages.
        return self._corrupt(error if isinstance(error, sqlite3.Error) else f"{type(error).__name__}: {error}")

    def _unwritable(self, error: Exception) -> StorageError:
        if isinstance(error, RecordError):
            return StorageError(f"{self.path} is not written any more: {error}")
        return _denied(self.path, "written", error)


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that must be there. It waits for nobody, and begins no transaction by itself."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)


def _make(directory: Path) -> None:
    """The directory, and those above it that are missing; durable, as all in it will have to be."""
    try:
        above = [path.parent for path in (directory, *directory.parents) if not path.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        for path in above or [directory.parent]:
            _sync(path)
    except OSError as error:
        raise _denied(directory, "used as the directory of a node's records", error) from error


def _locked(directory: Path) -> sqlite3.Connection:
    """The lock of the directory, held until the connection is closed (rule 1)."""
    path = directory / LOCK_NAME
    lock: sqlite3.Connection | None = None
    try:
        path.touch()
        if not os.access(path, os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES), str(path))
        lock = connect(path)
        lock.execute("BEGIN EXCLUSIVE")
    except (sqlite3.Error, OSError) as error:
        if lock is not None:
            lock.close()
        if _code(error) in _USED:
            raise _used(directory) from error
        if _code(error) == sqlite3.SQLITE_NOTADB:
            raise StorageError(
                f"{path} cannot be locked: {error}. There is never anything in it: when no node uses the directory, "
                "remove this file, and nothing is lost."
            ) from error
        raise _denied(path, "locked", error) from error
    return lock


def _create(path: Path) -> None:
    """A file without records (rule 3)."""
    new = path.with_name(f"{path.name}.new")
    for left in (new, _journal(new), _journal(path)):
        left.unlink(missing_ok=True)
    new.touch()
    database = connect(new)
    try:
        database.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        database.execute("PRAGMA fullfsync = ON")
        database.execute("BEGIN EXCLUSIVE")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute(_RECORDS)
        database.execute(_HEAD)
        database.execute("INSERT INTO head VALUES (0, ?)", (_START,))
        database.execute("COMMIT")
    finally:
        database.close()
    new.replace(path)


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _sync(directory: Path) -> None:
    """Make durable what a directory lists. Where directories cannot be opened, the system sees to that."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(before: bytes, seq: int, body: bytes) -> bytes:
    digest = blake2b(seq.to_bytes(8), digest_size=16, key=before)
    digest.update(body)
    return digest.digest()


def _divided(records: Iterable[NodeRecord]) -> Iterator[NodeRecord]:
    """The same records, with long `Append`s as several of them."""
    for record in records:
        if not isinstance(record, Append):
            yield record
            continue
        start, size = 0, 0
        for place, entry in enumerate(record.entries):
            size += size_of(entry)
            if size > APPEND_BYTES and place > start:
                yield Append(record.entries[start:place])
                start, size = place, size_of(entry)
        yield Append(record.entries[start:])


def _one(database: sqlite3.Connection, statement: str) -> Any:
    """The only thing that a statement returns."""
    ((found,),) = database.execute(statement).fetchall()
    return found


def _code(error: Exception) -> int | None:
    """The primary error code of SQLite, or `None` where there is none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _used(path: Path) -> StorageError:
    return StorageError(
        f"{path} is in use by another process, or by another node in this one. A directory belongs to one node: end "
        "the other one, or give this one a directory of its own."
    )


def _denied(path: Path, what: str, error: Exception) -> StorageError:
    # SQLite's texts are short: all that the system may have refused is "disk I/O error".
    name: str | None = getattr(error, "sqlite_errorname", None)
    why = f"{error}" if name is None else f"{error} ({name})"
    return StorageError(f"{path} cannot be {what}: {why}. See that there is room, and that this user may write there.")
