"""A process that starts again, on its disk or without it: rule 5 of `cluster/node.py`, 2 of `cluster/owning.py`."""

from __future__ import annotations

from typing import Any

import pytest

from casty_proto.cluster import Removal
from casty_proto.cluster import events as ev
from casty_proto.cluster.events import Standing
from casty_proto.cluster.node import checkpoint_node, recover_node
from casty_proto.machine import SECOND, Rejected

from .kit_node import Process, World


def with_region(seed: int = 0, names: str = "abc", **settings: Any) -> World:
    world = World(seed)
    world.form(names)
    world.add_region(world["a"], num_shards=6, **settings)
    return world


def restart(world: World, address: str, seeds: str = "") -> Process:
    """The process dies and another one starts on its disk, at once."""
    world.crash(address)
    return world.start(address, seeds, disk=True)


@pytest.mark.parametrize("who", ["leader", "follower"])
@pytest.mark.parametrize("pause", [0.0, 0.1, 2.0])
def test_rule_5_a_process_on_its_disk_is_the_member_that_it_was(who: str, pause: float) -> None:
    world = with_region(factor=2, sync_count=1)
    victim = world.leader if who == "leader" else world.others(world.leader)[0]
    world.crash(victim.address)
    world.run(pause)
    again = world.start(victim.address, disk=True)
    world.settle()
    assert again.key == victim.key
    assert again.node.standing is Standing.MEMBER
    assert not [one for process in world.others() for one in process.of(ev.MemberGone)]
    assert len(again.driver.shards) > 0, "and it owns like anybody else"


def test_rule_2_what_the_earlier_process_owned_is_given_back_before_it_is_taken_up_again() -> None:
    """The new process opens its shards at later epochs only."""
    world = with_region()
    victim = world.others(world.leader)[0]
    before = {spot: opened.epoch for spot, opened in victim.driver.shards.items()}
    assert before
    again = restart(world, victim.address)
    world.settle()
    for spot, epoch in before.items():
        owner = again.node.state.owner_of(*spot)
        assert again.node.state.epoch_of(*spot) > epoch, spot
        assert owner is not None
    assert sorted(again.driver.shards) == sorted(before)


def test_rule_2_replicated_states_are_there_again_after_the_restart() -> None:
    world = with_region(factor=3, sync_count=1)
    (a, *_) = world.everybody
    for shard in range(6):
        a.feed(ev.Tell(shard, "r", shard, b"e:x"))
    world.run(0.5)
    restart(world, "b")
    world.settle()
    states = [one.driver.shards[spot].states for one in world.others() for spot in one.driver.shards]
    assert states == [{"e": b"x"}] * 6


def test_rule_5_it_sends_nothing_before_its_beginning_is_marked() -> None:
    world = with_region()
    victim = world.others(world.leader)[0]
    world.crash(victim.address)
    others = [one.address for one in world.others()]
    again = world.start(victim.address, disk=True)
    world.isolate(victim.address)
    world.run(0.5)
    again.feed(ev.Tell("x", "r", 0, b"e:x"))
    assert isinstance(again.answer("x"), Rejected)
    assert again.node.standing is Standing.SEEKING
    assert not again.of(ev.OpenShard)
    world.heal()
    world.settle()
    again.feed(ev.Tell("y", "r", 0, b"e:x"))
    world.until(lambda: isinstance(again.answer("y"), ev.Done))
    assert sorted(others) == sorted(one.address for one in world.others(again))


def test_a_message_of_a_process_on_its_disk_is_not_taken_for_one_of_the_earlier_process() -> None:
    """Its channels are others: what the owner remembers of the earlier process does not swallow anything."""
    world = with_region()
    victim = world.others(world.leader)[0]
    shard = next(at for at in range(6) if victim.node.state.owner_of("r", at) == world.leader.key)
    for number in range(3):
        victim.feed(ev.Tell(number, "r", shard, f"e:{number}".encode()))
    world.run(0.2)
    for life in range(2):
        victim = restart(world, victim.address)
        world.settle()
        victim.feed(ev.Tell("x", "r", shard, f"e:x{life}".encode()))
        world.until(lambda who=victim: isinstance(who.answer("x"), ev.Done))  # type: ignore[misc]
    world.run(0.1)
    assert world.leader.driver.shards["r", shard].states == {"e": b"012x0x1"}


