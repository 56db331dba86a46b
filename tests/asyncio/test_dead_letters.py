"""Nothing is lost silently: what cannot be delivered is counted, published with its reason, and some of it logged."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    AskTimeoutError,
    Behavior,
    Behaviors,
    Context,
    DeadLetter,
    EventStreamSubscribe,
    Mailbox,
    MailboxOverflowStrategy,
    Reason,
    Register,
    ServiceKey,
    SpyEvent,
    SubscribeListing,
    UnhandledMessage,
)
from casty_proto.machine import SECOND

from .probe import Gate, Marker, Probe, within


async def letters(system: ActorSystem, *event_types: type) -> Probe:
    probe = Probe(system)
    await probe.all()
    for event_type in event_types or (DeadLetter,):
        system.event_stream.tell(EventStreamSubscribe(event_type, probe.ref))
    system.event_stream.tell(EventStreamSubscribe(Marker, probe.ref))
    return probe


async def stopped(system: ActorSystem, name: str | None = None) -> ActorRef[Any]:
    ref = Probe(system, name).ref
    system.stop(ref)
    await system.wait_stopped(ref)
    return ref


# -- reasons -----------------------------------------------------------------------------------------------------------


async def test_a_message_to_an_actor_that_has_stopped_names_the_actor_the_reason_and_the_sender() -> None:
    async with ActorSystem() as system:
        probe = await letters(system)
        ref = await stopped(system)
        ref.tell("plain")
        ref.tell("signed", sender=probe.ref)
        await ref.send("sent")
        assert await probe.events() == [
            DeadLetter("plain", ref, Reason.STOPPED),
            DeadLetter("signed", ref, Reason.STOPPED, probe.ref),
            DeadLetter("sent", ref, Reason.STOPPED),
        ]


async def test_what_waits_when_an_actor_stops_is_dead_in_the_order_in_which_it_would_have_been_handled() -> None:
    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        if message == "stop":
            return Behaviors.stopped()
        ctx.stash(message)
        return Behaviors.same()

    async with ActorSystem() as system:
        probe = await letters(system)
        ref = system.spawn(Behaviors.receive(receive))
        for message in ("stashed", "stop", "waits 1", "waits 2"):
            ref.tell(message)
        assert [letter.message for letter in await probe.events()] == ["stashed", "waits 1", "waits 2"]


async def test_asks_among_what_waits_end_at_once_and_are_dead_letters_too() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        probe = await letters(system)
        ref = system.spawn(gate.behavior(), "busy")
        await gate.hold(ref)
        asked = asyncio.create_task(ref.ask("question", timeout=1000))
        await asyncio.sleep(0)
        system.stop(ref)
        with pytest.raises(ActorStoppedError, match="str was not handled by /busy: the actor has stopped"):
            await within(asked)
        (letter,) = await probe.events()
        assert (letter.message, letter.reason) == ("question", Reason.STOPPED)
        gate.opened.set()


async def test_a_message_to_nobody_has_an_unknown_path() -> None:
    async with ActorSystem("shop") as system:
        probe = await letters(system)
        system.lookup("/no/body").tell("hello", sender=probe.ref)
        (letter,) = await probe.events()
        assert (letter.message, letter.reason, letter.sender) == ("hello", Reason.UNKNOWN_PATH, probe.ref)
        assert (letter.ref.path, letter.ref.address) == ("/no/body", "casty://shop/no/body")
        letter.ref.tell("again")
        assert await probe.events() == [DeadLetter("again", letter.ref, Reason.UNKNOWN_PATH)]
        with pytest.raises(ActorStoppedError, match="there is no actor casty://shop/no/body"):
            await letter.ref.ask("hello?")


async def test_a_second_answer_and_one_that_comes_too_late_find_the_ask_over() -> None:
    class Twice(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            ctx.reply("first")
            ctx.reply("second")

    class Late(Actor[Any]):
        handle: ActorRef[Any]

        async def receive(self, msg: Any, ctx: Context[Any]) -> None:
            if msg == "question":
                assert ctx.sender is not None
                self.handle = ctx.sender
            else:
                self.handle.tell("late")

    async with ActorSystem() as system:
        probe = await letters(system)
        twice, late = await system.spawn(Twice, "twice"), await system.spawn(Late, "late")
        assert await twice.ask("question") == "first"
        with pytest.raises(AskTimeoutError):
            await late.ask("question", timeout=0.001)
        late.tell("answer now")
        found = [(each.message, each.ref.path, each.reason) for each in await probe.events()]
        assert found == [("second", "/twice/$ask", Reason.ASK_OVER), ("late", "/late/$ask", Reason.ASK_OVER)]


async def test_a_reply_to_a_message_that_was_no_ask_is_a_dead_letter_that_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Polite(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            ctx.reply("thanks")

    async with ActorSystem() as system:
        probe = await letters(system)
        ref = await system.spawn(Polite)
        ref.tell("here you are")
        assert await probe.events() == [DeadLetter("thanks", ref, Reason.NOBODY_ASKED)]
        assert system.dead_letters == 1
    assert caplog.records == []


async def test_a_reply_goes_to_the_sender_of_a_tell() -> None:
    class Polite(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            ctx.reply("thanks")

    async with ActorSystem() as system:
        probe = Probe(system)
        (await system.spawn(Polite)).tell("here you are", sender=probe.ref)
        assert await probe.next() == "thanks"
        assert system.dead_letters == 0


async def test_a_listing_that_its_subscriber_rejects_is_a_dead_letter_and_nobody_elses_failure() -> None:
    gate = Gate()
    key: ServiceKey[Any] = ServiceKey("service")
    async with ActorSystem() as system:
        probe = await letters(system)
        full = system.spawn(gate.behavior(), mailbox=Mailbox(1, MailboxOverflowStrategy.reject))
        await gate.hold(full)
        system.receptionist_ref.tell(SubscribeListing(key, full))
        system.receptionist_ref.tell(Register(key, probe.ref))
        (letter,) = await probe.events()
        assert (letter.ref, letter.reason) == (full, Reason.REJECTED)
        spawned = system.spawn(Behaviors.discoverable(Probe(system).behavior(), key=key))
        assert [each.ref for each in system.lookup(key)] == [probe.ref, spawned]
        gate.opened.set()


# -- unhandled ---------------------------------------------------------------------------------------------------------


async def test_an_unhandled_message_is_an_event_with_its_actor_and_no_dead_letter() -> None:
    class Picky(Actor[Any]):
        async def receive(self, msg: Any, ctx: Context[Any]) -> Any:
            return Behaviors.unhandled()

    async with ActorSystem() as system:
        probe = await letters(system, UnhandledMessage, DeadLetter)
        behaving: ActorRef[Any] = system.spawn(Behaviors.receive(lambda ctx, message: Behaviors.unhandled()))
        picky = await system.spawn(Picky)
        behaving.tell("one")
        picky.tell("two")
        events = await probe.events()
        assert events == [UnhandledMessage("one", behaving), UnhandledMessage("two", picky)]
        assert events[0].reason == "the handler returned Behaviors.unhandled()"
        assert system.dead_letters == 0


# -- the counter and the log -------------------------------------------------------------------------------------------


async def test_the_system_counts_its_dead_letters_whether_anybody_listens_or_not() -> None:
    system = ActorSystem()
    assert system.dead_letters == 0
    async with system:
        assert system.dead_letters == 0
        ref = await stopped(system)
        for _ in range(30):
            ref.tell("dead")
        system.lookup("/nobody").tell("dead")
        assert system.dead_letters == 31
    ref.tell("dead")
    assert system.dead_letters == 32


async def test_the_log_says_what_was_sent_to_whom_and_why_it_was_not_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ActorSystem("shop") as system:
        (await stopped(system, "cart")).tell("secret text")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("casty.shop", logging.WARNING)
    assert record.getMessage() == "dead letter: str to /cart: the actor has stopped"


async def test_at_most_ten_dead_letters_are_logged_in_ten_seconds_and_every_one_is_an_event(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ActorSystem() as system:
        assert system._running is not None
        clock = system._running.clock
        probe = await letters(system)
        ref = await stopped(system, "gone")
        now = clock.now()
        monkeypatch.setattr(clock, "now", lambda: now)
        for period in (1, 2):
            for number in range(1000):
                ref.tell(number)
            lines = [record.getMessage() for record in caplog.records]
            assert len(lines) == 10 * period
            assert [line.endswith("(further dead letters are not logged for 10 s)") for line in lines[-10:]] == [
                *[False] * 9,
                True,
            ]
            now += 10 * SECOND
        assert [letter.message for letter in await probe.events()] == [*range(1000)] * 2
        assert system.dead_letters == 2000


async def test_what_cannot_arrive_any_more_because_the_system_stops_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def post_stop(ctx: ActorContext[Any]) -> None:
        gone.tell("goodbye")

    async with ActorSystem() as system:
        gone, probe = await stopped(system), Probe(system)
        last = system.spawn(Behaviors.with_lifecycle(probe.behavior(), post_stop=post_stop))
        last.tell("begin")
        await probe.next()
    assert system.dead_letters == 1
    assert caplog.records == []


async def test_news_that_was_lost_is_logged_but_neither_counted_nor_news_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ActorSystem() as system:
        probe = await letters(system)
        ref = await stopped(system, "gone")
        ref.tell(DeadLetter("forwarded", ref, Reason.STOPPED))
        ref.tell(SpyEvent("/somebody", "forwarded", 0.0))
        assert await probe.events() == []
        assert system.dead_letters == 0
    assert [record.getMessage() for record in caplog.records] == [
        "dead letter: DeadLetter to /gone: the actor has stopped",
        "dead letter: SpyEvent to /gone: the actor has stopped",
    ]
