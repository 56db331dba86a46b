"""`SinkRef.put`: when it waits, who is served first, and what a cancelled or refused putter leaves behind (nothing)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from casty_asyncio import (
    ActorSystem,
    CompleteStream,
    FailStream,
    StreamClosedError,
    StreamFailedError,
    UsageError,
    stream_producer,
)
from casty_proto.stream import Room

from .streams_kit import drain, get_sink, idle, quiet, records_of_log, stream


def ends_at_once(coroutine: Coroutine[Any, Any, Any]) -> bool:
    """Whether the coroutine ends without ever yielding to the loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return True
    coroutine.close()
    return False


# -- room --------------------------------------------------------------------------------------------------------------


async def test_put_does_not_yield_while_there_is_room_with_or_without_a_consumer_that_waits() -> None:
    async with ActorSystem() as system:
        sink = await get_sink(system, system.spawn(stream_producer(buffer_size=3)))
        assert [ends_at_once(sink.put(i)) for i in range(4)] == [True, True, True, False]

        it = await stream(system, buffer_size=3, demand=1)
        reader = asyncio.create_task(drain(it.source))
        await idle()
        assert [ends_at_once(it.sink.put(i)) for i in range(4)] == [True, True, True, False]
        assert ends_at_once(it.sink.complete())
        assert await reader == ([0, 1, 2], None)


async def test_put_waits_while_the_buffer_is_full_and_goes_on_as_the_consumer_consumes() -> None:
    with quiet():
        async with ActorSystem() as system:
            it = await stream(system, buffer_size=2, demand=1)
            accepted: list[int] = []

            async def feed() -> None:
                for i in range(8):
                    await it.sink.put(i)
                    accepted.append(i)
                await it.sink.complete()

            feeder = asyncio.create_task(feed())
            await idle()
            assert accepted == [0, 1]
            consumed = []
            async for element in it.source:
                consumed.append(element)
                await idle()
                assert len(accepted) <= len(consumed) + 2 + 1, "the buffer, and the window of 1"
            await feeder
            assert consumed == accepted == list(range(8))


async def test_a_buffer_size_of_zero_is_any_number() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=0, demand=1)
        for i in range(1000):
            assert ends_at_once(it.sink.put(i))
        await it.sink.complete()
        assert await drain(it.source) == (list(range(1000)), None)


async def test_none_is_refused_and_nothing_else_is_rule_25() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=4)
        with pytest.raises(UsageError, match="None"):
            await it.sink.put(None)
        odd = [0, False, "", ()]
        for element in odd:
            await it.sink.put(element)
        waiting = asyncio.create_task(it.sink.put("last"))
        await idle()
        with pytest.raises(UsageError, match="None"):
            await it.sink.put(None)
        reader = asyncio.create_task(drain(it.source))
        await waiting
        await it.sink.complete()
        assert await reader == ([*odd, "last"], None)


# -- several putters ---------------------------------------------------------------------------------------------------


async def test_putters_that_wait_are_served_in_the_order_in_which_they_came() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=2, demand=1)
        putters = [asyncio.create_task(it.sink.put(i)) for i in range(50)]
        reader = asyncio.create_task(drain(it.source))
        await asyncio.gather(*putters)
        await it.sink.complete()
        assert await reader == (list(range(50)), None)
        assert it.sink._end.line._has_turn is None, "a task that has put is not held on to"


async def test_who_is_let_in_too_early_keeps_its_place() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=1, demand=1)
        putters = [asyncio.create_task(it.sink.put(i)) for i in range(10)]
        got = []
        async for element in it.source:
            got.append(element)
            # With every element that is taken one is let in, and lets in another one, for whom there is no room.
            await idle()
            if len(got) == 9:
                await it.sink.complete()
        await asyncio.gather(*putters)
        assert got == list(range(10))


async def test_no_putter_starves_behind_others_that_put_without_a_pause() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=4, demand=2)

        async def greedy(name: str) -> None:
            while True:
                await it.sink.put(name)

        async def in_every_turn(name: str) -> None:
            while True:
                await asyncio.sleep(0)
                await it.sink.put(name)

        putters = [asyncio.create_task(greedy(name)) for name in "ab"]
        putters += [asyncio.create_task(in_every_turn(name)) for name in "cd"]
        seen: Counter[str] = Counter()
        async for name in it.source:
            seen[name] += 1
            if seen.total() == 400:
                break
        assert len(seen) == 4
        assert min(seen.values()) >= 10, seen
        outcomes = await asyncio.gather(*putters, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StreamClosedError] * 4


async def test_elements_of_one_putter_keep_their_order_among_those_of_others() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=3, demand=2)

        async def feed(name: str, pause: int) -> None:
            for i in range(50):
                await it.sink.put((name, i))
                if pause and i % pause == 0:
                    await asyncio.sleep(0)

        reader = asyncio.create_task(drain(it.source))
        await asyncio.gather(feed("a", 0), feed("b", 1), feed("c", 3))
        await it.sink.complete()
        got, error = await reader
        assert error is None
        for name in "abc":
            assert [i for who, i in got if who == name] == list(range(50))


# -- cancelled putters -------------------------------------------------------------------------------------------------


