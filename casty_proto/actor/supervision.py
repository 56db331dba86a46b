"""Supervision as pure arithmetic: who decides, how often an actor may restart, and how long it waits before.

The vocabulary is that of Erlang/OTP's supervisors (one-for-one, one-for-all, rest-for-one; restart intensity within a
period) and of Akka's (restart, stop, escalate; exponential backoff).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Any

from attrs import field, frozen
from attrs.validators import ge, gt, instance_of, is_callable, le, optional

from ..machine import MILLISECOND, SECOND, Instant, Nanoseconds


def _count_or_none(_: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be a whole number, or None for no limit, not {value!r}")
    if value < 0:
        raise ValueError(f"{attribute.name} must be 0 or more, or None for no limit, not {value}")


_REMEMBERED = 64
"""How many restarts an unlimited policy remembers. Its back-off grows no further after so many."""


class SupervisionStrategy(Enum):
    """What is done about an actor whose handler or hook raised."""

    RESTART = "restart"
    """A new incarnation takes over the mailbox; the message that failed is dropped."""
    STOP = "stop"
    """The actor stops."""
    ESCALATE = "escalate"
    """The failure becomes the parent's own, and the parent's policy decides about the parent."""


class MultiChildStrategy(Enum):
    """Whom the decision about a failing child concerns."""

    ONE_FOR_ONE = "one_for_one"
    """The failing child alone."""
    ONE_FOR_ALL = "one_for_all"
    """All children of its parent."""
    REST_FOR_ONE = "rest_for_one"
    """The failing child and those that were spawned after it."""


@frozen
class Policy:
    """What to do when an actor fails. All lengths of time are in nanoseconds.

    `max_restarts` restarts are granted within any `within_ns`; the next failure stops the actor. `None` means that
    there is no limit. The first restart within the window waits `backoff_initial_ns`, and each further one
    `backoff_multiplier` times as long, at most `backoff_max_ns`; all of it shortened by a random part of up to
    `jitter`, from 0.0 to 1.0, so that actors that failed together do not come back together. `decider`, where there is
    one, is asked for the strategy instead of `strategy`. `multi_child` says whom the decision concerns. Raises
    `TypeError` or `ValueError` for what makes no sense.
    """

    strategy: SupervisionStrategy = field(
        default=SupervisionStrategy.RESTART, validator=instance_of(SupervisionStrategy)
    )
    max_restarts: int | None = field(default=3, validator=_count_or_none)
    within_ns: Nanoseconds = field(default=60 * SECOND, validator=gt(0))
    backoff_initial_ns: Nanoseconds = field(default=100 * MILLISECOND, validator=ge(0))
    backoff_max_ns: Nanoseconds = field(default=30 * SECOND, validator=ge(0))
    backoff_multiplier: float = field(default=2.0, validator=ge(1.0))
    jitter: float = field(default=0.1, validator=[ge(0.0), le(1.0)])
    decider: Callable[[Exception], SupervisionStrategy] | None = field(default=None, validator=optional(is_callable()))
    multi_child: MultiChildStrategy = field(
        default=MultiChildStrategy.ONE_FOR_ONE, validator=instance_of(MultiChildStrategy)
    )

    def decide(self, error: Exception) -> SupervisionStrategy:
        """The strategy for `error`. Whatever the decider raises goes through; the machine turns it into a stop."""
        if self.decider is None:
            return self.strategy
        verdict = self.decider(error)
        if not isinstance(verdict, SupervisionStrategy):
            raise TypeError(f"the decider returned {verdict!r}; it must return a SupervisionStrategy")
        return verdict

    def backoff_ns(self, nth: int, rng: Random) -> Nanoseconds:
        """How long the `nth` restart (counted from 1) within the window waits."""
        if self.backoff_initial_ns == 0:
            return 0
        try:
            delay = min(self.backoff_initial_ns * float(self.backoff_multiplier) ** (nth - 1), self.backoff_max_ns)
        except OverflowError:
            delay = self.backoff_max_ns
        return round(delay * (1.0 - self.jitter * rng.random()))


STOP_ON_FAILURE = Policy(strategy=SupervisionStrategy.STOP)
"""What applies to a behavior that nobody supervises."""


class RestartWindow:
    """The restarts of one actor that still count: a sliding window over instants."""

    __slots__ = ("_instants",)

    def __init__(self) -> None:
        self._instants: deque[Instant] = deque()

    def grant(self, policy: Policy, now: Instant) -> int | None:
        """Count one more restart at `now`. Returns which one it is within the window, or `None` past the limit.

        A restart that is refused is not counted.
        """
        instants = self._instants
        while instants and instants[0] + policy.within_ns <= now:
            instants.popleft()
        if policy.max_restarts is not None and len(instants) >= policy.max_restarts:
            return None
        instants.append(now)
        if len(instants) > _REMEMBERED and policy.max_restarts is None:
            instants.popleft()
        return len(instants)


def describe(policy: Policy) -> str:
    """The limit of a policy in words, for messages that people read."""
    limit = "any number of" if policy.max_restarts is None else str(policy.max_restarts)
    return f"{limit} restarts within {policy.within_ns / SECOND:g} s"
