"""What waits in front of an actor: the configuration of a mailbox and the things that it holds.

A mailbox holds plain messages as they are. Only what needs more than the message itself is wrapped: an `Envelope`
carries the sender or the ask that a message belongs to, so that an ordinary `tell` costs no extra object.
"""

from __future__ import annotations

import sys
from enum import Enum, StrEnum
from typing import Any

from attrs import field, frozen

UNBOUNDED = sys.maxsize


class MailboxOverflowStrategy(Enum):
    """What happens to a message that arrives at a full mailbox."""

    drop_new = "drop_new"
    """The incoming message is discarded and becomes a dead letter."""
    drop_oldest = "drop_oldest"
    """The oldest waiting message is discarded and becomes a dead letter; the incoming one is kept."""
    reject = "reject"
    """The sender gets an exception."""


def _positive_or_none(_: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"Mailbox.{attribute.name} must be a whole number or None (unbounded), not {value!r}")
    if value < 1:
        raise ValueError(f"Mailbox.{attribute.name} must be at least 1, or None for an unbounded mailbox, not {value}")


def _strategy(_: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, MailboxOverflowStrategy):
        choice = ", ".join(map(str, MailboxOverflowStrategy))
        raise TypeError(f"Mailbox.{attribute.name} must be one of {choice}, not {value!r}")


@frozen
class Mailbox:
    """The size of a mailbox, in messages, and what happens when it is full.

    `capacity=None` is unbounded. The message that is being handled does not count, and neither do the notices of the
    system (`Terminated`), which are never dropped. A stash holds at most `capacity` messages as well. `overflow` says
    what happens to a message beyond that. Raises `TypeError` or `ValueError` for what makes no sense.
    """

    capacity: int | None = field(default=None, validator=_positive_or_none)
    overflow: MailboxOverflowStrategy = field(default=MailboxOverflowStrategy.drop_new, validator=_strategy)

    @property
    def limit(self) -> int:
        """The capacity as a number that can be compared with."""
        return UNBOUNDED if self.capacity is None else self.capacity


class Reason(StrEnum):
    """Why a message was not delivered."""

    STOPPED = "the actor has stopped"
    OVERFLOW = "the mailbox was full"
    REJECTED = "the mailbox was full and rejects"
    UNKNOWN_PATH = "there is no actor at this path"
    UNDECODABLE = "the message cannot be decoded"
    UNREACHABLE = "the node cannot be reached"
    NOT_AWAITED = "the address of another process was looked up and not awaited"
    CONGESTED = "too much waits for the node"
    ASK_OVER = "the ask that this answers is over"
    NOBODY_ASKED = "the message that this answers was not an ask"


class Envelope:
    """A message with the ref of whoever sent it, or with the reply handle of the ask that it belongs to."""

    __slots__ = ("message", "sender")

    def __init__(self, message: Any, sender: Any) -> None:
        self.message = message
        self.sender = sender

    def __repr__(self) -> str:
        return f"Envelope({self.message!r}, sender={self.sender!r})"
