"""What can be set for a server. Servers of one cluster may differ in most of it: none of it decides what is applied.

Every number has an upper bound, far beyond whatever makes sense. So nothing that is computed from two of them, or from
one and an instant or an index below 2**62, leaves a signed number of 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import Attribute, field, frozen
from attrs.validators import instance_of

from ..machine import MILLISECOND, SECOND, Nanoseconds, shown

DURATION_MAX: Nanoseconds = 86_400 * SECOND
"""A day: the longest time that can be set."""
COUNT_MAX = 2**31 - 1
"""The highest number of things that can be set."""
BYTES_MAX = 2**40
"""The largest size that can be set."""
FACTOR_MAX = 1000
"""The highest factor and percentage that can be set."""
SPREAD = 30
"""The election timeouts are spread over at least this part of the shortest: a thirtieth."""


def _whole(low: int, high: int) -> Callable[[Any, Attribute[Any], Any], None]:
    def validate(_: Any, attribute: Attribute[Any], number: Any) -> None:
        if type(number) is not int:
            raise TypeError(f"{attribute.name} must be a whole number, not {shown(number)}")
        if not low <= number <= high:
            raise ValueError(f"{attribute.name} must be from {low} to {high}, not {shown(number)}")

    return validate


def _over_heartbeat(options: RaftOptions, attribute: Attribute[Any], value: int) -> None:
    if value <= options.heartbeat_interval_ns:
        raise ValueError(f"{attribute.name} must be over the heartbeat interval of {options.heartbeat_interval_ns}")


def _spread(options: RaftOptions, attribute: Attribute[Any], value: int) -> None:
    shortest = options.election_timeout_min_ns
    if (value - shortest) * SPREAD < shortest:
        raise ValueError(f"{attribute.name} must be over the minimum of {shortest} by at least 1/{SPREAD} of it")


def _with_quorum(options: RaftOptions, attribute: Attribute[Any], value: bool) -> None:
    if value and not options.check_quorum:
        raise ValueError(f"{attribute.name} needs check_quorum: without it a leader does not look who is there")


_DURATION = _whole(1, DURATION_MAX)
_COUNT = _whole(1, COUNT_MAX)
_BYTES = _whole(1, BYTES_MAX)
_FACTOR = _whole(0, FACTOR_MAX)


@frozen
class RaftOptions:
    """How a server behaves. Raises `ValueError` or `TypeError` for what makes no sense."""

    heartbeat_interval_ns: Nanoseconds = field(default=300 * MILLISECOND, validator=_DURATION)
    """How often a leader makes itself heard."""
    election_timeout_min_ns: Nanoseconds = field(default=SECOND, validator=[_DURATION, _over_heartbeat])
    """The shortest silence after which a server tries to become leader. Nobody votes earlier after having heard of a
    leader, and a leader that has not heard of a majority for that long steps down."""
    election_timeout_max_ns: Nanoseconds = field(default=2 * SECOND, validator=[_DURATION, _spread])
    """The longest. Each server draws its own, evenly between the two, and again for each attempt.

    It has to be over the shortest by a thirtieth of it. Servers whose timeouts are equal become candidates at the same
    time and split the votes, again and again (paper 5.2). With 150 ms for all, elections took longer than 10 s; with
    150 to 155 ms half of them were over after 287 ms (paper 9.3). With twice the shortest, collisions are rare."""
    pre_vote: bool = field(default=True, validator=instance_of(bool))
    """Whether to ask who would vote before raising the term (thesis 9.6)."""
    check_quorum: bool = field(default=True, validator=instance_of(bool))
    """Whether a leader steps down without a majority, and others ignore votes while they hear a leader (thesis 6.2,
    4.2.3)."""
    lease_reads: bool = field(default=False, validator=[instance_of(bool), _with_quorum])
    """Whether a leader answers reads without asking anybody while it is sure that nobody else can lead (thesis 6.4.1).
    It needs `check_quorum`, clocks whose speeds differ by no more than `clock_drift_percent`, and the same election
    timeouts and the same choice on all servers."""
    goes_on_alone: bool = field(default=False, validator=[instance_of(bool), _with_quorum])
    """Whether a leader of two voters that has not heard the other one for the shortest election timeout takes that
    one's vote back and goes on alone, rather than step down. What is committed from then on is on its disk only. It
    needs `check_quorum`."""
    clock_drift_percent: int = field(default=10, validator=_FACTOR)
    """By how much one server's clock may run faster than another's."""

    max_message_entries: int = field(default=1024, validator=_COUNT)
    """The most entries in one message."""
    max_message_bytes: int = field(default=256 * 1024, validator=_BYTES)
    """The most bytes of entries in one message. One entry is sent however large it is."""
    max_inflight_messages: int = field(default=64, validator=_COUNT)
    """The most messages with entries that are under way to one follower."""
    max_inflight_bytes: int = field(default=4 * 1024 * 1024, validator=_BYTES)
    """The most bytes of entries that are under way to one follower. A message that begins below it is sent whole."""
    max_command_bytes: int = field(default=1024 * 1024, validator=_BYTES)
    """The largest command that is taken."""
    max_uncommitted_bytes: int = field(default=64 * 1024 * 1024, validator=_BYTES)
    """What a leader takes without having committed it. It always takes a first command."""
    max_sessions: int = field(default=100_000, validator=_COUNT)
    """How many sessions may be open when another is asked for."""

    snapshot_entries: int = field(default=8192, validator=_COUNT)
    """The fewest entries from one snapshot to the next."""
    snapshot_factor: int = field(default=4, validator=_FACTOR)
    """How many times the size of the last snapshot the log must have grown before the next (thesis 5.1.3)."""
    trailing_entries: int = field(default=1024, validator=_whole(0, COUNT_MAX))
    """How many entries before a snapshot are kept, so that a follower that is a little late needs no snapshot."""
    snapshot_chunk_bytes: int = field(default=128 * 1024, validator=_BYTES)
    """The most bytes of a snapshot in one message."""
    max_snapshot_bytes: int = field(default=1024 * 1024 * 1024, validator=_BYTES)
    """The largest snapshot that is received."""

    catch_up_rounds: int = field(default=10, validator=_COUNT)
    """How many rounds of replication a new voter has to get up to date (thesis 4.2.1)."""
    read_timeout_ns: Nanoseconds = field(default=2 * SECOND, validator=_DURATION)
    """How long a follower waits for the leader's answer to a read, and to have applied what it names."""
