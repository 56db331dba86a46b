"""The cluster: bugs of replicas, members, names, the registry and formation. See `cluster_wrong.py`."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from casty_proto.cluster import events
from casty_proto.cluster.applying import Applying
from casty_proto.cluster.commands import RegisterName, Update
from casty_proto.cluster.governing import Governing
from casty_proto.cluster.inside import Inside
from casty_proto.cluster.keeping import Keeping
from casty_proto.cluster.names import Names
from casty_proto.cluster.orders import Orders
from casty_proto.cluster.registry import Part, Registry
from casty_proto.machine import Instant, Reply
from casty_proto.replica.answers import Answers
from casty_proto.replica.backup import Backup, Copy
from casty_proto.replica.events import Own, Received
from casty_proto.replica.owned import Owned
from casty_proto.replica.primary import Primary
from casty_sim.mutants import Mutant, planter
from casty_sim.scenarios.cluster import ClusterScenario

from .cluster_wrong import Wrong

MUTANTS: list[Mutant] = []
planted = planter(MUTANTS, ClusterScenario)


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
class AcknowledgesAtOnce(Wrong):
    def spoil(self) -> None:
        self._owning._keeping._replica._primary.__class__ = _AcknowledgesAtOnceNode


class _AnyAck(Answers):
    __slots__ = ()

    def _on_ack(self, owned: Owned, peer: str, link: Any, message: Any, out: Any) -> None:
        newest = owned.records[message.entity].version[1]
        super()._on_ack(owned, peer, link, evolve(message, sequence=newest), out)


@planted("counts the acknowledgement of another sequence", "replica, rule 9")
class CountsAnyAcknowledgement(Wrong):
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
class AcceptsStaleEpochs(Wrong):
    def spoil(self) -> None:
        self._owning._keeping._replica._backup.__class__ = _ObeysAnybody

    def invariants(self) -> None:
        """That it is inconsistent is the point."""


class _AsksNobody(Keeping):
    __slots__ = ()

    def own(self, spot: Any, epoch: int, asked: Any, owners: Any, **more: Any) -> None:
        super().own(spot, epoch, (), owners, **more)


@planted("starts as an owner without asking who has the states", "replica, rule 16")
class StartsEmpty(Wrong):
    def spoil(self) -> None:
        self._owning._keeping.__class__ = _AsksNobody


class _BearsTheSame(Primary):
    __slots__ = ()

    def handle(self, event: Any, now: Instant) -> Any:
        return super().handle(evolve(event, several=(0,) * 9) if type(event) is Own else event, now)


@planted("holds that a write is on two nodes that was acknowledged when there was one", "replica, rule 17")
class BearsTheLossOfTheFirst(Wrong):
    def spoil(self) -> None:
        self._owning._keeping._replica._primary.__class__ = _BearsTheSame


class _KeepsBackups(Primary):
    __slots__ = ()

    def _on_backups(self, event: Any, now: Instant, out: Any) -> None:
        owned = self._shards.get((event.region, event.shard))
        if owned is not None and owned.recovery is None and not owned.backups:
            super()._on_backups(event, now, out)


@planted("does not bring new backups up to date when the members change", "replica, rule 14")
class NeglectsNewBackups(Wrong):
    def spoil(self) -> None:
        self._owning._keeping._replica._primary.__class__ = _KeepsBackups


class _DurableWithoutLease(Keeping):
    __slots__ = ()

    def _on_durable(self, request: Any) -> None:
        if request is not None:
            self._core.out.append(events.Durable(request[0]))


@planted("acknowledges writes when its lease is over", "owning.py, rule 1")
class DurableWithoutLease(Wrong):
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
class NamesAreTakenOver(Wrong):
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
class RegistryResurrects(Wrong):
    def spoil(self) -> None:
        self._discovering.registry.__class__ = _Resurrects


class _NeverMarksDown(Governing):
    __slots__ = ()

    def _is_gone(self, key: str) -> bool:
        return False


@planted("leaves the dead among the members that are up", "dead members are removed on SWIM's word")
class NeverMarksDown(Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.governing.__class__ = _NeverMarksDown


class _KeepsVoters(Governing):
    __slots__ = ()

    def _see_to_voters(self, members: Any) -> None:
        raft = self._consensus.raft
        if len(raft.configurations.latest.voters) < 3:
            super()._see_to_voters(members)


@planted("does not replace voters that are gone", "dead voters are replaced")
class KeepsDeadVoters(Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.governing.__class__ = _KeepsVoters


class _SaysNothingNew(Orders):
    __slots__ = ()

    def place(self, command: Any, answer: Any, *, at_once: bool = False) -> None:
        if type(command) is not Update:
            super().place(command, answer, at_once=at_once)


@planted("does not say that its roles and its weight are others", "only members with the role hold anything")
class SaysNothingNew(Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.orders.__class__ = _SaysNothingNew


class _ConfersWithNobody(Inside):
    __slots__ = ()

    def on_confer(self, event: events.Confer) -> None:
        self._core.out.append(Reply(event.request, events.Done(self._core.state.changed)))


@planted("takes what it knows for all that is known", "Ongaro 2014, 6.4: read-index")
class ConfersWithNobody(Wrong):
    def _enter(self, *arguments: Any) -> Inside:
        inside = super()._enter(*arguments)
        inside.__class__ = _ConfersWithNobody
        return inside


class _ForgetsTheRest(Orders):
    __slots__ = ()

    def due(self) -> None:
        """Never asks again."""


@planted("does not ask again what nobody has answered", "orders reach the leader")
class AsksOnce(Wrong):
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
class TellsTwice(Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.applying.__class__ = _TellsTwice
        inside.consensus.tell(
            inside.applying.applied,
            inside.applying.settled,
            inside.applying.restored,
            inside._on_role,
            inside._owning.answering,
        )


@planted("founds a cluster without the consent of the other seeds", "two clusters never form from one seed list")
class FoundsAlone(Wrong):
    def handle(self, event: Any, now: Instant) -> Any:
        forming = self._forming
        if self._in is None and forming._claim:
            forming._agreed = dict(forming._founders)
        return super().handle(event, now)
