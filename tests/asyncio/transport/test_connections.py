"""What connections are for and how long they live: control and data, silence, idleness, coming back, and the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from casty_asyncio import ActorSystem, Behaviors, Terminated, UnreachableError
from casty_asyncio.transport import transport
from casty_asyncio.transport.connection import FAREWELL_SECONDS
from casty_asyncio.transport.peer import Peer
from casty_proto.link import Ack, Bye, Idle, PingFrame, Pong, Resume, SayResumed, packed
from casty_proto.wire.envelopes import ONE, TELL

from ..probe import Probe, within
from .kit import (
    CONTROL,
    WELCOME,
    Identity,
    Text,
    conversation_of,
    counted,
    echo,
    ends,
    lookup,
    peer_of,
    raw,
    ref_of,
    served,
    shop,
    transport_of,
    until,
)

QUICK = {"ping_after": 0.05, "mute_after": 0.2, "lost_after": 0.5}


# -- writing -----------------------------------------------------------------------------------------------------------


async def test_small_messages_do_not_wait_for_acknowledgements_at_either_end() -> None:
    async with shop() as one, shop(node_id="two") as two:
        probe = Probe(one, "probe")
        ref = await lookup(two, one, "/probe")
        ref.tell("first")
        await probe.next()
        for system in (one, two):
            (peer,) = transport_of(system).peers.values()
            connection: Any = peer.link.attached
            found = connection._socket.get_extra_info("socket")
            assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_what_is_sent_in_one_turn_of_the_loop_is_one_write() -> None:
    async with shop() as one, shop(node_id="two") as two:
        probe = Probe(one, "probe")
        ref = await lookup(two, one, "/probe")
        ref.tell("first")
        await probe.next()
        (peer,) = transport_of(two).peers.values()
        connection: Any = peer.link.attached
        written: list[bytes] = []
        write = connection.write

        def writing(data: bytes) -> None:
            written.append(data)
            write(data)

        connection.write = writing
        for number in range(100):
            ref.tell(number)
        assert written == []
        assert await probe.take(100) == [*range(100)]
        frames = [data for data in written if data[4] == TELL]
        assert len(frames) == 1
        assert frames[0].count(ONE.pack(TELL, ref.number)) == 100  # type: ignore[attr-defined]


# -- one peer and another ----------------------------------------------------------------------------------------------


async def test_a_peer_that_does_not_answer_its_handshake_delays_nobody_else() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        async with shop(connect_timeout=1.0) as system, shop(node_id="two") as two:
            two.spawn(echo(), "served")
            waiting = asyncio.ensure_future(
                ends(system.lookup(f"casty://shop@127.0.0.1:{mute.getsockname()[1]}/x"), UnreachableError)
            )
            await asyncio.sleep(0)
            ref = await lookup(system, two, "/served")
            for _ in range(20):
                assert await ref.ask(Text("quick")) == Text("quick")
            assert not waiting.done()
            assert "did not answer within 1 s" in await waiting


async def test_a_peer_whose_connection_is_full_delays_nobody_else() -> None:
    async with shop() as system, served(system) as honest, raw(system, Identity(), receive_buffer=4096) as peer:
        ref = ref_of(system, peer)
        peer.pause()
        for number in range(50):
            ref.tell(Text(f"{number}" + "x" * 200_000))
        connection: Any = peer_of(system, "raw").link.attached
        await until(lambda: not connection.writable)
        for _ in range(20):
            await honest.answered()
        assert honest.slowest < 1.0


# -- signs of life -----------------------------------------------------------------------------------------------------


async def test_a_peer_that_answers_no_pings_is_cut_off_and_lost(caplog: pytest.LogCaptureFixture) -> None:
    async with shop(**QUICK) as system, served(system, **QUICK), raw(system, Identity()) as peer:
        ref = ref_of(system, peer)
        asked = asyncio.ensure_future(ends(ref.ask(Text("?"), timeout=1000), UnreachableError))
        await peer.closes()
        text = await asked
        assert "its process is lost: it was out of reach for 0.5 s: nothing was heard for 0.2" in text


async def test_a_peer_that_answers_pings_is_not() -> None:
    async with shop(**QUICK) as system, raw(system, Identity()) as peer:
        ref = ref_of(system, peer)
        asked = asyncio.ensure_future(ref.ask(Text("?"), timeout=1000))
        for _ in range(8):
            ping = await peer.link_frame()
            assert isinstance(ping, PingFrame)
            peer.say(Pong(ping.number))
        assert peer_of(system, "raw").link.attached is not None
        assert not asked.done()
        asked.cancel()


async def test_a_peer_in_which_nobody_is_interested_is_not_asked_for_signs() -> None:
    async with shop(**QUICK) as system, raw(system, Identity()) as peer:
        await peer.find("/nobody")
        peer.say(Ack(1))
        assert await peer.link_frame() == Ack(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await peer.link_frame()


async def test_control_answers_while_data_is_clogged_so_that_the_peer_is_not_given_up() -> None:
    """What the peer is asked on the connection for data would be answered much later than it may be mute."""
    async with shop(node_id="one", **QUICK) as one, shop(node_id="two", **QUICK) as two:
        probe = Probe(two, "probe")
        ref = await lookup(one, two, "/probe")
        ref.tell("first")
        assert await probe.next() == "first"
        there: Any = peer_of(two, "one").link.attached
        there._socket.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        for number in range(60):
            ref.tell(Text(f"{number:02}" + "x" * 500_000))
        here = peer_of(one, "two")
        attached: Any = here.link.attached
        trickling = asyncio.create_task(trickle(there))
        await until(lambda: not attached.writable)
        await until(lambda: here.control.ours is not None)
        loop = asyncio.get_running_loop()
        end = loop.time() + 3 * QUICK["mute_after"]
        await until(lambda: loop.time() > end)
        assert not attached.writable
        assert here.link.attached is attached
        trickling.cancel()
        there._socket.resume_reading()
        assert [message.text[:2] for message in await probe.take(60)] == [f"{number:02}" for number in range(60)]


async def trickle(connection: Any) -> None:
    """Let a connection read little, as if the line were slow."""
    while True:
        connection._socket.pause_reading()
        await asyncio.sleep(0.02)
        connection._socket.resume_reading()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_an_outside_client_that_is_stopped_by_a_signal_is_found_and_comes_back_when_it_goes_on() -> None:
    """Its sockets are open, and its system acknowledges what comes: only the silence tells."""
    async with shop(ping_after=0.05, mute_after=0.2, lost_after=20.0) as system:
        probe = Probe(system, "probe")
        with child(system) as process:
            ref = await probe.next()
            assert await ref.ask(Text("there?")) == Text("there?")
            (peer,) = transport_of(system).peers.values()
            os.kill(process.pid, signal.SIGSTOP)
            asked = asyncio.ensure_future(ref.ask(Text("and now?"), timeout=1000))
            await until(lambda: peer.link.attached is None)
            assert not asked.done()
            os.kill(process.pid, signal.SIGCONT)
            assert await within(asked) == Text("and now?")


async def test_a_process_that_is_killed_is_lost_and_those_who_watch_it_are_told() -> None:
    async with shop(lost_after=0.3, refused_after=0.1) as system:
        probe = Probe(system, "probe")
        with child(system) as process:
            ref = await probe.next()
            watcher = Probe(system)
            watching = Watching(watcher)
            system.spawn(watching.behavior(ref))
            asked = asyncio.ensure_future(ends(ref.ask(Text("wait"), timeout=1000), UnreachableError))
            assert await within(ref.ask(Text("there?"))) == Text("there?")
            process.kill()
            assert "its process is lost" in await asked
            assert await watcher.next() == Terminated(ref)


class Watching:
    """An actor that tells a probe of the end of another."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def behavior(self, ref: Any) -> Any:
        def receive(ctx: Any, message: Any) -> Any:
            self._probe.ref.tell(message)
            return Behaviors.same()

        def setup(ctx: Any) -> Any:
            ctx.watch(ref)
            return Behaviors.receive(receive)

        return Behaviors.setup(setup)


