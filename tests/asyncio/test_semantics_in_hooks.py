"""Semantics 3 and 5: stopping and spawning in hooks, and a context that is used when its actor is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    ActorRef,
    ActorSystem,
    DeadLetter,
    EventStreamSubscribe,
    SpawnError,
    StartError,
    SupervisorConfig,
    UsageError,
)

from .probe import Probe, within
from .styles import RESTARTS, Life, Script, Style, Turn, both, found, runtime_of


def echo(turn: Turn, message: Any) -> None:
    if isinstance(message, Exception):
        raise message
    turn.answer((turn.life.number, message))


# -- stop --------------------------------------------------------------------------------------------------------------


@both
async def test_semantics_5_an_actor_may_stop_itself_in_its_start_and_handles_nothing(style: Style) -> None:
    log: list[Any] = []

    async def start(life: Life) -> None:
        life.ctx.stop()
        await asyncio.sleep(0)
        log.append("start")

    async with ActorSystem() as system:
        script = Script(lambda turn, message: log.append(message), start=start, stop=lambda life: log.append("stop"))
        spawning = asyncio.ensure_future(style.spawn(system, script, "a"))
        ref = await found(system, "a")
        ref.tell("never")
        await within(system.wait_stopped(ref))
        if style is Style.CLASS:
            with pytest.raises(StartError, match="/a was stopped before it had started"):
                await within(spawning)
        await within(asyncio.gather(spawning, return_exceptions=True))
    assert log == ["start", "stop"]


@both
@pytest.mark.parametrize("place", ["pre_restart", "post_restart"])
async def test_semantics_5_an_actor_may_stop_itself_in_a_restart(style: Style, place: str) -> None:
    log: list[Any] = []

    async def stop_itself(life: Life, *_: Any) -> None:
        life.ctx.stop()
        await asyncio.sleep(0)
        log.append(place)

    async with ActorSystem() as system:
        script = Script(echo, stop=lambda life: log.append(("stop", life.number)), **{place: stop_itself})
        ref = await style.spawn(system, script, supervision=RESTARTS)
        ref.tell(ValueError())
        await within(system.wait_stopped(ref))
    assert log == [place, ("stop", 1 if place == "pre_restart" else 2)]


@both
async def test_semantics_5_an_actor_may_stop_its_children_in_its_last_hook(style: Style) -> None:
    """They have stopped before; that is a no-op."""
    async with ActorSystem() as system:
        children: list[ActorRef[Any]] = []

        async def start(life: Life) -> None:
            children.append(await style.spawn(life.ctx, Script(echo)))

        async def stop(life: Life) -> None:
            life.ctx.stop(children[0])
            await life.ctx.system.wait_stopped(children[0])

        ref = await style.spawn(system, Script(echo, start=start, stop=stop))
        await within(style.ask(system, ref, "begun"))
        system.stop(ref)
        await within(system.wait_stopped(ref))


@both
async def test_semantics_5_a_parent_that_stops_its_child_and_waits_for_that_does_not_hang(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        child = await style.spawn(turn.ctx, Script(echo))
        turn.ctx.stop(child)
        await turn.ctx.system.wait_stopped(child)
        turn.answer([each.path for each in turn.ctx.children])

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        assert await within(style.ask(system, ref, "go")) == []


@both
async def test_semantics_5_only_itself_and_its_children_may_an_actor_stop(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        with pytest.raises(UsageError, match="is neither"):
            turn.ctx.stop(message)
        turn.answer("refused")

    async with ActorSystem() as system:
        stranger = await style.spawn(system, Script(echo))
        ref = await style.spawn(system, Script(receive))
        assert await within(style.ask(system, ref, stranger)) == "refused"
        assert await within(style.ask(system, stranger, "x")) == (1, "x")


# -- spawn -------------------------------------------------------------------------------------------------------------


@both
async def test_semantics_5_an_actor_that_is_ending_cannot_spawn(style: Style, caplog: pytest.LogCaptureFixture) -> None:
    async def stop(life: Life) -> None:
        await style.spawn(life.ctx, Script(echo))

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo, stop=stop), "a")
        await within(style.ask(system, ref, "begun"))
        system.stop(ref)
        await within(system.wait_stopped(ref))
    assert "/a: its hook post_stop failed" in caplog.text
    assert "/a is stopping, or has stopped, and can no longer spawn" in caplog.text


@both
async def test_semantics_3_a_child_spawned_in_pre_restart_ends_with_the_old_incarnation(style: Style) -> None:
    log: list[str] = []

    async def pre_restart(life: Life, exc: Exception, msg: Any) -> None:
        child = await style.spawn(life.ctx, Script(echo, stop=lambda life: log.append("child stops")), "child")
        await style.ask(life.ctx.system, child, "begun")

    async def post_restart(life: Life, exc: Exception) -> None:
        log.append(f"children: {len(life.ctx.children)}")
        await style.spawn(life.ctx, Script(echo), "child")

    async with ActorSystem() as system:
        script = Script(echo, pre_restart=pre_restart, post_restart=post_restart)
        ref = await style.spawn(system, script, "a", supervision=RESTARTS)
        ref.tell(ValueError())
        assert await within(style.ask(system, ref, "x")) == (2, "x")
        assert system.lookup("/a/child")
    assert log == ["child stops", "children: 0"]


@both
async def test_semantics_3_nobody_can_spawn_below_an_actor_that_is_between_two_incarnations(style: Style) -> None:
    """Neither while its children end, which the next incarnation waits for, nor during the back-off."""
    slow = SupervisorConfig(backoff_initial=3600.0, backoff_max=3600.0)
    ending, go_on = asyncio.Event(), asyncio.Event()
    contexts: list[ActorContext[Any]] = []

    async def stop(life: Life) -> None:
        ending.set()
        await go_on.wait()

    async def start(life: Life) -> None:
        contexts.append(life.ctx)
        child = await style.spawn(life.ctx, Script(echo, stop=stop))
        await style.ask(life.ctx.system, child, "begun")

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo, start=start), "a", supervision=slow)
        ref.tell(ValueError())
        await within(ending.wait())
        with pytest.raises(SpawnError, match="/a is restarting"):
            await style.spawn(contexts[0], Script(echo))
        go_on.set()
        while contexts[0].children:
            await within(system.wait_stopped(contexts[0].children[0]))
        assert runtime_of(ref).machine.deadline() is not None
        with pytest.raises(SpawnError, match="/a is restarting"):
            await style.spawn(contexts[0], Script(echo))


async def test_a_spawn_that_is_cancelled_stops_what_it_had_begun() -> None:
    go_on = asyncio.Event()

    async def start(life: Life) -> None:
        await go_on.wait()

    async with ActorSystem() as system:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Style.CLASS.spawn(system, Script(echo, start=start), "a"), 0.01)
        ref = await found(system, "a")
        go_on.set()
        await within(system.wait_stopped(ref))
        assert await within(Style.CLASS.spawn(system, Script(echo), "a")) != ref


# -- a context when its actor is gone ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("when", ["stopped", "shut down"])
async def test_a_context_is_harmless_when_its_actor_is_gone(style: Style, when: str) -> None:
    contexts: list[ActorContext[Any]] = []
    system = ActorSystem()
    probe = Probe(system)
    other = probe.ref
    system.event_stream.tell(EventStreamSubscribe(DeadLetter, other))
    ref = await style.spawn(system, Script(echo, start=lambda life: contexts.append(life.ctx)), "a")
    await within(style.ask(system, ref, "begun"))
    ctx = contexts[0]
    if when == "shut down":
        await system.shutdown()
    else:
        system.stop(ref)
        await within(system.wait_stopped(ref))
    assert (ctx.self, ctx.path, ctx.children, ctx.sender, ctx.system) == (ref, "/a", (), None, system)
    assert ctx.child("x") is None
    ctx.stop()
    ctx.watch(other)
    ctx.watch(ref)
    ctx.unwatch(other)
    ctx.log.info("still there")
    for refused in (lambda: ctx.reply(1), lambda: ctx.stash(1), lambda: ctx.unstash_all()):
        with pytest.raises(UsageError):
            refused()
    with pytest.raises(SpawnError):
        await style.spawn(ctx, Script(echo))
    with pytest.raises(UsageError):
        ctx.pipe_to_self(asyncio.sleep(0))
    before = system.dead_letters
    ctx.self.tell("lost")
    assert system.dead_letters == before + 1
    ctx.schedule("key", "cancelled", 0.001)
    assert ctx.cancel_schedule("key")
    ctx.schedule("key", "lost too", 0)
    if when == "shut down":
        assert runtime_of(ref).clock._alarm is None
    else:
        assert [(await probe.next()).message for _ in range(2)] == ["lost", "lost too"]
        await system.shutdown()
