"""Rules 1 to 6 of the engine, as `casty_proto.actor.machine` numbers them: turns, mailboxes, failures, restarts."""

from __future__ import annotations

import pytest

from casty_proto.actor import (
    IDLE,
    READY,
    Mailbox,
    MailboxOverflowStrategy,
    Phase,
    Ready,
    Reason,
    Restarted,
    Started,
    Stopped,
    SupervisionStrategy,
    Task,
    Undelivered,
)
from casty_proto.machine import SECOND

from .bench import LATER, RESTART, STOP, Bench, Reported

BAD = ValueError("bad")


def test_rule_1_ready_is_said_once_until_take_has_returned_idle() -> None:
    bench = Bench()
    a = bench.start("a")
    assert bench.engine.deliver(a, 1) is READY
    assert bench.engine.deliver(a, 2) is None
    assert bench.engine.notify(a, "notice") is None
    assert bench.engine.take(a) == 1
    assert bench.engine.deliver(a, 3) is None
    assert bench.engine.take(a) == 2
    assert bench.engine.take(a).item == "notice"
    assert bench.engine.take(a) == 3
    assert bench.engine.take(a) is IDLE
    assert bench.engine.deliver(a, 4) is READY


def test_rule_1_an_event_says_nothing_of_a_cell_that_the_driver_holds() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.begin(a, 1)
    assert bench.stop(a) == []
    bench.ok(a)
    assert bench.take(a) is Task.POST_STOP


def test_rule_1_an_event_makes_a_cell_ready_that_nobody_holds() -> None:
    bench = Bench()
    a = bench.start("a")
    assert bench.stop(a) == [Ready(a)]


def test_rule_2_messages_are_taken_in_the_order_in_which_they_were_delivered() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.tell(a, 1, 2)
    bench.notify(a, "notice")
    bench.tell(a, 3)
    assert [bench.take(a), bench.ok(a), bench.take(a), bench.ok(a)] == [1, [], 2, []]
    assert [bench.take(a), bench.ok(a), bench.take(a), bench.ok(a)] == ["notice", [], 3, []]
    assert bench.take(a) is IDLE


def test_rule_2_messages_wait_until_the_actor_runs() -> None:
    bench = Bench()
    a = bench.spawn("a")
    bench.tell(a, 1)
    bench.notify(a, "notice")
    bench.run(a)
    assert bench.ran == [("a", Task.START), ("a", 1), ("a", "notice")]


@pytest.mark.parametrize(("judges", "phase"), [(True, Phase.SUSPENDED), (False, Phase.BACKING_OFF)])
def test_rule_2_messages_wait_while_the_actor_is_not_running(judges: bool, phase: Phase) -> None:
    bench = Bench()
    parent = bench.start("parent", judges=judges)
    a = bench.start("a", parent, policy=LATER)
    bench.break_on(a, 1, BAD)
    bench.tell(a, 2)
    bench.run(a)
    assert a.phase == phase
    bench.tell(a, 3)
    assert a not in bench.held
    bench.settle()
    bench.wake(SECOND)
    bench.settle()
    assert bench.ran[-2:] == [("a", 2), ("a", 3)]


def test_rule_2_jobs_come_before_messages() -> None:
    bench = Bench()
    parent = bench.start("parent", judges=True)
    child = bench.start("child", parent)
    bench.tell(parent, 1, 2)
    bench.break_on(child, "bad", BAD)
    assert bench.take(parent) is Task.JUDGE


FULL = {
    MailboxOverflowStrategy.drop_new: (3, Reason.OVERFLOW, [1, 2]),
    MailboxOverflowStrategy.drop_oldest: (1, Reason.OVERFLOW, [2, 3]),
    MailboxOverflowStrategy.reject: (3, Reason.REJECTED, [1, 2]),
}


@pytest.mark.parametrize("overflow", FULL)
def test_rule_3_a_full_mailbox_does_as_configured_and_reports_what_it_drops(overflow: MailboxOverflowStrategy) -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(2, overflow))
    dropped, reason, kept = FULL[overflow]
    assert bench.tell(a, 1, 2, 3) == [Undelivered(a, dropped, reason)]
    bench.run(a)
    assert bench.ran == [("a", Task.START), *(("a", message) for message in kept)]


def test_rule_4_start_is_the_first_job_and_makes_the_actor_run() -> None:
    bench = Bench()
    a = bench.spawn("a")
    bench.tell(a, 1)
    assert bench.take(a) is Task.START
    assert bench.ok(a) == [Started(a)]
    assert bench.take(a) == 1


