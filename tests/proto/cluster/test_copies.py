"""How many complete copies of its shards a node knows of."""

from __future__ import annotations

from .kit_node import World


def copies(world: World) -> dict[int, int]:
    """Of all shards, as those say who own them."""
    return {shard: count for each in world.everybody if each.runs for shard, count in each.node.copies("r").items()}


def test_a_shard_that_is_open_has_the_copy_of_its_owner_and_those_of_its_backups() -> None:
    world = World()
    world.form("abc")
    world.add_region(world["a"], factor=3)
    assert copies(world) == dict.fromkeys(range(4), 3)
    assert world["a"].node.copies("other") == {}


def test_a_backup_counts_only_when_its_copy_is_complete_and_it_is_not_down() -> None:
    world = World()
    world.form("abc")
    world.add_region(world["a"], factor=3, sync_count=1)
    world.crash("c")
    world.until(lambda: set(copies(world).values()) == {2} and len(copies(world)) == 4, 20)
    world.start("c", disk=True)
    world.until(lambda: set(copies(world).values()) == {3} and len(copies(world)) == 4, 20)


def test_a_region_of_one_node_has_one_copy_until_there_are_more() -> None:
    world = World()
    world.form("a")
    world.add_region(world["a"], factor=2)
    assert copies(world) == dict.fromkeys(range(4), 1)
    world.start("b", "a")
    world.until(lambda: copies(world) == dict.fromkeys(range(4), 2), 20)
