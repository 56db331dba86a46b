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
"""

from __future__ import annotations

from ..machine import Instant
from .applying import Applying
from .configuration import NodeId
from .entries import are_entries
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
from .snapshot import Incoming, Snapshot, assemble


class Following(Applying):
    """Obeys the leader of the term."""

    __slots__ = ()

    def _obey(self, peer: NodeId, message: AppendEntries | Heartbeat | InstallSnapshot, now: Instant) -> bool:
        """Whether `peer` leads the current term. If so we follow it, whatever we were (paper 5.2)."""
        term = message.term
        if term < self.term:
            self._send(peer, Stale(self.term))
            return False
        if term == self.term and (self.role is Role.LEADER or (self.leader is not None and self.leader != peer)):
            self._rubbish(peer, message, f"leads a term whose leader is {self.leader}")
            return False
        if term > self.term or self.leader is None or self.role is not Role.FOLLOWER:
            self._become_follower(term, peer, now)
        else:
            self._heard_at = now
            self._election_at = now + self._timeout_ns
        return True

    # Entries --------------------------------------------------------------------------------------------------------

    def _on_append_entries(self, peer: NodeId, message: AppendEntries, now: Instant) -> None:
        prev, entries = message.prev_index, message.entries
        if not naturals(message.term, prev, message.prev_term, message.commit) or not are_entries(
            entries, prev + 1, message.term
        ):
            self._rubbish(peer, message)
            return
        log, commit = self.log, self.commit
        if prev < commit and message.term >= self.term and self._contradicts_commit(message):
            self._rubbish(peer, message, "contradicts what is committed")
            return
        if not self._obey(peer, message, now):
            return
        if prev < commit:
            # What is committed is there already. The rest is checked as if it had been sent alone.
            entries = entries[commit - prev :]
            prev = commit
        elif log.term(prev) != message.prev_term:
            self._reject(peer, prev, message.prev_term)
            return
        first_new = log.conflict(entries)
        if first_new:
            self._store(entries[first_new - prev - 1 :] if first_new > prev + 1 else entries, now)
        last = prev + len(entries)
        if last > self._matched:
            self._matched = last
        if last <= self.journal.durable:
            self._send(peer, AppendAccepted(self.term, min(self._matched, self.journal.durable)))
        target = min(message.commit, last)
        if target > self.commit:
            self._commit_to(target, now)

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
        if message.commit > self.log.last_index and message.term >= self.term:
            # A leader names no more than we acknowledged in its term, perhaps in a life before this one.
            self._rubbish(peer, message, f"commits beyond our last entry {self.log.last_index}: was the disk lost?")
            return
        if not self._obey(peer, message, now):
            return
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
        ):
            self._rubbish(peer, message, "is not well-formed or too large")
            return
        if not self._obey(peer, message, now):
            return
        index = message.index
        if index <= self.commit or self.log.term(index) == message.snapshot_term:
            self._skip_snapshot(peer, index, now)
            return
        incoming = self._incoming
        if incoming is None or (incoming.index, incoming.term, incoming.size) != (
            index,
            message.snapshot_term,
            message.size,
        ):
            incoming = self._incoming = Incoming(index, message.snapshot_term, message.size)
        incoming.add(message.offset, message.data)
        if not incoming.is_complete:
            self._send(peer, SnapshotReply(self.term, index, incoming.received))
            return
        self._incoming = None
        snapshot = assemble(index, incoming.term, incoming.stream())
        if snapshot is None:
            self._rubbish(peer, message, "completes a snapshot that cannot be read")
            return
        self._send(peer, SnapshotReply(self.term, index, incoming.size))
        self._install(snapshot, now)

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

    def _install(self, snapshot: Snapshot, now: Instant) -> None:
        """Our log ends before the snapshot or contradicts it: begin again from there."""
        index = snapshot.index
        self.journal.truncate(self.commit + 1)
        self.log.reset(index, snapshot.term)
        self.configurations.reset(index, snapshot.configuration)
        self.sessions = Sessions.decode(snapshot.sessions)
        self.commit = self._matched = index
        self._keep_snapshot(snapshot)
        self._out.append(Restore(index, snapshot.term, snapshot.data))
        self._on_configuration(now)
        if self._waiting_reads:
            self._answer_waiting_reads()
