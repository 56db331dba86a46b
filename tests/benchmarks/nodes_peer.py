"""The other nodes of the figures of a cluster, as processes: `python -m tests.benchmarks.nodes_peer LOOP CORE ID SEED`.

Each prints the port that it listens on, once it is a member and has spawned what is measured, and ends with its
standard input. SEED is `-` for the founder.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

from casty_asyncio import Actor, ActorSystem, Context, RaftConfig, ReplicationConfig

from .harness import factory_of

SYSTEM = "bench"
FAST = RaftConfig(0.05, 0.1, 0.2)


@dataclass
class Add:
    """One more. The answer of an ask is how many there are."""

    amount: int


@dataclass
class Note:
    """One more, of which nobody wants to hear."""

    amount: int


class Counter(Actor[Add | Note]):
    """An entity, or a plain actor."""

    def __init__(self, entity_id: str = "") -> None:
        self.entity_id = entity_id
        self.count = 0

    async def receive(self, msg: Add | Note, ctx: Context) -> None:
        self.count += msg.amount
        if type(msg) is Add:
            ctx.reply(self.count)


async def main(node_id: str, seed: str) -> None:
    """One node, until its standard input ends."""
    seeds = [] if seed == "-" else [seed]
    config = None if os.environ.get("CASTY_DEFAULT_PACE") else FAST
    system = ActorSystem.distributed(
        "127.0.0.1", 0, name=SYSTEM, node_id=node_id, seeds=seeds, raft_config=config, roles=[node_id, "peer"]
    )
    async with system:
        await system.spawn(Counter, "plain")
        if node_id == "n1":
            await system.spawn(Counter, "entities", sharded=True, num_shards=64, role="n1")
        await system.spawn(
            Counter, "kept", sharded=True, num_shards=64, role="peer", replication=ReplicationConfig(2, 1)
        )
        assert system.address is not None
        print(system.address.port, flush=True)
        await until_stdin_ends()


async def until_stdin_ends() -> None:
    """Whoever has started this process holds its standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


if __name__ == "__main__":
    _, loop, core, node, first = sys.argv
    os.sched_setaffinity(0, {int(core)})
    with asyncio.Runner(loop_factory=factory_of(loop)) as runner:
        runner.run(main(node, first))
