"""What a parent has to do with the failures of its children: `on_child_failure` and escalation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorFailedError,
    ActorRef,
    ActorSystem,
    Context,
    StartError,
    SupervisionStrategy,
    SupervisorConfig,
)

from .probe import within
from .styles import RESTARTS, Life, Script, Style, both, runtime_of
from .test_supervision import at_once, fail, moody

RESTART, STOP, ESCALATE = SupervisionStrategy


class Parent(Actor[Any]):
    """Has one child that plays a script, and judges it with a function. Counts its own lives."""

    lives = 0

    def __init__(self, judge: Callable[[ActorRef[Any], Exception], Any], script: Script, policy: SupervisorConfig):
        Parent.lives += 1
        self.judge = judge
        self.script = script
        self.policy = policy

    async def on_start(self) -> None:
        self.child = await Style.CLASS.spawn(self.context, self.script, "child", supervision=self.policy)

    def receive(self, msg: Any, ctx: Context) -> None:
        ctx.reply(self.child if msg == "child" else self.lives)

    def on_child_failure(self, child: ActorRef[Any], exc: Exception) -> Any:
        return self.judge(child, exc)


async def family(
    system: ActorSystem, judge: Callable[[ActorRef[Any], Exception], Any], policy: SupervisorConfig, **options: Any
) -> tuple[ActorRef[Any], ActorRef[Any]]:
    Parent.lives = 0
    parent = await system.spawn(Parent, judge=judge, script=Script(moody), policy=policy, **options)
    return parent, await within(parent.ask("child"))


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


@pytest.mark.parametrize("made", [lambda value: value, later], ids=["def", "async def"])
async def test_the_verdict_of_the_parent_wins_over_the_policy_of_the_child(made: Callable[[Any], Any]) -> None:
    asked: list[Any] = []

    def judge(verdict: SupervisionStrategy) -> Callable[[ActorRef[Any], Exception], Any]:
        def on_child_failure(child: ActorRef[Any], exc: Exception) -> Any:
            asked.append((child, exc))
            return made(verdict)

        return on_child_failure

    error = ValueError("as asked")
    async with ActorSystem() as system:
        _, child = await family(system, judge(STOP), RESTARTS)
        await fail(system, Style.CLASS, child, error)
        await within(system.wait_stopped(child))
        assert asked == [(child, error)]
        _, child = await family(system, judge(RESTART), at_once(STOP))
        await fail(system, Style.CLASS, child, error)
        assert await within(child.ask("x")) == 2


@pytest.mark.parametrize(
    "judge",
    [
        lambda: None,
        lambda: later(None),
        lambda: 1 / 0,
        lambda: later(ValueError()),
        lambda: "restart",
        lambda: later(1),
    ],
    ids=["None", "None later", "raises", "raises later", "wrong", "wrong later"],
)
@pytest.mark.parametrize("strategy", [RESTART, STOP])
async def test_a_parent_that_does_not_decide_leaves_it_to_the_policy_of_the_child(
    judge: Callable[[], Any], strategy: SupervisionStrategy
) -> None:
    async with ActorSystem() as system:
        parent, child = await family(system, lambda child, exc: judge(), at_once(strategy))
        await fail(system, Style.CLASS, child)
        if strategy is RESTART:
            assert await within(child.ask("x")) == 2
        else:
            await within(system.wait_stopped(child))
        assert await within(parent.ask("x")) == 1, "a hook that fails is no failure of the parent"


async def test_a_parent_cannot_grant_more_restarts_than_the_policy_of_the_child() -> None:
    async with ActorSystem() as system:
        _, child = await family(system, lambda child, exc: RESTART, at_once(max_restarts=1))
        await fail(system, Style.CLASS, child)
        assert await within(child.ask("x")) == 2
        await fail(system, Style.CLASS, child)
        await within(system.wait_stopped(child))


async def test_a_child_waits_for_its_verdict_and_its_mailbox_fills() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def judge(child: ActorRef[Any], exc: Exception) -> SupervisionStrategy:
        asked.set()
        await go_on.wait()
        return RESTART

    async with ActorSystem() as system:
        _, child = await family(system, judge, RESTARTS)
        await fail(system, Style.CLASS, child)
        await within(asked.wait())
        waiting = asyncio.ensure_future(child.ask("x"))
        await asyncio.sleep(0)
        assert not waiting.done()
        go_on.set()
        assert await within(waiting) == 2


async def test_a_child_that_is_stopped_while_its_verdict_is_due_stops() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def judge(child: ActorRef[Any], exc: Exception) -> SupervisionStrategy:
        asked.set()
        await go_on.wait()
        return RESTART

    async with ActorSystem() as system:
        parent, child = await family(system, judge, RESTARTS)
        await fail(system, Style.CLASS, child)
        await within(asked.wait())
        system.stop(child)
        await within(system.wait_stopped(child))
        go_on.set()
        assert await within(parent.ask("x")) == 1


# -- escalation --------------------------------------------------------------------------------------------------------


@both
async def test_escalate_really_restarts_the_parent(style: Style) -> None:
    log: list[Any] = []
    error = ValueError("from below")
    children: list[ActorRef[Any]] = []

    async def start(life: Life) -> None:
        log.append(("start", life.number))
        child = Script(moody, stop=lambda _: log.append("child stops"))
        children.append(await style.spawn(life.ctx, child, "child", supervision=at_once(ESCALATE)))

    async with ActorSystem() as system:
        script = Script(
            moody,
            start=start,
            pre_restart=lambda life, exc, msg: log.append(("pre_restart", life.number, exc, msg)),
        )
        parent = await style.spawn(system, script, "parent", supervision=RESTARTS)
        await within(style.ask(system, parent, "x"))
        await within(style.ask(system, children[0], "x"))
        await fail(system, style, children[0], error)
        assert await within(style.ask(system, parent, "x")) == 2
        assert await within(style.ask(system, children[1], "x")) == 1
        assert log == [("start", 1), ("pre_restart", 1, error, None), "child stops", ("start", 2)]
        await within(system.wait_stopped(children[0]))


@both
async def test_a_failure_may_escalate_through_several_generations(style: Style) -> None:
    scripts = [Script(moody) for _ in range(4)]
    refs: list[ActorRef[Any]] = []

    def start(depth: int) -> Callable[[Life], Any]:
        async def begin(life: Life) -> None:
            below = await style.spawn(life.ctx, scripts[depth + 1], supervision=at_once(ESCALATE))
            await style.ask(life.ctx.system, below, "begun")
            refs.append(below)

        return begin

    for depth in range(3):
        scripts[depth].start = start(depth)
    async with ActorSystem() as system:
        top = await style.spawn(system, scripts[0], supervision=RESTARTS)
        assert await within(style.ask(system, top, "x")) == 1
        await fail(system, style, refs[0])
        assert await within(style.ask(system, top, "x")) == 2
        assert [script.lives for script in scripts] == [2, 2, 2, 2]


@both
async def test_a_failure_that_escalates_past_the_top_stops_the_top(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(moody), supervision=at_once(ESCALATE))
        await fail(system, style, ref)
        await within(system.wait_stopped(ref))


@both
async def test_a_parent_that_its_own_policy_stops_takes_its_children_with_it(style: Style) -> None:
    children: list[ActorRef[Any]] = []

    async def start(life: Life) -> None:
        policies = (at_once(ESCALATE), RESTARTS)
        children.extend([await style.spawn(life.ctx, Script(moody), supervision=policy) for policy in policies])

    async with ActorSystem() as system:
        parent = await style.spawn(system, Script(moody, start=start), supervision=at_once(STOP))
        await within(style.ask(system, parent, "x"))
        await fail(system, style, children[0])
        for ref in (parent, *children):
            await within(system.wait_stopped(ref))


async def test_a_verdict_may_be_to_escalate() -> None:
    async with ActorSystem() as system:
        parent, child = await family(system, lambda child, exc: ESCALATE, RESTARTS, supervision=RESTARTS)
        await fail(system, Style.CLASS, child)
        assert await within(parent.ask("x")) == 2
        assert await within(parent.ask("child")) != child


# -- a start that fails while the parent waits for it ------------------------------------------------------------------


class Awaiting(Actor[Any]):
    """Spawns a child whose start fails, in its handler, and would have to judge it."""

    asked = 0

    async def receive(self, msg: Any, ctx: Context) -> None:
        try:
            await Style.CLASS.spawn(ctx, msg, "child", supervision=at_once(max_restarts=2))
        except StartError as error:
            ctx.reply(error)

    def on_child_failure(self, child: ActorRef[Any], exc: Exception) -> SupervisionStrategy:
        Awaiting.asked += 1
        return RESTART


async def test_a_parent_that_awaits_a_start_is_not_asked_about_it_and_does_not_hang() -> None:
    def start(life: Life) -> None:
        raise ValueError("cannot begin")

    Awaiting.asked = 0
    script = Script(start=start)
    async with ActorSystem() as system:
        parent = await system.spawn(Awaiting)
        error = await within(parent.ask(script))
        assert isinstance(error.__cause__, ValueError)
        assert script.lives == 3
        assert await within(parent.ask(Script(start=start))), "the parent goes on, and the name is free"
        assert Awaiting.asked == 0


@both
async def test_a_parent_that_awaits_a_start_which_escalates_does_not_hang(style: Style) -> None:
    failures = [ValueError("cannot begin")]

    def begin(life: Life) -> None:
        if failures:
            raise failures.pop()

    async def start(life: Life) -> None:
        if life.number == 1:
            with pytest.raises(StartError):
                await Style.CLASS.spawn(life.ctx, Script(moody, start=begin), "child", supervision=at_once(ESCALATE))
            return
        await Style.CLASS.spawn(life.ctx, Script(moody, start=begin), "child", supervision=at_once(ESCALATE))

    async with ActorSystem() as system:
        parent = await style.spawn(system, Script(moody, start=start), "parent", supervision=RESTARTS)
        assert await within(style.ask(system, parent, "x")) == 2
        assert system.lookup("/parent/child")


async def test_generations_that_await_each_others_start_and_judge_each_other_do_not_hang() -> None:
    """The lowest start fails and escalates; each one above awaits the start below it and would judge it."""

    class Generation(Actor[Any]):
        def __init__(self, depth: int) -> None:
            self.depth = depth

        async def on_start(self) -> None:
            if self.depth == 0:
                raise ValueError("cannot begin")
            await self.context.spawn(Generation, supervision=at_once(ESCALATE, max_restarts=0), depth=self.depth - 1)

        def receive(self, msg: Any, ctx: Context) -> None:
            ctx.reply(msg)

        def on_child_failure(self, child: ActorRef[Any], exc: Exception) -> SupervisionStrategy | None:
            return None

    async with ActorSystem() as system:
        with pytest.raises(StartError):
            await within(system.spawn(Generation, depth=4))
        other = await Style.CLASS.spawn(system, Script(moody))
        assert await within(other.ask("x")) == 1
        runtime_of(other).machine.invariants()
        with pytest.raises(ActorFailedError):
            await within(other.ask(ValueError()))
