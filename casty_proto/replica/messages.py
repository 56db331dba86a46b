"""What an owner and those who hold copies say to each other.

Messages may be lost, doubled, delayed and reordered. Each names its shard and the epoch of the owner that it comes from
or goes to. A stage counts, within an epoch, the rounds in which copies are completed; see the rules of the package.
"""

from __future__ import annotations

from ..values import value

type Version = tuple[int, int]
"""Of an entity's state: the epoch of the owner that wrote it, and the sequence. Later versions are greater."""

NEVER: Version = (0, 0)
"""Before every version: epochs and sequences begin with 1."""

type Held = tuple[str, int, int, bool]
"""An entity in a list of what a copy has: name, epoch, sequence, and whether it was deleted."""

type State = tuple[str, int, int, bytes | None]
"""An entity, its epoch and sequence, and its state; `None`: it was deleted."""

# Owner to copy -----------------------------------------------------------------------------------------------------


@value
class Update:
    """The entity has this state now. Answered by `Ack`, `NeedsWhole` or `Refused`."""

    region: str
    shard: int
    epoch: int
    stage: int
    entity: str
    sequence: int
    state: bytes | None
    """The whole state where `base` is `None`, otherwise a delta. `None`: the entity was deleted."""
    base: Version | None = None
    """The version that the delta is to be applied to."""


@value
class Whole:
    """You have every entity as it was at `sequence`, or later. Whatever was not confirmed since the stage `since` is
    no more, and deletions up to `sequence` need not be remembered. Answered by `WholeAck` or `Refused`."""

    region: str
    shard: int
    epoch: int
    stage: int
    since: int
    sequence: int
    life: int | None = None
    """The process that has acknowledged all that; for another one it is not true. `None`: there was nothing to have."""
    index: int = 0
    """Of the membership by which it is a backup: whatever was acknowledged before that is in a complete copy."""


@value
class Drop:
    """Your copy is not needed any more. Answered by `Dropped` or `Refused`."""

    region: str
    shard: int
    epoch: int
    stage: int


@value
class Fetch:
    """A new owner: obey no earlier epoch, and list what you have from `start` on. Answered by `Page` or `Refused`."""

    region: str
    shard: int
    epoch: int
    start: int


@value
class Pull:
    """A new owner: the states of these. Answered by `States` or `Refused`."""

    region: str
    shard: int
    epoch: int
    entities: tuple[str, ...]


# Copy to owner -----------------------------------------------------------------------------------------------------


@value
class Ack:
    """I have the entity in this sequence of your epoch: that of the `Update`, or a later one."""

    region: str
    shard: int
    epoch: int
    stage: int
    life: int
    """The process that answers. What another process with its name had is lost."""
    entity: str
    sequence: int


@value
class NeedsWhole:
    """I do not have the base of the update with that sequence."""

    region: str
    shard: int
    epoch: int
    stage: int
    life: int
    entity: str
    sequence: int


@value
class WholeAck:
    """The answer to `Whole`: so it is. My copy is complete (rule 14)."""

    region: str
    shard: int
    epoch: int
    stage: int
    life: int


@value
class Dropped:
    """The answer to `Drop`: I have no copy any more."""

    region: str
    shard: int
    epoch: int
    stage: int


@value
class Page:
    """A part of what I have, from `start` on. The same question has the same answer until the first `Update` of that
    epoch."""

    region: str
    shard: int
    epoch: int
    life: int
    whole: Version
    """My copy is complete up to there."""
    start: int
    entries: tuple[Held, ...]
    following: int
    """Where the next page begins. 0: this is the last one."""
    index: int = 0
    """Of the membership as of which my copy is complete."""
    began: int = 0
    """From which index on my process has been there. Who asks may not have heard of it yet."""


@value
class States:
    """Of the states that were pulled as many as fit into one message; at least one, if I have any of them."""

    region: str
    shard: int
    epoch: int
    life: int
    entries: tuple[State, ...]


@value
class Refused:
    """There was a later owner, in that epoch."""

    region: str
    shard: int
    epoch: int


@value
class InUse:
    """The answer to a question of a new owner: there were updates in your epoch before."""

    region: str
    shard: int
    epoch: int


type ToCopy = Update | Whole | Drop | Fetch | Pull
"""What an owner sends to those who have copies, or may have."""
type ToOwner = Ack | NeedsWhole | WholeAck | Dropped | Page | States | Refused | InUse
"""What these answer."""
type Message = ToCopy | ToOwner
"""What `Send` holds and `Received` is fed. Any of it may be lost, late, repeated and overtaken."""
