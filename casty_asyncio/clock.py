"""One table of deadlines and one alarm for everything that waits: asks, timers, and the engine's back-offs.

Most asks are answered long before their timeout. Their deadlines therefore spend their first `NURSERY_SECONDS` in a
plain dictionary, the nursery, and only those that are still waited for then come into the table. Nothing is due later
for that: what is due within twice that time goes into the table at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from casty_proto.machine import MILLISECOND, SECOND, Instant, nanoseconds
from casty_proto.timers import Deadlines

NURSERY_SECONDS = 0.05


MAX_SECONDS = 1e9
"""The longest time that can be waited for, about 30 years: event loops cannot count further."""


def can_wait(seconds: Any) -> bool:
    """Whether an event loop can wait so long: a number from 0 to `MAX_SECONDS`, and no other value whatsoever."""
    try:
        return bool(0 <= seconds <= MAX_SECONDS)
    except TypeError:
        return False


class Due(Protocol):
    """Something that has a deadline. Hashed by identity."""

    def __hash__(self) -> int: ...

    def on_due(self, now: Instant) -> None:
        """The deadline has come. Must not raise."""
        ...


class Clock:
    """The deadlines of one actor system, on the clock of its event loop.

    `machine_deadline` and `wake` belong to the engine: its own next deadline, and what to call when it has come.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        machine_deadline: Callable[[], Instant | None],
        wake: Callable[[Instant], None],
    ) -> None:
        self._loop = loop
        self._table: Deadlines[Due] = Deadlines()
        self._machine_deadline = machine_deadline
        self._wake = wake
        self._alarm: asyncio.TimerHandle | None = None
        self._armed: Instant | None = None
        self._ringing = False
        self._closed = False
        self._young: dict[Due, float] = {}
        """The nursery: deadlines in seconds of the loop's clock."""
        self._growing_up = _GrowingUp(self)
        self._has_alarm_for_young = False

    def __len__(self) -> int:
        return len(self._table) + len(self._young) - self._has_alarm_for_young

    def now(self) -> Instant:
        """The current instant."""
        # Rounded: cut off, it could be a nanosecond before an alarm that is due, which would be set again for nothing.
        return int(self._loop.time() * SECOND + 0.5)

    def set(self, due: Due, delay: float) -> None:
        """Call `due.on_due` after `delay` seconds; replaces its earlier deadline."""
        self.set_at(due, self.now() + nanoseconds(delay))

    def expect(self, due: Due, delay: float) -> None:
        """As `set`, for what will most likely be forgotten soon. End it with `forget`."""
        if delay < 2 * NURSERY_SECONDS:
            self.set(due, delay)
            return
        self._young[due] = self._loop.time() + delay
        if not self._has_alarm_for_young:
            self._has_alarm_for_young = True
            self.set(self._growing_up, NURSERY_SECONDS)

    def forget(self, due: Due) -> None:
        """Forget what `expect` was told."""
        if self._young.pop(due, None) is None:
            self._table.cancel(due)

    def grow_up(self) -> None:
        """Those that are still in the nursery come into the table."""
        self._has_alarm_for_young = False
        young, self._young = self._young, {}
        for due, at in young.items():
            self.set_at(due, nanoseconds(at))

    def set_at(self, due: Due, at: Instant) -> None:
        """Call `due.on_due` at the instant `at`; replaces its earlier deadline."""
        self._table.set(due, at)
        if self._armed is None or at < self._armed:
            self._arm(at)

    def cancel(self, due: Due) -> None:
        """Forget the deadline of `due`. The alarm is left alone: ringing for nothing once is cheaper."""
        self._table.cancel(due)

    def machine_changed(self) -> None:
        """The engine's deadline may have become earlier."""
        if (at := self._machine_deadline()) is not None and (self._armed is None or at < self._armed):
            self._arm(at)

    def close(self) -> None:
        """Forget everything, and what is yet to come; leaves no alarm behind."""
        self._closed = True
        self._table.clear()
        self._young.clear()
        self._has_alarm_for_young = False
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._armed = None

    def _arm(self, at: Instant) -> None:
        if self._ringing or self._closed:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._armed = at
        self._alarm = self._loop.call_at(at / SECOND, self._ring)

    def _ring(self) -> None:
        self._alarm = self._armed = None
        self._ringing = True
        now = self.now()
        try:
            for due in self._table.due(now):
                due.on_due(now)
            self._wake(now)
        finally:
            self._ringing = False
            self._rearm(now)

    def _rearm(self, now: Instant) -> None:
        ours, machines = self._table.earliest(), self._machine_deadline()
        if ours is None or (machines is not None and machines < ours):
            ours = machines
        if ours is None:
            return
        if now < ours < now + MILLISECOND:
            # Loops that count in milliseconds ring up to one too early: again and again until it is time.
            ours = -(-ours // MILLISECOND) * MILLISECOND
        self._arm(ours)


class _GrowingUp:
    """The deadline of the nursery."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_due(self, now: Instant) -> None:
        self._clock.grow_up()
