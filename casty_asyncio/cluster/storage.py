"""The records of a node, written in order and off the event loop.

Theory of operation
-------------------
One thread owns the file of `storage_file.py`; it opens, writes and closes it. The event loop puts records into a queue
and never waits for the disk; the thread calls back into the loop.

1.  Records are written in the order of the calls of `write`.
2.  All that waits is written in one transaction, up to `BATCH_MAX` records. So a slow disk makes longer batches, and
    not a longer queue. `on_written` is told of the last ticket of each.
3.  `on_written` is called for what would survive a power cut, and for nothing else.
4.  After the first error nothing more is written, and `on_failed` is called once. The directory stays locked until
    `close`: the node may still be running, and a second one must not be it as well.
5.  Compaction is work of the thread, after the records of a batch were reported.
6.  The thread is a daemon. A program that ends without `close` is not held up, and loses what was not reported, as it
    would by `kill -9`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from casty_proto.cluster.consensus import NodeRecord

from ..logs import Log
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
        self._queue: SimpleQueue[tuple[int, NodeRecord] | None] = SimpleQueue()
        self._takes_writes = False
        self._fault: Exception | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=f"casty-storage {directory}", daemon=True)

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
        self._thread.start()
        try:
            await asyncio.wait([self._opened])
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._fault is not None:
            await self.close()
            raise self._fault
        self._takes_writes = True
        self._log.debug("%s holds %d records", self._directory, len(self.records))

    def write(self, ticket: int, record: NodeRecord) -> None:
        """Write a record, after those before. Never blocks. After a failure, or `close`, it does nothing."""
        if self._takes_writes:
            self._queue.put((ticket, record))

    async def close(self) -> None:
        """Write what waits, and let go of the directory. No callback comes after this. Harmless when repeated.

        Where the disk does not answer for `CLOSE_SECONDS`, this gives up and logs it; the thread remains then.
        """
        self._takes_writes = False
        self._queue.put(None)
        await asyncio.wait([self._ended], timeout=CLOSE_SECONDS)
        if self._ended.done():
            self._thread.join()
            return
        self.on_written, self.on_failed = _ignore, _ignore
        self._log.error(
            "%s: the disk did not answer for %g s, so the last records may be lost, none of which were reported as "
            "written; the directory remains locked until this process ends",
            self._directory,
            CLOSE_SECONDS,
        )

    # -- on the loop ---------------------------------------------------------------------------------------------------

    def _written(self, ticket: int) -> None:
        self.on_written(ticket)

    def _failed(self, error: StorageError) -> None:
        self._takes_writes = False
        self.on_failed(error)

    def _log_failure(self, error: StorageError) -> None:
        self._log.error("%s", error)

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with RecordFile(self._directory) as file:
                self.records = file.records
                self._call(self._opened.set_result, None)
                self._serve(file)
        except Exception as error:
            # Only the constructor raises.
            self._fault = error
            self._call(self._opened.set_result, None)
        finally:
            self._call(self._ended.set_result, None)

    def _serve(self, file: RecordFile) -> None:
        """Write what comes, until the end or an error."""
        is_last = False
        while not is_last:
            batch, is_last = self._next_batch()
            try:
                if batch:
                    file.append([record for _, record in batch])
                    self._call(self._written, batch[-1][0])
                if file.is_grown:
                    file.compact()
            except Exception as error:
                self._call(self._failed, _as_storage_error(error))
                break
        while not is_last:
            is_last = self._queue.get() is None

    def _next_batch(self) -> tuple[list[tuple[int, NodeRecord]], bool]:
        """What waits, at least one thing; and whether nothing comes after it."""
        item = self._queue.get()
        batch: list[tuple[int, NodeRecord]] = []
        while item is not None:
            batch.append(item)
            if len(batch) == BATCH_MAX:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _call[T](self, callback: Callable[[T], object], argument: T) -> None:
        """Have something called on the loop. A loop that was closed has nobody any more who would want to know."""
        try:
            self._loop.call_soon_threadsafe(callback, argument)
        except RuntimeError:
            if not self._loop.is_closed():
                raise


def _as_storage_error(error: Exception) -> StorageError:
    if isinstance(error, StorageError):
        return error
    wrapped = StorageError(f"a record could not be written: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def _ignore(_: object) -> None:
    """Nobody wants to know."""
