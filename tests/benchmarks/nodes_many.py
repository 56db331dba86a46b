"""`python -m tests.benchmarks nodes-many`: many entities on three nodes, and what happens to whoever asks them when a
fourth node joins and takes its part of them."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from casty_asyncio import ActorSystem, AskError, DistributedSystem, RaftConfig

from .nodes_many_peer import KIND, NUM_SHARDS, SYSTEM, Figures, Memory
from .nodes_peer import Add

ENTITIES = 100_000
NODES = 3
IN_FLIGHT = 256
ASKING = 16
"""How many ask all the time while the entities move."""
PATIENCE = 60.0
LONGEST_ASK = 5.0
"""Seconds: what `ask` has unless it is told otherwise."""
_SETTLED = 0.5
_ROOT = Path(__file__).parents[2]


@define
class Move:
    """What somebody who asks sees of a join."""

    took: float = 0.0
    """Seconds from when the new node is a member until it has what it is to have."""
    waits: list[float] = field(factory=list)
    """How long each ask took, in seconds."""
    failures: list[str] = field(factory=list)
    moved: int = 0
    """How many entities the new node has."""


@define
class Many:
    """What came out."""

    created: float = 0.0
    """Entities in a second."""
    asked: float = 0.0
    """Asks of entities that are there, in a second."""
    memory: dict[str, tuple[int, int, int]] = field(factory=dict)
    """Of each node: bytes before it had any entity and with all that it has, and how many these are."""
    own: float = 0.0
    """The bytes that the user's object takes of it, with its id."""
    move: Move = field(factory=Move)
    failures: list[str] = field(factory=list)
    """Of the asks before and after the move."""

    @property
    def each(self) -> float:
        """The bytes that an idle entity takes beyond the user's object."""
        grown = sum(now - before for before, now, _ in self.memory.values())
        return grown / max(1, sum(count for _, _, count in self.memory.values())) - self.own


