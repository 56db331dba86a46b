"""The other process of a test: `python -m tests.asyncio.remote.program NAME OPTIONS`.

It prints its address, and ends with its standard input. At `/desk` there is an actor that does what `parcels.py` asks.
Each line that comes is the address of an actor, who is told of that one.
"""

from __future__ import annotations

import ast
import asyncio
import logging
import sys
from typing import Any

from casty_asyncio import ActorSystem, Remote

from .parcels import Desk


async def serve(name: str, options: dict[str, Any]) -> None:
    """Serve until the other side ends."""
    async with ActorSystem(name, remote=Remote(**{"host": "127.0.0.1", **options})) as system:
        desk = await system.spawn(Desk, name="desk")
        sys.stdout.write(f"{system.address}\n")
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            there = await system.lookup(line.strip())
            assert there is not None
            there.tell(desk)


if __name__ == "__main__":
    logging.disable()
    asyncio.run(serve(sys.argv[1], ast.literal_eval(sys.argv[2])))
