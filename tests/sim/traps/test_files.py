"""The rules of the disk of files, by their numbers."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from casty_sim.loop import NotSimulatedError, SimLoop

CUTS = 80
"""So many power cuts show every kind of outcome."""

type Work = Callable[[Path], object]


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    with closing(SimLoop()) as loop:
        yield loop
        loop.disk.close()


def do(loop: SimLoop, work: Callable[[], object]) -> None:
    """Let a program do it."""

    async def main() -> None:
        work()

    loop.run_until_complete(main())


def after_cuts(loop: SimLoop, *works: Work) -> set[bytes | None]:
    """What is in the file, or `None`, after a power cut that came when the program had done that."""
    found: set[bytes | None] = set()
    for number in range(CUTS):
        path = loop.disk.root / str(number)
        for work in works:
            do(loop, lambda work=work, path=path: work(path))  # type: ignore[misc]
        loop.disk.power_cut()
        found.add(path.read_bytes() if path.exists() else None)
    return found


def synced(data: bytes) -> Work:
    def work(path: Path) -> None:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file)

    return work


def test_rule_1_what_is_written_is_there_at_once_and_survives_the_end_of_the_program(loop: SimLoop) -> None:
    path = loop.disk.root / "file"
    do(loop, lambda: path.write_text("there"))
    do(loop, lambda: None)
    loop.disk.end_of_program()
    assert path.read_text() == "there"


def test_rule_1_what_was_synced_survives_a_power_cut(loop: SimLoop) -> None:
    assert after_cuts(loop, synced(b"durable")) == {b"durable"}


def test_rule_1_what_was_written_after_it_was_synced_does_not_surely_though_the_file_stayed_open(
    loop: SimLoop,
) -> None:
    def work(path: Path) -> None:
        with path.open("wb") as file:
            file.write(b"one")
            file.flush()
            os.fsync(file.fileno())
            file.write(b"two")

    assert after_cuts(loop, work) == {b"one", b"onet", b"onetw", b"onetwo"}


def test_rule_1_what_had_not_left_the_program_when_it_was_synced_is_not_durable(loop: SimLoop) -> None:
    def work(path: Path) -> None:
        with path.open("wb") as file:
            file.write(b"x")
            os.fsync(file.fileno())

    assert after_cuts(loop, work) == {b"", b"x"}


def test_rule_1_syncing_through_another_descriptor_counts(loop: SimLoop) -> None:
    def work(path: Path) -> None:
        path.write_bytes(b"x")
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    assert after_cuts(loop, work) == {b"x"}


def test_rule_1_syncing_another_file_does_not_though_it_has_the_number_of_one_that_was_closed(loop: SimLoop) -> None:
    def work(path: Path) -> None:
        path.write_bytes(b"x")
        descriptor = os.open(path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    assert None in after_cuts(loop, work)


def test_rule_2_a_new_file_is_gone_empty_torn_or_there(loop: SimLoop) -> None:
    assert after_cuts(loop, lambda path: path.write_bytes(b"ab")) == {None, b"", b"a", b"ab"}


def test_rule_2_what_was_there_stays_where_more_is_appended(loop: SimLoop) -> None:
    def append(path: Path) -> None:
        with path.open("ab") as file:
            file.write(b"++")

    assert after_cuts(loop, synced(b"there"), append) == {b"there", b"there+", b"there++"}


def test_rule_2_what_was_there_stays_behind_what_is_written_over_it(loop: SimLoop) -> None:
    def write_over(path: Path) -> None:
        with path.open("r+b") as file:
            file.write(b"xyz")

    assert after_cuts(loop, synced(b"abcdef"), write_over) == {b"abcdef", b"xbcdef", b"xycdef", b"xyzdef"}


def test_rule_2_a_file_that_was_truncated_may_be_empty(loop: SimLoop) -> None:
    assert after_cuts(loop, synced(b"abc"), lambda path: path.write_bytes(b"xy")) == {b"abc", b"", b"x", b"xy"}


def test_rule_3_removing_is_durable(loop: SimLoop) -> None:
    assert after_cuts(loop, synced(b"abc"), lambda path: path.unlink()) == {None}
    assert after_cuts(loop, lambda path: path.write_bytes(b"abc"), lambda path: path.unlink()) == {None}


def test_rule_3_a_name_is_durable_and_what_is_in_the_file_is_not_by_that(loop: SimLoop) -> None:
    def replace(path: Path) -> None:
        new = path.with_suffix(".new")
        new.write_bytes(b"new")
        new.replace(path)

    assert after_cuts(loop, synced(b"old"), replace) == {b"", b"n", b"ne", b"new"}


def test_rule_3_a_file_that_was_synced_and_renamed_is_durable(loop: SimLoop) -> None:
    def replace(path: Path) -> None:
        new = path.with_suffix(".new")
        synced(b"new")(new)
        new.replace(path)

    assert after_cuts(loop, synced(b"old"), replace) == {b"new"}


def test_rule_3_so_is_one_that_was_renamed_and_then_synced(loop: SimLoop) -> None:
    def replace(path: Path) -> None:
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(b"new")
            file.flush()
            new.replace(path)
            os.fsync(file.fileno())

    assert after_cuts(loop, synced(b"old"), replace) == {b"new"}


def test_rule_3_files_of_a_directory_that_is_renamed_stay_what_they_are(loop: SimLoop) -> None:
    def work(path: Path) -> None:
        before = path.with_suffix(".dir")
        before.mkdir()
        (before / "file").write_bytes(b"x")
        before.rename(path.with_suffix(".to"))

    contents = set()
    for number in range(CUTS):
        path = loop.disk.root / str(number)
        do(loop, lambda path=path: work(path))  # type: ignore[misc]
        loop.disk.power_cut()
        contents.add((path.with_suffix(".to") / "file").read_bytes())
    assert contents == {b"", b"x"}


def test_rule_4_transactions_are_durable_and_what_was_not_committed_is_undone(loop: SimLoop) -> None:
    kept = []

    def work(path: Path) -> None:
        path.touch()
        database = sqlite3.connect(path)
        kept.append(database)
        database.execute("CREATE TABLE t (x)")
        with database:
            database.execute("INSERT INTO t VALUES (1)")
        database.execute("INSERT INTO t VALUES (2)")

    for number in range(10):
        path = loop.disk.root / str(number)
        do(loop, lambda path=path: work(path))  # type: ignore[misc]
        loop.disk.power_cut()
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT x FROM t").fetchall() == [(1,)]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        kept[0].execute("SELECT 1")


def test_rule_4_a_database_that_is_renamed_is_one_still(loop: SimLoop) -> None:
    def work(path: Path) -> None:
        new = path.with_suffix(".new")
        new.touch()
        with closing(sqlite3.connect(new, isolation_level=None)) as database:
            database.execute("CREATE TABLE t (x)")
        new.rename(path)
        path.touch()

    for number in range(20):
        path = loop.disk.root / str(number)
        do(loop, lambda path=path: work(path))  # type: ignore[misc]
        loop.disk.power_cut()
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT x FROM t").fetchall() == []


def test_rule_5_a_full_disk(loop: SimLoop) -> None:
    path, base = loop.disk.root / "file", loop.disk.root / "base"

    def work() -> None:
        with path.open("wb") as file, closing(sqlite3.connect(base)) as database:
            database.execute("CREATE TABLE t (x)")
            loop.disk.full = True
            for call in (lambda: path.open("wb"), lambda: os.open(path, os.O_WRONLY), lambda: os.fsync(file)):
                with pytest.raises(OSError, match="No space") as caught:
                    call()
                assert caught.value.errno == errno.ENOSPC
            assert path.read_bytes() == b""
            for statement in (database.execute, database.cursor().execute, database.executescript):
                with pytest.raises(sqlite3.OperationalError, match="full"):
                    statement("INSERT INTO t VALUES (1)")
            loop.disk.full = False
            database.execute("INSERT INTO t VALUES (1)")
            loop.disk.full = True
            with pytest.raises(sqlite3.OperationalError, match="full") as refused:
                database.commit()
            assert refused.value.sqlite_errorname == "SQLITE_FULL"
            with pytest.raises(sqlite3.OperationalError, match="full"), database:
                pass
            assert not database.in_transaction, "it was rolled back"
            assert database.execute("SELECT x FROM t").fetchall() == []

    do(loop, work)
    assert loop.disk.failed


def test_rule_5_a_failing_disk_fails_now_and_then_where_that_can_be_borne(loop: SimLoop) -> None:
    disk = loop.disk
    disk.profile = evolve(disk.profile, failing=0.3)
    results: list[int | None] = []

    def work() -> None:
        for number in range(50):
            try:
                (disk.root / str(number)).write_bytes(b"x")
            except OSError as error:
                results.append(error.errno)
            else:
                results.append(None)

    do(loop, work)
    assert set(results) == {None, errno.EIO}
    disk.may_fail = lambda: False
    results.clear()
    do(loop, work)
    assert results == [None] * 50


def test_rule_6_outside_a_host_can_read_and_change_nothing(loop: SimLoop, tmp_path: Path) -> None:
    there, new, inside = tmp_path / "there", tmp_path / "new", loop.disk.root / "inside"
    there.write_text("theirs")
    with closing(sqlite3.connect(tmp_path / "base")) as database:
        database.execute("CREATE TABLE t (x)")
    refused: list[Callable[[], object]] = [
        lambda: there.write_text("mine"),
        lambda: there.open("a"),
        lambda: os.open(new, os.O_CREAT),
        lambda: there.unlink(),
        lambda: os.remove(there),
        lambda: os.rename(there, inside),
        lambda: inside.replace(new),
        lambda: os.truncate(there, 0),
        lambda: new.mkdir(),
        lambda: tmp_path.rmdir(),
        lambda: shutil.rmtree(tmp_path),
        lambda: there.chmod(0),
        lambda: os.utime(there),
        lambda: os.link(there, new),
        lambda: new.symlink_to(there),
        lambda: shutil.copy(there, new),
        lambda: tempfile.mkdtemp(),
        lambda: tempfile.NamedTemporaryFile(),  # noqa: SIM115
        lambda: sqlite3.connect(tmp_path / "base"),
    ]

    def work() -> None:
        inside.write_text("mine")
        assert there.read_text() == "theirs"
        for call in refused:
            with pytest.raises(NotSimulatedError, match="a host has a disk of its own"):
                call()
        with closing(sqlite3.connect(f"file:{tmp_path / 'base'}?mode=ro", uri=True)) as base:
            assert base.execute("SELECT x FROM t").fetchall() == []
        with open(os.devnull, "w") as null:
            null.write("nothing")

    do(loop, work)
    assert there.read_text() == "theirs"
    assert sorted(os.listdir(tmp_path)) == ["base", "there"]


def test_inside_it_can_do_all_of_it(loop: SimLoop) -> None:
    root = loop.disk.root

    def work() -> None:
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "b" / "file").write_text("x")
        shutil.copytree(root / "a", root / "c")
        shutil.rmtree(root / "a")
        shutil.move(root / "c", root / "d")
        with tempfile.NamedTemporaryFile(dir=root) as file:
            file.write(b"x")
        os.truncate(root / "d" / "b" / "file", 0)
        os.link(root / "d" / "b" / "file", root / "e")
        os.chmod(root / "e", 0o600)
        (root / "e").unlink()

    do(loop, work)
    assert [path.name for path in root.rglob("*")] == ["d", "b", "file"]


def test_a_directory_is_listed_in_the_order_of_names(loop: SimLoop) -> None:
    names = [str(number * 7919 % 1000) for number in range(100)]

    def work() -> None:
        for name in names:
            (loop.disk.root / name).touch()
        assert os.listdir(loop.disk.root) == sorted(names)

    do(loop, work)


def test_a_database_in_memory_is_nobody_s_concern(loop: SimLoop) -> None:
    loop.disk.full = True

    def work() -> None:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("CREATE TABLE t (x)")

    do(loop, work)


def test_names_of_temporary_files_are_those_of_the_host(loop: SimLoop) -> None:
    names: list[str] = []

    def work(loop: SimLoop) -> None:
        with tempfile.NamedTemporaryFile(dir=loop.disk.root) as file:
            names.append(Path(file.name).name)

    do(loop, lambda: work(loop))
    with closing(SimLoop()) as another:
        do(another, lambda: work(another))
        another.disk.close()
    assert names[0] == names[1]


def test_wiping_takes_everything(loop: SimLoop) -> None:
    root = loop.disk.root

    def fill() -> None:
        (root / "dir").mkdir()
        (root / "dir" / "file").touch()
        (root / "file").touch()

    do(loop, fill)
    loop.disk.wipe()
    assert list(root.iterdir()) == []
    do(loop, lambda: (root / "file").write_bytes(b"x"))
    assert (root / "file").read_bytes() == b"x"


def test_files_are_written_in_executors_as_well(loop: SimLoop) -> None:
    path = loop.disk.root / "file"

    async def main() -> None:
        await asyncio.to_thread(path.write_bytes, b"x")
        with pytest.raises(NotSimulatedError):
            await asyncio.to_thread(Path("/nowhere").write_bytes, b"x")

    loop.run_until_complete(main())
    assert path.read_bytes() == b"x"
