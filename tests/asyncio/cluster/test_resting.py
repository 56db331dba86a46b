"""Entities that go to sleep when nobody needs them, and those that come back unprompted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import ActorContext, Behaviors, DistributedSystem, ReplicationConfig, UsageError

from .node_kit import all_open, cluster, crash, hosting_of, ids_at, taken_up, until, within
from .things import Add, Counter, Get, Played, Say, counting

KINDS = {"alone": None, "replicated": ReplicationConfig(factor=2, sync_count=1)}


async def hosted(systems: list[DistributedSystem], actor: Any, **options: Any) -> Any:
    """The ref of a type that all of them host."""
    refs = [await each.spawn(actor, name="things", sharded=True, num_shards=4, **options) for each in systems]
    await all_open(systems, "things")
    return refs[-1]


def awake(systems: list[DistributedSystem]) -> set[str]:
    """The entities that take up memory."""
    shards = [shard for each in systems for shard in hosting_of(each).shards.values()]
    return {name for shard in shards for name in (*shard.entities, *shard.states)}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_entity_that_nobody_needs_rests_and_comes_back_with_its_state(kind: str) -> None:
    stopped: list[str] = []

    class Tired(Counter):
        def on_stop(self) -> None:
            stopped.append(self.entity_id)

    async with cluster(2) as systems:
        things = await hosted(systems, Tired, idle_timeout=0.1, replication=KINDS[kind])
        ids = [*ids_at(systems[0], "things", 2), *ids_at(systems[1], "things", 2)]
        for number in range(1, 4):
            for each_id in ids:
                assert await things[each_id].ask(Add()) == number
            await until(lambda: not awake(systems))
            await until(lambda number=number: sorted(stopped) == sorted(ids * number))  # type: ignore[misc]


async def test_a_behavior_that_nobody_needs_rests_and_begins_anew() -> None:
    async with cluster(1) as [system]:
        things = system.spawn(Behaviors.sharded(counting, num_shards=4, idle_timeout=0.1), "things")
        await all_open([system], "things")
        assert await things["a"].ask(Add(3)) == 3
        await until(lambda: not awake([system]))
        assert await things["a"].ask(Add(3)) == 3


async def test_who_is_busy_does_not_rest() -> None:
    gate = asyncio.Event()
    handles: list[Any] = []

    async def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        self.seen.append(msg.what)
        match msg.what:
            case "wait":
                await gate.wait()
                ctx.reply(list(self.seen))
            case "owe":
                handles.append(ctx.sender)

    async with cluster(1) as [system]:
        things = await system.spawn(Played, name="things", sharded=True, num_shards=4, idle_timeout=0.05, play=play)
        await all_open([system], "things")
        ask = asyncio.ensure_future(things["a"].ask(Say("wait")))
        owed = asyncio.ensure_future(things["b"].ask(Say("owe")))
        await asyncio.sleep(0.3)
        assert awake([system]) == {"a", "b"}
        gate.set()
        handles.pop().tell("late")
        assert await within(ask) == ["wait"]
        assert await within(owed) == "late"
        await until(lambda: not awake([system]))


async def test_one_that_rests_moves_with_its_shard_and_survives_its_owner() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        replication = ReplicationConfig(factor=3, sync_count=1)
        things = await hosted(systems, Counter, idle_timeout=0.05, replication=replication)
        [thing] = ids_at(systems[0], "things", 1)
        assert await things[thing].ask(Add(5)) == 5
        await until(lambda: not awake(systems))
        await crash(systems[0])
        await taken_up(systems[1:], "things", thing)
        assert await things[thing].ask(Get()) == 5


@pytest.mark.parametrize("remember", [False, True])
async def test_what_is_remembered_comes_back_unprompted(remember: bool) -> None:
    started: list[str] = []

    class Eager(Counter):
        def on_start(self) -> None:
            started.append(self.entity_id)

    async with cluster(3, leave_timeout=0.2) as systems:
        replication = ReplicationConfig(factor=3, sync_count=1)
        things = await hosted(systems, Eager, remember=remember, replication=replication)
        ids = ids_at(systems[0], "things", 3)
        for thing in ids:
            assert await things[thing].ask(Add(5)) == 5
        assert sorted(started) == sorted(ids)
        await crash(systems[0])
        if remember:
            await until(lambda: len(started) == 6)
            assert sorted(started[3:]) == sorted(ids)
        for thing in ids:
            await taken_up(systems[1:], "things", thing)
            assert await things[thing].ask(Get()) == 5
        assert sorted(started[3:]) == sorted(ids)


@pytest.mark.parametrize("value", [-1, "1", True, float("nan")])
async def test_an_idle_timeout_that_makes_no_sense_is_refused(value: Any) -> None:
    async with cluster(1) as [system]:
        with pytest.raises(UsageError, match="idle_timeout"):
            await system.spawn(Counter, name="things", sharded=True, idle_timeout=value)
