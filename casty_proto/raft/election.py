"""Elections: who may ask for votes, who gives them, and what makes a leader.

Theory of operation
-------------------
    FOLLOWER --timeout--> PRE_CANDIDATE --majority would vote--> CANDIDATE --majority voted--> LEADER
        ^                     |  ^                                  |   |
        |                     |  +------------- timeout ------------+   |
        +--- a leader, a higher term, a majority against ---------------+

The pre-vote (thesis 9.6) asks without promising: it changes no term and no vote anywhere, so a server that cannot win,
because it was cut off or its log is old, disturbs nobody when it comes back.

Whoever hears a leader ignores requests, and the higher term in them too (thesis 4.2.3): a server that was removed, or
that hears nothing while everybody else does, cannot depose a leader that works. A leader ignores them as long as it is
one; that it has a majority is checked elsewhere (`contact.py`). An election that the leader itself asked for is exempt.

A vote is a promise. Ours for ourselves counts when its ballot is durable, as does that for another; and the request for
the others' votes waits for the same write, since it names the term.

Who may campaign: a voter of the newest configuration in the log. And a server that the newest configuration removes, as
long as it is not known to be committed: it may be the only one that has the entry, and then no one else can be elected
(thesis 4.2.2). It does not count its own vote then. A learner never campaigns, but answers: whoever asks may know a
configuration in which it is a voter.
"""

from __future__ import annotations

from ..machine import Instant
from .applying import Applying
from .configuration import NodeId
from .core import NEVER
from .entries import NoOp
from .events import Role
from .leadership import Leadership
from .messages import RequestVote, Stale, TimeoutNow, Vote, booleans, naturals
from .progress import Progress
from .quorum import Outcome, outcome


