"""What a driver tells the machine, and what the machine asks of it. Nothing here is sent to another server.

Effects are to be carried out in order. In particular, a `Reply` stands after the `Apply` of what it answers, and a read
after everything that it must see.

An event whose parts are of a wrong type cannot be made: its constructor raises `TypeError`, or `ValueError` where the
type is right and the value is not. All types are exact. Only `Received`, which is made for every message that travels,
is looked at by the machine instead.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import Attribute, field

from ..machine import Note, Persist, Persisted, Rejected, Reply, Wake, shown
from ..values import value
from .configuration import AddLearner, AddVoter, Change, Configuration, NodeId, Remove, named
from .entries import PROPOSABLES, Entry, Proposable
from .messages import Message

_CHANGES: tuple[type[Any], ...] = (AddVoter, AddLearner, Remove)


def _proposable(_: object, attribute: Attribute[Any], payload: object) -> None:
    if type(payload) not in PROPOSABLES:
        raise TypeError(f"{attribute.name}: {shown(payload)} cannot be proposed")


def _proposals(_: object, attribute: Attribute[Any], proposals: object) -> None:
    if type(proposals) is not tuple:
        raise TypeError(f"{attribute.name} must be a tuple, not {shown(proposals)}")
    for proposal in proposals:
        if type(proposal) is not Proposal:
            raise TypeError(f"{attribute.name}: {shown(proposal)} is no Proposal")


def _changes(_: object, attribute: Attribute[Any], changes: object) -> None:
    if type(changes) is not tuple:
        raise TypeError(f"{attribute.name} must be a tuple, not {shown(changes)}")
    for change in changes:
        if type(change) not in _CHANGES:
            raise TypeError(f"{attribute.name}: {shown(change)} is no change of a configuration")


def _index(_: object, attribute: Attribute[Any], index: object) -> None:
    if type(index) is not int:
        raise TypeError(f"{attribute.name} must be a whole number, not {shown(index)}")
    if not 0 <= index < 2**63:
        raise ValueError(f"{attribute.name} must be from 0 to 2**63 - 1, not {shown(index)}")


def _bytes_or_none(_: object, attribute: Attribute[Any], data: object) -> None:
    if data is not None and type(data) is not bytes:
        raise TypeError(f"{attribute.name} must be bytes or None, not {shown(data)}")


# Events ------------------------------------------------------------------------------------------------------------


@value
class Start:
    """The server begins. Once, before anything else. Answered by `Restore` where there is a snapshot.

    A second one changes nothing, and is noted.
    """


@value
class Received:
    """`message` came from `peer`. Anything that is not a message of the protocol is rubbish, and noted.

    So is anything of a `peer` that cannot be the name of a server. It changes nothing.
    """

    peer: NodeId
    message: object


@value
class Unreachable:
    """Messages to `peer` may have been lost: the connection broke, or the peer restarted. A hint, never needed.

    Raises `TypeError` or `ValueError` for a `peer` that is no name.
    """

    peer: NodeId = field(validator=named)


@value
class Proposal:
    """Something to be committed. Answered with `Reply(request, Result)`, when it is applied or cannot be.

    Raises `TypeError` for a payload of another type, and for one of a subclass, which no follower would take.
    """

    request: Any
    payload: Proposable = field(validator=_proposable)


@value
class Propose:
    """Commit these `proposals`, in this order. Each is taken or rejected for itself; those that are taken share one
    write.

    Raises `TypeError` for what is no tuple of proposals: there may be no request in it that could be answered.
    """

    proposals: tuple[Proposal, ...] = field(validator=_proposals)


@value
class Read:
    """Ask for permission to read the applied state, on any server. It is then as new as if the leader had been asked.

    Answered with `Reply(request, ReadReady)`, and the read is to be made when that is carried out; or with `Rejected`,
    and nothing happened.
    """

    request: Any


@value
class ChangeMembership:
    """Make these `changes` as one, on the leader. At most one voter may come or go with them.

    Answered with `Reply(request, Changed | Unknown | Rejected)`. Raises `TypeError` for what is no tuple of changes.
    """

    request: Any
    changes: tuple[Change, ...] = field(validator=_changes)


@value
class TransferLeadership:
    """Let `target` lead, soon and without an interruption (thesis 3.10). Proposals are rejected meanwhile.

    Answered with `Reply(request, SteppedDown)`, or `Rejected` where this server still leads. A follower passes it on
    and answers `Forwarded`. The leader's own name ends a transfer that is under way, and is answered with `None`.
    Raises `TypeError` or `ValueError` for a `target` that is no name.
    """

    request: Any
    target: NodeId = field(validator=named)


@value
class SnapshotTaken:
    """The application's state after the entry `index`: the answer to `TakeSnapshot`.

    The application may also offer the state after the last entry that it applied. `None`: it could not; it is asked
    again later. Raises `TypeError` or `ValueError` for what is no index or no data.
    """

    index: int = field(validator=_index)
    data: bytes | None = field(validator=_bytes_or_none)


type RaftEvent = (
    Received
    | Persisted
    | Propose
    | Wake
    | Read
    | SnapshotTaken
    | ChangeMembership
    | TransferLeadership
    | Unreachable
    | Start
)
"""What `Raft.handle` takes. `Start` comes first."""


# Results -----------------------------------------------------------------------------------------------------------


@value
class Committed:
    """It was committed at `index` and has been applied. For `OpenSession` this is the session's number."""

    index: int
    term: int


