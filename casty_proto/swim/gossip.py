"""Which updates go out next. SWIM 4.1

Theory of operation
-------------------
Updates spread like a rumour: each member puts what it has learned into the messages that it sends anyway, and into
some that it sends for the purpose. Each update is passed on by each member `lambda log n` times, which is enough for
it to reach everybody with overwhelming probability, and no more, so the load does not grow with what is said.

A message has room for some of the updates only. Those that were passed on least come first, so that a fresh one
spreads at once and a burst does not starve anyone; among these the larger ones first, since small ones find a place
anyhow; then the newer.

There is one update per member, the newest: what it replaces is no news any more. So the queue is never longer than the
membership.

The order is kept in a sorted list. Skipping what does not fit is a binary search within those that were passed on
equally often, so filling a message costs the logarithm of the queue for each update that it takes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise

from .messages import Update

type _Key = tuple[int, int, int, str]
"""Times passed on, minus the size, minus the serial number, and whom it is about."""


class Rumours:
    """The updates that are still to be passed on."""

    __slots__ = ("_keys", "_order", "_serial", "_updates")

    def __init__(self) -> None:
        self._order: list[_Key] = []
        self._keys: dict[str, _Key] = {}
        self._updates: dict[str, Update] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._keys

    def put(self, update: Update, size: int) -> None:
        """Pass this on from now on, in place of anything else about the same member. `size` is what it costs."""
        node_id = update.identity.node_id
        self.drop(node_id)
        self._serial += 1
        self._keys[node_id] = key = (0, -size, -self._serial, node_id)
        insort(self._order, key)
        self._updates[node_id] = update

    def drop(self, node_id: str) -> None:
        """Pass nothing on about this member any more."""
        key = self._keys.pop(node_id, None)
        if key is not None:
            del self._order[bisect_left(self._order, key)]
            del self._updates[node_id]

    def take(self, room: int, limit: int, skip: Sequence[str] = ()) -> list[Update]:
        """The next updates to pass on, of the total size `room` at most, and each at most `limit` times in all.

        Updates about those of `skip` are left for another message.
        """
        order = self._order
        picked: list[_Key] = []
        at = 0
        while at < len(order) and order[at][0] < limit:
            times, minus_size, _, node_id = key = order[at]
            if -minus_size > room:
                at = bisect_left(order, (times, -room, -self._serial, ""), at)
                continue
            if node_id not in skip:
                picked.append(key)
                room += minus_size
            at += 1
        return [self._sent(key, limit) for key in picked]

    def _sent(self, key: _Key, limit: int) -> Update:
        times, minus_size, serial, node_id = key
        update = self._updates[node_id]
        if times + 1 >= limit:
            self.drop(node_id)
            return update
        del self._order[bisect_left(self._order, key)]
        self._keys[node_id] = key = (times + 1, minus_size, serial, node_id)
        insort(self._order, key)
        return update

    def expire(self, limit: int) -> None:
        """Drop what was passed on `limit` times. The limit falls when the cluster shrinks."""
        order = self._order
        while order and order[-1][0] >= limit:
            self.drop(order[-1][3])

    def invariants(self) -> None:
        """The order is sorted, and everything is in it once."""
        order = self._order
        assert len(order) == len(self._keys) == len(self._updates)
        assert all(first < second for first, second in pairwise(order))
        assert all(self._keys[key[3]] == key for key in order)
        assert all(update.identity.node_id == node_id for node_id, update in self._updates.items())
