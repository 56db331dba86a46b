"""Raft: bugs of replication, commitment and durability."""

from __future__ import annotations

from casty_proto.machine import Instant
from casty_proto.raft import Committed, Propose, Raft
from casty_proto.raft.leadership import Leadership
from casty_proto.raft.log import UNKNOWN
from casty_proto.raft.messages import AppendAccepted, AppendEntries, AppendRejected, Heartbeat
from casty_proto.raft.quorum import reached
from casty_sim.mutants import Mutant, planter
from casty_sim.scenarios.raft import RaftScenario

MUTANTS: list[Mutant] = []
planted = planter(MUTANTS, RaftScenario)


class _Commits(Raft):
    """Commits whatever `_reached` says."""

    __slots__ = ()

    def _reached(self, lead: Leadership) -> int:
        return self._of_this_term(reached(self._acknowledged(lead)))

    def _advance_commit(self, lead: Leadership, now: Instant) -> None:
        index = min(self._reached(lead), self.log.last_index)
        if index > self.commit:
            before = self.commit
            self._commit_to(index, now)
            if before < self.configurations.latest_index <= index and self.id not in self.configurations.latest.voters:
                self._leave(lead, now)

    def _acknowledged(self, lead: Leadership) -> list[int]:
        return [
            self.journal.durable if voter == self.id else lead.progress[voter].match
            for voter in self.configurations.latest.voters
        ]

    def _of_this_term(self, index: int) -> int:
        return index if self.log.term(index) == self.term else 0


@planted("commits entries of earlier terms by counting", "paper 5.4.2, Figure 8")
class CommitEarlierTerms(_Commits):
    __slots__ = ()

    def _reached(self, lead: Leadership) -> int:
        return reached(self._acknowledged(lead))