def test_rule_4_an_actor_that_is_stopped_before_it_was_begun_runs_no_hook() -> None:
    bench = Bench()
    a = bench.spawn("a")
    bench.tell(a, 1)
    assert bench.stop(a) == [Undelivered(a, 1, Reason.STOPPED), Stopped(a, None)]
    assert bench.take(a) is IDLE
    assert bench.ran == []


def test_rule_4_an_actor_whose_start_was_begun_runs_its_last_hook_also_if_the_start_failed() -> None:
    bench = Bench()
    a = bench.spawn("a", policy=STOP)
    bench.take(a)
    assert bench.fail(a, BAD) == [Reported(a, BAD, SupervisionStrategy.STOP)]
    bench.run(a)
    assert bench.ran == [("a", Task.START), ("a", Task.POST_STOP)]


def test_rule_5_a_failure_is_judged_by_a_parent_that_asked_for_it() -> None:
    bench = Bench()
    parent = bench.start("parent", judges=True)
    a = bench.start("a", parent, policy=STOP)
    assert bench.break_on(a, 1, BAD) == [Ready(parent)]
    assert bench.take(parent) is Task.JUDGE
    job = bench.job(parent)
    assert (job.subject, job.error, job.item) == (a, BAD, 1)
    assert bench.judge(parent, SupervisionStrategy.RESTART) == [Reported(a, BAD, SupervisionStrategy.RESTART)]
    bench.settle()
    assert a.phase == Phase.RUNNING


def test_rule_5_a_parent_without_an_opinion_leaves_it_to_the_policy_of_the_actor() -> None:
    bench = Bench()
    parent = bench.start("parent", judges=True)
    a = bench.start("a", parent, policy=STOP)
    bench.break_on(a, 1, BAD)
    bench.take(parent)
    assert bench.judge(parent, None) == [Reported(a, BAD, SupervisionStrategy.STOP)]


def test_rule_5_a_failure_is_judged_by_the_policy_of_the_actor_that_failed() -> None:
    bench = Bench()
    parent = bench.start("parent", policy=RESTART)
    a = bench.start("a", parent, policy=STOP)
    assert bench.break_on(a, 1, BAD) == [Reported(a, BAD, SupervisionStrategy.STOP)]
    bench.settle()
    assert bench.stopped == [a]
    assert parent.phase == Phase.RUNNING


def test_rule_6_a_restart_runs_its_hooks_stops_the_children_and_backs_off_in_this_order() -> None:
    bench = Bench()
    a = bench.start("a", policy=LATER)
    child = bench.start("child", a)
    bench.ran.clear()
    assert bench.break_on(a, 1, BAD) == [Reported(a, BAD, SupervisionStrategy.RESTART, SECOND)]

    assert bench.take(a) is Task.PRE_RESTART
    assert (bench.job(a).error, bench.job(a).item) == (BAD, 1)
    assert bench.ok(a) == [Ready(child)]
    assert a.phase == Phase.CLEARING
    assert bench.take(child) is Task.POST_STOP
    assert bench.ok(child) == [Stopped(child, None)]

    assert a.phase == Phase.BACKING_OFF
    assert bench.engine.deadline() == bench.now + SECOND
    assert bench.take(a) is IDLE
    assert bench.wake(SECOND) == [Ready(a)]
    assert bench.take(a) is Task.RESTART
    assert bench.job(a).error is BAD
    assert bench.ok(a) == [Restarted(a, BAD)]


def test_rule_6_without_a_delay_the_restart_follows_at_once() -> None:
    bench = Bench()
    a = bench.start("a", policy=RESTART)
    bench.break_on(a, 1, BAD)
    bench.run(a)
    assert bench.ran == [("a", Task.START), ("a", 1), ("a", Task.PRE_RESTART), ("a", Task.RESTART)]
    assert bench.engine.deadline() is None


def test_rule_6_a_restart_keeps_the_mailbox_and_drops_the_message_that_failed() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.tell(a, 1, 2, 3)
    bench.take(a)
    bench.fail(a, BAD)
    bench.tell(a, 4)
    bench.ran.clear()
    bench.run(a)
    assert bench.ran == [("a", Task.PRE_RESTART), ("a", Task.RESTART), ("a", 2), ("a", 3), ("a", 4)]
    assert bench.dead == []


def test_rule_6_what_was_stashed_goes_back_to_the_front_of_the_mailbox() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.tell(a, 1, 2, 3, 4)
    for _ in range(2):
        bench.take(a)
        bench.stash(a)
    bench.take(a)
    bench.fail(a, BAD)
    bench.ran.clear()
    bench.run(a)
    assert bench.ran == [("a", Task.PRE_RESTART), ("a", Task.RESTART), ("a", 1), ("a", 2), ("a", 4)]
