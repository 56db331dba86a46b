"""Streams in the hands of actors: iterated and put into by handlers, owned by parents, and taken up later in life."""

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
    StreamError,
    stream_consumer,
    stream_producer,
)

from .streams_kit import drain, get_sink, get_source, idle, quiet, stream


async def test_a_handler_iterates_a_stream_while_other_actors_go_on() -> None:
    with quiet():
        async with ActorSystem() as system:
            it = await stream(system, demand=1)

            async def total(ctx: ActorContext[str], message: str) -> Behavior[str]:
                ctx.reply(sum([element async for element in it.source]))
                return Behaviors.same()

            async def feed(ctx: ActorContext[int], message: int) -> Behavior[int]:
                await it.sink.put(message)
                if message == 10:
                    await it.sink.complete()
                return Behaviors.same()

            asked = asyncio.create_task(system.spawn(Behaviors.receive(total)).ask("total"))
            await idle()
            feeder = system.spawn(Behaviors.receive(feed))
            for i in range(11):
                feeder.tell(i)
            assert await asked == 55
            assert system.dead_letters == 0


def waits_on_its_own_stream(how: str, waits: asyncio.Event, ended: list[str]) -> Behavior[str]:
    async def receive(ctx: ActorContext[str], message: str) -> Behavior[str]:
        producer: ActorRef[Any] = ctx.spawn(stream_producer(buffer_size=1), "producer")
        consumer: ActorRef[Any] = ctx.spawn(stream_consumer(producer), "consumer")
        sink = await get_sink(ctx.system, producer)
        source = await get_source(ctx.system, consumer)
        waits.set()
        try:
            if how == "take":
                await anext(aiter(source))
            else:
                for i in range(2):
                    await sink.put(i)
        except StreamError as error:
            ended.append(type(error).__name__)
        return Behaviors.same()

    return Behaviors.receive(receive)


@pytest.mark.parametrize(("how", "error"), [("take", "StreamFailedError"), ("put", "StreamClosedError")])
@pytest.mark.parametrize("shutdown", [False, True])
async def test_an_actor_that_waits_on_a_stream_of_its_children_does_not_hold_up_its_end(
    how: str, error: str, shutdown: bool
) -> None:
    waits = asyncio.Event()
    ended: list[str] = []
    system = ActorSystem()
    parent = system.spawn(waits_on_its_own_stream(how, waits, ended))
    parent.tell("go")
    await waits.wait()
    await idle()
    async with asyncio.timeout(system.shutdown_timeout / 2):
        if shutdown:
            assert await system.shutdown() == ()
        else:
            system.stop(parent)
            await system.wait_stopped(parent)
    assert ended == [error]
    await system.shutdown()


async def test_an_actor_that_waits_on_the_stream_of_others_does_not_hold_up_the_shutdown() -> None:
    ended: list[str] = []
    system = ActorSystem()
    it = await stream(system)

    async def iterate(ctx: ActorContext[str], message: str) -> Behavior[str]:
        ended.append(type((await drain(it.source))[1]).__name__)
        return Behaviors.same()

    system.spawn(Behaviors.receive(iterate)).tell("go")
    await idle()
    async with asyncio.timeout(system.shutdown_timeout / 2):
        assert await system.shutdown() == ()
    assert ended == ["StreamFailedError"]


async def test_a_behavior_may_become_a_producer_and_another_one_a_consumer() -> None:
    with quiet():
        async with ActorSystem() as system:
            producer: ActorRef[Any] = system.spawn(Behaviors.receive(lambda ctx, message: stream_producer()))
            consumer: ActorRef[Any] = system.spawn(Behaviors.receive(lambda ctx, message: stream_consumer(producer)))
            producer.tell("become")
            consumer.tell("become")
            sink, source = await get_sink(system, producer), await get_source(system, consumer)
            await sink.put(1)
            await sink.complete()
            assert await drain(source) == ([1], None)
            await system.wait_stopped(producer)
            await system.wait_stopped(consumer)


async def test_a_pipe_to_self_takes_a_whole_stream_beside_the_handler() -> None:
    async with ActorSystem() as system:
        it = await stream(system)
        got: asyncio.Future[tuple[list[Any], StreamError | None]] = asyncio.get_running_loop().create_future()

        def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            if message == "go":
                ctx.pipe_to_self(drain(it.source))
            else:
                got.set_result(message)
            return Behaviors.same()

        system.spawn(Behaviors.receive(receive)).tell("go")
        for i in range(3):
            await it.sink.put(i)
        await it.sink.complete()
        assert await got == ([0, 1, 2], None)
