"""What comes from other nodes and cannot be: `cluster/doors.py`, rules 2 and 3 of `cluster/node.py`, and rule 5 of
`machine.py`: rubbish is noted and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from casty_proto.cluster import MarkDown, encode_command
from casty_proto.cluster import events as ev
from casty_proto.cluster.doors import Door, door_of, is_envelope
from casty_proto.cluster.events import Standing
from casty_proto.cluster.messages import (
    Belongs,
    Envelope,
    Expelled,
    JoinRequest,
    OpenOrders,
    Order,
    OrderDone,
    OrdersOpened,
    Routed,
    Seek,
)
from casty_proto.cluster.node import Node
from casty_proto.cluster.registry import Difference, Register, Versions, Want
from casty_proto.machine import Note, Severity
from casty_proto.raft import Configuration, InstallSnapshot, Snapshot
from casty_proto.raft.snapshot import header_of
from casty_proto.replica import Drop, Fetch, Pull, Refused, Update, Whole
from casty_proto.shard.channel import Accepted, Hello, Moved, Post, Welcome
from casty_proto.shard.leases import LeaseRequest
from casty_proto.shard.steward import Released

from .kit_node import FAST, Process, World
from .kit_parts import rng
from .kit_rubbish import KINDS, broken, example, field_names, routed

NOT_LOOKED_AT = (LeaseRequest, Released)
"""Who does not lead does not look at these."""


@pytest.fixture(scope="module")
def world() -> World:
    """Three members, and a region of which all have copies. No test changes it."""
    found = World(1)
    found.form("abc")
    found.add_region(found["a"], factor=3, sync_count=1)
    return found


def picture(node: Node) -> tuple[Any, ...]:
    """All that can be seen of a node."""
    seen = (node.state.encode(), node.standing, node.cluster, node.leader, node.term, node.voters)
    return (*seen, node.gaps(), node.deadline())


def envelope(sender: Process, to: Process, body: Any) -> Envelope:
    return Envelope(sender.key, sender.address, sender.node.cluster, to.key, body)


def rubbish(process: Process, message: object) -> list[str]:
    """Give it this; nothing may come of it but notes, which are returned."""
    before = picture(process.node)
    effects = process.node.handle(ev.Received(message), process.now)
    process.node.invariants()
    assert picture(process.node) == before, message
    assert all(isinstance(effect, Note) for effect in effects), (message, effects)
    return [effect.text for effect in effects if isinstance(effect, Note)]


# Messages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.__module__.split('.')[1]}-{kind.__name__}")
def test_a_message_with_a_wrong_field_is_noted_and_changes_nothing(world: World, kind: type[Any]) -> None:
    leader = world.leader
    follower = world.others(leader)[0]
    count = 0
    for message in broken(kind):
        for process, sender in ((leader, follower), (follower, leader)):
            noted = rubbish(process, envelope(sender, process, routed(message)))
            assert noted or (process is follower and kind in NOT_LOOKED_AT), message
            count += 1
    assert count >= len(field_names(kind)), "every field can be wrong in some way"


@pytest.mark.parametrize("body", [None, 5, "text", b"bytes", (), [], {}, object(), Node, Standing.MEMBER, 1.5])
def test_a_body_that_is_no_message_is_noted_and_changes_nothing(world: World, body: Any) -> None:
    a, b = world["a"], world["b"]
    assert "is no message" in rubbish(a, envelope(b, a, body))[0]


def test_an_envelope_in_an_envelope_is_no_message(world: World) -> None:
    a, b = world["a"], world["b"]
    assert rubbish(a, envelope(b, a, envelope(b, a, Seek((), 0))))


@pytest.mark.parametrize("shard", [-1, 4, 2**40])
def test_a_message_for_a_shard_or_a_region_that_is_none_changes_nothing(world: World, shard: int) -> None:
    a, b = world["a"], world["b"]
    epoch = a.node.state.epoch_of("r", 0)
    for body in (Post(epoch, 1, 1, (b"x",)), Hello(epoch, 1, 1), Accepted(epoch, 1, 1), Welcome(epoch, 1, 1)):
        rubbish(a, envelope(b, a, Routed("r", shard, body)))
        rubbish(a, envelope(b, a, Routed("q", 0, body)))
    rubbish(a, envelope(b, a, Routed("r", shard, Moved(epoch, "b.1", epoch + 1))))


@pytest.mark.parametrize(("region", "shard"), [("q", 0), ("", 0), ("r", 4), ("r", 2**40)])
def test_copies_of_a_shard_that_is_none_are_not_kept(world: World, region: str, shard: int) -> None:
    """Whatever a member makes up would stay for ever."""
    a, b = world["a"], world["b"]
    for body in (
        Update(region, shard, 5, 1, "x", 1, b"x"),
        Whole(region, shard, 5, 1, 1, 1),
        Drop(region, shard, 5, 1),
        Fetch(region, shard, 5, 0),
        Pull(region, shard, 5, ("x",)),
    ):
        assert rubbish(a, envelope(b, a, body)) == []


def test_every_message_that_is_one_has_a_door() -> None:
    for kind in KINDS:
        assert door_of(routed(example(kind))) is not None, kind


def test_what_travels_in_a_channel_goes_to_owners_or_to_senders() -> None:
    found = {type(body): door_of(Routed("r", 0, body)) for body in (Post(1, 1, 1, ()), Hello(1, 1, 1))}
    assert found == {Post: Door.TO_OWNER, Hello: Door.TO_OWNER}
    for body in (Accepted(1, 1, 1), Welcome(1, 1, None), Moved(1, None, 1)):
        assert door_of(Routed("r", 0, body)) is Door.TO_SENDER
    assert door_of(Post(1, 1, 1, ())) is None, "and nowhere without its shard"


def test_a_subclass_of_a_message_is_no_message() -> None:
    class Other(Belongs):
        pass

    assert door_of(Other("a.1")) is None


def test_a_command_that_is_none_is_refused_and_the_cluster_goes_on(world: World) -> None:
    world = World(3)
    a, b, _ = world.form("abc")
    leader = world.leader
    other = b if leader is a else a
    leader.feed(ev.Received(envelope(other, leader, OpenOrders(9))))
    world.run(0.1)
    (session,) = [one[3].body.session for one in world.said if isinstance(one[3].body, OrdersOpened)]
    for number, data in enumerate([b"", b"rubbish", b"\x91\x01", b"x" * 3_000_000], 1):
        leader.feed(ev.Received(envelope(other, leader, Order(9, number, session, 1, data))))
    world.run(0.5)
    assert [world.faults(), leader.node.is_leader] == [[], True]
    done = [one[3].body for one in world.said if isinstance(one[3].body, OrderDone) and one[3].body.life == 9]
    assert [one.number for one in done] == [1, 2, 3], "what is too long for the log is not even proposed"


def test_a_snapshot_that_is_no_control_state_ends_the_node_with_a_word_and_no_exception() -> None:
    """It has no state to go on from. Raft cannot know that before."""
    world = World(1)
    world.form("abc")
    leader, other = world.leader, world.others(world.leader)[0]
    term, raft = other.node.term, other.node._in.consensus.raft  # type: ignore[union-attr]
    snapshot = Snapshot(10_000, term, Configuration(("b.1",)), raft.sessions.encode(), b"rubbish")
    data = header_of(snapshot) + b"rubbish"
    other.feed(ev.Received(envelope(leader, other, InstallSnapshot(term, 10_000, term, len(data), 0, data))))
    (change,) = [one for one in other.of(ev.StandingChanged) if one.standing is Standing.EXPELLED]
    assert "cannot be read" in change.reason


# Envelopes -----------------------------------------------------------------------------------------------------------

GOOD = Envelope("b.1", "b", "a.1", "a.1", Seek((), 0))
BAD: dict[str, list[Any]] = {
    "sender": [None, 5, "", "b", "b.", ".1", "b.-1", "b.01", "b.1.x", "b" * 65 + ".1", b"b.1", "\ud800.1"],
    "address": [None, 5, "", "x" * 161, b"b", "\ud800"],
    "cluster": [None, 5, "a", b"a.1", ("a.1",)],
    "to": [5, b"a.1", ("a.1",), True],
}


@pytest.mark.parametrize("field", BAD)
def test_an_envelope_with_a_wrong_field_is_none(world: World, field: str) -> None:
    assert is_envelope(GOOD)
    for bad in BAD[field]:
        message = evolve(GOOD, **{field: bad})
        assert not is_envelope(message), message
        assert "is no envelope" in rubbish(world["a"], message)[0]


@pytest.mark.parametrize("message", [None, 5, "text", b"bytes", Seek((), 0), object(), [GOOD], Envelope])
def test_what_is_no_envelope_is_noted_and_changes_nothing(world: World, message: object) -> None:
    (note,) = world["a"].node.handle(ev.Received(message), world["a"].now)
    assert isinstance(note, Note)
    assert note.severity is Severity.WARNING
    rubbish(world["a"], message)


def test_a_thing_that_cannot_be_shown_is_noted_all_the_same(world: World) -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert "cannot be shown" in rubbish(world["a"], Shy())[0]
    assert "cannot be shown" in rubbish(world["a"], envelope(world["b"], world["a"], Shy()))[0]


def test_rubbish_for_a_node_that_seeks_or_was_not_started_is_noted_and_changes_nothing() -> None:
    world = World(2)
    process = world.start("a", "abc")
    fresh = Process(world, Node(process.node.info, rng(), FAST), 0, 0)
    stranger = Envelope("b.1", "b", "", "a.1", None)
    for one in (process, fresh):
        rubbish(one, None)
        for kind in KINDS:
            for message in broken(kind):
                rubbish(one, evolve(stranger, body=routed(message)))


# Rule 2: only envelopes of the own cluster, and of members -----------------------------------------------------------


def test_rule_2_what_is_for_somebody_else_or_seems_to_come_from_itself_is_passed_over(world: World) -> None:
    a, b = world["a"], world["b"]
    for message in (evolve(envelope(b, a, LeaseRequest(1)), to="a.2"), envelope(a, a, LeaseRequest(1))):
        assert rubbish(a, message) == []


def test_rule_2_nothing_of_another_cluster_counts_and_each_is_noted_once() -> None:
    world = World(4)
    (a,) = world.form("a")
    before = picture(a.node)
    for number in range(40):
        for kind in KINDS:
            body = routed(example(kind))
            if door_of(body) is not Door.FORMING:
                message = Envelope("b.1", "b", f"x{number}.1", "a.1", body)
                effects = a.node.handle(ev.Received(message), a.now)
                assert all(isinstance(one, Note) and one.severity is Severity.ERROR for one in effects)
                a.log.extend([(world.now, one) for one in effects])
    assert picture(a.node) == before
    said = [one.text for one in a.of(Note)]
    assert len(said) == 16, "and not one for every cluster that somebody can make up"
    assert "belongs to the cluster that x0.1 has founded, and this node to that of a.1" in said[0]


def test_rule_2_of_who_belongs_to_no_cluster_only_what_makes_it_a_member_counts() -> None:
    world = World(4)
    (a,) = world.form("a")
    before = picture(a.node)
    for kind in KINDS:
        body = routed(example(kind))
        if door_of(body) is not Door.FORMING and not isinstance(body, JoinRequest):
            assert a.node.handle(ev.Received(Envelope("b.1", "b", "", "a.1", body)), a.now) == ()
    assert picture(a.node) == before


def test_rule_2_who_is_no_member_gets_no_message_no_order_and_no_copy_in() -> None:
    """Whoever listens learns the name of the cluster. With one message of each invented name, memory would grow."""
    world = World(4)
    world.form("abc")
    world.add_region(world["a"], factor=2)
    leader = world.leader
    shard = next(shard for shard in range(4) if leader.node.owns("r", shard, leader.now) is not None)
    epoch = leader.node.state.epoch_of("r", shard)
    bodies = (
        Routed("r", shard, Post(epoch, 1, 1, (b"x:y",))),
        Routed("r", shard, Hello(epoch, 1, 1)),
        Routed("r", shard, Moved(epoch, "b.1", 2**62)),
        Update("r", 0, 2**62, 1, "x", 1, b"x"),
        Refused("r", shard, 2**62),
        Order(1, 1, 1, 1, encode_command(MarkDown("b.1"))),
        Released("r", ((shard, epoch),)),
        LeaseRequest(1),
        Versions(()),
    )
    for number in range(3):
        for body in bodies:
            message = Envelope(f"x{number}.1", "x", leader.node.cluster, leader.key, body)
            assert rubbish(leader, message) == []


def test_rule_2_what_a_member_says_to_who_is_behind_is_heard_as_soon_as_that_one_knows_it() -> None:
    world = World(4)
    world.form("abc")
    late = world.others(world.leader)[0]
    world.isolate(late.address)
    new = world.start("d", world.leader.address)
    world.until(lambda: new.node.standing is ev.Standing.MEMBER)
    late.feed(Register("key", 1, "/one"))
    late.feed(ev.Received(envelope(new, late, Want(late.key, 0))))
    told: list[Any] = []

    def listen(source: str, to: str, message: Envelope) -> bool:
        if (source, to) == (late.address, "d") and type(message.body) is Difference:
            told.append((late.node.state.member(new.key) is not None, message.body))
        return False

    world.heal()
    world.drop = listen
    world.until(lambda: late.node.state.member(new.key) is not None)
    assert told[0] == (True, Difference(late.key, 0, ((True, "key", 1, "/one"),)))


def test_a_member_answers_a_question_of_anybody_and_nothing_else_about_formation() -> None:
    world = World(4)
    (a,) = world.form("a")
    for kind in KINDS:
        body = routed(example(kind))
        if door_of(body) is Door.FORMING:
            effects = a.node.handle(ev.Received(Envelope("b.1", "b", "", None, body)), a.now)
            answers = [(one.to, one.message.body) for one in effects if isinstance(one, ev.Send)]
            assert answers == ([("b", Belongs("a.1"))] if kind is Seek else [])


# Rule 3 --------------------------------------------------------------------------------------------------------------


def test_rule_3_who_was_removed_and_does_not_know_it_is_told() -> None:
    world = World(5)
    a, b, _ = world.form("abc")
    world.crash("b")
    world.start("b", "abc", generation=2)
    world.settle()
    effects = a.node.handle(ev.Received(envelope(b, a, LeaseRequest(1))), a.now)
    assert [(one.to, type(one.message.body)) for one in effects if isinstance(one, ev.Send)] == [("b", Expelled)]
    (answer,) = [one.message for one in effects if isinstance(one, ev.Send)]
    assert (answer.to, answer.body.node) == ("b.1", "b.1"), "and not the one that runs at that address now"


def test_rule_3_two_that_were_both_removed_do_not_tell_each_other_for_ever() -> None:
    world = World(5)
    a, b, _ = world.form("abc")
    world.crash("b")
    world.start("b", "abc", generation=2)
    world.settle()
    assert a.node.handle(ev.Received(envelope(b, a, Expelled("c.1", "why"))), a.now) == (), "no answer in kind"
    a.feed(ev.Received(envelope(b, a, Expelled("a.1", "why"))))
    assert a.node.standing is Standing.EXPELLED


def test_rule_3_word_that_somebody_else_was_removed_concerns_nobody(world: World) -> None:
    a, b = world["a"], world["b"]
    assert rubbish(a, envelope(b, a, Expelled("c.1", "why"))) == []
    assert rubbish(a, envelope(b, a, Expelled("a.2", "why"))) == []
