"""Semantics 2: replies that come too late, twice or outside of the handler, callers that go away, and stashed asks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    ActorFailedError,
    ActorStoppedError,
    ActorSystem,
    AskTimeoutError,
    DeadLetter,
    EventStreamSubscribe,
    Mailbox,
    Reason,
    StashFullError,
    UsageError,
)

from .probe import Probe, within
from .styles import RESTARTS, Question, Script, Style, Turn, body_of, both, runtime_of
from .test_semantics_asks_handles import asked, keeping


async def letters(system: ActorSystem) -> Probe:
    probe = Probe(system)
    system.event_stream.tell(EventStreamSubscribe(DeadLetter, probe.ref))
    await probe.all()
    return probe


# -- too late, twice, cancelled ----------------------------------------------------------------------------------------


@both
async def test_semantics_2_a_reply_after_the_timeout_becomes_a_dead_letter(style: Style) -> None:
    async with ActorSystem() as system:
        lost = await letters(system)
        ref = await style.spawn(system, Script(keeping))
        with pytest.raises(AskTimeoutError):
            await within(style.ask(system, ref, "keep", 0.01))
        assert len(body_of(ref).debts) == 0
        ref.tell("answer")
        letter = await lost.next()
        assert (letter.message, letter.reason) == ("later", Reason.ASK_OVER)


@both
async def test_semantics_2_the_second_of_two_replies_becomes_a_dead_letter(style: Style) -> None:
    def twice(turn: Turn, message: Any) -> None:
        turn.answer("first")
        turn.answer("second")

    async with ActorSystem() as system:
        lost = await letters(system)
        ref = await style.spawn(system, Script(twice))
        assert await within(style.ask(system, ref, "go")) == "first"
        letter = await lost.next()
        assert (letter.message, letter.reason) == ("second", Reason.ASK_OVER)


@both
async def test_semantics_2_a_caller_that_is_cancelled_leaves_nothing_behind_and_the_reply_is_a_dead_letter(
    style: Style,
) -> None:
    async with ActorSystem() as system:
        lost = await letters(system)
        ref = await style.spawn(system, Script(keeping))
        asking = await asked(system, style, ref, "keep")
        assert len(body_of(ref).debts) == len(runtime_of(ref).clock) == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert len(body_of(ref).debts) == len(runtime_of(ref).clock) == 0
        ref.tell("answer")
        letter = await lost.next()
        assert (letter.message, letter.reason) == ("later", Reason.ASK_OVER)
        assert await within(style.ask(system, ref, "ping")) == "pong"


@both
async def test_semantics_2_a_reply_that_crosses_the_cancellation_of_the_caller_does_no_harm(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(lambda turn, message: turn.answer(message)))
        for steps in range(6):
            asking = asyncio.ensure_future(style.ask(system, ref, "x"))
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            outcome = await within(asyncio.gather(asking, return_exceptions=True))
            assert outcome == ["x"] or isinstance(outcome[0], asyncio.CancelledError)
        assert await within(style.ask(system, ref, "y")) == "y"
        assert len(runtime_of(ref).clock) == 0


async def test_semantics_2_a_reply_outside_of_the_handler_is_refused_with_the_way_to_do_it() -> None:
    contexts: list[Any] = []

    async with ActorSystem() as system:
        script = Script(lambda turn, message: contexts.append(turn.ctx))
        ref = await Style.CLASS.spawn(system, script)
        other = await Style.CLASS.spawn(system, Script(lambda turn, message: contexts[0].reply("stolen")))
        asking = asyncio.ensure_future(ref.ask("x", 0.05))
        await asyncio.sleep(0)
        with pytest.raises(ActorFailedError) as caught:
            await within(other.ask("x"))
        assert isinstance(caught.value.__cause__, UsageError)
        assert "ctx.sender" in str(caught.value.__cause__)
        with pytest.raises(UsageError, match="outside of its handler"):
            contexts[0].reply("from nowhere")
        with pytest.raises(AskTimeoutError):
            await within(asking)


# -- stashed -----------------------------------------------------------------------------------------------------------


def stashing(turn: Turn, message: Any) -> None:
    """Sets every ask aside until "open"."""
    if message == "open":
        turn.ctx.unstash_all()
        turn.life.state["open"] = True
    elif message == "fail":
        raise ValueError(message)
    elif turn.life.state.get("open") or turn.life.number > 1:
        turn.answer((turn.life.number, message))
    else:
        turn.ctx.stash(message if turn.reply_to is None else Question(message, turn.reply_to))


@both
async def test_semantics_2_a_stashed_ask_is_answered_when_it_is_unstashed(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(stashing))
        asks = [asyncio.ensure_future(style.ask(system, ref, number)) for number in range(3)]
        await asyncio.sleep(0)
        ref.tell("open")
        assert await within(asyncio.gather(*asks)) == [(1, 0), (1, 1), (1, 2)]


@both
async def test_semantics_2_a_stashed_ask_ends_at_once_when_its_actor_stops(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(stashing))
        asking = asyncio.ensure_future(style.ask(system, ref, "x"))
        await asyncio.sleep(0)
        system.stop(ref)
        with pytest.raises(ActorStoppedError):
            await within(asking)


@both
async def test_semantics_2_a_stashed_ask_is_handled_by_the_next_incarnation(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(stashing), supervision=RESTARTS)
        asking = asyncio.ensure_future(style.ask(system, ref, "x"))
        await asyncio.sleep(0)
        ref.tell("fail")
        assert await within(asking) == (2, "x")


@both
async def test_semantics_2_an_ask_that_a_full_stash_does_not_keep_fails(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(stashing), mailbox=Mailbox(1), supervision=RESTARTS)
        first = asyncio.ensure_future(style.ask(system, ref, "first"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(ActorFailedError) as caught:
            await within(style.ask(system, ref, "second"))
        assert isinstance(caught.value.__cause__, StashFullError)
        assert await within(first) == (2, "first")
