"""Mailboxes: capacity, overflow, notices, the stash, the short cut, and what an idle actor costs."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.actor import (
    IDLE,
    READY,
    Cell,
    Envelope,
    Mailbox,
    MailboxOverflowStrategy,
    MultiChildStrategy,
    Reason,
    Renew,
    SupervisionStrategy,
    Task,
    Undelivered,
    machine,
)
from casty_proto.actor.mailbox import UNBOUNDED
from casty_proto.machine import SECOND

from .bench import LATER, RESTART, Bench, Notice, Reported

BAD = ValueError("bad")
DROP_NEW, DROP_OLDEST, REJECT = (
    MailboxOverflowStrategy.drop_new,
    MailboxOverflowStrategy.drop_oldest,
    MailboxOverflowStrategy.reject,
)


def taken(bench: Bench, cell: Cell) -> list[Any]:
    """All that the actor still handles."""
    before = len(bench.ran)
    bench.run(cell)
    return [what for _, what in bench.ran[before:]]


# -- the configuration -------------------------------------------------------------------------------------------------


def test_a_mailbox_is_unbounded_and_drops_the_new_message_unless_told_otherwise() -> None:
    assert (Mailbox().capacity, Mailbox().overflow, Mailbox().limit) == (None, DROP_NEW, UNBOUNDED)
    assert (Mailbox(3).limit, Mailbox(1, REJECT).overflow) == (3, REJECT)


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_below_one_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=rf"Mailbox.capacity must be at least 1, or None .* not {capacity}"):
        Mailbox(capacity)


@pytest.mark.parametrize("capacity", [True, 1.5, "10", float("inf")])
def test_a_capacity_that_is_no_whole_number_is_refused(capacity: Any) -> None:
    with pytest.raises(TypeError, match=r"Mailbox.capacity must be a whole number or None \(unbounded\), not"):
        Mailbox(capacity)


def test_an_overflow_strategy_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="overflow"):
        Mailbox(3, "drop_new")  # type: ignore[arg-type]


# -- capacity ----------------------------------------------------------------------------------------------------------


def test_an_unbounded_mailbox_takes_everything() -> None:
    bench = Bench(check=False)
    a = bench.start("a")
    assert bench.tell(a, *range(10_000)) == []
    assert taken(bench, a) == list(range(10_000))


def test_the_message_in_hand_does_not_count() -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(1))
    bench.begin(a, 1)
    assert bench.tell(a, 2) == []
    assert bench.tell(a, 3) == [Undelivered(a, 3, Reason.OVERFLOW)]


def test_a_mailbox_fills_while_the_actor_does_not_run() -> None:
    bench = Bench()
    a = bench.spawn("a", mailbox=Mailbox(2, DROP_OLDEST))
    bench.tell(a, 1, 2, 3, 4)
    assert bench.dead == [("a", 1, Reason.OVERFLOW), ("a", 2, Reason.OVERFLOW)]
    assert taken(bench, a) == [Task.START, 3, 4]


@pytest.mark.parametrize("overflow", [DROP_NEW, DROP_OLDEST, REJECT])
def test_notices_take_up_no_room_and_are_never_dropped(overflow: MailboxOverflowStrategy) -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(2, overflow))
    for notice in ("n1", "n2", "n3"):
        bench.notify(a, notice)
    assert bench.tell(a, 1, 2) == []
    bench.notify(a, "n4")
    (refused,) = bench.tell(a, 3)
    kept = [2, "n4", 3] if overflow is DROP_OLDEST else [1, 2, "n4"]
    assert refused.item == (1 if overflow is DROP_OLDEST else 3)
    assert taken(bench, a) == ["n1", "n2", "n3", *kept]


def test_a_notice_waits_for_an_actor_that_does_not_run_and_does_not_make_it_ready() -> None:
    bench = Bench()
    a = bench.start("a", policy=LATER)
    bench.break_on(a, 1, BAD)
    bench.run(a)
    assert bench.engine.notify(a, "notice") is None
    assert not a.held
    bench.wake(SECOND)
    assert taken(bench, a) == [Task.RESTART, "notice"]


def test_a_notice_that_was_taken_leaves_no_room_behind() -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(1))
    bench.notify(a, "notice")
    bench.tell(a, 1)
    assert bench.take(a) == "notice"
    assert bench.tell(a, 2) == [Undelivered(a, 2, Reason.OVERFLOW)]
    bench.ok(a)
    assert bench.take(a) == 1
    assert bench.tell(a, 3) == []


def test_an_envelope_counts_and_is_dropped_like_a_bare_message() -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(1, DROP_OLDEST))
    envelope = Envelope("hello", "sender")
    assert repr(envelope) == "Envelope('hello', sender='sender')"
    bench.tell(a, envelope, 2)
    assert bench.dead == [("a", envelope, Reason.OVERFLOW)]


type Step = tuple[str, int]


@given(
    st.sampled_from([DROP_NEW, DROP_OLDEST, REJECT]),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["tell", "notify", "take", "stash", "unstash"]), st.integers(1, 4))),
)
def test_a_bounded_mailbox_is_a_list_of_messages_and_notices(
    overflow: MailboxOverflowStrategy, capacity: int, steps: list[Step]
) -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(capacity, overflow))
    waiting: list[Any] = []
    stashed: list[int] = []
    serial = 0
    for what, times in steps:
        if what == "unstash":
            if a in bench.hand:
                assert bench.unstash(a) == len(stashed)
                waiting, stashed = stashed + waiting, []
            continue
        for _ in range(times):
            serial += 1
            if what == "notify":
                bench.notify(a, f"n{serial}")
                waiting.append(f"n{serial}")
            elif what == "tell":
                messages = [item for item in waiting if isinstance(item, int)]
                dropped = [] if len(messages) < capacity else [messages[0] if overflow is DROP_OLDEST else serial]
                waiting = [item for item in [*waiting, serial] if item not in dropped]
                assert [refused.item for refused in bench.tell(a, serial)] == dropped
            elif a in bench.hand and what == "stash" and isinstance(bench.hand[a], int):
                message = bench.hand[a]
                if bench.stash(a):
                    stashed.append(message)
                assert len(stashed) <= capacity
            elif a in bench.held:
                if a in bench.hand:
                    bench.ok(a)
                assert bench.take(a) == (waiting.pop(0) if waiting else IDLE)
    assert taken(bench, a) == waiting


# -- the stash ---------------------------------------------------------------------------------------------------------


def test_unstash_puts_messages_back_to_the_front_in_their_old_order() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.tell(a, 1, 2, 3, 4)
    for _ in range(2):
        bench.take(a)
        assert bench.stash(a)
    assert bench.take(a) == 3
    assert bench.unstash(a) == 2
    assert bench.unstash(a) == 0
    assert taken(bench, a) == [1, 2, 4]


def test_unstash_with_nothing_else_waiting() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.begin(a, 1)
    bench.stash(a)
    assert bench.take(a) is IDLE
    bench.begin(a, 2)
    assert bench.unstash(a) == 1
    assert taken(bench, a) == [1]


def test_what_is_put_back_comes_first_whatever_the_mailbox_holds() -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(2))
    assert bench.engine.put_back(a, []) is None
    bench.begin(a, 1)
    bench.tell(a, 4, 5)
    assert bench.engine.put_back(a, [2, 3]) is None
    assert taken(bench, a) == [2, 3, 4, 5]
    assert bench.engine.put_back(a, [6]) is READY
    assert (bench.engine.take(a), bench.engine.take(a)) == (6, IDLE)


def test_a_stash_holds_as_many_messages_as_the_mailbox() -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(2))
    for message in (1, 2):
        bench.begin(a, message)
        assert bench.stash(a)
    bench.begin(a, 3)
    assert not bench.stash(a)
    bench.begin(a, 4)
    assert bench.unstash(a) == 2
    assert taken(bench, a) == [1, 2]


def test_unstash_is_not_limited_by_the_capacity_and_the_mailbox_is_full_afterwards() -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(1, REJECT))
    bench.begin(a, 1)
    bench.stash(a)
    bench.begin(a, 2)
    bench.tell(a, 3)
    bench.unstash(a)
    assert bench.tell(a, 4) == [Undelivered(a, 4, Reason.REJECTED)]
    assert taken(bench, a) == [1, 3]


def test_a_stopping_actor_stashes_nothing_and_has_nothing_to_unstash() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.begin(a, 1)
    bench.stash(a)
    bench.begin(a, 2)
    assert bench.stop(a) == [Undelivered(a, 1, Reason.STOPPED)]
    assert bench.unstash(a) == 0
    assert not bench.stash(a)
    bench.end()


def test_a_restart_puts_the_stash_before_what_came_later() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.begin(a, 1)
    bench.stash(a)
    bench.break_on(a, 2, BAD)
    bench.tell(a, 3)
    assert taken(bench, a) == [Task.PRE_RESTART, Task.RESTART, 1, 3]


def test_the_stash_of_an_idle_actor_that_restarts_for_a_siblings_sake_fills_its_mailbox() -> None:
    bench = Bench()
    sibling = bench.start("sibling", policy=evolve(RESTART, multi_child=MultiChildStrategy.ONE_FOR_ALL))
    a = bench.start("a")
    bench.begin(a, 1)
    bench.stash(a)
    bench.run(a)
    assert a.queue is None
    bench.break_on(sibling, "bad", BAD)
    assert taken(bench, a) == [Task.PRE_RESTART, Task.RESTART, 1]


def test_what_is_stashed_between_a_siblings_failure_and_the_restart_is_kept_too() -> None:
    bench = Bench()
    a = bench.start("a", judges=False)
    bench.begin(a, 1)
    bench.stash(a)
    bench.begin(a, 2)
    bench.feed(Renew(a, BAD))
    assert bench.stash(a)
    assert taken(bench, a) == [Task.PRE_RESTART, Task.RESTART, 1, 2]


# -- the short cut, and what an idle actor costs -----------------------------------------------------------------------


@given(st.lists(st.sampled_from(["tell", "take", "notify"])))
def test_put_is_deliver_wherever_it_is_set(steps: list[str]) -> None:
    bench, twin = Bench(), Bench()
    a, b = bench.start("a"), twin.start("a")
    for serial, step in enumerate(steps):
        if step == "notify":
            bench.notify(a, serial)
            twin.notify(b, serial)
        elif step == "take":
            if a in bench.held:
                assert bench.take(a) == twin.take(b)
                bench.hand.clear()
                twin.hand.clear()
        elif a.put is None:
            bench.tell(a, serial)
            twin.tell(b, serial)
        else:
            a.put(serial)
            bench.engine.invariants()
            assert twin.engine.deliver(b, serial) is None
        assert (a in bench.held) == (b in twin.held)
    assert taken(bench, a) == taken(twin, b)


def test_put_is_not_set_for_a_mailbox_with_a_capacity() -> None:
    bench = Bench()
    a = bench.start("a", mailbox=Mailbox(10))
    bench.tell(a, 1, 2, 3)
    assert a.put is None


def test_put_goes_when_the_actor_stops() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.tell(a, 1, 2, 3)
    before = a.put
    assert before is not None
    bench.stop(a)
    assert a.put is None
    assert bench.tell(a, 4) == [Undelivered(a, 4, Reason.STOPPED)]


def test_an_empty_idle_actor_holds_no_deque_and_no_job_list() -> None:
    bench = Bench()
    a = bench.start("a")
    assert (a.queue, a.put, a.jobs) == (None, None, None)
    bench.tell(a, 1, 2, 3)
    bench.run(a)
    assert (a.queue, a.put, a.jobs, a.stashed) == (None, None, None, None)


def test_few_deques_are_kept_for_others() -> None:
    bench = Bench()
    cells = [bench.start(name) for name in "abc"]
    for cell in cells:
        bench.tell(cell, 1)
    with patch.object(machine, "_SPARE_QUEUES", 2):
        bench.settle()
    assert len(bench.engine._spare) == 2


def test_a_deque_that_was_given_back_serves_another_actor() -> None:
    bench = Bench()
    a, b = bench.start("a"), bench.start("b")
    bench.tell(a, 1, 2)
    queue = a.queue
    bench.run(a)
    bench.tell(b, 3)
    assert b.queue is queue
    bench.tell(a, 4)
    assert a.queue is not queue
    assert (taken(bench, a), taken(bench, b)) == ([4], [3])


def test_a_failing_actor_with_an_empty_mailbox_keeps_no_deque() -> None:
    bench = Bench()
    parent = bench.start("parent", judges=True)
    a = bench.start("a", parent)
    bench.break_on(a, 1, BAD)
    assert bench.take(a) is IDLE
    assert a.queue is None
    bench.take(parent)
    assert bench.judge(parent, SupervisionStrategy.STOP)[0] == Reported(a, BAD, SupervisionStrategy.STOP)
    bench.end()


def test_a_notice_of_an_end_waits_like_a_message() -> None:
    bench = Bench()
    watcher, a = bench.start("watcher"), bench.start("a")
    bench.watch(watcher, a)
    bench.tell(watcher, 1)
    bench.stop(a)
    bench.run(a)
    assert bench.engine.deliver(watcher, 2) is not READY
    assert taken(bench, watcher) == [1, Notice(a), 2]


# -- taking back -------------------------------------------------------------------------------------------------------


def test_messages_of_a_class_are_taken_back_in_their_order_and_the_others_stay() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.tell(a, 1, "x", 2, True, "y", 3)
    put = a.put
    assert bench.engine.withdraw(a, str) == ["x", "y"]
    bench.engine.invariants()
    assert a.put is put, "the way into the mailbox is the same"
    assert put is not None
    put(4)
    assert bench.engine.withdraw(a, int) == [1, 2, 3, 4]
    assert bench.engine.withdraw(a, int) == []
    assert bench.engine.take(a) is True
    assert bench.engine.take(a) is IDLE


def test_nothing_is_taken_back_from_an_actor_that_has_nothing() -> None:
    bench = Bench()
    a = bench.start("a")
    assert bench.engine.withdraw(a, str) == []
    bench.tell(a, "x")
    assert bench.engine.withdraw(a, str) == ["x"]
    assert bench.take(a) is IDLE
    assert a.queue is None
    bench.stop(a)
    assert bench.engine.withdraw(a, str) == []
