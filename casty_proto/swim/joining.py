"""Finding the cluster through its seeds (rule 26).

Theory of operation
-------------------
A few seeds at a time are told that we are there, and asked for all that they know (`sync.py`). The first that answers
is followed to the end of what it knows; then this member has joined. Seeds that do not answer are asked again, the
next ones first, at intervals that double. What the others learn of us does not wait for that: it spreads from the
first seed that hears of us.

A seed may turn out to be this member itself, under another name than the one that it goes by: what it is sent comes
back. Whoever has no other seeds is the first of a new cluster.

The seeds are kept. One that is no member is asked now and then, so that two clusters that have forgotten each other
find together again (rule 25).

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from ..machine import Instant
from .core import JOIN, Core, Effects, Key
from .events import Joined
from .sync import Sync

_SEEDS_AT_ONCE = 3
_KEY: Key = (JOIN, 0)


class Joining:
    """The seeds, and how far we are."""

    __slots__ = ("_attempts", "_core", "_seeds", "_sync", "is_joining")

    def __init__(self, core: Core, sync: Sync) -> None:
        self._core = core
        self._sync = sync
        self._seeds: list[str] = []
        self._attempts = 0
        self.is_joining = False
        """Whether `Joined` is still to come."""

    def start(self, seeds: tuple[str, ...], now: Instant, out: Effects) -> None:
        """Look for these, and no others."""
        self._seeds = [seed for seed in dict.fromkeys(seeds) if seed != self._core.own.address]
        self._sync.stop()
        self.is_joining = True
        self._attempts = 0
        self.on_join_due(now, out)

    def stop(self) -> None:
        """Look for nobody any more."""
        self.is_joining = False

    def on_join_due(self, now: Instant, out: Effects) -> None:
        """Ask the next seeds, unless one is telling already."""
        if not self._seeds:
            self.finish(None, out)
            return
        interval_ns = self._core.options.probe_interval_ns
        if not self._sync.is_joining(now - interval_ns):
            self._ask_some(now, out)
            longest_ns = max(interval_ns, self._core.options.sync_interval_ns)
            interval_ns = min(interval_ns << min(self._attempts, 16), longest_ns)
            self._attempts += 1
        self._core.deadlines.set(_KEY, now + interval_ns)

    def _ask_some(self, now: Instant, out: Effects) -> None:
        asked, rest = self._seeds[:_SEEDS_AT_ONCE], self._seeds[_SEEDS_AT_ONCE:]
        for seed in asked:
            self._core.speak_up(seed, None, out)
            self._sync.ask_seed(seed, now, out)
        self._seeds = rest + asked

    def drop(self, seed: str, out: Effects) -> None:
        """This seed is ourselves."""
        self._seeds = [other for other in self._seeds if other != seed]
        if not self._seeds:
            self.finish(None, out)

    def finish(self, contact: str | None, out: Effects) -> None:
        """All that `contact` knows is known here. Mostly that is a seed; any member that found us will do."""
        if self.is_joining:
            self.is_joining = False
            self._core.deadlines.cancel(_KEY)
            out.append(Joined(contact))

    def lost_seeds(self) -> list[str]:
        """The seeds at whose addresses there is no member."""
        return [seed for seed in self._seeds if self._core.members.live_at(seed) is None]
