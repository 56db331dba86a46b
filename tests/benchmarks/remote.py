"""Figures of two processes, against a bare `asyncio.Protocol` pair that exchanges the same small frames.

Both are measured by the same two processes, each on a core of its own where there are two.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from casty_asyncio import ActorRef, ActorSystem, GetSource, Remote, SourceRef, stream_consumer

from .harness import Figure, Measure, pinned
from .remote_peer import SYSTEM, Count, Cutter, Produce, Reading, pack

MESSAGES = 50_000
ASKS = 3_000
ASKS_IN_FLIGHT = 20_000
IN_FLIGHT = 100
ELEMENTS = 50_000
WINDOW = 256
BURST = 256
"""How many messages are sent between two turns of the loop."""

_PEERS: dict[str, tuple[subprocess.Popen[str], int, int]] = {}
READING = Reading(0, "north wall", 21.5, True)


def _peer() -> tuple[int, int]:
    """The ports of the other process, which is started once for each event loop."""
    loop = "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"
    if loop not in _PEERS:
        cores = sorted(os.sched_getaffinity(0))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.remote_peer", loop, str(cores[-1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        bare, system = map(int, process.stdout.readline().split())
        _PEERS[loop] = process, bare, system
    return _PEERS[loop][1:]


def _pinned(measure: Measure) -> Measure:
    return pinned(measure, _peer)


@asynccontextmanager
async def _connected(on_reading: Callable[[Cutter, Reading], None]) -> AsyncIterator[Cutter]:
    loop = asyncio.get_running_loop()
    _, cutter = await loop.create_connection(lambda: Cutter(on_reading), "127.0.0.1", _peer()[0])
    try:
        yield cutter
    finally:
        cutter.transport.close()


@asynccontextmanager
async def _actor(name: str) -> AsyncIterator[tuple[ActorSystem, ActorRef[object]]]:
    async with ActorSystem(SYSTEM, remote=Remote("127.0.0.1")) as system:
        ref = await system.lookup(f"casty://{SYSTEM}@127.0.0.1:{_peer()[1]}/{name}")
        assert ref is not None
        yield system, ref


# -- tell --------------------------------------------------------------------------------------------------------------


async def _bare_stream(per_write: int) -> float:
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with _connected(lambda _, reading: answered.set_result(reading.sensor)) as cutter:
        write = cutter.transport.write
        began = time.perf_counter()
        for _ in range(MESSAGES // BURST):
            for _ in range(BURST // per_write):
                if per_write == 1:
                    write(pack(Reading(0, "north wall", 21.5, True)))
                else:
                    write(b"".join([pack(Reading(0, "north wall", 21.5, True)) for _ in range(per_write)]))
            await asyncio.sleep(0)
        write(pack(Reading(1, "", 0.0, True)))
        seen = await answered
        took = time.perf_counter() - began
    assert seen == MESSAGES // BURST * BURST
    return seen / took


async def bare_frames() -> float:
    """Each frame is written by itself."""
    return await _bare_stream(1)


async def bare_packed() -> float:
    """64 frames are written at a time."""
    return await _bare_stream(64)


async def tells() -> float:
    """Tell a remote actor, as fast as it goes."""
    async with _actor("counter") as (_, ref):
        await ref.ask(Count())
        began = time.perf_counter()
        for _ in range(MESSAGES // BURST):
            for _ in range(BURST):
                ref.tell(Reading(0, "north wall", 21.5, True))
            await asyncio.sleep(0)
        seen: int = await ref.ask(Count(), timeout=60.0)
        took = time.perf_counter() - began
    assert seen == MESSAGES // BURST * BURST
    return seen / took


# -- ask ---------------------------------------------------------------------------------------------------------------


async def _bare_trips() -> list[float]:
    """One round trip after the other, in microseconds."""
    took: list[float] = []
    over = asyncio.get_running_loop().create_future()
    began = 0.0

    def again(cutter: Cutter, reading: Reading) -> None:
        nonlocal began
        now = time.perf_counter()
        took.append((now - began) * 1e6)
        if len(took) == ASKS:
            over.set_result(None)
            return
        began = time.perf_counter()
        cutter.transport.write(pack(Reading(2, "north wall", 21.5, True)))

    async with _connected(again) as cutter:
        began = time.perf_counter()
        cutter.transport.write(pack(Reading(2, "north wall", 21.5, True)))
        await over
    return took


async def _trips() -> list[float]:
    took: list[float] = []
    async with _actor("echo") as (_, ref):
        for _ in range(ASKS):
            began = time.perf_counter()
            await ref.ask(Reading(2, "north wall", 21.5, True))
            took.append((time.perf_counter() - began) * 1e6)
    return took


def _percentile(took: list[float], percent: int) -> float:
    return statistics.quantiles(took, n=100)[percent - 1]


async def bare_p50() -> float:
    """A frame there and back, the median."""
    return _percentile(await _bare_trips(), 50)


async def bare_p99() -> float:
    """A frame there and back, the 99th percentile."""
    return _percentile(await _bare_trips(), 99)


async def ask_p50() -> float:
    """An ask, the median."""
    return _percentile(await _trips(), 50)


async def ask_p99() -> float:
    """An ask, the 99th percentile."""
    return _percentile(await _trips(), 99)


async def asks_in_flight() -> float:
    """Asks of 100 tasks, each one after the other."""
    async with _actor("echo") as (_, ref):

        async def asking() -> None:
            for _ in range(ASKS_IN_FLIGHT // IN_FLIGHT):
                await ref.ask(Reading(2, "north wall", 21.5, True))

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(asking())
        return ASKS_IN_FLIGHT / (time.perf_counter() - began)


# -- streams -----------------------------------------------------------------------------------------------------------


async def stream() -> float:
    """Iterate a stream that is produced in the other process."""
    async with _actor("counter") as (system, ref):
        produced = await ref.ask(Produce(ELEMENTS))
        consumer = system.spawn(stream_consumer(produced.producer, initial_demand=WINDOW))
        source: SourceRef[Reading] = await system.ask(consumer, lambda reply_to: GetSource(reply_to))
        began = time.perf_counter()
        seen = 0
        async for _ in source:
            seen += 1
        took = time.perf_counter() - began
    assert seen == ELEMENTS
    return seen / took


FIGURES = [
    Figure("remote tell / a bare pair that writes each frame", _pinned(tells), _pinned(bare_frames), bar=1.0),
    Figure("remote tell / a bare pair that packs 64 frames", _pinned(tells), _pinned(bare_packed), bar=0.2),
    Figure("remote ask, p50", _pinned(ask_p50), _pinned(bare_p50), bar=2.0, unit="us", at_most=True),
    Figure("remote ask, p99", _pinned(ask_p99), _pinned(bare_p99), bar=4.0, unit="us", at_most=True),
    Figure("remote asks, 100 in flight", _pinned(asks_in_flight), bar=60_000),
    Figure("remote stream, window 256", _pinned(stream), bar=100_000),
    Figure("remote stream / a bare pair that writes each frame", _pinned(stream), _pinned(bare_frames), bar=0.6),
]
