"""What a peer can send once it is in, while an honest node is served all the time.

Whatever cannot be ends the session; what merely cannot be had here costs the message. Both are one line in the log.
"""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from casty_asyncio import ActorSystem
from casty_asyncio.transport.connection import FRAMES_AT_A_TIME, Connection
from casty_proto.link import Ack, Bye, Idle, PingFrame, Pong, Resume, SayBusy, SayFresh, SayResumed, packed
from casty_proto.wire import HANDSHAKE_FRAME_MAX
from casty_proto.wire.envelopes import (
    ANSWER,
    ASK,
    FAILED,
    FORGET,
    FOUND,
    LOOKUP,
    ONE,
    REFUSED,
    TELL,
    TELL_FROM,
    TERMINATED,
    TWO,
    UNWATCH,
    WATCH,
)

from ..probe import Probe
from .kit import (
    CONTROL,
    WELCOME,
    Identity,
    Raw,
    Text,
    conversation_of,
    counted,
    echo,
    framed,
    lines,
    memory_within,
    peer_of,
    raw,
    served,
    shop,
    transport_of,
    until,
)

MAX = 2**20


def packb(value: Any) -> bytes:
    body: bytes = msgpack.packb(value)
    return body


def announced(name: str, fields: list[str], *values: Any) -> bytes:
    """A value of a type with that name."""
    announcement = packb([[32, name, fields]])
    return b"\xc1" + struct.pack(">I", len(announcement)) + announcement + packb([32, *values])


def tell(body: bytes, number: int = 1) -> bytes:
    return ONE.pack(TELL, number) + body


FATAL: dict[str, bytes] = {
    "K-04 length 0": struct.pack(">I", 0),
    "K-04 one more than the greatest length": struct.pack(">I", MAX + 65),
    "K-04 length 2**31": struct.pack(">I", 2**31),
    "K-04 length 2**32 - 1": struct.pack(">I", 2**32 - 1),
    "K-05 a frame that ends within its numbers": framed(b"\x20" + bytes(7)),
    "K-05 a message that goes on after its end": framed(tell(b"\xc0\xc0")),
    "K-05 a message that ends before its end": framed(tell(b"\xa5abc")),
    "K-05 a message without a value": framed(tell(b"")),
    "K-05 a value where there is none": framed(ONE.pack(FORGET, 1) + b"\xc0"),
    "K-07 an array of 2**32 - 1": framed(tell(b"\xdd\xff\xff\xff\xff")),
    "K-07 a map of 2**32 - 1": framed(tell(b"\xdf\xff\xff\xff\xff")),
    "K-07 a text of 2**32 - 1": framed(tell(b"\xdb\xff\xff\xff\xff")),
    "K-07 bytes of 2**32 - 1": framed(tell(b"\xc6\xff\xff\xff\xff")),
    "K-07 an extension of 2**32 - 1": framed(tell(b"\xc9\xff\xff\xff\xff\x01")),
    "K-07 many empty arrays": framed(tell(b"\xdd\x00\x0f\x42\x40" + b"\x90" * 1_000_000)),
    "K-07 a timestamp": framed(tell(b"\xc7\x03\xff" + bytes(3))),
    "K-08 nesting 1023": framed(tell(b"\x92\x03" * 1023 + b"\x90")),
    "K-08 nesting 1025": framed(tell(b"\x92\x03" * 1025 + b"\x90")),
    "K-08 nesting 100000": framed(tell(b"\x92\x03" * 100_000 + b"\x90")),
    "announcements of 4 GiB": framed(tell(b"\xc1\xff\xff\xff\xff\xc0")),
    "a kind of the session that is none": framed(b"\xff" + bytes(8)),
    "the first kind that is none": framed(b"\x2c" + bytes(8)),
    "a kind of the link that is none": framed(b"\x1f"),
    "kind 0": framed(b"\x00" + bytes(8)),
    "a sender that is none": framed(ONE.pack(TELL_FROM, 1) + packb([3, "x", "y"])),
    "a name of a type that is too long": framed(tell(announced("a" * 300, []))),
    "an answer to what was never asked": framed(ONE.pack(ANSWER, 99) + b"\xc0"),
    "an answer with the number 0": framed(ONE.pack(ANSWER, 0) + b"\xc0"),
    "an answer with the number 2**64 - 1": framed(ONE.pack(ANSWER, 2**64 - 1) + b"\xc0"),
    "a failure of what was never asked": framed(ONE.pack(FAILED, 99) + packb([3, "x", "y", None, ""])),
    "an answer to a lookup that nobody made": framed(TWO.pack(FOUND, 99, 1)),
    "a refusal of what was never sent": framed(TWO.pack(REFUSED, 99, 1)),
    "a refusal of frame 0": framed(TWO.pack(REFUSED, 0, 1)),
    "a refusal for no reason": framed(TWO.pack(REFUSED, 1, 9)),
    "a path that is no text": framed(TWO.pack(LOOKUP, 1, 0) + b"\xff\xfe"),
    "an acknowledgement of what was never sent": framed(packed(Ack(10**9))),
    "an acknowledgement of 2**63": framed(b"\x05" + struct.pack(">Q", 2**63)),
    "an acknowledgement that is cut off": framed(b"\x05\x00"),
    "a session in the middle of a session": framed(packed(Resume(1, 1))),
    "an answer to no question": framed(packed(SayResumed(1, 1))),
    "another answer to no question": framed(packed(SayFresh(1))),
    "busy with nothing": framed(packed(SayBusy())),
    "a farewell that is too long": framed(b"\x09" + b"x" * 2000),
}


