"""Ends that are written by hand, rubbish, strangers, and mailboxes that refuse: what a stream makes of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    GetSink,
    GetSource,
    Mailbox,
    MailboxOverflowStrategy,
    StreamCancel,
    StreamClosedError,
    StreamCompleted,
    StreamDemand,
    StreamElement,
    StreamElements,
    StreamFailed,
    StreamFailedError,
    StreamRefused,
    StreamSubscribed,
    Subscribe,
    Terminated,
    UsageError,
    stream_consumer,
    stream_producer,
)
from casty_proto.stream import StreamResume, StreamResumed

from .streams_kit import (
    Ping,
    drain,
    get_sink,
    get_source,
    hand_written_producer,
    idle,
    quiet,
    recorder,
    records_of_log,
    settled,
    stream,
)


def hand_written_consumer(producer: ActorRef[Any], log: list[Any], ended: asyncio.Event) -> Behavior[Any]:
    """Two elements at a time, as the guide explains it."""

    def setup(ctx: ActorContext[Any]) -> Behavior[Any]:
        producer.tell(Subscribe(consumer=ctx.self, demand=2))
        return Behaviors.receive(receive)

    def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        match message:
            case StreamElement(element, _):
                log.append(element)
                if len(log) % 2 == 0:
                    producer.tell(StreamDemand(2))
            case StreamCompleted(count):
                log.append(f"{count} in all")
                ended.set()
                return Behaviors.stopped()
            case StreamFailed(reason):
                log.append(reason)
                ended.set()
                return Behaviors.stopped()
        return Behaviors.same()

    return Behaviors.setup(setup)


async def test_a_hand_written_consumer_takes_a_whole_stream() -> None:
    with quiet():
        async with ActorSystem() as system:
            producer = system.spawn(stream_producer(buffer_size=3))
            sink = await get_sink(system, producer)
            log: list[Any] = []
            ended = asyncio.Event()
            system.spawn(hand_written_consumer(producer, log, ended))
            for i in range(9):
                await sink.put(i)
            await sink.complete()
            await ended.wait()
            assert log == [*range(9), "9 in all"]
            await system.wait_stopped(producer)
            assert system.dead_letters == 0


async def test_a_hand_written_consumer_is_told_of_a_failure() -> None:
    async with ActorSystem() as system:
        producer = system.spawn(stream_producer())
        sink = await get_sink(system, producer)
        log: list[Any] = []
        ended = asyncio.Event()
        system.spawn(hand_written_consumer(producer, log, ended))
        await sink.put(1)
        await sink.fail(ValueError("wet"))
        await ended.wait()
        assert log == [1, "ValueError: wet"]


async def test_a_hand_written_producer_feeds_an_iteration() -> None:
    with quiet():
        async with ActorSystem() as system:
            log: list[Any] = []
            producer = system.spawn(hand_written_producer(log, count=7, completes=True))
            consumer = system.spawn(stream_consumer(producer, initial_demand=3))
            assert await drain(await get_source(system, consumer)) == ([0, 1, 2, 3, 4, 5, 6], None)
            assert log[0].consumer == consumer
            assert system.dead_letters == 0


async def test_a_consumer_that_stops_without_a_word_ends_the_stream_and_closes_the_sink() -> None:
    async with ActorSystem() as system:
        producer = system.spawn(stream_producer(buffer_size=1))
        sink = await get_sink(system, producer)
        me = system.spawn(recorder([]))
        producer.tell(Subscribe(me))
        await sink.put(1)
        waiting = asyncio.create_task(sink.put(2))
        await idle()
        system.stop(me)
        with pytest.raises(StreamClosedError, match=r"the consumer .* has stopped"):
            await waiting
        await system.wait_stopped(producer)


async def test_sinks_and_sources_may_be_asked_for_many_times() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        for _ in range(3):
            assert await get_sink(system, it.producer) is it.sink
            assert await get_source(system, it.consumer) is it.source
        assert it.sink.producer == it.producer
        assert it.source.consumer == it.consumer


async def test_a_sink_and_a_source_say_what_they_belong_to_and_how_it_ended() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        assert repr(it.sink) == f"SinkRef({it.producer.path}, open)"
        assert repr(it.source) == f"SourceRef({it.consumer.path}, open)"
        await it.sink.complete()
        await drain(it.source)
        assert "completed" in repr(it.sink)
        assert "Completed" in repr(it.source)


# -- rubbish -----------------------------------------------------------------------------------------------------------


async def test_rubbish_to_either_end_is_logged_and_changes_nothing_rule_35() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        stranger = system.spawn(recorder([]))
        await it.sink.put(1)
        reader = asyncio.create_task(drain(it.source))
        await idle()
        rubbish = ["rubbish", 7, None, object(), StreamElement, (), ValueError()]
        to_producer = [*rubbish, StreamElement(1, 1), StreamCompleted(1), Ping(stranger)]
        to_consumer = [*rubbish, StreamDemand(1), Subscribe(stranger), StreamCancel(), Ping(stranger)]
        with records_of_log() as records:
            for message in to_producer:
                it.producer.tell(message)
            for message in to_consumer:
                it.consumer.tell(message)
            await idle()
        assert len(records) == len(to_producer) + len(to_consumer)
        await it.sink.put(2)
        await it.sink.complete()
        assert await reader == ([1, 2], None)


async def test_strangers_cannot_speak_for_the_other_end_rule_3() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        log: list[Any] = []
        stranger = system.spawn(recorder(log))
        bystander = system.spawn(recorder([]))
        await it.sink.put(1)
        reader = asyncio.create_task(drain(it.source))
        await idle()
        with records_of_log():
            resume = StreamResume(stranger, 0, 1, 1)
            for up in (StreamDemand(0), StreamDemand(5), StreamCancel(), resume, Terminated(bystander)):
                it.producer.tell(up, stranger)
            for down in (
                StreamElement("forged", 1),
                StreamElements(1, ("forged",)),
                StreamCompleted(1),
                StreamFailed("forged"),
                StreamRefused("forged"),
                StreamResumed(1, 0),
                StreamSubscribed(stranger),
                Terminated(bystander),
            ):
                it.consumer.tell(down, stranger)
            await settled(system, stranger)
        assert [type(message) for message in log].count(StreamCancel) == 1, "a second producer is cancelled (rule 4)"
        await it.sink.put(2)
        await it.sink.complete()
        assert await reader == ([1, 2], None)


async def test_only_an_actor_whose_end_would_be_noticed_can_become_the_consumer() -> None:
    async with ActorSystem() as system, ActorSystem("other") as other:
        it = system.spawn(stream_producer())
        foreign: list[Any] = []
        with records_of_log():
            it.tell(Subscribe("nobody", demand=3))
            it.tell(Subscribe(17, demand=3))
            it.tell(Subscribe(other.spawn(recorder(foreign)), demand=3))
            refused: Any = await system.ask(it, lambda r: Subscribe(r, demand=3))
        assert isinstance(refused, StreamRefused)
        assert [type(message) for message in foreign] == [StreamRefused]
        consumer = system.spawn(stream_consumer(it))
        sink = await get_sink(system, it)
        await sink.put(1)
        await sink.complete()
        assert await drain(await get_source(system, consumer)) == ([1], None)


async def test_a_subscription_with_a_negative_demand_is_refused_and_another_one_is_served_rule_9() -> None:
    async with ActorSystem() as system:
        log: list[Any] = []
        producer = system.spawn(stream_producer())
        me = system.spawn(recorder(log))
        producer.tell(Subscribe(me, demand=-1))
        await settled(system, me)
        assert [type(message) for message in log] == [StreamRefused]
        sink = await get_sink(system, producer)
        await sink.put(1)
        consumer = system.spawn(stream_consumer(producer))
        source = await get_source(system, consumer)
        system.stop(me)
        await system.wait_stopped(me)
        await sink.complete()
        assert await drain(source) == ([1], None)


@pytest.mark.parametrize("message", [GetSink, GetSource])
def test_a_request_with_nobody_to_reply_to_is_refused_where_it_is_made(message: Any) -> None:
    with pytest.raises(UsageError, match="reply_to"):
        message(reply_to=None)


# -- mailboxes of limited size -----------------------------------------------------------------------------------------


async def test_put_is_not_refused_by_a_full_mailbox_of_the_producer() -> None:
    async with ActorSystem() as system:
        it = await stream(system, mailboxes=Mailbox(capacity=2, overflow=MailboxOverflowStrategy.reject))
        reader = asyncio.create_task(drain(it.source))
        await idle()
        it.producer.tell(GetSink(system.spawn(recorder([]))))
        it.producer.tell(GetSink(system.spawn(recorder([]))))
        await it.sink.put(1)
        await idle()
        await it.sink.complete()
        assert await reader == ([1], None)


@pytest.mark.parametrize("overflow", list(MailboxOverflowStrategy))
async def test_a_mailbox_that_does_not_take_the_end_of_the_stream_fails_it(overflow: MailboxOverflowStrategy) -> None:
    async with ActorSystem() as system:
        it = await stream(system, mailboxes=Mailbox(capacity=1, overflow=overflow))
        reader = asyncio.create_task(drain(it.source))
        await idle()
        with records_of_log() as records:
            await it.sink.put(1)
            await it.sink.complete()
            _, error = await reader
        assert isinstance(error, StreamFailedError)
        assert records, "nothing is lost silently"
        await it.wait_stopped()


def slow(gate: asyncio.Event) -> Behavior[Any]:
    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        await gate.wait()
        return Behaviors.same()

    return Behaviors.receive(receive)


@pytest.mark.parametrize("refused", ["the acceptance", "an element"])
async def test_a_mailbox_that_refuses_what_the_producer_says_ends_the_stream_at_the_producer(refused: str) -> None:
    async with ActorSystem() as system:
        producer = system.spawn(stream_producer(buffer_size=1))
        sink = await get_sink(system, producer)
        gate = asyncio.Event()
        consumer = system.spawn(slow(gate), mailbox=Mailbox(capacity=1, overflow=MailboxOverflowStrategy.reject))
        consumer.tell("one in hand")
        await idle()
        if refused == "the acceptance":
            consumer.tell("and one in the mailbox")
        with records_of_log() as records:
            producer.tell(Subscribe(consumer, demand=10))
            await idle()
            assert sink.closed == (refused == "the acceptance")
            if refused == "an element":
                await sink.put(1)
                with pytest.raises(StreamClosedError):
                    await asyncio.create_task(sink.put(2))
            await system.wait_stopped(producer)
        assert [consumer.path in record.getMessage() for record in records] == [True]
        gate.set()


async def test_an_answer_that_the_mailbox_of_somebody_else_refuses_breaks_nothing() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        reader = asyncio.create_task(drain(it.source))
        await idle()
        full = system.spawn(recorder([]), mailbox=Mailbox(capacity=1, overflow=MailboxOverflowStrategy.reject))
        with records_of_log() as records:
            it.producer.tell(GetSink(full))
            it.consumer.tell(GetSource(full))
            await idle()
        assert [full.path in record.getMessage() for record in records] == [True]
        await it.sink.put(1)
        await it.sink.complete()
        assert await reader == ([1], None)


async def test_a_demand_that_a_mailbox_drops_is_a_dead_letter() -> None:
    async with ActorSystem() as system:
        it = await stream(system, demand=1, mailboxes=Mailbox(capacity=1))
        with records_of_log():
            it.producer.tell(GetSink(system.spawn(recorder([]))))
            aiter(it.source)
            assert system.dead_letters == 1
            await it.wait_stopped()
