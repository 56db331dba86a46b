"""Rules 17 to 21: how a stream ends, where in the order, and what is left of it."""

from __future__ import annotations

import gc
import weakref

import pytest

from casty_proto.machine import Note
from casty_proto.stream import (
    EMPTY,
    WAITING,
    Available,
    Begin,
    Complete,
    Completed,
    Ended,
    Fail,
    Failed,
    InputClosed,
    LinkLost,
    LinkRestored,
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
    StreamReleased,
    StreamResumed,
    StreamSubscribed,
    Subscribe,
    Subscriber,
    SubscriberEvent,
    SubscriberOptions,
)

from .bench import CONSUMER, PRODUCER, Bench


class Place:
    """An address that can be watched going away."""


def publishing(demand: int = 0) -> Publisher[str]:
    publisher = Publisher[str]("p")
    publisher.handle(Received("c", Subscribe("c", demand=demand)), 0)
    return publisher


def flowing(window: int = 4) -> Subscriber[str]:
    subscriber = Subscriber[str]("c", "p", SubscriberOptions(window=window))
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    return subscriber


def test_rule_17_t_105_rs_1_5_one_completion_after_the_last_element() -> None:
    publisher = publishing()
    for element in "abc":
        publisher.offer(element)
    publisher.handle(Complete(), 0)
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == (Send("c", StreamElement("a", 0)),)
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == (Send("c", StreamElement("b", 1)),)
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == (
        Send("c", StreamElement("c", 2)),
        Send("c", StreamCompleted(3)),
        Ended(Completed()),
    )


def test_rule_17_t_105_an_empty_source_completes_without_demand() -> None:
    publisher = publishing()
    assert publisher.handle(Complete(), 0)[1:] == (
        InputClosed("the stream was completed"),
        Send("c", StreamCompleted(0)),
        Ended(Completed()),
    )


def test_rule_17_t_107_rs_1_7_nothing_after_the_end() -> None:
    publisher = publishing(demand=10)
    publisher.offer("a")
    publisher.handle(Complete(), 0)
    for message in (StreamDemand(10), StreamDemand(-1), StreamCancel(), StreamReleased()):
        assert publisher.handle(Received("c", message), 0) == ()
    publisher.invariants()


def test_rule_17_t_104_rs_1_4_a_failing_source_is_one_failure_and_nothing_else() -> None:
    cause = OSError("disk")
    publisher = publishing(demand=3)
    effects = publisher.handle(Fail("disk", cause), 0)
    assert [effect for effect in effects if isinstance(effect, Send)] == [Send("c", StreamFailed("disk", cause))]
    assert effects[-1] == Ended(Failed("disk"))
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == ()


@pytest.mark.parametrize("begin", [True, False])
def test_rule_17_t_209_t_210_the_end_comes_with_and_without_demand(begin: bool) -> None:
    for message, outcome in ((StreamCompleted(0), Completed()), (StreamFailed("x"), Failed("x"))):
        subscriber = Subscriber[str]("c", "p")
        subscriber.handle(Open(), 0)
        if begin:
            subscriber.handle(Begin(), 0)
        subscriber.handle(Received("p", StreamSubscribed("p")), 0)
        assert subscriber.handle(Received("p", message), 0) == (Ended(outcome),)
        assert subscriber.take() is EMPTY
        assert subscriber.outcome == outcome


def test_rule_18_a_2_completion_comes_after_the_elements_that_are_buffered() -> None:
    bench = Bench(subscriber=SubscriberOptions(window=8)).open()
    bench.put_all(1, 2, 3)
    bench.complete()
    bench.run()
    assert bench.ends == {PRODUCER: [Completed()], CONSUMER: [Completed()]}
    assert [bench.take(), bench.take(), bench.take()] == [1, 2, 3]
    assert bench.take() is EMPTY
    assert bench.outcome == Completed()


def test_rule_18_a_3_failure_comes_after_the_elements_and_names_its_reason() -> None:
    cause = ValueError("Booom")
    bench = Bench(subscriber=SubscriberOptions(window=2)).open()
    bench.put_all(1, 2, 3, 4, 5)
    bench.fail("Booom", cause)
    bench.put(6)
    assert bench.drain() == [1, 2, 3, 4, 5], "what was accepted, however small the window"
    assert isinstance(bench.outcome, Failed)
    assert bench.outcome.reason == "Booom"
    assert bench.outcome.cause is cause


def test_rule_18_rs_4_2_a_producer_that_goes_away_fails_at_once() -> None:
    bench = Bench(subscriber=SubscriberOptions(window=2)).open()
    bench.put_all(1, 2, 3, 4, 5)
    bench.run()
    bench.fail("stopped", flush=False)
    assert bench.drain() == [1, 2]
    assert bench.outcome == Failed("stopped")


def test_rule_18_a_producer_that_goes_away_while_it_flushes_does_not_complete() -> None:
    bench = Bench(subscriber=SubscriberOptions(window=2)).open()
    bench.put_all(1, 2, 3)
    bench.complete()
    bench.run()
    bench.fail("stopped", flush=False)
    assert bench.drain() == [1, 2]
    assert bench.outcome == Failed("stopped")


