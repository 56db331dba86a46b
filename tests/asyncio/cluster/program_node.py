"""A node as a process: `python -m tests.asyncio.cluster.program_node OPTIONS`.

It prints a line `ready ADDRESS` once it has a leader, and runs until it is told to end. Its counters are at "counters",
replicated, and at "plain", which are not. The singleton "boss" says where it is. With `largest_file` it may write no
larger files, in bytes: a disk that is full.
"""

from __future__ import annotations

import ast
import asyncio
import logging
import resource
import sys
from typing import Any

from casty_asyncio import ActorSystem, ExpelledError, ReplicationConfig

from .node_kit import FAST
from .things import Boss, Counter


async def serve(members: int, options: dict[str, Any]) -> int:
    """Be a node until somebody ends it."""
    system = ActorSystem.distributed(**{"host": "127.0.0.1", "port": 0, "raft_config": FAST, **options})
    await system.start()
    serving = asyncio.ensure_future(system.serve())
    waiting = asyncio.ensure_future(system.wait_for(members, 20.0))
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        await waiting
        replication = ReplicationConfig(factor=3, sync_count=1, timeout=3.0)
        await system.spawn(Counter, name="counters", sharded=True, num_shards=16, replication=replication)
        await system.spawn(Counter, name="plain", sharded=True, num_shards=16)
        await system.spawn(Boss, name="boss", singleton=True)
        sys.stdout.write(f"ready {system.address}\n")
        sys.stdout.flush()
    try:
        await serving
    except ExpelledError as error:
        sys.stdout.write(f"expelled {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(relativeCreated)d %(message)s")
    given = ast.literal_eval(sys.argv[1])
    if (largest := given.pop("largest_file", None)) is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    try:
        sys.exit(asyncio.run(serve(given.pop("members", 1), given)))
    except Exception as error:
        sys.stdout.write(f"failed {type(error).__name__}: {error}\n")
        sys.exit(2)
