"""What is left on the disk after a crash, and after damage.

Numbers are those of the rules in `storage_file.py`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_asyncio.cluster import storage_file
from casty_asyncio.cluster.storage import Storage, StorageError
from casty_asyncio.cluster.storage_file import APPLICATION_ID, FILE_NAME, FORMAT, LOCK_NAME, RecordFile
from casty_proto.cluster.disk import NodeRecord, recover_node
from casty_proto.raft import Append

from ..probe import within
from ..remote.kit import ROOT
from .storage_kit import JOURNAL_NAME, LOG, copied, entry, found, history, hook, written
from .storage_program import AHEAD


@pytest.fixture(autouse=True, scope="module")
def _no_power_cut() -> Iterator[None]:
    """What a process has written is in its file when it is killed, on the disk or not. The others wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage_file, "SYNCHRONOUS", "OFF")
        patch.setattr(storage_file, "_sync", lambda directory: None)
        yield


# -- processes ---------------------------------------------------------------------------------------------------------


class Other:
    """A process that has opened a directory; see `storage_program.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def said(self) -> str:
        """The next line that it says, or nothing when it has ended."""
        assert self._process.stdout is not None
        line: bytes = await within(self._process.stdout.readline())
        return line.decode().strip()

    async def kill(self) -> None:
        """End it, whatever it does."""
        os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def rest(self) -> list[int]:
        """What it has reported as written, to its end."""
        tickets = []
        while line := await self.said():
            tickets.append(int(line))
        return tickets


@asynccontextmanager
async def process(directory: Path, deed: str) -> AsyncIterator[Other]:
    """A process that runs until the end of the block, if nobody ends it before."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.asyncio.cluster.storage_program",
        str(directory),
        deed,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        other = Other(started)
        assert await other.said() == "open"
        yield other
    finally:
        if started.returncode is None:
            os.kill(started.pid, signal.SIGKILL)
        await started.wait()
        # The transport of a process is closed by its last pipe.
        started._transport.close()  # type: ignore[attr-defined]


async def test_rule_1_two_processes_on_one_directory_are_refused(tmp_path: Path) -> None:
    async with process(tmp_path, "hold") as other:
        with pytest.raises(StorageError, match="is in use by another process"):
            await Storage.open(tmp_path, LOG)
        # The lock ends with the process, however that ends.
        await other.kill()
        storage = await Storage.open(tmp_path, LOG)
        await storage.close()


@pytest.mark.parametrize("reports", [1, 20, 60])
async def test_rule_4_a_process_that_is_killed_loses_nothing_that_was_reported(tmp_path: Path, reports: int) -> None:
    async with process(tmp_path, "write") as other:
        for _ in range(reports):
            last = int(await other.said())
        await other.kill()
        last = max([last, *await other.rest()])
    recovered = recover_node(found(tmp_path))
    # What it had was one of the states after the last report, and none that lies between two of them.
    assert recovered in [recover_node(history(count)) for count in range(last, last + AHEAD + 1)]


async def test_rule_4_a_process_that_is_killed_in_a_write_has_written_nothing_of_it(tmp_path: Path) -> None:
    async with process(tmp_path, "die") as other:
        assert await other.rest() == [3]
    assert (tmp_path / JOURNAL_NAME).stat().st_size > 0
    before = (tmp_path / FILE_NAME).stat().st_size
    assert found(tmp_path) == history(3)
    # Some of it had reached the file.
    assert before > (tmp_path / FILE_NAME).stat().st_size


# -- crashes at each statement -----------------------------------------------------------------------------------------


def crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[NodeRecord, ...]], compacts: bool = False
) -> Iterator[tuple[int, Path]]:
    """What a crash leaves while `steps` are appended, and how many of those were durable.

    There is one before each statement; but of all that insert a row, only before every fourth.
    """
    made: list[tuple[int, Path]] = []
    durable = inserts = 0

    def before(sql: str) -> None:
        nonlocal inserts
        if sql.startswith("INSERT"):
            inserts += 1
            if inserts % 4:
                return
        made.append((durable, copied(directory, tmp_path / f"crash{len(made)}")))

    directory = tmp_path / "live"
    with monkeypatch.context() as patch:
        # A small cache: what is not committed yet is in the file all the same.
        hook(patch, before, "cache_size = 1")
        with RecordFile(directory) as file:
            for step in steps:
                file.append(step)
                durable += 1
                if compacts:
                    file.compact()
    yield from made


