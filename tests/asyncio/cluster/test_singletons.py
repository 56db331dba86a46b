"""Singletons: one actor in the whole cluster, in both styles, that follows its node's fate."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    Behavior,
    Behaviors,
    ClusterError,
    DistributedSystem,
    DuplicateNameError,
    ReplicationConfig,
    UsageError,
)

from .node_kit import cluster, crash, hosting_of, joined, node, owner_of, taken_up, until, within
from .things import Add, Counter, Get, Question, Say, Solo, Where, counting, node_of


class Jobs(Actor[Any]):
    """Keeps a list."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        match msg:
            case Say(what):
                self.jobs.append(what)
                ctx.reply(len(self.jobs))
            case Get():
                ctx.reply(self.jobs)
            case Where():
                ctx.reply(node_of(ctx))


async def solo(systems: list[DistributedSystem], actor: Any = Jobs, **options: Any) -> list[Any]:
    """The refs that these nodes have of one singleton."""
    return [await within(each.spawn(actor, name="jobs", singleton=True, **options)) for each in systems]


def living(systems: list[DistributedSystem]) -> list[str]:
    """The nodes that have an instance, once for each."""
    return [
        each.node_id
        for each in systems
        for (name, _), shard in hosting_of(each).shards.items()
        for entity in shard.entities.values()
        if name == "jobs" and entity.ref is not None
    ]


async def test_all_nodes_talk_to_the_same_one() -> None:
    async with cluster(3) as systems:
        refs = await solo(systems)
        for number, ref in enumerate(refs, 1):
            assert await within(ref.ask(Say(number))) == number
        assert len({await ref.ask(Where()) for ref in refs}) == 1
        assert await refs[2].ask(Get()) == [1, 2, 3]
        assert len(living(systems)) == 1


async def test_it_lives_without_having_been_asked() -> None:
    started: list[str] = []

    class Early(Jobs):
        def on_start(self) -> None:
            started.append(node_of(self.context))

    async with cluster(3, leave_timeout=0.2) as systems:
        refs = await solo(systems, Early)
        await until(lambda: started)
        assert await refs[1].ask(Say("a")) == 1
        assert len(started) == 1
        assert len(living(systems)) == 1
        await crash(owner_of(systems, "jobs"))
        await until(lambda: len(started) == 2)


async def test_a_behavior_can_be_one_and_is_asked_in_its_own_way() -> None:
    async with cluster(2) as systems:
        refs = [each.spawn(Behaviors.singleton(lambda: counting("the one")), "jobs") for each in systems]
        assert await within(refs[0].ask(Add(2))) == 2
        assert await systems[1].ask(refs[1], lambda reply_to: Question("?", reply_to)) == ("the one", 2)
        assert refs[0].path == refs[1].path == "/jobs"


async def test_what_is_sent_while_it_moves_waits() -> None:
    async with cluster(3) as systems:
        refs = await solo(systems, replication=ReplicationConfig(factor=3, sync_count=1))
        assert await within(refs[0].ask(Say(0))) == 1
        owner = owner_of(systems, "jobs")
        others = [each for each in systems if each is not owner]
        ref = await others[0].lookup("jobs")
        assert ref is not None
        asks = [asyncio.ensure_future(ref.ask(Say(number), timeout=15.0)) for number in range(1, 20)]
        leaving = asyncio.ensure_future(owner.shutdown())
        assert await within(asyncio.gather(*asks)) == list(range(2, 21))
        await within(leaving)
        assert await within(ref.ask(Get())) == list(range(20))
        assert len(living(others)) == 1


async def test_it_is_taken_up_by_another_node_when_its_own_crashes() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        refs = await solo(systems)
        await within(refs[0].ask(Say(0)))
        owner = owner_of(systems, "jobs")
        others = [each for each in systems if each is not owner]
        ref = await others[0].lookup("jobs")
        await crash(owner)
        await taken_up(others, "jobs")
        assert ref is not None
        assert await within(ref.ask(Say(1))) == 1
        assert await ref.ask(Where()) in {each.node_id for each in others}


async def test_what_is_told_at_once_waits_until_it_is_there() -> None:
    async with cluster(1) as [system]:
        ref = system.spawn(Behaviors.singleton(lambda: counting("")), "jobs")
        ref.tell(Add(3))
        await within(ref.send(Add(4)))
        assert await within(ref.ask(Get())) == 7


async def test_it_lives_where_the_role_is() -> None:
    async with cluster(1) as [first], node("node-2", first, roles=["jobs"], leave_timeout=0.2) as second:
        await joined(first, second)
        refs = await solo([first, second], role="jobs")
        assert await within(refs[0].ask(Where())) == "node-2"


async def test_its_constructor_gets_what_spawn_was_given() -> None:
    async with cluster(1) as [system]:
        [ref] = await solo([system], Solo, play=lambda self, msg, ctx: ctx.reply(msg.what * 2))
        assert await within(ref.ask(Say(21))) == 42
        with pytest.raises(DuplicateNameError, match="'jobs' was spawned on this node already"):
            await solo([system], Solo, play=None)


async def test_a_name_is_a_type_or_a_singleton_and_not_both() -> None:
    async with cluster(2) as [first, second]:
        await solo([first])
        with pytest.raises(ClusterError, match="'jobs' is known in the cluster with other settings"):
            await second.spawn(Counter, name="jobs", sharded=True)
        with pytest.raises(UsageError, match="sharded or a singleton, not both"):
            await second.spawn(Counter, name="others", sharded=True, singleton=True)
        with pytest.raises(UsageError, match="is for sharded=True or singleton=True"):
            await second.spawn(Counter, name="others", num_shards=8)


async def test_one_that_stops_itself_comes_back_with_the_next_message() -> None:
    def once() -> Behavior[Any]:
        def receive(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
            ctx.reply(msg)
            return Behaviors.stopped()

        return Behaviors.receive(receive)

    async with cluster(2) as systems:
        refs = [each.spawn(Behaviors.singleton(once), "jobs") for each in systems]
        for ref in refs:
            for number in range(3):
                assert await within(ref.ask(Say(number))) == Say(number)
