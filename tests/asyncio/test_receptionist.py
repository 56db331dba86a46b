"""Discovery: actors listed under service keys, by `Behaviors.discoverable` and by messages to the receptionist."""

from __future__ import annotations

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
    Deregister,
    DuplicateNameError,
    EventStreamSubscribe,
    Find,
    Listing,
    OneForOneStrategy,
    ReceptionistMsg,
    Register,
    ServiceInstance,
    ServiceKey,
    SubscribeListing,
    UnhandledMessage,
    UsageError,
)

from .probe import Gate, Probe, within

KEY: ServiceKey[Any] = ServiceKey("workers")
OTHER: ServiceKey[Any] = ServiceKey("others")


def worker() -> Behavior[Any]:
    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        match message:
            case "fail":
                raise ValueError("as asked")
            case "stop":
                return Behaviors.stopped()
            case _:
                ctx.reply(ctx.path)
                return Behaviors.same()

    return Behaviors.supervise(Behaviors.receive(receive), OneForOneStrategy())


def listed(key: ServiceKey[Any] = KEY) -> Behavior[Any]:
    return Behaviors.discoverable(worker(), key=key)


def refs(listing: Listing[Any]) -> list[ActorRef[Any]]:
    return [instance.ref for instance in listing]


async def tell(system: ActorSystem, *messages: ReceptionistMsg) -> None:
    """Tell the receptionist, and wait until it has handled that."""
    for message in messages:
        system.receptionist_ref.tell(message)
    await system.ask(system.receptionist_ref, lambda r: Find(KEY, r))


# -- lookup ------------------------------------------------------------------------------------------------------------


async def test_a_discoverable_actor_is_found_at_once_and_awaited_in_the_order_of_spawning() -> None:
    async with ActorSystem() as system:
        assert not system.lookup(KEY)
        spawned = [system.spawn(listed(), f"worker-{number}") for number in range(3)]
        listing = system.lookup(KEY)
        assert refs(listing) == spawned
        assert await system.lookup(KEY) == listing
        assert (bool(listing), len(listing), listing.key) == (True, 3, KEY)
        assert listing.instances == tuple(ServiceInstance(ref) for ref in spawned)
        assert [(each.ref, each.node) for each in listing.instances] == [(ref, None) for ref in spawned]
        assert await listing.instances[1].ref.ask("who?") == "/worker-1"


async def test_a_listing_is_a_snapshot() -> None:
    async with ActorSystem() as system:
        before = system.lookup(KEY)
        ref = system.spawn(listed())
        assert refs(before) == []
        after = system.lookup(KEY)
        system.stop(ref)
        await system.wait_stopped(ref)
        assert refs(after) == [ref]
        assert refs(system.lookup(KEY)) == []


async def test_keys_of_the_same_name_are_one_key_and_others_are_not_mixed_up() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(listed())
        assert refs(system.lookup(ServiceKey[Any]("workers"))) == [ref]
        assert refs(system.lookup(OTHER)) == []


async def test_an_actor_may_offer_several_services_also_from_a_setup() -> None:
    async with ActorSystem() as system:
        both = system.spawn(Behaviors.discoverable(listed(), key=OTHER))
        inside = system.spawn(Behaviors.setup(lambda ctx: listed(OTHER)))
        assert await inside.ask("started?") == inside.path
        assert refs(system.lookup(KEY)) == [both]
        assert refs(system.lookup(OTHER)) == [both, inside]


async def test_two_systems_do_not_see_each_others_actors() -> None:
    async with ActorSystem("one") as one, ActorSystem("two") as two:
        ref = one.spawn(listed())
        assert refs(one.lookup(KEY)) == [ref]
        assert refs(two.lookup(KEY)) == []


async def test_a_spawn_that_is_refused_lists_nothing() -> None:
    async with ActorSystem() as system:
        system.spawn(worker(), "taken")
        with pytest.raises(DuplicateNameError):
            system.spawn(listed(), "taken")
        assert refs(system.lookup(KEY)) == []


# -- the end of an actor -----------------------------------------------------------------------------------------------


async def test_an_actor_is_taken_off_all_lists_when_it_stops_before_anybody_hears_of_that() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(Behaviors.discoverable(listed(), key=OTHER))
        stays = system.spawn(listed())

        def watching(ctx: ActorContext[Any]) -> Behavior[Any]:
            ctx.watch(ref)

            async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
                probe.ref.tell((refs(system.lookup(KEY)), refs(system.lookup(OTHER))))
                return Behaviors.same()

            return Behaviors.receive(receive)

        system.spawn(Behaviors.setup(watching))
        await probe.all()
        ref.tell("stop")
        assert await probe.next() == ([stays], [])


async def test_a_restart_keeps_an_actor_listed_once_and_in_its_place() -> None:
    async with ActorSystem() as system:
        outside = system.spawn(listed())
        inside = system.spawn(Behaviors.supervise(Behaviors.setup(lambda ctx: listed()), OneForOneStrategy()))
        await inside.ask("started?")
        for ref in (outside, inside):
            ref.tell("fail")
            assert await ref.ask("restarted?") == ref.path
        assert refs(system.lookup(KEY)) == [outside, inside]


async def test_nothing_of_an_actor_is_left_when_it_has_stopped() -> None:
    async with ActorSystem() as system:
        for number in range(20):
            ref = system.spawn(listed(ServiceKey(f"key-{number}")))
            await tell(system, Register(KEY, ref), Deregister(KEY, ref), SubscribeListing(OTHER, ref))
            system.stop(ref)
            await system.wait_stopped(ref)
        registry = system.receptionist
        assert (registry._services, registry._subscribers, registry._keys) == ({}, {}, {})


