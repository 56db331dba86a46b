"""Semantics 2: a reply handle may be kept and answered later, and an ask ends when nobody is left who could answer."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

from casty_asyncio import (
    ActorFailedError,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    AskTimeoutError,
    Behavior,
    Behaviors,
)
from casty_asyncio.workers import TURN

from .probe import within
from .styles import RESTARTS, Life, Script, Style, Turn, body_of, both


def keeping(turn: Turn, message: Any) -> Behavior[Any] | None:
    """Keeps the handle of "keep" in the state of the incarnation; answers it on "answer"."""
    match message:
        case "keep":
            turn.life.state["handle"] = turn.handle
        case "answer":
            turn.life.state.pop("handle").tell("later")
        case "drop":
            del turn.life.state["handle"]
        case "fail":
            raise ValueError(message)
        case "renew":
            return Behaviors.restart()
        case "ping":
            turn.answer("pong")
    return None


async def asked(system: ActorSystem, style: Style, ref: ActorRef[Any], what: Any) -> asyncio.Future[Any]:
    """An ask that the actor has handled, and not answered."""
    asking = asyncio.ensure_future(style.ask(system, ref, what))
    await asyncio.sleep(0)
    assert await within(style.ask(system, ref, "ping")) == "pong"
    assert not asking.done()
    return asking


# -- kept --------------------------------------------------------------------------------------------------------------


@both
async def test_semantics_2_a_handle_kept_in_the_state_is_answered_later(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(keeping))
        asking = await asked(system, style, ref, "keep")
        gc.collect()
        assert not asking.done()
        ref.tell("answer")
        assert await within(asking) == "later"


@both
async def test_semantics_2_a_handle_is_answered_from_any_task(style: Style) -> None:
    async def answer(handle: ActorRef[Any]) -> None:
        await asyncio.sleep(0)
        handle.tell("from a task")

    tasks: list[asyncio.Task[None]] = []

    async with ActorSystem() as system:
        script = Script(lambda turn, message: tasks.append(asyncio.create_task(answer(turn.handle))))
        ref = await style.spawn(system, script)
        assert await within(style.ask(system, ref, "go")) == "from a task"


@both
async def test_semantics_2_a_handle_given_to_another_actor_is_answered_by_that_one(style: Style) -> None:
    async with ActorSystem() as system:
        other = await style.spawn(system, Script(lambda turn, message: message.tell("from the other")))
        ref = await style.spawn(system, Script(lambda turn, message: other.tell(turn.handle)))
        assert await within(style.ask(system, ref, "go")) == "from the other"


@both
async def test_semantics_2_a_handle_given_away_outlives_the_actor_that_was_asked(style: Style) -> None:
    held: list[ActorRef[Any]] = []

    async def receive(turn: Turn, message: Any) -> None:
        if message == "ping":
            turn.answer("pong")
        else:
            held.append(turn.handle)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        asking = await asked(system, style, ref, "give")
        system.stop(ref)
        await within(system.wait_stopped(ref))
        gc.collect()
        await asyncio.sleep(0)
        assert not asking.done()
        held.pop().tell("still good")
        assert await within(asking) == "still good"


@both
async def test_semantics_2_a_handle_in_the_mailbox_of_another_actor_counts_as_held(style: Style) -> None:
    go_on = asyncio.Event()

    async def slow(turn: Turn, message: Any) -> None:
        await go_on.wait()
        message.tell("at last")

    async def receive(turn: Turn, message: Any) -> None:
        other.tell(turn.handle)
        turn.ctx.stop()

    async with ActorSystem() as system:
        other = await style.spawn(system, Script(slow))
        ref = await style.spawn(system, Script(receive))
        asking = asyncio.ensure_future(style.ask(system, ref, "go"))
        await within(system.wait_stopped(ref))
        assert not asking.done()
        go_on.set()
        assert await within(asking) == "at last"


# -- nobody is left ----------------------------------------------------------------------------------------------------


@both
async def test_semantics_2_an_unanswered_ask_ends_at_once_when_its_actor_stops(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(keeping), "forgetful")
        asking = await asked(system, style, ref, "forget")
        system.stop(ref)
        with pytest.raises(ActorStoppedError, match="/forgetful can no longer answer"):
            await within(asking)


@both
async def test_semantics_2_an_unanswered_ask_ends_at_once_when_its_actor_restarts(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(keeping), "forgetful", supervision=RESTARTS)
        asking = await asked(system, style, ref, "forget")
        ref.tell("fail")
        with pytest.raises(ActorFailedError, match="/forgetful can no longer answer") as caught:
            await within(asking)
        assert isinstance(caught.value.__cause__, ValueError)
        assert await within(style.ask(system, ref, "ping")) == "pong"


@both
@pytest.mark.parametrize("end", ["stop", "renew", "fail"])
async def test_semantics_2_an_ask_whose_handle_was_state_ends_with_the_state(style: Style, end: str) -> None:
    """Who keeps the exception, as pytest does with what is logged, keeps the state by its traceback."""
    async with ActorSystem("unlogged") as system:
        logging.getLogger("casty.unlogged").disabled = True
        ref = await style.spawn(system, Script(keeping), supervision=RESTARTS)
        asking = await asked(system, style, ref, "keep")
        if end == "stop":
            system.stop(ref)
        else:
            ref.tell(end)
        with pytest.raises(ActorStoppedError if end == "stop" else ActorFailedError):
            await within(asking)


async def test_semantics_2_an_ask_whose_handle_was_state_ends_wherever_in_a_turn_the_state_was_lost() -> None:
    """The traceback of a failure leads to the frame of the worker, and that must not lead back to the failure."""
    async with ActorSystem("unlogged") as system:
        logging.getLogger("casty.unlogged").disabled = True
        for before in range(TURN):
            ref = await Style.CLASS.spawn(system, Script(keeping), supervision=RESTARTS)
            asking = await asked(system, Style.CLASS, ref, "keep")
            for message in [*["nothing"] * before, "fail"]:
                ref.tell(message)
            with pytest.raises(ActorFailedError):
                await within(asking)


async def test_semantics_2_who_keeps_the_failure_of_one_ask_keeps_no_handle_of_another() -> None:
    """Wherever in the same turn that came: the traceback of the failure leads to the frame of the worker."""
    style = Style.BEHAVIOR

    async def tell(ref: ActorRef[Any], count: int) -> None:
        for _ in range(count):
            ref.tell("nothing")

    async with ActorSystem("unlogged") as system:
        logging.getLogger("casty.unlogged").disabled = True
        kept = []
        for between in range(TURN):
            ref = await style.spawn(system, Script(keeping), supervision=RESTARTS)
            await style.ask(system, ref, "ping")
            failing, _, asking = map(
                asyncio.ensure_future,
                (style.ask(system, ref, "fail"), tell(ref, between), style.ask(system, ref, "forget")),
            )
            await asyncio.wait([failing])
            kept.append(failing.exception())
            assert await style.ask(system, ref, "ping") == "pong"
            system.stop(ref)
            with pytest.raises(ActorStoppedError):
                await within(asking)
        assert {type(each) for each in kept} == {ActorFailedError}


async def test_semantics_2_an_ask_whose_handle_is_in_the_closure_of_a_behavior_ends_when_that_stops() -> None:
    """Without a setup the state is part of the behavior. Nobody but the actor has that."""

    def behavior() -> Behavior[Any]:
        held: list[Any] = []

        def receive(ctx: Any, message: Any) -> Any:
            held.append(message)
            return Behaviors.same()

        return Behaviors.with_lifecycle(Behaviors.receive(receive), post_stop=lambda ctx: held.append("end"))

    async with ActorSystem() as system:
        ref = system.spawn(behavior())
        asking = asyncio.ensure_future(Style.BEHAVIOR.ask(system, ref, "keep"))
        await asyncio.sleep(0)
        system.stop(ref)
        with pytest.raises(ActorStoppedError):
            await within(asking)


@both
async def test_semantics_2_an_ask_ends_while_the_new_incarnation_is_still_starting(style: Style) -> None:
    go_on = asyncio.Event()

    async def post_restart(life: Life, exc: Exception) -> None:
        await go_on.wait()

    async with ActorSystem() as system:
        script = Script(keeping, post_restart=post_restart)
        ref = await style.spawn(system, script, supervision=RESTARTS)
        asking = await asked(system, style, ref, "forget")
        ref.tell("fail")
        with pytest.raises(ActorFailedError):
            await within(asking)
        go_on.set()
        assert await within(style.ask(system, ref, "ping")) == "pong"


@both
@pytest.mark.parametrize("end", ["stop", "restart"])
async def test_semantics_2_an_ask_ends_when_the_last_holder_lets_go_after_the_end_of_its_actor(
    style: Style, end: str
) -> None:
    held: list[Any] = []

    async def receive(turn: Turn, message: Any) -> None:
        match message:
            case "give":
                held.append(turn.handle)
            case "fail":
                raise ValueError
            case "ping":
                turn.answer("pong")

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive), supervision=RESTARTS)
        asking = await asked(system, style, ref, "give")
        if end == "stop":
            system.stop(ref)
            await within(system.wait_stopped(ref))
        else:
            ref.tell("fail")
            assert await within(style.ask(system, ref, "ping")) == "pong"
        assert not asking.done()
        held.clear()
        with pytest.raises(ActorStoppedError if end == "stop" else ActorFailedError):
            await within(asking)


@both
async def test_semantics_2_a_dropped_handle_alone_does_not_end_an_ask_before_its_timeout(style: Style) -> None:
    """The actor lives on, and who forgets to answer is to be found by the timeout."""
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(keeping))
        asking = asyncio.ensure_future(style.ask(system, ref, "keep", 0.05))
        await asyncio.sleep(0)
        ref.tell("drop")
        with pytest.raises(AskTimeoutError):
            await within(asking)


@both
async def test_semantics_2_an_ask_that_was_handed_on_with_its_message_ends_with_whoever_has_it(style: Style) -> None:
    async with ActorSystem() as system:
        worker = await Style.CLASS.spawn(system, Script(keeping), "worker", supervision=RESTARTS)

        async def hand_on(turn: Turn, message: Any) -> None:
            worker.tell(message, turn.handle)

        front = await style.spawn(system, Script(hand_on), "front", supervision=RESTARTS)
        assert await within(style.ask(system, front, "ping")) == "pong"

        kept = await asked(system, style, front, "keep")
        assert len(body_of(worker).debts) == 1
        assert len(body_of(front).debts) == 0, "who handed it on owes nothing any more"
        worker.tell("answer")
        assert await within(kept) == "later"
        assert len(body_of(worker).debts) == 0

        with pytest.raises(ActorFailedError, match="/worker failed on") as caught:
            await within(style.ask(system, front, "fail"))
        assert isinstance(caught.value.__cause__, ValueError)

        forgotten = await asked(system, style, front, "forget")
        system.stop(worker)
        with pytest.raises(ActorStoppedError):
            await within(forgotten)
