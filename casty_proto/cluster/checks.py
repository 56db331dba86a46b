"""What the parts of the control state may be: limits, and the validators that enforce them.

The state is kept by every node, sent whole to those who come late, and changed by whoever can propose. So whatever is
in it has a limit, and what is beyond a limit is refused with a reason, the same on every server.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from attrs import Attribute
from attrs.validators import optional

from ..machine import shown
from ..shard.leases import in_range
from ..swim.messages import ADDRESS_MAX, NODE_ID_MAX, NUMBER_MAX, PAYLOAD_MAX

__all__ = ["ADDRESS_MAX", "NODE_ID_MAX", "NUMBER_MAX", "PAYLOAD_MAX"]

SEEDS_MAX = 1024
"""The most seeds of a node, and the most addresses in a message."""
MEMBERS_MAX = 1024
"""The most members, those that are down included."""
GRAVES_MAX = 4096
"""How many node ids are remembered of those that were removed. The one that was removed first is forgotten first."""
REGIONS_MAX = 1024
"""The most entity types and singletons together."""
SHARDS_MAX = 2**20
"""The most shards of all regions together. One region has at most `NUM_SHARDS_MAX` of `shard/ring.py`."""
NAMES_MAX = 2**16
"""The most cluster-wide names."""
ROLES_MAX = 16
"""The most roles of one member."""
ROLE_MAX = 64
"""The longest role, in bytes of UTF-8."""
NAME_MAX = 512
"""The longest name of a region or of an actor, in bytes of UTF-8."""
PATH_MAX = 4096
"""The longest path of an actor, in bytes of UTF-8."""
RECIPE_MAX = 16_384
"""The longest recipe of a region, in bytes."""
REASON_MAX = 4096
"""The longest reason that is kept, or told to another node, in bytes of UTF-8. What is longer is cut off."""
GIFTS_MAX = 1024
"""The most gifts in one `Assign`."""
ASSIGNED_MAX = 2**16
"""The most shards in one `Assign`."""

type NodeKey = str
"""A member: `node_id.generation`. A node that starts again without its disk has another one."""

_KEY = re.compile(r"(.+)\.(0|[1-9][0-9]{0,18})", re.DOTALL)


def node_key(node_id: str, generation: int) -> NodeKey:
    """The name of one life of a node."""
    return f"{node_id}.{generation}"


def split_key(key: NodeKey) -> tuple[str, int]:
    """The node id and the generation of a key. Raises `ValueError` or `TypeError` for what is none."""
    if type(key) is not str:
        raise TypeError(f"a node key must be a str, not {shown(key)}")
    return _split(key)


@lru_cache(maxsize=4096)
def _split(key: NodeKey) -> tuple[str, int]:
    """Each message names nodes, and they are always the same ones."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise ValueError(f"{shown(key)} is no node key; expected 'node_id.generation'")
    node_id, generation = found[1], int(found[2])
    if len(node_id.encode()) > NODE_ID_MAX or generation > NUMBER_MAX:
        raise ValueError(f"{shown(key)} is no node key; its node id or its generation is too long")
    return node_id, generation


# Validators ----------------------------------------------------------------------------------------------------------


def text(limit: int) -> Any:
    """Validator: a text that can be sent, of 1 to `limit` bytes of UTF-8."""

    def validate(_: object, attribute: Attribute[Any], thing: object) -> None:
        if type(thing) is not str:
            raise TypeError(f"{attribute.name} must be a str, not {shown(thing)}")
        if not 0 < len(thing.encode()) <= limit:
            raise ValueError(f"{attribute.name} must have 1 to {limit} bytes, not {shown(thing)}")

    return validate


def data(limit: int) -> Any:
    """Validator: at most `limit` bytes."""

    def validate(_: object, attribute: Attribute[Any], thing: object) -> None:
        if type(thing) is not bytes:
            raise TypeError(f"{attribute.name} must be bytes, not {shown(thing)}")
        if len(thing) > limit:
            raise ValueError(f"{attribute.name} must have at most {limit} bytes, not {len(thing)}")

    return validate


def exactly(kind: type[Any]) -> Any:
    """Validator: of this type and of no subclass."""

    def validate(_: object, attribute: Attribute[Any], thing: object) -> None:
        if type(thing) is not kind:
            raise TypeError(f"{attribute.name} must be of type {kind.__name__}, not {shown(thing)}")

    return validate


def key(_: object, attribute: Attribute[Any], thing: Any) -> None:
    """Validator: a node key."""
    try:
        split_key(thing)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{attribute.name}: {error}") from None


natural = in_range(0, NUMBER_MAX)
"""Validator: a whole number from 0."""
place = in_range(1, NUMBER_MAX)
"""Validator: an index of the log."""
seen = optional(place)
"""Validator: an index of the log, or `None`."""
