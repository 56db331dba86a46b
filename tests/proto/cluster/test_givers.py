"""What may be lost although nothing was taken by force is said: once, and of what was sent before that alone."""

from __future__ import annotations

from casty_proto.cluster import events as ev
from casty_proto.cluster.events import Standing

from .kit_node import Process, World


def moved_to_d(world: World) -> dict[str, dict[int, int]]:
    """Have another node join. By owner, the shards that it has given away, and where in the log."""
    began = world.now
    world.start("d", "abc")
    world.settle()
    found: dict[str, dict[int, int]] = {}
    for change in world["a"].of(ev.OwnersChanged, since=began):
        assert not change.forced
        for shard, before in change.shards:
            assert before is not None
            found.setdefault(before, {})[shard] = change.epoch
    assert len(found) == 3
    return found


def lost_of(process: Process) -> list[tuple[str, dict[int, int]]]:
    """What it says may be lost."""
    return [(one.region, dict(one.shards)) for one in process.of(ev.AcceptedLost)]


def test_rule_1_what_a_node_has_given_away_may_have_lost_something_when_it_is_down() -> None:
    world = World()
    world.form("abc")
    world.add_region(world["a"], num_shards=64)
    given = moved_to_d(world)
    giver = next(one for one in world.others(world["d"]) if not one.node.is_leader)
    world.crash(giver.address)
    world.settle()
    for one in world.others():
        assert lost_of(one) == [("r", given[giver.key])]


def test_rule_1_who_has_left_has_lost_nothing() -> None:
    world = World()
    world.form("abc")
    world.add_region(world["a"], num_shards=64)
    moved_to_d(world)
    giver = next(one for one in world.others(world["d"]) if not one.node.is_leader)
    giver.feed(ev.Depart())
    world.until(lambda: giver.node.standing is Standing.DEPARTED)
    world.crash(giver.address)
    world.settle()
    assert [lost_of(one) for one in world.others()] == [[], [], []]


def test_rule_2_what_a_process_had_accepted_is_lost_when_another_one_is_started_in_its_place() -> None:
    world = World()
    world.form("abc")
    world.add_region(world["a"], num_shards=64)
    victim = next(one for one in world.others() if not one.node.is_leader)
    teller = world.leader
    region = teller.node.state.region("r")
    assert region is not None
    owned = set(region.shards_of(victim.key))
    known = teller.node.state.changed
    world.crash(victim.address)
    world.start(victim.address, disk=True)
    world.settle()
    assert teller.of(ev.MemberUnreachable) == [], "nobody has missed it"
    ((name, lost),) = lost_of(teller)
    assert name == "r"
    assert set(lost) == owned
    assert min(lost.values()) > known
    assert max(lost.values()) <= teller.node.state.changed
