"""What the leader does about owners, over whole nodes: `cluster/assigning.py`; numbers are those of the rules of
`shard/leases.py` and `shard/steward.py` where a rule is cited."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from casty_proto.cluster import Assign, Gift, RegionKind, RegionSettings, Status, encode_command
from casty_proto.cluster import events as ev
from casty_proto.cluster.checks import NAME_MAX, NODE_ID_MAX, NUMBER_MAX
from casty_proto.cluster.messages import Envelope
from casty_proto.cluster.options import NodeOptions
from casty_proto.machine import SECOND, Rejected
from casty_proto.raft import Heartbeat, HeartbeatReply, RaftOptions, ReadReply
from casty_proto.shard.leases import LeaseGrant, LeaseRequest
from casty_proto.shard.steward import Released, StewardOptions

from .kit_node import FAST, World

LEASE = FAST.leases.duration_ns


def with_region(seed: int = 1, names: str = "abc", num_shards: int = 12, **settings: Any) -> World:
    world = World(seed)
    world.form(names)
    world.add_region(world["a"], num_shards=num_shards, **settings)
    return world


def owners(world: World) -> tuple[str | None, ...]:
    region = world.leader.node.state.region("r")
    assert region is not None
    return region.owners


def test_every_shard_is_given_to_the_home_that_the_plan_has_for_it() -> None:
    world = with_region()
    assert sorted(dict.fromkeys(owners(world)), key=str) == ["a.1", "b.1", "c.1"]
    for process in world.everybody:
        assert len(process.driver.shards) == owners(world).count(process.key)


def test_shards_go_only_to_members_with_the_role() -> None:
    world = World(1)
    world.start("a", "abc", roles=("db",))
    for one in "bc":
        world.start(one, "abc")
    world.settle()
    world.add_region(world["b"], role="db")
    assert owners(world) == ("a.1",) * 4
    world.start("d", "abc", roles=("db", "web"))
    world.settle()
    assert sorted(dict.fromkeys(owners(world)), key=str) == ["a.1", "d.1"]


def test_a_singleton_has_one_owner_and_gets_another_when_that_crashes() -> None:
    world = World(1)
    a, *_ = world.form("abc")
    a.ask(lambda token: ev.AddRegion(token, "s", RegionKind.SINGLETON, RegionSettings(num_shards=1)))
    world.settle()
    for _ in range(2):
        owner = world.leader.node.state.singleton_owner("s")
        assert owner is not None
        held = [one.key for one in world.everybody if one.runs and one.driver.shards]
        assert held == [owner]
        address = owner.split(".")[0]
        world.crash(address)
        world.run(1.5)
        world.start(address, "abc", generation=int(owner.split(".")[1]) + 1)
        world.settle()


def test_rule_1_what_an_owner_may_still_hold_is_given_to_nobody_until_its_lease_has_ended() -> None:
    """And then it is: within the lease, its margin, and the time to find out."""
    world = with_region()
    victim = world.others(world.leader)[0]
    spots = list(victim.driver.shards)
    world.crash(victim.address)
    began = world.now
    world.until(lambda: all(owners(world)[spot[1]] != victim.key for spot in spots), 5)
    assert world.now - began >= LEASE // 2
    assert world.now - began < SECOND


def test_rule_4_a_new_leader_waits_out_what_the_old_one_may_have_given() -> None:
    world = with_region()
    old = world.leader
    spots = list(old.driver.shards)
    assert spots
    world.crash(old.address)
    world.until(lambda: any(one.node.is_leader for one in world.others()))
    elected = world.now
    world.until(lambda: all(owners(world)[spot[1]] != old.key for spot in spots), 5)
    assert world.now - elected >= FAST.leases.margin_ns


def test_rule_1_an_owner_that_is_cut_off_halts_before_another_one_opens() -> None:
    """At no instant two nodes act for one shard: the world checks that whenever one is opened."""
    world = with_region()
    victim = world.others(world.leader)[0]
    spots = list(victim.driver.shards)
    world.isolate(victim.address)
    world.until(lambda: len(victim.of(ev.HaltShard)) == len(spots))
    halted = [at for at, one in victim.log if isinstance(one, ev.HaltShard)]
    world.until(lambda: all(owners(world)[spot[1]] != victim.key for spot in spots), 5)
    world.run(0.5)
    opened = [
        at
        for one in world.others(victim)
        for at, effect in one.log
        if isinstance(effect, ev.OpenShard) and (effect.region, effect.shard) in spots
    ]
    assert len(opened) == len(spots)
    assert max(halted) < min(opened)
    world.heal()
    world.settle()
    assert len(victim.of(ev.DropShard)) == len(spots)


def test_a_leader_that_is_cut_off_gives_no_lease_any_more() -> None:
    """Rule 3: it makes sure that it leads before it gives one, its own too."""
    world = with_region()
    old = world.leader
    world.isolate(old.address)
    world.run(2 * LEASE / SECOND)
    assert not old.node.may_act(old.now)
    world.run(1)
    world.heal()
    world.settle()


def test_an_owner_that_sleeps_beyond_its_lease_does_nothing_when_it_wakes() -> None:
    world = with_region()
    victim = world.others(world.leader)[0]
    opened = dict(victim.driver.shards)
    victim.asleep_until = world.now + 2 * SECOND
    world.run(2.1)
    halted = victim.of(ev.HaltShard)
    assert sorted((one.region, one.shard) for one in halted) == sorted(opened)
    world.settle()


def test_a_short_loss_of_contact_halts_and_resumes_without_another_owner() -> None:
    world = with_region()
    victim = world.others(world.leader)[0]
    before = owners(world)
    world.drop = lambda _, to, message: to == victim.address and isinstance(message.body, LeaseGrant)
    world.run(1.3 * LEASE / SECOND)
    world.drop = lambda *_: False
    world.settle()
    assert owners(world) == before
    assert len(victim.of(ev.ResumeShard)) == len(victim.of(ev.HaltShard)) == len(victim.driver.shards)


def test_only_a_member_that_is_held_to_be_there_gets_a_lease() -> None:
    world = with_region()
    victim = world.others(world.leader)[0]
    world.isolate(victim.address)
    world.run(1.5)
    member = world.leader.node.state.member(victim.key)
    assert member is not None
    assert member.status is Status.DOWN
    grants: list[str] = []
    world.heal()

    def look(_: str, to: str, message: object) -> bool:
        kind = type(getattr(message, "body", None))
        if kind is LeaseGrant and to == victim.address:
            now = world.leader.node.state.member(victim.key)
            grants.append("down" if now is not None and now.status is Status.DOWN else "up")
        return False

    world.drop = look
    world.settle()
    assert grants
    assert "down" not in grants


def test_rule_5_what_somebody_else_says_to_have_released_is_not_given() -> None:
    world = with_region()
    leader, victim, liar = world.leader, *world.others(world.leader)
    before = owners(world)
    shards = tuple([(spot[1], opened.epoch) for spot, opened in victim.driver.shards.items()])
    said = Envelope(liar.key, liar.address, liar.node.cluster, leader.key, Released("r", shards))
    leader.feed(ev.Received(said))
    world.run(0.5)
    assert owners(world) == before
    assert world.faults() == []


def test_rule_6_a_shard_that_was_released_and_is_at_home_is_given_to_the_same_node_again() -> None:
    """It is opened at a later epoch, and with what it had."""
    world = with_region(num_shards=4, factor=2, sync_count=1)
    victim = world.others(world.leader)[0]
    (spot, opened), *_ = victim.driver.shards.items()
    victim.feed(ev.Tell("x", *spot, b"e:1"))
    world.run(0.1)
    world.crash(victim.address)
    world.start(victim.address, disk=True)
    world.settle()
    again = world[victim.address].driver.shards[spot]
    assert again.epoch > opened.epoch
    assert again.states == {"e": b"1"}


@pytest.mark.parametrize("remember", [False, True])
def test_entities_come_back_unprompted_where_that_is_wanted(remember: bool) -> None:
    world = with_region(num_shards=4, factor=2, sync_count=1, remember=remember)
    victim = world.others(world.leader)[0]
    spot = next(iter(victim.driver.shards))
    victim.feed(ev.Tell("x", *spot, b"e:1"))
    world.run(0.1)
    world.crash(victim.address)
    world.run(2)
    opened = [one for process in world.others() for one in process.of(ev.OpenShard) if (one.region, one.shard) == spot]
    assert [(one.entities, one.unprompted) for one in opened] == [((("e", b"1"),), remember)]


def test_a_region_that_is_added_while_a_node_is_cut_off_is_spread_over_the_others_and_later_over_all() -> None:
    world = World(1)
    world.form("abc")
    victim = world.others(world.leader)[0]
    world.isolate(victim.address)
    world.run(2)
    answer = world.leader.ask(
        lambda token: ev.AddRegion(token, "r", RegionKind.ENTITIES, RegionSettings(num_shards=12))
    )
    assert isinstance(answer, ev.Done)
    world.run(0.5)
    assert victim.key not in owners(world)
    assert None not in owners(world)
    world.heal()
    world.settle()
    assert victim.key in owners(world)


def test_a_leader_whose_proposals_are_refused_while_it_hands_over_tries_again() -> None:
    """Shards that nobody owns come to an end with somebody, whoever leads."""
    world = with_region(names="abcd")
    leader = world.leader
    leader.feed(ev.Depart())
    world.others(leader)[0].feed(
        ev.AddRegion("token", "q", RegionKind.ENTITIES, RegionSettings(num_shards=12, sync_count=0))
    )
    world.until(lambda: leader.node.deadline() is None, 5)
    world.crash(leader.address)
    world.settle()
    region = world.leader.node.state.region("q")
    assert region is not None
    assert None not in region.owners


@pytest.mark.parametrize("options", [NodeOptions(), NodeOptions.fast()], ids=["default", "fast"])
def test_an_idle_cluster_asks_for_leases_with_its_heartbeats_and_for_little_else(options: NodeOptions) -> None:
    world = World(1, options)
    world.form("abc")
    world.add_region(world["a"], num_shards=12)
    counts: Counter[str] = Counter()

    def look(source: str, to: str, message: object) -> bool:
        counts[type(getattr(message, "body", None)).__name__] += 1
        return False

    world.run(5)
    world.drop = look
    world.run(5)
    # Renewals wait for the next heartbeat, if they need not wait for longer than that.
    pace = min(options.raft.heartbeat_interval_ns, options.leases.duration_ns // 6)
    rounds = 5 * SECOND // pace + 2
    assert counts[Heartbeat.__name__] <= 2 * rounds
    assert counts[LeaseRequest.__name__] <= counts[HeartbeatReply.__name__] + 2
    assert counts[LeaseGrant.__name__] <= counts[LeaseRequest.__name__] + 2
    assert counts[ReadReply.__name__] == 0, "the leader makes sure by heartbeats"
    assert counts[Released.__name__] == 0


def test_a_request_for_a_region_that_cannot_be_is_rejected_and_nothing_is_given() -> None:
    world = with_region()
    before = owners(world)
    answer = world["a"].ask(lambda token: ev.AddRegion(token, "r", RegionKind.SINGLETON, RegionSettings(num_shards=1)))
    assert isinstance(answer, Rejected)
    assert owners(world) == before


def test_the_largest_proposal_of_the_steward_is_a_command() -> None:
    """Each shard of another region, with the longest names that there can be."""
    options = RaftOptions()
    with pytest.raises(ValueError, match="max_shards"):
        StewardOptions(max_shards=1025)
    node = "n" * (NODE_ID_MAX - 4)
    gifts = [
        Gift(f"{number:04}" + "r" * (NAME_MAX - 4), f"{node}{number:04}.{NUMBER_MAX}", ((0, 1),))
        for number in range(1024)
    ]
    assert len(encode_command(Assign(tuple(gifts)))) <= options.max_command_bytes
