"""Whose messages may be lost although nothing was taken by force: those that a node had accepted and not handled.

1.  Who gives a shard away leaves what it has not handled to the next owner (handover.py). If it is gone soon after,
    that may have arrived, or not: there is one copy of it. So when a node is down, whatever it has given away last may
    have lost what was accepted before that.
2.  A process that is started again on its disk is the same member, and gives back what the process before owned. That
    is not taken by force, but what the process before had accepted is lost all the same.

Who waits for an answer to such a message would wait for nothing. Whether it was handled is not known.
"""

from __future__ import annotations

from .checks import NodeKey
from .core import Core
from .events import AcceptedLost
from .outcomes import Change, MemberDown, MemberRemoved, MemberRestarted, RegionRemoved, Removal, ShardsMoved


class Givers:
    """Who has given which shards away, and at which index."""

    __slots__ = ("_core", "_given")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._given: dict[str, dict[int, tuple[NodeKey, int]]] = {}
        """Of each region, the shards whose last owner gave them away: that owner, and where others got them."""

    def on_change(self, change: Change) -> tuple[AcceptedLost, ...]:
        """What may be lost with a change. It is applied already."""
        match change:
            case ShardsMoved():
                self._on_moved(change)
            case RegionRemoved(region):
                self._given.pop(region, None)
            case MemberDown(member):
                return self._given_by(member.key)
            case MemberRemoved(member, reason) if reason is not Removal.LEFT:
                return self._given_by(member.key)
            case MemberRestarted(member):
                owned = [
                    AcceptedLost(region.name, tuple([(shard, member.started) for shard in shards]))
                    for region in self._core.state.regions()
                    if (shards := region.shards_of(member.key))
                ]
                return (*self._given_by(member.key), *owned)
        return ()

    def _on_moved(self, change: ShardsMoved) -> None:
        given = self._given.setdefault(change.region, {})
        for shard, before, _ in change.shards:
            given.pop(shard, None)
            if before is not None and before != change.to and not change.forced:
                given[shard] = (before, change.epoch)

    def _given_by(self, node: NodeKey) -> tuple[AcceptedLost, ...]:
        """This is said once."""
        found = []
        for region, given in self._given.items():
            shards = [(shard, epoch) for shard, (giver, epoch) in given.items() if giver == node]
            for shard, _ in shards:
                del given[shard]
            if shards:
                found.append(AcceptedLost(region, tuple(shards)))
        return tuple(found)
