"""What was refused, and of whom: one line in the log for each peer and cause, however often it happens."""

from __future__ import annotations

import logging
from collections.abc import Callable

from casty_proto.machine import SECOND, Instant

_PERIOD_NS = 60 * SECOND
_REMEMBERED = 1024


class Complaints:
    """Logs the first of a kind, and the next of it a minute later, with how many were left out."""

    def __init__(self, log: logging.Logger, now: Callable[[], Instant]) -> None:
        self._log = log
        self._now = now
        self._seen: dict[tuple[str, str], list[int]] = {}

    def add(self, peer: str, cause: str, text: str) -> None:
        """Log `text`, unless something was said about this peer and cause already."""
        now = self._now()
        # Whoever connects has a new port each time; what counts is the machine.
        key = (peer.rpartition(":")[0] or peer, cause)
        seen = self._seen.get(key)
        if seen is not None and now - seen[0] < _PERIOD_NS:
            seen[1] += 1
            return
        more = f" (and {seen[1]} more of the kind in the last minute)" if seen is not None and seen[1] else ""
        self._seen.pop(key, None)
        if len(self._seen) >= _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = [now, 0]
        self._log.warning("%s%s; the like of it is not logged for a minute", text, more)
