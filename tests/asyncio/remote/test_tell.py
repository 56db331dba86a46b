"""Rules 2, 3 and 6: what is told to actors of other processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen

from casty_asyncio import (
    ActorContext,
    Behavior,
    Behaviors,
    DeadLetter,
    NotSendableError,
    Reason,
    WrongThreadError,
)

from ..probe import Gate, Probe, within
from .kit import conversation_of, dead_letters, echo, looked_up, pair, peers_of, process, proxied, until
from .parcels import Echo, Tell

MANY = 10_000


@frozen
class Parcel:
    """Something that can be sent if its contents can."""

    label: Any
    contents: Any


@frozen
class Question:
    what: str


def answering() -> Behavior[Any]:
    """Replies to whoever told it something."""

    def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        ctx.reply(("got", message, ctx.sender))
        return Behaviors.same()

    return Behaviors.receive(receive)


async def test_rule_2_what_is_told_arrives_in_the_order_in_which_it_was_told() -> None:
    async with pair() as (one, other):
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        for number in range(MANY):
            ref.tell(number)
        assert await probe.take(MANY) == list(range(MANY))
        assert one.dead_letters == other.dead_letters == 0


async def test_rule_2_everybody_who_tells_has_an_order_of_his_own() -> None:
    async with pair() as (one, other):
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")

        async def sender(who: int) -> None:
            for number in range(200):
                ref.tell((who, number))
                if number % 7 == who:
                    await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for who in range(5):
                group.create_task(sender(who))
        found = await probe.take(1000)
        for who in range(5):
            assert [number for whose, number in found if whose == who] == list(range(200))


async def test_rule_2_nothing_is_lost_or_repeated_or_reordered_over_many_broken_connections() -> None:
    async with proxied() as (one, other, proxy):
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        proxy.cut_after = 9_973
        for number in range(MANY):
            ref.tell(number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        assert await probe.take(MANY) == list(range(MANY))
        assert proxy.cuts >= 10
        proxy.cut_after = None
        ref.tell("the end")
        assert await probe.next() == "the end"
        assert one.dead_letters == other.dead_letters == 0


async def test_rule_2_nothing_is_lost_or_repeated_when_both_sides_talk_over_broken_connections() -> None:
    async with proxied() as (one, other, proxy):
        probes = Probe(one, "probe"), Probe(other, "probe")
        refs = await looked_up(other, one, "probe"), await looked_up(one, other, "probe")
        proxy.cut_after = 20_011
        for number in range(2 * MANY // 5):
            for ref in refs:
                ref.tell(number)
            if number % 100 == 0:
                await asyncio.sleep(0)
            if number % 1000 == 0:
                proxy.cut()
        for probe in probes:
            assert await probe.take(2 * MANY // 5) == list(range(2 * MANY // 5))
        assert one.dead_letters == other.dead_letters == 0


async def test_rule_2_what_is_told_while_there_is_no_connection_arrives_when_there_is_one() -> None:
    async with proxied() as (one, other, proxy):
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        proxy.refuses = True
        proxy.cut()
        for number in range(100):
            ref.tell(number)
        opened = proxy.opened
        async with asyncio.timeout(5):
            while proxy.opened < opened + 2:  # noqa: ASYNC110 - attempts are nobody's event
                await asyncio.sleep(0.005)
        proxy.refuses = False
        assert await probe.take(100) == list(range(100))


async def test_rule_2_a_half_open_connection_is_replaced_and_nothing_is_lost() -> None:
    async with proxied(ping_after=0.1, mute_after=0.3) as (one, other, proxy):
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        for number in range(10):
            ref.tell(number)
        assert await probe.take(10) == list(range(10))
        proxy.swallow("back")
        for number in range(10, 20):
            ref.tell(number)
        # They arrive, but no acknowledgement does. After a while the connection is given up, and they are sent no more.
        assert await probe.take(10) == list(range(10, 20))
        opened = proxy.opened
        async with asyncio.timeout(5):
            while proxy.opened == opened:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        ref.tell("over the next one")
        assert await probe.next() == "over the next one"
        proxy.swallow("there")
        ref.tell("over the one after it")
        assert await probe.next() == "over the one after it"


async def test_rule_2_a_connection_that_nobody_needs_is_closed_and_made_again_when_there_is_a_need() -> None:
    async with proxied(ping_after=0.02, mute_after=0.2, idle_after=0.05) as (one, other, proxy):
        probe, here = Probe(other, "probe"), Probe(one, "here")
        ref = await looked_up(one, other, "probe")
        back = await looked_up(other, one, "here")
        for number in range(3):
            ref.tell(number)
            assert await probe.next() == number
            conversation_of(one).on_due(0)
            conversation_of(other).on_due(0)
            await until(lambda: all(peers_of(each)[0].link.attached is None for each in (one, other)))
            opened = proxy.opened
            back.tell(number)
            assert await here.next() == number
            assert proxy.opened > opened
        assert peers_of(one)[0].link.session.received == 5
        assert one.dead_letters == other.dead_letters == 0


async def test_rule_3_the_sender_comes_along_and_gets_what_the_handler_replies() -> None:
    async with pair() as (one, other):
        here = Probe(one, "here")
        ref = other.spawn(answering(), "answering")
        there = await looked_up(one, other, "answering")
        there.tell("hello", sender=here.ref)
        assert await here.next() == ("got", "hello", here.ref)
        await there.send("again", sender=here.ref)
        assert await here.next() == ("got", "again", here.ref)
        # The sender may be an actor of yet another place: here, the one that is told.
        there.tell("you", sender=there)
        there.tell("last", sender=here.ref)
        assert await here.next() == ("got", "last", here.ref)
        assert ref.path == "/answering"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: object(), "object"),
        (lambda: Parcel("a", lambda: None), r"Parcel\.contents"),
        (lambda: Parcel("a", [1, {"key": threading.Lock()}]), r"Parcel\.contents"),
        (lambda: Parcel("a", Parcel("b", print)), r"contents.*contents"),
    ],
    ids=["object", "lambda", "lock", "nested"],
)
async def test_rule_3_what_cannot_be_sent_is_an_error_that_names_the_field_and_the_next_goes_through(
    make: Callable[[], Any], field: str
) -> None:
    async with pair() as (one, other):
        probe, here = Probe(other, "probe"), Probe(one, "here")
        ref = await looked_up(one, other, "probe")
        ref.tell(Parcel("before", 1))
        with pytest.raises(NotSendableError, match=field) as caught:
            ref.tell(make())
        assert ref.address in str(caught.value)
        with pytest.raises(NotSendableError, match=field):
            ref.tell(make(), sender=here.ref)
        with pytest.raises(NotSendableError, match=field):
            await ref.send(make())
        with pytest.raises(NotSendableError, match=field):
            await within(ref.ask(make()))
        with pytest.raises(NotSendableError, match=field):
            await within(one.ask(ref, lambda reply_to: Parcel(reply_to, make())))
        ref.tell(Parcel("after", Question("q")))
        assert await probe.take(2) == [Parcel("before", 1), Parcel("after", Question("q"))]
        assert one.dead_letters == 0


async def test_rule_3_a_class_that_was_announced_in_vain_is_announced_again() -> None:
    async with pair() as (one, other):
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        with pytest.raises(NotSendableError):
            ref.tell(Parcel("first of its class", Question))
        ref.tell(Parcel("second", Question("first of its class")))
        assert await probe.next() == Parcel("second", Question("first of its class"))


async def test_rule_3_a_ref_of_another_system_of_this_process_cannot_be_sent() -> None:
    async with pair() as (one, other):
        Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        with pytest.raises(NotSendableError, match="belongs to another actor system"):
            ref.tell(other.spawn(echo(), "elsewhere"))


async def test_rule_3_what_is_too_long_is_an_error_at_the_sender() -> None:
    async with pair(max_message=10_000) as (one, other):
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        with pytest.raises(NotSendableError, match=r"the limit is 10000 bytes"):
            ref.tell("x" * 10_001)
        ref.tell("x" * 9_900)
        assert len(await probe.next()) == 9_900


async def test_rule_3_another_thread_cannot_tell() -> None:
    async with pair() as (one, other):
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        with pytest.raises(WrongThreadError, match="threadsafe"):
            await asyncio.to_thread(ref.tell, "from elsewhere")
        await asyncio.to_thread(one.threadsafe.tell, ref, "the right way")
        assert await probe.next() == "the right way"


async def test_rule_3_what_a_full_mailbox_rejects_is_a_dead_letter_there() -> None:
    from casty_asyncio import Mailbox, MailboxOverflowStrategy

    gate = Gate()
    async with pair() as (one, other):
        letters = await dead_letters(other)
        there = other.spawn(
            gate.behavior(), "gate", mailbox=Mailbox(capacity=1, overflow=MailboxOverflowStrategy.reject)
        )
        await gate.hold(there)
        ref = await looked_up(one, other, "gate")
        for number in range(3):
            ref.tell(number)
        for number in (1, 2):
            assert await letters.next() == DeadLetter(number, there, Reason.REJECTED)
        assert await gate.open(there, 1) == [0]


async def test_rule_3_a_timer_whose_message_cannot_be_sent_does_no_harm_to_the_others() -> None:
    async with pair() as (one, other):
        probe, here = Probe(other, "probe"), Probe(one)
        ref = await looked_up(one, other, "probe")
        one.schedule("bad", ref, threading.Lock(), 0.0)
        one.schedule("good", here.ref, "good", 0.0)
        one.schedule("far", ref, "far", 0.0)
        assert await here.next() == "good"
        assert await probe.next() == "far"


async def test_rule_2_a_process_tells_in_order_too() -> None:
    async with pair() as (one, _), process() as there:
        probe = Probe(one, "probe")
        desk = await there.look_up(one, "desk")
        desk.tell(Tell(probe.ref, 5_000))
        assert await within(desk.ask(Echo("done"))) == "done"
        assert await probe.take(5_000) == list(range(5_000))
