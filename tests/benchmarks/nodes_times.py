"""`python -m tests.benchmarks nodes-times`: how long a cluster of processes takes for what happens once, and what it
takes up: the start, fail-over after kill -9, doing nothing, and many idle entities."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from casty_asyncio import ActorSystem, AskError, DistributedSystem, RaftConfig

from .nodes_peer import FAST, SYSTEM, Add
from .things import Bare, Thing, memory

IDLE_SECONDS = 20.0
ENTITIES = 100_000
PATIENCE = 60.0


def start(node_id: str, seed: str, *, fast: bool) -> tuple[subprocess.Popen[str], int]:
    """A node as a process, and its port, once it is a member and has spawned what is measured."""
    env = dict(os.environ) if fast else {**os.environ, "CASTY_DEFAULT_PACE": "1"}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.benchmarks.nodes_peer",
            "uvloop",
            str(max(os.sched_getaffinity(0))),
            node_id,
            seed,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def end(*processes: subprocess.Popen[str]) -> None:
    """By the end of their standard input."""
    for process in processes:
        if process.poll() is None:
            assert process.stdin is not None
            process.stdin.close()
    for process in processes:
        process.wait(PATIENCE)


def here(seed: str, config: RaftConfig | None) -> DistributedSystem:
    """A node in this process, which hosts nothing."""
    return ActorSystem.distributed("127.0.0.1", 0, name=SYSTEM, node_id="n0", seeds=[seed], raft_config=config)


async def forming(rounds: int) -> float:
    """Three nodes in one process, so that no interpreter starts: from the first start to `wait_for(3)` on all."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        first = ActorSystem.distributed("127.0.0.1", 0, node_id="a")
        await first.start()
        others = [
            ActorSystem.distributed("127.0.0.1", 0, node_id=name, seeds=[str(first.address)]) for name in ("b", "c")
        ]
        await asyncio.gather(*(other.start() for other in others))
        await asyncio.gather(*(each.wait_for(3) for each in (first, *others)))
        took.append(time.perf_counter() - began)
        await asyncio.gather(*(each.shutdown() for each in (first, *others)))
    return statistics.median(took)


async def failover(config: RaftConfig | None) -> float:
    """From kill -9 of the owner of an entity to the first answer of the next one."""
    fast = config is not None
    one, port = start("n1", "-", fast=fast)
    other, _ = start("n2", f"127.0.0.1:{port}", fast=fast)
    third, _ = start("n3", f"127.0.0.1:{port}", fast=fast)
    processes = {"n1": one, "n2": other, "n3": third}
    try:
        async with here(f"127.0.0.1:{port}", config) as system:
            await system.wait_for(4)
            kept = await system.lookup("kept")
            await kept["x"].ask(Add(1))
            # The voters are promoted one after the other; before that, nobody can be lost.
            while sum(member["votes"] for member in system.status()["members"]) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            owner = system.owner_of("kept", "x")
            assert owner is not None
            processes[owner].kill()
            began = time.perf_counter()
            while True:
                try:
                    await kept["x"].ask(Add(1), timeout=0.2 if fast else 1.0)
                    return time.perf_counter() - began
                except AskError:
                    assert time.perf_counter() - began < PATIENCE, "nobody has taken it up"
    finally:
        end(*processes.values())


async def idle() -> float:
    """The share of one core that a node takes that does nothing, in percent: the largest of three."""
    one, port = start("n1", "-", fast=False)
    others = [start(name, f"127.0.0.1:{port}", fast=False)[0] for name in ("n2", "n3")]
    processes = [one, *others]
    try:
        await asyncio.sleep(3.0)
        before = [_cpu(process.pid) for process in processes]
        await asyncio.sleep(IDLE_SECONDS)
        return (
            max(_cpu(process.pid) - then for process, then in zip(processes, before, strict=True)) / IDLE_SECONDS * 100
        )
    finally:
        end(*processes)


def _cpu(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def entities(count: int) -> tuple[float, float]:
    """The bytes that an idle entity takes besides the user's object, and how many are made in a second."""
    ids = [f"entity-{number}" for number in range(count)]
    before = memory()
    bare = [Bare(name) for name in ids]
    own = (memory() - before) / count
    del bare
    async with ActorSystem.distributed("127.0.0.1", 0, name=SYSTEM, node_id="a") as system:
        things = await system.spawn(Thing, "things", sharded=True)
        await things["warm"].ask(Add(1))
        before, began = memory(), time.perf_counter()
        for at in range(0, count, 256):
            await asyncio.gather(*(things[name].ask(Add(1), timeout=PATIENCE) for name in ids[at : at + 256]))
        took = time.perf_counter() - began
        return (memory() - before) / count - own, count / took


async def measure(options: argparse.Namespace) -> int:
    """All of it, and how many bars were missed."""
    missed = 0

    def row(name: str, value: float, unit: str, bar: float) -> None:
        nonlocal missed
        missed += value > bar
        print(f"{name:<58}{value:>9.3g} {unit:<7}{bar:>9.3g}  {'met' if value <= bar else 'NOT MET'}", flush=True)

    print(f"{'figure':<58}{'ours':>9} {'':<7}{'bar':>9}")
    row("three nodes, start to wait_for(3) on all, default pace", await forming(options.rounds), "s", 0.5)
    for name, config, bar in (("fast", FAST, 0.6), ("default", None, 3.0)):
        found: list[Any] = [await failover(config) for _ in range(options.rounds)]
        row(f"kill -9 of an owner to the first answer, {name} pace, p50", statistics.median(found), "s", bar)
    row("an idle node of three, default pace", await idle(), "% CPU", 0.5)
    size, rate = await entities(options.entities)
    row(f"an idle entity of {options.entities}, beyond the user's object", size / 1024, "KiB", 1.5)
    print(f"they were made and asked at {rate:.0f}/s")
    return missed


def main(arguments: list[str]) -> int:
    """Returns 1 when a bar is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks nodes-times", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (default: 5)")
    parser.add_argument("--entities", type=int, default=ENTITIES, help=f"how many entities (default: {ENTITIES})")
    return 1 if asyncio.run(measure(parser.parse_args(arguments))) else 0
