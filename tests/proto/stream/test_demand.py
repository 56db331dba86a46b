"""Rules 6 to 12 and 16: demand, and that it is obeyed."""

from __future__ import annotations

import random

import pytest

from casty_proto.machine import Note
from casty_proto.stream import (
    ACCEPTED,
    CONSUMED,
    EMPTY,
    INPUT_READY,
    MAX_DEMAND,
    Begin,
    Completed,
    Continue,
    Ended,
    Failed,
    InputClosed,
    Open,
    Publisher,
    PublisherOptions,
    Received,
    Send,
    StreamCancel,
    StreamCompleted,
    StreamDemand,
    StreamElement,
    StreamElements,
    StreamFailed,
    StreamRefused,
    StreamResume,
    StreamResumed,
    StreamSubscribed,
    Subscribe,
    Subscriber,
    SubscriberOptions,
)

from .bench import Bench


def publishing(*elements: object, completed: bool = False, **options: int) -> Bench:
    """A producer with a source and one consumer that speaks by hand: no batches, and only the demand it is told."""
    bench = Bench(PublisherOptions(buffer_size=0, **options))
    bench.put_all(*elements)
    if completed:
        bench.complete()
    send(bench, Subscribe("consumer"))
    return bench


def send(bench: Bench, *messages: object) -> list[object]:
    """What the producer says to these messages, one after the other."""
    bench.downward.clear()
    for message in messages:
        bench.at_producer.up(message)
        bench.to_publisher(Received("consumer", message))
        while bench.step_nudge():
            pass
    said = [message for _, message in bench.downward]
    bench.downward.clear()
    return said


def flowing(window: int, replenish_at: int | None = None) -> Subscriber[object]:
    """A consumer that was accepted and has asked for its window."""
    subscriber = Subscriber[object]("c", "p", SubscriberOptions(window=window, replenish_at=replenish_at))
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    return subscriber


def test_rule_6_t_101_rs_1_1_elements_come_as_they_are_requested() -> None:
    bench = publishing(*range(10))
    assert send(bench) == []
    assert send(bench, StreamDemand(1)) == [StreamElement(0, 0)]
    assert send(bench, StreamDemand(1), StreamDemand(2)) == [StreamElement(n, n) for n in (1, 2, 3)]
    assert send(bench) == []


def test_rule_6_a_1_one_and_then_twenty() -> None:
    bench = publishing(*range(1, 30))
    assert send(bench, StreamDemand(1)) == [StreamElement(1, 0)]
    assert send(bench, StreamDemand(20)) == [StreamElement(n + 1, n) for n in range(1, 21)]


def test_rule_6_t_102_rs_1_2_fewer_elements_than_requested_then_completed() -> None:
    bench = publishing(*"abc", completed=True)
    assert send(bench, StreamDemand(10)) == [*(StreamElement(e, n) for n, e in enumerate("abc")), StreamCompleted(3)]


def test_rule_6_demand_that_is_there_before_the_element_is_served_by_a_nudge() -> None:
    bench = publishing()
    send(bench, StreamDemand(2))
    bench.put_all("a", "b", "c")
    assert send(bench) == []
    assert bench.step_nudge()
    assert [message for _, message in bench.downward] == [StreamElement("a", 0), StreamElement("b", 1)]


def test_rule_7_rs_2_1_without_demand_nothing_is_sent() -> None:
    bench = Bench()
    bench.to_subscriber(Open())
    bench.put_all(1, 2, 3)
    bench.run()
    assert bench.subscriber.take() is EMPTY
    assert bench.at_producer.elements == 0


def test_rule_7_t_201_t_308_a_consumer_asks_for_its_window_once_it_is_accepted() -> None:
    subscriber = Subscriber[object]("c", "p", SubscriberOptions(window=16))
    assert not subscriber.demand_due
    assert subscriber.handle(Begin(), 0) == ()
    assert subscriber.handle(Open(), 0) == (Send("p", Subscribe("c", batch=True)),)
    assert subscriber.handle(Received("p", StreamSubscribed("p")), 0) == (Send("p", StreamDemand(16)),)
    assert subscriber.handle(Begin(), 0) == (), "beginning twice is beginning once"


def test_rule_7_a_user_who_begins_after_the_acceptance_is_served_as_well() -> None:
    subscriber = Subscriber[object]("c", "p", SubscriberOptions(window=4))
    subscriber.handle(Open(), 0)
    assert subscriber.handle(Received("p", StreamSubscribed("p")), 0) == ()
    assert subscriber.handle(Begin(), 0) == (Send("p", StreamDemand(4)),)


