"""The other side of the remote figures, as a process of its own: `python -m tests.benchmarks.remote_peer LOOP CORE`.

It prints two ports, of the bare protocol and of the actor system, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, cast

import msgpack  # type: ignore[import-untyped]

from casty_asyncio import (
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    GetSink,
    Remote,
    RunTask,
    SinkRef,
    stream_producer,
)

from .harness import factory_of

LENGTH = Struct(">I")
SYSTEM = "bench"
SAME: Behavior[Any] = Behaviors.same()


@dataclass
class Reading:
    """The message of these figures."""

    sensor: int
    name: str
    value: float
    good: bool


@dataclass
class Count:
    """How many readings have come since the last time?"""


@dataclass
class Produce:
    """Make a stream of so many readings, and answer with its producer."""

    elements: int


@dataclass
class Produced:
    """The producer that was asked for."""

    producer: Any


def pack(reading: Reading) -> bytes:
    """A frame, as one would write it by hand."""
    body = msgpack.packb([reading.sensor, reading.name, reading.value, reading.good])
    return LENGTH.pack(len(body)) + body  # type: ignore[no-any-return]


class Cutter(asyncio.Protocol):
    """The bare protocol: cuts what comes into frames and calls for each."""

    def __init__(self, on_reading: Callable[[Cutter, Reading], None]) -> None:
        self._on_reading = on_reading
        self._rest = b""
        self.transport: asyncio.Transport
        self.seen = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at, size = 0, len(data)
        while at + 4 <= size:
            end = at + 4 + LENGTH.unpack_from(data, at)[0]
            if end > size:
                break
            self._on_reading(self, Reading(*msgpack.unpackb(data[at + 4 : end])))
            at = end
        self._rest = data[at:]


def answer(cutter: Cutter, reading: Reading) -> None:
    """Sensor 0: count. 1: say how many were counted. 2: send it back."""
    if reading.sensor == 0:
        cutter.seen += 1
    elif reading.sensor == 1:
        cutter.transport.write(pack(Reading(cutter.seen, "seen", 0.0, True)))
        cutter.seen = 0
    else:
        cutter.transport.write(pack(reading))


def counting() -> Behavior[Any]:
    """Counts readings, and sends back what it is asked with."""
    seen = 0

    def receive(ctx: ActorContext[Any], message: object) -> Behavior[Any]:
        nonlocal seen
        if type(message) is Reading:
            if ctx.sender is None:
                seen += 1
            else:
                ctx.reply(message)
        elif type(message) is Count:
            ctx.reply(seen)
            seen = 0
        elif type(message) is Produce:
            ctx.system.task_runner.tell(RunTask(produce(ctx.system, ctx.sender, message.elements)))
        return SAME

    return Behaviors.receive(receive)


async def produce(system: ActorSystem, to: ActorRef[Any] | None, elements: int) -> None:
    """Feed one stream, whose producer is the answer."""
    assert to is not None
    producer = system.spawn(stream_producer(buffer_size=1024))
    sink: SinkRef[Reading] = await system.ask(producer, lambda reply_to: GetSink(reply_to))
    to.tell(Produced(producer))
    for _ in range(elements):
        await sink.put(Reading(12345, "north wall", 21.5, True))
    await sink.complete()


def echoing() -> Behavior[Any]:
    """Answers with what it is asked."""

    def receive(ctx: ActorContext[Any], message: Reading) -> Behavior[Any]:
        ctx.reply(message)
        return SAME

    return Behaviors.receive(receive)


async def serve() -> None:
    """Serve until the other side ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Cutter(answer), "127.0.0.1", 0)
    async with ActorSystem(SYSTEM, remote=Remote("127.0.0.1")) as system:
        system.spawn(counting(), "counter")
        system.spawn(echoing(), "echo")
        assert system.address is not None
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]} {system.address.port}\n")
        sys.stdout.flush()
        ended = asyncio.Event()
        loop.add_reader(sys.stdin, ended.set)
        await ended.wait()
    server.close()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    with asyncio.Runner(loop_factory=factory_of(sys.argv[1])) as runner:
        runner.run(serve())
