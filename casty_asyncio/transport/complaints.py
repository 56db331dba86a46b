"""What was refused, and of whom: one line in the log for each peer and cause, however often it happens."""

from __future__ import annotations

import logging
from collections.abc import Callable

from casty_proto.machine import SECOND, Instant

from ..logs import Log

_PERIOD_NS = 60 * SECOND
_REMEMBERED = 1024
_LINES_MAX = 200
"""How many lines of one level there are in a period at most, for those who have many addresses or make up many names.

Each level has its own count: news of the day must not crowd out warnings."""


class Complaints:
    """Logs the first of a kind, and the next of it a minute later, with how many were left out."""

    def __init__(self, log: Log, now: Callable[[], Instant]) -> None:
        self._log = log
        self._now = now
        self._seen: dict[tuple[str, str], list[int]] = {}
        """When each was first said in its period, and how often since then it was not."""
        self._periods: dict[int, tuple[Instant, int]] = {}
        """For each level, when its period began, and how many lines there were in it."""

    def add(self, peer: str, cause: str, text: str, level: int = logging.WARNING, burst: int = 1) -> None:
        """Log `text`, unless that much was said about this peer and cause already. `burst` is how often it may be."""
        if not self._log.isEnabledFor(level):
            return
        now = self._now()
        key = (peer, cause)
        seen = self._seen.get(key)
        if seen is not None and now - seen[0] < _PERIOD_NS:
            seen[1] += 1
            if seen[1] >= burst:
                return
            self._write(now, level, text)
            return
        left_out = 0 if seen is None else max(seen[1] - burst + 1, 0)
        more = f" (and {left_out} more of the kind in the last minute)" if left_out else ""
        self._seen.pop(key, None)
        if len(self._seen) >= _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = [now, 0]
        last = "; the like of it is not logged for a minute" if burst == 1 else ""
        self._write(now, level, f"{text}{more}{last}")

    def _write(self, now: Instant, level: int, line: str) -> None:
        began, lines = self._periods.get(level, (now, 0))
        if now - began >= _PERIOD_NS:
            began, lines = now, 0
        lines += 1
        self._periods[level] = (began, lines)
        if lines == _LINES_MAX:
            line += f"; these were {_LINES_MAX} lines about others within a minute, and there are no more of them"
        if lines <= _LINES_MAX:
            self._log.log(level, "%s", line)
