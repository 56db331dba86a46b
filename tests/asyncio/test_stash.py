"""The stash: messages set aside, and handled later in their old order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorFailedError,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    Behavior,
    Behaviors,
    Context,
    DeadLetter,
    EventStreamSubscribe,
    Mailbox,
    OneForOneStrategy,
    Reason,
    StashFullError,
    Terminated,
    UsageError,
)

from .probe import Marker, Probe, within


def door(probe: Probe) -> Behavior[Any]:
    """Closed at first: stashes everything until "open". Then handles it, answering asks with the message itself."""

    async def closed(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        match message:
            case "open":
                probe.ref.tell(ctx.unstash_all())
                return Behaviors.receive(opened)
            case "fail":
                raise ValueError("as asked")
            case "stop":
                return Behaviors.stopped()
            case _:
                ctx.stash(message)
                return Behaviors.same()

    async def opened(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        probe.ref.tell(message)
        if ctx.sender is not None:
            ctx.reply(message)
        return Behaviors.receive(closed) if message == "close" else Behaviors.same()

    return Behaviors.supervise(Behaviors.receive(closed), OneForOneStrategy())


async def test_stashed_messages_come_before_the_mailbox_in_their_old_order() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(door(probe))
        for message in (1, 2, 3, "open", 4, 5):
            ref.tell(message)
        assert await probe.take(6) == [3, 1, 2, 3, 4, 5]


async def test_what_is_stashed_again_while_unstashing_keeps_its_order_too() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(door(probe))
        for message in (1, "close", 2, 3, "open", 4, "open", 5):
            ref.tell(message)
        assert await probe.take(3) == [4, 1, "close"]
        assert await probe.take(5) == [3, 2, 3, 4, 5]


async def test_an_empty_stash_gives_nothing_back() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(door(probe))
        ref.tell("open")
        ref.tell("message")
        assert await probe.take(2) == [0, "message"]


async def test_an_ask_in_the_stash_stays_open_and_is_answered_when_it_is_handled() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(door(probe))
        asked = [asyncio.create_task(ref.ask(f"question {number}")) for number in range(3)]
        built = asyncio.create_task(system.ask(ref, lambda r: "built"))
        await asyncio.sleep(0)
        ref.tell("open")
        assert await within(asyncio.gather(*asked, built)) == ["question 0", "question 1", "question 2", "built"]


async def test_the_sender_of_a_stashed_message_is_kept() -> None:
    async with ActorSystem() as system:
        probe, sender = Probe(system), Probe(system)
        ref = system.spawn(door(probe))
        ref.tell("message", sender=sender.ref)
        ref.tell("open")
        assert await sender.next() == "message"


async def test_a_stash_holds_as_many_messages_as_the_mailbox_may() -> None:
    full: list[Exception] = []

    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        try:
            ctx.stash(message)
        except StashFullError as error:
            full.append(error)
        return Behaviors.same()

    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(Behaviors.receive(receive), "small", mailbox=Mailbox(2))
        for number in range(3):
            assert full == []
            ref.tell(number)
            await probe.all()
        (error,) = full
        assert "the stash of /small is full" in str(error)
        letters = Probe(system)
        await letters.all()
        for event_type in (DeadLetter, Marker):
            system.event_stream.tell(EventStreamSubscribe(event_type, letters.ref))
        system.stop(ref)
        await system.wait_stopped(ref)
        assert [letter.message for letter in await letters.events()] == [0, 1]


async def test_an_ask_that_does_not_fit_into_the_stash_fails_with_the_handler() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(door(Probe(system)), mailbox=Mailbox(1))
        ref.tell(1)
        await asyncio.sleep(0)
        with pytest.raises(ActorFailedError) as caught:
            await within(ref.ask("question"))
        assert isinstance(caught.value.__cause__, StashFullError)


async def test_a_restart_puts_the_stash_back_in_front_of_the_mailbox() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(door(probe))
        asked = asyncio.create_task(ref.ask("question"))
        await asyncio.sleep(0)
        for message in (1, "fail", 2, "open", 3):
            ref.tell(message)
        assert await probe.take(5) == [3, "question", 1, 2, 3]
        assert await within(asked) == "question"


async def test_a_stop_makes_stashed_messages_dead_letters_and_ends_their_asks_at_once() -> None:
    async with ActorSystem() as system:
        letters = Probe(system)
        await letters.all()
        for event_type in (DeadLetter, Marker):
            system.event_stream.tell(EventStreamSubscribe(event_type, letters.ref))
        ref = system.spawn(door(Probe(system)), "door")
        asked = asyncio.create_task(ref.ask("question", timeout=1000))
        await asyncio.sleep(0)
        ref.tell("message")
        ref.tell("stop")
        with pytest.raises(ActorStoppedError, match="/door"):
            await within(asked)
        found = [(letter.message, letter.reason) for letter in await letters.events()]
        assert found == [("question", Reason.STOPPED), ("message", Reason.STOPPED)]


async def test_a_message_stashed_while_the_actor_stops_is_a_dead_letter_and_its_ask_ends() -> None:
    class Stopping(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            ctx.stop()
            ctx.stash(msg)

    async with ActorSystem() as system:
        ref = await system.spawn(Stopping)
        with pytest.raises(ActorStoppedError):
            await within(ref.ask("question", timeout=1000))
        assert system.dead_letters == 1


async def test_a_notice_can_be_stashed() -> None:
    async with ActorSystem() as system:
        probe, subject = Probe(system), Probe(system)

        ref = system.spawn(Behaviors.setup(lambda ctx: watch_then(ctx, subject.ref, probe)))
        await subject.all()
        system.stop(subject.ref)
        await system.wait_stopped(subject.ref)
        assert await ref.ask("open") == 1
        assert await probe.next() == Terminated(subject.ref)


def watch_then(ctx: ActorContext[Any], subject: ActorRef[Any], probe: Probe) -> Behavior[Any]:
    ctx.watch(subject)

    async def closed(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        if message == "open":
            ctx.reply(ctx.unstash_all())
            return probe.behavior()
        ctx.stash(message)
        return Behaviors.same()

    return Behaviors.receive(closed)


async def test_a_class_actor_stashes_by_its_context() -> None:
    class Door(Actor[str]):
        is_open = False

        async def receive(self, msg: str, ctx: Context) -> None:
            if msg == "open":
                self.is_open = True
                ctx.unstash_all()
            elif self.is_open:
                ctx.reply(msg.upper())
            else:
                ctx.stash(msg)

    async with ActorSystem() as system:
        ref = await system.spawn(Door)
        asked = asyncio.create_task(ref.ask("question"))
        await asyncio.sleep(0)
        await ref.send("open")
        assert await within(asked) == "QUESTION"


@pytest.mark.parametrize("call", [lambda ctx: ctx.stash("x"), lambda ctx: ctx.unstash_all()])
async def test_outside_of_the_handlers_own_task_the_stash_is_refused_and_nobody_is_left_waiting(
    call: Callable[[ActorContext[Any]], Any],
) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        contexts: list[ActorContext[Any]] = []

        async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            contexts.append(ctx)
            if message == "stash":
                ctx.stash(message)
            elif message == "inside":
                with pytest.raises(UsageError, match=r"of /door was called outside of its handler"):
                    await asyncio.create_task(later(ctx))
            probe.ref.tell(message)
            return Behaviors.same()

        async def later(ctx: ActorContext[Any]) -> None:
            call(ctx)

        ref = system.spawn(Behaviors.receive(receive), "door")
        for message in ("stash", "inside", "next"):
            ref.tell(message)
        assert await probe.take(3) == ["stash", "inside", "next"]
        with pytest.raises(UsageError, match=r"of /door was called outside of its handler"):
            call(contexts[0])