@value
class Duplicate:
    """A command of this session and serial was applied before, or the client gave it up. Now it was not."""

    session: int
    serial: int


@value
class SessionUnknown:
    """The session is over or never was. Now nothing was applied; whether an earlier copy was, nobody knows."""

    session: int


@value
class Unknown:
    """It may still be committed, or never. With a session it can safely be proposed again."""

    reason: str


@value
class NotLeader(Rejected):
    """Nothing happened. Ask `leader`, or anybody where that is `None`."""

    leader: NodeId | None = None


@value
class ReadReady:
    """Everything up to `index` is applied, and nothing that was answered before the read was asked for is beyond it."""

    index: int


@value
class Changed:
    """The configuration is committed."""

    index: int
    configuration: Configuration


@value
class SteppedDown:
    """This server does not lead any more. Most likely the one that was to follow it does, or is about to."""

    term: int


@value
class Forwarded:
    """The request was passed on to `leader`. Nobody says what becomes of it."""

    leader: NodeId


type Result = Committed | Duplicate | SessionUnknown | Unknown | Rejected
"""What a proposal is answered with. `Committed`: it was applied, now. `Duplicate`: it had been applied before, or given
up. `Rejected` and `NotLeader`: it was not applied, and will not be. `SessionUnknown`: this copy was not; an earlier one
may have been. `Unknown`: it may be applied yet, or never."""


# Effects -----------------------------------------------------------------------------------------------------------


class Role(Enum):
    """What a server is at the moment."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@value
class Send:
    """Send `message` to `to`. It may be lost."""

    to: NodeId
    message: Message


@value
class Apply:
    """Execute these entries, in order; each has a `Command`. Every server executes the same ones, each once.

    What is missing in their indexes is not for the application: configurations, sessions, and commands that were
    executed before. The answer to a command of a session is to be kept, as part of the state, for the client that asks
    again: until a command of the session names a `floor` above its serial, or `SessionsEnded` names the session.
    """

    entries: tuple[Entry, ...]


@value
class SessionsEnded:
    """These `sessions` are over, on every server at this point: forget the answers that were kept for them."""

    sessions: tuple[int, ...]


@value
class TakeSnapshot:
    """Feed `SnapshotTaken(index, data)` with the state as it is now, at once or when it has been written out."""

    index: int


@value
class Restore:
    """Replace the state by the one that `data` holds, from `SnapshotTaken(index, data)` on some server."""

    index: int
    term: int
    data: bytes


@value
class ConfigurationChanged:
    """This configuration is in effect. First with `committed` off; it may then still give way to an earlier one."""

    index: int
    configuration: Configuration
    committed: bool


@value
class RoleChanged:
    """What this server is from now on, its `role`, and whom it takes for the `leader` of `term`.

    `leader` is `None` where it does not know of any. Of one term there is never more than one (rule 1).
    """

    role: Role
    term: int
    leader: NodeId | None


type RaftEffect = (
    Send | Persist | Apply | Reply | SessionsEnded | TakeSnapshot | Restore | ConfigurationChanged | RoleChanged | Note
)
"""What `Raft.handle` returns, in the order in which it is to be carried out."""
