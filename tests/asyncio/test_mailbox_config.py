"""Bounded mailboxes as spec'd: what is dropped or rejected, who hears of it, and what becomes of asks."""

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
    CastyError,
    Context,
    DeadLetter,
    EventStreamSubscribe,
    Mailbox,
    MailboxFullError,
    MailboxOverflowStrategy,
    OneForOneStrategy,
    Reason,
    Terminated,
)

from .probe import Gate, Marker, Probe, within

DROP_NEW = MailboxOverflowStrategy.drop_new
DROP_OLDEST = MailboxOverflowStrategy.drop_oldest
REJECT = MailboxOverflowStrategy.reject


async def letters(system: ActorSystem) -> Probe:
    probe = Probe(system)
    await probe.all()
    for event_type in (DeadLetter, Marker):
        system.event_stream.tell(EventStreamSubscribe(event_type, probe.ref))
    return probe


async def full(system: ActorSystem, gate: Gate, mailbox: Mailbox) -> ActorRef[Any]:
    """An actor with a message in hand and as many waiting (0, 1, ...) as its mailbox may hold."""
    ref = system.spawn(gate.behavior(), "full", mailbox=mailbox)
    await gate.hold(ref)
    for number in range(mailbox.capacity or 0):
        ref.tell(number)
    return ref


# -- the three strategies ----------------------------------------------------------------------------------------------


async def test_drop_new_is_the_default_and_discards_the_incoming_message_as_a_dead_letter() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        probe = await letters(system)
        ref = await full(system, gate, Mailbox(capacity=2))
        ref.tell("new")
        assert await probe.events() == [DeadLetter("new", ref, Reason.OVERFLOW)]
        assert await gate.open(ref, 2) == [0, 1]


async def test_drop_oldest_discards_the_oldest_waiting_message_as_a_dead_letter() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        probe = await letters(system)
        ref = await full(system, gate, Mailbox(2, DROP_OLDEST))
        ref.tell("new")
        ref.tell("newer")
        assert await probe.events() == [DeadLetter(0, ref, Reason.OVERFLOW), DeadLetter(1, ref, Reason.OVERFLOW)]
        assert await gate.open(ref, 2) == ["new", "newer"]


async def test_reject_raises_queue_full_to_the_sender_and_is_no_dead_letter() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        probe = await letters(system)
        ref = await full(system, gate, Mailbox(2, REJECT))
        with pytest.raises(asyncio.QueueFull, match=r"the mailbox of /full holds 2 messages and rejects str"):
            ref.tell("new")
        with pytest.raises(CastyError):
            await ref.send("new")
        assert await probe.events() == []
        assert await gate.open(ref, 2) == [0, 1]


async def test_the_message_in_hand_does_not_count_and_room_comes_back() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        ref = await full(system, gate, Mailbox(1, REJECT))
        with pytest.raises(MailboxFullError):
            ref.tell("new")
        assert await gate.open(ref, 1) == [0]
        gate.opened.clear()
        await gate.hold(ref)
        ref.tell("again")
        assert await gate.open(ref, 1) == ["again"]


async def test_without_a_mailbox_argument_nothing_is_ever_dropped() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        ref = system.spawn(gate.behavior())
        await gate.hold(ref)
        for number in range(5000):
            ref.tell(number)
        assert await gate.open(ref, 5000) == list(range(5000))
        assert system.dead_letters == 0


async def test_the_dead_letter_of_a_dropped_message_names_its_sender() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        probe = await letters(system)
        ref = await full(system, gate, Mailbox(1))
        ref.tell("new", sender=probe.ref)
        assert await probe.events() == [DeadLetter("new", ref, Reason.OVERFLOW, probe.ref)]
        gate.opened.set()


# -- asks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", [DROP_NEW, REJECT])
async def test_an_ask_that_finds_the_mailbox_full_ends_at_once(overflow: MailboxOverflowStrategy) -> None:
    gate = Gate()
    async with ActorSystem() as system:
        ref = await full(system, gate, Mailbox(1, overflow))
        with pytest.raises(MailboxFullError, match="/full"):
            await within(ref.ask("question", timeout=1000))
        with pytest.raises(MailboxFullError, match="/full"):
            await within(system.ask(ref, lambda reply_to: ("question", reply_to), timeout=1000))
        assert await gate.open(ref, 1) == [0]


