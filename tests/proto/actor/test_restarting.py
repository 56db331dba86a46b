"""Restarts: the three failure stories of `casty_proto.actor.restarting`, and what else can come between."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.actor import (
    IDLE,
    Cell,
    Failure,
    MultiChildStrategy,
    Phase,
    Ready,
    Reason,
    Renew,
    Restarted,
    Stopped,
    SupervisionStrategy,
    Task,
)
from casty_proto.machine import SECOND

from .bench import ESCALATE, LATER, RESTART, STOP, Bench, Notice, Reported

BAD = ValueError("bad")
WORSE = ValueError("worse")
FOR_ALL = evolve(RESTART, multi_child=MultiChildStrategy.ONE_FOR_ALL)


def test_story_1_a_failure_while_restarting_for_a_siblings_sake_does_not_begin_a_second_restart() -> None:
    bench = Bench()
    parent = bench.start("parent")
    a, b = bench.start("a", parent, policy=FOR_ALL), bench.start("b", parent, policy=evolve(RESTART, max_restarts=1))
    bench.begin(b, 1)
    bench.break_on(a, "bad", BAD)
    assert bench.fail(b, WORSE) == [Reported(b, WORSE, SupervisionStrategy.STOP)]
    bench.settle()
    assert sorted(bench.jobs(Task.PRE_RESTART)) == sorted(bench.jobs(Task.RESTART)) == ["a", "b"]
    # It did not count either: the one restart that `b` may have is still to come.
    assert bench.break_on(b, 2, WORSE) == [Reported(b, WORSE, SupervisionStrategy.RESTART)]
    bench.end()


def test_story_1_a_failed_start_while_restarting_for_a_siblings_sake_is_only_told() -> None:
    bench = Bench()
    parent = bench.start("parent")
    a, b = bench.start("a", parent, policy=FOR_ALL), bench.spawn("b", parent, policy=STOP)
    bench.take(b)
    bench.break_on(a, "bad", BAD)
    assert bench.fail(b, WORSE) == [Reported(b, WORSE, SupervisionStrategy.STOP)]
    assert bench.take(b) is Task.PRE_RESTART
    bench.settle()
    assert b.phase == Phase.RUNNING
    bench.end()


def test_story_1_a_failure_while_the_actors_own_fate_is_open_is_told_and_changes_nothing() -> None:
    bench = Bench()
    top = bench.start("top", judges=True)
    parent = bench.start("parent", top)
    child = bench.start("child", parent, policy=ESCALATE)
    bench.begin(parent, 1)
    bench.break_on(child, "bad", BAD)
    assert parent.phase == Phase.SUSPENDED
    assert bench.fail(parent, WORSE) == [Reported(parent, WORSE, SupervisionStrategy.STOP)]
    assert bench.take(top) is Task.JUDGE
    assert bench.job(top).error is BAD
    bench.judge(top, SupervisionStrategy.RESTART)
    bench.settle()
    assert bench.effects[-1] == Restarted(parent, BAD)
    bench.end()


def test_story_2_a_stale_verdict_does_not_decide_about_a_later_failure() -> None:
    bench = Bench()
    parent = bench.start("parent", judges=True)
    a, b = bench.start("a", parent), bench.start("b", parent, policy=FOR_ALL)
    bench.break_on(b, 1, BAD)
    bench.break_on(a, 1, BAD)
    # The question about `b` comes first, and its answer restarts both. `a` fails again; its first question is stale.
    bench.take(parent)
    bench.judge(parent, SupervisionStrategy.RESTART)
    bench.run(a)
    bench.break_on(a, 2, WORSE)
    assert bench.take(parent) is Task.JUDGE
    assert (bench.job(parent).subject, bench.job(parent).item) == (a, 1)
    assert bench.judge(parent, SupervisionStrategy.STOP) == []
    assert (a.phase, a.error) == (Phase.SUSPENDED, WORSE)

    assert bench.take(parent) is Task.JUDGE
    assert (bench.job(parent).subject, bench.job(parent).item) == (a, 2)
    assert bench.judge(parent, SupervisionStrategy.RESTART)[0] == Reported(a, WORSE, SupervisionStrategy.RESTART)
    bench.end()


def test_story_3_a_new_incarnation_waits_for_the_children_of_the_old_one() -> None:
    bench = Bench()
    spawned: list[Cell] = []

    def on_start(cell: Cell) -> None:
        if cell.name == "a":
            spawned.append(bench.spawn("child", cell))

    bench.on_start = on_start
    a = bench.start("a")
    bench.begin(spawned[0], 1)
    bench.break_on(a, "bad", BAD)
    bench.run(a)
    assert a.phase == Phase.CLEARING
    assert bench.wake(SECOND) == []
    assert bench.ok(spawned[0]) == []
    assert bench.take(spawned[0]) is Task.POST_STOP
    assert bench.ok(spawned[0]) == [Stopped(spawned[0], None), Ready(a)]
    bench.settle()
    assert [child.phase for child in spawned] == [Phase.STOPPED, Phase.RUNNING]
    bench.end()


def test_story_3_it_also_waits_for_those_that_were_stopping_already() -> None:
    bench = Bench()
    a = bench.start("a")
    child = bench.start("child", a)
    bench.begin(child, 1)
    bench.stop(child)
    bench.break_on(a, "bad", BAD)
    bench.run(a)
    assert a.phase == Phase.CLEARING
    bench.ok(child)
    bench.settle()
    assert bench.effects[-1] == Restarted(a, BAD)
    bench.end()


def test_story_3_children_that_were_never_begun_hold_nobody_up() -> None:
    bench = Bench()
    a = bench.start("a")
    child = bench.spawn("child", a)
    bench.break_on(a, "bad", BAD)
    assert bench.take(a) is Task.PRE_RESTART
    assert bench.ok(a) == [Stopped(child, None)]
    assert bench.take(a) is Task.RESTART
    bench.end()


def test_story_3_nobody_can_spawn_a_child_that_would_be_waited_for_in_vain() -> None:
    bench = Bench()
    a = bench.start("a")
    child = bench.start("child", a)
    bench.break_on(a, "bad", BAD)
    bench.run(a)
    assert bench.refused("late", a) == "/a is restarting; it can spawn again once its next incarnation has begun"
    bench.run(child)
    bench.settle()
    assert a.phase == Phase.RUNNING
    bench.end()


def test_a_restart_does_not_hear_of_the_ends_of_its_children_but_of_those_of_others() -> None:
    bench = Bench()
    other, a = bench.start("other"), bench.start("a")
    child = bench.start("child", a)
    bench.watch(a, child)
    bench.watch(a, other)
    bench.break_on(a, "bad", BAD)
    bench.settle()
    bench.stop(other)
    bench.settle()
    assert [what for _, what in bench.ran if isinstance(what, Notice)] == [Notice(other)]
    bench.end()


def test_the_old_incarnation_is_asked_nothing_after_its_last_hook() -> None:
    bench = Bench()
    a = bench.start("a", judges=True)
    child = bench.start("child", a)
    bench.begin(a, 1)
    bench.begin(child, 1)
    bench.renew(a, BAD)
    assert bench.take(a) is Task.PRE_RESTART
    bench.fail(child, WORSE)
    bench.ok(a)
    assert bench.take(a) is IDLE
    bench.settle()
    assert bench.jobs(Task.JUDGE) == []
    assert [bench.jobs(Task.RESTART), bench.stopped] == [["a"], [child]]
    bench.end()


def test_a_restart_for_a_siblings_sake_takes_the_siblings_time() -> None:
    bench = Bench()
    parent = bench.start("parent")
    a = bench.start("a", parent, policy=evolve(LATER, multi_child=MultiChildStrategy.ONE_FOR_ALL))
    bench.start("b", parent)
    bench.break_on(a, "bad", BAD)
    bench.settle()
    assert bench.jobs(Task.PRE_RESTART) == ["a", "b"]
    assert bench.wake(SECOND - 1) == []
    assert [type(effect) for effect in bench.wake(1)] == [Ready, Ready]
    bench.settle()
    assert bench.jobs(Task.RESTART) == ["a", "b"]
    bench.end()


def test_the_back_off_counts_from_the_failure_however_long_the_children_take() -> None:
    bench = Bench()
    a = bench.start("a", policy=LATER)
    child = bench.start("child", a)
    bench.break_on(a, "bad", BAD)
    bench.run(a)
    bench.now += SECOND
    assert bench.take(child) is Task.POST_STOP
    assert bench.ok(child) == [Stopped(child, None), Ready(a)]
    assert bench.engine.deadline() is None
    bench.end()


def test_the_back_off_grows_with_each_restart_in_the_window() -> None:
    bench = Bench()
    a = bench.start("a", policy=LATER)
    for delay in (SECOND, 2 * SECOND, 4 * SECOND):
        assert bench.break_on(a, "bad", BAD) == [Reported(a, BAD, SupervisionStrategy.RESTART, delay)]
        bench.run(a)
        assert bench.engine.deadline() == bench.now + delay
        assert bench.wake(delay - 1) == []
        assert bench.wake(1) == [Ready(a)]
        bench.run(a)
    bench.end()


def test_a_restart_is_told_to_the_operator_with_its_delay_and_its_limit() -> None:
    bench = Bench()
    a, b = bench.start("a", policy=LATER), bench.start("b", policy=evolve(RESTART, max_restarts=None))
    told = [*bench.break_on(a, "bad", BAD), *bench.break_on(b, "bad", BAD)]
    assert [effect.text for effect in told if isinstance(effect, Failure)] == [
        "/a restarts after 1 s (restart 1; it may have 3 restarts within 60 s)",
        "/b restarts (restart 1; it may have any number of restarts within 60 s)",
    ]
    bench.run(a)
    bench.begin(b, 1)
    bench.feed(Renew(b, BAD))
    told = bench.fail(b, WORSE)
    assert [effect.text for effect in told if isinstance(effect, Failure)] == [
        "/b failed while it was already restarting"
    ]
    bench.end()


def test_actors_that_back_off_wake_in_the_order_of_their_times() -> None:
    bench = Bench()
    policies = {name: evolve(LATER, backoff_initial_ns=ns) for name, ns in [("a", 3), ("b", 1), ("c", 2)]}
    cells = {name: bench.start(name, policy=policy) for name, policy in policies.items()}
    for cell in cells.values():
        bench.break_on(cell, "bad", BAD)
        bench.run(cell)
    assert bench.wake(2) == [Ready(cells["b"]), Ready(cells["c"])]
    assert bench.engine.deadline() == bench.now + 1
    assert bench.wake(SECOND) == [Ready(cells["a"])]
    bench.end()


def test_a_restart_that_fails_counts_and_is_restarted_in_its_turn() -> None:
    bench = Bench()
    a = bench.start("a", policy=evolve(RESTART, max_restarts=2))
    bench.tell(a, 1)
    bench.break_on(a, "bad", BAD)
    bench.take(a), bench.ok(a)
    assert bench.take(a) is Task.RESTART
    assert bench.fail(a, WORSE) == [Reported(a, WORSE, SupervisionStrategy.RESTART)]
    assert bench.take(a) is Task.PRE_RESTART
    assert (bench.job(a).error, bench.job(a).item) == (WORSE, None)
    bench.ok(a)
    assert bench.take(a) is Task.RESTART
    assert bench.fail(a, BAD) == [Reported(a, BAD, SupervisionStrategy.STOP)]
    bench.end()


def test_renew_restarts_at_once_without_counting() -> None:
    bench = Bench()
    a = bench.start("a", policy=evolve(LATER, max_restarts=0))
    for _ in range(3):
        bench.begin(a, 1)
        assert bench.renew(a, BAD) == []
        assert bench.take(a) is Task.PRE_RESTART
        assert (bench.job(a).error, bench.job(a).item) == (BAD, 1)
        assert bench.ok(a) == []
        assert bench.take(a) is Task.RESTART
        assert bench.ok(a) == [Restarted(a, BAD)]
    assert bench.break_on(a, "bad", BAD) == [Reported(a, BAD, SupervisionStrategy.STOP)]
    bench.end()


def test_renew_does_not_overtake_a_verdict() -> None:
    bench = Bench()
    top = bench.start("top", judges=True)
    parent = bench.start("parent", top)
    child = bench.start("child", parent, policy=ESCALATE)
    bench.begin(parent, 1)
    bench.break_on(child, "bad", BAD)
    assert bench.renew(parent, WORSE) == []
    assert bench.take(top) is Task.JUDGE
    assert bench.judge(top, SupervisionStrategy.STOP)[0] == Reported(parent, BAD, SupervisionStrategy.STOP)
    bench.end()


@pytest.mark.parametrize("begun", [False, True])
def test_a_sibling_whose_start_is_still_due_has_nothing_to_reset(begun: bool) -> None:
    bench = Bench()
    parent = bench.start("parent")
    a, b = bench.start("a", parent, policy=FOR_ALL), bench.spawn("b", parent)
    if begun:
        bench.take(b)
    bench.break_on(a, "bad", BAD)
    assert b.phase == (Phase.RESTARTING if begun else Phase.STARTING)
    bench.settle()
    assert sorted(bench.jobs(Task.PRE_RESTART)) == (["a", "b"] if begun else ["a"])
    assert b.phase == Phase.RUNNING
    bench.end()


def test_a_notice_can_fail_like_a_message() -> None:
    bench = Bench()
    a = bench.start("a", policy=STOP)
    bench.notify(a, "notice")
    bench.take(a)
    assert bench.fail(a, BAD) == [Reported(a, BAD, SupervisionStrategy.STOP)]
    bench.end()


def test_stopping_an_actor_that_backs_off_cancels_its_deadline_and_reports_its_mailbox() -> None:
    bench = Bench()
    a = bench.start("a", policy=LATER)
    bench.break_on(a, "bad", BAD)
    bench.run(a)
    bench.tell(a, 1)
    bench.stop(a)
    assert bench.engine.deadline() is None
    bench.settle()
    assert bench.dead == [("a", 1, Reason.STOPPED)]
    assert bench.effects[-1] == Stopped(a, None)
    assert bench.ran[-1] == ("a", Task.POST_STOP)
    bench.end()