class Election(Applying):
    """Becomes leader, or helps another."""

    __slots__ = ()

    # Campaigns ------------------------------------------------------------------------------------------------------

    def _on_election_due(self, now: Instant) -> None:
        """No leader was heard for a whole timeout, or an election came to nothing."""
        if not self._may_campaign():
            before = (self.role, self.term, self.leader)
            self.role = Role.FOLLOWER
            self.leader = None
            self._election_at = NEVER
            self._role_changed(before)
        elif self.options.pre_vote:
            self._canvass(now)
        else:
            self._campaign(now, transfer=False)

    def _may_campaign(self) -> bool:
        configurations = self.configurations
        if self.id in configurations.latest.voters:
            return True
        return configurations.latest_index > self.commit and self.id in configurations.before_latest.voters

    def _canvass(self, now: Instant) -> None:
        """Ask who would vote for us."""
        before = (self.role, self.term, self.leader)
        self.role = Role.PRE_CANDIDATE
        self.leader = None
        self._votes = {self.id: True}
        self._restart_election_timer(now)
        self._role_changed(before)
        log = self.log
        request = RequestVote(self.term + 1, log.last_index, log.last_term, pre=True)
        for peer in self.configurations.latest.voters:
            if peer != self.id:
                self._send(peer, request)
        self._count(now)

    def _campaign(self, now: Instant, *, transfer: bool) -> None:
        """Enter the next term, vote for ourselves, and ask the others to."""
        before = (self.role, self.term, self.leader)
        self._votes = {}
        self.role = Role.CANDIDATE
        self.leader = None
        self._enter(self.term + 1, self.id)
        self._restart_election_timer(now)
        self._role_changed(before)
        log = self.log
        request = RequestVote(self.term, log.last_index, log.last_term, transfer=transfer)
        for peer in self.configurations.latest.voters:
            if peer != self.id:
                self._send(peer, request)

    def _on_ballot_durable(self, now: Instant) -> None:
        """Our own vote counts from now on. A ballot that is durable is that of the current term."""
        if self.role is Role.CANDIDATE:
            self._votes[self.id] = True
            self._count(now)

    def _count(self, now: Instant) -> None:
        match outcome(self.configurations.latest.voters, self._votes):
            case Outcome.WON if self.role is Role.PRE_CANDIDATE:
                self._campaign(now, transfer=False)
            case Outcome.WON:
                self._become_leader(now)
            case Outcome.LOST:
                self._become_follower(self.term, None, now)

    def _become_leader(self, now: Instant) -> None:
        """Take office. The first entry of the term is our own: it will tell what is committed (thesis 6.4)."""
        before = (self.role, self.term, self.leader)
        self.role = Role.LEADER
        self.leader = self.id
        self._election_at = NEVER
        self.lead = lead = Leadership(now, self.log.time_ns or self.sessions.time_ns)
        lead.heartbeat_at = now + self.options.heartbeat_interval_ns
        lead.quorum_at = now + self.options.election_timeout_min_ns
        for peer in self.configurations.latest.members:
            if peer != self.id:
                lead.progress[peer] = Progress(self.log.last_index + 1, now)
        self._role_changed(before)
        self._append(lead, NoOp(), now)

    # Votes ----------------------------------------------------------------------------------------------------------

    def _on_request_vote(self, peer: NodeId, message: RequestVote, now: Instant) -> None:
        if (
            not naturals(message.term, message.last_index, message.last_term)
            or message.last_term >= message.term
            or not booleans(message.pre, message.transfer)
        ):
            self._rubbish(peer, message)
            return
        if message.term >= self.term and not message.transfer and self._hears_a_leader(now):
            return
        if message.pre:
            self._answer_pre_vote(peer, message)
            return
        granted = self._would_vote(peer, message)
        if message.term > self.term:
            self._become_follower(message.term, None, now, vote=peer if granted else None)
        elif granted and self.vote is None:
            self.vote = peer
            self._save_ballot()
            self._restart_election_timer(now)
        self._send(peer, Vote(self.term, granted))

    def _hears_a_leader(self, now: Instant) -> bool:
        """Whether there is a leader that we have no reason to replace (thesis 4.2.3).

        With leases it is a promise, and holds although we have forgotten who it was.
        """
        if not self.options.check_quorum:
            return False
        if self.lead is not None:
            return True
        if self.leader is None and not self.options.lease_reads:
            return False
        return now - self._heard_at < self.options.election_timeout_min_ns

    def _would_vote(self, peer: NodeId, message: RequestVote) -> bool:
        """One vote a term, and only for a log that lacks nothing of ours (paper 5.2, 5.4.1)."""
        if message.term < self.term or self.log.is_ahead_of(message.last_index, message.last_term):
            return False
        if message.term > self.term:
            return True
        return self.vote == peer or (self.vote is None and self.role is Role.FOLLOWER)

    def _answer_pre_vote(self, peer: NodeId, message: RequestVote) -> None:
        if self._would_vote(peer, message):
            self._send_now(peer, Vote(message.term, granted=True, pre=True))
        else:
            self._send(peer, Vote(self.term, granted=False, pre=True))

    def _on_vote(self, peer: NodeId, message: Vote, now: Instant) -> None:
        if not naturals(message.term) or not booleans(message.granted, message.pre):
            self._rubbish(peer, message)
            return
        if message.pre and message.granted:
            # It names the term that we would enter, and is no news of one.
            awaited = self.role is Role.PRE_CANDIDATE and message.term == self.term + 1
        elif message.term > self.term:
            self._become_follower(message.term, None, now)
            return
        elif message.pre:
            awaited = self.role is Role.PRE_CANDIDATE
        else:
            awaited = self.role is Role.CANDIDATE and message.term == self.term
        if awaited and peer in self.configurations.latest.voters:
            self._votes[peer] = message.granted
            self._count(now)

    # Orders ---------------------------------------------------------------------------------------------------------

    def _on_timeout_now(self, peer: NodeId, message: TimeoutNow, now: Instant) -> None:
        """The leader wants us to follow it."""
        if not naturals(message.term):
            self._rubbish(peer, message)
            return
        if message.term < self.term:
            self._send(peer, Stale(self.term))
            return
        if message.term > self.term:
            self._become_follower(message.term, None, now)
        if self.leader not in (None, peer):
            self._rubbish(peer, message, f"speaks for the leader {self.leader}")
        elif self.role is Role.FOLLOWER and self.id in self.configurations.latest.voters:
            self._campaign(now, transfer=True)

    def _on_stale(self, peer: NodeId, message: Stale, now: Instant) -> None:
        """Somebody is in a later term than the one that we spoke for."""
        if not naturals(message.term):
            self._rubbish(peer, message)
        elif message.term > self.term:
            self._become_follower(message.term, None, now)
