"""What an application says about failures, in seconds, and its translation for the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from casty_proto.actor import MultiChildStrategy, Policy, SupervisionStrategy
from casty_proto.machine import nanoseconds

from .clock import MAX_SECONDS, can_wait


def _nanoseconds(name: str, seconds: Any, *, above_zero: bool = False) -> int:
    if not isinstance(seconds, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {seconds!r}")
    if not can_wait(seconds) or (above_zero and seconds == 0):
        least = "more than 0" if above_zero else "0 or more"
        raise ValueError(f"{name} must be a number of seconds, {least} and at most {MAX_SECONDS:g}, not {seconds!r}")
    return nanoseconds(seconds)


@frozen
class SupervisorConfig:
    """What to do when an actor fails. Lengths of time in seconds.

    `max_restarts` restarts are granted within any `within_seconds`; the next failure stops the actor. `None` grants any
    number. The n-th restart within the window waits `backoff_initial * backoff_multiplier ** (n - 1)`, at most
    `backoff_max`, shortened at random by up to `jitter` (a fraction), so that actors that failed together do not come
    back together. `decider` chooses the strategy by the exception. `multi_child` extends the decision to siblings.

    Raises `ValueError` or `TypeError` for values that make no sense.
    """

    strategy: SupervisionStrategy = SupervisionStrategy.RESTART
    max_restarts: int | None = 3
    within_seconds: float = 60.0
    backoff_initial: float = 0.1
    backoff_max: float = 30.0
    backoff_multiplier: float = 2.0
    decider: Callable[[Exception], SupervisionStrategy] | None = None
    multi_child: MultiChildStrategy = MultiChildStrategy.ONE_FOR_ONE
    jitter: float = 0.1
    policy: Policy = field(init=False, repr=False, eq=False)
    """The same for the engine."""

    @policy.default
    def _policy(self) -> Policy:
        try:
            for name in ("backoff_multiplier", "jitter"):
                if not isinstance(value := getattr(self, name), int | float):
                    raise TypeError(f"{name} must be a number, not {value!r}")
            if self.decider is not None and not callable(self.decider):
                raise TypeError(f"decider must be a function of the exception, or None, not {self.decider!r}")
            return Policy(
                strategy=self.strategy,
                max_restarts=self.max_restarts,
                within_ns=_nanoseconds("within_seconds", self.within_seconds, above_zero=True),
                backoff_initial_ns=_nanoseconds("backoff_initial", self.backoff_initial),
                backoff_max_ns=_nanoseconds("backoff_max", self.backoff_max),
                backoff_multiplier=self.backoff_multiplier,
                jitter=self.jitter,
                decider=self.decider,
                multi_child=self.multi_child,
            )
        except (TypeError, ValueError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"SupervisorConfig: {error.args[0] if error.args else error}") from error


def OneForOneStrategy(
    max_restarts: int | None = 3,
    within: float = 60.0,
    decider: Callable[[Exception], SupervisionStrategy] | None = None,
) -> SupervisorConfig:
    """A policy for one child alone that restarts it at once. `within` in seconds."""
    return SupervisorConfig(max_restarts=max_restarts, within_seconds=within, decider=decider, backoff_initial=0.0)


DEFAULT_FOR_CLASSES = SupervisorConfig()
"""What applies to a class actor that says nothing itself."""

_ATTRIBUTE = "__casty_supervision__"


def supervised[T: type[Any]](
    strategy: SupervisionStrategy = SupervisionStrategy.RESTART,
    max_restarts: int | None = 3,
    within_seconds: float = 60.0,
    backoff_initial: float = 0.1,
    backoff_max: float = 30.0,
    backoff_multiplier: float = 2.0,
    *,
    decider: Callable[[Exception], SupervisionStrategy] | None = None,
    multi_child: MultiChildStrategy = MultiChildStrategy.ONE_FOR_ONE,
    jitter: float = 0.1,
) -> Callable[[T], T]:
    """Class decorator: the policy for the failures of this actor, unless `spawn(supervision=...)` names another.

    The parameters are those of `SupervisorConfig`. A subclass inherits the policy.
    """
    config = SupervisorConfig(
        strategy=strategy,
        max_restarts=max_restarts,
        within_seconds=within_seconds,
        backoff_initial=backoff_initial,
        backoff_max=backoff_max,
        backoff_multiplier=backoff_multiplier,
        decider=decider,
        multi_child=multi_child,
        jitter=jitter,
    )

    def decorate(cls: T) -> T:
        setattr(cls, _ATTRIBUTE, config)
        return cls

    return decorate


def policy_of_class(cls: type[Any]) -> Policy:
    """The policy that `@supervised` gave to the class or to one of its bases, or the default for classes."""
    config: SupervisorConfig = getattr(cls, _ATTRIBUTE, DEFAULT_FOR_CLASSES)
    return config.policy