def test_names_of_the_earlier_process_are_dropped_and_those_of_the_new_one_are_kept() -> None:
    world = with_region()
    victim = world.others(world.leader)[0]
    victim.ask(lambda token: ev.ClaimName(token, "old", 1, "/old"))
    again = restart(world, victim.address)
    world.settle()
    assert world.leader.node.state.name("old") is None
    assert isinstance(again.ask(lambda token: ev.ClaimName(token, "new", 1, "/new")), ev.Done)
    world.run(1)
    entry = world.leader.node.state.name("new")
    assert entry is not None
    assert entry.node == again.key


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_a_whole_cluster_can_start_again_on_its_disks(names: str) -> None:
    world = with_region(names=names)
    before = world["a"].node.cluster
    for name in names:
        world.crash(name)
    world.run(1)
    for name in names:
        world.start(name, names, disk=True)
    world.settle()
    assert [one.node.cluster for one in world.others()] == [before] * len(names)
    assert sum(len(one.driver.shards) for one in world.others()) == 6


@pytest.mark.parametrize("written", [0, 1, 5, 6, 7])
def test_a_founder_that_dies_while_it_writes_down_its_cluster_goes_on_when_it_starts_again(written: int) -> None:
    world = World()
    world.start("a")
    while len(world.disks["a"]) < written and world.now < 2 * SECOND:
        world.step()
    again = restart(world, "a")
    world.settle()
    assert again.node.cluster == "a.1"
    assert again.node.voters == ("a.1",)


@pytest.mark.parametrize("written", range(10))
def test_one_that_dies_while_it_joins_goes_on_when_it_starts_again(written: int) -> None:
    world = with_region()
    world.start("d", "abc")
    while len(world.disks["d"]) < written and world.now < 2 * SECOND:
        world.step()
    world.crash("d")
    world.run(1)
    again = world.start("d", "abc", disk=True)
    world.settle()
    assert again.node.cluster == world["a"].node.cluster
    assert again.node.standing is Standing.MEMBER


def test_without_its_disk_it_is_another_member_which_replaces_the_earlier_one() -> None:
    world = with_region()
    victim = world.crash(world.others(world.leader)[0].address)
    again = world.start(victim.address, "abc", generation=2)
    world.settle()
    witness = world.others(again)[0]
    (gone,) = witness.of(ev.MemberGone)
    assert (gone.member.key, gone.reason) == (victim.key, Removal.REPLACED)
    assert [one.member.key for one in witness.of(ev.MemberUp)][-1] == again.key
    assert world.leader.node.state.former_owners() == ()


def test_a_member_that_was_replaced_and_starts_on_its_disk_learns_it() -> None:
    world = with_region()
    victim = world.crash(world.others(world.leader)[0].address)
    disk = list(world.disks[victim.address])
    world.start(victim.address, "abc", generation=2)
    world.settle()
    world.crash(victim.address)
    world.disks[victim.address] = disk
    again = world.start(victim.address, "abc", disk=True)
    assert again.key == victim.key
    world.until(lambda: again.node.standing is Standing.EXPELLED, 5)


def test_a_disk_that_was_tidied_up_is_as_good_as_before() -> None:
    world = with_region()
    victim = world.others(world.leader)[0]
    recovered = recover_node(world.disks[victim.address])
    assert recovered is not None
    few = checkpoint_node(recovered)
    assert len(few) < len(world.disks[victim.address])
    assert recover_node(few) == recovered
    world.disks[victim.address] = list(few)
    restart(world, victim.address)
    world.settle()


def test_what_it_says_of_itself_anew_replaces_what_it_said_before() -> None:
    """The same node, with its disk, and with another role."""
    world = with_region()
    victim = world.others(world.leader)[0]
    world.crash(victim.address)
    again = world.start(victim.address, disk=True, roles=("db",))
    world.settle()
    world.run(0.5)
    member = world.leader.node.state.member(again.key)
    assert member is not None
    assert member.node.roles == ("db",)
    assert [one.member.node.roles for one in world.leader.of(ev.MemberChanged)] == [("db",)]
    recovered = recover_node(world.disks[victim.address])
    assert recovered is not None
    assert recovered.node.roles == ("db",)


@pytest.mark.parametrize("seed", range(3))
def test_nodes_that_start_again_one_after_the_other_lose_nothing_that_was_acknowledged(seed: int) -> None:
    world = with_region(seed, factor=3, sync_count=1)
    texts = "abcdefgh"
    teller = world["a"]
    for number, text in enumerate(texts):
        if number % 3 == 1:
            restart(world, "bc"[number // 3 % 2])
        teller.feed(ev.Tell(number, "r", number % 6, f"e:{text}".encode()))
        world.run(0.3)
    world.settle()
    acknowledged = [item for one in world.everybody for item in one.driver.acknowledged]
    assert len(acknowledged) > len(texts) // 2
    kept = b"".join([opened.states.get("e", b"") for one in world.others() for opened in one.driver.shards.values()])
    assert all(item[2:] in kept for item in acknowledged)
