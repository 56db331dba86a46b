"""The deadline table that every machine and every driver keeps.

Rules
-----
1.  A key has at most one deadline. Setting it again replaces the old one.
2.  `due(now)` removes and yields every key whose deadline is at or before `now`, the earliest first; among equal
    deadlines the one that was set first comes first, so that the order never depends on hashes or addresses. Setting
    a key again puts it behind its equals, also when the instant is the same.
3.  A cancelled or replaced entry stays in the heap as garbage. Every operation that may leave garbage behind rebuilds
    the heap once more than half of it is, so memory stays within a constant factor of the live entries, and the cost
    per operation is amortised O(log n). Without the rebuilding, a program that makes 100,000 requests a second with a
    timeout of five seconds each, all answered at once, would hold half a million dead entries.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush

from .machine import Instant

_SLACK = 64
"""Garbage entries that are not worth a rebuild."""


class Deadlines[K: Hashable]:
    """Keys with an instant each; knows the earliest."""

    __slots__ = ("_heap", "_live", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[Instant, int, K]] = []
        self._live: dict[K, int] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, key: K) -> bool:
        return key in self._live

    def set(self, key: K, at: Instant) -> None:
        """Give `key` the deadline `at`, in place of any that it had."""
        self._sequence = sequence = self._sequence + 1
        live = self._live
        live[key] = sequence
        heap = self._heap
        heappush(heap, (at, sequence, key))
        if len(heap) > 2 * len(live) + _SLACK:
            self._rebuild()

    def cancel(self, key: K) -> bool:
        """Forget the deadline of `key`. False when it had none."""
        if self._live.pop(key, None) is None:
            return False
        if len(self._heap) > 2 * len(self._live) + _SLACK:
            self._rebuild()
        return True

    def clear(self) -> None:
        """Forget every deadline."""
        self._live.clear()
        self._heap.clear()

    def earliest(self) -> Instant | None:
        """The earliest deadline, or `None`."""
        heap, live = self._heap, self._live
        while heap:
            at, sequence, key = heap[0]
            if live.get(key) == sequence:
                return at
            heappop(heap)
        return None

    def due(self, now: Instant) -> Iterator[K]:
        """Remove and yield the keys that are due, in order. Keys set while iterating are seen if they are due."""
        while (at := self.earliest()) is not None and at <= now:
            key = heappop(self._heap)[2]
            del self._live[key]
            if len(self._heap) > 2 * len(self._live) + _SLACK:
                self._rebuild()
            yield key

    def invariants(self) -> None:
        """The heap holds each live key once, and garbage within its bound."""
        current = [key for _, sequence, key in self._heap if self._live.get(key) == sequence]
        assert len(current) == len(self._live) == len(dict.fromkeys(current))
        assert len(self._heap) <= 2 * len(self._live) + _SLACK

    def _rebuild(self) -> None:
        live = self._live
        self._heap = [entry for entry in self._heap if live.get(entry[2]) == entry[1]]
        heapify(self._heap)
