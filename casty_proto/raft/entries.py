"""What the log consists of."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field
from attrs.validators import ge

from ..machine import Nanoseconds
from ..values import value
from .configuration import Configuration, may_follow

OVERHEAD = 64
"""What an entry counts besides its data, in bytes, wherever sizes are limited."""
TIME_MAX: Nanoseconds = 2**62
"""Where the cluster's clock stops, after 146 years of leaders. Sessions do not end any more then; all else goes on. So
no entry, whoever made it, can take the clock to where the next leader's entries would be refused."""


def _natural(_: object, attribute: Attribute[Any], number: object) -> None:
    # One check instead of three: a command is made for everything that a client wants.
    if type(number) is not int:
        raise TypeError(f"{attribute.name} must be a whole number, not {number!r}")
    if not 0 <= number < 2**63:
        raise ValueError(f"{attribute.name} must be from 0 to 2**63 - 1, not {number}")


def _bytes(_: object, attribute: Attribute[Any], data: object) -> None:
    # Not of a class derived from it: whose `len` would that be?
    if type(data) is not bytes:
        raise TypeError(f"{attribute.name} must be bytes, not {type(data).__name__}")


@value
class NoOp:
    """What a new leader commits first, so that it learns what is committed (thesis 6.4)."""


@value
class Command:
    """What the application is to do. Raises `TypeError` or `ValueError` where a field is not as it should be."""

    data: bytes = field(validator=_bytes)
    session: int = field(default=0, validator=_natural)
    """The session of the client, or 0: then a command that is proposed twice may be executed twice."""
    serial: int = field(default=0, validator=_natural)
    """Which command of the session this is, from 1. A retry has the number of the original."""
    floor: int = field(default=0, validator=_natural)
    """The client has the answers to all serials below this one, or does not want them any more."""


@value
class OpenSession:
    """Begin a session. Its number is the index at which this is committed (thesis 6.3).

    Raises `TypeError` or `ValueError` for a time that is no whole number of nanoseconds, at least 1.
    """

    ttl_ns: Nanoseconds = field(validator=[_natural, ge(1)])
    """How long the session lives without being used, on the cluster's clock."""


@value
class RenewSession:
    """Keep a session alive that has nothing to do. Every command of the session does that too.

    Raises `TypeError` or `ValueError` for what is no number of a session.
    """

    session: int = field(validator=[_natural, ge(1)])


@value
class CloseSession:
    """End a session. Harmless where it has ended.

    Raises `TypeError` or `ValueError` for what is no number of a session.
    """

    session: int = field(validator=[_natural, ge(1)])


type Proposable = Command | OpenSession | RenewSession | CloseSession
"""What a client may have committed."""
type Payload = Proposable | NoOp | Configuration
"""What an entry may hold. Leaders write `NoOp` and `Configuration` themselves."""

# A payload is of one of these types, and of no subclass: what `Proposal` let in, the followers would refuse.
PROPOSABLES: tuple[type[Any], ...] = (Command, OpenSession, RenewSession, CloseSession)
PAYLOADS: tuple[type[Any], ...] = (*PROPOSABLES, NoOp, Configuration)


@value
class Entry:
    """One place in the log. Two entries with the same index and term are equal (Log Matching, paper 5.3)."""

    index: int
    term: int
    payload: Payload
    time_ns: Nanoseconds = 0
    """The cluster's clock: how long there have been leaders. It never runs backwards along a log (thesis 6.3), and
    stops at `TIME_MAX`."""


def size_of(entry: Entry) -> int:
    """What the entry counts where sizes are limited, in bytes."""
    payload = entry.payload
    if type(payload) is Command:
        return OVERHEAD + len(payload.data)
    return OVERHEAD


NOT_ENTRIES = -1


def examined(entries: object, first: int, prev_term: int, term: int) -> int:
    """How many configurations there are in `entries`, from a peer; `NOT_ENTRIES` where no leader can have made them.

    They are consecutive from `first` on. Along a log terms do not fall, from `prev_term` before the first of them to at
    most `term`; the clock does not go back; and each configuration is at most one voter apart from the one before it.
    """
    if type(entries) is not tuple:
        return NOT_ENTRIES
    before, time_ns, configurations = prev_term, 0, 0
    latest: Configuration | None = None
    for index, entry in enumerate(entries, first):
        if type(entry) is not Entry or type(payload := entry.payload) not in PAYLOADS:
            return NOT_ENTRIES
        own_term, own_time_ns = entry.term, entry.time_ns
        if type(own_term) is not int or type(own_time_ns) is not int or type(entry.index) is not int:
            return NOT_ENTRIES
        if entry.index != index or own_term < before or own_time_ns < time_ns:
            return NOT_ENTRIES
        before, time_ns = own_term, own_time_ns
        if type(payload) is Configuration:
            if not payload.voters or (latest is not None and not may_follow(latest, payload)):
                return NOT_ENTRIES
            latest = payload
            configurations += 1
    return configurations if first > 0 and before <= term and time_ns <= TIME_MAX else NOT_ENTRIES
