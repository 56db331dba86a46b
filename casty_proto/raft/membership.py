"""Changes of membership, one voter at a time, and the transfer of leadership.

Rules
-----
1.  A change is appended by the leader, and takes effect as it is appended (thesis 4.1).
2.  Not before the leader has committed an entry of its own term. Otherwise a change of an earlier term may still be in
    another log, unknown to this leader, and the two differ by more than one voter: majorities of them need not meet
    (Ongaro, raft-dev, 10 July 2015).
3.  Not while another change is uncommitted, for the same reason.
4.  A new voter is brought up to date before it counts, in rounds: each replicates what the log had when the round
    began. When a round has taken less than an election timeout, the rest will too. A server that does not get there in
    `catch_up_rounds`, or that is not heard, is not added (thesis 4.2.1).
5.  A leader that is not in the configuration any more goes on until that is committed, without counting itself, and
    then steps down (thesis 4.2.2; `Replicating._leave`).
6.  A transfer begins when the target has the whole log; nothing is taken meanwhile, or it never would. The target then
    holds an election at once. After an election timeout without one the leader goes on as before (thesis 3.10).
7.  A leader of two voters that has not heard the other one for an election timeout takes that one's vote back, where
    `goes_on_alone` says so. That is safe: it is in every majority of the two, and of itself alone, so the other one
    has decided nothing without it and never will. It need not wait for the change that gave the vote, if it was the
    only voter before (rule 3: all majorities of all three configurations have it in common). It waits for any other
    change, and for rule 2. Without this, a cluster that grows from one voter would stop for good when the second one
    dies at that moment; only a leader that is restarted right then still has to wait for it.
"""

from __future__ import annotations

from ..machine import Instant, Note, Rejected, Severity, seconds
from .applying import Applying
from .configuration import AddLearner, Configuration, ConfigurationError, NodeId
from .events import Changed, ChangeMembership, Forwarded, NotLeader, TransferLeadership
from .leadership import CatchUp, Leadership, Transfer
from .messages import RequestTransfer, TimeoutNow, naturals
from .progress import Progress


