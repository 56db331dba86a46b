"""The other process of a test: `python -m tests.asyncio.cluster.storage_program DIRECTORY DEED`.

It opens the directory and says so. Then it writes the records of `history`, each of them with its number as its ticket,
and says what was reported as written.

`hold`: it writes nothing. `write`: it writes without end. `die`: it kills itself when the second transaction has left
the cache, and is all but committed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import sys
from pathlib import Path

from casty_asyncio.cluster import storage_file
from casty_asyncio.cluster.storage import Storage
from casty_asyncio.cluster.storage_file import FILE_NAME

from .storage_kit import history

AHEAD = 16
"""How many records are on their way."""
MOST = 20_000


def say(word: object) -> None:
    """One line to the other side."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def die_in_commit() -> None:
    """Have the process end where a transaction is about to be committed, with some of it in the file."""
    connect = storage_file.connect
    commits = 0

    def before(sql: str) -> None:
        nonlocal commits
        commits += sql == "COMMIT"
        # Opening has two of its own.
        if commits == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect_to_die(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        if path.name == FILE_NAME:
            connection.execute("PRAGMA cache_size = 1")
            connection.set_trace_callback(before)
        return connection

    storage_file.connect = connect_to_die


async def write(storage: Storage) -> None:
    """Write until somebody ends this."""
    records = history(MOST)
    next_ticket = 1

    def go_on(ticket: int) -> None:
        nonlocal next_ticket
        if ticket:
            say(ticket)
        while next_ticket <= min(ticket + AHEAD, MOST):
            storage.write(next_ticket, records[next_ticket - 1])
            next_ticket += 1

    storage.on_written = go_on
    go_on(0)
    await asyncio.get_running_loop().create_future()


async def write_twice(storage: Storage) -> None:
    """A few records, and when they are written, many at once."""
    records = history(1000)

    def go_on(ticket: int) -> None:
        say(ticket)
        for number in range(ticket + 1, len(records) + 1):
            storage.write(number, records[number - 1])

    storage.on_written = go_on
    for number in range(1, 4):
        storage.write(number, records[number - 1])
    await asyncio.get_running_loop().create_future()


async def main(directory: Path, deed: str) -> None:
    """Do it."""
    if deed == "die":
        die_in_commit()
    elif deed == "write":
        # Compaction, again and again.
        storage_file.SLACK_BYTES = 2_000
    storage = await Storage.open(directory, logging.getLogger("other"))
    say("open")
    match deed:
        case "write":
            await write(storage)
        case "die":
            await write_twice(storage)
    await asyncio.to_thread(sys.stdin.readline)
    await storage.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
