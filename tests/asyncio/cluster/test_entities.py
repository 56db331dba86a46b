"""Entities and what is sent to them: ids, both styles, answers, failures, and the end of an entity."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    ActorFailedError,
    AskTimeoutError,
    Behavior,
    Behaviors,
    DeadLetter,
    DistributedSystem,
    Mailbox,
    MailboxFullError,
    MailboxOverflowStrategy,
    NotSendableError,
    OutcomeUnknownError,
    Reason,
    ShardEnvelope,
    SupervisionStrategy,
    SupervisorConfig,
    UsageError,
)
from casty_asyncio.cluster.items import Form
from casty_asyncio.cluster.names import SINGLETON_ID

from ..probe import Probe
from .node_kit import PATIENCE, all_open, cluster, hosting_of, ids_at, next_of, node, subscribed, until, within
from .things import Add, Counter, Get, Played, Question, Say, Where, counting


async def spawned(systems: list[DistributedSystem], name: str = "things", actor: Any = Counter, **options: Any) -> Any:
    """The ref that the first node has of a type that all of them host."""
    refs = [await within(each.spawn(actor, name=name, sharded=True, num_shards=16, **options)) for each in systems]
    await all_open(systems, name)
    return refs[0]


async def styled(systems: list[DistributedSystem], name: str, factory: Callable[[str], Behavior[Any]]) -> Any:
    """The same for behaviors."""
    refs = [each.spawn(Behaviors.sharded(factory, num_shards=16), name) for each in systems]
    await all_open(systems, name)
    return refs[0]


# -- mailboxes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "kept", "lost", "reason"),
    [
        (MailboxOverflowStrategy.drop_new, ["a", "b"], ["c", "d"], Reason.OVERFLOW),
        (MailboxOverflowStrategy.drop_oldest, ["c", "d"], ["a", "b"], Reason.OVERFLOW),
        (MailboxOverflowStrategy.reject, ["a", "b"], ["c", "d"], Reason.REJECTED),
    ],
)
async def test_as_many_messages_wait_for_an_entity_as_its_mailbox_has_room_for(
    strategy: MailboxOverflowStrategy, kept: list[str], lost: list[str], reason: Reason
) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        begun.set()
        await gate.wait()
        self.seen.append(msg.what)
        if msg.what in ("e", "f"):
            ctx.reply(list(self.seen))

    async with cluster(2) as systems:
        letters = [await subscribed(each, DeadLetter) for each in systems]
        things = await spawned(systems, actor=Played, play=play, mailbox=Mailbox(2, strategy))
        [here], [there] = (ids_at(each, "things", 1) for each in systems)
        for thing, probe in ((here, letters[0]), (there, letters[1])):
            gate.clear()
            begun.clear()
            things[thing].tell(Say("first"))
            await begun.wait()
            for what in "abcd":
                things[thing].tell(Say(what))
            found = [await next_of(probe, DeadLetter) for _ in lost]
            assert [(each.message, each.reason) for each in found] == [(Say(what), reason) for what in lost]
            if strategy is not MailboxOverflowStrategy.drop_oldest:
                with pytest.raises(MailboxFullError, match=f"Say was not handled by /things/{thing}"):
                    await within(things[thing].ask(Say("e")))
            gate.set()
            await until(lambda thing=thing: _seen(systems, thing) == ["first", *kept])  # type: ignore[misc]
            assert await within(things[thing].ask(Say("f"))) == ["first", *kept, "f"]


def _seen(systems: list[DistributedSystem], thing: str) -> list[Any]:
    entities = [shard.entities for each in systems for shard in hosting_of(each).shards.values()]
    body: Any = next(found[thing].body for found in entities if thing in found)
    return list(body.instance.seen)


async def test_what_has_waited_with_the_owner_before_is_not_dropped_for_a_lack_of_room() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        begun.set()
        await gate.wait()
        self.seen.append(msg.what)
        if msg.what == "end":
            ctx.reply(list(self.seen))

    async with cluster(1) as systems:
        things = await spawned(systems, actor=Played, play=play, mailbox=Mailbox(1))
        hosting = hosting_of(systems[0])
        things["a"].tell(Say("first"))
        await begun.wait()
        shard = hosting.shards["things", hosting.member.node.shard_of("things", "a")]
        items = [hosting.items.message(things["a"], Form.TELL, None, None, Say(number)) for number in range(3)]
        hosting._take(shard, tuple(items), have_waited=True)
        gate.set()
        await until(lambda: _seen(systems, "a") == ["first", 0, 1, 2])
        assert await within(things["a"].ask(Say("end"))) == ["first", 0, 1, 2, "end"]


# -- ids and styles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entity_id", ["a", "/", "a/b", "..", " ", "ü", "日本", "x" * 300, "a\x00", "_a", "$a", "%41"])
async def test_any_text_but_the_empty_one_is_an_id(entity_id: str) -> None:
    async with cluster(2) as systems:
        things = await spawned(systems)
        assert await things[entity_id].ask(Add(2)) == 2
        assert await things[entity_id].ask(Add(3)) == 5
        answer = await systems[1].ask(things[entity_id], lambda reply_to: Question("?", reply_to))
        assert answer == (entity_id, 5)
        assert await things[f"{entity_id}'"].ask(Get()) == 0


@pytest.mark.parametrize("entity_id", ["", None, 7, b"a", "\x00a", "x" * 4097, "\ud800", SINGLETON_ID])
async def test_what_is_no_text_is_no_id(entity_id: Any) -> None:
    async with cluster(1) as [system]:
        things = await spawned([system])
        with pytest.raises(UsageError, match="id of an entity of 'things' must be a text"):
            things[entity_id]


async def test_an_envelope_to_the_type_goes_to_the_entity() -> None:
    async with cluster(2) as systems:
        things = await styled(systems, "things", counting)
        for entity_id in "abcdef":
            things.tell(ShardEnvelope(entity_id, Add(2)))
            await things.send(ShardEnvelope(entity_id, Add(3)))
            assert await things.ask(ShardEnvelope(entity_id, Get())) == 5
        with pytest.raises(UsageError, match="use things"):
            things.tell(Add(1))
        with pytest.raises(UsageError, match="must be a string"):
            ShardEnvelope(7, Add(1))  # type: ignore[arg-type]


async def test_an_envelope_to_the_path_of_the_type_goes_to_the_entity() -> None:
    async with cluster(2) as systems:
        things = await spawned(systems)
        guardian = hosting_of(systems[1]).regions["things"].guardian
        guardian.tell(ShardEnvelope("a", Add(4)))
        shards = [shard for each in systems for shard in hosting_of(each).shards.values()]
        await until(lambda: any("a" in shard.entities for shard in shards))
        assert await things["a"].ask(Get()) == 4


async def test_a_behavior_and_a_class_answer_both_ways_to_ask() -> None:
    async with cluster(2) as systems:
        classes = await spawned(systems, "classes")
        behaviors = await styled(systems, "behaviors", counting)
        for things in (classes, behaviors):
            for system in systems:
                for entity_id in ids_at(system, things.name, 2):
                    assert await things[entity_id].ask(Add(3)) == 3
                    asked = await systems[0].ask(things[entity_id], lambda reply_to: Question("?", reply_to))
                    assert asked == (entity_id, 3)
                    assert await things[entity_id].ask(Where()) == system.node_id


async def test_a_constructor_without_entity_id_is_not_given_it() -> None:
    class Plain(Counter):
        def __init__(self, start: int) -> None:
            super().__init__("")
            self.count = start

    async with cluster(1) as [system]:
        things = await spawned([system], actor=Plain, start=7)
        assert await things["a"].ask(Add(1)) == 8
        with pytest.raises(UsageError, match="given to each entity by itself"):
            await system.spawn(Plain, name="others", sharded=True, entity_id="a", start=7)


async def test_a_node_that_has_not_spawned_the_type_finds_it_by_its_name() -> None:
    async with cluster(2) as systems:
        assert systems[1].lookup("things").ref is None
        await spawned(systems[:1])
        await until(lambda: systems[1].lookup("things").ref is not None)
        things = await systems[1].lookup("things")
        assert things is not None
        assert await things["a"].ask(Add(2)) == 2
        assert await things["a"].ask(Where()) == "node-1"
        assert systems[1].lookup("/things").ref == things


# -- answers -----------------------------------------------------------------------------------------------------------


async def test_a_handle_may_be_kept_and_answered_later_or_given_to_another_actor() -> None:
    kept: list[Any] = []

    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        match msg:
            case Say("keep"):
                kept.append(ctx.sender)
            case Say("release"):
                kept.pop().tell("late")
            case Question("keep", reply_to):
                kept.append(reply_to)
            case Question(other, reply_to):
                other.tell(Say(reply_to))

    def answering(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
        msg.what.tell("from another")
        return Behaviors.same()

    async with cluster(2) as systems:
        things = await spawned(systems, actor=Played, play=play)
        other = systems[0].spawn(Behaviors.receive(answering))
        for system in systems:
            for replication in (False, True):
                thing = things[ids_at(system, "things", 2)[replication]]
                ask = asyncio.ensure_future(thing.ask(Say("keep")))
                await until(lambda: kept)
                thing.tell(Say("release"))
                assert await within(ask) == "late"
                ask = asyncio.ensure_future(systems[0].ask(thing, lambda reply_to: Question("keep", reply_to)))
                await until(lambda: kept)
                kept.pop().tell("later")
                assert await within(ask) == "later"
                assert await systems[0].ask(thing, lambda reply_to: Question(other, reply_to)) == "from another"


async def test_an_ask_that_nobody_answers_ends_with_its_timeout() -> None:
    async with cluster(2) as systems:
        things = await spawned(systems, actor=Played, play=lambda self, msg, ctx: None)
        for system in systems:
            with pytest.raises(AskTimeoutError, match="did not answer Say within"):
                await things[ids_at(system, "things", 1)[0]].ask(Say(), timeout=0.1)


async def test_an_answer_that_comes_too_late_is_a_dead_letter_where_it_was_given() -> None:
    kept: list[Any] = []

    async with cluster(2) as systems:
        things = await spawned(systems, actor=Played, play=lambda self, msg, ctx: kept.append(ctx.sender))
        for system in systems:
            probe = await subscribed(system, DeadLetter)
            with pytest.raises(AskTimeoutError):
                await things[ids_at(system, "things", 1)[0]].ask(Say(), timeout=0.05)
            kept.pop().tell(Say("too late"))
            letter = await next_of(probe, DeadLetter)
            assert letter.message == Say("too late")
            assert letter.reason in (Reason.ASK_OVER, Reason.STOPPED)


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_the_failure_of_a_handler_is_told_with_its_cause() -> None:
    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        raise ValueError("no such thing")

    def failing(entity_id: str) -> Behavior[Any]:
        def receive(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
            raise ValueError("no such thing")

        return Behaviors.receive(receive)

    async with cluster(2) as systems:
        classes = await spawned(systems, "classes", Played, play=play)
        behaviors = await styled(systems, "behaviors", failing)
        for things in (classes, behaviors):
            for system in systems:
                [entity_id] = ids_at(system, things.name, 1)
                for _ in range(2):
                    with pytest.raises(ActorFailedError, match=f"/{entity_id} failed on Say") as failure:
                        await things[entity_id].ask(Say())
                    assert isinstance(failure.value.__cause__, ValueError)
                with pytest.raises(ActorFailedError):
                    await systems[0].ask(things[entity_id], lambda reply_to: Question("?", reply_to))


async def test_a_constructor_that_raises_fails_every_ask_that_waits() -> None:
    class Broken(Counter):
        def __init__(self, entity_id: str) -> None:
            raise ValueError("not today")

    async with cluster(1) as [system]:
        things = await spawned([system], actor=Broken)
        asks = [asyncio.ensure_future(things["a"].ask(Get())) for _ in range(5)]
        for ask in asks:
            with pytest.raises(ActorFailedError, match="/a cannot be made: ValueError"):
                await within(ask)


async def test_a_start_hook_that_fails_for_good_fails_the_ask() -> None:
    class Broken(Counter):
        async def on_start(self) -> None:
            raise ValueError("not today")

    config = SupervisorConfig(strategy=SupervisionStrategy.STOP)
    async with cluster(1) as [system]:
        things = await spawned([system], actor=Broken, supervision=config)
        asks = [asyncio.ensure_future(things["a"].ask(Get())) for _ in range(3)]
        for ask in asks:
            with pytest.raises((ActorFailedError, OutcomeUnknownError, Exception), match="/things/a") as failure:
                await within(ask)
            assert not isinstance(failure.value, TimeoutError)


async def test_what_cannot_be_sent_is_the_senders_error() -> None:
    async with cluster(1) as [system]:
        things = await spawned([system])
        for call in (things["a"].ask, things["a"].send):
            with pytest.raises(NotSendableError, match=r"^Say cannot be sent to /things/a: Say\.what: object of type"):
                await call(Say(object()))
        with pytest.raises(NotSendableError):
            things["a"].tell(Say(object()))
        assert await things["a"].ask(Get()) == 0


async def test_an_answer_that_cannot_be_sent_is_a_failure_of_the_ask() -> None:
    async with cluster(2) as systems:
        things = await spawned(systems, actor=Played, play=lambda self, msg, ctx: ctx.reply(object()))
        for system in systems:
            with pytest.raises(ActorFailedError, match="cannot be sent"):
                await things[ids_at(system, "things", 1)[0]].ask(Say())


# -- an entity's end ---------------------------------------------------------------------------------------------------


async def test_an_entity_that_stops_itself_comes_back_for_the_messages_that_wait() -> None:
    class Brief(Counter):
        def receive(self, msg: Any, ctx: ActorContext[Any]) -> Any:
            self.count += 1
            ctx.reply((msg, self.count))
            return Behaviors.stopped()

    async with cluster(2) as systems:
        things = await spawned(systems, actor=Brief)
        for system in systems:
            thing = things[ids_at(system, "things", 1)[0]]
            asks = [asyncio.ensure_future(thing.ask(Say(number))) for number in range(5)]
            assert await within(asyncio.gather(*asks)) == [(Say(number), 1) for number in range(5)]


async def test_an_entity_whose_supervision_stops_it_comes_back_for_the_messages_that_wait() -> None:
    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        if msg.what == 0:
            raise ValueError("stop")
        ctx.reply(msg)

    config = SupervisorConfig(strategy=SupervisionStrategy.STOP)
    async with cluster(2) as systems:
        things = await spawned(systems, actor=Played, supervision=config, play=play)
        for system in systems:
            thing = things[ids_at(system, "things", 1)[0]]
            asks = [asyncio.ensure_future(thing.ask(Say(number))) for number in range(5)]
            with pytest.raises(ActorFailedError):
                await within(asks[0])
            assert await within(asyncio.gather(*asks[1:])) == [Say(number) for number in range(1, 5)]


async def test_a_restart_keeps_what_waits_and_begins_anew() -> None:
    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        self.seen.append(msg.what)
        if msg.what == 2:
            raise ValueError("again")
        ctx.reply(list(self.seen))

    async with cluster(1) as [system]:
        things = await spawned([system], actor=Played, supervision=SupervisorConfig(backoff_initial=0.0), play=play)
        asks = [asyncio.ensure_future(things["a"].ask(Say(number))) for number in range(5)]
        found = await within(asyncio.gather(*asks, return_exceptions=True))
        assert isinstance(found.pop(2), ActorFailedError)
        assert found == [[0], [0, 1], [3], [3, 4]]


async def test_a_stopped_entity_owes_no_answer_any_more() -> None:
    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> Any:
        return Behaviors.stopped() if msg.what == "stop" else None

    async with cluster(2) as systems:
        things = await spawned(systems, actor=Played, play=play)
        for system in systems:
            thing = things[ids_at(system, "things", 1)[0]]
            ask = asyncio.ensure_future(thing.ask(Say("?"), timeout=PATIENCE))
            await asyncio.sleep(0)
            thing.tell(Say("stop"))
            with pytest.raises(Exception, match="can no longer answer Say"):
                await within(ask)


# -- order, senders, children ------------------------------------------------------------------------------------------


async def test_messages_of_one_sender_arrive_in_their_order() -> None:
    async with cluster(3) as systems:

        def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> Any:
            if msg.what == "end":
                ctx.reply(self.seen)
            else:
                self.seen.append(msg.what)

        things = await spawned(systems, actor=Played, play=play)
        ids = [each for system in systems for each in ids_at(system, "things", 3)]
        for number in range(300):
            for each in ids:
                things[each].tell(Say(number))
            await asyncio.sleep(0)
        for each in ids:
            assert await things[each].ask(Say("end")) == list(range(300))


async def test_the_sender_of_a_tell_can_be_answered() -> None:
    async with cluster(2) as systems:
        things = await spawned(systems, actor=Played, play=lambda self, msg, ctx: ctx.sender.tell(msg, ctx.self_ref))
        probe = Probe(systems[0])
        for system in systems:
            thing = things[ids_at(system, "things", 1)[0]]
            thing.tell(Say(system.node_id), probe.ref)
            assert await within(probe.next()) == Say(system.node_id)
            await thing.send(Say("sent"), probe.ref)
            assert await within(probe.next()) == Say("sent")


async def test_a_message_that_cannot_be_decoded_fails_its_ask_and_no_other() -> None:
    async with cluster(2, secret=None) as systems:
        things = await spawned(systems)
        thing = things[ids_at(systems[1], "things", 1)[0]]

        class Strange(Say):
            pass

        with pytest.raises(Exception, match=r"cannot be decoded|cannot be sent"):
            await thing.ask(Strange("?"))
        assert await thing.ask(Add(1)) == 1


async def test_children_and_timers_of_an_entity_live_with_it() -> None:
    told: list[Any] = []

    def hear(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
        told.append(msg)
        return Behaviors.same()

    class Parent(Counter):
        async def receive(self, msg: Any, ctx: ActorContext[Any]) -> Any:
            match msg:
                case Say("begin"):
                    child = ctx.spawn(Behaviors.receive(hear), "child")
                    child.tell("hello")
                    ctx.schedule("tick", Say("tick"), 0.01)
                    ctx.reply(child.path)
                case Say("tick"):
                    told.append("tick")
                    self.count += 1
                case Get():
                    ctx.reply((self.count, [each.name for each in ctx.children]))

    async with cluster(1) as [system]:
        things = await spawned([system], actor=Parent)
        assert await things["a"].ask(Say("begin")) == "/things/a/child"
        await until(lambda: {"hello", "tick"} <= set(told))
        count, children = await things["a"].ask(Get())
        assert count >= 1
        assert children == ["child"]


# -- wrong calls -------------------------------------------------------------------------------------------------------


async def test_a_type_has_the_same_settings_on_all_nodes() -> None:
    async with cluster(2) as systems:
        await systems[0].spawn(Counter, name="things", sharded=True, num_shards=8)
        with pytest.raises(Exception, match="'things' is known in the cluster with other settings"):
            await systems[1].spawn(Counter, name="things", sharded=True, num_shards=16)
        await systems[1].spawn(Counter, name="things", sharded=True, num_shards=8)
        with pytest.raises(Exception, match="'things' was spawned on this node already"):
            await systems[1].spawn(Counter, name="things", sharded=True, num_shards=8)


async def test_a_node_that_was_not_started_says_so() -> None:
    system = node("node-1")
    with pytest.raises(UsageError, match="not started"):
        system.spawn(Behaviors.sharded(counting), "things")
    with pytest.raises(UsageError, match="not started"):
        _ = system.members
