"""What a leader knows of one follower, and what it may send it.

    PROBE       it is not known where the logs part: one message at a time, until it is accepted
    REPLICATE   the logs agree: entries are sent ahead of their acknowledgement, as far as the window goes
    SNAPSHOT    the follower needs entries that were compacted: nothing but chunks of the snapshot

    PROBE --accepted--> REPLICATE --rejected, unreachable--> PROBE
      |                     |
      +-----compacted-------+----> SNAPSHOT --acknowledged--> REPLICATE

Everything up to `match` is durable at the follower and equal to the leader's log. `match` never goes back, because an
acknowledgement is a promise; `next` is a guess.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from ..machine import Instant
from .snapshot import Outgoing


class Replication(Enum):
    """How a follower is being served."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


PROBE, REPLICATE, SNAPSHOT = Replication.PROBE, Replication.REPLICATE, Replication.SNAPSHOT


class Progress:
    """One follower, as its leader sees it."""

    __slots__ = (
        "check_due",
        "commit_told",
        "heard_at",
        "inflight",
        "inflight_bytes",
        "match",
        "next",
        "outgoing",
        "probing",
        "round",
        "state",
    )

    def __init__(self, next_index: int, now: Instant) -> None:
        self.state = PROBE
        self.match = 0
        self.next = next_index
        self.probing = False
        """The one message of a probe is under way."""
        self.check_due = False
        """The follower is heard and may have lost the last messages: ask it where it is."""
        self.inflight: deque[tuple[int, int]] = deque()
        """The last index and the size of each message that was sent and not acknowledged."""
        self.inflight_bytes = 0
        self.outgoing: Outgoing | None = None
        self.commit_told = 0
        """The commit index that the follower knows if nothing was lost. If something was, a heartbeat tells it."""
        self.round = 0
        """The latest round of heartbeats that it answered."""
        self.heard_at = now

    def accept(self, match: int) -> bool:
        """The follower has everything up to `match`. False when that is no news."""
        if self.next <= match:
            self.next = match + 1
        if match <= self.match:
            return False
        self.match = match
        inflight = self.inflight
        while inflight and inflight[0][0] <= match:
            self.inflight_bytes -= inflight.popleft()[1]
        return True

    def reject(self, rejected: int, hint: int) -> bool:
        """The follower does not have the entry `rejected`, but possibly `hint`. False when that is old news.

        What follows `match` is sent again. In a probe only the answer to the last message counts, as any other may be
        one that was delayed or doubled.
        """
        if self.state is REPLICATE:
            if rejected <= self.match:
                return False
            self.probe()
            return True
        if self.state is SNAPSHOT or self.next - 1 != rejected:
            return False
        self.next = max(self.match + 1, min(rejected, hint + 1))
        self.probing = False
        return True

    def probe(self) -> None:
        """Go back to what is certain."""
        after = self.outgoing.index if self.state is SNAPSHOT and self.outgoing is not None else 0
        self._enter(PROBE)
        self.next = max(self.match, after) + 1

    def replicate(self) -> None:
        """The logs agree up to `match`."""
        self._enter(REPLICATE)
        self.next = self.match + 1

    def restore(self, outgoing: Outgoing) -> None:
        """The follower is to have a snapshot."""
        self._enter(SNAPSHOT)
        self.outgoing = outgoing

    def sent(self, last: int, size: int) -> None:
        """Entries up to `last` were sent."""
        self.next = last + 1
        self.inflight.append((last, size))
        self.inflight_bytes += size

    def _enter(self, state: Replication) -> None:
        self.state = state
        self.probing = False
        self.check_due = False
        self.inflight.clear()
        self.inflight_bytes = 0
        self.outgoing = None

    def invariants(self) -> None:
        """What holds between two messages."""
        assert self.next > self.match, f"next {self.next} at match {self.match}"
        assert (self.outgoing is not None) == (self.state is SNAPSHOT), f"a snapshot while in {self.state}"
        assert self.state is REPLICATE or not self.inflight, f"messages under way while in {self.state}"
        if self.inflight:
            assert self.match < self.inflight[0][0], "an acknowledged message is still under way"
            assert self.inflight[-1][0] < self.next, "more was sent than is known of"
        else:
            assert not self.inflight_bytes, f"{self.inflight_bytes} bytes of nothing"
