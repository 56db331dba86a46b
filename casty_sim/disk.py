"""The simulated disk of one host: a log of records, of which a power cut takes what was not yet synced.

Rules
-----
1.  Writes end in the order in which they were begun, each after a delay. A write that has ended is durable.
2.  A power cut loses what had not ended; a prefix of it may have reached the platter all the same, and then it is there
    after the restart although nobody was told.
3.  A torn write is one of which a part reached the platter. A checksum shows it, so it counts as not written, and so
    does everything after it.
4.  A failing write, and a write on a full disk, ends in a failure: nothing after it is written until the restart.
5.  A wiped disk is empty.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import ge, le

from casty_proto.machine import MILLISECOND, Instant, Nanoseconds

from .tape import Stream


@frozen
class DiskProfile:
    """How a disk behaves. Delays in nanoseconds, probabilities from 0 to 1."""

    delay_ns: Nanoseconds = field(default=MILLISECOND // 4, validator=ge(0))
    spread_ns: Nanoseconds = field(default=MILLISECOND // 2, validator=ge(0))
    slow: float = field(default=0.0, validator=[ge(0.0), le(1.0)])
    """How often a write takes up to `slow_ns` more."""
    slow_ns: Nanoseconds = field(default=300 * MILLISECOND, validator=ge(0))
    failing: float = field(default=0.0, validator=[ge(0.0), le(1.0)])
    """How often a write fails."""


class Disk:
    """The records of one host."""

    def __init__(self, stream: Stream, profile: DiskProfile | None = None) -> None:
        self.profile = profile or DiskProfile()
        self.full = False
        """Whether every write fails for want of room."""
        self.failed = False
        """Whether a write has failed since the last start."""
        self._stream = stream
        self._durable: list[Any] = []
        self._pending: list[tuple[int, Any]] = []
        self._last: Instant = 0

    def write(self, ticket: int, record: Any, now: Instant) -> Instant | None:
        """Begin to write. Returns when it will have ended, or `None` when it fails."""
        profile, stream = self.profile, self._stream
        if self.failed or self.full or (profile.failing and stream.chance(profile.failing)):
            self.failed = True
            return None
        delay = profile.delay_ns
        if profile.spread_ns:
            delay += int(stream.raw() * profile.spread_ns)
        if profile.slow and stream.chance(profile.slow):
            delay += int(stream.raw() * profile.slow_ns)
        self._last = at = max(now + delay, self._last)
        self._pending.append((ticket, record))
        return at

    def written(self, ticket: int) -> None:
        """The write of that ticket, and all before it, have ended."""
        while self._pending and self._pending[0][0] <= ticket:
            self._durable.append(self._pending.pop(0)[1])

    def power_cut(self) -> None:
        """Rules 2 and 3: some of what was under way is there after all."""
        reached = self._stream.below(len(self._pending) + 1)
        self._durable += [record for _, record in self._pending[:reached]]
        self._pending.clear()
        self._last = 0
        self.failed = False

    def wipe(self) -> None:
        """Rule 5."""
        self._durable.clear()
        self._pending.clear()
        self._last = 0
        self.failed = self.full = False

    def records(self) -> list[Any]:
        """What a restart finds, in the order in which it was written."""
        return list(self._durable)

    def compact(self, keep: list[Any]) -> None:
        """Replace what is durable by `keep`, atomically, as a driver does that rewrites its log."""
        self._durable = list(keep)
