"""`python -m tests.campaigns forming`: nodes that know of each other and start at once, again and again.

Two clusters never form from one list of seeds. Some starts are a little later than others, and some nodes are killed
while the cluster forms, and started again. Each node says of which cluster it is when it knows of all the others.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tests.asyncio.cluster.processes import NodeProcess, Processes, processes

from .processes import PROGRAM

NODES = (2, 5)
SPREAD_SECONDS = 0.3
KILLED = 0.3
"""In how many of the rounds one of the nodes is killed."""


async def _round(seed: int, directory: Path) -> tuple[int, list[str]]:
    """How many nodes there were, and what was found."""
    rng = Random(seed)
    ports = _free_ports(rng.randint(*NODES))
    seeds = [f"127.0.0.1:{port}" for port in ports]
    found: list[str] = []
    async with processes(PROGRAM, directory) as all_of_them:

        async def start(number: int, delay: float) -> NodeProcess:
            await asyncio.sleep(delay)
            mixed = rng.sample(seeds, len(seeds))
            return await all_of_them.start(f"node-{number}", *mixed, port=ports[number], members=len(ports))

        delays = [rng.uniform(0.0, rng.choice([0.0, SPREAD_SECONDS])) for _ in ports]
        nodes = await asyncio.gather(*(start(number, delay) for number, delay in enumerate(delays)))
        if rng.random() < KILLED:
            nodes[0] = await _killed(rng, nodes[0], all_of_them)
        clusters = await asyncio.gather(*(_cluster_of(each, found) for each in nodes))
        if len(set(clusters)) > 1:
            found.append(f"there are several clusters: {', '.join(f'{one}' for one in clusters)}")
    return len(ports), found


async def _killed(rng: Random, victim: NodeProcess, all_of_them: Processes) -> NodeProcess:
    """Its next life. It may have founded the cluster, or be about to."""
    await asyncio.sleep(rng.uniform(0.2, 1.0))
    await victim.kill()
    options = {name: value for name, value in victim.options.items() if name not in ("node_id", "seeds")}
    return await all_of_them.start(victim.node_id, *victim.options["seeds"], **options)


async def _cluster_of(node: NodeProcess, found: list[str]) -> str:
    try:
        line = await node.line()
    except TimeoutError:
        line = "nothing at all"
    if not line.startswith("cluster "):
        found.append(f"{node.node_id} does not get to know all others: {line or 'it has ended'}")
    return line


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            held = stack.enter_context(socket.socket())
            held.bind(("127.0.0.1", 0))
            ports.append(held.getsockname()[1])
        return ports


def main(arguments: list[str]) -> int:
    """Returns 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns forming", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="how many clusters (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next has the next (default: 0)")
    options = parser.parse_args(arguments)
    began, bad = time.monotonic(), []
    for seed in range(options.seed, options.seed + options.rounds):
        directory = Path(tempfile.mkdtemp(prefix="casty-campaign-"))
        count, found = asyncio.run(_round(seed, directory))
        print(f"seed {seed}: {'FAILED' if found else 'ok'}, {count} nodes", flush=True)
        if not found:
            shutil.rmtree(directory)
            continue
        bad.append(seed)
        for finding in found:
            print(f"  {finding}", flush=True)
        print(f"  logs: {directory}", flush=True)
        print(f"  again: python -m tests.campaigns forming --rounds 1 --seed {seed}", flush=True)
    seeds = f" (seeds {', '.join(map(str, bad))})" if bad else ""
    print(f"{options.rounds} rounds in {time.monotonic() - began:.0f} s, {len(bad)} failed{seeds}")
    return 1 if bad else 0
