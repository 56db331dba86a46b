"""The follower's side of replication: what the leader of the term sends, and what is acknowledged of it.

Theory of operation
-------------------
`_matched` is how far the log is known to equal the leader's; `journal.durable` is how far it is on disk. What may be
acknowledged is the lesser of the two, whichever message or write it was that moved them, so an acknowledgement is not
something that is queued: it is computed when a message has been checked and when a write has come through.

    AppendEntries -> check -> store -> (durable?) -> AppendAccepted(min(_matched, durable))
                       |                    |
                       |                    +-- not yet: nothing; `_on_durable` will send it
                       +-- the entry before is missing: AppendRejected with a hint

A message whose entries are all here already changes nothing but the answer (paper 5.3: what follows the last of them
is left alone, for the message may be an old one). Only an entry that differs removes what follows it.

What is committed equals every leader's log (Leader Completeness, paper 5.4.3). So whatever part of a message lies under
our commit index is taken for known, also where it was compacted and can no longer be compared.

A message is examined to the end before the first thing is done about it, even that its sender leads: first by itself,
then against the log. What no leader can have sent is dropped, and its sender is then no leader that was heard.
"""

from __future__ import annotations

from ..machine import Instant
from .applying import Applying
from .configuration import Configuration, NodeId, may_follow
from .entries import NOT_ENTRIES, Entry, examined
from .events import Restore, Role
from .log import UNKNOWN
from .messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    SnapshotReply,
    Stale,
    naturals,
)
from .sessions import Sessions
from .snapshot import INDEX_MAX, Incoming, Snapshot, assemble


