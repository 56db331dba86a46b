"""What clients of the cluster scenario ask of entities: the operations, their bytes, and what entities do with them.

An entity is a list of the numbers of all operations that it has carried out, in their order, so that its state is the
evidence of what has happened to it; or a register, with the number of the operation that has set it. Numbers of
operations tell who asked: those of one sender (one life of a host) rise.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import msgpack  # type: ignore[import-untyped]
from attrs import evolve

from casty_proto.cluster.records import RegionKind, RegionSettings
from casty_proto.values import value

COUNTERS = "counters"
REGISTERS = "registers"
PLAIN = "plain"
BOSS = "boss"

NAMES = {
    COUNTERS: tuple([f"c{number}" for number in range(10)]),
    REGISTERS: tuple([f"r{number}" for number in range(5)]),
    PLAIN: tuple([f"p{number}" for number in range(5)]),
    BOSS: ("boss",),
}
"""The entities of each region."""

_SERIALS = 20
"""So many bits of the number of an operation count those of its sender."""

type Spot = tuple[str, int]


class Kind(IntEnum):
    """What is asked. The values are those in messages."""

    ADD = 0
    READ = 1
    WRITE = 2
    SWAP = 3
    DELETE = 4


@value
class Op:
    """One operation."""

    number: int
    entity: str
    kind: Kind
    expected: int | None
    """What a register must have to be set, for `SWAP`."""
    reply_to: str


@value
class Answer:
    """From who has handled an operation, or gives it back: an ordinary packet, not one of the node."""

    number: int
    verdict: str
    result: Any = None


DONE = "done"
RETRY = "retry"
"""It was not handled, and will not be."""
UNKNOWN = "unknown"


def number_of(host: int, start: int, serial: int) -> int:
    """The number of an operation: who asks, and how many it has asked before."""
    assert start < 1 << 12
    assert serial < 1 << _SERIALS
    return ((host << 12) | start) << _SERIALS | serial


def sender_of(number: int) -> int:
    """Who has asked: one life of a host."""
    return number >> _SERIALS


def packed(op: Op) -> bytes:
    """An operation as the item of a `Tell`."""
    return bytes(msgpack.packb((op.number, op.entity, int(op.kind), op.expected, op.reply_to)))


def unpacked(item: bytes) -> Op:
    """The operation of an item."""
    number, entity, kind, expected, reply_to = msgpack.unpackb(item)
    return Op(number, entity, Kind(kind), expected, reply_to)


def state_bytes(state: Any) -> bytes:
    """The state of an entity as its replicas have it."""
    return bytes(msgpack.packb(state))


def state_of(data: bytes | None, region: str) -> Any:
    """What an entity begins with; `None` where it never was."""
    if data is not None:
        return msgpack.unpackb(data)
    return None if region == REGISTERS else []


def execute(state: Any, op: Op) -> tuple[Any, Any]:
    """What an entity does: its state afterwards, and the result."""
    match op.kind:
        case Kind.ADD:
            state.append(op.number)
            return state, len(state)
        case Kind.READ:
            return state, state
        case Kind.WRITE:
            return op.number, None
        case Kind.DELETE:
            return None, None
        case Kind.SWAP:
            hit = state == op.expected
            return op.number if hit else state, hit


def regions(
    sync_count: int, timeout_ns: int, idle_ns: int | None, *, remember: bool, role_of: Callable[[str], str | None]
) -> dict[str, Any]:
    """The regions of a run: kind and settings by name."""
    entities, one = RegionKind.ENTITIES, RegionKind.SINGLETON
    more: dict[str, Any] = {"timeout_ns": timeout_ns, "idle_timeout_ns": idle_ns}
    found = {
        COUNTERS: (entities, RegionSettings(num_shards=8, factor=3, sync_count=1, remember=remember, **more)),
        REGISTERS: (entities, RegionSettings(num_shards=4, factor=3, sync_count=sync_count, **more)),
        PLAIN: (entities, RegionSettings(num_shards=4, **more)),
        BOSS: (one, RegionSettings(num_shards=1, factor=2, sync_count=1, timeout_ns=timeout_ns)),
    }
    return {name: (kind, evolve(settings, role=role_of(name))) for name, (kind, settings) in found.items()}
