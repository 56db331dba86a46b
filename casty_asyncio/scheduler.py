"""Timed messages: once after a delay, or again and again."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from casty_proto.actor import SAME, UNHANDLED, Behavior, Receive
from casty_proto.machine import Instant, Nanoseconds, nanoseconds

from .arguments import check_key, check_ref, check_seconds, is_delay, is_interval, is_key, is_ref
from .errors import MailboxFullError, NotSendableError
from .events import is_gone
from .generic import Plain
from .refs import ActorRef

if TYPE_CHECKING:
    from .runtime import Runtime


@frozen
class SchedulerMsg:
    """The base of what the scheduler understands."""


@frozen
class ScheduleOnce[M](SchedulerMsg):
    """Message to the scheduler: send `message` to `target` after `delay` seconds. Raises `UsageError`."""

    key: Hashable = field(validator=is_key)
    target: ActorRef[M] = field(validator=is_ref)
    message: M | Plain
    delay: float = field(validator=is_delay)


@frozen
class ScheduleTick[M](SchedulerMsg):
    """Message to the scheduler: send `message` to `target` every `interval` seconds. Raises `UsageError`."""

    key: Hashable = field(validator=is_key)
    target: ActorRef[M] = field(validator=is_ref)
    message: M | Plain
    interval: float = field(validator=is_interval)


@frozen
class CancelSchedule(SchedulerMsg):
    """Message to the scheduler: forget what was scheduled under `key`."""

    key: Hashable = field(validator=is_key)


class Timers:
    """The timers of the system, or those of one actor. A key has one timer; a new one replaces the old."""

    __slots__ = ("_runtime", "_timers")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._timers: dict[Hashable, _Timer] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def schedule(self, key: Hashable, target: ActorRef[Any], message: Any, delay: float) -> None:
        """Send `message` once, after `delay` seconds. Raises `UsageError` without having changed anything."""
        self._check("schedule", key, target)
        check_seconds(f"schedule({key!r}): the delay", delay)
        self._start(key, target, message, nanoseconds(delay), 0)

    def tick(self, key: Hashable, target: ActorRef[Any], message: Any, interval: float) -> None:
        """Send `message` every `interval` seconds, the first time after one interval. Late ticks do not pile up.

        Raises `UsageError` without having changed anything.
        """
        self._check("tick", key, target)
        check_seconds(f"tick({key!r}): the interval", interval, above_zero=True)
        interval_ns = max(1, nanoseconds(interval))
        self._start(key, target, message, interval_ns, interval_ns)

    def cancel(self, key: Hashable) -> bool:
        """Forget a timer. Nothing is sent after this. False when there was none."""
        check_key("the key of a timer", key)
        self._runtime.check_thread()
        timer = self._timers.pop(key, None)
        if timer is None:
            return False
        self._runtime.clock.cancel(timer)
        return True

    def clear(self) -> None:
        """Forget all of them."""
        for key in list(self._timers):
            self.cancel(key)

    def _check(self, what: str, key: Hashable, target: ActorRef[Any]) -> None:
        self._runtime.check_thread()
        check_key(f"{what}: the key", key)
        check_ref(f"{what}({key!r}): the target", target)

    def _start(
        self, key: Hashable, target: ActorRef[Any], message: Any, delay_ns: Nanoseconds, interval_ns: Nanoseconds
    ) -> None:
        self.cancel(key)
        clock = self._runtime.clock
        timer = self._timers[key] = _Timer(self, key, target, message, clock.now() + delay_ns, interval_ns)
        clock.set_at(timer, timer.at)

    def fire(self, timer: _Timer, now: Instant) -> None:
        """A timer is due."""
        if timer.interval_ns and not is_gone(timer.target):
            # In step with the first tick, whatever was missed: a loop that was busy must not catch up in a burst.
            missed = (now - timer.at) // timer.interval_ns
            timer.at += (missed + 1) * timer.interval_ns
            self._runtime.clock.set_at(timer, timer.at)
        else:
            del self._timers[timer.key]
        try:
            timer.target.tell(timer.message)
        except (MailboxFullError, NotSendableError) as error:
            self._runtime.log.warning("timer %r: %s", timer.key, error)


class _Timer:
    """One deadline of the scheduler."""

    __slots__ = ("_timers", "at", "interval_ns", "key", "message", "target")

    def __init__(
        self, timers: Timers, key: Hashable, target: ActorRef[Any], message: Any, at: Instant, interval_ns: Nanoseconds
    ) -> None:
        self._timers = timers
        self.key = key
        self.target = target
        self.message = message
        self.at = at
        self.interval_ns = interval_ns

    def on_due(self, now: Instant) -> None:
        self._timers.fire(self, now)


def scheduler(timers: Timers) -> Behavior[SchedulerMsg]:
    """The actor `/_scheduler`, for those who would rather send a message than call the system."""

    def receive(_: Any, message: object) -> Behavior[SchedulerMsg]:
        match message:
            case ScheduleOnce(key, target, what, delay):
                timers.schedule(key, target, what, delay)
            case ScheduleTick(key, target, what, interval):
                timers.tick(key, target, what, interval)
            case CancelSchedule(key):
                timers.cancel(key)
            case _:
                return UNHANDLED
        return SAME

    return Receive(receive)
