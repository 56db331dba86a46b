"""What an entity has set aside of the messages of its region: it goes with the shard, and is lost with its actor."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorStoppedError,
    Behavior,
    Behaviors,
    DeadLetter,
    DistributedSystem,
    Mailbox,
    Reason,
    ReplicationConfig,
    ReplicationError,
    StashFullError,
    SupervisorConfig,
)
from casty_asyncio.cluster.entities import Entity
from casty_proto.cluster import events as said

from .node_kit import (
    PATIENCE,
    all_open,
    cluster,
    hosting_of,
    ids_at,
    inside_of,
    joined,
    next_of,
    node,
    subscribed,
    until,
    within,
)
from .things import Question, Say, node_of

KEPT = ReplicationConfig(factor=2, sync_count=1)


class Door(Actor[Any]):
    """Sets aside what comes until it is open. Whether it is open is a part of its state."""

    def __init__(self, entity_id: str) -> None:
        self.entity_id = entity_id
        self.is_open = False
        self.seen: list[Any] = []

    async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        what = msg.what
        match what:
            case "open":
                self.is_open = True
                ctx.reply(ctx.unstash_all())
            case "fail":
                raise ValueError("as it was asked to")
            case "stop":
                ctx.stop()
            case "seen":
                ctx.reply([*self.seen])
            case _ if not self.is_open:
                ctx.stash(msg)
            case _:
                self.seen.append(what)
                if isinstance(msg, Question):
                    msg.reply_to.tell((what, node_of(ctx)))
                else:
                    ctx.reply((what, node_of(ctx)))


async def hosted(system: DistributedSystem, actor: Any = Door, **options: Any) -> Any:
    return await within(system.spawn(actor, name="things", sharded=True, num_shards=8, **options))


def entities(system: DistributedSystem) -> list[Entity]:
    return [entity for shard in hosting_of(system).shards.values() for entity in shard.entities.values()]


def the_entity(system: DistributedSystem) -> Any:
    [entity] = entities(system)
    return entity


def set_aside(system: DistributedSystem, entity_id: str) -> list[Any]:
    """What an entity has set aside, as its messages."""
    return [message for each in entities(system) if each.name == entity_id for _, message in each.stashed or ()]


@pytest.mark.parametrize(
    "options", [{}, {"replication": KEPT}, {"mailbox": Mailbox(20)}], ids=["plain", "kept", "limited"]
)
async def test_what_is_set_aside_goes_with_the_shard_and_is_handled_there_in_its_order(options: Any) -> None:
    async with cluster(1) as [first]:
        letters = await subscribed(first, DeadLetter)
        things = await hosted(first, **options)
        ids = [f"e{number}" for number in range(20)]
        asks = {}
        for each in ids:
            things[each].tell(Say(1))
            asks[each] = [
                asyncio.ensure_future(things[each].ask(Say(2), 20.0)),
                asyncio.ensure_future(first.ask(things[each], lambda r: Question(3, r), 20.0)),
            ]
            await asyncio.sleep(0)
            await within(things[each].send(Say(4)))
            things[each].tell(Say(5))
        await until(lambda: all(len(set_aside(first, each)) == 5 for each in ids))
        async with node("node-2", first) as second:
            await joined(first, second)
            there = await hosted(second, **options)
            await all_open([first, second], "things")
            moved = ids_at(second, "things", 5)
            assert set(moved) & set(ids)
            for each in ids:
                where = "node-2" if first.owner_of("things", each) == "node-2" else "node-1"
                await until(lambda: len(set_aside(first, each) + set_aside(second, each)) == 5)  # noqa: B023
                assert await within(there[each].ask(Say("open"))) == 5
                assert await within(asyncio.gather(*asks[each])) == [(2, where), (3, where)]
                assert await within(there[each].ask(Say("seen"))) == [1, 2, 3, 4, 5]
            assert not [each for each in await letters.all() if isinstance(each.message, Say)]


async def test_what_is_set_aside_and_unstashed_is_handled_before_what_waits() -> None:
    gate = asyncio.Event()

    class Slow(Door):
        async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
            if msg.what == "open":
                await gate.wait()
            await super().receive(msg, ctx)

    async with cluster(1) as [system]:
        things = await hosted(system, Slow)
        await all_open([system], "things")
        for number in range(3):
            things["a"].tell(Say(number))
        things["a"].tell(Say("open"))
        for number in range(3, 300):
            things["a"].tell(Say(number))
        answer = asyncio.ensure_future(things["a"].ask(Say("seen")))
        await until(
            lambda: (
                hosting_of(system).shards
                and any(each.ahead for shard in hosting_of(system).shards.values() for each in shard.entities.values())
            )
        )
        gate.set()
        assert await within(answer) == list(range(300))


async def test_what_a_message_of_its_own_unstashes_comes_before_a_message_that_it_has_in_its_mailbox() -> None:
    class Own(Door):
        async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
            if msg.what == "wake":
                ctx.self_ref.tell(Say("open"))
                ctx.reply(None)
            elif msg.what == "open" and not self.is_open:
                # By now the next ask is in the mailbox.
                assert the_entity(system).turn is not None
                await super().receive(msg, ctx)
            else:
                await super().receive(msg, ctx)

    async with cluster(1) as [system]:
        things = await hosted(system, Own, replication=KEPT)
        await all_open([system], "things")
        told = [asyncio.ensure_future(things["a"].ask(Say(number))) for number in range(2)]
        rest = [asyncio.ensure_future(things["a"].ask(Say(what))) for what in ("wake", 2, "seen")]
        assert [what for what, _ in await within(asyncio.gather(*told))] == [0, 1]
        assert (await within(asyncio.gather(*rest)))[2] == [0, 1, 2]


async def test_the_answer_to_what_was_set_aside_waits_until_its_state_is_kept() -> None:
    """Rule 4 of entities: the message in hand before it has changed nothing that is kept."""

    class Hidden(Door):
        def __init__(self, entity_id: str) -> None:
            super().__init__(entity_id)
            self._is_open = False

        async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
            if msg.what == "open":
                self._is_open = True
                ctx.unstash_all()
            elif self._is_open:
                self.seen.append(msg.what)
                ctx.reply("handled")
            else:
                ctx.stash(msg)

    async with cluster(2, leave_timeout=0.2) as (one, two):
        options = {"replication": ReplicationConfig(factor=2, sync_count=1, timeout=0.3)}
        things = await hosted(one, Hidden, **options)
        await hosted(two, Hidden, **options)
        await all_open([one, two], "things")
        [here] = ids_at(one, "things", 1)
        ask = asyncio.ensure_future(things[here].ask(Say("late")))
        await until(lambda: set_aside(one, here))
        inside_of(two).member.end()
        things[here].tell(Say("open"))
        with pytest.raises(ReplicationError):
            await within(ask)


async def test_what_is_set_aside_comes_back_at_a_restart() -> None:
    async with cluster(1) as [system]:
        things = await hosted(system, supervision=SupervisorConfig())
        await all_open([system], "things")
        asks = [asyncio.ensure_future(things["a"].ask(Say(number))) for number in range(2)]
        await until(lambda: len(set_aside(system, "a")) == 2)
        before = the_entity(system).body.instance
        things["a"].tell(Say("fail"))
        await until(lambda: the_entity(system).body.instance is not before and len(set_aside(system, "a")) == 2)
        assert await within(things["a"].ask(Say("open"))) == 2
        assert [what for what, _ in await within(asyncio.gather(*asks))] == [0, 1]


async def test_what_is_set_aside_is_lost_with_an_actor_that_stops() -> None:
    async with cluster(1) as [system]:
        letters = await subscribed(system, DeadLetter)
        things = await hosted(system)
        await all_open([system], "things")
        ask = asyncio.ensure_future(things["a"].ask(Say(1)))
        await until(lambda: set_aside(system, "a"))
        things["a"].tell(Say(2))
        things["a"].tell(Say("stop"))
        with pytest.raises(ActorStoppedError, match="Say was not handled by /things/a: the actor has stopped"):
            await within(ask)
        letter = await next_of(letters, DeadLetter)
        assert (letter.message, letter.reason) == (Say(2), Reason.STOPPED)
        assert await within(things["a"].ask(Say("seen"))) == []


async def test_of_what_is_set_aside_in_a_shard_that_is_halted_asks_are_asked_again_and_the_rest_stays() -> None:
    async with cluster(1) as [system]:
        things = await hosted(system)
        await all_open([system], "things")
        ask = asyncio.ensure_future(things["a"].ask(Say(1), PATIENCE))
        await until(lambda: set_aside(system, "a") == [Say(1)])
        things["a"].tell(Say(2))
        await until(lambda: len(set_aside(system, "a")) == 2)
        shard = the_entity(system).shard
        place = ("things", shard.number, shard.epoch)
        hosting_of(system).halt(said.HaltShard(*place, "for the test"))
        assert set_aside(system, "a") == [Say(2)]
        hosting_of(system).resume(said.ResumeShard(*place))
        await until(lambda: set_aside(system, "a") == [Say(2), Say(1)])
        assert await within(things["a"].ask(Say("open"))) == 2
        assert await within(ask) == (1, "node-1")
        assert await within(things["a"].ask(Say("seen"))) == [2, 1]


async def test_no_more_is_set_aside_than_the_mailbox_holds() -> None:
    full: list[StashFullError] = []

    class Full(Door):
        async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
            try:
                await super().receive(msg, ctx)
            except StashFullError as error:
                full.append(error)

    async with cluster(1) as [system]:
        things = await hosted(system, Full, mailbox=Mailbox(2))
        await all_open([system], "things")
        for number in range(3):
            await within(things["a"].send(Say(number)))
        assert len(full) == 1
        assert set_aside(system, "a") == [Say(0), Say(1)]
        assert await within(things["a"].ask(Say("open"))) == 2


async def test_what_is_set_aside_twice_or_answered_or_failed_is_handled_no_more_than_once_for_whoever_asked() -> None:
    handled: list[Any] = []

    def odd(entity_id: str) -> Behavior[Any]:
        def receive(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
            match msg.what:
                case "answered":
                    ctx.stash(msg)
                    ctx.reply("at once")
                case "at once again":
                    ctx.stash(msg)
                    ctx.unstash_all()
                    return Behaviors.receive(later)
                case "open":
                    ctx.unstash_all()
                    return Behaviors.receive(later)
            return Behaviors.same()

        def later(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
            handled.append(msg.what)
            ctx.reply("later")
            return Behaviors.same()

        return Behaviors.receive(receive)

    async with cluster(1) as [system]:
        things = system.spawn(Behaviors.sharded(odd, num_shards=4), "things")
        await all_open([system], "things")
        assert await within(things["a"].ask(Say("answered"))) == "at once"
        things["a"].tell(Say("open"))
        await until(lambda: handled == ["answered"])
        assert await within(things["a"].ask(Say("more"))) == "later"
        assert await within(things["b"].ask(Say("at once again"))) == "later"
        assert handled == ["answered", "more", "at once again"]


async def test_an_entity_that_has_set_something_aside_does_not_rest() -> None:
    async with cluster(1) as [system]:
        things = await hosted(system, idle_timeout=0.1)
        await all_open([system], "things")
        things["a"].tell(Say(1))
        await until(lambda: set_aside(system, "a"))
        await asyncio.sleep(0.5)
        assert set_aside(system, "a") == [Say(1)]
        await within(things["a"].ask(Say("open")))
        assert await within(things["a"].ask(Say("seen"))) == [1]
