"""What the control state consists of: members, the settings of regions, and names. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from attrs import Attribute, field, fields, frozen
from attrs.validators import deep_iterable, optional

from ..machine import SECOND, Nanoseconds
from ..shard.leases import in_range
from ..shard.plan import DEFAULT_NUM_SHARDS, REPLICAS_MAX, WEIGHT_MAX
from ..shard.ring import NUM_SHARDS_MAX
from . import checks
from .checks import NodeKey, node_key

TIMEOUT_MAX: Nanoseconds = 86_400 * SECOND
IDLE_TIMEOUT_MAX: Nanoseconds = 2**62


class Status(IntEnum):
    """Where a member is in its life. The values are those in snapshots."""

    UP = 1
    LEAVING = 2
    """It wants to go: it is given nothing, and what it owns moves away."""
    DOWN = 3
    """SWIM holds it to be dead. It counts for durability until it is back, replaced, or forgotten."""


class RegionKind(IntEnum):
    """What lives in a region. The values are those in snapshots and commands."""

    ENTITIES = 1
    SINGLETON = 2
    """One actor, in one shard."""


def _sorted(roles: Iterable[str]) -> tuple[str, ...]:
    if isinstance(roles, str):
        raise TypeError(f"roles are several texts, not the one text {roles!r}")
    return tuple(sorted(dict.fromkeys(roles)))


def _few(_: object, attribute: Attribute[Any], roles: tuple[str, ...]) -> None:
    if len(roles) > checks.ROLES_MAX:
        raise ValueError(f"{attribute.name} must be at most {checks.ROLES_MAX}, not {len(roles)}")


@frozen
class NodeInfo:
    """What a node says of itself. Raises `ValueError` or `TypeError` unless all parts are good."""

    node_id: str = field(validator=checks.text(checks.NODE_ID_MAX))
    generation: int = field(validator=checks.natural)
    address: str = field(validator=checks.text(checks.ADDRESS_MAX))
    """Where the others reach it. Not looked into."""
    roles: tuple[str, ...] = field(
        default=(), converter=_sorted, validator=[_few, deep_iterable(checks.text(checks.ROLE_MAX))]
    )
    """Sorted, each of them once."""
    weight: int = field(default=1, validator=in_range(1, WEIGHT_MAX))
    """How much it owns in proportion to the others, from 1 to 64."""
    payload: bytes = field(default=b"", validator=checks.data(checks.PAYLOAD_MAX))
    """Whatever else it wants to be known. Not looked into."""

    @property
    def key(self) -> NodeKey:
        """Its name as a member."""
        return node_key(self.node_id, self.generation)


@frozen
class MemberInfo:
    """A member, as it was applied: up, leaving or down, as `status` says.

    Raises `ValueError` or `TypeError` unless all parts are good.
    """

    node: NodeInfo = field(validator=checks.exactly(NodeInfo))
    status: Status = field(validator=checks.exactly(Status))
    joined: int = field(validator=checks.place)
    """The index of its `Join`."""
    since: int = field(validator=checks.place)
    """The index of the last command that changed anything of it. Commands about it name this one."""
    started: int = field(default=0, validator=checks.natural)
    """The index at which it said that its process had started again; 0 where it never did."""

    @property
    def began(self) -> int:
        """The index from which on its process has been there: it has nothing in memory from before."""
        return max(self.joined, self.started)

    @property
    def key(self) -> NodeKey:
        """Its name as a member."""
        return self.node.key

    def has_role(self, role: str | None) -> bool:
        """Whether it may hold what requires this role; `None` requires nothing."""
        return role is None or role in self.node.roles


@frozen
class RegionSettings:
    """What all nodes must agree on about a region. Raises `ValueError` or `TypeError` for what makes no sense."""

    num_shards: int = field(default=DEFAULT_NUM_SHARDS, validator=in_range(1, NUM_SHARDS_MAX))
    """How many shards the region has, from 1 to 65536. It never changes."""
    role: str | None = field(default=None, validator=optional(checks.text(checks.ROLE_MAX)))
    """Only members with this role hold anything of it."""
    factor: int = field(default=1, validator=in_range(1, REPLICAS_MAX))
    """How many copies there are, the owner's included."""
    sync_count: int = field(default=0, validator=in_range(-1, REPLICAS_MAX - 1))
    """How many backups must have a write before it is acknowledged; -1 for all that there are."""
    timeout_ns: Nanoseconds = field(default=5 * SECOND, validator=in_range(1, TIMEOUT_MAX))
    """How long a write waits for them."""
    idle_timeout_ns: Nanoseconds | None = field(default=None, validator=optional(in_range(1, IDLE_TIMEOUT_MAX)))
    """After what time without a message an entity goes to sleep; `None` for never."""
    remember: bool = field(default=False, validator=checks.exactly(bool))
    """Whether entities come back unprompted after a failure."""
    hosted: bool = field(default=False, validator=checks.exactly(bool))
    """Whether only members that have registered it themselves hold anything of it: those whose program has it."""

    def __attrs_post_init__(self) -> None:
        if self.sync_count >= self.factor:
            raise ValueError(f"sync_count {self.sync_count} must be less than factor {self.factor}, the owner counts")

    def what_differs(self, other: RegionSettings) -> str | None:
        """The first setting in which the two differ, and both values, for people; `None` where they are equal."""
        for each in fields(RegionSettings):
            mine, its = getattr(self, each.name), getattr(other, each.name)
            if mine != its:
                return f"{each.name} is {mine!r}, not {its!r}"
        return None


@frozen
class NameEntry:
    """Who has a cluster-wide name. Raises `ValueError` or `TypeError` unless all parts are good."""

    node: NodeKey = field(validator=checks.key)
    number: int = field(validator=checks.natural)
    """Which actor of the node: unique within its process."""
    path: str = field(validator=checks.text(checks.PATH_MAX))
    since: int = field(validator=checks.place)
    """The index at which it got the name."""