CHILD = """
import asyncio, sys
from casty_asyncio import ActorSystem, Remote
from tests.asyncio.transport.kit import Text, echo

async def main():
    async with ActorSystem("shop", remote=Remote(ping_after=0.05, mute_after=0.2, lost_after=20.0)) as system:
        probe = await system.lookup(sys.argv[1])
        probe.tell(system.spawn(answering(), "served"))
        await asyncio.Event().wait()

def answering():
    from casty_asyncio import Behaviors
    def receive(ctx, message):
        if message != Text("wait"):
            ctx.sender.tell(message)
        return Behaviors.same()
    return Behaviors.receive(receive)

asyncio.run(main())
"""


@contextmanager
def child(system: ActorSystem) -> Iterator[subprocess.Popen[bytes]]:
    """A process with an outside client that tells `/probe` the ref of an echo."""
    with subprocess.Popen([sys.executable, "-c", CHILD, f"casty://shop@{system.address}/probe"]) as process:
        try:
            yield process
        finally:
            process.kill()


# -- idle, and back ----------------------------------------------------------------------------------------------------


async def test_a_connection_that_nobody_needs_is_closed_and_the_next_message_opens_another_with_nothing_lost() -> None:
    idle: dict[str, Any] = {"ping_after": 0.02, "mute_after": 0.5, "idle_after": 0.1}
    async with shop(node_id="one", **idle) as one, shop(node_id="two", **idle) as two:
        probe = Probe(one, "probe")
        ref = await lookup(two, one, "/probe")
        conversation_of(two, "one").on_due(0)
        here, there = peer_of(two, "one"), peer_of(one, "two")
        sessions = set()
        for turn in range(3):
            ref.tell(turn)
            assert await probe.next() == turn
            sessions.add(here.link.session.number)
            await until(lambda: here.link.attached is None and there.link.attached is None)
            await until(lambda: not transport_of(one)._connections and not transport_of(two)._connections)
        assert len(sessions) == 1
        assert here.link.session.number == there.link.session.number


