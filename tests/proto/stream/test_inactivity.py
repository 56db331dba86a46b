"""Rule 33: how long a user waits for a producer that says nothing."""

from __future__ import annotations

from casty_proto.machine import SECOND, Wake
from casty_proto.stream import (
    EMPTY,
    WAITING,
    Available,
    Begin,
    Cancelled,
    Ended,
    LinkLost,
    LinkRestored,
    Open,
    Received,
    Send,
    StreamCancel,
    StreamElement,
    StreamElements,
    StreamResumed,
    StreamSubscribed,
    Subscriber,
    SubscriberOptions,
    TimedOut,
)

from .bench import PRODUCER, Bench

TIMEOUT = 10 * SECOND


def flowing(now: int = 0) -> Subscriber[int]:
    options = SubscriberOptions(window=4, resumable=True, inactivity_timeout_ns=TIMEOUT)
    subscriber = Subscriber[int]("c", "p", options)
    subscriber.handle(Open(), now)
    subscriber.handle(Begin(), now)
    subscriber.handle(Received("p", StreamSubscribed("p", 4)), now)
    return subscriber


def wait(subscriber: Subscriber[int], now: int) -> None:
    assert subscriber.take() is EMPTY
    assert subscriber.handle(WAITING, now) == ()
    subscriber.invariants()


def test_rule_33_a_waiting_user_times_out_and_the_producer_is_told() -> None:
    subscriber = flowing()
    wait(subscriber, 5)
    assert subscriber.deadline() == 5 + TIMEOUT
    assert subscriber.handle(Wake(), TIMEOUT) == (), "early"
    cancel, available, ended = subscriber.handle(Wake(), 5 + TIMEOUT)
    assert isinstance(cancel, Send)
    assert isinstance(cancel.message, StreamCancel)
    assert available == Available()
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, TimedOut)
    assert "10.0 s" in ended.outcome.reason
    assert subscriber.outcome == ended.outcome
    subscriber.invariants()


def test_rule_33_an_element_wakes_the_user_once_and_stops_the_count() -> None:
    subscriber = flowing()
    wait(subscriber, 0)
    assert subscriber.handle(Received("p", StreamElement(0, 0)), 1) == (Available(),)
    assert subscriber.handle(Received("p", StreamElement(1, 1)), 1) == ()
    assert subscriber.handle(Wake(), TIMEOUT) == ()
    assert subscriber.deadline() is None


def test_rule_33_the_count_starts_anew_with_each_wait() -> None:
    subscriber = flowing()
    wait(subscriber, 0)
    subscriber.handle(Received("p", StreamElement(0, 0)), 6 * SECOND)
    assert subscriber.take() == 0
    wait(subscriber, 7 * SECOND)
    assert subscriber.handle(Wake(), TIMEOUT) == ()
    assert subscriber.deadline() == 7 * SECOND + TIMEOUT
    assert subscriber.handle(Wake(), 7 * SECOND + TIMEOUT)[-1] == Ended(TimedOut("nothing from p for 10.0 s (rule 33)"))


def test_rule_33_a_slow_user_never_times_out() -> None:
    subscriber = flowing()
    wait(subscriber, 0)
    subscriber.handle(Received("p", StreamElements(0, (0, 1))), 1)
    assert subscriber.take() == 0
    for now in (TIMEOUT, 5 * TIMEOUT, 50 * TIMEOUT):
        assert subscriber.handle(Wake(), now) == ()
    assert subscriber.take() == 1
    wait(subscriber, 60 * TIMEOUT)
    assert subscriber.handle(Wake(), 60 * TIMEOUT + 1) == ()
    assert subscriber.outcome is None


def test_rule_33_a_user_who_has_not_begun_to_wait_never_times_out() -> None:
    subscriber = flowing()
    assert subscriber.deadline() is None


def test_rule_33_a_user_who_need_not_wait_is_told_at_once() -> None:
    subscriber = flowing()
    subscriber.handle(Received("p", StreamElement(0, 0)), 0)
    assert subscriber.handle(WAITING, 0) == (Available(),)
    assert subscriber.deadline() is None


def test_rule_33_the_acceptance_and_the_resumption_are_signs_of_the_producer() -> None:
    subscriber = Subscriber[int]("c", "p", SubscriberOptions(resumable=True, inactivity_timeout_ns=TIMEOUT))
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    wait(subscriber, 0)
    subscriber.handle(Received("p", StreamSubscribed("p", 16)), 4 * SECOND)
    assert subscriber.handle(Wake(), TIMEOUT) == ()
    assert subscriber.deadline() == 4 * SECOND + TIMEOUT
    subscriber.handle(LinkLost(), 5 * SECOND)
    subscriber.handle(LinkRestored(), 6 * SECOND)
    subscriber.handle(Received("p", StreamResumed(0, 1)), 7 * SECOND)
    assert subscriber.handle(Wake(), 4 * SECOND + TIMEOUT) == ()
    assert subscriber.deadline() == 7 * SECOND + TIMEOUT


def test_rule_33_without_a_timeout_a_user_waits_for_ever() -> None:
    subscriber = Subscriber[int]("c", "p")
    subscriber.handle(Open(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    wait(subscriber, 0)
    assert subscriber.deadline() is None


def test_rule_33_both_ends_of_a_silent_stream_end() -> None:
    bench = Bench(subscriber=SubscriberOptions(inactivity_timeout_ns=TIMEOUT)).open()
    bench.put(1)
    assert bench.drain() == [1]
    bench.wait()
    bench.advance(2 * TIMEOUT)
    assert not bench.waiting, "the user was woken"
    assert isinstance(bench.outcome, TimedOut)
    assert bench.ends[PRODUCER] == [Cancelled("nothing from producer for 10.0 s (rule 33)")]
