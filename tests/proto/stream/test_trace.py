"""The trace checker itself: a test that relies on it proves nothing unless it objects to every kind of broken trace."""

from __future__ import annotations

import pytest

from casty_proto.stream import (
    StreamCancel,
    StreamCompleted,
    StreamDemand,
    StreamElement,
    StreamElements,
    StreamFailed,
    StreamReleased,
    StreamResume,
    StreamResumed,
    StreamSubscribed,
    Subscribe,
)

from .trace import Trace

OPENED = [Subscribe("c"), StreamSubscribed("p"), StreamDemand(2)]
UP = (Subscribe, StreamDemand, StreamCancel, StreamResume, StreamReleased)


def replay(messages: list[object], *, at_consumer: bool) -> None:
    trace = Trace(at_consumer=at_consumer)
    for message in messages:
        (trace.up if isinstance(message, UP) else trace.down)(message)


@pytest.mark.parametrize(
    ("rule", "messages"),
    [
        ("1.1", [*OPENED, StreamElements(0, (1, 2, 3))]),
        ("1.1", [Subscribe("c"), StreamSubscribed("p"), StreamElement(1, 0)]),
        ("1.3", [*OPENED, StreamElement(1, 0), StreamElement(1, 0)]),
        ("1.3", [*OPENED, StreamElement(1, 1)]),
        ("1.7", [*OPENED, StreamCompleted(0), StreamElement(1, 0)]),
        ("1.7", [*OPENED, StreamCompleted(0), StreamFailed("x")]),
        ("1.8", [*OPENED, StreamCancel(), StreamElement(1, 0)]),
        ("1.8", [*OPENED, StreamCancel(), StreamCompleted(0)]),
        ("1.9", [Subscribe("c", demand=1), StreamElement(1, 0)]),
        ("missing", [*OPENED, StreamCompleted(1)]),
        ("without being asked", [*OPENED, StreamResumed(0, 1)]),
        ("elsewhere", [*OPENED, StreamResume("c", 0, 2, 1), StreamResumed(1, 1)]),
    ],
)
def test_a_producer_that_breaks_a_rule_is_caught(rule: str, messages: list[object]) -> None:
    with pytest.raises(AssertionError, match=rule):
        replay(messages, at_consumer=False)


@pytest.mark.parametrize(
    ("rule", "messages"),
    [
        ("2.1", [Subscribe("c"), StreamDemand(1)]),
        ("2.3", [*OPENED, StreamCompleted(0), StreamDemand(1)]),
        ("2.3", [*OPENED, StreamFailed("x"), StreamCancel()]),
        ("2.6", [*OPENED, StreamCancel(), StreamCancel()]),
        ("2.7", [*OPENED, StreamCancel(), StreamDemand(1)]),
        ("1.10", [*OPENED, Subscribe("c")]),
        ("3.9", [*OPENED, StreamDemand(0)]),
        ("never came", [*OPENED, StreamDemand(1, received=1)]),
        ("from elsewhere", [*OPENED, StreamResume("c", 1, 1, 1)]),
        ("before the end", [*OPENED, StreamReleased()]),
    ],
)
def test_a_consumer_that_breaks_a_rule_is_caught(rule: str, messages: list[object]) -> None:
    with pytest.raises(AssertionError, match=rule):
        replay(messages, at_consumer=True)


def test_elements_in_flight_after_a_cancellation_are_allowed_at_the_consumer() -> None:
    replay([*OPENED, StreamCancel(), StreamElement(1, 0), StreamCompleted(1)], at_consumer=True)
