"""The contract between a protocol and whatever drives it.

Theory of operation
-------------------
A protocol is one object with two methods. `handle` takes one event and the current instant and returns every effect
of that event, in the order in which they are to be carried out. `deadline` says when the machine next wants to be
woken, and changes nothing. There is no second method to poll, and no state that a driver has to read.

1.  Time is an `Instant`, integer nanoseconds on a monotonic clock. A machine compares and adds instants; it never
    reads a clock. A driver clamps: `now` never goes backwards between two calls.
2.  A driver arms one alarm for `deadline()` and feeds `Wake()` when it rings. An early `Wake` is a no-op and a late
    one is fine. After a `Wake`, `deadline()` is `None` or later than the `now` that was given.
3.  Persistence is an effect and an event: `Persist(ticket, record)` comes back as `Persisted(ticket)`. What must be
    durable is not promised before that. A driver that cannot write stops the node.
4.  Randomness enters once, as a `random.Random` given to the constructor.
5.  Errors have three doors. Rubbish from a peer is dropped with a `Note`, and the state is untouched. An illegal local
    request is answered with `Reply(request, Rejected(reason))`. A bug of the machine is an `assert`; `handle` raises
    for nothing else.
6.  `invariants()` asserts whatever must hold between two calls. Tests and the simulator call it after every `handle`.

`examples/embedding/README.md` says in full what this means for whoever writes a driver, with drivers to read.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Protocol

from attrs import Attribute, field

from .values import value

type Instant = int
"""Nanoseconds on a monotonic clock whose zero has no meaning."""

type Nanoseconds = int
"""A length of time."""

SECOND: Nanoseconds = 1_000_000_000
"""One second, in nanoseconds."""
MILLISECOND: Nanoseconds = 1_000_000
"""One millisecond, in nanoseconds."""
MICROSECOND: Nanoseconds = 1_000
"""One microsecond, in nanoseconds."""


def nanoseconds(seconds: float) -> Nanoseconds:
    """Convert seconds, as the public interface has them, to the nanoseconds that machines count in."""
    return round(seconds * SECOND)


def seconds(duration_ns: Nanoseconds) -> float:
    """Convert nanoseconds to seconds, for people and for event loops."""
    return duration_ns / SECOND


def shown(thing: object, limit: int = 200) -> str:
    """A thing as it is quoted in a note. A peer's rubbish may be long, deep, or impossible to show."""
    try:
        text = repr(thing)
    except Exception:
        return f"a {type(thing).__name__} that cannot be shown"
    return text if len(text) <= limit else f"{text[:limit]}..."


def _whole(_: object, attribute: Attribute[Any], number: object) -> None:
    if type(number) is not int:
        raise TypeError(f"{attribute.name} must be a whole number, not {shown(number)}")


class Machine[E, F](Protocol):
    """One protocol: an event in, every effect out. `E` are the events, `F` the effects."""

    def handle(self, event: E, now: Instant) -> tuple[F, ...]:
        """Apply one event and return all of its effects, in the order in which they are to be carried out.

        `now` is not before that of the call before. Raises `AssertionError` for bugs of the machine, and nothing else;
        the state is then worth nothing, and the machine must not be used any more.
        """
        ...

    def deadline(self) -> Instant | None:
        """When the machine wants `Wake`, or `None`. A pure query."""
        ...

    def invariants(self) -> None:
        """Assert everything that must hold between two calls of `handle`."""
        ...


@value
class Wake:
    """Event: the deadline has come. Harmless when it has not."""


@value
class Persist:
    """Effect: write `record` durably, then feed `Persisted(ticket)`. Tickets are written in the order given.

    `ticket` rises, from 1 on in each life of a machine. Raises `TypeError` for a ticket that is no `int`.
    """

    ticket: int = field(validator=_whole)
    record: Any
    """Of the machine's own types. A machine is made anew from all of them, in order."""


@value
class Persisted:
    """Event: the record of `ticket`, and those of all tickets before it, would survive a power cut.

    Raises `TypeError` for a ticket that is no `int`.
    """

    ticket: int = field(validator=_whole)


class Severity(IntEnum):
    """How much a `Note` matters to an operator. The values are those of the standard library's log levels."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@value
class Note:
    """Effect: something an operator may want to read, of this `severity`.

    `text` names the actor or the peer and what was done about it.
    """

    severity: Severity
    text: str


@value
class Rejected:
    """The answer to an illegal local request. The machine's state is what it was before the request."""

    reason: str
    """For people: what cannot be, and why."""


@value
class Reply:
    """Effect: the answer to the local request `request`, which is the token its event carried."""

    request: Any
    result: Any
    """`Rejected`, or what the event's documentation says."""
