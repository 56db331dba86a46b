"""Spies: an observer is told what an actor handles, before it does; and spying changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    Context,
    DeadLetter,
    EventStreamSubscribe,
    Mailbox,
    MailboxOverflowStrategy,
    OneForOneStrategy,
    SpyEvent,
    Terminated,
    UsageError,
)

from .probe import Gate, Marker, Probe


def seen(events: list[SpyEvent[Any]]) -> list[tuple[str, Any]]:
    return [(event.actor_path, event.event) for event in events]


class Child(Actor[str]):
    async def receive(self, msg: str, ctx: Context) -> Any:
        if msg == "spawn":
            ref: ActorRef[Any] = ctx.spawn(echo(), "grandchild")
            ref.tell("from the child")
        return Behaviors.stopped() if msg == "stop" else None


def echo() -> Behavior[Any]:
    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        match message:
            case "fail":
                raise ValueError("as asked")
            case "stop":
                return Behaviors.stopped()
            case _:
                ctx.reply(message)
                return Behaviors.same()

    return Behaviors.receive(receive)


def parent() -> Behavior[Any]:
    """Has a child in each style, watched, and passes to them what it is told for them."""

    async def start(ctx: ActorContext[Any]) -> Behavior[Any]:
        children = {"class": await ctx.spawn(Child, "class"), "behavior": ctx.spawn(echo(), "behavior")}
        for child in children.values():
            ctx.watch(child)

        async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            if isinstance(message, tuple):
                name, text = message
                children[name].tell(text)
            return Behaviors.same()

        return Behaviors.receive(receive)

    return Behaviors.setup(start)


async def test_the_observer_is_told_of_every_message_in_order_with_path_and_time() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        loop = asyncio.get_running_loop()
        began = loop.time()
        ref = system.spawn(Behaviors.spy(echo(), probe.ref), "spied")
        ref.tell(1)
        assert await ref.ask("two") == "two"
        assert await system.ask(ref, lambda r: "three") == "three"
        events = await probe.all()
        assert seen(events) == [("/spied", 1), ("/spied", "two"), ("/spied", "three")]
        times = [event.timestamp for event in events]
        assert began <= times[0] <= times[1] <= times[2] <= loop.time()


async def test_the_observer_is_told_before_the_message_is_handled() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)

        async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            probe.ref.tell("handled")
            return Behaviors.same()

        system.spawn(Behaviors.spy(Behaviors.receive(receive), probe.ref), "spied").tell("message")
        event, handled = await probe.take(2)
        assert (event.event, handled) == ("message", "handled")


async def test_without_spy_children_the_children_are_not_spied_on() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(Behaviors.spy(parent(), probe.ref), "spied")
        ref.tell(("class", "hello"))
        ref.tell(("behavior", "hello"))
        ref.tell("end")
        assert seen(await probe.take(3)) == [
            ("/spied", ("class", "hello")),
            ("/spied", ("behavior", "hello")),
            ("/spied", "end"),
        ]
        assert await probe.all() == []


async def test_with_spy_children_children_of_both_styles_and_grandchildren_are_spied_on() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(Behaviors.spy(parent(), probe.ref, spy_children=True), "spied")
        for message in (("class", "hello"), ("behavior", "hello"), ("class", "spawn")):
            ref.tell(message)
        events = sorted(seen(await probe.take(7)), key=lambda each: each[0])
        assert events == [
            ("/spied", ("class", "hello")),
            ("/spied", ("behavior", "hello")),
            ("/spied", ("class", "spawn")),
            ("/spied/behavior", "hello"),
            ("/spied/class", "hello"),
            ("/spied/class", "spawn"),
            ("/spied/class/grandchild", "from the child"),
        ]


async def test_notices_that_a_watched_actor_has_stopped_are_spied_on_too() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(Behaviors.spy(parent(), probe.ref), "spied")
        ref.tell(("behavior", "stop"))
        told, noticed = await probe.take(2)
        assert told.event == ("behavior", "stop")
        assert isinstance(noticed.event, Terminated)
        assert noticed.event.ref.path == "/spied/behavior"


async def test_a_behavior_that_the_actor_becomes_is_spied_on_as_well() -> None:
    def counting(number: int) -> Behavior[Any]:
        async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            return counting(number + 1) if number < 2 else Behaviors.ignore()

        return Behaviors.receive(receive)

    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(Behaviors.spy(counting(0), probe.ref), "spied")
        for number in range(5):
            ref.tell(number)
        assert [event.event for event in await probe.take(5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("inside", [False, True])
async def test_a_restart_neither_ends_nor_doubles_the_spying(inside: bool) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        spied = Behaviors.spy(echo(), probe.ref)
        behavior = Behaviors.setup(lambda ctx: spied) if inside else spied
        ref = system.spawn(Behaviors.supervise(behavior, OneForOneStrategy()), "spied")
        for message in (1, "fail", 2, "fail", 3):
            ref.tell(message)
        assert [event.event for event in await probe.take(5)] == [1, "fail", 2, "fail", 3]
        assert await probe.all() == []


async def test_an_observer_that_is_named_twice_is_told_once_and_two_observers_are_both_told() -> None:
    async with ActorSystem() as system:
        one, two = Probe(system), Probe(system)
        behavior = Behaviors.spy(Behaviors.spy(Behaviors.spy(echo(), one.ref), two.ref), one.ref)
        system.spawn(behavior, "spied").tell("message")
        for probe in (one, two):
            assert seen([await probe.next()]) == [("/spied", "message")]
            assert await probe.all() == []


# -- spying changes nothing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", list(MailboxOverflowStrategy))
async def test_an_observer_with_a_full_mailbox_is_no_concern_of_the_actor(overflow: MailboxOverflowStrategy) -> None:
    gate = Gate()
    async with ActorSystem() as system:
        observer = system.spawn(gate.behavior(), mailbox=Mailbox(1, overflow))
        await gate.hold(observer)
        ref = system.spawn(Behaviors.spy(echo(), observer))
        for number in range(5):
            assert await ref.ask(number) == number
        assert system.dead_letters == 0
        gate.opened.set()


async def test_an_observer_that_has_stopped_is_no_concern_of_the_actor_and_makes_no_dead_letters() -> None:
    async with ActorSystem() as system:
        observer = Probe(system).ref
        ref = system.spawn(Behaviors.spy(echo(), observer))
        system.stop(observer)
        await system.wait_stopped(observer)
        assert await ref.ask("message") == "message"
        assert system.dead_letters == 0


async def test_a_spied_subscriber_to_dead_letters_with_a_lost_observer_comes_to_rest() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        probe, gone = Probe(system), Probe(system).ref
        full = system.spawn(gate.behavior(), mailbox=Mailbox(1))
        await gate.hold(full)
        full.tell("waits")
        system.stop(gone)
        await system.wait_stopped(gone)
        spied = system.spawn(Behaviors.spy(Behaviors.spy(probe.behavior(), gone), full))
        for event_type in (DeadLetter, Marker):
            system.event_stream.tell(EventStreamSubscribe(event_type, spied))
        gone.tell("letter")
        probe.ref = spied
        assert [letter.message for letter in await probe.events()] == ["letter"]
        gate.opened.set()


async def test_actors_that_observe_each_other_come_to_rest() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        other: list[ActorRef[Any]] = []

        def first(ctx: ActorContext[Any]) -> Behavior[Any]:
            other.append(ctx.spawn(Behaviors.spy(probe.behavior(), ctx.self), "second"))
            return Behaviors.spy(probe.behavior(), other[0])

        system.spawn(Behaviors.setup(first), "first").tell("message")
        message, event = await probe.take(2)
        assert message == "message"
        assert seen([event]) == [("/first", "message")]
        assert await probe.all() == []


async def test_an_observer_is_not_told_of_its_own_messages() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)

        def own_observer(ctx: ActorContext[Any]) -> Behavior[Any]:
            return Behaviors.spy(probe.behavior(), ctx.self)

        system.spawn(Behaviors.setup(own_observer)).tell("message")
        assert await probe.next() == "message"
        assert await probe.all() == []


async def test_what_is_no_ref_cannot_observe() -> None:
    wrong: Any
    for wrong in (None, "observer", echo(), Child):
        with pytest.raises(UsageError, match=r"the observer given to Behaviors.spy must be an ActorRef"):
            Behaviors.spy(echo(), wrong)
