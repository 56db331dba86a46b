"""Semantics 7: a shutdown leaves no task, socket, file or timer behind, whatever the actors are doing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from casty_asyncio import (
    ActorFailedError,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    Behaviors,
    RunTask,
    SupervisorConfig,
    SystemShutDownError,
    UsageError,
)

from .probe import within
from .styles import Life, Script, Style, Turn, both, found, runtime_of


def echo(turn: Turn, message: Any) -> None:
    if isinstance(message, Exception):
        raise message
    turn.answer(message)


def assert_nothing_is_left(ref: ActorRef[Any]) -> None:
    """Of the system of that actor. The event loop of asyncio shows its timers; the one of uvloop does not."""
    runtime = runtime_of(ref)
    loop = asyncio.get_running_loop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert runtime.pool.workers == {}
    assert runtime.pool.idle == []
    assert not runtime.pool.ready
    assert len(runtime.clock) == 0
    assert runtime.clock._alarm is None
    assert len(runtime.timers) == len(runtime.tracker) == 0
    assert not runtime.machine.user.children
    assert not runtime.machine.system.children
    assert runtime.machine.deadline() is None
    runtime.machine.invariants()
    timers = [timer for timer in getattr(loop, "_scheduled", []) if not timer.cancelled()]
    assert len(timers) <= 1, "the one that limits the time of this test"


# -- nothing is left ---------------------------------------------------------------------------------------------------


@both
async def test_semantics_7_a_system_at_rest_ends_without_a_trace(style: Style) -> None:
    system = ActorSystem()
    refs = [await style.spawn(system, Script(echo)) for _ in range(100)]
    assert await within(asyncio.gather(*(style.ask(system, ref, 1) for ref in refs))) == [1] * 100
    assert await within(system.shutdown()) == ()
    assert_nothing_is_left(refs[0])


@both
async def test_semantics_7_whatever_is_under_way_ends_with_the_system(style: Style) -> None:
    """Back-offs, timers, ticks, pipes, tasks, asks, suspended handlers, starts, stops, and full mailboxes."""
    go_on = asyncio.Event()
    ended: list[str] = []
    slow = SupervisorConfig(backoff_initial=3600.0, backoff_max=3600.0)

    async def forever(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def receive(turn: Turn, message: Any) -> None:
        match message:
            case "timers":
                turn.ctx.schedule("once", "x", 3600.0)
                turn.ctx.tick("often", "x", 0.001)
                turn.ctx.pipe_to_self(forever("piped"))
                turn.answer(None)
            case "wait":
                await go_on.wait()
            case "fail":
                raise ValueError

    async def hook(life: Life, *_: Any) -> None:
        await go_on.wait()

    system = ActorSystem()
    refs = [await style.spawn(system, Script(receive), f"a{number}") for number in range(3)]
    await within(style.ask(system, refs[0], "timers"))
    system.schedule("once", refs[0], "x", 3600.0)
    system.tick("often", refs[1], "x", 0.001)
    system.task_runner.tell(RunTask(forever("run")))
    backing_off = await style.spawn(system, Script(receive), supervision=slow)
    with pytest.raises(ActorFailedError):
        await within(style.ask(system, backing_off, "fail"))
    starting = asyncio.ensure_future(style.spawn(system, Script(receive, start=hook), "starting"))
    stopping = await style.spawn(system, Script(receive, stop=hook))
    await found(system, "starting")
    system.stop(stopping)
    asks = [asyncio.ensure_future(style.ask(system, ref, "wait")) for ref in [*refs, backing_off] for _ in range(3)]
    await asyncio.sleep(0.01)
    ending = asyncio.ensure_future(system.shutdown())
    await asyncio.sleep(0)
    go_on.set()
    assert await within(ending) == ()
    outcomes = await within(asyncio.gather(*asks, starting, return_exceptions=True))
    assert {type(outcome) for outcome in outcomes[:-1]} == {ActorStoppedError}
    assert sorted(ended) == ["piped", "run"]
    assert_nothing_is_left(refs[0])


@both
async def test_semantics_7_a_restart_on_its_way_ends_with_the_system(style: Style) -> None:
    def again(turn: Turn, message: Any) -> Any:
        turn.ctx.self.tell(message)
        return Behaviors.restart()

    system = ActorSystem()
    refs = [await style.spawn(system, Script(again)) for _ in range(10)]
    for ref in refs:
        ref.tell("again")
    for _ in range(10):
        await asyncio.sleep(0)
    assert await within(system.shutdown()) == ()
    assert_nothing_is_left(refs[0])


async def test_semantics_7_actors_spawned_in_the_last_moment_end_too() -> None:
    system = ActorSystem()
    refs = [await Style.BEHAVIOR.spawn(system, Script(echo)) for _ in range(10)]
    ending = system.request_shutdown()
    assert ending is not None
    await within(ending)
    assert_nothing_is_left(refs[0])


# -- how it is called --------------------------------------------------------------------------------------------------


async def test_a_shutdown_may_be_asked_for_more_than_once_and_waited_for_by_many() -> None:
    system = ActorSystem()
    ref = await Style.CLASS.spawn(system, Script(echo))
    waiting = asyncio.ensure_future(system.wait_shutdown())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await within(asyncio.gather(*(system.shutdown() for _ in range(3)))) == [(), (), ()]
    assert await within(system.shutdown()) == ()
    await within(waiting)
    await within(system.wait_shutdown())
    assert_nothing_is_left(ref)


async def test_a_shutdown_goes_on_when_whoever_waits_for_it_is_cancelled() -> None:
    hooking, go_on = asyncio.Event(), asyncio.Event()

    async def stop(life: Life) -> None:
        hooking.set()
        await go_on.wait()

    system = ActorSystem()
    ref = await Style.CLASS.spawn(system, Script(echo, stop=stop))
    ending = asyncio.ensure_future(system.shutdown())
    await within(hooking.wait())
    ending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ending
    go_on.set()
    assert await within(system.shutdown()) == ()
    assert_nothing_is_left(ref)


async def test_a_system_that_was_never_used_shuts_down_too() -> None:
    system = ActorSystem()
    assert await within(system.shutdown()) == ()
    with pytest.raises(SystemShutDownError):
        await Style.CLASS.spawn(system, Script(echo))


async def test_the_system_is_shut_down_when_its_block_is_left_by_an_exception() -> None:
    refs: list[ActorRef[Any]] = []

    async def program() -> None:
        async with ActorSystem() as system:
            refs.append(await Style.CLASS.spawn(system, Script(echo)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await program()
    assert_nothing_is_left(refs[0])


@both
async def test_a_handler_may_request_the_shutdown_and_is_told_not_to_wait_for_it(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        with pytest.raises(UsageError, match="request_shutdown"):
            await turn.ctx.system.shutdown()
        turn.ctx.system.request_shutdown()
        turn.answer("requested")

    system = ActorSystem()
    ref = await style.spawn(system, Script(receive))
    assert await within(style.ask(system, ref, "end")) == "requested"
    await within(system.wait_shutdown())
    assert_nothing_is_left(ref)


@both
async def test_nothing_can_be_spawned_once_the_shutdown_has_begun(style: Style) -> None:
    refused: list[Exception] = []

    async def stop(life: Life) -> None:
        for spawner in (life.ctx, life.ctx.system):
            try:
                await style.spawn(spawner, Script(echo))
            except Exception as error:
                refused.append(error)

    system = ActorSystem()
    ref = await style.spawn(system, Script(echo, stop=stop))
    await within(style.ask(system, ref, "begun"))
    await within(system.shutdown())
    assert len(refused) == 2
    assert isinstance(refused[1], SystemShutDownError)
    with pytest.raises(SystemShutDownError):
        await style.spawn(system, Script(echo))
    assert_nothing_is_left(ref)


# -- by force ----------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("timeout", [0.0, 0.05])
async def test_a_handler_that_does_not_end_is_cancelled_and_reported_and_its_last_hook_runs(
    style: Style, timeout: float, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    in_hand = asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        in_hand.set()
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")
            await asyncio.sleep(0.01)
            log.append("cleaned up")

    async def stop(life: Life) -> None:
        await asyncio.sleep(0.01)
        task = asyncio.current_task()
        assert task is not None
        log.append(f"stop {task.cancelling()}")

    system = ActorSystem(shutdown_timeout=timeout)
    ref = await style.spawn(system, Script(receive, stop=stop), "stuck")
    asking = asyncio.ensure_future(style.ask(system, ref, "go"))
    await within(in_hand.wait())
    assert await within(system.shutdown()) == ("/stuck",)
    assert log == ["cancelled", "cleaned up", "stop 0"]
    assert f"/stuck: its handler did not end within {timeout:g} s of the shutdown" in caplog.text
    with pytest.raises(ActorStoppedError):
        await within(asking)
    assert_nothing_is_left(ref)


@both
async def test_a_handler_that_swallows_its_cancellation_once_still_ends(style: Style) -> None:
    in_hand = asyncio.Event()
    ended: list[str] = []

    async def receive(turn: Turn, message: Any) -> None:
        in_hand.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        ended.append("handler")

    system = ActorSystem(shutdown_timeout=0.0)
    ref = await style.spawn(system, Script(receive, stop=lambda life: ended.append("stop")), "stubborn")
    ref.tell("go")
    await within(in_hand.wait())
    assert await within(system.shutdown()) == ("/stubborn",)
    assert ended == ["handler", "stop"]
    assert_nothing_is_left(ref)


async def test_a_handler_that_ignores_cancellation_for_ever_is_left_behind_and_the_shutdown_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_hand, let_go = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def receive(turn: Turn, message: Any) -> None:
        in_hand.set()
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    system = ActorSystem(shutdown_timeout=0.0)
    script = Script(receive, stop=lambda life: ended.append("stop"))
    ref = await Style.CLASS.spawn(system, script, "immortal")
    others = [await Style.CLASS.spawn(system, Script(echo, stop=lambda life: ended.append("other"))) for _ in range(3)]
    ref.tell("go")
    await within(in_hand.wait())
    assert await within(system.shutdown()) == ("/immortal",)
    assert ended == ["other"] * 3
    assert "/immortal: its handler ignores cancellation and is left behind" in caplog.text
    let_go.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert ended == ["other"] * 3 + ["stop"], "even then its last hook runs, once it lets go"
    assert_nothing_is_left(others[0])


async def test_generations_whose_last_hooks_all_hang_are_cancelled_one_after_the_other() -> None:
    depth = 4
    ends: list[int] = []

    def script(level: int) -> Script:
        async def start(life: Life) -> None:
            if level < depth:
                await Style.CLASS.spawn(life.ctx, script(level + 1), "x")

        async def stop(life: Life) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ends.append(level)

        return Script(echo, start=start, stop=stop)

    system = ActorSystem(shutdown_timeout=0.0)
    ref = await Style.CLASS.spawn(system, script(1), "x")
    async with asyncio.timeout(20):
        stuck = await system.shutdown()
    assert ends == list(range(depth, 0, -1))
    assert stuck == tuple("/x" * level for level in range(depth, 0, -1))
    assert_nothing_is_left(ref)


async def test_a_forced_shutdown_of_many_actors_that_only_need_time_gives_it_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each takes a part of the patience, and all of them take many times that."""
    monkeypatch.setattr("casty_asyncio.shutdown._PATIENCE_SECONDS", 0.01)
    ends: list[None] = []

    def stop(life: Life) -> None:
        time.sleep(0.001)
        ends.append(None)

    system = ActorSystem(shutdown_timeout=0.0)
    refs = [await Style.CLASS.spawn(system, Script(echo, stop=stop)) for _ in range(400)]
    assert await system.shutdown() == ()
    assert len(ends) == 400
    assert_nothing_is_left(refs[0])
