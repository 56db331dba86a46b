"""What can be set for a node. The options of its parts stand with the parts."""

from __future__ import annotations

from typing import Any, Self

from attrs import Attribute, field, frozen
from attrs.validators import instance_of

from ..machine import MILLISECOND, SECOND, Nanoseconds
from ..raft import RaftOptions
from ..replica import ReplicaOptions
from ..shard.channel import ChannelOptions
from ..shard.homes import HomeOptions
from ..shard.leases import LeaseOptions, in_range
from ..shard.plan import DEFAULT_PLACEMENT, Placement
from ..shard.steward import StewardOptions
from ..swim import SwimOptions
from .registry import RegistryOptions

_DAY: Nanoseconds = 86_400 * SECOND


def _odd(_: object, attribute: Attribute[Any], number: int) -> None:
    if number % 2 == 0:
        raise ValueError(
            f"{attribute.name} must be odd, not {number}: an even one bears no more failures than one less"
        )


@frozen(kw_only=True)
class NodeOptions:
    """How a node behaves. The same on all nodes of a cluster. Raises `ValueError` or `TypeError` for nonsense.

    With the defaults the work of a node that crashed is taken up by another in three to five seconds. `fast` is for
    nodes of one machine, and for tests: half a second.
    """

    swim: SwimOptions = field(factory=SwimOptions.local, validator=instance_of(SwimOptions))
    """How members are watched: probes, suspicion, and how news of them spreads."""
    raft: RaftOptions = field(factory=RaftOptions, validator=instance_of(RaftOptions))
    """How the cluster agrees: elections, replication, snapshots."""
    leases: LeaseOptions = field(factory=LeaseOptions, validator=instance_of(LeaseOptions))
    """With the default lease of two seconds most changes of the leader pass without a lease that ends. The work of a
    leader that crashed waits for an election and a lease: hardly ever longer than four and a half seconds."""
    homes: HomeOptions = field(factory=HomeOptions, validator=instance_of(HomeOptions))
    """How the shards that the node owns are filled, opened and closed."""
    steward: StewardOptions = field(factory=StewardOptions, validator=instance_of(StewardOptions))
    """How the leader gives shards to others."""
    channels: ChannelOptions = field(factory=ChannelOptions, validator=instance_of(ChannelOptions))
    """How many messages wait for the owners of shards, and for how long."""
    replica: ReplicaOptions = field(factory=ReplicaOptions, validator=instance_of(ReplicaOptions))
    """How the states of entities are copied."""
    registry: RegistryOptions = field(factory=RegistryOptions, validator=instance_of(RegistryOptions))
    """How the lists of actors that can be discovered spread."""
    placement: Placement = DEFAULT_PLACEMENT
    """How shards are spread over the members."""
    post_bytes: int = field(default=256 * 1024, validator=in_range(1, 2**31))
    """How many bytes of messages for a shard are sent, or handed over, together. One that is longer goes alone."""
    max_voters: int = field(default=5, validator=[in_range(1, 99), _odd])
    """How many members vote in Raft, if there are so many. The others listen."""
    seek_ns: Nanoseconds = field(default=100 * MILLISECOND, validator=in_range(1, _DAY))
    """How often a node that belongs to no cluster asks its seeds."""
    settle_ns: Nanoseconds = field(default=300 * MILLISECOND, validator=in_range(0, _DAY))
    """How long nodes that could found a cluster wait for each other, and for one that has been founded."""
    order_retry_ns: Nanoseconds = field(default=500 * MILLISECOND, validator=in_range(1, _DAY))
    """When what was asked of the leader is asked again."""
    order_patience_ns: Nanoseconds = field(default=30 * SECOND, validator=in_range(1, _DAY))
    """After what time without an answer it is given up."""
    silence_ns: Nanoseconds = field(default=4 * SECOND, validator=in_range(1, _DAY))
    """How long a member may ask for no lease, although others find it alive, until it is held to be down. Somewhat
    longer than a lease: until then it may have one, and after that it does no work anyhow."""
    forget_ns: Nanoseconds | None = field(default=None)
    """After what time a member that is down is forgotten; `None`: when somebody says so. It is never forgotten by
    itself where there are states that it may have a copy of."""
    leave_ns: Nanoseconds = field(default=30 * SECOND, validator=in_range(0, _DAY))
    """How long a node that leaves waits for others to take what it has."""

    @forget_ns.validator
    def _forget(self, _: object, number: object) -> None:
        if number is not None and (type(number) is not int or not 0 <= number <= 366 * _DAY):
            raise ValueError(f"forget_ns must be None or a whole number of at most 366 days, not {number!r}")

    @classmethod
    def fast(cls, **changes: Any) -> Self:
        """Short times: for tests, and for nodes of one machine that is not overloaded."""
        return cls(
            **{
                "swim": SwimOptions.local(
                    probe_interval_ns=100 * MILLISECOND,
                    probe_timeout_ns=30 * MILLISECOND,
                    gossip_interval_ns=20 * MILLISECOND,
                ),
                "raft": RaftOptions(
                    heartbeat_interval_ns=50 * MILLISECOND,
                    election_timeout_min_ns=100 * MILLISECOND,
                    election_timeout_max_ns=200 * MILLISECOND,
                ),
                "leases": LeaseOptions(duration_ns=150 * MILLISECOND),
                "homes": HomeOptions(repeat_ns=50 * MILLISECOND),
                "channels": ChannelOptions(resend_ns=50 * MILLISECOND),
                "replica": ReplicaOptions(retry_ns=50 * MILLISECOND, recovery_grace_ns=20 * MILLISECOND),
                "seek_ns": 30 * MILLISECOND,
                "settle_ns": 100 * MILLISECOND,
                "order_retry_ns": 100 * MILLISECOND,
                "silence_ns": 400 * MILLISECOND,
                **changes,
            }
        )
