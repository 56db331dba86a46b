"""What all parts of the machine share: its state, and the few ways to change what others rely upon.

Theory of operation
-------------------
A handler changes the state and adds to `_out`; `Raft.handle` returns what was added. There are four ways out, and each
has its own promise:

`_send`         a message that names our term. It waits until the ballot of that term is durable.
`_send_now`     a message that promises nothing.
`_persist`      a record. What depends on it happens in `Raft._on_persisted`.
`_store`        entries, into the log and onto the disk. It keeps the history of configurations in step.

`_become_follower` is the only way to a higher term by hearsay and the only way out of office.
"""

from __future__ import annotations

from random import Random
from typing import Any

from ..machine import Instant, Note, Persist, Rejected, Reply, Severity, shown
from .configuration import Configuration, Configurations, NodeId, is_name
from .entries import Entry, Payload
from .events import ConfigurationChanged, NotLeader, RaftEffect, Role, RoleChanged, Send, SteppedDown, Unknown
from .journal import Journal
from .leadership import Leadership, RemoteRead, Transfer
from .log import Log
from .messages import Message, ReadReply
from .options import RaftOptions
from .progress import Progress
from .records import Append, Ballot, Record, Recovered
from .sessions import Sessions
from .snapshot import Incoming, Snapshot

NEVER: Instant = 2**63 - 1


