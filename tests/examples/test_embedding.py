"""The protocols in other runtimes: the drivers do what they show, and the guide tells the truth."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import IO

import pytest
import trio
from attrs import evolve

from casty_proto.machine import Persist, Persisted, Wake
from casty_proto.raft import Append, Ballot, Command, Entry, Record, SaveSnapshot, recover
from casty_proto.wire import Encoder, Types
from examples.embedding import threads_driver, trio_driver
from examples.embedding.journal import Journal, JournalError
from examples.embedding.node import OPTIONS, RAFT, Effect, Event, Node, Received, Said, Start
from examples.embedding.show import free_ports

from .programs import ROOT, TIMEOUT, environment, execute

FOLDER = ROOT / "examples" / "embedding"
DRIVERS = ("threads_driver", "trio_driver")
GUIDE = (FOLDER / "README.md").read_text(encoding="utf-8")
BLOCKS = [(match[1], match[2]) for match in re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)]
BETWEEN = "──── the next program\n"
ALONE = "127.0.0.1:0"
"""The address of a node that nobody has to find."""


def module(name: str, *arguments: str) -> list[str]:
    """The command line of one of our programs."""
    return [sys.executable, "-W", "error", "-m", f"examples.embedding.{name}", *arguments]


# -- the guide ---------------------------------------------------------------------------------------------------------


def test_every_program_of_the_guide_runs_and_prints_what_stands_below_it(tmp_path: Path) -> None:
    programs = [number for number, (language, _) in enumerate(BLOCKS) if language == "python"]
    shown = [BLOCKS[number + 1][1] if BLOCKS[number + 1][0] == "text" else "" for number in programs]
    assert len([text for text in shown if text]) == 3
    program = tmp_path / "guide.py"
    program.write_text(f"\nprint({BETWEEN!r}, end='')\n".join([BLOCKS[number][1] for number in programs]))
    done = execute(program, folder=tmp_path)
    assert done.stdout.split(BETWEEN) == shown
    assert (done.returncode, done.stderr) == (0, "")


def test_the_walk_of_the_guide_is_the_one_of_the_file_and_prints_the_same(tmp_path: Path) -> None:
    (_, code), (_, shown) = (BLOCKS[number] for number in (1, 2))
    source = (FOLDER / "walk.py").read_text(encoding="utf-8")
    assert code.removesuffix("walk()\n").rstrip() in source
    done = subprocess.run(module("walk"), cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr, done.returncode) == (shown, "", 0)


def test_the_walk_has_no_more_than_twenty_lines() -> None:
    source = (FOLDER / "walk.py").read_text(encoding="utf-8")
    (walk,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    assert walk.end_lineno is not None
    assert len([line for line in source.splitlines()[walk.lineno - 1 : walk.end_lineno] if line.strip()]) <= 20


def test_the_driver_of_the_guide_has_about_forty_lines() -> None:
    code = "".join([code for language, code in BLOCKS[3:6] if language == "python"])
    assert "select.select" in code
    functions = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert sum((node.end_lineno or 0) - node.lineno + 1 for node in functions) <= 45


def test_every_link_and_command_of_the_guide_leads_to_something_that_is_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", GUIDE)
    assert len(links) > 10
    assert not [link for link in links if not (FOLDER / link).exists()]
    commands = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]
    assert commands == [f"python -m examples.embedding.{name}" for name in DRIVERS]


# -- the drivers -------------------------------------------------------------------------------------------------------

SEEN = (
    "each knows the two others alive",
    "Raft: all agree on who leads",
    "colour=blue is applied by all",
    "{leader} has ended",
    "SWIM: the others know that {leader} is dead",
    "Raft: all agree on who leads",
    "colour=green is applied by all",
    "{leader} is alive again",
    "{leader} has caught up",
)


@pytest.mark.parametrize("driver", DRIVERS)
def test_three_processes_elect_a_leader_survive_its_kill_and_take_it_back(driver: str, tmp_path: Path) -> None:
    done = subprocess.run(
        module(driver), cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8", timeout=TIMEOUT
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    killed = re.search(r"^show  (n\d) was killed with SIGKILL$", done.stdout, re.MULTILINE)
    assert killed is not None
    seen = re.findall(r"^seen  (.*)$", done.stdout, re.MULTILINE)
    assert [text for text in seen if not text.startswith("an answer")] == [
        text.format(leader=killed[1]) for text in SEEN
    ]
    first, second = re.findall(r"^show  (n\d) leads in term (\d+)$", done.stdout, re.MULTILINE)
    assert first[0] == killed[1] != second[0]
    assert int(first[1]) < int(second[1])


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_has_less_than_200_lines_and_knows_no_protocol(driver: str) -> None:
    source = (FOLDER / f"{driver}.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 200
    imported = {node.module or "" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    imported |= {
        name.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import) for name in node.names
    }
    casty = {name for name in imported if name.startswith("casty_")}
    assert casty == {"casty_proto.machine", "casty_proto.wire"}
    runtime = {name.split(".")[0] for name in imported - casty} - {"journal", "node", "show"}
    assert runtime - sys.stdlib_module_names == ({"trio"} if driver == "trio_driver" else set())


class Overdue:
    """A machine that wants to be woken, and counts until it is."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event, now: int) -> tuple[Effect, ...]:
        self.events.append(event)
        return ()

    def deadline(self) -> int | None:
        return None if Wake() in self.events else 0

    def invariants(self) -> None:
        assert self.events


