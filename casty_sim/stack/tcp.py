"""One end of a connection: bytes in order over packets that are lost, repeated and overtake each other.

This is as much of TCP (RFC 9293) as a program can tell from the outside, and no more.

Rules
-----
1.  A connection begins with a packet that asks for it, is repeated after 1, 2, 4 seconds, and fails after
    `GIVE_UP_NS`. A host where nobody listens at that port refuses at once; one that is down says nothing. One where
    somebody listens agrees, with a number for this answer, and repeats that as well. It accepts the connection when
    the other end has shown that it knows the number: so a packet that asks and is late, or comes twice, makes none.
2.  Bytes have numbers. What arrives out of order waits, what arrives twice is dropped, and what the program has not
    read fills a buffer, beyond which nothing more is sent.
3.  What arrived is acknowledged by the next packet that goes the other way, or by one of its own within `ACK_NS`, or at
    once after `ACK_BYTES` and for what is out of order. (A real one does so for every second packet, which a program
    cannot tell.)
4.  What is not acknowledged is sent again after `RETRANSMIT_NS`, then after twice that time, and so on; at once after
    three packets that say that one is missing. When nothing was acknowledged for `GIVE_UP_NS`, the connection breaks.
5.  The end of the bytes has a number as well, and is sent again like them. Each direction ends by itself.
6.  A packet for a connection that a host does not know, because it has started anew, or has closed it, is answered by
    a reset, which breaks the connection at the other end. A reset may be lost; then rule 4 finds out.
7.  A connection on which nobody sends anything never notices that the other end is gone.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import Any, Protocol

from casty_proto.machine import MILLISECOND, SECOND, Instant, Nanoseconds

GIVE_UP_NS: Nanoseconds = 20 * SECOND
ACK_NS: Nanoseconds = 40 * MILLISECOND
RETRANSMIT_NS: Nanoseconds = 200 * MILLISECOND
RETRANSMIT_MAX_NS: Nanoseconds = 5 * SECOND
CONNECT_NS: Nanoseconds = SECOND
ACK_BYTES = 24 * 1024

SEGMENT = 16 * 1024
"""Bytes in a packet, at most. More than a real network has, so that there are fewer packets."""
BUFFER = 64 * 1024
"""What a program has not read, and what is under way, in bytes."""
SEND_BUFFER = 128 * 1024
"""What the stack takes from a program, in bytes."""

ASK, AGREE, DATA, END, RESET, PROBE = range(6)
"""Kinds of packets. `PROBE` asks how much room there is."""

ANSWER = 40
"""The bit of the key of an end that has agreed where the number of its answer begins. Below it the keys of the two ends
of a connection differ in the lowest bit, which is set at the end that has agreed."""

type Segment = tuple[int, int, int, int, int, bytes | tuple[str, int, str, int]]
"""Kind, key of the receiving end, number of the first byte, acknowledged number, room at the sender, and the bytes; or
the addresses, for a packet that asks for a connection. The number of the answer, for one that agrees, is in the place
of the first byte."""


class Wire(Protocol):
    """Who carries packets, and rings."""

    def now(self) -> Instant: ...

    def carry(self, end: End, kind: int, seq: int, body: bytes) -> None:
        """Send a packet to the other end."""
        ...

    def ring(self, end: End, at: Instant) -> None:
        """Have `on_due` called at an instant, if that is earlier than what was asked for before."""
        ...

    def unring(self, end: End) -> None:
        """There is nothing to call `on_due` for."""
        ...

    def acknowledge(self, end: End) -> None:
        """Have `say` called within `ACK_NS`, unless it has spoken since."""
        ...

    def accepts(self, end: End) -> bool:
        """Whether there is a place for a connection that the other end has taken up."""
        ...

    def forget(self, end: End) -> None:
        """Nothing will come of this end any more."""
        ...


class User(Protocol):
    """Who uses an end: a transport."""

    def connected(self) -> None: ...

    def arrived(self, data: bytes) -> None: ...

    def ended(self) -> None:
        """No more bytes will come."""
        ...

    @property
    def wants_room(self) -> bool:
        """Whether it does anything in `room`."""
        ...

    def room(self) -> None:
        """Bytes were acknowledged, so that more can be taken."""
        ...

    def broken(self, error: OSError) -> None:
        """The connection is gone."""
        ...


class End:
    """One end of one connection."""

    __slots__ = (
        "_acked_at",
        "_backoff",
        "_end_told",
        "_ended_at",
        "_flying",
        "_flying_bytes",
        "_is_reading",
        "_missing_said",
        "_out_of_order",
        "_peer_room",
        "_queue",
        "_queued",
        "_resend_due",
        "_room_said",
        "_says_end",
        "_unread",
        "_unread_bytes",
        "_unsaid",
        "key",
        "local",
        "next_in",
        "next_out",
        "open",
        "owes",
        "peer_host",
        "peer_key",
        "remote",
        "ring",
        "ring_at",
        "user",
        "wire",
    )

    def __init__(self, wire: Wire, key: int, peer_host: str, local: tuple[str, int], remote: tuple[str, int]) -> None:
        self.wire = wire
        self.key = key
        """The key of packets to this end. Odd for one that agrees, with the number of its answer above `ANSWER`."""
        self.peer_key = key_of_peer(key)
        """That of packets to the other one."""
        self.peer_host = peer_host
        self.local = local
        self.remote = remote
        self.user: User | None = None
        self.open = False
        self.ring_at: Instant | None = None
        """For the wire: when it rings."""
        self.ring: Any = None
        """For the wire: how."""
        self.next_out = 0
        """The number of the next byte that is sent for the first time."""
        self.next_in = 0
        """The number of the next byte that is expected."""
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._says_end = False
        self._flying: deque[tuple[int, int, bytes]] = deque()
        """Kind, number and bytes of what is not acknowledged."""
        self._flying_bytes = 0
        self._peer_room = BUFFER
        self._backoff = 0
        self._acked_at: Instant = 0
        self._resend_due: Instant | None = None
        self.owes = False
        """Whether something has arrived that was not acknowledged."""
        self._unsaid = 0
        """How many bytes those are."""
        self._missing_said = 0
        self._out_of_order: dict[int, tuple[int, bytes]] = {}
        self._is_reading = False
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._room_said = BUFFER
        """What the other end was last told of the room here."""
        self._ended_at: int | None = None
        """The number of the end of what comes in, once it has come."""
        self._end_told = False

    # -- the beginning (rule 1) ----------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Ask for the connection."""
        self._acked_at = self.wire.now()
        self._ask_again()

    def agree(self) -> None:
        """Answer one that asks."""
        self.ask()

    def _ask_again(self) -> None:
        if self.key & 1:
            self.wire.carry(self, AGREE, self.key >> ANSWER, b"")
        else:
            self.wire.carry(self, ASK, 0, b"")
        self._ring_in(CONNECT_NS << self._backoff)
        self._backoff += 1

    def asked_again(self) -> None:
        """The other end asks again. Where it has taken up the connection, the packet was late."""
        if not self.open:
            self.wire.carry(self, AGREE, self.key >> ANSWER, b"")

    def on_agreed(self, answer: int) -> bool:
        """The other end agrees. Whether that is the answer which was taken up; any other one has come too late."""
        key = key_of_peer(self.key) | answer << ANSWER
        if self.open:
            if key == self.peer_key:
                self.say()
            return key == self.peer_key
        self.peer_key = key
        self._opened()
        if self.user is not None:
            self.user.connected()
        self.say()
        self._push()
        return True

    def take_up(self) -> bool:
        """The other end has shown that it knows the answer. Whether the connection is there now."""
        if not self.key & 1 or not self.wire.accepts(self):
            return False
        self._opened()
        return True

    def _opened(self) -> None:
        self.open = True
        self._backoff = 0
        self._resend_due = None
        self._acked_at = self.wire.now()

    # -- out -----------------------------------------------------------------------------------------------------------

    @property
    def takes(self) -> int:
        """How many bytes can be written now."""
        return SEND_BUFFER - self._queued - self._flying_bytes

    @property
    def is_drained(self) -> bool:
        """Whether all that was written was acknowledged."""
        return not self._queued and not self._flying

    def write(self, data: bytes) -> None:
        """Send bytes, at most `takes` of them. A no-op after `end`, as for a program that is gone in this step."""
        if self._says_end:
            return
        self._queue.append(data)
        self._queued += len(data)
        if self.open:
            self._push()

    def end(self) -> None:
        """Say, after all bytes, that no more will come. A no-op when it was said."""
        if not self._says_end:
            self._says_end = True
            self._queue.append(b"")
            if self.open:
                self._push()

    def _push(self) -> None:
        """Send what the other end has room for. What ends the bytes is the empty piece at the end of the queue."""
        queue = self._queue
        while queue and (self._flying_bytes < self._peer_room or not queue[0]):
            piece = queue.popleft()
            if not piece:
                self._send(END, b"")
                continue
            if len(piece) > SEGMENT:
                queue.appendleft(piece[SEGMENT:])
                piece = piece[:SEGMENT]
            elif queue and queue[0] and len(piece) + len(queue[0]) <= SEGMENT:
                queue[0] = piece + queue[0]
                continue
            self._queued -= len(piece)
            self._send(DATA, piece)
        if queue and self._resend_due is None:
            # There is no room, and the packet that says that there is may get lost: ask now and then.
            self._acked_at = self.wire.now()
            self._set_resend()

    def _send(self, kind: int, piece: bytes) -> None:
        seq = self.next_out
        if not self._flying:
            self._acked_at = self.wire.now()
        self._flying.append((kind, seq, piece))
        self._flying_bytes += len(piece)
        self.next_out = seq + (len(piece) or 1)
        self._carry(kind, seq, piece)
        if self._resend_due is None:
            self._set_resend()

    def _carry(self, kind: int, seq: int, piece: bytes) -> None:
        self._unsaid = 0
        self.owes = False
        self._room_said = self.room
        self.wire.carry(self, kind, seq, piece)

    def _set_resend(self) -> None:
        self._ring_in(min(RETRANSMIT_NS << self._backoff, RETRANSMIT_MAX_NS))

    def _ring_in(self, wait: Nanoseconds) -> None:
        self._resend_due = at = min(self.wire.now() + wait, self._acked_at + GIVE_UP_NS)
        self.wire.ring(self, at)

    def on_due(self, now: Instant) -> None:
        """It is time for something (rules 1 and 4)."""
        if self._resend_due is None:
            return
        if self._resend_due > now:
            self.wire.ring(self, self._resend_due)
            return
        self._resend_due = None
        if (self._flying or self._queue or not self.open) and now - self._acked_at >= GIVE_UP_NS:
            self.fail(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        elif not self.open:
            self._ask_again()
        elif self._flying:
            self._backoff += 1
            self._carry(*self._flying[0])
            self._set_resend()
        elif self._queue:
            self._backoff = min(self._backoff + 1, 4)
            self._carry(PROBE, self.next_out, b"")
            self._set_resend()

    # -- in ------------------------------------------------------------------------------------------------------------

    def on_packet(self, kind: int, seq: int, acked: int, room: int, body: bytes) -> None:
        """A packet of the other end has arrived."""
        if not self.open and not self.take_up():
            return
        if not self._flying:
            self._acked_at = self.wire.now()
        self._on_acked(acked, room, carries=bool(body) or kind == END)
        if kind == END or body:
            self._on_piece(kind, seq, body)
        elif kind == PROBE:
            self.say()

    def is_silent(self, kind: int, body: object) -> bool:
        """Whether a packet of the other end only acknowledges, and no program notices that."""
        return kind == DATA and not body and self.open and (self.user is None or not self.user.wants_room)

    def on_reset(self) -> None:
        """The other end does not know the connection (rule 6). Where both have said all, that is no news."""
        if self._says_end and self._is_over:
            self.wire.forget(self)
        elif self.open:
            self.fail(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
        else:
            self.fail(ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))

    def _on_acked(self, acked: int, room: int, *, carries: bool) -> None:
        flying = self._flying
        if acked < (flying[0][1] if flying else self.next_out):
            # It was overtaken, and the room that it tells of was another time's.
            return
        self._peer_room, had = room, self._peer_room
        if flying and acked > flying[0][1]:
            while flying and flying[0][1] < acked:
                self._flying_bytes -= len(flying.popleft()[2])
            self._backoff = self._missing_said = 0
            self._acked_at = self.wire.now()
            self._resend_due = None
            if flying:
                self._set_resend()
            self._on_room()
            if self._resend_due is None:
                self.wire.unring(self)
        elif flying and acked == flying[0][1] and not carries and room == had:
            self._missing_said += 1
            if self._missing_said == 3:
                self._carry(*flying[0])
        elif room > had:
            self._on_room()

    def _on_room(self) -> None:
        self._push()
        if self.user is not None:
            self.user.room()
        elif self._says_end and self.is_drained and self._is_over:
            self.wire.forget(self)

    @property
    def _is_over(self) -> bool:
        return self._ended_at is not None and self.next_in > self._ended_at

    def _on_piece(self, kind: int, seq: int, body: bytes) -> None:
        if seq != self.next_in:
            if seq > self.next_in:
                self._out_of_order[seq] = (kind, body)
            self.say()
            return
        if self.user is None and kind == DATA and self._is_reading:
            # Whoever was to read it has closed (rule 6).
            self.reset()
            return
        self._take(kind, body)
        while self._out_of_order and (found := self._out_of_order.pop(self.next_in, None)) is not None:
            self._take(*found)
        if not self._unsaid:
            # The program has answered at once, and the answer says it.
            return
        if self._unsaid >= ACK_BYTES or self._out_of_order:
            self.say()
        elif not self.owes:
            self.owes = True
            self.wire.acknowledge(self)

    def _take(self, kind: int, body: bytes) -> None:
        self._unsaid += len(body) or 1
        if kind == END:
            self._ended_at = self.next_in
            self.next_in += 1
            if not self._unread and self._is_reading:
                self._on_end()
            return
        self.next_in += len(body)
        if self._is_reading and self.user is not None:
            self.user.arrived(body)
        else:
            self._unread.append(body)
            self._unread_bytes += len(body)

    def _on_end(self) -> None:
        if self.user is not None:
            self._end_told = True
            self.user.ended()
        elif self._says_end and self.is_drained:
            self.say()
            self.wire.forget(self)

    def say(self) -> None:
        """Acknowledge."""
        self._carry(DATA, self.next_out, b"")

    @property
    def room(self) -> int:
        """How much more of what arrives has a place."""
        return max(0, BUFFER - self._unread_bytes)

    def read(self, *, on: bool) -> None:
        """Hand over what arrives, or keep it until this is switched on again."""
        self._is_reading = on
        while self._is_reading and self._unread and self.user is not None:
            piece = self._unread.popleft()
            self._unread_bytes -= len(piece)
            self.user.arrived(piece)
        if self._room_said < SEGMENT <= self.room and self.open:
            self.say()
        if self._is_reading and not self._unread and self._is_over and not self._end_told:
            self._on_end()

    # -- the end -------------------------------------------------------------------------------------------------------

    def let_go(self) -> None:
        """The program has closed it: what was written still goes, and what comes is not wanted any more."""
        self.user = None
        if self._unread or not self.open:
            self.reset()
            return
        self._is_reading = True
        self.end()
        if self.is_drained and self._is_over:
            self.wire.forget(self)

    def reset(self) -> None:
        """Break the connection, and say so."""
        self.wire.carry(self, RESET, self.next_out, b"")
        self.user = None
        self.wire.forget(self)

    def fail(self, error: OSError) -> None:
        """The connection is broken."""
        user, self.user = self.user, None
        self.wire.forget(self)
        if user is not None:
            user.broken(error)


def key_of_peer(key: int) -> int:
    """The key of the other end, without the number of an answer."""
    return (key & ((1 << ANSWER) - 1)) ^ 1
