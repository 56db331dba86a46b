"""Leaving an iteration, in whatever way, cancels upstream exactly once (rule 22); leaving after the end does not."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest

from casty_asyncio import (
    ActorSystem,
    SourceRef,
    StreamCancel,
    StreamClosedError,
    stream_consumer,
)
from casty_proto.stream import Available

from .streams_kit import get_source, hand_written_producer, idle, quiet, settled, stream

type Leave = Callable[[SourceRef[int]], Awaitable[object]]


async def read_on(source: SourceRef[int]) -> None:
    async for _ in source:
        pass


async def by_break(source: SourceRef[int]) -> None:
    async for element in source:
        if element == 3:
            break


async def by_return(source: SourceRef[int]) -> int:
    async for element in source:
        if element == 3:
            return element
    raise AssertionError


async def by_exception_in_the_body(source: SourceRef[int]) -> None:
    async def read() -> None:
        async for element in source:
            assert 1 // (3 - element) < 2

    with pytest.raises(ZeroDivisionError):
        await read()


async def by_cancellation_while_it_waits(source: SourceRef[int]) -> asyncio.Task[None]:
    reached = asyncio.Event()

    async def read() -> None:
        async for element in source:
            if element == 3:
                reached.set()

    task = asyncio.create_task(read())
    await reached.wait()
    await idle()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Whoever keeps the task keeps the exception, and with it every frame that it went through.
    return task


async def by_cancellation_while_it_does_not_wait(source: SourceRef[int]) -> asyncio.Task[None]:
    reached = asyncio.Event()

    async def read() -> None:
        async for element in source:
            if element == 3:
                reached.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return task


async def by_cancellation_in_the_same_turn_as_an_element_comes(source: SourceRef[int]) -> None:
    end = source._end
    carry_out = end._carry_out

    def carry_out_and_cancel(effect: Any) -> None:
        carry_out(effect)
        if isinstance(effect, Available):
            task.cancel()

    end._carry_out = carry_out_and_cancel  # type: ignore[method-assign]
    task = asyncio.create_task(read_on(source))
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_timeout(source: SourceRef[int]) -> None:
    clock = asyncio.timeout(0.01)
    with suppress(TimeoutError):
        async with clock:
            async for _ in source:
                pass
    assert clock.expired()


async def by_timeout_of_one_element(source: SourceRef[int]) -> None:
    iteration = aiter(source)

    async def read() -> None:
        while True:
            await asyncio.wait_for(anext(iteration), 0.01)

    with pytest.raises(TimeoutError):
        await read()


async def by_a_generator_expression_that_is_closed(source: SourceRef[int]) -> None:
    async with aclosing(element * 2 async for element in source) as doubled:
        assert await anext(doubled) == 0


async def by_a_generator_expression_that_is_dropped(source: SourceRef[int]) -> None:
    doubled = (element * 2 async for element in source)
    assert await anext(doubled) == 0
    del doubled
    await idle()


async def wrapped(source: SourceRef[int]) -> AsyncIterator[int]:
    async for element in source:
        yield element


async def by_a_generator_that_wraps_it(source: SourceRef[int]) -> None:
    async for element in wrapped(source):
        if element == 3:
            break
    await idle()


async def by_closing_the_source(source: SourceRef[int]) -> None:
    async with aclosing(source):
        assert await anext(aiter(source)) == 0


async def by_closing_the_iteration(source: SourceRef[int]) -> None:
    iteration = aiter(source)
    async with aclosing(iteration):  # type: ignore[type-var]
        assert await anext(iteration) == 0
    await iteration.aclose()  # type: ignore[attr-defined]


async def by_closing_the_source_while_a_task_waits(source: SourceRef[int]) -> None:
    task = asyncio.create_task(read_on(source))
    await idle()
    await source.aclose()
    with pytest.raises(StreamClosedError, match="the source was closed"):
        await task


async def by_dropping_the_iterator_before_the_first_element(source: SourceRef[int]) -> None:
    aiter(source)


async def by_dropping_the_iterator_in_another_thread(source: SourceRef[int]) -> None:
    box = [aiter(source)]
    assert await anext(box[0]) == 0
    await asyncio.to_thread(box.clear)


async def by_dropping_the_iterator_in_a_cycle(source: SourceRef[int]) -> None:
    box: list[Any] = [aiter(source)]
    assert await anext(box[0]) == 0
    box.append(box)
    del box
    gc.collect()


async def by_dropping_the_iterator_in_a_cycle_that_another_thread_collects(source: SourceRef[int]) -> None:
    box: list[Any] = [aiter(source)]
    assert await anext(box[0]) == 0
    box.append(box)
    del box
    await asyncio.to_thread(gc.collect)


async def by_the_failure_of_another_task(source: SourceRef[int]) -> None:
    async def fail() -> None:
        await idle()
        raise ZeroDivisionError

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(read_on(source))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        await both()


WAYS = [value for name, value in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
async def test_leaving_cancels_upstream_exactly_once_rule_22(leave: Leave) -> None:
    with quiet():
        async with ActorSystem() as system:
            log: list[Any] = []
            producer = system.spawn(hand_written_producer(log, count=10))
            consumer = system.spawn(stream_consumer(producer, initial_demand=2))
            source = await get_source(system, consumer)
            kept = await leave(source)
            await system.wait_stopped(consumer)
            await source.aclose()
            await settled(system, producer)
            del kept
            gc.collect()
            await settled(system, producer)
            cancels = [index for index, message in enumerate(log) if isinstance(message, StreamCancel)]
            assert len(cancels) == 1, log
            assert cancels[0] == len(log) - 1, "nothing is asked for after the cancellation"
            assert system.dead_letters == 0


@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
async def test_leaving_stops_both_actors_and_closes_the_sink(leave: Leave) -> None:
    with quiet():
        async with ActorSystem() as system:
            it = await stream(system, demand=2, buffer_size=3)

            async def feed() -> None:
                for i in range(10):
                    await it.sink.put(i)
                    await asyncio.sleep(0)

            feeder = asyncio.create_task(feed())
            kept = await leave(it.source)
            await it.wait_stopped()
            with suppress(StreamClosedError):
                await feeder
            with pytest.raises(StreamClosedError):
                await it.sink.put(99)
            with pytest.raises(StreamClosedError):
                await it.sink.complete()
            del kept
            assert system.dead_letters == 0


async def test_leaving_after_the_end_cancels_nothing_rule_20() -> None:
    with quiet():
        async with ActorSystem() as system:
            log: list[Any] = []
            producer = system.spawn(hand_written_producer(log, count=5, completes=True))
            consumer = system.spawn(stream_consumer(producer))
            source = await get_source(system, consumer)
            iteration = aiter(source)
            assert [element async for element in iteration] == [0, 1, 2, 3, 4]
            await iteration.aclose()  # type: ignore[attr-defined]
            await source.aclose()
            del iteration
            gc.collect()
            await settled(system, producer)
            assert not [message for message in log if isinstance(message, StreamCancel)]
            assert system.dead_letters == 0


async def test_leaving_after_the_completion_came_but_before_the_last_element_cancels_nothing_and_stops_both() -> None:
    with quiet():
        async with ActorSystem() as system:
            it = await stream(system)
            for i in range(5):
                await it.sink.put(i)
            await it.sink.complete()
            async for _ in it.source:
                await system.wait_stopped(it.producer)
                break
            await it.wait_stopped()
            assert system.dead_letters == 0


async def test_what_is_on_its_way_when_the_consumer_leaves_is_dropped_silently_rule_24() -> None:
    with quiet():
        async with ActorSystem() as system:
            it = await stream(system)
            await it.sink.put(0)
            async for _ in it.source:
                for i in range(10):
                    await it.sink.put(i)
                await it.sink.complete()
                break
            await it.wait_stopped()
            assert system.dead_letters == 0


async def test_an_iterator_that_is_dropped_when_the_loop_is_gone_harms_nobody() -> None:
    kept: list[Any] = []
    errors: list[BaseException] = []

    async def program() -> None:
        system = ActorSystem()
        it = await stream(system)
        kept.append(aiter(it.source))
        await system.shutdown()

    def elsewhere() -> None:
        try:
            asyncio.run(program())
            kept.clear()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert not errors
    assert not kept


async def test_the_machines_are_left_alone_when_the_collector_finds_the_iterator_while_they_work() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        box: list[Any] = [aiter(it.source)]
        end = it.source._end
        machine = end._machine
        seen: list[Any] = []

        class Dropping:
            deadline = machine.deadline
            invariants = machine.invariants

            def handle(self, event: Any, now: int) -> Any:
                effects = machine.handle(event, now)
                box.clear()
                seen.append(end.subscriber.outcome)
                return effects

        end._machine = Dropping()
        await it.sink.put(1)
        await it.wait_stopped()
        assert seen[0] is None
        assert "left" in str(seen[-1])
