"""What a node has and does from the moment at which it belongs to a cluster, until it has left it.

Requests of the driver become orders. Roles of Raft are told to whom they concern. Leaving goes like this:

    Depart --> an order: Leave --> plans without this node --> its shards move, its copies are dropped, its vote goes to
        another --> nothing is left, or `leave_ns` are over --> an order: Left --> SWIM says goodbye --> DEPARTED

Where all who are members leave, or have said goodbye, nobody waits. Nor does anybody where so many of those who vote
have said goodbye that nothing can be decided any more: all were told to go at once, and some were too late to say so.
Who is down may be up again: where all others go, that is waited for, twice as long as it takes to hold somebody to be
down.

A vote that is still counted when the voter has gone is one that is missing: several who leave one after the other would
leave a cluster that can decide nothing. The leader hands the leadership over first; see governing.py.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from ..machine import Instant, Rejected, Reply, Severity, Wake
from ..raft import Read, ReadReady, Recovered, RoleChanged
from ..raft import Role as RaftRole
from ..shard.leases import LeaseGiver
from ..swim import State
from . import commands as control
from . import events
from .applying import Applying, Discovering
from .assigning import Assigning
from .consensus import Consensus
from .core import LEAVE, LIFE, Core, is_due
from .events import Done, Standing, Unknown
from .governing import Governing
from .orders import Orders
from .outcomes import AlreadySo, Applied, Outcome, Outdated, Refused, Removal, Taken
from .owning import Owning
from .plans import Plans
from .records import MemberInfo, Status
from .registry import Reborn
from .routing import Routing
from .watching import Watching

_NOTHING = object()
_WHY = {
    Removal.LEFT: "it has left",
    Removal.FORGOTTEN: "it was held to be down, and was forgotten",
    Removal.REPLACED: "a later life of this node has taken its place",
}


class Inside:
    """A node that belongs to a cluster."""

    __slots__ = (
        "_alone_since",
        "_confers",
        "_core",
        "_discovering",
        "_has_ended",
        "_has_said_goodbye",
        "_last_claim",
        "_last_confer",
        "_leave_by",
        "_leave_waits",
        "_life_waits",
        "_names",
        "_owning",
        "_releasing",
        "_routing",
        "_said_left",
        "_watching",
        "applying",
        "assigning",
        "consensus",
        "governing",
        "orders",
    )

    def __init__(
        self,
        core: Core,
        rng: Random,
        recovered: Recovered,
        plans: Plans,
        owning: Owning,
        routing: Routing,
        watching: Watching,
        discovering: Discovering,
        life: int,
    ) -> None:
        self._core = core
        self._owning = owning
        self._routing = routing
        self._discovering = discovering
        self._watching = watching
        self._names: dict[tuple[str, int], int] = {}
        """Names that actors of this process have, or want, with the numbers of the actors: the claim that came last."""
        self._last_claim = 0
        self._releasing: dict[tuple[str, int], list[events.ClaimName | events.ReleaseName]] = {}
        """Names that are being given up, and what comes next for each."""
        self._life_waits = False
        """Whether the beginning of this process is still to be marked in the log."""
        self._confers: dict[int, Any] = {}
        """Requests to confer that are not answered yet."""
        self._last_confer = 0
        self._said_left = False
        """Whether the command that ends this membership was ordered, or will never be."""
        self._has_said_goodbye = False
        self._has_ended = False
        """What is given up at the end may itself be what ends it: the first reason counts."""
        self._leave_by: Instant = 0
        """When this node leaves at the latest, whatever is left here."""
        self._alone_since: Instant | None = None
        """Since when nobody is there to take anything, but for those who are down."""
        self._leave_waits = False
        """Whether nobody has said yet what became of the wish to leave."""
        self.consensus = Consensus(core, rng, recovered)
        self.orders = Orders(core, self.consensus, life)
        giver = LeaseGiver(core.options.leases)
        self.governing = Governing(core, self.consensus, watching, giver)
        self.assigning = Assigning(core, self.consensus, self.governing, giver, plans)
        self.applying = Applying(
            core, plans, owning, routing, discovering, self.orders, self.governing, self.assigning, self._on_name
        )
        applying = self.applying
        self.consensus.tell(applying.applied, applying.settled, applying.restored, self._on_role, owning.answering)

    # -- beginning -----------------------------------------------------------------------------------------------------

    def found(self) -> None:
        """This node is the first."""
        self.orders.place(control.Join(self._core.info), lambda *_: None)
        self.consensus.begin()

    def join(self) -> None:
        """It was taken in."""
        self.consensus.begin()

    def come_back(self) -> None:
        """It was started again on its disk."""
        self._life_waits = True
        self._owning.await_life()
        self._routing.await_life()
        self.consensus.begin()

    def mark_life(self) -> None:
        """Rule 5 of the node. What the earlier process had registered is in the log when the read is answered."""
        if not self._life_waits or self._core.leader is None:
            return
        self._core.deadlines.set(LIFE, self._core.now + self._core.options.order_patience_ns)
        self.consensus.feed(Read(self._on_read_for_life))

    def _on_read_for_life(self, result: Any) -> None:
        if type(result) is not ReadReady:
            self._core.deadlines.set(LIFE, self._core.now + self._core.options.order_retry_ns)
        elif self._life_waits:
            command = control.DropNames(self._core.key, result.index + 1)
            self.orders.place(command, self._on_life_marked)

    def _on_life_marked(self, outcome: Outcome | None, index: int, _: str) -> None:
        if outcome is None or not self._life_waits:
            self.mark_life()
            return
        self._life_waits = False
        self._core.deadlines.cancel(LIFE)
        self._owning.life_began(index)
        self._routing.life_began(index)
        self._discovering.feed(Reborn(index << 24))
        member = self._core.state.member(self._core.key)
        if member is not None and member.node != self._core.info:
            self.orders.place(control.Update(self._core.info), lambda *_: None)
        elif member is None and self._core.cluster == self._core.key:
            # It has founded the cluster, and did not get to joining it.
            self.orders.place(control.Join(self._core.info), lambda *_: None)

    # -- who leads -----------------------------------------------------------------------------------------------------

    def _on_role(self, effect: RoleChanged) -> None:
        core = self._core
        leads = effect.role is RaftRole.LEADER
        changed = effect.leader != core.leader or (effect.leader is not None and effect.term != core.term)
        led = core.leads
        core.term, core.leader = effect.term, effect.leader
        if changed:
            core.out.append(events.LeaderChanged(effect.leader, effect.term))
        if leads:
            self.governing.elected()
        elif led:
            self.governing.deposed()
        if leads or led:
            self.assigning.on_role(leads, effect.term)
        if changed:
            self._owning.leader_known(effect.leader)
            self.orders.ask_again()
            self.mark_life()

    # -- requests ------------------------------------------------------------------------------------------------------

    def on_add_region(self, event: events.AddRegion) -> None:
        """There is an entity type or a singleton of this name."""
        if self._is_too_early(event.request):
            return
        try:
            command = control.RegisterRegion(event.name, event.kind, event.settings, self._core.key, event.recipe)
        except ValueError as error:
            self._core.out.append(Reply(event.request, Rejected(str(error))))
            return
        self._order(event.request, command)

    def on_remove_region(self, event: events.RemoveRegion) -> None:
        """An entity type or a singleton is to end."""
        region = self._core.state.region(event.name)
        if region is None:
            reason = f"there is no {event.name!r}, as far as {self._core.key} knows"
            self._core.out.append(Reply(event.request, Rejected(reason)))
            return
        self._order(event.request, control.RemoveRegion(event.name, region.registered))

    def on_claim_name(self, event: events.ClaimName) -> None:
        """An actor of this node wants a name."""
        core, name, number = self._core, event.name, event.number
        if self._is_too_early(event.request) or self._is_to_wait(event):
            return
        # Another actor of this process may want it too: which of them gets it is not known yet.
        self._last_claim += 1
        claim = self._names[name, number] = self._last_claim

        def answer(outcome: Outcome | None, index: int, reason: str) -> None:
            entry = core.state.name(name)
            mine = entry is not None and (entry.node, entry.number) == (core.key, number)
            if self._names.get((name, number)) == claim and not mine:
                del self._names[name, number]
            if outcome is None and mine:
                core.out.append(Reply(event.request, Done(index)))
            else:
                self._answer(event.request, outcome, index, reason)

        self.orders.place(control.RegisterName(name, core.key, number, event.path), answer)

    def on_release_name(self, event: events.ReleaseName) -> None:
        """It does not want it any more. An order to free a name that came late would free what was claimed since: so
        what the actor wants next with that name waits."""
        if self._is_to_wait(event):
            return
        self._names.pop((event.name, event.number), None)
        self._free(
            event.name,
            event.number,
            lambda outcome, index, reason: self._answer(event.request, outcome, index, reason),
        )

    def _on_name(self, name: str, number: int) -> None:
        """An actor of this node has a name. Perhaps nobody here wants it: an order came late, or an earlier process had
        it. What an actor of the same number wants with that name waits here too."""
        if (name, number) not in self._names and (name, number) not in self._releasing:
            self._free(name, number, lambda *_: None)

    def _free(self, name: str, number: int, then: Callable[[Outcome | None, int, str], None]) -> None:
        key = (name, number)
        self._releasing[key] = []

        def answer(outcome: Outcome | None, index: int, reason: str) -> None:
            then(outcome, index, reason)
            for one in self._releasing.pop(key):
                if isinstance(one, events.ClaimName):
                    self.on_claim_name(one)
                else:
                    self.on_release_name(one)

        self.orders.place(control.UnregisterName(name, self._core.key, number), answer)

    def _is_too_early(self, request: Any) -> bool:
        """What a process that starts again on its disk registers before its beginning is marked would be taken for what
        the one before it had registered, and dropped with that."""
        if self._life_waits:
            reason = (
                f"{self._core.key} has started again, and others do not know that yet; try again when it is a member"
            )
            self._core.out.append(Reply(request, Rejected(reason)))
        return self._life_waits

    def _is_to_wait(self, event: events.ClaimName | events.ReleaseName) -> bool:
        waiting = self._releasing.get((event.name, event.number))
        if self._has_ended:
            self._core.out.append(Reply(event.request, Unknown(f"{self._core.key} has ended")))
        elif waiting is not None:
            waiting.append(event)
        return self._has_ended or waiting is not None

    def on_forget(self, event: events.ForgetNode) -> None:
        """A member does not come back."""
        self._order(event.request, control.Forget(event.node_id))

    def on_confer(self, event: events.Confer) -> None:
        """What is known here is to be as new as anything."""

        self._last_confer += 1
        number = self._last_confer
        self._confers[number] = event.request

        def answer(result: Any) -> None:
            if self._confers.pop(number, _NOTHING) is _NOTHING:
                return
            if type(result) is ReadReady:
                self._core.out.append(Reply(event.request, Done(result.index)))
            else:
                reason = f"it cannot be made sure of at the moment: {getattr(result, 'reason', result)}"
                self._core.out.append(Reply(event.request, Unknown(reason)))

        self.consensus.feed(Read(answer))

    def _order(self, request: Any, command: control.Command) -> None:
        self.orders.place(command, lambda outcome, index, reason: self._answer(request, outcome, index, reason))

    def _answer(self, request: Any, outcome: Outcome | None, index: int, reason: str) -> None:
        result: Any
        match outcome:
            case None:
                result = Unknown(reason)
            case Applied() | AlreadySo():
                result = Done(index)
            case Taken():
                result = outcome
            case Refused(why) | Outdated(why):
                result = Rejected(why)
        self._core.out.append(Reply(request, result))

    # -- leaving -------------------------------------------------------------------------------------------------------

    def depart(self) -> None:
        """Begin to leave."""
        core = self._core
        if core.standing is Standing.LEAVING:
            return
        was_member = core.standing is Standing.MEMBER
        core.stand(Standing.LEAVING)
        if not was_member:
            self.applying.tell_all()  # What changes from now on is told, and would make no sense without what there is.
        self._leave_by = core.now + core.options.leave_ns
        core.deadlines.set(LEAVE, self._leave_by)

    def look_around(self) -> None:
        """After every event: what has become of this node."""
        core = self._core
        removed = self.applying.removed
        if core.failure:
            self.end(Standing.EXPELLED, core.failure)
        elif self._watching.has_left:
            self.end(Standing.DEPARTED, "")
        elif removed is not None and core.standing is not Standing.LEAVING:
            self.end(Standing.EXPELLED, _WHY[removed])
        elif self._watching.is_replaced and core.standing is not Standing.LEAVING:
            self.end(Standing.EXPELLED, _WHY[Removal.REPLACED])
        elif core.standing is Standing.SEEKING and not self._life_waits and core.state.member(core.key) is not None:
            core.stand(Standing.MEMBER)
            self.applying.tell_all()
        elif core.standing is Standing.LEAVING and not self._has_said_goodbye:
            self._leave()

    def _leave(self) -> None:
        core = self._core
        if self._is_left_alone():
            # Who leaves at the same time may have gone before what this node said was in the log.
            core.note(Severity.WARNING, f"{core.key} leaves, and all others have left")
            self._go()
        elif self._can_nothing_be_decided():
            core.note(Severity.WARNING, f"{core.key} leaves, and most of those who voted have left")
            self._go()
        if self._said_left:
            return
        member = core.state.member(core.key)
        if self.applying.removed is not None or self._watching.is_replaced:
            self._go()
        elif member is None or member.status is Status.DOWN:
            return  # Who is held to be down is to be up again before it can leave.
        elif member.status is Status.UP:
            self._say_leave()
            self._wait_for_others()
        elif all(self._leaves(one) for one in core.state.members()):
            # Who stops the only node means that. Who stops several may have meant to leave one of them.
            severity = Severity.INFO if len(core.state.members()) == 1 else Severity.WARNING
            core.note(severity, f"{core.key} leaves, and nobody is there to take what it has")
            self._go()
        elif self._owning.is_empty() and core.state.owned_count(core.key) == 0 and not self._votes():
            self._said_left = True
            self.orders.place(control.Left(core.key), lambda *_: self._go(), at_once=True)
        else:
            self._wait_for_others()

    def _leaves(self, member: MemberInfo) -> bool:
        """Whether a member goes as well, or has gone."""
        return member.status is Status.LEAVING or self._core.seen.get(member.key) is State.LEFT

    def _stays(self, member: MemberInfo) -> bool:
        """Whether a member may take what others leave, as far as is known. Where several leave, who is silent may have
        gone with them, before that was decided and without having been heard."""
        core = self._core
        if member.status is not Status.UP:
            return False
        match core.seen.get(member.key):
            case State.LEFT:
                return False
            case State.DEAD if core.leader is None:
                return not any(self._leaves(one) for one in core.state.members() if one.key != core.key)
        return True

    def _wait_for_others(self) -> None:
        """Somebody may take what is here; or only those could who are held to be down."""
        core = self._core
        by = self._leave_by
        if any(one.key != core.key and self._stays(one) for one in core.state.members()):
            self._alone_since = None
        else:
            self._alone_since = core.now if self._alone_since is None else self._alone_since
            by = min(by, self._alone_since + 2 * core.options.silence_ns)
        core.deadlines.set(LEAVE, by)

    def _is_left_alone(self) -> bool:
        """Whether others have said goodbye, and those who have not want to leave as well."""
        core = self._core
        others = [one for one in core.state.members() if one.key != core.key]
        gone = [one for one in others if core.seen.get(one.key) is State.LEFT]
        return bool(gone) and all(one in gone or one.status is Status.LEAVING for one in others)

    def _can_nothing_be_decided(self) -> bool:
        """Whether so many of those who vote have left for good that the others make no majority any more."""
        core = self._core
        if core.leader is not None:
            return False  # Others vote, of whom this node has not heard yet.
        voters = self.consensus.raft.configurations.latest.voters
        gone = [one for one in voters if core.seen.get(one) is State.LEFT]
        return bool(gone) and 2 * (len(voters) - len(gone)) <= len(voters)

    def _votes(self) -> bool:
        """Whether this node's vote may still be counted."""
        raft = self.consensus.raft
        known = raft.configurations
        return self._core.key in known.latest.voters or known.latest_index > raft.commit

    def _say_leave(self) -> None:
        if self._leave_waits:
            return
        self._leave_waits = True

        def answered(*_: object) -> None:
            self._leave_waits = False

        self.orders.place(control.Leave(self._core.key), answered)

    def on_expelled(self, reason: str) -> None:
        """Others do not take this node for a member. That is what it wants, if it is leaving."""
        if self._core.standing is not Standing.LEAVING:
            self.end(Standing.EXPELLED, reason)
        elif not self._has_said_goodbye:
            self._go()

    def leave_due(self) -> None:
        """Enough was waited for others to take what is here."""
        core = self._core
        if self._said_left and self._has_said_goodbye:
            self.end(Standing.DEPARTED, "")
            return
        if not self._owning.is_empty():
            core.note(Severity.ERROR, f"{core.key} leaves, and others have not taken all that it has")
        self._go()

    def _go(self) -> None:
        """Say goodbye. If nobody listens, that is all the same soon."""
        core = self._core
        self._said_left = self._has_said_goodbye = True
        self._owning.end()
        self._watching.leave()
        core.deadlines.set(LEAVE, core.now + core.options.swim.probe_interval_ns)
        if self._watching.deadline() is None and not self._watching.has_left:
            self.end(Standing.DEPARTED, "")

    def end(self, standing: Standing, reason: str) -> None:
        """This node does nothing more."""
        core = self._core
        if self._has_ended:
            return
        self._has_ended = True
        self._owning.end()
        self._routing.end(f"{core.key} does not belong to the cluster any more")
        why = f"{core.key} does not belong to the cluster any more"
        self.orders.give_up(why)
        for request in self._confers.values():
            core.out.append(Reply(request, Unknown(why)))
        self._confers.clear()
        core.deadlines.clear()
        core.leader = None
        core.stand(standing, reason)

    # -- time ----------------------------------------------------------------------------------------------------------

    def review_due(self) -> None:
        """The leader looks at everything."""
        self.governing.review()
        self.assigning.review()

    def wake(self, now: Instant) -> None:
        """The deadline has come for some part."""
        if self.consensus.round_is_due():
            # Whoever waits for a lease shares the round, and the leader asks for its own as the others do.
            self.assigning.round_begins()
            self._owning.answering()
        if is_due(self.consensus.deadline(), now):
            self.consensus.feed(Wake())
        if is_due(self.assigning.deadline(), now):
            self.assigning.wake()

    def deadline(self) -> Instant | None:
        """When `wake` is wanted."""
        return min([at for part in self.deadlines if (at := part()) is not None], default=None)

    @property
    def deadlines(self) -> tuple[Callable[[], Instant | None], ...]:
        """What `deadline` is the earliest of."""
        return (self.consensus.raft.deadline, *self.assigning.deadlines)