def test_the_alarm_is_not_held_up_by_messages_with_threads(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "log", ("a",))) as journal:
        driver = threads_driver.Driver(Overdue(), ALONE, journal, print)
        driver.inbox.put(Received("b", "message"))
        assert driver.next_event() == Wake()


def test_the_alarm_is_not_held_up_by_messages_on_trio(tmp_path: Path) -> None:
    machine = Overdue()

    async def busy(driver: trio_driver.Driver) -> None:
        for _ in range(6):
            driver.feed(Received("b", "message"))
            await trio.lowlevel.checkpoint()

    async def flood(driver: trio_driver.Driver) -> None:
        async with trio.open_nursery() as alarm:
            alarm.start_soon(driver.ring)
            async with trio.open_nursery() as peers:
                for _ in range(100):
                    peers.start_soon(busy, driver)
            alarm.cancel_scope.cancel()

    with closing(Journal(tmp_path / "log", ("a",))) as journal:
        trio.run(flood, trio_driver.Driver(machine, ALONE, journal, print))
    assert len(machine.events) == 601
    assert machine.events.index(Wake()) <= 300


CAPPED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop()), resource.RLIM_INFINITY))
runpy.run_module(sys.argv.pop(), run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files cannot be limited in size")
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_write_that_fails_ends_the_node_before_it_promises_anything(driver: str, tmp_path: Path) -> None:
    Journal(tmp_path / "size", (ALONE,)).close()
    size = (tmp_path / "size").stat().st_size
    arguments = (ALONE, str(tmp_path), ALONE, f"examples.embedding.{driver}", str(size + 1))
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", CAPPED, *arguments],
            stdin=reading,
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert "OSError" in done.stderr
    assert "File too large" in done.stderr
    assert done.returncode == 1
    roles = [text.split()[0] for kind, text in map(json.loads, done.stdout.splitlines()) if kind == "role"]
    assert roles == ["pre-candidate", "candidate"]


@contextmanager
def running(driver: str, me: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A node that is alone in its cluster, and what it says. It is ended by its id, if it has not ended."""
    with subprocess.Popen(
        module(driver, me, str(folder), me),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        encoding="utf-8",
    ) as node:
        assert node.stdout is not None
        try:
            yield node, node.stdout
        finally:
            node.kill()


def send(port: int, *messages: object) -> None:
    """Say something to a node, as somebody who is none."""
    # Without a list of types: it sends what no node takes as well.
    encoder = Encoder(Types(), OPTIONS)
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        for value in ("somebody", *messages):
            connection.sendall(encoder.encode_frame(value))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_node_ends_with_the_process_that_started_it(driver: str, tmp_path: Path) -> None:
    with running(driver, ALONE, tmp_path) as (node, said):
        assert any("leader" in line for line in said)
        assert node.stdin is not None
        node.stdin.close()
        assert node.wait(TIMEOUT) == 0


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_node_that_was_killed_finds_what_it_had_answered(driver: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    me = f"127.0.0.1:{port}"
    with running(driver, me, tmp_path) as (node, said):
        assert any("leader" in line for line in said)
        send(port, ("set", "x=1"))
        assert any("x=1 committed" in line for line in said)
        node.kill()
    with running(driver, me, tmp_path) as (_, said):
        assert any("applied" in line and "x=1" in line for line in said)


@pytest.mark.parametrize("driver", DRIVERS)
def test_rubbish_from_the_network_ends_a_connection_and_not_the_node(driver: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running(driver, f"127.0.0.1:{port}", tmp_path) as (_, said):
        assert any("leader" in line for line in said)
        for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"\0\0\0\x02\xc1\xc1", b"\xff" * 100):
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
                connection.sendall(rubbish)
                assert heard_until_closed(connection) == b""
        send(port, Ballot(1, "a"), ("raft", "rubbish"), "rubbish", ("set", "x=1"))
        lines = list(itertools.takewhile(lambda line: "applied" not in line, said))
        assert len([line for line in lines if json.loads(line)[0] == "note"]) == 2


def heard_until_closed(connection: socket.socket) -> bytes:
    """What comes before the other end closes the connection, in whichever way it does."""
    try:
        return connection.recv(100)
    except ConnectionResetError:
        return b""


# -- the journal -------------------------------------------------------------------------------------------------------

FIRST = (Ballot(1, "a"), Append((Entry(1, 1, Command(b"x=1")),)))
SECOND = Append((Entry(2, 1, Command(b"y=2")),))


def written(path: Path) -> None:
    """A journal with three records beside those of its founding."""
    with closing(Journal(path, ("a",))) as journal:
        journal.append(FIRST)
        journal.append([SECOND])


def records_of(path: Path, *founders: str) -> tuple[Record, ...]:
    """What a node would start with."""
    with closing(Journal(path, founders or ("a",))) as journal:
        return journal.records


def entries_of(path: Path) -> list[object]:
    """The commands of its log."""
    return [entry.payload for entry in recover(records_of(path)).entries]


def test_what_was_appended_is_there_after_a_restart_and_after_another(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path)
    found = recover(records_of(path))
    assert (found.term, found.vote, found.base.configuration.voters) == (1, "a", ("a",))
    assert entries_of(path) == [Command(b"x=1"), Command(b"y=2")]


@pytest.mark.parametrize("tail", [b"", b"\0" * 64, b"\0\0\0\x08abcdefgh"], ids=["cut", "zeros", "garbage"])
def test_a_torn_end_is_cut_off_and_written_over(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path)
    path.write_bytes(path.read_bytes()[:-3] + tail if not tail else path.read_bytes()[: -len_of_last(path)] + tail)
    assert entries_of(path) == [Command(b"x=1")]
    with closing(Journal(path, ("a",))) as journal:
        journal.append([SECOND])
    assert entries_of(path) == [Command(b"x=1"), Command(b"y=2")]


def len_of_last(path: Path) -> int:
    """How many bytes the last frame of a journal has."""
    data, start, length = path.read_bytes(), 0, 0
    while start < len(data):
        length = 4 + int.from_bytes(data[start : start + 4])
        start += length
    return length


def test_damage_before_good_records_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path)
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match="record 1 is damaged"):
        Journal(path, ("a",))
    assert path.read_bytes() == data


# -- the node ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rubbish", [None, (), ("raft",), ("set", 1), ("leave", 1), "leave"], ids=repr)
def test_a_node_drops_rubbish_with_a_note(rubbish: object, tmp_path: Path) -> None:
    node = Node("a", ("a", "b"), records_of(tmp_path / "log", "a", "b"), 1, Random(1))
    node.handle(Start(), 0)
    before = node.deadline()
    (note,) = node.handle(Received("b", rubbish), 1)
    assert isinstance(note, Said)
    assert note.kind == "note"
    assert node.deadline() == before
    node.invariants()


def test_a_node_wakes_for_whichever_of_its_parts_is_first(tmp_path: Path) -> None:
    node = Node("a", ("a",), records_of(tmp_path / "log"), 1, Random(1))
    node.handle(Start(), 0)
    due = min(at for at in (node.raft.deadline(), node.swim.deadline()) if at is not None)
    assert node.deadline() == due
    assert [effect for effect in node.handle(Wake(), due) if isinstance(effect, Persist)]
    node.invariants()


def fed(node: Node, journal: Journal, event: Event) -> tuple[list[Said], list[object]]:
    """Feed one event, and that its records are written. What was said, and the records."""
    due, said, records = [event], list[Said](), list[object]()
    while due:
        for effect in node.handle(due.pop(0), node.deadline() or 0):
            match effect:
                case Persist(ticket, record):
                    journal.append([record])
                    records.append(record)
                    due.append(Persisted(ticket))
                case Said():
                    said.append(effect)
        node.invariants()
    return said, records


def test_a_node_begins_again_with_its_snapshot_and_what_came_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.embedding.node.RAFT", evolve(RAFT, snapshot_entries=4, snapshot_factor=0))
    events: list[Event] = [Start(), Wake(), *(Received("b", ("set", f"k{number}=v{number}")) for number in range(10))]
    with closing(Journal(tmp_path / "log", ("a",))) as journal:
        node = Node("a", ("a",), journal.records, 1, Random(1))
        records = [record for event in events for record in fed(node, journal, event)[1]]
    assert [record for record in records if isinstance(record, SaveSnapshot)]
    assert node.state == {f"k{number}": f"v{number}" for number in range(10)}
    with closing(Journal(tmp_path / "log", ("a",))) as journal:
        again = Node("a", ("a",), journal.records, 2, Random(2))
        fed(again, journal, Start())
        assert 0 < len(again.state) < 10
        said, _ = fed(again, journal, Wake())
    assert again.state == node.state
    assert [each.text for each in said if each.kind == "applied"][-1] == "k9=v9"
