"""What the leader does about members: the rules of `cluster/governing.py`."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from casty_proto.cluster import NodeInfo, Removal, Status
from casty_proto.cluster import events as ev
from casty_proto.cluster.events import Standing, StandingChanged
from casty_proto.cluster.messages import Envelope, JoinRequest
from casty_proto.machine import SECOND, Rejected, Wake
from casty_proto.shard.leases import LeaseRequest

from .kit_node import FAST, Process, World


def three_of(count: int, **changes: Any) -> World:
    """A cluster of so many members, with three voters at most."""
    world = World(1, evolve(FAST, max_voters=3, **changes))
    world.form("abcdefg"[:count])
    return world


def status(world: World, key: str) -> Status | None:
    member = world.leader.node.state.member(key)
    return None if member is None else member.status


# Rule 1: who becomes a member ----------------------------------------------------------------------------------------


def test_rule_1_a_newcomer_becomes_a_member_and_everybody_hears_of_it() -> None:
    world = three_of(3)
    world.start("x", "abc")
    world.settle()
    for process in world.processes.values():
        assert process.node.members_alive() == ("a.1", "b.1", "c.1", "x.1")


def asked_by_many(world: World, count: int) -> Any:
    """The governing half of the leader, which so many strangers have asked to be taken in."""
    leader = world.leader
    for number in range(count):
        stranger = NodeInfo(f"x{number}", 1, "x", payload=b"x" * 100)
        leader.node.handle(ev.Received(Envelope(stranger.key, "x", "", None, JoinRequest(stranger))), leader.now)
    leader.feed(Wake())
    return leader.node._in.governing  # type: ignore[union-attr]


def test_rule_1_of_those_who_ask_at_once_only_some_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can ask, under any name. Who has to wait asks again."""
    monkeypatch.setattr("casty_proto.cluster.governing.MEMBERS_MAX", 20)
    world = three_of(3)
    governing = asked_by_many(world, 100)
    assert len(governing._joining) == len(governing._proposed) == 20
    world.run(0.05)
    assert not governing._joining, "and there is room again"


def test_rule_1_who_could_not_be_proposed_is_not_remembered() -> None:
    world = three_of(3, raft=evolve(FAST.raft, max_uncommitted_bytes=2000))
    world.run(1)
    world.drop = lambda *_: True
    governing = asked_by_many(world, 100)
    world.run(0.03)
    assert not governing._batch
    assert 0 < len(governing._joining) < 20
    assert governing._joining.keys() == governing._proposed.keys()


def test_rule_1_a_newer_generation_replaces_the_older_one_which_learns_it() -> None:
    world = three_of(3)
    old = world["b"]
    world.isolate("b")
    world.start("b", "ac", generation=2)
    world.heal()
    world.settle()
    world.processes["b"], new = old, world["b"]
    world.run(1)
    (change,) = [one for one in old.of(StandingChanged) if one.standing is Standing.EXPELLED]
    assert change.reason
    assert new.node.standing is Standing.MEMBER


def test_rule_1_a_join_that_comes_again_is_answered_again_and_changes_nothing() -> None:
    world = three_of(3)
    leader, (other, *_) = world.leader, world.others(world.leader)
    changed = leader.node.state.changed
    message = Envelope(other.key, other.address, "", None, JoinRequest(other.node.info))
    for _ in range(3):
        leader.feed(ev.Received(message))
    world.run(0.2)
    assert leader.node.state.changed == changed
    assert world.faults() == []


# Rules 2 to 4: who votes ---------------------------------------------------------------------------------------------


def test_rule_3_voters_are_odd_and_at_most_max_voters() -> None:
    for count, expected in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 3)]:
        world = three_of(count)
        world.run(1)
        assert {len(one.node.voters) for one in world.processes.values()} == {expected}
    world = World(2)
    world.form("abcd")
    world.run(1)
    assert len(world["a"].node.voters) == 3, "four are available, and five allowed"
    world.start("e", "abcd")
    world.settle()
    world.run(1)
    assert len(world["a"].node.voters) == 5