class Following(Applying):
    """Obeys the leader of the term."""

    __slots__ = ()

    def _may_lead(self, peer: NodeId, message: AppendEntries | Heartbeat | InstallSnapshot) -> bool:
        """Whether `peer` may lead the term that it names, and that is not over. Changes nothing."""
        term = message.term
        if term < self.term:
            self._send(peer, Stale(self.term))
            return False
        if term == self.term and (self.role is Role.LEADER or (self.leader is not None and self.leader != peer)):
            self._rubbish(peer, message, f"leads a term whose leader is {self.leader}")
            return False
        return True

    def _obey(self, peer: NodeId, term: int, now: Instant) -> None:
        """`peer` leads `term`. We follow it, whatever we were (paper 5.2)."""
        if term > self.term or self.leader is None or self.role is not Role.FOLLOWER:
            self._become_follower(term, peer, now)
        else:
            self._heard_at = now
            self._election_at = now + self._timeout_ns

    # Entries --------------------------------------------------------------------------------------------------------

    def _on_append_entries(self, peer: NodeId, message: AppendEntries, now: Instant) -> None:
        prev, entries = message.prev_index, message.entries
        if (
            not naturals(message.term, prev, message.prev_term, message.commit)
            or (configurations := examined(entries, prev + 1, message.prev_term, message.term)) == NOT_ENTRIES
        ):
            self._rubbish(peer, message)
            return
        if not self._may_lead(peer, message):
            return
        log, commit = self.log, self.commit
        if prev < commit:
            if self._contradicts_commit(message):
                self._rubbish(peer, message, "contradicts what is committed")
                return
            # What is committed is there already. The rest is checked as if it had been sent alone.
            entries = entries[commit - prev :]
            prev = commit
        elif log.term(prev) != message.prev_term:
            self._obey(peer, message.term, now)
            self._reject(peer, prev, message.prev_term)
            return
        first_new = log.conflict(entries)
        if first_new:
            if first_new > prev + 1:
                entries = entries[first_new - prev - 1 :]
            if not self._continues(entries, configurations):
                self._rubbish(peer, message, f"does not continue what comes before {first_new}")
                return
        self._obey(peer, message.term, now)
        last = entries[-1].index if entries else prev
        if first_new:
            if self.journal.is_full:
                return
            self._store(entries, now)
        if last > self._matched:
            self._matched = last
        if last <= self.journal.durable:
            self._send(peer, AppendAccepted(self.term, min(self._matched, self.journal.durable)))
        target = min(message.commit, last)
        if target > self.commit:
            self._commit_to(target, now)

    def _continues(self, entries: tuple[Entry, ...], configurations: int) -> bool:
        """Whether `entries` can follow the entry before the first of them, which both have.

        `configurations` is at least how many of them are one. Those after the first were compared with each other.
        """
        before = entries[0].index - 1
        if entries[0].time_ns < (self.sessions.time_ns if before == self.commit else self.log.time_ns_at(before)):
            return False
        if configurations:
            for entry in entries:
                if type(entry.payload) is Configuration:
                    return may_follow(self.configurations.at(before), entry.payload)
        return True

    def _contradicts_commit(self, message: AppendEntries) -> bool:
        """Whether an entry that is committed here is another one there. No leader that was elected could say so."""
        log, commit = self.log, self.commit
        if log.term(message.prev_index) not in (message.prev_term, UNKNOWN):
            return True
        for entry in message.entries[: commit - message.prev_index]:
            if log.term(entry.index) not in (entry.term, UNKNOWN):
                return True
        return False

    def _reject(self, peer: NodeId, prev_index: int, prev_term: int) -> None:
        hint = self.log.last_of_term_at_most(min(prev_index, self.log.last_index), prev_term)
        self._send(peer, AppendRejected(self.term, prev_index, hint, max(0, self.log.term(hint))))

    def _on_durable(self, before: int) -> None:
        """The disk has more of the log than `before`: acknowledge what the leader does not know yet."""
        durable = min(self._matched, self.journal.durable)
        if self.leader is not None and durable > before:
            self._send(self.leader, AppendAccepted(self.term, durable))

    # Heartbeats -----------------------------------------------------------------------------------------------------

    def _on_heartbeat(self, peer: NodeId, message: Heartbeat, now: Instant) -> None:
        if not naturals(message.term, message.commit, message.round):
            self._rubbish(peer, message)
            return
        if not self._may_lead(peer, message):
            return
        if message.commit > self.log.last_index:
            # A leader names no more than we acknowledged in its term, perhaps in a life before this one.
            self._rubbish(peer, message, f"commits beyond our last entry {self.log.last_index}: was the disk lost?")
            return
        self._obey(peer, message.term, now)
        if message.commit > self.commit:
            self._commit_to(message.commit, now)
        if message.round:
            self._send(peer, HeartbeatReply(self.term, message.round))

    # Snapshots ------------------------------------------------------------------------------------------------------

    def _on_install_snapshot(self, peer: NodeId, message: InstallSnapshot, now: Instant) -> None:
        numbers = naturals(message.term, message.index, message.snapshot_term, message.size, message.offset)
        if (
            not numbers
            or type(message.data) is not bytes
            or message.snapshot_term > message.term
            or message.offset + len(message.data) > message.size
            or message.size > self.options.max_snapshot_bytes
            or message.index > INDEX_MAX
        ):
            self._rubbish(peer, message, "is not well-formed or too large")
            return
        if not self._may_lead(peer, message):
            return
        index = message.index
        if self._contradicts_snapshot(index, message.snapshot_term):
            self._rubbish(peer, message, "contradicts what is committed")
        elif index <= self.commit or self.log.term(index) == message.snapshot_term:
            self._obey(peer, message.term, now)
            self._skip_snapshot(peer, index, now)
        else:
            self._take_chunk(peer, message, now)

    def _contradicts_snapshot(self, index: int, term: int) -> bool:
        """Whether no log can have an entry (`index`, `term`) and what is committed here, as every leader's has."""
        log, commit = self.log, self.commit
        if index > commit:
            return term < log.term(commit)
        own = log.term(index)
        return term > log.base_term if own == UNKNOWN else term != own

    def _take_chunk(self, peer: NodeId, message: InstallSnapshot, now: Instant) -> None:
        """Add a piece to the snapshot that is coming, and install it when that was the last.

        A snapshot that turns out to be none is dropped with all of its pieces, so that the next one begins from the
        start. That is all that is done about it. While another is on its way to the disk a piece is taken for lost, so
        that no more than two are in memory, however long the disk takes.
        """
        if self._saving:
            self._obey(peer, message.term, now)
            return
        incoming, key = self._incoming, (message.index, message.snapshot_term, message.size)
        if message.term > self.term or incoming is None or (incoming.index, incoming.term, incoming.size) != key:
            incoming = Incoming(*key)
        incoming.add(message.offset, message.data)
        if not incoming.is_complete:
            self._obey(peer, message.term, now)
            self._incoming = incoming
            self._send(peer, SnapshotReply(self.term, incoming.index, incoming.received))
            return
        if incoming is self._incoming:
            self._incoming = None
        snapshot = assemble(incoming.index, incoming.term, incoming.stream())
        if snapshot is None:
            self._rubbish(peer, message, "completes a snapshot that cannot be read")
            return
        sessions = Sessions.decode(snapshot.sessions)
        if sessions.time_ns < self.sessions.time_ns:
            self._rubbish(peer, message, "completes a snapshot from before what is committed")
            return
        self._obey(peer, message.term, now)
        self._incoming = None
        self._send(peer, SnapshotReply(self.term, snapshot.index, incoming.size))
        self._install(snapshot, sessions, now)

    def _skip_snapshot(self, peer: NodeId, index: int, now: Instant) -> None:
        """We have the entry at `index`: everything up to it is committed, and nothing needs to be replaced.

        The entries after it are kept (paper 7). Acknowledged is what is durable; the rest follows when it is.
        """
        self._incoming = None
        if index > self._matched:
            self._matched = index
        if index > self.commit:
            self._commit_to(index, now)
        self._send(peer, AppendAccepted(self.term, min(self._matched, self.journal.durable)))

    def _install(self, snapshot: Snapshot, sessions: Sessions, now: Instant) -> None:
        """Our log ends before the snapshot or contradicts it: begin again from there."""
        index = snapshot.index
        self.journal.truncate(self.commit + 1)
        self.log.reset(index, snapshot.term)
        self.configurations.reset(index, snapshot.configuration)
        self.sessions = sessions
        self.commit = self._matched = index
        self._keep_snapshot(snapshot)
        self._out.append(Restore(index, snapshot.term, snapshot.data))
        self._on_configuration(now)
        if self._waiting_reads:
            self._answer_waiting_reads()