def test_rule_8_rs_3_8_demand_adds_up() -> None:
    bench = publishing(*range(20))
    assert len(send(bench, StreamDemand(10), StreamDemand(5))) == 15


def test_rule_8_t_317_rs_3_17_unlimited_demand() -> None:
    half = MAX_DEMAND // 2
    for demand in ([MAX_DEMAND], [half, half, 1], [MAX_DEMAND, MAX_DEMAND]):
        bench = publishing(*"abc", completed=True)
        said = send(bench, *map(StreamDemand, demand))
        assert said == [*(StreamElement(e, n) for n, e in enumerate("abc")), StreamCompleted(3)]


def test_rule_8_t_317_rs_3_17_demand_saturates_and_never_fails() -> None:
    bench = publishing(*range(20))
    said = send(bench, StreamDemand(1))
    for _ in range(10):
        said += send(bench, StreamDemand(MAX_DEMAND - 1))
    assert said == [StreamElement(n, n) for n in range(20)]
    assert send(bench, StreamCancel()) == []


def test_rule_8_a_subscription_may_ask_for_more_than_the_most() -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Received("c", Subscribe("c", demand=MAX_DEMAND * 2)), 0)
    publisher.invariants()


@pytest.mark.parametrize("n", [0, -1, -(2**63), -random.Random(1).randrange(2**40), True, 1.5, "3", None])
def test_rule_9_t_309_rs_3_9_an_illegal_demand_fails_the_stream_at_once(n: object) -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Received("c", Subscribe("c")), 0)
    publisher.offer("a")
    failed, *rest = reversed(publisher.handle(Received("c", StreamDemand(n)), 0))  # type: ignore[arg-type]
    assert isinstance(failed, Ended)
    assert isinstance(failed.outcome, Failed)
    assert "positive" in failed.outcome.reason
    assert repr(n) in failed.outcome.reason
    assert rest == [
        Send("c", StreamFailed(failed.outcome.reason)),
        InputClosed(failed.outcome.reason),
    ]
    publisher.invariants()


@pytest.mark.parametrize("message", [Subscribe("c", demand=-1), Subscribe("c", retain=-1)])
def test_rule_9_a_subscription_with_a_negative_number_is_refused(message: Subscribe) -> None:
    publisher = Publisher[str]("p")
    [refusal] = publisher.handle(Received("c", message), 0)
    assert isinstance(refusal, Send)
    assert isinstance(refusal.message, StreamRefused)
    assert "-1" in refusal.message.reason
    assert Send("d", StreamSubscribed("p")) in publisher.handle(Received("d", Subscribe("d")), 0), "still free"


@pytest.mark.parametrize(("window", "threshold"), [(1, 1), (2, 1), (3, 2), (4, 2), (16, 8), (17, 9)])
def test_rule_10_half_of_the_window_is_asked_for_again(window: int, threshold: int) -> None:
    subscriber = flowing(window)
    subscriber.handle(Received("p", StreamElements(0, tuple(range(window)))), 0)
    due = []
    for n in range(threshold):
        assert subscriber.take() == n
        due.append(subscriber.demand_due)
    assert due == [False] * (threshold - 1) + [True]
    assert subscriber.handle(CONSUMED, 0) == (Send("p", StreamDemand(threshold, window)),)
    assert subscriber.demand_due is False
    assert subscriber.handle(CONSUMED, 0) == (), "nothing was consumed since"
    subscriber.invariants()


def test_rule_10_the_threshold_can_be_configured() -> None:
    subscriber = flowing(4, replenish_at=3)
    subscriber.handle(Received("p", StreamElements(0, ("a", "b", "c"))), 0)
    assert [subscriber.take(), subscriber.demand_due] == ["a", False]
    assert [subscriber.take(), subscriber.demand_due] == ["b", False]
    assert [subscriber.take(), subscriber.demand_due] == ["c", True]


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("window", [1, 2, 3, 16])
def test_rule_10_every_window_flows_and_is_never_exceeded(window: int, batch: bool) -> None:
    bench = Bench(PublisherOptions(buffer_size=4), SubscriberOptions(window=window, batch=batch), delay_ns=5).open()
    for n in range(100):
        bench.put(n)
        assert bench.at_consumer.demand - len(bench.taken) <= window
        bench.drain()
    bench.complete()
    assert bench.drain() == list(range(100))
    assert bench.outcome == Completed()


