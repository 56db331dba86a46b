"""What a peer can make a node keep, and where that ends: a slow peer costs its own messages, and not memory."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from attrs import evolve

from casty_asyncio import ActorContext, AskError, Behavior, Behaviors, DeadLetter, EventStreamSubscribe, Reason
from casty_asyncio.remote.refs import RemoteRef
from casty_proto.link import Ack
from casty_proto.machine import SECOND
from casty_proto.wire import Node
from casty_proto.wire.envelopes import ASK, FAILED, FORGET, FOUND, LOOKUP, ONE, TELL, TERMINATED, TWO, WATCH

from ..probe import Probe
from .kit import (
    Identity,
    Raw,
    Text,
    conversation_of,
    counted,
    echo,
    framed,
    lines,
    lookup,
    memory_within,
    peer_of,
    raw,
    ref_of,
    served,
    shop,
    transport_of,
    until,
)

SMALL = {"max_queued": 256, "max_queued_bytes": 2**17}
"""Limits that are reached soon."""

QUESTIONS = {
    "watch": lambda number, _: ONE.pack(WATCH, number),
    "lookup": lambda number, _: TWO.pack(LOOKUP, number, 0) + b"/served",
    "ask": lambda number, to: TWO.pack(ASK, to, number) + b"\xc0",
    "tell to nobody": lambda number, _: ONE.pack(TELL, 2**40 + number) + b"\xc0",
}


@pytest.mark.parametrize("what", QUESTIONS)
async def test_answers_that_are_never_read_back_are_limited_and_cost_the_link(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    question: Any = QUESTIONS[what]
    async with shop(**SMALL) as system, served(system) as honest:
        with memory_within(6_000_000):
            async with raw(system, Identity("hostile"), receive_buffer=4096) as peer:
                to = await peer.find("/served")
                peer.pause()
                await ask_until_closed(peer, lambda number: question(number, to))
            assert len(peer_of(system, "hostile").link.session) == 0
        await honest.answered()
        assert honest.slowest < 1.0
        (line,) = lines(caplog, "does not take what it is sent")
        assert "hostile.7 is cut off" in line
        conversation = conversation_of(system, "hostile")
        assert not conversation.answering
        assert not conversation.watching.is_used


async def ask_until_closed(peer: Raw, question: Any) -> None:
    """Ask 10**5 questions, or as many as are taken."""
    for first in range(2, 100_000, 100):
        peer.write(b"".join([framed(question(number)) for number in range(first, first + 100)]))
        try:
            await peer.writer.drain()
        except ConnectionError:
            return
        await asyncio.sleep(0)
        if peer.writer.is_closing():
            return


async def test_watches_and_asks_of_actors_that_live_are_kept_once_and_up_to_the_limit() -> None:
    async with shop(max_asked=50) as system, raw(system, Identity("raw")) as peer:
        Probe(system, "silent")
        to = await peer.find("/silent")
        for number in range(1, 60):
            peer.send(ONE.pack(WATCH, to), TWO.pack(ASK, to, number) + b"\xc0")
        for number in range(51, 60):
            failed = await peer.counted_body()
            assert failed[: ONE.size] == ONE.pack(FAILED, number)
            assert b"50 asks of this process wait already" in failed
        conversation = conversation_of(system, "raw")
        assert len(conversation.answering) == 50
        assert len(conversation.watching._watched) == 1
        peer.send(*[ONE.pack(FORGET, number) for number in range(1, 51)])
        await until(lambda: not conversation.answering)


async def test_an_ask_beyond_the_limit_is_an_error_where_it_was_asked() -> None:
    async with shop(max_asked=2) as one, shop() as two:
        Probe(one, "silent")
        ref = await lookup(two, one, "/silent")
        waiting = [asyncio.ensure_future(ref.ask(Text("?"), timeout=1000)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(AskError, match="/silent cannot be asked: 2 asks of this process wait already"):
            await ref.ask(Text("one too many"))
        for ask in waiting:
            ask.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_peer_that_stops_reading_costs_its_own_messages_and_nobody_elses() -> None:
    async with shop(**SMALL) as system, served(system) as honest:
        letters = Probe(system)
        system.event_stream.tell(EventStreamSubscribe(DeadLetter, letters.ref))
        async with raw(system, Identity("hostile"), receive_buffer=4096) as peer:
            ref = ref_of(system, peer)
            peer.pause()
            with memory_within(6_000_000):
                for number in range(2000):
                    ref.tell(Text(f"{number:05}" + "x" * 1000))
                    if number % 100 == 0:
                        await honest.answered()
                session = peer_of(system, "hostile").link.session
                assert len(session) <= 256
                assert session.bytes_kept <= 2**17
            letter = await letters.next()
            assert (letter.ref, letter.reason) == (ref, Reason.CONGESTED)
            assert honest.slowest < 1.0


async def test_a_peer_that_reads_slowly_gets_everything_in_order() -> None:
    async with shop(**SMALL) as system, raw(system, Identity("slow"), receive_buffer=4096) as peer:
        ref = ref_of(system, peer)

        async def send() -> None:
            for number in range(1000):
                await ref.send(number)

        sending = asyncio.create_task(send())
        found: list[Any] = []
        while len(found) < 1000:
            body = await peer.counted_body()
            found.append(msgpack.unpackb(body[ONE.size :]))
            if len(found) % 50 == 0:
                peer.say(Ack(len(found)))
        await sending
        assert found == [*range(1000)]


async def test_large_frames_are_acknowledged_by_their_bytes() -> None:
    async with shop(max_queued_bytes=2**20) as system:
        transport = transport_of(system)
        transport.link_options = evolve(transport.link_options, ack_after_ns=3600 * SECOND)
        system.spawn(echo(), "served")
        async with raw(system, Identity()) as peer:
            number = await peer.find("/served")
            peer.write(counted(number, *["x" * 100_000] * 2))
            # One for the lookup, and these two are more than an eighth of what may wait.
            assert await peer.link_frame() == Ack(3)


async def test_acknowledgements_do_not_pile_up_for_a_peer_that_sends_and_does_not_read() -> None:
    async with shop() as system, served(system), raw(system, Identity("hostile"), receive_buffer=4096) as peer:
        probe = Probe(system, "probe")
        to = await peer.find("/probe")
        peer.say(Ack(1))
        connection: Any = peer_of(system, "hostile").link.attached
        peer.pause()
        connection.writable = False
        for _ in range(20):
            peer.write(framed(ONE.pack(TELL, to) + b"\x01") * 100)
            await probe.take(100)
        assert connection._socket.get_write_buffer_size() == 0
        peer.resume()
        connection.resume_writing()
        while await peer.link_frame() != Ack(2001):
            pass


async def test_nodes_that_are_only_heard_of_are_forgotten() -> None:
    async with shop(max_peers=32, connect_timeout=0.5, refused_after=0.001) as system, served(system) as honest:
        remoting = conversation_of(system, "honest").remoting
        for number in range(300):
            RemoteRef[Any](remoting, Node(f"rumour-{number}", 1), "/x", 5).tell("hello")
        assert len(transport_of(system).peers) <= 32
        await honest.answered()


async def test_a_peer_that_was_forgotten_is_known_again_to_those_who_have_its_ref() -> None:
    async with (
        shop(max_peers=8, idle_after=0.05, ping_after=0.02) as system,
        shop(node_id="old", idle_after=0.05) as old,
    ):
        old.spawn(echo(), "served")
        ref = await lookup(system, old, "/served")
        assert await ref.ask(Text("hello")) == Text("hello")
        conversation = conversation_of(system, "old")
        conversation.on_due(0)
        await until(lambda: conversation.peer.link.attached is None)
        async with AsyncExitStack() as stack:
            for number in range(8):
                await stack.enter_async_context(raw(system, Identity(f"raw-{number}")))
            assert conversation.peer not in transport_of(system).peers.values()
        await until(lambda: not transport_of(system)._listening._open)
        assert await ref.ask(Text("do you know me?")) == Text("do you know me?")
        assert conversation_of(system, "old") is conversation


async def test_the_end_of_an_actor_is_told_to_a_peer_that_watches_it_once() -> None:
    def once(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        return Behaviors.stopped()

    async with shop() as system, raw(system, Identity("raw")) as peer:
        ref = system.spawn(Behaviors.receive(once), "once")
        to = await peer.find("/once")
        peer.send(*[ONE.pack(WATCH, to)] * 100)
        peer.send(TWO.pack(LOOKUP, 2, 0) + b"/once")
        assert (await peer.counted_body())[0] == FOUND
        ref.tell("end")
        assert await peer.counted_body() == ONE.pack(TERMINATED, to)
        peer.send(TWO.pack(LOOKUP, 3, 0) + b"/once")
        assert await peer.counted_body() == TWO.pack(FOUND, 3, 0)
