"""The replication of one node: the shards that it owns, and the copies that it holds for others.

Theory of operation
-------------------
`Primary` and `Backup` know nothing of each other. This machine has one of each, and does three things that only who has
both can do:

1.  What they send to their own node does not leave it. A new owner asks its own copies like those of anybody else.
2.  What the primary had when it lost a shard (`Keep`) becomes a copy of the backup.
3.  A message of a later owner is a later owner, whatever it says. The primary gives up the shard before the backup
    reads the message. Otherwise this story: an owner has not heard yet that it is one no more. The new one asks for
    copies, and gets an answer from the backup of this node, which has none. A moment later the primary gives up, and
    the state that was acknowledged last becomes a copy that nobody asks for.
"""

from __future__ import annotations

from collections import deque
from random import Random

from ..machine import Instant
from .backup import Backup
from .door import is_to_copy, to_copy
from .events import (
    BackupEffect,
    Began,
    Disown,
    Ended,
    Keep,
    Overtaken,
    PrimaryEffect,
    Received,
    ReplicaEffect,
    ReplicaEvent,
    Send,
)
from .options import ReplicaOptions
from .primary import Primary


class Replica:
    """Both ends of replication, on the node whose key is `node`.

    `rng` draws the number by which this process is told from others of the same node. Without `options` the defaults
    hold.
    """

    __slots__ = ("_backup", "_node", "_primary")

    def __init__(self, node: str, rng: Random, options: ReplicaOptions | None = None) -> None:
        self._node = node
        self._primary = Primary(node, options)
        self._backup = Backup(rng, options)

    def handle(self, event: ReplicaEvent, now: Instant) -> tuple[ReplicaEffect, ...]:
        """Apply one event and return all of its effects, in order; see `casty_proto.machine`."""
        out: list[ReplicaEffect] = []
        if type(event) is Received and is_to_copy(event.message):
            self._to_backup(event, now, out)
        elif isinstance(event, Began):
            self._backup.handle(event, now)
        elif isinstance(event, Ended):
            self._on_ended(event, now, out)
        else:
            self._settle(self._primary.handle(event, now), now, out)
        return tuple(out)

    def deadline(self) -> Instant | None:
        """When the machine wants `Wake`, or `None`."""
        return self._primary.deadline()

    def state_of(self, region: str, shard: int, entity: str) -> bytes | None:
        """The state of an entity of a shard that is owned here; `None` where it has none."""
        return self._primary.state_of(region, shard, entity)

    def is_safe(self, region: str, shard: int, entity: str) -> bool:
        """Whether the state of an entity of a shard that is owned here would not be lost with this node alone."""
        return self._primary.is_safe(region, shard, entity)

    def gaps(self, region: str, shard: int) -> tuple[str, ...]:
        """The backups of a shard owned here that have no complete copy."""
        return self._primary.gaps(region, shard)

    def complete(self, region: str, shard: int) -> tuple[str, ...]:
        """The backups of a shard owned here that have a complete copy."""
        return self._primary.complete(region, shard)

    def lacks(self, region: str, shard: int) -> int:
        """How many backups a shard that is owned here lacks for its writes to be acknowledged."""
        return self._primary.lacks(region, shard)

    def copies(self) -> tuple[tuple[str, int], ...]:
        """The shards of which this node holds something for others."""
        return self._backup.copies()

    def _on_ended(self, event: Ended, now: Instant, out: list[ReplicaEffect]) -> None:
        """Whatever is still owned becomes a copy, and then all copies go (rule 26)."""
        for region, shard in self._primary.shards_of(event.region, event.below):
            self._settle(self._primary.handle(Disown(region, shard), now), now, out)
        self._backup.handle(event, now)

    def _to_backup(self, event: Received, now: Instant, out: list[ReplicaEffect]) -> None:
        message = to_copy(event.message)
        if not isinstance(message, str) and event.peer != self._node:
            overtaken = Overtaken(message.region, message.shard, message.epoch)
            self._settle(self._primary.handle(overtaken, now), now, out)
        self._settle(self._backup.handle(event, now), now, out)

    def _settle(
        self, effects: tuple[PrimaryEffect, ...] | tuple[BackupEffect, ...], now: Instant, out: list[ReplicaEffect]
    ) -> None:
        """Carry out what stays on this node, and whatever follows from it, in order."""
        pending: deque[PrimaryEffect] = deque(effects)
        while pending:
            effect = pending.popleft()
            if isinstance(effect, Keep):
                self._backup.handle(effect, now)
            elif isinstance(effect, Send) and effect.to == self._node:
                event = Received(self._node, effect.message)
                machine = self._backup if is_to_copy(effect.message) else self._primary
                pending.extendleft(reversed(machine.handle(event, now)))
            else:
                out.append(effect)

    def invariants(self) -> None:
        """Assert what holds between two calls."""
        self._primary.invariants()
        self._backup.invariants()
