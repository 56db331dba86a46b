"""The connections between nodes, by their rules (`casty_asyncio/cluster/lanes.py`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from casty_asyncio import Remote
from casty_asyncio.clock import Clock
from casty_asyncio.cluster import incoming
from casty_asyncio.cluster import lanes as module
from casty_asyncio.cluster.lanes import Lanes
from casty_asyncio.transport.connection import Connection
from casty_asyncio.transport.dialing import dial
from casty_asyncio.transport.transport import Transport
from casty_proto.address import NodeAddress
from casty_proto.cluster.messages import Envelope, Routed, Seek
from casty_proto.cluster.registry import Versions
from casty_proto.shard.channel import Accepted, Post
from casty_proto.wire import Kind, Node

from .node_kit import until


class End:
    """One node's lanes, and what it hears."""

    def __init__(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        self.clock = Clock(loop, lambda: None, lambda _: None)
        self.tasks: dict[asyncio.Task[None], None] = {}
        self.heard: list[Any] = []
        self.lost: list[str] = []
        self.name = name
        self.transport = Transport(
            Remote("127.0.0.1"),
            Node(name, 1),
            "shop",
            logging.getLogger("casty.shop"),
            self.clock,
            Random(1),
            _nobody,
            self._spawn,
        )
        self.lanes = Lanes(self.transport, self.heard.append, self.lost.append)
        self.address = ""

    def _spawn(self, work: Any, name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks[task] = None
        task.add_done_callback(lambda done: self.tasks.pop(done, None))
        return task

    async def open(self) -> None:
        port = await self.transport.bind("127.0.0.1", 0)
        self.address = f"127.0.0.1:{port}"
        self.transport.own = Node(self.name, 1, self.address)
        self.transport.take_lanes(self.lanes.accept)
        self.transport.serve()

    async def close(self) -> None:
        self.lanes.close()
        await self.transport.close("it is over")
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.clock.close()

    def say(self, to: End, body: Any) -> Envelope:
        message = Envelope(f"{self.name}.1", self.address, "", f"{to.name}.1", body)
        self.lanes.send(to.address, message)
        return message


def _nobody(peer: object) -> Any:
    raise AssertionError(f"nobody talks to {peer}")


@asynccontextmanager
async def two() -> AsyncIterator[tuple[End, End]]:
    ends = End("a"), End("b")
    for end in ends:
        await end.open()
    try:
        yield ends
    finally:
        for end in ends:
            await end.close()


def posts(count: int) -> Iterator[Routed]:
    for number in range(count):
        yield Routed("r", 0, Post(1, 1, number + 1, (b"x",)))


async def test_rule_1_what_is_said_in_many_words_has_a_lane_of_its_own() -> None:
    async with two() as (a, b):
        control, bulk = a.say(b, Seek((), 0)), a.say(b, Versions(()))
        await until(lambda: len(b.heard) == 2)
        assert sorted(b.heard, key=repr) == sorted([control, bulk], key=repr)
        assert a.lanes.lane(b.address, Kind.CLUSTER) is not a.lanes.lane(b.address, Kind.SHARDS)


async def test_what_is_said_arrives_in_its_order_and_as_it_was() -> None:
    async with two() as (a, b):
        said = [a.say(b, body) for body in posts(2000)]
        await until(lambda: len(b.heard) == 2000)
        assert b.heard == said


async def test_rule_3_of_what_waits_for_a_lane_that_is_not_open_the_last_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 10)
    async with two() as (a, b):
        said = [a.say(b, body) for body in posts(30)]
        await until(lambda: len(b.heard) == 10)
        assert b.heard == said[-10:]


async def test_rule_3_of_what_waits_for_a_lane_that_is_not_open_so_many_bytes_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 9_000)
    async with two() as (a, b):
        said = [a.say(b, Routed("r", 0, Post(1, 1, number + 1, (b"x" * 3000,)))) for number in range(10)]
        a.say(b, Routed("r", 0, Accepted(1, 1, 1)))
        last = a.say(b, Routed("r", 0, Accepted(1, 1, 2)))
        lane: Any = a.lanes.lane(b.address, Kind.SHARDS)
        a.lanes.flush()
        assert list(lane._waiting) == [*said[-2:], last]
        assert lane._weight == sum(lane._weights) <= 9_000
        more = a.say(b, Routed("r", 0, Accepted(1, 1, 3)))
        assert len(lane._weights) == 2, "what says more than the last has taken its place"
        huge = a.say(b, Routed("r", 1, Post(1, 1, 1, (b"x" * 30_000,))))
        a.lanes.flush()
        await until(lambda: b.heard)
        assert b.heard == [huge], "the last one is kept in any case"
        assert more not in b.heard
        assert (lane._weight, len(lane._weights)) == (0, 0)