@planted("takes half of the voters for a majority", "paper 5.3")
class HalfIsEnough(_Commits):
    __slots__ = ()

    def _reached(self, lead: Leadership) -> int:
        acknowledged = sorted(self._acknowledged(lead))
        return self._of_this_term(acknowledged[len(acknowledged) // 2 + (len(acknowledged) > 2)])


@planted("counts the acknowledgements of learners", "thesis 4.2.1")
class LearnersCount(_Commits):
    __slots__ = ()

    def _reached(self, lead: Leadership) -> int:
        acknowledged = self._acknowledged(lead)
        learners = [lead.progress[each].match for each in self.configurations.latest.learners if each != self.id]
        acknowledged = sorted([*acknowledged, *learners], reverse=True)[: len(acknowledged)]
        return self._of_this_term(reached(acknowledged))


@planted("counts its own entries before they are on the disk", "thesis 10.2.1; paper, Figure 2")
class LeaderCountsUnsynced(_Commits):
    __slots__ = ()

    def _reached(self, lead: Leadership) -> int:
        acknowledged = [
            self.log.last_index if voter == self.id else lead.progress[voter].match
            for voter in self.configurations.latest.voters
        ]
        return self._of_this_term(reached(acknowledged))


@planted("commits what it has sent, not what was acknowledged", "paper 5.3")
class CommitWhatWasSent(_Commits):
    __slots__ = ()

    def _reached(self, lead: Leadership) -> int:
        acknowledged = [
            self.journal.durable if voter == self.id else lead.progress[voter].next - 1
            for voter in self.configurations.latest.voters
        ]
        return self._of_this_term(reached(acknowledged))


@planted("acknowledges entries before they are on the disk", "paper, Figure 2; many trackers")
class AcknowledgeBeforeTheDisk(Raft):
    __slots__ = ()

    def _on_append_entries(self, peer: str, message: AppendEntries, now: Instant) -> None:
        self.journal.durable = self.log.last_index
        super()._on_append_entries(peer, message, now)
        if self.leader == peer and self._matched == message.prev_index + len(message.entries):
            self._send(peer, AppendAccepted(self.term, self._matched))


@planted("an overtaken write makes durable what came after it", "etcd: the ABA of asynchronous storage writes")
class OvertakenWriteCounts(Raft):
    __slots__ = ()

    def _on_persisted(self, ticket: int, now: Instant) -> None:
        for write in self.journal._writes:
            if write.last:
                write.last = self.log.last_index
        super()._on_persisted(ticket, now)


@planted("does not look at the term of the entry before", "paper 5.3, the consistency check")
class NoTermCheck(Raft):
    __slots__ = ()

    def _on_append_entries(self, peer: str, message: AppendEntries, now: Instant) -> None:
        own = self.log.term(message.prev_index)
        if own != UNKNOWN:
            message = AppendEntries(message.term, message.prev_index, own, message.entries, message.commit)
        super()._on_append_entries(peer, message, now)


@planted("keeps its own entries where the leader's differ", "paper 5.3, Figure 2, AppendEntries 3")
class KeepConflicts(Raft):
    __slots__ = ()

    def _on_append_entries(self, peer: str, message: AppendEntries, now: Instant) -> None:
        fresh = tuple(entry for entry in message.entries if entry.index > self.log.last_index)
        if message.entries and len(fresh) < len(message.entries):
            prev = message.entries[-1].index - len(fresh)
            term = self.log.term(prev)
            message = AppendEntries(message.term, prev, term, fresh, message.commit)
        super()._on_append_entries(peer, message, now)


@planted("cuts its log after every message, also an old one", "paper 5.3; a mistake so common that courses warn of it")
class CutAlways(Raft):
    __slots__ = ()

    def _on_append_entries(self, peer: str, message: AppendEntries, now: Instant) -> None:
        last = message.prev_index + len(message.entries)
        if (
            message.term == self.term
            and message.entries
            and self.commit < last < self.log.last_index
            and self.log.term(last) == message.entries[-1].term
        ):
            self.log.truncate(last + 1)
            self.journal.truncate(last + 1)
            self.configurations.truncate(last + 1)
            self._matched = min(self._matched, last)
        super()._on_append_entries(peer, message, now)


@planted("commits up to the leader's index, also what it has not compared", "paper, Figure 2, AppendEntries 5")
class CommitUnmatched(Raft):
    __slots__ = ()

    def _on_append_entries(self, peer: str, message: AppendEntries, now: Instant) -> None:
        super()._on_append_entries(peer, message, now)
        target = min(message.commit, self.log.last_index)
        if self.leader == peer and message.term == self.term and target > self.commit:
            self._commit_to(target, now)


@planted(
    "heartbeats tell the commit index to whoever has not acknowledged it", "etcd: bcastHeartbeat sends the minimum"
)
class HeartbeatsCommitAll(Raft):
    __slots__ = ()

    def _begin_round(self, lead: Leadership, now: Instant) -> None:
        super()._begin_round(lead, now)
        for peer in lead.progress:
            self._send(peer, Heartbeat(self.term, self.commit, lead.round))

    def _on_heartbeat(self, peer: str, message: Heartbeat, now: Instant) -> None:
        commit = min(message.commit, self.log.last_index)
        super()._on_heartbeat(peer, Heartbeat(message.term, commit, message.round), now)


@planted("answers a client when its command is appended", "paper 5.3: committed first")
class AnswerAtOnce(Raft):
    __slots__ = ()

    def _on_propose(self, event: Propose, now: Instant) -> None:
        before = self.log.last_index
        super()._on_propose(event, now)
        if self.log.last_index > before and self.lead is not None:
            waiting, self.lead.proposals = self.lead.proposals, type(self.lead.proposals)()
            for index, request in waiting:
                if index > before:
                    self._reply(request, Committed(index, self.term))
                else:
                    self.lead.proposals.append((index, request))


@planted("does not back up when a follower has another log", "paper 5.3, nextIndex")
class NoBackUp(Raft):
    __slots__ = ()

    def _on_append_rejected(self, peer: str, message: AppendRejected, now: Instant) -> None:
        self._heard(peer, message.term, now)


@planted("forgets to go on when a window of messages was lost", "etcd #2034: a full window was never freed")
class WindowStaysFull(Raft):
    __slots__ = ()

    def _on_append_rejected(self, peer: str, message: AppendRejected, now: Instant) -> None:
        progress = self._heard(peer, message.term, now)
        if progress is not None and not progress.inflight:
            super()._on_append_rejected(peer, message, now)
