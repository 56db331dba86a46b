"""What can be set for either end of a stream."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen
from attrs.validators import ge, instance_of, le, optional

from ..machine import SECOND, Nanoseconds
from .messages import MAX_DEMAND


@frozen
class PublisherOptions:
    """How a producer behaves. Raises `ValueError` or `TypeError` for what makes no sense."""

    buffer_size: int = field(default=64, validator=[instance_of(int), ge(0)])
    """How many elements may wait to be sent. 0: any number."""
    subscription_timeout_ns: Nanoseconds | None = field(default=None, validator=optional([instance_of(int), ge(0)]))
    """How long to wait for a consumer. `None`: for ever."""
    resume_timeout_ns: Nanoseconds = field(default=30 * SECOND, validator=[instance_of(int), ge(0)])
    """How long to wait for a consumer whose link was lost, or who has not yet acknowledged the end."""
    max_retained: int = field(default=1024, validator=[instance_of(int), ge(0)])
    """The most unacknowledged elements that are kept for a consumer, whatever it asks for."""
    max_batch: int = field(default=256, validator=[instance_of(int), ge(1)])
    """The most elements that one call sends."""


def _within_window(options: SubscriberOptions, attribute: Attribute[Any], value: int | None) -> None:
    if value is not None and not 1 <= value <= options.window:
        raise ValueError(f"{attribute.name} must be between 1 and the window of {options.window}, not {value}")


@frozen
class SubscriberOptions:
    """How a consumer behaves. Raises `ValueError` or `TypeError` for what makes no sense."""

    window: int = field(default=16, validator=[instance_of(int), ge(1), le(MAX_DEMAND)])
    """The most elements that are requested or buffered and not yet consumed."""
    replenish_at: int | None = field(default=None, validator=[optional(instance_of(int)), _within_window])
    """How many consumed elements make a new demand. `None`: half of the window, rounded up."""
    batch: bool = True
    """Whether to ask for several elements in one message."""
    resumable: bool = False
    """Whether to ask the producer to retain elements, so that the stream outlives a broken link."""
    inactivity_timeout_ns: Nanoseconds | None = field(default=None, validator=optional([instance_of(int), ge(0)]))
    """How long a waiting user is left without a sign of the producer. `None`: for ever."""
    accept_timeout_ns: Nanoseconds = field(default=30 * SECOND, validator=[instance_of(int), ge(0)])
    """How long the producer may take to accept."""
    resume_timeout_ns: Nanoseconds = field(default=30 * SECOND, validator=[instance_of(int), ge(0)])
    """How long to wait for a new link, and for the producer to resume over it."""
    grace_ns: Nanoseconds = field(default=2 * SECOND, validator=[instance_of(int), ge(0)])
    """How long after the news of the producer's death its last messages may still arrive. 0 where none can."""

    @property
    def threshold(self) -> int:
        """How many consumed elements make a new demand."""
        return self.replenish_at or (self.window + 1) // 2
