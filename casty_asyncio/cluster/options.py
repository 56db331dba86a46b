"""What can be set for a node of a cluster, in seconds, and what it means for the machines."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import Attribute, evolve, field, frozen

from casty_proto.cluster.options import NodeOptions
from casty_proto.machine import nanoseconds
from casty_proto.raft import RaftOptions
from casty_proto.shard.channel import ChannelOptions
from casty_proto.swim import SwimOptions

from ..clock import MAX_SECONDS
from ..errors import UsageError

NUM_SHARDS = 1024
"""How many shards a type has unless it is told otherwise: enough for some thirty nodes. Each shard costs a node some
50 microseconds when it moves, so few nodes are better off with few; a hundred want 16384 for an even load."""

_CHANNELS = {"window": 1024, "max_waiting": 2**16}
"""Enough messages for one shard that a fast sender need not wait for every turn of the owner's loop."""
_SLOWEST = NodeOptions(channels=ChannelOptions(**_CHANNELS))
_FASTEST = NodeOptions.fast(channels=evolve(NodeOptions.fast().channels, **_CHANNELS))


def _seconds(owner: Any, attribute: Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= 86_400:
        name = type(owner).__name__
        raise UsageError(f"{name}.{attribute.name} must be a number of seconds from 0.001 to 86400, not {value!r}")


def _optional_seconds(owner: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        _seconds(owner, attribute, value)


@frozen
class RaftConfig:
    """The pace of Raft, in seconds. The same on all nodes. Raises `UsageError` for what makes no sense.

    All other times of the cluster follow it, unless they are set themselves: with `RaftConfig(0.05, 0.1, 0.2)` the work
    of a node that crashed is taken up by another within about half a second, and with the defaults within three to
    five seconds. Whoever wants it fast needs machines and a network that do not pause for that long.
    """

    heartbeat_interval: float = field(default=0.3, validator=_seconds)
    """How often the leader makes itself heard."""
    election_timeout_min: float = field(default=1.0, validator=_seconds)
    """The shortest silence after which another node tries to become leader."""
    election_timeout_max: float = field(default=2.0, validator=_seconds)
    """The longest."""

    def __attrs_post_init__(self) -> None:
        try:
            self.options()
        except ValueError as error:
            raise UsageError(f"RaftConfig: {error}") from error

    def options(self) -> RaftOptions:
        """The same for the machine."""
        return RaftOptions(
            heartbeat_interval_ns=nanoseconds(self.heartbeat_interval),
            election_timeout_min_ns=nanoseconds(self.election_timeout_min),
            election_timeout_max_ns=nanoseconds(self.election_timeout_max),
        )


@frozen
class GossipConfig:
    """The pace of SWIM, which finds out who is alive, in seconds. `None` follows `RaftConfig`. The same on all nodes.

    Raises `UsageError` for what makes no sense.
    """

    probe_interval: float | None = field(default=None, validator=_optional_seconds)
    """How often a node looks whether another one is alive."""
    probe_timeout: float | None = field(default=None, validator=_optional_seconds)
    """How long it waits for a sign until others are asked to look."""
    gossip_interval: float | None = field(default=None, validator=_optional_seconds)
    """How often news is passed on."""

    def applied_to(self, options: SwimOptions) -> SwimOptions:
        """The options of the machine with these times in them. Raises `UsageError`."""
        given: dict[str, Any] = {
            f"{name}_ns": nanoseconds(value) for name, value in attrs.asdict(self).items() if value is not None
        }
        try:
            return evolve(options, **given)
        except ValueError as error:
            raise UsageError(f"GossipConfig: {error}") from error


def _count(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if type(value) is not int:
        raise UsageError(f"ReplicationConfig.{attribute.name} must be a whole number, not {value!r}")


@frozen
class ReplicationConfig:
    """How the states of a sharded type or of a singleton are kept. Raises `UsageError` for what makes no sense.

    `sync_count` backups besides the owner have the state of an entity before what its handler said is said: 0 waits
    for none, -1 for all there are. What cannot be had within `timeout` raises `ReplicationError`.
    """

    factor: int = field(default=1, validator=_count)
    """How many copies there are, the owner's included."""
    sync_count: int = field(default=0, validator=_count)
    timeout: float = field(default=5.0, validator=_seconds)
    """How long a write waits for its backups, in seconds."""

    def __attrs_post_init__(self) -> None:
        if self.factor < 1:
            raise UsageError(f"ReplicationConfig.factor must be at least 1, not {self.factor}")
        if not -1 <= self.sync_count < self.factor:
            raise UsageError(
                f"ReplicationConfig.sync_count must be from -1 (all) to {self.factor - 1}, one less than factor, since "
                f"the owner counts in factor; not {self.sync_count}"
            )


def node_options(raft: RaftConfig | None, gossip: GossipConfig | None) -> NodeOptions:
    """The options of a node. What was not set lies between the fast ones and the defaults, as the elections do."""
    if raft is None:
        options = _SLOWEST
    else:
        machine = raft.options()
        low, high = _FASTEST.raft.election_timeout_max_ns, _SLOWEST.raft.election_timeout_max_ns
        part = min(1.0, max(0.0, (machine.election_timeout_max_ns - low) / (high - low)))
        options = evolve(_between(_FASTEST, _SLOWEST, part), raft=machine)
    return options if gossip is None else evolve(options, swim=gossip.applied_to(options.swim))


def _between(low: Any, high: Any, part: float) -> Any:
    """Options whose times are so far on the way from one to the other."""
    changes: dict[str, Any] = {}
    for each in attrs.fields(type(low)):
        one, other = getattr(low, each.name), getattr(high, each.name)
        if one == other:
            continue
        if attrs.has(type(one)):
            changes[each.name] = _between(one, other, part)
        elif each.name.endswith("_ns"):
            changes[each.name] = int(one + (other - one) * part)
    return evolve(high, **changes)


def check_count(what: str, value: Any) -> None:
    """Raises `UsageError` for what is no number of nodes or actors to wait for."""
    if type(value) is not int or value < 0:
        raise UsageError(f"{what} must be a whole number, 0 or more, not {value!r}")


def check_timeout(what: str, value: Any) -> None:
    """Raises `UsageError` for what is no time to wait."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        raise UsageError(f"{what} must be a number of seconds, 0 or more, not {value!r}")
