"""The writes of an owner that wait for acknowledgements, and those who wait for a complete copy.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from typing import Any

from attrs import define

from ..machine import Instant, seconds
from ..timers import Deadlines
from .events import Durable, Failed, PrimaryEffect
from .options import ReplicaOptions
from .owned import Owned
from .sending import WRITE, Due, ShardKey

type _Out = list[PrimaryEffect]


@define
class _Wait:
    """Somebody who waits for an entity to be durable, or, where there is no entity, for a copy to be complete."""

    key: ShardKey
    entity: str | None
    request: Any


class Waits:
    """Everybody who waits, over all shards of one node."""

    __slots__ = ("_deadlines", "_number", "_options", "_shards", "_waits")

    def __init__(self, shards: dict[ShardKey, Owned], deadlines: Deadlines[Due], options: ReplicaOptions) -> None:
        self._shards = shards
        self._deadlines = deadlines
        self._options = options
        self._waits: dict[int, _Wait] = {}
        self._number = 0

    def begin(self, owned: Owned, entity: str, request: Any, now: Instant, out: _Out) -> None:
        """Answer as soon as the present version of the entity is durable, which it may be already."""
        record = owned.records[entity]
        sequence = record.version[1]
        if owned.acknowledged(entity, sequence) >= owned.required:
            out.append(Durable(request))
            return
        if len(self._waits) >= self._options.waiting_max:
            out.append(Failed(request, f"{len(self._waits)} writes wait already; it may become durable later"))
            return
        record.waiting[self._wait(owned, entity, request, now)] = sequence
        owned.waiting[entity] = None

    def _wait(self, owned: Owned, entity: str | None, request: Any, now: Instant) -> int:
        self._number += 1
        self._waits[self._number] = _Wait((owned.region, owned.shard), entity, request)
        self._deadlines.set((WRITE, self._number), now + owned.settings.timeout_ns)
        return self._number

    def _end(self, number: int) -> Any:
        self._deadlines.cancel((WRITE, number))
        return self._waits.pop(number).request

    def settle(self, owned: Owned, entity: str, out: _Out) -> None:
        """Answer those whose version is durable now. The acknowledgement of a newer one is good for all (rule 5)."""
        record = owned.records[entity]
        for number, sequence in list(record.waiting.items()):
            if owned.acknowledged(entity, sequence) < owned.required:
                return
            del record.waiting[number]
            out.append(Durable(self._end(number)))
        owned.waiting.pop(entity, None)

    def on_write_due(self, number: int, out: _Out) -> None:
        """Nobody waits for ever (rule 6)."""
        wait = self._waits.pop(number)
        owned, name = self._shards[wait.key], f"{wait.key[0]}/{wait.key[1]}"
        after = f"after {seconds(owned.settings.timeout_ns)} s"
        if wait.entity is None:
            backup = owned.flushes.pop(number)
            out.append(Failed(wait.request, f"{name}: {backup} has no complete copy {after}"))
            return
        record = owned.records[wait.entity]
        has = owned.acknowledged(wait.entity, record.waiting.pop(number))
        if not record.waiting:
            del owned.waiting[wait.entity]
        reason = f"{name}/{wait.entity}: {has} of {owned.required} backups have the write {after}"
        if len(owned.links) < owned.required:
            reason += f", and there are {len(owned.links)} nodes that can be backups"
        out.append(Failed(wait.request, f"{reason}; it may become durable later"))

    def fail_all(self, owned: Owned, reason: str, out: _Out) -> None:
        """The shard is lost."""
        for entity in owned.waiting:
            record = owned.records[entity]
            for number in record.waiting:
                out.append(Failed(self._end(number), reason))
            record.waiting = {}
        for number in owned.flushes:
            out.append(Failed(self._end(number), reason))
        owned.waiting, owned.flushes = {}, {}

    # Complete copies ------------------------------------------------------------------------------------------------

    def begin_flush(self, owned: Owned, backup: str, request: Any, now: Instant) -> None:
        """Answer when the backup is complete."""
        owned.flushes[self._wait(owned, None, request, now)] = backup

    def settle_flush(self, owned: Owned, backup: str, out: _Out) -> None:
        """The backup is complete."""
        for number, node in list(owned.flushes.items()):
            if node == backup:
                del owned.flushes[number]
                out.append(Durable(self._end(number)))

    def fail_flush(self, owned: Owned, backup: str, reason: str, out: _Out) -> None:
        """The backup will not be complete."""
        for number, node in list(owned.flushes.items()):
            if node == backup:
                del owned.flushes[number]
                out.append(Failed(self._end(number), reason))

    def invariants(self) -> None:
        """Each one waits in one place, and not for ever."""
        assert len(self._waits) <= self._options.waiting_max + sum(len(o.flushes) for o in self._shards.values())
        numbers = [number for owned in self._shards.values() for number in owned.flushes]
        for owned in self._shards.values():
            numbers += [number for entity in owned.waiting for number in owned.records[entity].waiting]
        assert sorted(numbers) == sorted(self._waits)
        assert all((WRITE, number) in self._deadlines for number in numbers)
