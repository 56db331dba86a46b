"""An outside client: it listens nowhere, and the other side reaches its actors over the client's own connection."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from casty_asyncio import ActorRef, DeadLetter, Reason, Terminated, UnreachableError, stream_consumer, stream_producer

from ..probe import Probe, within
from ..streams_kit import drain, get_sink, get_source
from ..styles import Script, Style, both
from .kit import (
    Proxy,
    client,
    conversation_of,
    dead_letters,
    echo,
    listening,
    looked_up,
    peers_of,
    process,
    seen_from,
    until,
)
from .parcels import Consume, Echo, Produce, Tell, Watch
from .test_streams import put
from .test_watch import Watcher


@both
async def test_rule_4_a_client_asks_and_is_asked(style: Style) -> None:
    async with listening() as server, client() as outside:
        script = Script(lambda turn, message: turn.answer(("answer", message)))
        await style.spawn(server, script, "desk")
        await style.spawn(outside, script, "home")
        desk = await looked_up(outside, server, "desk")
        assert await within(style.ask(outside, desk, 1)) == ("answer", 1)
        home = seen_from(server, outside, outside.lookup("home").ref or desk)
        assert await within(style.ask(server, home, 2)) == ("answer", 2)
        assert server.dead_letters == outside.dead_letters == 0


async def test_rule_2_a_client_is_told_in_order_over_its_own_connection() -> None:
    async with client() as outside, process() as there:
        probe = Probe(outside)
        desk = await there.look_up(outside, "desk")
        desk.tell(Tell(probe.ref, 3_000))
        assert await probe.take(3_000) == list(range(3_000))
        assert await within(desk.ask(Echo("asked"))) == "asked"


async def test_rule_7_nobody_can_look_up_an_actor_of_a_client_by_an_address() -> None:
    async with client() as outside:
        assert outside.address is None
        assert outside.lookup("nobody").ref is None


async def test_rule_1_two_clients_have_actors_of_their_own() -> None:
    async with listening() as server, client() as first, client() as second:
        probe = Probe(server, "probe")
        for system in (first, second):
            home = Probe(system, "home")
            (await looked_up(system, server, "probe")).tell(home.ref)
        one, other = await probe.take(2)
        assert one != other
        assert one.path == other.path == "/home"
        one.tell("for one")
        other.tell("for the other")
        assert len({one, other}) == 2


async def test_rule_2_streams_go_both_ways_between_a_client_and_a_process() -> None:
    async with client() as outside, process() as there:
        probe = Probe(outside)
        desk = await there.look_up(outside, "desk")
        produced = await within(desk.ask(Produce(1_000)))
        source = await get_source(outside, outside.spawn(stream_consumer(produced)))
        sink = await get_sink(outside, producer := outside.spawn(stream_producer()))
        desk.tell(Consume(producer, probe.ref))
        putting = asyncio.ensure_future(put(sink, 1_000))
        assert await within(drain(source)) == (list(range(1_000)), None)
        await within(putting)
        assert await probe.take(1_001) == [*range(1_000), "completed"]


async def test_rule_2_a_clients_connection_is_made_again_by_the_client_and_nothing_is_lost() -> None:
    async with listening() as server, client() as outside:
        proxy = Proxy()
        await proxy.between(outside, server)
        there, here = Probe(server, "there"), Probe(outside, "here")
        desk = await looked_up(outside, server, "there")
        desk.tell(here.ref)
        home: ActorRef[Any] = await there.next()
        proxy.cut_after = 7_001
        for number in range(2_000):
            desk.tell(number)
            home.tell(number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        assert await there.take(2_000) == list(range(2_000))
        assert await here.take(2_000) == list(range(2_000))
        assert proxy.cuts >= 3
        proxy.cut_after = None
        # It is cut while nobody has anything to say: the client comes back by itself, for the server cannot call.
        opened = proxy.opened
        await until(lambda: not len(peers_of(server)[0].link.session) and not len(peers_of(outside)[0].link.session))
        proxy.cut()
        await until(lambda: peers_of(server)[0].link.attached is None or proxy.opened > opened)
        home.tell("to the client")
        assert await here.next() == "to the client"
        assert proxy.opened > opened
        assert server.dead_letters == outside.dead_letters == 0
        await proxy.close()


async def test_rule_5_a_client_that_is_killed_is_given_up_when_it_does_not_come_back() -> None:
    async with listening(lost_after=0.15) as server, process(host=None) as outside:
        watcher, letters = Watcher(server), await dead_letters(server)
        probe = Probe(server, "probe")
        await outside.say(f"casty://shop@{server.address}/probe")
        home = await probe.next()
        watcher.watch(home)
        assert await within(home.ask(Echo("here"))) == "here"
        await outside.kill()
        assert await watcher.next() == Terminated(home)
        asking = asyncio.ensure_future(home.ask(Echo("anybody?"), timeout=60.0))
        home.tell("lost")
        with pytest.raises(UnreachableError, match="out of reach"):
            await within(asking)
        found = await letters.take(2)
        assert DeadLetter("lost", home, Reason.UNREACHABLE) in found


async def test_rule_5_a_client_that_shuts_down_is_gone_at_once() -> None:
    async with listening() as server:
        watcher = Watcher(server)
        probe = Probe(server, "probe")
        async with client() as outside:
            home = outside.spawn(echo(), "home")
            (await looked_up(outside, server, "probe")).tell(home)
            there = await probe.next()
            watcher.watch(there)
            await until(lambda: conversation_of(outside).watching._watched)
        assert await watcher.next() == Terminated(there)
        with pytest.raises(UnreachableError):
            await within(there.ask("anybody?", timeout=60.0))


async def test_rule_5_a_client_watches_and_is_told_when_the_process_is_killed() -> None:
    async with client(refused_after=0.05) as outside, process() as there:
        watcher = Watcher(outside)
        desk = await there.look_up(outside, "desk")
        watcher.watch(desk)
        assert await within(desk.ask(Echo("watched"))) == "watched"
        await there.kill()
        assert await watcher.next() == Terminated(desk)


async def test_rule_5_a_client_that_stands_still_for_a_short_time_is_not_given_up() -> None:
    async with listening(ping_after=0.05, mute_after=0.15) as server, process(host=None) as outside:
        watcher = Watcher(server)
        probe = Probe(server, "probe")
        await outside.say(f"casty://shop@{server.address}/probe")
        home = await probe.next()
        watcher.watch(home)
        assert await within(home.ask(Echo("here"))) == "here"
        outside.signal(signal.SIGSTOP)
        await until(lambda: conversation_of(server).peer.link.attached is None)
        home.tell(Watch(probe.ref, probe.ref))
        outside.signal(signal.SIGCONT)
        assert await within(home.ask(Echo("back"), timeout=60.0)) == "back"
        assert await watcher.all() == []


async def test_rule_3_a_client_that_has_gone_and_come_back_as_another_process_is_somebody_else() -> None:
    async with listening() as server:
        probe, letters = Probe(server, "probe"), await dead_letters(server)
        homes = []
        for _ in range(2):
            async with client(node_id="branch office") as outside:
                home = Probe(outside, "home")
                (await looked_up(outside, server, "probe")).tell(home.ref)
                homes.append(await probe.next())
                if len(homes) == 2:
                    homes[0].tell("for the first")
                    assert await letters.next() == DeadLetter("for the first", homes[0], Reason.UNREACHABLE)
                    homes[1].tell("for the second")
                    assert await home.next() == "for the second"
        assert homes[0] != homes[1]
