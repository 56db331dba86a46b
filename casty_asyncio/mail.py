"""Opening what waits in a mailbox: a bare message, one with a sender, or one that belongs to an ask."""

from __future__ import annotations

from typing import Any

from casty_proto.actor import Envelope, Reason

from .asks import Ask
from .refs import ActorRef, ReplyRef


class Parcel:
    """A message with more to it than a sender. Whoever calls the handler opens it."""

    __slots__ = ("message", "sender")

    message: Any
    sender: ActorRef[Any] | None

    def fail_undelivered(self, reason: Reason) -> bool:
        """It did not reach the handler. Whether it is lost, and becomes a dead letter."""
        return True

    def fail_for(self, cause: Exception, path: str) -> None:
        """Its handler raised, which concerns nobody but the actor."""


def opened(item: Any) -> tuple[Any, ActorRef[Any] | None, Ask | Parcel | None]:
    """What is in a mailbox: the message, where its reply would go, and what is to be told how it ends."""
    if type(item) is Ask:
        return item.message, item.handle(), item
    if type(item) is Envelope:
        return item.message, item.sender, item.sender._ask if type(item.sender) is ReplyRef else None
    if isinstance(item, Parcel):
        return item.message, item.sender, item
    return item, None, None
