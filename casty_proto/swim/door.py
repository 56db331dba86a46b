"""The door: what comes in is a message that can be believed to be one, or it is named rubbish.

A message is admitted whole or not at all, so nothing of a bad one is applied. Identities, updates and digests are good
if they are of those types, because no others can be built; the rest is looked at here. What a good message *says* may
still be wrong, old or a lie: that is for the machine to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..machine import shown
from .messages import (
    ADDRESS_MAX,
    NODE_ID_MAX,
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
    is_number,
)


def admit(message: object, me: Identity) -> Message | str:
    """The message, if `me` may handle it, or what is wrong with it."""
    check = _CHECKS.get(type(message))
    if check is None:
        return f"no message of the protocol: {shown(message)}"
    good: Any = message
    source, updates = good.source, good.updates
    if type(source) is not Identity or type(updates) is not tuple:
        return f"malformed: {shown(message)}"
    for update in updates:
        if type(update) is not Update:
            return f"malformed update: {shown(update)}"
    if source.node_id == me.node_id:
        return f"claims to come from {source}, which is this node: {shown(message)}"
    if not check(good, me):
        return f"malformed: {shown(message)}"
    admitted: Message = good
    return admitted


def _numbered(message: Ack | IndirectAck | Nack, _: Identity) -> bool:
    return is_number(message.number)


def _ping(message: Ping, _: Identity) -> bool:
    return is_number(message.number) and type(message.target) is Identity


def _ping_request(message: PingRequest, me: Identity) -> bool:
    """The three parties are three: neither of the others may be the target."""
    return (
        is_number(message.number)
        and type(message.target) is Identity
        and message.target.node_id not in (me.node_id, message.source.node_id)
        and _is_text(message.address, ADDRESS_MAX)
        and message.address != ""
    )


def _news(_: Gossip | Records, __: Identity) -> bool:
    return True


def _sync_request(message: SyncRequest, _: Identity) -> bool:
    """The digests are in order, and within the range."""
    after, upto = message.after, message.upto
    if not is_number(message.number) or not _is_place(after) or type(message.digests) is not tuple:
        return False
    if upto is not None and (not _is_place(upto) or upto <= after):
        return False
    for digest in message.digests:
        if type(digest) is not Digest or digest.identity.node_id <= after:
            return False
        after = digest.identity.node_id
    return upto is None or after <= upto


def _is_place(text: object) -> bool:
    """Whether it is a place in the order of node ids."""
    return _is_text(text, NODE_ID_MAX)


def _is_text(text: object, limit: int) -> bool:
    """Whether it is a text that could be sent on, and has at most so many bytes."""
    if type(text) is not str or len(text) > limit:
        return False
    try:
        return len(text.encode()) <= limit
    except UnicodeEncodeError:
        return False


def _sync_reply(message: SyncReply, _: Identity) -> bool:
    return (
        is_number(message.number)
        and type(message.wants) is tuple
        and all(_is_place(node_id) for node_id in message.wants)
        and (message.covered is None or _is_place(message.covered))
    )


_CHECKS: dict[type, Callable[[Any, Identity], bool]] = {
    Ping: _ping,
    Ack: _numbered,
    PingRequest: _ping_request,
    IndirectAck: _numbered,
    Nack: _numbered,
    Gossip: _news,
    Records: _news,
    SyncRequest: _sync_request,
    SyncReply: _sync_reply,
}
