"""The log: entries by index, and where it begins.

The entries up to `base_index` are compacted away; of them only the term of the last is known. Indexing is one
subtraction, and compaction moves the rest once, so both are O(1) per entry over the life of a log. `_ends` holds the
running total of sizes, so that a limit in bytes is found by bisection and not by adding up.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter

from ..machine import Nanoseconds
from .entries import Entry, size_of

UNKNOWN = -1
"""The term of an index that the log does not have. No entry has it."""

_term = attrgetter("term")


class Log:
    """What a server holds, on disk or on the way there. `last_index` and `last_term` may be read at any time."""

    __slots__ = ("_before", "_ends", "_entries", "base_index", "base_term", "last_index", "last_term")

    def __init__(self, base_index: int = 0, base_term: int = 0, entries: tuple[Entry, ...] = ()) -> None:
        self.base_index = base_index
        self.base_term = base_term
        self._before = 0
        self._entries: list[Entry] = []
        self._ends: list[int] = []
        self.last_index = base_index
        self.last_term = base_term
        if entries:
            self.append(entries)

    def __len__(self) -> int:
        return len(self._entries)

    # Reading --------------------------------------------------------------------------------------------------------

    def term(self, index: int) -> int:
        """The term at `index`, or `UNKNOWN`."""
        if index == self.last_index:
            return self.last_term
        base = self.base_index
        if base < index < self.last_index:
            return self._entries[index - base - 1].term
        return self.base_term if index == base else UNKNOWN

    def slice(self, first: int, last: int) -> tuple[Entry, ...]:
        """The entries `first` to `last`. Both must be in the log, unless `first` is beyond `last`."""
        base = self.base_index
        assert first > base, f"entry {first} was compacted, the log begins after {base}"
        return tuple(self._entries[first - base - 1 : last - base])

    def batch(self, first: int, max_entries: int, max_bytes: int) -> tuple[Entry, ...]:
        """As many entries from `first` on as the limits allow; at least one where there is one."""
        start = first - self.base_index - 1
        assert start >= 0, f"entry {first} was compacted, the log begins after {self.base_index}"
        stop = min(start + max_entries, len(self._entries))
        if stop - start > 1:
            limit = self._total(start) + max_bytes
            if self._ends[stop - 1] > limit:
                stop = max(start + 1, bisect_right(self._ends, limit, start, stop))
        return tuple(self._entries[start:stop])

    def bytes_between(self, after: int, last: int) -> int:
        """The size of the entries after `after` up to `last`."""
        return self._total(last - self.base_index) - self._total(max(0, after - self.base_index))

    def is_ahead_of(self, last_index: int, last_term: int) -> bool:
        """Whether this log is more up to date than one that ends with these (paper 5.4.1)."""
        return (last_term, last_index) < (self.last_term, self.last_index)

    def conflict(self, entries: tuple[Entry, ...]) -> int:
        """The first index at which `entries` differ from the log or are new to it; 0 when it has them all.

        The entry before the first of them must be known to match. That the last one is here then means that all of
        them are (Log Matching), which spares a repeated message the walk.
        """
        if not entries or self.term(entries[-1].index) == entries[-1].term:
            return 0
        for entry in entries:
            if self.term(entry.index) != entry.term:
                return entry.index
        raise AssertionError("the last entry differs and none does")

    def last_of_term_at_most(self, index: int, term: int) -> int:
        """The largest index up to `index` whose term is at most `term`: where a peer may agree at the earliest.

        One below the log's base where even that is of a later term. An index that the log does not have is returned
        as it is: nothing is known about it.
        """
        base = self.base_index
        if index < base or index > self.last_index:
            return index
        found = bisect_right(self._entries, term, 0, index - base, key=_term)
        if found:
            return base + found
        return base if self.base_term <= term else base - 1

    @property
    def time_ns(self) -> Nanoseconds:
        """The cluster's clock at the last entry; 0 where there is none."""
        return self._entries[-1].time_ns if self._entries else 0

    def time_ns_at(self, index: int) -> Nanoseconds:
        """The cluster's clock at an entry. It must be in the log."""
        assert self.base_index < index <= self.last_index, f"{index} of {self.base_index}..{self.last_index}"
        return self._entries[index - self.base_index - 1].time_ns

    # Writing --------------------------------------------------------------------------------------------------------

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Add `entries`, which continue the log."""
        assert entries[0].index == self.last_index + 1, f"entry {entries[0].index} after {self.last_index}"
        self._entries += entries
        total = self._total(len(self._ends))
        ends = self._ends
        for entry in entries:
            total += size_of(entry)
            ends.append(total)
        last = entries[-1]
        self.last_index, self.last_term = last.index, last.term

    def truncate(self, first: int) -> None:
        """Drop `first` and everything after it."""
        keep = first - self.base_index - 1
        assert keep >= 0, f"entry {first} was compacted, the log begins after {self.base_index}"
        del self._entries[keep:]
        del self._ends[keep:]
        self.last_index = first - 1
        self.last_term = self._entries[-1].term if keep else self.base_term

    def compact(self, index: int) -> None:
        """Drop everything up to `index`, which must be in the log."""
        count = index - self.base_index
        assert 0 <= count <= len(self._entries), f"compacted to {index}, the log has {self.base_index} to the end"
        if count:
            self.base_term = self.term(index)
            self.base_index = index
            self._before = self._ends[count - 1]
            del self._entries[:count]
            del self._ends[:count]

    def reset(self, index: int, term: int) -> None:
        """Drop everything; the log begins after a snapshot now."""
        self._entries.clear()
        self._ends.clear()
        self._before = 0
        self.base_index = self.last_index = index
        self.base_term = self.last_term = term

    # ----------------------------------------------------------------------------------------------------------------

    def _total(self, count: int) -> int:
        """The size of the first `count` entries, and of what was before them."""
        return self._ends[count - 1] if count else self._before

    def invariants(self, tail: int | None = 8) -> None:
        """Assert that the last `tail` entries, or all, are in order and counted."""
        entries = self._entries
        assert len(entries) == len(self._ends) == self.last_index - self.base_index, "entries are missing"
        assert self.last_term == (entries[-1].term if entries else self.base_term), f"last term {self.last_term}"
        start = 0 if tail is None else max(0, len(entries) - tail)
        before, total = self.term(self.base_index + start), self._total(start)
        time_ns = self._entries[start - 1].time_ns if start else 0
        for position in range(start, len(entries)):
            entry = entries[position]
            total += size_of(entry)
            assert entry.index == self.base_index + 1 + position, f"{entry} is in the wrong place"
            assert entry.term >= before, f"{entry} comes after term {before}"
            assert entry.time_ns >= time_ns, f"{entry} comes after {time_ns} on the clock"
            assert self._ends[position] == total, f"{entry} is counted wrongly"
            before, time_ns = entry.term, entry.time_ns
