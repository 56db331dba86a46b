"""Semantics 2: an ask always ends, also when nobody answers: at its timeout, or at once where waiting is pointless."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import ActorFailedError, ActorSystem, AskTimeoutError, UsageError

from .probe import within
from .styles import RESTARTS, Script, Style, Turn, both, eager_tasks, runtime_of


def echo(turn: Turn, message: Any) -> None:
    turn.answer(message)


@both
async def test_semantics_2_an_ask_ends_with_its_timeout_which_is_a_timeout_error(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(lambda turn, message: None), "silent")
        for timeout in (0, 0.001, 0.15):
            with pytest.raises(TimeoutError, match="/silent did not answer") as caught:
                await within(style.ask(system, ref, "hello", timeout))
            assert isinstance(caught.value, AskTimeoutError)
        assert await within(style.ask(system, await style.spawn(system, Script(echo)), "x", 0.5)) == "x"


@both
@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), None, "5"], ids=repr)
async def test_semantics_2_a_timeout_that_makes_no_sense_is_refused_and_harms_no_other_ask(
    style: Style, timeout: Any
) -> None:
    handled: list[Any] = []
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(lambda turn, message: handled.append(message)))
        other = asyncio.ensure_future(style.ask(system, ref, "other", 0.12))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="timeout"):
            await style.ask(system, ref, "refused", timeout)
        with pytest.raises(AskTimeoutError):
            await within(other)
    assert handled == ["other"]


@both
async def test_semantics_2_an_actor_that_asks_itself_is_told_so_at_once(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        if message == "before":
            await style.ask(turn.ctx.system, turn.ctx.self, "x")
        await asyncio.sleep(0)
        await style.ask(turn.ctx.system, turn.ctx.self, "x")

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive), "loop", supervision=RESTARTS)
        for message in ("before", "after"):
            with pytest.raises(ActorFailedError) as caught:
                await within(style.ask(system, ref, message))
            assert isinstance(caught.value.__cause__, UsageError)
            assert "/loop asks itself" in str(caught.value.__cause__)


@both
async def test_semantics_2_an_actor_may_ask_itself_beside_its_handler(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        asking = turn.ctx.self
        match message:
            case "pipe":
                turn.ctx.pipe_to_self(style.ask(turn.ctx.system, asking, "value"), lambda value: ("piped", value))
                turn.life.state["asker"] = turn.handle
            case ("piped", value):
                turn.life.state.pop("asker").tell(value)
            case _:
                turn.answer(message)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        assert await within(style.ask(system, ref, "pipe")) == "value"


@both
async def test_semantics_2_a_task_that_starts_at_once_in_a_handler_may_ask_its_actor(style: Style) -> None:
    """With `asyncio.eager_task_factory` such a task is begun in the middle of the handler, but is not the handler."""
    tasks: list[asyncio.Task[Any]] = []

    async def receive(turn: Turn, message: Any) -> None:
        if message == "go":
            tasks.append(asyncio.create_task(style.ask(turn.ctx.system, turn.ctx.self, "other")))
        turn.answer(message)

    with eager_tasks():
        async with ActorSystem() as system:
            ref = await style.spawn(system, Script(receive))
            assert await within(style.ask(system, ref, "go")) == "go"
            assert await within(tasks[0]) == "other"


@both
async def test_semantics_2_asks_in_a_circle_end_with_the_timeout_and_the_actors_go_on(style: Style) -> None:
    async def around(turn: Turn, message: Any) -> None:
        if not message:
            turn.answer("pong")
            return
        try:
            next_one, *rest = message
            turn.answer(await style.ask(turn.ctx.system, next_one, rest, 0.02))
        except AskTimeoutError:
            turn.answer("timed out")

    async with ActorSystem() as system:
        a, b = [await style.spawn(system, Script(around)) for _ in range(2)]
        assert await within(style.ask(system, a, [b, a])) == "timed out"
        for ref in (a, b):
            assert await within(style.ask(system, ref, [])) == "pong"


async def test_semantics_2_a_message_that_cannot_be_built_is_not_sent() -> None:
    handled: list[Any] = []
    async with ActorSystem() as system:
        ref = await Style.BEHAVIOR.spawn(system, Script(lambda turn, message: handled.append(message)))
        with pytest.raises(ZeroDivisionError):
            await system.ask(ref, lambda reply_to: 1 / 0)
        assert len(runtime_of(ref).clock) == 0
    assert handled == []
