"""What this node owns: the shards that are open here, and their entities. It does what the node says.

Each region has an actor of its own, `/players`, whose children are the entities that are here, `/players/alice`.

Rules
-----
 1. What the node says of a shard counts for the epoch that it names. What comes of another one is past.
 2. A shard that is to be closed begins no handler any more. When those that run have ended, and the node has said what
    became of their states, or after `PATIENCE` when it does not, it is closed: what waits goes with it, in its order.
 3. A shard that is halted does nothing from that moment on. Who waits for an answer is told so: that nothing was done,
    or, for the message in hand, that nobody knows. Handlers that run are cancelled. What nobody waits for stays: it is
    handled when the shard is resumed, and becomes dead letters when it is dropped.
 4. The actors of a shard stop when it is dropped. If it is resumed instead, they go on.
 5. In one turn of the loop shards are closed, and actors of dropped ones stopped, only up to `SLICE` entities: where
    much moves at once, others have something to do as well. A shard with more of them is closed in several turns;
    nothing begins in it any more, so the states that the node has got already stay what they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Phase, Reason, Stop
from casty_proto.cluster import events
from casty_proto.cluster.records import RegionKind
from casty_proto.machine import SECOND, Instant, nanoseconds

from ..errors import AskError, NotHandledError
from ..refs import ActorRef, LocalRef
from .bodies import EntityClassBody
from .entities import Entity
from .items import DecodeError, EntityAnswer, Form, Items
from .lines import one_line
from .member import Member
from .names import SINGLETON_ID, name_of
from .recipes import Recipe
from .refs import EntityRef
from .shards import HostedRegion, Life, Shard
from .stash import let_wait
from .turns import Told, Turn

if TYPE_CHECKING:
    from ..runtime import Runtime

PATIENCE = 1.0
"""How long, in seconds, a shard that is to be closed waits for answers about what its handlers have left."""

SLICE = 256
"""How many entities take a few milliseconds to be encoded, or to be stopped."""


class Hosting:
    """The shards of one node."""

    def __init__(self, runtime: Runtime, member: Member, items: Items) -> None:
        self.runtime = runtime
        self.member = member
        self.items = items
        self.regions: dict[str, HostedRegion] = {}
        self.shards: dict[tuple[str, int], Shard] = {}
        self.ref_of: Callable[[str, str], EntityRef[Any]]
        """Makes the ref of an entity, for dead letters."""
        self.done = EntityAnswer(items.state(None, None))
        """What is said to whoever only wants to know that it was done."""
        self._time = runtime.loop.time
        self._leased_until: Instant = 0
        """When the lease ends, as it stood when it was looked at; it may last longer by now."""
        self._arrivals = 0
        self._bound = _Bound(self)
        self._soon: deque[Callable[[], None]] = deque()
        self._to_close: deque[Shard] = deque()
        self._to_stop: deque[Entity] = deque()
        self._is_slicing = False
        """Whether the next of these are dealt with in the next turn of the loop."""

    def host(self, recipe: Recipe, guardian: LocalRef[Any]) -> HostedRegion:
        """Entities of this region can be here from now on."""
        region = self.regions[recipe.name] = HostedRegion(recipe, guardian)
        return region

    def soon(self, what: Callable[[], None]) -> None:
        """Do something when all that is being done is done."""
        if not self._soon:
            self.runtime.loop.call_soon(self._do)
        self._soon.append(what)

    def _do(self) -> None:
        waiting, self._soon = self._soon, deque()
        for what in waiting:
            what()

    def _slice_soon(self) -> None:
        if not self._is_slicing and (self._to_close or self._to_stop):
            self._is_slicing = True
            self.runtime.loop.call_soon(self._slice)

    def _slice(self) -> None:
        """Rule 5."""
        self._is_slicing = False
        left = SLICE
        while self._to_close and left > 0:
            shard = self._to_close.popleft()
            left -= 1 + min(SLICE, len(shard.entities) + len(shard.states))
            self.shard_changed(shard)
        while self._to_stop and left > 0:
            ref = self._to_stop.popleft().ref
            left -= 1
            if ref is not None and ref._cell.phase < Phase.STOPPING:
                self.runtime.feed(Stop(ref._cell))
        self._slice_soon()

    # -- what the node says --------------------------------------------------------------------------------------------

    def open(self, effect: events.OpenShard) -> None:
        """Entities with these states, and these messages first."""
        spot = (effect.region, effect.shard)
        region = self.regions.get(effect.region)
        if region is None:
            # It is hosted by those who have registered it; so this is of a process before, and it is being moved.
            self.runtime.log.warning("%s was given to this node, which does not know its class", effect.region)
            return
        before = self.shards.pop(spot, None)
        if before is not None:
            self._end(before)
        self.shards[spot] = shard = Shard(region, effect.shard, effect.epoch, dict(effect.entities))
        self._take(shard, effect.waiting, have_waited=True)
        shard.comes_back = effect.unprompted or region.recipe.kind is RegionKind.SINGLETON
        if shard.comes_back:
            names = list(shard.states) if region.recipe.kind is RegionKind.ENTITIES else [SINGLETON_ID]
            self._bring_all_back(shard, names)

    def deliver(self, effect: events.Deliver) -> None:
        """Messages of one sender."""
        shard = self._shard(effect)
        if shard is not None:
            self._take(shard, effect.items, have_waited=False)

    def close(self, effect: events.CloseShard) -> None:
        """Begin nothing more, and say when all has ended."""
        shard = self._shard(effect)
        if shard is None:
            return
        shard.life = Life.CLOSING
        shard.is_impatient = False
        shard.unpacked = None
        for entity in shard.entities.values():
            entity.take_back()
        self.runtime.clock.set_at(_Impatience(self, shard), self.member.now() + nanoseconds(PATIENCE))
        self._to_close.append(shard)
        self._slice_soon()

    def halt(self, effect: events.HaltShard) -> None:
        """Do nothing more."""
        shard = self._shard(effect)
        if shard is None:
            return
        shard.life = Life.HALTED
        reason = effect.reason

        def error_of(turn: Turn | Told) -> Exception:
            return NotHandledError(f"{turn.path} did not handle {turn.kind()}: {reason}")

        for entity in list(shard.entities.values()):
            entity.take_back()
            turn = entity.turn
            if turn is not None:
                if turn.has_begun:
                    turn.lose()
                entity.was_stopped = shard.comes_back
                entity.stop()
            entity.refuse_asks(error_of)

    def resume(self, effect: events.ResumeShard) -> None:
        """Go on."""
        shard = self._shard(effect)
        if shard is not None:
            shard.life = Life.OPEN
            for entity in list(shard.entities.values()):
                entity.resume()
            self._bring_all_back(shard, list(shard.stopped))
            shard.stopped.clear()

    def drop(self, effect: events.DropShard) -> None:
        """It is with somebody else."""
        shard = self._shard(effect)
        if shard is not None:
            del self.shards[effect.region, effect.shard]
            self._end(shard)

    def rest(self, effect: events.Rest) -> None:
        """Free what an entity takes up, unless it is busy."""
        shard = self._shard(effect)
        if shard is None or shard.life is not Life.OPEN:
            return
        place = (effect.region, effect.shard, effect.epoch, effect.entity)
        state = shard.states.get(effect.entity)
        entity = shard.entities.get(effect.entity)
        if entity is not None:
            if entity.is_busy or (entity.body is not None and entity.body._debts):
                # It is to be asked again: nothing need happen here when it is not busy any more.
                self.member.feed(events.Touched(*place))
                return
            state = self._state_now(entity)
            entity.stop()
            del shard.entities[effect.entity]
        if state is not None:
            shard.states.pop(effect.entity, None)
            self.member.feed(events.Rested(*place, state))

    # -- entities ------------------------------------------------------------------------------------------------------

    def _shard(self, effect: Any) -> Shard | None:
        shard = self.shards.get((effect.region, effect.shard))
        return shard if shard is not None and shard.epoch == effect.epoch else None

    def _take(self, shard: Shard, items: tuple[bytes, ...], *, have_waited: bool) -> None:
        bound, read, entities, hands_ahead = self._bound, self.items.read, shard.entities, shard.hands_ahead
        for data in items:
            self._arrivals = arrival = self._arrivals + 1
            bound.turn = None
            try:
                name, form, sender, handle, message = read(data, bound)
                entity = entities.get(name)
                if entity is None and not shard.region.has(name, shard.number):
                    raise ValueError("its entity does not belong to this shard")
            except (DecodeError, ValueError, TypeError) as error:
                self._undecodable(shard, Turn(self, data, arrival), error)
                continue
            if entity is None:
                entity = self._entity(shard, name)
            if form is Form.RECEIPT:
                form = Form.TELL
                self.member.lanes.is_hurried = True
            turn = self._bound.turn
            if form is Form.TELL and turn is None and hands_ahead:
                entity.hear(Told(entity, data, arrival, sender, message))
                continue
            if turn is None:
                turn = Turn(self, data, arrival)
            turn.data, turn.arrival = data, arrival
            turn.form, turn.sender, turn.handle, turn.ask.message = form, sender, handle, message
            entity.take(turn, has_waited=have_waited)
        bound.turn = None

    def renewed(self, turn: Turn) -> Turn:
        """The same message once more, of which nothing was done yet. The turn before is over; nobody is told."""
        fresh = Turn(self, turn.data, turn.arrival)
        _, fresh.form, fresh.sender, fresh.handle, fresh.ask.message = self.items.read(turn.data, fresh.ask)
        fresh.entity = turn.entity
        turn.handle = None
        turn.end()
        return fresh

    def _undecodable(self, shard: Shard, turn: Turn, error: Exception) -> None:
        """It concerns nobody but whoever sent it."""
        text = f"a message for {shard.region.path} cannot be decoded here: {error}"
        self.runtime.log.error("%s", one_line(text))
        name, turn.handle = self.items.salvaged(turn.data)
        turn.entity = Entity(self, shard, name, None)
        if turn.handle is None:
            self.lost(turn, turn.data, Reason.UNDECODABLE)
        turn.fail(AskError(text))

    def lost(self, turn: Turn | Told, message: object, reason: Reason) -> None:
        """A message was not handled, and nobody waits who could be told."""
        entity = turn.entity
        self.runtime.dead_letter(self.ref_of(entity.shard.region.name, entity.name), message, reason, turn.sender)

    def _entity(self, shard: Shard, name: str) -> Entity:
        entity = shard.entities.get(name)
        if entity is None:
            saved = shard.states.pop(name, None)
            if saved is None:
                saved = self.member.node.state_of(shard.region.name, shard.number, name)
            entity = shard.entities[name] = Entity(self, shard, name, saved)
        return entity

    def _bring_all_back(self, shard: Shard, names: list[str]) -> None:
        for name in names:
            self.soon(lambda name=name: self._bring_back(shard, name))  # type: ignore[misc]

    def _bring_back(self, shard: Shard, name: str) -> None:
        """An entity comes without having been asked for."""
        if shard.life is Life.OPEN and self.may_act():
            self._entity(shard, name).wake()

    def spawn(self, entity: Entity) -> LocalRef[Any]:
        """Make the actor of an entity. Raises what its constructor raises, and `SpawnError`."""
        region = entity.shard.region
        plan = region.recipe.blueprint(entity, self.items)
        # Who stops in this moment has the name for a moment longer, and long ids may have one name.
        name = name_of(region.name if entity.name == SINGLETON_ID else entity.name)
        parent = region.guardian._cell
        taken = parent.children is not None and name in parent.children
        ref = self.runtime.spawn_now(parent, plan, None if taken else name)
        entity.body = ref._cell.body
        return ref

    def entity_gone(self, entity: Entity) -> None:
        """The actor of an entity has stopped."""
        shard = entity.shard
        was_stopped, entity.was_stopped = entity.was_stopped, False
        if was_stopped and shard.life is Life.OPEN:
            self._bring_all_back(shard, [entity.name])
        elif was_stopped:
            shard.stopped[entity.name] = None
        if entity.waiting and shard.life is Life.OPEN:
            self.soon(entity.go_on)
        elif not entity.is_busy and shard.entities.get(entity.name) is entity and shard.region.recipe.is_kept:
            # Its state is with the node. What is not kept has no other place than this.
            del shard.entities[entity.name]
        self.shard_changed(shard)

    # -- what may be done ----------------------------------------------------------------------------------------------

    def may_end(self, shard: Shard) -> bool:
        """Whether what a handler says and leaves still counts."""
        life = shard.life
        return (life is Life.OPEN or life is Life.CLOSING) and self.may_act()

    def may_act(self) -> bool:
        """Whether the lease of this node lasts. For what is done in a shard that is open here, or being closed.

        It is all that has to be asked: whatever else the node decides about a shard is done here, as its effect, before
        anything else happens. Only time passes by itself. For the same reason a lease lasts until it would end when it
        was asked for last: one that ends earlier halts all shards.
        """
        # The clock of this system counts so, and rounds down.
        if self._time() * SECOND + 0.5 < self._leased_until:
            return True
        member = self.member
        until = member.node.leased_until
        self._leased_until = 0 if until is None else until
        return member.node.may_act(member.now())

    def may_wait(self, shard: Shard, turn: Turn) -> bool:
        """Whether a message that was not begun may wait for what becomes of its shard."""
        return shard.life is not Life.DROPPED and (shard.life is not Life.HALTED or turn.form is Form.TELL)

    # -- closing -------------------------------------------------------------------------------------------------------

    def shard_changed(self, shard: Shard) -> None:
        """A handler has ended, or a state is kept: perhaps it is closed now (rule 2)."""
        if shard.life is not Life.CLOSING:
            return
        if shard.unpacked is None:
            if any(entity.is_running for entity in shard.entities.values()):
                return
            if shard.saving and not shard.is_impatient:
                return
            # What is kept is with the node.
            shard.unpacked = deque() if shard.region.recipe.is_kept else deque([*shard.entities, *shard.states])
        place = (shard.region.name, shard.number, shard.epoch)
        states = self._packed(shard, shard.unpacked)
        if shard.unpacked:
            self.member.feed(events.Closed(*place, states, is_last=False))
            self._to_close.append(shard)
            self._slice_soon()
            return
        shard.life = Life.CLOSED
        waiting: list[Turn | Told] = []
        for entity in shard.entities.values():
            if entity.stashed is not None:
                let_wait(entity)
            waiting += entity.waiting or ()
        waiting.sort(key=lambda turn: turn.arrival)
        self.member.feed(events.Closed(*place, states, tuple([turn.data for turn in waiting])))

    def _packed(self, shard: Shard, names: deque[str]) -> tuple[tuple[str, bytes], ...]:
        """The states of the next entities, which are taken off the names."""
        states: list[tuple[str, bytes]] = []
        for _ in range(min(SLICE, len(names))):
            name = names.popleft()
            entity = shard.entities.get(name)
            state = shard.states.get(name) if entity is None else self._state_now(entity)
            if state is not None:
                states.append((name, state))
        return tuple(states)

    def _state_now(self, entity: Entity) -> bytes | None:
        """What an entity would have to be made again. One whose state cannot be taken begins anew."""
        recipe = entity.shard.region.recipe
        body = entity.body
        if recipe.is_kept or not isinstance(body, EntityClassBody) or body.instance is None:
            return entity.saved
        try:
            return recipe.state_of(body, self.items, entity)
        except Exception as error:
            self.runtime.log.error("%s moves without its state: %s", entity.path, error, extra={"actor": entity.path})
            return None

    def _end(self, shard: Shard) -> None:
        """Its actors stop."""
        was, shard.life = shard.life, Life.DROPPED

        def error_of(turn: Turn | Told) -> Exception:
            return NotHandledError(f"{turn.path} did not handle {turn.kind()}: its shard has moved")

        for entity in list(shard.entities.values()):
            entity.take_back()
            if was is Life.CLOSED:
                entity.waiting = None  # It went with the shard.
            else:
                entity.refuse_all(error_of)
            if entity.turn is not None:
                entity.turn.lose()
            ref = entity.ref
            if ref is not None and ref._cell.phase < Phase.STOPPING:
                if entity.is_running or entity.name == SINGLETON_ID:
                    entity.stop()
                else:
                    self._to_stop.append(entity)
        self._slice_soon()


class _Impatience:
    """The deadline of a shard that is being closed."""

    __slots__ = ("_hosting", "_shard")

    def __init__(self, hosting: Hosting, shard: Shard) -> None:
        self._hosting = hosting
        self._shard = shard

    def on_due(self, now: int) -> None:
        """It has waited long enough for what is being kept."""
        self._shard.is_impatient = True
        self._hosting.shard_changed(self._shard)


class _Bound:
    """The ask that a message is bound to while it is read. Most messages have nothing in them that leads to it."""

    __slots__ = ("_hosting", "turn")

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self.turn: Turn | None = None

    def handle(self) -> ActorRef[Any]:
        """The handle by which the message that is being read is answered."""
        if self.turn is None:
            self.turn = Turn(self._hosting, b"", 0)
        return self.turn.ask.handle()
