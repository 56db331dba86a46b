"""What the two ends of a stream say to each other.

The base protocol is small enough to be spoken by hand: `Subscribe(consumer=me, demand=2)`, then one `StreamElement` at
a time, a `StreamDemand(n)` for more of them, and `StreamCompleted` or `StreamFailed` at the end. Two capabilities are
asked for in `Subscribe` and cost nothing to those who do not ask: `batch` lets the producer put several elements into
one message, and `retain` lets a stream outlive a broken connection.

Addresses are opaque here: a driver puts its references there, and machines only compare them.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from attrs import Attribute, evolve, field, frozen
from attrs.validators import instance_of

type Address = Hashable
"""Where an actor can be reached. Compared and passed on, never looked into."""

MAX_DEMAND = 2**63 - 1
"""The most that can be outstanding. Demand beyond it is the same as unlimited."""


def _something(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is None:
        raise ValueError(f"{attribute.name} must not be None")


@frozen
class Subscribe:
    """Consumer to producer: open the stream. Answered by `StreamSubscribed` or `StreamRefused`, before anything else.

    Raises `ValueError` where `consumer` is `None`.
    """

    consumer: Address = field(validator=_something)
    demand: int = 0
    """How many elements may be sent without a further `StreamDemand`. Not negative."""
    batch: bool = False
    """Whether elements may come as `StreamElements` too."""
    retain: int = 0
    """How many sent elements the producer is asked to keep until they are acknowledged. 0: a broken link ends the
    stream. Anything else promises that the consumer answers the end of the stream with `StreamReleased`."""
    attempt: int = 0
    """Counts the links over which this consumer has asked. A higher number repeats a question that may be lost."""


@frozen
class StreamSubscribed:
    """Producer to consumer: the stream is open. Raises `ValueError` where `producer` is `None`."""

    producer: Address = field(validator=_something)
    retain: int = 0
    """How many sent elements the producer keeps; at most what was asked for."""


@frozen
class StreamRefused:
    """Producer to whoever asked: there is no such stream for you, and why."""

    reason: str = field(validator=instance_of(str))


@frozen
class StreamDemand:
    """Consumer to producer: `n` more elements may be sent. Anything but a positive number fails the stream."""

    n: int
    received: int = 0
    """How many elements of the stream have arrived. The producer forgets those that it retained."""


@frozen
class StreamElement[E]:
    """Producer to consumer: one element. The first has the sequence number 0. Raises `ValueError` for `None`."""

    element: E = field(validator=_something)
    sequence: int


@frozen
class StreamElements[E]:
    """Producer to consumer: the elements `first`, `first + 1` and so on. Only to those who asked for batches."""

    first: int
    elements: tuple[E, ...]


@frozen
class StreamCompleted:
    """Producer to consumer: that was all. `sequence` is the number that the next element would have had."""

    sequence: int


@frozen
class StreamFailed:
    """Producer to consumer: there will be no more, because of `reason`."""

    reason: str = field(validator=instance_of(str))
    cause: BaseException | None = field(default=None, eq=False)
    """The exception itself, within one process. It cannot be sent: see `portable`."""

    def portable(self) -> StreamFailed:
        """The same message as it can be sent to another process: without the exception."""
        return evolve(self, cause=None)


@frozen
class StreamCancel:
    """Consumer to producer: send no more. What is on its way is dropped on arrival."""

    reason: str = ""


@frozen
class StreamResume:
    """Consumer to producer, over a new link: go on after the first `received` elements.

    `demand` replaces whatever the producer thought was outstanding, because a `StreamDemand` may have been lost.
    Answered by `StreamResumed` or `StreamRefused`.
    """

    consumer: Address = field(validator=_something)
    received: int
    demand: int
    attempt: int
    """Counts the links of this stream; the answer carries it, so that it cannot be taken for an earlier one."""


@frozen
class StreamResumed:
    """Producer to consumer: what follows on this link continues the stream with element number `first`."""

    first: int
    attempt: int


@frozen
class StreamReleased:
    """Consumer to producer: the end has arrived, nothing needs to be retained. Neither demand nor cancellation."""


type ToProducer = Subscribe | StreamDemand | StreamCancel | StreamResume | StreamReleased
"""What a consumer sends to its producer."""

type ToConsumer[E] = (
    StreamSubscribed
    | StreamRefused
    | StreamElement[E]
    | StreamElements[E]
    | StreamCompleted
    | StreamFailed
    | StreamResumed
)
"""What a producer sends to its consumer, with elements of the type `E`."""