async def test_a_putter_that_is_cancelled_while_it_waits_leaves_nothing_and_the_next_goes_on() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=1, demand=1)
        await it.sink.put("first")
        cancelled = asyncio.create_task(it.sink.put("cancelled"))
        after = asyncio.create_task(it.sink.put("after"))
        await idle()
        cancelled.cancel()
        reader = asyncio.create_task(drain(it.source))
        await after
        assert cancelled.cancelled()
        await it.sink.complete()
        assert await reader == (["first", "after"], None)


async def test_a_putter_that_is_cancelled_when_it_has_been_let_in_lets_the_next_one_in() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=1, demand=1)
        await it.sink.put("first")
        cancelled = asyncio.create_task(it.sink.put("cancelled"))
        after = asyncio.create_task(it.sink.put("after"))
        await idle()
        end = it.sink._end
        carry_out = end._carry_out

        def cancel_when_let_in(effect: Any) -> None:
            carry_out(effect)
            if isinstance(effect, Room) and not cancelled.cancelling():
                assert next(iter(end.line.waiting.values())).done(), "the one in front has been let in"
                cancelled.cancel()

        end._carry_out = cancel_when_let_in  # type: ignore[method-assign]
        reader = asyncio.create_task(drain(it.source))
        await after
        assert cancelled.cancelled()
        await it.sink.complete()
        assert await reader == (["first", "after"], None)


async def test_a_putter_that_gives_up_after_a_time_may_put_again() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=1, demand=1)
        await it.sink.put("first")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(it.sink.put("second"), 0.001)
        assert not it.sink._end.line.waiting
        reader = asyncio.create_task(drain(it.source))
        await it.sink.put("second")
        await it.sink.complete()
        assert await reader == (["first", "second"], None)


# -- the end of the input ----------------------------------------------------------------------------------------------


async def test_put_raises_after_complete_and_complete_may_be_repeated() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        closed = [it.sink.closed]
        await it.sink.put(1)
        await it.sink.complete()
        await it.sink.complete()
        assert [*closed, it.sink.closed] == [False, True]
        with pytest.raises(StreamClosedError, match="completed"):
            await it.sink.put(2)
        with pytest.raises(StreamClosedError, match="completed"):
            await it.sink.fail(ValueError())
        assert await drain(it.source) == ([1], None)
        await it.wait_stopped()
        await it.sink.complete()


async def test_put_and_complete_raise_after_fail() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        await it.sink.fail(ValueError("wet"))
        with pytest.raises(StreamClosedError, match="wet"):
            await it.sink.put(1)
        with pytest.raises(StreamClosedError, match="wet"):
            await it.sink.complete()
        with pytest.raises(StreamClosedError, match="wet"):
            await it.sink.fail(KeyError())
        _, error = await drain(it.source)
        assert isinstance(error, StreamFailedError)
        assert isinstance(error.__cause__, ValueError)


async def test_complete_and_fail_by_message_that_come_too_late_are_logged_and_change_nothing() -> None:
    async with ActorSystem() as system:
        it = await stream(system, demand=1)
        for i in range(3):
            await it.sink.put(i)
        await it.sink.fail(ValueError("wet"))
        with records_of_log() as records:
            it.producer.tell(CompleteStream())
            it.producer.tell(FailStream(KeyError()))
            got, error = await drain(it.source)
        assert got == [0, 1, 2]
        assert isinstance(error, StreamFailedError)
        assert isinstance(error.__cause__, ValueError)
        assert ["too late" in record.getMessage() for record in records] == [True, True]


async def test_only_exceptions_can_fail_a_stream() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        for wrong in ("wet", ValueError):
            with pytest.raises(UsageError, match="exception"):
                await it.sink.fail(wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                FailStream(wrong)  # type: ignore[arg-type]
        assert not it.sink.closed


@pytest.mark.parametrize("how", ["complete", "fail", "leave", "stop producer", "stop consumer", "shutdown"])
async def test_those_who_wait_in_line_are_told_when_the_stream_is_closed(how: str) -> None:
    system = ActorSystem()
    it = await stream(system, buffer_size=1, demand=1)
    await it.sink.put(0)
    putters = [asyncio.create_task(it.sink.put(i)) for i in range(1, 5)]
    await idle()
    match how:
        case "complete":
            await it.sink.complete()
        case "fail":
            await it.sink.fail(ValueError())
        case "leave":
            await it.source.aclose()
        case "stop producer":
            system.stop(it.producer)
        case "stop consumer":
            system.stop(it.consumer)
        case "shutdown":
            await system.shutdown()
    outcomes = await asyncio.gather(*putters, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StreamClosedError] * 4
    assert not it.sink._end.line.waiting
    await system.shutdown()


async def test_complete_while_others_put_delivers_exactly_what_was_accepted() -> None:
    async with ActorSystem() as system:
        it = await stream(system, buffer_size=2, demand=1)
        accepted: list[int] = []

        async def feed(first: int) -> None:
            for i in range(first, first + 20):
                await it.sink.put(i)
                accepted.append(i)

        feeders = [asyncio.create_task(feed(first)) for first in (0, 100, 200)]
        got: list[int] = []
        async for element in it.source:
            got.append(element)
            if len(got) == 10:
                await it.sink.complete()
        outcomes = await asyncio.gather(*feeders, return_exceptions=True)
        assert got == accepted
        assert [type(outcome) for outcome in outcomes] == [StreamClosedError] * 3
