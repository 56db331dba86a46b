"""The leader's side of replication: what each follower is sent, and what a majority has.

Theory of operation
-------------------
`_serve` looks at one follower and sends whatever is allowed and useful: entries as far as the window goes, a probe, a
chunk of a snapshot, or the news that the commit index has moved. It follows from the state alone, and calling it again
sends nothing more. So the handlers only note what they learned, and `Raft.handle` ends with one round of it.

Lost messages are noticed in two ways. What comes after a gap is rejected. And the answer to a heartbeat shows that the
follower lives: a probe is repeated then, and a follower whose acknowledgements are missing is sent an empty
AppendEntries after the last entry that it should have, which it rejects if it has not (`check_due`). So a message is
never repeated merely because time has passed.

Our own log counts as a follower's does, from when it is durable; until then the others may be a majority without us
(thesis 10.2.1). What our own disk lacks counts as uncommitted where that is limited: a disk may hang.
An index counts as committed only where its entry is of our own term (paper 5.4.2, Figure 8).
"""

from __future__ import annotations

from ..machine import Instant, Nanoseconds, Rejected
from .applying import Applying
from .configuration import NodeId
from .entries import OVERHEAD, Command, Entry, OpenSession, Proposable
from .events import NotLeader, Propose
from .leadership import Leadership
from .log import Log
from .messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    InstallSnapshot,
    SnapshotReply,
    TimeoutNow,
    naturals,
)
from .progress import PROBE, REPLICATE, SNAPSHOT, Progress
from .quorum import reached
from .snapshot import Outgoing


def committable(log: Log, term: int, commit: int, acknowledged: list[int]) -> int:
    """The commit index, given how much each voter has: `commit`, or more where an entry of `term` is on a majority.

    Paper 5.4.2: entries of earlier terms are never committed by counting, but with one of this term.
    """
    index = reached(acknowledged)
    return index if index > commit and log.term(index) == term else commit