async def test_a_connection_that_the_other_side_still_needs_is_not_idle() -> None:
    idle: dict[str, Any] = {"ping_after": 0.02, "mute_after": 0.5, "idle_after": 0.1}
    async with shop(node_id="one", **idle) as one, shop(node_id="two", **idle) as two:
        Probe(one, "silent")
        ref = await lookup(two, one, "/silent")
        asked = asyncio.ensure_future(ref.ask(Text("?"), timeout=0.4))
        await asyncio.sleep(0.3)
        assert peer_of(two, "one").link.attached is not None
        asked.cancel()


async def test_a_raw_peer_that_says_idle_is_dialled_again_when_there_is_something_to_say() -> None:
    async with shop() as system, raw(system, Identity()) as peer:
        peer.say(Idle())
        await peer.closes()
        assert peer_of(system, "raw").link.gone is None
        async with raw(system) as again:
            await again.shake(Identity())
            again.say(Resume(peer.session, 0))
            assert await again.link_frame() == SayResumed(peer.session, 0)


async def test_messages_that_were_under_way_when_a_connection_broke_arrive_once_and_in_order() -> None:
    async with shop(node_id="one") as one, shop(node_id="two") as two:
        probe = Probe(one, "probe")
        ref = await lookup(two, one, "/probe")
        here = peer_of(two, "one")
        for number in range(300):
            ref.tell(number)
            if number % 50 == 25:
                await asyncio.sleep(0)
                connection: Any = here.link.attached
                if connection is not None:
                    connection._socket.abort()
                    await until(Replaced(here, connection).by_another)
        assert await probe.take(300) == [*range(300)]
        assert await probe.all() == []


class Replaced:
    """Waits until another connection is attached."""

    def __init__(self, peer: Peer, before: object) -> None:
        self._peer = peer
        self._before = before

    def by_another(self) -> bool:
        return self._peer.link.attached not in (None, self._before)


async def test_dialling_is_repeated_after_times_that_grow_until_the_node_is_there() -> None:
    # A tunnel that leads nowhere at first: the node is somewhere else.
    async with shop(node_id="one") as one, shop(node_id="two", lost_after=20.0, refused_after=20.0) as two:
        probe = Probe(one, "probe")
        ref = await lookup(two, one, "/probe")
        peer = peer_of(two, "one")
        # What was found is acknowledged, so that the other side has no reason to dial.
        await until(lambda: not len(peer_of(one, "two").link.session))
        good = peer.dial_at
        connection: Any = peer.link.attached
        attempts: list[float] = []
        dial = peer.meeting.dial
        loop = asyncio.get_running_loop()

        def counting() -> None:
            attempts.append(loop.time())
            dial()

        peer.meeting.dial = counting  # type: ignore[method-assign]
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            peer.dial_at = type(good)("127.0.0.1", nobody.getsockname()[1])  # type: ignore[misc]
            connection._socket.abort()
            ref.tell("it will come")
            await until(lambda: len(attempts) == 5)
        pauses = [after - before for before, after in pairwise(attempts)]
        # Each pause is between half of 0.05 s, doubled each time, and the whole of it.
        for place, pause in enumerate(pauses):
            assert pause >= 0.05 * 2**place / 2
        peer.dial_at = good
        assert await probe.next() == "it will come"


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_the_end_says_farewell_after_everything_that_was_sent() -> None:
    async with shop(node_id="one") as one:
        probe = Probe(one, "probe")
        two = shop(node_id="two")
        await two.start()
        ref = await lookup(two, one, "/probe")
        for number in range(1000):
            ref.tell(number)
        await two.shutdown()
        assert await probe.take(1000) == [*range(1000)]
        await until(lambda: peer_of(one, "two").link.gone)
        assert peer_of(one, "two").link.gone == "it has ended: the actor system 'shop' was shut down"