def test_rule_2_every_member_is_in_the_configuration_and_nobody_else() -> None:
    world = three_of(5)
    gone = world.others(world.leader)[0]
    world.crash(gone.address)
    world.run(2)
    world.leader.ask(lambda token: ev.ForgetNode(token, gone.node.info.node_id))
    world.run(1)
    raft = world.leader.node._in.consensus.raft  # type: ignore[union-attr]
    assert sorted(raft.configurations.latest.members) == [one.key for one in world.leader.node.state.members()]


def test_rule_4_a_voter_that_is_down_gives_its_vote_to_a_member_that_is_up() -> None:
    world = three_of(5)
    for _ in range(2):
        victims = [one for one in world.others(world.leader) if one.key in world.leader.node.voters]
        world.crash(victims[0].address)
        world.run(2)
        voters = world.leader.node.voters
        assert len(voters) == 3
        assert victims[0].key not in voters
        assert all(status(world, voter) is Status.UP for voter in voters)


def test_rule_4_a_voter_that_is_down_keeps_its_vote_where_nobody_can_have_it() -> None:
    world = three_of(3)
    world.crash(world.others(world.leader)[0].address)
    world.run(3)
    assert world.leader.node.voters == ("a.1", "b.1", "c.1")


def test_rule_4_one_after_the_other_can_crash_while_somebody_is_left_to_vote() -> None:
    """Five members with three voters bear three crashes one after the other: the leader is always the victim."""
    world = three_of(5)
    for left in (4, 3):
        world.crash(world.leader.address)
        world.run(3)
        assert len(world.processes) == left
        assert all(status(world, voter) is Status.UP for voter in world.leader.node.voters)
        assert len(world.leader.node.voters) == 3
    world.crash(world.leader.address)
    world.run(3)
    assert world.leader.runs


@pytest.mark.parametrize("place", [0, 1])
def test_rule_4_of_those_who_lose_their_votes_the_dead_go_first(place: int) -> None:
    """Otherwise the vote of the dead would be needed to take the vote of the living, and nothing decided any more."""
    world = three_of(3)
    gone = world.others(world.leader)[place]
    world.crash(gone.address)
    world.run(3)
    assert isinstance(world.leader.ask(lambda token: ev.ForgetNode(token, gone.node.info.node_id)), ev.Done)
    world.settle()
    assert world.leader.node.voters == (world.leader.key,)


@pytest.mark.parametrize("place", [0, 1])
def test_rule_4_who_leaves_keeps_its_vote_until_the_dead_have_lost_theirs(place: int) -> None:
    world = three_of(3)
    others = world.others(world.leader)
    world.crash(others[place].address)
    world.run(3)
    others[1 - place].feed(ev.Depart())
    world.run(3)
    assert others[1 - place].node.standing is Standing.DEPARTED
    assert world.leader.node.voters == (world.leader.key,)


def test_rule_4_who_takes_the_place_of_a_dead_voter_comes_before_that_one_goes() -> None:
    """Of two voters neither can be lost: should the dead one be gone for good, a second loss would end the cluster."""
    world = three_of(4)
    seen: dict[tuple[str, ...], None] = {}

    def watch(*_: object) -> bool:
        seen[world.leader.node.voters] = None
        return False

    world.drop = watch
    victim = next(one for one in world.others(world.leader) if one.key in world.leader.node.voters)
    world.crash(victim.address)
    world.run(3)
    assert [len(voters) for voters in seen] == [3, 4, 3]
    assert victim.key not in world.leader.node.voters


def test_rule_4_a_voter_that_was_replaced_goes_before_its_successor_comes() -> None:
    """With both of them in it, a majority is three of four. Should the successor die at that moment, it would be none
    for ever: two lives of one node would have ended a cluster that bears the loss of a node."""
    world = three_of(3)
    seen: dict[tuple[str, ...], None] = {}

    def watch(*_: object) -> bool:
        seen[world.leader.node.voters] = None
        return False

    world.drop = watch
    victim = world.others(world.leader)[0]
    world.crash(victim.address)
    world.start(victim.address, "abc", generation=2)
    world.run(3)
    assert [len(voters) for voters in seen] == [3, 2, 3]
    assert victim.key not in world.leader.node.voters


