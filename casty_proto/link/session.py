"""The frames of one session, both ways: those that wait, those that were written, and how many have come.

This is the direct lane of a link: it is called for every frame, and so a driver calls it without an event. Nothing here
knows of connections; `rewind` is called when there is a new one.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .options import LinkOptions

type Entry = tuple[bytes, Any, Any]
"""A frame as it is written, and two things of the driver's own, which it gets back when the frame is lost."""


class Session:
    """Both directions of a session, as one of its sides sees them (rules 1 to 5)."""

    __slots__ = (
        "_acked",
        "_ahead_bytes",
        "_ahead_frames",
        "_bytes",
        "_max_bytes",
        "_max_frames",
        "_unacked",
        "_waiting",
        "number",
        "received",
        "told",
    )

    def __init__(self, options: LinkOptions) -> None:
        self.number = 0
        """What both sides call it; 0 until they have agreed upon it."""
        self.received = 0
        """How many frames have come. A driver counts them here, each as soon as it has dealt with it."""
        self.told = 0
        """How many of them the peer was told of."""
        self._max_frames, self._max_bytes = options.max_frames, options.max_bytes
        self._ahead_frames, self._ahead_bytes = (
            options.reserve * options.max_frames,
            options.reserve * options.max_bytes,
        )
        self._waiting: deque[Entry] = deque()
        """Not yet written to this connection."""
        self._unacked: deque[Entry] = deque()
        """Written, and not yet acknowledged."""
        self._acked = 0
        """How many the peer has acknowledged."""
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._unacked)

    @property
    def bytes_kept(self) -> int:
        """The size of all frames that are kept."""
        return self._bytes

    @property
    def has_waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether at least half of what may be kept is free. For those who want to wait before they send more."""
        return 2 * len(self) <= self._max_frames and 2 * self._bytes <= self._max_bytes

    @property
    def is_full(self) -> bool:
        """Whether `push` would refuse even a small frame."""
        return len(self) >= self._max_frames or self._bytes >= self._max_bytes

    # -- sending -------------------------------------------------------------------------------------------------------

    def push(self, entry: Entry) -> bool:
        """Take a frame. False, and nothing was done, when that would break the limit (rule 4)."""
        size = len(entry[0])
        if len(self._waiting) + len(self._unacked) >= self._max_frames or self._bytes + size > self._max_bytes:
            return False
        self._bytes += size
        self._waiting.append(entry)
        return True

    def push_ahead(self, entry: Entry) -> bool:
        """As `push`, with the second limit, for what nobody could repeat. False ends the link (rule 4)."""
        size = len(entry[0])
        if len(self) >= self._ahead_frames or self._bytes + size > self._ahead_bytes:
            return False
        self._bytes += size
        self._waiting.append(entry)
        return True

    def take(self, most_bytes: int) -> list[bytes]:
        """Frames to be written now, in order: all that wait, or, once they are more than `most_bytes`, some of them."""
        waiting, unacked = self._waiting, self._unacked
        frames: list[bytes] = []
        if self._bytes <= most_bytes:
            frames.extend([entry[0] for entry in waiting])
            unacked.extend(waiting)
            waiting.clear()
            return frames
        size = 0
        while waiting and size < most_bytes:
            entry = waiting.popleft()
            unacked.append(entry)
            frames.append(entry[0])
            size += len(entry[0])
        return frames

    def acknowledge(self, received: int) -> bool:
        """The peer has received so many (rule 2). False, and nothing was done, when that cannot be."""
        count = received - self._acked
        unacked = self._unacked
        if not 0 <= count <= len(unacked):
            return False
        for _ in range(count):
            self._bytes -= len(unacked.popleft()[0])
        self._acked = received
        return True

    def rewind(self, received: int) -> bool:
        """There is a new connection, and the peer has received so many: write the rest again (rule 6).

        False, and nothing was done, when that cannot be.
        """
        if not self.acknowledge(received):
            return False
        # From the right, so that the oldest comes first again.
        self._waiting.extendleft(reversed(self._unacked))
        self._unacked.clear()
        return True

    def can_rewind(self, received: int) -> bool:
        """Whether `rewind` would be possible."""
        return 0 <= received - self._acked <= len(self._unacked)

    def sent(self, number: int) -> Entry | None:
        """The frame of that number, if it was written and is not acknowledged. For refusals, which are rare."""
        place = number - self._acked - 1
        return self._unacked[place] if 0 <= place < len(self._unacked) else None

    def left(self) -> tuple[Entry, ...]:
        """All that the peer has not acknowledged, oldest first (rule 15)."""
        return (*self._unacked, *self._waiting)

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        assert self._bytes == sum(len(entry[0]) for entry in self.left()), "bytes"
        assert len(self) <= self._ahead_frames, "too many frames"
        assert self._bytes <= self._ahead_bytes, "too many bytes"
        assert 0 <= self.told <= self.received, "more was acknowledged than has come"
