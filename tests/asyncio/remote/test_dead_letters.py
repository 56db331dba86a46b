"""Rules 3 and 6: what cannot be delivered is a dead letter at the sender, and one slow peer costs its own only."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from attrs import frozen

from casty_asyncio import (
    ActorRef,
    AskTimeoutError,
    DeadLetter,
    Reason,
    UnreachableError,
)

from ..probe import Probe, within
from .kit import (
    conversation_of,
    dead_letters,
    echo,
    listening,
    looked_up,
    pair,
    peers_of,
    process,
    proxied,
    until,
)
from .parcels import Echo, Halt, Spawn


@frozen
class KnownHereOnly:
    """The other process does not import this module."""

    what: Any


async def test_rule_3_what_was_told_to_an_actor_that_has_stopped_is_a_dead_letter_at_the_sender() -> None:
    async with pair() as (one, other):
        letters, here = await dead_letters(one), Probe(one)
        there = other.spawn(echo(), "there")
        ref = await looked_up(one, other, "there")
        other.stop(there)
        await other.wait_stopped(there)
        for number in range(3):
            ref.tell(number)
        assert await letters.take(3) == [DeadLetter(number, ref, Reason.STOPPED) for number in range(3)]
        ref.tell("with a sender", sender=here.ref)
        assert await letters.next() == DeadLetter("with a sender", ref, Reason.STOPPED, here.ref)


async def test_rule_3_a_message_whose_class_is_unknown_there_is_a_dead_letter_at_the_sender() -> None:
    async with listening() as system, process() as there:
        letters = await dead_letters(system)
        desk = await there.look_up(system, "desk")
        for _ in range(2):
            desk.tell(KnownHereOnly(1))
            assert await letters.next() == DeadLetter(KnownHereOnly(1), desk, Reason.UNDECODABLE)
        assert await within(desk.ask(Echo("still there"))) == "still there"


async def test_rule_3_a_class_that_a_strict_system_does_not_know_is_a_dead_letter_at_the_sender() -> None:
    async with listening() as one, listening(strict=True) as other:
        letters = await dead_letters(one)
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        ref.tell(KnownHereOnly(1), sender=letters.ref)
        ref.tell("plain")
        assert await letters.next() == DeadLetter(KnownHereOnly(1), ref, Reason.UNDECODABLE, letters.ref)
        assert await probe.next() == "plain"


async def test_rule_3_a_refusal_that_a_broken_connection_holds_up_is_a_dead_letter_all_the_same() -> None:
    async with proxied() as (one, other, proxy):
        letters = await dead_letters(one)
        there, probe = other.spawn(echo(), "there"), Probe(other, "probe")
        ref, to_probe = await looked_up(one, other, "there"), await looked_up(one, other, "probe")
        await until(lambda: all(len(peer.link.session) == 0 for peer in (*peers_of(one), *peers_of(other))))
        other.stop(there)
        await other.wait_stopped(there)
        # The message arrives, and its refusal gets no further than the proxy.
        proxy.swallow("back")
        ref.tell("refused")
        to_probe.tell("and after it")
        assert await probe.next() == "and after it"
        await until(lambda: len(peers_of(other)[0].link.session) and not peers_of(other)[0].link.session.has_waiting)
        assert one.dead_letters == 0
        proxy.cut()
        assert await letters.next() == DeadLetter("refused", ref, Reason.STOPPED)
        to_probe.tell("last")
        assert await probe.next() == "last"
        assert one.dead_letters == 1


async def test_rule_3_refusals_over_many_broken_connections_are_all_dead_letters_once() -> None:
    async with proxied() as (one, other, proxy):
        letters = await dead_letters(one)
        there, probe = other.spawn(echo(), "there"), Probe(other, "probe")
        ref, to_probe = await looked_up(one, other, "there"), await looked_up(one, other, "probe")
        other.stop(there)
        await other.wait_stopped(there)
        proxy.cut_after = 4_999
        for number in range(2_000):
            ref.tell(number)
            to_probe.tell(number)
            if number % 50 == 0:
                await asyncio.sleep(0)
        assert await probe.take(2_000) == list(range(2_000))
        assert [letter.message for letter in await letters.take(2_000)] == list(range(2_000))
        assert proxy.cuts >= 5
        proxy.cut_after = None
        assert one.dead_letters == 2_000


async def test_rule_3_what_a_killed_process_did_not_acknowledge_is_a_dead_letter() -> None:
    async with listening(refused_after=0.05) as system, process() as there:
        letters = await dead_letters(system)
        desk = await there.look_up(system, "desk")
        there.signal(signal.SIGSTOP)
        for number in range(5):
            desk.tell(number)
        await asyncio.sleep(0)
        await there.kill()
        assert await letters.take(5) == [DeadLetter(number, desk, Reason.UNREACHABLE) for number in range(5)]
        await until(lambda: conversation_of(system).peer.link.gone is None)
        desk.tell("later")
        assert await letters.next() == DeadLetter("later", desk, Reason.UNREACHABLE)


async def test_rule_3_what_is_told_to_a_system_that_has_ended_is_a_dead_letter_at_once() -> None:
    async with listening() as one:
        letters = await dead_letters(one)
        async with listening() as other:
            other.spawn(echo(), "there")
            ref = await looked_up(one, other, "there")
            await looked_up(one, other, "there")
        await until(lambda: peers_of(one)[0].link.gone)
        ref.tell("late")
        assert one.dead_letters == 1
        assert await letters.next() == DeadLetter("late", ref, Reason.UNREACHABLE)
        with pytest.raises(UnreachableError, match="ended"):
            await within(ref.ask("late"))


async def test_rule_6_what_is_too_much_for_a_stalled_peer_is_a_dead_letter_and_others_are_not_held_up() -> None:
    async with proxied(max_queued=256) as (one, other, proxy), listening() as third:
        letters = await dead_letters(one)
        slow, fast = Probe(other, "slow"), Probe(third, "fast")
        to_slow, to_fast = await looked_up(one, other, "slow"), await looked_up(one, third, "fast")
        await until(lambda: len(peers_of(one)[0].link.session) == 0)
        proxy.stall()
        for number in range(300):
            to_slow.tell(number)
        assert [letter.message for letter in await letters.take(44)] == list(range(256, 300))
        assert one.dead_letters == 44
        for number in range(1_000):
            to_fast.tell(number)
            if number % 100 == 99:
                assert await fast.take(100) == list(range(number - 99, number + 1))
        assert one.dead_letters == 44
        with pytest.raises(UnreachableError, match="too much waits"):
            await within(to_slow.ask("x"))
        proxy.resume()
        assert await slow.take(256) == list(range(256))
        await until(lambda: len(peers_of(one)[0].link.session) == 0)
        to_slow.tell("again")
        assert await slow.next() == "again"


async def test_rule_6_too_many_bytes_are_dead_letters_as_well() -> None:
    async with proxied(max_queued_bytes=100_000) as (one, other, proxy):
        letters = await dead_letters(one)
        probe = Probe(other, "slow")
        ref = await looked_up(one, other, "slow")
        proxy.stall()
        texts = [str(number) * 30_000 for number in range(5)]
        for text in texts:
            ref.tell(text)
        assert [letter.message for letter in await letters.take(2)] == texts[3:]
        # Something small still finds room.
        ref.tell("small")
        proxy.resume()
        assert await probe.take(4) == [*texts[:3], "small"]
        assert one.dead_letters == 2


async def test_rule_6_send_waits_where_tell_would_lose() -> None:
    async with proxied(max_queued=256) as (one, other, proxy):
        probe = Probe(other, "slow")
        ref = await looked_up(one, other, "slow")
        proxy.stall()

        async def sending() -> None:
            for number in range(1_000):
                await ref.send(number)

        task = asyncio.ensure_future(sending())
        await until(lambda: len(peers_of(one)[0].link.session) > 128)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        # A ref that was never used waits as well.
        other_task = asyncio.ensure_future((await looked_up_again(one, ref)).send("by another ref"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not other_task.done()
        assert len(peers_of(one)[0].link.session) < 140
        proxy.resume()
        await within(asyncio.gather(task, other_task))
        found = await probe.take(1_001)
        assert [each for each in found if each != "by another ref"] == list(range(1_000))
        assert one.dead_letters == 0


async def looked_up_again(system: Any, ref: ActorRef[Any]) -> ActorRef[Any]:
    """An equal ref, as it comes out of a message."""
    conversation = conversation_of(system)
    again: ActorRef[Any] = conversation.remoting.refs.decode(conversation.remoting.refs.encode(ref))
    assert again == ref
    assert again is not ref
    return again


async def test_rule_6_send_goes_on_when_a_new_connection_begins_with_news_that_all_has_arrived() -> None:
    async with proxied(max_queued=256) as (one, other, proxy):
        probe = Probe(other, "slow")
        ref = await looked_up(one, other, "slow")
        await until(lambda: len(peers_of(one)[0].link.session) == 0)
        proxy.swallow("back")
        for number in range(200):
            ref.tell(number)
        task = asyncio.ensure_future(ref.send("waiting"))
        assert await probe.take(200) == list(range(200))
        assert not task.done()
        proxy.cut()
        await within(task)
        assert await probe.next() == "waiting"


async def test_rule_6_send_gives_up_waiting_when_the_process_is_lost() -> None:
    async with listening(max_queued=256, refused_after=0.05) as system, process() as there:
        letters = await dead_letters(system)
        desk = await there.look_up(system, "desk")
        there.signal(signal.SIGSTOP)
        for number in range(200):
            desk.tell(number)
        task = asyncio.ensure_future(desk.send("waiting"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        await there.kill()
        await within(task)
        found = await letters.take(201)
        assert [letter.message for letter in found] == [*range(200), "waiting"]
        assert {letter.reason for letter in found} == {Reason.UNREACHABLE}


async def test_rule_6_send_can_be_cancelled_while_it_waits() -> None:
    async with proxied(max_queued=256) as (one, other, proxy):
        probe = Probe(other, "slow")
        ref = await looked_up(one, other, "slow")
        proxy.stall()
        for number in range(200):
            ref.tell(number)
        task = asyncio.ensure_future(ref.send("not sent"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.resume()
        assert await probe.take(200) == list(range(200))
        await ref.send("sent")
        assert await probe.next() == "sent"


async def test_rule_6_classes_that_are_announced_when_there_is_no_room_are_still_known_later() -> None:
    async with proxied(max_queued=256) as (one, other, proxy):
        letters = await dead_letters(one)
        probe = Probe(other, "slow")
        ref = await looked_up(one, other, "slow")
        await until(lambda: len(peers_of(one)[0].link.session) == 0)
        proxy.stall()
        for number in range(300):
            ref.tell(number)
        lost = len(await letters.take(44))
        ref.tell(KnownHereOnly("announced"))
        ref.tell(KnownHereOnly("too much"))
        assert (await letters.next()).message == KnownHereOnly("too much")
        proxy.resume()
        assert await probe.take(300 - lost) == list(range(300 - lost))
        assert await probe.next() == KnownHereOnly("announced")
        await until(lambda: not len(peers_of(one)[0].link.session))
        ref.tell(KnownHereOnly("known"))
        assert await probe.next() == KnownHereOnly("known")


async def test_rule_3_the_answer_that_comes_too_late_is_a_dead_letter() -> None:
    async with pair() as (one, other):
        letters = await dead_letters(other)
        kept: list[ActorRef[Any]] = []
        from casty_asyncio import Behaviors

        def receive(ctx: Any, message: Any) -> Any:
            kept.append(ctx.sender)
            return Behaviors.same()

        other.spawn(Behaviors.receive(receive), "slow")
        ref = await looked_up(one, other, "slow")
        with pytest.raises(AskTimeoutError, match="/slow did not answer str within"):
            await within(ref.ask("x", timeout=0.05))
        await until(lambda: not conversation_of(other).answering)
        kept[0].tell("late")
        letter = await letters.next()
        assert (letter.message, letter.reason) == ("late", Reason.ASK_OVER)


async def test_rule_3_dead_letters_of_a_child_that_was_halted() -> None:
    async with listening() as system, process() as there:
        letters = await dead_letters(system)
        desk = await there.look_up(system, "desk")
        child = await within(desk.ask(Spawn("drawer")))
        child.tell(Halt())
        await within(system.wait_stopped(child))
        child.tell("late")
        assert await letters.next() == DeadLetter("late", child, Reason.STOPPED)
