"""One table of deadlines and one alarm for everything that waits: asks, timers, and the engine's back-offs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from casty_proto.machine import SECOND, Instant, nanoseconds
from casty_proto.timers import Deadlines


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

    def __len__(self) -> int:
        return len(self._table)

    def now(self) -> Instant:
        """The current instant."""
        return int(self._loop.time() * SECOND)

    def set(self, due: Due, delay: float) -> None:
        """Call `due.on_due` after `delay` seconds; replaces its earlier deadline."""
        self.set_at(due, int(self._loop.time() * SECOND) + nanoseconds(delay))

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
        at = self._machine_deadline()
        if at is not None and (self._armed is None or at < self._armed):
            self._arm(at)

    def close(self) -> None:
        """Forget everything; leaves no alarm behind."""
        self._table.clear()
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._armed = None

    def _arm(self, at: Instant) -> None:
        if self._ringing:
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
            self._rearm()

    def _rearm(self) -> None:
        ours, machines = self._table.earliest(), self._machine_deadline()
        if ours is None or (machines is not None and machines < ours):
            ours = machines
        if ours is not None:
            self._arm(ours)
