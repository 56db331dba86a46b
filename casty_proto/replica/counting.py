"""How many of those who hold a shard are missing, when a new owner looks for what was acknowledged.

Theory of operation
-------------------
A write is acknowledged when the owner and `sync_count` backups have it. So as long as no more than `sync_count` of
those who held the shard then are missing, somebody is heard who has it (Gifford 1979: what is read and what is written
must overlap). The difficulty is to know who held it then: backups change with the members, owners that never got
anything follow one another, and a process that was started again answers, and has nothing.

A complete copy settles most of it. It was told the membership as of which it is complete: whatever was acknowledged
before that is in it. So only those count who have held the shard since then, by any membership, and the owners since
then. An owner tells its backups of every change of the members, even where they stay its backups, so that this is not
long ago: nobody knows for ever who were members once, and a newcomer knows nothing of before its time. Of these, one is
missing who has not answered, or who has no complete copy and whose process began after it came to hold the shard. Who
came to hold it later, when its process was there already, has whatever it acknowledged: a node that comes in for one
that died would otherwise count as lost along with it, and be waited for without end.

While there were few who could hold the shard, fewer than `sync_count` backups were asked for, or none: what the first
node of a cluster has acknowledged is with that one alone. So it counts since when there could be how many of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen


@frozen
class Counting:
    """Who counts. Without `holders` nobody does."""

    holders: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """By the index from which on they held the shard, in order. 0: that is not known, nor who owned it before the first
    of `owners`."""
    owners: tuple[tuple[int, str], ...] = ()
    """By their epochs, in order."""
    began: Mapping[str, int] = {}
    bearable: int = 0
    """How many may be missing, if there were that many backups."""
    several: tuple[int, ...] = ()
    """From which index on there could be one backup, two, and so on."""

    def missing(self, heard: Mapping[str, int]) -> tuple[str, ...]:
        """Those who count and are missing. `heard`: the index as of which each copy that was heard of is complete."""
        if not self.holders:
            return ()
        since = self._since(heard)
        found: dict[str, int] = {}  # and from which index on each of them counts
        for place, (index, nodes) in enumerate(self.holders):
            if place + 1 == len(self.holders) or self.holders[place + 1][0] > since:
                for node in nodes:
                    found.setdefault(node, max(index, since))
        for place, (epoch, owner) in enumerate(self.owners):
            if place + 1 == len(self.owners) or self.owners[place + 1][0] > since:
                held = max(epoch, since)
                found[owner] = min(found.get(owner, held), held)
        return tuple([node for node, held in found.items() if not self._is_present(node, heard, since, held)])

    def with_began(self, node: str, index: int) -> Counting:
        """The process of a node says since when it has been there."""
        if index <= self.began.get(node, 0):
            return self
        return evolve(self, began={**self.began, node: index})

    def _since(self, heard: Mapping[str, int]) -> int:
        """What was acknowledged before that index is in a copy that was heard of."""
        complete = max(heard.values(), default=0)
        # Where nobody has a complete copy, everything since the first owner counts.
        is_first_known = bool(self.owners) and self.holders[:1] and self.holders[0][0] > 0
        return complete or (self.owners[0][0] if is_first_known else 0)

    def _is_present(self, node: str, heard: Mapping[str, int], since: int, held: int) -> bool:
        index = heard.get(node)
        return index is not None and (index >= since or self.began.get(node, 0) <= held)

    def are_too_many(self, missing: tuple[str, ...], heard: Mapping[str, int]) -> bool:
        """Whether an acknowledged write may be with those alone."""
        if self.bearable >= 0:
            since = self._since(heard)
            return len(missing) > min(self.bearable, sum(index <= since for index in self.several))
        return bool(missing) and not any(index for index in heard.values())
