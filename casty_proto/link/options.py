"""What can be set for a link."""

from __future__ import annotations

from typing import Any

from attrs import Factory, field, frozen
from attrs.validators import ge, instance_of, le

from ..machine import MILLISECOND, SECOND, Nanoseconds

_DURATION = [instance_of(int), ge(1), le(10**7 * SECOND)]
_COUNT = [instance_of(int), ge(1), le(2**40)]


def _some_bytes(options: Any) -> int:
    """Enough for a good pace. No more than 256 KiB, since the peer may keep less than this node does."""
    return min(2**18, max(1, options.max_bytes // 8)) if isinstance(options.max_bytes, int) else 1


@frozen
class LinkOptions:
    """How long a link waits for what, and how much it keeps. Raises `ValueError` or `TypeError` for what cannot be."""

    backoff_min_ns: Nanoseconds = field(default=50 * MILLISECOND, validator=_DURATION)
    """The longest pause after the first attempt to dial that failed; a pause is between half of it and all of it."""
    backoff_max_ns: Nanoseconds = field(default=2 * SECOND, validator=_DURATION)
    """The longest pause between two attempts."""
    lost_after_ns: Nanoseconds = field(default=30 * SECOND, validator=_DURATION)
    """How long a peer may be out of reach."""
    refused_after_ns: Nanoseconds = field(default=2 * SECOND, validator=_DURATION)
    """How long a peer may refuse connections: nobody listens at its address."""
    ping_after_ns: Nanoseconds = field(default=2 * SECOND, validator=_DURATION)
    """How long nothing may be heard before the peer is asked for a sign."""
    mute_after_ns: Nanoseconds = field(default=10 * SECOND, validator=_DURATION)
    """How long nothing may be heard before the connection is closed."""
    idle_after_ns: Nanoseconds = field(default=300 * SECOND, validator=_DURATION)
    """How long a connection stays open that nobody needs."""
    ack_after_ns: Nanoseconds = field(default=20 * MILLISECOND, validator=_DURATION)
    """How long an acknowledgement may wait for more to acknowledge."""
    ack_every: int = field(default=64, validator=_COUNT)
    """How many frames are acknowledged at once."""
    max_frames: int = field(default=2**17, validator=_COUNT)
    """How many frames are kept that the peer has not acknowledged."""
    max_bytes: int = field(default=64 * 2**20, validator=_COUNT)
    """How many bytes of them."""
    ack_bytes: int = field(default=Factory(_some_bytes, takes_self=True), validator=_COUNT)
    """How many bytes are acknowledged at once. The default is an eighth of `max_bytes`, and at most 256 KiB."""
    reserve: int = field(default=4, validator=[instance_of(int), ge(1), le(64)])
    """How many times these limits news and answers may use."""

    def __attrs_post_init__(self) -> None:
        if self.backoff_max_ns < self.backoff_min_ns:
            raise ValueError(f"backoff_max_ns must be at least backoff_min_ns, {self.backoff_min_ns}")
        if self.mute_after_ns <= self.ping_after_ns:
            raise ValueError(f"mute_after_ns must be more than ping_after_ns, {self.ping_after_ns}")
        if self.max_frames < 2 * self.ack_every:
            raise ValueError(f"max_frames must be at least twice ack_every, {self.ack_every}")
        if self.max_bytes < self.ack_bytes:
            raise ValueError(f"max_bytes must be at least ack_bytes, {self.ack_bytes}")