@pytest.mark.parametrize("what", FATAL)
async def test_what_cannot_be_ends_the_session_and_is_one_line(what: str, caplog: pytest.LogCaptureFixture) -> None:
    async with shop(max_message=MAX) as system, served(system):
        # Making something of a whole megabyte takes some.
        with memory_within(12_000_000):
            for _ in range(3):
                async with raw(system, Identity("hostile")) as peer:
                    peer.write(FATAL[what])
                    await peer.closes()
        assert peer_of(system, "hostile").link.attached is None
        assert len(lines(caplog, "hostile")) == 1
        for record in caplog.records:
            assert len(record.getMessage()) < 400
            assert record.getMessage().isprintable()


async def test_two_asks_of_the_same_number_that_wait_at_the_same_time_cannot_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shop() as system, served(system), raw(system, Identity("hostile")) as peer:
        Probe(system, "silent")
        number = await peer.find("/silent")
        peer.send(TWO.pack(ASK, number, 5) + b"\xc0")
        await until(lambda: conversation_of(system, "hostile").answering)
        peer.send(TWO.pack(ASK, number, 5) + b"\xc0")
        await peer.closes()
        assert not conversation_of(system, "hostile").answering
        assert len(lines(caplog, "two asks have the same number")) == 1


@pytest.mark.parametrize(
    "name",
    [
        "subprocess:Popen",
        "os:system",
        "builtins:eval",
        "builtins:exec",
        "builtins:object",
        "os.path:join",
        "antigravity:x",
        "this:s",
        "tests.asyncio.transport.kit:Unknown",
        "tests.asyncio.transport.kit:Text.__init__",
        "tests.asyncio.transport.kit:Text.__class__",
        "casty_asyncio:ActorSystem",
        "casty_asyncio.system:ActorSystem",
        "logging:FileHandler",
        "socket:socket",
        ":",
        "",
        "..:..",
        "a" * 255,
        "\x00:\x00",
    ],
)
async def test_a_hostile_type_name_is_never_imported_or_called_and_costs_the_message_only(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", type("Popen", (), {"__init__": lambda *args, **kw: called.append(args)}))
    monkeypatch.setattr(os, "system", called.append)
    async with shop() as system, served(system), raw(system, Identity("hostile")) as peer:
        probe = Probe(system, "probe")
        number = await peer.find("/probe")
        modules = set(sys.modules)
        peer.send(tell(announced(name, ["args"], "touch /tmp/hostile"), number))
        refused = await peer.counted_body()
        assert refused == TWO.pack(REFUSED, 2, 2)
        peer.write(counted(number, "good"))
        assert await probe.next() == "good"
        assert called == []
        assert set(sys.modules) == modules
        (line,) = lines(caplog, "is refused")
        assert "hostile.7" in line
        assert name[:81] not in line or len(name) <= 80


async def test_k_24_no_line_and_no_error_quotes_more_than_a_line_of_what_a_peer_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = "Z" * 100_000
    async with shop() as system, served(system):
        system.spawn(echo(), "echo")
        for body in (
            announced("kit:" + "Z" * 250, [long[:200]], long),
            msgpack.packb([16, long, [], long]),
            msgpack.packb([long, long]),
            long.encode(),
            msgpack.packb([15, long]),
        ):
            async with raw(system, Identity("hostile")) as peer:
                number = await peer.find("/echo")
                peer.send(tell(bytes(body), number), TWO.pack(ASK, number, 7) + bytes(body))
                peer.say(PingFrame(1))
                peer.send(b"\x2a" + long.encode())
                await peer.closes()
        assert caplog.records
        for record in caplog.records:
            assert "Z" * 101 not in record.getMessage()


async def test_k_05_a_frame_in_single_bytes_and_many_frames_at_once_arrive_as_they_were_sent() -> None:
    async with shop() as system, raw(system, Identity("raw")) as peer:
        probe = Probe(system, "probe")
        number = await peer.find("/probe")
        data = counted(number, *range(50))
        for place in range(len(data)):
            peer.write(data[place : place + 1])
            if place % 10 == 0:
                await asyncio.sleep(0)
        peer.write(counted(number, *range(50)) * 20)
        assert await probe.take(50) == [*range(50)]
        assert await probe.take(1000) == [*range(50)] * 20


async def test_k_06_half_a_frame_for_ever_costs_what_has_arrived_of_it_and_no_more() -> None:
    async with shop(ping_after=0.1, mute_after=0.3, idle_after=0.3) as system, served(system):
        with memory_within(1_500_000):
            async with raw(system, Identity("hostile")) as peer:
                peer.write(struct.pack(">I", 16 * 2**20) + bytes(1000))
                await peer.closes()


async def test_k_06_a_connection_that_ends_within_a_frame_delivers_nothing_of_it() -> None:
    async with shop() as system:
        probe = Probe(system, "probe")
        async with raw(system, Identity("raw")) as peer:
            number = await peer.find("/probe")
            data = counted(number, "whole", "cut off")
            peer.write(data[:-1])
            assert await probe.next() == "whole"
        await until(lambda: peer_of(system, "raw").link.attached is None)
        assert await probe.all() == []


async def test_k_17_a_frame_that_is_sent_twice_is_two_frames_and_a_session_that_is_resumed_has_none_twice() -> None:
    """Frames have no numbers of their own: a connection keeps the order, and a new one goes on where both agree."""
    async with shop() as system:
        probe = Probe(system, "probe")
        async with raw(system, Identity("raw")) as peer:
            number = await peer.find("/probe")
            data = counted(number, "one")
            peer.write(data * 2)
            assert await probe.take(2) == ["one", "one"]
            session = peer.session
        await until(lambda: peer_of(system, "raw").link.attached is None)
        async with raw(system) as again:
            await again.shake(Identity("raw"))
            again.say(Resume(session, 1))
            assert await again.link_frame() == SayResumed(session, 3)
            again.write(counted(number, "two"))
            assert await probe.next() == "two"


@pytest.mark.parametrize("received", [2, 10**9, 2**63 - 1])
async def test_k_17_nobody_resumes_a_session_with_more_than_was_sent(
    received: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop() as system, served(system):
        async with raw(system, Identity("hostile")) as peer:
            await peer.find("/nobody")
            session = peer.session
        for _ in range(3):
            async with raw(system) as again:
                await again.shake(Identity("hostile"))
                again.say(Resume(session, received))
                await again.closes()
        assert len(lines(caplog, "which cannot be")) == len(lines(caplog, "")) == 1


async def test_k_17_an_acknowledgement_of_less_than_before_ends_the_session(caplog: pytest.LogCaptureFixture) -> None:
    async with shop() as system, served(system), raw(system, Identity("hostile")) as peer:
        await peer.find("/nobody")
        peer.say(Ack(1), Ack(0))
        await peer.closes()
        assert len(lines(caplog, "0 frames were acknowledged, which cannot be")) == 1


async def test_k_18_a_flood_of_pings_by_a_peer_that_does_not_read_is_bounded() -> None:
    hostile = Identity("hostile")
    async with shop() as system, served(system) as honest, raw(system, hostile, receive_buffer=4096) as peer:
        peer.pause()
        with memory_within(3_000_000):
            await flood(peer, packed(PingFrame(1)))
            peer.say(PingFrame(2))
            peer.resume()
            while await peer.link_frame() != Pong(2):
                pass
        await honest.answered()
        assert honest.slowest < 1.0


async def flood(peer: Raw, body: bytes) -> None:
    """Write a frame 10**5 times."""
    for _ in range(100):
        peer.write(framed(body) * 1000)
        await peer.writer.drain()


async def test_k_18_pings_that_come_together_have_one_answer_with_the_number_of_the_last() -> None:
    async with shop() as system, raw(system, Identity("raw")) as peer:
        peer.say(*[PingFrame(number) for number in range(1, 21)])
        assert await peer.link_frame() == Pong(20)


@pytest.mark.parametrize("body", [packed(Ack(0)), packed(Pong(2**63 - 1))])
async def test_k_18_other_cheap_frames_in_great_numbers_change_nothing(body: bytes) -> None:
    async with shop() as system, served(system) as honest, raw(system, Identity("raw")) as peer:
        with memory_within(3_000_000):
            await flood(peer, body)
            assert await peer.find("/served")
        await honest.answered()
        assert honest.slowest < 1.0


async def test_frames_of_a_session_on_a_control_connection_end_that_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shop() as system, raw(system, Identity("raw")) as data:
        for body in (tell(b"\xc0"), packed(Ack(0)), packed(Resume(0, 0)), b"\x09farewell", b"\xff"):
            async with raw(system) as control:
                assert (await control.shake(Identity("raw", kind=CONTROL)))[0] == WELCOME
                control.say(PingFrame(5))
                assert await control.link_frame() == Pong(5)
                control.send(body)
                await control.closes()
        await data.find("/nobody")
        assert len(lines(caplog, "is cut off")) == 1


async def test_idle_said_on_a_control_connection_closes_that_only() -> None:
    async with shop() as system, raw(system, Identity("raw")) as data, raw(system) as control:
        await control.shake(Identity("raw", kind=CONTROL))
        control.say(Idle())
        await control.closes()
        await data.find("/nobody")


async def test_frames_before_the_session_end_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with shop() as system, served(system):
        for _ in range(3):
            async with raw(system) as peer:
                await peer.shake(Identity("hostile"))
                peer.send(tell(b"\xc0"))
                await peer.closes()
        assert len(lines(caplog, "a frame of a session came before the session")) == 1


async def test_k_22_keys_that_collide_cost_the_message_and_no_time(caplog: pytest.LogCaptureFixture) -> None:
    big = [[7, (number * (2**61 - 1)).to_bytes(12)] for number in range(10, 20_010)]
    bodies = [msgpack.packb([4, *big]), msgpack.packb([6, *[part for key in big for part in (key, 0)]])]
    async with shop() as system, served(system) as honest, raw(system, Identity("hostile")) as peer:
        for body in bodies:
            peer.send(tell(bytes(body)))
            assert await peer.counted_body()
        # Every key with every other would take far longer than it waits for an answer.
        await honest.answered()
        assert len(lines(caplog, "of the same hash")) == 1


async def test_numbers_that_nobody_has_are_answered_or_mean_nothing_and_fill_no_table() -> None:
    async with shop() as system, served(system), raw(system, Identity("raw")) as peer:
        numbers = [0, 1, 2**40, 2**63, 2**64 - 1]
        with memory_within(2_000_000):
            for number in numbers:
                peer.send(
                    ONE.pack(WATCH, number),
                    ONE.pack(WATCH, number),
                    ONE.pack(UNWATCH, number),
                    ONE.pack(FORGET, number),
                    ONE.pack(TERMINATED, number),
                    tell(b"\xc0", number),
                    TWO.pack(LOOKUP, number, number) + b"/nobody",
                )
                answers = [await peer.counted_body() for _ in range(4)]
                assert [body[0] for body in answers] == [TERMINATED, TERMINATED, REFUSED, FOUND]
        conversation = conversation_of(system, "raw")
        assert not conversation.answering
        assert not conversation.asking
        assert not conversation.watching.is_used


@pytest.mark.parametrize(
    "path", ["", "/", "//", "/_event_stream", "_task_runner", "/a b", "/" + "x" * 100_000, "/\x00"]
)
async def test_a_lookup_of_what_is_no_path_or_the_systems_own_finds_nobody(path: str) -> None:
    async with shop() as system, raw(system, Identity("raw")) as peer:
        assert await peer.find(path) == 0
        assert not has_services(system)


def has_services(system: ActorSystem) -> bool:
    assert system._running is not None
    return "_event_stream" in (system._running.machine.system.children or {})


async def test_a_message_that_has_the_greatest_length_is_taken() -> None:
    async with shop(max_message=HANDSHAKE_FRAME_MAX * 4) as system, raw(system, Identity("raw")) as peer:
        probe = Probe(system, "probe")
        number = await peer.find("/probe")
        text = "x" * (HANDSHAKE_FRAME_MAX * 4 - 3)
        peer.write(counted(number, text))
        assert await probe.next() == text
        peer.write(counted(number, Text("after")))
        assert await probe.next() == Text("after")
        assert len(transport_of(system).peers) == 1


async def test_frames_that_come_together_are_dealt_with_in_turns_and_what_follows_them_comes_after_them() -> None:
    async with shop() as system, raw(system, Identity("raw")) as peer:
        probe = Probe(system, "probe")
        number = await peer.find("/probe")
        there = peer_of(system, "raw")
        turns: list[int] = []
        received = there.received

        def counting(connection: Connection, bodies: list[bytes]) -> None:
            turns.append(len(bodies))
            received(connection, bodies)

        there.received = counting  # type: ignore[method-assign]
        peer.write(counted(number, *range(5000)))
        peer.say(Bye("that was all"))
        peer.writer.write_eof()
        assert await probe.take(5000) == [*range(5000)]
        await until(lambda: there.link.gone)
        assert there.link.gone == "it has ended: that was all"
        assert max(turns) == FRAMES_AT_A_TIME
        assert sum(turns) == 5001


async def test_what_came_before_a_length_that_cannot_be_is_delivered(caplog: pytest.LogCaptureFixture) -> None:
    async with shop() as system, raw(system, Identity("raw")) as peer:
        probe = Probe(system, "probe")
        number = await peer.find("/probe")
        peer.write(counted(number, *range(2000)) + bytes(4) + counted(number, "never"))
        assert await probe.take(2000) == [*range(2000)]
        await peer.closes()
        assert len(lines(caplog, "a frame has the length 0")) == 1
        assert await probe.all() == []
