"""Whom to probe next. SWIM 4.3

Theory of operation
-------------------
A list of members is gone through from its beginning to its end and then put into a new random order. A newcomer gets
a random place. So everybody is probed once in every round, and between two probes of one member by another there are
at most 2(n - 1) - 1 periods, when it came first in one round and comes last in the next. Choosing at random instead
would leave some member unprobed for any length of time.

A newcomer whose place is among those who had their turn waits for the next round, and nobody's turn is repeated or
skipped for it.

A member that is urgent, because its connection broke, is probed ahead of its turn, and still has its turn. Only every
second probe may be such a one, or a member whose connections break all the time would keep all others from being
probed.
"""

from __future__ import annotations

from random import Random

from .pool import shuffle


class Rotation:
    """The order in which the other members are probed."""

    __slots__ = ("_next", "_order", "_rng", "_urgent", "_was_urgent")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._order: list[str] = []
        self._next = 0
        self._urgent: dict[str, None] = {}
        self._was_urgent = False

    def __len__(self) -> int:
        return len(self._order)

    def add(self, node_id: str) -> None:
        """Give a newcomer a random place."""
        assert node_id not in self._order, node_id
        place = int(self._rng.random() * (len(self._order) + 1))
        self._order.insert(place, node_id)
        if place < self._next:
            self._next += 1

    def remove(self, node_id: str) -> None:
        """Forget one who is in the rotation."""
        place = self._order.index(node_id)
        del self._order[place]
        if place < self._next:
            self._next -= 1
        self._urgent.pop(node_id, None)

    def hurry(self, node_id: str) -> None:
        """Let one who is in the rotation be probed ahead of its turn."""
        self._urgent[node_id] = None

    def next(self) -> str | None:
        """Whose turn it is. `None` where there is nobody."""
        if not self._order:
            return None
        self._was_urgent = bool(self._urgent) and not self._was_urgent
        if self._was_urgent:
            node_id = next(iter(self._urgent))
            del self._urgent[node_id]
            return node_id
        if self._next >= len(self._order):
            shuffle(self._rng, self._order)
            self._next = 0
        self._next += 1
        return self._order[self._next - 1]

    def invariants(self, members: int) -> None:
        """Everybody is in the order once."""
        assert 0 <= self._next <= len(self._order) == len(dict.fromkeys(self._order)) == members
        assert len(self._urgent) <= members
