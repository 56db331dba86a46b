"""Demand: never more than the window is requested and not consumed (rules 6 and 10), and it never runs dry."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_asyncio import (
    ActorSystem,
    StreamDemand,
    StreamElement,
    StreamElements,
    StreamSubscribed,
    Subscribe,
    UsageError,
    stream_consumer,
    stream_producer,
)

from .streams_kit import (
    drain,
    get_sink,
    get_source,
    hand_written_producer,
    idle,
    quiet,
    recorder,
    settled,
    stream,
)


def requested(log: list[Any]) -> int:
    return sum(message.n for message in log if isinstance(message, StreamDemand))


@pytest.mark.parametrize("window", [1, 2, 3, 16, 1000])
async def test_never_more_than_the_window_is_requested_and_not_consumed_rule_10(window: int) -> None:
    with quiet():
        async with ActorSystem() as system:
            log: list[Any] = []
            count = 3 * window + 5
            producer = system.spawn(hand_written_producer(log, count=count, completes=True))
            consumer = system.spawn(stream_consumer(producer, initial_demand=window))
            source = await get_source(system, consumer)
            assert requested(log) == 0, "nobody iterates yet"
            consumed = 0
            most = 0
            async for element in source:
                # The one in hand has been taken, and may have been replaced by another one.
                consumed += 1
                if window < 100 or consumed % window in (0, 1, window - 1):
                    await settled(system, producer)
                assert requested(log) - consumed <= window
                most = max(most, requested(log) - consumed)
                assert element == consumed - 1
            assert consumed == count
            assert most >= window - 1, "the window is made use of"


@given(
    window=st.integers(1, 5),
    buffer_size=st.integers(0, 3),
    bursts=st.lists(st.integers(1, 7), max_size=8),
    pauses=st.lists(st.integers(0, 3), min_size=1, max_size=5),
)
async def test_every_window_and_every_buffer_flow(
    window: int, buffer_size: int, bursts: list[int], pauses: list[int]
) -> None:
    async with ActorSystem() as system:
        it = await stream(system, demand=window, buffer_size=buffer_size)

        async def feed() -> None:
            for number, burst in enumerate(bursts):
                for i in range(burst):
                    await it.sink.put((number, i))
                await idle(pauses[number % len(pauses)])
            await it.sink.complete()

        feeder = asyncio.create_task(feed())
        got = []
        async for element in it.source:
            got.append(element)
            await idle(pauses[len(got) % len(pauses)])
        await feeder
        assert got == [(number, i) for number, burst in enumerate(bursts) for i in range(burst)]


async def test_the_consumer_holds_no_more_than_its_window_of_a_fast_producer() -> None:
    async with ActorSystem() as system:
        it = await stream(system, demand=4, buffer_size=8)
        for i in range(8):
            await it.sink.put(i)
        waiting = [asyncio.create_task(it.sink.put(i)) for i in range(8, 20)]
        iteration = aiter(it.source)
        assert await anext(iteration) == 0
        await idle()
        # 1 taken, 4 in the window at most, 8 in the buffer: the others wait.
        assert 1 <= sum(put.done() for put in waiting) <= 1 + 4
        await it.source.aclose()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_hand_written_consumer_gets_what_it_asks_for_and_no_more_rule_6() -> None:
    with quiet():
        async with ActorSystem() as system:
            log: list[Any] = []
            producer = system.spawn(stream_producer(buffer_size=0))
            sink = await get_sink(system, producer)
            me = system.spawn(recorder(log))
            for i in range(10):
                await sink.put(i)
            producer.tell(Subscribe(me, demand=2))
            await settled(system, me)
            assert log == [StreamSubscribed(producer), StreamElement(0, 0), StreamElement(1, 1)]
            log.clear()
            producer.tell(StreamDemand(1))
            producer.tell(StreamDemand(3))
            await settled(system, me)
            assert log == [StreamElement(i, i) for i in range(2, 6)]


async def test_elements_come_one_by_one_unless_the_consumer_asked_for_batches_rule_36() -> None:
    async with ActorSystem() as system:
        for batch in (False, True):
            log: list[Any] = []
            producer = system.spawn(stream_producer())
            sink = await get_sink(system, producer)
            me = system.spawn(recorder(log))
            for i in range(3):
                await sink.put(i)
            producer.tell(Subscribe(me, demand=3, batch=batch))
            await settled(system, me)
            one_by_one = [StreamElement(i, i) for i in range(3)]
            assert log[1:] == ([StreamElements(0, (0, 1, 2))] if batch else one_by_one)


async def test_a_demand_that_is_not_positive_fails_the_stream_rule_9() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        reader = asyncio.create_task(drain(it.source))
        await idle()
        it.producer.tell(StreamDemand(0))
        _, error = await reader
        assert "positive" in str(error)


@pytest.mark.parametrize("demand", [0, -1, 2**63, 1.5, None])
async def test_a_window_that_makes_no_sense_is_refused_at_the_call(demand: Any) -> None:
    async with ActorSystem() as system:
        producer = system.spawn(stream_producer())
        with pytest.raises((ValueError, TypeError)):
            stream_consumer(producer, initial_demand=demand)


@pytest.mark.parametrize("size", [-1, 1.5, None])
def test_a_buffer_size_that_makes_no_sense_is_refused_at_the_call(size: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        stream_producer(buffer_size=size)


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "soon"])
async def test_a_timeout_that_makes_no_sense_is_refused_at_the_call(timeout: Any) -> None:
    async with ActorSystem() as system:
        producer = system.spawn(stream_producer())
        with pytest.raises(UsageError, match="seconds"):
            stream_consumer(producer, timeout=timeout)
        with pytest.raises(UsageError, match="seconds"):
            stream_producer(subscription_timeout=timeout)


@pytest.mark.parametrize("producer", [None, "producer", 7, stream_producer()])
def test_a_producer_that_is_no_ref_is_refused_at_the_call(producer: Any) -> None:
    with pytest.raises(UsageError, match="producer"):
        stream_consumer(producer)
