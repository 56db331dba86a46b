"""What a driver tells a node, and what the node asks of it. Nothing here is sent to another node.

Effects are to be carried out in order. An event whose parts are of a wrong type cannot be made: its constructor raises
`TypeError`, or `ValueError` where the type is right and the value is not. Only `Received`, which is made for every
message that travels, is looked at by the node instead. A request that cannot be, in an event that can, is answered with
`Rejected`, and has changed nothing.

What the fields hold
    All numbers are `int` from 0 to 2**63 - 1. Limits stand in `checks.py`.

    `request`         the driver's own token, of any type, which comes back with the answer
    `region`          the name of an entity type or of a singleton; `name` is one too, or a cluster-wide name
    `kind`            which of the two it is
    `settings`        what all nodes must agree on about it
    `recipe`          bytes by which any node can start what lives there; not looked into
    `shard`           a number in the region, from 0
    `epoch`           which owner of the shard; of what an effect named, the same
    `entity`          a name in the shard; `entities` are several, with their states
    `state`           bytes of the application, not looked into; `states` are several, with the names of the entities
    `item`, `items`   messages for entities, as bytes of the driver's own; not looked into. `waiting` are such, too
    `number`          which actor of this process, as the driver counts them; `path` says where it is
    `address`         a text that a driver can dial. So are `to` of `Send`, and `seeds`
    `node`            a `NodeKey`, which is "node_id.generation". So is `to` of `OwnersChanged`
    `member`          all that is known of a member
    `reason`          a text for people; of `MemberGone`, which of the reasons that there are
"""

from __future__ import annotations

from collections.abc import Sized
from enum import Enum
from typing import Any

from attrs import Attribute, field
from attrs.validators import deep_iterable, instance_of, optional

from ..machine import Note, Persist, Persisted, Reply, Wake, shown
from ..values import value
from . import checks
from .checks import NodeKey
from .messages import Envelope
from .outcomes import Removal
from .records import MemberInfo, RegionKind, RegionSettings
from .registry import Deregister, ListingChanged, Register

# What parts of events may be: what others would take for rubbish is not sent to them ----------------------------------

_TEXT = checks.exactly(str)
_BYTES = checks.exactly(bytes)
_WHOLE = checks.exactly(int)


def _are_states(_: object, attribute: Attribute[Any], states: object) -> None:
    if type(states) is not tuple or not all(map(_is_state, states)):
        raise TypeError(f"{attribute.name} must be names of entities and their states, not {shown(states)}")


def _is_state(pair: object) -> bool:
    return type(pair) is tuple and [type(part) for part in pair] == [str, bytes]


def _few(_: object, attribute: Attribute[Any], seeds: Sized) -> None:
    if len(seeds) > checks.SEEDS_MAX:
        raise ValueError(f"{attribute.name} must be at most {checks.SEEDS_MAX}, not {len(seeds)}")


# Events --------------------------------------------------------------------------------------------------------------


@value
class Start:
    """The node begins: founds a cluster, joins one, or goes on as the member that it was. Once, before all else.

    Without seeds but itself it founds a cluster at once. Its own disk, if there is something on it, comes before seeds.
    """

    seeds: tuple[str, ...] = field(
        default=(), validator=[_few, deep_iterable(checks.text(checks.ADDRESS_MAX), instance_of(tuple))]
    )


@value
class Received:
    """`message` came. What is no `Envelope` with something in it that a node says is rubbish, and noted."""

    message: object


@value
class ConnectionLost:
    """A hint: messages to this address may have been lost. Never needed."""

    address: str = field(validator=instance_of(str))


@value
class Depart:
    """Leave the cluster: hand over what is here, then go. `Departed` follows. `Reply(request, None)` at once.

    Harmless when repeated. A node that belongs to no cluster yet departs at once.
    """

    request: Any = None


@value
class AddRegion:
    """There is an entity type or a singleton of this name. Answered by `Reply` with `Done`, `Rejected` or `Unknown`."""

    request: Any
    name: str = field(validator=checks.text(checks.NAME_MAX))
    kind: RegionKind = field(validator=checks.exactly(RegionKind))
    settings: RegionSettings = field(validator=checks.exactly(RegionSettings))
    recipe: bytes = field(default=b"", validator=checks.data(checks.RECIPE_MAX))


@value
class RemoveRegion:
    """End an entity type or a singleton everywhere, with all of its states. Answered with `Done`, `Rejected` or
    `Unknown`.

    `Done` says that it is being removed: its owners close their shards, messages for it are rejected, and its name is
    not free yet. `RegionRemoved` says that it is gone, when the last owner has closed its last shard, or is down.
    `Rejected` where this node knows of no such region.
    """

    request: Any
    name: str = field(validator=checks.text(checks.NAME_MAX))


@value
class ClaimName:
    """An actor of this node wants a cluster-wide name. Answered with `Done`, `Taken`, `Rejected` or `Unknown`."""

    request: Any
    name: str = field(validator=checks.text(checks.NAME_MAX))
    number: int = field(validator=checks.natural)
    path: str = field(validator=checks.text(checks.PATH_MAX))


