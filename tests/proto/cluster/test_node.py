"""The life of a node, from its start to its end: `cluster/node.py` and `cluster/inside.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from casty_proto.cluster import NodeInfo, RegionKind, RegionSettings, Status
from casty_proto.cluster import events as ev
from casty_proto.cluster.disk import Membership
from casty_proto.cluster.events import Standing, StandingChanged
from casty_proto.cluster.messages import Envelope, Expelled, JoinRequest
from casty_proto.cluster.node import Node, recover_node
from casty_proto.machine import SECOND, Note, Persisted, Rejected, Reply, Wake

from .kit_node import FAST, Process, World
from .kit_parts import rng

SETTINGS = RegionSettings(num_shards=4)
REQUESTS: tuple[Callable[[Any], ev.NodeEvent], ...] = (
    lambda token: ev.AddRegion(token, "r", RegionKind.ENTITIES, SETTINGS),
    lambda token: ev.ClaimName(token, "boss", 1, "/boss"),
    lambda token: ev.ReleaseName(token, "boss", 1),
    lambda token: ev.ForgetNode(token, "b"),
    lambda token: ev.Confer(token),
    lambda token: ev.Tell(token, "r", 0, b"x"),
)


def standings(process: Process) -> list[Standing]:
    return [one.standing for one in process.of(StandingChanged)]


def has_ended(process: Process) -> bool:
    return process.node.standing in (Standing.DEPARTED, Standing.EXPELLED)


def fresh(address: str = "a") -> Node:
    return Node(NodeInfo(address, 1, address), rng(), FAST)


# The beginning -------------------------------------------------------------------------------------------------------


def test_a_node_without_seeds_founds_a_cluster_of_its_own() -> None:
    world = World()
    (a,) = world.form("a")
    assert (a.node.cluster, a.node.leader, a.node.voters) == ("a.1", "a.1", ("a.1",))
    assert a.node.members_alive() == ("a.1",)
    assert standings(a) == [Standing.MEMBER]


def test_a_founder_is_a_member_only_when_that_is_on_its_disk() -> None:
    world = World()
    a = world.start("a")
    assert a.node.standing is Standing.SEEKING
    assert a.of(StandingChanged) == []
    world.settle()
    assert isinstance(world.disks["a"][0], Membership)


def test_nothing_happens_before_the_start() -> None:
    node = fresh()
    assert node.deadline() is None
    assert node.handle(Wake(), 5 * SECOND) == ()
    assert node.handle(Persisted(1), 5 * SECOND) == ()
    assert node.handle(ev.ConnectionLost("b"), 5 * SECOND) == ()
    assert node.standing is Standing.SEEKING
    node.invariants()


@pytest.mark.parametrize("seeds", [(), ("a",), ("b",)])
def test_a_second_start_is_an_error_of_the_driver_and_changes_nothing(seeds: tuple[str, ...]) -> None:
    node = fresh()
    node.handle(ev.Start(("b",)), 0)
    (note,) = node.handle(ev.Start(seeds), 1)
    assert isinstance(note, Note)
    assert "was started before" in note.text
    world = World()
    (a,) = world.form("a")
    before = a.node.state.encode()
    (note,) = a.node.handle(ev.Start(seeds), a.now)
    assert isinstance(note, Note)
    assert (a.node.standing, a.node.state.encode()) == (Standing.MEMBER, before)


def test_a_member_that_was_taken_in_has_written_that_down_first() -> None:
    world = World()
    world.form("ab")
    assert [type(one) for one in world.disks["b"]][:1] == [Membership]
    assert world.disks["b"][0] == Membership("a.1", world["b"].node.info)


def test_a_node_of_the_same_name_and_an_older_generation_is_turned_away_and_says_why() -> None:
    world = World()
    world.form("ab")
    world.start("c", "ab", generation=5)
    world.settle()
    world.crash("c")
    old = world.start("c", "ab", generation=4)
    world.run(1)
    (change,) = old.of(StandingChanged)
    assert change.standing is Standing.EXPELLED
    assert "c.5 has taken its place" in change.reason
    assert old.node.deadline() is None


def test_a_join_that_is_sent_to_a_member_that_does_not_lead_reaches_the_leader() -> None:
    world = World()
    world.form("abc")
    (follower, *_) = world.others(world.leader)
    world.start("d", follower.address)
    world.settle()
    sent = [(source, to) for _, source, to, one in world.said if isinstance(one.body, JoinRequest)]
    assert ("d", follower.address) in sent
    assert (follower.address, world.leader.address) in sent
    assert ("d", world.leader.address) not in sent


def test_joins_while_there_is_no_leader_are_answered_when_there_is_one() -> None:
    world = World()
    world.form("abc")
    world.crash(world.leader.address)
    other = world.others()[0]
    world.start("d", other.address)
    world.settle()
    assert world["d"].node.standing is Standing.MEMBER


# Requests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", REQUESTS)
def test_a_request_before_membership_is_rejected_at_once(make: Callable[[Any], ev.NodeEvent]) -> None:
    node = fresh()
    for now in (0, 1):
        (reply,) = node.handle(make("token"), now)
        assert isinstance(reply, Reply)
        assert reply.request == "token"
        assert isinstance(reply.result, Rejected)
        node.handle(ev.Start(("b",)), 0)


@pytest.mark.parametrize("make", REQUESTS)
@pytest.mark.parametrize("leaves", [True, False])
def test_a_request_after_membership_is_rejected_at_once(make: Callable[[Any], ev.NodeEvent], leaves: bool) -> None:
    world = World()
    _, b = world.form("ab")
    if leaves:
        b.feed(ev.Depart())
    else:
        b.feed(ev.Received(Envelope("a.1", "a", "a.1", "b.1", Expelled("b.1", "why"))))
    world.until(lambda: has_ended(b))
    replies = [one for one in b.feed(make("token")) if isinstance(one, Reply)]
    assert [(one.request, type(one.result)) for one in replies] == [("token", Rejected)]


def test_what_is_asked_and_not_answered_when_the_node_ends_is_unknown() -> None:
    world = World()
    a, b, _ = world.form("abc")
    world.add_region(a)
    world.isolate("b")
    b.feed(ev.ClaimName("name", "boss", 1, "/boss"))
    b.feed(ev.Confer("confer"))
    away = [shard for shard in range(4) if a.node.state.owner_of("r", shard) != "b.1"]
    b.feed(ev.Tell("message", "r", away[0], b"e:x"))
    b.feed(ev.Received(Envelope("a.1", "a", b.node.cluster, "b.1", Expelled("b.1", "why"))))
    assert has_ended(b)
    answers = {one.request: type(one.result) for one in b.of(Reply)}
    assert answers == {"name": ev.Unknown, "message": ev.Unknown, "confer": ev.Unknown}


def test_a_second_region_of_that_name_must_be_the_same() -> None:
    world = World()
    a, b, _ = world.form("abc")
    world.add_region(a)
    assert isinstance(b.ask(lambda token: ev.AddRegion(token, "r", RegionKind.ENTITIES, SETTINGS)), ev.Done)
    other = RegionSettings(num_shards=8)
    answer = b.ask(lambda token: ev.AddRegion(token, "r", RegionKind.ENTITIES, other))
    assert isinstance(answer, Rejected)
    assert "num_shards is 4, not 8" in answer.reason


def test_a_singleton_of_several_shards_is_rejected_at_once() -> None:
    world = World()
    (a,) = world.form("a")
    (reply, *_) = a.feed(ev.AddRegion("x", "s", RegionKind.SINGLETON, SETTINGS))
    assert isinstance(reply, Reply)
    assert isinstance(reply.result, Rejected)


def test_whoever_got_done_sees_what_was_done() -> None:
    """The index of `Done` is applied at the node that asked."""
    world = World()
    for process in world.form("abc"):
        name = f"r{process.address}"
        answer = process.ask(lambda token, name=name: ev.AddRegion(token, name, RegionKind.ENTITIES, SETTINGS))  # type: ignore[misc]
        assert process.node.state.region(name) is not None
        assert process.node.state.changed >= answer.index


def test_confer_makes_what_is_read_here_as_new_as_what_was_known_anywhere() -> None:
    world = World()
    world.form("abc")
    for number in range(5):
        for process in world.everybody:
            other = world.others(process)[0]
            other.ask(lambda token, at=number, who=process: ev.ClaimName(token, f"{who.key}{at}", at, "/x"))  # type: ignore[misc]
            known = other.node.state.changed
            assert isinstance(process.ask(ev.Confer), ev.Done)
            assert process.node.state.changed >= known


def test_confer_of_who_is_cut_off_is_unknown() -> None:
    world = World()
    world.form("abc")
    world.isolate("b")
    assert isinstance(world["b"].ask(ev.Confer, 60), ev.Unknown)


# The end -------------------------------------------------------------------------------------------------------------


def test_a_node_that_belongs_to_no_cluster_departs_at_once() -> None:
    for started in (False, True):
        node = fresh()
        if started:
            node.handle(ev.Start(("b",)), 0)
        effects = node.handle(ev.Depart("go"), 1)
        assert effects == (Reply("go", None), StandingChanged(Standing.DEPARTED))
        assert node.deadline() is None
        assert node.handle(ev.Depart("again"), 2) == (Reply("again", None),)
        assert [type(one) for one in node.handle(ev.Start(("b",)), 3)] == [Note]


def test_the_last_member_departs_although_nobody_takes_what_it_has() -> None:
    world = World()
    (a,) = world.form("a")
    world.add_region(a)
    a.feed(ev.Depart("go"))
    world.until(lambda: a.node.standing is Standing.DEPARTED, 5)
    assert "nobody is there to take what it has" in a.notes()


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_rule_6_who_leaves_goes_when_nothing_is_left_here(who: str) -> None:
    world = World()
    world.form("abc")
    world.add_region(world["a"], factor=2, sync_count=1)
    leaving = world.leader if who == "leader" else world.others(world.leader)[0]
    leaving.feed(ev.Depart("go"))
    leaving.feed(ev.Depart("again"))
    assert [one.request for one in leaving.of(Reply) if one.request is not None][-2:] == ["go", "again"]
    world.until(lambda: leaving.node.standing is Standing.DEPARTED, 5)
    assert standings(leaving) == [Standing.MEMBER, Standing.LEAVING, Standing.DEPARTED]
    assert leaving.node.deadline() is None
    world.crash(leaving.address)
    assert leaving.driver.shards == {}
    world.settle()
    (gone,) = world.others()[0].of(ev.MemberGone)
    assert (gone.member.key, gone.member.status) == (leaving.key, Status.LEAVING)
    assert world.others()[0].node.state.member(leaving.key) is None


@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
def test_who_leaves_has_departed_and_was_not_expelled_whatever_others_have_heard_first(names: str) -> None:
    for seed in range(8):
        world = World(seed)
        world.form(names)
        world["b"].feed(ev.Depart())
        world.until(lambda world=world: has_ended(world["b"]))  # type: ignore[misc]
        assert standings(world["b"]) == [Standing.MEMBER, Standing.LEAVING, Standing.DEPARTED]


def test_rule_6_who_leaves_goes_in_the_end_although_nobody_takes_what_it_has() -> None:
    world = World()
    _, b = world.form("ab")
    world.add_region(b)
    world.isolate("b")
    b.feed(ev.Depart("go"))
    began = world.now
    world.until(lambda: b.node.standing is Standing.DEPARTED, 40)
    assert world.now - began >= FAST.leave_ns
    assert "others have not taken all" in b.notes()


def test_a_node_that_has_ended_does_nothing_more() -> None:
    world = World()
    _, b = world.form("ab")
    b.feed(ev.Depart())
    world.until(lambda: has_ended(b))
    world.run(1)
    count = len(b.log)
    b.feed(Wake())
    b.feed(Persisted(10**6))
    b.feed(ev.ConnectionLost("a"))
    b.feed(ev.Received(None))
    world.run(5)
    assert all(isinstance(one, Note) for _, one in b.log[count:])
    assert b.node.deadline() is None


def test_a_node_says_whose_disk_it_is_that_it_was_given() -> None:
    world = World()
    (a,) = world.form("a")
    recovered = recover_node(world.disks["a"])
    assert recovered is not None
    with pytest.raises(ValueError, match=r"the disk is that of a\.1, and this is b\.1"):
        Node(NodeInfo("b", 1, "b"), rng(), FAST, recovered)
    assert recover_node([]) is None
    assert a.key == recovered.node.key
