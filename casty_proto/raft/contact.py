"""Who is still there: heartbeats, the leader's quorum, and reads that rest upon both.

Theory of operation
-------------------
A leader sends a heartbeat to everybody in every interval, and gets an answer. The answers prove three things.

1.  The follower lives, so what it misses is worth sending again (`Replicating._heartbeat_answered`).
2.  A majority was heard within an election timeout. A leader that cannot say so steps down, in the same term: the
    others may have another leader already, and its clients wait for nothing (thesis 6.2).
3.  At the time of the answer the follower knew of no later term. Heartbeats are numbered in rounds, and the answer
    names the round. A read (thesis 6.4) takes the commit index of the moment in which it was asked for, and a round
    that begins after that; when a majority has answered that round, or a later one, no other leader can have committed
    anything before the read began. Answers to earlier rounds prove nothing about it, however late they arrive.

One round for reads is under way at a time. The reads that come meanwhile share the next, so the traffic does not grow
with them. A round whose messages were lost is replaced by the next interval's.

Before the first commit of its term a leader does not know what is committed (thesis 6.4), and reads wait for that too.
A follower asks the leader, and then waits until it has applied that index itself. It answers none where it waited too
long or where the leader changed: reads can be repeated.

Leases (thesis 6.4.1; off by default) spare the round. Whoever answers a heartbeat votes for nobody else for the
shortest election timeout; so from when a round was sent that a majority answered, and for that long by a clock that may
be fast, nobody else leads. There is one exception, an election that the leader asked for, and a message that asks for
one may be late. So a leader that has sent one has no lease any more. And a server that restarts keeps the promise that
it may have given: for an election timeout it votes for nobody.
"""

from __future__ import annotations

from typing import Any

from ..machine import Instant, Rejected
from .configuration import NodeId
from .core import NEVER
from .events import NotLeader, Read, ReadReady
from .leadership import Leadership, RemoteRead
from .messages import Heartbeat, HeartbeatReply, ReadReply, ReadRequest, naturals
from .quorum import reached
from .replication import Replicating

MAX_READS = 65_536
"""How many reads may wait at a leader. Without `check_quorum` it may wait for a majority for ever."""


