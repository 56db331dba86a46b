"""The event stream, `system.event_stream`: who hears of what, in which order, and what it must not do."""

from __future__ import annotations

import asyncio

import pytest
from attrs import frozen

from casty_asyncio import (
    ActorContext,
    ActorRef,
    ActorRestarted,
    ActorStarted,
    ActorStopped,
    ActorSystem,
    Behavior,
    Behaviors,
    DeadLetter,
    EventStreamPublish,
    EventStreamSubscribe,
    EventStreamUnsubscribe,
    Mailbox,
    MailboxOverflowStrategy,
    OneForOneStrategy,
    Reason,
    SystemEvent,
    UnhandledMessage,
    UsageError,
)

from .probe import Gate, Marker, Probe, within


async def subscribed(system: ActorSystem, *event_types: type) -> Probe:
    probe = Probe(system, "probe")
    await probe.all()
    for event_type in (*event_types, Marker):
        system.event_stream.tell(EventStreamSubscribe(event_type, probe.ref))
    return probe


def idle() -> Behavior[object]:
    return Behaviors.receive(lambda ctx, message: Behaviors.same())


def moody() -> Behavior[str]:
    """Fails on "fail", does not understand "what", stops on "stop"."""

    async def receive(ctx: ActorContext[str], message: str) -> Behavior[str]:
        match message:
            case "fail":
                raise ValueError("as asked")
            case "what":
                return Behaviors.unhandled()
            case "stop":
                return Behaviors.stopped()
            case _:
                return Behaviors.same()

    return Behaviors.supervise(Behaviors.receive(receive), OneForOneStrategy())


# -- what is published -------------------------------------------------------------------------------------------------


async def test_each_event_of_a_life_is_published_in_order_after_a_subscribe_that_was_told_just_before() -> None:
    async with ActorSystem() as system:
        probe = await subscribed(system, SystemEvent)
        await probe.events()
        ref = system.spawn(moody(), "moody")
        for message in ("fail", "what", "stop", "late"):
            ref.tell(message)
        await system.wait_stopped(ref)
        ref.tell("too late")
        started, restarted, unhandled, *letters, last = await probe.events()
        assert started == ActorStarted(ref)
        assert isinstance(restarted, ActorRestarted)
        assert restarted.ref == ref
        assert isinstance(restarted.exception, ValueError)
        assert unhandled == UnhandledMessage("what", ref)
        assert letters == [DeadLetter("late", ref, Reason.STOPPED), ActorStopped(ref)]
        assert last == DeadLetter("too late", ref, Reason.STOPPED)


async def test_a_subscribe_just_before_a_spawn_is_in_time_though_nobody_was_subscribed_before() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        await probe.all()
        system.event_stream.tell(EventStreamSubscribe(ActorStarted, probe.ref))
        ref = system.spawn(idle())
        assert await probe.next() == ActorStarted(ref)


async def test_children_are_published_and_a_stop_is_published_bottom_up() -> None:
    def parent(ctx: ActorContext[object]) -> Behavior[object]:
        ctx.spawn(idle(), "child")
        return idle()

    async with ActorSystem() as system:
        probe = await subscribed(system, ActorStarted, ActorStopped)
        ref = system.spawn(Behaviors.setup(parent), "parent")
        assert [(type(event), event.ref.path) for event in await probe.take(2)] == [
            (ActorStarted, "/parent"),
            (ActorStarted, "/parent/child"),
        ]
        system.stop(ref)
        await system.wait_stopped(ref)
        assert [event.ref.path for event in await probe.events()] == ["/parent/child", "/parent"]


async def test_the_lives_of_the_systems_own_actors_are_not_published() -> None:
    async with ActorSystem() as system:
        probe = await subscribed(system, SystemEvent)
        assert system.receptionist_ref.path == "/_receptionist"
        scheduler = system.scheduler
        assert await probe.events() == []
        system.stop(scheduler)
        await system.wait_stopped(scheduler)
        assert await probe.events() == []


async def test_nothing_is_sent_while_nobody_is_subscribed() -> None:
    async with ActorSystem() as system:
        probe = await subscribed(system, ActorStarted)
        await probe.events()
        system.event_stream.tell(EventStreamUnsubscribe(probe.ref))
        await within(system.wait_stopped(_stopped(system)))
        stream = system._running
        assert stream is not None
        cell = stream.machine.child(stream.machine.system, "_event_stream")
        assert cell is not None
        assert not cell.held
        ref = system.spawn(idle())
        system.stop(ref)
        ref.tell("dead")
        assert (cell.held, cell.queue) == (False, None)


