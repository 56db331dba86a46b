"""What can be set for a member.

Every option has a smallest and a largest value. The largest are far beyond any use, and such that nothing that follows
from them gets out of hand: no length of time in the machine is longer than 2**60 ns, so that a clock that begins near
0 stays below 2**63 for two centuries, and no message, list or table grows but by what the network holds.
"""

from __future__ import annotations

from typing import Any, Self

from attrs import Attribute, field, frozen
from attrs.validators import ge, instance_of, le, optional

from ..machine import MILLISECOND, SECOND, Nanoseconds
from .sizes import MESSAGE_MIN

_HOUR = 3600 * SECOND
_DAY = 24 * _HOUR

INTERVAL_MAX: Nanoseconds = _HOUR
"""The longest probe interval, probe timeout and gossip interval."""
MULTIPLIER_MAX = 100
"""The highest multiplier, and the largest number of helpers, receivers, confirmations and scores."""
MEMBERS_LIMIT = 1_000_000
"""The highest `max_members`."""
MESSAGE_MAX = 2**20
"""The highest `message_limit`, in bytes."""


def _whole(least: int, most: int) -> list[Any]:
    return [instance_of(int), ge(least), le(most)]


def _within_interval(options: SwimOptions, attribute: Attribute[Any], value: Nanoseconds) -> None:
    if value >= options.probe_interval_ns:
        raise ValueError(
            f"{attribute.name} must be shorter than the probe interval of {options.probe_interval_ns}, not {value}"
        )


@frozen(kw_only=True)
class SwimOptions:
    """How a member behaves. All members of a cluster should have the same. Raises `ValueError` or `TypeError`.

    The defaults are those that memberlist publishes for a local network. `wan` and `local` give its two other sets.
    """

    probe_interval_ns: Nanoseconds = field(default=SECOND, validator=_whole(1, INTERVAL_MAX))
    """One member is probed in each of these: SWIM's protocol period. At least three round trips, at most an hour."""
    probe_timeout_ns: Nanoseconds = field(
        default=500 * MILLISECOND, validator=[*_whole(1, INTERVAL_MAX), _within_interval]
    )
    """How long the direct ping waits, before others are asked to try. Shorter than the interval."""
    indirect_probes: int = field(default=3, validator=_whole(0, MULTIPLIER_MAX))
    """How many others are asked, up to 100. SWIM's k."""
    awareness_max: int = field(default=8, validator=_whole(1, MULTIPLIER_MAX))
    """How many scores local health has, from 0 up: at most 100. Lifeguard's S. 1 turns it off."""
    suspicion_mult: int = field(default=4, validator=_whole(1, MULTIPLIER_MAX))
    """The shortest time from suspicion to death, in probe intervals times log10 n: up to 100. Lifeguard's alpha."""
    suspicion_max_mult: int = field(default=6, validator=_whole(1, MULTIPLIER_MAX))
    """The longest, in shortest ones: up to 100. Lifeguard's beta. 1 makes the time fixed, as in SWIM."""
    confirmations: int | None = field(default=None, validator=optional(_whole(0, MULTIPLIER_MAX)))
    """How many independent confirmations bring the time down to the shortest, up to 100. Lifeguard's K. `None`: two
    less than `suspicion_mult`."""
    buddy: bool = field(default=True, validator=instance_of(bool))
    """Whether whoever is suspected is told so in whatever it is sent. Lifeguard's buddy system."""
    retransmit_mult: int = field(default=4, validator=_whole(1, MULTIPLIER_MAX))
    """How often an update is passed on by each member, times log10 n: up to 100. SWIM's lambda."""
    gossip_interval_ns: Nanoseconds = field(default=200 * MILLISECOND, validator=_whole(1, INTERVAL_MAX))
    """How often news is sent out by itself, while there is any. Up to an hour."""
    gossip_nodes: int = field(default=3, validator=_whole(1, MULTIPLIER_MAX))
    """To how many members each time, up to 100."""
    gossip_to_dead_ns: Nanoseconds = field(default=30 * SECOND, validator=_whole(0, _DAY))
    """How long a dead member is still sent gossip, so that it can object. Up to a day."""
    sync_interval_ns: Nanoseconds = field(default=30 * SECOND, validator=_whole(1, _DAY))
    """How often full states are compared with another member, in a cluster of up to 32. Up to a day. Memberlist's
    push-pull."""
    reclaim_ns: Nanoseconds = field(default=_DAY, validator=_whole(1, 366 * _DAY))
    """How long a member that died or left is remembered. After that its name is free. Longer than any partition that
    is to heal without seeds; up to 366 days."""
    max_members: int = field(default=10_000, validator=_whole(1, MEMBERS_LIMIT))
    """How many are known at most, oneself, the dead and the left included; up to 1,000,000. Several times the size of
    the cluster. It bounds the memory that strangers can take up by inventing members."""
    message_limit: int = field(default=MESSAGE_MIN, validator=_whole(MESSAGE_MIN, MESSAGE_MAX))
    """The estimated size that no message exceeds, in bytes. From 1400 to 2**20."""

    @property
    def confirmations_wanted(self) -> int:
        """`confirmations`, or its default."""
        return max(0, self.suspicion_mult - 2) if self.confirmations is None else self.confirmations

    @classmethod
    def wan(cls, **changes: Any) -> Self:
        """Memberlist's numbers for networks with long and varying delays."""
        return cls(
            **{
                "probe_interval_ns": 5 * SECOND,
                "probe_timeout_ns": 3 * SECOND,
                "suspicion_mult": 6,
                "gossip_interval_ns": 500 * MILLISECOND,
                "gossip_nodes": 4,
                "gossip_to_dead_ns": 60 * SECOND,
                "sync_interval_ns": 60 * SECOND,
                **changes,
            }
        )

    @classmethod
    def local(cls, **changes: Any) -> Self:
        """Memberlist's numbers for nodes of one machine."""
        return cls(
            **{
                "probe_timeout_ns": 200 * MILLISECOND,
                "indirect_probes": 1,
                "suspicion_mult": 3,
                "retransmit_mult": 2,
                "gossip_interval_ns": 100 * MILLISECOND,
                "gossip_to_dead_ns": 15 * SECOND,
                "sync_interval_ns": 15 * SECOND,
                **changes,
            }
        )
