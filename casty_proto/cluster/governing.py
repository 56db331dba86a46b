"""What the leader does about members: who is one, who is there, and who votes.

Rules
-----
 1. Whoever asks to be taken in becomes a member, unless it was removed or a later life of it is there. It is told.
 2. Every member is in Raft's configuration, and nobody else. A newcomer listens first.
 3. `max_voters` members vote, or as many as there are, but always an odd number. Who is leaving does not count.
 4. A voter that is down gives its vote to a member that is up, if there is one; otherwise it keeps it, so that votes
    do not pile up at fewer and fewer. One voter comes or goes at a time. Who is no member any more goes first: it never
    votes again, and one more voter would only make a larger majority necessary. Otherwise, who comes does so before
    who goes: the more there are, the more of them can be lost at that moment. Of those who go, the dead do so first:
    their votes would be needed to take those of the living.
 5. A member is down when SWIM says so. It is down as well when SWIM suspects it and its lease has ended: nothing is at
    risk then, and its work can be taken up earlier. And it is down when it has asked for no lease for long, although
    others find it alive: it does no work, whatever the reason.
 6. A member that is down is up again when SWIM finds it alive and it asks for its lease.
 7. A leader that wants to leave hands the leadership over first.
 8. What is proposed is not proposed again before its outcome is known.
 9. What many members make necessary at about the same time is proposed together: each command costs a few messages for
    every member, so one command for every member would cost the square. Who comes alone does not wait.
"""

from __future__ import annotations

from typing import Any

from ..machine import MILLISECOND, Instant, Nanoseconds, Rejected
from ..raft import AddLearner, AddVoter, Change, Changed, ChangeMembership, Configuration, Remove, TransferLeadership
from ..raft import Role as RaftRole
from ..shard.leases import LeaseGiver
from ..swim import State
from .checks import MEMBERS_MAX, NodeKey
from .commands import Command, Forget, Join, MarkDown, MarkUp
from .consensus import Answer, Consensus
from .core import BATCH, REVIEW, Core
from .messages import JoinAnswer, JoinRequest
from .outcomes import Refused
from .records import MemberInfo, NodeInfo, Status
from .watching import Watching

_PACE_NS: Nanoseconds = MILLISECOND
"""For each member, how long what is to be proposed waits for more."""
_CONTACTS = 16
"""How many addresses a newcomer is told."""


