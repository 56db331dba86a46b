"""Local health: whether it may be me who is slow. Lifeguard IV-A

Theory of operation
-------------------
A member that handles its messages late finds others silent who are not. It can tell from what happens to it: its
probes fail although others, whom it asked for help, should have told it by a negative acknowledgement that they are at
least trying; and it has to object to suspicions about itself. Each of these raises its score, each probe that is
answered lowers it. While the score is high it probes at longer intervals and waits longer for answers, and so accuses
others less.
"""

from __future__ import annotations

from ..machine import Nanoseconds
from .maths import scaled


class Health:
    """A score from 0, healthy, to `maximum - 1`."""

    __slots__ = ("_highest", "score")

    def __init__(self, maximum: int) -> None:
        self._highest = maximum - 1
        self.score = 0

    def change(self, delta: int) -> None:
        """Raise or lower the score, within its range."""
        self.score = min(self._highest, max(0, self.score + delta))

    def scale(self, duration_ns: Nanoseconds) -> Nanoseconds:
        """How long something is to take in this state of health."""
        return scaled(duration_ns, self.score)

    def invariants(self) -> None:
        """The score is in its range."""
        assert 0 <= self.score <= self._highest, f"health {self.score}"
