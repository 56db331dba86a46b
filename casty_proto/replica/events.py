"""What a node tells the machines of replication, and what they ask of it. Nothing here is sent to another node.

Nodes are named by their node keys. `request` is the node's own token, and comes back as it was given.
"""

from __future__ import annotations

from typing import Any

from ..machine import Note, Reply, Wake
from ..values import value
from .messages import State, Version
from .options import ReplicaSettings

# Events ------------------------------------------------------------------------------------------------------------


@value
class Received:
    """`message` came from the node `peer`. Anything that is no message of the protocol is rubbish, and noted."""

    peer: str
    message: object


@value
class Own:
    """This node owns the shard from now on, in that epoch. Ends with `Recovered`, `Superseded`, or `Disown`.

    Harmless when repeated. A later epoch replaces an earlier one; an earlier one is noted and ignored.
    """

    region: str
    shard: int
    epoch: int
    backups: tuple[str, ...]
    settings: ReplicaSettings
    """How the writes of the region are acknowledged."""
    replicas: tuple[str, ...] = ()
    """Whoever may have a copy: every member is a safe answer. This node itself need not be named."""
    possible: int = 0
    """The most backups that the shard could have had at any time. Those seen here count anyway."""
    index: int = 0
    """Of the membership that the backups follow from."""
    counting: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """Whoever holds copies that acknowledgements may rely upon, by the index from which on they do. If more of them
    than `bearable` are missing, the shard is not ready before enough are back, or gone for good."""
    owners: tuple[tuple[int, str], ...] = ()
    """The owners before, and their epochs, in order."""
    began: tuple[tuple[str, int], ...] = ()
    """From which index on each node's process has been there."""
    bearable: int = 0
    """-1: all but one."""
    several: tuple[int, ...] = ()
    """The indexes from which on one backup was possible, two, and so on: before that, writes were acknowledged by
    fewer than `bearable`. As many as are named here count; -1 needs none."""


@value
class Disown:
    """This node does not own the shard any more. Harmless when it never did. What it had is kept as a copy."""

    region: str
    shard: int


@value
class Backups:
    """The backups of a shard are these from now on: all of them, crashed ones that still count included.

    `possible` and `index` are those of `Own`.
    """

    region: str
    shard: int
    backups: tuple[str, ...]
    possible: int = 0
    index: int = 0


@value
class Changed:
    """A handler of the entity has ended with this state. Answered by `Durable` or `Failed`; by `Reply` with
    `Rejected` where the shard is not owned, or not recovered.

    A state that is the present one is no new version: the request is answered when that one is durable.
    """

    region: str
    shard: int
    entity: str
    state: bytes
    request: Any = None


@value
class Deleted:
    """The entity is no more. Answered like `Changed`."""

    region: str
    shard: int
    entity: str
    request: Any = None


@value
class Flush:
    """Bring one backup up to date with everything as it is now. Answered like `Changed`."""

    region: str
    shard: int
    backup: str
    request: Any = None


@value
class Down:
    """These nodes are known to be down: all of them, in place of those that were named before."""

    nodes: tuple[str, ...]


@value
class Gone:
    """The node will never be heard of again: it has left, or was forgotten."""

    node: str


@value
class Lost:
    """The node was started again under its old name, and has lost its copies."""

    node: str


@value
class Overtaken:
    """There is an owner in a later epoch. Harmless where that is no news."""

    region: str
    shard: int
    epoch: int


@value
class Keep:
    """Effect of a primary, and event of the backup of its node: what the former owner had stays here as a copy.

    The copy is complete up to `whole`, as of the membership at `index`.
    """

    region: str
    shard: int
    epoch: int
    stage: int
    whole: Version
    entries: tuple[State, ...]
    index: int = 0


@value
class Ended:
    """What is of epochs `below` this one is of a region that is no more: it is of use to nobody. There may be another
    region of that name."""

    region: str
    below: int


@value
class Began:
    """This process began at that index of the log: it has nothing from before. `None`: it is not known yet when; until
    it is, a new owner's questions are not answered. Not needed for the first process of a node."""

    index: int | None


type PrimaryEvent = (
    Received | Changed | Deleted | Own | Disown | Backups | Flush | Down | Gone | Lost | Overtaken | Wake
)
"""What `Primary.handle` takes."""
type BackupEvent = Received | Keep | Ended | Began | Wake
"""What `Backup.handle` takes."""
type ReplicaEvent = PrimaryEvent | Ended | Began
"""What `Replica.handle` takes."""

# Effects -----------------------------------------------------------------------------------------------------------


@value
class Send:
    """Send `message` to the node `to`. It may be lost."""

    to: str
    message: Any


@value
class Durable:
    """What the request wrote is where `sync_count` wants it."""

    request: Any


@value
class Failed:
    """What the request wrote was not acknowledged. It may be there or not, and may still come to be there."""

    request: Any
    reason: str


@value
class Recovered:
    """The shard is ready: these are the entities with their states. Comes before anything may be written."""

    region: str
    shard: int
    epoch: int
    entities: tuple[tuple[str, bytes], ...]


@value
class Superseded:
    """There was an owner of that later epoch: the shard is not owned here any more. It was disowned already."""

    region: str
    shard: int
    epoch: int


@value
class UpToDate:
    """The backup has a complete copy now. Once for each time that it had to be brought up to date."""

    region: str
    shard: int
    backup: str


type PrimaryEffect = Send | Durable | Failed | Recovered | Superseded | UpToDate | Keep | Note | Reply
"""What `Primary.handle` returns. `Keep` is for the backup of the same node."""
type BackupEffect = Send | Note
"""What `Backup.handle` returns."""
type ReplicaEffect = Send | Durable | Failed | Recovered | Superseded | UpToDate | Note | Reply
"""What `Replica.handle` returns, in the order in which it is to be carried out."""