def test_rule_18_a_producer_that_goes_away_before_it_had_a_consumer_just_ends() -> None:
    publisher = Publisher[str]("p")
    publisher.offer("a")
    assert publisher.handle(Fail("stopped", flush=False), 0)[1:] == (InputClosed("stopped"), Ended(Failed("stopped")))
    publisher.invariants()


@pytest.mark.parametrize("sequence", [0, 2, "2", None])
def test_rule_19_a_completion_with_the_wrong_number_is_a_failure(sequence: object) -> None:
    subscriber = flowing()
    subscriber.handle(Received("p", StreamElement("a", 0)), 0)
    note, ended = subscriber.handle(Received("p", StreamCompleted(sequence)), 0)  # type: ignore[arg-type]
    assert isinstance(note, Note)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Failed)
    assert subscriber.take() == "a", "what arrived is the user's"
    subscriber.invariants()


def test_rule_20_t_203_rs_2_3_neither_demand_nor_cancellation_in_answer_to_the_end() -> None:
    for message in (StreamCompleted(4), StreamFailed("x")):
        subscriber = flowing(window=4)
        subscriber.handle(Received("p", StreamElements(0, ("a", "b", "c", "d"))), 0)
        effects = subscriber.handle(Received("p", message), 0)
        assert not any(isinstance(effect, Send) for effect in effects)
        while subscriber.take() is not EMPTY:
            assert not subscriber.demand_due
        subscriber.invariants()


@pytest.mark.parametrize("late", [StreamElement("x", 0), StreamElements(0, ("x",)), StreamCompleted(0)])
def test_rule_20_a_9_rs_2_4_what_comes_after_the_end_is_dropped_and_noted(late: object) -> None:
    subscriber = flowing()
    subscriber.handle(Received("p", StreamCompleted(0)), 0)
    [note] = subscriber.handle(Received("p", late), 0)
    assert isinstance(note, Note)
    assert subscriber.take() is EMPTY
    assert subscriber.outcome == Completed()


def test_rule_20_an_ended_consumer_is_deaf_to_everything_else() -> None:
    subscriber = flowing()
    subscriber.handle(Received("p", StreamFailed("x")), 0)
    messages = (StreamSubscribed("p"), StreamSubscribed("q"), StreamResumed(0, 1), StreamRefused("x"))
    received = [Received("p", message) for message in messages]
    events: list[SubscriberEvent] = [Open(), Begin(), LinkLost(), LinkRestored(), *received]
    for event in events:
        assert subscriber.handle(event, 0) == ()
        subscriber.invariants()
    assert subscriber.outcome == Failed("x")


def test_rule_20_a_waiting_user_is_told_of_the_end() -> None:
    subscriber = flowing()
    subscriber.take()
    subscriber.handle(WAITING, 0)
    assert subscriber.handle(Received("p", StreamCompleted(0)), 0) == (Available(), Ended(Completed()))


def test_rule_20_a_user_who_waits_after_the_end_is_told_at_once() -> None:
    subscriber = flowing()
    subscriber.handle(Received("p", StreamCompleted(0)), 0)
    assert subscriber.handle(WAITING, 0) == (Available(),)


def test_rule_21_a_8_rs_1_6_demand_after_completion_is_ignored() -> None:
    publisher = publishing()
    publisher.handle(Complete(), 0)
    for _ in range(3):
        assert publisher.handle(Received("c", StreamDemand(10)), 0) == ()
        publisher.invariants()


@pytest.mark.parametrize("message", [None, StreamCancel()])
def test_rule_21_rs_3_13_a_producer_that_has_ended_holds_no_reference_to_its_consumer(message: object) -> None:
    # T-313: some demand, then the end or a cancellation; the consumer must be collectable.
    publisher = Publisher[str]("p", PublisherOptions(buffer_size=10))
    consumer = Place()
    reference = weakref.ref(consumer)
    publisher.handle(Received(consumer, Subscribe(consumer, retain=4)), 0)
    for element in "abcdefghij":
        publisher.offer(element)
    publisher.handle(Received(consumer, StreamDemand(1)), 0)
    publisher.handle(Received(consumer, message or StreamDemand(-1)), 0)
    publisher.handle(Received(consumer, StreamReleased()), 0)
    del consumer
    gc.collect()
    assert reference() is None
    publisher.invariants()


@pytest.mark.parametrize("message", [StreamCompleted(0), StreamFailed("x"), StreamElement("gap", 7)])
def test_rule_20_rs_3_13_a_consumer_that_has_ended_holds_no_reference_to_its_producer(message: object) -> None:
    producer = Place()
    reference = weakref.ref(producer)
    subscriber = Subscriber[str]("c", producer)
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received(producer, StreamSubscribed(producer)), 0)
    subscriber.handle(Received(producer, message), 0)
    del producer
    gc.collect()
    assert reference() is None
    subscriber.invariants()


def test_rule_21_a_producer_that_has_failed_does_not_keep_the_exception() -> None:
    class BoomError(Exception):
        pass

    publisher = publishing()
    cause = BoomError()
    reference = weakref.ref(cause)
    publisher.handle(Fail("boom", cause), 0)
    del cause
    gc.collect()
    assert reference() is None


def test_rule_17_a_failure_can_be_sent_without_its_exception() -> None:
    failed = StreamFailed("Booom", ValueError("Booom"))
    assert failed.portable().reason == "Booom"
    assert failed.portable().cause is None
