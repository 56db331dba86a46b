"""Semantics 5: stopping is bottom-up, the last hook runs exactly once, watchers are told, and then the name is free."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    ActorStopped,
    ActorSystem,
    Behaviors,
    DuplicateNameError,
    EventStreamSubscribe,
    SupervisionStrategy,
    SupervisorConfig,
    Terminated,
)

from .probe import Probe, within
from .styles import RESTARTS, Life, Script, Style, Turn, both, found


def echo(turn: Turn, message: Any) -> None:
    turn.answer(message)


@both
async def test_semantics_5_stopping_is_bottom_up(style: Style) -> None:
    log: list[str] = []

    def script(name: str) -> Script:
        async def start(life: Life) -> None:
            for child in ("a", "b") if len(name) < 3 else ():
                ref = await style.spawn(life.ctx, script(name + child), child)
                await style.ask(life.ctx.system, ref, "begun")

        async def stop(life: Life) -> None:
            await asyncio.sleep(0)
            assert life.ctx.children == ()
            log.append(name)

        return Script(echo, start=start, stop=stop)

    async with ActorSystem() as system:
        ref = await style.spawn(system, script("-"))
        await within(style.ask(system, ref, "begun"))
        system.stop(ref)
        await within(system.wait_stopped(ref))
        assert sorted(log) == sorted(["-", "-a", "-b", "-aa", "-ab", "-ba", "-bb"])
        for name in log:
            for child in (name + "a", name + "b"):
                assert child not in log or log.index(child) < log.index(name)


@both
async def test_semantics_5_the_shutdown_stops_bottom_up_too(style: Style) -> None:
    log: list[str] = []

    async def start(life: Life) -> None:
        child = await style.spawn(life.ctx, Script(echo, stop=lambda life: log.append("child")))
        await style.ask(life.ctx.system, child, "begun")

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo, start=start, stop=lambda life: log.append("parent")))
        await within(style.ask(system, ref, "begun"))
    assert log == ["child", "parent"]


async def by_stop(system: ActorSystem, ref: Any) -> None:
    system.stop(ref)
    system.stop(ref)


async def by_message(system: ActorSystem, ref: Any) -> None:
    ref.tell("stop")
    ref.tell("stop")


async def by_behavior(system: ActorSystem, ref: Any) -> None:
    ref.tell("stopped")
    system.stop(ref)


async def by_failure(system: ActorSystem, ref: Any) -> None:
    ref.tell("fail")
    ref.tell("fail")


async def by_all_at_once(system: ActorSystem, ref: Any) -> None:
    for message in ("fail", "stop", "stopped"):
        ref.tell(message)
    await asyncio.sleep(0)
    system.stop(ref)


async def by_shutdown(system: ActorSystem, ref: Any) -> None:
    system.stop(ref)
    system.request_shutdown()


ENDS = [by_stop, by_message, by_behavior, by_failure, by_all_at_once, by_shutdown]


@both
@pytest.mark.parametrize("end", ENDS)
async def test_semantics_5_the_last_hook_runs_exactly_once_however_an_actor_ends(style: Style, end: Any) -> None:
    ends: list[int] = []

    async def receive(turn: Turn, message: Any) -> Any:
        match message:
            case "stop":
                turn.ctx.stop()
                turn.ctx.stop()
            case "stopped":
                return Behaviors.stopped()
            case "fail":
                raise ValueError
            case _:
                turn.answer(None)
        return None

    async def stop(life: Life) -> None:
        life.ctx.stop()
        life.ctx.system.stop(life.ctx.self)
        await asyncio.sleep(0)
        ends.append(life.number)

    stops = SupervisorConfig(strategy=SupervisionStrategy.STOP)
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive, stop=stop), supervision=stops)
        await within(style.ask(system, ref, "begun"))
        await end(system, ref)
        await within(system.wait_stopped(ref))
    assert ends == [1]


@both
async def test_semantics_5_an_actor_that_is_stopped_while_it_starts_ends_after_its_start(style: Style) -> None:
    log: list[str] = []
    go_on = asyncio.Event()

    async def start(life: Life) -> None:
        log.append("start")
        await go_on.wait()
        log.append("started")

    async with ActorSystem() as system:
        script = Script(lambda turn, message: log.append(message), start=start, stop=lambda life: log.append("stop"))
        spawning = asyncio.ensure_future(style.spawn(system, script, "slow"))
        ref = await found(system, "slow")
        ref.tell("never handled")
        while not log:  # noqa: ASYNC110 - the hook itself says when it has begun
            await asyncio.sleep(0)
        system.stop(ref)
        go_on.set()
        await within(system.wait_stopped(ref))
        await within(asyncio.gather(spawning, return_exceptions=True))
    assert log == ["start", "started", "stop"]


async def test_semantics_5_an_actor_that_is_stopped_before_it_was_begun_runs_no_hook() -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        script = Script(start=lambda life: log.append("start"), stop=lambda life: log.append("stop"))
        ref = await Style.BEHAVIOR.spawn(system, script)
        system.stop(ref)
        await within(system.wait_stopped(ref))
    assert log == []


@both
async def test_semantics_5_the_message_in_hand_is_handled_to_its_end_and_no_further_one(style: Style) -> None:
    log: list[Any] = []
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        in_hand.set()
        await go_on.wait()
        turn.ctx.self.tell("to itself")
        log.append(message)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive, stop=lambda life: log.append("stop")))
        for message in (1, 2, 3):
            ref.tell(message)
        await within(in_hand.wait())
        system.stop(ref)
        ref.tell(4)
        go_on.set()
        await within(system.wait_stopped(ref))
        assert system.dead_letters == 4
    assert log == [1, "stop"]


@both
async def test_semantics_5_every_watcher_is_told_once_after_the_last_hook(style: Style) -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        probes = [Probe(system) for _ in range(3)]

        def watching(probe: Probe) -> Script:
            def receive(turn: Turn, message: Any) -> None:
                if isinstance(message, Terminated):
                    log.append("told")
                    probe.ref.tell(message)
                else:
                    turn.ctx.watch(message)
                    turn.ctx.watch(message)
                    turn.answer(None)

            return Script(receive)

        async def stop(life: Life) -> None:
            await asyncio.sleep(0)
            log.append("stop")

        ref = await style.spawn(system, Script(echo, stop=stop))
        await within(style.ask(system, ref, "begun"))
        for probe in probes:
            await within(style.ask(system, await style.spawn(system, watching(probe)), ref))
        system.stop(ref)
        for probe in probes:
            assert await probe.next() == Terminated(ref)
            assert await probe.all() == []
    assert log == ["stop", "told", "told", "told"]


@both
async def test_semantics_5_who_watches_an_actor_that_has_stopped_is_told_too(style: Style) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        gone = await style.spawn(system, Script(echo))
        system.stop(gone)
        await within(system.wait_stopped(gone))

        def receive(turn: Turn, message: Any) -> None:
            if message == "watch":
                turn.ctx.watch(gone)
            else:
                probe.ref.tell(message)

        (await style.spawn(system, Script(receive))).tell("watch")
        assert await probe.next() == Terminated(gone)


@both
async def test_semantics_5_who_does_not_watch_any_more_is_not_told(style: Style) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = await style.spawn(system, Script(echo))

        def receive(turn: Turn, message: Any) -> None:
            if message == "unwatch":
                turn.ctx.watch(ref)
                turn.ctx.unwatch(ref)
            probe.ref.tell(message)

        watcher = await style.spawn(system, Script(receive))
        watcher.tell("unwatch")
        assert await probe.next() == "unwatch"
        system.stop(ref)
        await within(system.wait_stopped(ref))
        watcher.tell("end")
        assert await probe.next() == "end"


@both
async def test_semantics_5_a_name_is_taken_until_the_last_hook_ran_and_free_with_terminated(style: Style) -> None:
    hooking, go_on = asyncio.Event(), asyncio.Event()

    async def stop(life: Life) -> None:
        hooking.set()
        await go_on.wait()

    async with ActorSystem() as system:
        probe = Probe(system)

        async def receive(turn: Turn, message: Any) -> None:
            if isinstance(message, Terminated):
                probe.ref.tell(await style.spawn(turn.ctx, Script(echo), "name"))
            else:
                child = await style.spawn(turn.ctx, Script(echo, stop=stop), "name")
                await style.ask(turn.ctx.system, child, "begun")
                turn.ctx.watch(child)
                turn.ctx.stop(child)
                await hooking.wait()
                try:
                    await style.spawn(turn.ctx, Script(echo), "name")
                except DuplicateNameError as error:
                    probe.ref.tell(str(error))
                probe.ref.tell(child)

        (await style.spawn(system, Script(receive))).tell("go")
        assert "still stopping" in await probe.next()
        old = await probe.next()
        go_on.set()
        new = await probe.next()
        assert new != old
        assert new.path == old.path
        assert await within(style.ask(system, new, "hello")) == "hello"


@both
async def test_semantics_5_a_watcher_that_restarts_is_still_told(style: Style) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        subject = await style.spawn(system, Script(echo))

        def receive(turn: Turn, message: Any) -> None:
            match message:
                case "watch":
                    turn.ctx.watch(subject)
                    system.stop(subject)
                    raise ValueError
                case _:
                    probe.ref.tell((turn.life.number, message))

        (await style.spawn(system, Script(receive), supervision=RESTARTS)).tell("watch")
        assert await probe.next() == (2, Terminated(subject))


@both
async def test_semantics_5_two_that_watch_each_other_and_stop_together_come_to_rest(style: Style) -> None:
    async with ActorSystem() as system:

        def receive(turn: Turn, message: Any) -> None:
            if isinstance(message, Terminated):
                turn.ctx.stop()
            else:
                turn.ctx.watch(message)
                turn.answer(None)

        a, b = [await style.spawn(system, Script(receive)) for _ in range(2)]
        await within(style.ask(system, a, b))
        await within(style.ask(system, b, a))
        system.stop(a)
        await within(system.wait_stopped(a))
        await within(system.wait_stopped(b))


@both
async def test_semantics_5_the_end_of_an_actor_is_an_event_after_its_last_hook(style: Style) -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        probe = Probe(system)
        await probe.all()
        system.event_stream.tell(EventStreamSubscribe(ActorStopped, probe.ref))
        ref = await style.spawn(system, Script(echo, stop=lambda life: log.append("stop")))
        await within(style.ask(system, ref, "begun"))
        system.stop(ref)
        assert await probe.next() == ActorStopped(ref)
        assert log == ["stop"]
