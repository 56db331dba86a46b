"""What `Behaviors.sharded` and `Behaviors.singleton` make: to be spawned on a node of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from casty_proto.actor import Behavior, Mailbox

from ..supervision import SupervisorConfig
from .options import NUM_SHARDS


@frozen
class ShardedBehavior[M]:
    """A type of entities; `factory(entity_id)` makes the behavior of one."""

    factory: Callable[[str], Behavior[M]]
    num_shards: int = NUM_SHARDS
    idle_timeout: float | None = None
    role: str | None = None
    mailbox: Mailbox | None = None
    supervision: SupervisorConfig | None = None


@frozen
class BroadcastBehavior[M]:
    """An actor that is on every node that has spawned it, behind one ref."""

    behavior: Behavior[M]


@frozen
class SingletonBehavior[M]:
    """One actor in the whole cluster; `factory()` makes its behavior where it lives."""

    factory: Callable[[], Behavior[M]]
    role: str | None = None
    mailbox: Mailbox | None = None
    supervision: SupervisorConfig | None = None

    @property
    def idle_timeout(self) -> Any:
        """It never goes to sleep."""
        return None
