"""Semantics 2: an ask always ends, in both styles. How it ends while its message is on its way or in hand."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from typing import Any

import pytest

from casty_asyncio import (
    ActorFailedError,
    ActorStoppedError,
    ActorSystem,
    AskError,
    AskTimeoutError,
    CastyError,
    Mailbox,
    MailboxFullError,
    MailboxOverflowStrategy,
    StartError,
    SupervisionStrategy,
    SupervisorConfig,
    SystemShutDownError,
)
from casty_asyncio.asks import Ask

from .probe import within
from .styles import RESTARTS, Life, Script, Style, Turn, both, found, runtime_of


def echo(turn: Turn, message: Any) -> None:
    turn.answer(message)


class Busy:
    """A script that has the message "wait" in hand until it may go on, and answers every other one."""

    def __init__(self) -> None:
        self.in_hand = asyncio.Event()
        self.go_on = asyncio.Event()
        self.script = Script(self.receive)

    async def receive(self, turn: Turn, message: Any) -> None:
        if message == "wait":
            self.in_hand.set()
            await self.go_on.wait()
        else:
            turn.answer(message)


# -- the reply ---------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("value", [1, None, False, "", ()], ids=repr)
async def test_semantics_2_an_ask_ends_with_the_reply_whatever_that_is(style: Style, value: Any) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo))
        assert await within(style.ask(system, ref, value)) is value


@both
async def test_semantics_2_an_exception_can_be_the_reply(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo))
        error = ValueError("not raised")
        assert await within(style.ask(system, ref, error)) is error


@both
async def test_semantics_2_replies_go_to_whoever_asked(style: Style) -> None:
    async def receive(turn: Turn, message: int) -> None:
        for _ in range(message % 3):
            await asyncio.sleep(0)
        turn.answer(message)

    async with ActorSystem() as system:
        refs = [await style.spawn(system, Script(receive)) for _ in range(5)]
        asks = [style.ask(system, refs[number % 5], number) for number in range(100)]
        assert await within(asyncio.gather(*asks)) == list(range(100))


# -- the handler fails -------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("suspended", [False, True])
async def test_semantics_2_a_handler_that_raises_ends_its_ask_with_that_very_exception_chained(
    style: Style, suspended: bool
) -> None:
    async def receive(turn: Turn, message: Exception) -> None:
        if suspended:
            await asyncio.sleep(0)
        raise message

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive), "bad", supervision=RESTARTS)
        for error in (ValueError("x"), ExceptionGroup("several", [KeyError("y")]), StopAsyncIteration()):
            with pytest.raises(ActorFailedError, match="/bad failed on") as caught:
                await within(style.ask(system, ref, error))
            cause = caught.value.__cause__
            assert cause is error or (isinstance(cause, RuntimeError) and cause.__cause__ is error)
            assert isinstance(caught.value, AskError)


@both
async def test_semantics_2_an_exception_whose_repr_fails_ends_the_ask_and_nothing_else(style: Style) -> None:
    class UnspeakableError(Exception):
        def __repr__(self) -> str:
            raise ValueError("no words for it")

        __str__ = __repr__

    async def receive(turn: Turn, message: Any) -> None:
        if message == "fail":
            raise UnspeakableError
        turn.answer(message)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive), supervision=RESTARTS)
        with pytest.raises(ActorFailedError, match="UnspeakableError") as caught:
            await within(style.ask(system, ref, "fail"))
        assert type(caught.value.__cause__) is UnspeakableError
        assert await within(style.ask(system, ref, "fine")) == "fine"


@both
async def test_semantics_2_what_was_answered_before_the_handler_raised_is_the_reply(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        turn.answer("first")
        raise ValueError

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        assert await within(style.ask(system, ref, "go")) == "first"


@both
async def test_semantics_2_a_failure_ends_the_ask_in_hand_and_no_other(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        if message == "fail":
            raise ValueError
        turn.answer(message)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive), supervision=RESTARTS)
        asks = [asyncio.ensure_future(style.ask(system, ref, each)) for each in ("a", "fail", "b")]
        a, failed, b = await within(asyncio.gather(*asks, return_exceptions=True))
        assert (a, b) == ("a", "b")
        assert isinstance(failed, ActorFailedError)


@both
async def test_semantics_2_asks_however_they_end_leave_no_circles_for_the_collector(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        if message == "fail":
            raise ValueError(message)
        if message == "answer":
            turn.answer(None)

    async with ActorSystem("unlogged") as system:
        logging.getLogger("casty.unlogged").disabled = True
        ref = await style.spawn(system, Script(receive), supervision=RESTARTS)
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await style.ask(system, ref, "answer")
                with contextlib.suppress(ActorFailedError):
                    await style.ask(system, ref, "fail")
                with contextlib.suppress(AskTimeoutError):
                    await style.ask(system, ref, "forget", 0)
            asks = sum(isinstance(each, Ask) for each in gc.get_objects())
        finally:
            gc.enable()
    assert asks <= 1


# -- the actor stops ---------------------------------------------------------------------------------------------------


@both
async def test_semantics_2_an_ask_of_an_actor_that_has_stopped_ends_at_once(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo), "gone")
        system.stop(ref)
        with pytest.raises(ActorStoppedError, match="/gone"):
            await within(style.ask(system, ref, "stopping"))
        await system.wait_stopped(ref)
        with pytest.raises(ActorStoppedError, match="/gone"):
            await within(style.ask(system, ref, "stopped"))
        assert len(runtime_of(ref).clock) == 0
        assert runtime_of(ref).clock._alarm is None


@both
async def test_semantics_2_asks_that_wait_in_the_mailbox_of_an_actor_end_when_it_stops(style: Style) -> None:
    busy = Busy()
    async with ActorSystem() as system:
        ref = await style.spawn(system, busy.script)
        ref.tell("wait")
        await within(busy.in_hand.wait())
        asks = [asyncio.ensure_future(style.ask(system, ref, number)) for number in range(3)]
        await asyncio.sleep(0)
        system.stop(ref)
        found = await within(asyncio.gather(*asks, return_exceptions=True))
        assert [type(each) for each in found] == [ActorStoppedError] * 3
        busy.go_on.set()
        await within(system.wait_stopped(ref))


@both
async def test_semantics_2_an_ask_in_hand_when_the_actor_is_stopped_is_still_answered(style: Style) -> None:
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        in_hand.set()
        await go_on.wait()
        turn.answer("in time")

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        asking = asyncio.ensure_future(style.ask(system, ref, "go"))
        await within(in_hand.wait())
        system.stop(ref)
        await asyncio.sleep(0)
        assert not asking.done()
        go_on.set()
        assert await within(asking) == "in time"


@both
async def test_semantics_2_an_ask_in_hand_when_the_actor_is_stopped_ends_if_it_is_not_answered(style: Style) -> None:
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        in_hand.set()
        await go_on.wait()

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        asking = asyncio.ensure_future(style.ask(system, ref, "go"))
        await within(in_hand.wait())
        system.stop(ref)
        go_on.set()
        with pytest.raises(ActorStoppedError):
            await within(asking)


@both
async def test_semantics_2_an_ask_that_its_handler_answers_by_stopping_ends(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        turn.ctx.stop()

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        with pytest.raises(ActorStoppedError):
            await within(style.ask(system, ref, "go"))


@both
async def test_semantics_2_asks_end_when_the_system_shuts_down(style: Style) -> None:
    busy = Busy()
    system = ActorSystem()
    ref = await style.spawn(system, busy.script)
    ref.tell("wait")
    await within(busy.in_hand.wait())
    asking = asyncio.ensure_future(style.ask(system, ref, "x"))
    await asyncio.sleep(0)
    ending = asyncio.ensure_future(system.shutdown())
    with pytest.raises(ActorStoppedError):
        await within(asking)
    busy.go_on.set()
    await within(ending)
    with pytest.raises((ActorStoppedError, SystemShutDownError)):
        await within(style.ask(system, ref, "late"))
    assert len(runtime_of(ref).clock) == 0


# -- before the handler ------------------------------------------------------------------------------------------------


@both
async def test_semantics_2_an_ask_during_the_start_is_answered_after_it(style: Style) -> None:
    go_on = asyncio.Event()

    async def start(life: Life) -> None:
        await go_on.wait()

    async with ActorSystem() as system:
        spawning = asyncio.ensure_future(style.spawn(system, Script(echo, start=start), "late"))
        ref = await found(system, "late")
        asking = asyncio.ensure_future(style.ask(system, ref, "early"))
        await asyncio.sleep(0)
        assert not asking.done()
        go_on.set()
        assert await within(asking) == "early"
        await within(spawning)


@both
async def test_semantics_2_an_ask_whose_actor_fails_to_start_ends(style: Style) -> None:
    go_on = asyncio.Event()

    async def start(life: Life) -> None:
        await go_on.wait()
        raise ValueError

    async with ActorSystem() as system:
        stop = SupervisorConfig(strategy=SupervisionStrategy.STOP)
        spawning = asyncio.ensure_future(style.spawn(system, Script(echo, start=start), "late", supervision=stop))
        ref = await found(system, "late")
        asking = asyncio.ensure_future(style.ask(system, ref, "early"))
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(ActorStoppedError):
            await within(asking)
        if style is Style.CLASS:
            with pytest.raises(StartError):
                await within(spawning)


@both
@pytest.mark.parametrize("overflow", list(MailboxOverflowStrategy))
async def test_semantics_2_an_ask_that_a_full_mailbox_does_not_keep_ends_at_once(
    style: Style, overflow: MailboxOverflowStrategy
) -> None:
    busy = Busy()
    async with ActorSystem() as system:
        ref = await style.spawn(system, busy.script, mailbox=Mailbox(1, overflow))
        ref.tell("wait")
        await within(busy.in_hand.wait())
        first, second = (asyncio.ensure_future(style.ask(system, ref, each)) for each in ("first", "second"))
        kept, lost = (second, first) if overflow is MailboxOverflowStrategy.drop_oldest else (first, second)
        with pytest.raises(MailboxFullError) as caught:
            await within(lost)
        assert isinstance(caught.value, asyncio.QueueFull)
        assert isinstance(caught.value, CastyError)
        busy.go_on.set()
        assert await within(kept) == ("second" if kept is second else "first")
