"""Beginnings and ends that come at a bad moment: leaders that leave in a row, and founders that die young."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.cluster import events as ev
from casty_proto.cluster.events import Standing
from casty_proto.cluster.records import Status

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
