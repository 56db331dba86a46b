"""What an owner leaves to the next one besides the states: its record of the channels, and what it has not handled.

It is kept like an entity of the shard, under a name that no entity can have, so that it goes where the states go. It
counts for the next owner only, and only where that one was given the shard by the owner that wrote it: who takes a
shard by force knows nothing of what its last owner had accepted.

All that waits may be longer than one message of a node may be. So it is kept in parts, of which the first one has the
record, and knows how many there are. Where one of them is missing, or is of another epoch, there is no hand-over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]

from ..shard.channel import Record
from ..values import value

NAME = "\x00handover"
"""That of the first part. No entity has such a name: see `is_entity`."""


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


def part_name(number: int) -> str:
    """The name under which a part is kept."""
    return NAME if number == 0 else f"{NAME}.{number}"


def is_part(name: str) -> bool:
    """Whether it is the name of a part."""
    return name.startswith(NAME)


def encode_handover(handover: Handover, most: int) -> tuple[tuple[str, bytes], ...]:
    """The parts of it, by name. The messages of one weigh up to `most` bytes, or are one message."""
    record, chunks = handover.record, _chunks(handover.waiting, most)
    accepted = [list(row) for row in record.accepted]
    parts: list[list[Any]] = [[handover.epoch, record.since, accepted, chunks[0], len(chunks)]]
    parts += [[handover.epoch, number, chunk] for number, chunk in enumerate(chunks[1:], 1)]
    return tuple([(part_name(number), msgpack.packb(part)) for number, part in enumerate(parts)])


def _chunks(items: Sequence[bytes], most: int) -> list[list[bytes]]:
    chunks: list[list[bytes]] = [[]]
    size = 0
    for item in items:
        size += len(item)
        if size > most and chunks[-1]:
            chunks.append([])
            size = len(item)
        chunks[-1].append(item)
    return chunks


def decode_handover(parts: Mapping[str, bytes]) -> Handover | None:
    """What was encoded, of parts by name among which there may be others. `None` where it is not all there."""
    try:
        epoch, since, accepted, waiting, count = _unpacked(parts[NAME])
        record = Record(_whole(since), tuple([_row(row) for row in accepted]))
        items = [*waiting]
        for number in range(1, _whole(count)):
            of, place, more = _unpacked(parts[part_name(number)])
            if (of, place) != (epoch, number):
                return None
            items += more
        if any(type(item) is not bytes for item in items):
            return None
        return Handover(_whole(epoch), record, tuple(items))
    except Exception:
        return None


def _unpacked(data: bytes) -> Any:
    return msgpack.unpackb(data, max_map_len=0, max_ext_len=0)


def _row(row: Any) -> tuple[str, int, int]:
    sender, channel, count = row
    if type(sender) is not str:
        raise TypeError(sender)
    return sender, _whole(channel), _whole(count)


def _whole(thing: Any) -> int:
    if type(thing) is not int or thing < 0:
        raise ValueError(thing)
    return thing
