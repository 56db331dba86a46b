"""Rules 31, 32 and 34: links that do not come back, partners that are lost, ends that must not be."""

from __future__ import annotations

import pytest

from casty_proto.machine import SECOND, Wake
from casty_proto.stream import (
    CLOSED,
    CONSUMED,
    EMPTY,
    Begin,
    Cancelled,
    Complete,
    Completed,
    ConsumerLost,
    Ended,
    Failed,
    InputClosed,
    LinkLost,
    LinkRestored,
    Open,
    ProducerLost,
    Publisher,
    Received,
    Send,
    StreamCancel,
    StreamCompleted,
    StreamDemand,
    StreamElements,
    StreamFailed,
    StreamRefused,
    StreamReleased,
    StreamResume,
    StreamResumed,
    StreamSubscribed,
    Subscriber,
    SubscriberOptions,
)

from .bench import CONSUMER, PRODUCER, Bench
from .opened import RESUMABLE, flowing, retaining


@pytest.mark.parametrize("received", [-1, 3])
def test_rule_31_a_resume_from_where_the_producer_never_was_is_refused(received: int) -> None:
    publisher = retaining(2, demand=2)
    refusal, *_ = publisher.handle(Received("c", StreamResume("c", received, 4, 1)), 0)
    assert isinstance(refusal, Send)
    assert isinstance(refusal.message, StreamRefused)
    publisher.invariants()


def test_rule_31_a_subscription_that_was_lost_with_the_link_is_repeated() -> None:
    bench = Bench(subscriber=RESUMABLE, delay_ns=5)
    bench.put_all(1, 2)
    bench.to_subscriber(Open())
    bench.to_subscriber(Begin())
    bench.cut().mend()
    assert bench.drain() == [1, 2]


@pytest.mark.parametrize("completed", [True, False])
def test_rule_31_an_acceptance_that_was_lost_with_the_link_is_repeated(completed: bool) -> None:
    bench = Bench(subscriber=RESUMABLE, delay_ns=5)
    if completed:
        bench.complete()
    bench.to_subscriber(Open())
    bench.to_subscriber(Begin())
    bench.pass_until(5)
    assert bench.step_up()
    bench.cut().mend()
    bench.run()
    bench.complete()
    assert bench.drain() == []
    assert bench.outcome == Completed()


def test_rule_31_f_1_without_retention_a_broken_link_is_one_failure_and_a_cancellation() -> None:
    bench = Bench(subscriber=SubscriberOptions(window=4)).open()
    bench.put_all(1, 2)
    bench.run()
    bench.cut()
    assert bench.ends[PRODUCER] == [Cancelled("the link to the consumer was lost")]
    assert [bench.take(), bench.take(), bench.take()] == [1, 2, EMPTY]
    assert bench.ends[CONSUMER] == [Failed("the link to the producer was lost (rule 31)")]
    assert bench.publisher.offer(3) == CLOSED
    bench.mend().run()
    assert bench.at_consumer.log[-1] == StreamCancel("the link to the producer was lost (rule 31)")


