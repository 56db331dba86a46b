"""The consumer's end of a stream.

Theory of operation
-------------------
Once the user has begun, every element of the window is in one of three places:

    window  =  outstanding (requested, not arrived)  +  buffered (arrived, not taken)  +  credit (taken, not requested)

Arrival moves it from the first to the second, `take` from the second to the third, and a `StreamDemand` from the third
to the first. `Begin` puts the whole window into credit, so the first demand is like every other. A demand is due when
the credit has reached the threshold, half of the window: it costs one message for many elements, and since the
threshold never exceeds the window, a user who has taken everything has either asked for more or is about to.

`_received` counts what has arrived in order, so it is the number of the next element, the acknowledgement that rides on
each demand, the point from which a resume continues, and what `StreamCompleted` must carry. A stream therefore ends as
complete only when nothing is missing.

    NEW --Open--> SUBSCRIBING --StreamSubscribed--> FLOWING --ProducerLost--> ORPHANED
                     ^    |                          |   ^
                     |    +-------- LinkLost --------+   | StreamResumed
        LinkRestored |    v                              |
                     SUSPENDED ---- LinkRestored ----> RESUMING            and from each of them to ENDED

While SUSPENDED or RESUMING nothing that arrives counts: it may have a gap before it, and whatever was not counted
will be sent again. After `StreamResumed`, which names the attempt that it answers, the link is in order again.

The end is known before the user gets there: `outcome` is how the stream ended for a user who has taken everything, and
what is buffered is taken first. When we end the stream, the producer is told by one `StreamCancel`; when it does, it is
told nothing, or, if it retains elements, that it may forget them.

The direct lane
---------------
`take` is called once per element and needs no clock. After it the driver looks at `demand_due`, and feeds `Consumed`
when it is set; after `EMPTY` it looks at `outcome`, and feeds `Waiting` while there is none. So the machine knows when
a user waits, and counts inactivity only then: a slow user is never taken for a silent producer. `receive` is
the short way for `Received`.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Any, assert_never

from ..machine import Instant, Note, Severity, Wake, seconds
from ..timers import Deadlines
from .events import (
    EMPTY,
    Available,
    Begin,
    Cancel,
    Cancelled,
    Completed,
    Consumed,
    Empty,
    Ended,
    Failed,
    LinkLost,
    LinkRestored,
    Open,
    Outcome,
    ProducerLost,
    Received,
    Send,
    SubscriberEffect,
    SubscriberEvent,
    TimedOut,
    Waiting,
)
from .messages import (
    MAX_DEMAND,
    Address,
    StreamCancel,
    StreamCompleted,
    StreamDemand,
    StreamElement,
    StreamElements,
    StreamFailed,
    StreamRefused,
    StreamReleased,
    StreamResume,
    StreamResumed,
    StreamSubscribed,
    Subscribe,
)
from .options import SubscriberOptions

type _Effects = tuple[SubscriberEffect, ...]

_AVAILABLE: _Effects = (Available(),)


class _Phase(Enum):
    NEW = "new"
    SUBSCRIBING = "waits to be accepted"
    FLOWING = "flowing"
    ORPHANED = "waits for the last messages of a lost producer"
    SUSPENDED = "waits for the link"
    RESUMING = "waits for the producer to resume"
    ENDED = "ended"


_FLOWING = _Phase.FLOWING
_ORPHANED = _Phase.ORPHANED


class _Deadline(Enum):
    ACCEPT = "accept"
    RESUME = "resume"
    GRACE = "grace"
    INACTIVITY = "inactivity"


class Subscriber[E]:
    """The consumer's end. `address` is where the producer finds it; `producer` is where it finds the producer.

    Without `options` the defaults hold.
    """

    __slots__ = (
        "_accepted",
        "_address",
        "_attempt",
        "_begun",
        "_buffer",
        "_deadlines",
        "_left_early",
        "_lost_because",
        "_options",
        "_outstanding",
        "_phase",
        "_producer",
        "_received",
        "_retained",
        "_threshold",
        "_until_due",
        "_waiting_since",
        "demand_due",
        "outcome",
    )

    def __init__(self, address: Address, producer: Address, options: SubscriberOptions | None = None) -> None:
        self._address = address
        self._producer = producer
        self._options = options = options or SubscriberOptions()
        self._phase = _Phase.NEW
        self._deadlines: Deadlines[_Deadline] = Deadlines()
        self._accepted = False
        self._begun = False
        self._left_early = False
        self._lost_because = ""
        self._attempt = 0
        self._retained = options.window if options.resumable else 0
        self._buffer: deque[E] = deque()
        self._received = 0
        self._outstanding = 0
        # The credit, counted down so that `take` compares with zero: credit = threshold - until_due.
        self._threshold = options.threshold
        self._until_due = self._threshold
        self._waiting_since: Instant | None = None
        self.demand_due = False
        """Whether `Consumed` is to be fed."""
        self.outcome: Outcome | None = None
        """How the stream ended, for a user who has taken everything: meaningful once `take` has returned `EMPTY`."""

    # The direct lane ------------------------------------------------------------------------------------------------

    def take(self) -> E | Empty:
        """The next element, or `EMPTY`."""
        buffer = self._buffer
        if not buffer:
            return EMPTY
        self._until_due = left = self._until_due - 1
        if not left:
            self.demand_due = True
        return buffer.popleft()

    # The machine ----------------------------------------------------------------------------------------------------

    def handle(self, event: SubscriberEvent, now: Instant) -> _Effects:
        """Apply one event and return all of its effects, in order; see `casty_proto.machine`."""
        match event:
            case Received():
                return self.receive(event.peer, event.message, now)
            case Consumed():
                return self._on_consumed()
            case Waiting():
                return self._on_waiting(now)
            case Open():
                return self._on_open(now)
            case Begin():
                return self._on_begin()
            case Cancel():
                return self._on_cancel(event)
            case LinkLost():
                return self._on_link_lost(now)
            case LinkRestored():
                return self._on_link_restored()
            case ProducerLost():
                return self._on_producer_lost(event, now)
            case Wake():
                return self._on_wake(now)
            case _:
                assert_never(event)

    def deadline(self) -> Instant | None:
        """When the machine wants `Wake`, or `None`."""
        return self._deadlines.earliest()

    # The user -------------------------------------------------------------------------------------------------------

    def _on_open(self, now: Instant) -> _Effects:
        if self._phase is not _Phase.NEW:
            return ()
        self._deadlines.set(_Deadline.ACCEPT, now + self._options.accept_timeout_ns)
        return self._subscribe()

    def _subscribe(self) -> _Effects:
        self._phase = _Phase.SUBSCRIBING
        question = Subscribe(self._address, 0, self._options.batch, self._retained, self._attempt)
        return (Send(self._producer, question),)

    def _on_begin(self) -> _Effects:
        if self._begun or self._phase is _Phase.ENDED:
            return ()
        self._begun = True
        self._until_due -= self._options.window
        return self._on_consumed()

    def _on_consumed(self) -> _Effects:
        """Ask for as many as were taken. Where nobody listens the credit waits, for the accept or for the resume."""
        self.demand_due = False
        if self._phase is not _FLOWING:
            return ()
        n = self._new_demand()
        return (Send(self._producer, StreamDemand(n, self._received)),) if n else ()

    def _new_demand(self) -> int:
        """Turn the credit into outstanding demand."""
        n = self._threshold - self._until_due
        self._until_due = self._threshold
        self._outstanding += n
        return n

    def _on_waiting(self, now: Instant) -> _Effects:
        if self._buffer or self.outcome is not None:
            return _AVAILABLE
        self._waiting_since = now
        timeout_ns = self._options.inactivity_timeout_ns
        if timeout_ns is not None and _Deadline.INACTIVITY not in self._deadlines:
            self._deadlines.set(_Deadline.INACTIVITY, now + timeout_ns)
        return ()

    def _on_cancel(self, event: Cancel) -> _Effects:
        outcome = Cancelled(event.reason)
        if self._buffer and self._phase is _Phase.ENDED:
            # Whoever leaves before the last element has not seen the stream complete (rule 19).
            self.outcome = outcome
        self._buffer.clear()
        return self._leave(outcome)

    # Messages -------------------------------------------------------------------------------------------------------

    def receive(self, peer: Address, message: object, now: Instant) -> _Effects:
        """What `handle` does for `Received(peer, message)`, without an event to be built for each message."""
        match message:
            case StreamElements():
                return self._on_elements(peer, message.first, message.elements)
            case StreamElement():
                return self._on_elements(peer, message.sequence, (message.element,))
            case StreamCompleted() | StreamFailed():
                return self._on_end(peer, message)
            case StreamSubscribed():
                return self._on_subscribed(message, now)
            case StreamResumed():
                return self._on_resumed(peer, message, now)
            case StreamRefused():
                return self._on_refused(peer, message)
            case _:
                return self._rubbish(peer, message)

    def _on_elements(self, peer: Address, first: int, elements: tuple[Any, ...]) -> _Effects:
        if type(elements) is not tuple or not elements or not self._is_partner(peer):
            return self._rubbish(peer, StreamElements(first, elements))
        count = len(elements)
        if self._phase is not _FLOWING and self._phase is not _ORPHANED:
            return self._stray_elements(first, count)
        if first != self._received or count > self._outstanding:
            return self._odd_elements(peer, first, elements)
        self._received = first + count
        self._outstanding -= count
        self._buffer.extend(elements)
        if self._waiting_since is None:
            return ()
        self._waiting_since = None
        return _AVAILABLE

    def _odd_elements(self, peer: Address, first: int, elements: tuple[Any, ...]) -> _Effects:
        """Elements that are not the next ones, or too many."""
        expected = self._received
        if type(first) is not int:
            return self._rubbish(peer, StreamElements(first, elements))
        if first < expected and self._attempt:
            rest = elements[expected - first :]
            return self._on_elements(peer, expected, rest) if rest else ()
        if first < expected:
            return self._violation(f"element {first} came again, {expected} was expected (rule 14)")
        if first > expected:
            return self._violation(f"element {first} came, {expected} was expected (rule 13)")
        return self._violation(f"{len(elements)} elements came, {self._outstanding} were requested (rule 12)")

    def _stray_elements(self, first: int, count: int) -> _Effects:
        """Elements while the stream is not open."""
        if self._phase in (_Phase.SUSPENDED, _Phase.RESUMING):
            return ()
        if self._left_early and count <= self._outstanding:
            self._outstanding -= count
            return ()
        return self._note(f"element {first} came while the stream was {self._phase.value} (rules 1, 20, 24)")

    def _on_end(self, peer: Address, message: StreamCompleted | StreamFailed) -> _Effects:
        if not self._is_partner(peer):
            return self._rubbish(peer, message)
        if self._phase is not _FLOWING and self._phase is not _ORPHANED:
            if self._left_early or self._phase in (_Phase.SUSPENDED, _Phase.RESUMING):
                return ()
            return self._note(f"{message!r:.200} came while the stream was {self._phase.value} (rules 1, 20)")
        told: _Effects = (Send(self._producer, StreamReleased()),) if self._retained else ()
        match message:
            case StreamFailed():
                return told + self._end(Failed(message.reason, message.cause))
            case StreamCompleted() if message.sequence == self._received:
                return told + self._end(Completed())
            case StreamCompleted():
                reason = f"complete after {message.sequence} elements, {self._received} arrived (rule 19)"
                return told + self._note(reason) + self._end(Failed(reason))
            case _:
                assert_never(message)

    def _on_subscribed(self, message: StreamSubscribed, now: Instant) -> _Effects:
        if self._phase is _Phase.ENDED:
            return ()
        if message.producer != self._producer:
            reason = f"{self._address} has a producer already (rule 4)"
            return (Send(message.producer, StreamCancel(reason)), *self._note(f"{message.producer}: {reason}"))
        if self._phase is not _Phase.SUBSCRIBING:
            return self._note(f"accepted again while the stream was {self._phase.value} (rule 4)")
        self._accepted = True
        self._retained = message.retain
        self._deadlines.cancel(_Deadline.ACCEPT)
        return self._go_on(now)

    def _on_resumed(self, peer: Address, message: StreamResumed, now: Instant) -> _Effects:
        if self._phase is _Phase.ENDED:
            return ()
        if self._phase is not _Phase.RESUMING or message.attempt != self._attempt or not self._is_partner(peer):
            return self._note(f"{message} came while the stream was {self._phase.value} (rule 30)")
        if message.first != self._received:
            return self._violation(f"resumed at {message.first}, {self._received} was expected (rule 30)")
        self._deadlines.cancel(_Deadline.RESUME)
        return self._go_on(now)

    def _go_on(self, now: Instant) -> _Effects:
        self._phase = _FLOWING
        if self._waiting_since is not None:
            self._waiting_since = now
        return self._on_consumed() if self._until_due <= 0 else ()

    def _on_refused(self, peer: Address, message: StreamRefused) -> _Effects:
        if self._phase is _Phase.ENDED:
            return ()
        if not self._is_partner(peer):
            return self._rubbish(peer, message)
        return self._end(Failed(f"refused by {self._producer}: {message.reason}"))

    def _is_partner(self, peer: Address) -> bool:
        return peer is self._producer or peer is None or self._producer is None or peer == self._producer

    # The end --------------------------------------------------------------------------------------------------------

    def _leave(self, outcome: Failed | TimedOut | Cancelled, *, tell: bool = True) -> _Effects:
        """End the stream from here. The producer is told, even over a broken link, unless it is known to be gone."""
        if self._phase is _Phase.ENDED:
            return ()
        told: _Effects = ()
        if tell and self._phase not in (_Phase.NEW, _ORPHANED):
            told = (Send(self._producer, StreamCancel(outcome.reason)),)
        if self._phase in (_Phase.SUSPENDED, _Phase.RESUMING):
            # What we asked for may come twice: over the link before the producer resumes, and after that.
            self._outstanding = MAX_DEMAND
        self._left_early = True
        return told + self._end(outcome)

    def _violation(self, reason: str) -> _Effects:
        return self._note(reason) + self._leave(Failed(reason))

    def _end(self, outcome: Outcome) -> _Effects:
        """Forget the producer. What is buffered stays for the user."""
        self._phase = _Phase.ENDED
        self.outcome = outcome
        self._deadlines.clear()
        self._producer = None
        self.demand_due = False
        self._until_due = 0
        waiting = self._waiting_since is not None
        self._waiting_since = None
        return (*(_AVAILABLE if waiting else ()), Ended(outcome))

    # The link -------------------------------------------------------------------------------------------------------

    def _on_link_lost(self, now: Instant) -> _Effects:
        if self._phase in (_Phase.NEW, _Phase.SUSPENDED, _Phase.ENDED):
            return ()
        if not self._retained or self._phase is _ORPHANED:
            return self._leave(Failed("the link to the producer was lost (rule 31)"))
        self._phase = _Phase.SUSPENDED
        if self._accepted and _Deadline.RESUME not in self._deadlines:
            self._deadlines.set(_Deadline.RESUME, now + self._options.resume_timeout_ns)
        return ()

    def _on_link_restored(self) -> _Effects:
        if self._phase is not _Phase.SUSPENDED:
            return ()
        self._attempt += 1
        if not self._accepted:
            return self._subscribe()
        self._phase = _Phase.RESUMING
        self._new_demand()
        resume = StreamResume(self._address, self._received, self._outstanding, self._attempt)
        return (Send(self._producer, resume),)

    def _on_producer_lost(self, event: ProducerLost, now: Instant) -> _Effects:
        if self._phase in (_ORPHANED, _Phase.ENDED):
            return ()
        if self._phase is not _FLOWING or not self._options.grace_ns:
            return self._leave(Failed(event.reason), tell=False)
        self._phase = _ORPHANED
        self._lost_because = event.reason
        self._deadlines.set(_Deadline.GRACE, now + self._options.grace_ns)
        return ()

    # Deadlines ------------------------------------------------------------------------------------------------------

    def _on_wake(self, now: Instant) -> _Effects:
        effects: _Effects = ()
        for due in self._deadlines.due(now):
            match due:
                case _Deadline.ACCEPT:
                    effects += self._on_accept_due()
                case _Deadline.RESUME:
                    effects += self._leave(Failed("the link to the producer did not come back in time (rule 31)"))
                case _Deadline.GRACE:
                    effects += self._leave(Failed(self._lost_because))
                case _Deadline.INACTIVITY:
                    effects += self._on_inactivity_due(now)
                case _:
                    assert_never(due)
        return effects

    def _on_accept_due(self) -> _Effects:
        timeout_s = seconds(self._options.accept_timeout_ns)
        return self._leave(TimedOut(f"{self._producer} did not accept within {timeout_s} s (rule 5)"))

    def _on_inactivity_due(self, now: Instant) -> _Effects:
        # The deadline is not moved with each element, which would cost more than the element. It is looked at when
        # it comes, and set anew if the user has begun to wait since, or not at all if nobody waits.
        timeout_ns = self._options.inactivity_timeout_ns
        assert timeout_ns is not None
        if self._waiting_since is None:
            return ()
        due = self._waiting_since + timeout_ns
        if due > now:
            self._deadlines.set(_Deadline.INACTIVITY, due)
            return ()
        return self._leave(TimedOut(f"nothing from {self._producer} for {seconds(timeout_ns)} s (rule 33)"))

    # ----------------------------------------------------------------------------------------------------------------

    def _note(self, text: str) -> _Effects:
        return (Note(Severity.WARNING, f"stream to {self._address}: {text}"),)

    def _rubbish(self, peer: Address, what: object) -> _Effects:
        return self._note(f"dropped from {peer}: {what!r:.200} (rule 35)")

    def invariants(self) -> None:
        """Assert what holds between two calls."""
        phase, buffered, window = self._phase, len(self._buffer), self._options.window
        assert self._outstanding >= 0, f"{self._outstanding} outstanding"
        assert buffered <= window, f"{buffered} buffered, the window is {window}"
        assert (self.outcome is not None) == (phase is _Phase.ENDED), f"{phase}: {self.outcome}"
        assert self._waiting_since is None or not buffered, "the user waits with elements in the buffer"
        self._deadlines.invariants()
        if phase is _Phase.ENDED:
            assert self._producer is None, "ended and still holding the producer"
            assert not self._deadlines, "ended and still waiting for something"
            assert self._waiting_since is None, "ended and the user was not told"
            return
        credit = self._threshold - self._until_due
        assert self._outstanding + buffered + credit == (window if self._begun else 0), "the window does not add up"
        if phase is _FLOWING:
            assert credit < self._threshold or self.demand_due, "demand is due and nobody will ask"
        reply = (_Phase.SUBSCRIBING, _Phase.SUSPENDED)
        assert (_Deadline.ACCEPT in self._deadlines) == (not self._accepted and phase in reply), f"accept, {phase}"
        lost = (_Phase.SUSPENDED, _Phase.RESUMING)
        assert (_Deadline.RESUME in self._deadlines) == (self._accepted and phase in lost), f"resume, {phase}"
        assert (_Deadline.GRACE in self._deadlines) == (phase is _ORPHANED), f"grace, {phase}"
