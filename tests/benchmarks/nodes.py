"""Figures of entities, against a plain actor of the same process that is asked by its address.

Three processes: this one, a node that hosts nothing, and two that do. Entities of `entities` are on the first of them
alone, those of `kept` on both, with a backup on the other.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from casty_asyncio import ActorRef, ActorSystem, DistributedSystem

from .harness import Figure, Measure, pinned
from .nodes_peer import FAST, SYSTEM, Add, Note

ASKS = 2_000
TELLS = 20_000
IN_FLIGHT_ASKS = 10_000
IN_FLIGHT = 64
BURST = 128

_PEERS: dict[str, list[tuple[subprocess.Popen[str], int]]] = {}


def _peers() -> list[int]:
    """The ports of the other processes, which are started once for each event loop."""
    loop = "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"
    if loop not in _PEERS:
        _PEERS[loop] = []
        cores = sorted(os.sched_getaffinity(0))
        for node in ("n1", "n2"):
            seed = f"127.0.0.1:{_PEERS[loop][0][1]}" if _PEERS[loop] else "-"
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.nodes_peer", loop, str(cores[-1]), node, seed],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            _PEERS[loop].append((process, int(process.stdout.readline())))
    return [port for _, port in _PEERS[loop]]


def _pinned(measure: Measure) -> Measure:
    return pinned(measure, _peers)


@asynccontextmanager
async def _node() -> AsyncIterator[tuple[DistributedSystem, int]]:
    ports = _peers()
    system = ActorSystem.distributed(
        "127.0.0.1", 0, name=SYSTEM, node_id="n0", seeds=[f"127.0.0.1:{ports[0]}"], raft_config=FAST
    )
    async with system:
        await system.wait_for(3)
        yield system, ports[0]


@asynccontextmanager
async def _plain() -> AsyncIterator[ActorRef[Any]]:
    async with _node() as (system, port):
        ref = await system.lookup(f"casty://{SYSTEM}@127.0.0.1:{port}/plain")
        await ref.ask(Add(0))
        yield ref


@asynccontextmanager
async def _entity(kind: str) -> AsyncIterator[ActorRef[Any]]:
    async with _node() as (system, _):
        ref = (await system.lookup(kind))["alice"]
        await ref.ask(Add(0))
        yield ref


type Open = Callable[[], Any]


async def _trips(opened: Open) -> float:
    """The median round trip of one ask after the other, in microseconds."""
    took = []
    async with opened() as ref:
        for _ in range(ASKS):
            began = time.perf_counter()
            await ref.ask(Add(1))
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


async def _told(opened: Open) -> float:
    async with opened() as ref:
        before: int = await ref.ask(Add(0))
        began = time.perf_counter()
        for _ in range(TELLS // BURST):
            for _ in range(BURST):
                ref.tell(Note(1))
            await asyncio.sleep(0)
        wanted = before + TELLS // BURST * BURST
        assert await ref.ask(Add(0), timeout=60.0) == wanted, "an ask comes after all that was told before"
        took = time.perf_counter() - began
    return (wanted - before) / took


async def _at_once(opened: Open, one: Callable[[Any], Coroutine[Any, Any, Any]]) -> float:
    """So many at a time, until all are answered."""
    async with opened() as ref:
        left = IN_FLIGHT_ASKS

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await one(ref)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return IN_FLIGHT_ASKS / (time.perf_counter() - began)


async def plain_trip() -> float:
    """One ask after the other of a plain actor."""
    return await _trips(_plain)


async def entity_trip() -> float:
    """The same of an entity."""
    return await _trips(lambda: _entity("entities"))


async def plain_tells() -> float:
    """As fast as it goes."""
    return await _told(_plain)


async def entity_tells() -> float:
    """The same to an entity."""
    return await _told(lambda: _entity("entities"))


async def plain_asks() -> float:
    """64 at a time."""
    return await _at_once(_plain, lambda ref: ref.ask(Add(1)))


async def kept_sends() -> float:
    """The same to an entity whose state is on two nodes before a send is over."""
    return await _at_once(lambda: _entity("kept"), lambda ref: ref.send(Add(1)))


FIGURES = [
    Figure(
        "ask of an entity, p50",
        _pinned(entity_trip),
        _pinned(plain_trip),
        bar=1.3,
        unit="us",
        at_most=True,
        note="against a plain remote ask",
    ),
    Figure("tell to an entity", _pinned(entity_tells), _pinned(plain_tells), bar=0.7, note="against a plain tell"),
    Figure(
        "increment with sync_count=1, 64 in flight",
        _pinned(kept_sends),
        _pinned(plain_asks),
        bar=0.3,
        note="against plain asks",
    ),
]
