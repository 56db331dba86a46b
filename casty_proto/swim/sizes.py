"""How large a message is at most, without encoding it.

An estimate from above, in bytes, of what the codec makes of a message: an object costs its type and length, a number
the longest form that there is, a text or bytes their length and a prefix. Node ids and addresses are counted in UTF-8.
The constants give every kind of text its longest form, so that `MESSAGE_MIN` leaves room for the largest update in the
messages that have to carry one: `Ack`, `Gossip` and `Records`.
"""

from __future__ import annotations

from typing import assert_never

from .messages import (
    ADDRESS_MAX,
    NODE_ID_MAX,
    PAYLOAD_MAX,
    Ack,
    Digest,
    Gossip,
    Identity,
    IndirectAck,
    Message,
    Nack,
    Ping,
    PingRequest,
    Records,
    SyncReply,
    SyncRequest,
    Update,
)

_OBJECT = 6
_NUMBER = 9
_STATE = 6
_CHECK = 9
_PREFIX = 3
_LIST = 5

MESSAGE_MIN = 1400
"""The smallest limit under which the largest member can be told of by the member with the longest name."""


def text_size(text: str) -> int:
    """The size of a text."""
    return _PREFIX + (len(text) if text.isascii() else len(text.encode()))


def identity_size(identity: Identity) -> int:
    """The size of an identity."""
    return _OBJECT + _NUMBER + text_size(identity.node_id)


def update_size(update: Update) -> int:
    """The size of an update."""
    texts = text_size(update.by) + text_size(update.address)
    return _OBJECT + identity_size(update.identity) + _NUMBER + _STATE + texts + _PREFIX + len(update.payload)


def digest_size(digest: Digest) -> int:
    """The size of a digest."""
    return _OBJECT + identity_size(digest.identity) + _NUMBER + _STATE + _CHECK


def gossip_overhead(source: Identity) -> int:
    """The size of `Gossip` and `Records` without updates."""
    return _OBJECT + identity_size(source) + _LIST


def answer_overhead(source: Identity) -> int:
    """The size of `Ack`, `IndirectAck` and `Nack` without updates."""
    return gossip_overhead(source) + _NUMBER


def ping_overhead(source: Identity, target: Identity) -> int:
    """The size of `Ping` without updates."""
    return answer_overhead(source) + identity_size(target)


def request_overhead(source: Identity, after: str, upto: str | None) -> int:
    """The size of `SyncRequest` without digests and updates."""
    return answer_overhead(source) + text_size(after) + text_size(upto or "") + _LIST


def reply_overhead(source: Identity, covered: str | None) -> int:
    """The size of `SyncReply` without wants and updates."""
    return answer_overhead(source) + text_size(covered or "") + _LIST


def message_size(message: Message) -> int:
    """The size of a whole message."""
    updates = sum(map(update_size, message.updates))
    match message:
        case Gossip() | Records():
            return gossip_overhead(message.source) + updates
        case Ack() | IndirectAck() | Nack():
            return answer_overhead(message.source) + updates
        case Ping():
            return ping_overhead(message.source, message.target) + updates
        case PingRequest():
            return ping_overhead(message.source, message.target) + text_size(message.address) + updates
        case SyncRequest():
            digests = sum(map(digest_size, message.digests))
            return request_overhead(message.source, message.after, message.upto) + digests + updates
        case SyncReply():
            return reply_overhead(message.source, message.covered) + sum(map(text_size, message.wants)) + updates
        case _:
            assert_never(message)


_LONGEST_IDENTITY = _OBJECT + _NUMBER + _PREFIX + NODE_ID_MAX
_LARGEST_UPDATE = _OBJECT + _LONGEST_IDENTITY + _NUMBER + _STATE + 3 * _PREFIX + ADDRESS_MAX + PAYLOAD_MAX
assert _OBJECT + _LONGEST_IDENTITY + _NUMBER + _LIST + _LARGEST_UPDATE <= MESSAGE_MIN
