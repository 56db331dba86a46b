"""The cluster: bugs of leases, owners, hand-overs and channels. See `cluster_wrong.py`."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from casty_proto.cluster import events
from casty_proto.cluster.handover import decode_handover
from casty_proto.cluster.inside import Inside
from casty_proto.cluster.messages import Routed
from casty_proto.cluster.owning import Owning
from casty_proto.cluster.routing import Routing
from casty_proto.machine import Instant
from casty_proto.shard.channel import Hello, Post, Receiver, Sender, Welcome
from casty_proto.shard.homes import Homes, Phase
from casty_proto.shard.leases import GrantReceived, LeaseGiver, LeaseHolder
from casty_proto.shard.steward import Steward
from casty_sim.mutants import Mutant, planter
from casty_sim.scenarios.cluster import ClusterScenario

from .cluster_wrong import Wrong

MUTANTS: list[Mutant] = []
planted = planter(MUTANTS, ClusterScenario)


# Leases --------------------------------------------------------------------------------------------------------------


class _CountsFromReceipt(LeaseHolder):
    __slots__ = ()

    def handle(self, event: Any, now: Instant) -> Any:
        if type(event) is GrantReceived:
            self._questions = {number: (asked, now) for number, (asked, _) in self._questions.items()}
        return super().handle(event, now)


@planted("counts its lease from the receipt of the answer", "Gray and Cheriton 1989: from when it was asked for")
class LeaseFromReceipt(Wrong):
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
class LeaseWithoutEnd(Wrong):
    def spoil(self) -> None:
        self._owning._holder.__class__ = _NeverExpires


class _DoesNotWait(LeaseGiver):
    __slots__ = ()

    def ended_at(self, node: str) -> Instant | None:
        return None if self._floor is None else self._ends.get(node, 0)


@planted("does not wait for what the leader before has granted", "leases.py, rule 4; Burrows 2006, 2.9")
class NewLeaderDoesNotWait(Wrong):
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
class GrantsWithoutQuorum(Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.assigning._giver.__class__ = _GivesAtOnce
        inside.governing._giver.__class__ = _GivesAtOnce


class _NoMargin(LeaseGiver):
    __slots__ = ()

    def ended_at(self, node: str) -> Instant | None:
        return None if self._floor is None else 0


@planted("takes what is owned by whoever is held to be dead, without waiting for the lease", "leases.py; Gray 1989")
class TakesAtOnce(Wrong):
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
class ReleasesBeforeClosing(Wrong):
    def spoil(self) -> None:
        self._owning._homes.__class__ = _ReleasesFirst


class _GivesUnreleased(Steward):
    def _find(self, now: Instant) -> Any:
        return [(spot, move) for spot, move in self._moves.items() if spot not in self._proposed]


@planted("gives a shard away that its owner has not released", "steward.py, rule 1")
class GivesUnreleased(Wrong):
    def spoil_inside(self, inside: Inside) -> None:
        inside.assigning._steward.__class__ = _GivesUnreleased


class _ForgetsRecord(Owning):
    __slots__ = ()

    def on_closed(self, event: events.Closed) -> None:
        self._receivers[event.region, event.shard]._accepted.clear()
        super().on_closed(event)


@planted("hands a shard over without the record of what it has accepted", "channel.py: handled once")
class HandsOverNoRecord(Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _ForgetsRecord


class _ForgetsWaiting(Owning):
    __slots__ = ()

    def on_closed(self, event: events.Closed) -> None:
        super().on_closed(evolve(event, waiting=()))


@planted("hands a shard over without the messages that wait", "every accepted message is handled or answered")
class HandsOverNoMessages(Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _ForgetsWaiting


class _ReordersWaiting(Owning):
    __slots__ = ()

    def on_closed(self, event: events.Closed) -> None:
        super().on_closed(evolve(event, waiting=tuple(reversed(event.waiting))))


@planted("hands waiting messages over in another order", "order per sender is kept through hand-overs")
class ReordersWaiting(Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _ReordersWaiting


class _ForgetsStates(Owning):
    __slots__ = ()

    def on_closed(self, event: events.Closed) -> None:
        super().on_closed(evolve(event, states=()))


@planted("hands over no states of entities that are not replicated", "a hand-over ships all states")
class HandsOverNoStates(Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _ForgetsStates


class _BelievesOldRecords(Owning):
    __slots__ = ()

    def _on_recovered(self, effect: Any) -> None:
        for name, state in effect.entities:
            if name == "\x00handover" and (found := decode_handover(state)) is not None:
                self._predecessors._before[effect.region, effect.shard] = found.epoch
        super()._on_recovered(effect)


@planted("takes the record of an earlier hand-over for that of an owner that crashed", "channel.py, rule 8")
class BelievesOldRecords(Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _BelievesOldRecords
        self._owning._keeping._on_recovered = self._owning._on_recovered


class _AcceptsInAnyPhase(Owning):
    __slots__ = ()

    def on_routed(self, peer: str, region: str, shard: int, body: Any) -> None:
        spot = (region, shard)
        if type(body) is Post and self._spots.get(spot) == body.epoch and spot in self._receivers:
            items, accepted = self._receivers[spot].on_post(peer, body)
            if items:
                self._core.out.append(events.Deliver(region, shard, body.epoch, peer, items))
            if accepted is not None:
                self._core.send(peer, Routed(region, shard, accepted))
            return
        super().on_routed(peer, region, shard, body)


@planted("takes messages for a shard that it has closed, or without a lease", "owning.py, rule 1; homes.py, rule 3")
class AcceptsWhenClosed(Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _AcceptsInAnyPhase


class _LooksAtNoLease(Owning):
    __slots__ = ()

    def is_over(self, now: Instant) -> bool:
        return False

    def may_act(self, now: Instant) -> bool:
        return self._holder.until is not None


@planted("goes straight to a handler without asking whether its lease lasts", "node.py, rules 1 and 7")
class StraightWithoutLease(Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _LooksAtNoLease


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
class HandlesTwice(Wrong):
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

    def on_tells(self, event: events.Tells) -> None:
        super().on_tells(event)
        for sender in self._senders.values():
            sender.__class__ = _SendsOnBlindly


@planted("sends to the next owner what the last one may have handled", "channel.py, rule 4")
class SendsAgain(Wrong):
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
class WelcomesTheUnknown(Wrong):
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
class ResumesOldEpochs(Wrong):
    def spoil(self) -> None:
        self._owning.__class__ = _Resumes