async def test_rule_3_a_peer_that_does_not_read_is_written_the_last_of_what_was_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 10)
    async with two() as (a, b):
        first = a.say(b, Versions(()))
        await until(lambda: b.heard == [first])
        lane: Any = a.lanes.lane(b.address, Kind.SHARDS)
        lane._connection.pause_writing()
        said = [a.say(b, body) for body in posts(30)]
        a.lanes.flush()
        assert list(lane._waiting) == said[-10:]
        said += [a.say(b, body) for body in posts(5)]
        a.lanes.flush()
        assert list(lane._waiting) == said[-10:]
        lane._connection.resume_writing()
        await until(lambda: len(b.heard) == 11)
        assert b.heard[1:] == said[-10:]
        assert (lane._weight, len(lane._weights)) == (0, 0)


async def test_rule_3_what_is_written_at_once_is_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 10)
    async with two() as (a, b):
        a.say(b, Versions(()))
        await until(lambda: len(b.heard) == 1)
        said = [a.say(b, body) for body in posts(100)]
        await until(lambda: len(b.heard) == 101)
        assert b.heard[1:] == said


async def test_rule_4_a_lane_that_breaks_is_made_again_when_there_is_something_to_say() -> None:
    async with two() as (a, b):
        a.say(b, Seek((), 1))
        await until(lambda: len(b.heard) == 1)
        for incoming in list(b.lanes._in):
            incoming.connection.abort()
        await until(lambda: a.lost == [b.address])
        a.say(b, Seek((), 2))
        await until(lambda: len(b.heard) == 2)


async def test_rule_4_an_address_at_which_nobody_listens_is_told_of_and_tried_again() -> None:
    async with two() as (a, b):
        await b.close()
        a.say(b, Seek((), 1))
        await until(lambda: a.lost == [b.address])
        a.say(b, Seek((), 2))
        await until(lambda: len(a.lost) == 2)


async def test_rule_5_a_lane_whose_other_end_gives_no_sign_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(incoming, "SIGN_SECONDS", 60.0)
    async with two() as (a, b):
        a.say(b, Seek((), 1))
        await until(lambda: a.lost == [b.address])


async def test_rule_5_signs_keep_a_lane_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 5.0)
    monkeypatch.setattr(incoming, "SIGN_SECONDS", 0.001)
    async with two() as (a, b):
        a.say(b, Seek((), 1))
        lane: Any = a.lanes.lane(b.address, Kind.CLUSTER)
        await until(lambda: len(b.heard) == 1)
        await until(lambda: not lane._expects_sign)
        assert a.lost == []


async def test_rule_5_a_lane_that_is_not_used_is_closed_and_nobody_is_told_that_anything_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incoming, "SIGN_SECONDS", 0.001)
    monkeypatch.setattr(incoming, "IDLE_SECONDS", 0.02)
    async with two() as (a, b):
        a.say(b, Versions(()))
        lane: Any = a.lanes.lane(b.address, Kind.SHARDS)
        await until(lambda: len(b.heard) == 1)
        await until(lambda: lane._connection is None)
        assert not b.lanes._in
        assert a.lost == []
        a.say(b, Versions(()))
        await until(lambda: len(b.heard) == 2)


async def test_rule_5_the_next_lane_of_a_node_takes_the_place_of_the_one_before() -> None:
    async with two() as (a, b):
        a.say(b, Seek((), 1))
        await until(lambda: len(b.heard) == 1)
        again = Lanes(a.transport, a.heard.append, a.lost.append)
        again.send(b.address, Envelope("a.1", a.address, "", None, Seek((), 2)))
        await until(lambda: len(b.heard) == 2)
        assert len(b.lanes._in) == 1
        again.close()


async def _lane(a: End, b: End, node_id: str) -> Connection:
    """A lane to `b` of whoever calls himself so."""
    own, a.transport.own = a.transport.own, Node(node_id, 1, a.address)
    try:
        connection, _ = await dial(a.transport, NodeAddress.parse(b.address), Kind.CLUSTER)
    finally:
        a.transport.own = own
    connection.give_to(_Deaf())
    return connection


class _Deaf:
    """Does not care."""

    def received(self, connection: Connection, bodies: list[bytes]) -> None:
        """A sign."""

    def writable(self, connection: Connection) -> None:
        """There is room."""

    def broken(self, connection: Connection, text: str) -> None:
        """It is broken."""

    def closed(self, connection: Connection, text: str) -> None:
        """It is closed."""


async def test_rule_5_a_lane_on_which_nothing_was_said_is_closed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.02)
    async with two() as (a, b):
        a.say(b, Seek((), 1))
        await until(lambda: len(b.heard) == 1)
        [[speaks]] = [list(b.lanes._in)]
        speaks._give_sign()
        await _lane(a, b, "stranger")
        await until(lambda: len(b.lanes._in) == 2)
        await until(lambda: list(b.lanes._in) == [speaks])
        assert not b.lanes._from.keys() - {speaks.machine}


