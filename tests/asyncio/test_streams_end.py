"""How an iteration ends: normally only after the completion, in every other case with an error that says why."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    ActorSystem,
    Behaviors,
    CompleteStream,
    FailStream,
    GetSink,
    GetSource,
    OneForOneStrategy,
    StreamCancel,
    StreamClosedError,
    StreamFailed,
    StreamFailedError,
    StreamTimeoutError,
    stream_consumer,
    stream_producer,
)

from .streams_kit import (
    Explosive,
    drain,
    get_sink,
    get_source,
    hand_written_producer,
    idle,
    quiet,
    records_of_log,
    settled,
    stream,
)

# -- completion --------------------------------------------------------------------------------------------------------


async def test_the_iteration_ends_normally_after_the_completion_and_not_before() -> None:
    with quiet():
        async with ActorSystem() as system:
            it = await stream(system)
            reader = asyncio.create_task(drain(it.source))
            for i in range(100):
                await it.sink.put(i)
            await idle()
            assert not reader.done()
            await it.sink.complete()
            assert await reader == (list(range(100)), None)
            await it.wait_stopped()
            assert system.dead_letters == 0


async def test_a_stream_without_elements_ends_normally() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        await it.sink.complete()
        assert await drain(it.source) == ([], None)


async def test_complete_by_message_flushes_and_ends_the_iteration() -> None:
    async with ActorSystem() as system:
        it = await stream(system, demand=1)
        for i in range(5):
            await it.sink.put(i)
        it.producer.tell(CompleteStream())
        assert await drain(it.source) == ([0, 1, 2, 3, 4], None)


async def test_a_stream_that_has_ended_can_still_be_iterated_by_who_asks_for_the_source_only_then() -> None:
    async with ActorSystem() as system:
        producer = system.spawn(stream_producer())
        consumer = system.spawn(stream_consumer(producer))
        sink = await get_sink(system, producer)
        await sink.complete()
        await system.wait_stopped(producer)
        assert await drain(await get_source(system, consumer)) == ([], None)
        await system.wait_stopped(consumer)


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_fail_reaches_the_iteration_after_what_was_accepted_and_is_its_cause() -> None:
    async with ActorSystem() as system:
        it = await stream(system, demand=2)
        for i in range(5):
            await it.sink.put(i)
        cause = ValueError("the sensor is wet")
        await it.sink.fail(cause)
        got, error = await drain(it.source)
        assert got == [0, 1, 2, 3, 4]
        assert isinstance(error, StreamFailedError)
        assert error.__cause__ is cause
        assert "the sensor is wet" in str(error)
        await it.wait_stopped()


async def test_fail_by_message_is_the_same() -> None:
    async with ActorSystem() as system:
        it = await stream(system, demand=2)
        await it.sink.put("a")
        cause = ValueError("the sensor is wet")
        it.producer.tell(FailStream(cause))
        got, error = await drain(it.source)
        assert got == ["a"]
        assert isinstance(error, StreamFailedError)
        assert error.__cause__ is cause


async def test_a_producer_that_is_stopped_fails_the_iteration() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        await it.sink.put(1)
        reader = asyncio.create_task(drain(it.source))
        await idle()
        system.stop(it.producer)
        got, error = await reader
        assert got == [1]
        assert isinstance(error, StreamFailedError)
        assert it.producer.path in str(error)
        await it.wait_stopped()


async def test_a_producer_that_stops_without_a_word_fails_the_iteration_at_once_after_its_last_elements() -> None:
    async with ActorSystem() as system:
        producer = system.spawn(hand_written_producer([], count=3))
        consumer = system.spawn(stream_consumer(producer))
        reader = asyncio.create_task(drain(await get_source(system, consumer)))
        await idle()
        system.stop(producer)
        async with asyncio.timeout(1):
            got, error = await reader
        assert got == [0, 1, 2]
        assert isinstance(error, StreamFailedError)
        assert producer.path in str(error)


async def test_a_producer_that_crashes_in_its_handler_fails_the_iteration() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        reader = asyncio.create_task(drain(it.source))
        await idle()
        with records_of_log():
            it.producer.tell(GetSink(Explosive()))
            got, error = await reader
        assert got == []
        assert isinstance(error, StreamFailedError)
        await it.wait_stopped()


async def test_a_producer_that_is_restarted_fails_its_stream_and_lives_on_for_another_one() -> None:
    async with ActorSystem() as system:
        supervised = Behaviors.supervise(stream_producer(), OneForOneStrategy())
        it = await stream(system, producer=supervised)
        reader = asyncio.create_task(drain(it.source))
        await idle()
        with records_of_log():
            it.producer.tell(GetSink(Explosive()))
            _, error = await reader
        assert isinstance(error, StreamFailedError)
        assert isinstance(error.__cause__, ZeroDivisionError)
        with pytest.raises(StreamClosedError):
            await it.sink.put(1)

        sink = await get_sink(system, it.producer)
        assert sink is not it.sink
        consumer = system.spawn(stream_consumer(it.producer))
        await sink.put(2)
        await sink.complete()
        assert await drain(await get_source(system, consumer)) == ([2], None)


async def test_a_consumer_that_is_stopped_fails_the_iteration() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        reader = asyncio.create_task(drain(it.source))
        await idle()
        system.stop(it.consumer)
        got, error = await reader
        assert got == []
        assert isinstance(error, StreamFailedError)
        assert it.consumer.path in str(error)
        await it.wait_stopped()


async def test_a_consumer_that_is_restarted_fails_the_iteration_which_does_not_stop_the_new_incarnation() -> None:
    async with ActorSystem() as system:
        log: list[Any] = []
        producer = system.spawn(hand_written_producer(log))
        consumer = system.spawn(Behaviors.supervise(stream_consumer(producer), OneForOneStrategy()))
        source = await get_source(system, consumer)
        iteration = aiter(source)
        first = asyncio.ensure_future(anext(iteration))
        await idle()
        with records_of_log():
            consumer.tell(GetSource(Explosive()))
            with pytest.raises(StreamFailedError):
                await first
        again = await get_source(system, consumer)
        assert again is not source
        await iteration.aclose()  # type: ignore[attr-defined]
        await source.aclose()
        del iteration, source
        await idle()
        assert await get_source(system, consumer) is again
        assert [type(message).__name__ for message in log] == [
            "Subscribe",
            "StreamDemand",
            "StreamCancel",
            "Subscribe",
        ]


async def test_a_shutdown_fails_the_iteration_and_leaves_nothing_behind() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        await it.sink.put(1)
        reader = asyncio.create_task(drain(it.source))
        await idle()
    got, error = await reader
    assert got == [1]
    assert isinstance(error, StreamFailedError)
    with pytest.raises(StreamClosedError):
        await it.sink.put(2)
    assert isinstance((await drain(it.source))[1], StreamFailedError)


async def test_a_shutdown_in_the_midst_of_the_elements_fails_the_iteration() -> None:
    with quiet():
        system = ActorSystem()
        it = await stream(system, demand=3)
        for i in range(10):
            await it.sink.put(i)
        got: list[int] = []

        async def read() -> None:
            async for element in it.source:
                got.append(element)
                if element == 4:
                    await system.shutdown()

        with pytest.raises(StreamFailedError):
            await read()
        assert got[:5] == [0, 1, 2, 3, 4]
        assert system.dead_letters == 0


@pytest.mark.parametrize("how", ["stop", "shutdown"])
async def test_a_consumer_that_is_stopped_after_the_completion_came_loses_nothing(how: str) -> None:
    system = ActorSystem()
    it = await stream(system)
    for i in range(5):
        await it.sink.put(i)
    await it.sink.complete()
    got: list[int] = []
    async for element in it.source:
        got.append(element)
        if element == 1:
            await system.wait_stopped(it.producer)
            system.stop(it.consumer)
            await system.wait_stopped(it.consumer)
            if how == "shutdown":
                await system.shutdown()
    assert got == [0, 1, 2, 3, 4]
    await system.shutdown()


async def test_a_producer_that_has_stopped_before_fails_the_iteration() -> None:
    async with ActorSystem() as system:
        producer = system.spawn(stream_producer())
        system.stop(producer)
        await system.wait_stopped(producer)
        with records_of_log():
            consumer = system.spawn(stream_consumer(producer))
            got, error = await drain(await get_source(system, consumer))
        assert got == []
        assert isinstance(error, StreamFailedError)


async def test_a_second_consumer_is_refused_and_the_first_goes_on() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        second = system.spawn(stream_consumer(it.producer))
        got, error = await drain(await get_source(system, second))
        assert got == []
        assert isinstance(error, StreamFailedError)
        assert "refused" in str(error)
        await it.sink.put(1)
        await it.sink.complete()
        assert await drain(it.source) == ([1], None)


async def test_a_cause_that_is_no_exception_is_not_chained() -> None:
    async with ActorSystem() as system:
        producer = system.spawn(hand_written_producer([]))
        consumer = system.spawn(stream_consumer(producer))
        source = await get_source(system, consumer)
        consumer.tell(StreamFailed("so it goes", cause="no exception"))  # type: ignore[arg-type]
        _, error = await drain(source)
        assert isinstance(error, StreamFailedError)
        assert error.__cause__ is None
        assert "so it goes" in str(error)


# -- inactivity --------------------------------------------------------------------------------------------------------


async def test_inactivity_raises_and_cancels_upstream_once_rule_33() -> None:
    async with ActorSystem() as system:
        log: list[Any] = []
        producer = system.spawn(hand_written_producer(log))
        consumer = system.spawn(stream_consumer(producer, timeout=0.02))
        got, error = await drain(await get_source(system, consumer))
        assert got == []
        assert isinstance(error, StreamTimeoutError)
        assert isinstance(error, TimeoutError)
        await system.wait_stopped(consumer)
        await settled(system, producer)
        assert [type(message) for message in log if isinstance(message, StreamCancel)] == [StreamCancel]


async def test_a_slow_user_never_times_out_rule_33() -> None:
    async with ActorSystem() as system:
        it = await stream(system, demand=2, timeout=0.02)
        for i in range(4):
            await it.sink.put(i)
        await it.sink.complete()
        got = []
        async for element in it.source:
            got.append(element)
            await asyncio.sleep(0.03)
        assert got == [0, 1, 2, 3]


async def test_a_producer_that_is_slow_but_not_too_slow_does_not_time_out() -> None:
    async with ActorSystem() as system:
        it = await stream(system, timeout=0.3)
        reader = asyncio.create_task(drain(it.source))
        for i in range(5):
            await asyncio.sleep(0.08)
            await it.sink.put(i)
        await it.sink.complete()
        assert await reader == ([0, 1, 2, 3, 4], None)


async def test_nobody_waits_for_ever_for_a_consumer_if_so_configured_rule_5() -> None:
    async with ActorSystem() as system:
        producer = system.spawn(stream_producer(subscription_timeout=0.01))
        sink = await get_sink(system, producer)
        await system.wait_stopped(producer)
        with pytest.raises(StreamClosedError, match="nobody subscribed"):
            await sink.put(1)
