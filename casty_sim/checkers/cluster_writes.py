"""What is watched of the operations that entities carry out.

1.  A handler begins at most once for each message, in the order of its sender. So the numbers of one sender rise, for
    each entity, over all nodes and for ever.
2.  What was said not to be handled is not handled later.
3.  What was acknowledged is in the state of its entity whenever the shard is opened again, as long as no more nodes
    were lost at once than the write survives.
4.  No state has an operation that no handler has ended, or one twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..world import Violation

if TYPE_CHECKING:
    from ..scenarios.cluster_ops import Op

type Spot = tuple[str, int]
SERIALS = 20
"""So many bits of the number of an operation count those of its sender."""


class Writes:
    """See the module."""

    def __init__(self, reach: Callable[[str], None]) -> None:
        self._reach = reach
        self._latest: dict[tuple[int, str], int] = {}
        """Of each sender and entity, the latest operation that a handler has begun with."""
        self._refused: dict[int, None] = {}
        self._begun: dict[int, None] = {}
        self.acknowledged_by: dict[Spot, dict[str, dict[int, None]]] = {}
        """By shard and entity."""
        self.excused: dict[Spot, None] = {}
        """Shards of which more was lost than writes survive."""

    def begins(self, op: Op) -> None:
        """A handler begins."""
        number = op.number
        if number in self._refused:
            raise Violation("not handled", f"{words(op)} is handled, although it was said that it would not be")
        way = (number >> SERIALS, op.entity)
        before = self._latest.get(way, 0)
        if number == before or number in self._begun:
            raise Violation("at most once", f"{words(op)} is handled again")
        if number < before:
            raise Violation("order", f"{words(op)} is handled after {before & (1 << SERIALS) - 1} of the same sender")
        self._latest[way] = number
        self._begun[number] = None

    def refused(self, number: int) -> None:
        """It was said that it is not handled."""
        if number in self._begun:
            raise Violation("not handled", f"{number} was handled, and it is said that it was not")
        self._refused[number] = None

    def acknowledged(self, spot: Spot, op: Op) -> None:
        """It was said to be durable."""
        self.acknowledged_by.setdefault(spot, {}).setdefault(op.entity, {})[op.number] = None

    def stands(self, number: int, where: str) -> None:
        """A state tells of this operation (rule 4)."""
        if number not in self._begun:
            raise Violation("not handled", f"{where}: there is {number}, which nobody has handled")

    def opened(self, spot: Spot, states: dict[str, list[int]], *, lost: str, where: str) -> None:
        """A shard of counters was opened with these states. `lost`: why that may be too little; empty if it may not."""
        for entity, state in states.items():
            known = dict.fromkeys(state)
            if len(known) != len(state):
                raise Violation("at most once", f"{where}: {entity} has an operation twice: {state}")
            for number in state:
                self.stands(number, f"{where}: {entity}")
        for entity, numbers in self.acknowledged_by.get(spot, {}).items():
            known = dict.fromkeys(states.get(entity, ()))
            missing = [number for number in numbers if number not in known]
            if missing and not lost:
                raise Violation(
                    "durability", f"{where}: {entity} lacks {missing}, acknowledged before; it has {len(known)} others"
                )
            for number in missing:
                del numbers[number]
        if lost:
            self.excused[spot] = None
            self._reach("more was lost than a write survives")


def words(op: Op) -> str:
    """An operation for people."""
    sender, serial = op.number >> SERIALS, op.number & (1 << SERIALS) - 1
    return f"operation {serial} of {sender >> 12}.{sender & 4095} on {op.entity}"
