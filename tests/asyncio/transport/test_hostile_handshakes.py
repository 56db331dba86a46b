"""What strangers can do before and during the handshake, while an honest node is served all the time."""

from __future__ import annotations

import asyncio
import struct
from contextlib import AsyncExitStack
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from casty_proto.link import Resume, packed
from casty_proto.wire import HANDSHAKE_FRAME_MAX

from .kit import (
    CONTROL,
    DATA,
    HELLO,
    PROOF,
    REFUSAL,
    WELCOME,
    Identity,
    Raw,
    framed,
    lines,
    lookup,
    memory_within,
    raw,
    served,
    shop,
    transport_of,
    until,
)


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x90"


def good_hello() -> bytes:
    return Raw.hello(Raw.__new__(Raw), Identity())


RUBBISH = {
    "K-04 length 0": struct.pack(">I", 0),
    "K-04 length 1, which is no message": framed(b"\xc0"),
    "K-04 the greatest length": framed(bytes(HANDSHAKE_FRAME_MAX)),
    "K-04 one more than the greatest": struct.pack(">I", HANDSHAKE_FRAME_MAX + 1),
    "K-04 length 2**31": struct.pack(">I", 2**31),
    "K-04 length 2**32 - 1": struct.pack(">I", 2**32 - 1),
    "K-04 length -1": struct.pack(">i", -1),
    "K-05 more is declared than is there": framed(b"\xa5" + b"x"),
    "K-05 less is declared than is there": struct.pack(">I", 10) + good_hello(),
    "K-07 an array of 2**32 - 1": framed(b"\xdd\xff\xff\xff\xff"),
    "K-07 a map of 2**32 - 1": framed(b"\xdf\xff\xff\xff\xff"),
    "K-07 a text of 2**32 - 1": framed(b"\xdb\xff\xff\xff\xff"),
    "K-07 bytes of 2**32 - 1": framed(b"\xc6\xff\xff\xff\xff"),
    "K-07 an extension of 2**32 - 1": framed(b"\xc9\xff\xff\xff\xff\x01"),
    "K-08 nesting 1023": framed(nested(1023)),
    "K-08 nesting 1024": framed(nested(1024)),
    "K-08 nesting 1025": framed(nested(1025)),
    "K-08 nesting 4000": framed(nested(4000)),
    "K-15 a proof before anything else": framed(msgpack.packb(["casty", PROOF, b""])),
    "K-15 data before the handshake": framed(b"\x20" + bytes(8) + b"\xc0"),
    "K-15 a link frame before the handshake": framed(packed(Resume(0, 0))),
    "another protocol": b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n",
    "a message of another protocol": framed(msgpack.packb(["casti", HELLO])),
    "a kind of message that is none": framed(msgpack.packb(["casty", 6, b""])),
    "a hello with a map": framed(msgpack.packb(["casty", {"a": 1}])),
    "a hello of many fields": framed(msgpack.packb(["casty", HELLO, *range(15)])),
}


@pytest.mark.parametrize("what", RUBBISH)
async def test_rubbish_instead_of_a_handshake_closes_the_connection_and_is_one_line(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop() as system, served(system):
        with memory_within(2_000_000):
            for _ in range(3):
                async with raw(system) as peer:
                    peer.write(RUBBISH[what])
                    await peer.closes()
        assert len(lines(caplog, "")) == 1
        assert len(caplog.messages[0]) < 300
        assert len(transport_of(system).peers) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, -1])
async def test_k_05_k_06_a_handshake_that_is_cut_off_waits_until_its_time_is_over(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop(connect_timeout=0.1) as system, raw(system) as peer:
        peer.write(framed(good_hello())[:size])
        left = await peer.end()
        assert b"the handshake was not over after 0.1 s" in left
        assert len(lines(caplog, "the handshake was not over after 0.1 s")) == 1
        await until(lambda: not transport_of(system)._connections)


async def test_k_15_a_second_handshake_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with shop() as system, served(system):
        async with raw(system) as peer:
            assert (await peer.shake())[0] == WELCOME
            peer.send(peer.hello(Identity()))
            await peer.closes()
        async with raw(system, Identity("attached")) as peer:
            peer.send(peer.hello(Identity("attached")))
            await peer.closes()
        assert len(lines(caplog, "is cut off")) == 1


async def test_k_15_a_hello_twice_is_out_of_turn(caplog: pytest.LogCaptureFixture) -> None:
    async with shop() as system, served(system), raw(system) as peer:
        hello = peer.hello(Identity())
        peer.send(hello, hello)
        await peer.body()
        assert (await peer.message())[:3] == [REFUSAL, 1, "a Hello came out of turn"]
        await peer.closes()
        assert len(lines(caplog, "a Hello came out of turn")) == 1


async def test_k_17_frames_that_come_with_the_proof_wait_for_the_end_of_the_handshake() -> None:
    async with shop() as system, raw(system) as peer:
        hello = peer.hello(Identity())
        peer.send(hello)
        proof = peer.proof(hello, await peer.body())
        peer.send(proof, packed(Resume(0, 0)), b"\x29" + struct.pack(">QQ", 1, 0) + b"/nobody")
        assert (await peer.message())[0] == WELCOME
        await peer.link_frame()
        assert await peer.counted_body() == b"\x2a" + struct.pack(">QQ", 1, 0)


async def test_k_06_slow_loris_handshakes_are_ended_by_the_deadline_and_keep_nobody_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        shop(connect_timeout=0.5, max_handshakes=8) as system,
        served(system) as honest,
        AsyncExitStack() as stack,
    ):
        peers = [await stack.enter_async_context(raw(system)) for _ in range(24)]
        hello = framed(good_hello())
        drips = asyncio.create_task(drip(peers, hello))
        await until(lambda: len(transport_of(system)._listening._strangers) == 8)
        async with shop() as newcomer:
            await lookup(newcomer, system, "/served")
        for peer in peers:
            await peer.closes()
        assert not transport_of(system)._listening._strangers
        await honest.answered()
        await drips
        assert len(lines(caplog, "have not finished their handshakes")) == 1
        assert len(lines(caplog, "the handshake was not over")) == 1


