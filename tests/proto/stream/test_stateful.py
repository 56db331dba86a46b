"""Random offers, takes, ends, cuts and resumes, checked against what a stream may do at all."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from casty_proto.machine import SECOND, Severity
from casty_proto.stream import (
    EMPTY,
    WAITING,
    Completed,
    ConsumerLost,
    ProducerLost,
    PublisherOptions,
    SubscriberOptions,
)

from .bench import CONSUMER, PRODUCER, Bench


class StreamMachine(RuleBasedStateMachine):
    """One stream. The bench checks the trace at both ends and the invariants after each event."""

    @initialize(
        buffer_size=st.integers(0, 5),
        max_batch=st.integers(1, 4),
        max_retained=st.sampled_from([2, 1024]),
        window=st.integers(1, 6),
        batch=st.booleans(),
        resumable=st.booleans(),
        delay_ns=st.sampled_from([0, 3]),
    )
    def open(
        self,
        buffer_size: int,
        max_batch: int,
        max_retained: int,
        window: int,
        batch: bool,
        resumable: bool,
        delay_ns: int,
    ) -> None:
        self.window = window
        self.buffer_size = buffer_size
        self.serial = 0
        self.completed = False
        self.told = True
        self.left = False
        self.bench = Bench(
            PublisherOptions(buffer_size=buffer_size, max_batch=max_batch, max_retained=max_retained),
            SubscriberOptions(window=window, batch=batch, resumable=resumable, inactivity_timeout_ns=100 * SECOND),
            delay_ns,
        )
        self.bench.open()

    @rule(count=st.integers(1, 4))
    def put(self, count: int) -> None:
        if self.bench.publisher.closed_reason is None and not self.bench.blocked:
            for _ in range(count):
                self.bench.put(self.serial)
                self.serial += 1

    @rule()
    def leave_the_queue(self) -> None:
        """Whoever waits for room gives up: the element must not turn up."""
        self.bench.blocked.clear()

    @rule(count=st.integers(1, 4))
    def take(self, count: int) -> None:
        for _ in range(count):
            if self.bench.take() is EMPTY:
                return

    @rule()
    def wait(self) -> None:
        if self.bench.take() is EMPTY:
            self.bench.waiting = True
            self.bench.to_subscriber(WAITING)

    @rule(how=st.sampled_from([*(["not yet"] * 8), "complete", "fail", "abort", "cancel", "producer", "consumer"]))
    def end(self, how: str) -> None:
        bench = self.bench
        match how:
            case "complete":
                self.completed = self.completed or bench.publisher.closed_reason is None
                bench.complete()
            case "fail" | "abort":
                bench.fail("Booom", flush=how == "fail")
            case "cancel":
                self.left = True
                bench.cancel()
            case "producer":
                self.told = False
                bench.to_subscriber(ProducerLost())
            case "consumer":
                bench.to_publisher(ConsumerLost())

    @rule()
    def step_up(self) -> None:
        self.bench.step_up()

    @rule()
    def step_down(self) -> None:
        self.bench.step_down()

    @rule()
    def step_nudge(self) -> None:
        self.bench.step_nudge()

    @rule()
    def run_until_quiet(self) -> None:
        self.bench.run()

    @rule(duration_ns=st.sampled_from([1, 2, 3, SECOND, 20 * SECOND]))
    def advance(self, duration_ns: int) -> None:
        if duration_ns < SECOND:
            self.bench.pass_until(self.bench.now + duration_ns)
        else:
            self.bench.advance(duration_ns)

    @precondition(lambda self: self.bench.connected)
    @rule(producer_notices=st.booleans())
    def cut(self, producer_notices: bool) -> None:
        self.told = self.told and producer_notices
        self.bench.cut(producer_notices=producer_notices)

    @precondition(lambda self: not self.bench.connected)
    @rule()
    def mend(self) -> None:
        self.bench.mend()

    @invariant()
    def received_is_a_prefix_of_accepted(self) -> None:
        assert self.bench.taken == self.bench.accepted[: len(self.bench.taken)]

    @invariant()
    def each_end_ends_at_most_once(self) -> None:
        assert all(len(outcomes) <= 1 for outcomes in self.bench.ends.values())

    @invariant()
    def no_false_completion(self) -> None:
        if self.bench.ends[CONSUMER] == [Completed()]:
            assert self.completed
            assert self.bench.at_consumer.elements == len(self.bench.accepted)

    @invariant()
    def never_more_than_the_window(self) -> None:
        bench = self.bench
        ended = bench.ends[CONSUMER]
        assert ended or bench.at_consumer.demand - len(bench.taken) <= self.window

    @invariant()
    def nobody_broke_the_protocol(self) -> None:
        assert not [note for note in self.bench.notes if note.severity >= Severity.WARNING]

    def teardown(self) -> None:
        """Whatever happened, mended and left alone both ends end, and a completed stream was delivered whole."""
        bench = self.bench
        if not bench.connected:
            bench.mend()
        bench.complete()
        bench.drain()
        if bench.outcome is None:
            bench.wait()
        bench.advance(200 * SECOND)
        bench.drain()
        assert not bench.waiting
        assert bench.ends[CONSUMER], "the consumer never ended"
        if bench.ends[CONSUMER] == [Completed()] and not self.left:
            assert bench.taken == bench.accepted
        if not self.told:
            # A cancellation may have gone with a link whose loss the producer has not heard of. It will, in the end.
            bench.to_publisher(ConsumerLost())
        assert bench.ends[PRODUCER], "the producer never ended"


TestStream = StreamMachine.TestCase
TestStream.settings = settings(max_examples=200, stateful_step_count=50, deadline=None, derandomize=True)
