"""What entities are told, of types of which nothing is kept: it waits in mailboxes, and is taken back from there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    Behavior,
    Behaviors,
    DeadLetter,
    DistributedSystem,
    Mailbox,
    Reason,
    SpyEvent,
    SupervisionStrategy,
    SupervisorConfig,
    UnhandledMessage,
)
from casty_asyncio.cluster.entities import Entity
from casty_asyncio.cluster.shards import Shard
from casty_proto.cluster import events

from ..probe import Probe
from .node_kit import all_open, cluster, has_open, hosting_of, joined, next_of, node, subscribed, until, within
from .things import Played, Say

COUNT = 20


class Gated:
    """The first message waits for the gate; all are written down, with the number of their instance."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[Any] = []

    async def __call__(self, played: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        self.begun.append(msg.what)
        if msg.what == 0:
            await self.gate.wait()
        played.seen.append(msg.what)
        if msg.what == "end":
            ctx.reply(list(played.seen))


async def hosted(system: DistributedSystem, play: Callable[..., Any], **options: Any) -> Any:
    """The ref of a type that a node hosts from now on."""
    return await within(system.spawn(Played, name="things", sharded=True, num_shards=4, play=play, **options))


def the_entity(system: DistributedSystem) -> tuple[Shard, Entity]:
    """The only one that a node has."""
    found = [(shard, each) for shard in hosting_of(system).shards.values() for each in shard.entities.values()]
    assert len(found) == 1
    return found[0]


async def held(system: DistributedSystem, things: Any, gated: Gated) -> tuple[Shard, Entity]:
    """An entity that has one message in hand and the others in its mailbox."""
    things["a"].tell(Say("first"))
    await until(lambda: gated.begun == ["first"] and not the_entity(system)[1].is_running)
    gated.begun.clear()
    for number in range(COUNT):
        things["a"].tell(Say(number))
    await until(lambda: gated.begun == [0] and the_entity(system)[1].ahead == COUNT - 1)
    return the_entity(system)


def place_of(shard: Shard) -> tuple[str, int, int]:
    return shard.region.name, shard.number, shard.epoch


async def test_what_is_in_the_mailbox_goes_with_the_shard_in_its_order() -> None:
    gate, begun = asyncio.Event(), []

    async def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        begun.append((self.entity_id, msg.what))
        if msg.what == 0:
            await gate.wait()
        self.seen.append(msg.what)
        if msg.what == "end":
            ctx.reply(list(self.seen))

    async with cluster(1) as [first]:
        letters = await subscribed(first, DeadLetter)
        things = await hosted(first, play)
        names = "abcdefghijkl"
        for name in names:
            assert await within(things[name].ask(Say("end"))) == ["end"]
        begun.clear()
        for number in range(COUNT):
            for name in names:
                things[name].tell(Say(number))
        await until(lambda: len(begun) == len(names))
        entities = [each for shard in hosting_of(first).shards.values() for each in shard.entities.values()]
        assert [each.ahead for each in entities] == [COUNT - 1] * len(names)
        async with node("node-2", first) as second:
            await joined(first, second)
            await hosted(second, play)
            await until(lambda: any(each.ahead == 0 for each in entities))
            moves = [each for each in entities if each.ahead == 0]
            assert len(begun) == len(names), "what is being closed begins nothing"
            gate.set()
            await all_open([first, second], "things")
            for name in names:
                assert await within(things[name].ask(Say("end"))) == ["end", *range(COUNT), "end"]
            assert {each.name for each in moves} == {name for name in names if has_open(second, "things", name)}
        assert await letters.all() == []


async def test_asks_and_tells_of_one_sender_are_handled_in_their_order() -> None:
    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        self.seen.append(msg.what)
        if msg.what % 7 == 0:
            ctx.reply(list(self.seen))

    async with cluster(2) as systems:
        things, _ = [await hosted(each, play) for each in systems]
        await all_open(systems, "things")
        for name in "abcd":
            asks = []
            for number in range(1, 50):
                if number % 7 == 0:
                    asks.append(asyncio.ensure_future(things[name].ask(Say(number))))
                    await asyncio.sleep(0)
                else:
                    things[name].tell(Say(number))
            assert await within(asyncio.gather(*asks)) == [list(range(1, n + 1)) for n in range(7, 50, 7)]


async def test_a_shard_that_is_halted_begins_nothing_and_goes_on_where_it_was() -> None:
    gated = Gated()
    async with cluster(1) as [system]:
        things = await hosted(system, gated)
        shard, entity = await held(system, things, gated)
        hosting = hosting_of(system)
        hosting.halt(events.HaltShard(*place_of(shard), "to see what happens"))
        assert entity.ahead == 0
        await until(lambda: entity.ref is None)
        assert gated.begun == [0]
        hosting.resume(events.ResumeShard(*place_of(shard)))
        assert await within(things["a"].ask(Say("end"))) == [*range(1, COUNT), "end"]


async def test_what_was_not_begun_becomes_dead_letters_when_a_halted_shard_is_dropped() -> None:
    gated = Gated()
    async with cluster(1) as [system]:
        letters = await subscribed(system, DeadLetter)
        things = await hosted(system, gated)
        shard, _ = await held(system, things, gated)
        hosting = hosting_of(system)
        hosting.halt(events.HaltShard(*place_of(shard), "to see what happens"))
        hosting.drop(events.DropShard(*place_of(shard)))
        found = [await next_of(letters, DeadLetter) for _ in range(COUNT - 1)]
        assert [each.message for each in found] == [Say(number) for number in range(1, COUNT)]
        assert {(each.ref, each.reason) for each in found} == {(things["a"], Reason.STOPPED)}
        assert gated.begun == [0]


async def test_nothing_begins_when_the_lease_is_over_and_nothing_loses_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gated = Gated()
    async with cluster(1) as [system]:
        things = await hosted(system, gated)
        shard, entity = await held(system, things, gated)
        hosting = hosting_of(system)
        with monkeypatch.context() as patched:
            patched.setattr(hosting, "may_act", lambda: False)
            gated.gate.set()
            await until(lambda: not entity.is_running)
            assert gated.begun == [0]
            assert entity.waiting is not None
            assert [turn.kind() for turn in entity.waiting] == ["Say"] * (COUNT - 1)
        hosting.resume(events.ResumeShard(*place_of(shard)))
        assert await within(things["a"].ask(Say("end"))) == ["first", *range(COUNT), "end"]


@pytest.mark.parametrize("how", ["stops", "fails"])
async def test_an_entity_that_ends_with_each_message_is_made_anew_for_each(how: str) -> None:
    handled: list[Any] = []

    async def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> Any:
        self.seen.append(msg.what)
        handled.append((msg.what, len(self.seen)))
        await asyncio.sleep(0)
        if how == "fails":
            raise ValueError("stop")
        return Behaviors.stopped()

    config = SupervisorConfig(strategy=SupervisionStrategy.STOP)
    async with cluster(1) as [system]:
        letters = await subscribed(system, DeadLetter)
        things = await hosted(system, play, supervision=config)
        for number in range(COUNT):
            things["a"].tell(Say(number))
        await until(lambda: len(handled) == COUNT)
        assert handled == [(number, 1) for number in range(COUNT)]
        assert await letters.all() == []


async def test_an_entity_that_never_starts_loses_what_it_is_told_and_says_so() -> None:
    class Unborn(Played):
        async def on_start(self) -> None:
            raise ValueError("never")

    config = SupervisorConfig(strategy=SupervisionStrategy.STOP)
    async with cluster(1) as [system]:
        letters = await subscribed(system, DeadLetter)
        things = await within(
            system.spawn(Unborn, name="things", sharded=True, num_shards=4, supervision=config, play=print)
        )
        for number in range(3):
            things["a"].tell(Say(number))
        found = [await next_of(letters, DeadLetter) for _ in range(3)]
        assert [(each.message, each.reason) for each in found] == [(Say(n), Reason.STOPPED) for n in range(3)]


async def test_a_restart_keeps_what_is_in_the_mailbox() -> None:
    handled: list[Any] = []

    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        self.seen.append(msg.what)
        handled.append((msg.what, len(self.seen)))
        if msg.what == 2:
            raise ValueError("again")

    async with cluster(1) as [system]:
        things = await hosted(system, play, supervision=SupervisorConfig(backoff_initial=0.0))
        for number in range(5):
            things["a"].tell(Say(number))
        await until(lambda: len(handled) == 5)
        assert handled == [(0, 1), (1, 2), (2, 3), (3, 1), (4, 2)]


async def test_a_limited_mailbox_gets_one_message_at_a_time() -> None:
    gated = Gated()
    async with cluster(1) as [system]:
        letters = await subscribed(system, DeadLetter)
        things = await hosted(system, gated, mailbox=Mailbox(2))
        for number in range(4):
            things["a"].tell(Say(number))
        letter = await next_of(letters, DeadLetter)
        assert (letter.message, letter.reason) == (Say(3), Reason.OVERFLOW)
        assert the_entity(system)[1].ahead == 0
        gated.gate.set()
        await until(lambda: gated.begun == [0, 1, 2])


async def test_what_is_told_can_be_stashed_spied_upon_and_not_understood() -> None:
    handled: list[Any] = []

    def patient(entity_id: str) -> Behavior[Any]:
        def receive(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
            if msg.what == "go":
                ctx.unstash_all()
                return Behaviors.receive(later)
            ctx.stash(msg)
            return Behaviors.same()

        def later(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
            handled.append((msg.what, ctx.sender))
            return Behaviors.unhandled() if msg.what == "odd" else Behaviors.same()

        return Behaviors.spy(Behaviors.receive(receive), probe.ref)

    async with cluster(1) as [system]:
        probe = Probe(system)
        unhandled = await subscribed(system, UnhandledMessage)
        things = system.spawn(Behaviors.sharded(patient, num_shards=4), "things")
        await all_open([system], "things")
        told = [("a", None), ("b", probe.ref), ("go", None), ("odd", probe.ref)]
        for what, sender in told:
            things["a"].tell(Say(what), sender)
        await until(lambda: len(handled) == 3)
        assert handled == [told[0], told[1], told[3]]
        spied = [each.event for each in await probe.all() if type(each) is SpyEvent]
        assert spied == [Say("a"), Say("b"), Say("go"), Say("a"), Say("b"), Say("odd")]
        assert (await next_of(unhandled, UnhandledMessage)).message == Say("odd")