@value
class ReleaseName:
    """It does not want it any more, or has ended. Answered with `Done`, `Rejected` or `Unknown`."""

    request: Any
    name: str = field(validator=checks.text(checks.NAME_MAX))
    number: int = field(validator=checks.natural)


@value
class ForgetNode:
    """The member `node_id` is down, and does not come back. Answered with `Done`, `Rejected` or `Unknown`."""

    request: Any
    node_id: str = field(validator=checks.text(checks.NODE_ID_MAX))


@value
class Confer:
    """Make sure that what this node knows is as new as anything that was known anywhere when this was asked.

    Answered with `Done`, and what is read from the node right then is that new; or with `Unknown`.
    """

    request: Any


@value
class Tell:
    """A message for an entity: to be handled by the owner of its shard, once or never.

    `Reply(request, Done)` when the owner has it, in order with those before to the same shard. `Unknown` where an owner
    is gone that may have had it; `Rejected` where it was never sent. With `request=None` there is no answer.
    """

    request: Any
    region: str = field(validator=_TEXT)
    shard: int = field(validator=_WHOLE)
    item: bytes = field(validator=_BYTES)


type Entry = tuple[bytes, Any, bool]
"""One of several messages: the item, the request, and whether `Done` is to be said as well. Without that there is an
answer to the request for a message that is lost alone."""


_ONLY_BYTES = frozenset((bytes,))


def _are_entries(_: object, attribute: Any, entries: object) -> None:
    try:
        good = type(entries) is tuple and _ONLY_BYTES.issuperset([type(item) for item, _, _ in entries])
    except (TypeError, ValueError):
        good = False
    if not good:
        raise TypeError(f"{attribute.name} must be a tuple of (bytes, request, bool)")


@value
class Tells:
    """Several messages for one shard, in their order. They travel together, which costs much less than one by one.

    `entries` are at least one, each an `Entry`: the item, the request, and whether `Done` is to be said.
    """

    region: str = field(validator=_TEXT)
    shard: int = field(validator=_WHOLE)
    entries: tuple[Entry, ...] = field(validator=_are_entries)


@value
class Handled:
    """A handler of the entity has ended and left it with this state; `None`: the entity is no more.

    Answered with `Durable(request)` when the state is where the settings of the region want it, with `NotDurable`, or
    with `Reply(request, Rejected)` where this node does not own the shard at that epoch. What the handler wants to say
    to anybody is to wait for that.
    """

    region: str = field(validator=_TEXT)
    shard: int = field(validator=_WHOLE)
    epoch: int = field(validator=_WHOLE)
    entity: str = field(validator=_TEXT)
    state: bytes | None = field(validator=optional(_BYTES))
    request: Any = None


@value
class Touched:
    """The entity has handled a message, and its state need not be told. For regions with an idle timeout."""

    region: str = field(validator=_TEXT)
    shard: int = field(validator=_WHOLE)
    epoch: int = field(validator=_WHOLE)
    entity: str = field(validator=_TEXT)


@value
class Rested:
    """The answer to `Rest`: the entity takes up nothing any more, and this is its state. Not given where it is busy."""

    region: str = field(validator=_TEXT)
    shard: int = field(validator=_WHOLE)
    epoch: int = field(validator=_WHOLE)
    entity: str = field(validator=_TEXT)
    state: bytes = field(validator=_BYTES)


@value
class Closed:
    """The answer to `CloseShard`: no handler runs. These are the states of all entities that were not told of by
    `Handled` as they are now, and the messages that were delivered and not handled, in their order.

    Many states can be said in several of these. The shard is closed with the one that `is_last`; it has the messages.
    Where it is resumed instead, what was said before counts as if these entities had rested.
    """

    region: str = field(validator=_TEXT)
    shard: int = field(validator=_WHOLE)
    epoch: int = field(validator=_WHOLE)
    states: tuple[tuple[str, bytes], ...] = field(default=(), validator=_are_states)
    waiting: tuple[bytes, ...] = field(default=(), validator=deep_iterable(_BYTES, instance_of(tuple)))
    is_last: bool = field(default=True, validator=instance_of(bool))


type NodeEvent = (
    Start
    | Received
    | Wake
    | Persisted
    | ConnectionLost
    | Depart
    | AddRegion
    | RemoveRegion
    | ClaimName
    | ReleaseName
    | ForgetNode
    | Confer
    | Tell
    | Tells
    | Handled
    | Touched
    | Rested
    | Closed
    | Register
    | Deregister
)
"""What `Node.handle` takes. `Start` comes first."""


# Answers -------------------------------------------------------------------------------------------------------------


@value
class Done:
    """It is so, at `index` of the log; what this node knows is at least as new."""

    index: int


@value
class Unknown:
    """It may have happened, or may yet."""

    reason: str


# Effects -------------------------------------------------------------------------------------------------------------


