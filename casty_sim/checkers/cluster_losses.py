"""Which nodes are lost at once.

A write that N backups have survives the loss of N nodes at once. A node is lost when it has crashed: what it has is in
its memory. One that is cut off, or paused, is not lost, whatever others hold it for: what only it may have is waited
for. Nodes are lost at once if the cluster was not whole in between: all shards open, all copies complete, nobody down.
"""

from __future__ import annotations

from collections.abc import Callable

from casty_proto.cluster import events
from casty_proto.cluster.checks import split_key


class Losses:
    """See the module. `down` says which hosts have crashed, or are gone otherwise without a goodbye."""

    def __init__(self, nodes: int, down: Callable[[], list[str]], is_whole: Callable[[], bool]) -> None:
        self._nodes = nodes
        self._down = down
        self._is_whole = is_whole
        self._lost: dict[str, None] = {}
        self._doubted: dict[str, None] = {}
        self.all_there = False
        """Whether all nodes have been there at once, with everything that there is to have."""

    def crashed(self, host: str) -> None:
        """A host has crashed."""
        self._lost[host] = None

    def doubted(self, effect: events.MemberUnreachable) -> None:
        """Somebody is held to be down."""
        self._doubted[split_key(effect.member.key)[0]] = None

    def now(self) -> tuple[str, ...]:
        """Who is lost."""
        for host in self._down():
            self._lost[host] = None
        return tuple(self._lost)

    def is_in_doubt(self, host: str) -> bool:
        """Whether it is lost, or was held to be down: what nobody else was promised to have need not be waited for."""
        return host in self._doubted or host in self.now()

    def review(self) -> None:
        """Look whether the cluster is whole. Called now and then."""
        unsettled = self.now() or self._doubted or not self.all_there
        if unsettled and not self._down() and self._is_whole():
            self._lost.clear()
            self._doubted.clear()
            self.all_there = True

    def too_many(self, survives: int) -> str:
        """Why a write may be lost that survives so many losses; empty where it may not."""
        lost = self.now()
        if not self.all_there and lost:
            return f"{', '.join(lost)} lost before all were there"
        return f"{', '.join(lost)} lost at once" if len(lost) > min(survives, self._nodes - 1) else ""
