"""How the messages of nodes travel: their classes, each under a name, and no others.

The names are part of the protocol: a class that moves keeps its name. What is read by this table is made of these
classes alone, whatever the application allows for its own messages.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

from attrs import fields, has

from casty_proto.cluster import messages, outcomes, records
from casty_proto.cluster.doors import Door, door_of
from casty_proto.cluster.messages import Envelope
from casty_proto.cluster.registry import Difference, Part, Versions, Want
from casty_proto.raft import configuration, entries
from casty_proto.raft import messages as raft_messages
from casty_proto.replica import messages as replica_messages
from casty_proto.shard.channel import Accepted, Hello, Moved, Post, Record, Welcome
from casty_proto.shard.leases import LeaseGrant, LeaseRequest
from casty_proto.shard.steward import Released
from casty_proto.swim import messages as swim_messages
from casty_proto.wire import Kind, Types
from casty_proto.wire.schema import is_sendable_kind

_WHOLE: dict[str, ModuleType] = {
    "cluster": messages,
    "outcome": outcomes,
    "record": records,
    "raft": raft_messages,
    "raft.entry": entries,
    "raft.configuration": configuration,
    "replica": replica_messages,
    "swim": swim_messages,
}
"""Modules that have nothing in them but messages and their parts."""
_SINGLE: dict[str, tuple[type, ...]] = {
    "registry": (Difference, Part, Versions, Want),
    "channel": (Accepted, Hello, Moved, Post, Record, Welcome),
    "lease": (LeaseGrant, LeaseRequest),
    "steward": (Released,),
}

_PART = 16
_BULK = (Door.REPLICA, Door.TO_OWNER, Door.TO_SENDER, Door.REGISTRY)
"""What may be much. All else must not wait behind it."""


@cache
def node_types() -> Types:
    """The classes that nodes send to each other."""
    types = Types(strict=True)
    for prefix, module in _WHOLE.items():
        for name, cls in vars(module).items():
            if isinstance(cls, type) and cls.__module__ == module.__name__ and is_sendable_kind(cls):
                types.allow(cls, f"{prefix}.{name}")
    for prefix, classes in _SINGLE.items():
        for cls in classes:
            types.allow(cls, f"{prefix}.{cls.__name__}")
    return types


def lane_of(envelope: Envelope) -> Kind:
    """Over which connection a message goes."""
    return Kind.SHARDS if door_of(envelope.body) in _BULK else Kind.CLUSTER


def weight_of(thing: Any) -> int:
    """How many bytes a message takes about: those that it carries, and some for each of its parts."""
    match thing:
        case bytes() | str():
            return _PART + len(thing)
        case tuple():
            return _PART + sum(map(weight_of, thing))
        case _ if has(type(thing)):
            return _PART + sum([weight_of(getattr(thing, each.name)) for each in fields(type(thing))])
        case _:
            return _PART
