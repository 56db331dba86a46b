"""A few nodes with one shard between them, a network that loses, doubles and reorders, and what may be expected.

The control plane is played by hand: it gives the shard to somebody, in rising epochs, and does not always tell the one
who had it before. Each write has a number; the numbers of later epochs count as later, whatever they are.
"""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define, field

from casty_proto.machine import MILLISECOND, Instant, Note, Wake
from casty_proto.replica import (
    Backups,
    Changed,
    Deleted,
    Disown,
    Down,
    Durable,
    Failed,
    Flush,
    Lost,
    Own,
    Received,
    Recovered,
    Replica,
    ReplicaOptions,
    ReplicaSettings,
    Send,
    Superseded,
)

KEY = ("r", 0)
NODES = ("a", "b", "c", "d", "e")
OPTIONS = ReplicaOptions(
    window_bytes=600,
    window_messages=6,
    retry_ns=50 * MILLISECOND,
    retry_max_ns=200 * MILLISECOND,
    recovery_grace_ns=20 * MILLISECOND,
    page_entries=2,
    page_bytes=400,
    tombstones_max=2,
)

type Place = tuple[int, int]
"""The epoch of a writer, and the number of the write."""


@define
class Write:
    place: Place
    entity: str
    node: str
    deleted: bool
    answer: Any = None


