"""What the log consists of."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field
from attrs.validators import ge, instance_of

from ..machine import Nanoseconds
from ..values import value
from .configuration import Configuration

OVERHEAD = 64
"""What an entry counts besides its data, in bytes, wherever sizes are limited."""


def _natural(_: object, attribute: Attribute[Any], number: object) -> None:
    # One check instead of three: a command is made for everything that a client wants.
    if type(number) is not int:
        raise TypeError(f"{attribute.name} must be a whole number, not {number!r}")
    if not 0 <= number < 2**63:
        raise ValueError(f"{attribute.name} must be from 0 to 2**63 - 1, not {number}")


@value
class NoOp:
    """What a new leader commits first, so that it learns what is committed (thesis 6.4)."""


@value
class Command:
    """What the application is to do. Raises `TypeError` or `ValueError` where a field is not as it should be."""

    data: bytes = field(validator=instance_of(bytes))
    session: int = field(default=0, validator=_natural)
    """The session of the client, or 0: then a command that is proposed twice may be executed twice."""
    serial: int = field(default=0, validator=_natural)
    """Which command of the session this is, from 1. A retry has the number of the original."""
    floor: int = field(default=0, validator=_natural)
    """The client has the answers to all serials below this one, or does not want them any more."""


@value
class OpenSession:
    """Begin a session. Its number is the index at which this is committed (thesis 6.3)."""

    ttl_ns: Nanoseconds = field(validator=[_natural, ge(1)])
    """How long the session lives without being used, on the cluster's clock."""


@value
class RenewSession:
    """Keep a session alive that has nothing to do. Every command of the session does that too."""

    session: int = field(validator=[_natural, ge(1)])


@value
class CloseSession:
    """End a session. Harmless where it has ended."""

    session: int = field(validator=[_natural, ge(1)])


type Proposable = Command | OpenSession | RenewSession | CloseSession
type Payload = Proposable | NoOp | Configuration

PAYLOADS: tuple[type[Any], ...] = (Command, NoOp, Configuration, OpenSession, RenewSession, CloseSession)


@value
class Entry:
    """One place in the log. Two entries with the same index and term are equal (Log Matching, paper 5.3)."""

    index: int
    term: int
    payload: Payload
    time_ns: Nanoseconds = 0
    """The cluster's clock: how long there have been leaders. It never runs backwards along a log (thesis 6.3)."""


def size_of(entry: Entry) -> int:
    """What the entry counts where sizes are limited, in bytes."""
    payload = entry.payload
    if type(payload) is Command:
        return OVERHEAD + len(payload.data)
    return OVERHEAD


def are_entries(entries: object, first: int, term: int) -> bool:
    """Whether `entries`, from a peer, are consecutive entries from `first` on, of terms that rise to at most `term`."""
    if type(entries) is not tuple:
        return False
    before = time_ns = 0
    for index, entry in enumerate(entries, first):
        if type(entry) is not Entry or type(entry.payload) not in PAYLOADS:
            return False
        if type(entry.payload) is Configuration and not entry.payload.voters:
            return False
        if type(entry.term) is not int or type(entry.time_ns) is not int or type(entry.index) is not int:
            return False
        if entry.index != index or entry.term < before or entry.time_ns < time_ns:
            return False
        before, time_ns = entry.term, entry.time_ns
    return first > 0 and before <= term and time_ns < 2**63
