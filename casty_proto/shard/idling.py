"""Entities that nobody needs at the moment go to sleep: their states stay, and what else they take up is free.

Rules
-----
 1. An entity is idle when `timeout_ns` have passed since it handled a message last.
 2. Idle entities are asked to rest, at most `BATCH` at a time; who is asked and is busy all the same handles on.
 3. An entity that could not rest, because its state is not safe yet, is asked again after the same time, but not at
    once.
 4. What is known of a shard ends with it.
"""

from __future__ import annotations

from ..machine import Instant, Nanoseconds
from ..timers import Deadlines
from .steward import Spot

BATCH = 256

type Sleeper = tuple[Spot, str]


class Idling:
    """The entities of a node that have handled something, and when they are idle."""

    __slots__ = ("_deadlines", "_spots")

    def __init__(self) -> None:
        self._deadlines: Deadlines[Sleeper] = Deadlines()
        self._spots: dict[Spot, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._deadlines)

    def touched(self, spot: Spot, entity: str, timeout_ns: Nanoseconds, now: Instant) -> None:
        """An entity has handled a message."""
        self._spots.setdefault(spot, {})[entity] = None
        self._deadlines.set((spot, entity), now + timeout_ns)

    def rested(self, spot: Spot, entity: str) -> None:
        """An entity rests, or is no more."""
        entities = self._spots.get(spot)
        if entities is None or entity not in entities:
            return
        del entities[entity]
        if not entities:
            del self._spots[spot]
        self._deadlines.cancel((spot, entity))

    def closed(self, spot: Spot) -> None:
        """Rule 4."""
        for entity in self._spots.pop(spot, {}):
            self._deadlines.cancel((spot, entity))

    def due(self, now: Instant) -> tuple[Sleeper, ...]:
        """Who is to rest now. They are forgotten; `touched` begins anew (rules 2 and 3)."""
        found: list[Sleeper] = []
        for sleeper in self._deadlines.due(now):
            spot, entity = sleeper
            entities = self._spots[spot]
            del entities[entity]
            if not entities:
                del self._spots[spot]
            found.append(sleeper)
            if len(found) == BATCH:
                break
        return tuple(found)

    def deadline(self) -> Instant | None:
        """When somebody is idle."""
        return self._deadlines.earliest()

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        self._deadlines.invariants()
        assert sum(map(len, self._spots.values())) == len(self._deadlines), "an entity is known by half"
        assert all(self._spots.values()), "a shard without entities is known"