async def drip(peers: list[Raw], data: bytes) -> None:
    """One byte at a time, and never the last one."""
    for byte in data[:-1]:
        for peer in peers:
            peer.write(bytes([byte]))
        await asyncio.sleep(0.02)


async def test_a_flood_of_connections_turns_out_the_oldest_strangers_and_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        shop(max_handshakes=8, connect_timeout=5.0) as system,
        served(system) as honest,
        AsyncExitStack() as stack,
    ):
        # The other ends of these connections are in this process as well.
        with memory_within(20_000_000):
            peers = [await stack.enter_async_context(raw(system)) for _ in range(300)]
            await until(lambda: len(transport_of(system)._listening._strangers) == 8)
        for peer in peers[:292]:
            await peer.closes()
        async with shop() as newcomer:
            await lookup(newcomer, system, "/served")
        await honest.answered()
        assert honest.slowest < 0.5
        assert len(lines(caplog, "")) == 1
        assert len(transport_of(system)._listening._open) < 15


async def test_beyond_max_connections_newcomers_are_closed_and_those_who_are_there_are_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shop(max_connections=20) as system, served(system) as honest, AsyncExitStack() as stack:
        for number in range(19):
            await stack.enter_async_context(raw(system, Identity(f"raw-{number}")))
        for _ in range(50):
            async with raw(system) as peer:
                await peer.closes()
        await honest.answered()
        assert len(lines(caplog, "20 are open")) == 1
        await stack.aclose()
        await until(lambda: len(transport_of(system)._listening._open) == 1)
        async with shop() as newcomer:
            await lookup(newcomer, system, "/served")


async def test_connections_that_a_node_dials_itself_do_not_count() -> None:
    async with shop(max_connections=1) as system, AsyncExitStack() as stack:
        for _ in range(3):
            other = await stack.enter_async_context(shop())
            await within_lookup(system, other)
        async with raw(system, Identity()) as peer:
            await peer.find("/nobody")


async def within_lookup(system: Any, other: Any) -> None:
    assert await system.lookup(f"casty://shop@{other.address}/nobody") is None


@pytest.mark.parametrize("kind", [DATA, CONTROL])
async def test_who_shakes_hands_and_then_says_nothing_is_cut_off(kind: int, caplog: pytest.LogCaptureFixture) -> None:
    async with shop(connect_timeout=0.2, idle_after=0.2) as system, raw(system) as peer:
        assert (await peer.shake(Identity(kind=kind)))[0] == WELCOME
        await peer.closes()
        assert len(lines(caplog, "it said nothing for too long")) == (1 if kind == DATA else 0)
        await until(lambda: not transport_of(system)._connections)


@pytest.mark.parametrize("kind", [DATA, CONTROL])
async def test_one_identity_has_few_connections_that_lead_nowhere(kind: int) -> None:
    async with shop() as system, served(system), AsyncExitStack() as stack:
        for _ in range(30):
            peer = await stack.enter_async_context(raw(system))
            assert (await peer.shake(Identity(kind=kind)))[0] == WELCOME
        await until(lambda: len(transport_of(system)._listening._open) <= 5)


async def test_many_identities_are_forgotten_and_do_not_push_out_those_who_talk(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shop(max_peers=16) as system, served(system) as honest:
        for number in range(200):
            async with raw(system) as peer:
                assert (await peer.shake(Identity(f"raw-{number}", address=f"127.0.0.1:{number + 1}")))[0] == WELCOME
        transport = transport_of(system)
        assert len(transport.peers) <= 16
        assert len(transport._newest) <= 16
        assert len(transport._at) <= 16
        await honest.answered()
        assert not lines(caplog, "")


async def test_more_identities_than_there_is_room_for_are_refused_as_long_as_all_are_busy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shop(max_peers=8) as system, served(system) as honest, AsyncExitStack() as stack:
        for number in range(7):
            await stack.enter_async_context(raw(system, Identity(f"raw-{number}")))
        for number in range(7, 30):
            async with raw(system) as peer:
                assert (await peer.shake(Identity(f"raw-{number}")))[0] == WELCOME
                assert b"8 nodes are known already" in await peer.end()
        await honest.answered()
        assert len(lines(caplog, "8 nodes are known already")) == 1
