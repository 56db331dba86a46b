"""Nodes as processes of their own, which a test starts, kills and stops by their ids."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

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
    """All of a test."""

    def __init__(self) -> None:
        self._started: list[NodeProcess] = []

    async def start(self, node_id: str, *seeds: str, **options: Any) -> NodeProcess:
        """Start a node. It is not waited for."""
        given = {"node_id": node_id, "seeds": list(seeds), **options}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.asyncio.cluster.program_node",
            repr(given),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=None if os.environ.get("CASTY_TEST_LOG") else asyncio.subprocess.DEVNULL,
        )
        node = NodeProcess(process, given)
        self._started.append(node)
        return node

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
async def processes() -> AsyncIterator[Processes]:
    """Ends all processes at the end of the block."""
    found = Processes()
    try:
        yield found
    finally:
        for each in found._started:
            await each.end()
