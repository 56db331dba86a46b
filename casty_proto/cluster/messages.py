"""What nodes say to each other. Most of it is said by the parts of a node; this file has the envelope, and the rest.

Messages may be lost, doubled, delayed and reordered. Whoever needs an answer asks again.
"""

from __future__ import annotations

from typing import Any

from ..shard.channel import Accepted, Hello, Moved, Post, Welcome
from ..values import value
from .checks import NodeKey
from .outcomes import Outcome
from .records import NodeInfo


@value
class Envelope:
    """Everything that travels between nodes."""

    sender: NodeKey
    address: str
    """Where the sender listens."""
    cluster: str
    """The cluster of the sender: the key of its founder. Empty for one that belongs to none yet."""
    to: NodeKey | None
    """Whom it is for; `None` for whoever listens there."""
    body: Any


# Formation -----------------------------------------------------------------------------------------------------------


@value
class Seek:
    """From who belongs to no cluster: do you? Answered by `Seeking`, or by `Belongs`."""

    seeds: tuple[str, ...]
    withdrawn: int
    """Up to this round, my claims are void."""


@value
class Seeking:
    """I do not belong to one either; these are my seeds."""

    seeds: tuple[str, ...]
    withdrawn: int


@value
class Belongs:
    """I am a member of `cluster`. Send me your `JoinRequest`."""

    cluster: str


@value
class Claim:
    """I want to found a cluster. Do you agree? `round` counts my attempts. Answered by `Agreed`, if at all."""

    round: int


@value
class Agreed:
    """I agree, and shall agree with nobody else before this claim is withdrawn."""

    round: int


@value
class JoinRequest:
    """Take this node in. Whoever is no leader passes it on to the leader."""

    node: NodeInfo


@value
class JoinAnswer:
    """From the leader to who wants to join: you are a member now; or not, and why."""

    cluster: str
    accepted: bool
    reason: str = ""
    contacts: tuple[str, ...] = ()
    """Addresses of members."""


@value
class Expelled:
    """To who acts as a member and is none any more."""

    node: NodeKey
    reason: str


# Orders --------------------------------------------------------------------------------------------------------------


@value
class OpenOrders:
    """Member to leader: open a session for my orders. `life` tells the processes of a node apart."""

    life: int


@value
class OrdersOpened:
    """Leader to member: number your orders in this session."""

    life: int
    session: int


@value
class Order:
    """Member to leader: propose this command, which is `number` of the session. The answers of all below `floor` are
    not needed any more."""

    life: int
    number: int
    session: int
    floor: int
    command: bytes


@value
class OrderDone:
    """To a member: the command was applied at `index`, with that outcome. What it has changed is not repeated."""

    life: int
    number: int
    index: int
    outcome: Outcome


@value
class OrderRefused:
    """To a member: it was not proposed, or nobody knows. Ask `leader`, or again. Number 0 is the wish for a session."""

    life: int
    number: int
    session: int
    leader: NodeKey | None
    over: bool = False
    """Whether the session is over. Nothing was done in it now."""


# Shards --------------------------------------------------------------------------------------------------------------


@value
class Routed:
    """A message of the channel between the sender and the owner of a shard."""

    region: str
    shard: int
    body: Post | Hello | Accepted | Welcome | Moved
