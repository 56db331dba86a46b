"""An owner `a` of shard 0 of the region `r` in epoch 5, its backups `b` and `c`, and their words."""

from __future__ import annotations

from random import Random
from typing import Any

from casty_proto.machine import MILLISECOND, SECOND, Instant, Wake
from casty_proto.replica import (
    Ack,
    Backup,
    Changed,
    Deleted,
    Drop,
    Fetch,
    NeedsWhole,
    Own,
    Page,
    Primary,
    Received,
    Recovered,
    ReplicaOptions,
    ReplicaSettings,
    Send,
    Update,
    Whole,
    WholeAck,
)
from casty_proto.replica.messages import Held, Version

OPTIONS = ReplicaOptions(retry_ns=100 * MILLISECOND, retry_max_ns=400 * MILLISECOND)
LIFE = 77


def settings(sync: int = 1) -> ReplicaSettings:
    return ReplicaSettings(sync_count=sync, timeout_ns=5 * SECOND)


def own(backups: str = "bc", sync: int = 1, epoch: int = 5, replicas: str = "", possible: int = 0) -> Own:
    return Own("r", 0, epoch, tuple(backups), settings(sync), tuple(replicas), possible)


def fetch(start: int = 0, epoch: int = 5) -> Fetch:
    return Fetch("r", 0, epoch, start)


def page(*held: Held, whole: Version = (0, 0), start: int = 0, following: int = 0, epoch: int = 5) -> Page:
    return Page("r", 0, epoch, LIFE, whole, start, held, following)


def update(
    entity: str, sequence: int, state: bytes | None, stage: int = 1, epoch: int = 5, base: Version | None = None
) -> Update:
    return Update("r", 0, epoch, stage, entity, sequence, state, base)


def ack(entity: str, sequence: int, stage: int = 1, life: int = LIFE, epoch: int = 5) -> Ack:
    return Ack("r", 0, epoch, stage, life, entity, sequence)


def needs(entity: str, sequence: int, stage: int = 1, life: int = LIFE, epoch: int = 5) -> NeedsWhole:
    return NeedsWhole("r", 0, epoch, stage, life, entity, sequence)


def whole(stage: int = 1, since: int = 1, sequence: int = 0, epoch: int = 5, life: int | None = None) -> Whole:
    return Whole("r", 0, epoch, stage, since, sequence, life)


def complete(stage: int = 1, life: int = LIFE, epoch: int = 5) -> WholeAck:
    return WholeAck("r", 0, epoch, stage, life)


def drop(stage: int = 1, epoch: int = 5) -> Drop:
    return Drop("r", 0, epoch, stage)


def changed(entity: str, state: bytes, request: Any = None) -> Changed:
    return Changed("r", 0, entity, state, request)


def deleted(entity: str, request: Any = None) -> Deleted:
    return Deleted("r", 0, entity, request)


class Script:
    """A machine, the time, and whether all is well after each event."""

    def __init__(self, machine: Primary | Backup) -> None:
        self.machine: Any = machine
        self.now: Instant = 0

    def do(self, event: object) -> tuple[Any, ...]:
        effects: tuple[Any, ...] = self.machine.handle(event, self.now)
        self.machine.invariants()
        return effects

    def hear(self, peer: str, message: object) -> tuple[Any, ...]:
        return self.do(Received(peer, message))

    def wake(self) -> tuple[Any, ...]:
        """Go on to the deadline."""
        deadline = self.machine.deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        effects = self.do(Wake())
        later = self.machine.deadline()
        assert later is None or later > self.now
        return effects

    def state(self) -> str:
        """Everything that the machine knows, to be compared."""
        return repr([(name, _deep(getattr(self.machine, name))) for name in self.machine.__slots__])


def _deep(thing: Any) -> Any:
    slots = getattr(type(thing), "__slots__", None)
    if type(thing).__module__.startswith("casty_proto") and slots:
        names = [name for name in slots if name not in ("__weakref__", "_shards")]
        return [(name, _deep(getattr(thing, name))) for name in names]
    if isinstance(thing, dict):
        return [(key, _deep(value)) for key, value in thing.items()]
    return thing


def waiting(sync: int = 1, **options: int) -> Script:
    """An owner that has asked its own node for a copy."""
    given = {"retry_ns": OPTIONS.retry_ns, "retry_max_ns": OPTIONS.retry_max_ns, **options}
    script = Script(Primary("a", ReplicaOptions(**given)))
    assert script.do(own(sync=sync)) == (Send("a", fetch()),)
    return script


def ready(sync: int = 1, **options: int) -> Script:
    """An owner with nothing so far, whose backups know that they are complete."""
    script = waiting(sync, **options)
    assert script.hear("a", page()) == (
        Recovered("r", 0, 5, ()),
        Send("a", drop()),
        Send("b", whole()),
        Send("c", whole()),
    )
    for node in "bc":
        script.hear(node, complete())
    return script


def copy() -> Script:
    """A node that holds copies for others."""
    return Script(Backup(Random(1)))


def life_of(script: Script) -> int:
    """The number that a backup answers with."""
    life: int = script.machine._life
    return life
