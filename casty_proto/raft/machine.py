"""The Raft machine: one server of a cluster that agrees on one log.

Theory of operation
-------------------
The machine is one class, whose methods stand in files by subject. `Core` has the state and the ways out; each part adds
the handlers of its messages and events, and knows nothing of the parts beside it.

    Core           core.py          state, sending, persisting, the way down from office
      Applying     applying.py      commit index -> application; snapshots of it
        Following  following.py     what a leader sends
        Replicating replication.py  what a leader sends out, and what a majority has
          Contact  contact.py       heartbeats, the leader's quorum, reads
        Membership membership.py    changes of the configuration, transfer of leadership
        Election   election.py      votes

    Raft           machine.py       which handler an event belongs to; deadlines; what a leader does after each event

Plain values and arithmetic, each with tests of its own, are in `log`, `quorum`, `configuration`, `progress`, `journal`,
`sessions`, `snapshot` and `records`.

A handler does what its event says and no more. What follows from it for a leader is not spelled out in each of them but
stands in one place, `_lead_on`, which `handle` calls last: commit what a majority has, answer the reads that this
allows, take the next step of a change or a transfer, and send each follower what it lacks. All of these follow from the
state and do nothing when there is nothing to do.

Time: a server that leads has the deadlines of the next heartbeat, of the check of its quorum and of a transfer;
another one has its election timeout; and either may have reads that wait. Each is one attribute, so `deadline()` is a
minimum of a few numbers.
"""

from __future__ import annotations

from typing import assert_never

from ..machine import Instant, Note, Persisted, Severity, Wake, shown
from .configuration import is_name
from .contact import Contact
from .core import NEVER
from .election import Election
from .events import (
    ChangeMembership,
    Propose,
    RaftEffect,
    RaftEvent,
    Read,
    Received,
    Restore,
    SnapshotTaken,
    Start,
    TransferLeadership,
    Unreachable,
)
from .following import Following
from .invariants import check, check_deeply
from .leadership import Leadership
from .membership import Membership
from .messages import (
    TERM_LEAP,
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    ReadReply,
    ReadRequest,
    RequestTransfer,
    RequestVote,
    SnapshotReply,
    Stale,
    TimeoutNow,
    Vote,
)
from .progress import REPLICATE


