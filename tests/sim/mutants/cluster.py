"""The cluster: bugs of leases, owners, hand-overs, replicas, names, the registry and formation.

Each is a node with one part that does one thing wrong. A part is made wrong in place, by giving it another class with
the same slots: so all that is right about it stays as it is.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from casty_proto.cluster import events
from casty_proto.cluster.applying import Applying
from casty_proto.cluster.commands import RegisterName, Update
from casty_proto.cluster.governing import Governing
from casty_proto.cluster.handover import decode_handover
from casty_proto.cluster.inside import Inside
from casty_proto.cluster.keeping import Keeping
from casty_proto.cluster.names import Names
from casty_proto.cluster.node import Node
from casty_proto.cluster.orders import Orders
from casty_proto.cluster.owning import Owning
from casty_proto.cluster.registry import Part, Registry
from casty_proto.cluster.routing import Routing
from casty_proto.machine import Instant, Reply
from casty_proto.replica.answers import Answers
from casty_proto.replica.backup import Backup, Copy
from casty_proto.replica.events import Own, Received
from casty_proto.replica.owned import Owned
from casty_proto.replica.primary import Primary
from casty_proto.shard.channel import Hello, Post, Receiver, Sender, Welcome
from casty_proto.shard.homes import Homes, Phase
from casty_proto.shard.leases import GrantReceived, LeaseGiver, LeaseHolder
from casty_proto.shard.steward import Steward
from casty_sim.mutants import Mutant, planter
from casty_sim.scenarios.cluster import ClusterScenario

MUTANTS: list[Mutant] = []
planted = planter(MUTANTS, ClusterScenario)


class _Wrong(Node):
    """A node of which some parts are replaced."""

    __slots__ = ()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.spoil()
        self._deadlines = self._queries()

    def spoil(self) -> None:
        """Make the parts wrong that are there from the beginning."""

    def _enter(self, *arguments: Any) -> Inside:
        inside = super()._enter(*arguments)
        self.spoil_inside(inside)
        self._deadlines = self._queries()
        return inside

    def spoil_inside(self, inside: Inside) -> None:
        """Make the parts wrong that are there once it belongs to a cluster."""


# Leases --------------------------------------------------------------------------------------------------------------


class _CountsFromReceipt(LeaseHolder):
    __slots__ = ()

    def handle(self, event: Any, now: Instant) -> Any:
        if type(event) is GrantReceived:
            self._questions = {number: (asked, now) for number, (asked, _) in self._questions.items()}
        return super().handle(event, now)


@planted("counts its lease from the receipt of the answer", "Gray and Cheriton 1989: from when it was asked for")
class LeaseFromReceipt(_Wrong):
    def spoil(self) -> None:
        self._owning._holder.__class__ = _CountsFromReceipt


class _NeverExpires(LeaseHolder):
    __slots__ = ()

    def holds(self, now: Instant) -> bool:
        return self._until is not None

    def deadline(self) -> Instant | None:
        return self._ask_at

    def _expire(self, now: Instant) -> Any:
        return ()


@planted("goes on as an owner when its lease is over", "leases.py, rule 1")
class LeaseWithoutEnd(_Wrong):
    def spoil(self) -> None:
        self._owning._holder.__class__ = _NeverExpires


class _DoesNotWait(LeaseGiver):
    __slots__ = ()

    def ended_at(self, node: str) -> Instant | None:
        return None if self._floor is None else self._ends.get(node, 0)


@planted("does not wait for what the leader before has granted", "leases.py, rule 4; Burrows 2006, 2.9")
class NewLeaderDoesNotWait(_Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.assigning._giver.__class__ = _DoesNotWait
        inside.governing._giver.__class__ = _DoesNotWait


class _GivesAtOnce(LeaseGiver):
    __slots__ = ()

    def _on_request(self, peer: str, message: Any, now: Instant) -> Any:
        out = super()._on_request(peer, message, now)
        if self._asking is None:
            return out
        return self._on_confirmed(self._asking[0], 1, now)


@planted("gives leases without making sure that it leads", "leases.py, rule 3")
class GrantsWithoutQuorum(_Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.assigning._giver.__class__ = _GivesAtOnce
        inside.governing._giver.__class__ = _GivesAtOnce


class _NoMargin(LeaseGiver):
    __slots__ = ()

    def ended_at(self, node: str) -> Instant | None:
        return None if self._floor is None else 0


@planted("takes what is owned by whoever is held to be dead, without waiting for the lease", "leases.py; Gray 1989")
class TakesAtOnce(_Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.assigning._giver.__class__ = _NoMargin
        inside.governing._giver.__class__ = _NoMargin


# Owners and hand-overs -----------------------------------------------------------------------------------------------


class _ReleasesFirst(Homes):
    def _close_more(self, now: Instant) -> Any:
        effects = super()._close_more(now)
        for spot in list(self._closing):
            shard = self._shards[spot]
            effects += tuple(
                self._release(spot, shard, now)  # it goes on working meanwhile
            )
            shard.phase = Phase.CLOSING
            del self._released[spot]
        return effects


@planted("lets the next owner start while the handlers of the old one run", "homes.py, rule 3")
class ReleasesBeforeClosing(_Wrong):
    def spoil(self) -> None:
        self._owning._homes.__class__ = _ReleasesFirst


class _GivesUnreleased(Steward):
    def _find(self, now: Instant) -> Any:
        return [(spot, move) for spot, move in self._moves.items() if spot not in self._proposed]


@planted("gives a shard away that its owner has not released", "steward.py, rule 1")
class GivesUnreleased(_Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.assigning._steward.__class__ = _GivesUnreleased


class _ForgetsRecord(Owning):
    __slots__ = ()

    def on_closed(self, event: events.Closed) -> None:
        self._receivers[event.region, event.shard]._accepted.clear()
        super().on_closed(event)


@planted("hands a shard over without the record of what it has accepted", "channel.py: handled once")
class HandsOverNoRecord(_Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _ForgetsRecord


class _ForgetsWaiting(Owning):
    __slots__ = ()

    def on_closed(self, event: events.Closed) -> None:
        super().on_closed(evolve(event, waiting=()))


@planted("hands a shard over without the messages that wait", "every accepted message is handled or answered")
class HandsOverNoMessages(_Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _ForgetsWaiting


class _ReordersWaiting(Owning):
    __slots__ = ()

    def on_closed(self, event: events.Closed) -> None:
        super().on_closed(evolve(event, waiting=tuple(reversed(event.waiting))))


@planted("hands waiting messages over in another order", "order per sender is kept through hand-overs")
class ReordersWaiting(_Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _ReordersWaiting


class _ForgetsStates(Owning):
    __slots__ = ()

    def on_closed(self, event: events.Closed) -> None:
        super().on_closed(evolve(event, states=()))


@planted("hands over no states of entities that are not replicated", "a hand-over ships all states")
class HandsOverNoStates(_Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _ForgetsStates


class _BelievesOldRecords(Owning):
    __slots__ = ()

    def _on_recovered(self, effect: Any) -> None:
        for name, state in effect.entities:
            if name == "\x00handover" and (found := decode_handover(state)) is not None:
                self._before[effect.region, effect.shard] = found.epoch
        super()._on_recovered(effect)


@planted("takes the record of an earlier hand-over for that of an owner that crashed", "channel.py, rule 8")
class BelievesOldRecords(_Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _BelievesOldRecords
        self._owning._keeping._on_recovered = self._owning._on_recovered


class _AcceptsAgain(Receiver):
    __slots__ = ()

    def on_post(self, sender: str, message: Post) -> Any:
        channel, count = self._accepted.get(sender, (0, 0))
        if message.channel == channel and message.first <= count:
            self._accepted[sender] = (channel, message.first - 1)
        return super().on_post(sender, message)


class _AcceptsAgainNode(Owning):
    __slots__ = ()

    def _on_recovered(self, effect: Any) -> None:
        super()._on_recovered(effect)
        self._receivers[effect.region, effect.shard].__class__ = _AcceptsAgain


@planted("handles what is sent again once more", "channel.py, rule 1")
class HandlesTwice(_Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _AcceptsAgainNode
        self._owning._keeping._on_recovered = self._owning._on_recovered


class _SendsOnBlindly(Sender):
    __slots__ = ()

    def lead_to(self, owner: str | None, epoch: int, now: Instant) -> Any:
        effects = super().lead_to(owner, epoch, now)
        if self._asking:
            # As if the new owner had said that nothing was accepted.
            return effects + self.welcome(
                str(owner), Welcome(epoch, self._channel, self._next - len(self._sent) - 1), now
            )
        return effects


class _SendsOnBlindlyNode(Routing):
    __slots__ = ()

    def on_tell(self, event: events.Tell) -> None:
        super().on_tell(event)
        for sender in self._senders.values():
            sender.__class__ = _SendsOnBlindly


@planted("sends to the next owner what the last one may have handled", "channel.py, rule 4")
class SendsAgain(_Wrong):
    def spoil(self) -> None:
        self._routing.__class__ = _SendsOnBlindlyNode


class _KnowsNothing(Receiver):
    __slots__ = ()

    def on_hello(self, sender: str, message: Hello) -> Welcome | None:
        found = super().on_hello(sender, message)
        return None if found is None else Welcome(found.epoch, found.channel, 0)


class _KnowsNothingNode(Owning):
    __slots__ = ()

    def _on_recovered(self, effect: Any) -> None:
        super()._on_recovered(effect)
        self._receivers[effect.region, effect.shard].__class__ = _KnowsNothing


@planted("says that nothing was accepted where it does not know", "channel.py, rule 8")
class WelcomesTheUnknown(_Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _KnowsNothingNode
        self._owning._keeping._on_recovered = self._owning._on_recovered


class _Resumes(Owning):
    __slots__ = ()

    def await_life(self) -> None:
        """Never mind who was this node before."""

    def life_began(self, index: int) -> None:
        """Nor when it ended."""


@planted("takes up after a restart what the process before it has owned", "node.py, rule 5")
class ResumesOldEpochs(_Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _Resumes


# Replication ---------------------------------------------------------------------------------------------------------


class _AcknowledgesAtOnce(Owned):
    __slots__ = ()

    @property
    def required(self) -> int:
        return 0


class _AcknowledgesAtOnceNode(Primary):
    __slots__ = ()

    def _on_own(self, event: Any, now: Instant, out: Any) -> None:
        super()._on_own(event, now, out)
        for owned in self._shards.values():
            owned.__class__ = _AcknowledgesAtOnce


@planted("acknowledges writes that no backup has", "replica, rule 1")
class AcknowledgesAtOnce(_Wrong):
    def spoil(self) -> None:
        self._owning._keeping._replica._primary.__class__ = _AcknowledgesAtOnceNode


class _AnyAck(Answers):
    __slots__ = ()

    def _on_ack(self, owned: Owned, peer: str, link: Any, message: Any, out: Any) -> None:
        newest = owned.records[message.entity].version[1]
        super()._on_ack(owned, peer, link, evolve(message, sequence=newest), out)


@planted("counts the acknowledgement of another sequence", "replica, rule 9")
class CountsAnyAcknowledgement(_Wrong):
    def spoil(self) -> None:
        self._owning._keeping._replica._primary._answers.__class__ = _AnyAck


class _ObeysAnybody(Backup):
    __slots__ = ()

    def _on_received(self, event: Received) -> Any:
        message: Any = event.message
        copy = self._copies.get((message.region, message.shard))
        if copy is not None and message.epoch < copy.epoch:
            self._copies[message.region, message.shard] = Copy(
                message.epoch, copy.stage, event.peer, copy.entries, copy.whole, copy.index
            )
        return super()._on_received(event)


@planted("accepts what comes from an owner of an earlier epoch", "replica, rule 12")
class AcceptsStaleEpochs(_Wrong):
    def spoil(self) -> None:
        self._owning._keeping._replica._backup.__class__ = _ObeysAnybody

    def invariants(self) -> None:
        """That it is inconsistent is the point."""


class _AsksNobody(Keeping):
    __slots__ = ()

    def own(self, spot: Any, epoch: int, asked: Any, owners: Any, **more: Any) -> None:
        super().own(spot, epoch, (), owners, **more)


@planted("starts as an owner without asking who has the states", "replica, rule 16")
class StartsEmpty(_Wrong):
    def spoil(self) -> None:
        self._owning._keeping.__class__ = _AsksNobody


class _BearsTheSame(Primary):
    __slots__ = ()

    def handle(self, event: Any, now: Instant) -> Any:
        return super().handle(evolve(event, several=(0,) * 9) if type(event) is Own else event, now)


@planted("holds that a write is on two nodes that was acknowledged when there was one", "replica, rule 17")
class BearsTheLossOfTheFirst(_Wrong):
    def spoil(self) -> None:
        self._owning._keeping._replica._primary.__class__ = _BearsTheSame


class _KeepsBackups(Primary):
    __slots__ = ()

    def _on_backups(self, event: Any, now: Instant, out: Any) -> None:
        owned = self._shards.get((event.region, event.shard))
        if owned is not None and owned.recovery is None and not owned.backups:
            super()._on_backups(event, now, out)


@planted("does not bring new backups up to date when the members change", "replica, rule 14")
class NeglectsNewBackups(_Wrong):
    def spoil(self) -> None:
        self._owning._keeping._replica._primary.__class__ = _KeepsBackups


class _DurableWithoutLease(Keeping):
    __slots__ = ()

    def _on_durable(self, request: Any) -> None:
        if request is not None:
            self._core.out.append(events.Durable(request[0]))


@planted("acknowledges writes when its lease is over", "owning.py, rule 1")
class DurableWithoutLease(_Wrong):
    def spoil(self) -> None:
        self._owning._keeping.__class__ = _DurableWithoutLease


# Members, names, the registry, formation -----------------------------------------------------------------------------


class _FirstComeServesAll(Names):
    __slots__ = ()

    def apply(self, command: Any, index: int, members: Any) -> Any:
        if type(command) is RegisterName:
            self.entries.pop(command.name, None)
        return super().apply(command, index, members)


@planted("gives a name to whoever asks last", "of two who register a name one wins")
class NamesAreTakenOver(_Wrong):
    def spoil(self) -> None:
        self._core.state._names.__class__ = _FirstComeServesAll


class _Resurrects(Registry):
    def _on_part(self, message: Part) -> Any:
        listed = self._lists.get(message.node)
        if listed is not None and message.version < listed.version:
            listed.version = 0
        return super()._on_part(message)

    def _on_difference(self, peer: str, message: Any) -> Any:
        kept = tuple([change for change in message.changes if change[0]])
        return super()._on_difference(peer, message) if kept == message.changes else ()


@planted("lists actors that were taken from the list", "registry.py, rule 2: resurrection")
class RegistryResurrects(_Wrong):
    def spoil(self) -> None:
        self._discovering.registry.__class__ = _Resurrects


class _NeverMarksDown(Governing):
    __slots__ = ()

    def _is_gone(self, key: str) -> bool:
        return False


@planted("leaves the dead among the members that are up", "dead members are removed on SWIM's word")
class NeverMarksDown(_Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.governing.__class__ = _NeverMarksDown


class _KeepsVoters(Governing):
    __slots__ = ()

    def _see_to_voters(self, members: Any) -> None:
        raft = self._consensus.raft
        if len(raft.configurations.latest.voters) < 3:
            super()._see_to_voters(members)


@planted("does not replace voters that are gone", "dead voters are replaced")
class KeepsDeadVoters(_Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.governing.__class__ = _KeepsVoters


class _SaysNothingNew(Orders):
    __slots__ = ()

    def place(self, command: Any, answer: Any, *, at_once: bool = False) -> None:
        if type(command) is not Update:
            super().place(command, answer, at_once=at_once)


@planted("does not say that its roles and its weight are others", "only members with the role hold anything")
class SaysNothingNew(_Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.orders.__class__ = _SaysNothingNew


class _ConfersWithNobody(Inside):
    __slots__ = ()

    def on_confer(self, event: events.Confer) -> None:
        self._core.out.append(Reply(event.request, events.Done(self._core.state.changed)))


@planted("takes what it knows for all that is known", "Ongaro 2014, 6.4: read-index")
class ConfersWithNobody(_Wrong):
    def _enter(self, *arguments: Any) -> Inside:
        inside = super()._enter(*arguments)
        inside.__class__ = _ConfersWithNobody
        return inside


class _ForgetsTheRest(Orders):
    __slots__ = ()

    def due(self) -> None:
        """Never asks again."""


@planted("does not ask again what nobody has answered", "orders reach the leader")
class AsksOnce(_Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.orders.__class__ = _ForgetsTheRest
        inside.applying._orders.__class__ = _ForgetsTheRest


class _TellsTwice(Applying):
    __slots__ = ()

    def applied(self, command: Any, outcome: Any, index: int) -> None:
        before = len(self._core.out)
        super().applied(command, outcome, index)
        again = [effect for effect in self._core.out[before:] if type(effect) is events.MemberUnreachable]
        self._core.out.extend(again)


@planted("tells users of a dead member twice", "events come once")
class TellsTwice(_Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.applying.__class__ = _TellsTwice
        inside.consensus.tell(
            inside.applying.applied, inside.applying.settled, inside.applying.restored, inside._on_role
        )


@planted("founds a cluster without the consent of the other seeds", "two clusters never form from one seed list")
class FoundsAlone(_Wrong):
    def handle(self, event: Any, now: Instant) -> Any:
        forming = self._forming
        if self._in is None and forming._claim:
            forming._agreed = dict(forming._founders)
        return super().handle(event, now)
