"""One suspicion: who confirmed it, and when it becomes a death. Lifeguard IV-B

Theory of operation
-------------------
SWIM gives a suspected member a fixed time to object. Lifeguard begins with a long time, and shortens it each time
somebody else, who found the member silent independently, joins in: many accusers are seldom all slow. If the suspect
is really dead they come quickly, and the time is the short one; if only one member suspects it, that member may be
the slow one, and there is plenty of time for the objection to reach it.

The time counts from the first accusation. A confirmation may therefore bring the deadline into the past: the member
is then declared dead at once.
"""

from __future__ import annotations

from ..machine import Instant, Nanoseconds
from .maths import suspicion_timeout


class Suspicion:
    """A member is suspected since `started`, first by `by`."""

    __slots__ = ("_maximum_ns", "_minimum_ns", "_started", "_wanted", "accusers", "by", "deadline", "extended")

    def __init__(
        self, by: str, started: Instant, wanted: int, minimum_ns: Nanoseconds, maximum_ns: Nanoseconds
    ) -> None:
        self.by = by
        self.accusers = {by: None}
        self._started = started
        self._wanted = wanted
        self._minimum_ns = minimum_ns
        self._maximum_ns = maximum_ns
        self.deadline = self._due()
        """When the member is to be declared dead."""
        self.extended = False
        """Whether the deadline was put off because nobody was there to see it."""

    @property
    def confirmations(self) -> int:
        """How many have joined the first accuser."""
        return len(self.accusers) - 1

    def confirm(self, by: str) -> bool:
        """Somebody else found the member silent. False if that is no news, or as many as count have said so."""
        if by in self.accusers or self.confirmations >= self._wanted:
            return False
        self.accusers[by] = None
        self.deadline = self._due()
        return True

    def _due(self) -> Instant:
        timeout_ns = suspicion_timeout(self.confirmations, self._wanted, self._minimum_ns, self._maximum_ns)
        return self._started + timeout_ns

    def extend(self, until: Instant) -> None:
        """Put the deadline off, once."""
        assert not self.extended
        self.extended = True
        self.deadline = until