def test_rule_3_voters_stay_odd_where_somebody_who_never_voted_is_down() -> None:
    world = three_of(2)
    third = world.start("c", "ab")
    world.until(lambda: third.node.standing is Standing.MEMBER)
    world.crash("c")
    world.run(5)
    assert status(world, "c.1") is Status.DOWN
    assert len(world.leader.node.voters) == 1


@pytest.mark.parametrize("seed", range(8))
def test_a_sole_voter_that_adds_another_one_which_dies_right_then_goes_on_alone(seed: int) -> None:
    world = World(seed, evolve(FAST, max_voters=3))
    world.start("a")
    for address in "bc":
        world.start(address, "a")
    leader = world["a"]
    world.until(lambda: len(leader.node.voters) == 2)
    second = next(key for key in leader.node.voters if key != "a.1")
    world.crash(second[0])
    world.run(2)
    assert leader.node.is_leader
    assert second not in leader.node.voters
    assert leader.ask(lambda token: ev.Confer(token)).index > 0
    world.start(second[0], "a", generation=2)
    world.settle()
    world.run(1)
    assert len(leader.node.voters) == 3


def test_rule_3_who_leaves_does_not_count_and_its_vote_goes_to_another() -> None:
    world = three_of(4)
    leaving = next(one for one in world.others(world.leader) if one.key in world.leader.node.voters)
    leaving.feed(ev.Depart())
    world.run(2)
    world.crash(leaving.address)
    world.settle()
    assert len(world.leader.node.voters) == 3
    assert leaving.key not in world.leader.node.voters


# Rules 5 and 6: who is there -----------------------------------------------------------------------------------------


def test_rule_5_who_is_dead_is_down_and_stays_a_member() -> None:
    world = three_of(3)
    world.crash(world.others(world.leader)[0].address)
    began = world.now
    world.until(lambda: Status.DOWN in [one.status for one in world.leader.node.state.members()], 3)
    assert world.now - began < SECOND
    world.run(5)
    assert len(world.leader.node.state.members()) == 3


def test_rule_5_who_is_cut_off_is_down_only_when_its_lease_has_ended() -> None:
    world = three_of(3)
    world.add_region(world["a"], num_shards=16)
    victim = world.others(world.leader)[0]
    world.isolate(victim.address)
    world.until(lambda: status(world, victim.key) is Status.DOWN, 3)
    assert not victim.node.may_act(victim.now)
    assert victim.of(ev.HaltShard)


def test_rule_5_a_member_that_asks_for_no_lease_is_down_although_others_find_it_alive() -> None:
    world = three_of(3)
    victim = world.others(world.leader)[0]
    world.drop = lambda source, _, message: source == victim.address and isinstance(message.body, LeaseRequest)
    world.run(FAST.silence_ns / SECOND - 0.3)
    assert status(world, victim.key) is Status.UP
    world.run(1)
    assert status(world, victim.key) is Status.DOWN
    assert victim.node.standing is Standing.MEMBER
    world.run(1)
    assert status(world, victim.key) is Status.DOWN, "and it does not flap"


def test_rule_6_it_is_up_again_when_it_asks_for_its_lease() -> None:
    world = three_of(3)
    victim = world.others(world.leader)[0]
    world.drop = lambda source, _, message: source == victim.address and isinstance(message.body, LeaseRequest)
    world.until(lambda: status(world, victim.key) is Status.DOWN, 5)
    world.drop = lambda *_: False
    world.until(lambda: status(world, victim.key) is Status.UP, 2)
    world.settle()


def test_rule_6_who_was_cut_off_is_up_again_when_it_is_heard() -> None:
    world = three_of(3)
    victim = world.others(world.leader)[0]
    world.isolate(victim.address)
    world.run(3)
    assert status(world, victim.key) is Status.DOWN
    world.heal()
    world.settle()
    assert victim.node.standing is Standing.MEMBER


