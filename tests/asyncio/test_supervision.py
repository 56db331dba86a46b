"""Supervision: strategies, limits, deciders and siblings, in both styles."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorFailedError,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    Behaviors,
    Context,
    MultiChildStrategy,
    OneForOneStrategy,
    SupervisionStrategy,
    SupervisorConfig,
    supervised,
)
from casty_proto.machine import SECOND

from .probe import within
from .styles import RESTARTS, Life, Script, Style, Turn, both, cell_of, playing, runtime_of

RESTART, STOP, ESCALATE = SupervisionStrategy


def at_once(strategy: SupervisionStrategy = RESTART, **options: Any) -> SupervisorConfig:
    """A policy without back-off."""
    return SupervisorConfig(strategy=strategy, backoff_initial=0.0, **options)


def moody(turn: Turn, message: Any) -> None:
    """Fails with an exception that it is told, and answers everything else with the number of its incarnation."""
    if isinstance(message, Exception):
        raise message
    turn.answer(turn.life.number)


async def fail(system: ActorSystem, style: Style, ref: ActorRef[Any], error: Exception | None = None) -> None:
    with pytest.raises(ActorFailedError):
        await within(style.ask(system, ref, error or ValueError("as asked")))


# -- strategies --------------------------------------------------------------------------------------------------------


@both
async def test_restart_begins_a_new_incarnation(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(moody), supervision=at_once(RESTART))
        await fail(system, style, ref)
        assert await within(style.ask(system, ref, "x")) == 2


@both
async def test_stop_ends_the_actor(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(moody), supervision=at_once(STOP))
        await fail(system, style, ref)
        await within(system.wait_stopped(ref))
        with pytest.raises(ActorStoppedError):
            await within(style.ask(system, ref, "x"))


async def test_a_class_actor_that_says_nothing_restarts_three_times_a_minute_with_a_growing_back_off() -> None:
    async with ActorSystem() as system:
        ref = await Style.CLASS.spawn(system, Script(moody))
        policy = cell_of(ref).policy
        assert policy == SupervisorConfig().policy
        assert (policy.strategy, policy.max_restarts, policy.within_ns) == (RESTART, 3, 60 * SECOND)
        assert (policy.backoff_initial_ns, policy.backoff_max_ns) == (SECOND // 10, 30 * SECOND)
        assert policy.backoff_multiplier == 2.0


async def test_a_behavior_that_nobody_supervises_is_stopped() -> None:
    async with ActorSystem() as system:
        ref = await Style.BEHAVIOR.spawn(system, Script(moody))
        await fail(system, Style.BEHAVIOR, ref)
        await within(system.wait_stopped(ref))


@both
async def test_the_supervision_given_to_spawn_wins(style: Style) -> None:
    stopping = supervised(STOP)(type("Stopping", (Actor,), {"receive": lambda self, msg, ctx: 1 / 0}))
    async with ActorSystem() as system:
        if style is Style.CLASS:
            ref: ActorRef[Any] = await system.spawn(stopping, supervision=RESTARTS)
        else:
            ref = system.spawn(Behaviors.supervise(playing(Script(moody)), at_once(STOP)), supervision=RESTARTS)
        assert cell_of(ref).policy == RESTARTS.policy


async def test_supervised_is_inherited_and_can_be_overridden() -> None:
    @supervised(strategy=STOP)
    class Base(Actor[Any]):
        def receive(self, msg: Any, ctx: Context) -> None:
            raise ValueError

    class Derived(Base):
        pass

    @supervised(max_restarts=7)
    class Other(Derived):
        pass

    async with ActorSystem() as system:
        policies = [cell_of(await system.spawn(cls)).policy for cls in (Base, Derived, Other)]
        assert [policy.strategy for policy in policies] == [STOP, STOP, RESTART]
        assert policies[2].max_restarts == 7
        derived = await system.spawn(Derived)
        derived.tell("fail")
        await within(system.wait_stopped(derived))


async def test_behaviors_supervise_takes_a_one_for_one_strategy() -> None:
    decided: list[Exception] = []

    def decide(error: Exception) -> SupervisionStrategy:
        decided.append(error)
        return RESTART

    strategy = OneForOneStrategy(max_restarts=1, within=30.0, decider=decide)
    async with ActorSystem() as system:
        ref = system.spawn(Behaviors.supervise(playing(Script(moody)), strategy))
        await fail(system, Style.BEHAVIOR, ref)
        assert await within(Style.BEHAVIOR.ask(system, ref, "x")) == 2
        await fail(system, Style.BEHAVIOR, ref)
        await within(system.wait_stopped(ref))
    assert len(decided) == 2


async def test_a_setup_may_choose_the_supervision() -> None:
    def setup(ctx: ActorContext[Any]) -> Any:
        return Behaviors.supervise(Behaviors.receive(receive), RESTARTS)

    def receive(ctx: ActorContext[Any], message: Any) -> Any:
        if message == "fail":
            raise ValueError
        message.tell("alive")
        return Behaviors.same()

    async with ActorSystem() as system:
        ref = system.spawn(Behaviors.setup(setup))
        ref.tell("fail")
        assert await within(system.ask(ref, lambda reply_to: reply_to)) == "alive"


# -- limits ------------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("limit", [0, 1, 3])
async def test_one_failure_more_than_the_limit_stops_the_actor(style: Style, limit: int) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(moody), supervision=at_once(max_restarts=limit))
        for number in range(limit):
            await fail(system, style, ref)
            assert await within(style.ask(system, ref, "x")) == number + 2
        await fail(system, style, ref)
        await within(system.wait_stopped(ref))


@both
async def test_without_a_limit_an_actor_restarts_as_often_as_it_takes(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(moody), supervision=at_once(max_restarts=None))
        for _ in range(100):
            ref.tell(ValueError())
        assert await within(style.ask(system, ref, "x")) == 101


@both
async def test_restarts_count_within_the_window_only(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(moody), supervision=at_once(max_restarts=2, within_seconds=60.0))
        clock = runtime_of(ref).clock
        later = 0
        now = clock.now
        clock.now = lambda: now() + later  # type: ignore[method-assign]
        for _ in range(3):
            for _ in range(2):
                await fail(system, style, ref)
            assert await within(style.ask(system, ref, "x"))
            later += 61 * SECOND
        for _ in range(3):
            await fail(system, style, ref)
        await within(system.wait_stopped(ref))


# -- deciders ----------------------------------------------------------------------------------------------------------


@both
async def test_a_decider_chooses_by_the_exception(style: Style) -> None:
    def decide(error: Exception) -> SupervisionStrategy:
        return STOP if isinstance(error, KeyError) else RESTART

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(moody), supervision=at_once(decider=decide))
        await fail(system, style, ref, ValueError())
        assert await within(style.ask(system, ref, "x")) == 2
        await fail(system, style, ref, KeyError())
        await within(system.wait_stopped(ref))


@both
@pytest.mark.parametrize("answer", ["restart", None, ValueError])
async def test_a_decider_that_fails_or_answers_rubbish_stops_the_actor(
    style: Style, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(error: Exception) -> Any:
        if answer is ValueError:
            raise ValueError("undecided")
        return answer

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(moody), "a", supervision=at_once(decider=decide))
        await fail(system, style, ref)
        await within(system.wait_stopped(ref))
    assert "/a stops: its decider failed" in caplog.text


# -- siblings ----------------------------------------------------------------------------------------------------------


class Family:
    """A parent with the children a, b and c, whose policy concerns more than the one that fails."""

    def __init__(self, style: Style, policy: SupervisorConfig) -> None:
        self.style = style
        self.policy = policy
        self.scripts = {name: Script(moody) for name in "abc"}
        self.refs: dict[str, ActorRef[Any]] = {}

    async def start(self, life: Life) -> None:
        for name, script in self.scripts.items():
            self.refs[name] = await self.style.spawn(life.ctx, script, name, supervision=self.policy)

    async def lives(self, system: ActorSystem) -> list[int]:
        return [await within(self.style.ask(system, self.refs[name], "x")) for name in "abc"]


@both
@pytest.mark.parametrize(
    ("whom", "lives"),
    [
        (MultiChildStrategy.ONE_FOR_ONE, [1, 2, 1]),
        (MultiChildStrategy.REST_FOR_ONE, [1, 2, 2]),
        (MultiChildStrategy.ONE_FOR_ALL, [2, 2, 2]),
    ],
)
async def test_a_restart_concerns_the_siblings_that_the_policy_names(
    style: Style, whom: MultiChildStrategy, lives: list[int]
) -> None:
    family = Family(style, at_once(multi_child=whom))
    async with ActorSystem() as system:
        parent = await style.spawn(system, Script(moody, start=family.start))
        assert await within(style.ask(system, parent, "x")) == 1
        assert await family.lives(system) == [1, 1, 1]
        await fail(system, style, family.refs["b"])
        assert await family.lives(system) == lives
        assert await within(style.ask(system, parent, "x")) == 1


@both
async def test_a_stop_concerns_the_siblings_that_the_policy_names(style: Style) -> None:
    family = Family(style, at_once(STOP, multi_child=MultiChildStrategy.REST_FOR_ONE))
    async with ActorSystem() as system:
        parent = await style.spawn(system, Script(moody, start=family.start))
        assert await within(style.ask(system, parent, "x")) == 1
        await fail(system, style, family.refs["b"])
        await within(system.wait_stopped(family.refs["b"]))
        await within(system.wait_stopped(family.refs["c"]))
        assert await within(style.ask(system, family.refs["a"], "x")) == 1


@both
async def test_a_sibling_finishes_what_it_has_in_hand_before_it_restarts(style: Style) -> None:
    family = Family(style, at_once(multi_child=MultiChildStrategy.ONE_FOR_ALL))
    in_hand, go_on = asyncio.Event(), asyncio.Event()
    log: list[Any] = []

    async def slow(turn: Turn, message: Any) -> None:
        if message == "wait":
            in_hand.set()
            await go_on.wait()
        log.append(message)
        turn.answer(turn.life.number)

    family.scripts["a"] = Script(slow, pre_restart=lambda life, exc, msg: log.append(("pre_restart", str(exc), msg)))
    async with ActorSystem() as system:
        parent = await style.spawn(system, Script(moody, start=family.start))
        assert await within(style.ask(system, parent, "x")) == 1
        waiting = asyncio.ensure_future(style.ask(system, family.refs["a"], "wait"))
        await within(in_hand.wait())
        await fail(system, style, family.refs["b"])
        following = asyncio.ensure_future(style.ask(system, family.refs["a"], "next"))
        assert await within(style.ask(system, family.refs["c"], "x")) == 2
        assert log == []
        go_on.set()
        assert await within(waiting) == 1
        assert await within(following) == 2
    assert log == ["wait", ("pre_restart", "as asked", None), "next"]


# -- what is said about it ---------------------------------------------------------------------------------------------


async def test_failures_are_logged_with_the_path_the_decision_and_the_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ActorSystem() as system:
        ref = await Style.CLASS.spawn(system, Script(moody), "a", supervision=at_once(max_restarts=1))
        await fail(system, Style.CLASS, ref)
        await fail(system, Style.CLASS, ref)
        await within(system.wait_stopped(ref))
    first, second = [record for record in caplog.records if record.name == "casty.casty"]
    assert (first.levelno, second.levelno) == (logging.WARNING, logging.ERROR)
    assert first.getMessage().startswith("/a restarts")
    assert second.getMessage().startswith("/a stops: it had its 1 restarts within 60 s")
    assert "in moody" in caplog.text
    assert "workers.py" not in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_restarts": -1},
        {"max_restarts": 1.5},
        {"within_seconds": 0.0},
        {"within_seconds": float("nan")},
        {"within_seconds": float("inf")},
        {"backoff_initial": -1.0},
        {"backoff_multiplier": 0.5},
        {"jitter": 2.0},
        {"strategy": "restart"},
        {"multi_child": "all"},
        {"decider": 5},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match="SupervisorConfig"):
        SupervisorConfig(**wrong)
    with pytest.raises((ValueError, TypeError), match="SupervisorConfig"):
        supervised(**wrong)
