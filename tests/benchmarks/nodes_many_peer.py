"""A node with many entities, as a process: `python -m tests.benchmarks.nodes_many_peer ID SEED fast|default`.

It prints its address once it hosts the type, and ends with its standard input. SEED is `-` for the founder.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from casty_asyncio import Actor, ActorSystem, Context, RaftConfig

from .nodes_peer import until_stdin_ends
from .things import Bare, Thing, memory

SYSTEM = "many"
KIND = "things"
NUM_SHARDS = 256
_SAMPLE = 10_000


@dataclass
class Memory:
    """The answer is what the process takes up."""


@dataclass
class Figures:
    """What a process takes up."""

    bytes: int
    entities: int
    own: float
    """The bytes of the user's object in each entity."""


class Scales(Actor[Memory]):
    """Says what this process takes up."""

    def __init__(self) -> None:
        before = memory()
        sample = [Bare(f"entity-{number}") for number in range(_SAMPLE)]
        self._own = max(0.0, (memory() - before) / len(sample))

    def receive(self, msg: Memory, ctx: Context) -> None:
        ctx.reply(Figures(memory(), ctx.system.status()["traffic"]["entities_here"], self._own))


async def main(node_id: str, seed: str, pace: str) -> None:
    """One node, until its standard input ends."""
    config = RaftConfig(0.05, 0.1, 0.2) if pace == "fast" else None
    seeds = [] if seed == "-" else [seed]
    system = ActorSystem.distributed("127.0.0.1", 0, name=SYSTEM, node_id=node_id, seeds=seeds, raft_config=config)
    async with system:
        await system.spawn(Scales, "memory")
        await system.spawn(Thing, KIND, sharded=True, num_shards=NUM_SHARDS)
        print(system.address, flush=True)
        await until_stdin_ends()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
