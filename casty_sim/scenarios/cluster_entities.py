"""The application of the cluster scenario: the entities of the shards that are open on a host, and their handlers.

It does what a driver does: it opens, closes, halts and drops what the node says, lets one handler at a time run for
each entity, asks the node before a handler begins and before it ends whether its lease lasts, and answers when the
state is durable, several with one write where more messages wait. A handler takes time. What is done here is seen by
the checkers, and by nobody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from casty_proto.cluster import events
from casty_proto.machine import MILLISECOND, Rejected

from ..timeline import OWNS
from .cluster_ops import DONE, PLAIN, REGISTERS, RETRY, UNKNOWN, Answer, Kind, Op, Spot, execute, state_bytes, unpacked
from .cluster_ops import state_of as decoded

if TYPE_CHECKING:
    from .cluster_host import ClusterProgram

PATIENCE = 250 * MILLISECOND
"""How long a shard that is to be closed waits for answers about what its handlers have left: longer than it takes until
what was lost on the way is sent again. Applications wait for longer."""

TOGETHER = MILLISECOND
"""How long what a handler has left may wait for what the next ones leave, while messages wait for the entity."""

OPEN, CLOSING, CLOSED, HALTED, DROPPED = "open", "closing", "closed", "halted", "dropped"


class Entity:
    """One entity, and what waits for it."""

    __slots__ = ("mailbox", "name", "running", "state", "unsaved", "unsent")

    def __init__(self, name: str, state: Any) -> None:
        self.name = name
        self.state = state
        self.mailbox: deque[tuple[int, bytes, Op]] = deque()
        """With the number of the arrival."""
        self.running: Op | None = None
        self.unsaved = 0
        """How many answers are to come about what it was left with."""
        self.unsent: list[tuple[Op, Any]] = []
        """What handlers have done, with the results, since the node was told last what they have left."""


class Shard:
    """One shard that was opened here."""

    __slots__ = ("entities", "epoch", "phase", "spot", "unsaved")

    def __init__(self, spot: Spot, epoch: int) -> None:
        self.spot = spot
        self.epoch = epoch
        self.phase = OPEN
        self.entities: dict[str, Entity] = {}
        self.unsaved = 0


class Application:
    """What is open on one host, in one life."""

    def __init__(self, program: ClusterProgram) -> None:
        self._program = program
        self._cluster = program.cluster
        self._host = program.host
        self._stream = program.host.stream("handlers")
        self.shards: dict[Spot, Shard] = {}
        self.saving: dict[int, tuple[Shard, Entity, list[tuple[Op, Any]], int]] = {}
        """What handlers have left and nobody has said yet whether it is durable: with the results, and since when."""
        self._arrivals = 0
        self._requests = 0

    # -- what the node says --------------------------------------------------------------------------------------------

    def open(self, effect: events.OpenShard) -> None:
        """Entities with these states; and these messages first."""
        spot = (effect.region, effect.shard)
        if spot in self.shards:
            self.shards[spot].phase = DROPPED
        self.shards[spot] = shard = Shard(spot, effect.epoch)
        for name, state in effect.entities:
            shard.entities[name] = Entity(name, decoded(state, spot[0]))
        if effect.waiting:
            self._cluster.world.reach("messages waited through a hand-over")
        self._take(shard, effect.waiting)

    def deliver(self, effect: events.Deliver) -> None:
        """Messages of one sender."""
        shard = self._shard(effect)
        if shard is not None:
            self._take(shard, effect.items)

    def close(self, effect: events.CloseShard) -> None:
        """Begin nothing more. What runs may end, and be said to be durable."""
        shard = self._shard(effect)
        if shard is None:
            return
        shard.phase = CLOSING
        self._program.soon(lambda: self._closed_if_done(shard))
        self._program.later(PATIENCE, lambda: self._closed_if_done(shard, impatient=True))

    def halt(self, effect: events.HaltShard) -> None:
        """Nothing runs from now on."""
        shard = self._shard(effect)
        if shard is None:
            return
        shard.phase = HALTED
        for entity in shard.entities.values():
            if entity.running is not None:
                self._answer(entity.running, UNKNOWN)
                entity.running = None
            for _, _, op in entity.mailbox:
                self._cluster.writes.refused(op.number)
                self._answer(op, RETRY)
            entity.mailbox.clear()

    def resume(self, effect: events.ResumeShard) -> None:
        """Go on."""
        shard = self._shard(effect)
        if shard is not None:
            shard.phase = OPEN
            for entity in shard.entities.values():
                self._kick(shard, entity)

    def drop(self, effect: events.DropShard) -> None:
        """What was closed is with the next owner now."""
        shard = self._shard(effect)
        if shard is not None:
            shard.phase = DROPPED
            del self.shards[effect.region, effect.shard]

    def rest(self, effect: events.Rest) -> None:
        """Free what an entity takes up, unless it is busy."""
        shard = self._shard(effect)
        entity = None if shard is None else shard.entities.get(effect.entity)
        if shard is None or entity is None or shard.phase is not OPEN:
            return
        if entity.running is not None or entity.mailbox or entity.unsaved:
            return
        del shard.entities[entity.name]
        self._cluster.world.reach("an entity rested")
        rested = events.Rested(*shard.spot, shard.epoch, entity.name, state_bytes(entity.state))
        self._program.soon(lambda: self._program.feed(rested))

    def saved(self, request: int, *, durable: bool) -> None:
        """Whether what a handler has left is where it should be."""
        shard, entity, done, _ = self.saving.pop(request)
        entity.unsaved -= 1
        shard.unsaved -= 1
        if durable:
            self._cluster.owners.acknowledges(self._host, shard.spot, shard.epoch)
        else:
            self._cluster.world.reach("a write was not durable")
        if len(done) > 1:
            self._cluster.world.reach("several answers waited for one write")
        for op, result in done:
            if durable and op.kind is Kind.ADD:
                self._cluster.writes.acknowledged(shard.spot, op)
            self._answer(op, DONE if durable else UNKNOWN, result if durable else None)
        if shard.phase is CLOSING:
            self._program.soon(lambda: self._closed_if_done(shard))

    def refused(self, request: int, result: Any) -> None:
        """The node did not take what a handler has left: it does not own the shard."""
        assert isinstance(result, Rejected), f"{result} is no answer to Handled"
        self.saved(request, durable=False)

    # -- handlers ------------------------------------------------------------------------------------------------------

    def _shard(self, effect: Any) -> Shard | None:
        shard = self.shards.get((effect.region, effect.shard))
        return shard if shard is not None and shard.epoch == effect.epoch else None

    def _take(self, shard: Shard, items: Iterable[bytes]) -> None:
        for item in items:
            op = unpacked(item)
            self._arrivals += 1
            entity = shard.entities.get(op.entity)
            if entity is None:
                entity = shard.entities[op.entity] = self._wake_up(shard, op.entity)
            entity.mailbox.append((self._arrivals, item, op))
            self._kick(shard, entity)

    def _wake_up(self, shard: Shard, name: str) -> Entity:
        data = self._program.node.state_of(*shard.spot, name)
        if data is not None:
            self._cluster.world.reach("an entity came back after a rest")
        return Entity(name, decoded(data, shard.spot[0]))

    def _kick(self, shard: Shard, entity: Entity) -> None:
        if entity.mailbox:
            self._program.soon(lambda: self._begin(shard, entity))

    def _begin(self, shard: Shard, entity: Entity) -> None:
        if entity.running is not None or not entity.mailbox or shard.phase is not OPEN:
            return
        if not self._program.node.may_act(self._host.now()):
            return  # It will be halted.
        op = entity.mailbox.popleft()[2]
        self._cluster.owners.handles(self._host, shard.spot, shard.epoch)
        self._cluster.writes.begins(op)
        entity.running = op
        if self._stream.chance(0.5):
            delay = int(self._stream.raw() ** 2 * self._cluster.longest_handler_ns)
            self._program.later(delay, lambda: self._end(shard, entity, op))
        else:
            self._end(shard, entity, op)

    def _end(self, shard: Shard, entity: Entity, op: Op) -> None:
        if entity.running is not op:
            return  # It was stopped.
        entity.running = None
        if shard.phase not in (OPEN, CLOSING) or not self._program.node.may_act(self._host.now()):
            self._answer(op, UNKNOWN)
            return
        self._cluster.owners.handles(self._host, shard.spot, shard.epoch)
        entity.state, result = execute(entity.state, op)
        if shard.spot[0] == PLAIN:
            self._answer(op, DONE, result)
            self._program.feed(events.Touched(*shard.spot, shard.epoch, entity.name))
        else:
            self._save(shard, entity, op, result)
        self._kick(shard, entity)
        if shard.phase is CLOSING:
            self._closed_if_done(shard)

    def _save(self, shard: Shard, entity: Entity, op: Op, result: Any) -> None:
        entity.unsent.append((op, result))
        if len(entity.unsent) == 1:
            entity.unsaved += 1
            shard.unsaved += 1
            if entity.mailbox:
                delay = int(self._stream.raw() * TOGETHER)
                self._program.later(delay, lambda: self._send(shard, entity))
        if not entity.mailbox:
            self._send(shard, entity)

    def _send(self, shard: Shard, entity: Entity) -> None:
        """Tell the node what the last handler has left. It stands for what those before it have left."""
        done, entity.unsent = entity.unsent, []
        if not done:
            return
        self._requests += 1
        request = self._requests
        self.saving[request] = (shard, entity, done, self._cluster.world.now)
        gone = entity.state is None and shard.spot[0] == REGISTERS
        state = None if gone else state_bytes(entity.state)
        self._program.feed(events.Handled(*shard.spot, shard.epoch, entity.name, state, request))
        if request in self.saving:
            self._host.moment()

    def _closed_if_done(self, shard: Shard, *, impatient: bool = False) -> None:
        if shard.phase is not CLOSING or self.shards.get(shard.spot) is not shard:
            return
        if any(entity.running is not None for entity in shard.entities.values()) or (shard.unsaved and not impatient):
            return
        shard.phase = CLOSED
        entities = list(shard.entities.values())
        states: tuple[tuple[str, bytes], ...] = ()
        if shard.spot[0] == PLAIN:
            states = tuple([(entity.name, state_bytes(entity.state)) for entity in entities])
        waiting = sorted([each[:2] for entity in entities for each in entity.mailbox])
        closed = events.Closed(*shard.spot, shard.epoch, states, tuple([item for _, item in waiting]))
        if (timeline := self._cluster.world.trace.timeline) is not None:
            timeline.end(self._cluster.world.now, self._host.name, OWNS, f"{closed.region}/{closed.shard}")
        self._cluster.owners.closed(self._host, self._program.node.key, closed)
        self._program.feed(closed)

    def _answer(self, op: Op, verdict: str, result: Any = None) -> None:
        self._program.answer(op.reply_to, Answer(op.number, verdict, result))