async def test_an_ask_among_the_dropped_ends_at_once_while_the_actor_is_still_busy() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        probe = await letters(system)
        ref = system.spawn(gate.behavior(), "full", mailbox=Mailbox(1, DROP_OLDEST))
        await gate.hold(ref)
        asked = asyncio.create_task(ref.ask("question", timeout=1000))
        await asyncio.sleep(0)
        ref.tell("new")
        with pytest.raises(MailboxFullError, match=r"str was not handled by /full: the mailbox was full"):
            await within(asked)
        (letter,) = await probe.events()
        assert (letter.message, letter.ref, letter.reason) == ("question", ref, Reason.OVERFLOW)
        assert await gate.open(ref, 1) == ["new"]


# -- where it is said --------------------------------------------------------------------------------------------------


async def test_a_class_actor_and_a_child_take_a_mailbox_too() -> None:
    gate = Gate()

    class Slow(Actor[object]):
        async def receive(self, msg: object, ctx: Context) -> None:
            gate.busy.set()
            await gate.opened.wait()

    class Parent(Actor[object]):
        async def receive(self, msg: object, ctx: Context) -> None:
            ctx.reply(await ctx.spawn(Slow, name="slow", mailbox=Mailbox(1, REJECT)))

    async with ActorSystem() as system:
        parent = await system.spawn(Parent)
        for ref in (await system.spawn(Slow, mailbox=Mailbox(1, REJECT)), await parent.ask("child")):
            await gate.hold(ref)
            ref.tell(1)
            with pytest.raises(asyncio.QueueFull, match=ref.path.replace("$", r"\$")):
                ref.tell(2)
        gate.opened.set()


async def test_a_behavior_may_bring_its_mailbox_and_spawn_may_name_another() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        behavior = Behaviors.with_mailbox(gate.behavior(), Mailbox(1, REJECT))
        own, other = system.spawn(behavior), system.spawn(behavior, mailbox=Mailbox(3, REJECT))
        for ref, size in ((own, 1), (other, 3)):
            await gate.hold(ref)
            for number in range(size):
                ref.tell(number)
            with pytest.raises(asyncio.QueueFull):
                ref.tell("more")
        gate.opened.set()


async def test_messages_wait_within_the_capacity_before_the_start_and_during_a_restart() -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()
    gate = asyncio.Event()

    async def start(ctx: ActorContext[str]) -> Behavior[str]:
        begun.put_nowait("start")
        await gate.wait()

        async def receive(ctx: ActorContext[str], message: str) -> Behavior[str]:
            if message == "fail":
                gate.clear()
                raise ValueError("as asked")
            begun.put_nowait(message)
            return Behaviors.same()

        return Behaviors.receive(receive)

    async def fill(ref: ActorRef[str], *messages: str) -> None:
        assert await within(begun.get()) == "start"
        for message in messages:
            ref.tell(message)
        with pytest.raises(asyncio.QueueFull):
            ref.tell("more")
        gate.set()

    async with ActorSystem() as system:
        behavior = Behaviors.supervise(Behaviors.setup(start), OneForOneStrategy())
        ref = system.spawn(behavior, mailbox=Mailbox(2, REJECT))
        await fill(ref, "a", "fail")
        assert await within(begun.get()) == "a"
        await fill(ref, "b", "c")
        assert [await within(begun.get()) for _ in range(2)] == ["b", "c"]


async def test_notices_of_the_system_find_room_in_a_full_mailbox() -> None:
    gate = Gate()

    async with ActorSystem() as system:
        subject = Probe(system).ref

        def watching(ctx: ActorContext[Any]) -> Behavior[Any]:
            ctx.watch(subject)
            return gate.behavior()

        watcher = system.spawn(Behaviors.setup(watching), mailbox=Mailbox(1))
        await gate.hold(watcher)
        watcher.tell("last")
        system.stop(subject)
        await system.wait_stopped(subject)
        assert await gate.open(watcher, 2) == ["last", Terminated(subject)]


# -- wrong configurations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, -1, -(10**9)])
def test_a_capacity_below_one_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=rf"Mailbox.capacity must be at least 1, or None .*, not {capacity}"):
        Mailbox(capacity)


@pytest.mark.parametrize("capacity", [1.0, "10", True, [], float("nan")])
def test_a_capacity_that_is_no_whole_number_is_refused(capacity: Any) -> None:
    with pytest.raises(TypeError, match=r"Mailbox.capacity must be a whole number or None \(unbounded\), not"):
        Mailbox(capacity)


def test_an_overflow_that_is_no_strategy_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Mailbox.overflow must be one of .*drop_oldest.*, not 'drop_oldest'"):
        Mailbox(overflow="drop_oldest")  # type: ignore[arg-type]
