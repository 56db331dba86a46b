"""Rules 22 to 24: a consumer that leaves."""

from __future__ import annotations

import pytest

from casty_proto.machine import Note
from casty_proto.stream import (
    CLOSED,
    CONSUMED,
    EMPTY,
    INPUT_READY,
    Begin,
    Cancel,
    Cancelled,
    Complete,
    Completed,
    ConsumerLost,
    Ended,
    InputClosed,
    Open,
    ProducerLost,
    Publisher,
    PublisherEvent,
    Received,
    Send,
    StreamCancel,
    StreamCompleted,
    StreamDemand,
    StreamElement,
    StreamElements,
    StreamFailed,
    StreamSubscribed,
    Subscribe,
    Subscriber,
    SubscriberEvent,
    SubscriberOptions,
)

from .bench import CONSUMER, PRODUCER, Bench


def flowing(window: int = 4) -> Subscriber[int]:
    subscriber = Subscriber[int]("c", "p", SubscriberOptions(window=window))
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    return subscriber


@pytest.mark.parametrize("before", [0, 5])
def test_rule_22_a_4_the_producer_sees_one_cancellation(before: int) -> None:
    bench = Bench(subscriber=SubscriberOptions(window=4), delay_ns=7).open()
    bench.put_all(*range(20))
    bench.run()
    for n in range(before):
        assert bench.take() == n
        bench.run()
    bench.cancel()
    bench.cancel()
    bench.run()
    assert [message for message in bench.at_producer.log if isinstance(message, StreamCancel)] == [
        StreamCancel("the consumer cancelled")
    ]
    assert bench.ends == {
        PRODUCER: [Cancelled("the consumer cancelled")],
        CONSUMER: [Cancelled("the consumer cancelled")],
    }
    assert bench.take() is EMPTY, "what was buffered is gone"


def test_rule_22_rs_2_6_2_7_3_5_3_15_one_cancel_and_nothing_after_it() -> None:
    subscriber = flowing(window=2)
    subscriber.handle(Received("p", StreamElements(0, (1, 2))), 0)
    subscriber.take()
    assert subscriber.handle(Cancel("enough"), 0) == (Send("p", StreamCancel("enough")), Ended(Cancelled("enough")))
    assert subscriber.handle(Cancel(), 0) == ()
    assert subscriber.handle(CONSUMED, 0) == ()
    assert subscriber.handle(Begin(), 0) == ()
    assert subscriber.outcome == Cancelled("enough")


def test_rule_22_a_consumer_that_has_not_been_accepted_yet_cancels_as_well() -> None:
    subscriber = Subscriber[int]("c", "p")
    subscriber.handle(Open(), 0)
    cancel, _ = subscriber.handle(Cancel("enough"), 0)
    assert cancel == Send("p", StreamCancel("enough"))
    assert subscriber.handle(Received("p", StreamSubscribed("p")), 0) == ()


@pytest.mark.parametrize("opened", [True, False])
def test_rule_22_where_there_is_no_producer_nobody_is_told(opened: bool) -> None:
    subscriber = flowing() if opened else Subscriber[int]("c", "p")
    if opened:
        subscriber.handle(ProducerLost(), 0)
    assert subscriber.handle(Cancel("enough"), 0) == (Ended(Cancelled("enough")),)


def test_rule_22_leaving_after_the_end_and_the_last_element_changes_nothing() -> None:
    subscriber = flowing()
    subscriber.handle(Received("p", StreamElement(1, 0)), 0)
    subscriber.handle(Received("p", StreamCompleted(1)), 0)
    assert subscriber.take() == 1
    assert subscriber.handle(Cancel(), 0) == ()
    assert subscriber.take() is EMPTY
    assert subscriber.outcome == Completed()


def test_rule_19_leaving_after_the_end_but_before_the_last_element_does_not_look_complete() -> None:
    subscriber = flowing()
    subscriber.handle(Received("p", StreamElement(1, 0)), 0)
    subscriber.handle(Received("p", StreamCompleted(1)), 0)
    assert subscriber.handle(Cancel("enough"), 0) == ()
    assert subscriber.take() is EMPTY
    assert subscriber.outcome == Cancelled("enough")


def test_rule_23_rs_1_8_3_12_a_cancelled_producer_sends_neither_elements_nor_the_end() -> None:
    publisher = Publisher[int]("p")
    publisher.handle(Received("c", Subscribe("c", demand=1)), 0)
    for n in range(3):
        publisher.offer(n)
    assert publisher.handle(Received("c", StreamCancel("enough")), 0) == (
        InputClosed("enough"),
        Ended(Cancelled("enough")),
    )
    assert publisher.handle(INPUT_READY, 0) == ()
    assert publisher.offer(4) == CLOSED
    assert not any(isinstance(effect, Send) for effect in publisher.handle(Complete(), 0))


