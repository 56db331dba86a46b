"""What becomes of messages that could not be delivered: an event, and a log line that cannot flood the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import evolve

from casty_proto.actor import Reason
from casty_proto.machine import SECOND, Instant
from casty_proto.stream import InputReady, StreamCancel, StreamDemand, StreamReleased

from . import events
from .refs import ActorRef, LocalRef
from .remote.refs import RemoteRef
from .spy import SpyEvent
from .tasks import RunTask

if TYPE_CHECKING:
    from .body import Body
    from .runtime import Runtime

_LOGGED_PER_PERIOD = 10
_PERIOD_NS = 10 * SECOND

_EXPENDABLE = (StreamDemand, StreamCancel, StreamReleased, InputReady)
"""A producer that has ended its stream ignores what a consumer had sent before it knew (stream rule 21): that crosses
the end on its way, and loses nothing."""


class Unmissed:
    """The base of messages whose sender is told what becomes of them, and reports their loss by itself."""

    __slots__ = ()


_GONE = (Reason.STOPPED, Reason.UNREACHABLE)

_NEWS = (events.SystemEvent, SpyEvent)
"""News that somebody could not be told of must not become news again, and so on for ever. It is only logged."""


def _unmissed_by(ref: ActorRef[Any]) -> tuple[type[Any], ...]:
    body: Body | None = ref._cell.body if isinstance(ref, LocalRef) else None
    return () if body is None else body.unmissed


class DeadLetters:
    """Publishes every dead letter, and logs the first few of each period."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._period_began: Instant = 0
        self._in_period = 0
        self._at_the_end: dict[str, int] = {}
        """What was under way to other processes when this system ended: for each of them, how many messages."""
        self.opening: dict[type, Callable[[Any], Any]] = {}
        """What is in messages that are envelopes: the message, or `None` for what loses nothing."""
        self.count = 0
        """All dead letters so far."""

    def add(self, letter: events.DeadLetter) -> None:
        """Publish and log one, unless its loss is no loss to anybody."""
        message = letter.message
        if type(message) in self.opening:
            message = self.opening[type(message)](message)
            if message is None:
                return
            letter = evolve(letter, message=message)
        if letter.reason in _GONE and isinstance(message, (*_EXPENDABLE, *_unmissed_by(letter.ref))):
            return
        if isinstance(message, Unmissed):
            return
        if isinstance(message, RunTask):
            message.discard()
        self._log(letter)
        if not isinstance(message, _NEWS):
            self.count += 1
            self._runtime.publish(letter)

    def _log(self, letter: events.DeadLetter) -> None:
        if self._runtime.system.stopping and isinstance(letter.ref, RemoteRef):
            node = str(letter.ref.node)
            self._at_the_end[node] = self._at_the_end.get(node, 0) + 1
            return
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

    def report_the_end(self) -> None:
        """Log what did not get out to other processes before this system ended: one line for each of them."""
        for node, count in self._at_the_end.items():
            self._runtime.log.warning(
                "%d messages to %s were not acknowledged when this system ended; they may be lost", count, node
            )
        self._at_the_end.clear()
