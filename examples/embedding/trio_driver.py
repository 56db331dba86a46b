"""A driver on trio: three nodes, and one is killed.

    python -m examples.embedding.trio_driver        (trio is in the group `dev` of pyproject.toml)

The shape of it. `feed` is an ordinary function: the machine handles one event and all of its effects are handed out
before any other task runs. It never waits for the network or the disk. All waiting is done by tasks:

    ring    the alarm -> `Wake`                            hear    one for each connection that came: bytes -> `feed`
    write   records -> a thread -> disk -> `Persisted`     speak   one for each peer: its channel -> bytes

What is bounded, and what happens when it is full
    inbox     there is none: a hearer feeds what it has read before it reads again, so TCP makes the sender wait.
    to a peer the message is dropped: the protocols bear that, and they must not bear a machine that waits for a peer
    to disk   not bounded here, since nothing in it may be dropped. Raft bounds it: `max_uncommitted_bytes`.
"""

from __future__ import annotations

import sys
from math import inf
from typing import Any

import trio

from casty_proto.machine import Instant, Machine, Persist, Persisted, Wake, nanoseconds, seconds
from casty_proto.wire import Decoder, Encoder, FrameDecoder, Refused, WireError

from .journal import Journal
from .node import OPTIONS, Effect, Event, Lost, Received, Said, Send, Start, Stopped, wire_types
from .show import Tell, main

LANE_MAX = 1000
"""How many messages wait for a peer."""
DIAL_TIMEOUT = 1.0
"""How many seconds a peer has to take a connection, or a message."""

GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""What a connection raises that is of no more use."""


class Driver:
    """Drives one machine. `run` comes back when the machine has stopped, and raises what stops it otherwise."""

    def __init__(self, machine: Machine[Event, Effect], me: str, journal: Journal, tell: Tell) -> None:
        self.machine = machine
        self.me = me
        self.journal = journal
        self.tell = tell
        self.types = wire_types()
        self.records: list[Persist] = []
        self.lanes: dict[str, trio.MemorySendChannel[Any]] = {}
        self.clock: Instant = 0
        self.fed = trio.Event()
        """Set by the next event. The alarm may then be for another instant, and there may be something to write."""

    async def run(self) -> None:
        """Listen, and feed the machine until it stops. What any task raises ends all of them, and the node."""
        host, port = address_of(self.me)
        listeners = await trio.open_tcp_listeners(port, host=host)
        async with trio.open_nursery() as self.tasks:
            self.tasks.start_soon(trio.serve_listeners, self.hear, listeners)
            self.feed(Start())
            self.tasks.start_soon(self.ring)
            self.tasks.start_soon(self.write)

    def feed(self, event: Event) -> None:
        """One event, and all of its effects in order. Nothing in here waits."""
        for effect in self.machine.handle(event, self.now()):
            match effect:
                case Send(to, message):
                    self.send(to, message)
                case Persist():
                    self.records.append(effect)
                case Said():
                    self.tell(effect)
                case Stopped():
                    self.tasks.cancel_scope.cancel()
        self.fed.set()
        self.fed = trio.Event()

    def now(self) -> Instant:
        """The clock of the machine. Clamped, so that rounding a float never makes it go back."""
        self.clock = max(self.clock, nanoseconds(trio.current_time()))
        return self.clock

    # -- the alarm and the disk ----------------------------------------------------------------------------------------

    async def ring(self) -> None:
        """Feed `Wake` at the deadline, which every event may change."""
        while True:
            deadline, fed = self.machine.deadline(), self.fed
            with trio.move_on_at(inf if deadline is None else seconds(deadline)):
                await fed.wait()
            # Whatever has ended the wait, so that no amount of messages holds the alarm up.
            if deadline is not None and self.now() >= deadline:
                self.feed(Wake())

    async def write(self) -> None:
        """Write what there is, sync once, and report the last of it: that stands for all before it."""
        while True:
            while not self.records:
                await self.fed.wait()
            batch, self.records = self.records, []
            # An error of the disk ends the node from here: nobody must hear a promise that was not kept.
            await trio.to_thread.run_sync(self.journal.append, [persist.record for persist in batch])
            self.feed(Persisted(batch[-1].ticket))

    # -- the network ---------------------------------------------------------------------------------------------------

    def send(self, to: str, message: Any) -> None:
        """Leave a message for the task that speaks to this peer. It is dropped if too many wait already."""
        lane = self.lanes.get(to)
        if lane is None:
            lane, messages = trio.open_memory_channel[Any](LANE_MAX)
            self.lanes[to] = lane
            self.tasks.start_soon(self.speak, to, messages)
        try:
            lane.send_nowait(message)
        except trio.WouldBlock:
            return

    async def speak(self, to: str, messages: trio.MemoryReceiveChannel[Any]) -> None:
        """Send what is to be sent to one peer. The connection is dialled when there is something to say."""
        stream: trio.SocketStream | None = None
        encoder = Encoder(self.types, OPTIONS)
        async for message in messages:
            try:
                with trio.fail_after(DIAL_TIMEOUT):
                    if stream is None:
                        # What was announced on a connection is known on that one only: a new one has a new encoder.
                        encoder = Encoder(self.types, OPTIONS)
                        stream = await trio.open_tcp_stream(*address_of(to))
                        await stream.send_all(encoder.encode_frame(self.me))
                    await stream.send_all(encoder.encode_frame(message))
            except GONE:
                # The message is lost, and how much of it went out is unknown: this connection is of no more use.
                if stream is not None:
                    await trio.aclose_forcefully(stream)
                    stream = None
                    self.feed(Lost(to))

    async def hear(self, stream: trio.SocketStream) -> None:
        """Pass on what comes over one connection. The first value says who is there."""
        frames, decoder = FrameDecoder(OPTIONS.max_frame), Decoder(self.types, OPTIONS)
        peer: str | None = None
        try:
            async for data in stream:
                for body in frames.feed(data):
                    try:
                        value = decoder.decode(body)
                    except Refused:
                        continue  # Not for this node. The next value is as good as before.
                    if peer is None:
                        peer = str(value)
                    else:
                        self.feed(Received(peer, value))
        except (*GONE, WireError):
            pass  # Lost, or rubbish: in both cases nothing more can be had from this connection.
        if peer is not None:
            self.feed(Lost(peer))


def address_of(peer: str) -> tuple[str, int]:
    """Host and port of "host:port"."""
    host, _, port = peer.rpartition(":")
    return host, int(port)


def run(machine: Machine[Event, Effect], me: str, journal: Journal, tell: Tell) -> None:
    """Run one node until it has left."""
    trio.run(Driver(machine, me, journal, tell).run)


if __name__ == "__main__":
    sys.exit(main("examples.embedding.trio_driver", run))