@pytest.mark.parametrize("event", [Received("c", StreamCancel("gone")), ConsumerLost("gone")])
def test_rule_23_a_stream_that_was_still_flushing_ends_as_cancelled(event: PublisherEvent) -> None:
    publisher = Publisher[int]("p")
    publisher.handle(Received("c", Subscribe("c", retain=4)), 0)
    publisher.offer(1)
    publisher.handle(Complete(), 0)
    assert publisher.handle(event, 0) == (Ended(Cancelled("gone")),)


def test_rule_23_t_306_rs_3_6_demand_after_cancel_has_no_effect() -> None:
    publisher = Publisher[int]("p")
    publisher.handle(Received("c", Subscribe("c")), 0)
    publisher.offer(1)
    publisher.handle(Received("c", StreamCancel()), 0)
    assert [publisher.handle(Received("c", StreamDemand(1)), 0) for _ in range(3)] == [(), (), ()]


def test_rule_23_t_307_rs_3_7_3_16_cancel_after_cancel_has_no_effect() -> None:
    publisher = Publisher[int]("p")
    publisher.handle(Received("c", Subscribe("c")), 0)
    first, *more = [publisher.handle(Received("c", StreamCancel()), 0) for _ in range(3)]
    assert len(first) == 2
    assert more == [(), ()]
    publisher.invariants()


def test_rule_23_t_312_after_a_cancellation_no_more_than_was_requested_arrives() -> None:
    bench = Bench(subscriber=SubscriberOptions(window=15), delay_ns=10).open()
    bench.put_all(*range(20))
    bench.step_nudge()
    bench.advance(10)
    assert bench.take() == 0
    bench.put_all(*range(20, 40))
    bench.cancel()
    bench.run()
    assert bench.at_consumer.elements <= 15
    assert bench.taken == [0]
    assert not bench.notes


def test_rule_24_t_208_rs_2_8_elements_in_flight_are_dropped_silently_up_to_the_demand() -> None:
    subscriber = flowing(window=3)
    subscriber.handle(Received("p", StreamElement(0, 0)), 0)
    subscriber.handle(Cancel(), 0)
    assert subscriber.handle(Received("p", StreamElement(1, 1)), 0) == ()
    assert subscriber.handle(Received("p", StreamElements(2, (2,))), 0) == ()
    assert subscriber.take() is EMPTY
    [note] = subscriber.handle(Received("p", StreamElement(3, 3)), 0)
    assert isinstance(note, Note), "more than was ever requested"


@pytest.mark.parametrize("end", [StreamCompleted(0), StreamFailed("x")])
def test_rule_24_a_7_the_end_may_cross_a_cancellation_at_the_consumer(end: object) -> None:
    subscriber = flowing()
    subscriber.handle(Cancel("enough"), 0)
    assert subscriber.handle(Received("p", end), 0) == ()
    assert subscriber.outcome == Cancelled("enough")


@pytest.mark.parametrize("resumable", [True, False])
def test_rule_24_a_7_cancel_and_complete_cross_on_the_link(resumable: bool) -> None:
    bench = Bench(subscriber=SubscriberOptions(resumable=resumable), delay_ns=10).open()
    bench.put_all(1, 2)
    bench.run()
    bench.complete()
    bench.cancel()
    bench.run()
    assert bench.ends == {PRODUCER: [Completed()], CONSUMER: [Cancelled("the consumer cancelled")]}
    assert bench.publisher.deadline() is None
    assert not bench.notes


@pytest.mark.parametrize("event", [Cancel(), ProducerLost()])
def test_rule_24_what_was_sent_before_a_resume_is_dropped_silently_as_well(event: SubscriberEvent) -> None:
    # The producer does not notice that the link broke, sends over the new one what the consumer asked for over the
    # old one, and sends it again when it is asked to resume. The consumer has left meanwhile.
    bench = Bench(subscriber=SubscriberOptions(window=2, resumable=True), delay_ns=5).open()
    bench.cut(producer_notices=False).mend()
    bench.put_all(1, 2)
    bench.step_nudge()
    bench.to_subscriber(event)
    bench.run()
    assert sum(isinstance(message, StreamElements) for message in bench.at_consumer.log) == 2
    assert not bench.notes


def test_rule_22_a_processor_passes_cancellation_upstream() -> None:
    # RS 4.1: a stage in the middle is a consumer of one stream and the producer of another.
    first, second = Bench().open(), Bench().open()
    first.put(1)
    second.put(first.drain()[0])
    second.cancel()
    second.run()
    assert second.publisher.closed_reason is not None
    first.to_subscriber(Cancel(second.publisher.closed_reason))
    first.run()
    assert first.ends[PRODUCER] == [Cancelled("the consumer cancelled")]
