"""The producer's end of a stream.

Theory of operation
-------------------
Elements wait in an `Outbox`, which numbers them, counts the demand, and keeps what may have to be sent again. This
machine decides who may ask, and when. A resume turns the outbox back and lets the ordinary path send; the end of the
stream works alike. It is kept in `_ending`, it is sent when the buffer has run empty, and if the link broke under it
the resume sends it again.

    WAITING --Subscribe--> ACTIVE --end sent--> DONE, or, where elements are retained, CLOSING --StreamReleased--> DONE
                           |    ^                                                         |
                  LinkLost |    | StreamResume                               StreamResume | (back to ACTIVE)
                           SUSPENDED

One call sends at most `max_batch` elements. If more could go, `Continue` asks the driver to come back, so that a
consumer with a huge demand takes turns with everybody else.

The direct lane
---------------
`offer` is called once per element and needs no clock: it appends, and says whether the producer's actor must be
nudged. It must be when the consumer is waiting with demand and no nudge is under way; otherwise the demand that
arrives next, or the nudge that is under way, finds the element. `closed_reason` may be read at any time.
`receive` is the short way for `Received`.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, assert_never

from ..machine import Instant, Note, Rejected, Reply, Severity, Wake, seconds
from ..timers import Deadlines
from .events import (
    ACCEPTED,
    CLOSED,
    FULL,
    ILLEGAL,
    NUDGE,
    Cancelled,
    Complete,
    Completed,
    ConsumerAccepted,
    ConsumerLost,
    Continue,
    Ended,
    Fail,
    Failed,
    InputClosed,
    InputReady,
    LinkLost,
    Open,
    Outcome,
    PublisherEffect,
    PublisherEvent,
    Received,
    Room,
    Send,
    TimedOut,
)
from .messages import (
    MAX_DEMAND,
    Address,
    StreamCancel,
    StreamCompleted,
    StreamDemand,
    StreamFailed,
    StreamRefused,
    StreamReleased,
    StreamResume,
    StreamResumed,
    StreamSubscribed,
    Subscribe,
)
from .options import PublisherOptions
from .outbox import Outbox

type _Effects = tuple[PublisherEffect, ...]

_SHUT = -1
"""The limit of a buffer that takes nothing more: every length reaches it."""

_COMPLETED = "the stream was completed"


class _Phase(Enum):
    WAITING = "waits for a consumer"
    ACTIVE = "active"
    SUSPENDED = "waits for the link"
    CLOSING = "waits for the acknowledgement of the end"
    DONE = "done"


_ACTIVE = _Phase.ACTIVE


class _Deadline(Enum):
    SUBSCRIPTION = "subscription"
    RESUME = "resume"
    RELEASE = "release"


class Publisher[E]:
    """The producer's end. `address` is where the consumer finds it. Without `options` the defaults hold."""

    __slots__ = (
        "_address",
        "_attempt",
        "_buffer",
        "_consumer",
        "_deadlines",
        "_ending",
        "_limit",
        "_nudge_wanted",
        "_nudged",
        "_options",
        "_outbox",
        "_phase",
        "_turned_away",
        "closed_reason",
    )

    def __init__(self, address: Address, options: PublisherOptions | None = None) -> None:
        self._address = address
        self._options = options = options or PublisherOptions()
        self._phase = _Phase.WAITING
        self._deadlines: Deadlines[_Deadline] = Deadlines()
        self._consumer: Address = None
        self._attempt = 0
        self._outbox: Outbox[E] = Outbox()
        self._buffer = self._outbox.buffer
        self._limit = options.buffer_size or MAX_DEMAND
        self._ending: Completed | Failed | None = None
        self._turned_away = 0
        # A nudge is wanted when an offered element could be sent at once and nobody is on the way to do it.
        self._nudge_wanted = False
        self._nudged = False
        self.closed_reason: str | None = None
        """Why the input takes no more elements, or `None` while it does."""

    # The direct lane ------------------------------------------------------------------------------------------------

    def offer(self, element: E) -> int:
        """Take `element` into the buffer if there is room. Returns `ACCEPTED`, `NUDGE`, `FULL`, `CLOSED` or `ILLEGAL`.

        The element is in the buffer after the first two, and nowhere after the others (rule 26).
        """
        if element is None:
            return ILLEGAL
        buffer = self._buffer
        if len(buffer) >= self._limit:
            return self._turn_away()
        buffer.append(element)
        if self._nudge_wanted:
            self._nudge_wanted = False
            self._nudged = True
            return NUDGE
        return ACCEPTED

    def _turn_away(self) -> int:
        if self._limit == _SHUT:
            return CLOSED
        self._turned_away += 1
        return FULL

    # The machine ----------------------------------------------------------------------------------------------------

    def handle(self, event: PublisherEvent, now: Instant) -> _Effects:
        """Apply one event and return all of its effects, in order; see `casty_proto.machine`."""
        match event:
            case InputReady():
                self._nudged = False
                return self._flow(now)
            case Received():
                return self.receive(event.peer, event.message, now)
            case Complete():
                return self._on_complete(event, now)
            case Fail():
                return self._on_fail(event, now)
            case Open():
                return self._on_open(now)
            case LinkLost():
                return self._on_link_lost(now)
            case ConsumerLost():
                return self._on_consumer_lost(event)
            case Wake():
                return self._on_wake(now)
            case _:
                assert_never(event)

    def deadline(self) -> Instant | None:
        """When the machine wants `Wake`, or `None`."""
        return self._deadlines.earliest()

    def _on_open(self, now: Instant) -> _Effects:
        timeout_ns = self._options.subscription_timeout_ns
        if self._phase is _Phase.WAITING and timeout_ns is not None:
            self._deadlines.set(_Deadline.SUBSCRIPTION, now + timeout_ns)
        return ()

    # Messages -------------------------------------------------------------------------------------------------------

    def receive(self, peer: Address, message: object, now: Instant) -> _Effects:
        """What `handle` does for `Received(peer, message)`, without an event to be built for each message."""
        match message:
            case StreamDemand():
                return self._on_demand(peer, message, now)
            case Subscribe():
                return self._on_subscribe(message, now)
            case StreamCancel():
                return self._on_cancel(peer, message)
            case StreamResume():
                return self._on_resume(message, now)
            case StreamReleased():
                return self._on_released(peer)
            case _:
                return self._rubbish(peer, message)

    def _on_subscribe(self, message: Subscribe, now: Instant) -> _Effects:
        consumer = message.consumer
        if not _counts(message.demand, message.retain, message.attempt):
            return self._rubbish(consumer, message)
        if message.demand < 0 or message.retain < 0:
            reason = f"illegal argument: demand {message.demand} or retain {message.retain} is negative (rule 9)"
            return (Send(consumer, StreamRefused(reason)),)
        if self._phase is not _Phase.WAITING and not self._repeats(message):
            return (Send(consumer, StreamRefused(self._occupied())),)
        self._deadlines.clear()
        self._phase = _ACTIVE
        self._consumer = consumer
        self._attempt = message.attempt
        retain = min(message.retain, self._options.max_retained)
        self._outbox.open(message.demand, retain, batch=bool(message.batch))
        accept = Send(consumer, StreamSubscribed(self._address, retain))
        return (accept, ConsumerAccepted(consumer), *self._flow(now))

    def _repeats(self, message: Subscribe) -> bool:
        """Whether this is our consumer, whose first question or its answer was lost with the link (rule 31)."""
        return message.consumer == self._consumer and message.attempt > self._attempt and not self._outbox.sent

    def _occupied(self) -> str:
        if self._phase is _Phase.DONE:
            return f"the stream of {self._address} has ended: {self.closed_reason}"
        return f"{self._address} has its one consumer already (rule 2)"

    def _on_demand(self, peer: Address, message: StreamDemand, now: Instant) -> _Effects:
        if self._phase is not _ACTIVE or not self._is_partner(peer):
            return self._stray(peer)
        n = message.n
        if type(n) is not int or n <= 0:
            return self._abort(f"illegal argument: demand must be a positive number, not {n!r} (rule 9)", None, now)
        if not self._outbox.acknowledge(message.received):
            return self._rubbish(peer, message)
        self._outbox.request(n)
        return self._flow(now)

    def _stray(self, peer: Address) -> _Effects:
        """Demand that belongs to no stream of ours, or to one whose demand no longer matters."""
        if self._phase is not _Phase.WAITING and (self._phase is _Phase.DONE or self._is_partner(peer)):
            return ()
        if peer is None:
            return (Note(Severity.WARNING, f"stream of {self._address}: dropped demand of an unknown sender (rule 3)"),)
        return (Send(peer, StreamRefused(f"{self._address} has no stream for you: subscribe first (rule 3)")),)

    def _on_resume(self, message: StreamResume, now: Instant) -> _Effects:
        consumer, outbox = message.consumer, self._outbox
        if not _counts(message.received, message.demand, message.attempt) or message.demand < 0:
            return self._rubbish(consumer, message)
        if outbox.retained is None or consumer != self._consumer:
            return (Send(consumer, StreamRefused(f"{self._address} has no stream for you to resume (rule 31)")),)
        if message.attempt <= self._attempt:
            return ()
        if not outbox.rewind(message.received, message.demand):
            held = f"{outbox.first_retained} to {outbox.sent}"
            reason = f"asked for element {message.received} again, while {held} can be sent (rule 31)"
            return (Send(consumer, StreamRefused(reason)), *self._end(Failed(reason)))
        self._attempt = message.attempt
        self._phase = _ACTIVE
        self._deadlines.clear()
        return (Send(consumer, StreamResumed(outbox.sent, self._attempt)), *self._flow(now))

    def _on_cancel(self, peer: Address, message: StreamCancel) -> _Effects:
        if self._consumer is None or not self._is_partner(peer):
            return ()
        return self._end_unless_told(Cancelled(str(message.reason) or "the consumer cancelled"))

    def _on_released(self, peer: Address) -> _Effects:
        if self._phase is not _Phase.CLOSING or self._ending is None or not self._is_partner(peer):
            return ()
        return self._end(self._ending)

    def _is_partner(self, peer: Address) -> bool:
        return peer is self._consumer or peer is None or peer == self._consumer

    # The input ------------------------------------------------------------------------------------------------------

    def _on_complete(self, event: Complete, now: Instant) -> _Effects:
        if self.closed_reason == _COMPLETED:
            return (Reply(event.request, None),)
        if self.closed_reason is not None:
            return (Reply(event.request, Rejected(self.closed_reason)),)
        self._ending = Completed()
        closed = self._close_input(_COMPLETED)
        return (Reply(event.request, None), *closed, *self._flow(now))

    def _on_fail(self, event: Fail, now: Instant) -> _Effects:
        if self._phase is _Phase.DONE or (self.closed_reason is not None and event.flush):
            return (Reply(event.request, Rejected(self.closed_reason or "the stream has ended")),)
        answer = Reply(event.request, None)
        if not event.flush:
            return (answer, *self._abort(event.reason, event.cause, now))
        self._ending = Failed(event.reason, event.cause)
        closed = self._close_input(f"the stream was failed: {event.reason}")
        return (answer, *closed, *self._flow(now))

    def _close_input(self, reason: str) -> _Effects:
        if self.closed_reason is not None:
            return ()
        self.closed_reason = reason
        self._limit = _SHUT
        self._turned_away = 0
        return (InputClosed(reason),)

    # The way out ----------------------------------------------------------------------------------------------------

    def _flow(self, now: Instant) -> _Effects:
        """Send what the demand allows, then the end if its turn has come; see to it that the rest is not forgotten."""
        if self._phase is not _ACTIVE:
            return ()
        effects: _Effects = ()
        buffer, outbox, consumer = self._buffer, self._outbox, self._consumer
        count = min(len(buffer), outbox.demand, self._options.max_batch)
        if count:
            effects = tuple([Send(consumer, message) for message in outbox.next_messages(count)])
            if self._turned_away:
                effects += self._make_room()
        if not buffer and self._ending is not None:
            return effects + self._finish(self._ending, now)
        idle = outbox.demand > 0 and not self._nudged
        if idle and buffer:
            self._nudged = True
            self._nudge_wanted = False
            return (*effects, Continue())
        self._nudge_wanted = idle
        return effects

    def _make_room(self) -> _Effects:
        """Wake as many as there is room for. Each of them was turned away once, and will be counted if it is again."""
        count = min(self._limit - len(self._buffer), self._turned_away)
        if count <= 0:
            return ()
        self._turned_away -= count
        return (Room(count),)

    def _finish(self, ending: Completed | Failed, now: Instant) -> _Effects:
        """Tell the consumer. The state is freed at once, unless the news may have to be told again over a new link."""
        message: StreamCompleted | StreamFailed
        match ending:
            case Completed():
                message = StreamCompleted(self._outbox.sent)
            case Failed():
                message = StreamFailed(ending.reason, ending.cause)
        told = Send(self._consumer, message)
        if self._outbox.retained is None:
            return (told, *self._end(ending))
        self._phase = _Phase.CLOSING
        self._nudge_wanted = False
        self._deadlines.set(_Deadline.RELEASE, now + self._options.resume_timeout_ns)
        return (told,)

    def _abort(self, reason: str, cause: BaseException | None, now: Instant) -> _Effects:
        """Fail without waiting for demand: what was not sent yet is dropped."""
        self._buffer.clear()
        closed = self._close_input(reason)
        ending = Failed(reason, cause)
        if self._phase is _Phase.WAITING:
            return closed + self._end(ending)
        if self._phase is _Phase.CLOSING:
            return closed
        self._ending = ending
        return closed + self._flow(now)

    def _end(self, outcome: Outcome) -> _Effects:
        """Forget everything and everybody."""
        closed = self._close_input(_words(outcome))
        self._phase = _Phase.DONE
        self._deadlines.clear()
        self._consumer = None
        self._outbox.close()
        self._ending = None
        self._nudge_wanted = False
        return (*closed, Ended(outcome))

    def _end_unless_told(self, outcome: Outcome) -> _Effects:
        """End, but a consumer that leaves after it was told of the end does not change how the stream ended (A-7)."""
        return self._end(self._ending if self._phase is _Phase.CLOSING and self._ending is not None else outcome)

    # What becomes of a lost partner -----------------------------------------------------------------------------------

    def _on_link_lost(self, now: Instant) -> _Effects:
        if self._phase is not _ACTIVE:
            return ()
        if self._outbox.retained is None:
            return self._end(Cancelled("the link to the consumer was lost"))
        self._phase = _Phase.SUSPENDED
        self._nudge_wanted = False
        self._deadlines.set(_Deadline.RESUME, now + self._options.resume_timeout_ns)
        return ()

    def _on_consumer_lost(self, event: ConsumerLost) -> _Effects:
        if self._consumer is None:
            return ()
        return self._end_unless_told(Cancelled(event.reason))

    def _on_wake(self, now: Instant) -> _Effects:
        effects: _Effects = ()
        for due in self._deadlines.due(now):
            match due:
                case _Deadline.SUBSCRIPTION:
                    effects += self._on_subscription_due()
                case _Deadline.RESUME:
                    effects += self._on_resume_due()
                case _Deadline.RELEASE:
                    effects += self._on_release_due()
                case _:
                    assert_never(due)
        return effects

    def _on_subscription_due(self) -> _Effects:
        timeout_ns = self._options.subscription_timeout_ns or 0
        return self._end(TimedOut(f"nobody subscribed to {self._address} within {seconds(timeout_ns)} s (rule 5)"))

    def _on_resume_due(self) -> _Effects:
        # The consumer may never have noticed that the link broke, and wait for elements. If so, it learns it here.
        reason = f"the consumer did not resume within {seconds(self._options.resume_timeout_ns)} s (rule 31)"
        return (Send(self._consumer, StreamFailed(reason)), *self._end(Cancelled(reason)))

    def _on_release_due(self) -> _Effects:
        assert self._ending is not None
        return self._end(self._ending)

    # ----------------------------------------------------------------------------------------------------------------

    def _rubbish(self, peer: Address, message: object) -> _Effects:
        return (Note(Severity.WARNING, f"stream of {self._address}: dropped from {peer}: {message!r:.200} (rule 35)"),)

    def invariants(self) -> None:
        """Assert what holds between two calls."""
        phase, outbox, options = self._phase, self._outbox, self._options
        outbox.invariants()
        assert (self._consumer is None) == (phase in (_Phase.WAITING, _Phase.DONE)), f"{phase}: {self._consumer}"
        assert (self.closed_reason is not None) == (self._limit == _SHUT), "the input is half closed"
        assert self._ending is None or self.closed_reason is not None, "an end is due and the input is open"
        if options.buffer_size:
            held = len(self._buffer) + len(outbox.retained or ())
            assert held <= options.buffer_size + options.max_retained, f"{held} elements are held"
        if phase is _ACTIVE:
            assert self._buffer or self._ending is None, "the end is due and was not sent"
            assert not (self._buffer and outbox.demand) or self._nudged, "elements wait and nobody comes"
            assert not outbox.demand or self._nudged or self._nudge_wanted, "an offered element would stay where it is"
        if self._nudge_wanted:
            assert phase is _ACTIVE, f"a nudge is wanted while {phase}"
            assert not self._nudged, "a nudge is wanted twice"
            assert outbox.demand, "a nudge is wanted without demand"
        if phase is _Phase.CLOSING:
            assert self._ending is not None, "closing without an end"
            assert not self._buffer, "closing before everything was sent"
        if phase is _Phase.DONE:
            assert not self._buffer, "done and still holding elements"
            assert outbox.retained is None, "done and still retaining elements"
            assert self.closed_reason is not None, "done and still open"
        self._deadlines.invariants()
        assert (_Deadline.RESUME in self._deadlines) == (phase is _Phase.SUSPENDED), f"resume deadline while {phase}"
        assert (_Deadline.RELEASE in self._deadlines) == (phase is _Phase.CLOSING), f"release deadline while {phase}"
        assert _Deadline.SUBSCRIPTION not in self._deadlines or phase is _Phase.WAITING, f"{phase}: still unsubscribed"


def _counts(*values: Any) -> bool:
    """Whether all are plain numbers, as a peer that speaks the protocol sends them."""
    return all(type(value) is int for value in values)


def _words(outcome: Outcome) -> str:
    match outcome:
        case Completed():
            return _COMPLETED
        case Failed() | TimedOut() | Cancelled():
            return outcome.reason
        case _:
            assert_never(outcome)
