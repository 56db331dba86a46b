"""What a server knows only while it leads. It is made at the election and dropped with the office."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..machine import Instant, Nanoseconds
from ..values import value
from .configuration import NodeId
from .entries import TIME_MAX
from .events import ChangeMembership
from .progress import Progress


@value
class RemoteRead:
    """A read that a follower asked for."""

    peer: NodeId
    id: int


class Transfer:
    """A transfer of leadership that is under way."""

    __slots__ = ("due_at", "is_local", "request", "target", "told")

    def __init__(self, target: NodeId, request: Any, due_at: Instant, *, is_local: bool) -> None:
        self.target = target
        self.request = request
        self.is_local = is_local
        """It was asked for here, and is to be answered."""
        self.due_at = due_at
        self.told = False
        """The target has everything and was told to hold an election."""


class CatchUp:
    """A server that is to vote, and is brought up to date first."""

    __slots__ = ("began_at", "event", "node", "round", "target")

    def __init__(self, node: NodeId, event: ChangeMembership, target: int, now: Instant) -> None:
        self.node = node
        self.event = event
        """What asked for it. It is carried out when the server has caught up."""
        self.round = 1
        self.target = target
        """The round is over when the server has this index."""
        self.began_at = now


class Leadership:
    """One term in office."""

    __slots__ = (
        "_began_at",
        "_began_ns",
        "catch_up",
        "change",
        "commit_due",
        "early_reads",
        "heartbeat_at",
        "lease_rounds",
        "lease_until",
        "leaving",
        "progress",
        "proposals",
        "quorum_at",
        "read_round",
        "reads",
        "round",
        "transfer",
    )

    def __init__(self, now: Instant, time_ns: Nanoseconds) -> None:
        self._began_at = now
        self._began_ns = time_ns
        self.progress: dict[NodeId, Progress] = {}
        """Everybody who is sent the log: the other members, who is catching up, and those who are leaving."""
        self.leaving: dict[NodeId, None] = {}
        """Those who were removed, until they know it; but not for long."""
        self.proposals: deque[tuple[int, Any]] = deque()
        """Index and request of what was proposed here and is not applied."""
        self.commit_due = True
        """Something happened that may have moved the commit index."""
        self.heartbeat_at: Instant = now
        self.quorum_at: Instant = now
        self.round = 0
        """The round of heartbeats that was sent last."""
        self.read_round = 0
        """The last round that was sent for the sake of reads."""
        self.lease_rounds: deque[tuple[int, Instant]] = deque()
        """When each round was sent that is not answered by a majority yet. Kept for leases only."""
        self.lease_until: Instant | None = now
        """Until when nobody else can lead. `None`: there are no leases any more in this term."""
        self.reads: deque[tuple[int, int, Any]] = deque()
        """The round that must be answered, the index and the request of each read."""
        self.early_reads: list[Any] = []
        """The reads that were asked for before anything of this term was committed."""
        self.transfer: Transfer | None = None
        self.catch_up: CatchUp | None = None
        self.change: tuple[int, Any] | None = None
        """Index and request of the change of membership that is not committed."""

    def time_ns(self, now: Instant) -> Nanoseconds:
        """The cluster's clock: it goes on from where the last leader's stood in the log (thesis 6.3)."""
        return min(self._began_ns + now - self._began_at, TIME_MAX)
