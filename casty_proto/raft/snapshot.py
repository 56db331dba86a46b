"""Snapshots: what they hold, and how they cross the network in pieces.

A snapshot stands for the log up to its index. Besides the application's data it holds what the machine itself has
applied: the configuration and the sessions (thesis 5.1, 6.3). On the wire it is one string of bytes, a header and the
data, cut into chunks that are asked for one after the other: the receiver names the offset that it wants next, so a
chunk that was lost, doubled or delayed does no harm, and a transfer goes on where it was interrupted. Chunks of two
leaders are never mixed: two snapshots of one index need not be the same bytes.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

from attrs import frozen

from ..machine import Instant
from .configuration import Configuration
from .sessions import Sessions

INDEX_MAX = 2**62
"""The highest index that a snapshot from a peer may have. It leaves the log room to go on from there."""

_NUMBER = Struct(">I")


@frozen
class Snapshot:
    """The state after the entry `index`, which was of `term`."""

    index: int
    term: int
    configuration: Configuration
    sessions: bytes
    """What `Sessions.encode` returned."""
    data: bytes
    """The application's."""


def header_of(snapshot: Snapshot) -> bytes:
    """What a transfer begins with: all but the index, the term and the application's data."""
    configuration = snapshot.configuration
    names = [[name.encode() for name in part] for part in (configuration.voters, configuration.learners)]
    return b"".join([_packed([snapshot.sessions]), *map(_packed, names)])


def assemble(index: int, term: int, stream: bytes) -> Snapshot | None:
    """The snapshot whose chunks make up `stream`, or `None` for bytes that are none."""
    try:
        (sessions,), end = _unpacked(stream, 0)
        voters, end = _unpacked(stream, end)
        learners, end = _unpacked(stream, end)
        Sessions.decode(sessions, index)
        configuration = Configuration(
            tuple([name.decode() for name in voters]), tuple([name.decode() for name in learners])
        )
    except (ValueError, StructError):
        return None
    return Snapshot(index, term, configuration, sessions, stream[end:]) if configuration.voters else None


def _packed(parts: list[bytes]) -> bytes:
    """The number of parts, and each of them after its length."""
    pieces = [_NUMBER.pack(len(parts))]
    for part in parts:
        pieces += (_NUMBER.pack(len(part)), part)
    return b"".join(pieces)


def _unpacked(data: bytes, start: int) -> tuple[list[bytes], int]:
    """The parts that were packed, and where they end. Raises `ValueError` or `StructError` where there are none."""
    (count,) = _NUMBER.unpack_from(data, start)
    start += _NUMBER.size
    parts = []
    for _ in range(count):
        (length,) = _NUMBER.unpack_from(data, start)
        start += _NUMBER.size + length
        if start > len(data):
            raise ValueError(f"the part that ends at {start} is not all there")
        parts.append(data[start - length : start])
    return parts, start


class Outgoing:
    """A snapshot on its way to a follower, one chunk at a time."""

    __slots__ = ("_data", "_header", "index", "offset", "sent_at", "size", "term")

    def __init__(self, snapshot: Snapshot) -> None:
        self.index = snapshot.index
        self.term = snapshot.term
        self._header = header_of(snapshot)
        self._data = snapshot.data
        self.size = len(self._header) + len(self._data)
        self.offset = 0
        """Where the follower wants to go on."""
        self.sent_at: Instant | None = None
        """When the chunk at the offset was sent."""

    def ask_again(self, before: Instant) -> None:
        """A chunk that was sent by `before` and not acknowledged is to be sent again."""
        if self.sent_at is not None and self.sent_at <= before:
            self.sent_at = None

    def chunk(self, limit: int) -> bytes:
        """At most `limit` bytes from the offset on; none where everything has arrived."""
        start = self.offset
        head = self._header[start : start + limit]
        data_start = max(0, start - len(self._header))
        return head + self._data[data_start : data_start + limit - len(head)]


class Incoming:
    """A snapshot on its way from a leader, as far as it has come."""

    __slots__ = ("_bytes", "index", "size", "term")

    def __init__(self, index: int, term: int, size: int) -> None:
        self.index = index
        self.term = term
        self.size = size
        self._bytes = bytearray()

    def add(self, offset: int, data: bytes) -> None:
        """Take a chunk, unless it came before or there is a gap before it."""
        if data and offset == self.received and offset + len(data) <= self.size:
            self._bytes += data

    @property
    def received(self) -> int:
        """How many bytes have come."""
        return len(self._bytes)

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are there."""
        return self.received == self.size

    def stream(self) -> bytes:
        """The bytes that have come."""
        return bytes(self._bytes)
