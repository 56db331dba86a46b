"""Streams in numbers: long ones, many at once, one after the other; and what they leave behind (nothing)."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from itertools import pairwise
from typing import Any

from casty_asyncio import (
    ActorSystem,
    DeadLetter,
    EventStreamSubscribe,
    SinkRef,
    SourceRef,
    StreamFailedError,
)

from .streams_kit import Stream, drain, quiet, recorder, settled, stream


async def pump(source: SourceRef[Any], sink: SinkRef[Any]) -> None:
    """A stage between two streams."""
    async for element in source:
        await sink.put(element + 1)
    await sink.complete()


async def feed(sink: SinkRef[Any], count: int) -> None:
    for i in range(count):
        await sink.put(i)
    await sink.complete()


async def test_a_hundred_thousand_elements_pass_three_stages_in_order() -> None:
    count = 100_000
    with quiet():
        async with ActorSystem() as system:
            stages = [await stream(system) for _ in range(3)]
            async with asyncio.TaskGroup() as group:
                group.create_task(feed(stages[0].sink, count))
                group.create_task(pump(stages[0].source, stages[1].sink))
                group.create_task(pump(stages[1].source, stages[2].sink))
                expected = 2
                async for element in stages[2].source:
                    assert element == expected
                    expected += 1
            assert expected == count + 2
            for stage in stages:
                await stage.wait_stopped()
            assert system.dead_letters == 0


async def test_leaving_at_the_end_of_a_pipeline_ends_every_stage() -> None:
    with quiet():
        async with ActorSystem() as system:
            stages = [await stream(system, buffer_size=2, demand=2) for _ in range(3)]
            tasks = [
                asyncio.create_task(feed(stages[0].sink, 1000)),
                asyncio.create_task(pump(stages[0].source, stages[1].sink)),
                asyncio.create_task(pump(stages[1].source, stages[2].sink)),
            ]
            async for element in stages[2].source:
                if element == 20:
                    break
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(outcome).__name__ for outcome in outcomes] == ["StreamClosedError"] * 3
            for stage in stages:
                await stage.wait_stopped()
            assert system.dead_letters == 0


async def test_a_failure_at_the_beginning_of_a_pipeline_can_be_passed_on() -> None:
    async def pass_on(source: SourceRef[Any], sink: SinkRef[Any]) -> None:
        try:
            await pump(source, sink)
        except StreamFailedError as error:
            await sink.fail(error)

    async with ActorSystem() as system:
        first, second = await stream(system), await stream(system)
        stage = asyncio.create_task(pass_on(first.source, second.sink))
        await first.sink.put(1)
        await first.sink.fail(ValueError("wet"))
        got, error = await drain(second.source)
        await stage
        assert got == [2]
        assert isinstance(error, StreamFailedError)
        assert isinstance(error.__cause__, StreamFailedError)
        assert isinstance(error.__cause__.__cause__, ValueError)


async def test_a_hundred_streams_at_once_each_deliver_their_own_elements() -> None:
    with quiet():
        async with ActorSystem() as system:
            streams = [await stream(system, buffer_size=1 + n % 5, demand=1 + n % 7) for n in range(100)]

            async def use(n: int, it: Stream) -> None:
                async def put() -> None:
                    for i in range(50):
                        await it.sink.put((n, i))
                    await it.sink.complete()

                async with asyncio.TaskGroup() as group:
                    group.create_task(put())
                    assert [element async for element in it.source] == [(n, i) for i in range(50)]

            async with asyncio.TaskGroup() as group:
                for n, it in enumerate(streams):
                    group.create_task(use(n, it))
            for it in streams:
                await it.wait_stopped()
            assert system.dead_letters == 0


async def test_no_stream_starves_another_rule_16() -> None:
    async with ActorSystem() as system:
        big = await stream(system, buffer_size=0, demand=64)
        small = await stream(system, demand=1)
        for i in range(20_000):
            await big.sink.put(i)
        big_seen = 0
        at_the_end: list[int] = []

        async def read_big() -> None:
            nonlocal big_seen
            async for _ in big.source:
                big_seen += 1

        async def read_small() -> None:
            async for _ in small.source:
                pass
            at_the_end.append(big_seen)

        async with asyncio.TaskGroup() as group:
            group.create_task(read_big())
            group.create_task(read_small())
            for i in range(10):
                await small.sink.put(i)
            await small.sink.complete()
            await big.sink.complete()
        assert big_seen == 20_000
        assert at_the_end[0] < 20_000


async def one_stream(system: ActorSystem, n: int) -> None:
    it = await stream(system, buffer_size=4, demand=2, timeout=60.0)
    feeder = asyncio.create_task(feed(it.sink, 10))
    async for element in it.source:
        if n % 2 and element == 5:
            break
    await asyncio.gather(feeder, return_exceptions=True)
    await it.wait_stopped()


def in_use(system: ActorSystem) -> tuple[int, int]:
    """How many objects and blocks of memory are in use, without forgotten deadlines, which leave in batches."""
    system._runtime().clock._table._rebuild()
    gc.collect()
    return len(gc.get_objects()), sys.getallocatedblocks()


async def test_memory_is_flat_over_hundreds_of_streams() -> None:
    """A leak grows with every batch, by at least one for each stream.

    Python 3.12 keeps blocks for itself, fewer with each batch and for many batches, while the objects stay as many.
    """
    async with ActorSystem() as system:
        sizes: list[tuple[int, int]] = []
        for _ in range(5):
            for n in range(100):
                await one_stream(system, n)
            sizes.append(in_use(system))
        objects = [after[0] - before[0] for before, after in pairwise(sizes)]
        blocks = [after[1] - before[1] for before, after in pairwise(sizes)]
        assert min(objects) < 10, "no object for each stream"
        assert min(blocks) < 100, "no block for each stream"
        assert len(system._runtime().clock) == 0


async def test_memory_is_flat_over_a_long_stream() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        sizes: list[int] = []
        feeder = asyncio.create_task(feed(it.sink, 30_000))
        async for element in it.source:
            if element in (10_000, 29_000):
                gc.collect()
                sizes.append(sys.getallocatedblocks())
        await feeder
        assert abs(sizes[1] - sizes[0]) < 2_000, sizes


async def test_a_stream_that_has_ended_is_garbage_without_the_help_of_the_collector_of_cycles_at_its_elements() -> None:
    class Element:
        pass

    async with ActorSystem() as system:
        it = await stream(system, demand=2)
        elements = [Element() for _ in range(5)]
        alive = [weakref.ref(element) for element in elements]
        for element in elements:
            await it.sink.put(element)
        del elements, element
        async for _ in it.source:
            break
        del _
        await it.wait_stopped()
        assert [ref() for ref in alive] == [None] * 5


async def test_normal_runs_make_no_dead_letters_and_no_log_lines() -> None:
    with quiet():
        async with ActorSystem() as system:
            letters: list[Any] = []
            probe = system.spawn(recorder(letters))
            system.event_stream.tell(EventStreamSubscribe(DeadLetter, probe))
            for buffer_size in (0, 1, 4):
                for demand in (1, 2, 16):
                    for leave_at in (None, 0, 1, 7, 19):
                        it = await stream(system, buffer_size=buffer_size, demand=demand)
                        feeder = asyncio.create_task(feed(it.sink, 20))
                        async for element in it.source:
                            if element == leave_at:
                                break
                        await asyncio.gather(feeder, return_exceptions=True)
                        await it.wait_stopped()
            await settled(system, probe)
            assert letters == []
            assert system.dead_letters == 0
