"""Watching: who is told of an end, once, after the name is free (rule 12)."""

from __future__ import annotations

from casty_proto.actor import Cell, Effect, MailboxOverflowStrategy, Phase, Stopped, Task, Terminated
from casty_proto.actor.mailbox import Mailbox

from .bench import Bench, Notice


def notices(bench: Bench) -> list[tuple[str, Cell]]:
    """Who handled the notice of whose end."""
    return [(name, what.subject) for name, what in bench.ran if isinstance(what, Notice)]


def ended(bench: Bench, cell: Cell) -> list[Effect]:
    """Stop an idle actor; what its end brings about."""
    bench.stop(cell)
    assert bench.take(cell) is Task.POST_STOP
    return bench.ok(cell)


def test_a_watcher_is_told_once_however_often_it_watched() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    for _ in range(3):
        assert bench.watch(w, a) == []
    assert ended(bench, a) == [Stopped(a, None), Terminated(w, a)]
    bench.settle()
    assert notices(bench) == [("w", a)]
    bench.end()


def test_watchers_are_told_in_the_order_in_which_they_began_to_watch() -> None:
    bench = Bench()
    a = bench.start("a")
    watchers = [bench.start(name) for name in "xyz"]
    for watcher in reversed(watchers):
        bench.watch(watcher, a)
    assert ended(bench, a)[1:] == [Terminated(watcher, a) for watcher in reversed(watchers)]
    bench.end()


def test_the_name_is_free_when_the_notice_is_handled() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    bench.watch(w, a)
    assert ended(bench, a) == [Stopped(a, None), Terminated(w, a)]
    assert bench.take(w) == Notice(a)
    successor = bench.start("a")
    assert successor.uid != a.uid
    bench.ok(w)
    bench.end()


def test_watching_what_has_stopped_tells_at_once_each_time() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    ended(bench, a)
    assert bench.watch(w, a) == bench.watch(w, a) == [Terminated(w, a)]
    assert (w.watching, a.watchers) == (None, None)
    bench.end()


def test_watching_what_is_stopping_tells_at_its_end() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    bench.stop(a)
    assert bench.watch(w, a) == []
    bench.take(a)
    assert bench.ok(a) == [Stopped(a, None), Terminated(w, a)]
    bench.end()


def test_an_actor_that_was_never_begun_can_be_watched() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.spawn("a")
    bench.watch(w, a)
    assert bench.stop(a) == [Stopped(a, None), Terminated(w, a)]
    bench.end()


def test_whoever_unwatched_is_not_told() -> None:
    bench = Bench()
    v, w, a = bench.start("v"), bench.start("w"), bench.start("a")
    bench.watch(v, a)
    bench.watch(w, a)
    assert bench.unwatch(v, a) == []
    assert ended(bench, a) == [Stopped(a, None), Terminated(w, a)]
    bench.end()


def test_to_unwatch_what_was_not_watched_is_nothing() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    assert bench.unwatch(w, a) == []
    assert bench.unwatch(w, w) == []
    ended(bench, a)
    assert bench.unwatch(w, a) == []
    bench.end()


def test_a_notice_that_waits_already_is_handled_after_unwatch() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    bench.watch(w, a)
    ended(bench, a)
    bench.unwatch(w, a)
    bench.settle()
    assert notices(bench) == [("w", a)]
    bench.end()


def test_watching_again_after_unwatch_tells_once() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    bench.watch(w, a)
    bench.unwatch(w, a)
    bench.watch(w, a)
    assert ended(bench, a) == [Stopped(a, None), Terminated(w, a)]
    bench.end()


def test_an_actor_that_watches_itself_is_told_nothing() -> None:
    bench = Bench()
    a = bench.start("a")
    assert bench.watch(a, a) == []
    assert (a.watchers, a.watching) == (None, None)
    assert ended(bench, a) == [Stopped(a, None)]
    assert bench.watch(a, a) == []
    bench.end()


def test_of_two_that_watch_each_other_the_survivor_is_told() -> None:
    bench = Bench()
    a, b = bench.start("a"), bench.start("b")
    bench.watch(a, b)
    bench.watch(b, a)
    assert ended(bench, a) == [Stopped(a, None), Terminated(b, a)]
    assert ended(bench, b) == [Stopped(b, None)]
    bench.settle()
    assert notices(bench) == []
    bench.end()


def test_a_watcher_that_stopped_first_is_told_nothing_and_is_forgotten() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    bench.watch(w, a)
    ended(bench, w)
    assert not a.watchers
    assert ended(bench, a) == [Stopped(a, None)]
    bench.end()


def test_a_watcher_that_is_stopping_does_not_handle_the_notice() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    bench.watch(w, a)
    bench.stop(w)
    ended(bench, a)
    bench.settle()
    assert notices(bench) == []
    bench.end()


def test_a_parent_may_watch_its_child_and_a_child_its_parent() -> None:
    bench = Bench()
    parent = bench.start("parent")
    child = bench.start("child", parent)
    bench.watch(parent, child)
    bench.watch(child, parent)
    assert ended(bench, child) == [Stopped(child, None), Terminated(parent, child)]
    bench.settle()
    assert notices(bench) == [("parent", child)]
    other = bench.start("other", parent)
    bench.watch(other, parent)
    bench.stop(parent)
    bench.settle()
    assert parent.phase == Phase.STOPPED
    bench.end()


def test_a_watcher_whose_mailbox_is_full_is_told_all_the_same() -> None:
    for overflow in MailboxOverflowStrategy:
        bench = Bench()
        w, a = bench.start("w", mailbox=Mailbox(1, overflow)), bench.start("a")
        bench.watch(w, a)
        bench.tell(w, 1, 2)
        ended(bench, a)
        bench.tell(w, 3)
        bench.settle()
        assert notices(bench) == [("w", a)]
        bench.end()


def test_a_watcher_keeps_watching_others_across_its_restart() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    bench.watch(w, a)
    bench.break_on(w, 1, ValueError())
    ended(bench, a)
    bench.settle()
    assert bench.ran[-2:] == [("w", Task.RESTART), ("w", Notice(a))]
    bench.end()


def test_a_restart_of_the_subject_is_not_its_end() -> None:
    bench = Bench()
    w, a = bench.start("w"), bench.start("a")
    bench.watch(w, a)
    bench.break_on(a, 1, ValueError())
    bench.settle()
    assert notices(bench) == []
    assert ended(bench, a) == [Stopped(a, None), Terminated(w, a)]
    bench.end()
