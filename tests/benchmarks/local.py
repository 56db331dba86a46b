"""Figures of one process: messages, asks, idle actors, streams. The references are bare asyncio, in this file."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    Context,
    GetSink,
    GetSource,
    SinkRef,
    SourceRef,
    stream_consumer,
    stream_producer,
)

from .harness import Figure

MESSAGES = 200_000
ASKS = 20_000
IN_FLIGHT = 100
ACTORS_IN_RING = 100
IDLE_ACTORS = 100_000
ELEMENTS = 200_000
SAME: Behavior[Any] = Behaviors.same()


@dataclass
class Number:
    """The message of these benchmarks."""

    value: int


# -- tell --------------------------------------------------------------------------------------------------------------


async def bare_deque() -> float:
    """Build, append; then take and await a handler."""
    queue: deque[Number] = deque()
    handled = 0

    async def handler(message: Number) -> None:
        nonlocal handled
        handled += 1

    began = time.perf_counter()
    for value in range(MESSAGES):
        queue.append(Number(value))
    while queue:
        await handler(queue.popleft())
    return handled / (time.perf_counter() - began)


async def tell_behavior() -> float:
    """One producer, one actor, each message built in the loop."""
    done = asyncio.Event()
    handled = 0

    async def receive(ctx: ActorContext[Number], message: Number) -> Behavior[Number]:
        nonlocal handled
        handled += 1
        if handled == MESSAGES:
            done.set()
        return SAME

    async with ActorSystem() as system:
        ref = system.spawn(Behaviors.receive(receive))
        began = time.perf_counter()
        for value in range(MESSAGES):
            ref.tell(Number(value))
        await done.wait()
        return MESSAGES / (time.perf_counter() - began)


class Sink(Actor[Number]):
    """Counts."""

    def __init__(self, done: asyncio.Event) -> None:
        self.done = done
        self.handled = 0

    async def receive(self, msg: Number, ctx: Context) -> None:
        self.handled += 1
        if self.handled == MESSAGES:
            self.done.set()


async def tell_class() -> float:
    """The same in the class style."""
    done = asyncio.Event()
    async with ActorSystem() as system:
        ref = await system.spawn(Sink, done=done)
        began = time.perf_counter()
        for value in range(MESSAGES):
            ref.tell(Number(value))
        await done.wait()
        return MESSAGES / (time.perf_counter() - began)


# -- ask ---------------------------------------------------------------------------------------------------------------


async def bare_futures(count: int) -> None:
    """Await futures that a callback resolves, one after the other."""
    loop = asyncio.get_running_loop()
    for value in range(count):
        future: asyncio.Future[int] = loop.create_future()
        loop.call_soon(future.set_result, value)
        await future


class Echo(Actor[Number]):
    """Answers."""

    async def receive(self, msg: Number, ctx: Context) -> None:
        ctx.reply(msg.value)


async def asks(ref: ActorRef[Number], count: int) -> None:
    """Ask one after the other, with the default timeout."""
    for value in range(count):
        await ref.ask(Number(value))


async def bare_sequential() -> float:
    """One future at a time."""
    began = time.perf_counter()
    await bare_futures(ASKS)
    return ASKS / (time.perf_counter() - began)


async def ask_sequential() -> float:
    """One ask at a time."""
    async with ActorSystem() as system:
        ref = await system.spawn(Echo)
        began = time.perf_counter()
        await asks(ref, ASKS)
        return ASKS / (time.perf_counter() - began)


async def bare_in_flight() -> float:
    """Many tasks, each with one future at a time."""
    each = ASKS // IN_FLIGHT
    began = time.perf_counter()
    await asyncio.gather(*(bare_futures(each) for _ in range(IN_FLIGHT)))
    return each * IN_FLIGHT / (time.perf_counter() - began)


async def ask_in_flight() -> float:
    """Many tasks, each with one ask at a time, of one actor."""
    each = ASKS // IN_FLIGHT
    async with ActorSystem() as system:
        ref = await system.spawn(Echo)
        began = time.perf_counter()
        await asyncio.gather(*(asks(ref, each) for _ in range(IN_FLIGHT)))
        return each * IN_FLIGHT / (time.perf_counter() - began)


# -- ring --------------------------------------------------------------------------------------------------------------


async def ring() -> float:
    """A token goes round; each actor has one message at a time."""
    done = asyncio.Event()
    refs: list[ActorRef[int]] = []

    def member(index: int) -> Behavior[int]:
        async def receive(ctx: ActorContext[int], left: int) -> Behavior[int]:
            if left:
                refs[(index + 1) % ACTORS_IN_RING].tell(left - 1)
            else:
                done.set()
            return SAME

        return Behaviors.receive(receive)

    async with ActorSystem() as system:
        refs.extend(system.spawn(member(index)) for index in range(ACTORS_IN_RING))
        began = time.perf_counter()
        refs[0].tell(MESSAGES)
        await done.wait()
        return MESSAGES / (time.perf_counter() - began)


# -- idle actors -------------------------------------------------------------------------------------------------------


async def answer(ctx: ActorContext[ActorRef[int]], message: ActorRef[int]) -> Behavior[ActorRef[int]]:
    """What the idle actors do before they are idle."""
    message.tell(1)
    return SAME


def counter(done: asyncio.Event, count: int) -> Behavior[int]:
    """Sets `done` after so many messages."""
    seen = 0

    async def receive(ctx: ActorContext[int], message: int) -> Behavior[int]:
        nonlocal seen
        seen += 1
        if seen == count:
            done.set()
        return SAME

    return Behaviors.receive(receive)


async def spawning() -> float:
    """Spawn many, until each has started and handled a message."""
    done = asyncio.Event()
    async with ActorSystem() as system:
        sink = system.spawn(counter(done, IDLE_ACTORS))
        behavior = Behaviors.receive(answer)
        began = time.perf_counter()
        refs = [system.spawn(behavior) for _ in range(IDLE_ACTORS)]
        spawned = time.perf_counter() - began
        for ref in refs:
            ref.tell(sink)
        await done.wait()
        return IDLE_ACTORS / spawned


async def bare_objects() -> float:
    """An object with an empty deque, as the least that an actor could be."""

    class Bare:
        def __init__(self, behavior: Behavior[Any]) -> None:
            self.behavior = behavior
            self.queue: deque[Any] = deque()

    behavior = Behaviors.receive(answer)
    began = time.perf_counter()
    bare = [Bare(behavior) for _ in range(IDLE_ACTORS)]
    return len(bare) / (time.perf_counter() - began)


async def memory() -> float:
    """Bytes of each idle actor that has handled a message, traced in a process of its own."""
    program = "import tests.benchmarks.local as local; local.print_memory()"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    return float(out)


def print_memory() -> None:
    """The inside of `memory`."""
    import tracemalloc

    async def main() -> None:
        done = asyncio.Event()
        async with ActorSystem() as system:
            sink = system.spawn(counter(done, IDLE_ACTORS))
            behavior = Behaviors.receive(answer)
            refs: list[Any] = [None] * IDLE_ACTORS
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            for index in range(IDLE_ACTORS):
                refs[index] = system.spawn(behavior)
                refs[index].tell(sink)
            await done.wait()
            gc.collect()
            print((tracemalloc.get_traced_memory()[0] - before) / IDLE_ACTORS)

    asyncio.run(main())


async def idle_cpu() -> float:
    """Percent of a core that 10,000 idle actors take."""
    done = asyncio.Event()
    async with ActorSystem() as system:
        sink = system.spawn(counter(done, 10_000))
        behavior = Behaviors.receive(answer)
        for _ in range(10_000):
            system.spawn(behavior).tell(sink)
        await done.wait()
        gc.collect()
        await asyncio.sleep(0.1)
        began, used = time.perf_counter(), time.process_time()
        await asyncio.sleep(0.5)
        return 100 * (time.process_time() - used) / (time.perf_counter() - began)


# -- streams -----------------------------------------------------------------------------------------------------------


async def bare_queue() -> float:
    """One task puts, another gets, through an `asyncio.Queue` of the same size."""
    queue: asyncio.Queue[int] = asyncio.Queue(64)

    async def produce() -> None:
        for value in range(1, ELEMENTS + 1):
            await queue.put(value)

    async def consume() -> None:
        for _ in range(ELEMENTS):
            await queue.get()

    began = time.perf_counter()
    await asyncio.gather(produce(), consume())
    return ELEMENTS / (time.perf_counter() - began)


async def stream() -> float:
    """`put` to `async for`, through two actors."""
    async with ActorSystem() as system:
        producer = system.spawn(stream_producer(buffer_size=64))
        consumer = system.spawn(stream_consumer(producer, initial_demand=16))
        sink: SinkRef[int] = await system.ask(producer, lambda r: GetSink(reply_to=r))
        source: SourceRef[int] = await system.ask(consumer, lambda r: GetSource(reply_to=r))

        async def produce() -> None:
            for value in range(1, ELEMENTS + 1):
                await sink.put(value)
            await sink.complete()

        async def consume() -> int:
            count = 0
            async for _ in source:
                count += 1
            return count

        began = time.perf_counter()
        _, count = await asyncio.gather(produce(), consume())
        assert count == ELEMENTS
        return ELEMENTS / (time.perf_counter() - began)


FIGURES = [
    Figure("tell, behavior", tell_behavior, bare_deque, 0.5),
    Figure("tell, class", tell_class, bare_deque, 0.5),
    Figure("ask, sequential", ask_sequential, bare_sequential, 0.4),
    Figure(f"ask, {IN_FLIGHT} in flight", ask_in_flight, bare_in_flight, 0.4),
    Figure(f"ring of {ACTORS_IN_RING} actors", ring, bare_deque, 0.25),
    Figure("stream, put to async for", stream, bare_queue, 0.35),
    Figure("spawn", spawning, bar=100_000),
    Figure("  an object with a deque", bare_objects),
    Figure("idle actor, memory", memory, bar=1024, unit=" B", at_most=True),
    Figure("10k idle actors, CPU", idle_cpu, bar=0.5, unit=" %", at_most=True),
]
