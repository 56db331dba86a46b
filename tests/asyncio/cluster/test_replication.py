"""Replication: what of an entity is kept, when its answers are said, and what a failure of its owner leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorFailedError,
    Behaviors,
    DistributedSystem,
    OutcomeUnknownError,
    ReplicationConfig,
    ReplicationError,
    SupervisorConfig,
    UsageError,
)
from casty_asyncio.cluster.status import status_of
from casty_proto.cluster import events as said

from .node_kit import all_open, cluster, crash, ids_at, inside_of, is_kept, joined, node, taken_up, until, within
from .things import Add, Counter, Get, Played, Say

ALL = ReplicationConfig(factor=3, sync_count=-1, timeout=5.0)


async def kept(
    systems: list[DistributedSystem], config: ReplicationConfig, actor: Any = Counter, **options: Any
) -> Any:
    """The ref that the last node has of a replicated type that all of them host."""
    refs = [
        await within(each.spawn(actor, name="things", sharded=True, num_shards=8, replication=config, **options))
        for each in systems
    ]
    await all_open(systems, "things")
    return refs[-1]


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "sync_count"), [(0, 0), (-1, 0), (3, 3), (3, -2), (1, 1), (2, 2), (True, 0), (2.0, 1)]
)
def test_a_replication_that_makes_no_sense_is_refused(factor: Any, sync_count: Any) -> None:
    with pytest.raises(UsageError, match="ReplicationConfig"):
        ReplicationConfig(factor=factor, sync_count=sync_count)


# -- what survives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync_count", [1, 2, -1])
async def test_what_was_acknowledged_survives_its_owner(sync_count: int) -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        things = await kept(systems, ReplicationConfig(factor=3, sync_count=sync_count))
        ids = ids_at(systems[0], "things", 4)
        for number in range(1, 6):
            for each in ids:
                assert await things[each].ask(Add(number)) == sum(range(number + 1))
        await crash(systems[0])
        for each in ids:
            await taken_up(systems[1:], "things", each)
            assert await things[each].ask(Get()) == 15


async def test_a_send_is_over_when_the_backups_have_the_state() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        things = await kept(systems, ReplicationConfig(factor=3, sync_count=2))
        [thing] = ids_at(systems[0], "things", 1)
        for _ in range(10):
            await things[thing].send(Add())
        await crash(systems[0])
        await taken_up(systems[1:], "things", thing)
        assert await things[thing].ask(Get()) == 10


async def test_without_a_sync_count_the_newest_state_follows_soon() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        things = await kept(systems, ReplicationConfig(factor=3))
        [thing] = ids_at(systems[0], "things", 1)
        for _ in range(10):
            await things[thing].ask(Add())
        await until(lambda: is_kept(systems[0], "things", thing))
        await crash(systems[0])
        await taken_up(systems[1:], "things", thing)
        assert await things[thing].ask(Get()) == 10


async def test_who_lacks_backups_for_good_is_told_by_the_log_and_the_status(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster(2) as (one, two):
        things = await kept([two, one], ReplicationConfig(factor=2, sync_count=1, timeout=0.2))
        await within(things["a"].ask(Add()))
        assert status_of(inside_of(one))["gaps"] == []
        await two.shutdown()
        await taken_up([one], "things", "a")
        with pytest.raises(ReplicationError, match=r"0 of 1 backups .* and there are 0 nodes that can be backups"):
            await within(things["a"].ask(Add(), timeout=15.0))
        assert "a write was not acknowledged: things/" in caplog.text
        await all_open([one], "things")
        assert status_of(inside_of(one))["gaps"] == [
            "things: 8 shards here have fewer backups than sync_count asks for; what changes states fails"
        ]


async def test_one_node_alone_counts_as_many_copies_as_it_can_have() -> None:
    async with cluster(1) as [system]:
        things = await kept([system], ReplicationConfig(factor=3, sync_count=2))
        for _ in range(100):
            await things["hits"].send(Add())
        assert await things["hits"].ask(Get()) == 100


@pytest.mark.parametrize("sync_count", [2, -1])
async def test_a_write_whose_backups_are_gone_is_not_acknowledged(sync_count: int) -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        things = await kept(systems, ReplicationConfig(factor=3, sync_count=sync_count, timeout=0.5))
        [thing] = ids_at(systems[2], "things", 1)
        assert await things[thing].ask(Add(1)) == 1
        await crash(systems[0])
        with pytest.raises(ReplicationError, match=f"/things/{thing}"):
            await within(things[thing].ask(Add(2), timeout=15.0))
        with pytest.raises(ReplicationError):
            await within(things[thing].send(Add(4)))
        # Nothing was lost here, and what only reads what nobody knows of does not say it either.
        with pytest.raises((ReplicationError, OutcomeUnknownError)):
            await within(things[thing].ask(Get(), timeout=15.0))
        await until(lambda: any(member.status.name == "UNREACHABLE" for member in systems[2].members))
        await within(systems[2].forget("node-1"))
        if sync_count == -1:
            # All that there are is one now. Two are not to be had, until there is another node.
            assert await within(things[thing].ask(Add(8), timeout=15.0)) == 15
            return
        with pytest.raises(ReplicationError):
            await within(things[thing].ask(Add(8), timeout=15.0))
        async with node("node-4", systems[1], leave_timeout=0.2) as another:
            await joined(*systems[1:], another)
            config = ReplicationConfig(factor=3, sync_count=2, timeout=0.5)
            await another.spawn(Counter, name="things", sharded=True, num_shards=8, replication=config)
            await all_open([*systems[1:], another], "things")
            assert await within(things[thing].ask(Add(16), timeout=15.0)) == 31


# -- what is kept ------------------------------------------------------------------------------------------------------


async def state_after_a_move(actor: Any, *messages: Any) -> Any:
    """What an entity of that class answers to `Get` when it was taken from its owner after these messages."""
    async with cluster(3, leave_timeout=0.2) as systems:
        things = await kept(systems, ReplicationConfig(factor=3, sync_count=1), actor)
        [thing] = ids_at(systems[0], "things", 1)
        for message in messages:
            await things[thing].send(message)
        await crash(systems[0])
        await taken_up(systems[1:], "things", thing)
        return await things[thing].ask(Get())


class Private(Counter):
    """Has what is kept and what is not."""

    __casty_exclude_fields__ = ("cache",)

    def __init__(self, entity_id: str) -> None:
        super().__init__(entity_id)
        self.cache = ["fresh"]
        self.log: list[int] = []
        self._hidden = 0

    async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        match msg:
            case Add(amount):
                self.count += amount
                self._hidden += amount
                self.log.append(amount)
                self.cache = ["stale"]
            case Get():
                ctx.reply((self.entity_id, self.count, self.log, self.cache, self._hidden))


async def test_all_but_private_and_excluded_attributes_are_kept() -> None:
    entity_id, count, log, cache, hidden = await state_after_a_move(Private, Add(2), Add(3))
    assert (count, log, cache, hidden) == (5, [2, 3], ["fresh"], 0)
    assert entity_id.startswith("e")


class Slotted(Actor[Any]):
    """Has no dictionary of its own, but slots."""

    __slots__ = ("_hidden", "count")

    def __init__(self) -> None:
        self.count = 0
        self._hidden = 0

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        match msg:
            case Add(amount):
                self.count += amount
                self._hidden += amount
            case Get():
                ctx.reply((self.count, self._hidden))


async def test_slots_are_kept_as_well() -> None:
    assert await state_after_a_move(Slotted, Add(2), Add(3)) == (5, 0)


class Custom(Counter):
    """Says itself what its state is."""

    def get_state(self) -> Any:
        return ("custom", str(self.count))

    def set_state(self, state: Any) -> None:
        kind, count = state
        assert kind == "custom"
        self.count = int(count) * 2


async def test_get_state_and_set_state_say_what_is_kept() -> None:
    assert await state_after_a_move(Custom, Add(2)) == 4


class Mortal(Counter):
    """Is no more when it has nothing."""

    def get_state(self) -> Any:
        return super().get_state() if self.count else None


async def test_an_entity_whose_state_is_none_is_made_anew() -> None:
    assert await state_after_a_move(Mortal, Add(2), Add(-2)) == 0
    assert await state_after_a_move(Mortal, Add(2), Add(-2), Add(5)) == 5


async def test_a_state_that_cannot_be_sent_fails_the_message_and_is_not_kept() -> None:
    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        match msg:
            case Say("bad"):
                self.seen.append(object())
            case Say(what):
                self.seen.append(what)
        ctx.reply(len(self.seen))

    async with cluster(3) as systems:
        config = SupervisorConfig(max_restarts=None, backoff_initial=0.0)
        things = await kept(systems, ALL, Played, play=play, supervision=config)
        for system in systems:
            thing = things[ids_at(system, "things", 1)[0]]
            assert await thing.ask(Say("good")) == 1
            with pytest.raises(ActorFailedError, match="cannot be kept"):
                await thing.ask(Say("bad"))
            with pytest.raises(ActorFailedError, match="cannot be kept"):
                await thing.send(Say("bad"))
            assert await thing.ask(Say("good")) == 2


async def test_what_a_failed_handler_has_changed_is_not_kept() -> None:
    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        self.seen.append(msg.what)
        if msg.what == "reply":
            ctx.reply("said, and taken back")
        if msg.what in ("bad", "reply"):
            raise ValueError(msg.what)
        ctx.reply(list(self.seen))

    async with cluster(3) as systems:
        config = SupervisorConfig(max_restarts=None, backoff_initial=0.0)
        things = await kept(systems, ALL, Played, play=play, supervision=config)
        for system in systems:
            thing = things[ids_at(system, "things", 1)[0]]
            assert await thing.ask(Say(1)) == [1]
            for bad in ("bad", "reply"):
                with pytest.raises(ActorFailedError):
                    await thing.ask(Say(bad))
            assert await thing.ask(Say(2)) == [1, 2]


async def test_an_answer_given_later_waits_for_the_state_after_which_it_was_given() -> None:
    handles: list[Any] = []

    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        self.seen.append(msg.what)
        if msg.what == "keep":
            handles.append(ctx.sender)
        else:
            handles.pop().tell(list(self.seen))

    async with cluster(3) as systems:
        things = await kept(systems, ALL, Played, play=play)
        for system in systems:
            thing = things[ids_at(system, "things", 1)[0]]
            ask = asyncio.ensure_future(thing.ask(Say("keep")))
            await until(lambda: handles)
            thing.tell(Say("answer"))
            assert await within(ask) == ["keep", "answer"]


async def test_an_entity_that_stops_itself_comes_back_with_its_state() -> None:
    class Brief(Counter):
        def receive(self, msg: Any, ctx: ActorContext[Any]) -> Any:
            self.count += 1
            ctx.reply(self.count)
            return Behaviors.stopped()

    async with cluster(3) as systems:
        things = await kept(systems, ALL, Brief)
        for system in systems:
            thing = things[ids_at(system, "things", 1)[0]]
            asks = [asyncio.ensure_future(thing.ask(Say(number))) for number in range(5)]
            assert await within(asyncio.gather(*asks)) == [1, 2, 3, 4, 5]


async def test_an_entity_that_stopped_while_its_state_was_not_kept_yet_begins_with_that_state() -> None:
    class Brief(Counter):
        def receive(self, msg: Any, ctx: ActorContext[Any]) -> Any:
            self.count += 1
            ctx.reply(self.count)
            return Behaviors.stopped()

    async with cluster(3, leave_timeout=0.2) as systems:
        things = await kept(systems, ReplicationConfig(factor=3, sync_count=-1, timeout=0.5), Brief)
        [thing] = ids_at(systems[2], "things", 1)
        assert await things[thing].ask(Say(1)) == 1
        await crash(systems[0])
        for number in (2, 3):
            with pytest.raises(ReplicationError):
                await within(things[thing].ask(Say(number), timeout=15.0))
        await until(lambda: any(member.status.name == "UNREACHABLE" for member in systems[2].members))
        await within(systems[2].forget("node-1"))
        assert await within(things[thing].ask(Say(4), timeout=15.0)) == 4


async def test_many_writes_at_once_are_all_kept() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        things = await kept(systems, ReplicationConfig(factor=3, sync_count=1))
        [thing] = ids_at(systems[0], "things", 1)
        asks = [asyncio.ensure_future(things[thing].ask(Add(), timeout=15.0)) for _ in range(300)]
        assert await within(asyncio.gather(*asks)) == list(range(1, 301))
        await crash(systems[0])
        await taken_up(systems[1:], "things", thing)
        assert await things[thing].ask(Get()) == 300


async def test_what_is_written_at_once_is_written_together_and_survives_as_well() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        things = await kept(systems, ReplicationConfig(factor=3, sync_count=1))
        [thing] = ids_at(systems[0], "things", 1)
        assert await things[thing].ask(Get()) == 0
        member = inside_of(systems[0]).member
        writes: list[bytes | None] = []
        feed = member.feed

        def watching(event: said.NodeEvent) -> None:
            if type(event) is said.Handled:
                writes.append(event.state)
            feed(event)

        member.feed = watching  # type: ignore[method-assign]
        answers = await asyncio.gather(*(things[thing].ask(Add()) for _ in range(50)))
        assert answers == list(range(1, 51))
        assert 1 <= len(writes) < 50
        assert len(dict.fromkeys(writes)) == len(writes)
        await crash(systems[0])
        await taken_up(systems[1:], "things", thing)
        assert await things[thing].ask(Get()) == 50


class Slow(Actor[Add | Say]):
    """Adds at once, and then takes its time over a text."""

    def __init__(self) -> None:
        self.count = 0

    async def receive(self, msg: Add | Say, ctx: Any) -> None:
        if isinstance(msg, Say):
            await GATES[msg.what].wait()
        self.count += 1
        ctx.reply(self.count)


GATES: dict[str, asyncio.Event] = {}


async def test_an_answer_does_not_wait_for_the_handler_of_the_next_message() -> None:
    GATES["slow"] = asyncio.Event()
    async with cluster(3) as systems:
        things = await kept(systems, ReplicationConfig(factor=3, sync_count=1), Slow)
        [thing] = ids_at(systems[0], "things", 1)
        first, second = [asyncio.ensure_future(things[thing].ask(each)) for each in (Add(), Say("slow"))]
        assert await within(first) == 1
        assert not second.done()
        GATES["slow"].set()
        assert await within(second) == 2
