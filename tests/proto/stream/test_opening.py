"""Rules 1 to 5: how a stream is opened, and who belongs to it."""

from __future__ import annotations

import pytest

from casty_proto.machine import SECOND, Note, Wake
from casty_proto.stream import (
    Begin,
    Cancelled,
    Completed,
    ConsumerAccepted,
    Ended,
    Fail,
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
    StreamReleased,
    StreamResume,
    StreamSubscribed,
    Subscribe,
    Subscriber,
    SubscriberOptions,
    TimedOut,
)

from .bench import Bench


def test_rule_1_rs_1_9_the_acceptance_comes_before_any_element() -> None:
    publisher = Publisher[str]("p")
    publisher.offer("a")
    assert publisher.handle(Received("c", Subscribe("c", demand=2)), 0) == (
        Send("c", StreamSubscribed("p")),
        ConsumerAccepted("c"),
        Send("c", StreamElement("a", 0)),
    )


def test_rule_1_t_109_a_failed_producer_accepts_and_then_fails() -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Fail("broken"), 0)
    effects = publisher.handle(Received("c", Subscribe("c")), 0)
    assert effects == (
        Send("c", StreamSubscribed("p")),
        ConsumerAccepted("c"),
        Send("c", StreamFailed("broken")),
        Ended(Failed("broken")),
    )


def test_rule_1_t_109_t_213_none_is_refused_where_a_message_is_made() -> None:
    with pytest.raises(ValueError, match="consumer"):
        Subscribe(None)
    with pytest.raises(ValueError, match="producer"):
        StreamSubscribed(None)
    with pytest.raises(ValueError, match="element"):
        StreamElement(None, 0)
    with pytest.raises(TypeError, match="reason"):
        StreamFailed(None)  # type: ignore[arg-type]


def test_rule_1_elements_before_the_acceptance_are_dropped_and_noted() -> None:
    subscriber = Subscriber[str]("c", "p")
    subscriber.handle(Open(), 0)
    [note] = subscriber.handle(Received("p", StreamElement("a", 0)), 0)
    assert isinstance(note, Note)
    assert subscriber.outcome is None
    [note] = subscriber.handle(Received("p", StreamCompleted(0)), 0)
    assert isinstance(note, Note)
    assert subscriber.outcome is None


def test_rule_2_rs_1_10_the_same_consumer_is_refused_a_second_time() -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Received("c", Subscribe("c", demand=1)), 0)
    [refusal] = publisher.handle(Received("c", Subscribe("c", demand=5)), 0)
    assert isinstance(refusal, Send)
    assert isinstance(refusal.message, StreamRefused)
    publisher.offer("a")
    publisher.offer("b")
    effects = publisher.handle(Received("c", StreamDemand(1)), 0)
    assert effects == (Send("c", StreamElement("a", 0)), Send("c", StreamElement("b", 1))), "the first demand stands"


def test_rule_2_rs_1_11_a_11_a_second_consumer_is_refused_and_the_first_untouched() -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Received("c", Subscribe("c")), 0)
    [refusal] = publisher.handle(Received("d", Subscribe("d", demand=9)), 0)
    assert isinstance(refusal, Send)
    assert refusal.to == "d"
    assert refusal.message == StreamRefused("p has its one consumer already (rule 2)")
    publisher.offer("a")
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == (Send("c", StreamElement("a", 0)),)


def test_rule_2_a_refused_consumer_fails_and_says_nothing_more() -> None:
    subscriber = Subscriber[str]("c", "p")
    subscriber.handle(Begin(), 0)
    subscriber.handle(Open(), 0)
    [ended] = subscriber.handle(Received("p", StreamRefused("taken")), 0)
    assert ended == Ended(Failed("refused by p: taken"))


def test_rule_3_a_12_demand_before_a_subscription_is_refused() -> None:
    publisher = Publisher[str]("p")
    publisher.offer("a")
    [refusal] = publisher.handle(Received("c", StreamDemand(1)), 0)
    assert isinstance(refusal, Send)
    assert isinstance(refusal.message, StreamRefused)
    [note] = publisher.handle(Received(None, StreamDemand(1)), 0)
    assert isinstance(note, Note), "there is nobody to answer"
    publisher.invariants()


def test_rule_3_rs_3_1_demand_from_a_stranger_is_refused() -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Received("c", Subscribe("c")), 0)
    publisher.offer("a")
    [refusal] = publisher.handle(Received("d", StreamDemand(1)), 0)
    assert isinstance(refusal, Send)
    assert refusal.to == "d"
    assert isinstance(refusal.message, StreamRefused)


@pytest.mark.parametrize("message", [StreamCancel(), StreamReleased()])
def test_rule_3_rs_3_1_a_stranger_cannot_end_the_stream(message: object) -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Received("c", Subscribe("c")), 0)
    assert publisher.handle(Received("d", message), 0) == ()
    publisher.offer("a")
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == (Send("c", StreamElement("a", 0)),)


