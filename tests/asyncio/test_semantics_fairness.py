"""Rule 3 of the workers: the event loop and every actor have their turns, however much waits in mailboxes.

The quantum is measured on a clock that the handlers themselves move, so that every count here follows from the rules,
and not from the speed of the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casty_asyncio import ActorRef, ActorSystem
from casty_asyncio.workers import QUANTUM_SECONDS, TURN

from .probe import within
from .styles import Script, Style, Turn, both, runtime_of

PER_QUANTUM = 20
"""So many messages use up a quantum."""


class Load:
    """Counts the messages that are handled in each step of the loop. Each takes the same time, on a false clock."""

    def __init__(self, cost: float = QUANTUM_SECONDS / PER_QUANTUM) -> None:
        self.cost = cost
        self.now = 0.0
        self.handled = 0
        self.steps: list[int] = []
        self._stopped = False

    def measure(self, ref: ActorRef[Any]) -> None:
        """Replace the clock of the workers, and count from now on."""
        runtime_of(ref).pool.clock = lambda: self.now
        self._before = self.handled
        asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        self.steps.append(self.handled - self._before)
        self._before = self.handled
        if not self._stopped:
            asyncio.get_running_loop().call_soon(self._step)

    def stop(self) -> None:
        self._stopped = True

    def handle(self) -> None:
        self.handled += 1
        self.now += self.cost


def counting(load: Load, suspend: Callable[[int], bool] = lambda message: False) -> Script:
    async def receive(turn: Turn, message: Any) -> None:
        load.handle()
        if message == "end":
            turn.answer(load.handled)
        elif suspend(message):
            await asyncio.sleep(0)

    return Script(receive)


@both
async def test_rule_3_a_full_mailbox_gives_the_loop_its_turn_after_every_quantum(style: Style) -> None:
    load = Load()
    async with ActorSystem() as system:
        ref = await style.spawn(system, counting(load))
        for number in range(20_000):
            ref.tell(number)
        load.measure(ref)
        await within(style.ask(system, ref, "end"))
        load.stop()
    assert max(load.steps) <= PER_QUANTUM + 2 * TURN
    assert len(load.steps) >= 20_000 / (PER_QUANTUM + 2 * TURN)


@both
async def test_rule_3_a_million_messages_hold_up_neither_timers_nor_sockets(style: Style) -> None:
    """Counted in messages: what is handled between a timer's deadline or a byte's arrival and what comes of it."""
    load = Load()
    pings = 20

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(16):
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    async with ActorSystem() as system:
        refs = [await style.spawn(system, counting(load)) for _ in range(10)]
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        for number in range(100_000):
            for ref in refs:
                ref.tell(number)
        load.measure(refs[0])
        loop = asyncio.get_running_loop()
        waits: list[int] = []
        for _ in range(pings):
            before = load.handled
            writer.write(b"ping")
            assert await reader.read(16) == b"ping"
            fired = asyncio.Event()
            loop.call_later(0, fired.set)
            await fired.wait()
            waits.append(load.handled - before)
        assert load.handled < 500_000, "they were served while most of the load was still waiting"
        load.stop()
        for ref in refs:
            system.stop(ref)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
    assert max(load.steps) <= PER_QUANTUM + 2 * TURN
    steps_of_a_ping = sum(waits) / pings / PER_QUANTUM
    assert steps_of_a_ping < 500


@both
async def test_rule_3_slow_handlers_have_the_loop_to_themselves_for_one_message_at_a_time(style: Style) -> None:
    load = Load(cost=10 * QUANTUM_SECONDS)
    async with ActorSystem() as system:
        refs = [await style.spawn(system, counting(load)) for _ in range(5)]
        for number in range(100):
            for ref in refs:
                ref.tell(number)
        load.measure(refs[0])
        await within(style.ask(system, refs[-1], "end"))
        load.stop()
        busy = [count for count in load.steps if count]
        # The first turns still have their full length.
        assert busy[0] <= TURN + 1
        assert set(busy[4:-2]) == {1}

        load.cost = 0.0
        for number in range(1000):
            refs[0].tell(number)
        await within(style.ask(system, refs[0], "end"))
        assert runtime_of(refs[0]).pool.turn == TURN, "and what is fast again has long turns again"


@both
async def test_rule_3_a_long_mailbox_does_not_starve_another_actor(style: Style) -> None:
    load = Load()
    between: list[int] = []

    async def receive(turn: Turn, message: Any) -> None:
        between.append(load.handled - message)
        turn.answer(None)

    async with ActorSystem() as system:
        greedy = [await style.spawn(system, counting(load)) for _ in range(3)]
        modest = await style.spawn(system, Script(receive))
        for number in range(30_000):
            for ref in greedy:
                ref.tell(number)
        load.measure(modest)
        for _ in range(10):
            await within(style.ask(system, modest, load.handled))
        load.stop()
        assert load.handled < 60_000
        for ref in greedy:
            system.stop(ref)
    assert max(between) <= (len(greedy) + 1) * TURN


@both
async def test_rule_3_actors_that_tell_themselves_for_ever_starve_nobody_and_can_be_stopped(style: Style) -> None:
    load = Load()

    def receive(turn: Turn, message: Any) -> None:
        load.handle()
        turn.ctx.self.tell(message)

    async with ActorSystem() as system:
        refs = [await style.spawn(system, Script(receive)) for _ in range(2)]
        for ref in refs:
            ref.tell("again")
        load.measure(refs[0])
        other = await style.spawn(system, Script(lambda turn, message: turn.answer(message)))
        for number in range(10):
            assert await within(style.ask(system, other, number)) == number
        for ref in refs:
            system.stop(ref)
            await within(system.wait_stopped(ref))
        load.stop()
    assert 0 < max(load.steps) <= PER_QUANTUM + 2 * TURN


@both
async def test_rule_3_two_actors_that_answer_each_other_without_end_starve_nobody(style: Style) -> None:
    load = Load()

    def receive(turn: Turn, message: Any) -> None:
        load.handle()
        others[turn.ctx.self].tell(message)

    async with ActorSystem() as system:
        a, b = [await style.spawn(system, Script(receive)) for _ in range(2)]
        others = {a: b, b: a}
        a.tell("ping")
        load.measure(a)
        for _ in range(100):
            await asyncio.sleep(0)
        for ref in (a, b):
            system.stop(ref)
            await within(system.wait_stopped(ref))
        load.stop()
    assert 0 < max(load.steps) <= PER_QUANTUM + 2 * TURN
    assert load.handled >= 50 * PER_QUANTUM


@pytest.mark.parametrize("every", [1, 10, 10_000])
@both
async def test_rule_3_many_handlers_that_resume_together_have_one_message_more_each(style: Style, every: int) -> None:
    """Or a thousand of them, each with a long mailbox, would all have a whole turn in one step of the loop."""
    actors = 200
    load = Load(cost=0.0)
    all_wait, go_on = asyncio.Event(), asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        load.handle()
        if message == "wait":
            if load.handled == actors:
                all_wait.set()
            await go_on.wait()
        elif message == "end":
            turn.answer(None)
        elif message % every == 0:
            await asyncio.sleep(0)

    async with ActorSystem() as system:
        refs = [await style.spawn(system, Script(receive)) for _ in range(actors)]
        load.measure(refs[0])
        for ref in refs:
            for message in ("wait", *range(1, 30)):
                ref.tell(message)
        await within(all_wait.wait())
        load.steps.clear()
        load.cost = QUANTUM_SECONDS / PER_QUANTUM
        go_on.set()
        await within(asyncio.gather(*(style.ask(system, ref, "end") for ref in refs)))
        load.stop()
    assert load.handled == 31 * actors
    assert max(load.steps) <= 2 * actors + PER_QUANTUM + 2 * TURN
