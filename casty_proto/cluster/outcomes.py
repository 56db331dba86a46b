"""What becomes of a command, and what it has changed.

Changes come in the order in which a user should hear of them: what happened to a member before what follows from it,
and who goes before who comes in its place. Each change is in the outcome of exactly one command.
"""

from __future__ import annotations

from enum import Enum

from ..values import value
from .checks import NodeKey
from .records import MemberInfo, NameEntry


class Removal(Enum):
    """Why a member is none any more."""

    LEFT = "left"
    FORGOTTEN = "forgotten"
    REPLACED = "replaced"
    """By a newer generation of the same node."""


# Changes -------------------------------------------------------------------------------------------------------------


@value
class MemberJoined:
    """A new member, which is up."""

    member: MemberInfo


@value
class MemberUpdated:
    """A member has another address, other roles, another weight or payload."""

    member: MemberInfo


@value
class MemberLeaving:
    """A member wants to go."""

    member: MemberInfo


@value
class MemberDown:
    """A member is held to be dead. Its names are dropped."""

    member: MemberInfo


@value
class MemberReturned:
    """A member that was down is up again."""

    member: MemberInfo


@value
class MemberRestarted:
    """The process of a member has started again on its disk, and has nothing in memory from before."""

    member: MemberInfo


@value
class MemberRemoved:
    """A member is none any more. `member` is what it was. It may still be the owner of shards, in name."""

    member: MemberInfo
    reason: Removal


@value
class RegionAdded:
    """A region is there. Nobody owns its shards yet."""

    region: str


@value
class RegionClosing:
    """A region is to be removed, and goes with its last owner."""

    region: str


@value
class RegionRemoved:
    """There is no such region any more."""

    region: str


@value
class HostsChanged:
    """A member can hold something of a region from now on, or cannot any more, as `can` says."""

    region: str
    node: NodeKey
    can: bool


@value
class ShardsMoved:
    """Shards of a region have another owner, `to`, or the same one again, at a new `epoch`. `None`: nobody."""

    region: str
    to: NodeKey | None
    epoch: int
    shards: tuple[tuple[int, NodeKey | None, int], ...]
    """Each with who owned it before, and at which epoch."""
    forced: bool = False
    """Whether they were taken from owners that had not released them."""


@value
class NameTaken:
    """An actor has got a name."""

    name: str
    entry: NameEntry


@value
class NameFreed:
    """A name can be taken again. `entry` says who had it."""

    name: str
    entry: NameEntry


type MemberChange = (
    MemberJoined | MemberUpdated | MemberLeaving | MemberDown | MemberReturned | MemberRestarted | MemberRemoved
)
type RegionChange = RegionAdded | HostsChanged | RegionClosing | RegionRemoved | ShardsMoved
type NameChange = NameTaken | NameFreed
type Change = MemberChange | RegionChange | NameChange
"""What a command has changed: of members, of regions and their shards, of names."""

# Outcomes ------------------------------------------------------------------------------------------------------------


@value
class Applied:
    """The command did something: these `changes`, in the order in which users should hear of them."""

    changes: tuple[Change, ...]


@value
class AlreadySo:
    """What the command wants is so already. Nothing has changed."""


@value
class Outdated:
    """What the command was based on has changed since: it came late, or another one was faster. Nothing has changed."""

    reason: str


@value
class Refused:
    """The command cannot be carried out. Nothing has changed. `reason` says why, and what to do."""

    reason: str


@value
class Taken:
    """Another one, the `winner`, has the name. Nothing has changed."""

    winner: NameEntry


type Outcome = Applied | AlreadySo | Outdated | Refused | Taken
"""What became of a command. Only `Applied` has changed anything."""
