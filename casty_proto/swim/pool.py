"""Node ids to draw from: in constant time, and in an order that follows from the events alone."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


class Pool:
    """An unordered collection of node ids that can be drawn by number.

    Each knows its place in a list. One that goes is replaced in its place by the last, so that nothing moves up.
    """

    __slots__ = ("_items", "_places")

    def __init__(self) -> None:
        self._items: list[str] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._places

    def __getitem__(self, place: int) -> str:
        return self._items[place]

    def add(self, node_id: str) -> None:
        """Add one. Harmless when it is there."""
        if node_id not in self._places:
            self._places[node_id] = len(self._items)
            self._items.append(node_id)

    def discard(self, node_id: str) -> None:
        """Take one out. Harmless when it is not there."""
        place = self._places.pop(node_id, None)
        if place is None:
            return
        last = self._items.pop()
        if last != node_id:
            self._items[place] = last
            self._places[last] = place

    def invariants(self) -> None:
        """Everyone is in its place."""
        assert len(self._items) == len(self._places)
        assert all(self._items[place] == node_id for node_id, place in self._places.items())


def draw(rng: Random, count: int, *pools: Pool, but: Sequence[str] = ()) -> list[str]:
    """Up to `count` different node ids from all pools together, each as likely as any other, without those of `but`.

    No node id is in two of the pools. Costs as much as is drawn, however large the pools are.
    """
    groups = [pool._items for pool in pools if pool._items]
    total = sum(map(len, groups))
    wanted = min(total, count + len(but))
    moved: dict[int, int] = {}
    drawn: list[str] = []
    for done in range(wanted):
        # The first steps of a shuffle of range(total), of which only the places that were touched are written down.
        picked = done + int(rng.random() * (total - done))
        drawn.append(_at(groups, moved.get(picked, picked)))
        moved[picked] = moved.get(done, done)
    return [node_id for node_id in drawn if node_id not in but][:count] if but else drawn


def _at(groups: list[list[str]], place: int) -> str:
    for group in groups:
        if place < len(group):
            return group[place]
        place -= len(group)
    raise AssertionError(place)


def shuffle(rng: Random, items: list[str]) -> None:
    """Put `items` into a random order, the same one in every version of Python."""
    for place in range(len(items) - 1, 0, -1):
        other = int(rng.random() * (place + 1))
        items[place], items[other] = items[other], items[place]
