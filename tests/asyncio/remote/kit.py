"""What the tests between systems share: systems that listen on loopback, a proxy that breaks connections, processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from casty_asyncio import ActorContext, ActorRef, ActorSystem, Behavior, Behaviors, DeadLetter, NodeAddress, Remote
from casty_asyncio.events import EventStreamSubscribe
from casty_asyncio.remote.conversation import Conversation
from casty_asyncio.remote.remoting import Remoting
from casty_asyncio.transport.peer import Peer

from ..probe import Probe, within

NAME = "shop"
ROOT = Path(__file__).parents[3]


# -- systems -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[ActorSystem]:
    """A system that listens on a port of its own."""
    async with ActorSystem(NAME, remote=Remote("127.0.0.1", **options)) as system:
        yield system


@asynccontextmanager
async def client(**options: Any) -> AsyncIterator[ActorSystem]:
    """A system that listens nowhere."""
    async with ActorSystem(NAME, remote=Remote(**options)) as system:
        yield system


@asynccontextmanager
async def pair(**options: Any) -> AsyncIterator[tuple[ActorSystem, ActorSystem]]:
    """Two systems of the same options."""
    async with listening(**options) as one, listening(**options) as other:
        yield one, other


@asynccontextmanager
async def proxied(**options: Any) -> AsyncIterator[tuple[ActorSystem, ActorSystem, Proxy]]:
    """Two systems, whose connections all go through one proxy, whoever dials."""
    async with pair(**options) as (one, other):
        proxy = Proxy()
        try:
            await proxy.between(one, other)
            await proxy.between(other, one)
            yield one, other, proxy
        finally:
            await proxy.close()


def url(system: ActorSystem, path: str) -> str:
    """The address of whoever is at a path now."""
    return f"casty://{NAME}@{system.address}/{path.removeprefix('/')}"


async def looked_up(system: ActorSystem, there: ActorSystem, path: str) -> ActorRef[Any]:
    """The ref that one system has of an actor of another."""
    ref = await within(system.lookup(url(there, path)))
    assert ref is not None
    return cast(ActorRef[Any], ref)


def seen_from(system: ActorSystem, there: ActorSystem, ref: ActorRef[Any]) -> ActorRef[Any]:
    """The ref that one system has of an actor of another, which has sent it."""
    found: ActorRef[Any] = remoting_of(system).refs.decode(remoting_of(there).refs.encode(ref))
    return found


def remoting_of(system: ActorSystem) -> Remoting:
    """The half of it that talks to others."""
    assert system._running is not None
    remoting = system._running.remoting
    assert remoting is not None
    return remoting


def peers_of(system: ActorSystem) -> list[Peer]:
    """Everybody whom it knows."""
    return list(remoting_of(system).transport.peers.values())


def conversation_of(system: ActorSystem, place: int = -1) -> Conversation:
    """What it says to the one whom it has met last."""
    conversation = peers_of(system)[place].conversation
    assert isinstance(conversation, Conversation)
    return conversation


def generation_of(system: ActorSystem) -> int:
    """Which of the processes of its address it is."""
    return remoting_of(system).own.generation


async def until(condition: Callable[[], object]) -> None:
    """Wait for what no event tells of."""

    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.002)

    await within(wait())


async def dead_letters(system: ActorSystem) -> Probe:
    """A probe that is told of every dead letter from now on."""
    probe = Probe(system)
    system.event_stream.tell(EventStreamSubscribe(DeadLetter, probe.ref))
    await probe_is_subscribed(system, probe)
    return probe


async def probe_is_subscribed(system: ActorSystem, probe: Probe) -> None:
    """The event stream has handled what it was told."""
    await until(lambda: system._events._subscriptions)


def echo() -> Behavior[Any]:
    """Answers whatever it is asked with the same."""

    def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        ctx.reply(message)
        return Behaviors.same()

    return Behaviors.receive(receive)


# -- a proxy -----------------------------------------------------------------------------------------------------------


class _Flow:
    """One direction of one connection."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        self.name = name
        self.swallows = False
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self.passed = 0

    async def run(self) -> None:
        try:
            while data := await self._reader.read(65536):
                await self._proxy.gates[self.name].wait()
                if self.swallows:
                    continue
                if (most := self._proxy.cut_after) is not None and self.passed + len(data) >= most:
                    self._writer.write(data[: max(0, most - self.passed)])
                    self._proxy.cuts += 1
                    return
                self.passed += len(data)
                self._writer.write(data)
                await self._writer.drain()
        except OSError:
            pass


