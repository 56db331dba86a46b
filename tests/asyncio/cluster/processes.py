"""Nodes as processes of their own, which a test starts, kills and stops by their ids."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from .node_kit import within

ROOT = Path(__file__).parents[3]


class NodeProcess:
    """One node; see `program_node.py`."""

    def __init__(self, process: asyncio.subprocess.Process, options: dict[str, Any]) -> None:
        self._process = process
        self.options = options
        self.node_id: str = options["node_id"]
        self.address = ""

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    async def line(self) -> str:
        """The next line that it prints; empty when it has ended."""
        assert self._process.stdout is not None
        line: bytes = await within(self._process.stdout.readline())
        return line.decode().strip()

    async def ready(self) -> None:
        """Wait until it says that it is."""
        line = await self.line()
        assert line.startswith("ready "), f"{self.node_id}: {line or 'it has ended'}"
        self.address = line.removeprefix("ready ")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self._process.pid, number)

    async def kill(self) -> None:
        """End it with nobody told."""
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def terminate(self) -> int:
        """Have it leave. Returns its exit status."""
        self.signal(signal.SIGTERM)
        status: int = await within(self._process.wait())
        return status

    async def wait(self) -> int:
        """Its exit status, when it has ended."""
        status: int = await within(self._process.wait())
        return status

    async def end(self) -> None:
        """Make sure that nothing is left of it."""
        if self._process.returncode is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
        await self._process.wait()
        # The transport of a process is closed by its last pipe.
        self._process._transport.close()  # type: ignore[attr-defined]


class Processes:
    """All of a test. `program` is the module that each of them runs; with `logs`, each has a file for its log there."""

    def __init__(self, program: str = "tests.asyncio.cluster.program_node", logs: Path | None = None) -> None:
        self._program = program
        self._logs = logs
        self._started: list[NodeProcess] = []

    async def start(self, node_id: str, *seeds: str, **options: Any) -> NodeProcess:
        """Start a node. It is not waited for."""
        given = {"node_id": node_id, "seeds": list(seeds), **options}
        with self._log(node_id) as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._program,
                repr(given),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if os.environ.get("CASTY_TEST_LOG") else log,
            )
        node = NodeProcess(process, given)
        self._started.append(node)
        return node

    def _log(self, node_id: str) -> IO[bytes]:
        """Where a process writes its log."""
        if self._logs is None:
            return open(os.devnull, "wb")
        return (self._logs / f"{len(self._started):03}-{node_id}.log").open("wb")

    async def cluster(self, count: int, **options: Any) -> list[NodeProcess]:
        """So many nodes that have found each other, `node-1` and so on."""
        first = await self.start("node-1", members=1, **options)
        await first.ready()
        others = [
            await self.start(f"node-{number}", first.address, members=count, **options)
            for number in range(2, count + 1)
        ]
        for each in others:
            await each.ready()
        return [first, *others]


@asynccontextmanager
async def processes(*given: Any) -> AsyncIterator[Processes]:
    """Ends all processes at the end of the block. Takes what `Processes` takes."""
    found = Processes(*given)
    try:
        yield found
    finally:
        for each in found._started:
            await each.end()
