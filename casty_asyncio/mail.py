"""Opening what waits in a mailbox: a bare message, one with a sender, or one that belongs to an ask."""

from __future__ import annotations

from typing import Any

from casty_proto.actor import Envelope

from .asks import Ask
from .refs import ActorRef, ReplyRef


def opened(item: Any) -> tuple[Any, ActorRef[Any] | None, Ask | None]:
    """What is in a mailbox: the message, where its reply would go, and the ask that it belongs to."""
    if type(item) is Ask:
        return item.message, item.handle(), item
    if type(item) is Envelope:
        return item.message, item.sender, item.sender._ask if type(item.sender) is ReplyRef else None
    return item, None, None
