"""What can be proposed to the control state, and how it is written in the log.

A command is a msgpack list: the version of the format, the tag of the command, and its fields in order.
`decode_command` returns `None` for whatever is not exactly that, so every server that runs this version treats the same
bytes alike. What another version adds has a tag of its own.

Commands say what they are based on, so that one that comes late or twice does nothing: the generation in a node key,
the epoch of a shard, the index at which a member changed last (`since`) or a region was registered. `since=None` means
whatever it is now. Against a repetition of what does not say so, such as a `RegisterName` after the name has been given
up again, only the sessions of Raft help: members propose all of their orders in one (`orders.py`).

A command whose field is not as it should be cannot be made: its constructor raises `TypeError` for another type, and
`ValueError` where the type is right and the value is not. Texts and bytes have limits, which stand in `checks.py`.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Any, assert_never

import msgpack  # type: ignore[import-untyped]
from attrs import Attribute, field
from attrs.validators import optional

from ..machine import shown
from ..shard.ring import NUM_SHARDS_MAX
from ..values import value
from . import checks
from .checks import NodeKey
from .records import NodeInfo, RegionKind, RegionSettings

COMMAND_VERSION = 1
COMMAND_MAX = 2**21
"""The longest command, in bytes. The limits of the fields leave none that is longer."""


# Members -------------------------------------------------------------------------------------------------------------


@value
class Join:
    """Take a node in. A newer generation of a member replaces it."""

    node: NodeInfo = field(validator=checks.exactly(NodeInfo))


@value
class Update:
    """A member has changed: everything that it says of itself, as it is now."""

    node: NodeInfo = field(validator=checks.exactly(NodeInfo))
    since: int | None = field(default=None, validator=checks.seen)


@value
class Leave:
    """A member wants to go."""

    node: NodeKey = field(validator=checks.key)
    since: int | None = field(default=None, validator=checks.seen)


@value
class Left:
    """A member that wanted to go owns nothing any more, and has gone."""

    node: NodeKey = field(validator=checks.key)
    since: int | None = field(default=None, validator=checks.seen)


@value
class MarkDown:
    """SWIM holds a member to be dead."""

    node: NodeKey = field(validator=checks.key)
    since: int | None = field(default=None, validator=checks.seen)


@value
class MarkUp:
    """SWIM has found a member that was down to be alive."""

    node: NodeKey = field(validator=checks.key)
    since: int | None = field(default=None, validator=checks.seen)


@value
class Forget:
    """A member that is down does not come back."""

    node_id: str = field(validator=checks.text(checks.NODE_ID_MAX))
    since: int | None = field(default=None, validator=checks.seen)


# Regions -------------------------------------------------------------------------------------------------------------


def _is_one(command: RegisterRegion, _: Attribute[Any], settings: RegionSettings) -> None:
    if command.kind is RegionKind.SINGLETON and settings.num_shards != 1:
        raise ValueError(f"a singleton has one shard, not {settings.num_shards}")


@value
class RegisterRegion:
    """There is an entity type, or a singleton, of this name."""

    name: str = field(validator=checks.text(checks.NAME_MAX))
    kind: RegionKind = field(validator=checks.exactly(RegionKind))
    settings: RegionSettings = field(validator=[checks.exactly(RegionSettings), _is_one])
    by: NodeKey = field(validator=checks.key)
    """Who says so."""
    recipe: bytes = field(default=b"", validator=checks.data(checks.RECIPE_MAX))
    """How any node can start what lives there. Not looked into; that of the first registration counts."""


@value
class RemoveRegion:
    """End a region: the one that was registered at this index, and no later one of its name."""

    name: str = field(validator=checks.text(checks.NAME_MAX))
    registered: int = field(validator=checks.place)


def _are_shards(_: object, attribute: Attribute[Any], shards: object) -> None:
    if type(shards) is not tuple or not 0 < len(shards) <= checks.ASSIGNED_MAX:
        raise ValueError(f"{attribute.name} must be a tuple of 1 to {checks.ASSIGNED_MAX}, not {shown(shards)}")
    for pair in shards:
        if type(pair) is not tuple or len(pair) != 2 or type(pair[0]) is not int or type(pair[1]) is not int:
            raise TypeError(f"{attribute.name} must be numbers and epochs of shards, not {shown(pair)}")
        if not (0 <= pair[0] < NUM_SHARDS_MAX and 0 < pair[1] <= checks.NUMBER_MAX):
            raise ValueError(f"{attribute.name}: {shown(pair)} is no number and epoch of a shard")


@value
class Gift:
    """These shards of a region are owned by `to` from now on; by nobody where it is `None`."""

    region: str = field(validator=checks.text(checks.NAME_MAX))
    to: NodeKey | None = field(validator=optional(checks.key))
    shards: tuple[tuple[int, int], ...] = field(validator=_are_shards)
    """Each with the epoch that it must still have."""
    forced: bool = field(default=False, validator=checks.exactly(bool))
    """Whether they are taken from owners that did not release them."""


def _are_gifts(_: object, attribute: Attribute[Any], gifts: object) -> None:
    if type(gifts) is not tuple or not 0 < len(gifts) <= checks.GIFTS_MAX:
        raise ValueError(f"{attribute.name} must be a tuple of 1 to {checks.GIFTS_MAX}, not {shown(gifts)}")
    if any(type(gift) is not Gift for gift in gifts):
        raise TypeError(f"{attribute.name} must be gifts, not {shown(gifts)}")
    if sum([len(gift.shards) for gift in gifts]) > checks.ASSIGNED_MAX:
        raise ValueError(f"{attribute.name} must have at most {checks.ASSIGNED_MAX} shards together")


@value
class Assign:
    """Change owners, as these `gifts` say. The only command that does (rule 8)."""

    gifts: tuple[Gift, ...] = field(validator=_are_gifts)


# Names ---------------------------------------------------------------------------------------------------------------


@value
class RegisterName:
    """An actor wants a cluster-wide name."""

    name: str = field(validator=checks.text(checks.NAME_MAX))
    node: NodeKey = field(validator=checks.key)
    number: int = field(validator=checks.natural)
    path: str = field(validator=checks.text(checks.PATH_MAX))


@value
class UnregisterName:
    """An actor gives a name up, or is no more."""

    name: str = field(validator=checks.text(checks.NAME_MAX))
    node: NodeKey = field(validator=checks.key)
    number: int = field(validator=checks.natural)


@value
class DropNames:
    """The process of a node has started again: what its actors had before the index `before`, names and regions that it
    hosts, is theirs no more."""

    node: NodeKey = field(validator=checks.key)
    before: int = field(validator=checks.place)


type MemberCommand = Join | Update | Leave | Left | MarkDown | MarkUp | Forget
type RegionCommand = RegisterRegion | RemoveRegion | Assign
type NameCommand = RegisterName | UnregisterName
type Command = MemberCommand | RegionCommand | NameCommand | DropNames
"""What can be proposed. `encode_command` makes bytes of it, and `decode_command` reads them."""

# In the log ----------------------------------------------------------------------------------------------------------


class _Tag(IntEnum):
    """Which command it is. None of these ever stands for another one."""

    JOIN = 1
    UPDATE = 2
    LEAVE = 3
    LEFT = 4
    MARK_DOWN = 5
    MARK_UP = 6
    FORGET = 7
    REGISTER_REGION = 8
    REMOVE_REGION = 9
    ASSIGN = 10
    REGISTER_NAME = 11
    UNREGISTER_NAME = 12
    DROP_NAMES = 13


_PAIR = Struct(">IQ")
_PLAIN: dict[int, type[Any]] = {
    _Tag.LEAVE: Leave,
    _Tag.LEFT: Left,
    _Tag.MARK_DOWN: MarkDown,
    _Tag.MARK_UP: MarkUp,
    _Tag.FORGET: Forget,
    _Tag.REMOVE_REGION: RemoveRegion,
    _Tag.REGISTER_NAME: RegisterName,
    _Tag.UNREGISTER_NAME: UnregisterName,
    _Tag.DROP_NAMES: DropNames,
}
"""Commands that are written as their fields, one after the other."""


def encode_command(command: Command) -> bytes:
    """The bytes for a command."""
    packed: bytes = msgpack.packb([COMMAND_VERSION, *_parts(command)])
    assert len(packed) <= COMMAND_MAX, f"{type(command).__name__} has {len(packed)} bytes"
    return packed


def _parts(command: Command) -> list[Any]:
    match command:
        case Join(node):
            return [_Tag.JOIN, node_row(node)]
        case Update(node, since):
            return [_Tag.UPDATE, node_row(node), since]
        case Leave(key, since):
            return [_Tag.LEAVE, key, since]
        case Left(key, since):
            return [_Tag.LEFT, key, since]
        case MarkDown(key, since):
            return [_Tag.MARK_DOWN, key, since]
        case MarkUp(key, since):
            return [_Tag.MARK_UP, key, since]
        case Forget(node_id, since):
            return [_Tag.FORGET, node_id, since]
        case RegisterRegion(name, kind, settings, by, recipe):
            return [_Tag.REGISTER_REGION, name, int(kind), settings_row(settings), by, recipe]
        case RemoveRegion(name, registered):
            return [_Tag.REMOVE_REGION, name, registered]
        case Assign(gifts):
            return [_Tag.ASSIGN, [[gift.region, gift.to, _packed(gift.shards), gift.forced] for gift in gifts]]
        case RegisterName(name, key, number, path):
            return [_Tag.REGISTER_NAME, name, key, number, path]
        case UnregisterName(name, key, number):
            return [_Tag.UNREGISTER_NAME, name, key, number]
        case DropNames(key, before):
            return [_Tag.DROP_NAMES, key, before]
        case _:
            assert_never(command)


def decode_command(data: bytes) -> Command | None:
    """The command that was encoded, or `None` for bytes that are none."""
    if type(data) is not bytes or len(data) > COMMAND_MAX:
        return None
    try:
        # Nothing in a command is a longer list, so nothing is allocated for one that claims to be.
        found = msgpack.unpackb(data, max_array_len=checks.GIFTS_MAX, max_map_len=0, max_ext_len=0)
        return _command(found)
    except Exception:
        return None


def _command(found: Any) -> Command | None:
    if type(found) is not list or len(found) < 3:
        return None
    version, tag, *parts = found
    if type(version) is not int or version != COMMAND_VERSION or type(tag) is not int:
        return None
    if tag in _PLAIN:
        command: Command = _PLAIN[tag](*parts)
        # All fields must be there, also those that have a default.
        return command if len(_parts(command)) == len(parts) + 1 else None
    match tag, parts:
        case (_Tag.JOIN, [node]):
            return Join(node_of(node))
        case (_Tag.UPDATE, [node, since]):
            return Update(node_of(node), since)
        case (_Tag.REGISTER_REGION, [name, kind, settings, by, recipe]) if type(kind) is int:
            return RegisterRegion(name, RegionKind(kind), settings_of(settings), by, recipe)
        case (_Tag.ASSIGN, [list(gifts)]):
            return Assign(tuple([_gift(gift) for gift in gifts]))
    return None


def _packed(shards: tuple[tuple[int, int], ...]) -> bytes:
    return b"".join([_PAIR.pack(shard, epoch) for shard, epoch in shards])


def _gift(found: Any) -> Gift:
    region, to, packed, forced = _list_of(found, 4)
    return Gift(region, to, tuple([(shard, epoch) for shard, epoch in _PAIR.iter_unpack(packed)]), forced)


def node_row(node: NodeInfo) -> list[Any]:
    """A node as it is written in commands and snapshots."""
    return [node.node_id, node.generation, node.address, list(node.roles), node.weight, node.payload]


def node_of(row: Any) -> NodeInfo:
    """The node that was written. Raises `ValueError` or `TypeError`."""
    node_id, generation, address, roles, weight, payload = _list_of(row, 6)
    if type(roles) is not list:
        raise TypeError(f"roles must be a list, not {shown(roles)}")
    return NodeInfo(node_id, generation, address, roles, weight, payload)


def settings_row(settings: RegionSettings) -> list[Any]:
    """Settings as they are written in commands and snapshots."""
    return [
        settings.num_shards,
        settings.role,
        settings.factor,
        settings.sync_count,
        settings.timeout_ns,
        settings.idle_timeout_ns,
        settings.remember,
        settings.hosted,
    ]


def settings_of(row: Any) -> RegionSettings:
    """The settings that were written. Raises `ValueError` or `TypeError`."""
    return RegionSettings(*_list_of(row, 8))


def _list_of(found: Any, count: int) -> list[Any]:
    if type(found) is not list or len(found) != count:
        raise ValueError(f"{shown(found)} is no list of {count}")
    return found
