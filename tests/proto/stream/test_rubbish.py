"""Rules 35 and 36, and the checks on options: what does not belong here changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from casty_proto.machine import Note
from casty_proto.stream import (
    Begin,
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
    StreamReleased,
    StreamResume,
    StreamResumed,
    StreamSubscribed,
    Subscribe,
    Subscriber,
    SubscriberOptions,
)

RUBBISH_FOR_PUBLISHER: list[object] = [
    None,
    "hello",
    StreamCompleted(0),
    StreamElement(1, 0),
    Subscribe("x", demand="many"),  # type: ignore[arg-type]
    Subscribe("x", retain=None),  # type: ignore[arg-type]
    Subscribe("x", attempt=1.5),  # type: ignore[arg-type]
    StreamResume("c", "0", 1, 1),  # type: ignore[arg-type]
    StreamResume("c", 0, -1, 1),
    StreamResume("c", 0, None, 1),  # type: ignore[arg-type]
]

RUBBISH_FOR_SUBSCRIBER: list[object] = [
    None,
    42,
    StreamDemand(1),
    StreamElements(0, ()),
    StreamElements(0, [1]),  # type: ignore[arg-type]
    StreamElements(0, 7),  # type: ignore[arg-type]
    StreamElement(1, "0"),  # type: ignore[arg-type]
    StreamElements(None, (1,)),  # type: ignore[arg-type]
    StreamResumed(0, 0),
]


@pytest.mark.parametrize("message", RUBBISH_FOR_PUBLISHER)
@pytest.mark.parametrize("subscribed", [True, False])
def test_rule_35_f_5_rubbish_changes_nothing_at_the_producer(message: object, subscribed: bool) -> None:
    publisher = Publisher[int]("p")
    if subscribed:
        publisher.handle(Received("c", Subscribe("c", retain=4)), 0)
    [note] = publisher.handle(Received("c", message), 0)
    assert isinstance(note, Note)
    publisher.invariants()
    if not subscribed:
        publisher.handle(Received("c", Subscribe("c")), 0)
    publisher.offer(1)
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == (Send("c", StreamElement(1, 0)),)


@pytest.mark.parametrize("message", RUBBISH_FOR_SUBSCRIBER)
def test_rule_35_f_5_rubbish_changes_nothing_at_the_consumer(message: object) -> None:
    subscriber = Subscriber[int]("c", "p")
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    [note] = subscriber.handle(Received("p", message), 0)
    assert isinstance(note, Note)
    subscriber.invariants()
    subscriber.handle(Received("p", StreamElement(1, 0)), 0)
    assert subscriber.take() == 1


@pytest.mark.parametrize("message", [StreamCancel(), StreamReleased(), StreamCancel(3)])  # type: ignore[arg-type]
def test_rule_35_what_belongs_to_no_stream_is_ignored(message: object) -> None:
    publisher = Publisher[int]("p")
    assert publisher.handle(Received("c", message), 0) == ()
    publisher.invariants()


def test_rule_36_a_consumer_takes_single_elements_and_batches_alike() -> None:
    subscriber = Subscriber[int]("c", "p", SubscriberOptions(window=4, batch=False))
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p")), 0)
    subscriber.handle(Received("p", StreamElements(0, (0, 1))), 0)
    subscriber.handle(Received("p", StreamElement(2, 2)), 0)
    assert [subscriber.take() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: PublisherOptions(buffer_size=-1),
        lambda: PublisherOptions(subscription_timeout_ns=-1),
        lambda: PublisherOptions(resume_timeout_ns=-1),
        lambda: PublisherOptions(max_retained=-1),
        lambda: PublisherOptions(max_batch=0),
        lambda: SubscriberOptions(window=0),
        lambda: SubscriberOptions(window=2**63),
        lambda: SubscriberOptions(window=4, replenish_at=5),
        lambda: SubscriberOptions(window=4, replenish_at=0),
        lambda: SubscriberOptions(inactivity_timeout_ns=-1),
        lambda: SubscriberOptions(accept_timeout_ns=-1),
        lambda: SubscriberOptions(resume_timeout_ns=-1),
        lambda: SubscriberOptions(grace_ns=-1),
        lambda: evolve(SubscriberOptions(window=8, replenish_at=8), window=4),
    ],
)
def test_options_that_make_no_sense_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()


def test_options_are_numbers() -> None:
    with pytest.raises(TypeError, match="buffer_size"):
        PublisherOptions(buffer_size="64")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="window"):
        SubscriberOptions(window=1.5)  # type: ignore[arg-type]
