"""Spawning a type whose node goes, or whose caller does not wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import Behaviors, ClusterError, UsageError

from .node_kit import cluster, crash, inside_of, node, within
from .things import Add, Counter, counting


async def test_who_spawns_a_type_is_told_that_the_node_was_shut_down_before_it_was_a_member() -> None:
    async with node("lonely", "127.0.0.1:1") as lonely:
        spawning = asyncio.ensure_future(lonely.spawn(Counter, name="counters", sharded=True))
        await asyncio.sleep(0)
        await lonely.shutdown()
        with pytest.raises(ClusterError, match="belongs to no cluster any more"):
            await within(spawning)


async def test_who_waits_for_the_cluster_is_told_that_the_node_cannot_go_on() -> None:
    async with cluster(3) as (one, two, three):
        await crash(two)
        await crash(three)
        calls = [
            asyncio.ensure_future(one.spawn(Counter, name="counters", sharded=True)),
            asyncio.ensure_future(one.forget("node-2")),
        ]
        await asyncio.sleep(0)
        inside_of(one).member.end()
        inside_of(one).views.end("its disk failed")
        for call in calls:
            with pytest.raises(ClusterError):
                await within(call)


async def test_a_type_whose_spawn_was_cancelled_can_be_spawned_again() -> None:
    async with node("one") as one:
        spawning = asyncio.ensure_future(one.spawn(Counter, name="counters", sharded=True))
        await asyncio.sleep(0)
        spawning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await spawning
        counters = await one.spawn(Counter, name="counters", sharded=True)
        assert await within(counters["a"].ask(Add())) == 1


@pytest.mark.parametrize("num_shards", [0, -1, 2**17, "8", 1.0])
async def test_a_number_of_shards_that_makes_no_sense_is_refused(num_shards: Any) -> None:
    async with cluster(1) as [only]:
        with pytest.raises(UsageError, match="num_shards must be"):
            await only.spawn(Counter, name="counters", sharded=True, num_shards=num_shards)
        with pytest.raises(UsageError, match="num_shards must be"):
            only.spawn(Behaviors.sharded(counting, num_shards=num_shards), "counters")
        await only.spawn(Counter, name="counters", sharded=True, num_shards=1)