class Raft(Election, Membership, Contact, Following):
    """One server. `recovered` is what its records amount to; `rng` draws the election timeouts.

    `id` is its name, and stands for one disk. Without `options` the defaults hold, without `recovered` it is one that
    nobody has told anything yet. Raises `ValueError` for an `id` that others would not take for a name.
    """

    __slots__ = ()

    # The machine ----------------------------------------------------------------------------------------------------

    def handle(self, event: RaftEvent, now: Instant) -> tuple[RaftEffect, ...]:
        """Apply one event and return all of its effects, in order; see `casty_proto.machine`."""
        out: list[RaftEffect] = []
        self._out = out
        match event:
            case Received():
                self._on_received(event, now)
            case Persisted():
                self._on_persisted(event.ticket, now)
            case Propose():
                self._on_propose(event, now)
            case Wake():
                self._on_wake(now)
            case Read():
                self._on_read(event, now)
            case SnapshotTaken():
                self._on_snapshot_taken(event)
            case ChangeMembership():
                self._on_change_membership(event, now)
            case TransferLeadership():
                self._on_transfer_leadership(event, now)
            case Unreachable():
                self._on_unreachable(event.peer)
            case Start():
                self._on_start(now)
            case _:
                assert_never(event)
        if self.lead is not None:
            self._lead_on(self.lead, now)
        return tuple(out)

    def deadline(self) -> Instant | None:
        """When the machine wants `Wake`, or `None`."""
        lead, at = self.lead, self._reads_at
        if lead is None:
            if self._election_at < at:
                at = self._election_at
        else:
            at = min(at, lead.heartbeat_at, lead.quorum_at)
            if lead.transfer is not None:
                at = min(at, lead.transfer.due_at)
        return None if at == NEVER else at

    def invariants(self) -> None:
        """Assert what must hold between two events, at a cost that does not grow with the log."""
        check(self)

    def deep_invariants(self) -> None:
        """Assert it of the whole log and of all sessions too."""
        check_deeply(self)

    # Events ---------------------------------------------------------------------------------------------------------

    def _on_start(self, now: Instant) -> None:
        if self._started:
            self._out.append(Note(Severity.ERROR, f"{self.id} was started before, and goes on as it is"))
            return
        self._started = True
        snapshot = self.snapshot
        if snapshot is not None:
            self._out.append(Restore(snapshot.index, snapshot.term, snapshot.data))
        if self.configurations.latest.voters:
            self._on_configuration(now)
        if self.options.lease_reads and self.term:
            # Before we stopped we may have heard a leader, which counts on that (`Contact`, leases).
            self._heard_at = now
        self._restart_election_timer(now)
        if self.configurations.latest.voters == (self.id,):
            # Nobody else can lead, so there is nobody to wait for.
            self._election_at = now

    def _on_received(self, event: Received, now: Instant) -> None:
        peer, message = event.peer, event.message
        if not is_name(peer):
            self._rubbish(shown(peer), message, "is of nobody who could be a server")
            return
        if peer == self.id:
            self._rubbish(peer, message, "is ourselves")
            return
        term = getattr(message, "term", None)
        if type(term) is int and term > self.term + TERM_LEAP and self.configurations.latest.voters:
            self._rubbish(peer, message, f"is of a term that cannot have come after {self.term}")
            return
        match message:
            case AppendEntries():
                self._on_append_entries(peer, message, now)
            case AppendAccepted():
                self._on_append_accepted(peer, message, now)
            case Heartbeat():
                self._on_heartbeat(peer, message, now)
            case HeartbeatReply():
                self._on_heartbeat_reply(peer, message, now)
            case RequestVote():
                self._on_request_vote(peer, message, now)
            case Vote():
                self._on_vote(peer, message, now)
            case AppendRejected():
                self._on_append_rejected(peer, message, now)
            case ReadRequest():
                self._on_read_request(peer, message, now)
            case ReadReply():
                self._on_read_reply(peer, message, now)
            case InstallSnapshot():
                self._on_install_snapshot(peer, message, now)
            case SnapshotReply():
                self._on_snapshot_reply(peer, message, now)
            case Stale():
                self._on_stale(peer, message, now)
            case TimeoutNow():
                self._on_timeout_now(peer, message, now)
            case RequestTransfer():
                self._on_request_transfer(peer, message, now)
            case _:
                self._rubbish(peer, message, "is no message of this protocol")

    def _on_persisted(self, ticket: int, now: Instant) -> None:
        """Everything up to `ticket` is durable: do what was waiting for it."""
        journal = self.journal
        if not journal.done < ticket <= journal.issued:
            if ticket > journal.issued:
                self._out.append(Note(Severity.ERROR, f"{self.id} never wrote ticket {ticket}; ignored"))
            return
        durable, had_ballot = journal.durable, journal.ballot
        self._out += journal.settle(ticket)
        if journal.ballot_due and not journal.ballot:
            self._write_ballot()
        if had_ballot and not journal.ballot:
            self._on_ballot_durable(now)
        if journal.durable > durable:
            if self.lead is not None:
                self.lead.commit_due = True
            else:
                self._on_durable(durable)
        if self._saving and self._saving <= ticket:
            self._on_snapshot_durable()

    def _on_wake(self, now: Instant) -> None:
        lead = self.lead
        if lead is None:
            if self._election_at <= now:
                self._on_election_due(now)
        else:
            self._on_leader_wake(lead, now)
        if self._reads_at <= now:
            self._on_reads_due(now)

    def _on_leader_wake(self, lead: Leadership, now: Instant) -> None:
        if lead.transfer is not None and lead.transfer.due_at <= now:
            self._on_transfer_due(lead)
        if lead.quorum_at <= now:
            self._go_on_alone(lead, now)
            self._on_quorum_due(lead, now)
            if self.lead is None:
                return
            self._check_catch_up(lead, now)
        if lead.heartbeat_at <= now:
            self._on_heartbeat_due(lead, now)

    # What follows, for a leader -------------------------------------------------------------------------------------

    def _lead_on(self, lead: Leadership, now: Instant) -> None:
        """Do whatever the state asks of a leader now. Does nothing when called again."""
        while True:
            if lead.commit_due:
                lead.commit_due = False
                self._advance_commit(lead, now)
                if self.lead is None:
                    return
            if lead.catch_up is not None:
                self._go_on_catching_up(lead, now)
            if not lead.commit_due:
                break
        if lead.leaving:
            self._see_off(lead, now)
        if lead.reads or lead.early_reads:
            self._answer_reads(lead, now)
        if lead.transfer is not None:
            self._go_on_transferring(lead)
        last, commit = self.log.last_index, self.commit
        for peer, progress in lead.progress.items():
            # Most of the time there is nothing to say, so that is found out here.
            if (
                progress.next <= last
                or progress.commit_told < commit
                or progress.check_due
                or progress.state is not REPLICATE
            ):
                self._serve(peer, progress, now)