class Proxy:
    """Stands between systems, and cuts, stalls or swallows what goes through it.

    There are two directions: "there" is from whoever dialled, "back" is the other one.
    """

    def __init__(self) -> None:
        self.gates = {"there": asyncio.Event(), "back": asyncio.Event()}
        for gate in self.gates.values():
            gate.set()
        self.cut_after: int | None = None
        """Each connection is cut when so many bytes have passed in one direction."""
        self.cuts = 0
        self.opened = 0
        """How many connections there have been."""
        self.refuses = False
        """Whether it closes what is opened."""
        self._servers: list[asyncio.Server] = []
        self._flows: dict[_Flow, None] = {}
        self._open: dict[asyncio.StreamWriter, None] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}

    async def between(self, dialler: ActorSystem, listener: ActorSystem) -> None:
        """From now on, `dialler` dials `listener` through this proxy."""
        assert listener.address is not None
        assert dialler._remote is not None
        port = await self.listen(listener.address.port)
        known = cast(dict[NodeAddress, NodeAddress], dialler._remote.address_map)
        known[listener.address] = NodeAddress("127.0.0.1", port)

    async def listen(self, goal: int) -> int:
        """A port of its own that leads to another."""

        # A task of our own: the streams of Python 3.12 report it as an error when theirs is cancelled.
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._pass_on(goal, reader, writer))
            self._tasks[task] = None
            task.add_done_callback(self._tasks.pop)
            self.opened += 1

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _pass_on(self, goal: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            if self.refuses:
                return
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", goal)
            writers.append(there_writer)
            flows = [_Flow(self, reader, there_writer, "there"), _Flow(self, there_reader, writer, "back")]
            for each in flows:
                self._flows[each] = None
            for one in writers:
                self._open[one] = None
            tasks = [asyncio.ensure_future(flow.run()) for flow in flows]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                for each in flows:
                    del self._flows[each]
        except OSError:
            pass
        finally:
            for one in writers:
                self._open.pop(one, None)
                one.transport.abort()

    def cut(self) -> None:
        """Break all connections at once."""
        for writer in list(self._open):
            writer.transport.abort()

    def stall(self, *names: str) -> None:
        """Let nothing pass any more, in all directions or in those."""
        for name in names or self.gates:
            self.gates[name].clear()

    def resume(self) -> None:
        """Let what was stalled pass."""
        for gate in self.gates.values():
            gate.set()

    def swallow(self, *names: str) -> None:
        """Take whatever comes on the connections of this moment, and pass nothing on: they are half-open."""
        for flow in self._flows:
            flow.swallows = flow.swallows or not names or flow.name in names

    async def close(self) -> None:
        """End everything."""
        for server in self._servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # What asyncio does at the end of a connection.
        await asyncio.sleep(0)


# -- processes ---------------------------------------------------------------------------------------------------------


class Process:
    """A process with a system in it; see `program.py`."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self._process = process
        self.address = address

    def url(self, path: str) -> str:
        """The address of whoever is at a path there."""
        return f"casty://{NAME}@{self.address}/{path}"

    async def look_up(self, system: ActorSystem, path: str) -> ActorRef[Any]:
        """The ref that a system has of an actor there."""
        ref = await within(system.lookup(self.url(path)))
        assert ref is not None
        return cast(ActorRef[Any], ref)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self._process.pid, number)

    async def say(self, address: str) -> None:
        """Have it tell the actor at that address of its desk."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{address}\n".encode())
        await self._process.stdin.drain()

    async def kill(self) -> None:
        """End it with nobody told, and wait until the port is free."""
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def end(self) -> None:
        """Have it shut its system down."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await within(self._process.wait())


@asynccontextmanager
async def process(port: int = 0, **options: Any) -> AsyncIterator[Process]:
    """A process that runs until the end of the block, if nobody ends it before."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.asyncio.remote.program",
        NAME,
        repr({"port": port, **options}),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert started.stdout is not None
        address = (await within(started.stdout.readline())).decode().strip()
        assert address, "the process did not start"
        yield Process(started, address)
    finally:
        if started.returncode is None:
            os.kill(started.pid, signal.SIGCONT)
            os.kill(started.pid, signal.SIGKILL)
        await started.wait()
        # The transport of a process is closed by its last pipe.
        started._transport.close()  # type: ignore[attr-defined]