def test_rule_3_messages_of_an_unknown_sender_count_as_the_consumers() -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Received(None, Subscribe("c")), 0)
    publisher.offer("a")
    assert publisher.handle(Received(None, StreamDemand(1)), 0) == (Send("c", StreamElement("a", 0)),)
    assert publisher.handle(Received(None, StreamCancel("enough")), 0) == (
        InputClosed("enough"),
        Ended(Cancelled("enough")),
    )


def test_rule_3_messages_of_an_unknown_sender_count_as_the_producers() -> None:
    subscriber = Subscriber[str]("c", "p")
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received(None, StreamSubscribed("p")), 0)
    subscriber.handle(Received(None, StreamElement("a", 0)), 0)
    assert subscriber.take() == "a"
    assert subscriber.handle(Received(None, StreamCompleted(1)), 0) == (Ended(Completed()),)


def test_rule_4_t_205_rs_2_5_a_second_producer_is_cancelled_and_the_first_goes_on() -> None:
    subscriber = Subscriber[str]("c", "p", SubscriberOptions(window=2))
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    cancel, note = subscriber.handle(Received("q", StreamSubscribed("q")), 0)
    assert isinstance(cancel, Send)
    assert cancel.to == "q"
    assert isinstance(cancel.message, StreamCancel)
    assert isinstance(note, Note)
    subscriber.handle(Received("p", StreamElement("a", 0)), 0)
    assert subscriber.take() == "a"


def test_rule_4_rs_2_12_a_second_acceptance_changes_nothing() -> None:
    subscriber = Subscriber[str]("c", "p", SubscriberOptions(window=2))
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    [note] = subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    assert isinstance(note, Note)
    subscriber.invariants()


@pytest.mark.parametrize(
    "message",
    [StreamElements(0, ("x",)), StreamElement("x", 0), StreamCompleted(0), StreamFailed("x"), StreamRefused("x")],
)
def test_rule_4_what_another_producer_sends_is_dropped(message: object) -> None:
    subscriber = Subscriber[str]("c", "p", SubscriberOptions(window=2))
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    [note] = subscriber.handle(Received("q", message), 0)
    assert isinstance(note, Note)
    assert subscriber.outcome is None
    subscriber.handle(Received("p", StreamElement("a", 0)), 0)
    assert subscriber.take() == "a"


def test_rule_5_a_5_a_producer_without_a_consumer_times_out_and_refuses_a_late_one() -> None:
    publisher = Publisher[str]("p", PublisherOptions(subscription_timeout_ns=SECOND // 2))
    publisher.handle(Open(), 100)
    publisher.offer("a")
    assert publisher.deadline() == 100 + SECOND // 2
    assert publisher.handle(Wake(), SECOND // 2) == (), "early"
    closed, ended = publisher.handle(Wake(), 100 + SECOND // 2)
    assert isinstance(closed, InputClosed)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, TimedOut)
    assert publisher.deadline() is None
    publisher.invariants()
    [refusal] = publisher.handle(Received("c", Subscribe("c")), SECOND)
    assert isinstance(refusal, Send)
    assert isinstance(refusal.message, StreamRefused)
    assert "has ended: nobody subscribed" in refusal.message.reason


def test_rule_5_a_6_a_subscribed_stream_may_idle_for_longer_than_the_timeout() -> None:
    bench = Bench(PublisherOptions(subscription_timeout_ns=SECOND)).open()
    bench.advance(100 * SECOND)
    bench.put("a")
    assert bench.drain() == ["a"]


def test_rule_5_a_producer_waits_for_ever_unless_told_otherwise() -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Open(), 0)
    assert publisher.deadline() is None


def test_rule_5_a_consumer_that_is_not_answered_gives_up_and_cancels() -> None:
    subscriber = Subscriber[str]("c", "p", SubscriberOptions(accept_timeout_ns=SECOND))
    assert subscriber.handle(Open(), 0) == (Send("p", Subscribe("c", batch=True)),)
    assert subscriber.deadline() == SECOND
    cancel, ended = subscriber.handle(Wake(), SECOND)
    assert isinstance(cancel, Send)
    assert isinstance(cancel.message, StreamCancel)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, TimedOut)
    subscriber.invariants()


def test_rule_5_opening_twice_is_opening_once() -> None:
    subscriber = Subscriber[str]("c", "p")
    subscriber.handle(Open(), 0)
    assert subscriber.handle(Open(), 5) == ()


def test_rule_2_the_elements_accepted_before_the_subscription_are_delivered_after_it() -> None:
    bench = Bench()
    bench.put_all(1, 2, 3)
    bench.complete()
    assert bench.open().drain() == [1, 2, 3]
    assert bench.outcome == Completed()


def test_rule_31_a_stranger_cannot_resume_the_stream() -> None:
    publisher = Publisher[str]("p")
    publisher.handle(Received("c", Subscribe("c", demand=1, retain=4)), 0)
    [refusal] = publisher.handle(Received("d", StreamResume("d", 0, 5, 1)), 0)
    assert isinstance(refusal, Send)
    assert refusal.to == "d"
    assert isinstance(refusal.message, StreamRefused)
