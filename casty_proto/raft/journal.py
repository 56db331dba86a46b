"""What is on its way to the disk, and what waits for it.

Rules
-----
1.  A ticket is durable when `Persisted` names it or a later one. Writes become durable in order.
2.  `durable` is the last index up to which the log that the server has *now* is on disk. A write that was overtaken by
    a truncation makes durable only what the truncation left: the term that is on disk under the other indexes is
    another one, and by the time this one's write is through, a third may have followed (an ABA that etcd found in
    practice).
3.  A message that names the current term waits while the ballot of that term is not durable. Otherwise the server
    could forget the term, or its vote, that others act upon (paper, Figure 2, "persistent state").
4.  Of the messages of one type to one server only the newest waits, and of more than `MAX_WITHHELD` the newest do. All
    of them may be lost anyhow, and each of these is answered or repeated by what follows; so the memory is bounded,
    however long the disk takes and whoever asks.
5.  When `MANY_WRITES` wait for the disk, a ballot among them, no more ballots are added. Those that come meanwhile are
    overtaken by the last of them, which is written when that ballot is through, or before any other record, because no
    entry may be on disk of a term that is not.
6.  No more than `MAX_WRITES` are to wait for the disk at a follower: what a leader sends beyond that is taken for lost.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .configuration import NodeId
from .events import Send

MAX_WITHHELD = 1024
MANY_WRITES = 64
MAX_WRITES = 4096


class _Write:
    __slots__ = ("last", "ticket")

    def __init__(self, ticket: int, last: int) -> None:
        self.ticket = ticket
        self.last = last
        """Up to which index of the present log this makes durable; 0 for what is not about the log."""


class Journal:
    """Tickets, and what depends on them."""

    __slots__ = ("_withheld", "_writes", "ballot", "ballot_due", "done", "durable", "issued")

    def __init__(self, durable: int) -> None:
        self.durable = durable
        self.issued = 0
        self.done = 0
        self.ballot = 0
        """The ticket of the latest ballot that was written and is not durable, or 0."""
        self.ballot_due = False
        """Another one is to be written after it (rule 5)."""
        self._writes: deque[_Write] = deque()
        self._withheld: dict[tuple[NodeId, type[Any]], Send] = {}

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the disk that a follower should take no more (rule 6)."""
        return len(self._writes) >= MAX_WRITES

    @property
    def takes_ballots(self) -> bool:
        """Whether a ballot is to be written at once (rule 5)."""
        return not self.ballot or len(self._writes) < MANY_WRITES

    def write(self, last: int = 0) -> int:
        """The ticket of one more write. `last`: the index up to which it makes the log durable."""
        self.issued = ticket = self.issued + 1
        self._writes.append(_Write(ticket, last))
        return ticket

    def write_ballot(self) -> int:
        """The ticket of a ballot. The messages that are withheld from now on wait for it."""
        self.ballot = ticket = self.write()
        self.ballot_due = False
        return ticket

    def truncate(self, first: int) -> None:
        """The log lost `first` and what followed (rule 2)."""
        last = first - 1
        self.durable = min(self.durable, last)
        for write in self._writes:
            write.last = min(write.last, last)

    def withhold(self, send: Send) -> None:
        """Keep `send` until the ballot is durable (rules 3 and 4)."""
        key = (send.to, type(send.message))
        withheld = self._withheld
        withheld.pop(key, None)
        withheld[key] = send
        if len(withheld) > MAX_WITHHELD:
            del withheld[next(iter(withheld))]

    def forget_withheld(self) -> None:
        """The term changed: what names the old one is rubbish to everybody."""
        self._withheld.clear()

    def settle(self, ticket: int) -> list[Send]:
        """`ticket` is durable. Returns what waited for it: nothing while a ballot is not durable or not written."""
        self.done = ticket
        writes = self._writes
        while writes and writes[0].ticket <= ticket:
            self.durable = max(self.durable, writes.popleft().last)
        if self.ballot <= ticket:
            self.ballot = 0
        if self.ballot or self.ballot_due or not self._withheld:
            return []
        released, self._withheld = self._withheld, {}
        return list(released.values())

    def invariants(self, last_index: int) -> None:
        """What holds between two events."""
        assert self.durable <= last_index, f"durable {self.durable} of {last_index}"
        assert self.done <= self.issued, f"ticket {self.done} was never issued"
        assert (self._writes[0].ticket if self._writes else self.issued + 1) == self.done + 1, "a write is missing"
        assert not self.ballot or self.done < self.ballot <= self.issued, f"ballot {self.ballot}, done {self.done}"
        assert self.ballot or not self._withheld, "a message waits for nothing"
        assert self.ballot or not self.ballot_due, "a ballot waits for nothing"
        assert len(self._withheld) <= MAX_WITHHELD, f"{len(self._withheld)} messages wait"
        if self._writes:
            assert max(self.durable, self._writes[-1].last) <= last_index, "more is to be durable than there is"