def test_rule_31_a_producer_that_retains_nothing_cannot_resume() -> None:
    subscriber = Subscriber[int]("c", "p", RESUMABLE)
    subscriber.handle(Open(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p", retain=0)), 0)
    *_, ended = subscriber.handle(LinkLost(), 0)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Failed)


def test_rule_31_a_link_that_does_not_come_back_fails_the_stream_on_both_sides() -> None:
    bench = Bench(subscriber=RESUMABLE).open()
    bench.put(1)
    bench.run()
    bench.cut()
    bench.complete()
    bench.advance(31 * SECOND)
    assert bench.take() == 1
    assert bench.take() is EMPTY
    assert isinstance(bench.outcome, Failed)
    [ended] = bench.ends[PRODUCER]
    assert isinstance(ended, Cancelled), "neither end believes that it was completed"


def test_rule_31_a_consumer_that_never_noticed_learns_that_the_producer_gave_up() -> None:
    publisher = retaining(3, demand=2)
    publisher.handle(LinkLost(), 0)
    failed, *_ = publisher.handle(Wake(), 30 * SECOND)
    assert isinstance(failed, Send)
    assert isinstance(failed.message, StreamFailed)
    publisher.invariants()


def test_rule_31_a_producer_that_has_forgotten_the_stream_refuses_to_resume_it() -> None:
    bench = Bench(subscriber=RESUMABLE).open()
    bench.put(1)
    bench.run()
    bench.publisher = Publisher(PRODUCER)
    bench.cut(producer_notices=False).mend()
    bench.run()
    assert bench.take() == 1
    assert bench.take() is EMPTY
    assert isinstance(bench.outcome, Failed)
    assert "resume" in bench.outcome.reason


def test_rule_32_a_10_a_lost_producer_fails_the_stream_after_the_grace() -> None:
    subscriber = flowing(4, grace_ns=2 * SECOND)
    assert subscriber.handle(ProducerLost("node down"), SECOND) == ()
    assert subscriber.deadline() == 3 * SECOND
    assert subscriber.handle(Received("p", StreamElements(0, (0, 1))), SECOND) == (), "still on its way"
    assert [subscriber.take(), subscriber.take()] == [0, 1]
    assert subscriber.handle(CONSUMED, SECOND) == (), "there is nobody to ask"
    assert subscriber.handle(Wake(), 3 * SECOND) == (Ended(Failed("node down")),)


def test_rule_32_a_10_a_completion_within_the_grace_counts() -> None:
    subscriber = flowing(4)
    subscriber.handle(ProducerLost(), 0)
    assert subscriber.handle(Received("p", StreamCompleted(0)), 1)[-1] == Ended(Completed())


@pytest.mark.parametrize("state", ["new", "subscribing", "suspended", "resuming", "no grace"])
def test_rule_32_no_grace_where_nothing_can_be_on_its_way(state: str) -> None:
    subscriber = flowing(4, grace_ns=0) if state == "no grace" else flowing(4)
    if state in ("new", "subscribing"):
        subscriber = Subscriber[int]("c", "p")
    if state == "subscribing":
        subscriber.handle(Open(), 0)
    if state in ("suspended", "resuming"):
        subscriber.handle(LinkLost(), 0)
    if state == "resuming":
        subscriber.handle(LinkRestored(), 0)
    assert subscriber.handle(ProducerLost("gone"), 0) == (Ended(Failed("gone")),)
    subscriber.invariants()


def test_rule_32_a_link_that_breaks_within_the_grace_ends_it() -> None:
    subscriber = flowing(4)
    subscriber.handle(ProducerLost(), 0)
    [ended] = subscriber.handle(LinkLost(), 0)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Failed)


def test_rule_31_a_lost_consumer_is_a_cancellation() -> None:
    publisher = retaining(3, demand=2)
    assert publisher.handle(ConsumerLost("node down"), 0) == (InputClosed("node down"), Ended(Cancelled("node down")))
    assert publisher.handle(ConsumerLost("again"), 0) == ()


@pytest.mark.parametrize("event", [Received("c", StreamReleased()), ConsumerLost(), Wake()])
def test_rule_34_the_end_is_kept_until_it_is_acknowledged_or_nobody_can_ask(event: object) -> None:
    publisher = retaining(2, demand=2)
    assert publisher.handle(Complete(), 0)[2:] == (Send("c", StreamCompleted(2)),)
    assert publisher.handle(LinkLost(), 0) == ()
    assert publisher.handle(Received("c", StreamResume("c", 1, 3, 1)), 0) == (
        Send("c", StreamResumed(1, 1)),
        Send("c", StreamElements(1, (1,))),
        Send("c", StreamCompleted(2)),
    )
    publisher.invariants()
    assert publisher.handle(event, 30 * SECOND) == (Ended(Completed()),)  # type: ignore[arg-type]
    publisher.invariants()


def test_rule_34_an_acknowledgement_before_the_end_is_ignored() -> None:
    publisher = retaining(3, demand=2)
    publisher.handle(Complete(), 0)
    assert publisher.handle(Received("c", StreamReleased()), 0) == ()
    assert publisher.handle(Received("c", StreamDemand(1, 2)), 0)[-1] == Send("c", StreamCompleted(3))


def test_rule_34_a_stranger_cannot_acknowledge_the_end() -> None:
    publisher = retaining(2, demand=2)
    publisher.handle(Complete(), 0)
    assert publisher.handle(Received("d", StreamReleased()), 0) == ()
    assert publisher.handle(Received("c", StreamResume("c", 2, 3, 1)), 0)[-1] == Send("c", StreamCompleted(2))


@pytest.mark.parametrize("message", [StreamCompleted(0), StreamCompleted(5), StreamFailed("x")])
def test_rule_34_the_consumer_acknowledges_the_end(message: object) -> None:
    subscriber = flowing(4)
    assert Send("p", StreamReleased()) in subscriber.handle(Received("p", message), 0)
