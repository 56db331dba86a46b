"""What is under way to one node, over all shards, and what waits for it.

Theory of operation
-------------------
A peer has two queues of keys: an entity of a shard, or one of the two messages that are about the shard as a whole. A
queue holds names, not states. A message is made when its turn comes, of what the entity's state is then; so a backlog
has the newest state only, and a retransmission too.

    fresh  --\
              >--- window ---> under way --- answered ---> forgotten
    bulk  ---/                     |
        (half of the window)       +--- silence ---> sent again

What was just written goes first. Bringing a copy up to date has half of the window, so that it never holds up writes
that somebody waits for.

A message that gets no answer is sent again. Once that was in vain, only one message at a time is sent, less and less
often, until the node is heard of: a dead node costs no more than that, however many shards it had copies of.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from attrs import define

from ..machine import Instant
from .options import ReplicaOptions

SILENT = 3
"""So many vain retransmissions make a node silent. It gets whole states when it is back: no bases are kept for it."""


class Control(Enum):
    """The messages that are about a whole shard."""

    WHOLE = "complete"
    DROP = "drop"


type Key = tuple[str, int, str | Control]
"""Region, shard, and the entity."""


@define
class Flight:
    """A message that was sent and not answered."""

    sent_at: Instant
    size: int
    sequence: int


class Peer:
    """One node that is sent something. The fields are for reading."""

    __slots__ = ("attempt", "bulk", "flying", "fresh", "size")

    def __init__(self) -> None:
        self.fresh: OrderedDict[Key, None] = OrderedDict()
        self.bulk: OrderedDict[Key, None] = OrderedDict()
        self.flying: OrderedDict[Key, Flight] = OrderedDict()
        self.size = 0
        """Bytes under way."""
        self.attempt = 0
        """Vain retransmissions since the node was last heard of."""

    def add(self, key: Key, *, bulk: bool = False) -> None:
        """Let it wait for its turn. What is under way does not wait too: it is looked at when it is answered."""
        if key in self.flying or key in self.fresh:
            return
        if bulk:
            self.bulk[key] = None
        else:
            self.bulk.pop(key, None)
            self.fresh[key] = None

    def next(self, options: ReplicaOptions) -> Key | None:
        """Take the next one, if there is room for it."""
        count = len(self.flying)
        if count and self.attempt > 1:
            return None
        if self.fresh:
            if count < options.window_messages and self.size < options.window_bytes:
                return self.fresh.popitem(last=False)[0]
            return None
        if self.bulk and count < options.window_messages // 2 and 2 * self.size < options.window_bytes:
            return self.bulk.popitem(last=False)[0]
        return None

    def launch(self, key: Key, flight: Flight) -> None:
        """It was sent."""
        self.flying[key] = flight
        self.size += flight.size

    def land(self, key: Key) -> None:
        """It was answered, or is not needed any more."""
        flight = self.flying.pop(key, None)
        if flight is not None:
            self.size -= flight.size

    def cancel(self, key: Key) -> None:
        """Forget it, wherever it is."""
        self.land(key)
        self.fresh.pop(key, None)
        self.bulk.pop(key, None)

    def forget(self, region: str, shard: int) -> None:
        """Forget everything about a shard."""
        for key in [*self.flying, *self.fresh, *self.bulk]:
            if key[1] == shard and key[0] == region:
                self.cancel(key)

    def take_back(self, now: Instant, options: ReplicaOptions) -> None:
        """The time of a retransmission has come: what is overdue waits for its turn again.

        At first that is in front. Later it is at the end, so that no message holds up all others.
        """
        limit = now if self.attempt else now - options.retry_ns
        overdue = [key for key, flight in self.flying.items() if flight.sent_at <= limit]
        for key in overdue if self.attempt else reversed(overdue):
            self.land(key)
            self.fresh[key] = None
            if not self.attempt:
                self.fresh.move_to_end(key, last=False)
        self.attempt += 1

    @property
    def oldest(self) -> Instant:
        """When the message was sent that is under way for longest. There is one."""
        return next(iter(self.flying.values())).sent_at

    @property
    def is_silent(self) -> bool:
        return self.attempt >= SILENT

    @property
    def is_idle(self) -> bool:
        return not (self.flying or self.fresh or self.bulk)

    def invariants(self, options: ReplicaOptions) -> None:
        """Assert what holds between two calls."""
        assert not self.is_idle, "a peer to whom nothing is said"
        assert self.size == sum(flight.size for flight in self.flying.values())
        assert len(self.flying) <= options.window_messages, "too many messages are under way"
        last = max((flight.size for flight in self.flying.values()), default=0)
        assert self.size < options.window_bytes + max(last, 1), "too many bytes are under way"
        for key in self.fresh:
            assert key not in self.flying
            assert key not in self.bulk
        for key in self.bulk:
            assert key not in self.flying
        assert self.flying, "something waits, and nothing is under way"