def test_rule_4_a_crash_anywhere_leaves_all_of_a_transaction_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = history(60)
    steps = [records[:3], records[3:40], records[40:]]
    ends = [0, 3, 40, 60]
    with_journal = 0
    for durable, directory in crashes(tmp_path, monkeypatch, steps):
        journal = directory / JOURNAL_NAME
        with_journal += journal.exists() and journal.stat().st_size > 0
        assert found(directory) == records[: ends[durable]]
    assert with_journal > 8


def test_rule_6_a_crash_in_a_compaction_leaves_the_one_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = history(100)
    states = [recover_node(records[:count]) for count in (0, 60, 100)]
    lengths = []
    for durable, directory in crashes(tmp_path, monkeypatch, [records[:60], records[60:]], compacts=True):
        left = found(directory)
        lengths.append(len(left))
        assert recover_node(left) == states[durable]
    assert {0, 60, 5, 45} == set(lengths)


def test_rule_3_a_crash_in_the_creation_leaves_a_directory_that_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    connect = storage_file.connect

    def before(sql: str) -> None:
        made.append(tmp_path / f"crash{len(made)}")
        shutil.copytree(tmp_path / "live", made[-1])

    def connect_and_copy(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(before)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(storage_file, "connect", connect_and_copy)
        written(tmp_path / "live", history(3))
    empty = [directory for directory in made if found(directory) == ()]
    assert sum([(directory / f"{FILE_NAME}.new").exists() for directory in made]) == 0
    assert 10 < len(empty) <= len(made)
    for directory in empty:
        written(directory, history(3))
        assert found(directory) == history(3)


# -- damage ------------------------------------------------------------------------------------------------------------

SOUND = history(60)
LATER = history(90)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a node that was closed."""
    directory = written(tmp_path_factory.mktemp("sound"), SOUND)
    with RecordFile(directory) as file:
        file.compact()
        file.append(history(75)[60:])
    return {FILE_NAME: (directory / FILE_NAME).read_bytes()}


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a node that was killed in a write, with some of that in them."""
    tmp_path = tmp_path_factory.mktemp("crashed")
    with pytest.MonkeyPatch.context() as patch:
        *_, (durable, last) = crashes(tmp_path, patch, [SOUND, LATER[60:]])
    assert durable == 1
    return {name: (last / name).read_bytes() for name in (FILE_NAME, JOURNAL_NAME)}


def damaged(files: dict[str, bytes], place: int, bits: int) -> tuple[NodeRecord, ...] | None:
    """What is found in these files when one byte of them is another one; `None` where they are refused."""
    with tempfile.TemporaryDirectory() as directory:
        for name, content in files.items():
            changed = bytearray(content)
            if 0 <= place < len(content):
                changed[place] ^= bits
            place -= len(content)
            (Path(directory) / name).write_bytes(changed)
        try:
            return found(Path(directory))
        except StorageError:
            return None


places = st.floats(0, 1, exclude_max=True)


@settings(max_examples=150)
@given(places, st.integers(1, 255))
def test_rule_2_another_byte_in_the_file_is_refused_or_has_no_effect(
    sound: dict[str, bytes], place: float, bits: int
) -> None:
    left = damaged(sound, int(place * len(sound[FILE_NAME])), bits)
    assert left is None or recover_node(left) == recover_node(history(75))


def test_rule_2_another_byte_in_the_header_is_refused_or_has_no_effect(sound: dict[str, bytes]) -> None:
    whole = damaged(sound, -1, 0)
    assert whole is not None
    assert recover_node(whole) == recover_node(history(75))
    results = [damaged(sound, place, 1 << place % 8) for place in range(100)]
    assert all(left is None or left == whole for left in results)
    assert 25 < results.count(None) < 100
    # How many free pages there are. A page that is taken for free would be written over one day.
    assert damaged(sound, 39, 1) is None


@settings(max_examples=60)
@given(places, st.integers(1, 255))
def test_rule_2_another_byte_after_a_crash_is_refused_or_leaves_what_was_reported(
    crashed: dict[str, bytes], place: float, bits: int
) -> None:
    left = damaged(crashed, int(place * sum(map(len, crashed.values()))), bits)
    assert left is None or left in (SOUND, LATER)


def test_rule_2_a_file_that_is_cut_off_is_refused(sound: dict[str, bytes], tmp_path: Path) -> None:
    content = sound[FILE_NAME]
    for number, length in enumerate([0, 1, 100, 4095, 4096, 8192, len(content) - 4096]):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / FILE_NAME).write_bytes(content[:length])
        with pytest.raises(StorageError, match="is damaged"):
            found(directory)
        assert (directory / FILE_NAME).read_bytes() == content[:length]


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM records WHERE seq = 30", "record 30 is not what was written"),
        ("DELETE FROM records WHERE seq = 60", "it has 59 records, and these are not all"),
        ("DELETE FROM records", "it has 0 records"),
        ("UPDATE records SET seq = 61 WHERE seq = 60", "record 60 is not"),
        ("UPDATE records SET body = (SELECT body FROM records WHERE seq = 8) WHERE seq = 9", "record 9 is not"),
        ("UPDATE records SET body = 'text' WHERE seq = 9", "record 9 is not"),
        ("UPDATE records SET digest = zeroblob(16) WHERE seq = 9", "record 9 is not"),
        ("UPDATE head SET count = 59", "it has 60 records, and these are not all"),
        ("UPDATE head SET digest = zeroblob(16)", "it has 60 records, and these are not all"),
        ("INSERT INTO head SELECT * FROM head", "it has 60 records, and these are not all"),
        ("DELETE FROM head", "it has 60 records, and these are not all"),
        ("DROP TABLE head", "its tables are not those"),
        ("CREATE INDEX more ON records(body)", "its tables are not those"),
        ("PRAGMA application_id = 1", "it may be another program's"),
        ("PRAGMA user_version = 0", "it claims to have format 0"),
    ],
)
def test_rule_2_what_somebody_else_has_changed_is_refused(tmp_path: Path, statement: str, why: str) -> None:
    changed(written(tmp_path, SOUND), statement)
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(StorageError, match=rf"{FILE_NAME} is damaged: .*{why}.*start the node with an empty directory"):
        found(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_rule_2_a_record_of_another_node_among_the_others_is_refused(tmp_path: Path) -> None:
    """It is as it was written, and in the place in which it was written."""
    here, there = tmp_path / "here", tmp_path / "there"
    written(here, SOUND)
    written(there, (*SOUND[:20], Append((entry(18, 8),)), *SOUND[21:]))
    other = sqlite3.connect(there / FILE_NAME)
    row = other.execute("SELECT digest, body FROM records WHERE seq = 21").fetchone()
    other.close()
    changed(here, "UPDATE records SET digest = ?, body = ? WHERE seq = 21", row)
    with pytest.raises(StorageError, match="record 22 is not what was written"):
        found(here)


def test_rule_2_the_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    changed(written(tmp_path, SOUND), f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(StorageError, match=rf"was made by a newer version .* format {FORMAT + 1}.*knows {FORMAT}\."):
        found(tmp_path)


def test_rule_2_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("no database" * 1000)
    with pytest.raises(StorageError, match="is damaged: file is not a database"):
        found(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / LOCK_NAME).write_text("no lock" * 1000)
    with pytest.raises(StorageError, match=r"cannot be locked: file is not a database.* remove this file"):
        found(tmp_path)


def test_what_is_damaged_is_said_in_one_line(tmp_path: Path) -> None:
    """What SQLite says of a page that is no page has several."""
    file = written(tmp_path, SOUND) / FILE_NAME
    content = file.read_bytes()
    file.write_bytes(content[:8192] + bytes(4096) + content[12288:])
    with pytest.raises(StorageError, match=r"is damaged: .* start the node with an empty directory") as error:
        found(tmp_path)
    assert str(error.value).isprintable()


def test_rule_2_records_that_do_not_follow_from_one_another_are_refused(tmp_path: Path) -> None:
    written(tmp_path, (*SOUND[:10], *SOUND[11:]))
    with pytest.raises(StorageError, match="do not follow from one another: entry 9 does not follow 0 to 7"):
        found(tmp_path)


def test_the_file_says_whose_it_is(tmp_path: Path) -> None:
    content = (written(tmp_path, SOUND) / FILE_NAME).read_bytes()
    assert content[68:72] == APPLICATION_ID.to_bytes(4) == b"Cast"
    assert content[60:64] == FORMAT.to_bytes(4)


def changed(directory: Path, statement: str, parameters: tuple[bytes, ...] = ()) -> None:
    """Do something to a file as another program would."""
    other = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
    other.execute(statement, parameters)
    other.close()