def test_rule_5_who_sleeps_is_down_and_up_again_when_it_wakes() -> None:
    world = three_of(3)
    world.add_region(world["a"], num_shards=16)
    victim = world.others(world.leader)[0]
    victim.asleep_until = world.now + 2 * SECOND
    world.run(1.9)
    assert status(world, victim.key) is Status.DOWN
    world.settle()


# Rule 7 --------------------------------------------------------------------------------------------------------------


def test_rule_7_a_leader_that_wants_to_leave_hands_the_leadership_over_first() -> None:
    world = three_of(3)
    world.add_region(world["a"], num_shards=8)
    leader = world.leader
    term = leader.node.term
    leader.feed(ev.Depart())
    world.until(lambda: not leader.node.is_leader, 1)
    assert leader.node.standing is Standing.LEAVING, "it is still there"
    world.until(lambda: any(one.node.is_leader for one in world.others(leader)), 0.1)
    assert world.leader.node.term == term + 1, "nobody had to wait for an election"
    assert FAST.raft.election_timeout_min_ns == SECOND // 10


def test_rule_7_leaders_can_leave_one_after_the_other_until_one_is_left() -> None:
    world = three_of(5)
    world.add_region(world["a"], num_shards=8)
    for _ in range(4):
        leader = world.leader
        leader.feed(ev.Depart())
        world.until(lambda leader=leader: leader.node.deadline() is None, 5)  # type: ignore[misc]
        world.crash(leader.address)
        world.run(0.5)
        world.settle()
    (last,) = world.processes.values()
    assert last.node.voters == (last.key,)
    assert len(last.driver.shards) == 8


def test_all_can_leave_at_once() -> None:
    world = three_of(3)
    world.add_region(world["a"])
    for process in world.everybody:
        process.feed(ev.Depart())
    world.until(lambda: all(one.node.deadline() is None for one in world.everybody), 90)


# Forgetting ----------------------------------------------------------------------------------------------------------


def crashed(world: World) -> Process:
    victim = world.crash(world.others(world.leader)[0].address)
    world.run(2)
    return victim


def test_a_member_that_is_down_can_be_forgotten_by_anybody() -> None:
    world = three_of(3)
    victim = crashed(world)
    asks = world.others(world.leader)[0]
    assert isinstance(asks.ask(lambda token: ev.ForgetNode(token, victim.node.info.node_id)), ev.Done)
    (gone,) = asks.of(ev.MemberGone)
    assert (gone.member.key, gone.reason) == (victim.key, Removal.FORGOTTEN)
    world.settle()


def test_a_member_that_is_up_cannot_be_forgotten() -> None:
    world = three_of(3)
    answer = world["a"].ask(lambda token: ev.ForgetNode(token, "b"))
    assert isinstance(answer, Rejected)
    assert "let it leave, or stop it first" in answer.reason


def test_a_member_that_was_forgotten_and_runs_learns_it_and_says_so() -> None:
    world = three_of(3)
    victim = world.others(world.leader)[0]
    world.isolate(victim.address)
    world.run(2)
    world.leader.ask(lambda token: ev.ForgetNode(token, victim.node.info.node_id))
    world.heal()
    world.until(lambda: victim.node.standing is Standing.EXPELLED, 3)
    (change,) = [one for one in victim.of(StandingChanged) if one.standing is Standing.EXPELLED]
    assert change.reason
    assert victim.node.deadline() is None
    world.crash(victim.address)
    world.start(victim.address, "abc", generation=2)
    world.settle()


def test_who_is_down_is_forgotten_by_itself_only_where_that_is_wanted() -> None:
    world = three_of(3)
    victim = crashed(world)
    world.run(20)
    assert status(world, victim.key) is Status.DOWN
    world = three_of(3, forget_ns=3 * SECOND)
    victim = crashed(world)
    assert status(world, victim.key) is Status.DOWN
    world.run(4)
    assert status(world, victim.key) is None


def test_who_may_have_a_copy_that_counts_is_never_forgotten_by_itself() -> None:
    world = three_of(3, forget_ns=SECOND)
    world.add_region(world["a"], factor=2, sync_count=1)
    victim = crashed(world)
    world.run(5)
    assert status(world, victim.key) is Status.DOWN
