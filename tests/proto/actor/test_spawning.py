"""Spawning: names, numbers, refusals, and the two guardians."""

from __future__ import annotations

import pytest

from casty_proto.actor import Cell, Phase, Ready, Spawn, Stopped
from casty_proto.machine import Rejected, Reply

from .bench import RESTART, STOP, Bench


def test_spawn_is_answered_with_the_cell_whose_start_is_ready() -> None:
    bench = Bench()
    body = object()
    reply, ready = bench.feed(Spawn("token", bench.engine.user, "a", STOP, body, judges=True))
    assert isinstance(reply, Reply)
    a = reply.result
    assert reply == Reply("token", a)
    assert ready == Ready(a)
    assert (a.name, a.parent, a.policy, a.judges) == ("a", bench.engine.user, STOP, True)
    assert a.body is body
    assert (a.phase, a.path) == (Phase.STARTING, "/a")
    assert repr(a) == "<actor /a#3 starting>"


def test_a_path_leads_from_the_top_to_the_actor_and_the_guardians_have_no_name() -> None:
    bench = Bench()
    a = bench.start("a")
    assert bench.start("c", bench.start("b", a)).path == "/a/b/c"
    assert bench.engine.user.path == bench.engine.system.path == "/"


def test_every_actor_has_a_number_of_its_own_and_a_refusal_uses_none() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.refused("a", bench.engine.user)
    bench.refused("no/name", bench.engine.user)
    b = bench.start("b")
    bench.stop(a)
    bench.settle()
    assert [a.uid, b.uid, bench.start("a").uid] == [3, 4, 5]


def test_a_name_is_made_up_for_an_actor_without_one() -> None:
    bench = Bench()
    parent = bench.start("parent")
    assert [bench.start(None, parent).name, bench.start(None, parent).name] == ["$4", "$5"]


@pytest.mark.parametrize("name", ["", "a/b", "$1", "a b", "#", "x" * 256])
def test_a_name_that_is_none_is_refused_with_the_reason(name: str) -> None:
    bench = Bench()
    assert "actor name" in bench.refused(name, bench.engine.user)
    assert "actor name" in bench.refused(name, bench.start("parent"))


def test_a_name_is_taken_among_the_children_of_one_parent_until_its_actor_has_stopped() -> None:
    bench = Bench()
    parent, other = bench.start("parent"), bench.start("other")
    a = bench.start("a", parent)
    bench.start("a", other)
    rest = "choose another name, or wait until that one has terminated"
    assert bench.refused("a", parent) == f"there is an actor /parent/a already; {rest}"
    bench.stop(a)
    assert bench.refused("a", parent) == f"there is an actor /parent/a already (it is still stopping); {rest}"
    assert bench.refused("parent", bench.engine.user) == f"there is an actor /parent already; {rest}"
    bench.settle()
    assert bench.start("a", parent) is not a
    bench.end()


def test_nobody_spawns_below_a_guardian_that_was_stopped_and_the_other_goes_on() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.begin(a, 1)
    bench.stop(bench.engine.user)
    reason = "the actor system is shutting down, or was shut down; nothing can be spawned in it any more"
    assert bench.refused("b", bench.engine.user) == bench.refused(None, bench.engine.user) == reason
    bench.settle()
    assert bench.engine.user.phase == Phase.STOPPED
    assert bench.refused("b", bench.engine.user) == reason
    assert bench.start("service", bench.engine.system).phase == Phase.RUNNING


def test_a_guardian_stops_after_all_that_is_below_it() -> None:
    bench = Bench()
    a = bench.start("a")
    bench.stop(bench.engine.user)
    bench.settle()
    assert bench.stopped == [a, bench.engine.user]
    assert bench.stop(bench.engine.user) == []


def test_a_guardian_without_children_stops_at_once() -> None:
    bench = Bench()
    assert bench.stop(bench.engine.user) == [Stopped(bench.engine.user, None)]
    assert bench.stop(bench.engine.system) == [Stopped(bench.engine.system, None)]


def test_child_finds_a_live_child_by_its_name() -> None:
    bench = Bench()
    parent = bench.start("parent")
    assert bench.engine.child(parent, "a") is None
    a = bench.start("a", parent)
    assert bench.engine.child(parent, "a") is a
    assert bench.engine.child(parent, "b") is None
    bench.stop(a)
    bench.settle()
    assert bench.engine.child(parent, "a") is None


def test_spawn_problem_changes_nothing_and_says_what_spawn_would_say() -> None:
    bench = Bench()
    bench.start("a")
    problem = bench.engine.spawn_problem(bench.engine.user, "a")
    assert problem == bench.engine.spawn_problem(bench.engine.user, "a")
    (reply,) = bench.feed(Spawn(1, bench.engine.user, "a", RESTART))
    assert problem is not None
    assert reply == Reply(1, Rejected(problem))
    assert bench.engine.spawn_problem(bench.engine.user, "b") is None
    assert isinstance(bench.start("b"), Cell)
