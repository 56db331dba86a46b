"""Machines in the middle of a stream that can resume."""

from __future__ import annotations

from casty_proto.machine import SECOND
from casty_proto.stream import (
    INPUT_READY,
    Begin,
    Open,
    Publisher,
    PublisherOptions,
    Received,
    StreamSubscribed,
    Subscribe,
    Subscriber,
    SubscriberOptions,
)

RESUMABLE = SubscriberOptions(window=4, resumable=True)


def retaining(count: int, demand: int, retain: int = 8, **options: int) -> Publisher[int]:
    """A producer that has accepted `count` elements and sent `demand` of them to a consumer that resumes."""
    publisher = Publisher[int]("p", PublisherOptions(**options))
    publisher.handle(Received("c", Subscribe("c", demand=demand, batch=True, retain=retain)), 0)
    for n in range(count):
        publisher.offer(n)
    publisher.handle(INPUT_READY, 0)
    publisher.invariants()
    return publisher


def flowing(window: int = 4, grace_ns: int = 2 * SECOND) -> Subscriber[int]:
    """A consumer that resumes, was accepted, and has asked for its window."""
    options = SubscriberOptions(window=window, resumable=True, grace_ns=grace_ns)
    subscriber = Subscriber[int]("c", "p", options)
    subscriber.handle(Open(), 0)
    subscriber.handle(Begin(), 0)
    subscriber.handle(Received("p", StreamSubscribed("p", window)), 0)
    return subscriber
