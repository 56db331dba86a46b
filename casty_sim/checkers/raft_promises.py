"""What a server has promised to others, and what a leader may build upon that (paper, Figure 2 and section 5).

A broken promise does harm only when much else goes wrong at the same moment, so it is watched directly: by the messages
that were sent, and by what is on the disks.

1.  A server votes for one candidate in a term, also across restarts (5.2).
2.  Whoever leads a term has the votes of a majority of its voters for that term (5.2).
3.  What a server has acknowledged is on its disk, unless a leader has replaced it since (5.3).
4.  What a leader counts as committed is on the disks of a majority of its voters (5.3; thesis 4.2.2, 10.2.1), and the
    last of it is of its own term (5.4.2).
5.  A read that was permitted sees whatever was answered before it was asked for; without leases, a leader asks the
    others first (thesis 6.4).
6.  A leader changes the membership only when an entry of its own term is on a majority (Ongaro, raft-dev, 2015).
7.  Where leaders rely on leases, whoever has answered a heartbeat votes for nobody else for the shortest election
    timeout, by its own clock, except in an election that the leader itself asked for (thesis 6.4.1). A leader that has
    asked for one reads by its lease no more in that term.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from casty_proto.machine import MILLISECOND, Instant, Nanoseconds
from casty_proto.raft import Append, Recovered, SaveSnapshot
from casty_proto.raft.messages import AppendAccepted, Heartbeat, HeartbeatReply, RequestVote, TimeoutNow, Vote

from ..world import Violation

PROMISING = frozenset((AppendAccepted, Vote, HeartbeatReply, RequestVote, TimeoutNow))
"""The messages that `Promises.sent` has to see."""


class Promises:
    """Watches all servers of a cluster. Raises `Violation`."""

    def __init__(self, lease_ns: Nanoseconds = 0) -> None:
        self._lease_ns = lease_ns
        """How long a lease lasts at most; 0 where there are none."""
        self._heard: dict[str, tuple[str, Instant]] = {}
        """Whose heartbeat each server has answered last, and when, on its own clock."""
        self._arrived: dict[tuple[str, str], Instant] = {}
        """When the last heartbeat of a sender arrived at each server. The answer may wait for the disk."""
        self._terms: dict[str, dict[int, None]] = {}
        """The terms of which each server ever had an entry on its disk."""
        self._handed_over: dict[str, int] = {}
        """The term in which each server has last asked another to lead."""
        self._transfers: dict[int, None] = {}
        """The terms in which an election was asked for by the leader before."""
        self.answered_up_to = 0
        """The highest index of a command whose client has the answer."""
        self._votes: dict[int, dict[str, str]] = {}
        """For whom each server has voted, by term."""
        self._acknowledged: dict[str, int] = {}
        """Up to where each server has acknowledged its log."""
        self._disks: dict[str, dict[int, int]] = {}
        """The term at each index that is on the disk of a server."""
        self._bases: dict[str, int] = {}
        """Up to where a snapshot on the disk of a server covers the log."""

    # What is sent ---------------------------------------------------------------------------------------------------

    def sent(self, server: str, to: str, message: Any, now: Instant) -> None:
        """A server has sent a message. `now` is on its own clock."""
        kind = type(message)
        if kind is AppendAccepted:
            match = message.match
            if match > self._bases[server] and match not in self._disks[server]:
                raise Violation("acknowledged is durable", f"{server} acknowledges {match}, which is not on its disk")
            if match > self._acknowledged.get(server, 0):
                self._acknowledged[server] = match
        elif kind is Vote and message.granted and not message.pre:
            self.voted(server, message.term, to)
            self._keeps_lease(server, message.term, to, now)
        elif kind is HeartbeatReply:
            self._heard[server] = (to, self._arrived.get((server, to), now))
        elif kind is TimeoutNow:
            self._handed_over[server] = message.term
        elif kind is RequestVote and not message.pre:
            self.voted(server, message.term, server)
            if message.transfer:
                self._transfers[message.term] = None

    def received(self, server: str, sender: str, message: Any, now: Instant) -> None:
        """A message has arrived. `now` is on the clock of the server."""
        if type(message) is Heartbeat:
            self._arrived[server, sender] = now

    def _keeps_lease(self, server: str, term: int, candidate: str, now: Instant) -> None:
        """Rule 7."""
        leader, heard_at = self._heard.get(server, (candidate, 0))
        if leader != candidate and term not in self._transfers and now - heard_at < self._lease_ns:
            ago = (now - heard_at) // MILLISECOND
            raise Violation(
                "a lease is kept", f"{server} votes for {candidate} {ago} ms after it has heard {leader} lead"
            )

    def reads_at_once(self, server: str, term: int, voters: Sequence[str]) -> None:
        """Rules 5 and 7: a leader has permitted a read without asking anybody, so by its lease, if there are any."""
        if not self._lease_ns and len(voters) > 1:
            raise Violation("reads are new", f"{server} permits a read in term {term} without asking whether it leads")
        if self._handed_over.get(server) == term:
            raise Violation("a lease is kept", f"{server} reads by it in term {term}, having asked another to lead")

    def voted(self, server: str, term: int, candidate: str) -> None:
        """Rule 1."""
        first = self._votes.setdefault(term, {}).setdefault(server, candidate)
        if first != candidate:
            raise Violation("one vote a term", f"{server} votes for {first} and for {candidate} in term {term}")

    def leads(self, server: str, term: int, voters: Sequence[str]) -> None:
        """Rule 2."""
        self.voted(server, term, server)
        votes = self._votes[term]
        given = [voter for voter in voters if votes.get(voter) == server]
        if 2 * len(given) <= len(voters):
            raise Violation(
                "a majority elects", f"{server} leads term {term} with the votes of {given} out of {list(voters)}"
            )

    # What is on the disks -------------------------------------------------------------------------------------------

    def started(self, server: str, recovered: Recovered) -> None:
        """Rule 3: a server has started with these records."""
        base = recovered.base
        self._disks[server] = {base.index: base.term} | {entry.index: entry.term for entry in recovered.entries}
        self._bases[server] = base.index
        self._terms.setdefault(server, {}).update(dict.fromkeys(self._disks[server].values()))
        last = recovered.entries[-1].index if recovered.entries else base.index
        promised = self._acknowledged.get(server, 0)
        if last < promised:
            raise Violation("acknowledged is durable", f"{server} acknowledged {promised}, and has {last} on its disk")

    def began_to_write(self, server: str, record: Any) -> None:
        """A server writes a record; what it replaces is not promised any more."""
        if isinstance(record, Append):
            first = record.entries[0].index
            if first <= self._acknowledged.get(server, 0):
                self._acknowledged[server] = first - 1
        elif isinstance(record, SaveSnapshot):
            index = record.snapshot.index
            known = self._disks[server].get(index)
            if index < self._acknowledged.get(server, 0) and known not in (None, record.snapshot.term):
                self._acknowledged[server] = index

    def written(self, server: str, record: Any) -> None:
        """A record is on the disk."""
        if isinstance(record, Append):
            disk, entries = self._disks[server], record.entries
            first = entries[0].index
            if first in disk:
                for index in [index for index in disk if index >= first]:
                    del disk[index]
            terms = self._terms[server]
            for entry in entries:
                disk[entry.index] = entry.term
                terms[entry.term] = None
        elif isinstance(record, SaveSnapshot):
            snapshot = record.snapshot
            if self._disks[server].get(snapshot.index) != snapshot.term:
                self._disks[server].clear()
            self._bases[server] = max(self._bases[server], snapshot.index)
            self._disks[server][snapshot.index] = snapshot.term
            self._terms[server][snapshot.term] = None

    def counts_as_committed(
        self, leader: str, index: int, term: int, own_term: int, electorates: Sequence[Sequence[str]]
    ) -> None:
        """Rule 4: the commit index of a leader has moved to `index`, an entry of `term`.

        `electorates` are the voters that may have been in effect when it counted.
        """
        if term != own_term:
            raise Violation(
                "only its own term", f"{leader} counts {index} of term {term} as committed, and leads term {own_term}"
            )
        if not any(self._is_on_majority(index, term, voters) for voters in electorates):
            have = [server for server in self._disks if self._has(server, index, term)]
            raise Violation(
                "committed is on a majority",
                f"{leader} counts {index} of term {term} as committed, which is on the disks of {have}; "
                f"the voters are {electorates[0]}",
            )

    def _is_on_majority(self, index: int, term: int, voters: Sequence[str]) -> bool:
        return 2 * sum(self._has(voter, index, term) for voter in voters) > len(voters)

    def _has(self, server: str, index: int, term: int) -> bool:
        return index <= self._bases.get(server, 0) or self._disks.get(server, {}).get(index) == term

    def changes(self, leader: str, term: int, voters: Sequence[str]) -> None:
        """Rule 6: a leader has appended a configuration; `voters` are those of the one before."""
        have = [voter for voter in voters if term in self._terms.get(voter, {})]
        if 2 * len(have) <= len(voters):
            raise Violation(
                "a change waits",
                f"{leader} changes the membership in term {term}, of which only {have} of {list(voters)} know",
            )

    # Reads ------------------------------------------------------------------------------------------------------------

    def answered(self, index: int) -> None:
        """A client got the answer that its command was committed at `index`."""
        if index > self.answered_up_to:
            self.answered_up_to = index

    def read(self, server: str, index: int, asked_at: int) -> None:
        """Rule 5: `server` permits a read at `index` that was asked for when `asked_at` had been answered."""
        if index < asked_at:
            raise Violation(
                "reads are new", f"{server} reads at {index}, and {asked_at} was answered before it was asked"
            )
