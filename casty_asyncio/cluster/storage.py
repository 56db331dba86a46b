"""The records of a node, written in order and off the event loop.

Theory of operation
-------------------
A thread of its own has the file of `storage_file.py`; it opens, writes and closes it, one thing after the other, as the
event loop asks it to. The loop never waits for the disk.

1.  Records are written in the order of the calls of `write`.
2.  One batch is written at a time, in one transaction: all that waited when it began, up to `BATCH_MAX` records. So a
    slow disk makes longer batches, and not a longer queue. `on_written` is told of the last ticket of each.
3.  `on_written` is called for what would survive a power cut, and for nothing else.
4.  After the first error nothing more is written, and `on_failed` is called once. The directory stays locked until
    `close`: the node may still be running, and a second one must not be it as well.
5.  Compaction is work of the thread, after the records of a batch were reported.
6.  The thread is a daemon. A program that ends without `close` is not held up, and loses what was not reported, as it
    would by `kill -9`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from casty_proto.cluster.disk import NodeRecord

from ..logs import Log
from .daemon import DaemonThread
from .storage_file import RecordFile, StorageError

__all__ = ["Storage", "StorageError"]

BATCH_MAX = 1024
CLOSE_SECONDS = 30.0
"""How long `close` waits for the disk."""


class Storage:
    """What a node has on its disk. Made by `open`; used on one event loop.

    `on_written` and `on_failed` are to be set before the first `write`. They are called on the loop.
    """

    def __init__(self, directory: Path, log: Log) -> None:
        """Not to be called by others: `open` does."""
        self.on_written: Callable[[int], None] = _ignore
        """Called with a ticket: its record and all before it are durable."""
        self.on_failed: Callable[[StorageError], None] = self._log_failure
        """Called once when a record could not be written. Nothing more will be: the node must stop."""
        self.records: tuple[NodeRecord, ...] = ()
        """What was found when it was opened, in order; or fewer that amount to the same."""
        self._directory = directory
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[int, NodeRecord]] = deque()
        self._takes_writes = False
        self._file: RecordFile | None = None
        """Used by the thread, and by the loop only while the thread has nothing to do."""
        self._work: asyncio.Future[None] | None = None
        """What the thread is doing."""
        self._is_due = False
        """Whether a batch is to begin in the next turn."""
        self._ended: asyncio.Future[None] | None = None
        """Set by `close`: whether the thread has let go of the file."""
        self._thread = DaemonThread(f"casty-storage {directory}")

    @classmethod
    async def open(cls, directory: Path, log: Log) -> Storage:
        """Open the records in `directory`, which is created where it is missing, and lock it.

        Raises `StorageError` where the directory is in use, cannot be used, or holds something that is not as it was
        written. Then nothing of it is used, and it is not locked.
        """
        storage = cls(directory, log)
        await storage._begin()
        return storage

    async def _begin(self) -> None:
        opened: asyncio.Future[None] = self._loop.create_future()
        self._start(self._open_file, opened, self._on_opened)
        # A thread cannot be cancelled: `close` waits for it.
        try:
            await asyncio.shield(opened)
        except BaseException:
            await self.close()
            raise
        self._takes_writes = True
        self._log.debug("%s holds %d records", self._directory, len(self.records))

    def write(self, ticket: int, record: NodeRecord) -> None:
        """Write a record, after those before. Never blocks. After a failure, or `close`, it does nothing."""
        if self._takes_writes:
            self._waiting.append((ticket, record))
            if self._work is None and not self._is_due:
                # What else is written in this turn of the loop comes into the same batch (rule 2).
                self._is_due = True
                self._loop.call_soon(self._go_on)

    async def close(self) -> None:
        """Write what waits, and let go of the directory. No callback comes after this. Harmless when repeated.

        Where the disk does not answer for `CLOSE_SECONDS`, this gives up and logs it; the thread remains then.
        """
        self._takes_writes = False
        if self._ended is None:
            self._ended = self._loop.create_future()
            self._go_on()
        await asyncio.wait([self._ended], timeout=CLOSE_SECONDS)
        if self._ended.done():
            return
        self.on_written, self.on_failed = _ignore, _ignore
        self._log.error(
            "%s: the disk did not answer for %g s, so the last records may be lost, none of which were reported as "
            "written; the directory remains locked until this process ends",
            self._directory,
            CLOSE_SECONDS,
        )

    # -- on the loop ---------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Give the thread the next thing to do, when it has nothing."""
        self._is_due = False
        if self._work is not None:
            return
        if self._waiting:
            batch = list(islice(self._waiting, BATCH_MAX))
            for _ in batch:
                self._waiting.popleft()
            self._start(self._append, batch, self._on_written)
        elif self._ended is not None and not self._ended.done():
            self._start(self._close_file, None, self._on_closed)

    def _start[T](
        self, work: Callable[[T], None], argument: T, done: Callable[[T, asyncio.Future[None]], None]
    ) -> None:
        self._work = future = self._loop.run_in_executor(self._thread, work, argument)
        future.add_done_callback(lambda future: done(argument, future))

    def _on_opened(self, opened: asyncio.Future[None], work: asyncio.Future[None]) -> None:
        self._work = None
        error = work.exception()
        if not opened.done():
            if error is None:
                opened.set_result(None)
            else:
                opened.set_exception(error)
        self._go_on()

    def _on_written(self, batch: list[tuple[int, NodeRecord]], work: asyncio.Future[None]) -> None:
        self._work = None
        if (error := work.exception()) is not None:
            self._fail(error)
            return
        # What is told of it may write more, which has to wait for the compaction.
        grown = self._file is not None and self._file.is_grown
        if grown:
            self._start(self._compact, None, self._on_compacted)
        self.on_written(batch[-1][0])
        self._go_on()

    def _on_compacted(self, _: None, work: asyncio.Future[None]) -> None:
        self._work = None
        if (error := work.exception()) is not None:
            self._fail(error)
        else:
            self._go_on()

    def _on_closed(self, _: None, work: asyncio.Future[None]) -> None:
        self._work = None
        self._thread.shutdown()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        if (error := work.exception()) is not None:
            self._log.error("%s: the file could not be closed: %s", self._directory, error)

    def _fail(self, error: BaseException) -> None:
        self._takes_writes = False
        self._waiting.clear()
        self.on_failed(_as_storage_error(error))
        self._go_on()

    def _log_failure(self, error: StorageError) -> None:
        self._log.error("%s", error)

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _open_file(self, _: object) -> None:
        self._file = RecordFile(self._directory)
        self.records = self._file.records

    def _append(self, batch: list[tuple[int, NodeRecord]]) -> None:
        if self._file is not None:
            self._file.append([record for _, record in batch])

    def _compact(self, _: None) -> None:
        if self._file is not None:
            self._file.compact()

    def _close_file(self, _: None) -> None:
        if self._file is not None:
            self._file.close()


def _as_storage_error(error: BaseException) -> StorageError:
    if isinstance(error, StorageError):
        return error
    wrapped = StorageError(f"a record could not be written: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def _ignore(_: object) -> None:
    """Nobody wants to know."""
