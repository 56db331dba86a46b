"""What can be set for replication: by region, and by node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import Attribute, field, frozen

from ..machine import MILLISECOND, SECOND, Nanoseconds, shown

ALL = -1
"""The `sync_count` that stands for all current backups."""


def _whole(low: int) -> Callable[[Any, Attribute[Any], Any], None]:
    def validate(_: Any, attribute: Attribute[Any], number: Any) -> None:
        if type(number) is not int:
            raise TypeError(f"{attribute.name} must be a whole number, not {shown(number)}")
        if number < low:
            raise ValueError(f"{attribute.name} must be at least {low}, not {shown(number)}")

    return validate


@frozen
class ReplicaSettings:
    """How the writes of one region are acknowledged. Raises `TypeError` or `ValueError` for what makes no sense."""

    sync_count: int = field(default=0, validator=_whole(ALL))
    """How many backups besides the owner must have a write. 0: none is waited for. -1: all that there are."""
    timeout_ns: Nanoseconds = field(default=5 * SECOND, validator=_whole(1))
    """After that time a write that was not acknowledged fails; its outcome is unknown."""


@frozen
class ReplicaOptions:
    """How a node replicates. Nodes may differ. Raises `TypeError` or `ValueError` for what makes no sense."""

    window_bytes: int = field(default=1 << 20, validator=_whole(1))
    """The most bytes under way to one node, plus at most one message. Bringing a copy up to date takes half of it."""
    window_messages: int = field(default=256, validator=_whole(2))
    """The most messages under way to one node. Bringing a copy up to date takes half of it."""
    retry_ns: Nanoseconds = field(default=200 * MILLISECOND, validator=_whole(1))
    """When a message without an answer is sent again. It doubles while a node is silent."""
    retry_max_ns: Nanoseconds = field(default=2 * SECOND, validator=_whole(1))
    """The longest that it grows to."""
    recovery_grace_ns: Nanoseconds = field(default=100 * MILLISECOND, validator=_whole(0))
    """How long a new owner waits for those who are known to be down: their last words may be on their way."""
    page_entries: int = field(default=512, validator=_whole(1))
    """The most entities in one page, or in one pull."""
    page_bytes: int = field(default=1 << 18, validator=_whole(1))
    """The most bytes in one page, plus at most one name, or in one answer to a pull, where that is not one entity."""
    tombstones_max: int = field(default=256, validator=_whole(1))
    """How many deletions of a shard are remembered before they are cleared away."""
    waiting_max: int = field(default=100_000, validator=_whole(1))
    """How many writes may wait at one time. One more fails at once."""

    def retry(self, attempt: int) -> Nanoseconds:
        """How long to wait for an answer after `attempt` vain ones."""
        return min(self.retry_ns << min(attempt, 30), max(self.retry_ns, self.retry_max_ns))