class Contact(Replicating):
    """Keeps in touch, and answers reads."""

    __slots__ = ()

    # Heartbeats -----------------------------------------------------------------------------------------------------

    def _on_heartbeat_due(self, lead: Leadership, now: Instant) -> None:
        self._begin_round(lead, now)

    def _begin_round(self, lead: Leadership, now: Instant) -> None:
        """Send everybody a heartbeat with a new number. The next is due an interval later."""
        lead.heartbeat_at = now + self.options.heartbeat_interval_ns
        lead.round = number = lead.round + 1
        if self.options.lease_reads:
            lead.lease_rounds.append((number, now))
        term, commit = self.term, self.commit
        for peer, progress in lead.progress.items():
            told = min(progress.match, commit)
            if told > progress.commit_told:
                progress.commit_told = told
            self._send(peer, Heartbeat(term, told, number))

    def _on_heartbeat_reply(self, peer: NodeId, message: HeartbeatReply, now: Instant) -> None:
        if not naturals(message.term, message.round):
            self._rubbish(peer, message)
            return
        lead = self.lead
        if lead is not None and message.term == self.term and not 0 < message.round <= lead.round:
            self._rubbish(peer, message, f"answers a round that is none of the {lead.round} that there were")
            return
        progress = self._heard(peer, message.term, now)
        if progress is None or self.lead is None:
            return
        if message.round > progress.round:
            progress.round = message.round
            if self.options.lease_reads:
                self._renew_lease(self.lead)
        self._heartbeat_answered(progress, now)

    def _on_quorum_due(self, lead: Leadership, now: Instant) -> None:
        """Has a majority been heard within the last election timeout? (thesis 6.2)"""
        timeout_ns = self.options.election_timeout_min_ns
        heard_at = [
            now if voter == self.id else lead.progress[voter].heard_at for voter in self.configurations.latest.voters
        ]
        self._see_off(lead, now, all_of_them=True)
        until = reached(heard_at) + timeout_ns
        if until > now:
            lead.quorum_at = until
        elif self.options.check_quorum:
            self._become_follower(self.term, None, now, why=f"{self.id} does not hear a majority any more")
        else:
            lead.quorum_at = now + timeout_ns

    # Reads of our own -------------------------------------------------------------------------------------------------

    def _on_read(self, event: Read, now: Instant) -> None:
        lead = self.lead
        if lead is not None:
            self._read(lead, event.request, now)
            return
        if self.leader is None:
            self._reply(event.request, NotLeader(f"{self.id} knows no leader that could be asked"))
            return
        self._serial += 1
        until = now + self.options.read_timeout_ns
        self._reads[self._serial] = (until, event.request)
        self._reads_at = min(self._reads_at, until)
        # The leader knows the term that this names, and it promises nothing: it need not wait for the ballot.
        self._send_now(self.leader, ReadRequest(self.term, self._serial))

    def _on_read_reply(self, peer: NodeId, message: ReadReply, now: Instant) -> None:
        index = message.index
        if not naturals(message.term, message.id) or (index is not None and not naturals(index)):
            self._rubbish(peer, message)
            return
        if message.term > self.term:
            self._become_follower(message.term, None, now)
            return
        if message.term < self.term or message.id not in self._reads:
            return
        if peer != self.leader:
            self._rubbish(peer, message, f"answers what {self.leader} was asked")
            return
        until, request = self._reads.pop(message.id)
        if index is None:
            self._reply(request, NotLeader(f"{peer} does not lead any more", self.leader))
        elif index <= self.commit:
            self._reply(request, ReadReady(self.commit))
        else:
            self._waiting_reads.append((index, until, request))

    def _on_reads_due(self, now: Instant) -> None:
        """Give up the reads that have waited too long."""
        asked, waiting = self._reads, self._waiting_reads
        self._reads = {serial: read for serial, read in asked.items() if read[0] > now}
        self._waiting_reads = [read for read in waiting if read[1] > now]
        ends = [until for until, _ in self._reads.values()] + [until for _, until, _ in self._waiting_reads]
        self._reads_at = min(ends, default=NEVER)
        for until, request in asked.values():
            if until <= now:
                self._reply(request, NotLeader(f"{self.leader} did not answer in time", self.leader))
        for index, until, request in waiting:
            if until <= now:
                self._reply(request, NotLeader(f"{self.id} did not apply {index} in time", self.leader))

    # Reads at the leader ----------------------------------------------------------------------------------------------

    def _on_read_request(self, peer: NodeId, message: ReadRequest, now: Instant) -> None:
        if not naturals(message.term, message.id):
            self._rubbish(peer, message)
            return
        if message.term > self.term:
            self._become_follower(message.term, None, now)
        request = RemoteRead(peer, message.id)
        if self.lead is None:
            self._refuse_read(request, "")
        else:
            self._read(self.lead, request, now)

    def _read(self, lead: Leadership, request: Any, now: Instant) -> None:
        if len(lead.reads) + len(lead.early_reads) >= MAX_READS:
            self._reject_read(request, f"{self.id} has too many reads that wait for a majority; try again later")
        elif self.log.term(self.commit) != self.term:
            lead.early_reads.append(request)
        elif self.options.lease_reads and lead.lease_until is not None and now < lead.lease_until:
            self._permit(self.commit, request)
        else:
            lead.reads.append((lead.round + 1, self.commit, request))

    def _reject_read(self, request: Any, why: str) -> None:
        if type(request) is RemoteRead:
            self._send(request.peer, ReadReply(self.term, request.id, None))
        else:
            self._reply(request, Rejected(why))

    def _answer_reads(self, lead: Leadership, now: Instant) -> None:
        """Answer what the rounds so far allow, and begin the next if somebody waits for it and none is under way."""
        if lead.early_reads and self.log.term(self.commit) == self.term:
            early, lead.early_reads = lead.early_reads, []
            for request in early:
                self._read(lead, request, now)
        reads = lead.reads
        while reads:
            answered = self._answered(lead)
            while reads and reads[0][0] <= answered:
                _, index, request = reads.popleft()
                self._permit(index, request)
            if not reads or reads[-1][0] <= lead.round or answered < lead.read_round:
                return
            self._begin_round(lead, now)
            lead.read_round = lead.round

    def _answered(self, lead: Leadership) -> int:
        """The latest round that a majority has answered."""
        progress, voters = lead.progress, self.configurations.latest.voters
        return reached([lead.round if voter == self.id else progress[voter].round for voter in voters])

    def _permit(self, index: int, request: Any) -> None:
        if type(request) is RemoteRead:
            self._send(request.peer, ReadReply(self.term, request.id, index))
        else:
            self._reply(request, ReadReady(index))

    # Leases -----------------------------------------------------------------------------------------------------------

    def _renew_lease(self, lead: Leadership) -> None:
        """A majority has answered a round: from when it was sent, it votes for nobody else for an election timeout."""
        options, rounds, answered = self.options, lead.lease_rounds, self._answered(lead)
        length_ns = options.election_timeout_min_ns * 100 // (100 + options.clock_drift_percent)
        while rounds and rounds[0][0] <= answered:
            _, sent_at = rounds.popleft()
            if lead.lease_until is not None:
                lead.lease_until = sent_at + length_ns
