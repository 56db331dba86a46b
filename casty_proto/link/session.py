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
        "_refusals",
        "_settling",
        "_unacked",
        "_waiting",
        "_written",
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
        self._written = 0
        """How many were written to any connection."""
        self._bytes = 0
        self._refusals: deque[tuple[int, int]] = deque()
        """Frames that were refused: their numbers, and those of the frames that say so, which have not arrived yet."""
        self._settling: deque[Entry] = deque()
        """The last of those that the peer had received when the connection began. It may yet refuse them."""

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
    def room(self) -> int:
        """How many frames may be taken until half of what may be kept is used. 0 where that is so already."""
        return max(self._max_frames // 2 - len(self), 0) if 2 * self._bytes < self._max_bytes else 0

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
        size = 0
        while waiting and size < most_bytes:
            entry = waiting.popleft()
            unacked.append(entry)
            frames.append(entry[0])
            size += len(entry[0])
        self._written = max(self._written, self._acked + len(unacked))
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
        self._settling.clear()
        if self._refusals:
            self._forget_refusals()
        return True

    def rewind(self, received: int) -> bool:
        """There is a new connection, and the peer has received so many: write the rest again (rule 6).

        False, and nothing was done, when that cannot be.
        """
        if not self.can_rewind(received):
            return False
        # From the right, so that the oldest comes first again.
        self._waiting.extendleft(reversed(self._unacked))
        self._unacked.clear()
        # The peer may have more than was written to the last connection: that one may have begun with an old `Resume`,
        # which was long on its way, and have been cut before everything was written again.
        arrived = [self._waiting.popleft() for _ in range(received - self._acked)]
        self._bytes -= sum([len(entry[0]) for entry in arrived])
        # What it says about them may have been lost with the last connection, and comes again.
        self._settling.extend(arrived)
        self._acked = received
        self._forget_refusals()
        kept = sum([len(entry[0]) for entry in self._settling])
        while len(self._settling) > self._ahead_frames or kept > self._ahead_bytes:
            kept -= len(self._settling.popleft()[0])
        return True

    def can_rewind(self, received: int) -> bool:
        """Whether `rewind` would be possible."""
        return self._acked <= received <= self._written

    # -- refusals, which are rare --------------------------------------------------------------------------------------

    def refuse(self, number: int) -> None:
        """A frame of the peer was refused, and the last frame that was pushed says so."""
        self._refusals.append((number, self._acked + len(self)))

    def _forget_refusals(self) -> None:
        """The peer has heard of them."""
        while self._refusals and self._refusals[0][1] <= self._acked:
            self._refusals.popleft()

    @property
    def settled(self) -> int:
        """How many frames may be acknowledged: who hears of that forgets them, and must have heard of refusals before.

        What was not written to this connection has not been heard.
        """
        written = self._acked + len(self._unacked)
        for refused, by in self._refusals:
            if by > written:
                return refused - 1
        return self.received

    def sent(self, number: int) -> Entry | None:
        """The frame of that number, if it was written, and it is not settled that the peer took it."""
        place = number - self._acked - 1
        if place >= 0:
            return self._unacked[place] if place < len(self._unacked) else None
        return self._settling[place] if -place <= len(self._settling) else None

    def left(self) -> tuple[Entry, ...]:
        """All that the peer has not acknowledged, oldest first (rule 15)."""
        return (*self._unacked, *self._waiting)

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        assert self._bytes == sum(len(entry[0]) for entry in self.left()), "bytes"
        assert len(self) <= self._ahead_frames, "too many frames"
        assert self._bytes <= self._ahead_bytes, "too many bytes"
        written = self._written - self._acked
        assert len(self._unacked) <= written <= len(self), "what was written is neither kept nor acknowledged"
        assert 0 <= self.told <= self.received, "more was acknowledged than has come"
