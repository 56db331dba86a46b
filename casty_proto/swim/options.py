"""What can be set for a member."""

from __future__ import annotations

from typing import Any, Self

from attrs import Attribute, field, frozen
from attrs.validators import ge, instance_of, optional

from ..machine import MILLISECOND, SECOND, Nanoseconds
from .sizes import MESSAGE_MIN

_HOUR = 3600 * SECOND


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

    probe_interval_ns: Nanoseconds = field(default=SECOND, validator=[instance_of(int), ge(1)])
    """One member is probed in each of these. SWIM's protocol period: at least three round trips."""
    probe_timeout_ns: Nanoseconds = field(
        default=500 * MILLISECOND, validator=[instance_of(int), ge(1), _within_interval]
    )
    """How long the direct ping waits, before others are asked to try."""
    indirect_probes: int = field(default=3, validator=[instance_of(int), ge(0)])
    """How many others are asked. SWIM's k."""
    awareness_max: int = field(default=8, validator=[instance_of(int), ge(1)])
    """How many scores local health has, from 0 up. Lifeguard's S. 1 turns it off."""
    suspicion_mult: int = field(default=4, validator=[instance_of(int), ge(1)])
    """The shortest time from suspicion to death, in probe intervals times log10 n. Lifeguard's alpha."""
    suspicion_max_mult: int = field(default=6, validator=[instance_of(int), ge(1)])
    """The longest, in shortest ones. Lifeguard's beta. 1 makes the time fixed, as in SWIM."""
    confirmations: int | None = field(default=None, validator=optional([instance_of(int), ge(0)]))
    """How many independent confirmations bring the time down to the shortest. Lifeguard's K. `None`: two less than
    `suspicion_mult`."""
    buddy: bool = field(default=True, validator=instance_of(bool))
    """Whether whoever is suspected is told so in whatever it is sent. Lifeguard's buddy system."""
    retransmit_mult: int = field(default=4, validator=[instance_of(int), ge(1)])
    """How often an update is passed on by each member, times log10 n. SWIM's lambda."""
    gossip_interval_ns: Nanoseconds = field(default=200 * MILLISECOND, validator=[instance_of(int), ge(1)])
    """How often news is sent out by itself, while there is any."""
    gossip_nodes: int = field(default=3, validator=[instance_of(int), ge(1)])
    """To how many members each time."""
    gossip_to_dead_ns: Nanoseconds = field(default=30 * SECOND, validator=[instance_of(int), ge(0)])
    """How long a dead member is still sent gossip, so that it can object."""
    sync_interval_ns: Nanoseconds = field(default=30 * SECOND, validator=[instance_of(int), ge(1)])
    """How often full states are compared with another member, in a cluster of up to 32. Memberlist's push-pull."""
    reclaim_ns: Nanoseconds = field(default=24 * _HOUR, validator=[instance_of(int), ge(1)])
    """How long a member that died or left is remembered. After that its name is free. Longer than any partition that
    is to heal without seeds."""
    message_limit: int = field(default=MESSAGE_MIN, validator=[instance_of(int), ge(MESSAGE_MIN)])
    """The estimated size that no message exceeds, in bytes."""

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
