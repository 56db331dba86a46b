"""Schedules drawn by Hypothesis: whoever puts, takes, is cancelled, completes, leaves or stops, in any order.

The model is one sentence: what the consumer gets is what was accepted, in that order, each element once, and all of it
if the stream completed. A task notes an element right after its `put` has returned, which is in the very step in which
it was accepted.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from casty_asyncio import ActorSystem, Mailbox, StreamClosedError, StreamError

from .streams_kit import Stream, idle, quiet, stream


class Run:
    """One schedule: putters with an element each, a reader with permits, and what they saw."""

    def __init__(self, it: Stream) -> None:
        self.it = it
        self.putters: list[asyncio.Task[None]] = []
        self.accepted: list[int] = []
        self.consumed: list[int] = []
        self.completed = False
        self.permits = asyncio.Semaphore(0)
        self.reader = asyncio.create_task(self.read())
        self.ended: str | None = None

    async def put(self, element: int) -> None:
        await self.it.sink.put(element)
        self.accepted.append(element)

    async def put_many(self, first: int) -> None:
        for element in range(first, first + 4):
            await self.put(element)

    async def read(self) -> None:
        try:
            async for element in self.it.source:
                self.consumed.append(element)
                await self.permits.acquire()
        except StreamError as error:
            self.ended = type(error).__name__
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        else:
            self.ended = "completed"

    async def do(self, action: tuple[str, int]) -> None:
        match action:
            case ("put", n):
                self.putters.append(asyncio.create_task(self.put(1000 * len(self.putters) + n)))
            case ("put many", n):
                self.putters.append(asyncio.create_task(self.put_many(1000 * len(self.putters) + n)))
            case ("cancel", n) if self.putters:
                self.putters[n % len(self.putters)].cancel()
            case ("take", n):
                for _ in range(n):
                    self.permits.release()
            case ("turns", n):
                await idle(n)
            case ("complete", _):
                try:
                    await self.it.sink.complete()
                    self.completed = True
                except StreamClosedError:
                    pass
            case ("fail", _):
                await asyncio.gather(self.it.sink.fail(ValueError()), return_exceptions=True)
            case ("leave", _):
                await self.it.source.aclose()
            case ("cancel the reader", _):
                self.reader.cancel()
            case ("stop the producer", _):
                self.it.system.stop(self.it.producer)
            case ("stop the consumer", _):
                self.it.system.stop(self.it.consumer)
            case ("shut down", _):
                self.it.system.request_shutdown()

    async def finish(self) -> None:
        """Let everything come to its end, and nobody may hang."""
        for _ in range(1000):
            self.permits.release()
        async with asyncio.timeout(5):
            await idle(2)
            if self.reader.done() and self.ended is None:
                # The reader was cancelled before its first step. Nobody iterates, and so nobody would leave.
                await self.it.source.aclose()
            await asyncio.gather(*self.putters, return_exceptions=True)
            await asyncio.gather(self.it.sink.complete(), return_exceptions=True)
            await asyncio.gather(self.reader, return_exceptions=True)
            await self.it.wait_stopped()

    def check(self) -> None:
        assert self.consumed == self.accepted[: len(self.consumed)]
        assert not self.it.sink._end.line.waiting
        if self.ended == "completed":
            assert self.consumed == self.accepted
        for putter in self.putters:
            assert putter.done()
            if not putter.cancelled():
                assert isinstance(putter.exception(), StreamClosedError | None)


async def run(actions: list[tuple[str, int]], buffer_size: int, demand: int, **options: Any) -> Run:
    with quiet():
        async with ActorSystem() as system:
            it = Run(await stream(system, buffer_size=buffer_size, demand=demand, **options))
            for action in actions:
                await it.do(action)
            await it.finish()
            it.check()
            assert system.dead_letters == 0
    return it


def of(*names: str, most: int = 9) -> st.SearchStrategy[tuple[str, int]]:
    return st.tuples(st.sampled_from(names), st.integers(0, most))


def schedule(*names: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    """Long ones, since a line has to build up before it can be disturbed."""
    drawn = of(*names) | of("take", most=2) | of("turns", most=3)
    return st.builds(list.__add__, st.lists(of("put"), max_size=8), st.lists(drawn, min_size=10, max_size=40))


SIZES = {"buffer_size": st.integers(1, 3), "demand": st.integers(1, 3)}


@given(actions=schedule("put", "put", "cancel"), **SIZES)
async def test_a_cancelled_putter_neither_loses_nor_repeats_an_element_in_any_schedule_rule_26(
    actions: list[tuple[str, int]], buffer_size: int, demand: int
) -> None:
    it = await run(actions, buffer_size, demand)
    assert it.ended == "completed"
    assert it.accepted == sorted(it.accepted), "each puts one element, and who came first is served first"
    cancelled = sum(putter.cancelled() for putter in it.putters)
    assert len(it.accepted) + cancelled == len(it.putters)


@given(actions=schedule("put", "put many", "cancel", "complete", "fail"), **SIZES)
async def test_the_input_may_be_closed_at_any_time_rule_28(
    actions: list[tuple[str, int]], buffer_size: int, demand: int
) -> None:
    it = await run(actions, buffer_size, demand)
    failed = not it.completed and ("fail", 0) in [(name, 0) for name, _ in actions]
    assert it.ended == ("StreamFailedError" if failed else "completed")
    assert it.consumed == it.accepted, "what was accepted is delivered before the end (rule 18)"


ENDS = ["complete", "fail", "leave", "cancel the reader", "stop the producer", "stop the consumer", "shut down"]


@given(
    actions=schedule("put", "put many", "cancel") | schedule("put", "cancel", *ENDS),
    bounded=st.booleans(),
    **SIZES,
)
async def test_the_ends_may_go_at_any_time_and_nobody_hangs_or_gets_what_was_not_sent(
    actions: list[tuple[str, int]], bounded: bool, buffer_size: int, demand: int
) -> None:
    # A mailbox of limited size that is large enough makes no difference.
    it = await run(actions, buffer_size, demand, mailboxes=Mailbox(capacity=100) if bounded else None)
    assert it.ended is not None or it.reader.cancelled()
