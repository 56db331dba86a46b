"""Owners and copies over a bad network, with crashes, stale owners and changing backups."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from casty_proto.machine import MILLISECOND
from casty_proto.replica import ALL

from .world import NODES, World

ENTITIES = ("x", "y", "z", "long name of an entity")


def step(world: World) -> None:
    """Something happens."""
    rng, dice = world.rng, world.rng.random()
    if dice < 0.55:
        world.deliver()
    elif dice < 0.72:
        world.write(world.owner, world.epoch, rng.choice(ENTITIES), rng.random() < 0.2, rng.random() < 0.1)
    elif dice < 0.78:
        [node, epoch] = rng.choice(list(world.has) or [(world.owner, world.epoch)])
        world.write(node, epoch, rng.choice(ENTITIES), rng.random() < 0.2)
    elif dice < 0.92:
        world.wait(rng.randrange(1, 60) * MILLISECOND)
    elif dice < 0.94:
        # As many as may be lost are lost at once, the owner first, or one by one.
        nodes = [world.owner, *world.backups] if rng.random() < 0.5 else [rng.choice(NODES)]
        for node in nodes:
            world.crash(node)
    elif dice < 0.95:
        world.restart(rng.choice(NODES), rng.random() < 0.5)
    elif dice < 0.97:
        world.change_backups(rng.randrange(max(1, world.sync), 4))
    elif dice < 0.98:
        world.flush()
    elif world.ready or world.owner in world.down:
        world.assign(rng.choice(NODES), rng.randrange(max(1, world.sync), 4))


def settled(world: World) -> None:
    """After the faults everybody who should has everything, and nobody else has anything."""
    world.heal()
    assert world.ready
    owned = world.owned()
    has = {name: record.state for name, record in owned.records.items() if record.state is not None}
    believed = world.has[world.owner, world.epoch]
    assert has == {name: state for name, state in believed.items() if state is not None}
    for node in world.backups:
        assert world.copy_of(node) == has
        assert owned.links[node].whole
        assert not owned.links[node].behind
    assert not owned.leaving
    for node in NODES:
        if node not in world.backups:
            assert world.copy_of(node) == {}
    for write in world.writes:
        assert write.answer is not None or write.node in world.crashed, f"{write} was never answered"
    assert all(not record.older and not record.waiting for record in owned.records.values())
    assert len(owned.tombstones) <= len(ENTITIES)


@pytest.mark.parametrize("sync", [0, 1, 2, ALL])
@settings(max_examples=80)
@example(seed=252, steps=223)
@given(seed=st.integers(0, 2**32), steps=st.integers(10, 400))
def test_rules_1_to_24_acknowledged_writes_survive_and_all_settles(sync: int, seed: int, steps: int) -> None:
    world = World(seed, sync)
    world.assign("a", max(2, sync))
    for loss in (0.2, 0.05):
        # With -1 there is always at least one backup; with 0 nothing was promised that could be lost.
        world.loss, world.crashes_left = loss, abs(sync)
        for _ in range(steps):
            step(world)
        settled(world)
        world.assign(world.rng.choice(world.backups), max(2, sync))
        settled(world)