@define
class World:
    seed: int
    sync: int
    loss: float = 0.2
    now: Instant = 0
    epoch: int = 0
    owner: str = "a"
    ready: bool = False
    backups: tuple[str, ...] = ()
    crashes_left: int = 0
    nodes: dict[str, Replica] = field(factory=dict)
    down: dict[str, None] = field(factory=dict)
    crashed: dict[str, None] = field(factory=dict)
    wire: list[tuple[str, str, Any]] = field(factory=list)
    writes: list[Write] = field(factory=list)
    durable: dict[str, Write] = field(factory=dict)
    """The last write of each entity that was acknowledged by an owner."""
    has: dict[tuple[str, int], dict[str, bytes | None]] = field(factory=dict)
    """What each owner believes to be the state of its entities."""
    rng: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rng = Random(self.seed)
        for node in NODES:
            self.nodes[node] = self._new(node)

    def _new(self, node: str) -> Replica:
        return Replica(node, Random(self.rng.getrandbits(32)), OPTIONS)

    # Events -----------------------------------------------------------------------------------------------------------

    def do(self, node: str, event: Any) -> None:
        if node in self.down:
            return
        machine = self.nodes[node]
        effects = machine.handle(event, self.now)
        machine.invariants()
        if type(event) is Wake:
            deadline = machine.deadline()
            assert deadline is None or deadline > self.now
        for effect in effects:
            self._carry_out(node, effect)

    def _carry_out(self, node: str, effect: Any) -> None:
        match effect:
            case Send(to, message):
                assert to != node
                assert len(getattr(message, "entries", ())) <= OPTIONS.page_entries
                self.wire.append((node, to, message))
                if self.rng.random() < self.loss / 2:
                    self.wire.append((node, to, message))
            case Durable(Write() as write):
                assert write.answer is None
                write.answer = effect
                if self._is_owner(node, write.place[0]):
                    before = self.durable.get(write.entity)
                    if before is None or before.place < write.place:
                        self.durable[write.entity] = write
            case Failed(Write() as write):
                assert write.answer is None
                write.answer = effect
            case Recovered():
                self._check(node, effect)
            case Superseded():
                assert effect.epoch > 0
            case Note():
                assert "dropped" not in effect.text, effect.text

    def _is_owner(self, node: str, epoch: int) -> bool:
        """Whether its lease is valid: what it says after that does not count."""
        return node == self.owner and epoch == self.epoch

    def _check(self, node: str, effect: Recovered) -> None:
        """An owner begins with every acknowledged state, or a later one."""
        found = dict(effect.entities)
        self.has[node, effect.epoch] = dict(found)
        if not self._is_owner(node, effect.epoch):
            return
        self.ready = True
        for entity, write in self.durable.items():
            state = found.get(entity)
            if state is not None:
                there = self._write_of(state)
                assert there.entity == entity
                assert there.place >= write.place, f"{entity}: {there} came back over {write}"
            else:
                gone = [w for w in self.writes if w.entity == entity and w.deleted and w.place >= write.place]
                assert gone, f"{entity}: {write} was lost"

    def _write_of(self, state: bytes) -> Write:
        return self.writes[int(state[:8])]

    # What happens -----------------------------------------------------------------------------------------------------

    def assign(self, node: str, count: int) -> None:
        """Give the shard away. Its lease being over, the owner before is silent; it may not have noticed."""
        if node in self.down:
            return
        self.epoch += 1
        self.owner, self.ready = node, False
        others = [other for other in NODES if other != node]
        self.rng.shuffle(others)
        self.backups = tuple(others[:count])
        settings = ReplicaSettings(sync_count=self.sync, timeout_ns=400 * MILLISECOND)
        replicas = NODES if self.epoch > 1 else ()
        self.do(node, Own(*KEY, self.epoch, self.backups, settings, replicas, count))

    def write(self, node: str, epoch: int, entity: str, deleted: bool, again: bool = False) -> None:
        """A handler ends. The sizes differ, and most of a state is as it was."""
        if (node, epoch) not in self.has or node in self.down:
            return
        states = self.has[node, epoch]
        primary: Any = self.nodes[node]
        if primary._primary.epoch_of(*KEY) != epoch:
            return
        write = Write((epoch, len(self.writes)), entity, node, deleted)
        if again and states.get(entity) is not None:
            state = states[entity]
            assert state is not None
            self.do(node, Changed(*KEY, entity, state, Durable("again")))
            return
        self.writes.append(write)
        if deleted:
            states[entity] = None
            self.do(node, Deleted(*KEY, entity, write))
            return
        state = b"%08d" % write.place[1] + b"a field" * self.rng.randrange(30) + b"another" * self.rng.randrange(9)
        states[entity] = state
        self.do(node, Changed(*KEY, entity, state, write))

    def deliver(self) -> None:
        """One message arrives, or is lost."""
        if self.wire:
            at = self.rng.randrange(len(self.wire))
            self.wire[at], self.wire[-1] = self.wire[-1], self.wire[at]
            source, to, message = self.wire.pop()
            if self.rng.random() >= self.loss:
                self.do(to, Received(source, message))

    def crash(self, node: str) -> None:
        if self.crashes_left and node not in self.down:
            self.crashes_left -= 1
            self.crashed[node] = None
            self.down[node] = None
            self.has = {key: states for key, states in self.has.items() if key[0] != node}
            self._tell(Down(tuple(self.down)))

    def restart(self, node: str, tell: bool) -> None:
        if node not in self.down:
            return
        del self.down[node]
        self.nodes[node] = self._new(node)
        self._tell(Down(tuple(self.down)))
        if tell:
            self._tell(Lost(node))
        if node == self.owner:
            self.assign(node, len(self.backups))

    def _tell(self, event: Any) -> None:
        for node in NODES:
            self.do(node, event)

    def change_backups(self, count: int) -> None:
        others = [other for other in NODES if other != self.owner]
        self.rng.shuffle(others)
        self.backups = tuple(others[:count])
        self.do(self.owner, Backups(*KEY, self.backups))

    def flush(self) -> None:
        if self.backups:
            self.do(self.owner, Flush(*KEY, self.backups[0], "flush"))

    def wait(self, duration_ns: int) -> None:
        self.now += duration_ns
        for node, machine in self.nodes.items():
            deadline = machine.deadline()
            if deadline is not None and deadline <= self.now:
                self.do(node, Wake())

    # The end ----------------------------------------------------------------------------------------------------------

    def heal(self) -> int:
        """No more faults: go on until nothing is under way. Returns how many steps it took."""
        self.loss = 0.0
        for node in list(self.down):
            self.restart(node, tell=True)
        for node in NODES:
            if node != self.owner:
                self.do(node, Disown(*KEY))
        for step in range(20_000):
            if self.wire:
                self.deliver()
                continue
            deadlines = [deadline for machine in self.nodes.values() if (deadline := machine.deadline()) is not None]
            if not deadlines:
                return step
            self.wait(max(0, min(deadlines) - self.now))
        raise AssertionError("it never ends")

    def owned(self) -> Any:
        primary: Any = self.nodes[self.owner]
        return primary._primary._shards[KEY]

    def copy_of(self, node: str) -> dict[str, bytes]:
        backup: Any = self.nodes[node]
        copy = backup._backup._copies.get(KEY)
        entries = {} if copy is None else copy.entries
        return {name: entry.state for name, entry in entries.items() if entry.state is not None}
