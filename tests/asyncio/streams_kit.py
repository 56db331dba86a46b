"""What the tests of streams share: a stream in one call, ends that are written by hand, and a watch on the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from casty_asyncio import (
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    GetSink,
    GetSource,
    Mailbox,
    SinkRef,
    SourceRef,
    StreamCompleted,
    StreamDemand,
    StreamElement,
    StreamError,
    StreamSubscribed,
    Subscribe,
    stream_consumer,
    stream_producer,
)


@frozen
class Ping:
    """Answered by a hand-written end when it has handled everything that was sent to it before."""

    reply_to: ActorRef[str]


@frozen
class Stream:
    """Both ends, and what belongs to them."""

    system: ActorSystem
    producer: ActorRef[Any]
    consumer: ActorRef[Any]
    sink: SinkRef[Any]
    source: SourceRef[Any]

    async def wait_stopped(self) -> None:
        """Both actors have stopped."""
        await self.system.wait_stopped(self.producer)
        await self.system.wait_stopped(self.consumer)


async def get_sink(system: ActorSystem, producer: ActorRef[Any]) -> SinkRef[Any]:
    sink: SinkRef[Any] = await system.ask(producer, lambda r: GetSink(reply_to=r))
    return sink


async def get_source(system: ActorSystem, consumer: ActorRef[Any]) -> SourceRef[Any]:
    source: SourceRef[Any] = await system.ask(consumer, lambda r: GetSource(reply_to=r))
    return source


async def stream(
    system: ActorSystem,
    *,
    buffer_size: int = 64,
    demand: int = 16,
    timeout: float | None = None,
    producer: Behavior[Any] | None = None,
    mailboxes: Mailbox | None = None,
) -> Stream:
    """A stream that is ready to be put into and iterated."""
    behavior = stream_producer(buffer_size=buffer_size) if producer is None else producer
    upper = system.spawn(behavior, mailbox=mailboxes)
    lower = system.spawn(stream_consumer(upper, initial_demand=demand, timeout=timeout), mailbox=mailboxes)
    return Stream(system, upper, lower, await get_sink(system, upper), await get_source(system, lower))


async def drain(source: Any) -> tuple[list[Any], StreamError | None]:
    """What an `async for` got, and how it ended."""
    got: list[Any] = []
    try:
        async for element in source:
            got.append(element)  # noqa: PERF401 - what came before an error counts too
    except StreamError as error:
        return got, error
    return got, None


async def settled(system: ActorSystem, *refs: ActorRef[Any]) -> None:
    """Hand-written ends have handled everything that was on its way to them, and their answers have been handled."""
    for _ in range(3):
        for ref in refs:
            await system.ask(ref, lambda r: Ping(r))


async def idle(turns: int = 20) -> None:
    """Let everything that can go on without a timer go on."""
    for _ in range(turns):
        await asyncio.sleep(0)


def recorder(log: list[Any]) -> Behavior[Any]:
    """An actor that notes what it gets."""

    def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        match message:
            case Ping(reply_to):
                reply_to.tell("pong")
            case _:
                log.append(message)
        return Behaviors.same()

    return Behaviors.receive(receive)


def hand_written_producer(log: list[Any], *, count: int = 0, completes: bool = False) -> Behavior[Any]:
    """A producer that speaks the base protocol, one element per message, and outlives its stream.

    It notes every message, and has the elements from 0 to `count`; after them it completes, or falls silent.
    """
    consumers: list[ActorRef[Any]] = []
    sent = 0

    def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        nonlocal sent
        match message:
            case Ping(reply_to):
                reply_to.tell("pong")
                return Behaviors.same()
            case Subscribe(consumer):
                assert isinstance(consumer, ActorRef)
                consumers.append(consumer)
                consumer.tell(StreamSubscribed(ctx.self))
            case StreamDemand(n):
                for _ in range(min(n, count - sent)):
                    consumers[0].tell(StreamElement(sent, sent))
                    sent += 1
                if completes and sent == count:
                    consumers[0].tell(StreamCompleted(sent))
        log.append(message)
        return Behaviors.same()

    return Behaviors.receive(receive)


@contextmanager
def records_of_log() -> Iterator[list[logging.LogRecord]]:
    """Collects what is logged at the level of a warning and above."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append  # type: ignore[method-assign, assignment]
    logger = logging.getLogger("casty")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged at the level of a warning or above."""
    with records_of_log() as records:
        yield
    assert [record.getMessage() for record in records] == []


class Explosive(ActorRef[Any]):
    """A ref that cannot be told anything, so that whoever tries to answer it crashes."""

    path = "/explosive"
    address = "casty://test/explosive"

    def tell(self, message: Any, sender: ActorRef[Any] | None = None) -> None:
        raise ZeroDivisionError("told the explosive ref")

    async def ask(self, message: Any, timeout: float = 5.0) -> Any:
        raise AssertionError("nobody asks it")
