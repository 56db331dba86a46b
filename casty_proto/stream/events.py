"""What a driver tells the two machines of a stream, and what they ask of it. Nothing here is sent to another node."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import instance_of

from ..machine import Note, Reply, Wake
from .messages import Address

# How a stream ended ------------------------------------------------------------------------------------------------


@frozen
class Completed:
    """Every element was delivered."""


@frozen
class Failed:
    """The producer failed or was lost, or one of the ends broke the protocol."""

    reason: str = field(validator=instance_of(str))
    cause: BaseException | None = field(default=None, eq=False)
    """What the producer was failed with, where both ends are in one process."""


@frozen
class TimedOut:
    """Nothing came for too long: no consumer at the producer; no answer or no element at the consumer."""

    reason: str = field(validator=instance_of(str))


@frozen
class Cancelled:
    """The consumer left, or was lost."""

    reason: str = field(validator=instance_of(str))


type Outcome = Completed | Failed | TimedOut | Cancelled
"""How a stream ended. There is exactly one (rule 17)."""


# Events of both machines -------------------------------------------------------------------------------------------


@frozen
class Open:
    """The actor has started. A publisher begins to count its subscription timeout, a subscriber subscribes."""


@frozen
class Received:
    """`message` came from `peer`; `None` when the sender is not known, who then counts as the partner.

    Messages of one link are fed in the order in which they were sent, and nothing of an older link is fed after the
    first message of a newer one. Anything that is not a message of the protocol is rubbish, and noted.
    """

    peer: Address
    message: object


@frozen
class LinkLost:
    """Messages to and from the partner may have been lost, and more will be until there is a new link."""


# Events of a publisher ---------------------------------------------------------------------------------------------


@frozen
class InputReady:
    """The nudge that `offer` or `Continue` asked for has come round."""


@frozen
class Complete:
    """No more input. What was accepted is still delivered.

    Answered with `Reply(request, None)`, or `Rejected` when the input was closed for another reason.
    """

    request: Any = None


@frozen
class Fail:
    """The input failed. What was accepted is delivered first, unless `flush` is off.

    Answered with `Reply(request, None)`, or `Rejected` when the input was closed already.
    """

    reason: str = field(validator=instance_of(str))
    cause: BaseException | None = None
    flush: bool = True
    """Off when the producer itself is about to be gone, or must not wait for the consumer's demand."""
    request: Any = None


@frozen
class ConsumerLost:
    """The consumer has stopped, or its node is gone for good."""

    reason: str = field(default="the consumer is gone", validator=instance_of(str))


type PublisherEvent = Open | Received | InputReady | Complete | Fail | LinkLost | ConsumerLost | Wake
"""What `Publisher.handle` takes. `Open` comes first."""


# Events of a subscriber --------------------------------------------------------------------------------------------


@frozen
class Begin:
    """The user wants elements: the window opens. Harmless when repeated."""


@frozen
class Consumed:
    """`demand_due` was seen set."""


@frozen
class Waiting:
    """`take` returned `EMPTY` and the user waits. Answered by `Available`, at once or later."""


@frozen
class Cancel:
    """The user is leaving. Harmless when repeated, or after the end."""

    reason: str = field(default="the consumer cancelled", validator=instance_of(str))


@frozen
class LinkRestored:
    """There is a new link to the producer."""


@frozen
class ProducerLost:
    """The producer has stopped, or its node is gone for good."""

    reason: str = field(default="the producer is gone", validator=instance_of(str))


type SubscriberEvent = (
    Open | Begin | Received | Consumed | Waiting | Cancel | LinkLost | LinkRestored | ProducerLost | Wake
)
"""What `Subscriber.handle` takes. `Open` comes first."""


# Effects -----------------------------------------------------------------------------------------------------------


@frozen
class Send:
    """Send `message` to `to`."""

    to: Address
    message: Any


@frozen
class Ended:
    """The machine has ended, holds no reference to its partner, and wants no more events.

    A subscriber's user may still have elements to take before learning of the outcome.
    """

    outcome: Outcome


@frozen
class ConsumerAccepted:
    """Publisher: there is a consumer now. Watch it, and feed `ConsumerLost` and `LinkLost`.

    Comes again for the same consumer when it had to repeat its subscription over a new link.
    """

    consumer: Address


@frozen
class Continue:
    """Publisher: feed `InputReady` after other work has had its turn."""


@frozen
class Room:
    """Publisher: wake `count` of those whose `offer` returned `FULL`. Each offers again, and may be turned away again.

    One that was woken and left without offering passes its turn on to the next.
    """

    count: int


@frozen
class InputClosed:
    """Publisher: every later `offer` returns `CLOSED`. Wake all who wait for room; they learn of `reason`."""

    reason: str


@frozen
class Available:
    """Subscriber: `take` has an element, or the end. Only after `Waiting`, and once for each."""


type PublisherEffect = Send | ConsumerAccepted | Continue | Room | InputClosed | Ended | Reply | Note
"""What a publisher returns, in the order in which it is to be carried out."""
type SubscriberEffect = Send | Available | Ended | Note
"""What a subscriber returns, in the order in which it is to be carried out."""


# Values for the direct lane ----------------------------------------------------------------------------------------

ACCEPTED: Final = 0
"""`offer`: the element is in the buffer, and nothing is to be done."""
NUDGE: Final = 1
"""`offer`: the element is in the buffer, and `InputReady` is to be fed by the producer's own actor, later."""
FULL: Final = 2
"""`offer`: the element was not taken. Wait for `Room` and offer again."""
CLOSED: Final = 3
"""`offer`: the element was not taken and never will be. `closed_reason` says why."""
ILLEGAL: Final = 4
"""`offer`: the element is `None`, which is no element."""


class Empty(Enum):
    """The type of `EMPTY`, so that a comparison with `is` narrows."""

    EMPTY = "EMPTY"

    def __repr__(self) -> str:
        return self.value


EMPTY: Final = Empty.EMPTY
"""`take`: there is nothing in the buffer. Look at `outcome`; while it is `None`, wait."""

INPUT_READY: Final = InputReady()
"""The event, made once: it has nothing in it."""
CONSUMED: Final = Consumed()
"""The event, made once: it has nothing in it."""
WAITING: Final = Waiting()
"""The event, made once: it has nothing in it."""
