"""Semantics 3: a restart keeps mailbox and ref, drops the message that failed, and makes everything else anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorFailedError,
    ActorRestarted,
    ActorSystem,
    Behaviors,
    Context,
    EventStreamSubscribe,
    RestartRequestedError,
    SupervisorConfig,
    Terminated,
)

from .probe import Probe, within
from .styles import RESTARTS, Life, Script, Style, Turn, both, cell_of, runtime_of


def plain(turn: Turn, message: Any) -> Any:
    """Counts in its state, fails on an exception, answers everything else with incarnation and count."""
    if isinstance(message, Exception):
        raise message
    turn.life.state["count"] = turn.life.state.get("count", 0) + 1
    turn.answer((turn.life.number, turn.life.state["count"]))


@both
async def test_semantics_3_a_restart_resets_the_state_and_keeps_the_ref(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(plain), "same", supervision=RESTARTS)
        address = ref.address
        assert await within(style.ask(system, ref, "x")) == (1, 1)
        assert await within(style.ask(system, ref, "x")) == (1, 2)
        ref.tell(ValueError())
        assert await within(style.ask(system, ref, "x")) == (2, 1)
        assert system.lookup("same").ref == ref
        assert ref.address == address


@both
async def test_semantics_3_a_restart_keeps_the_mailbox_and_drops_the_message_that_failed(style: Style) -> None:
    handled: list[tuple[int, Any]] = []

    async def receive(turn: Turn, message: Any) -> None:
        handled.append((turn.life.number, message))
        await asyncio.sleep(0)
        if message == "fail":
            raise ValueError(message)
        if message == "end":
            turn.answer(None)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive), supervision=RESTARTS)
        for message in ("a", "fail", "b", "fail", "c"):
            ref.tell(message)
        await within(style.ask(system, ref, "end"))
    assert handled == [(1, "a"), (1, "fail"), (2, "b"), (2, "fail"), (3, "c"), (3, "end")]


@both
async def test_semantics_3_the_hooks_of_a_restart_run_in_order(style: Style) -> None:
    log: list[Any] = []
    error = ValueError("bad")

    async def begun(life: Life, script: Script, name: str) -> None:
        child = await style.spawn(life.ctx, script, name)
        assert await style.ask(life.ctx.system, child, "x") == (1, 1)

    async def start(life: Life) -> None:
        log.append(("start", life.number))
        lower = Script(plain, stop=lambda life: log.append("lower stops"))
        upper = Script(
            plain, start=lambda life: begun(life, lower, "lower"), stop=lambda life: log.append("upper stops")
        )
        await begun(life, upper, "upper")

    async def pre_restart(life: Life, exc: Exception, msg: Any) -> None:
        await asyncio.sleep(0)
        log.append(("pre", life.number, exc is error, msg, [child.name for child in life.ctx.children]))

    async def post_restart(life: Life, exc: Exception) -> None:
        await asyncio.sleep(0)
        log.append(("post", life.number, exc is error, life.ctx.children))
        await start(life)

    async def receive(turn: Turn, message: Any) -> None:
        log.append((message, turn.life.number))
        if message == "fail":
            raise error
        turn.answer(None)

    async with ActorSystem() as system:
        script = Script(
            receive,
            start=start,
            stop=lambda life: log.append(("stop", life.number)),
            pre_restart=pre_restart,
            post_restart=post_restart,
        )
        ref = await style.spawn(system, script, supervision=RESTARTS)
        await within(style.ask(system, ref, "first"))
        ref.tell("fail")
        await within(style.ask(system, ref, "next"))
        assert log == [
            ("start", 1),
            ("first", 1),
            ("fail", 1),
            ("pre", 1, True, "fail", ["upper"]),
            "lower stops",
            "upper stops",
            ("post", 2, True, ()),
            ("start", 2),
            ("next", 2),
        ]
        log.clear()
    assert log == ["lower stops", "upper stops", ("stop", 2)]


@both
async def test_semantics_3_without_a_post_restart_the_start_hook_runs_again(style: Style) -> None:
    log: list[Any] = []
    async with ActorSystem() as system:
        script = Script(plain, start=lambda life: log.append(life.number))
        ref = await style.spawn(system, script, supervision=RESTARTS)
        ref.tell(ValueError())
        await within(style.ask(system, ref, "x"))
    assert log == [1, 2]


@both
async def test_semantics_3_the_name_of_a_child_is_free_for_the_new_incarnation(style: Style) -> None:
    async def start(life: Life) -> None:
        for name in ("a", "b"):
            life.state[name] = await style.spawn(life.ctx, Script(plain), name)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(plain, start=start), "parent", supervision=RESTARTS)
        await within(style.ask(system, ref, "x"))
        old = system.lookup("/parent/a").ref
        for number in range(2, 6):
            ref.tell(ValueError())
            assert (await within(style.ask(system, ref, "x")))[0] == number
        new = system.lookup("/parent/a").ref
        assert new is not None
        assert new != old


@both
async def test_semantics_3_a_new_incarnation_does_not_hear_of_the_ends_of_its_predecessors_children(
    style: Style,
) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        stranger = await style.spawn(system, Script(plain))

        async def receive(turn: Turn, message: Any) -> None:
            match message:
                case "watch":
                    turn.ctx.watch(await style.spawn(turn.ctx, Script(plain)))
                    turn.ctx.watch(stranger)
                case "fail":
                    raise ValueError
                case _:
                    probe.ref.tell((turn.life.number, message))

        ref = await style.spawn(system, Script(receive), supervision=RESTARTS)
        ref.tell("watch")
        ref.tell("fail")
        ref.tell("next")
        assert await probe.next() == (2, "next")
        system.stop(stranger)
        assert await probe.next() == (2, Terminated(stranger)), "but whom else it watched it goes on watching"


@both
async def test_semantics_3_while_one_actor_backs_off_its_mailbox_fills_and_nobody_else_waits(style: Style) -> None:
    slow = SupervisorConfig(backoff_initial=3600.0, backoff_max=3600.0)
    async with ActorSystem() as system:
        other = await style.spawn(system, Script(plain))
        ref = await style.spawn(system, Script(plain), supervision=slow)
        with pytest.raises(ActorFailedError):
            await within(style.ask(system, ref, ValueError()))
        waiting = [asyncio.ensure_future(style.ask(system, ref, "x")) for _ in range(3)]
        for number in range(1, 50):
            assert await within(style.ask(system, other, "x")) == (1, number)
        assert not any(each.done() for each in waiting)
        assert len(cell_of(ref).queue or ()) == 3
        assert runtime_of(ref).machine.deadline() is not None
        system.stop(ref)
        await within(system.wait_stopped(ref))
        assert runtime_of(ref).machine.deadline() is None
        await within(asyncio.gather(*waiting, return_exceptions=True))


@both
async def test_semantics_3_after_the_back_off_the_mailbox_is_worked_off(style: Style) -> None:
    soon = SupervisorConfig(backoff_initial=0.01)
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(plain), supervision=soon)
        ref.tell(ValueError())
        waiting = [style.ask(system, ref, "x") for _ in range(3)]
        assert await within(asyncio.gather(*waiting)) == [(2, 1), (2, 2), (2, 3)]


@both
async def test_semantics_3_behaviors_restart_begins_anew_without_back_off_and_without_counting(style: Style) -> None:
    told: list[Any] = []

    def receive(turn: Turn, message: Any) -> Any:
        if message == "again":
            return Behaviors.restart()
        turn.answer(turn.life.number)
        return None

    script = Script(receive, pre_restart=lambda life, exc, msg: told.append((life.number, type(exc), msg)))
    strict = SupervisorConfig(max_restarts=0, backoff_initial=3600.0)
    async with ActorSystem() as system:
        ref = await style.spawn(system, script, supervision=strict)
        for _ in range(5):
            ref.tell("again")
        assert await within(style.ask(system, ref, "x")) == 6
        with pytest.raises(ActorFailedError) as caught:
            await within(style.ask(system, ref, "again"))
        assert isinstance(caught.value.__cause__, RestartRequestedError)
    assert told == [(number, RestartRequestedError, "again") for number in range(1, 7)]


@both
async def test_semantics_3_what_was_stashed_comes_back_before_the_rest_of_the_mailbox(style: Style) -> None:
    handled: list[Any] = []

    def receive(turn: Turn, message: Any) -> None:
        handled.append((turn.life.number, message))
        if turn.life.number == 1 and message in (1, 2):
            turn.ctx.stash(message)
        elif message == "fail":
            raise ValueError
        elif message == "end":
            turn.answer(None)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive), supervision=RESTARTS)
        for message in (1, 2, "fail", 3):
            ref.tell(message)
        await within(style.ask(system, ref, "end"))
    assert handled == [(1, 1), (1, 2), (1, "fail"), (2, 1), (2, 2), (2, 3), (2, "end")]


@both
async def test_semantics_3_timers_end_with_the_incarnation_that_set_them(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        match message:
            case "set":
                turn.ctx.schedule("late", "too late", 0.01)
                turn.ctx.tick("often", "too late", 0.005)
                turn.answer(None)
            case "fail":
                raise ValueError
            case "too late":
                turn.life.state["late"] = turn.life.number
            case _:
                await asyncio.sleep(0.03)
                turn.answer(turn.life.state)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive), supervision=RESTARTS)
        await within(style.ask(system, ref, "set"))
        ref.tell("fail")
        assert await within(style.ask(system, ref, "wait")) == {}
        assert await within(style.ask(system, ref, "wait")) == {}


async def test_semantics_3_a_new_instance_is_given_the_same_arguments() -> None:
    class Greeter(Actor[str]):
        def __init__(self, greeting: str, *, mark: str) -> None:
            self.text = greeting + mark

        async def receive(self, msg: str, ctx: Context) -> None:
            if msg == "fail":
                raise ValueError
            self.text += msg
            ctx.reply(self.text)

    async with ActorSystem() as system:
        ref = await system.spawn(Greeter, supervision=RESTARTS, greeting="hello", mark="!")
        assert await within(ref.ask("x")) == "hello!x"
        ref.tell("fail")
        assert await within(ref.ask("y")) == "hello!y"


@both
async def test_semantics_3_a_restart_is_an_event_with_its_reason(style: Style) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        await probe.all()
        system.event_stream.tell(EventStreamSubscribe(ActorRestarted, probe.ref))
        ref = await style.spawn(system, Script(plain), supervision=RESTARTS)
        error = ValueError()
        ref.tell(error)
        assert await probe.next() == ActorRestarted(ref, error)


@both
@pytest.mark.parametrize("place", ["pre", "child", "post"])
async def test_semantics_3_an_actor_that_is_stopped_on_its_way_through_a_restart_stops(
    style: Style, place: str
) -> None:
    log: list[str] = []
    reached, go_on = asyncio.Event(), asyncio.Event()

    def pausing(name: str) -> Any:
        async def hook(life: Life, *_: Any) -> None:
            log.append(name)
            if name == place:
                reached.set()
                await go_on.wait()

        return hook

    async def receive(turn: Turn, message: Any) -> None:
        child = await style.spawn(turn.ctx, Script(plain, stop=pausing("child")))
        await style.ask(turn.ctx.system, child, "x")
        raise ValueError

    script = Script(receive, stop=pausing("stop"), pre_restart=pausing("pre"), post_restart=pausing("post"))
    async with ActorSystem() as system:
        ref = await style.spawn(system, script, supervision=RESTARTS)
        ref.tell("fail")
        await within(reached.wait())
        system.stop(ref)
        go_on.set()
        await within(system.wait_stopped(ref))
    assert log == (["pre", "child", "post", "stop"] if place == "post" else ["pre", "child", "stop"])
