"""What an owner knows of one shard: its entities, and how far each backup has come.

Theory of operation
-------------------
In a quiet shard a link is empty: whatever is not in `behind` is at the backup, in its present version. So the memory
that a backup costs is proportional to what it lacks. An old state is kept only as the base of a delta that somebody
may get; nobody has more than two versions at a time, the one that it acknowledged and the one that is under way.
"""

from __future__ import annotations

from attrs import define, field

from ..machine import Instant
from .messages import NEVER, State, Version
from .options import ALL, ReplicaSettings
from .recovery import Recovery


@define
class Link:
    """One backup of one shard."""

    since: int
    """The stage from which on its answers count."""
    life: int | None = None
    """The process that answers there; `None` before the first answer."""
    behind: dict[str, Version] = field(factory=dict)
    """Entities whose present version it has not acknowledged, and the one that it has."""
    missing: dict[str, int] = field(factory=dict)
    """Entities that keep it from being complete in this stage, and in which sequence they are needed."""
    whole: bool = False
    """It is complete in this stage."""
    announced: bool = False
    """It was complete in some stage."""


@define
class Record:
    """One entity."""

    version: Version
    state: bytes | None
    """`None`: it was deleted."""
    older: dict[Version, bytes] = field(factory=dict)
    """Former states that some backup has, or is getting."""
    waiting: dict[int, int] = field(factory=dict)
    """Numbers of the writes that wait, in order, and the sequence that each waits for."""


@define
class Owned:
    """One shard that this node owns, or is about to."""

    region: str
    shard: int
    epoch: int
    settings: ReplicaSettings
    backups: tuple[str, ...]
    most: int
    """The most backups that there could have been at any time."""
    purge_at: int
    """With so many deletions, see which ones can be cleared away."""
    recovery: Recovery | None = None
    attempt: int = 0
    """Vain repetitions of the questions of a recovery."""
    index: int = 0
    """Of the membership that the backups follow from."""
    is_noted: bool = False
    """Whether it was said that the recovery waits for those who are down."""
    asked_at: Instant = 0
    """When they were asked last."""
    links: dict[str, Link] = field(factory=dict)
    leaving: dict[str, None] = field(factory=dict)
    """Nodes whose copies are dropped when the backups have complete ones."""
    records: dict[str, Record] = field(factory=dict)
    tombstones: dict[str, None] = field(factory=dict)
    waiting: dict[str, None] = field(factory=dict)
    """Entities for which somebody waits."""
    flushes: dict[int, str] = field(factory=dict)
    """Numbers of the requests that wait until a backup is complete."""
    sequence: int = 0
    """The last one that was given. One counter for the shard: a name that is used again goes on where it was."""
    stage: int = 1
    mark: int = 0
    """The sequence at which the stage began."""

    @property
    def required(self) -> int:
        """How many backups must have a write (rule 3)."""
        wanted = self.settings.sync_count
        return len(self.links) if wanted == ALL else min(wanted, self.most)

    def acknowledged(self, entity: str, sequence: int) -> int:
        """How many backups have the entity in that sequence, or a later one."""
        version = (self.epoch, sequence)
        present = self.records[entity].version
        return sum(link.behind.get(entity, present) >= version for link in self.links.values())

    def complete(self) -> int:
        """How many backups have everything that there was when the stage began."""
        return sum(link.whole for link in self.links.values())

    def begin_stage(self) -> None:
        """A new round: each backup is to have all that there is now."""
        self.stage += 1
        self.mark = self.sequence
        for link in self.links.values():
            link.whole = False
            link.missing = {entity: self.records[entity].version[1] for entity in link.behind}

    def empty_link(self) -> Link:
        """A link to somebody who is not known to have anything."""
        link = Link(self.stage, behind=dict.fromkeys(self.records, NEVER))
        link.missing = {entity: record.version[1] for entity, record in self.records.items()}
        return link

    def entries(self) -> tuple[State, ...]:
        """Everything, as it is kept by somebody else."""
        return tuple([(entity, *record.version, record.state) for entity, record in self.records.items()])

    def invariants(self) -> None:
        """Assert what holds between two calls."""
        assert (self.recovery is None) or not (self.links or self.records or self.waiting)
        assert self.recovery is not None or list(self.links) == list(self.backups)
        assert not any(node in self.links for node in self.leaving)
        assert self.mark <= self.sequence
        for entity, record in self.records.items():
            assert record.version[0] == self.epoch
            assert record.version[1] <= self.sequence
            assert record.version not in record.older
            assert len(record.older) <= 2 * len(self.links), f"{entity}: {len(record.older)} old states are kept"
            assert (record.state is None) == (entity in self.tombstones)
            assert bool(record.waiting) == (entity in self.waiting)
            assert list(record.waiting.values()) == sorted(record.waiting.values())
            for sequence in list(record.waiting.values())[:1]:
                assert self.acknowledged(entity, sequence) < self.required, "a write waits for nothing"
        for link in self.links.values():
            assert not (link.whole and link.missing)
            assert link.since <= self.stage
            for entity, version in link.behind.items():
                assert version < self.records[entity].version
                assert self.records[entity].version[1] > self.mark or entity in link.missing, f"{entity} is lacking"
            for entity, sequence in link.missing.items():
                assert link.behind[entity] < (self.epoch, sequence)
