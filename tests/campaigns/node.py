"""A node of a campaign, as a process: `python -m tests.campaigns.node OPTIONS`.

It prints a line `ready ADDRESS` once it hosts what the campaign talks to, or `failed WHY`, and runs until it is told to
end. Its log is its standard error. OPTIONS are those of `ActorSystem.distributed`, with `members`, for how many of them
it waits, and `witness`, the file into which the singleton writes that it has acted.
"""

from __future__ import annotations

import ast
import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from casty_asyncio import Actor, ActorContext, ActorSystem, CastyError, ReplicationConfig
from tests.asyncio.cluster.node_kit import FAST
from tests.asyncio.cluster.things import Counter, node_of

COUNTERS = "counters"
BOSS = "boss"
NUM_SHARDS = 16
SYNC_SECONDS = 3.0


class Boss(Actor[Any]):
    """The singleton. Each time that it acts, it writes down when, and which instance it is."""

    def __init__(self, witness: str) -> None:
        self._witness = Path(witness)
        self._life = uuid4().hex

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        line = f"{time.monotonic_ns()} {self._life} {node_of(ctx)}\n"
        # One write to the end of a file is not torn.
        with self._witness.open("ab", buffering=0) as file:
            file.write(line.encode())
        ctx.reply(self._life)


def overlaps(witness: Path) -> list[str]:
    """Where an instance of the singleton has acted after another one had begun to. The clock is that of the machine."""
    acts = sorted(
        (int(at), life, node) for at, life, node in (line.split() for line in witness.read_text().split("\n") if line)
    )
    found: list[str] = []
    over: set[str] = set()
    last = ("", "")
    for at, life, node in acts:
        if life != last[0]:
            over.add(last[0])
            if life in over:
                found.append(f"the singleton on {node} has acted at {at} ns, after another one on {last[1]}")
            last = (life, node)
    return found


async def serve(members: int, witness: str | None, options: dict[str, Any]) -> int:
    """Be a node until somebody ends it."""
    system = ActorSystem.distributed("127.0.0.1", raft_config=FAST, **options)
    await system.start()
    serving = asyncio.ensure_future(system.serve())
    waiting = asyncio.ensure_future(_get_ready(system, members, witness))
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        await waiting
        _say(f"ready {system.address}")
    await serving
    return 0


async def _get_ready(system: Any, members: int, witness: str | None) -> None:
    await system.wait_for(members, 20.0)
    if witness is None:
        _say(f"cluster {system.status()['cluster']}")
        return
    replication = ReplicationConfig(factor=3, sync_count=1, timeout=SYNC_SECONDS)
    await system.spawn(Counter, name=COUNTERS, sharded=True, num_shards=NUM_SHARDS, replication=replication)
    await system.spawn(Boss, name=BOSS, singleton=True, witness=witness)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """The exit status: 0 when it has left."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S")
    given = ast.literal_eval(sys.argv[1])
    logging.info("process %d: %s", os.getpid(), given)
    try:
        return asyncio.run(serve(given.pop("members", 1), given.pop("witness", None), given))
    except CastyError as error:
        logging.exception("it cannot go on")
        _say(f"failed {type(error).__name__}: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
