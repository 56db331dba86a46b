"""Raft: bugs of elections, of reads, and of the promises that stand behind both."""

from __future__ import annotations

from typing import Any

from casty_proto.machine import Instant
from casty_proto.raft import Raft, Role, TimeoutNow
from casty_proto.raft.leadership import Leadership
from casty_proto.raft.messages import HeartbeatReply, Message, RequestVote, Vote
from casty_proto.raft.progress import Progress
from casty_sim.mutants import Mutant, planter
from casty_sim.scenarios.raft import RaftScenario

MUTANTS: list[Mutant] = []
planted = planter(MUTANTS, RaftScenario)


@planted("votes for a candidate whose log is behind", "paper 5.4.1")
class VoteForAnyLog(Raft):
    __slots__ = ()

    def _would_vote(self, peer: str, message: RequestVote) -> bool:
        if message.term < self.term:
            return False
        if message.term > self.term:
            return True
        return self.vote == peer or (self.vote is None and self.role is Role.FOLLOWER)


@planted("compares the length of logs only, not the term of the last entry", "paper 5.4.1")
class VoteForTheLongerLog(Raft):
    __slots__ = ()

    def _would_vote(self, peer: str, message: RequestVote) -> bool:
        if message.term < self.term or message.last_index < self.log.last_index:
            return False
        if message.term > self.term:
            return True
        return self.vote == peer or (self.vote is None and self.role is Role.FOLLOWER)


@planted("votes for whoever asks, also a second time in the same term", "paper 5.2")
class VoteTwice(Raft):
    __slots__ = ()

    def _would_vote(self, peer: str, message: RequestVote) -> bool:
        return message.term >= self.term and not self.log.is_ahead_of(message.last_index, message.last_term)


@planted(
    "forgets its vote in a restart", "paper, Figure 2, persistent state; hashicorp/raft made it a store of its own"
)
class ForgetVote(Raft):
    __slots__ = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.vote = None


@planted("answers before term and vote are on the disk", "paper, Figure 2; thesis 3.8")
class AnswerBeforeTheBallot(Raft):
    __slots__ = ()

    def _send(self, to: str, message: Message) -> None:
        self._send_now(to, message)


@planted("counts votes instead of voters, so that a doubled answer counts twice", "paper 5.2")
class CountVotesTwice(Raft):
    __slots__ = ()

    def _on_vote(self, peer: str, message: Vote, now: Instant) -> None:
        if peer in self._votes and message.granted and self.role is Role.CANDIDATE and message.term == self.term:
            peer = next((each for each in self.configurations.latest.voters if each not in self._votes), peer)
        super()._on_vote(peer, message, now)


@planted("takes a promise to vote, from a pre-vote, for a vote", "thesis 9.6")
class PreVoteCounts(Raft):
    __slots__ = ()

    def _on_vote(self, peer: str, message: Vote, now: Instant) -> None:
        if message.pre and message.granted and self.role is Role.CANDIDATE:
            self._votes[peer] = True
            self._count(now)
            return
        super()._on_vote(peer, message, now)


@planted("counts votes of an earlier term", "paper 5.2")
class OldVotesCount(Raft):
    __slots__ = ()

    def _on_vote(self, peer: str, message: Vote, now: Instant) -> None:
        if self.role is Role.CANDIDATE and message.term < self.term:
            message = Vote(self.term, message.granted)
        super()._on_vote(peer, message, now)


@planted("serves reads without asking whether it still leads", "Jepsen: etcd and Consul, 2014; thesis 6.4")
class StaleReadIndex(Raft):
    __slots__ = ()

    def _read(self, lead: Leadership, request: Any, now: Instant) -> None:
        if self.log.term(self.commit) != self.term:
            lead.early_reads.append(request)
        else:
            self._permit(self.commit, request)


@planted("a new leader serves reads before it has committed anything in its term", "thesis 6.4, step 1; etcd #7331")
class ReadTooEarly(Raft):
    __slots__ = ()

    def _read(self, lead: Leadership, request: Any, now: Instant) -> None:
        lead.reads.append((lead.round + 1, self.commit, request))


@planted("counts answers to earlier heartbeats for a read", "thesis 6.4, step 3")
class OldAnswersConfirmReads(Raft):
    __slots__ = ()

    def _on_heartbeat_reply(self, peer: str, message: HeartbeatReply, now: Instant) -> None:
        if self.lead is not None and message.term == self.term:
            message = HeartbeatReply(message.term, self.lead.round)
        super()._on_heartbeat_reply(peer, message, now)


@planted("a follower reads at its own commit index", "thesis 6.4, reads by followers")
class FollowerReadsAlone(Raft):
    __slots__ = ()

    def _on_read(self, event: Any, now: Instant) -> None:
        if self.lead is None and self.leader is not None:
            self._permit(self.commit, event.request)
        else:
            super()._on_read(event, now)


@planted("votes although a leader was heard, while leaders rely on leases", "thesis 6.4.1, 4.2.3")
class LeaseWithoutPromise(Raft):
    __slots__ = ()

    def _hears_a_leader(self, now: Instant) -> bool:
        return False


@planted("keeps its lease when it has asked another to take over", "TiKV: leases and transfers; thesis 6.4.1, 3.10")
class LeaseSurvivesTransfer(Raft):
    __slots__ = ()

    def _send(self, to: str, message: Message) -> None:
        if isinstance(message, TimeoutNow) and self.lead is not None:
            self.lead.lease_until = self.lead.heartbeat_at + self.options.election_timeout_min_ns
        super()._send(to, message)


@planted("a new leader believes what it knew of followers in an earlier term", "paper, Figure 2: reinitialized")
class MatchSurvivesElection(Raft):
    __slots__ = ()

    def _become_leader(self, now: Instant) -> None:
        super()._become_leader(now)
        if self.lead is not None:
            for progress in self.lead.progress.values():
                _believe(progress, self.log.last_index - 1)


def _believe(progress: Progress, match: int) -> None:
    progress.accept(match)
