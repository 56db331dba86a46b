"""Waiting until a type has all copies that it should have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ClusterTimeoutError,
    DistributedSystem,
    ExpelledError,
    InvalidNameError,
    Remote,
    ReplicationConfig,
    UsageError,
)

from .node_kit import PATIENCE, cluster, crash, inside_of, taken_up, until, within
from .things import Add, Counter, Get

THREE = ReplicationConfig(factor=3, sync_count=2)


class Boss(Actor[Any]):
    """There is one."""

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        ctx.reply(msg)


async def spawned(*systems: DistributedSystem, replication: ReplicationConfig = THREE) -> None:
    for each in systems:
        await within(each.spawn(Counter, name="things", sharded=True, num_shards=8, replication=replication))


def copies(systems: list[DistributedSystem], name: str = "things") -> dict[int, int]:
    """Of all shards, as those say who own them."""
    return {shard: count for each in systems for shard, count in inside_of(each).node.copies(name).items()}


async def test_all_copies_are_there_when_the_wait_is_over() -> None:
    # Also where nothing is decoded that was not allowed.
    async with cluster(3, leave_timeout=0.2, remote=Remote(strict=True)) as systems:
        waiting = asyncio.ensure_future(systems[2].wait_for_copies("things", PATIENCE))
        await spawned(*systems)
        await waiting
        # Some may be on their way to a node that has come late.
        assert set(copies(systems).values()) == {3}


async def test_what_is_written_then_survives_all_nodes_but_one() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        await spawned(*systems, replication=ReplicationConfig(factor=3, sync_count=2, timeout=0.5))
        await systems[0].wait_for_copies("things", PATIENCE)
        things = await within(systems[2].lookup("things"))
        assert await things["a"].ask(Add(7)) == 7
        await crash(systems[0])
        await taken_up(systems[1:], "things", "a")
        assert await things["a"].ask(Get()) == 7
        # One that is down counts for none, and nobody takes its place.
        await until(lambda: copies(systems[1:]) == dict.fromkeys(range(8), 2))
        with pytest.raises(
            ClusterTimeoutError, match=r"8 of its 8 shards have fewer than 3.*: node-2, node-3; it takes 3"
        ):
            await systems[2].wait_for_copies("things", 0.1)


async def test_a_type_without_replicas_has_its_copies_when_its_shards_are_open() -> None:
    async with cluster(2) as systems:
        await spawned(*systems, replication=ReplicationConfig())
        await systems[1].wait_for_copies("things", PATIENCE)
        assert set(copies(systems).values()) == {1}


async def test_a_singleton_has_its_copies_too() -> None:
    async with cluster(2) as systems:
        for each in systems:
            await within(each.spawn(Boss, name="boss", singleton=True, replication=ReplicationConfig(factor=2)))
        await systems[1].wait_for_copies("boss", PATIENCE)
        assert copies(systems, "boss") == {0: 2}


async def test_who_waits_in_vain_is_told_what_lacks_and_what_to_do() -> None:
    async with cluster(2) as (one, two):
        with pytest.raises(
            ClusterTimeoutError, match=r"node-1 waited .* all copies of 'things': no node has spawned it"
        ):
            await one.wait_for_copies("things", 0)
        await spawned(one)
        with pytest.raises(ClusterTimeoutError) as raised:
            await two.wait_for_copies("things", 0.3)
        assert "have fewer than 3" in str(raised.value)
        assert "nodes that have spawned it, and are there: node-1; it takes 3 of them, so start more" in str(
            raised.value
        )
        with pytest.raises(UsageError, match="timeout of wait_for_copies"):
            await one.wait_for_copies("things", -1)
        with pytest.raises(InvalidNameError):
            await one.wait_for_copies("")
        waiting = asyncio.ensure_future(two.wait_for_copies("things", PATIENCE))
        await asyncio.sleep(0)
        inside_of(two).views.end("for the test")
        with pytest.raises(ExpelledError):
            await within(waiting)
