"""Beginnings and ends that come at a bad moment: leaders that leave in a row, and founders that die young."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.cluster import events as ev
from casty_proto.cluster.events import Standing
from casty_proto.shard.leases import LeaseRequest

from .kit_node import FAST, World


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
    world.run(2)
    assert Standing.LEAVING in [one.node.standing for one in leaving], "the last of them waits"
    world.drop = lambda *_: False
    world.until(lambda: all(one.node.standing is Standing.DEPARTED for one in leaving))
    for one in leaving:
        world.crash(one.address)
    world.settle()
    assert world.leader is stays