def _stopped(system: ActorSystem) -> ActorRef[object]:
    """An actor that stops after everybody who has something to do now."""
    ref: ActorRef[object] = system.spawn(Behaviors.receive(lambda ctx, message: Behaviors.stopped()))
    ref.tell("stop")
    return ref


async def test_a_custom_event_reaches_its_subscribers() -> None:
    @frozen
    class PriceChanged:
        price: int

    async with ActorSystem() as system:
        probe = await subscribed(system, PriceChanged)
        system.event_stream.tell(EventStreamPublish(PriceChanged(3)))
        system.event_stream.tell(EventStreamPublish("another"))
        assert await probe.events() == [PriceChanged(3)]


# -- who hears of it ---------------------------------------------------------------------------------------------------


async def test_a_subscription_to_a_base_class_gets_its_subclasses_and_no_others() -> None:
    class Base: ...

    class Derived(Base): ...

    async with ActorSystem() as system:
        probe = await subscribed(system, Base)
        events = [Derived(), Base(), object()]
        for event in events:
            system.event_stream.tell(EventStreamPublish(event))
        assert await probe.events() == events[:2]


async def test_an_event_comes_once_to_a_handler_with_several_subscriptions_for_it() -> None:
    async with ActorSystem() as system:
        probe = await subscribed(system, SystemEvent, ActorStarted, ActorStarted, object)
        await probe.events()
        ref = system.spawn(idle())
        assert await probe.next() == ActorStarted(ref)
        assert await probe.events() == []


async def test_a_union_of_classes_is_one_subscription() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        await probe.all()
        system.event_stream.tell(EventStreamSubscribe(ActorStarted | ActorStopped | Marker, probe.ref))
        ref = system.spawn(idle())
        assert await probe.next() == ActorStarted(ref)
        system.stop(ref)
        assert await probe.events() == [ActorStopped(ref)]


async def test_unsubscribing_ends_one_subscription_and_without_a_type_all_of_them() -> None:
    async with ActorSystem() as system:
        probe = await subscribed(system, ActorStarted, ActorStopped)
        await probe.events()
        system.event_stream.tell(EventStreamUnsubscribe(probe.ref, ActorStarted))
        ref = system.spawn(idle())
        system.stop(ref)
        await system.wait_stopped(ref)
        assert await probe.events() == [ActorStopped(ref)]
        other = Probe(system)
        for event_type in (ActorStarted, ActorStopped, DeadLetter):
            system.event_stream.tell(EventStreamSubscribe(event_type, other.ref))
        system.event_stream.tell(EventStreamUnsubscribe(other.ref))
        ref = system.spawn(idle())
        system.stop(ref)
        await system.wait_stopped(ref)
        await probe.events()
        assert await other.all() == []


async def test_unsubscribing_what_was_not_subscribed_changes_nothing() -> None:
    async with ActorSystem() as system:
        probe = await subscribed(system, ActorStopped)
        system.event_stream.tell(EventStreamUnsubscribe(probe.ref, DeadLetter))
        ref = system.spawn(idle())
        system.event_stream.tell(EventStreamUnsubscribe(ref))
        system.stop(ref)
        await system.wait_stopped(ref)
        assert await probe.events() == [ActorStopped(ref)]


async def test_a_subscriber_that_stops_is_dropped_and_costs_no_dead_letters() -> None:
    async with ActorSystem() as system:
        gone = Probe(system, "gone")
        for event_type in (ActorStarted, ActorStopped, DeadLetter):
            system.event_stream.tell(EventStreamSubscribe(event_type, gone.ref))
        watching = await subscribed(system, DeadLetter)
        await watching.events()
        system.stop(gone.ref)
        await system.wait_stopped(gone.ref)
        system.spawn(idle())
        await watching.events()
        assert system._events._subscriptions.keys() == {DeadLetter, Marker}
        assert system.dead_letters == 0


async def test_a_subscriber_that_has_stopped_already_is_not_kept() -> None:
    async with ActorSystem() as system:
        gone = Probe(system)
        system.stop(gone.ref)
        await system.wait_stopped(gone.ref)
        probe = await subscribed(system)
        system.event_stream.tell(EventStreamSubscribe(ActorStarted, gone.ref))
        await probe.events()
        await probe.events()
        assert system._events._subscriptions.keys() == {Marker}