@value
class Send:
    """Send `message` to the address `to`. It may be lost."""

    to: str
    message: Envelope


@value
class OpenShard:
    """Messages of this shard are handled here and nowhere else from now on: the entities have these states, and these
    messages are to be handled before all others."""

    region: str
    shard: int
    epoch: int
    entities: tuple[tuple[str, bytes], ...]
    waiting: tuple[bytes, ...]
    unprompted: bool
    """Whether the entities are to come back at once. Otherwise each of them comes with its first message."""


@value
class Deliver:
    """Handle these messages, which the node `sender` has sent, after those before."""

    region: str
    shard: int
    epoch: int
    sender: NodeKey
    items: tuple[bytes, ...]


@value
class CloseShard:
    """The shard moves: begin no handler any more, let those that run end, and answer with `Closed`."""

    region: str
    shard: int
    epoch: int


@value
class HaltShard:
    """Stop whatever is done for this shard at once: somebody else may do it from now on. Who waits for an answer is to
    be told that it may ask again. The states may be needed: `ResumeShard` or `DropShard` follows."""

    region: str
    shard: int
    epoch: int
    reason: str


@value
class ResumeShard:
    """Nobody else has had the shard since it was halted, or since it was to be closed: go on."""

    region: str
    shard: int
    epoch: int


@value
class DropShard:
    """The shard is somebody else's: what is left of it here is of no use."""

    region: str
    shard: int
    epoch: int


@value
class Rest:
    """Nobody has needed this entity for as long as the settings say, and its state is safe. Unless it is busy, free
    what it takes up, and answer with `Rested`. When a message comes for it again, `Node.state_of` has its state."""

    region: str
    shard: int
    epoch: int
    entity: str


@value
class Durable:
    """What was `Handled` is where the settings want it, and this node still owns the shard."""

    request: Any


@value
class NotDurable:
    """It could not be made sure that it is. It may be there or not."""

    request: Any
    reason: str


class Standing(Enum):
    """What a node is to its cluster."""

    SEEKING = "seeking"
    """It belongs to none yet."""
    MEMBER = "member"
    LEAVING = "leaving"
    DEPARTED = "departed"
    EXPELLED = "expelled"
    """It is no member any more, and did not ask for that; or it cannot go on as one."""


@value
class StandingChanged:
    """What this node is to its cluster from now on. `DEPARTED` and `EXPELLED` are the last: it does nothing more."""

    standing: Standing
    """`SEEKING`, then `MEMBER`, then perhaps `LEAVING`, then one of the last two. It never goes back."""
    reason: str = ""


@value
class MemberUp:
    """A new member."""

    member: MemberInfo


@value
class MemberChanged:
    """A member says other things of itself."""

    member: MemberInfo


@value
class MemberLeaving:
    """A member wants to go. It still finishes what it has."""

    member: MemberInfo


@value
class MemberUnreachable:
    """A member is held to be dead. Its work is done elsewhere."""

    member: MemberInfo


@value
class MemberReachable:
    """It is there again."""

    member: MemberInfo


@value
class MemberGone:
    """It is no member any more."""

    member: MemberInfo
    reason: Removal


@value
class LeaderChanged:
    """This node takes `leader` for the leader of `term`; `None`: it knows of none."""

    leader: NodeKey | None
    term: int


@value
class RegionAdded:
    """There is an entity type, or a singleton, of this name."""

    region: str


@value
class RegionRemoved:
    """There is no entity type, or singleton, of this name any more. Nothing of it is left, and the name is free."""

    region: str


@value
class OwnersChanged:
    """Shards of a region have another owner, or the same one again, at the epoch `epoch`."""

    region: str
    to: NodeKey | None
    epoch: int
    shards: tuple[tuple[int, NodeKey | None], ...]
    """Each with who owned it before."""
    forced: bool
    """Whether it was taken: what the owner before had accepted, and not handled, is lost. Otherwise it was given."""


@value
class AcceptedLost:
    """What owners of these shards had accepted, and not handled, may be lost, though nothing was taken by force."""

    region: str
    shards: tuple[tuple[int, int], ...]
    """Each with an index of the log: what was sent by those who knew everything up to there is not concerned."""


@value
class NameChanged:
    """A cluster-wide name is that of `path` at `node` now; of nobody where they are `None`."""

    name: str
    node: NodeKey | None
    path: str | None


type NodeEffect = (
    Send
    | Persist
    | Reply
    | Note
    | OpenShard
    | Deliver
    | CloseShard
    | HaltShard
    | ResumeShard
    | DropShard
    | Rest
    | Durable
    | NotDurable
    | StandingChanged
    | MemberUp
    | MemberChanged
    | MemberLeaving
    | MemberUnreachable
    | MemberReachable
    | MemberGone
    | LeaderChanged
    | RegionAdded
    | RegionRemoved
    | OwnersChanged
    | AcceptedLost
    | NameChanged
    | ListingChanged
)
"""What `Node.handle` returns, in the order in which it is to be carried out."""
