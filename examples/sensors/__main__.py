"""All of it on this machine: three nodes and a client as processes, and a node that is killed partway.

    python -m examples.sensors

Each node streams the readings of one sensor to the client, which stands outside of the cluster. How many readings of a
sensor have arrived is remembered by an entity, its station, whose state is on two nodes. A third of the way the node
with the dispatcher, the singleton, is killed with SIGKILL: the others take up its work, and when it is back it goes on
where its station says that it stopped. The exit status is 0 only if every reading and every alert has arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from .output import BOLD, DIM, GREEN, RED, YELLOW, has_colour, line, painted

ROOT = Path(__file__).resolve().parents[2]
NODES = {"node-1": "temp", "node-2": "humidity", "node-3": "pressure"}
MONITOR = "node-3"
"""It has the alert monitor, and not the role of the dispatcher, so it is not the one that is killed."""
QUIET = ("progress", "kept", "alert", "listening")
"""What is not worth a line of its own."""


class Show:
    """The processes, and what they have said."""

    def __init__(self, count: int, interval: float) -> None:
        self.count = count
        self.interval = interval
        self.ports = dict(zip(NODES, free_ports(len(NODES)), strict=True))
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.arrived: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.alerts = 0
        self.result: dict[str, Any] | None = None
        self.dispatcher = ""
        self.killed = ""
        self.killed_at = 0.0
        self.moved_after: float | None = None
        self.stations_moved: dict[str, int] = {}
        self.joined: dict[str, None] = {}
        self.alerts_complete = asyncio.Event()
        self.moved = asyncio.Event()
        self.a_third = asyncio.Event()
        self._listening: list[asyncio.Task[None]] = []

    # -- processes -----------------------------------------------------------------------------------------------------

    async def start(self, who: str, *command: str) -> None:
        """Start one of our own programs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            "--json",
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **({"FORCE_COLOR": "1"} if has_colour() else {"NO_COLOR": "1"})},
        )
        self.processes[who] = process
        self._listening.append(asyncio.create_task(self.listen(who, process)))

    async def start_node(self, name: str) -> None:
        """Start a node, or start it again."""
        seeds = [part for port in self.ports.values() for part in ("--seed", f"127.0.0.1:{port}")]
        more = ["--alert-monitor"] if name == MONITOR else ["--role", "dispatch"]
        await self.start(
            name,
            "examples.sensors.node",
            "--node-id",
            name,
            "--port",
            str(self.ports[name]),
            *seeds,
            *more,
            "--sensor",
            NODES[name],
            "--count",
            str(self.count),
            "--interval",
            str(self.interval),
        )

    async def listen(self, who: str, process: asyncio.subprocess.Process) -> None:
        """Hear what a process says."""
        assert process.stdout is not None
        async for raw in process.stdout:
            try:
                said = json.loads(raw)
            except ValueError:
                self.print(line(who, raw.decode(errors="replace").rstrip()))
                continue
            self.hear(said)

    async def end(self) -> None:
        """End what we have started: by SIGTERM, so that nodes leave the cluster, and if that does not help by force."""
        running = [process for process in self.processes.values() if process.returncode is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                async with asyncio.timeout(15):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        for task in self._listening:
            await task

    # -- what they say -------------------------------------------------------------------------------------------------

    def hear(self, said: dict[str, Any]) -> None:
        """Something has happened in one of the processes."""
        who, what = said["who"], said["what"]
        match what:
            case "dispatcher":
                self.dispatcher = who
            case "joined":
                self.joined[who] = None
            case "station" if self.killed and said["arrived"] > 0:
                self.stations_moved[said["sensor"]] = said["arrived"]
            case "kept":
                self.kept[who] = said["count"]
            case "progress":
                self.arrived = said["arrived"]
            case "alert":
                self.alerts += 1
            case "alerts":
                self.alerts_complete.set()
            case "moved" if self.moved_after is None:
                self.moved_after = said["gap"]
                self.moved.set()
            case "result":
                self.result = said
                self.arrived = said["arrived"]
        if self.is_a_third(self.dispatcher):
            self.a_third.set()
        if what not in QUIET:
            self.print(line(who, said["text"]))
        else:
            self.print(None)

    def is_a_third(self, name: str) -> bool:
        """Whether a third of the readings of a node has arrived, and its station knows of some."""
        return name in self.kept and self.arrived.get(NODES[name], 0) * 3 >= self.count

    def print(self, text: str | None) -> None:
        """A line, and below it on a terminal how far everything is."""
        if not sys.stdout.isatty():
            if text is not None:
                print(text, flush=True)
            return
        bars = "  ".join([self.bar(sensor) for sensor in NODES.values()])
        above = "" if text is None else f"{text}\n"
        print(f"\r\x1b[K{above}{bars}  {painted(f'{self.alerts} alerts', RED)}", end="", flush=True)

    def bar(self, sensor: str) -> str:
        """How much of a sensor has arrived."""
        done = self.arrived.get(sensor, 0)
        width = 12
        full = width * done // self.count
        return f"{sensor} {painted('█' * full, GREEN)}{painted('░' * (width - full), DIM)} {done}/{self.count}"

    # -- the story -----------------------------------------------------------------------------------------------------

    async def play(self) -> bool:
        """All of it. Whether everything has arrived."""
        for name in NODES:
            await self.start_node(name)
        await self.start(
            "client",
            "examples.sensors.client",
            *[part for port in self.ports.values() for part in ("--contact", f"127.0.0.1:{port}")],
            "--count",
            str(self.count),
        )
        client = self.processes["client"]
        killing = asyncio.create_task(self.kill_one())
        try:
            await client.wait()
        finally:
            killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        for task in self._listening:
            if task.done():
                task.result()
        if client.returncode == 0:
            try:
                async with asyncio.timeout(10):
                    await self.alerts_complete.wait()
            except TimeoutError:
                self.print(line("show", painted("the alert monitor did not see the end of the alerts", RED)))
        await self.end()
        return self.summary(client.returncode)

    async def kill_one(self) -> None:
        """A third of its way, kill the node with the dispatcher, and start it again when others have its work."""
        await self.a_third.wait()
        self.killed = self.dispatcher
        self.killed_at = time.monotonic()
        process = self.processes[self.killed]
        self.print(line("show", painted(f"killing {self.killed} (process {process.pid}) with SIGKILL", RED, BOLD)))
        process.kill()
        await process.wait()
        await self.moved.wait()
        await asyncio.sleep(0.5)
        self.print(line("show", painted(f"starting {self.killed} again", YELLOW)))
        await self.start_node(self.killed)

    def summary(self, status: int | None) -> bool:
        """The figures at the end."""
        result = self.result or {}
        wanted = self.count * len(NODES)
        arrived = sum(self.arrived.values())
        alerts = result.get("alerts")
        knew = ", ".join([f"{sensor} {count}" for sensor, count in sorted(self.stations_moved.items())]) or "nothing"
        checks = [
            (arrived == wanted, f"{arrived} of {wanted} readings have arrived, each once, in order"),
            (alerts is not None and self.alerts == alerts, f"{self.alerts} of {alerts} alerts have arrived"),
            (bool(self.killed), f"{self.killed or 'no node'} was killed, and came back"),
            (
                self.moved_after is not None,
                f"the dispatcher was out of reach for {self.moved_after or 0:.2f} s, and then on another node",
            ),
            (
                bool(self.stations_moved),
                f"stations that moved still knew: {knew}",
            ),
            (status == 0, f"the client ended with status {status}"),
        ]
        print("\n" if sys.stdout.isatty() else "")
        for good, text in checks:
            print(f"  {painted('✓', GREEN) if good else painted('✗', RED, BOLD)} {text}")
        if result:
            seconds, median = result["seconds"], result["median_ms"]
            print(
                f"\n  {seconds:.1f} s, {arrived / seconds:.0f} readings/s, {median:.1f} ms to the client (median), "
                f"{result['repeated']} repeated and taken once"
            )
        return all(good for good, _ in checks)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def main(args: argparse.Namespace) -> int:
    print(painted("A sensor pipeline: three nodes, and a client outside of the cluster", BOLD))
    show = Show(args.count, args.interval)
    try:
        async with asyncio.timeout(args.timeout):
            complete = await show.play()
    except TimeoutError:
        print(painted(f"\nnot complete after {args.timeout:g} s", RED, BOLD))
        return 1
    finally:
        for process in show.processes.values():
            if process.returncode is None:
                process.kill()
    return 0 if complete else 1


def parser() -> argparse.ArgumentParser:
    """What the program can be told."""
    found = argparse.ArgumentParser(prog="python -m examples.sensors", description=__doc__.splitlines()[0])
    found.add_argument("--count", type=int, default=200, help="how many readings each sensor has (default: 200)")
    found.add_argument("--interval", type=float, default=0.03, help="seconds between two readings (default: 0.03)")
    found.add_argument("--timeout", type=float, default=120.0, help="seconds until it gives up (default: 120)")
    return found


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parser().parse_args())))
