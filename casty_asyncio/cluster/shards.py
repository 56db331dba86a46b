"""The shards that are open on this node, and what is done in them."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from casty_proto.cluster.handover import is_entity
from casty_proto.cluster.records import RegionKind
from casty_proto.shard.hashing import shard_of

from .names import SINGLETON_ID

if TYPE_CHECKING:
    from ..refs import LocalRef
    from .entities import Entity
    from .recipes import Recipe


class Life(Enum):
    """What is done in a shard."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    HALTED = "halted"
    DROPPED = "dropped"


class HostedRegion:
    """One type, or one singleton, whose entities can be here."""

    __slots__ = ("guardian", "name", "path", "recipe")

    def __init__(self, recipe: Recipe, guardian: LocalRef[Any]) -> None:
        self.name = recipe.name
        self.recipe = recipe
        self.guardian = guardian
        """The parent of its entities."""
        self.path = guardian.path

    def has(self, entity: str, shard: int) -> bool:
        """Whether there can be such an entity in a shard."""
        if self.recipe.kind is RegionKind.SINGLETON:
            return entity == SINGLETON_ID
        return is_entity(entity) and shard_of(entity, self.recipe.settings.num_shards) == shard


class Shard:
    """One shard that was opened here."""

    __slots__ = (
        "comes_back",
        "entities",
        "epoch",
        "hands_ahead",
        "is_impatient",
        "leaves_nothing",
        "life",
        "number",
        "region",
        "saving",
        "states",
        "stopped",
        "unpacked",
    )

    def __init__(self, region: HostedRegion, number: int, epoch: int, states: dict[str, bytes]) -> None:
        self.region = region
        self.number = number
        self.epoch = epoch
        self.life = Life.OPEN
        self.leaves_nothing = not region.recipe.is_kept and not region.recipe.rests
        """Whether nobody has to be told that a handler has ended for which nobody waits."""
        self.hands_ahead = self.leaves_nothing and region.recipe.mailbox.capacity is None
        """Whether what nobody waits for goes to the mailboxes at once, and not one message at a time."""
        self.entities: dict[str, Entity] = {}
        self.states = states
        """Of the entities that have not been needed here yet."""
        self.saving = 0
        """How many states are under way."""
        self.is_impatient = False
        """Whether it waits no longer to be closed."""
        self.comes_back = False
        """Whether its entities are there without having been asked for."""
        self.stopped: dict[str, None] = {}
        """The names of those that are to come back when the shard is resumed."""
        self.unpacked: deque[str] | None = None
        """The names of those whose states the node has not got yet; `None` while it is not being closed."""