class Peers:
    """Nodes as processes, which are ended by the end of their standard input."""

    def __init__(self) -> None:
        self.started: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, node_id: str, seed: str, *, fast: bool) -> str:
        """A node, and its address once it is a member and hosts the type."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.benchmarks.nodes_many_peer",
            node_id,
            seed,
            "fast" if fast else "default",
            cwd=_ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.started[node_id] = process
        assert process.stdout is not None
        line: bytes = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        if not line:
            raise RuntimeError(f"{node_id} has ended before it was a member")
        return line.decode().strip()

    async def end(self) -> None:
        """All of them."""
        for process in self.started.values():
            if process.stdin is not None:
                process.stdin.close()
        for process in self.started.values():
            try:
                await asyncio.wait_for(process.wait(), PATIENCE)
            except TimeoutError:
                process.kill()
                await process.wait()


@asynccontextmanager
async def peers() -> AsyncIterator[Peers]:
    """Nothing is left of them at the end of the block."""
    found = Peers()
    try:
        yield found
    finally:
        await found.end()


async def run(count: int, config: RaftConfig | None = None, *, shows: bool = False) -> Many:
    """Create so many entities, ask each, have a node join, and ask each again. `config` is for "fast" pace."""
    found = Many()
    say = _say if shows else _keep_quiet
    async with peers() as nodes:
        fast = config is not None
        first = await nodes.start("n1", "-", fast=fast)
        for number in range(2, NODES + 1):
            await nodes.start(f"n{number}", first, fast=fast)
        async with ActorSystem.distributed(
            "127.0.0.1", 0, name=SYSTEM, node_id="asks", seeds=[first], raft_config=config
        ) as system:
            await system.wait_for(NODES + 1, PATIENCE)
            await _spread(system, NODES)
            await _measure(system, count, found, say)
            found.move = await _move(system, nodes, first, count, fast=fast, say=say)
            say("asking each of them once more")
            found.asked = await _ask_all(system, count, 3, found.failures)
            figures = await _figures(system)
            found.move.moved = figures[f"n{NODES + 1}"].entities
    return found


async def _measure(system: DistributedSystem, count: int, found: Many, say: Any) -> None:
    before = await _figures(system)
    say(f"creating {count} entities")
    found.created = await _ask_all(system, count, 1, found.failures)
    say(f"{found.created:.0f}/s; asking each of them again")
    await _ask_all(system, count, 2, found.failures)
    now = await _figures(system)
    found.own = statistics.mean([figures.own for figures in now.values()])
    found.memory = {name: (before[name].bytes, now[name].bytes, now[name].entities) for name in now}


async def _move(system: DistributedSystem, nodes: Peers, seed: str, count: int, *, fast: bool, say: Any) -> Move:
    """A node joins while somebody asks."""
    move = Move()
    going = True

    async def ask(number: int) -> None:
        things = system.lookup(KIND).ref
        while going:
            number = (number + 7919) % count
            began = time.perf_counter()
            try:
                await things[f"entity-{number}"].ask(Add(0), timeout=LONGEST_ASK)
            except AskError as error:
                move.failures.append(f"{type(error).__name__}: {error}")
            move.waits.append(time.perf_counter() - began)

    asking = [asyncio.ensure_future(ask(number)) for number in range(ASKING)]
    say("a node joins")
    name = f"n{NODES + 1}"
    starting = asyncio.ensure_future(nodes.start(name, seed, fast=fast))
    async with asyncio.timeout(PATIENCE):
        while all(member.node_id != name for member in system.members):  # noqa: ASYNC110 - figures want no detour
            await asyncio.sleep(0.001)
    began = time.perf_counter()
    move.took = await _spread(system, NODES + 1) - began
    await starting
    say(f"it has its part after {move.took:.2f} s")
    going = False
    await asyncio.gather(*asking)
    return move


async def _spread(system: DistributedSystem, count: int) -> float:
    """Wait until so many nodes have a part of the shards, and keep it. Returns since when."""

    def parts() -> list[int]:
        regions = [region for region in system.status()["types"] if region["name"] == KIND]
        return [part for part in regions[0]["shards_per_node"].values() if part] if regions else []

    def is_spread() -> bool:
        found = parts()
        return len(found) == count and sum(found) == NUM_SHARDS and max(found) - min(found) <= NUM_SHARDS // 16

    since = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        while time.perf_counter() - since < _SETTLED:
            if not is_spread():
                since = time.perf_counter()
            await asyncio.sleep(0.005)
    return since


async def _ask_all(system: DistributedSystem, count: int, wanted: int, failures: list[str]) -> float:
    """Ask each entity for one more, of which there are so many then. Returns how many were asked in a second."""
    things = system.lookup(KIND).ref
    number = 0

    async def work() -> None:
        nonlocal number
        while number < count:
            name = f"entity-{number}"
            number += 1
            try:
                answer = await things[name].ask(Add(1), timeout=LONGEST_ASK)
            except AskError as error:
                failures.append(f"{name}: {type(error).__name__}: {error}")
                continue
            if answer != wanted:
                failures.append(f"{name} has {answer}, and not {wanted}")

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return count / (time.perf_counter() - began)


async def _figures(system: DistributedSystem) -> dict[str, Figures]:
    """What each node takes up."""
    found: dict[str, Figures] = {}
    for member in system.members:
        if member.node_id.startswith("n"):
            ref = await system.lookup(f"casty://{SYSTEM}@{member.address}/memory")
            found[member.node_id] = await ref.ask(Memory(), timeout=PATIENCE)
    return found


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _keep_quiet(_: str) -> None:
    """Nobody looks."""


def main(arguments: list[str]) -> int:
    """Returns 1 when an ask has failed, or a bar is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks nodes-many", description=__doc__)
    parser.add_argument("--entities", type=int, default=ENTITIES, help=f"how many (default: {ENTITIES})")
    parser.add_argument("--fast", action="store_true", help="with RaftConfig(0.05, 0.1, 0.2) instead of the default")
    options = parser.parse_args(arguments)
    found = asyncio.run(run(options.entities, RaftConfig(0.05, 0.1, 0.2) if options.fast else None, shows=True))
    failures = [*found.failures, *found.move.failures]
    waits = sorted(found.move.waits)
    print(f"{options.entities} entities on {NODES} nodes, {NUM_SHARDS} shards, a fourth node joins")
    print(f"  created                         {found.created:>10.0f} /s")
    print(f"  asked, {IN_FLIGHT} in flight           {found.asked:>10.0f} /s")
    print(f"  an idle entity, beyond its own  {found.each / 1024:>10.2f} KiB (bar: 1.5)")
    print(f"  moved to the new node           {found.move.moved:>10}")
    print(f"  until it has them               {found.move.took:>10.2f} s")
    print(f"  asks meanwhile                  {len(waits):>10}")
    print(f"  the median of them              {statistics.median(waits) * 1e3:>10.2f} ms")
    print(f"  the longest                     {waits[-1] * 1e3:>10.2f} ms")
    print(f"  asks that failed                {len(failures):>10}")
    for failure in failures[:10]:
        print(f"    {failure}")
    return 1 if failures or found.each > 1.5 * 1024 else 0
