"""Failure detection as a node has it: `cluster/watching.py`, and what users are told of it."""

from __future__ import annotations

from casty_proto.cluster import NodeInfo, Status
from casty_proto.cluster import events as ev
from casty_proto.cluster.events import Standing
from casty_proto.cluster.messages import Envelope
from casty_proto.cluster.node import Node
from casty_proto.machine import SECOND
from casty_proto.swim import Identity, State
from casty_proto.swim.messages import Gossip, Update

from .kit_node import FAST, Process, World
from .kit_parts import rng


def status(world: World, key: str) -> Status:
    member = world.leader.node.state.member(key)
    assert member is not None
    return member.status


def test_each_node_hears_once_that_a_member_is_unreachable_and_once_that_it_is_back() -> None:
    world = World(1)
    world.form("abcde")
    victim = world.others(world.leader)[0]
    world.isolate(victim.address)
    world.run(2)
    world.heal()
    world.settle()
    for process in world.others(victim):
        told = [one for _, one in process.log if isinstance(one, ev.MemberUnreachable | ev.MemberReachable)]
        assert [type(one) for one in told] == [ev.MemberUnreachable, ev.MemberReachable]
        assert {one.member.key for one in told} == {victim.key}


def test_a_member_that_only_one_other_cannot_reach_is_not_down() -> None:
    world = World(1)
    world.form("abcde")
    one, other = world.others(world.leader)[:2]
    world.cuts[one.address, other.address] = world.cuts[other.address, one.address] = None
    world.run(4)
    assert [status(world, process.key) for process in (one, other)] == [Status.UP, Status.UP]


def test_a_lost_connection_is_a_hint_and_nobody_is_down_by_it() -> None:
    world = World(1)
    world.form("abc")
    for process in world.everybody:
        for address in "abcx":
            for _ in range(3):
                process.feed(ev.ConnectionLost(address))
    world.run(2)
    assert world.faults() == []
    assert not [one for process in world.everybody for one in process.of(ev.MemberUnreachable)]


def test_a_hint_makes_a_dead_member_known_sooner_on_average() -> None:
    def time_until_down(seed: int, hint: bool) -> int:
        world = World(seed)
        world.form("abcde")
        victim = world.crash(world.others(world.leader)[0].address)
        began = world.now
        if hint:
            for process in world.others():
                process.feed(ev.ConnectionLost(victim.address))
        world.until(lambda: status(world, victim.key) is Status.DOWN, 5)
        return world.now - began

    hinted, by_itself = [sum(time_until_down(seed, hint) for seed in range(4)) for hint in (True, False)]
    assert hinted < by_itself < 4 * SECOND


def test_who_leaves_is_gone_for_everybody_and_is_never_called_unreachable() -> None:
    world = World(1)
    world.form("abcd")
    leaving = world.others(world.leader)[0]
    leaving.feed(ev.Depart())
    world.until(lambda: leaving.node.deadline() is None)
    world.crash(leaving.address)
    world.run(3)
    for process in world.others():
        kinds = [type(one) for _, one in process.log if getattr(one, "member", None) is not None]
        told = [kind for kind in kinds if kind is not ev.MemberUp]
        assert told == [ev.MemberLeaving, ev.MemberGone]


def test_somebody_else_under_the_name_of_a_member_is_noted_and_changes_nothing() -> None:
    """Two processes go by one node id: the one that came first stays."""
    world = World(1)
    world.form("abc")
    victim = world.others(world.leader)[0]
    twin = Process(world, Node(NodeInfo(victim.address, 1, "z"), rng(5), FAST), 0, 0)
    world.processes["z"], world.disks["z"] = twin, []
    world.everybody.append(twin)
    twin.feed(ev.Start(("a", "b", "c")))
    world.run(2)
    assert twin.node.standing is not Standing.MEMBER
    assert victim.node.standing is Standing.MEMBER
    assert status(world, victim.key) is Status.UP


def test_what_is_known_of_those_who_are_no_members_is_limited() -> None:
    """Whoever listens can say that it is a node, and another one with the next message."""
    world = World(1)
    a, *_ = world.form("abc")
    for generation in range(10_000):
        stranger = Identity("x", generation)
        news = Gossip(stranger, (Update(stranger, 0, State.ALIVE, "", "x"),))
        a.node.handle(ev.Received(Envelope(f"x.{generation}", "x", a.node.cluster, a.key, news)), a.now)
    seen = a.node._core.seen
    assert len(seen) < 5000
    assert seen["b.1"] is seen["c.1"] is State.ALIVE
