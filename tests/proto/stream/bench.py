"""A publisher, a subscriber and a link between them: a driver small enough to be read, with no clock but its own.

The link keeps the order and loses nothing, until it is cut; then everything on it is gone. Both ends are watched by a
trace checker, and the invariants of a machine are checked after each of its events.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from casty_proto.machine import Instant, Nanoseconds, Note, Wake
from casty_proto.stream import (
    ACCEPTED,
    CONSUMED,
    EMPTY,
    FULL,
    INPUT_READY,
    NUDGE,
    WAITING,
    Available,
    Begin,
    Cancel,
    Complete,
    ConsumerAccepted,
    Continue,
    Ended,
    Fail,
    LinkLost,
    LinkRestored,
    Open,
    Outcome,
    Publisher,
    PublisherEvent,
    PublisherOptions,
    Received,
    Room,
    Send,
    Subscriber,
    SubscriberEvent,
    SubscriberOptions,
)

from .trace import Trace

PRODUCER = "producer"
CONSUMER = "consumer"


class Bench:
    """Two machines and a link."""

    def __init__(
        self,
        publisher: PublisherOptions | None = None,
        subscriber: SubscriberOptions | None = None,
        delay_ns: Nanoseconds = 0,
    ) -> None:
        self.now: Instant = 0
        self.delay_ns = delay_ns
        self.connected = True
        self.publisher: Publisher[Any] = Publisher(PRODUCER, publisher)
        self.subscriber: Subscriber[Any] = Subscriber(CONSUMER, PRODUCER, subscriber)
        self.upward: deque[tuple[Instant, Any]] = deque()
        self.downward: deque[tuple[Instant, Any]] = deque()
        self.at_producer = Trace(at_consumer=False)
        self.at_consumer = Trace(at_consumer=True)
        self.nudges = 0
        self.blocked: deque[Any] = deque()
        self.waiting = False
        self.accepted: list[Any] = []
        self.taken: list[Any] = []
        self.notes: list[Note] = []
        self.published: list[Any] = []
        """The other effects of the publisher."""
        self.ends: dict[str, list[Outcome]] = {PRODUCER: [], CONSUMER: []}
        self._handling = False

    # The user at the producer -----------------------------------------------------------------------------------------

    def put(self, element: Any) -> None:
        """Offer an element; one that is turned away waits for room."""
        outcome = self.publisher.offer(element)
        if outcome == FULL:
            self.blocked.append(element)
        if outcome == NUDGE:
            self.nudges += 1
            assert self.nudges == 1, "rule 27: a second nudge"
        if outcome in (ACCEPTED, NUDGE):
            self.accepted.append(element)
        self.publisher.invariants()

    def put_all(self, *elements: Any) -> None:
        for element in elements:
            self.put(element)

    def complete(self) -> None:
        self.to_publisher(Complete())

    def fail(self, reason: str, cause: BaseException | None = None, *, flush: bool = True) -> None:
        self.to_publisher(Fail(reason, cause, flush))

    # The user at the consumer -----------------------------------------------------------------------------------------

    def open(self) -> Bench:
        """Subscribe and begin."""
        self.to_publisher(Open())
        self.to_subscriber(Open())
        self.to_subscriber(Begin())
        return self.run()

    def take(self) -> Any:
        """What an iterator does for one element, up to where it would wait."""
        element = self.subscriber.take()
        if element is not EMPTY:
            self.taken.append(element)
        if self.subscriber.demand_due:
            self.to_subscriber(CONSUMED)
        self.subscriber.invariants()
        return element

    def drain(self) -> list[Any]:
        """Take all that comes without waiting for time to pass; returns everything that was ever taken."""
        self.run()
        while self.take() is not EMPTY:
            self.run()
        return self.taken

    def wait(self) -> None:
        assert self.subscriber.take() is EMPTY
        self.waiting = True
        self.to_subscriber(WAITING)

    def cancel(self) -> None:
        self.to_subscriber(Cancel())

    @property
    def outcome(self) -> Outcome | None:
        return self.subscriber.outcome

    # The driver -------------------------------------------------------------------------------------------------------

    def to_publisher(self, event: PublisherEvent) -> None:
        assert not self._handling, "rule 15: an event inside the handling of another"
        self._handling = True
        effects = self.publisher.handle(event, self.now)
        self.publisher.invariants()
        self._handling = False
        for effect in effects:
            match effect:
                case Send():
                    assert effect.to == CONSUMER
                    self.at_producer.down(effect.message)
                    if self.connected:
                        self.downward.append((self.now + self.delay_ns, effect.message))
                case Continue():
                    self.nudges += 1
                    assert self.nudges == 1, "rule 27: a second nudge"
                case Room():
                    assert effect.count > 0
                    self.published.append(effect)
                    for element in [self.blocked.popleft() for _ in range(min(effect.count, len(self.blocked)))]:
                        self.put(element)
                case Ended():
                    self.ends[PRODUCER].append(effect.outcome)
                case Note():
                    self.notes.append(effect)
                case ConsumerAccepted():
                    assert effect.consumer == CONSUMER
                case _:
                    self.published.append(effect)

    def to_subscriber(self, event: SubscriberEvent) -> None:
        assert not self._handling, "rule 15: an event inside the handling of another"
        self._handling = True
        effects = self.subscriber.handle(event, self.now)
        self.subscriber.invariants()
        self._handling = False
        for effect in effects:
            match effect:
                case Send():
                    assert effect.to == PRODUCER
                    self.at_consumer.up(effect.message)
                    if self.connected:
                        self.upward.append((self.now + self.delay_ns, effect.message))
                case Available():
                    assert self.waiting, "told of elements without waiting for them"
                    self.waiting = False
                case Ended():
                    self.ends[CONSUMER].append(effect.outcome)
                case Note():
                    self.notes.append(effect)

    def step_up(self) -> bool:
        """Deliver the next message to the producer, if it has arrived."""
        if not self.upward or self.upward[0][0] > self.now:
            return False
        message = self.upward.popleft()[1]
        self.at_producer.up(message)
        self.to_publisher(Received(CONSUMER, message))
        return True

    def step_down(self) -> bool:
        """Deliver the next message to the consumer, if it has arrived."""
        if not self.downward or self.downward[0][0] > self.now:
            return False
        message = self.downward.popleft()[1]
        self.at_consumer.down(message)
        self.to_subscriber(Received(PRODUCER, message))
        return True

    def step_nudge(self) -> bool:
        """Let the producer's actor handle its nudge."""
        if not self.nudges:
            return False
        self.nudges -= 1
        self.to_publisher(INPUT_READY)
        return True

    def run(self) -> Bench:
        """Go on until nothing moves, letting the link take its time."""
        while True:
            if self.step_up() or self.step_down() or self.step_nudge():
                continue
            arrivals = [queue[0][0] for queue in (self.upward, self.downward) if queue]
            if not arrivals:
                return self
            self.pass_until(min(arrivals))

    def advance(self, duration_ns: Nanoseconds) -> Bench:
        """Let time pass, with every alarm in it."""
        until = self.now + duration_ns
        self.run()
        while (alarm := self._alarm()) is not None and alarm <= until:
            self.pass_until(alarm)
            self.run()
        self.pass_until(until)
        return self.run()

    def _alarm(self) -> Instant | None:
        alarms = (self.publisher.deadline(), self.subscriber.deadline())
        return min((at for at in alarms if at is not None), default=None)

    def pass_until(self, until: Instant) -> None:
        self.now = max(self.now, until)
        for deadline, wake in (
            (self.publisher.deadline, self.to_publisher),
            (self.subscriber.deadline, self.to_subscriber),
        ):
            at = deadline()
            if at is not None and at <= self.now:
                wake(Wake())
                at = deadline()
                assert at is None or at > self.now, "a deadline that has passed is still there"

    # The link ---------------------------------------------------------------------------------------------------------

    def cut(self, *, producer_notices: bool = True) -> Bench:
        """Break the link. What was on it is gone. A producer that does not notice goes on sending into the void."""
        self.connected = False
        self.upward.clear()
        self.downward.clear()
        self.at_consumer.lost()
        if producer_notices:
            self.to_publisher(LinkLost())
        self.to_subscriber(LinkLost())
        return self

    def mend(self) -> Bench:
        """Put a new link in place of the broken one."""
        self.connected = True
        self.to_subscriber(LinkRestored())
        return self
