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
4.  Of the messages of one type to one server only the newest waits. All of them may be lost anyhow, and each of these
    is answered or repeated by what follows; so the memory is bounded, however long the disk takes.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .configuration import NodeId
from .events import Send


class _Write:
    __slots__ = ("last", "ticket")

    def __init__(self, ticket: int, last: int) -> None:
        self.ticket = ticket
        self.last = last
        """Up to which index of the present log this makes durable; 0 for what is not about the log."""


class Journal:
    """Tickets, and what depends on them."""

    __slots__ = ("_withheld", "_writes", "ballot", "done", "durable", "issued")

    def __init__(self, durable: int) -> None:
        self.durable = durable
        self.issued = 0
        self.done = 0
        self.ballot = 0
        """The ticket of the ballot that is not durable, or 0."""
        self._writes: deque[_Write] = deque()
        self._withheld: dict[tuple[NodeId, type[Any]], tuple[int, Send]] = {}

    def write(self, last: int = 0) -> int:
        """The ticket of one more write. `last`: the index up to which it makes the log durable."""
        self.issued = ticket = self.issued + 1
        self._writes.append(_Write(ticket, last))
        return ticket

    def write_ballot(self) -> int:
        """The ticket of a ballot. The messages that are withheld from now on wait for it."""
        self.ballot = ticket = self.write()
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
        self._withheld.pop(key, None)
        self._withheld[key] = (self.ballot, send)

    def forget_withheld(self) -> None:
        """The term changed: what names the old one is rubbish to everybody."""
        self._withheld.clear()

    def settle(self, ticket: int) -> list[Send]:
        """`ticket` is durable. Returns what waited for it."""
        self.done = ticket
        writes = self._writes
        while writes and writes[0].ticket <= ticket:
            self.durable = max(self.durable, writes.popleft().last)
        if self.ballot <= ticket:
            self.ballot = 0
        withheld = self._withheld
        if not withheld:
            return []
        released = [(key, send) for key, (needed, send) in withheld.items() if needed <= ticket]
        for key, _ in released:
            del withheld[key]
        return [send for _, send in released]

    def invariants(self, last_index: int) -> None:
        """What holds between two events."""
        assert self.durable <= last_index, f"durable {self.durable} of {last_index}"
        assert self.done <= self.issued, f"ticket {self.done} was never issued"
        assert (self._writes[0].ticket if self._writes else self.issued + 1) == self.done + 1, "a write is missing"
        assert not self.ballot or self.done < self.ballot <= self.issued, f"ballot {self.ballot}, done {self.done}"
        assert self.ballot or not self._withheld, "a message waits for nothing"
        if self._writes:
            assert max(self.durable, self._writes[-1].last) <= last_index, "more is to be durable than there is"