class Governing:
    """The leader's half of a node, as far as members are concerned."""

    __slots__ = (
        "_batch",
        "_batch_at",
        "_changing",
        "_consensus",
        "_core",
        "_giver",
        "_heard",
        "_hinted",
        "_joining",
        "_proposed",
        "_resting",
        "_since",
        "_watching",
    )

    def __init__(self, core: Core, consensus: Consensus, watching: Watching, giver: LeaseGiver) -> None:
        self._core = core
        self._consensus = consensus
        self._watching = watching
        self._giver = giver
        self._since: Instant = 0
        """Since when this node leads."""
        self._heard: dict[NodeKey, Instant] = {}
        """When each member has asked for a lease, or when it was first thought of."""
        self._hinted: dict[NodeKey, Instant] = {}
        self._batch: list[tuple[NodeKey, Command]] = []
        self._batch_at: Instant = 0
        """Before that, what is to be proposed waits for more (rule 9)."""
        self._proposed: dict[NodeKey, None] = {}
        """Members about whom a command is under way (rule 8)."""
        self._joining: dict[NodeKey, NodeInfo] = {}
        """Who is to be answered when it is a member."""
        self._changing = False
        """Whether a change of the configuration is under way."""
        self._resting: dict[NodeKey, Instant] = {}
        """Those who could not be made voters, and until when nobody tries again."""

    # -- beginning and end ---------------------------------------------------------------------------------------------

    def elected(self) -> None:
        """This node leads from now on."""
        self.deposed()
        self._since = self._core.now
        self._core.deadlines.set(REVIEW, self._core.now)

    def deposed(self) -> None:
        """It does not lead, or not any more."""
        self._heard.clear()
        self._hinted.clear()
        self._proposed.clear()
        self._batch.clear()
        self._joining.clear()
        self._resting.clear()
        self._changing = False
        self._core.deadlines.cancel(REVIEW)
        self._core.deadlines.cancel(BATCH)

    def heard(self, node: NodeKey) -> None:
        """A member has asked for a lease."""
        self._heard[node] = self._core.now

    # -- who wants to be one -------------------------------------------------------------------------------------------

    def on_join_request(self, request: JoinRequest) -> None:
        """Rule 1. The request may come from the node itself, or through any member."""
        core, node = self._core, request.node
        if not core.leads:
            if core.leader is not None:
                core.send(core.leader, request)
            return
        core.learn(node.key, node.address)
        member = core.state.member(node.key)
        if member is not None and member.node == node:
            self._welcome(node)
            return
        if len(self._joining) >= MEMBERS_MAX and node.key not in self._joining:
            return  # It asks again.
        self._joining[node.key] = node
        self._propose(node.key, Join(node))

    def _welcome(self, node: NodeInfo) -> None:
        core = self._core
        contacts = [one.node.address for one in core.state.members() if one.status is Status.UP and one.key != node.key]
        answer = JoinAnswer(core.cluster, True, "", tuple(contacts[:_CONTACTS]))
        core.send_to(node.address, answer, node.key)

    def joined(self, node: NodeKey, refused: str | None) -> None:
        """A `Join` was applied."""
        info = self._joining.pop(node, None)
        if info is None or not self._core.leads:
            return
        if refused is None:
            self._welcome(info)
        else:
            self._core.send_to(info.address, JoinAnswer(self._core.cluster, False, refused), node)

    # -- who is there --------------------------------------------------------------------------------------------------

    def review(self) -> None:
        """Look at everything. Called at intervals, and whenever something has changed."""
        core = self._core
        if not core.leads or self._consensus.raft.role is not RaftRole.LEADER:
            return
        pause = min(core.options.leases.duration_ns // 4, core.options.silence_ns // 4)
        core.deadlines.set(REVIEW, core.now + max(1, pause))
        members = core.state.members()
        for member in members:
            self._look_at(member)
        self._see_to_voters(members)

    def _look_at(self, member: MemberInfo) -> None:
        key = member.key
        if member.status is Status.DOWN:
            if self._is_back(member):
                self._propose(key, MarkUp(key, member.since))
            elif self._is_to_be_forgotten(member):
                self._propose(key, Forget(member.node.node_id, member.since))
            return
        if key == self._core.key:
            return
        if self._is_gone(key):
            self._propose(key, MarkDown(key, member.since))

    def _is_gone(self, key: NodeKey) -> bool:
        """Rule 5."""
        core = self._core
        seen = core.seen.get(key)
        if seen in (State.DEAD, State.LEFT):
            return True
        silent = core.now - self._heard.setdefault(key, core.now)
        if silent >= core.options.silence_ns:
            return True
        if seen is State.SUSPECT:
            return self._giver.has_ended(key, core.now)
        duration = core.options.leases.duration_ns
        if silent >= duration * 3 // 4 and self._hinted.get(key, -duration) <= core.now - duration:
            self._hinted[key] = core.now
            self._watching.suspect(key)
        return False

    def _is_back(self, member: MemberInfo) -> bool:
        """Rule 6."""
        core = self._core
        if member.key == core.key:
            return True
        heard = self._heard.get(member.key)
        recently: Nanoseconds = core.options.leases.duration_ns
        return heard is not None and core.now - heard < recently and core.seen.get(member.key) is State.ALIVE

    def _is_to_be_forgotten(self, member: MemberInfo) -> bool:
        """By itself only where nobody waits for what it may have."""
        core = self._core
        after = core.options.forget_ns
        if after is None or any(region.settings.sync_count for region in core.state.regions()):
            return False
        return core.now - max(self._since, self._heard.setdefault(member.key, core.now)) >= after

    def _propose(self, about: NodeKey, command: Command) -> None:
        """Rules 8 and 9."""
        if about in self._proposed:
            return
        self._proposed[about] = None
        self._batch.append((about, command))
        if BATCH not in self._core.deadlines:
            self._core.deadlines.set(BATCH, max(self._core.now, self._batch_at))

    def batch_due(self) -> None:
        """Propose what has come together (rule 9)."""
        batch, self._batch = self._batch, []
        self._batch_at = self._core.now + _PACE_NS * len(self._core.state.members())
        self._consensus.propose_all([(command, self._forgetting(about)) for about, command in batch])

    def _forgetting(self, about: NodeKey) -> Answer:
        def forget(result: Any) -> None:
            self._proposed.pop(about, None)
            if isinstance(result, Rejected):
                self._joining.pop(about, None)  # It was not proposed, and asks again.

        return forget

    # -- who votes -----------------------------------------------------------------------------------------------------

    def _see_to_voters(self, members: tuple[MemberInfo, ...]) -> None:
        if self._changing:
            return
        raft = self._consensus.raft
        if raft.lead is None or raft.lead.transfer is not None:
            return
        configuration = raft.configurations.latest
        if self._hand_over(members, configuration):
            return
        changes = self._wanted_changes(members, configuration)
        if changes:
            self._changing = True
            self._consensus.feed(ChangeMembership(lambda result: self._on_changed(changes, result), changes))

    def _hand_over(self, members: tuple[MemberInfo, ...], configuration: Configuration) -> bool:
        """Rule 7."""
        core = self._core
        own = core.state.member(core.key)
        if own is not None and own.status is not Status.LEAVING:
            return False
        up = [one.key for one in members if one.status is Status.UP and one.key in configuration.voters]
        well = [key for key in up if core.seen.get(key) is State.ALIVE]
        if not well:
            return False
        self._consensus.feed(TransferLeadership(lambda _: None, well[0]))
        return True

    def _wanted_changes(self, members: tuple[MemberInfo, ...], configuration: Configuration) -> tuple[Change, ...]:
        """The next step towards the configuration that the members make."""
        there = {member.key: member for member in members}
        learners: list[Change] = [Remove(name) for name in configuration.learners if name not in there]
        learners += [AddLearner(key) for key in there if key not in configuration.members]
        if learners:
            return tuple(learners)
        voters = configuration.voters
        desired = self._desired(members, voters)
        coming = [key for key in desired if key not in voters and self._resting.get(key, 0) <= self._core.now]
        going = [key for key in voters if key not in desired and key != self._core.key]
        if gone := [key for key in going if key not in there]:
            return (Remove(gone[0]),)
        dead = [key for key in going if there[key].status is Status.DOWN]
        if coming and len(voters) <= len(desired):
            return (AddVoter(coming[0]),)
        if going and len(voters) > len(desired):
            return (AddLearner((*dead, *going)[0]),)
        return ()

    def _desired(self, members: tuple[MemberInfo, ...], voters: tuple[NodeKey, ...]) -> list[NodeKey]:
        """Rules 3 and 4: who should vote, in the order in which they should."""
        staying = [one for one in members if one.status is not Status.LEAVING]
        count = min(self._core.options.max_voters, len(staying))
        count -= 1 - count % 2

        def rank(member: MemberInfo) -> tuple[bool, bool, bool, NodeKey]:
            votes = member.key in voters
            return (member.status is not Status.UP, not votes, member.key != self._core.key, member.key)

        fit = [one for one in staying if one.status is Status.UP or one.key in voters]
        count = min(count, len(fit) - 1 + len(fit) % 2)
        return [one.key for one in sorted(fit, key=rank)[: max(count, 0)]]

    def _on_changed(self, changes: tuple[Change, ...], result: Any) -> None:
        self._changing = False
        if type(result) is Changed:
            self._core.deadlines.set(REVIEW, self._core.now)
            return
        for change in changes:
            if type(change) is AddVoter:
                self._resting[change.node] = self._core.now + self._core.options.silence_ns


def refusal(outcome: object) -> str | None:
    """Why a join was refused, or `None`."""
    return outcome.reason if type(outcome) is Refused else None
