"""More than one iteration of a stream: one after the other, or at the same time."""

from __future__ import annotations

import asyncio

import pytest

from casty_asyncio import ActorSystem, StreamClosedError, UsageError

from .streams_kit import drain, idle, stream


async def test_who_iterates_again_after_leaving_is_told_so_at_once_and_later() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        await it.sink.put(0)
        await it.sink.put(1)
        async for _ in it.source:
            break
        got, error = await drain(it.source)
        assert got == []
        assert isinstance(error, StreamClosedError)
        assert "left" in str(error)
        await it.wait_stopped()
        with pytest.raises(StreamClosedError, match="left"):
            await anext(aiter(it.source))


async def test_who_iterates_again_after_the_end_gets_nothing_more() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        await it.sink.put(0)
        await it.sink.complete()
        assert [element async for element in it.source] == [0]
        assert [element async for element in it.source] == []
        await it.source.aclose()
        assert [element async for element in it.source] == [], "leaving after the end changes nothing"


async def test_a_second_iteration_at_the_same_time_is_refused_and_does_not_disturb_the_first() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        await it.sink.put(0)
        await it.sink.put(1)
        got = []
        async for element in it.source:
            got.append(element)
            with pytest.raises(UsageError, match="iterated already"):
                aiter(it.source)
            if element == 1:
                await it.sink.complete()
        assert got == [0, 1]


async def test_a_second_task_that_waits_for_the_same_iteration_is_refused_and_does_not_disturb_the_first() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        iteration = aiter(it.source)
        first = asyncio.ensure_future(anext(iteration))
        await idle()
        with pytest.raises(UsageError, match="waits for the next element"):
            await anext(iteration)
        await it.sink.put(0)
        assert await first == 0
        await it.sink.put(1)
        assert await anext(iteration) == 1


async def test_who_iterates_again_after_leaving_elements_of_a_complete_stream_is_not_told_that_it_was_all() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        await it.sink.put(0)
        await it.sink.put(1)
        await it.sink.complete()
        async for _ in it.source:
            await system.wait_stopped(it.producer)
            break
        got, error = await drain(it.source)
        assert got == []
        assert isinstance(error, StreamClosedError)
