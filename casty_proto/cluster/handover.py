"""What an owner leaves to the next one besides the states: its record of the channels, and what it has not handled.

It is kept like an entity of the shard, under a name that no entity can have, so that it goes where the states go. It
counts for the next owner only, and only where that one was given the shard by the owner that wrote it: who takes a
shard by force knows nothing of what its last owner had accepted.
"""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]

from ..shard.channel import Record
from ..values import value

NAME = "\x00handover"
"""No entity has such a name: see `is_entity`."""


@value
class Handover:
    """What one owner leaves to the next."""

    epoch: int
    """Of the owner that left it."""
    record: Record
    waiting: tuple[bytes, ...]
    """Messages that were accepted and not handled, in their order."""


def is_entity(name: object) -> bool:
    """Whether an entity can have this name."""
    if type(name) is not str or not name or name[0] == "\x00":
        return False
    try:
        return len(name.encode()) <= 4096
    except UnicodeEncodeError:
        return False


def encode_handover(handover: Handover) -> bytes:
    """The bytes for it."""
    record = handover.record
    packed: bytes = msgpack.packb(
        [handover.epoch, record.since, [list(row) for row in record.accepted], list(handover.waiting)]
    )
    return packed


def decode_handover(data: bytes) -> Handover | None:
    """What was encoded, or `None` for bytes that are none."""
    try:
        epoch, since, accepted, waiting = msgpack.unpackb(data, max_map_len=0, max_ext_len=0)
        record = Record(_whole(since), tuple([_row(row) for row in accepted]))
        if any(type(item) is not bytes for item in waiting):
            return None
        return Handover(_whole(epoch), record, tuple(waiting))
    except Exception:
        return None


def _row(row: Any) -> tuple[str, int, int]:
    sender, channel, count = row
    if type(sender) is not str:
        raise TypeError(sender)
    return sender, _whole(channel), _whole(count)


def _whole(thing: Any) -> int:
    if type(thing) is not int or thing < 0:
        raise ValueError(thing)
    return thing
