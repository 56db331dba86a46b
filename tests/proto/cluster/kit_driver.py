"""What a driver does about the shards of a node: entities that keep what they were told, one message at a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from casty_proto.cluster import events as ev
from casty_proto.machine import Nanoseconds

if TYPE_CHECKING:
    from .kit_node import Process

type Spot = tuple[str, int]


class Shard:
    """A shard that was opened here."""

    def __init__(self, opened: ev.OpenShard) -> None:
        self.epoch = opened.epoch
        self.states: dict[str, bytes] = dict(opened.entities)
        self.waiting: deque[bytes] = deque(opened.waiting)
        self.busy = False
        self.closing = False
        self.halted = False
        self.told: dict[str, None] = {}
        """Entities whose states were told as they are."""


class Driver:
    """Messages are `entity:text`, and the state of an entity is all texts that it has handled, one after the other."""

    def __init__(self, process: Process, pace_ns: Nanoseconds) -> None:
        self._process = process
        self._pace_ns = pace_ns
        """How long a handler takes."""
        self.shards: dict[Spot, Shard] = {}
        self.handled: list[tuple[Spot, int, bytes]] = []
        """What handlers have ended, with the epochs."""
        self.tells_states = True
        """Whether states are told by `Handled`, or only when a shard is closed."""
        self.acknowledged: list[bytes] = []
        """Messages of which it is known that what they did is durable."""

    def on_effect(self, effect: ev.NodeEffect) -> None:
        match effect:
            case ev.OpenShard(region, shard):
                assert (region, shard) not in self.shards, effect
                self.shards[region, shard] = Shard(effect)
                self._go_on((region, shard))
            case ev.Deliver(region, shard, epoch, _, items):
                opened = self.shards[region, shard]
                assert opened.epoch == epoch
                assert not opened.halted, effect
                opened.waiting.extend(items)
                self._go_on((region, shard))
            case ev.CloseShard(region, shard):
                self.shards[region, shard].closing = True
                self._go_on((region, shard))
            case ev.HaltShard(region, shard):
                self.shards[region, shard].halted = True
            case ev.ResumeShard(region, shard):
                opened = self.shards[region, shard]
                opened.halted = opened.closing = False
                self._go_on((region, shard))
            case ev.DropShard(region, shard):
                del self.shards[region, shard]
            case ev.Durable(request) if isinstance(request, bytes):
                self.acknowledged.append(request)
            case _:
                pass

    def _go_on(self, spot: Spot) -> None:
        """Begin with the next message, or close, after all effects of the event."""
        self._process.world.at(self._process.world.now, lambda: self._next(spot))

    def _next(self, spot: Spot) -> None:
        process, opened = self._process, self.shards.get(spot)
        if opened is None or opened.busy or opened.halted or not process.runs:
            return
        if opened.closing:
            states = tuple([(name, state) for name, state in opened.states.items() if name not in opened.told])
            # In two parts, as those do who have many.
            process.feed(ev.Closed(*spot, opened.epoch, states[:1], is_last=False))
            process.feed(ev.Closed(*spot, opened.epoch, states[1:], tuple(opened.waiting)))
            return
        if not opened.waiting or process.node.owns(*spot, process.now) != opened.epoch:
            return
        item = opened.waiting.popleft()
        opened.busy = True
        process.world.at(process.world.now + self._pace_ns, lambda: self._ended(spot, opened, item))

    def _ended(self, spot: Spot, opened: Shard, item: bytes) -> None:
        opened.busy = False
        process = self._process
        if not process.runs or self.shards.get(spot) is not opened:
            return
        if process.node.acts(*spot, process.now) != opened.epoch:
            # As if it had never begun. It begins again if the shard is resumed.
            opened.waiting.appendleft(item)
            self._go_on(spot)
            return
        name, text = item.decode().split(":", 1)
        opened.states[name] = opened.states.get(name, b"") + text.encode()
        self.handled.append((spot, opened.epoch, item))
        if self.tells_states:
            opened.told[name] = None
            process.feed(ev.Handled(*spot, opened.epoch, name, opened.states[name], item))
        self._go_on(spot)


def state_of(process: Process, region: str, shard: int, entity: str) -> bytes | None:
    """The state of an entity at its owner, as its driver has it."""
    opened: Any = process.driver.shards.get((region, shard))
    return None if opened is None else opened.states.get(entity)
