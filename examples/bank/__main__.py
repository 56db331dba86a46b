"""The bank on this machine, for some seconds: five branches in one process, tellers, and a branch that is closed.

python -m examples.bank
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from casty_asyncio import ClusterClient, RaftConfig, run

from .account import ACCOUNTS, OPENING
from .branch import BANK, branch
from .teller import Teller, audit, statements

NAMES = ("ann", "bob", "cleo", "dan", "eve", "finn")
BRANCHES = 5
PACE = RaftConfig(heartbeat_interval=0.1, election_timeout_min=0.3, election_timeout_max=0.6)
"""Fast enough to watch, and slow enough for a busy machine."""


async def free_ports(count: int) -> list[int]:
    """Ports that nobody has at the moment."""
    servers = [await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) for _ in range(count)]
    ports: list[int] = [server.sockets[0].getsockname()[1] for server in servers]
    for server in servers:
        server.close()
        await server.wait_closed()
    return ports


async def main(seconds: float, seed: int) -> int:
    """Run it. Returns the exit status: 0 if the books are right."""
    ports = await free_ports(BRANCHES)
    seeds = [f"127.0.0.1:{port}" for port in ports]
    with TemporaryDirectory() as folder:
        branches = [
            asyncio.create_task(
                branch("127.0.0.1", port, f"branch-{number}", seeds, Path(folder, str(number)), PACE),
                name=f"branch-{number}",
            )
            for number, port in enumerate(ports, 1)
        ]
        try:
            async with ClusterClient(seeds, system_name=BANK) as client:
                return await business(client, branches, seconds, Random(seed))
        finally:
            for each in branches:
                each.cancel()
            await asyncio.gather(*branches, return_exceptions=True)


async def business(client: ClusterClient, branches: list[asyncio.Task[None]], seconds: float, random: Random) -> int:
    """Tellers make transfers, and a third of the way a branch closes."""
    # A branch that is alone has nobody to keep a copy.
    await client.wait_for(BRANCHES)
    print(f"{BRANCHES} branches are open, with {len(NAMES)} accounts of {OPENING} each")
    accounts = client.sharded_ref(ACCOUNTS)
    tellers = [Teller(f"teller-{number}", accounts, NAMES, random) for number in range(4)]
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    async with asyncio.TaskGroup() as group:
        for teller in tellers:
            group.create_task(teller.work(lambda: loop.time() >= end, pause=0.02))
        await asyncio.sleep(seconds / 3)
        going = branches[0]
        print(f"{going.get_name()} closes, after {sum(teller.accepted for teller in tellers)} transfers")
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going
        print(f"{going.get_name()} has handed over its accounts")
    return report(tellers, audit(await statements(accounts, NAMES), tellers))


def report(tellers: list[Teller], wrong: list[str]) -> int:
    """Say how it went."""
    accepted, refused = sum(each.accepted for each in tellers), sum(each.refused for each in tellers)
    again = sum(sum(each.troubles.values()) for each in tellers)
    print(f"{accepted} transfers were made, {refused} refused, and {again} said again because an answer was lost")
    for text in wrong:
        print(f"WRONG: {text}")
    if not wrong:
        print(f"the books are right: {OPENING * len(NAMES)} in all, and each transfer counted once")
    return 1 if wrong else 0


def parser() -> argparse.ArgumentParser:
    """What the program can be told."""
    found = argparse.ArgumentParser(prog="python -m examples.bank", description=__doc__.splitlines()[0])
    found.add_argument("--seconds", type=float, default=5.0, help="for how long transfers are made (default: 5)")
    found.add_argument("--seed", type=int, default=0, help="which transfers are drawn (default: 0)")
    return found


if __name__ == "__main__":
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.ERROR)
    sys.exit(run(main(arguments.seconds, arguments.seed)))
