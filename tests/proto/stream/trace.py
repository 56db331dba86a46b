"""A trace checker: replays the messages that one end of a stream sees, and asserts the rules on them.

It shares no code with the machines. What it keeps is what an onlooker could keep: the demand, the elements, and
whether the stream is idle, active or done.
"""

from __future__ import annotations

from typing import Any

from casty_proto.stream import (
    MAX_DEMAND,
    StreamCancel,
    StreamCompleted,
    StreamDemand,
    StreamElement,
    StreamElements,
    StreamFailed,
    StreamRefused,
    StreamReleased,
    StreamResume,
    StreamResumed,
    StreamSubscribed,
    Subscribe,
)


class Trace:
    """What passes one end of a stream. Call `up` and `down` in the order in which that end sends and receives."""

    def __init__(self, *, at_consumer: bool) -> None:
        self.at_consumer = at_consumer
        self.state = "idle"
        self.demand = 0
        self.elements = 0
        self.cancelled = False
        self.deaf = False
        self.resume: StreamResume | None = None
        self.log: list[Any] = []

    def lost(self) -> None:
        """The link broke: at the consumer, what still arrives does not count until the producer has resumed."""
        self.deaf = self.at_consumer

    def up(self, message: Any) -> None:
        """A message to the producer."""
        self.log.append(message)
        mine = self.at_consumer
        match message:
            case Subscribe():
                assert not mine or self.state == "idle", "RS 1.10: subscribed twice"
                self.demand = message.demand
                self.deaf = False
            case StreamDemand():
                assert not mine or self.state == "active", f"RS 2.3, 2.1: demand while {self.state}"
                assert not mine or not self.cancelled, "RS 2.7: demand after cancellation"
                assert not mine or not self.deaf, "demand over a link that is not in order"
                assert message.n > 0, "RS 3.9"
                assert message.received <= self.elements, "acknowledged what never came"
                self.demand = min(self.demand + message.n, MAX_DEMAND)
            case StreamCancel():
                assert not mine or self.state != "done", "RS 2.3: cancelled after the end"
                assert not mine or not self.cancelled, "RS 2.6: cancelled twice"
                self.cancelled = True
            case StreamResume():
                assert not mine or message.received == self.elements, "resumes from elsewhere"
                self.resume = message
            case StreamReleased():
                assert self.state == "done", "released before the end"
            case _:
                raise AssertionError(f"no message to a producer: {message}")

    def down(self, message: Any) -> None:
        """A message to the consumer."""
        self.log.append(message)
        if self.deaf and not isinstance(message, StreamResumed | StreamRefused):
            return
        match message:
            case StreamSubscribed():
                assert self.state == "idle" or not self.elements, "RS 2.12: accepted twice"
                self.state = "active"
            case StreamElement():
                self._elements(message.sequence, 1)
            case StreamElements():
                self._elements(message.first, len(message.elements))
            case StreamCompleted():
                self._end()
                assert message.sequence == self.elements, "completed with elements missing"
            case StreamFailed():
                self._end()
            case StreamRefused():
                assert self.state == "idle" or self.resume is not None, "refused in the middle"
                self.state = "done"
            case StreamResumed():
                self._resumed(message)
            case _:
                raise AssertionError(f"no message to a consumer: {message}")

    def _elements(self, first: int, count: int) -> None:
        assert self.state == "active", f"RS 1.7, 1.9: elements while {self.state}"
        assert not self.cancelled or self.at_consumer, "RS 1.8: elements after cancellation"
        assert count > 0, "an empty batch"
        assert first == self.elements, f"RS 1.3: element {first} instead of {self.elements}"
        self.elements += count
        assert self.elements <= self.demand, f"RS 1.1: {self.elements} elements, {self.demand} requested"

    def _end(self) -> None:
        assert self.state == "active", f"RS 1.7: an end while {self.state}"
        assert not self.cancelled or self.at_consumer, "RS 1.8: an end after cancellation"
        self.state = "done"

    def _resumed(self, message: StreamResumed) -> None:
        assert self.resume is not None, "resumed without being asked"
        assert message.attempt == self.resume.attempt, "the answer to another attempt"
        assert message.first == self.resume.received, "resumed elsewhere"
        self.deaf = False
        self.state = "active"
        self.elements = message.first
        self.demand = min(self.resume.received + self.resume.demand, MAX_DEMAND)
