"""Which part of a node a message is for, and whether it is one at all.

The parts that are machines look at their own messages. What is the node's own is looked at here: its types, and no
number that is none. Whatever passes can be handled.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, get_args

from .. import raft, replica, swim
from ..shard.channel import Accepted, Hello, Moved, Post, Welcome
from ..shard.leases import LeaseGrant, LeaseRequest
from ..shard.steward import Released
from .checks import ADDRESS_MAX, NUMBER_MAX, REASON_MAX, SEEDS_MAX, split_key
from .messages import (
    Agreed,
    Belongs,
    Claim,
    Envelope,
    Expelled,
    JoinAnswer,
    JoinRequest,
    OpenOrders,
    Order,
    OrderDone,
    OrderRefused,
    OrdersOpened,
    Routed,
    Seek,
    Seeking,
)
from .outcomes import AlreadySo, Applied, Outdated, Refused, Taken
from .records import NameEntry, NodeInfo
from .registry import Difference, Part, Versions, Want


class Door(Enum):
    """Where a message goes."""

    FORMING = "forming"
    JOIN = "join"
    EXPELLED = "expelled"
    SWIM = "swim"
    RAFT = "raft"
    REPLICA = "replica"
    REGISTRY = "registry"
    LEASE = "lease"
    GRANT = "grant"
    RELEASED = "released"
    TO_OWNER = "to owner"
    TO_SENDER = "to sender"
    OPEN_ORDERS = "open orders"
    ORDERS_OPENED = "orders opened"
    ORDER = "order"
    ORDER_DONE = "order done"
    ORDER_REFUSED = "order refused"


def _types(alias: Any) -> tuple[type[Any], ...]:
    """The classes of a union, in order."""
    found: list[type[Any]] = []
    for part in get_args(getattr(alias, "__value__", alias)) or (alias,):
        inner = getattr(part, "__value__", None)
        found += [part] if inner is None and isinstance(part, type) else _types(part)
    return tuple(found)


_DOORS: dict[type[Any], Door] = {
    **dict.fromkeys(_types(swim.Message), Door.SWIM),
    **dict.fromkeys(_types(raft.Message), Door.RAFT),
    **dict.fromkeys(_types(replica.Message), Door.REPLICA),
    **dict.fromkeys((Difference, Part, Versions, Want), Door.REGISTRY),
    **dict.fromkeys((Seek, Seeking, Belongs, Claim, Agreed, JoinAnswer), Door.FORMING),
    LeaseRequest: Door.LEASE,
    LeaseGrant: Door.GRANT,
    Released: Door.RELEASED,
    JoinRequest: Door.JOIN,
    Expelled: Door.EXPELLED,
    OpenOrders: Door.OPEN_ORDERS,
    OrdersOpened: Door.ORDERS_OPENED,
    Order: Door.ORDER,
    OrderDone: Door.ORDER_DONE,
    OrderRefused: Door.ORDER_REFUSED,
}


def is_envelope(message: Any) -> bool:
    """Whether it is an envelope, with names that can be names."""
    return (
        type(message) is Envelope
        and _is_key(message.sender)
        and _is_text(message.address)
        and type(message.cluster) is str
        and (not message.cluster or _is_key(message.cluster))
        and (message.to is None or type(message.to) is str)
    )


def door_of(body: Any) -> Door | None:
    """Where a body goes; `None` for one that is no message."""
    kind = type(body)
    if kind is Routed:
        if type(body.region) is not str or not _is_number(body.shard):
            return None
        check = _CHANNEL.get(type(body.body))
        if check is None or not check(body.body):
            return None
        return Door.TO_OWNER if type(body.body) in (Post, Hello) else Door.TO_SENDER
    check = _CHECKS.get(kind)
    return None if check is not None and not check(body) else _DOORS.get(kind)


# What the fields may be ----------------------------------------------------------------------------------------------


_BYTES = frozenset((bytes,))


def _is_number(thing: Any) -> bool:
    return type(thing) is int and 0 <= thing <= NUMBER_MAX


def _is_text(thing: Any, most: int = ADDRESS_MAX) -> bool:
    if type(thing) is not str:
        return False
    try:
        return 0 < len(thing.encode()) <= most
    except UnicodeEncodeError:
        return False


def _is_key(thing: Any) -> bool:
    try:
        split_key(thing)
    except (ValueError, TypeError):
        return False
    return True


def _is_reason(thing: Any) -> bool:
    return thing == "" or _is_text(thing, REASON_MAX)


def _are_texts(thing: Any) -> bool:
    return type(thing) is tuple and len(thing) <= SEEDS_MAX and all(map(_is_text, thing))


def _is_outcome(thing: Any) -> bool:
    kind = type(thing)
    if kind is Taken:
        return type(thing.winner) is NameEntry
    if kind in (Outdated, Refused):
        return _is_reason(thing.reason)
    return kind is AlreadySo or (kind is Applied and thing.changes == ())


_CHECKS: dict[type[Any], Callable[[Any], bool]] = {
    Seek: lambda one: _are_texts(one.seeds) and _is_number(one.withdrawn),
    Seeking: lambda one: _are_texts(one.seeds) and _is_number(one.withdrawn),
    Belongs: lambda one: _is_key(one.cluster),
    Claim: lambda one: _is_number(one.round),
    Agreed: lambda one: _is_number(one.round),
    JoinRequest: lambda one: type(one.node) is NodeInfo,
    JoinAnswer: lambda one: (
        _is_key(one.cluster) and type(one.accepted) is bool and _is_reason(one.reason) and _are_texts(one.contacts)
    ),
    Expelled: lambda one: _is_key(one.node) and _is_reason(one.reason),
    OpenOrders: lambda one: _is_number(one.life),
    OrdersOpened: lambda one: _is_number(one.life) and _is_number(one.session),
    Order: lambda one: (
        all(map(_is_number, (one.life, one.number, one.session, one.floor)))
        and 0 < one.floor <= one.number
        and one.session > 0
        and type(one.command) is bytes
    ),
    OrderDone: lambda one: (
        _is_number(one.life) and _is_number(one.number) and _is_number(one.index) and _is_outcome(one.outcome)
    ),
    OrderRefused: lambda one: (
        all(map(_is_number, (one.life, one.number, one.session)))
        and (one.leader is None or _is_key(one.leader))
        and type(one.over) is bool
    ),
}
_CHANNEL: dict[type[Any], Callable[[Any], bool]] = {
    Post: lambda one: (
        _is_number(one.epoch)
        and _is_number(one.channel)
        and _is_number(one.first)
        and type(one.items) is tuple
        and _BYTES.issuperset(map(type, one.items))
    ),
    Hello: lambda one: _is_number(one.epoch) and _is_number(one.channel) and _is_number(one.since),
    Accepted: lambda one: _is_number(one.epoch) and _is_number(one.channel) and _is_number(one.count),
    Welcome: lambda one: (
        _is_number(one.epoch) and _is_number(one.channel) and (one.count is None or _is_number(one.count))
    ),
    Moved: lambda one: _is_number(one.epoch) and _is_number(one.newest) and (one.owner is None or _is_key(one.owner)),
}
