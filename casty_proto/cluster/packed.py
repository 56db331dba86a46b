"""Messages of channels as bytes: of what nodes say to each other these are by far the most.

A `Post` and an `Accepted` are packed flat, in one array, and read in one go. The codec would make an array for each
of the objects that they are made of, and call back for each of them; that takes ten times as long. What begins with
another byte than these is what the codec has made.

    [POST] [sender, address, cluster, to, region, shard, epoch, channel, first, *items]
    [ACCEPTED] [sender, address, cluster, to, region, shard, epoch, channel, count]
"""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]

from ..shard.channel import Accepted, Post
from ..wire import Malformed
from .messages import Envelope, Routed

POST, ACCEPTED = b"\x01", b"\x02"
"""What such a body begins with. MessagePack has numbers that look so, and the codec never sends a bare number here."""
_POST, _ACCEPTED = POST[0], ACCEPTED[0]
_HEAD = [str, str, str, str, str, int, int, int, int]
_HEAD_OF_ANYBODY = [str, str, str, type(None), str, int, int, int, int]
_BYTES = frozenset((bytes,))
_ARRAY_MAX = 2**20 + len(_HEAD)
"""More messages than any channel has under way."""


def packed(message: Envelope) -> bytes | None:
    """The bytes for it; `None` for a message of another kind, or one that is not as it should be."""
    routed = message.body
    if type(routed) is not Routed:
        return None
    body: Any = routed.body
    last: tuple[Any, ...]
    if type(body) is Post:
        kind, last = POST, (body.first, *body.items)
    elif type(body) is Accepted:
        kind, last = ACCEPTED, (body.count,)
    else:
        return None
    head = (message.sender, message.address, message.cluster, message.to, routed.region, routed.shard)
    try:
        data: bytes = msgpack.packb([*head, body.epoch, body.channel, *last], strict_types=True)
    except (TypeError, ValueError, OverflowError):
        return None  # The codec knows how to say what is wrong with it.
    return kind + data


def is_packed(body: bytes) -> bool:
    """Whether a body is for `unpacked`."""
    return body[0] == _POST or body[0] == _ACCEPTED


def unpacked(body: bytes) -> Envelope:
    """The message of a body that is packed. Raises `Malformed`. What numbers and names are worth is not looked at."""
    try:
        parts = msgpack.unpackb(memoryview(body)[1:], max_array_len=_ARRAY_MAX, max_map_len=0, max_ext_len=0)
    except Exception as error:
        raise Malformed(f"a message of a channel cannot be read: {type(error).__name__}") from error
    if type(parts) is not list or len(parts) < len(_HEAD):
        raise Malformed("a message of a channel is not made of its parts")
    kinds = [*map(type, parts[:9])]
    if kinds != _HEAD and kinds != _HEAD_OF_ANYBODY:
        raise Malformed("a message of a channel has parts of other types")
    sender, address, cluster, to, region, shard, epoch, channel, number = parts[:9]
    said: Post | Accepted
    if body[0] == _POST:
        if not _BYTES.issuperset(map(type, parts[9:])):
            raise Malformed("a message of a channel has items that are no bytes")
        said = Post(epoch, channel, number, tuple(parts[9:]))
    elif len(parts) == len(_HEAD):
        said = Accepted(epoch, channel, number)
    else:
        raise Malformed("an acknowledgement has more parts than it should have")
    return Envelope(sender, address, cluster, to, Routed(region, shard, said))
