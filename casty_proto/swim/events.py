"""What a driver tells the machine, and what it asks of it. Nothing here is sent to another node."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field
from attrs.validators import instance_of

from ..machine import Note, Reply, Wake
from ..values import value
from .messages import Identity, Message, State


@value
class Member:
    """What is known of a member."""

    identity: Identity
    incarnation: int
    state: State
    address: str
    """Empty for one that was never known alive here."""
    payload: bytes
    """As it was told in the incarnation `told`. Empty once the member is remembered as dead or left."""
    told: int
    """The incarnation to which address and payload belong. A suspicion may name a later one before its news is here."""

    def __str__(self) -> str:
        return f"{self.state.name.lower()} {self.identity}.{self.incarnation}"


# Events --------------------------------------------------------------------------------------------------------------


def _texts(_: object, attribute: Attribute[Any], value: object) -> None:
    if type(value) is not tuple or not all(type(item) is str and item for item in value):
        raise TypeError(f"{attribute.name} must be a tuple of texts that are not empty, not {value!r}")


@value
class Join:
    """Begin, and find the cluster through any of `seeds`. Without seeds but oneself: be the first of a new one.

    Answered with `Reply(request, None)`, or `Rejected` after `Leave` or `Defunct`; `Joined` follows once somebody has
    told all that it knows. Seeds are asked again until then. May be repeated, with other seeds.

    Raises `TypeError` for seeds that are no tuple of texts.
    """

    seeds: tuple[str, ...] = field(default=(), validator=_texts)
    request: Any = None


@value
class Received:
    """`message` came from `peer`: the address to which an answer is to be sent.

    That is where the sender listens, not where its connection comes from. A `message` that is none is noted, and
    changes nothing. Raises `TypeError` for a `peer` that is no text.
    """

    peer: str = field(validator=instance_of(str))
    message: object


@value
class Leave:
    """Tell the others that this member goes, and stop. `Departed` follows when enough of them were told.

    Answered with `Reply(request, None)`, or `Rejected` where there is nothing to leave.
    """

    request: Any = None


@value
class UpdatePayload:
    """Replace this member's payload, and tell the others.

    Answered with `Reply(request, None)`, or `Rejected` for one that is too long, and when it is too late.
    """

    payload: bytes
    request: Any = None


@value
class ConnectionLost:
    """A hint: the connection to this address broke. The member there is probed next; nothing else follows from it.

    Raises `TypeError` for a `peer` that is no text.
    """

    peer: str = field(validator=instance_of(str))


type SwimEvent = Received | Wake | Join | Leave | UpdatePayload | ConnectionLost
"""What `Swim.handle` takes. `Join` begins; what comes before is answered as far as that is possible."""


# Effects -------------------------------------------------------------------------------------------------------------


@value
class Send:
    """Send `message` to the address `to`. It may be lost, late, repeated and overtaken."""

    to: str
    message: Message


@value
class MemberAlive:
    """The member is there. `previous` is what was believed of this same identity until now.

    `None`: it is new. `SUSPECT`: it has objected. `DEAD` or `LEFT`: it is back.
    """

    member: Member
    previous: State | None


@value
class MemberUpdated:
    """The member, alive before and after, has another payload."""

    member: Member


@value
class MemberSuspected:
    """Somebody found the member silent. It counts as there until it is declared dead."""

    member: Member


@value
class MemberDead:
    """The member was alive or suspected, and is dead: silent for too long, or replaced by a higher generation."""

    member: Member
    """As it was known last."""
    replaced: bool
    """Whether a higher generation of the same node has taken its place. Then it does not come back."""


@value
class MemberLeft:
    """The member has left by itself. It may have been declared dead before the news of that came."""

    member: Member
    """As it was known last."""


@value
class MemberConflict:
    """Somebody at `address` goes by the identity of `member`, which is somewhere else. The news of it was dropped."""

    member: Member
    address: str


@value
class Joined:
    """The cluster that `Join` asked for is known here."""

    contact: str | None
    """The seed that told of it, or another member that was faster. `None` where there was no seed to ask."""


@value
class Departed:
    """This member has left. The machine has no deadline any more; keep it as long as you like to tell stragglers."""


@value
class Defunct:
    """This identity cannot be used any more. The machine does nothing any more; join with a new one, and a higher
    generation than `generation`."""

    reason: str
    generation: int


type SwimEffect = (
    Send
    | MemberAlive
    | MemberUpdated
    | MemberSuspected
    | MemberDead
    | MemberLeft
    | MemberConflict
    | Joined
    | Departed
    | Defunct
    | Reply
    | Note
)
"""What `Swim.handle` returns, in the order in which it is to be carried out."""