async def test_the_handle_of_an_ask_can_wait_for_one_event() -> None:
    async with ActorSystem() as system:
        probe = await subscribed(system)
        asked = system.ask(system.event_stream, lambda r: EventStreamSubscribe(DeadLetter, r))
        nobody = _stopped(system)
        await system.wait_stopped(nobody)
        system.schedule("die", nobody, "late", 0.0)
        assert await within(asked) == DeadLetter("late", nobody, Reason.STOPPED)
        nobody.tell("later")
        await probe.events()
        assert system._events._subscriptions.keys() == {Marker}
        assert system.dead_letters == 2


# -- what it must not do -----------------------------------------------------------------------------------------------


async def test_dead_letters_of_events_are_no_events() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        probe = await subscribed(system, DeadLetter)
        full = system.spawn(gate.behavior(), "full", mailbox=Mailbox(1))
        await gate.hold(full)
        system.event_stream.tell(EventStreamSubscribe(DeadLetter, full))
        for number in range(3):
            full.tell(number)
        gate.opened.set()
        letters = await probe.events()
        assert [letter.message for letter in letters] == [1, 2]
        assert system.dead_letters == 2


async def test_a_subscriber_that_understands_no_events_does_not_hear_of_that() -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()

    async def receive(ctx: ActorContext[object], message: object) -> Behavior[object]:
        heard.put_nowait(message)
        return Behaviors.unhandled()

    async with ActorSystem() as system:
        probe = await subscribed(system, UnhandledMessage)
        deaf = system.spawn(Behaviors.receive(receive), "deaf")
        system.event_stream.tell(EventStreamSubscribe(UnhandledMessage, deaf))
        deaf.tell("what?")
        assert [await within(heard.get()) for _ in range(2)] == ["what?", UnhandledMessage("what?", deaf)]
        assert await probe.events() == [UnhandledMessage("what?", deaf)]
        assert heard.empty()


async def test_a_subscriber_whose_mailbox_rejects_harms_nobody() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        probe = await subscribed(system, ActorStarted)
        full = system.spawn(gate.behavior(), mailbox=Mailbox(1, MailboxOverflowStrategy.reject))
        await gate.hold(full)
        system.event_stream.tell(EventStreamSubscribe(ActorStarted, full))
        await probe.events()
        refs = [system.spawn(idle()) for _ in range(3)]
        assert [event.ref for event in await probe.events()] == refs
        gate.opened.set()


async def test_the_event_stream_cannot_subscribe_to_itself() -> None:
    async with ActorSystem() as system:
        probe = await subscribed(system, ActorStarted, UnhandledMessage)
        await probe.events()
        asked = EventStreamSubscribe(SystemEvent, system.event_stream)
        system.event_stream.tell(asked)
        assert await probe.events() == [UnhandledMessage(asked, system.event_stream)]
        ref = system.spawn(idle())
        assert await probe.next() == ActorStarted(ref)
        assert await probe.events() == []


async def test_an_event_type_that_fails_on_an_event_does_not_end_the_event_stream() -> None:
    class Odd(type):
        def __instancecheck__(cls, instance: object) -> bool:
            if isinstance(instance, str):
                raise ZeroDivisionError
            return False

    class Event(metaclass=Odd): ...

    async with ActorSystem() as system:
        probe = await subscribed(system, Event, ActorStarted, ActorRestarted)
        system.event_stream.tell(EventStreamPublish("breaks it"))
        ref = system.spawn(idle())
        assert await probe.next() == ActorStarted(ref)
        assert await probe.events() == []


async def test_what_is_no_message_of_the_event_stream_is_unhandled() -> None:
    async with ActorSystem() as system:
        probe = await subscribed(system, str, UnhandledMessage)
        system.event_stream.tell("hello")  # type: ignore[arg-type]
        assert await probe.events() == [UnhandledMessage("hello", system.event_stream)]


async def test_a_subscription_of_something_impossible_is_refused_in_the_subscribers_own_call() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(idle(), "idle")
        with pytest.raises(UsageError, match=r"EventStreamSubscribe.event_type must be a class, .* not 'ActorStarted'"):
            EventStreamSubscribe("ActorStarted", ref)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"EventStreamSubscribe.handler must be an ActorRef, .* spawn it first"):
            EventStreamSubscribe(ActorStarted, idle())  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"must be an ActorRef, .* use its \.ref"):
            EventStreamSubscribe(ActorStarted, system.lookup("idle"))  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"EventStreamUnsubscribe.handler must be an ActorRef"):
            EventStreamUnsubscribe(None)  # type: ignore[arg-type]
