"""Discovery, broadcasts and lookups across nodes, and refs inside of messages."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorFailedError,
    ActorRef,
    Behavior,
    Behaviors,
    ClusterTimeoutError,
    Deregister,
    DistributedSystem,
    Find,
    Listing,
    Register,
    ServiceKey,
    ShardEnvelope,
    SubscribeListing,
    UsageError,
)
from tests.asyncio.probe import Probe

from .node_kit import all_open, cluster, crash, joined, node, until, within
from .things import Add, Counter, Get, Played, Question, Say, Where, counting, node_of

KEY: ServiceKey[Any] = ServiceKey("workers")


def worker() -> Behavior[Any]:
    """Says where it is."""

    def receive(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
        match msg:
            case Where():
                ctx.reply(node_of(ctx))
            case Question(_, reply_to):
                reply_to.tell(node_of(ctx))
            case Say("stop"):
                return Behaviors.stopped()
            case Say("fail"):
                raise ValueError("as asked")
        return Behaviors.same()

    return Behaviors.receive(receive)


async def listed(system: DistributedSystem, count: int) -> list[ActorRef[Any]]:
    """The refs under the key, as soon as a node knows of so many."""
    await until(lambda: len(system.lookup(KEY)) == count)
    return [instance.ref for instance in system.lookup(KEY)]


# -- services ----------------------------------------------------------------------------------------------------------


async def test_a_service_is_found_on_every_node_until_it_stops() -> None:
    async with cluster(3) as systems:
        there = [each.spawn(Behaviors.discoverable(worker(), key=KEY), "worker") for each in systems]
        for each in systems:
            refs = await listed(each, 3)
            assert sorted([await within(ref.ask(Where())) for ref in refs]) == ["node-1", "node-2", "node-3"]
            assert await within(each.ask(refs[0], lambda reply_to: Question("?", reply_to))) == each.node_id
        instances = list(systems[0].lookup(KEY))
        assert {str(instance.node) for instance in instances} == {str(each.address) for each in systems}
        there[1].tell(Say("stop"))
        for each in systems:
            await listed(each, 2)


async def test_a_service_is_gone_with_its_node() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        for each in systems:
            each.spawn(Behaviors.discoverable(worker(), key=KEY))
        await listed(systems[0], 3)
        await systems[2].shutdown()
        await listed(systems[0], 2)
        await listed(systems[1], 2)


async def test_who_comes_later_learns_of_all_services() -> None:
    async with cluster(2) as systems:
        for each in systems:
            each.spawn(Behaviors.discoverable(worker(), key=KEY))
        async with node("node-3", systems[0]) as third:
            refs = await listed(third, 2)
            assert {await within(ref.ask(Where())) for ref in refs} == {"node-1", "node-2"}


async def test_the_receptionist_answers_for_all_nodes() -> None:
    async with cluster(2) as [first, second]:
        probe = Probe(first)
        first.receptionist_ref.tell(SubscribeListing(KEY, probe.ref))
        assert len(await within(probe.next())) == 0
        ref = second.spawn(worker(), "worker")
        second.receptionist_ref.tell(Register(KEY, ref))
        assert len(await within(probe.next())) == 1
        found = await within(first.ask(first.receptionist_ref, lambda reply_to: Find(KEY, reply_to)))
        assert isinstance(found, Listing)
        [instance] = found
        assert await within(instance.ref.ask(Where())) == "node-2"
        second.receptionist_ref.tell(Deregister(KEY, ref))
        assert len(await within(probe.next())) == 0


# -- broadcasts --------------------------------------------------------------------------------------------------------


async def test_a_broadcast_reaches_every_node_and_its_ask_gathers_all_answers() -> None:
    async with cluster(3) as systems:
        refs = [each.spawn(Behaviors.broadcasted(worker()), "workers") for each in systems]
        for system, ref in zip(systems, refs, strict=True):
            await until(lambda ref=ref: len(ref.instances) == 3)  # type: ignore[misc]
            answers = await within(ref.ask(Where()))
            assert answers[0] == system.node_id
            assert sorted(answers) == ["node-1", "node-2", "node-3"]
            asked: Any = await within(system.ask(ref, lambda reply_to: Question("?", reply_to)))
            assert sorted(asked) == ["node-1", "node-2", "node-3"]
        with pytest.raises(ActorFailedError):
            await within(refs[0].ask(Say("fail")))


async def test_a_broadcast_is_told_to_all_and_sent_to_all() -> None:
    heard: list[tuple[str, Any]] = []

    def hearing() -> Behavior[Any]:
        def receive(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
            heard.append((node_of(ctx), msg.what))
            return Behaviors.same()

        return Behaviors.receive(receive)

    async with cluster(2) as systems:
        refs = [each.spawn(Behaviors.broadcasted(hearing()), "workers") for each in systems]
        await until(lambda: all(len(ref.instances) == 2 for ref in refs))
        refs[0].tell(Say("told"))
        await refs[1].send(Say("sent"))
        expected = {(f"node-{number}", what) for number in (1, 2) for what in ("told", "sent")}
        await until(lambda: set(heard) == expected)


# -- lookups -----------------------------------------------------------------------------------------------------------


async def test_a_named_actor_is_found_on_any_node_when_the_lookup_is_awaited() -> None:
    async with cluster(3) as systems:
        systems[1].spawn(worker(), "main")
        for each in systems:
            found = await within(each.lookup("main"))
            assert found is not None
            assert await within(found.ask(Where())) == "node-2"
            assert await within(each.lookup("nobody")) is None
        assert systems[0].lookup("main").ref is None
        assert systems[1].lookup("main").ref is not None


async def test_a_lookup_does_not_fail_where_a_node_is_gone() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        systems[1].spawn(worker(), "main")
        await crash(systems[2])
        found = await within(systems[0].lookup("main"))
        assert found is not None
        assert await within(systems[0].lookup("nobody")) is None


# -- refs in messages --------------------------------------------------------------------------------------------------


async def test_refs_of_entities_types_and_singletons_can_be_sent() -> None:
    async with cluster(2) as [first, second]:
        for each in (first, second):
            await each.spawn(Counter, name="things", sharded=True, num_shards=8)
            each.spawn(Behaviors.singleton(lambda: counting("one")), "one")
        things = first.lookup("things").ref
        one = await until_ref(first, "one")
        assert things is not None
        await all_open([first, second], "things")

        got: list[Any] = []

        async def use(self: Any, msg: Any, ctx: ActorContext[Any]) -> None:
            got.append(msg.what)
            entity, kind, single = msg.what
            ctx.reply((await entity.ask(Add(1)), await kind["b"].ask(Add(2)), await single.ask(Add(3))))

        user = await second.spawn(Played, "user", entity_id="", play=use)
        ref = await within(first.lookup("user"))
        assert ref is not None
        assert user is not None
        assert await within(ref.ask(Say((things["a"], things, one)))) == (1, 2, 3)
        assert await things["a"].ask(Get()) == 1
        assert got[0][0] == second.lookup("things").ref["a"]
        echo = await second.spawn(Played, "echo", entity_id="", play=lambda self, msg, ctx: ctx.reply(msg.what))
        back = await within(first.lookup("echo"))
        assert back is not None
        assert echo is not None
        assert await within(back.ask(Say(things["a"]))) == things["a"]
        assert await within(back.ask(Say(things))) == things


async def until_ref(system: DistributedSystem, name: str) -> Any:
    """The ref of a type or singleton, as soon as a node knows of it."""
    await until(lambda: system.lookup(name).ref is not None)
    return system.lookup(name).ref


async def test_a_ref_of_another_system_of_this_process_is_not_sent() -> None:
    async with cluster(1) as [first], node("stranger") as stranger:
        await stranger.wait_for(1)
        things = await first.spawn(Counter, name="things", sharded=True, num_shards=8)
        foreign = await stranger.spawn(Counter, name="things", sharded=True, num_shards=8)
        with pytest.raises(TypeError, match="belongs to another actor system"):
            await things["a"].ask(Say(foreign["a"]))
        assert things["a"] != foreign["a"]
        with pytest.raises(UsageError, match="all entities of a type"):
            await first.ask(things, lambda reply_to: ShardEnvelope("a", Question("?", reply_to)))


async def test_an_entity_can_ask_another_one_and_tell_of_itself() -> None:
    class Friend(Actor[Any]):
        def __init__(self, entity_id: str) -> None:
            self.entity_id = entity_id
            self.told: list[Any] = []

        async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
            match msg:
                case Say((other, "greet")):
                    ctx.reply(await other.ask(Say("who are you?")))
                case Say("who are you?"):
                    ctx.reply(self.entity_id)

    async with cluster(3) as systems:
        refs = [await each.spawn(Friend, name="friends", sharded=True, num_shards=16) for each in systems]
        await all_open(systems, "friends")
        friends = refs[0]
        names = [f"f{number}" for number in range(20)]
        asks = [friends[one].ask(Say((friends[other], "greet"))) for one, other in pairwise(names)]
        assert await within(asyncio.gather(*asks)) == names[1:]
        await joined(*systems)


async def test_a_node_waits_until_so_many_actors_offer_a_service() -> None:
    key: ServiceKey[str] = ServiceKey("waited for")
    async with cluster(2) as (one, other):
        waiting = asyncio.create_task(one.wait_for_service(key, 2))
        one.spawn(Behaviors.discoverable(Behaviors.ignore(), key=key), "here")
        other.spawn(Behaviors.discoverable(Behaviors.ignore(), key=key), "there")
        listing = await within(waiting)
        assert [instance.ref.path for instance in listing] == ["/here", "/there"]
        with pytest.raises(ClusterTimeoutError, match="3 actors that offer 'waited for', and knows of 2"):
            await one.wait_for_service(key, 3, timeout=0.01)
