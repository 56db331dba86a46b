"""What servers say to each other.

Every message names the term of its sender. Each is small: entries and chunks are bounded by the options, and a
heartbeat is three numbers. Messages may be lost, doubled, delayed and reordered; a reliable link is not needed.
"""

from __future__ import annotations

from ..values import value
from .configuration import NodeId
from .entries import Entry

# Elections ---------------------------------------------------------------------------------------------------------


@value
class RequestVote:
    """Candidate to all: let me lead `term`. My log ends with (`last_index`, `last_term`) (paper 5.2, 5.4.1)."""

    term: int
    last_index: int
    last_term: int
    pre: bool = False
    """It is only asked who would vote if there were an election in `term`; the sender is one term behind it."""
    transfer: bool = False
    """The leader itself wants this election: having heard of it lately is no reason to ignore it (thesis 4.2.3)."""


@value
class Vote:
    """To a candidate: yes or no, as `granted` says. `pre` is that of the question (paper 5.2, thesis 9.6).

    A granted pre-vote names the term that was asked for, all others the sender's.
    """

    term: int
    granted: bool
    pre: bool = False


@value
class TimeoutNow:
    """Leader to the one that is to follow it: hold an election at once (thesis 3.10)."""

    term: int


@value
class RequestTransfer:
    """Follower to leader: let `target` lead."""

    term: int
    target: NodeId


# Replication -------------------------------------------------------------------------------------------------------


@value
class AppendEntries:
    """Leader to follower: after the entry (`prev_index`, `prev_term`) come these (paper 5.3).

    All up to `commit` is committed, as far as the follower's log equals the leader's.
    """

    term: int
    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]
    commit: int


@value
class AppendAccepted:
    """Follower to leader: up to `match` my log equals yours, and is durable."""

    term: int
    match: int


@value
class AppendRejected:
    """Follower to leader: I do not have the entry before yours, at `prev_index`.

    Above (`hint_index`, `hint_term`) nothing can match: it is my last entry of a term that is not beyond the one that
    you named. So each exchange skips a whole term (paper 5.3, end).
    """

    term: int
    prev_index: int
    hint_index: int
    hint_term: int


@value
class Heartbeat:
    """Leader to follower: I am here, and of what you acknowledged, all up to `commit` is committed."""

    term: int
    commit: int
    round: int
    """To be returned. 0: no answer is wanted, this only tells the commit index."""


@value
class HeartbeatReply:
    """Follower to leader: in round `round` you were my leader."""

    term: int
    round: int


@value
class Stale:
    """To whoever acts as leader of a term that is over: `term` is the present one."""

    term: int


# Snapshots ---------------------------------------------------------------------------------------------------------


@value
class InstallSnapshot:
    """Leader to follower: the bytes from `offset` on of the snapshot after the entry (`index`, `snapshot_term`).

    (paper 7, thesis 5.3)
    """

    term: int
    index: int
    snapshot_term: int
    size: int
    """How many bytes there are in all."""
    offset: int
    data: bytes


@value
class SnapshotReply:
    """Follower to leader: of the snapshot `index` I have the first `received` bytes. It is not installed yet."""

    term: int
    index: int
    received: int


# Reads -------------------------------------------------------------------------------------------------------------


@value
class ReadRequest:
    """Follower to leader: which index must I have applied, to read nothing old (thesis 6.4)?

    `id` comes back with the answer.
    """

    term: int
    id: int


@value
class ReadReply:
    """Leader to follower: the answer to the question `id` is `index`, or `None` where it cannot know (thesis 6.4)."""

    term: int
    id: int
    index: int | None


type Message = (
    AppendEntries
    | AppendAccepted
    | AppendRejected
    | Heartbeat
    | HeartbeatReply
    | RequestVote
    | Vote
    | Stale
    | InstallSnapshot
    | SnapshotReply
    | TimeoutNow
    | RequestTransfer
    | ReadRequest
    | ReadReply
)
"""What `Send` holds and `Received` is fed. Any of it may be lost, late, repeated and overtaken."""


_LIMIT = 2**63
TERM_LEAP = 2**32
"""By how much the term of a message may be beyond that of a server that knows members of its cluster.

A term is believed from hearsay, and none is ever given back. One message with a term near the limit of what can be sent
would end all elections, because no higher term could be named. Honest terms rise by one in an election timeout; with
timeouts of a second it takes them 136 years to come as far as this, so whoever was cut off still finds the others. A
server that knows no members has no measure of its own, and takes whatever term its cluster has come to. So the terms of
a cluster do not run out, unless by 2**31 messages that were made for it.
"""


def naturals(*values: object) -> bool:
    """Whether all are numbers from 0 to 2**63 - 1, as a peer that speaks the protocol sends them."""
    for number in values:  # noqa: SIM110 - a generator would take three times as long, for every message
        if type(number) is not int or not 0 <= number < _LIMIT:
            return False
    return True


def booleans(*values: object) -> bool:
    """Whether all are `True` or `False`, and nothing that is only taken for one of them."""
    return all(type(value) is bool for value in values)