class Replicating(Applying):
    """Brings the followers' logs into line with its own."""

    __slots__ = ()

    # Proposals ------------------------------------------------------------------------------------------------------

    def _on_propose(self, event: Propose, now: Instant) -> None:
        lead = self.lead
        if lead is None or lead.transfer is not None:
            refusal = self._not_leading() if lead is None else self._transferring(lead)
            for proposal in event.proposals:
                self._reply(proposal.request, refusal)
            return
        index, term, time_ns = self.log.last_index, self.term, lead.time_ns(now)
        durable = self.journal.durable
        room = self.options.max_uncommitted_bytes - self.log.bytes_between(min(self.commit, durable), index)
        used = bool(lead.proposals) or durable < self.commit
        entries: list[Entry] = []
        for proposal in event.proposals:
            payload = proposal.payload
            size = OVERHEAD + len(payload.data) if type(payload) is Command else OVERHEAD
            why = self._objection(payload, size, time_ns)
            if why is None and used and size > room:
                why = f"{self.id} has too much that is not committed or not on its disk; try again later"
            if why is not None:
                self._reply(proposal.request, Rejected(why))
                continue
            index += 1
            room -= size
            used = True
            entries.append(Entry(index, term, payload, time_ns))
            lead.proposals.append((index, proposal.request))
        if entries:
            self._store(tuple(entries), now)

    def _objection(self, payload: Proposable, size: int, time_ns: Nanoseconds) -> str | None:
        """Why something cannot be proposed, or `None`."""
        if type(payload) is Command:
            if size > self.options.max_command_bytes + OVERHEAD:
                return f"the command has {len(payload.data)} bytes, over the limit of {self.options.max_command_bytes}"
            if payload.session and not payload.floor <= payload.serial:
                return f"the command gives up its own answer: floor {payload.floor}, serial {payload.serial}"
            if payload.session and not payload.serial:
                return "the serials of a session begin at 1"
        elif isinstance(payload, OpenSession) and self.sessions.is_full(self.options.max_sessions, time_ns):
            return f"{len(self.sessions)} sessions are open, and no more are allowed"
        return None

    def _not_leading(self) -> NotLeader:
        if self.leader is None:
            return NotLeader(f"{self.id} does not lead, and knows nobody who does")
        return NotLeader(f"{self.id} does not lead; {self.leader} does", self.leader)

    def _transferring(self, lead: Leadership) -> Rejected:
        assert lead.transfer is not None
        return Rejected(f"the leadership is being transferred to {lead.transfer.target}; try again when it is over")

    # Answers --------------------------------------------------------------------------------------------------------

    def _is_for_us(self, term: int) -> bool:
        """Whether an answer of `term` is one to this leader. Then it is examined before anything is done about it."""
        return term == self.term and self.lead is not None

    def _heard(self, peer: NodeId, term: int, now: Instant) -> Progress | None:
        """The follower whose answer this is, or `None` where it is not an answer to this leader.

        A later term is believed, whatever else the answer says.
        """
        if term > self.term:
            self._become_follower(term, None, now)
            return None
        lead = self.lead
        if lead is None or term < self.term:
            return None
        progress = lead.progress.get(peer)
        if progress is not None:
            progress.heard_at = now
        return progress

    def _on_append_accepted(self, peer: NodeId, message: AppendAccepted, now: Instant) -> None:
        if not naturals(message.term, message.match):
            self._rubbish(peer, message)
            return
        if message.match > self.log.last_index and self._is_for_us(message.term):
            self._rubbish(peer, message, f"acknowledges more than the {self.log.last_index} entries that there are")
            return
        progress = self._heard(peer, message.term, now)
        if progress is None:
            return
        news = progress.accept(message.match)
        if news and message.match > self.commit and self.lead is not None:
            self.lead.commit_due = True
        if progress.state is PROBE and message.match == progress.match:
            progress.replicate()
        elif progress.outgoing is not None:
            self._on_snapshot_acknowledged(progress, progress.outgoing)

    def _on_snapshot_acknowledged(self, progress: Progress, outgoing: Outgoing) -> None:
        """Go on from the log, if it reaches back to what the follower has now. Otherwise it takes another snapshot."""
        if progress.match >= self.log.base_index:
            progress.replicate()
        elif progress.match >= outgoing.index:
            progress.probe()

    def _on_append_rejected(self, peer: NodeId, message: AppendRejected, now: Instant) -> None:
        if not naturals(message.term, message.prev_index, message.hint_index, message.hint_term):
            self._rubbish(peer, message)
            return
        if message.hint_index > message.prev_index or message.hint_term > message.term:
            self._rubbish(peer, message, "has a hint that helps nobody")
            return
        if message.prev_index > self.log.last_index and self._is_for_us(message.term):
            self._rubbish(peer, message, f"rejects more than the {self.log.last_index} entries that there are")
            return
        progress = self._heard(peer, message.term, now)
        if progress is not None:
            hint = self.log.last_of_term_at_most(message.hint_index, message.hint_term)
            progress.reject(message.prev_index, hint)

    def _on_snapshot_reply(self, peer: NodeId, message: SnapshotReply, now: Instant) -> None:
        if not naturals(message.term, message.index, message.received):
            self._rubbish(peer, message)
            return
        if self._is_for_us(message.term) and not self._was_sent(peer, message):
            self._rubbish(peer, message, "has received more than there is")
            return
        progress = self._heard(peer, message.term, now)
        if progress is None or progress.outgoing is None or progress.outgoing.index != message.index:
            return
        outgoing, received = progress.outgoing, message.received
        if received != outgoing.offset:
            # The next chunk is sent at once. One that comes again waits for a heartbeat: the answer that asks for it
            # may be an old one, and if every doubled answer were served, the rest of the transfer would be doubled.
            if received > outgoing.offset:
                outgoing.sent_at = None if received < outgoing.size else now
            outgoing.offset = received

    def _was_sent(self, peer: NodeId, message: SnapshotReply) -> bool:
        """Whether there is as much of a snapshot as `peer` says that it has."""
        assert self.lead is not None
        progress = self.lead.progress.get(peer)
        if progress is not None and progress.outgoing is not None and progress.outgoing.index == message.index:
            return message.received <= progress.outgoing.size
        return self.snapshot is not None and message.index <= self.snapshot.index

    def _heartbeat_answered(self, progress: Progress, now: Instant) -> None:
        """The follower lives. If it still misses something, something may have been lost."""
        if progress.state is PROBE:
            progress.probing = False
        elif progress.state is REPLICATE:
            progress.check_due = progress.match < self.log.last_index
        elif progress.outgoing is not None:
            progress.outgoing.ask_again(now - self.options.heartbeat_interval_ns)

    def _on_unreachable(self, peer: NodeId) -> None:
        progress = self.lead.progress.get(peer) if self.lead is not None else None
        if progress is not None and progress.state is REPLICATE:
            progress.probe()

    # Service --------------------------------------------------------------------------------------------------------

    def _serve(self, peer: NodeId, progress: Progress, now: Instant) -> None:
        """Send to one follower whatever is allowed and useful."""
        if progress.state is REPLICATE:
            if progress.next <= self.log.last_index:
                self._send_entries(peer, progress)
            if progress.check_due:
                self._send_append(peer, progress, ())
            if progress.commit_told < self.commit and progress.commit_told < progress.match:
                progress.commit_told = commit = min(progress.match, self.commit)
                self._send(peer, Heartbeat(self.term, commit, 0))
        if progress.state is PROBE and not progress.probing:
            self._send_probe(peer, progress)
        if progress.state is SNAPSHOT:
            self._send_chunk(peer, progress, now)

    def _send_entries(self, peer: NodeId, progress: Progress) -> None:
        """Entries ahead of their acknowledgement, as far as the window goes."""
        log, options = self.log, self.options
        if progress.next <= log.base_index:
            progress.probe()
            return
        while (
            progress.next <= log.last_index
            and len(progress.inflight) < options.max_inflight_messages
            and progress.inflight_bytes < options.max_inflight_bytes
        ):
            entries = log.batch(progress.next, options.max_message_entries, options.max_message_bytes)
            last = entries[-1].index
            size = log.bytes_between(progress.next - 1, last)
            self._send_append(peer, progress, entries)
            progress.sent(last, size)

    def _send_append(self, peer: NodeId, progress: Progress, entries: tuple[Entry, ...]) -> None:
        prev = progress.next - 1
        self._send(peer, AppendEntries(self.term, prev, self.log.term(prev), entries, self.commit))
        progress.check_due = False
        told = min(self.commit, prev + len(entries))
        if told > progress.commit_told:
            progress.commit_told = told

    def _send_probe(self, peer: NodeId, progress: Progress) -> None:
        """One message, and then wait for what the follower says."""
        log, options = self.log, self.options
        if progress.next <= log.base_index:
            self._begin_snapshot(peer, progress)
            return
        entries: tuple[Entry, ...] = ()
        if progress.next <= log.last_index:
            entries = log.batch(progress.next, options.max_message_entries, options.max_message_bytes)
        self._send_append(peer, progress, entries)
        progress.probing = True

    # Snapshots ------------------------------------------------------------------------------------------------------

    def _begin_snapshot(self, peer: NodeId, progress: Progress) -> None:
        """The follower needs entries that were compacted."""
        assert self.snapshot is not None, f"the log begins after {self.log.base_index}, and no snapshot covers that"
        progress.restore(Outgoing(self.snapshot))

    def _send_chunk(self, peer: NodeId, progress: Progress, now: Instant) -> None:
        outgoing = progress.outgoing
        assert outgoing is not None
        if outgoing.sent_at is not None:
            return
        outgoing.sent_at = now
        chunk = outgoing.chunk(self.options.snapshot_chunk_bytes)
        self._send(
            peer, InstallSnapshot(self.term, outgoing.index, outgoing.term, outgoing.size, outgoing.offset, chunk)
        )

    # Commitment -----------------------------------------------------------------------------------------------------

    def _advance_commit(self, lead: Leadership, now: Instant) -> None:
        """Commit what a majority has. A leader that is no voter any more leaves when that is committed."""
        configurations, progress, before = self.configurations, lead.progress, self.commit
        acknowledged = [
            self.journal.durable if voter == self.id else progress[voter].match
            for voter in configurations.latest.voters
        ]
        index = committable(self.log, self.term, before, acknowledged)
        if index > before:
            self._commit_to(index, now)
            if before < configurations.latest_index <= index and self.id not in configurations.latest.voters:
                self._leave(lead, now)

    def _leave(self, lead: Leadership, now: Instant) -> None:
        """We are no voter any more, and that is committed (thesis 4.2.2). One who has everything may lead at once."""
        for peer, progress in lead.progress.items():
            self._serve(peer, progress, now)
        voters = self.configurations.latest.voters
        heirs = [peer for peer in voters if lead.progress[peer].match == self.log.last_index]
        if heirs:
            self._send(heirs[0], TimeoutNow(self.term))
        self._become_follower(self.term, None, now, why=f"{self.id} has left the configuration")

    def _see_off(self, lead: Leadership, now: Instant, *, all_of_them: bool = False) -> None:
        """Those who are leaving have been told that it is committed, or have had time enough: forget them."""
        index = self.configurations.latest_index
        if index > self.commit:
            return
        for peer in [peer for peer in lead.leaving if all_of_them or lead.progress[peer].match >= index]:
            self._serve(peer, lead.progress.pop(peer), now)
            del lead.leaving[peer]