class Membership(Applying):
    """Changes who is in the cluster, and who leads it."""

    __slots__ = ()

    # Changes --------------------------------------------------------------------------------------------------------

    def _on_change_membership(self, event: ChangeMembership, now: Instant) -> None:
        lead = self.lead
        if lead is None:
            self._reply(event.request, NotLeader(f"{self.id} does not lead", self.leader))
            return
        if (why := self._unchangeable(lead)) is not None:
            self._reply(event.request, Rejected(why))
            return
        configuration = self.configurations.latest
        try:
            changed = configuration.changed(event.changes)
        except ConfigurationError as error:
            self._reply(event.request, Rejected(str(error)))
            return
        new_voter = _new_voter(configuration, changed)
        if changed == configuration:
            self._reply(event.request, Changed(self.configurations.latest_index, configuration))
        elif new_voter is not None and new_voter != self.id:
            self._begin_catch_up(lead, new_voter, event, now)
        else:
            self._change(lead, changed, event, now)

    def _unchangeable(self, lead: Leadership) -> str | None:
        """Why the configuration cannot be changed now, or `None`."""
        if lead.transfer is not None:
            return f"the leadership is being transferred to {lead.transfer.target}; try again when it is over"
        if self.configurations.latest_index > self.commit or lead.catch_up is not None:
            return "another change is under way; try again when it is over"
        if self.log.term(self.commit) != self.term:
            return f"{self.id} has not committed anything in term {self.term} yet; try again in a moment"
        return None

    def _change(self, lead: Leadership, changed: Configuration, event: ChangeMembership, now: Instant) -> None:
        lead.change = (self.log.last_index + 1, event.request)
        self._append(lead, changed, now)

    # Catching up ----------------------------------------------------------------------------------------------------

    def _begin_catch_up(self, lead: Leadership, node: NodeId, event: ChangeMembership, now: Instant) -> None:
        lead.leaving.pop(node, None)
        if node not in lead.progress:
            lead.progress[node] = Progress(self.log.last_index + 1, now)
        lead.catch_up = CatchUp(node, event, self.log.last_index, now)

    def _go_on_catching_up(self, lead: Leadership, now: Instant) -> None:
        """Has the round ended, and was it short enough? What was acknowledged long ago proves nothing."""
        catch_up = lead.catch_up
        assert catch_up is not None
        progress, timeout_ns = lead.progress[catch_up.node], self.options.election_timeout_min_ns
        if progress.match < catch_up.target or now - progress.heard_at >= timeout_ns:
            return
        if now - catch_up.began_at < timeout_ns:
            self._add_voter(lead, catch_up, now)
        elif catch_up.round >= self.options.catch_up_rounds:
            self._abandon_catch_up(lead, f"{catch_up.node} is not up to date after {catch_up.round} rounds")
        else:
            catch_up.round += 1
            catch_up.target = self.log.last_index
            catch_up.began_at = now

    def _add_voter(self, lead: Leadership, catch_up: CatchUp, now: Instant) -> None:
        lead.catch_up = None
        why = self._unchangeable(lead)
        if why is None:
            self._change(lead, self.configurations.latest.changed(catch_up.event.changes), catch_up.event, now)
            return
        lead.catch_up = catch_up
        self._abandon_catch_up(lead, why)

    def _check_catch_up(self, lead: Leadership, now: Instant) -> None:
        """Give up on a server that is not heard."""
        catch_up = lead.catch_up
        if catch_up is None:
            return
        silence_ns = now - lead.progress[catch_up.node].heard_at
        if silence_ns >= 2 * self.options.election_timeout_max_ns:
            self._abandon_catch_up(lead, f"{catch_up.node} has not been heard for {seconds(silence_ns):.1f} s")

    def _abandon_catch_up(self, lead: Leadership, why: str) -> None:
        catch_up, lead.catch_up = lead.catch_up, None
        assert catch_up is not None
        if catch_up.node not in self.configurations.latest.members:
            del lead.progress[catch_up.node]
        self._reply(catch_up.event.request, Rejected(f"{catch_up.node} was not made a voter: {why}"))

    # Going on alone -------------------------------------------------------------------------------------------------

    def _go_on_alone(self, lead: Leadership, now: Instant) -> None:
        """Rule 7. Comes before it is looked whether a majority was heard."""
        other = self._lost_second_voter(lead, now)
        if other is None:
            return
        silence = seconds(self.options.election_timeout_min_ns)
        why = f"{other} was not heard for {silence} s, and {self.id} goes on alone"
        if lead.change is not None:
            request, lead.change = lead.change[1], None
            self._reply(request, Rejected(why))
        if lead.catch_up is not None:
            self._abandon_catch_up(lead, why)
        self._out.append(Note(Severity.WARNING, why))
        self._append(lead, self.configurations.latest.changed((AddLearner(other),)), now)

    def _lost_second_voter(self, lead: Leadership, now: Instant) -> NodeId | None:
        """The only other voter, if it was not heard, and its vote can be taken back."""
        configurations, voters = self.configurations, self.configurations.latest.voters
        if not self.options.goes_on_alone or len(voters) != 2 or self.id not in voters or lead.transfer is not None:
            return None
        if self.log.term(self.commit) != self.term:
            return None
        if configurations.latest_index > self.commit and configurations.before_latest.voters != (self.id,):
            return None
        other = voters[0] if voters[1] == self.id else voters[1]
        return other if now - lead.progress[other].heard_at >= self.options.election_timeout_min_ns else None

    # Transfer -------------------------------------------------------------------------------------------------------

    def _on_transfer_leadership(self, event: TransferLeadership, now: Instant) -> None:
        if self.lead is not None:
            self._transfer(self.lead, Transfer(event.target, event.request, self._transfer_end(now), is_local=True))
        elif self.leader is not None:
            self._send_now(self.leader, RequestTransfer(self.term, event.target))
            self._reply(event.request, Forwarded(self.leader))
        else:
            self._reply(event.request, NotLeader(f"{self.id} does not lead, and knows nobody who does"))

    def _on_request_transfer(self, peer: NodeId, message: RequestTransfer, now: Instant) -> None:
        if not naturals(message.term) or type(message.target) is not str:
            self._rubbish(peer, message)
        elif message.term > self.term:
            self._become_follower(message.term, None, now)
        elif message.term == self.term and self.lead is not None:
            self._transfer(self.lead, Transfer(message.target, None, self._transfer_end(now), is_local=False))

    def _transfer_end(self, now: Instant) -> Instant:
        return now + self.options.election_timeout_min_ns

    def _transfer(self, lead: Leadership, transfer: Transfer) -> None:
        target, under_way = transfer.target, lead.transfer
        if target == self.id:
            lead.transfer = None
            if under_way is None:
                self._end_transfer(transfer, Rejected(f"{self.id} leads already"))
            else:
                self._end_transfer(under_way, Rejected(f"the transfer to {under_way.target} was called off"))
                self._end_transfer(transfer, None)
        elif target not in self.configurations.latest.voters:
            self._end_transfer(transfer, Rejected(f"{target} does not vote, so it cannot lead"))
        elif under_way is not None and under_way.target == target:
            self._end_transfer(transfer, Rejected(f"a transfer to {target} is under way already"))
        else:
            if under_way is not None:
                self._end_transfer(under_way, Rejected(f"{target} is to lead instead of {under_way.target}"))
            lead.transfer = transfer

    def _go_on_transferring(self, lead: Leadership) -> None:
        """Has the target the whole log? Then it is its turn."""
        transfer = lead.transfer
        assert transfer is not None
        if not transfer.told and lead.progress[transfer.target].match == self.log.last_index:
            transfer.told = True
            lead.lease_until = None
            self._send(transfer.target, TimeoutNow(self.term))

    def _on_transfer_due(self, lead: Leadership) -> None:
        transfer, lead.transfer = lead.transfer, None
        assert transfer is not None
        waited = seconds(self.options.election_timeout_min_ns)
        self._end_transfer(transfer, Rejected(f"{transfer.target} did not take over within {waited} s"))


def _new_voter(old: Configuration, new: Configuration) -> NodeId | None:
    """Who votes after the change and did not before."""
    return next((node for node in new.voters if node not in old.voters), None)
