"""Rule 4: an ask of an actor of another process always ends, in both styles."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen

from casty_asyncio import (
    ActorFailedError,
    ActorRef,
    ActorStoppedError,
    AskError,
    AskTimeoutError,
    DeadLetter,
    Mailbox,
    MailboxFullError,
    MailboxOverflowStrategy,
    Reason,
    RemoteException,
    UnreachableError,
    UsageError,
)
from casty_asyncio.asks import Ask
from casty_asyncio.remote.remoting import Remoting
from casty_asyncio.system import ActorSystem

from ..probe import Probe, within
from ..styles import RESTARTS, Script, Style, Turn, body_of, both
from .kit import conversation_of, dead_letters, echo, listening, looked_up, pair, remoting_of, until


@pytest.fixture(autouse=True)
def unlogged() -> Iterator[None]:
    """Handlers fail here on purpose."""
    logging.getLogger("casty.shop").disabled = True
    yield
    logging.getLogger("casty.shop").disabled = False


@frozen
class Handle:
    """A handle on its way."""

    handle: Any


class OddError(Exception):
    """Whoever makes one again needs to know how."""

    def __init__(self, first: int, *, second: str) -> None:
        super().__init__(f"{first} {second}")


def answer(turn: Turn, message: Any) -> None:
    turn.answer(message)


def assert_nothing_is_kept(*systems: ActorSystem) -> None:
    for system in systems:
        remoting: Remoting = remoting_of(system)
        for peer in remoting.transport.peers.values():
            conversation: Any = peer.conversation
            assert not conversation.asking
            assert not conversation.answering
            assert not conversation.lookups
        assert not remoting.exports._handles
        assert remoting.refs.asking is None
        assert remoting.refs.answering is None


@both
async def test_rule_4_an_ask_ends_with_the_answer(style: Style) -> None:
    async with pair() as (one, other):
        await style.spawn(other, Script(answer), "desk")
        ref = await looked_up(one, other, "desk")
        for value in (1, "text", None, [1, 2], {"a": (1, 2)}, Handle(ref), ValueError("not raised")):
            answered = await within(style.ask(one, ref, value))
            assert type(answered) is type(value)
            assert answered == value or isinstance(value, ValueError)
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_a_thousand_asks_at_once_each_get_their_own_answer(style: Style) -> None:
    async def receive(turn: Turn, message: int) -> None:
        for _ in range(message % 3):
            await asyncio.sleep(0)
        turn.answer(message)

    async with pair() as (one, other):
        for number in range(4):
            await style.spawn(other, Script(receive), f"desk-{number}")
        refs = [await looked_up(one, other, f"desk-{number}") for number in range(4)]
        asks = [style.ask(one, refs[number % 4], number) for number in range(1_000)]
        assert await within(asyncio.gather(*asks)) == list(range(1_000))
        assert_nothing_is_kept(one, other)
        assert one.dead_letters == other.dead_letters == 0


@both
async def test_rule_4_a_handle_that_is_kept_can_be_answered_later_and_nothing_is_kept_after_that(style: Style) -> None:
    kept: list[ActorRef[Any]] = []

    def receive(turn: Turn, message: Any) -> None:
        if message == "keep":
            kept.append(turn.handle)
        else:
            kept.pop().tell(message)
            turn.answer("done")

    async with pair() as (one, other):
        there = await style.spawn(other, Script(receive), "desk")
        ref = await looked_up(one, other, "desk")
        for number in range(3):
            asking = asyncio.ensure_future(style.ask(one, ref, "keep"))
            await until(lambda: kept)
            assert await within(style.ask(one, ref, number)) == "done"
            assert await within(asking) == number
        assert not body_of(there).debts
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_a_handle_that_a_third_system_was_given_answers_from_there(style: Style) -> None:
    def pass_on(turn: Turn, message: Any) -> None:
        to_third.tell(Handle(turn.handle))

    async with pair() as (one, other), listening() as third:
        there = Probe(third, "there")
        await style.spawn(other, Script(pass_on), "desk")
        to_third = await looked_up(other, third, "there")
        ref = await looked_up(one, other, "desk")
        asking = asyncio.ensure_future(style.ask(one, ref, "where?"))
        (await there.next()).handle.tell("from the third")
        assert await within(asking) == "from the third"
        # The handle of an ask made elsewhere, given back to who asked.
        asking = asyncio.ensure_future(style.ask(one, ref, "again"))
        handle = (await there.next()).handle
        here = Probe(one, "here")
        (await looked_up(third, one, "here")).tell(Handle(handle))
        home = (await here.next()).handle
        home.tell("from home")
        assert await within(asking) == "from home"
        letters = await dead_letters(one)
        home.tell("once more")
        assert (await letters.next()).message == "once more"
        await until(lambda: not len(remoting_of(other).exports._handles))
        assert_nothing_is_kept(one, other, third)


async def test_rule_4_a_handle_made_here_can_be_sent_in_any_message() -> None:
    async with pair() as (one, other):
        there = Probe(other, "there")
        ref = await looked_up(one, other, "there")
        Probe(one, "slow")
        slow = await within(one.lookup("slow"))
        assert slow is not None
        handles: list[ActorRef[Any]] = []

        def build(reply_to: ActorRef[Any]) -> Any:
            handles.append(reply_to)
            return "asked here"

        asking = asyncio.ensure_future(one.ask(slow, build))
        await asyncio.sleep(0)
        ref.tell(Handle(handles.pop()))
        handle = (await there.next()).handle
        with pytest.raises(UsageError, match="no actor that could be watched"):
            await other.wait_stopped(handle)
        handle.tell("answered there")
        assert await within(asking) == "answered there"
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_a_handlers_exception_arrives_with_its_cause_and_the_traceback_of_that_process(
    style: Style,
) -> None:
    def receive(turn: Turn, message: Exception) -> None:
        raise message

    async with pair() as (one, other):
        await style.spawn(other, Script(receive), "desk", supervision=RESTARTS)
        ref = await looked_up(one, other, "desk")
        with pytest.raises(ActorFailedError, match="/desk failed on") as caught:
            await within(style.ask(one, ref, LookupError("no such dish")))
        cause = caught.value.__cause__
        assert type(cause) is LookupError
        assert cause.args == ("no such dish",)
        (note,) = cause.__notes__
        assert "raise message" in note
        assert 'File "tests/asyncio/remote/test_asks.py"' in note, "where the project lies is nobody's business there"
        assert "LookupError: no such dish" in note
        assert_nothing_is_kept(one, other)


@both
@pytest.mark.parametrize("text", ["odd", "\ud800 no text", "x" * 100_000], ids=["class", "surrogate", "long"])
async def test_rule_4_an_exception_that_cannot_be_made_again_arrives_all_the_same(style: Style, text: str) -> None:
    def receive(turn: Turn, message: Any) -> None:
        error = OddError(1, second=text)
        error.args = (threading.Lock(), text)
        raise error from ValueError(text)

    async with pair() as (one, other):
        await style.spawn(other, Script(receive), "desk", supervision=RESTARTS)
        ref = await looked_up(one, other, "desk")
        with pytest.raises(ActorFailedError) as caught:
            await within(style.ask(one, ref, "go"))
        cause = caught.value.__cause__
        assert isinstance(cause, RemoteException)
        assert cause.type_name.endswith(":OddError")
        assert cause.arguments is None
        assert "OddError" in cause.__notes__[0]
        assert await within(one.lookup(ref.address)) == ref


@both
async def test_rule_4_an_answer_that_cannot_be_sent_fails_the_ask_and_says_why(style: Style) -> None:
    def receive(turn: Turn, message: Any) -> None:
        turn.answer(threading.Lock() if message == "lock" else Handle(threading.Lock()) if message == "in" else message)

    async with pair() as (one, other):
        await style.spawn(other, Script(receive), "desk")
        ref = await looked_up(one, other, "desk")
        with pytest.raises(ActorFailedError, match="the answer of /desk cannot be sent: lock"):
            await within(style.ask(one, ref, "lock"))
        with pytest.raises(ActorFailedError, match=r"the answer of /desk cannot be sent: Handle\.handle"):
            await within(style.ask(one, ref, "in"))
        assert await within(style.ask(one, ref, "fine")) == "fine"
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_an_actor_that_has_stopped_is_known_to_have_at_once(style: Style) -> None:
    async with pair() as (one, other):
        there = await style.spawn(other, Script(answer), "desk")
        ref = await looked_up(one, other, "desk")
        other.stop(there)
        await other.wait_stopped(there)
        with pytest.raises(ActorStoppedError, match="stopped"):
            await within(style.ask(one, ref, "late"))
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_asks_end_when_the_actor_stops_while_they_wait(style: Style) -> None:
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        in_hand.set()
        await go_on.wait()
        if message == "in time":
            turn.answer("answered")

    async with pair() as (one, other):
        there = await style.spawn(other, Script(receive), "desk")
        ref = await looked_up(one, other, "desk")
        asks = [asyncio.ensure_future(style.ask(one, ref, each)) for each in ("in time", "waiting")]
        await within(in_hand.wait())
        await until(lambda: len(conversation_of(other).answering) == 2)
        other.stop(there)
        with pytest.raises(ActorStoppedError):
            await within(asks[1])
        assert not asks[0].done()
        go_on.set()
        assert await within(asks[0]) == "answered"
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_an_ask_whose_actor_owes_the_answer_ends_when_it_stops(style: Style) -> None:
    async with pair() as (one, other):
        handled = asyncio.Event()
        there = await style.spawn(other, Script(lambda turn, message: handled.set()), "desk")
        ref = await looked_up(one, other, "desk")
        asking = asyncio.ensure_future(style.ask(one, ref, "owed"))
        await within(handled.wait())
        other.stop(there)
        with pytest.raises(ActorStoppedError):
            await within(asking)
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_an_ask_that_a_full_mailbox_does_not_keep_ends_at_once(style: Style) -> None:
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        in_hand.set()
        await go_on.wait()
        turn.answer(message)

    async with pair() as (one, other):
        mailbox = Mailbox(1, MailboxOverflowStrategy.reject)
        await style.spawn(other, Script(receive), "desk", mailbox=mailbox)
        ref = await looked_up(one, other, "desk")
        asks = [asyncio.ensure_future(style.ask(one, ref, 0))]
        await within(in_hand.wait())
        asks += [asyncio.ensure_future(style.ask(one, ref, number)) for number in (1, 2)]
        with pytest.raises(MailboxFullError):
            await within(asks[2])
        go_on.set()
        assert await within(asyncio.gather(*asks[:2])) == [0, 1]
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_an_ask_that_is_not_answered_in_time_ends_and_the_late_answer_is_a_dead_letter(
    style: Style,
) -> None:
    kept: list[ActorRef[Any]] = []

    async with pair() as (one, other):
        letters = await dead_letters(other)
        there = await style.spawn(other, Script(lambda turn, message: kept.append(turn.handle)), "desk")
        ref = await looked_up(one, other, "desk")
        with pytest.raises(AskTimeoutError, match=r"/desk did not answer (str|Question) within 0\.05 s"):
            await within(style.ask(one, ref, "slow", 0.05))
        await until(lambda: not conversation_of(other).answering)
        assert not body_of(there).debts
        kept[0].tell("late")
        assert await letters.next() == DeadLetter("late", kept[0], Reason.ASK_OVER)
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_an_answer_that_crosses_the_timeout_is_a_dead_letter_where_it_was_asked(style: Style) -> None:
    async with pair() as (one, other):
        letters = await dead_letters(one)
        await style.spawn(other, Script(answer), "desk")
        ref = await looked_up(one, other, "desk")
        for _ in range(3):
            with pytest.raises(AskTimeoutError):
                await style.ask(one, ref, "too fast", 0)
        assert [letter.message for letter in await letters.take(3)] == ["too fast"] * 3
        assert one.dead_letters == 3
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_a_task_that_is_cancelled_while_it_asks_leaves_nothing_behind(style: Style) -> None:
    handled = asyncio.Event()
    async with pair() as (one, other):
        there = await style.spawn(other, Script(lambda turn, message: handled.set()), "desk")
        ref = await looked_up(one, other, "desk")
        asking = asyncio.ensure_future(style.ask(one, ref, "never answered"))
        await within(handled.wait())
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not conversation_of(one).asking
        await until(lambda: not conversation_of(other).answering)
        assert not body_of(there).debts
        assert_nothing_is_kept(one, other)


@both
async def test_rule_4_asks_however_they_end_leave_no_circles_for_the_collector(style: Style) -> None:
    def receive(turn: Turn, message: Any) -> None:
        if message == "fail":
            raise ValueError(message)
        if message == "answer":
            turn.answer(None)

    async with pair() as (one, other):
        await style.spawn(other, Script(receive), "desk", supervision=RESTARTS)
        ref = await looked_up(one, other, "desk")
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await style.ask(one, ref, "answer")
                with contextlib.suppress(ActorFailedError):
                    await style.ask(one, ref, "fail")
                with contextlib.suppress(AskTimeoutError):
                    await style.ask(one, ref, "forget", 0)
            await until(lambda: not conversation_of(other).answering)
            # What was acknowledged is no longer kept for a new connection.
            await until(lambda: not len(conversation_of(one).session) and not len(conversation_of(other).session))
            asks = sum(isinstance(each, Ask) for each in gc.get_objects())
        finally:
            gc.enable()
        assert_nothing_is_kept(one, other)
    assert asks <= 2


async def test_rule_4_a_reply_can_be_sent_from_the_actor_that_was_asked_to_the_one_that_asks() -> None:
    async with pair() as (one, other):
        other.spawn(echo(), "echo")
        ref = await looked_up(one, other, "echo")
        back = await within(one.ask(ref, lambda reply_to: Handle(reply_to)))
        assert isinstance(back, Handle)
        assert_nothing_is_kept(one, other)


async def test_rule_4_the_handle_of_an_ask_cannot_be_asked() -> None:
    kept: list[ActorRef[Any]] = []
    async with pair() as (one, other):
        here = Probe(one, "here")
        await Style.CLASS.spawn(other, Script(lambda turn, message: kept.append(turn.handle)), "desk")
        ref = await looked_up(one, other, "desk")
        asking = asyncio.ensure_future(ref.ask("x"))
        await until(lambda: kept)
        (await looked_up(other, one, "here")).tell(Handle(kept[0]))
        handle = (await here.next()).handle
        with pytest.raises(AskError, match="not asked"):
            await within(handle.ask("what?"))
        handle.tell("answered")
        assert await within(asking) == "answered"


async def test_rule_4_asks_end_when_their_own_system_is_shut_down() -> None:
    async with listening() as other:
        Probe(other, "silent")
        async with listening() as one:
            ref = await looked_up(one, other, "silent")
            asking = asyncio.ensure_future(ref.ask("x", timeout=60.0))
            await until(lambda: conversation_of(other).answering)
        with pytest.raises(UnreachableError, match="shut down"):
            await within(asking)
        with pytest.raises(UnreachableError):
            await within(ref.ask("x"))
        await until(lambda: not conversation_of(other).answering)


async def test_rule_4_asks_end_at_once_when_the_other_system_is_shut_down() -> None:
    async with listening() as one:
        async with listening() as other:
            Probe(other, "silent")
            ref = await looked_up(one, other, "silent")
            asking = asyncio.ensure_future(ref.ask("x", timeout=60.0))
            await until(lambda: conversation_of(other).answering)
        with pytest.raises((ActorStoppedError, UnreachableError)):
            await within(asking)
        assert_nothing_is_kept(one)