async def test_a_peer_that_sends_while_the_system_ends_hears_the_farewell_and_no_reset() -> None:
    system = shop()
    await system.start()
    async with raw(system, Identity()) as peer:
        flood = asyncio.create_task(keep_sending(peer))
        ending = system.request_shutdown()
        while not isinstance(await peer.link_frame(), Bye):
            pass
        # An error of the connection would be raised here.
        assert await within(peer.reader.read()) == b""
        assert not peer.writer.is_closing()
        flood.cancel()
        await peer.close()
        assert ending is not None
        await within(ending)


async def keep_sending(peer: Any) -> None:
    """Send questions for a sign, without end, as fast as they are read."""
    while True:
        peer.say(*[PingFrame(1)] * 1000)
        await peer.writer.drain()


async def test_a_peer_that_does_not_close_after_the_farewell_is_not_waited_for_long() -> None:
    loop = asyncio.get_running_loop()
    system = shop()
    await system.start()
    async with raw(system, Identity()) as peer:
        began = loop.time()
        await system.shutdown()
        assert FAREWELL_SECONDS <= loop.time() - began < FAREWELL_SECONDS + 0.5
        assert isinstance(await peer.link_frame(), Bye)


async def test_the_end_does_not_wait_where_peers_are_well() -> None:
    loop = asyncio.get_running_loop()
    async with shop() as one:
        two = shop()
        await two.start()
        one.spawn(echo(), "probe")
        await lookup(two, one, "/probe")
        began = loop.time()
        await two.shutdown()
        assert loop.time() - began < FAREWELL_SECONDS


async def test_the_end_takes_seconds_with_a_peer_that_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FLUSH_SECONDS", 0.2)
    system = shop()
    await system.start()
    loop = asyncio.get_running_loop()
    async with raw(system, Identity(), receive_buffer=4096) as peer:
        ref = ref_of(system, peer)
        peer.pause()
        for number in range(50):
            ref.tell(Text(f"{number}" + "x" * 200_000))
        began = loop.time()
        await system.shutdown()
        assert loop.time() - began < 1.5
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert system.dead_letters == 50


async def test_the_end_does_not_wait_for_peers_who_have_everything() -> None:
    loop = asyncio.get_running_loop()
    system = shop()
    await system.start()
    async with raw(system, Identity()) as peer, raw(system) as control, raw(system) as stranger:
        await control.shake(Identity(kind=CONTROL))
        began = loop.time()
        await system.shutdown()
        assert loop.time() - began < 1.0
        assert isinstance(await peer.link_frame(), Bye)
        for each in (peer, control, stranger):
            await each.closes()


async def test_who_is_being_dialled_when_the_system_ends_is_let_go() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        system = shop()
        await system.start()
        found = asyncio.ensure_future(system.lookup(f"casty://shop@127.0.0.1:{mute.getsockname()[1]}/x")._answer())
        await asyncio.sleep(0.02)
        await within(system.shutdown())
        with pytest.raises((asyncio.CancelledError, UnreachableError)):
            await found


async def test_nobody_comes_in_after_the_end() -> None:
    system = shop()
    await system.start()
    address = system.address
    await system.shutdown()
    async with shop() as other:
        text = await ends(other.lookup(f"casty://shop@{address}/x"), UnreachableError)
        assert "cannot be reached" in text


async def test_a_control_connection_is_of_no_use_without_data_and_is_closed_when_idle() -> None:
    async with shop(idle_after=0.15, ping_after=0.02, mute_after=0.1) as system, raw(system) as control:
        assert (await control.shake(Identity(kind=CONTROL)))[0] == WELCOME
        control.send(packed(PingFrame(1)))
        assert await control.link_frame() == Pong(1)
        await control.closes()


async def test_frames_of_a_peer_arrive_while_another_connection_of_it_is_refused() -> None:
    async with shop() as system, raw(system, Identity()) as peer:
        probe = Probe(system, "probe")
        number = await peer.find("/probe")
        async with raw(system) as second:
            await second.shake(Identity())
            second.say(Resume(0, 0))
            await second.closes()
        peer.write(counted(number, "still here"))
        assert await probe.next() == "still here"
