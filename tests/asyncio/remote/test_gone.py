"""Rules 3 and 5: what is known of actors elsewhere that have stopped, and who makes use of it."""

from __future__ import annotations

import asyncio

import pytest

from casty_asyncio.events import is_gone
from casty_asyncio.remote import undelivered
from casty_proto.wire.envelopes import TERMINATED, frame_one

from ..probe import Probe, within
from .kit import conversation_of, dead_letters, echo, looked_up, pair, until


async def test_rule_3_a_tick_ends_once_it_is_known_that_its_target_has_stopped() -> None:
    async with pair() as (one, other):
        there = Probe(other, "there")
        ref = await looked_up(one, other, "there")
        letters = await dead_letters(one)
        one.tick("again", ref, "tick", 0.01)
        assert await there.take(2) == ["tick", "tick"]
        other.stop(there.ref)
        assert (await letters.next()).message == "tick"
        assert one._running is not None
        timers = one._running.timers._timers
        await until(lambda: not timers)
        assert is_gone(ref)


async def test_rule_3_who_refuses_a_message_as_nobodys_says_that_its_receiver_is_gone() -> None:
    async with pair() as (one, other):
        there = other.spawn(echo(), "there")
        ref = await looked_up(one, other, "there")
        letters = await dead_letters(one)
        other.stop(there)
        await within(other.wait_stopped(there))
        assert not is_gone(ref)
        ref.tell("too late")
        assert (await letters.next()).message == "too late"
        assert is_gone(ref)


async def test_rule_5_the_news_of_an_end_says_that_the_actor_is_gone_and_nobody_else() -> None:
    async with pair() as (one, other):
        first = other.spawn(echo(), "first")
        other.spawn(echo(), "second")
        refs = [await looked_up(one, other, name) for name in ("first", "second")]
        for ref in refs:
            assert await within(ref.ask("there?")) == "there?"
        ended = asyncio.ensure_future(one.wait_stopped(refs[0]))
        await asyncio.sleep(0)
        other.stop(first)
        await within(ended)
        assert [is_gone(ref) for ref in refs] == [True, False]


async def test_rule_5_all_actors_of_a_process_that_has_ended_are_gone() -> None:
    async with pair() as (one, other):
        other.spawn(echo(), "there")
        ref = await looked_up(one, other, "there")
        assert await within(ref.ask("there?")) == "there?"
        conversation = conversation_of(one)
        await other.shutdown()
        await until(lambda: conversation.peer.link.gone)
        assert is_gone(ref)


async def test_rule_6_who_is_gone_is_remembered_up_to_a_limit_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undelivered, "GONE_MAX", 3)
    async with pair() as (one, other):
        other.spawn(echo(), "there")
        await looked_up(one, other, "there")
        conversation = conversation_of(one)
        for number in range(1, 6):
            conversation.handle(frame_one(TERMINATED, number)[4:], number)
        assert [number for number in range(1, 6) if conversation.is_gone(number)] == [3, 4, 5]
