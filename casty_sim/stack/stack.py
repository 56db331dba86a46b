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
from .names import LAST_PORT, LOOPBACK, Names
from .sockets import ANY, SimSocket
from .tcp import ACK_NS, AGREE, ANSWER, ASK, RESET, End, Segment, key_of_peer

if TYPE_CHECKING:
    from ..loop import SimLoop
    from ..loop.handles import SimHandle

FIRST_FREE_PORT = 32768
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
        """By their keys."""
        self._asked: dict[int, tuple[End, SimSocket]] = {}
        """Those that have agreed, and who listened: by their keys without the numbers of the answers."""
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
        own = self._own_address(address, local)
        end = End(self, self.names.next_key(), peer, own, (address[0], address[1]))
        self._ends[end.key] = end
        end.ask()
        return end

    def _own_address(self, address: tuple[str, int], local: tuple[str, int] | None) -> tuple[str, int]:
        own = LOOPBACK if address[0] == LOOPBACK else self.address
        if local is None:
            return own, self.free_port()
        host, port = self.resolved(local[0]), local[1] or self.free_port()
        if any(end.local[1] == port and end.remote == address for end in self._ends.values()):
            raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: port {port}")
        return (own if host in ANY else host), port

    def _peer_at(self, address: str) -> str | None:
        return self.host.name if address in (LOOPBACK, "0.0.0.0") else self.names.host_at(address)

    def takes_silently(self, segment: Segment) -> bool:
        """Take a packet that no program notices, as the system of a host does without waking any. False for others."""
        kind, key, seq, acked, room, body = segment
        end = self._ends.get(key)
        if end is None or not end.is_silent(kind, body):
            return False
        end.on_packet(kind, seq, acked, room, b"")
        return True

    def on_packet(self, peer: str, segment: Segment) -> None:
        """A packet has arrived."""
        kind, key, seq, acked, room, body = segment
        end = self._ends.get(key)
        if kind == ASK:
            assert isinstance(body, tuple)
            self._on_asked(peer, key, body)
        elif kind == RESET:
            # One that has asked, and gone away, may not know the number of the answer.
            end = self._asked[key][0] if end is None and key in self._asked else end
            if end is not None:
                end.on_reset()
        elif kind == AGREE:
            if end is None or not end.on_agreed(seq):
                self._refuse(peer, key_of_peer(key) | seq << ANSWER)
        elif end is None:
            self._refuse(peer, key_of_peer(key))
        else:
            assert isinstance(body, bytes)
            end.on_packet(kind, seq, acked, room, body)

    def _refuse(self, peer: str, key: int) -> None:
        """There is no such connection here."""
        self.host.send(peer, (RESET, key, 0, 0, 0, b""), HEADER)

    def _on_asked(self, peer: str, key: int, addresses: tuple[str, int, str, int]) -> None:
        if key in self._asked:
            self._asked[key][0].asked_again()
            return
        theirs, their_port, ours, our_port = addresses
        listener = self._ports.get((ours, our_port)) or self._ports.get(("0.0.0.0", our_port))
        if listener is None or listener not in self._listening:
            self._refuse(peer, key_of_peer(key))
            return
        if listener.is_full:
            return
        answer = self.names.next_key() << ANSWER
        end = End(self, key | answer, peer, (ours, our_port), (theirs, their_port))
        self._ends[end.key] = end
        self._asked[key] = end, listener
        end.agree()
        if peer == self.host.name:
            # Within a host nothing is late: who has connected is there to be accepted.
            end.take_up()

    def accepts(self, end: End) -> bool:
        """Whether there is a place for a connection that the other end has taken up. Whoever listens is told."""
        _, listener = self._asked[key_of_peer(end.peer_key)]
        if listener not in self._listening:
            end.reset()
            return False
        if listener.is_full:
            return False
        listener.enqueue(end)
        self._look_at_reader(listener)
        return True

    # -- what connections want -----------------------------------------------------------------------------------------

    def now(self) -> Instant:
        """The clock of the host."""
        return self.host.now()

    def carry(self, end: End, kind: int, seq: int, body: bytes) -> None:
        """Send a packet to the other end."""
        content: Any = (*end.local, *end.remote) if kind == ASK else body
        self.host.send(end.peer_host, (kind, end.peer_key, seq, end.next_in, end.room, content), HEADER + len(body))

    def ring(self, end: End, at: Instant) -> None:
        """Have it told at an instant, unless it will be told before."""
        if end.ring_at is None or at < end.ring_at:
            end.ring_at = at
            if end.ring is not None:
                end.ring.cancel()
            end.ring = self.loop.call_at_instant(at, self.on_ring, end, at)

    def unring(self, end: End) -> None:
        """It need not be told: most packets are acknowledged long before they would be sent again."""
        if end.ring is not None:
            end.ring.cancel()
            end.ring = end.ring_at = None

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
            end.ring = end.ring_at = None
            if end.key in self._ends:
                end.on_due(self.host.now())

    def forget(self, end: End) -> None:
        """Nothing will come of this end any more."""
        self._ends.pop(end.key, None)
        if end.key & 1:
            self._asked.pop(key_of_peer(end.peer_key), None)

    # -- ports ---------------------------------------------------------------------------------------------------------

    def take_port(self, sock: SimSocket, host: str, port: int) -> tuple[str, int]:
        """Give a socket a port, any that is free where it is 0. Raises `OSError`."""
        address = self.resolved(host)
        if not port:
            port = self.free_port()
        rivals = [
            key for key in self._ports if key[1] == port and (address in (key[0], "0.0.0.0") or key[0] == "0.0.0.0")
        ]
        if rivals:
            raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: port {port}")
        self._ports[address, port] = sock
        return address, port

    def resolved(self, host: str) -> str:
        """The address of this host that is meant. Raises `OSError` for one that is not its own."""
        if host in ANY:
            return "0.0.0.0"
        found = (host,) if host in (LOOPBACK, self.address) else self.names.addresses(host)
        if not found or found[0] not in (LOOPBACK, self.address):
            raise OSError(errno.EADDRNOTAVAIL, f"{os.strerror(errno.EADDRNOTAVAIL)}: {host} is not {self.address}")
        return found[0]

    def free_port(self) -> int:
        """A port that nobody has. Raises `OSError` when there is none."""
        taken = {port for _, port in self._ports} | {end.local[1] for end in self._ends.values()}
        for _ in range(FIRST_FREE_PORT, LAST_PORT + 1):
            port = self._next_port
            self._next_port = port + 1 if port < LAST_PORT else FIRST_FREE_PORT
            if port not in taken:
                return port
        raise OSError(errno.EADDRNOTAVAIL, f"{os.strerror(errno.EADDRNOTAVAIL)}: all ports are taken")

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
