"""Writes that enough backups have, while the node that owns the shard has no lease.

A lease may be late, on a busy machine or while a leader is elected, and nobody takes the shard for that alone. If the
node gets another one in time, it has been the owner all the while, and the write is acknowledged as if nothing had
been. Without a lease it cannot know whether somebody else is the owner by now.
"""

from __future__ import annotations

from typing import Any

from ..machine import Instant, Nanoseconds
from ..shard.steward import Spot


class Holding:
    """Who waits for a lease, by shard, in the order in which they came."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[Spot, list[tuple[Instant, Any]]] = {}

    def hold(self, spot: Spot, request: Any, now: Instant, timeout_ns: Nanoseconds) -> None:
        """Let a request wait, for so long at most."""
        self._held.setdefault(spot, []).append((now + timeout_ns, request))

    def release(self) -> list[Any]:
        """All of them: there is a lease."""
        return [request for spot in list(self._held) for request in self.lose(spot)]

    def lose(self, spot: Spot) -> list[Any]:
        """Those of one shard, which is not owned any more."""
        return [request for _, request in self._held.pop(spot, ())]

    def due(self, now: Instant) -> list[Any]:
        """Those who have waited long enough."""
        due: list[Any] = []
        for spot, held in list(self._held.items()):
            due += [request for until, request in held if until <= now]
            self._held[spot] = [(until, request) for until, request in held if until > now]
            if not self._held[spot]:
                del self._held[spot]
        return due

    def deadline(self) -> Instant | None:
        """When `due` has something."""
        return min([until for held in self._held.values() for until, _ in held], default=None)

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        assert all(self._held.values()), "a shard for which nobody waits"
