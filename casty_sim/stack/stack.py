"""The network stack of one simulated host: its ports, its connections, and the packets in and out.

It outlives the program: when that has ended, ports are closed and connections come to their ends, and who connects is
refused. A power cut takes both.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from casty_proto.machine import Instant

from ..world import Host
from .names import LOOPBACK, Names
from .sockets import ANY, SimSocket
from .tcp import ACK_NS, AGREE, ASK, RESET, End, Segment

if TYPE_CHECKING:
    from ..loop import SimLoop
    from ..loop.handles import SimHandle

FIRST_FREE_PORT = 32768
LAST_PORT = 65535
FIRST_DESCRIPTOR = 1_000_000
HEADER = 40
"""Bytes of a packet besides those it carries."""


class Stack:
    """The stack of one life of a host."""

    def __init__(self, host: Host, loop: SimLoop) -> None:
        self.host = host
        self.loop = loop
        self.names = Names.of(host.world)
        self.address = self.names.add(host.name)
        self._ends: dict[int, End] = {}
        self._ports: dict[tuple[str, int], SimSocket] = {}
        self._listening: dict[SimSocket, None] = {}
        self._descriptors: dict[int, SimSocket] = {}
        self._next_descriptor = FIRST_DESCRIPTOR
        self._next_port = FIRST_FREE_PORT
        self._readers: dict[SimSocket, SimHandle] = {}
        self._owing: list[End] = []
        self._is_scheduled: dict[SimSocket, None] = {}

    # -- connections ---------------------------------------------------------------------------------------------------

    def connect(self, address: tuple[str, int], local: tuple[str, int] | None = None) -> End:
        """Ask for a connection. The end has no user yet. Raises `OSError` where no host has the address."""
        peer = self._peer_at(address[0])
        if peer is None:
            raise OSError(errno.EHOSTUNREACH, f"{os.strerror(errno.EHOSTUNREACH)}: no host has {address[0]}")
        own = LOOPBACK if address[0] == LOOPBACK else self.address
        end = End(self, self.names.next_key(), peer, local or (own, self.free_port()), (address[0], address[1]))
        self._ends[end.key] = end
        end.ask()
        return end

    def _peer_at(self, address: str) -> str | None:
        return self.host.name if address in (LOOPBACK, "0.0.0.0") else self.names.host_at(address)

    def on_packet(self, peer: str, segment: Segment) -> None:
        """A packet has arrived."""
        kind, key, seq, acked, room, body = segment
        end = self._ends.get(key)
        if kind == ASK:
            assert isinstance(body, tuple)
            self._on_asked(peer, key, end, body)
        elif end is None:
            if kind != RESET:
                self.host.send(peer, (RESET, key ^ 1, 0, 0, 0, b""), HEADER)
        elif kind == AGREE:
            end.on_agreed()
        elif kind == RESET:
            end.on_reset()
        else:
            assert isinstance(body, bytes)
            end.on_packet(kind, seq, acked, room, body)

    def _on_asked(self, peer: str, key: int, end: End | None, addresses: tuple[str, int, str, int]) -> None:
        if end is not None:
            end.agree()
            return
        theirs, their_port, ours, our_port = addresses
        listener = self._ports.get((ours, our_port)) or self._ports.get(("0.0.0.0", our_port))
        if listener is None or listener not in self._listening:
            self.host.send(peer, (RESET, key ^ 1, 0, 0, 0, b""), HEADER)
            return
        if listener.is_full:
            return
        end = self._ends[key] = End(self, key, peer, (ours, our_port), (theirs, their_port))
        end.agree()
        listener.enqueue(end)
        self._look_at_reader(listener)

    # -- what connections want -----------------------------------------------------------------------------------------

    def now(self) -> Instant:
        """The clock of the host."""
        return self.host.now()

    def carry(self, end: End, kind: int, seq: int, body: bytes) -> None:
        """Send a packet to the other end."""
        content: Any = (*end.local, *end.remote) if kind == ASK else body
        self.host.send(end.peer_host, (kind, end.key ^ 1, seq, end.next_in, end.room, content), HEADER + len(body))

    def ring(self, end: End, at: Instant) -> None:
        """Have it told at an instant, unless it will be told before."""
        if end.ring_at is None or at < end.ring_at:
            end.ring_at = at
            self.loop.call_at_instant(at, self.on_ring, end, at)

    def acknowledge(self, end: End) -> None:
        """Let it acknowledge what has arrived, together with all others of this host that owe that."""
        if not self._owing:
            self.loop.call_at_instant(self.host.now() + ACK_NS, self.on_owing)
        self._owing.append(end)

    def on_owing(self) -> None:
        """Those who have said nothing meanwhile acknowledge now."""
        owing, self._owing = self._owing, []
        for end in owing:
            if end.owes and end.key in self._ends:
                end.say()

    def on_ring(self, end: End, at: Instant) -> None:
        """A connection wanted to be told of this instant."""
        if end.ring_at == at:
            end.ring_at = None
            if end.key in self._ends:
                end.on_due(self.host.now())

    def forget(self, end: End) -> None:
        """Nothing will come of this end any more."""
        self._ends.pop(end.key, None)

    # -- ports ---------------------------------------------------------------------------------------------------------

    def take_port(self, sock: SimSocket, host: str, port: int) -> tuple[str, int]:
        """Give a socket a port, any that is free where it is 0. Raises `OSError`."""
        if host in ANY:
            address = "0.0.0.0"
        else:
            found = (host,) if host in (LOOPBACK, self.address) else self.names.addresses(host)
            address = found[0] if found else ""
        if address not in ("0.0.0.0", LOOPBACK, self.address):
            raise OSError(errno.EADDRNOTAVAIL, f"{os.strerror(errno.EADDRNOTAVAIL)}: {host} is not {self.address}")
        if not port:
            port = self.free_port()
        rivals = [
            key for key in self._ports if key[1] == port and (address in (key[0], "0.0.0.0") or key[0] == "0.0.0.0")
        ]
        if rivals:
            raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: port {port}")
        self._ports[address, port] = sock
        return address, port

    def free_port(self) -> int:
        """A port that nobody has."""
        taken = {port for _, port in self._ports} | {end.local[1] for end in self._ends.values()}
        while self._next_port in taken:
            self._next_port += 1
        port = self._next_port
        self._next_port = port + 1 if port < LAST_PORT else FIRST_FREE_PORT
        return port

    def listen(self, sock: SimSocket) -> None:
        """Let others connect to the port of a socket."""
        if self._ports.get(sock.getsockname()) is not sock:
            sock.bind(("0.0.0.0", 0))
        self._listening[sock] = None

    def stop_listening(self, sock: SimSocket) -> None:
        """The socket is closed."""
        self._listening.pop(sock, None)
        self._readers.pop(sock, None)
        self._ports = {address: each for address, each in self._ports.items() if each is not sock}

    # -- descriptors and readers ---------------------------------------------------------------------------------------

    def next_descriptor(self, sock: SimSocket) -> int:
        """A number for a socket."""
        number = self._next_descriptor
        self._next_descriptor += 1
        self._descriptors[number] = sock
        return number

    def drop_descriptor(self, number: int) -> None:
        """The number stands for nothing any more."""
        self._descriptors.pop(number, None)

    def socket_of(self, what: Any) -> SimSocket | None:
        """The socket that is meant: itself, or its number."""
        return what if isinstance(what, SimSocket) else self._descriptors.get(what)

    def set_reader(self, sock: SimSocket, handle: SimHandle | None) -> bool:
        """Whom to tell that somebody waits to be accepted. Whether there was somebody."""
        had = self._readers.pop(sock, None) is not None
        if handle is not None:
            self._readers[sock] = handle
            self._look_at_reader(sock)
        return had

    def _look_at_reader(self, sock: SimSocket) -> None:
        if sock in self._readers and sock.has_waiting and sock not in self._is_scheduled:
            self._is_scheduled[sock] = None
            self.loop.call_soon(self._tell_reader, sock)

    def _tell_reader(self, sock: SimSocket) -> None:
        """One call for each turn, for as long as somebody waits, as a system tells it that is asked what is there."""
        self._is_scheduled.pop(sock, None)
        handle = self._readers.get(sock)
        if handle is None or not sock.has_waiting:
            return
        self._look_at_reader(sock)
        handle._context.run(handle._callback, *handle._args)

    # -- the end of the program ----------------------------------------------------------------------------------------

    def end_of_program(self) -> None:
        """Close what the program has left open, as a system does."""
        for sock in list(self._descriptors.values()):
            sock.close()
        for end in list(self._ends.values()):
            if end.user is not None:
                end.let_go()
