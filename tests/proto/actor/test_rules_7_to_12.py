"""Rules 7 to 12 of the engine, as `casty_proto.actor.machine` numbers them: groups, escalation, ends, watchers."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.actor import (
    Failure,
    MultiChildStrategy,
    Phase,
    Ready,
    Reason,
    Restarted,
    Stopped,
    SupervisionStrategy,
    Task,
    Terminated,
    Undelivered,
)
from casty_proto.machine import SECOND

from .bench import ESCALATE, RESTART, STOP, Bench, Notice, Reported

BAD = ValueError("bad")


def test_rule_7_more_restarts_than_the_policy_grants_within_its_window_stop_the_actor() -> None:
    bench = Bench()
    a = bench.start("a", policy=evolve(RESTART, max_restarts=2, within_ns=10 * SECOND))
    for _ in range(2):
        assert bench.break_on(a, 1, BAD) == [Reported(a, BAD, SupervisionStrategy.RESTART)]
        bench.run(a)
        bench.now += SECOND
    assert bench.break_on(a, 1, BAD) == [Reported(a, BAD, SupervisionStrategy.STOP)]
    bench.run(a)
    assert bench.effects[-1] == Stopped(a, BAD)


def test_rule_7_restarts_that_have_left_the_window_do_not_count() -> None:
    bench = Bench()
    a = bench.start("a", policy=evolve(RESTART, max_restarts=1, within_ns=10 * SECOND))
    for _ in range(5):
        assert bench.break_on(a, 1, BAD) == [Reported(a, BAD, SupervisionStrategy.RESTART)]
        bench.run(a)
        bench.now += 10 * SECOND
    assert bench.stopped == []


@pytest.mark.parametrize(
    ("multi_child", "concerned"),
    [(MultiChildStrategy.ONE_FOR_ALL, ["a", "b", "c"]), (MultiChildStrategy.REST_FOR_ONE, ["b", "c"])],
)
def test_rule_8_the_decision_is_extended_to_siblings(multi_child: MultiChildStrategy, concerned: list[str]) -> None:
    bench = Bench()
    parent = bench.start("parent")
    _, b, _ = [bench.start(name, parent, policy=evolve(RESTART, multi_child=multi_child)) for name in "abc"]
    bench.break_on(b, 1, BAD)
    bench.settle()
    assert sorted(bench.jobs(Task.PRE_RESTART)) == sorted(bench.jobs(Task.RESTART)) == concerned


def test_rule_8_a_sibling_finishes_what_it_has_in_hand_first() -> None:
    bench = Bench()
    parent = bench.start("parent")
    policy = evolve(RESTART, multi_child=MultiChildStrategy.ONE_FOR_ALL)
    a, b = [bench.start(name, parent, policy=policy) for name in "ab"]
    bench.begin(b, 1)
    bench.tell(b, 2)
    bench.break_on(a, "bad", BAD)
    assert b.phase == Phase.RESTARTING
    bench.ok(b)
    bench.ran.clear()
    bench.run(b)
    assert bench.ran == [("b", Task.PRE_RESTART), ("b", Task.RESTART), ("b", 2)]


def test_rule_9_escalate_makes_the_failure_the_parents_own() -> None:
    bench = Bench()
    parent = bench.start("parent", policy=RESTART)
    a = bench.start("a", parent, policy=ESCALATE)
    assert bench.break_on(a, 1, BAD) == [
        Reported(a, BAD, SupervisionStrategy.ESCALATE),
        Reported(parent, BAD, SupervisionStrategy.RESTART),
        Ready(parent),
    ]
    assert bench.take(parent) is Task.PRE_RESTART
    assert (bench.job(parent).error, bench.job(parent).item) == (BAD, None)
    bench.settle()
    assert bench.stopped == [a]
    assert bench.effects[-1] == Restarted(parent, BAD)


def test_rule_9_a_failure_that_escalates_past_the_top_stops_the_top_level_actor() -> None:
    bench = Bench()
    other = bench.start("other")
    top = bench.start("top", policy=ESCALATE)
    a = bench.start("a", top, policy=ESCALATE)
    bench.break_on(a, 1, BAD)
    bench.settle()
    assert bench.stopped == [a, top]
    assert bench.effects[-1] == Stopped(top, BAD)
    assert top.error is None
    assert other.phase == bench.engine.user.phase == Phase.RUNNING
    assert [effect.text for effect in bench.effects if isinstance(effect, Failure)] == [
        "/top/a escalates to /top",
        "/top stops: nobody is above it to escalate to",
    ]


def test_rule_10_stopping_is_bottom_up() -> None:
    bench = Bench()
    a = bench.start("a")
    b, c = bench.start("b", a), bench.start("c", a)
    d = bench.start("d", b)
    assert bench.stop(a) == [Ready(d), Ready(c)]
    bench.settle()
    assert bench.jobs(Task.POST_STOP) == [cell.name for cell in bench.stopped]
    order = bench.stopped.index
    assert order(d) < order(b) < order(a)
    assert order(c) < order(a)
    assert len(bench.stopped) == 4


def test_rule_10_the_last_hook_waits_for_the_handler_in_hand_and_runs_once() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.begin(a, 1)
    bench.stop(a)
    bench.stop(a)
    bench.ok(a)
    bench.run(a)
    bench.stop(a)
    assert bench.jobs(Task.POST_STOP) == ["a"]
    assert bench.stopped == [a]


def test_rule_10_to_stop_what_is_stopping_changes_nothing_not_even_the_reason() -> None:
    bench = Bench()
    parent = bench.start("parent")
    a = bench.start("a", parent, policy=STOP)
    bench.break_on(a, 1, BAD)
    assert bench.stop(a) == bench.stop(parent) == []
    bench.settle()
    assert [effect for effect in bench.effects if isinstance(effect, Stopped)] == [
        Stopped(a, BAD),
        Stopped(parent, None),
    ]


def test_rule_10_an_actor_that_is_stopped_before_the_verdict_stopped_because_of_its_failure() -> None:
    bench = Bench()
    parent = bench.start("parent", judges=True)
    a = bench.start("a", parent)
    bench.break_on(a, 1, BAD)
    bench.stop(a)
    bench.settle()
    assert Stopped(a, BAD) in bench.effects


def test_rule_11_nothing_can_be_delivered_from_the_moment_that_an_actor_stops() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.begin(a, 1)
    bench.stop(a)
    assert bench.tell(a, 2) == [Undelivered(a, 2, Reason.STOPPED)]
    assert bench.engine.notify(a, "notice") is None
    bench.ok(a)
    bench.run(a)
    assert bench.tell(a, 3) == [Undelivered(a, 3, Reason.STOPPED)]
    assert bench.ran == [("a", Task.START), ("a", 1), ("a", Task.POST_STOP)]


def test_rule_11_what_was_waiting_is_reported_in_its_order_and_notices_are_not() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.tell(a, 1, 2)
    bench.notify(a, "notice")
    bench.tell(a, 3)
    bench.take(a)
    bench.stash(a)
    assert bench.stop(a) == [Undelivered(a, message, Reason.STOPPED) for message in (1, 2, 3)]


def test_rule_11_the_messages_of_the_whole_tree_are_reported_at_once() -> None:
    bench = Bench()
    a = bench.start("a")
    b = bench.start("b", a)
    bench.tell(a, 1)
    bench.tell(b, 2)
    bench.stop(a)
    assert bench.dead == [("a", 1, Reason.STOPPED), ("b", 2, Reason.STOPPED)]
    assert bench.tell(b, 3) == [Undelivered(b, 3, Reason.STOPPED)]


def test_rule_12_watchers_are_told_once_after_the_name_is_free() -> None:
    bench = Bench()
    a = bench.start("a")
    watchers = [bench.start(name) for name in ("v", "w")]
    for watcher in watchers * 2:
        bench.watch(watcher, a)
    bench.stop(a)
    assert bench.refused("a", bench.engine.user).startswith("there is an actor /a already (it is still stopping)")
    assert bench.take(a) is Task.POST_STOP
    assert bench.ok(a) == [Stopped(a, None), *(Terminated(watcher, a) for watcher in watchers)]
    assert bench.engine.spawn_problem(bench.engine.user, "a") is None
    bench.settle()
    assert bench.ran[-2:] == [("v", Notice(a)), ("w", Notice(a))]


def test_rule_12_watching_an_actor_that_has_stopped_tells_at_once() -> None:
    bench = Bench()
    a, watcher = bench.start("a"), bench.start("w")
    bench.stop(a)
    bench.settle()
    assert bench.watch(watcher, a) == [Terminated(watcher, a)]
    bench.settle()
    assert bench.ran[-1] == ("w", Notice(a))
