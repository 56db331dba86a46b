"""A driver of threads and plain sockets, with nothing but the standard library: three nodes, and one is killed.

    python -m examples.embedding.threads_driver

The shape of it. One thread owns the machine: it takes an event from the inbox, has the machine handle it, and hands out
the effects. It never waits for the network or the disk. All waiting is done by others, each in a thread of its own:

    main      inbox, or the alarm -> machine -> effects      hear   one for each connection that came: bytes -> inbox
    accept    a connection -> a thread that hears it         speak  one for each peer: its queue -> bytes
                                                             write  records -> disk -> `Persisted` -> inbox

What is bounded, and what happens when it is full
    inbox     a hearer waits, so TCP makes the sender wait. The writer waits too; nobody waits for the writer.
    to a peer the message is dropped: the protocols bear that, and they must not bear a machine that waits for a peer
    to disk   not bounded here, since nothing in it may be dropped. Raft bounds it: `max_uncommitted_bytes`.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from queue import Empty, Full, Queue, SimpleQueue
from time import monotonic_ns
from typing import Any

from casty_proto.machine import Instant, Machine, Persist, Persisted, Wake, seconds
from casty_proto.wire import Decoder, Encoder, FrameDecoder, Refused, WireError

from .journal import Journal
from .node import OPTIONS, Effect, Event, Lost, Received, Said, Send, Start, Stopped, wire_types
from .show import Tell, main

INBOX_MAX = 1000
"""How many events wait for the machine."""
LANE_MAX = 1000
"""How many messages wait for a peer."""
DIAL_TIMEOUT = 1.0
"""How many seconds a peer has to take a connection, or some bytes."""


class Driver:
    """Drives one machine. `run` comes back when the machine has stopped, and raises what stops it otherwise."""

    def __init__(self, machine: Machine[Event, Effect], me: str, journal: Journal, tell: Tell) -> None:
        self.machine = machine
        self.me = me
        self.journal = journal
        self.tell = tell
        self.types = wire_types()
        self.inbox: Queue[Event | BaseException] = Queue(INBOX_MAX)
        self.records: SimpleQueue[Persist] = SimpleQueue()
        self.lanes: dict[str, Queue[Any]] = {}
        self.clock: Instant = 0
        self.stopped = False

    # -- the loop ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Listen, and feed the machine until it stops."""
        with socket.create_server(address_of(self.me)) as server:
            self.start(self.write)
            self.start(self.accept, server)
            self.feed(Start())
            while not self.stopped:
                self.feed(self.next_event())

    def next_event(self) -> Event:
        """What comes next: the alarm, if it is due, or something from the inbox, or the alarm later on."""
        deadline = self.machine.deadline()
        wait = None if deadline is None else seconds(deadline - self.now())
        if wait is not None and wait <= 0:
            return Wake()  # First, so that no amount of messages holds it up.
        try:
            event = self.inbox.get(timeout=wait)
        except Empty:
            return Wake()
        if isinstance(event, BaseException):
            # A thread cannot go on without which the node must not go on: above all the one that writes.
            raise event
        return event

    def feed(self, event: Event) -> None:
        """One event, and all of its effects in order. Nothing in here waits."""
        for effect in self.machine.handle(event, self.now()):
            match effect:
                case Send(to, message):
                    self.send(to, message)
                case Persist():
                    self.records.put(effect)
                case Said():
                    self.tell(effect)
                case Stopped():
                    self.stopped = True

    def now(self) -> Instant:
        """The clock of the machine. Clamped, so that it never goes back, whatever the system's clock does."""
        self.clock = max(self.clock, monotonic_ns())
        return self.clock

    def start(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do some work in a thread of its own. What it raises ends the node."""

        def working() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                self.inbox.put(error)

        threading.Thread(target=working, name=work.__name__, daemon=True).start()

    # -- the disk ------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write what there is, sync once, and report the last of it: that stands for all before it."""
        while True:
            batch = [self.records.get()]
            while not self.records.empty():
                batch.append(self.records.get())
            self.journal.append([persist.record for persist in batch])
            self.inbox.put(Persisted(batch[-1].ticket))

    # -- the network ---------------------------------------------------------------------------------------------------

    def send(self, to: str, message: Any) -> None:
        """Leave a message for the thread that speaks to this peer. It is dropped if too many wait already."""
        lane = self.lanes.get(to)
        if lane is None:
            lane = self.lanes[to] = Queue(LANE_MAX)
            self.start(self.speak, to, lane)
        try:
            lane.put_nowait(message)
        except Full:
            return

    def speak(self, to: str, lane: Queue[Any]) -> None:
        """Send what is to be sent to one peer. The connection is dialled when there is something to say."""
        connection: socket.socket | None = None
        encoder = Encoder(self.types, OPTIONS)
        while True:
            message = lane.get()
            try:
                if connection is None:
                    # What was announced on a connection is known on that one only: a new one has a new encoder.
                    encoder = Encoder(self.types, OPTIONS)
                    connection = socket.create_connection(address_of(to), DIAL_TIMEOUT)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                    connection.sendall(encoder.encode_frame(self.me))
                connection.sendall(encoder.encode_frame(message))
            except OSError:
                # The message is lost, and how much of it went out is unknown: this connection is of no more use.
                if connection is not None:
                    connection.close()
                    connection = None
                    self.inbox.put(Lost(to))

    def accept(self, server: socket.socket) -> None:
        """Hear everybody who comes."""
        while True:
            connection, _ = server.accept()
            self.start(self.hear, connection)

    def hear(self, connection: socket.socket) -> None:
        """Pass on what comes over one connection. The first value says who is there."""
        frames, decoder = FrameDecoder(OPTIONS.max_frame), Decoder(self.types, OPTIONS)
        peer: str | None = None
        with connection:
            try:
                while data := connection.recv(2**16):
                    for body in frames.feed(data):
                        try:
                            value = decoder.decode(body)
                        except Refused:
                            continue  # Not for this node. The next value is as good as before.
                        if peer is None:
                            peer = str(value)
                        else:
                            self.inbox.put(Received(peer, value))
            except (OSError, WireError):
                pass  # Lost, or rubbish: in both cases nothing more can be had from this connection.
        if peer is not None:
            self.inbox.put(Lost(peer))


def address_of(peer: str) -> tuple[str, int]:
    """Host and port of "host:port"."""
    host, _, port = peer.rpartition(":")
    return host, int(port)


def run(machine: Machine[Event, Effect], me: str, journal: Journal, tell: Tell) -> None:
    """Run one node until it has left."""
    Driver(machine, me, journal, tell).run()


if __name__ == "__main__":
    sys.exit(main("examples.embedding.threads_driver", run))
