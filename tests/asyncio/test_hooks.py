"""Hooks: what runs when, and that nothing which happens in one leaves an actor hanging."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorSystem,
    Behaviors,
    Context,
    HandlerCancelledError,
    HandlerExitError,
    RestartRequestedError,
    StartError,
    SupervisorConfig,
    Terminated,
)

from .probe import Probe, within
from .styles import RESTARTS, Script, Style, Turn, both


def echo(turn: Turn, message: Any) -> None:
    if isinstance(message, BaseException):
        raise message
    turn.answer((turn.life.number, message))


HARMFUL: list[Callable[[], BaseException]] = [
    ValueError,
    asyncio.CancelledError,
    GeneratorExit,
    StopAsyncIteration,
    lambda: ExceptionGroup("several", [ValueError()]),
    lambda: BaseExceptionGroup("several", [GeneratorExit()]),
]
harmful = pytest.mark.parametrize("make", HARMFUL, ids=lambda make: type(make()).__name__)


def raising(make: Callable[[], BaseException], times: int = 1) -> Callable[..., Any]:
    """A hook that raises so many times."""
    left = [times]

    async def hook(*_: Any) -> None:
        await asyncio.sleep(0)
        if left[0]:
            left[0] -= 1
            raise make()

    return hook


# -- hooks that raise --------------------------------------------------------------------------------------------------


@both
@harmful
async def test_a_pre_restart_that_raises_is_reported_and_the_restart_goes_on(
    style: Style, make: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo, pre_restart=raising(make)), "a", supervision=RESTARTS)
        ref.tell(ValueError())
        assert await within(style.ask(system, ref, "x")) == (2, "x")
    assert "/a: its hook pre_restart failed" in caplog.text


@both
@harmful
async def test_a_last_hook_that_raises_is_reported_and_the_actor_ends(
    style: Style, make: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = await style.spawn(system, Script(echo, stop=raising(make)), "a")
        await within(style.ask(system, ref, "begun"))

        def watch(turn: Turn, message: Any) -> None:
            probe.ref.tell(message)
            turn.ctx.watch(ref)

        (await style.spawn(system, Script(watch))).tell("watch")
        assert await probe.next() == "watch"
        system.stop(ref)
        assert await probe.next() == Terminated(ref)
    assert "/a: its hook post_stop failed" in caplog.text


@both
@harmful
async def test_a_post_restart_that_raises_is_a_failure_of_the_new_incarnation(
    style: Style, make: Callable[[], BaseException]
) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo, post_restart=raising(make)), supervision=RESTARTS)
        ref.tell(ValueError())
        assert await within(style.ask(system, ref, "x")) == (3, "x")


@both
@harmful
async def test_a_start_that_raises_is_tried_again_as_the_policy_says(
    style: Style, make: Callable[[], BaseException]
) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo, start=raising(make, 2)), supervision=RESTARTS)
        assert await within(style.ask(system, ref, "x")) == (3, "x")


@harmful
async def test_a_start_that_raises_for_good_ends_the_spawn_with_its_exception_chained(
    make: Callable[[], BaseException],
) -> None:
    made: list[BaseException] = []

    def make_one() -> BaseException:
        made.append(make())
        return made[-1]

    stops: list[int] = []
    script = Script(echo, start=raising(make_one, 9), stop=lambda life: stops.append(life.number))
    twice = SupervisorConfig(max_restarts=2, backoff_initial=0.0)
    async with ActorSystem() as system:
        with pytest.raises(StartError, match="/a did not start") as caught:
            await within(Style.CLASS.spawn(system, script, "a", supervision=twice))
        cause = caught.value.__cause__
        assert isinstance(cause, Exception)
        assert made[-1] in (cause, cause.__cause__)
        assert (script.lives, stops) == (3, [3])
        assert not system.lookup("a"), "the name is free"
        assert await within(Style.CLASS.spawn(system, Script(echo), "a"))


async def test_an_init_that_raises_ends_the_spawn_itself_and_nothing_was_spawned() -> None:
    class Fragile(Actor[str]):
        def __init__(self, error: Exception) -> None:
            raise error

        def receive(self, msg: str, ctx: Context) -> None:
            """Never called."""

    async with ActorSystem() as system:
        error = ValueError("no")
        with pytest.raises(ValueError, match="no") as caught:
            await system.spawn(Fragile, name="a", error=error)
        assert caught.value is error
        assert not system.lookup("a")
        with pytest.raises(TypeError, match="unexpected"):
            await system.spawn(Fragile, name="a", wrong=1)
        assert not system.lookup("a")


async def test_an_init_that_raises_at_a_restart_is_a_failure_without_an_instance_to_ask(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[Any] = []

    class Fragile(Actor[str]):
        def __init__(self) -> None:
            log.append("init")
            if log.count("init") in (2, 3):
                raise ValueError("init")

        def receive(self, msg: str, ctx: Context) -> None:
            if msg == "fail":
                raise ValueError(msg)
            ctx.reply(msg)

        def pre_restart(self, exc: Exception, msg: str | None) -> None:
            log.append((str(exc), msg))

    async with ActorSystem() as system:
        ref = await system.spawn(Fragile, supervision=RESTARTS)
        ref.tell("fail")
        assert await within(ref.ask("x")) == "x"
    assert log == ["init", ("fail", "fail"), "init", "init", "init"]
    assert "pre_restart failed" not in caplog.text


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, GeneratorExit])
async def test_all_last_hooks_of_a_behavior_run_even_when_some_raise(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    def hook(name: str) -> Callable[..., Any]:
        async def run(ctx: Any, *_: Any) -> None:
            log.append(name)
            if name in ("stop 1", "stop 2"):
                raise error(name)

        return run

    behavior = Behaviors.receive(lambda ctx, message: Behaviors.same())
    for number in (1, 2, 3):
        behavior = Behaviors.with_lifecycle(
            behavior, pre_start=hook(f"start {number}"), post_stop=hook(f"stop {number}")
        )
    async with ActorSystem() as system:
        ref = system.spawn(behavior)
        await Probe(system).all()
        system.stop(ref)
    assert log == ["start 3", "start 2", "start 1", "stop 1", "stop 2", "stop 3"]
    assert caplog.text.count("post_stop failed") == 2


@both
async def test_restart_hooks_are_told_what_came_out_of_the_handler(style: Style) -> None:
    told: list[Exception] = []
    async with ActorSystem() as system:
        script = Script(echo, pre_restart=lambda life, exc, msg: told.append(exc))
        ref = await style.spawn(system, script, supervision=RESTARTS)
        errors = [ValueError(), asyncio.CancelledError(), GeneratorExit(), BaseExceptionGroup("g", [GeneratorExit()])]
        for error in errors:
            ref.tell(error)
        assert await within(style.ask(system, ref, "x")) == (5, "x")
    assert told[0] is errors[0]
    assert [type(each) for each in told[1:]] == [HandlerCancelledError, HandlerExitError, HandlerExitError]
    assert [each.__cause__ for each in told[1:]] == errors[1:]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_restart_hooks_of_a_behavior_take_as_many_arguments_as_they_like(count: int) -> None:
    got: list[tuple[Any, ...]] = []
    hooks: dict[int, Any] = {
        1: lambda ctx: got.append((ctx,)),
        2: lambda ctx, exc: got.append((ctx, exc)),
        3: lambda ctx, exc, msg=None: got.append((ctx, exc, msg)),
    }

    def receive(ctx: ActorContext[Any], message: Any) -> Any:
        if message == "restart":
            return Behaviors.restart()
        message.tell(None)
        return Behaviors.same()

    async with ActorSystem() as system:
        ref = system.spawn(
            Behaviors.with_lifecycle(
                Behaviors.receive(receive), pre_restart=hooks[count], post_restart=hooks[min(count, 2)]
            )
        )
        ref.tell("restart")
        await within(system.ask(ref, lambda reply_to: reply_to))
    assert [len(each) for each in got] == [count, min(count, 2)]
    if count == 3:
        assert isinstance(got[0][1], RestartRequestedError)
        assert got[0][2] == "restart"
