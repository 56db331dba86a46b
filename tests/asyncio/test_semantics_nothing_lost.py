"""Semantics 6: nothing is lost silently. A message is handled, or fails, or becomes one dead letter with its reason.

The first part names the reasons; the second lets actors fail, restart, stash and stop at random, and counts.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from casty_asyncio import (
    ActorRef,
    ActorSystem,
    Behaviors,
    DeadLetter,
    EventStreamPublish,
    EventStreamSubscribe,
    Mailbox,
    MailboxFullError,
    MailboxOverflowStrategy,
    Reason,
)

from .probe import Marker, Probe, within
from .styles import RESTARTS, Script, Style, Turn, both, runtime_of


async def letters(system: ActorSystem) -> Probe:
    probe = Probe(system)
    for event_type in (DeadLetter, Marker):
        system.event_stream.tell(EventStreamSubscribe(event_type, probe.ref))
    await probe.all()
    return probe


async def come(system: ActorSystem, probe: Probe) -> list[DeadLetter]:
    """Every dead letter so far."""
    end = Marker()
    system.event_stream.tell(EventStreamPublish(end))
    return await probe.until(end)


@both
async def test_semantics_6_a_dead_letter_names_message_receiver_and_reason(style: Style) -> None:
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        in_hand.set()
        await go_on.wait()

    async with ActorSystem() as system:
        probe = await letters(system)
        bounded = await style.spawn(system, Script(receive), mailbox=Mailbox(1, MailboxOverflowStrategy.drop_oldest))
        bounded.tell("in hand")
        await within(in_hand.wait())
        bounded.tell("dropped")
        bounded.tell("waits")
        system.stop(bounded)
        bounded.tell("late")
        system.lookup("/nobody").tell("where")
        found = [(letter.message, letter.ref.path, letter.reason) for letter in await come(system, probe)]
        assert found == [
            ("dropped", bounded.path, Reason.OVERFLOW),
            ("waits", bounded.path, Reason.STOPPED),
            ("late", bounded.path, Reason.STOPPED),
            ("where", "/nobody", Reason.UNKNOWN_PATH),
        ]
        go_on.set()
        await within(system.wait_stopped(bounded))
        assert system.dead_letters == 4


@both
async def test_semantics_6_an_answer_that_nobody_waits_for_is_a_dead_letter(style: Style) -> None:
    async with ActorSystem() as system:
        probe = await letters(system)
        ref = await style.spawn(system, Script(lambda turn, message: turn.ctx.reply("to whom")))
        ref.tell("not asked")
        await Probe(system).all()
        assert [letter.reason for letter in await come(system, probe)] == [Reason.NOBODY_ASKED]


class Chaos:
    """Actors to which, and in which, everything happens; and what became of every message that they were told."""

    def __init__(self, style: Style, seed: int) -> None:
        self.style = style
        self.rng = random.Random(seed)
        self.handled: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.refs: list[ActorRef[Any]] = []

    async def receive(self, turn: Turn, message: Any) -> Any:
        """Does one of many things, as the dice fall. What is told a second time comes from the stash."""
        rng = self.rng
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            await asyncio.sleep(0)
        action = rng.random()
        if action < 0.08 and not turn.life.state.get("stashing"):
            turn.ctx.stash(message)
            return None
        if action < 0.15:
            self.failed[message] += 1
            raise ValueError(message)
        self.handled[message] += 1
        if action < 0.18:
            return Behaviors.restart()
        if action < 0.19:
            turn.ctx.stop()
        elif action < 0.25:
            turn.ctx.unstash_all()
        elif action < 0.28 and len(self.refs) < 100:
            await self.spawn(turn.ctx)
        return None

    async def spawn(self, spawner: Any) -> None:
        overflow = self.rng.choice(list(MailboxOverflowStrategy))
        mailbox = self.rng.choice((None, Mailbox(5, overflow)))
        script = Script(self.receive)
        try:
            self.refs.append(await self.style.spawn(spawner, script, supervision=RESTARTS, mailbox=mailbox))
        except ValueError:
            return  # Its parent was stopped meanwhile.

    async def tell(self, count: int) -> None:
        for message in range(count):
            try:
                self.rng.choice(self.refs[-12:]).tell(message)
            except MailboxFullError:
                self.refused[message] += 1
            if self.rng.random() < 0.1:
                await asyncio.sleep(0)
            if self.rng.random() < 0.005:
                ref = self.rng.choice(self.refs)
                runtime_of(ref).system.stop(ref)
            if self.rng.random() < 0.02:
                await self.spawn(runtime_of(self.refs[0]).system)


@both
@pytest.mark.parametrize("seed", range(5))
async def test_semantics_6_every_message_is_handled_or_fails_or_is_a_dead_letter_exactly_once(
    style: Style, seed: int
) -> None:
    chaos = Chaos(style, seed)
    count = 2_000
    async with ActorSystem(seed=seed) as system:
        probe = await letters(system)
        for _ in range(10):
            await chaos.spawn(system)
        await chaos.tell(count)
        for ref in chaos.refs:
            system.stop(ref)
        for ref in chaos.refs:
            await within(system.wait_stopped(ref))
        lost = Counter(letter.message for letter in await come(system, probe) if isinstance(letter.message, int))
        runtime_of(chaos.refs[0]).machine.invariants()
    ends = chaos.handled + chaos.failed + chaos.refused + lost
    assert ends == Counter(range(count))
    assert min(map(len, (chaos.handled, chaos.failed, lost))) > 20, "all of it did happen"
