"""The door: what comes in is a message that can be believed to be one, or it is named rubbish.

Messages are looked at field by field, and by their exact types: a `bool` is no number, and a subclass is no `str`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..machine import shown
from .messages import (
    NEVER,
    Ack,
    Drop,
    Dropped,
    Fetch,
    InUse,
    Message,
    NeedsWhole,
    Page,
    Pull,
    Refused,
    States,
    ToCopy,
    ToOwner,
    Update,
    Whole,
    WholeAck,
)

NUMBER_MAX = 2**63 - 1

NAME_MAX = 4096
"""The longest name of a region or an entity, in characters."""


def to_copy(message: object) -> ToCopy | str:
    """The message, if it is one to a copy, or what is wrong with it."""
    admitted: ToCopy | str = _admit(message, _TO_COPY)
    return admitted


def to_owner(message: object) -> ToOwner | str:
    """The message, if it is one to an owner, or what is wrong with it."""
    admitted: ToOwner | str = _admit(message, _TO_OWNER)
    return admitted


def is_to_copy(message: object) -> bool:
    """Whether the message, good or bad, is for the copies of a node, and not for its owned shards."""
    return type(message) in _TO_COPY


def is_well_formed(message: object) -> bool:
    """Whether it is a message of the protocol at all, to whichever end."""
    return type(_admit(message, _TO_COPY if is_to_copy(message) else _TO_OWNER)) is not str


def _admit(message: object, checks: dict[type, Callable[[Any], bool]]) -> Any:
    check = checks.get(type(message))
    if check is None:
        return f"no message for this end of the protocol: {shown(message)}"
    good: Any = message
    if not _is_text(good.region) or not _is_number(good.shard) or not _is_number(good.epoch) or not good.epoch:
        return f"malformed: {shown(message)}"
    return good if check(good) else f"malformed: {shown(message)}"


def _is_text(thing: object) -> bool:
    """A name that can be sent, since answers repeat it."""
    if type(thing) is not str or len(thing) > NAME_MAX:
        return False
    if thing.isascii():
        return True
    try:
        thing.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(thing: object) -> bool:
    return type(thing) is int and 0 <= thing <= NUMBER_MAX


def _is_positive(thing: object) -> bool:
    return type(thing) is int and 0 < thing <= NUMBER_MAX


def _is_version(thing: object) -> bool:
    return type(thing) is tuple and len(thing) == 2 and _is_positive(thing[0]) and _is_positive(thing[1])


def _update(message: Update) -> bool:
    state, base = message.state, message.base
    return (
        _is_positive(message.stage)
        and _is_text(message.entity)
        and _is_positive(message.sequence)
        and (type(state) is bytes or (state is None and base is None))
        and (base is None or (_is_version(base) and base < (message.epoch, message.sequence)))
    )


def _whole(message: Whole) -> bool:
    is_life = message.life is None or _is_number(message.life)
    return (
        is_life
        and _is_number(message.index)
        and _is_positive(message.since)
        and _is_number(message.sequence)
        and _staged(message)
        and _ordered(message)
    )


def _ordered(message: Whole) -> bool:
    return message.since <= message.stage


def _staged(message: Drop | Dropped | Whole) -> bool:
    return _is_positive(message.stage)


def _fetch(message: Fetch) -> bool:
    return _is_number(message.start)


def _pull(message: Pull) -> bool:
    return type(message.entities) is tuple and all(_is_text(entity) for entity in message.entities)


def _ack(message: Ack | NeedsWhole) -> bool:
    return (
        _is_positive(message.stage)
        and _is_number(message.life)
        and _is_text(message.entity)
        and _is_positive(message.sequence)
    )


def _whole_ack(message: WholeAck) -> bool:
    return _is_positive(message.stage) and _is_number(message.life)


def _entry(thing: object, epoch: int) -> bool:
    """A name, a version from before that epoch, and something."""
    return (
        type(thing) is tuple
        and len(thing) == 4
        and _is_text(thing[0])
        and _is_positive(thing[1])
        and thing[1] < epoch
        and _is_positive(thing[2])
    )


def _page(message: Page) -> bool:
    whole: Any = message.whole
    entries = message.entries
    return (
        _is_number(message.life)
        and type(whole) is tuple
        and (whole == NEVER or (len(whole) == 2 and _is_positive(whole[0]) and _is_number(whole[1])))
        and whole[0] < message.epoch
        and _is_number(message.start)
        and type(entries) is tuple
        and all(_entry(entry, message.epoch) and type(entry[3]) is bool for entry in entries)
        and _is_number(message.following)
        and _is_number(message.index)
        and _is_number(message.began)
        and (message.following == 0 or message.following == message.start + len(entries) > message.start)
    )


def _states(message: States) -> bool:
    entries = message.entries
    return (
        _is_number(message.life)
        and type(entries) is tuple
        and all(_entry(entry, message.epoch) and type(entry[3]) in (bytes, type(None)) for entry in entries)
    )


def _nothing_more(_: Refused | InUse) -> bool:
    return True


_TO_COPY: dict[type, Callable[[Any], bool]] = {
    Update: _update,
    Whole: _whole,
    Drop: _staged,
    Fetch: _fetch,
    Pull: _pull,
}

_TO_OWNER: dict[type, Callable[[Any], bool]] = {
    Ack: _ack,
    NeedsWhole: _ack,
    WholeAck: _whole_ack,
    Dropped: _staged,
    Page: _page,
    States: _states,
    Refused: _nothing_more,
    InUse: _nothing_more,
}

MESSAGES: tuple[type[Message], ...] = (*_TO_COPY, *_TO_OWNER)
"""Every message of the protocol."""
