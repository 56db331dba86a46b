"""What a node does as an owner: its lease, its shards, their states, and the messages that come for them.

The parts are `LeaseHolder`, `Homes` and, in keeping.py, `Replica`. The first says whether this node may act at all, the
second which shards it has and what is to be done about each, the third where the states are. Who had a shard before is
the subject of predecessors.py, what comes for it before it is open that of knocking.py, and what an earlier process of
this node has owned that of leftovers.py. A shard is opened so:

    an `Assign` is applied --Homes--> Fill --> Replica recovers the states --> Filled --Homes, lease--> OpenShard

and closed so:

    the plan has another home --Homes--> CloseShard --> the driver: Closed, with what is left --> Replica keeps it
        --Homes--> Released, to the leader --> an `Assign` is applied here --> DropShard
                                            --> and there: the new owner's Replica asks this one's for the states

The rules of the parts hold. Besides:

1.  Nothing is done for a shard without a lease: not a message delivered, not a write acknowledged. A write that the
    backups have got meanwhile is acknowledged with the next lease, if the shard is this node's still.
2.  A process that starts again on its disk has lost what it owned. Whatever it was given before that, it gives back;
    from then on it owns like anybody else. It knows which is which by a command of its own in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, assert_never

from ..machine import Instant, Note, Rejected, Reply, Severity, Wake, shown
from ..replica import (
    Began,
    Down,
    Ended,
    Gone,
    Lost,
    Received,
    Recovered,
    Superseded,
)
from ..replica.door import is_well_formed
from ..shard.channel import Hello, Moved, Post, Receiver
from ..shard.homes import (
    NOBODY,
    Close,
    Drop,
    Fill,
    Filled,
    Halt,
    Home,
    Homes,
    HomesEvent,
    LeaderChanged,
    LeaseChanged,
    Open,
    Owner,
    Phase,
    ShardClosed,
    TellLeader,
)
from ..shard.leases import (
    Answering,
    Applied,
    GrantReceived,
    HolderEvent,
    LeaderKnown,
    LeaseBegun,
    LeaseGrant,
    LeaseHolder,
    LeaseOver,
    Relinquish,
    SendRequest,
)
from ..shard.steward import Spot
from . import events
from .checks import NodeKey
from .core import Core
from .handover import Handover, decode_handover, encode_handover, is_entity, is_part, part_name
from .keeping import Keeping
from .knocking import Knocking
from .leftovers import Leftovers
from .messages import Routed
from .outcomes import ShardsMoved
from .plans import Plans
from .predecessors import Predecessors
from .records import Status
from .regions import Region


class _Contents:
    """What was found of a shard, until it is opened."""

    __slots__ = ("entities", "handover")

    def __init__(self, entities: tuple[tuple[str, bytes], ...], handover: Handover | None) -> None:
        self.entities = entities
        self.handover = handover


class Owning:
    """The shards of a node."""

    __slots__ = (
        "_contents",
        "_core",
        "_given",
        "_holder",
        "_homes",
        "_keeping",
        "_knocking",
        "_leftovers",
        "_plans",
        "_predecessors",
        "_receivers",
        "_spots",
    )

    def __init__(self, core: Core, plans: Plans, rng: Random) -> None:
        self._core = core
        self._plans = plans
        self._holder = LeaseHolder(core.options.leases)
        self._homes = Homes(core.key, core.options.homes)
        self._keeping = Keeping(
            core, plans, rng, lambda: self._holder.holds(core.now), self._on_recovered, self._on_superseded
        )
        self._knocking = Knocking()
        self._receivers: dict[Spot, Receiver] = {}
        """Of the shards that have been open in their present epochs."""
        self._spots: dict[Spot, int] = {}
        """The shards that this node owns by what is applied, and that are its own since this process began: epochs."""
        self._predecessors = Predecessors(core)
        self._given: dict[Spot, int] = {}
        """Shards that this node has given away, and the epochs at which others got them. Of those that were taken by
        force nobody was promised anything, and nobody may ever ask."""
        self._contents: dict[Spot, _Contents] = {}
        self._leftovers = Leftovers(core)

    # -- who leads, and which process this is --------------------------------------------------------------------------

    def await_life(self) -> None:
        """An earlier process has been this node: what it owned is not to be taken up."""
        self._leftovers.await_life()
        self._keeping.feed(Began(None))

    def life_began(self, index: int) -> None:
        """The command that marks the beginning of this process is applied."""
        self._keeping.feed(Began(index))
        self._leftovers.life_began(index)

    def leader_known(self, leader: NodeKey | None) -> None:
        """This node takes `leader` for the leader."""
        self._feed_homes(LeaderChanged(leader))
        self._feed_holder(LeaderKnown(leader))
        self.give_back()

    def give_back(self) -> None:
        """Tell the leader about what an earlier process owned."""
        self._leftovers.give_back()

    # -- what was applied ----------------------------------------------------------------------------------------------

    def moved(self, change: ShardsMoved) -> None:
        """Shards have other owners."""
        region = self._core.state.region(change.region)
        for shard, before, before_epoch in change.shards:
            spot = (change.region, shard)
            if region is not None and region.settings.sync_count:
                self._predecessors.remember(spot, before, before_epoch)
            mine = change.to == self._core.key
            if mine and self._leftovers.collects(spot, change.epoch):
                continue
            if mine and region is not None:
                self._spots[spot] = change.epoch
                self._predecessors.succeeded(spot, before, before_epoch, forced=change.forced)
                self._feed_homes(Home(*spot, self._home(region, shard)))
                self._feed_homes(Owner(*spot, change.to, change.epoch, before))
            elif self._spots.pop(spot, None) is not None:
                if change.forced:
                    self._given.pop(spot, None)
                else:
                    self._given[spot] = change.epoch
                self._feed_homes(Owner(*spot, change.to, change.epoch, before))
                self._feed_homes(Home(*spot, None))

    def plans_changed(self) -> None:
        """The members are others: so may be the homes of what is owned here, and the backups."""
        for spot in list(self._spots):
            region = self._core.state.region(spot[0])
            if region is not None:
                self._feed_homes(Home(*spot, self._home(region, spot[1])))
        self._tell_of_backups()

    def _tell_of_backups(self) -> None:
        for spot in list(self._spots):
            region = self._core.state.region(spot[0])
            if region is not None:
                self._keeping.plans_changed(spot, region)

    def _home(self, region: Region, shard: int) -> NodeKey | None:
        return NOBODY if region.closing else self._plans.home(region, shard)

    def region_closing(self, name: str) -> None:
        """A region is being removed: what is owned of it here is to be nobody's."""
        for spot in [spot for spot in self._spots if spot[0] == name]:
            self._feed_homes(Home(*spot, NOBODY))

    def region_removed(self, name: str) -> None:
        """There is no such region any more. Another one of its name has nothing to do with what was here."""
        for spot in [spot for spot in self._spots if spot[0] == name]:
            # Only who has missed how the region was removed still takes itself for an owner.
            self._feed_homes(Owner(*spot, None, self._spots.pop(spot) + 1))
            self._feed_homes(Home(*spot, None))
        for spot in [spot for spot in self._given if spot[0] == name]:
            del self._given[spot]
        self._predecessors.forget(name)
        self.region_ended(name)

    def region_ended(self, name: str) -> None:
        """Forget what is left of all regions that had this name before."""
        core, region = self._core, self._core.state.region(name)
        self._keeping.feed(Ended(name, core.state.changed + 1 if region is None else region.registered))

    def members_changed(self, gone: tuple[NodeKey, ...]) -> None:
        """The members are others, or in another state. `gone` are none any more."""
        down = [one.key for one in self._core.state.members() if one.status is Status.DOWN]
        self._keeping.feed(Down(tuple(down)))
        for node in gone:
            self._keeping.feed(Gone(node))
            self._knocking.forget(node)
            for receiver in self._receivers.values():
                receiver.forget(node)

    def restarted(self, node: NodeKey) -> None:
        """A member was started again on its disk, which has no copies."""
        self._keeping.feed(Lost(node))
        self._tell_of_backups()

    def settled(self, index: int) -> None:
        """All that is above was said about everything up to `index`."""
        self._feed_holder(Applied(index))

    # -- from the driver -----------------------------------------------------------------------------------------------

    def on_handled(self, event: events.Handled) -> None:
        """A handler has left an entity with a state."""
        spot = (event.region, event.shard)
        phase = self._homes.phase_of(*spot)
        if phase not in (Phase.OPEN, Phase.CLOSING) or self._spots.get(spot) != event.epoch:
            reason = f"{event.region}/{event.shard} is not owned here at epoch {event.epoch}"
            self._core.out.append(Reply(event.request, Rejected(reason)))
            return
        if not is_entity(event.entity):
            self._core.out.append(Reply(event.request, Rejected(_nameless(event.entity))))
            return
        self._keeping.handled(spot, event.entity, event.state, event.request)

    def on_touched(self, event: events.Touched) -> None:
        """An entity was needed."""
        spot = (event.region, event.shard)
        if self._spots.get(spot) == event.epoch and self._homes.phase_of(*spot) is Phase.OPEN:
            self._keeping.touched(spot, event.entity)

    def on_rested(self, event: events.Rested) -> None:
        """An entity takes up nothing any more."""
        spot = (event.region, event.shard)
        owned = self._spots.get(spot) == event.epoch and self._homes.phase_of(*spot) in (Phase.OPEN, Phase.CLOSING)
        if owned and is_entity(event.entity):
            self._keeping.rested(spot, event.entity, event.state)

    def on_closed(self, event: events.Closed) -> None:
        """A shard was closed. What is left is put where the next owner asks: here."""
        spot = (event.region, event.shard)
        if self._homes.phase_of(*spot) is not Phase.CLOSING or self._spots.get(spot) != event.epoch:
            return
        for entity, state in event.states:
            if is_entity(entity):
                self._keeping.put(spot, entity, state)
            else:
                self._core.note(Severity.ERROR, f"{event.region}/{event.shard}: {_nameless(entity)}; it is not kept")
        if not event.is_last:
            return
        left = Handover(event.epoch, self._receivers[spot].record(), event.waiting)
        parts = encode_handover(left, self._core.options.post_bytes)
        for name, data in parts:
            self._keeping.put(spot, name, data)
        number = len(parts)
        while self._keeping.state_of(spot, part_name(number)) is not None:  # Of an earlier one, which was longer.
            self._keeping.drop(spot, part_name(number))
            number += 1
        self._feed_homes(ShardClosed(*spot, event.epoch))

    # -- from other nodes ----------------------------------------------------------------------------------------------

    def on_grant(self, peer: NodeKey, message: LeaseGrant) -> None:
        """The leader has given a lease."""
        self._feed_holder(GrantReceived(peer, message))

    def answering(self) -> None:
        """This node says something to the leader now."""
        self._feed_holder(Answering())

    def on_replica(self, peer: NodeKey, message: Any) -> None:
        """An owner, or somebody with a copy, has something to say. What is about an earlier region of that name is
        passed over: a late word must not bring something into this one."""
        known = self._core.state.region(message.region) if type(message.region) is str else None
        # A shard that is none costs memory for ever. It may be one that this node does not know yet: it is said again.
        if (known is None or not _is_below(message.shard, known.num_shards)) and is_well_formed(message):
            return
        if known is not None and type(message.epoch) is int and message.epoch < known.registered:
            return
        self._keeping.feed(Received(peer, message))

    def on_routed(self, peer: NodeKey, region: str, shard: int, body: Post | Hello) -> None:
        """Messages for a shard, or a question about them."""
        core, spot = self._core, (region, shard)
        known = core.state.region(region)
        if known is None or not 0 <= shard < known.num_shards or body.epoch > known.epoch(shard):
            return  # This node is behind. It will be asked again.
        epoch = self._spots.get(spot)
        if epoch is None or body.epoch != epoch:
            moved = Moved(body.epoch, known.owner(shard), known.epoch(shard))
            if epoch is None or body.epoch < epoch:
                core.send(peer, Routed(region, shard, moved))
            return
        receiver = self._receivers.get(spot)
        if receiver is None or self.owns(region, shard, core.now) is None:
            if self._homes.phase_of(*spot) in (Phase.FILLING, Phase.HALTED):
                self._knocking.keep(spot, peer, body)
            return
        if type(body) is Hello:
            welcome = receiver.on_hello(peer, body)
            if welcome is not None:
                core.send(peer, Routed(region, shard, welcome))
            return
        assert type(body) is Post
        items, accepted = receiver.on_post(peer, body)
        if items:
            core.out.append(events.Deliver(region, shard, epoch, peer, items))
        if accepted is not None:
            core.send(peer, Routed(region, shard, accepted))

    # -- queries -------------------------------------------------------------------------------------------------------

    def may_act(self, now: Instant) -> bool:
        """Whether the lease lasts."""
        return self._holder.holds(now)

    @property
    def leased_until(self) -> Instant | None:
        """When the lease ends, as it stands."""
        return self._holder.until

    def owns(self, region: str, shard: int, now: Instant) -> int | None:
        """The epoch in which this node owns the shard, if it may act as its owner right now."""
        if self._homes.phase_of(region, shard) is not Phase.OPEN or not self._holder.holds(now):
            return None
        return self._spots[region, shard]

    def acts(self, region: str, shard: int, now: Instant) -> int | None:
        """The same, also while the shard is being closed: handlers that run may end."""
        phase = self._homes.phase_of(region, shard)
        if phase not in (Phase.OPEN, Phase.CLOSING) or not self._holder.holds(now):
            return None
        return self._spots[region, shard]

    def phase_of(self, region: str, shard: int) -> Phase | None:
        """Where a shard is in its life here."""
        return self._homes.phase_of(region, shard)

    def state_of(self, region: str, shard: int, entity: str) -> bytes | None:
        """The state of an entity that rests in a shard that is owned here; `None` for one that never was."""
        return self._keeping.state_of((region, shard), entity)

    def gaps(self) -> tuple[str, ...]:
        """What is not as it should be, for people: shards that are not open, and backups without complete copies."""
        found = []
        for region, shard in [*self._spots, *self._leftovers.spots()]:
            phase = self._homes.phase_of(region, shard)
            if phase is not Phase.OPEN:
                found.append(f"{region}/{shard} is {phase.value if phase else 'to be given back'}")
            found += [f"{region}/{shard} has no copy at {node}" for node in self._keeping.gaps((region, shard))]
        return tuple(found)

    def copies(self, region: str) -> dict[int, int]:
        """Of each shard of a region that is open here: how many complete copies there are, the one here included. What
        a member has that is down does not count."""
        found: dict[int, int] = {}
        for spot in self._spots:
            if spot[0] == region and self._homes.phase_of(*spot) is Phase.OPEN:
                members = [self._core.state.member(node) for node in self._keeping.complete(spot)]
                found[spot[1]] = 1 + sum(one is not None and one.status is not Status.DOWN for one in members)
        return found

    def shortages(self) -> tuple[str, ...]:
        """Of which types writes cannot be acknowledged here, for people: there are too few nodes for backups."""
        counts: dict[str, int] = {}
        for spot in self._spots:
            if self._keeping.lacks(spot):
                counts[spot[0]] = counts.get(spot[0], 0) + 1
        return tuple(
            [
                f"{region}: {count} shards here have fewer backups than sync_count asks for; what changes states fails"
                for region, count in counts.items()
            ]
        )

    def is_empty(self) -> bool:
        """Whether nothing is here that others might want: neither a shard nor a copy."""
        return not self._spots and not self._leftovers.spots() and not self._keeping.is_wanted(self._given)

    def deadline(self) -> Instant | None:
        """When `wake` is wanted."""
        return min([at for part in self.deadlines if (at := part()) is not None], default=None)

    @property
    def deadlines(self) -> tuple[Callable[[], Instant | None], ...]:
        """What `deadline` is the earliest of."""
        return (self._holder.deadline, self._homes.deadline, *self._keeping.deadlines)

    def keeping_deadline(self) -> Instant | None:
        """When the states want `wake`."""
        return self._keeping.deadline()

    def invariants(self) -> None:
        """Assert what must hold between two events."""
        self._holder.invariants()
        self._homes.invariants()
        self._keeping.invariants()
        self._knocking.invariants()
        for spot, epoch in self._spots.items():
            phase = self._homes.phase_of(*spot)
            assert phase is not None, f"{spot} is owned at {epoch}, and nobody sees to it"
            unopened = phase in (Phase.FILLING, Phase.RELEASED)
            assert unopened or spot in self._receivers, f"{spot} is {phase}, and knows no channels"

    # -- time ----------------------------------------------------------------------------------------------------------

    def is_over(self, now: Instant) -> bool:
        """Whether there was a lease that has ended, and `expire` was not called since."""
        until = self._holder.until
        return until is not None and now >= until

    def expire(self) -> None:
        """Before anything else is done: if the lease is over, so is everything here (rule 1)."""
        if self.is_over(self._core.now):
            self._feed_holder(Wake())

    def wake(self) -> None:
        """The deadline has come."""
        self._feed_holder(Wake())
        self._feed_homes(Wake())
        self._keeping.wake()
        for spot, entity in self._keeping.idle():
            if self._homes.phase_of(*spot) is Phase.OPEN:
                self._core.out.append(events.Rest(*spot, self._spots[spot], entity))
            else:
                self._keeping.ask_again(spot, entity)  # The shard may be resumed, and nobody would ask it again.

    def end(self) -> None:
        """This node does nothing more. Whoever waits for a write hears that nobody knows what becomes of it."""
        self._feed_holder(Relinquish())
        for spot in self._spots:
            self._keeping.disown(spot)

    # -- the parts -----------------------------------------------------------------------------------------------------

    def _feed_holder(self, event: HolderEvent) -> None:
        for effect in self._holder.handle(event, self._core.now):
            match effect:
                case SendRequest(to, request):
                    self._core.send(to, request)
                case LeaseBegun():
                    self._keeping.lease_begun()
                    self._feed_homes(LeaseChanged(True))
                case LeaseOver():
                    self._feed_homes(LeaseChanged(False))
                case Note():
                    self._core.out.append(effect)
                case _:
                    assert_never(effect)

    def _feed_homes(self, event: HomesEvent) -> None:
        core = self._core
        for effect in self._homes.handle(event, core.now):
            match effect:
                case Fill(region, shard, epoch):
                    spot = (region, shard)
                    known = self._predecessors
                    self._keeping.own(
                        spot, epoch, known.asked(spot), known.owners(spot), is_all_known=known.is_all_known(spot)
                    )
                case Open(region, shard, epoch):
                    self._open(region, shard, epoch)
                case Close(region, shard, epoch):
                    core.out.append(events.CloseShard(region, shard, epoch))
                case Halt(region, shard, epoch, reason):
                    core.out.append(events.HaltShard(region, shard, epoch, reason))
                case Drop(region, shard, epoch):
                    self._drop(region, shard, epoch)
                case TellLeader(to, message):
                    core.send(to, message)
                case _:
                    assert_never(effect)

    def _open(self, region: str, shard: int, epoch: int) -> None:
        spot = (region, shard)
        contents = self._contents.pop(spot, None)
        if contents is None:
            self._core.out.append(events.ResumeShard(region, shard, epoch))
        else:
            self._open_with(spot, epoch, contents)
        for peer, body in self._knocking.take(spot):
            self.on_routed(peer, region, shard, body)

    def _open_with(self, spot: Spot, epoch: int, contents: _Contents) -> None:
        region, shard = spot
        handover = contents.handover
        waiting = () if handover is None else handover.waiting
        known = self._core.state.region(region)
        unprompted = known is not None and known.settings.remember
        self._core.out.append(events.OpenShard(region, shard, epoch, contents.entities, waiting, unprompted))
        for entity, _ in contents.entities:
            self._keeping.touched(spot, entity)

    def _drop(self, region: str, shard: int, epoch: int) -> None:
        spot = (region, shard)
        opened = self._receivers.pop(spot, None) is not None
        unopened = self._contents.pop(spot, None) is not None
        self._keeping.disown(spot)
        self._knocking.take(spot)
        if opened and not unopened:
            self._core.out.append(events.DropShard(region, shard, epoch))

    def _on_recovered(self, effect: Recovered) -> None:
        spot = (effect.region, effect.shard)
        entities: list[tuple[str, bytes]] = []
        parts: dict[str, bytes] = {}
        for name, state in effect.entities:
            if is_part(name):
                parts[name] = state
            else:
                entities.append((name, state))
        handover = decode_handover(parts)
        if handover is not None and handover.epoch != self._predecessors.giver_epoch(spot):
            handover = None
        self._receivers[spot] = Receiver(effect.epoch, None if handover is None else handover.record)
        self._contents[spot] = _Contents(tuple(entities), handover)
        self._feed_homes(Filled(*spot, effect.epoch))

    def _on_superseded(self, effect: Superseded) -> None:
        """Somebody owns the shard already. What says so is on its way to this node, by the log."""
        spot = (effect.region, effect.shard)
        epoch = self._spots.get(spot)
        if epoch is None:
            return
        if epoch == effect.epoch:
            # An earlier process of this node has begun with it.
            self._leftovers.add(spot, epoch)
        self._core.note(Severity.DEBUG, f"{effect.region}/{effect.shard} has another owner since epoch {effect.epoch}")


def _is_below(shard: object, count: int) -> bool:
    return type(shard) is int and 0 <= shard < count


def _nameless(entity: str) -> str:
    return f"{shown(entity)} is no name of an entity; it must have 1 to 4096 bytes of UTF-8, the first one not 0"