async def test_rule_5_lanes_from_one_machine_are_limited_and_the_most_silent_one_gives_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with two() as (a, b):
        b.transport.options = Remote("127.0.0.1", max_connections=12)
        a.say(b, Seek((), 1))
        await until(lambda: len(b.heard) == 1)
        for number in range(5):
            await _lane(a, b, f"stranger-{number}")
        await until(lambda: "a" in _names(b) and "stranger-4" in _names(b))
        assert _names(b) == ["a", "stranger-3", "stranger-4"]
        assert "3 nodes at 127.0.0.1 are connected" in caplog.text


def _names(end: End) -> list[str]:
    return [incoming.node.node_id for incoming in end.lanes._in]


@pytest.mark.parametrize("name", ["b.1", "c.1", "a.2", "a", ""])
async def test_rule_6_who_speaks_for_somebody_else_is_cut_off(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with two() as (a, b):
        a.lanes.send(b.address, Envelope(name, a.address, "", None, Seek((), 1)))
        await until(lambda: a.lost == [b.address])
        assert not b.heard
        assert f"it has shaken hands as a.1 at {a.address}, and speaks for {name!r}" in caplog.text
        a.say(b, Seek((), 2))
        await until(lambda: len(b.heard) == 1)


async def test_rule_6_a_lane_has_one_name_that_of_a_process_or_of_one_that_it_came_back_from() -> None:
    async with two() as (a, b):
        a.transport.own = Node("a", 7, a.address)
        earlier = Envelope("a.3", a.address, "", None, Seek((), 1))
        a.lanes.send(b.address, earlier)
        await until(lambda: b.heard == [earlier])
        a.lanes.send(b.address, Envelope("a.7", a.address, "", None, Seek((), 2)))
        await until(lambda: a.lost == [b.address])
        assert b.heard == [earlier]


async def test_rule_6_what_is_no_message_of_a_node_ends_the_lane() -> None:
    async with two() as (a, b):
        said = a.say(b, Seek((), 1))
        lane: Any = a.lanes.lane(b.address, Kind.CLUSTER)
        await until(lambda: b.heard == [said])
        lane._connection.write(lane._encode(Seek((), 1)))
        await until(lambda: a.lost == [b.address])
        assert b.heard == [said]


async def test_rule_7_of_acknowledgements_that_wait_the_last_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENT_SECONDS", 60.0)
    async with two() as (a, b):
        a.say(b, Versions(()))
        await until(lambda: len(b.heard) == 1)
        for count in range(1, 4):
            a.say(b, Routed("r", 0, Accepted(1, 1, count)))
        other = a.say(b, Routed("r", 1, Accepted(1, 1, 1)))
        a.lanes.hurry()
        await until(lambda: len(b.heard) == 3)
        assert b.heard[1].body == Routed("r", 0, Accepted(1, 1, 3))
        assert b.heard[2] == other


async def test_rule_7_an_acknowledgement_of_many_messages_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENT_SECONDS", 60.0)
    monkeypatch.setattr(module, "PATIENT_COUNT", 10)
    monkeypatch.setattr(incoming, "PATIENT_COUNT", 10)
    async with two() as (a, b):
        a.say(b, Versions(()))
        await until(lambda: len(b.heard) == 1)
        for count in (100, 105, 110):
            a.say(b, Routed("r", 0, Accepted(1, 1, count)))
        await until(lambda: len(b.heard) == 2)
        assert b.heard[1].body == Routed("r", 0, Accepted(1, 1, 110))


async def test_rule_7_who_gets_many_messages_at_once_says_soon_what_it_has_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENT_SECONDS", 60.0)
    async with two() as (a, b):
        a.say(b, Versions(()))
        b.say(a, Versions(()))
        await until(lambda: len(a.heard) == len(b.heard) == 1)
        accepted = a.say(b, Routed("r", 0, Accepted(1, 1, 1)))
        b.say(a, Routed("r", 0, Post(1, 1, 1, (b"x",) * incoming.PATIENT_COUNT)))
        await until(lambda: len(b.heard) == 2)
        assert b.heard[1] == accepted


async def test_rule_7_an_acknowledgement_goes_along_with_what_is_said_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENT_SECONDS", 60.0)
    async with two() as (a, b):
        a.say(b, Versions(()))
        await until(lambda: len(b.heard) == 1)
        said = [a.say(b, Routed("r", 0, Accepted(1, 1, 1))), a.say(b, Versions(()))]
        await until(lambda: len(b.heard) == 3)
        assert b.heard[1:] == said


async def test_what_cannot_be_an_address_is_said_to_nobody() -> None:
    async with two() as (a, b):
        a.lanes.send("nowhere", Envelope("a.1", a.address, "", None, Seek((), 0)))
        a.say(b, Seek((), 1))
        await until(lambda: len(b.heard) == 1)
