"""SWIM: bugs that show in what a member says, hears and announces."""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import evolve, has

from casty_proto.machine import Instant
from casty_proto.swim import (
    Ack,
    Identity,
    IndirectAck,
    MemberUpdated,
    PingRequest,
    Received,
    Send,
    State,
    Swim,
    SwimEffect,
    SwimEvent,
    SwimOptions,
    SyncReply,
    SyncRequest,
    Update,
    UpdatePayload,
)
from casty_sim.mutants import Mutant, planter
from casty_sim.scenarios.swim import SwimScenario

MUTANTS: list[Mutant] = []
planted = planter(MUTANTS, SwimScenario)


class _Options(Swim):
    """Has other options than everybody thinks."""

    changes: ClassVar[dict[str, Any]] = {}

    def __init__(self, identity: Identity, *more: Any, options: SwimOptions, **named: Any) -> None:
        super().__init__(identity, *more, options=evolve(options, **self.changes), **named)


class _Says(Swim):
    """Says something else of members than it should."""

    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        return tuple(self._said(effect) for effect in super().handle(event, now))

    def _said(self, effect: SwimEffect) -> SwimEffect:
        if isinstance(effect, Send) and has(type(effect.message)) and getattr(effect.message, "updates", None):
            message: Any = effect.message
            return Send(effect.to, evolve(message, updates=tuple(map(self._told, message.updates))))
        return effect

    def _told(self, update: Update) -> Update:
        return update


@planted("does not hear what is said of itself, and so never objects", "SWIM 4.2: the suspected refutes")
class NeverRefutes(Swim):
    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        if isinstance(event, Received) and getattr(event.message, "updates", None):
            message: Any = event.message
            kept = tuple(each for each in message.updates if each.identity.node_id != self.me.identity.node_id)
            event = Received(event.peer, evolve(message, updates=kept))
        return super().handle(event, now)


@planted("objects without a higher incarnation", "SWIM 4.2; memberlist: refute raises the incarnation")
class RefutesInVain(_Says):
    def _told(self, update: Update) -> Update:
        mine = update.identity.node_id == self.me.identity.node_id and update.state is State.ALIVE
        return evolve(update, incarnation=0) if mine else update


@planted("gives suspects as long to object as can be set", "SWIM 4.2: suspicion ends after a time")
class SuspicionNeverEnds(_Options):
    changes: ClassVar[dict[str, Any]] = {"suspicion_mult": 100, "suspicion_max_mult": 100}


@planted("raises the incarnations of others", "SWIM 4.2: a member alone raises its incarnation")
class RaisesOthers(_Says):
    def _told(self, update: Update) -> Update:
        return evolve(update, incarnation=update.incarnation + 1)


@planted("passes news on without end", "SWIM 4.1: lambda log n times; memberlist: the queue drops what was sent enough")
class NewsWithoutEnd(_Options):
    changes: ClassVar[dict[str, Any]] = {"retransmit_mult": 100}


@planted("sends everything twice", "SWIM 4.1: the load of a member does not grow")
class SaysTwice(Swim):
    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        effects = super().handle(event, now)
        return (*effects, *[effect for effect in effects if isinstance(effect, Send)])


@planted("sends messages as large as it likes", "memberlist: UDPBufferSize; foca: max_packet_size")
class TooLarge(_Options):
    changes: ClassVar[dict[str, Any]] = {"message_limit": 1_000_000}


@planted("leaves without a word", "memberlist: Leave broadcasts, and waits for that")
class LeavesSilently(Swim):
    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        effects = super().handle(event, now)
        if self.me.state is State.LEFT and not isinstance(event, Received):
            return tuple(each for each in effects if not isinstance(each, Send))
        return effects


@planted("calls a goodbye a death", "serf and memberlist: left is not dead")
class GoodbyeIsDeath(_Says):
    def _told(self, update: Update) -> Update:
        return evolve(update, state=State.DEAD) if update.state is State.LEFT else update


@planted("compares no states, so that what was lost is lost for good", "memberlist: push-pull; SWIM 4.1")
class NoSync(Swim):
    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        effects = super().handle(event, now)
        return tuple(
            each
            for each in effects
            if not (isinstance(each, Send) and isinstance(each.message, SyncRequest | SyncReply))
        )


@planted("a helper says yes without asking the target", "SWIM 3.1: an ack of the target is passed on")
class HelperLies(Swim):
    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        effects = super().handle(event, now)
        if isinstance(event, Received) and isinstance(event.message, PingRequest) and effects:
            lie = IndirectAck(self.me.identity, event.message.number)
            return (*effects, Send(event.peer, lie))
        return effects


@planted("takes any ack for the one that it waits for", "SWIM 3.1: an ack answers one ping")
class AnyAckCounts(Swim):
    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        probe = self._probing._probe
        if isinstance(event, Received) and isinstance(event.message, Ack) and probe is not None:
            event = Received(probe.address, Ack(probe.target, probe.number, event.message.updates))
        return super().handle(event, now)


@planted("changes its payload and tells nobody here", "the announcements are all that a driver sees")
class SilentUpdates(Swim):
    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        return tuple(effect for effect in super().handle(event, now) if not isinstance(effect, MemberUpdated))


@planted("changes its payload without a higher incarnation", "memberlist: UpdateNode raises the incarnation")
class SamePayloadIncarnation(_Says):
    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        if isinstance(event, UpdatePayload):
            self.frozen_at = self.me.incarnation
        return super().handle(event, now)

    def _told(self, update: Update) -> Update:
        at = getattr(self, "frozen_at", None)
        if at is not None and update.identity == self.me.identity and update.incarnation == at + 1:
            return evolve(update, incarnation=at)
        return update


@planted("goes on after its goodbye as if nothing had been", "memberlist: who has left does not come back to life")
class LeavesAndStays(_Says):
    def _told(self, update: Update) -> Update:
        mine = update.identity.node_id == self.me.identity.node_id and update.state is State.LEFT
        return evolve(update, state=State.ALIVE) if mine else update
