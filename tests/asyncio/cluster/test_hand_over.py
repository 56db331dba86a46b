"""Hand-over: what a shard takes with it when a node comes or leaves, and what waits meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    Behaviors,
    DeadLetter,
    DistributedSystem,
    MemberStatus,
    OutcomeUnknownError,
    ReplicationConfig,
)
from casty_proto.cluster import events as said

from .node_kit import (
    all_open,
    cluster,
    has_open,
    hosting_of,
    ids_at,
    inside_of,
    joined,
    node,
    owner_of,
    subscribed,
    until,
    within,
)
from .things import Add, Counter, Get, Played, Say, Where, counting

NUM_SHARDS = 8


async def hosted(system: DistributedSystem, actor: Any = Counter, **options: Any) -> Any:
    """The ref of a type that a node hosts from now on."""
    return await within(system.spawn(actor, name="things", sharded=True, num_shards=NUM_SHARDS, **options))


def ids_of_all_shards(system: DistributedSystem, each: int = 2) -> list[str]:
    """Ids of entities of every shard."""
    found: dict[int, list[str]] = {}
    for number in range(1000):
        shard = inside_of(system).member.node.shard_of("things", f"e{number}")
        if len(found.setdefault(shard, [])) < each:
            found[shard].append(f"e{number}")
    assert len(found) == NUM_SHARDS
    return [entity_id for ids in found.values() for entity_id in ids]


@pytest.mark.parametrize("replication", [None, ReplicationConfig(factor=2, sync_count=1)], ids=["kept", "replicated"])
async def test_states_go_with_their_shards_when_a_node_comes_and_when_one_leaves(
    replication: ReplicationConfig | None,
) -> None:
    async with cluster(1) as [first]:
        things = await hosted(first, replication=replication)
        ids = ids_of_all_shards(first)
        for number, each in enumerate(ids):
            await things[each].ask(Add(number))
        async with node("node-2", first) as second:
            await joined(first, second)
            there = await hosted(second, replication=replication)
            await all_open([first, second], "things")
            assert {await things[each].ask(Where()) for each in ids} == {"node-1", "node-2"}
            assert [await there[each].ask(Add(1000)) for each in ids] == [1000 + number for number in range(len(ids))]
        assert {await things[each].ask(Where()) for each in ids} == {"node-1"}
        assert [await things[each].ask(Get()) for each in ids] == [1000 + number for number in range(len(ids))]


async def test_no_ask_fails_and_none_is_handled_twice_while_nodes_come_and_leave() -> None:
    async with cluster(1) as [first]:
        things = await hosted(first)
        ids = ids_of_all_shards(first, 1)
        counts = dict.fromkeys(ids, 0)
        going = True

        async def ask(each: str) -> None:
            while going:
                counts[each] += 1
                assert await things[each].ask(Add()) == counts[each]

        asks = [asyncio.ensure_future(ask(each)) for each in ids]
        for _ in range(3):
            async with node("node-2", first) as second:
                await joined(first, second)
                await hosted(second)
                await all_open([first, second], "things")
        going = False
        await within(asyncio.gather(*asks))
        assert sum(counts.values()) > 100


async def test_tells_arrive_once_and_in_their_order_while_nodes_come_and_leave() -> None:
    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        if msg.what == "end":
            ctx.reply(self.seen)
        else:
            self.seen.append(msg.what)

    async with cluster(1) as [first]:
        letters = await subscribed(first, DeadLetter)
        things = await hosted(first, Played, play=play)
        ids = ids_of_all_shards(first, 1)
        sent = 0
        going = True

        async def tell() -> None:
            nonlocal sent
            while going:
                for each in ids:
                    things[each].tell(Say(sent))
                sent += 1
                await asyncio.sleep(0)

        telling = asyncio.ensure_future(tell())
        for _ in range(3):
            async with node("node-2", first) as second:
                await joined(first, second)
                await hosted(second, Played, play=play)
                await all_open([first, second], "things")
        going = False
        await within(telling)
        for each in ids:
            seen = await things[each].ask(Say("end"))
            assert seen == list(range(sent)), await letters.all()
        assert sent > 100


async def test_a_handler_that_runs_ends_before_its_shard_moves() -> None:
    gate = asyncio.Event()
    busy: list[str] = []

    async def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        if msg.what == "wait":
            busy.append(self.entity_id)
            await gate.wait()
        self.seen.append(msg.what)
        ctx.reply(list(self.seen))

    async with cluster(1) as [first]:
        things = await hosted(first, Played, play=play)
        ids = ids_of_all_shards(first, 1)
        waits = [asyncio.ensure_future(things[each].ask(Say("wait"))) for each in ids]
        await until(lambda: len(busy) == len(ids))
        asks = [asyncio.ensure_future(things[each].ask(Say("next"))) for each in ids]
        async with node("node-2", first) as second:
            await joined(first, second)
            await hosted(second, Played, play=play)
            await asyncio.sleep(0.3)
            assert not any(ask.done() for ask in (*waits, *asks))
            gate.set()
            assert await within(asyncio.gather(*waits)) == [["wait"]] * len(ids)
            assert await within(asyncio.gather(*asks)) == [["wait", "next"]] * len(ids)
            await all_open([first, second], "things")
        assert len(busy) == len(ids)


async def test_who_leaves_hands_over_to_who_has_the_type() -> None:
    async with cluster(3) as [first, second, third]:
        things = await hosted(first)
        await hosted(second)
        await all_open([first, second], "things")
        for each in ids_of_all_shards(first):
            await things[each].ask(Add(7))
        await within(first.shutdown())
        things = await within(third.lookup("things"))
        assert things is not None
        for each in ids_of_all_shards(second):
            assert await things[each].ask(Get()) == 7
            assert await things[each].ask(Where()) == "node-2"


async def test_the_states_of_behaviors_do_not_move() -> None:
    async with cluster(1) as [first]:
        things = first.spawn(Behaviors.sharded(counting, num_shards=NUM_SHARDS), "things")
        await all_open([first], "things")
        ids = ids_of_all_shards(first)
        for each in ids:
            assert await things[each].ask(Add(5)) == 5
        async with node("node-2", first) as second:
            await joined(first, second)
            second.spawn(Behaviors.sharded(counting, num_shards=NUM_SHARDS), "things")
            await all_open([first, second], "things")
            moved = [each for each in ids if has_open(second, "things", each)]
            assert moved
            for each in ids:
                assert await things[each].ask(Get()) == (0 if each in moved else 5)


async def test_the_shards_of_a_node_that_had_nobody_to_give_them_to_begin_anew_where_there_is_a_host() -> None:
    async with cluster(2, leave_timeout=0.2) as [first, second]:
        await hosted(first)
        things = await within(until_known(second))
        assert await things["a"].ask(Add(3)) == 3
        await within(first.shutdown())
        await until(lambda: any(each.status is MemberStatus.UNREACHABLE for each in second.members))
        await hosted(second)
        await all_open([second], "things")
        assert await things["a"].ask(Add(1)) == 1


async def until_known(system: DistributedSystem) -> Any:
    """The ref of the type, as soon as a node knows of it."""
    await until(lambda: system.lookup("things").ref is not None)
    return await system.lookup("things")


async def test_an_owner_that_lost_its_lease_cancels_its_handlers_and_says_that_nobody_knows() -> None:
    cancelled: list[str] = []
    busy = asyncio.Event()

    async def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        if msg.what == "wait":
            busy.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(self.entity_id)
                raise
        self.seen.append(msg.what)
        ctx.reply(list(self.seen))

    async with cluster(3) as systems:
        things = [await hosted(each, Played, play=play) for each in systems].pop()
        await all_open(systems, "things")
        [thing] = ids_at(systems[2], "things", 1)
        owner = owner_of(systems, "things", thing)
        assert owner is systems[2]
        ask = asyncio.ensure_future(things[thing].ask(Say("wait"), timeout=15.0))
        await within(busy.wait())
        waiting = asyncio.ensure_future(things[thing].ask(Say("next"), timeout=15.0))
        await asyncio.sleep(0)
        lanes = inside_of(owner).lanes
        quiet, lanes.send = lanes.send, lambda to, message: None  # type: ignore[method-assign]
        with pytest.raises(OutcomeUnknownError, match=f"/things/{thing} had Say in hand"):
            await within(ask)
        await until(lambda: cancelled == [thing])
        lanes.send = quiet  # type: ignore[method-assign]
        assert (await within(waiting))[-1] == "next"
        assert hosting_of(owner).shards is not None


def told_of_closed(system: DistributedSystem, patch: pytest.MonkeyPatch) -> list[Any]:
    """What a node is told of shards that are closed, from now on."""
    told: list[Any] = []
    member = inside_of(system).member
    feed = member.feed

    def telling(event: Any) -> None:
        if isinstance(event, said.Closed):
            told.append(event)
        feed(event)

    patch.setattr(member, "feed", telling)
    return told


async def test_hosting_rule_5_a_shard_with_many_entities_is_closed_in_several_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("casty_asyncio.cluster.hosting.SLICE", 5)
    async with cluster(1) as [first]:
        things = await within(first.spawn(Counter, name="things", sharded=True, num_shards=1))
        for number in range(23):
            assert await within(things[f"e{number}"].ask(Add(number))) == number
        told = told_of_closed(first, monkeypatch)
        async with node("node-2", first) as second:
            await joined(first, second)
            await within(second.spawn(Counter, name="things", sharded=True, num_shards=1))
            leaving = asyncio.ensure_future(first.shutdown())
            there = await within(second.lookup("things"))
            await until(lambda: told)
            # While it is being closed, another one comes: it waits, and goes with the last part.
            answers = await within(asyncio.gather(*(there[f"e{number}"].ask(Add(100)) for number in range(24))))
            assert answers == [*(100 + number for number in range(23)), 100]
            await leaving
        assert [len(each.states) for each in told] == [5, 5, 5, 5, 3]
        assert [each.is_last for each in told] == [False] * 4 + [True]


async def test_hosting_rule_5_a_shard_that_was_resumed_while_it_was_closed_is_closed_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("casty_asyncio.cluster.hosting.SLICE", 2)
    async with cluster(1) as [only]:
        things = await within(only.spawn(Counter, name="things", sharded=True, num_shards=1))
        await all_open([only], "things")
        for number in range(5):
            await within(things[f"e{number}"].ask(Add(number)))
        hosting, told = hosting_of(only), told_of_closed(only, monkeypatch)
        [shard] = hosting.shards.values()
        place = ("things", 0, shard.epoch)
        hosting.close(said.CloseShard(*place))
        hosting._slice()
        assert len(told) == 1
        hosting.halt(said.HaltShard(*place, "for the test"))
        await asyncio.sleep(0.05)
        assert len(told) == 1
        hosting.resume(said.ResumeShard(*place))
        assert await within(things["e0"].ask(Add(1000))) == 1000
        hosting.close(said.CloseShard(*place))
        await until(lambda: told[-1].is_last)
        assert sorted(name for each in told[1:] for name, _ in each.states) == [f"e{number}" for number in range(5)]
        assert dict(told[0].states)["e0"] != dict(told[1].states)["e0"]
        hosting.resume(said.ResumeShard(*place))


async def test_hosting_rule_5_much_that_moves_at_once_is_closed_and_stopped_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = 5
    monkeypatch.setattr("casty_asyncio.cluster.hosting.SLICE", most)
    async with cluster(1) as [first]:
        things = await hosted(first)
        names = ids_of_all_shards(first, each=8)
        for entity_id in names:
            assert await within(things[entity_id].ask(Add(1))) == 1
        hosting = hosting_of(first)
        slice_of = hosting._slice
        closed: list[int] = []
        stopped: list[int] = []

        def counting_slice() -> None:
            before = (len(hosting._to_close), len(hosting._to_stop))
            slice_of()
            closed.append(before[0] - len(hosting._to_close))
            stopped.append(before[1] - len(hosting._to_stop))

        monkeypatch.setattr(hosting, "_slice", counting_slice)
        async with node("node-2", first) as second:
            await hosted(second)
            await all_open([first, second], "things")
            await until(lambda: sum(closed) and not hosting._to_stop)
            assert (max(closed), max(stopped)) == (1, most)
            for entity_id in names:
                assert await within(things[entity_id].ask(Get())) == 1