# -- by message --------------------------------------------------------------------------------------------------------


async def test_an_actor_registers_and_deregisters_itself_or_others() -> None:
    class Worker(Actor[str]):
        async def on_start(self) -> None:
            self.context.system.receptionist_ref.tell(Register(KEY, self.context.self_ref))

        async def receive(self, msg: str, ctx: Context) -> None: ...

    async with ActorSystem() as system:
        ref = await system.spawn(Worker)
        other = system.spawn(worker())
        await tell(system, Register(KEY, other), Register(KEY, other))
        assert refs(system.lookup(KEY)) == [ref, other]
        await tell(system, Deregister(KEY, ref), Deregister(KEY, ref), Deregister(OTHER, other))
        assert refs(system.lookup(KEY)) == [other]
        system.stop(other)
        await system.wait_stopped(other)
        assert refs(system.lookup(KEY)) == []


async def test_find_answers_with_the_listing_of_the_moment() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(listed())
        listing: Listing[Any] = await system.ask(system.receptionist_ref, lambda r: Find(KEY, r))
        assert (listing.key, refs(listing)) == (KEY, [ref])
        empty: Listing[Any] = await system.ask(system.receptionist_ref, lambda r: Find(OTHER, r))
        assert (empty.key, refs(empty)) == (OTHER, [])


async def test_registering_an_actor_that_has_stopped_changes_nothing() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(worker())
        system.stop(ref)
        await system.wait_stopped(ref)
        await tell(system, Register(KEY, ref))
        assert refs(system.lookup(KEY)) == []


# -- subscriptions -----------------------------------------------------------------------------------------------------


async def test_a_subscriber_is_told_the_listing_now_and_at_every_change_of_its_key() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        await tell(system, SubscribeListing(KEY, probe.ref))
        one = system.spawn(listed())
        system.spawn(listed(OTHER))
        two = system.spawn(listed())
        system.stop(one)
        await system.wait_stopped(one)
        assert [refs(listing) for listing in await probe.all()] == [[], [one], [one, two], [two]]


async def test_subscribing_twice_is_subscribing_once_but_tells_the_listing_again() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        await tell(system, SubscribeListing(KEY, probe.ref), SubscribeListing(KEY, probe.ref))
        ref = system.spawn(listed())
        assert [refs(listing) for listing in await probe.all()] == [[], [], [ref]]


async def test_a_subscriber_that_stops_is_dropped_and_costs_no_dead_letters() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        await tell(system, SubscribeListing(KEY, probe.ref))
        system.stop(probe.ref)
        await system.wait_stopped(probe.ref)
        system.spawn(listed())
        assert system.receptionist._subscribers == {}
        assert system.dead_letters == 0


async def test_a_subscription_by_an_ask_gets_one_listing_and_is_over() -> None:
    async with ActorSystem() as system:
        first: Listing[Any] = await system.ask(system.receptionist_ref, lambda r: SubscribeListing(KEY, r))
        assert refs(first) == []
        system.spawn(listed())
        assert system.dead_letters == 0


async def test_an_actor_may_subscribe_to_the_key_that_it_is_listed_under() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)

        def member(ctx: ActorContext[Any]) -> Behavior[Any]:
            ctx.system.receptionist_ref.tell(SubscribeListing(KEY, ctx.self))

            async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
                probe.ref.tell(len(message))
                return Behaviors.same()

            return Behaviors.discoverable(Behaviors.receive(receive), key=KEY)

        one = system.spawn(Behaviors.setup(member))
        assert await probe.next() == 1
        system.spawn(listed())
        assert await probe.next() == 2
        system.stop(one)
        await system.wait_stopped(one)
        assert system.dead_letters == 0


# -- what is wrong -----------------------------------------------------------------------------------------------------


async def test_wrong_keys_and_refs_are_refused_in_the_callers_own_call() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(worker(), "worker")
        wrong: Any
        for wrong in ("", None, 5):
            with pytest.raises(UsageError, match=r"ServiceKey.name must be a string that is not empty"):
                ServiceKey(wrong)
        for wrong in ("workers", None, ServiceKey):
            with pytest.raises(UsageError, match=r"Behaviors.discoverable wants a ServiceKey"):
                Behaviors.discoverable(worker(), key=wrong)
            for message in (Register, Deregister, Find, SubscribeListing):
                with pytest.raises(UsageError, match=rf"{message.__name__}.key must be a ServiceKey"):
                    message(wrong, ref)
        for wrong in ("worker", None, system.lookup("worker"), worker()):
            for message in (Register, Deregister, Find, SubscribeListing):
                with pytest.raises(UsageError, match=rf"{message.__name__}\.(ref|reply_to) must be an ActorRef"):
                    message(KEY, wrong)


async def test_what_the_receptionist_does_not_understand_is_unhandled_and_does_not_end_it() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.event_stream.tell(EventStreamSubscribe(UnhandledMessage, probe.ref))
        nonsense: Any = "hello"
        system.receptionist_ref.tell(nonsense)
        assert await probe.next() == UnhandledMessage("hello", system.receptionist_ref)
        ref = system.spawn(listed())
        assert refs(await within(system.ask(system.receptionist_ref, lambda r: Find(KEY, r)))) == [ref]


async def test_the_shutdown_tells_nobody_of_the_shrinking_lists() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        subscriber = system.spawn(gate.behavior())
        gate.opened.set()
        await tell(system, SubscribeListing(KEY, subscriber))
        for _ in range(5):
            system.spawn(listed())
    assert system.receptionist._services == {}
    assert system.dead_letters == 0
