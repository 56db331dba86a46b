"""Who had the shards of a node before it, as far as the node knows: whom it asks for states, and what it believes.

What is known comes from the log alone. A node that got a snapshot in place of the beginning of the log knows less, and
of many owners of one shard it remembers the last ones: it says so, and does not take what it does not know for nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ..shard.steward import Spot
from ..swim import State
from .checks import NodeKey
from .core import Core
from .records import Status

_OWNERS_MAX = 8
"""How many of the last owners of a shard are remembered."""


class Predecessors:
    """The former owners of shards."""

    __slots__ = ("_before", "_core", "_fresh", "_from", "_hidden", "_owners")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._before: dict[Spot, int] = {}
        """Of the shards of this node: the epoch of whoever has given each of them away. Not where it was forced."""
        self._from: dict[Spot, NodeKey] = {}
        """Whoever had each of them before, if anybody did."""
        self._fresh: dict[Spot, None] = {}
        """Those that nobody has owned before."""
        self._owners: dict[Spot, deque[tuple[int, NodeKey]]] = {}
        """Of shards whose writes are acknowledged by backups: the last owners, and their epochs."""
        self._hidden: dict[Spot, None] = {}
        """Those of them that had owners before of which nothing is known here: as many as there have been of late, or
        what was before this node had the log."""

    def remember(self, spot: Spot, before: NodeKey | None, epoch: int) -> None:
        """A shard has another owner than `before`, who had it at `epoch`; 0: nothing is known of that."""
        owners = self._owners.setdefault(spot, deque())
        if not epoch:
            owners.clear()
            self._hidden[spot] = None
        elif before is not None:
            owners.append((epoch, before))
            if len(owners) > _OWNERS_MAX:
                owners.popleft()
                self._hidden[spot] = None

    def succeeded(self, spot: Spot, before: NodeKey | None, epoch: int, *, forced: bool) -> None:
        """This node owns a shard now. `before` had it, if anybody did, and has given it away unless `forced`."""
        self._before.pop(spot, None)
        self._from.pop(spot, None)
        self._fresh.pop(spot, None)
        if before is not None and epoch:
            self._from[spot] = before
            if not forced:
                self._before[spot] = epoch
        region = self._core.state.region(spot[0])
        if before is None and region is not None and epoch == region.registered:
            self._fresh[spot] = None

    def forget(self, name: str) -> None:
        """There is no such region any more."""
        tables: tuple[dict[Spot, Any], ...] = (self._before, self._from, self._fresh)
        for table in (*tables, self._owners, self._hidden):
            for spot in [spot for spot in table if spot[0] == name]:
                del table[spot]

    # -- queries -------------------------------------------------------------------------------------------------------

    def giver_epoch(self, spot: Spot) -> int | None:
        """The epoch of whoever has given a shard to this node; `None` where nobody has, or it is not known."""
        return self._before.get(spot)

    def owners(self, spot: Spot) -> tuple[tuple[int, NodeKey], ...]:
        """The last owners of a shard whose writes are acknowledged by backups, with their epochs."""
        return tuple(self._owners.get(spot, ()))

    def is_all_known(self, spot: Spot) -> bool:
        """Whether these are all that there ever were."""
        return spot not in self._hidden

    def asked(self, spot: Spot) -> tuple[NodeKey, ...]:
        """Who may have a copy, and is to be asked for it.

        Where there are replicas that is every member: any may have been a backup, and is waited for until it is known
        to be down. Where there are none nobody was promised anything: what the last owner has released is there, and
        otherwise those are asked who are there, and the last owner, if it is not known to be down: perhaps it has
        released the shard, and this node has not heard of that (changes.py). Nor does it know then who that was, but
        for what it has heard of later: so everybody is asked who is not known to be down. Whoever has given it away,
        and wants to leave, waits for that question.
        """
        core, region = self._core, self._core.state.region(spot[0])
        assert region is not None, f"{spot} has an owner, and is in no region"
        if spot in self._fresh:
            return ()
        members = [one.key for one in core.state.members()]
        if region.settings.factor > 1:
            return tuple(members)
        last = self._from.get(spot)
        if spot in self._before and last != core.key:
            return tuple([one for one in members if one == last])
        up = [one.key for one in core.state.members() if one.status is not Status.DOWN]
        if last is None:
            return tuple(up)
        seen = {one: core.seen.get(one, State.ALIVE) for one in members}
        return tuple([one for one in members if seen[one] is State.ALIVE or (one == last and one in up)])
