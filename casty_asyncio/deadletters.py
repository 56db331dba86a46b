"""What becomes of messages that could not be delivered: an event, and a log line that cannot flood the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from casty_proto.actor import Reason
from casty_proto.machine import SECOND, Instant

from . import events
from .tasks import RunTask

if TYPE_CHECKING:
    from .runtime import Runtime

_LOGGED_PER_PERIOD = 10
_PERIOD_NS = 10 * SECOND


class DeadLetters:
    """Publishes every dead letter, and logs the first few of each period."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._period_began: Instant = 0
        self._in_period = 0
        self.count = 0
        """All dead letters so far."""

    def add(self, letter: events.DeadLetter) -> None:
        """Publish and log one. An event that nobody could be told of is not published again."""
        self.count += 1
        if isinstance(letter.message, RunTask):
            # Nobody will await it any more, and Python would complain about that later.
            letter.message.coro.close()
        if not isinstance(letter.message, events.SystemEvent):
            self._log(letter)
            self._runtime.publish(letter)

    def _log(self, letter: events.DeadLetter) -> None:
        if letter.reason is Reason.NOBODY_ASKED or self._runtime.system.stopping:
            # The receiver of a tell answers as if it had been asked: common, and no loss to anybody. And while the
            # system stops, what is still under way cannot arrive.
            return
        now = self._runtime.clock.now()
        if now - self._period_began >= _PERIOD_NS:
            self._period_began, self._in_period = now, 0
        self._in_period += 1
        if self._in_period > _LOGGED_PER_PERIOD:
            return
        more = " (further dead letters are not logged for 10 s)" if self._in_period == _LOGGED_PER_PERIOD else ""
        self._runtime.log.warning(
            "dead letter: %s to %s: %s%s", type(letter.message).__name__, letter.ref.path, letter.reason, more
        )
