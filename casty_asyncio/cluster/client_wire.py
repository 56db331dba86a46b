"""What an outside client and the gateway of a node say to each other.

Every message of a client is an ask, so a gateway that is lost is noticed with each of them, and one that is slow is
not flooded. None of them is ever a dead letter: what is lost is the message that it carries. The names under which the
classes travel are part of the protocol.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import deep_iterable, instance_of, optional

from casty_proto.cluster.records import RegionKind, RegionSettings, Status
from casty_proto.cluster.topology import TopologyMember, TopologyRegion
from casty_proto.wire import Types

from ..arguments import is_ref
from ..deadletters import Unmissed
from ..refs import ActorRef
from .items import ANSWER_NAME, EntityAnswer

GATEWAY = "_gateway"
"""The name of the system actor that serves clients, and the only one of its kind that others may look up."""
HOLD_SECONDS = 5.0
"""How long a gateway with nothing new holds a `Watch`. A client that hears nothing for longer looks elsewhere."""

type Entry = tuple[str, int, str]
"""Who can be discovered: the key of the node, the number of the actor, and the generation and path of it."""


@frozen
class Watch(Unmissed):
    """Tell me what has changed since `seen`; 0 for everything. Answered with `Changes` or `Outside`."""

    seen: int = field(validator=instance_of(int))
    reply_to: ActorRef[Changes | Outside] = field(validator=is_ref)


@frozen
class Head:
    """What does not belong to any type."""

    cluster: str = field(validator=instance_of(str))
    version: int = field(validator=instance_of(int))
    leader: str | None = field(validator=optional(instance_of(str)))
    members: tuple[TopologyMember, ...] = field(validator=deep_iterable(instance_of(TopologyMember)))


@frozen
class Changes(Unmissed):
    """What has changed."""

    number: int = field(validator=instance_of(int))
    """What is `seen` after this. It means nothing to another gateway."""
    is_complete: bool = field(validator=instance_of(bool))
    """Whether all that was known before is void."""
    head: Head | None = field(default=None, validator=optional(instance_of(Head)))
    regions: tuple[TopologyRegion, ...] = field(default=(), validator=deep_iterable(instance_of(TopologyRegion)))
    services: tuple[tuple[str, tuple[Entry, ...]], ...] = ()
    """Of each key that has changed, all who are listed."""
    taken: tuple[tuple[str, int, int], ...] = ()
    """Shards that were taken from their owners, and not given: type, shard, and the epoch from which on that is so."""


@frozen
class Outside(Unmissed):
    """The node belongs to no cluster, or has too many others to tell."""

    reason: str = field(validator=instance_of(str))
    has_ended: bool = field(validator=instance_of(bool))
    """Whether it never will."""


@frozen
class Deliver(Unmissed):
    """Send this message to the owner of its entity. Answered with `Accepted` or `Refusal`."""

    region: str = field(validator=instance_of(str))
    entity: str = field(validator=instance_of(str))
    item: bytes = field(validator=instance_of(bytes))
    reply_to: ActorRef[Accepted | Refusal] = field(validator=is_ref)


@frozen
class Accepted(Unmissed):
    """The owner has it, in order with those before to the same shard."""

    epoch: int = field(validator=instance_of(int))
    """That of the shard."""


@frozen
class Refusal(Unmissed):
    """The owner does not have it, or nobody knows."""

    reason: str = field(validator=instance_of(str))
    is_certain: bool = field(validator=instance_of(bool))
    """Whether it was certainly not handled."""
    is_for_others: bool = field(default=False, validator=instance_of(bool))
    """Whether another node may take it: this one is none of the cluster, or does not know the type yet."""
    has_ended: bool = field(default=False, validator=instance_of(bool))
    """Whether this node takes nothing any more."""


def allow_types(types: Types) -> None:
    """Let a system send and receive all this, also where it is strict."""
    named: dict[str, Any] = {
        ANSWER_NAME: EntityAnswer,
        "casty.client.watch": Watch,
        "casty.client.head": Head,
        "casty.client.changes": Changes,
        "casty.client.outside": Outside,
        "casty.client.deliver": Deliver,
        "casty.client.accepted": Accepted,
        "casty.client.refusal": Refusal,
        "casty.topology.member": TopologyMember,
        "casty.topology.region": TopologyRegion,
        "casty.topology.status": Status,
        "casty.topology.kind": RegionKind,
        "casty.topology.settings": RegionSettings,
    }
    for name, cls in named.items():
        types.allow(cls, name)