def test_rule_11_t_302_rs_3_2_demand_may_be_sent_while_the_acceptance_is_handled() -> None:
    bench = publishing(*range(10))
    assert send(bench, *[StreamDemand(1)] * 3) == [StreamElement(n, n) for n in range(3)]
    for n in range(3, 10):
        assert send(bench, StreamDemand(1)) == [StreamElement(n, n)]


def test_rule_11_rs_3_10_3_11_demand_is_answered_at_once() -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Received("c", Subscribe("c")), 0)
    publisher.offer("a")
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == (Send("c", StreamElement("a", 0)),)


@pytest.mark.parametrize("elements", [StreamElement("x", 0), StreamElements(0, ("x", "y", "z"))])
def test_rule_12_f_6_elements_beyond_the_demand_break_the_protocol(elements: object) -> None:
    subscriber = Subscriber[object]("c", "p", SubscriberOptions(window=2))
    subscriber.handle(Open(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    if isinstance(elements, StreamElements):
        subscriber.handle(Begin(), 0)
    note, cancel, ended = subscriber.handle(Received("p", elements), 0)
    assert isinstance(note, Note)
    assert isinstance(cancel, Send)
    assert isinstance(cancel.message, StreamCancel)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Failed)
    assert "were requested" in ended.outcome.reason
    assert subscriber.take() is EMPTY
    assert subscriber.outcome == ended.outcome
    subscriber.invariants()


def test_rule_16_rs_3_4_a_huge_demand_is_served_in_bounded_pieces() -> None:
    publisher = Publisher[int]("p", PublisherOptions(buffer_size=0, max_batch=10))
    for n in range(35):
        publisher.offer(n)
    publisher.handle(Received("c", Subscribe("c", batch=True)), 0)
    effects = publisher.handle(Received("c", StreamDemand(MAX_DEMAND)), 0)
    assert effects == (Send("c", StreamElements(0, tuple(range(10)))), Continue())
    publisher.invariants()
    assert publisher.handle(INPUT_READY, 0) == (Send("c", StreamElements(10, tuple(range(10, 20)))), Continue())
    assert publisher.handle(INPUT_READY, 0) == (Send("c", StreamElements(20, tuple(range(20, 30)))), Continue())
    assert publisher.handle(INPUT_READY, 0) == (Send("c", StreamElements(30, tuple(range(30, 35)))),)


def test_rule_16_a_resume_that_takes_several_calls_asks_for_one_nudge() -> None:
    publisher = Publisher[int]("p", PublisherOptions(max_batch=2))
    publisher.handle(Received("c", Subscribe("c", demand=4, batch=True, retain=4)), 0)
    for n in range(3):
        publisher.offer(n)
    assert publisher.handle(INPUT_READY, 0) == (Send("c", StreamElements(0, (0, 1))), Continue())
    assert publisher.handle(INPUT_READY, 0) == (Send("c", StreamElements(2, (2,))),)
    assert publisher.handle(Received("c", StreamResume("c", 0, 4, 1)), 0) == (
        Send("c", StreamResumed(0, 1)),
        Send("c", StreamElements(0, (0, 1))),
        Continue(),
    )
    assert publisher.offer(3) == ACCEPTED
    publisher.invariants()


def test_rule_16_f_4_a_flood_of_demand_takes_no_memory() -> None:
    publisher = Publisher[int]("p")
    publisher.handle(Received("c", Subscribe("c")), 0)
    one = Received("c", StreamDemand(1))
    for _ in range(100_000):
        assert publisher.handle(one, 0) == ()
    publisher.invariants()
    publisher.offer(7)
    assert publisher.handle(INPUT_READY, 0) == (Send("c", StreamElement(7, 0)),)


def test_rule_15_t_303_rs_3_3_demand_from_within_each_element_does_not_recurse() -> None:
    # The bench asserts that no event is handled inside the handling of another; a window of 1 demands with each.
    bench = Bench(PublisherOptions(buffer_size=0), SubscriberOptions(window=1, batch=False)).open()
    count = 100_000
    for n in range(count):
        bench.publisher.offer(n)
    bench.to_publisher(INPUT_READY)
    bench.run()
    while bench.take() is not EMPTY:
        bench.run()
    assert bench.taken == list(range(count))


def test_rule_15_t_103_signals_never_overlap() -> None:
    for _ in range(100):
        bench = Bench(subscriber=SubscriberOptions(window=1)).open()
        bench.put_all(*range(10))
        bench.complete()
        assert bench.drain() == list(range(10))
