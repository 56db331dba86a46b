"""The elements of a producer: those that were accepted and not sent, and those that were sent and not acknowledged.

    buffer  -- next_messages, as far as the demand allows -->  the link, and `retained`  -- acknowledge -->  forgotten
       ^                                                                    |
       +------------------------------ rewind ------------------------------+

An element is in one of the two places, or gone. `sent` is the number of the first one in the buffer; the retained ones
are those before it. A resume is a step back, not a second way to send: what the consumer lacks goes back to the front
of the buffer, `sent` goes back by as many, and the ordinary path does the rest (rules 29 and 30).
"""

from __future__ import annotations

from collections import deque

from .messages import MAX_DEMAND, StreamElement, StreamElements


class Outbox[E]:
    """Elements in order, and the demand for them. The fields are for reading; `buffer` is appended to by its owner."""

    __slots__ = ("_batch", "buffer", "demand", "retained", "sent")

    def __init__(self) -> None:
        self._batch = False
        self.buffer: deque[E] = deque()
        self.retained: deque[E] | None = None
        """Sent and not acknowledged; `None` where the consumer did not ask for that, or there is none."""
        self.sent = 0
        self.demand = 0

    def open(self, demand: int, retain: int, *, batch: bool) -> None:
        """There is a consumer. `retain` is the most that is kept for it; of more, the oldest are given up."""
        self._batch = batch
        self.demand = min(demand, MAX_DEMAND)
        self.retained = deque(maxlen=retain) if retain else None

    def close(self) -> None:
        """Give up every element, and the demand."""
        self.buffer.clear()
        self.retained = None
        self.demand = 0

    def request(self, n: int) -> None:
        """Add to the demand, which stops growing at its maximum (rule 8)."""
        self.demand = min(self.demand + n, MAX_DEMAND)

    def next_messages(self, count: int) -> tuple[StreamElements[E] | StreamElement[E], ...]:
        """Take `count` elements out of the buffer for sending. Neither it nor the demand may be smaller."""
        buffer, first = self.buffer, self.sent
        if count == len(buffer):
            elements = tuple(buffer)
            buffer.clear()
        else:
            take = buffer.popleft
            elements = tuple([take() for _ in range(count)])
        self.sent = first + count
        self.demand -= count
        if self.retained is not None:
            self.retained.extend(elements)
        if self._batch:
            return (StreamElements(first, elements),)
        return tuple([StreamElement(element, number) for number, element in enumerate(elements, first)])

    @property
    def first_retained(self) -> int:
        """The number of the oldest element that can be sent again; `sent` where there is none."""
        return self.sent - len(self.retained or ())

    def acknowledge(self, received: int) -> bool:
        """Forget the retained elements below `received`. False, and nothing changed, when so many were never sent."""
        retained = self.retained
        if retained is None:
            return True
        if type(received) is not int or received > self.sent:
            return False
        for _ in range(received - self.first_retained):
            retained.popleft()
        return True

    def rewind(self, received: int, demand: int) -> bool:
        """Go back to the element with the number `received`. False, and nothing changed, when it is not held."""
        retained = self.retained
        if retained is None or not self.first_retained <= received <= self.sent:
            return False
        self.acknowledge(received)
        self.buffer.extendleft(reversed(retained))
        retained.clear()
        self.sent = received
        self.demand = min(demand, MAX_DEMAND)
        return True

    def invariants(self) -> None:
        """Assert what holds between two calls."""
        assert 0 <= self.demand <= MAX_DEMAND, f"demand {self.demand}"
        assert self.first_retained >= 0, "more was retained than sent"