class Core:
    """The state of a server. Attributes without an underscore may be read from outside, and by tests they are."""

    __slots__ = (
        "_capture",
        "_election_at",
        "_heard_at",
        "_incoming",
        "_matched",
        "_out",
        "_reads",
        "_reads_at",
        "_rng",
        "_saving",
        "_serial",
        "_snapshot_due",
        "_started",
        "_timeout_ns",
        "_votes",
        "_waiting_reads",
        "commit",
        "configurations",
        "id",
        "journal",
        "lead",
        "leader",
        "log",
        "options",
        "role",
        "sessions",
        "snapshot",
        "term",
        "vote",
    )

    def __init__(
        self, id: NodeId, rng: Random, options: RaftOptions | None = None, recovered: Recovered | None = None
    ) -> None:
        if not is_name(id):
            raise ValueError(f"a server cannot be named {shown(id)}")
        self.id = id
        self.options = options or RaftOptions()
        recovered = recovered or Recovered()
        base = recovered.base
        self.term = recovered.term
        self.vote = recovered.vote
        self.role = Role.FOLLOWER
        self.leader: NodeId | None = None
        self.log = Log(base.index, base.term, recovered.entries)
        self.configurations = Configurations(base.index, base.configuration)
        for entry in recovered.entries:
            if type(entry.payload) is Configuration:
                self.configurations.push(entry.index, entry.payload)
        self.snapshot = snapshot = recovered.snapshot
        """The latest one, durable or on its way to the disk."""
        self.sessions = Sessions() if snapshot is None else Sessions.decode(snapshot.sessions)
        self.commit = 0 if snapshot is None else snapshot.index
        """Everything up to here is committed, and has been applied when `handle` returns."""
        self.journal = Journal(self.log.last_index)
        self.lead: Leadership | None = None
        """What a leader knows; `None` for everybody else."""
        self._rng = rng
        self._out: list[RaftEffect] = []
        self._started = False
        self._timeout_ns = 0
        self._election_at: Instant = NEVER
        self._heard_at: Instant = -NEVER
        """When a leader was last heard."""
        self._votes: dict[NodeId, bool] = {}
        self._matched = self.commit
        """Up to here the log is known to equal that of the leader of this term. What is committed always does."""
        self._incoming: Incoming | None = None
        self._capture: Snapshot | None = None
        """What the machine itself puts into the snapshot that it asked the application for."""
        self._saving = 0
        """The ticket of the snapshot that is on its way to the disk, or 0."""
        self._snapshot_due = self.commit + self.options.snapshot_entries
        """From this commit index on a snapshot is worth considering."""
        self._serial = rng.getrandbits(62)
        """The number of the last read that was sent to a leader. A restarted server must not take the answer to one of
        its former life for its own, so it does not begin at 0."""
        self._reads: dict[int, tuple[Instant, Any]] = {}
        """The reads that the leader was asked about, with the instant at which each is given up, the oldest first."""
        self._reads_at: Instant = NEVER
        """When the first of these, or of the following, may have waited too long."""
        self._waiting_reads: list[tuple[int, Instant, Any]] = []
        """The reads that wait for an index to be applied, the oldest first."""

    # Ways out -------------------------------------------------------------------------------------------------------

    def _send(self, to: NodeId, message: Message) -> None:
        """Send a message that depends on our term or vote."""
        if self.journal.ballot:
            self.journal.withhold(Send(to, message))
        else:
            self._out.append(Send(to, message))

    def _send_now(self, to: NodeId, message: Message) -> None:
        """Send a message that promises nothing, and would still be right if we lost what is not durable."""
        self._out.append(Send(to, message))

    def _reply(self, request: Any, result: Any) -> None:
        self._out.append(Reply(request, result))

    def _rubbish(self, peer: NodeId, message: object, why: str = "is not well-formed") -> None:
        """Drop a message that nobody who keeps to the protocol would send."""
        self._out.append(Note(Severity.ERROR, f"{self.id} dropped a message of {peer}, which {why}: {shown(message)}"))

    def _persist(self, record: Record, last: int = 0) -> int:
        """Write `record`, which makes the log durable up to `last`. Returns the ticket."""
        if self.journal.ballot_due:
            self._write_ballot()
        ticket = self.journal.write(last)
        self._out.append(Persist(ticket, record))
        return ticket

    def _save_ballot(self) -> None:
        """Write the term and the vote, now or when the disk has come that far (`Journal`, rule 5)."""
        if self.journal.takes_ballots:
            self._write_ballot()
        else:
            self.journal.ballot_due = True

    def _write_ballot(self) -> None:
        ticket = self.journal.write_ballot()
        self._out.append(Persist(ticket, Ballot(self.term, self.vote)))

    # The log --------------------------------------------------------------------------------------------------------

    def _store(self, entries: tuple[Entry, ...], now: Instant) -> None:
        """Put `entries` into the log, in place of what stands there, and onto the disk."""
        log, first = self.log, entries[0].index
        assert first > self.commit, f"entry {first} is committed and would be overwritten"
        changed = False
        if first <= log.last_index:
            log.truncate(first)
            self.journal.truncate(first)
            changed = self.configurations.truncate(first)
        log.append(entries)
        for entry in entries:
            if type(entry.payload) is Configuration:
                self.configurations.push(entry.index, entry.payload)
                changed = True
        self._persist(Append(entries), log.last_index)
        if changed:
            self._on_configuration(now)

    def _append(self, lead: Leadership, payload: Payload, now: Instant) -> None:
        """Add one entry of our own term."""
        self._store((Entry(self.log.last_index + 1, self.term, payload, lead.time_ns(now)),), now)

    def _on_configuration(self, now: Instant) -> None:
        """Another configuration is in effect: tell the driver, and serve its members."""
        configurations, lead = self.configurations, self.lead
        index, configuration = configurations.latest_index, configurations.latest
        self._out.append(ConfigurationChanged(index, configuration, index <= self.commit))
        if lead is None:
            return
        lead.commit_due = True
        members = configuration.members
        for node in members:
            if node != self.id and node not in lead.progress:
                lead.progress[node] = Progress(self.log.last_index + 1, now)
        lead.leaving = {node: None for node in lead.progress if node not in members}

    # Roles ----------------------------------------------------------------------------------------------------------

    def _become_follower(
        self, term: int, leader: NodeId | None, now: Instant, vote: NodeId | None = None, why: str = ""
    ) -> None:
        """Enter `term`, if it is higher than ours, and follow `leader` in it, if there is one.

        The election timer starts again where there is a reason to wait (a leader, or a vote that was given), and where
        it was not running because we led.
        """
        led = self.lead is not None
        before = (self.role, self.term, self.leader)
        if term > self.term:
            self._enter(term, vote)
        self.role = Role.FOLLOWER
        self.leader = leader
        if led:
            self._leave_office(why or f"{self.id} lost the leadership of term {before[1]}")
        if leader is not None:
            self._heard_at = now
        if led or leader is not None or vote is not None:
            self._restart_election_timer(now)
        self._role_changed(before)

    def _enter(self, term: int, vote: NodeId | None) -> None:
        """A new term. Nothing of the old one counts any more."""
        self.term = term
        self.vote = vote
        self._matched = self.commit
        self._incoming = None
        self.journal.forget_withheld()
        self._save_ballot()

    def _role_changed(self, before: tuple[Role, int, NodeId | None]) -> None:
        if before == (self.role, self.term, self.leader):
            return
        self._out.append(RoleChanged(self.role, self.term, self.leader))
        if before[1:] != (self.term, self.leader):
            self._give_up_reads()

    def _restart_election_timer(self, now: Instant) -> None:
        """Draw a timeout and begin to wait. A new one each time, so that two who collided do not do so again."""
        options = self.options
        self._timeout_ns = self._rng.randint(options.election_timeout_min_ns, options.election_timeout_max_ns)
        self._election_at = now + self._timeout_ns

    def _leave_office(self, why: str) -> None:
        """Answer everything that this leader was asked and did not finish."""
        lead, self.lead = self.lead, None
        assert lead is not None
        for _, request in lead.proposals:
            self._reply(request, Unknown(why))
        if lead.change is not None:
            self._reply(lead.change[1], Unknown(why))
        if lead.catch_up is not None:
            self._reply(lead.catch_up.event.request, NotLeader(why, self.leader))
        if lead.transfer is not None:
            self._end_transfer(lead.transfer, SteppedDown(self.term))
        for request in [*(request for _, _, request in lead.reads), *lead.early_reads]:
            self._refuse_read(request, why)

    def _end_transfer(self, transfer: Transfer, result: SteppedDown | Rejected | None) -> None:
        if transfer.is_local:
            self._reply(transfer.request, result)

    # Reads ----------------------------------------------------------------------------------------------------------

    def _refuse_read(self, request: Any, why: str) -> None:
        if type(request) is RemoteRead:
            self._send(request.peer, ReadReply(self.term, request.id, None))
        else:
            self._reply(request, NotLeader(why, self.leader))

    def _give_up_reads(self) -> None:
        """The leader that was asked leads no more, or nobody can say whether it does."""
        if not self._reads:
            return
        reads, self._reads = self._reads, {}
        for _, request in reads.values():
            self._reply(request, NotLeader(f"the leader that {self.id} asked has changed", self.leader))
