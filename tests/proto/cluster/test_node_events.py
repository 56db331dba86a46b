"""What users of a node hear: each thing once, in a sensible order. Rule 18 of `cluster/__init__.py` as far as a node is
concerned, `cluster/applying.py` and the effects of `cluster/events.py`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve

from casty_proto.cluster import RegionKind, RegionSettings, Status
from casty_proto.cluster import events as ev
from casty_proto.cluster.events import Standing
from casty_proto.cluster.messages import Order
from casty_proto.machine import SECOND
from casty_proto.raft import InstallSnapshot

from .kit_node import FAST, Process, World


class User:
    """Somebody who knows nothing but what one node has told, from its first word on."""

    def __init__(self) -> None:
        self.members: dict[str, Status] = {}
        self.owners: dict[str, dict[int, str | None]] = {}
        self.epochs: dict[tuple[str, int], int] = {}
        self.names: dict[str, tuple[str | None, str | None]] = {}

    def hear(self, effect: ev.NodeEffect) -> None:
        match effect:
            case ev.MemberUp(member):
                assert member.key not in self.members
                self.members[member.key] = Status.UP
            case ev.MemberLeaving(member):
                assert self.members[member.key] is Status.UP
                self.members[member.key] = Status.LEAVING
            case ev.MemberUnreachable(member):
                assert self.members[member.key] is not Status.DOWN
                self.members[member.key] = Status.DOWN
            case ev.MemberReachable(member):
                assert self.members[member.key] is Status.DOWN
                self.members[member.key] = Status.UP
            case ev.MemberGone(member, _):
                del self.members[member.key]
            case ev.RegionAdded(region):
                assert region not in self.owners
                self.owners[region] = {}
            case ev.OwnersChanged(region, to, epoch, shards):
                for shard, before in shards:
                    assert self.owners[region].get(shard) == before
                    assert self.epochs.get((region, shard), 0) < epoch
                    self.owners[region][shard], self.epochs[region, shard] = to, epoch
            case ev.NameChanged(name, node, path):
                assert self.names.get(name, (None, None)) != (node, path)
                self.names[name] = (node, path)
            case _:
                pass

    def check(self, process: Process) -> None:
        state = process.node.state
        assert self.members == {one.key: one.status for one in state.members()}
        for region in state.regions():
            assert tuple([self.owners[region.name].get(at) for at in range(region.num_shards)]) == region.owners
        held = {name: (entry.node, entry.path) for name, entry in state.names()}
        assert {name: held for name, held in self.names.items() if held != (None, None)} == held


def listen(process: Process) -> User:
    user = User()
    for _, effect in process.log:
        user.hear(effect)
    return user


def busy(seed: int, options: Any = FAST, loss: float = 0.0) -> World:
    """A world in which members come, go, are down and are back, with two regions and names."""
    world = World(seed, options, loss=loss)
    world.form("abc")
    settings = RegionSettings(num_shards=4, factor=2)
    world["a"].ask(lambda token: ev.AddRegion(token, "r", RegionKind.ENTITIES, settings), 20)
    world["a"].ask(lambda token: ev.AddRegion(token, "q", RegionKind.ENTITIES, settings), 20)
    world["b"].feed(ev.ClaimName("n", "boss", 1, "/boss"))
    world.start("d", "abc")
    world.run(1)
    world.crash("c")
    world.run(1)
    world.start("c", "abd", generation=2)
    world.run(1)
    world.isolate("b")
    world.run(1)
    world.heal()
    world["d"].feed(ev.Depart())
    world.run(1)
    world.crash("d")
    world.loss = 0.0
    world.settle()
    return world


@pytest.mark.parametrize("seed", range(4))
def test_rule_18_what_users_hear_adds_up_to_what_is_at_every_node(seed: int) -> None:
    world = busy(seed, loss=0.05 * (seed % 2))
    for process in world.processes.values():
        listen(process).check(process)


@pytest.mark.parametrize("seed", range(3))
def test_who_gets_a_snapshot_hears_of_the_difference(seed: int) -> None:
    """Logs are kept short, so that whoever was away or comes late gets the state as a whole."""
    options = evolve(FAST, raft=evolve(FAST.raft, snapshot_entries=4, snapshot_factor=1, trailing_entries=0))
    world = busy(seed, options)
    got = [to for _, _, to, one in world.said if isinstance(one.body, InstallSnapshot)]
    assert "b" in got, "which was cut off, and is a member"
    for process in world.processes.values():
        listen(process).check(process)
    late = world.start("e", "ab")
    world.settle()
    listen(late).check(late)


def test_a_joiner_hears_of_what_is_and_not_of_what_has_been() -> None:
    world = busy(1)
    late = world.start("x", "ab")
    world.settle()
    listen(late).check(late)
    told = [effect for at, effect in late.log if not isinstance(effect, ev.StandingChanged | ev.LeaderChanged)]
    ups = [one.member.key for one in told if isinstance(one, ev.MemberUp)]
    assert sorted(ups) == ["a.1", "b.1", "c.2", "x.1"], "d, and the first c, it never hears of"
    assert not late.of(ev.MemberGone)
    assert not late.of(ev.MemberUnreachable)
    assert len(late.of(ev.RegionAdded)) == 2


def test_nothing_is_told_of_members_before_this_node_is_one() -> None:
    world = busy(1)
    late = world.start("x", "ab")
    world.settle()
    kinds = [type(effect) for _, effect in late.log]
    first = kinds.index(ev.StandingChanged)
    told = (ev.MemberUp, ev.RegionAdded, ev.OwnersChanged, ev.NameChanged, ev.OpenShard)
    assert not [kind for kind in kinds[:first] if kind in told]
    assert late.of(ev.StandingChanged)[0].standing is Standing.MEMBER


def test_a_process_on_its_disk_hears_of_what_is_once() -> None:
    world = busy(1)
    world.crash("b")
    again = world.start("b", disk=True)
    world.settle()
    listen(again).check(again)


def test_who_leaves_before_it_was_a_member_again_hears_of_what_there_is_first() -> None:
    world = World(1)
    world.form("abcd")
    victim, other = world.others(world.leader)[:2]
    world.crash(victim.address)
    world.drop = lambda source, _, message: source == victim.address and isinstance(message.body, Order)
    again = world.start(victim.address, disk=True)
    world.until(lambda: again.node.state.member(other.key) is not None)
    assert again.node.standing is Standing.SEEKING
    again.feed(ev.Depart())
    world.crash(other.address)
    world.until(lambda: bool(again.of(ev.MemberUnreachable)), 3)
    assert not again.of(ev.StandingChanged)[1:]
    listen(again)


def test_who_replaces_another_comes_after_that_one_is_gone() -> None:
    world = World(1)
    world.form("abc")
    victim = world.others(world.leader)[0]
    world.crash(victim.address)
    world.start(victim.address, "abc", generation=2)
    world.settle()
    changes = [one for _, one in world.leader.log if isinstance(one, ev.MemberGone | ev.MemberUp)][-2:]
    assert [type(one) for one in changes] == [ev.MemberGone, ev.MemberUp]
    assert [one.member.key for one in changes] == [victim.key, f"{victim.address}.2"]


def test_a_member_that_crashes_is_unreachable_before_others_own_what_it_had() -> None:
    world = World(1)
    world.form("abc")
    world.add_region(world["a"])
    victim = world.crash(world.others(world.leader)[0].address)
    began = world.now
    world.settle()
    told = [one for at, one in world.leader.log if at > began]
    down = [at for at, one in enumerate(told) if isinstance(one, ev.MemberUnreachable)]
    moved = [at for at, one in enumerate(told) if isinstance(one, ev.OwnersChanged)]
    assert len(down) == 1
    assert moved
    assert down[0] < moved[0]
    assert all(one.forced for one in told if isinstance(one, ev.OwnersChanged))
    assert victim.key not in [one.to for one in told if isinstance(one, ev.OwnersChanged)]


def test_shards_that_are_handed_over_are_not_said_to_be_taken() -> None:
    world = World(1)
    world.form("abc")
    world.add_region(world["a"])
    began = world.now
    world.start("d", "abc")
    world.settle()
    moved = world["a"].of(ev.OwnersChanged, since=began)
    assert moved
    assert not [one for one in moved if one.forced]


def test_each_leader_is_told_of_once_by_every_node_and_terms_rise() -> None:
    world = World(1)
    world.form("abc")
    for _ in range(3):
        address = world.leader.address
        world.crash(address)
        world.run(1)
        world.start(address, disk=True)
        world.settle()
    for process in world.processes.values():
        told = [(one.term, one.leader) for one in process.of(ev.LeaderChanged)]
        assert told == sorted(told, key=lambda pair: pair[0])
        named = [pair for pair in told if pair[1] is not None]
        assert len(dict.fromkeys(named)) == len(named)
        assert all(first != second for first, second in pairwise(told))
        assert told[-1] == (world.leader.node.term, world.leader.key)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_healthy_cluster_says_nothing_and_changes_nothing(count: int) -> None:
    world = World(1)
    world.form("abcde"[:count])
    world.add_region(world["a"], factor=2, sync_count=1)
    began, versions = world.now, [one.node.state.changed for one in world.everybody]
    world.run(5)
    assert [one.node.state.changed for one in world.everybody] == versions
    assert [effect for one in world.everybody for at, effect in one.log if at > began + SECOND // 2] == []


def test_the_topology_names_members_voters_owners_and_leader() -> None:
    world = World(1)
    world.form("abcd")
    world.add_region(world["a"])
    for process in world.everybody:
        found = process.node.topology()
        assert (found.cluster, found.leader) == (process.node.cluster, world.leader.key)
        assert [one.key for one in found.members] == ["a.1", "b.1", "c.1", "d.1"]
        assert sum(one.votes for one in found.members) == 3
        (region,) = found.regions
        owners = process.node.state.region("r").owners  # type: ignore[union-attr]
        assert tuple([region.owner(at) for at in range(4)]) == owners
        assert found.version == process.node.state.version
