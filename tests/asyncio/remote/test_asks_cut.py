"""Rules 2 and 4: asks over connections that break, and of processes that are lost."""

from __future__ import annotations

import asyncio
import signal

import pytest

from casty_asyncio import UnreachableError

from ..probe import within
from ..styles import Script, Style, Turn, both
from .kit import conversation_of, listening, looked_up, process, proxied, until
from .parcels import AskOf, Echo, Keep, Release


@both
async def test_rule_4_an_ask_is_answered_although_its_connection_was_cut_meanwhile(style: Style) -> None:
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def receive(turn: Turn, message: str) -> None:
        in_hand.set()
        await go_on.wait()
        turn.answer(message)

    async with proxied() as (one, other, proxy):
        await style.spawn(other, Script(receive), "desk")
        ref = await looked_up(one, other, "desk")
        asking = asyncio.ensure_future(style.ask(one, ref, "once"))
        await within(in_hand.wait())
        opened = proxy.opened
        proxy.cut()
        await until(lambda: proxy.opened > opened)
        go_on.set()
        assert await within(asking) == "once"
        assert one.dead_letters == other.dead_letters == 0


@both
async def test_rule_4_many_asks_over_many_broken_connections_are_each_handled_once(style: Style) -> None:
    handled: list[int] = []

    def receive(turn: Turn, message: int) -> None:
        handled.append(message)
        turn.answer(message)

    async with proxied() as (one, other, proxy):
        await style.spawn(other, Script(receive), "desk")
        ref = await looked_up(one, other, "desk")
        proxy.cut_after = 4_001
        asks = [style.ask(one, ref, number) for number in range(1_000)]
        assert await within(asyncio.gather(*asks)) == list(range(1_000))
        assert handled == list(range(1_000))
        assert proxy.cuts >= 5
        assert one.dead_letters == other.dead_letters == 0


async def test_rule_4_asks_of_a_killed_process_end_soon() -> None:
    async with listening(refused_after=0.05) as system, process() as there:
        desk = await there.look_up(system, "desk")
        assert await within(desk.ask(Echo("alive"))) == "alive"
        asks = [asyncio.ensure_future(desk.ask(Keep(), timeout=60.0)) for _ in range(3)]
        assert await within(desk.ask(Echo("all handled"))) == "all handled"
        await there.kill()
        for ask in asks:
            with pytest.raises(UnreachableError, match="its process is lost"):
                await within(ask)
        assert not conversation_of(system).asking
        with pytest.raises(UnreachableError):
            await within(desk.ask(Echo("too late"), timeout=60.0))


async def test_rule_4_asks_of_a_process_that_has_shut_down_end_at_once() -> None:
    async with listening() as system, process() as there:
        desk = await there.look_up(system, "desk")
        await there.end()
        with pytest.raises(UnreachableError, match="it has ended: the actor system 'shop' was shut down"):
            await within(desk.ask(Echo("late"), timeout=60.0))


async def test_rule_4_an_ask_of_a_process_that_stands_still_is_answered_when_it_goes_on() -> None:
    async with listening(ping_after=0.05, mute_after=0.15) as system, process() as there:
        desk = await there.look_up(system, "desk")
        there.signal(signal.SIGSTOP)
        asking = asyncio.ensure_future(desk.ask(Echo("later"), timeout=60.0))
        # It is given up for mute, and dialled again, but not yet for lost.
        await until(lambda: conversation_of(system).peer.link.attached is None)
        assert not asking.done()
        there.signal(signal.SIGCONT)
        assert await within(asking) == "later"


async def test_rule_4_a_handle_that_another_process_keeps_is_answered_by_it() -> None:
    async with listening() as system, process() as there:
        desk = await there.look_up(system, "desk")
        asking = asyncio.ensure_future(desk.ask(Keep(), timeout=60.0))
        await asyncio.sleep(0)
        desk.tell(Release("kept and answered"))
        assert await within(asking) == "kept and answered"


async def test_rule_4_a_process_that_asked_and_was_killed_is_owed_nothing() -> None:
    async with listening(refused_after=0.05) as system, process() as there:
        desk = await there.look_up(system, "desk")
        asked = asyncio.Event()
        ref = await Style.CLASS.spawn(system, Script(lambda turn, message: asked.set()), "asked")
        desk.tell(AskOf(ref))
        await within(asked.wait())
        assert conversation_of(system).answering
        await there.kill()
        # Something to say, or its end would not be looked for.
        desk.tell(Echo("anybody?"))
        await until(lambda: not conversation_of(system).answering)
