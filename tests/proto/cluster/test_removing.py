"""Regions that are removed, over whole nodes: rule 12 of `cluster/__init__.py`."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from casty_proto.cluster import RegionKind, RegionSettings
from casty_proto.cluster import events as ev
from casty_proto.machine import MILLISECOND, Rejected
from casty_proto.raft import RaftOptions

from .kit_driver import state_of
from .kit_node import FAST, Process, World

KINDS: list[dict[str, Any]] = [{}, {"factor": 2, "sync_count": 1}]


def furnished(seed: int = 1, **settings: Any) -> World:
    """Three nodes, and a region with an entity in each shard."""
    world = World(seed)
    world.form("abc")
    fill(world, **settings)
    return world


def fill(world: World, **settings: Any) -> None:
    world.add_region(world["a"], **settings)
    for shard in range(4):
        assert isinstance(tell(world["a"], shard), ev.Done)
    world.run(0.2)


def tell(process: Process, shard: int) -> Any:
    return process.ask(lambda token: ev.Tell(token, "r", shard, b"x:1"))


def remove(process: Process, name: str = "r") -> Any:
    return process.ask(lambda token: ev.RemoveRegion(token, name))


def gone(world: World) -> bool:
    return all(one.node.state.region("r") is None for one in world.processes.values())


@pytest.mark.parametrize("settings", KINDS)
def test_rule_12_a_region_goes_with_all_that_is_in_it_and_everybody_hears_of_it_once(settings: dict[str, Any]) -> None:
    world = furnished(**settings)
    assert isinstance(remove(world["b"]), ev.Done)
    world.until(lambda: gone(world))
    world.run(1)
    for process in world.processes.values():
        assert process.of(ev.RegionRemoved) == [ev.RegionRemoved("r")]
        assert process.driver.shards == {}
        assert process.node.gaps() == ()
    world.settle()


@pytest.mark.parametrize("settings", KINDS)
def test_rule_12_another_one_of_that_name_has_nothing_of_the_first(settings: dict[str, Any]) -> None:
    world = furnished(**settings)
    remove(world["a"])
    world.until(lambda: gone(world))
    fill(world, **settings)
    region = world["a"].node.state.region("r")
    assert region is not None
    owners = {one.key: one for one in world.processes.values()}
    for shard, owner in enumerate(region.owners):
        assert owner is not None
        assert state_of(owners[owner], "r", shard, "x") == b"1", "and not 11"


def test_rule_12_its_name_is_not_free_while_owners_close_their_shards() -> None:
    world = World(1, pace_ms=500)
    world.form("abc")
    world.add_region(world["a"])
    for shard in range(4):
        tell(world["a"], shard)
    remove(world["a"])
    settings = RegionSettings(num_shards=4)
    answer = world["b"].ask(lambda token: ev.AddRegion(token, "r", RegionKind.ENTITIES, settings))
    assert isinstance(answer, Rejected)
    assert "is being removed" in answer.reason
    answer = tell(world["a"], 0)
    assert isinstance(answer, Rejected)
    assert isinstance(remove(world["c"]), ev.Done), "and it is not too late to want that too"
    world.until(lambda: gone(world))
    assert sum([len(one.driver.handled) for one in world.processes.values()]) == 4, "handlers that run end"


def test_rule_12_what_waits_for_a_shard_is_answered_when_the_region_is_gone() -> None:
    world = furnished()
    owner = world.others(world["a"], world.leader)[0] if world.leader is not world["a"] else world["b"]
    shard = next(n for n in range(4) if world["a"].node.state.owner_of("r", n) == owner.key)
    world.crash(owner.address)
    world["a"].feed(ev.Tell("sent", "r", shard, b"x:2"))
    world.run(0.05)
    remove(world["a"])
    world.until(lambda: gone(world))
    assert isinstance(world["a"].answer("sent"), ev.Unknown)
    assert isinstance(tell(world["a"], shard), Rejected)


def test_rule_12_an_owner_that_crashed_is_waited_for_until_its_lease_has_ended() -> None:
    world = furnished(factor=2, sync_count=1)
    world.crash(world.others(world.leader)[0].address)
    assert isinstance(remove(world.leader), ev.Done)
    assert not gone(world)
    world.until(lambda: gone(world))
    world.settle()


def test_rule_12_a_region_that_recovers_is_removed_although_it_waits_for_the_dead() -> None:
    world = furnished(factor=3, sync_count=1)
    for victim in world.others(world.leader)[:1]:
        world.crash(victim.address)
    world.run(1)
    assert isinstance(remove(world.leader), ev.Done)
    world.until(lambda: gone(world))


@pytest.mark.parametrize("snapshots", [False, True])
def test_rule_12_who_was_cut_off_meanwhile_has_nothing_of_it_when_it_is_back(snapshots: bool) -> None:
    raft = evolve(FAST.raft, snapshot_entries=1, snapshot_factor=0, trailing_entries=0) if snapshots else RaftOptions()
    options = FAST if not snapshots else evolve(FAST, raft=raft)
    world = World(2, options)
    world.form("abcd")
    fill(world, factor=2, sync_count=1)
    away = world.others(world.leader)[0]
    world.isolate(away.address)
    world.run(1)
    assert isinstance(remove(world.leader), ev.Done)
    world.until(lambda: all(one.node.state.region("r") is None for one in world.others(away)))
    world.heal()
    world.settle()
    assert away.driver.shards == {}
    assert ev.RegionRemoved("r") in away.of(ev.RegionRemoved)
    fill(world, factor=2, sync_count=1)
    for process in world.processes.values():
        for opened in process.driver.shards.values():
            assert opened.states == {"x": b"1"}


def test_a_region_that_is_not_known_is_rejected() -> None:
    world = World()
    (a,) = world.form("a")
    answer = remove(a, "q")
    assert isinstance(answer, Rejected)
    assert "there is no 'q'" in answer.reason


def test_who_belongs_to_no_cluster_removes_nothing() -> None:
    world = World()
    a = world.start("a", "xyz")
    a.feed(ev.RemoveRegion("request", "r"))
    assert isinstance(a.answer("request"), Rejected)


@pytest.mark.parametrize("seed", range(12))
def test_rule_12_over_a_bad_network_it_goes_all_the_same(seed: int) -> None:
    world = World(seed, loss=0.1, slowest_ms=10)
    world.form("abcd")
    world.add_region(world["a"], factor=1 + seed % 3, sync_count=min(1, seed % 3))
    for shard in range(4):
        world["a"].feed(ev.Tell(None, "r", shard, b"x:1"))
    world.run(0.3 * (seed % 4))
    joiner = world.start("e", "abcd")
    world["b"].feed(ev.RemoveRegion("gone", "r"))
    world.until(lambda: isinstance(world["b"].answer("gone"), ev.Done), 20)
    world.until(lambda: gone(world), 20)
    world.loss = 0.0
    world.settle(20)
    assert joiner.driver.shards == {}
    assert world.now < 60_000 * MILLISECOND
