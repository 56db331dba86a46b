"""Beginnings and ends that come at a bad moment: leaders that leave in a row, and founders that die young."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from casty_proto.cluster import events as ev
from casty_proto.cluster.commands import Left, decode_command
from casty_proto.cluster.events import Standing
from casty_proto.cluster.messages import Envelope, Order
from casty_proto.cluster.records import Status
from casty_proto.machine import SECOND, Wake
from casty_proto.shard.leases import LeaseRequest
from casty_proto.swim import Identity, State
from casty_proto.swim.messages import Gossip, Update

from .kit_node import FAST, Process, World


def test_rule_6_a_voter_goes_when_its_vote_is_counted_no_more_so_leaders_can_leave_in_a_row() -> None:
    world = World(1, evolve(FAST, max_voters=3))
    world.form("abcde")
    world.add_region(world["a"], num_shards=8)
    for _ in range(4):
        leader = world.leader
        leader.feed(ev.Depart())
        world.until(lambda leader=leader: leader.node.deadline() is None, 5)  # type: ignore[misc]
        world.crash(leader.address)
        world.settle()


def test_governing_rule_7_a_leader_that_owns_nothing_hands_over_too() -> None:
    world = World(1)
    world.form("abc")
    leader, term = world.leader, world.leader.node.term
    leader.feed(ev.Depart())
    world.until(lambda: not leader.node.is_leader, 1)
    assert leader.node.standing is Standing.LEAVING
    world.until(lambda: any(one.node.is_leader for one in world.others(leader)), 0.1)
    assert world.leader.node.term == term + 1


@pytest.mark.parametrize("written", range(2, 5))
def test_rule_5_a_founder_that_dies_before_its_join_is_on_its_disk_goes_on(written: int) -> None:
    world = World()
    world.start("a")
    while len(world.disks["a"]) < written:
        world.step()
    world.crash("a")
    world.start("a", disk=True)
    world.settle()


@pytest.mark.parametrize("cannot_go_on", [False, True])
def test_a_node_that_leaves_and_is_replaced_ends_once_when_nobody_answers_any_more(cannot_go_on: bool) -> None:
    """Several orders are given up at one instant, and that of the last word ends the node by itself."""
    world = World(1, evolve(FAST, order_patience_ns=SECOND))
    world.form("abc")
    leader, leaving = world.leader, world.others(world.leader)[0]
    world.drop = lambda source, _, message: source == leaving.address and _is_left(message.body)
    leaving.feed(ev.Depart())
    world.until(lambda: leaving.node._in is not None and leaving.node._in._said_left)
    world.isolate(leaving.address)
    leaving.feed(ev.ClaimName("claim", "boss", 1, "/boss"))
    later = Identity(leaving.address, 2)
    news = Gossip(Identity(leader.address, 1), (Update(later, 0, State.ALIVE, "", leaving.address),))
    leaving.feed(ev.Received(Envelope(leader.key, leader.address, leader.node.cluster, leaving.key, news)))
    if cannot_go_on:
        leaving.node._core.failure = "a snapshot cannot be read"
        leaving.feed(Wake())
    leaving.asleep_until = world.now + 2 * SECOND  # Then both are given up at one instant.
    world.run(3)
    assert isinstance(leaving.answer("claim"), ev.Unknown)
    last = Standing.EXPELLED if cannot_go_on else Standing.DEPARTED
    assert [one.standing for one in leaving.of(ev.StandingChanged)][1:] == [Standing.LEAVING, last]


def _is_left(body: object) -> bool:
    return type(body) is Order and type(decode_command(body.command)) is Left


def test_rule_6_who_leaves_waits_for_members_that_are_down_for_a_while() -> None:
    """Nobody is up to take over, and those who leave have all votes but one: it could never decide anything alone."""
    world = World(1)
    world.form("abc")
    world.add_region(world["a"], factor=2, sync_count=1)
    stays, *leaving = world.others(world.leader)[0], world.leader, world.others(world.leader)[1]
    world.drop = lambda source, _, message: source == stays.address and isinstance(message.body, LeaseRequest)
    world.until(lambda: stays.key not in world.leader.node.state.up_members())
    for one in leaving:
        one.feed(ev.Depart())
    world.run(0.5)
    assert Standing.LEAVING in [one.node.standing for one in leaving], "the last of them waits"
    world.drop = lambda *_: False
    world.until(lambda: all(one.node.standing is Standing.DEPARTED for one in leaving))
    for one in leaving:
        world.crash(one.address)
    world.settle()
    assert world.leader is stays


@pytest.mark.parametrize("settings", [{}, {"factor": 3, "sync_count": 1}])
def test_rule_6_who_leaves_does_not_wait_for_those_who_have_said_goodbye(settings: dict[str, Any]) -> None:
    world = World(1)
    world.form("abc")
    world.add_region(world["a"], **settings)
    world.run(1)
    for one in world.everybody:
        one.feed(ev.Depart())
    world.run(0.3)
    assert [one.node.standing for one in world.everybody] == [Standing.DEPARTED] * 3


def test_rule_6_who_leaves_last_waits_for_the_dead_for_a_while_only() -> None:
    world = World(1)
    world.form("ab")
    world.add_region(world["a"])
    dead, last = world.others(world.leader)[0], world.leader
    world.crash(dead.address)
    world.run(2)
    last.feed(ev.Depart())
    world.run(0.3)
    assert [last.node.standing] == [Standing.LEAVING]
    world.run(1)
    assert [last.node.standing] == [Standing.DEPARTED]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("apart", [0.0, 0.002, 0.02])
def test_rule_6_all_can_leave_at_once_though_the_leader_goes_before_it_has_heard_of_everybody(
    seed: int, apart: float
) -> None:
    world = World(seed)
    nodes = world.form("abc")
    for number, each in enumerate(world.rng.sample(nodes, 3)):
        if number and apart:
            world.run(apart)
        each.feed(ev.Depart())
    world.until(lambda: all(each.node.standing is Standing.DEPARTED for each in nodes), 4)


@pytest.mark.parametrize(("dead", "leaving"), [("b", "c"), ("c", "b")])
def test_governing_rule_4_one_that_is_down_loses_its_vote_before_one_that_leaves(dead: str, leaving: str) -> None:
    world = World(1)
    world.form("abc")
    leader = world.leader
    assert leader.address == "a"
    gone = world.crash(dead)
    world.until(lambda: status_of(leader, gone) is Status.DOWN)
    world[leaving].feed(ev.Depart())
    world.until(lambda: world.processes[leaving].node.standing is Standing.DEPARTED, 2)
    world.run(2)
    assert leader.node.is_leader
    assert leader.node.voters == (leader.key,)


def status_of(process: Process, other: Process) -> Status | None:
    """What a node takes another one for."""
    member = process.node.state.member(other.key)
    return None if member is None else member.status


def has_departed(process: Process) -> bool:
    """Whether it has left."""
    return process.node.standing is Standing.DEPARTED


@pytest.mark.parametrize("names", ["ab", "abc", "abcd", "abcde", "abcdef"])
def test_nodes_that_all_leave_at_once_wait_for_nobody(names: str) -> None:
    """Where most of those who vote have gone before the others could say so, nothing is decided any more."""
    for seed in range(20):
        world = World(seed, evolve(FAST, max_voters=3))
        world.form(names)
        world.add_region(world["a"], num_shards=8)
        began = world.now
        for number, one in enumerate(world.others()):
            world.at(began + number * (seed % 5) * SECOND // 500, lambda one=one: one.feed(ev.Depart()))  # type: ignore[misc]
        world.until(lambda world=world: all(has_departed(one) for one in world.others()), 40)  # type: ignore[misc]
        assert world.now - began < FAST.leave_ns // 2, f"seed {seed}"
