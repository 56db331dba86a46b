"""Rules 3 and 5: actors of other processes as subscribers of the event stream and of the receptionist."""

from __future__ import annotations

import threading
from typing import Any

from attrs import frozen

from casty_asyncio import (
    ActorContext,
    ActorRef,
    Behavior,
    Behaviors,
    Deregister,
    EventStreamPublish,
    EventStreamSubscribe,
    EventStreamUnsubscribe,
    Find,
    Listing,
    Register,
    ServiceInstance,
    ServiceKey,
    SubscribeListing,
    UnhandledMessage,
)

from ..probe import Probe, within
from .kit import echo, listening, looked_up, pair, process, until
from .parcels import Echo, Halt, Spawn

KEY: ServiceKey[Any] = ServiceKey("echo")


@frozen
class Weather:
    what: Any


async def test_rule_5_a_subscriber_elsewhere_gets_events_until_it_stops() -> None:
    async with pair() as (one, other):
        here = Probe(one)
        there = Probe(other, "there")
        ref = await looked_up(one, other, "there")
        one.event_stream.tell(EventStreamSubscribe(Weather, ref))
        one.event_stream.tell(EventStreamSubscribe(Weather, here.ref))
        for number in range(10):
            one.event_stream.tell(EventStreamPublish(Weather(number)))
        assert await there.take(10) == [Weather(number) for number in range(10)]
        other.stop(there.ref)
        await until(lambda: ref not in one._events._subscriptions[Weather])
        one.event_stream.tell(EventStreamPublish(Weather("later")))
        assert (await here.take(11))[-1] == Weather("later")
        assert one.dead_letters == 0


async def test_rule_5_a_subscriber_elsewhere_can_unsubscribe() -> None:
    async with pair() as (one, other):
        there = Probe(other, "there")
        ref = await looked_up(one, other, "there")
        one.event_stream.tell(EventStreamSubscribe(Weather, ref))
        one.event_stream.tell(EventStreamPublish(Weather("first")))
        one.event_stream.tell(EventStreamUnsubscribe(ref))
        one.event_stream.tell(EventStreamPublish(Weather("second")))
        assert await there.next() == Weather("first")
        await until(lambda: not one._events._subscriptions)
        ref.tell("after it")
        assert await there.next() == "after it"


async def test_rule_3_an_event_that_cannot_be_sent_to_one_subscriber_reaches_the_others() -> None:
    async with pair() as (one, other):
        here, there = Probe(one), Probe(other, "there")
        ref = await looked_up(one, other, "there")
        one.event_stream.tell(EventStreamSubscribe(Weather, ref))
        one.event_stream.tell(EventStreamSubscribe(Weather, here.ref))
        lock = threading.Lock()
        for weather in (Weather(lock), Weather("fine")):
            one.event_stream.tell(EventStreamPublish(weather))
        assert await here.take(2) == [Weather(lock), Weather("fine")]
        assert await there.next() == Weather("fine")


async def test_rule_3_news_that_cannot_be_sent_does_no_harm_to_whom_it_is_about() -> None:
    def picky() -> Behavior[Any]:
        def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            if message == "answer":
                ctx.reply("still here")
                return Behaviors.same()
            return Behaviors.unhandled()

        return Behaviors.receive(receive)

    async with pair() as (one, other):
        there = Probe(other, "there")
        ref = await looked_up(one, other, "there")
        one.event_stream.tell(EventStreamSubscribe(UnhandledMessage, ref))
        await until(lambda: one._events._subscriptions)
        target = one.spawn(picky(), "picky")
        target.tell(threading.Lock())
        target.tell("news")
        assert await within(target.ask("answer")) == "still here"
        news = await there.next()
        assert isinstance(news, UnhandledMessage)
        assert news.message == "news"
        assert news.ref == await looked_up(other, one, "picky")


async def test_rule_5_the_receptionist_lists_actors_of_other_processes_until_they_stop() -> None:
    async with listening() as system, process() as there:
        desk = await there.look_up(system, "desk")
        children = [await within(desk.ask(Spawn())) for _ in range(2)]
        watching = Probe(system)
        system.receptionist_ref.tell(SubscribeListing(KEY, watching.ref))
        assert not await watching.next()
        for child in children:
            system.receptionist_ref.tell(Register(KEY, child))
        await watching.next()
        assert await watching.next() == Listing(KEY, tuple(ServiceInstance(child) for child in children))
        assert await within(system.lookup(KEY).instances[0].ref.ask(Echo("found"))) == "found"
        children[0].tell(Halt())
        assert await watching.next() == Listing(KEY, (ServiceInstance(children[1]),))
        system.receptionist_ref.tell(Deregister(KEY, children[1]))
        assert not await watching.next()


async def test_rule_5_the_receptionist_forgets_the_actors_of_a_killed_process() -> None:
    async with listening(refused_after=0.05) as system, process() as there:
        desk = await there.look_up(system, "desk")
        watching = Probe(system)
        system.receptionist_ref.tell(Register(KEY, desk))
        system.receptionist_ref.tell(SubscribeListing(KEY, watching.ref))
        assert len(await watching.next()) == 1
        await there.kill()
        assert not await watching.next()
        assert not system.receptionist._keys.get(desk)


async def test_rule_5_a_subscriber_elsewhere_gets_listings_whose_refs_mean_the_same_there() -> None:
    async with pair() as (one, other):
        there = Probe(other, "there")
        ref = await looked_up(one, other, "there")
        one.receptionist_ref.tell(SubscribeListing(KEY, ref))
        assert await there.next() == Listing(KEY)
        mine, theirs = one.spawn(echo(), "mine"), other.spawn(echo(), "theirs")
        one.receptionist_ref.tell(Register(KEY, mine))
        (instance,) = await there.next()
        assert instance.ref == await looked_up(other, one, "mine")
        assert await within(instance.ref.ask("reachable")) == "reachable"
        one.receptionist_ref.tell(Register(KEY, await looked_up(one, other, "theirs")))
        assert [each.ref for each in await there.next()] == [instance.ref, theirs]
        other.stop(there.ref)
        await until(lambda: not one.receptionist._subscribers)
        one.stop(mine)
        await one.wait_stopped(mine)
        assert one.dead_letters == 0


async def test_rule_4_an_ask_from_elsewhere_can_be_answered_by_the_receptionist() -> None:
    def relay() -> Behavior[Any]:
        def receive(ctx: ActorContext[Any], message: ActorRef[Any]) -> Behavior[Any]:
            ctx.system.receptionist_ref.tell(Find(KEY, message))
            ctx.system.receptionist_ref.tell(SubscribeListing(KEY, message))
            return Behaviors.same()

        return Behaviors.receive(receive)

    async with pair() as (one, other):
        other.spawn(relay(), "relay")
        ref = await looked_up(one, other, "relay")
        assert await within(one.ask(ref, lambda reply_to: reply_to)) == Listing(KEY)
        assert not other.receptionist._subscribers
