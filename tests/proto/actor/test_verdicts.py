"""Who decides about a failure, and whom the decision concerns: groups, deciders, escalation, parents that judge."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from casty_proto.actor import (
    Cell,
    Effect,
    Failure,
    MultiChildStrategy,
    Phase,
    Policy,
    Ready,
    Restarted,
    Stopped,
    SupervisionStrategy,
    Task,
)

from .bench import ESCALATE, LATER, RESTART, STOP, Bench, Reported, verdict

BAD = ValueError("bad")
WORSE = ValueError("worse")

ONE, ALL, REST = (
    MultiChildStrategy.ONE_FOR_ONE,
    MultiChildStrategy.ONE_FOR_ALL,
    MultiChildStrategy.REST_FOR_ONE,
)


def family(bench: Bench, **options: Any) -> tuple[Cell, list[Cell]]:
    """A parent with the children a to d."""
    parent = bench.start("parent", judges=options.pop("judges", False))
    return parent, [bench.start(name, parent, **options) for name in "abcd"]


def texts(effects: list[Effect]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Failure)]


# -- groups ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("multi_child", "concerned"), [(ONE, "b"), (ALL, "abcd"), (REST, "bcd")])
@pytest.mark.parametrize("strategy", [SupervisionStrategy.RESTART, SupervisionStrategy.STOP])
def test_whom_a_decision_concerns(
    multi_child: MultiChildStrategy, concerned: str, strategy: SupervisionStrategy
) -> None:
    bench = Bench()
    parent, cells = family(bench, policy=evolve(RESTART, strategy=strategy, multi_child=multi_child))
    bench.break_on(cells[1], "bad", BAD)
    bench.settle()
    hook = Task.RESTART if strategy is SupervisionStrategy.RESTART else Task.POST_STOP
    assert sorted(bench.jobs(hook)) == list(concerned)
    left = "abcd" if strategy is SupervisionStrategy.RESTART else [name for name in "abcd" if name not in concerned]
    assert list(parent.children or {}) == list(left)
    assert parent.phase == Phase.RUNNING
    bench.end()


@pytest.mark.parametrize("multi_child", [ONE, ALL, REST])
def test_to_escalate_concerns_the_parent_alone(multi_child: MultiChildStrategy) -> None:
    bench = Bench()
    parent, (a, *_) = family(bench, policy=evolve(ESCALATE, multi_child=multi_child))
    parent.policy = STOP
    effects = bench.break_on(a, "bad", BAD)
    assert texts(effects) == ["/parent/a escalates to /parent", "/parent stops"]
    bench.end()


def test_a_group_that_had_its_restarts_stops_as_one() -> None:
    bench = Bench()
    _, (a, *_) = family(bench, policy=evolve(RESTART, multi_child=ALL, max_restarts=0))
    effects = bench.break_on(a, "bad", BAD)
    assert texts(effects) == ["/parent/a stops: it had its 0 restarts within 60 s"]
    bench.settle()
    assert sorted(cell.name for cell in bench.stopped) == list("abcd")
    reasons = {effect.cell.name: effect.error for effect in bench.effects if isinstance(effect, Stopped)}
    assert reasons == {"a": BAD, "b": None, "c": None, "d": None}
    bench.end()


def test_only_the_restarts_of_the_one_that_failed_are_counted() -> None:
    bench = Bench()
    _, (a, b, *_) = family(bench, policy=evolve(RESTART, multi_child=ALL, max_restarts=1))
    bench.break_on(a, "bad", BAD)
    bench.settle()
    assert bench.break_on(b, "bad", BAD)[0] == Reported(b, BAD, SupervisionStrategy.RESTART)
    bench.settle()
    assert bench.break_on(a, "bad", BAD)[0] == Reported(a, BAD, SupervisionStrategy.STOP)
    bench.end()


def test_a_sibling_that_is_stopping_is_not_concerned() -> None:
    bench = Bench()
    _, (a, b, c, _) = family(bench, policy=evolve(LATER, multi_child=ALL))
    bench.stop(b)
    bench.break_on(c, "bad", BAD)
    assert (a.phase, b.phase, c.phase) == (Phase.RESTARTING, Phase.STOPPING, Phase.RESTARTING)
    bench.settle()
    assert bench.jobs(Task.PRE_RESTART) == ["c", "a", "d"]
    bench.end()


def test_the_siblings_of_a_top_level_actor_are_the_top_level_actors_of_its_group() -> None:
    bench = Bench()
    service = bench.start("service", bench.engine.system)
    a, b = [bench.start(name, policy=evolve(RESTART, multi_child=ALL)) for name in "ab"]
    bench.break_on(a, "bad", BAD)
    assert (a.phase, b.phase, service.phase) == (Phase.RESTARTING, Phase.RESTARTING, Phase.RUNNING)
    bench.end()
    assert service.phase == Phase.RUNNING


# -- deciders ----------------------------------------------------------------------------------------------------------


def test_a_decider_decides_about_each_failure() -> None:
    bench = Bench()
    verdicts: dict[Exception, SupervisionStrategy] = {BAD: SupervisionStrategy.RESTART, WORSE: SupervisionStrategy.STOP}
    a = bench.start("a", policy=evolve(STOP, decider=lambda error: verdicts[error]))
    assert bench.break_on(a, 1, BAD) == [Reported(a, BAD, SupervisionStrategy.RESTART)]
    bench.settle()
    assert bench.break_on(a, 2, WORSE) == [Reported(a, WORSE, SupervisionStrategy.STOP)]
    bench.end()


@pytest.mark.parametrize(("multi_child", "concerned"), [(ONE, "b"), (ALL, "abcd"), (REST, "bcd")])
def test_a_decider_that_fails_stops_those_whom_it_was_to_decide_about(
    multi_child: MultiChildStrategy, concerned: str
) -> None:
    def decider(_: Exception) -> SupervisionStrategy:
        raise WORSE

    bench = Bench()
    _, cells = family(bench, policy=evolve(RESTART, decider=decider, multi_child=multi_child))
    effects = bench.break_on(cells[1], "bad", BAD)
    assert texts(effects) == ["/parent/b stops: its decider failed with ValueError('worse')"]
    bench.settle()
    assert sorted(cell.name for cell in bench.stopped) == list(concerned)
    bench.end()


def test_a_decider_that_returns_no_strategy_stops_the_actor() -> None:
    bench = Bench()
    a = bench.start("a", policy=Policy(decider=lambda _: "restart"))  # type: ignore[arg-type,return-value]
    (effect,) = texts(bench.break_on(a, "bad", BAD))
    assert effect.startswith("/a stops: its decider failed with TypeError(\"the decider returned 'restart'")
    bench.end()


# -- escalation --------------------------------------------------------------------------------------------------------


def test_a_failure_escalates_through_several_levels_until_somebody_decides() -> None:
    bench = Bench()
    top = bench.start("top", policy=RESTART)
    b = bench.start("b", top, policy=ESCALATE)
    c = bench.start("c", b, policy=ESCALATE)
    effects = bench.break_on(c, 1, BAD)
    assert effects[:3] == [
        Reported(c, BAD, SupervisionStrategy.ESCALATE),
        Reported(b, BAD, SupervisionStrategy.ESCALATE),
        Reported(top, BAD, SupervisionStrategy.RESTART),
    ]
    assert (b.phase, c.phase) == (Phase.SUSPENDED, Phase.SUSPENDED)
    bench.settle()
    assert bench.stopped == [c, b]
    assert bench.effects[-1] == Restarted(top, BAD)
    bench.end()


def test_those_that_escalated_stopped_because_of_the_failure_and_their_siblings_did_not() -> None:
    bench = Bench()
    top = bench.start("top", policy=STOP)
    b, sibling = bench.start("b", top, policy=ESCALATE), bench.start("sibling", top)
    c = bench.start("c", b, policy=ESCALATE)
    bench.break_on(c, 1, BAD)
    bench.settle()
    reasons = {effect.cell: effect.error for effect in bench.effects if isinstance(effect, Stopped)}
    assert reasons == {top: BAD, b: BAD, c: BAD, sibling: None}
    bench.end()


def test_those_above_keep_running_when_somebody_below_decided() -> None:
    bench = Bench()
    top = bench.start("top")
    b = bench.start("b", top, policy=STOP)
    c = bench.start("c", b, policy=ESCALATE)
    bench.break_on(c, 1, BAD)
    bench.settle()
    assert bench.stopped == [c, b]
    assert top.phase == Phase.RUNNING
    bench.end()


def test_an_escalation_reaches_a_parent_that_is_still_starting() -> None:
    bench = Bench()
    parent = bench.spawn("parent", policy=RESTART)
    bench.take(parent)
    child = bench.start("child", parent, policy=ESCALATE)
    bench.break_on(child, 1, BAD)
    assert parent.phase == Phase.RESTARTING
    bench.settle()
    assert bench.ran[-2:] == [("child", Task.POST_STOP), ("parent", Task.RESTART)]
    bench.end()


def test_an_escalation_reaches_a_parent_whose_start_is_still_due() -> None:
    bench = Bench()
    parent = bench.spawn("parent", policy=RESTART)
    child = bench.start("child", parent, policy=ESCALATE)
    bench.break_on(child, 1, BAD)
    bench.settle()
    hooks = [what for name, what in bench.ran if name == "parent"]
    assert hooks == [Task.START, Task.PRE_RESTART, Task.RESTART]
    assert parent.phase == Phase.RUNNING
    bench.end()


def test_an_escalation_to_a_parent_whose_fate_is_open_is_settled_with_it() -> None:
    bench = Bench()
    top = bench.start("top", judges=True)
    parent = bench.start("parent", top)
    a, b = [bench.start(name, parent, policy=ESCALATE) for name in "ab"]
    bench.break_on(a, 1, BAD)
    assert bench.break_on(b, 1, WORSE) == [Reported(b, WORSE, SupervisionStrategy.ESCALATE)]
    bench.take(top)
    bench.judge(top, SupervisionStrategy.RESTART)
    bench.settle()
    assert bench.jobs(Task.JUDGE) == ["top"]
    assert sorted(cell.name for cell in bench.stopped) == ["a", "b"]
    assert bench.effects[-1] == Restarted(parent, BAD)
    bench.end()


# -- parents that judge ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "ends"),
    [
        (SupervisionStrategy.RESTART, {"child": Phase.RUNNING, "parent": Phase.RUNNING}),
        (SupervisionStrategy.STOP, {"child": Phase.STOPPED, "parent": Phase.RUNNING}),
        (SupervisionStrategy.ESCALATE, {"child": Phase.STOPPED, "parent": Phase.STOPPED}),
        (None, {"child": Phase.RUNNING, "parent": Phase.RUNNING}),
    ],
)
def test_the_verdict_of_the_parent_is_carried_out(strategy: SupervisionStrategy | None, ends: dict[str, Phase]) -> None:
    bench = Bench()
    top = bench.start("top")
    parent = bench.start("parent", top, policy=STOP, judges=True)
    child = bench.start("child", parent, policy=RESTART)
    bench.break_on(child, 1, BAD)
    bench.take(parent)
    bench.judge(parent, strategy)
    bench.settle()
    assert {cell.name: cell.phase for cell in (child, parent)} == ends
    assert top.phase == Phase.RUNNING
    bench.end()


def test_a_parent_is_asked_after_what_it_has_in_hand() -> None:
    bench = Bench()
    parent = bench.start("parent", judges=True)
    child = bench.start("child", parent)
    bench.begin(parent, 1)
    assert bench.break_on(child, 1, BAD) == []
    bench.ok(parent)
    assert bench.take(parent) is Task.JUDGE
    bench.end()


def test_a_grandparent_that_judges_is_asked_about_what_escalated() -> None:
    bench = Bench()
    top = bench.start("top", judges=True)
    parent = bench.start("parent", top)
    child = bench.start("child", parent, policy=ESCALATE)
    assert bench.break_on(child, 1, BAD) == [Reported(child, BAD, SupervisionStrategy.ESCALATE), Ready(top)]
    assert bench.take(top) is Task.JUDGE
    assert (bench.job(top).subject, bench.job(top).error, bench.job(top).item) == (parent, BAD, None)
    bench.judge(top, SupervisionStrategy.STOP)
    bench.settle()
    assert bench.stopped == [child, parent]
    bench.end()


def test_a_verdict_is_limited_by_the_childs_own_policy() -> None:
    bench = Bench()
    parent = bench.start("parent", judges=True)
    child = bench.start("child", parent, policy=evolve(RESTART, max_restarts=0))
    bench.break_on(child, 1, BAD)
    bench.take(parent)
    assert bench.judge(parent, SupervisionStrategy.RESTART)[0] == Reported(child, BAD, SupervisionStrategy.STOP)
    bench.end()


def test_a_parent_that_is_stopped_before_it_has_judged_takes_the_child_with_it() -> None:
    bench = Bench()
    parent = bench.start("parent", judges=True)
    child = bench.start("child", parent)
    bench.break_on(child, 1, BAD)
    bench.take(parent)
    question = bench.job(parent)
    bench.stop(parent)
    assert bench.feed(verdict(question, SupervisionStrategy.RESTART)) == []
    del bench.hand[parent]
    bench.settle()
    assert bench.stopped == [child, parent]
    assert Stopped(child, BAD) in bench.effects
    bench.end()
