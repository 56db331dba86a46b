"""Nothing hangs and nothing leaks: floods, endless spawning, long chains, and very many short lives."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections import Counter
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorRef,
    ActorSystem,
    AskTimeoutError,
    Behaviors,
    CastyError,
    Context,
    DeadLetter,
    EventStreamPublish,
    EventStreamSubscribe,
    Mailbox,
    MailboxFullError,
    MailboxOverflowStrategy,
    Reason,
)

from .probe import Marker, Probe, within
from .styles import RESTARTS, Life, Script, Style, Turn, body_of, both, runtime_of


def echo(turn: Turn, message: Any) -> None:
    if isinstance(message, Exception):
        raise message
    turn.answer(message)


# -- floods ------------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("overflow", list(MailboxOverflowStrategy))
async def test_a_flood_loses_nothing_silently_whatever_the_overflow_strategy(
    style: Style, overflow: MailboxOverflowStrategy
) -> None:
    handled: list[Any] = []
    refused = 0
    capacity, count = 100, 10_000

    async def receive(turn: Turn, message: Any) -> None:
        handled.append(message)
        if message == "end":
            turn.answer(None)
        if isinstance(message, int) and message % 10 == 0:
            await asyncio.sleep(0)

    async with ActorSystem() as system:
        probe = Probe(system)
        for event_type in (DeadLetter, Marker):
            system.event_stream.tell(EventStreamSubscribe(event_type, probe.ref))
        await probe.all()
        ref = await style.spawn(system, Script(receive), mailbox=Mailbox(capacity, overflow))
        for number in range(count):
            try:
                ref.tell(number)
            except MailboxFullError:
                refused += 1
            if number % 500 == 0:
                await asyncio.sleep(0)
        while True:
            try:
                await within(style.ask(system, ref, "end"))
                break
            except MailboxFullError:
                await asyncio.sleep(0)
        end = Marker()
        system.event_stream.tell(EventStreamPublish(end))
        lost = await probe.until(end)
        letters = [letter.message for letter in lost if isinstance(letter.message, int)]
        numbers = [message for message in handled if message != "end"]
        assert len(numbers) + len(letters) + refused == count
        assert numbers == sorted(numbers)
        assert len(set(numbers) | set(letters)) == len(numbers) + len(letters)
        assert capacity < len(numbers) < count
        assert {letter.reason for letter in lost} == (
            set() if overflow is MailboxOverflowStrategy.reject else {Reason.OVERFLOW}
        )


@both
async def test_asks_that_are_cancelled_by_the_thousand_leave_nothing_behind(style: Style) -> None:
    go_on = asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        await go_on.wait()
        turn.answer(message)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        asks = [asyncio.ensure_future(style.ask(system, ref, number)) for number in range(5_000)]
        await asyncio.sleep(0)
        for ask in asks[1:]:
            ask.cancel()
        await asyncio.gather(*asks[1:], return_exceptions=True)
        assert len(runtime_of(ref).clock) == 1
        go_on.set()
        assert await within(asks[0]) == 0
        assert await within(style.ask(system, ref, "last")) == "last"
        assert len(runtime_of(ref).clock) == len(body_of(ref).debts) == 0
        assert system.dead_letters == 4_999


@both
async def test_an_actor_that_tells_itself_things_while_it_stops_ends(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        turn.ctx.self.tell(message)
        turn.ctx.self.tell(message)
        if message == "stop":
            turn.ctx.stop()
        await asyncio.sleep(0)
        turn.ctx.self.tell(message)

    async def stop(life: Life) -> None:
        for _ in range(100):
            life.ctx.self.tell("in vain")
            await asyncio.sleep(0)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive, stop=stop))
        ref.tell("stop")
        await within(system.wait_stopped(ref))
        assert system.dead_letters == 103


@both
async def test_a_ref_stays_good_over_a_thousand_restarts(style: Style) -> None:
    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(echo), supervision=RESTARTS)
        for number in range(1000):
            ref.tell(ValueError())
            if number % 100 == 0:
                assert await within(style.ask(system, ref, number)) == number
        assert await within(style.ask(system, ref, "end")) == "end"


# -- spawning ----------------------------------------------------------------------------------------------------------


@both
async def test_an_actor_that_spawns_without_end_can_be_stopped_while_it_does(style: Style) -> None:
    spawned = 0
    enough = asyncio.Event()
    ends: Counter[str] = Counter()

    async def receive(turn: Turn, message: Any) -> None:
        nonlocal spawned
        while True:
            await style.spawn(turn.ctx, Script(echo, stop=lambda life: ends.update(["child"])))
            spawned += 1
            if spawned == 500:
                enough.set()
            await asyncio.sleep(0)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive, stop=lambda life: ends.update(["parent"])))
        ref.tell("go")
        await within(enough.wait())
        system.stop(ref)
        await within(system.wait_stopped(ref))
        runtime_of(ref).machine.invariants()
    assert ends["parent"] == 1
    assert spawned - 1 <= ends["child"] <= spawned


@both
async def test_children_that_spawn_children_without_end_can_be_stopped(style: Style) -> None:
    spawned = 0
    enough = asyncio.Event()

    async def start(life: Life) -> None:
        nonlocal spawned
        spawned += 1
        if spawned > 200:
            enough.set()
        await asyncio.sleep(0)
        life.ctx.self.tell("spawn")

    async def receive(turn: Turn, message: Any) -> None:
        await style.spawn(turn.ctx, Script(receive, start=start))
        turn.ctx.self.tell("spawn")

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive, start=start))
        await within(enough.wait())
        system.stop(ref)
        await within(system.wait_stopped(ref))
        runtime_of(ref).machine.invariants()
        assert not system.lookup(ref.path)


@both
async def test_a_chain_of_a_thousand_generations_starts_fails_and_stops(style: Style) -> None:
    depth = 1000
    ends: list[int] = []
    bottom: list[ActorRef[Any]] = []
    done = asyncio.Event()

    def script(level: int) -> Script:
        async def receive(turn: Turn, message: Any) -> None:
            if level == depth:
                bottom.append(turn.ctx.self)
                done.set()
            else:
                (await style.spawn(turn.ctx, script(level + 1), "x")).tell("next")

        return Script(receive, stop=lambda life: ends.append(level))

    async with ActorSystem() as system:
        ref = await style.spawn(system, script(1), "x")
        ref.tell("next")
        async with asyncio.timeout(20):
            await done.wait()
        assert bottom[0].path == "/x" * depth
        assert system.lookup("/x" * depth)
        system.stop(ref)
        await within(system.wait_stopped(ref))
    assert ends == list(range(depth, 0, -1))


# -- memory ------------------------------------------------------------------------------------------------------------


def blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


class Short(Actor[Any]):
    """Lives for a moment, with a little of everything."""

    def __init__(self, friend: ActorRef[Any]) -> None:
        self.friend = friend

    async def on_start(self) -> None:
        self.context.watch(self.friend)

    def receive(self, msg: Any, ctx: Context) -> None:
        ctx.schedule("later", "x", 3600.0)
        ctx.reply(msg)


async def lives(system: ActorSystem, friend: ActorRef[Any], count: int) -> None:
    """So many actors of both styles are spawned, used, and stopped."""
    for number in range(0, count, 1000):
        refs: list[ActorRef[Any]] = [
            await system.spawn(Short, f"class-{number}-{n}", friend=friend) for n in range(100)
        ]
        refs += [system.spawn(Behaviors.receive(lambda ctx, msg: Behaviors.same())) for _ in range(980)]
        for ref in refs:
            ref.tell("x")
        await asyncio.gather(*(ref.ask("x") for ref in refs[:20]))
        for ref in refs:
            system.stop(ref)
        for ref in refs:
            await system.wait_stopped(ref)


async def asks(ref: ActorRef[Any], count: int) -> None:
    """So many asks, of which a few fail, time out, are cancelled or are answered late."""
    for _ in range(0, count, 1000):
        await asyncio.gather(*(ref.ask(number) for number in range(960)))
        ends = [ref.ask(ValueError()) for _ in range(10)] + [ref.ask("forget", 0.0) for _ in range(10)]
        tasks = [asyncio.ensure_future(ref.ask("forget")) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*ends, *tasks, return_exceptions=True)
        assert all(isinstance(each, (CastyError, asyncio.CancelledError, AskTimeoutError)) for each in found)


@pytest.mark.parametrize("what", ["lives", "asks"])
async def test_two_hundred_thousand_lives_and_asks_leave_memory_as_it_was(what: str) -> None:
    def receive(turn: Turn, message: Any) -> None:
        if message != "forget":
            echo(turn, message)

    async with ActorSystem("quiet") as system:
        runtime_log = logging.getLogger("casty.quiet")
        runtime_log.disabled = True
        friend = await Style.CLASS.spawn(system, Script(receive), supervision=RESTARTS)

        async def run(count: int) -> None:
            await (lives(system, friend, count) if what == "lives" else asks(friend, count))

        await run(3_000)
        before = blocks()
        await run(200_000)
        after = blocks()
        assert after - before < 5_000, "what is left of each would be at least one block"
        assert len(runtime_of(friend).clock) == 0
        assert len(body_of(friend).debts) == 0
