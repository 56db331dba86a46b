"""Plans for the regions, as they follow from the applied members.

Who owns and who backs up a shard follows from the members that are up. A member that is down is given nothing more, but
what it may still have a copy of counts for durability until it is forgotten: it stays a backup of the shards that it
would hold if it were up, besides those who take its place. So writes that are to be on all backups fail, and do not
quietly end up on fewer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from attrs import frozen

from ..shard.hashing import shard_of
from ..shard.plan import Member, Plan, plan
from .checks import NodeKey
from .core import Core
from .records import RegionKind, Status
from .regions import Region

type _Key = tuple[str | None, int, int, bool, str | None]

SINGLETONS = 256
"""Singletons are spread like so many shards of one region, each by its name: otherwise all would have one home."""


_HISTORY_MAX = 16
"""How many memberships are remembered. Before that, whoever is a member now may have held anything."""


@frozen
class _Membership:
    """The members as they were from an index on."""

    index: int
    members: tuple[tuple[Member, Status], ...]
    keys: dict[str, NodeKey]
    """By node id, which is what plans go by."""


class Plans:
    """The plans of a node, each computed once for the members of the moment."""

    __slots__ = ("_core", "_history", "_hosts_changed", "_keys", "_known_from", "_members", "_plans")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._members: tuple[tuple[Member, Status], ...] = ()
        self._keys: dict[str, NodeKey] = {}
        """By node id, which is what plans go by."""
        self._plans: dict[_Key, Plan] = {}
        self._hosts_changed = False
        self._history: list[_Membership] = []
        self._known_from = 0
        """From which index on the history is complete."""

    def hosts_changed(self) -> None:
        """Who can hold something of a region is another question than it was."""
        self._hosts_changed = True

    def remember(self, index: int) -> None:
        """The members are others since that index: what was before may matter to whoever recovers a shard."""
        self._history.append(self._present(index))
        if len(self._history) > _HISTORY_MAX:
            del self._history[0]
            self._known_from = self._history[0].index

    def forget(self, index: int) -> None:
        """What was before that index is not known here."""
        self._history = [self._present(index)]
        self._known_from = index

    def _present(self, index: int) -> _Membership:
        counting = [one for one in self._core.state.members() if one.status is not Status.LEAVING]
        members = [(Member(one.node.node_id, one.node.weight, one.node.roles), one.status) for one in counting]
        return _Membership(index, tuple(members), {one.node.node_id: one.key for one in counting})

    def refresh(self) -> bool:
        """Look at the members. Whether any plan may be another one."""
        hosts_changed, self._hosts_changed = self._hosts_changed, False
        present = self._present(0)
        members, keys = present.members, present.keys
        if members == self._members and keys == self._keys and not hosts_changed:
            return False
        self._members, self._keys = members, keys
        self._plans.clear()
        return True

    def homes(self, region: Region) -> tuple[NodeKey | None, ...]:
        """Who should own each shard. Nobody, where the region is being removed."""
        if region.closing:
            return (None,) * region.num_shards
        keys = self._keys
        found = self._plan(region, down_too=False)
        owners = found.owners() if region.kind is not RegionKind.SINGLETON else (found.owner(_place(region, 0)),)
        return tuple([None if owner is None else keys[owner] for owner in owners])

    def home(self, region: Region, shard: int) -> NodeKey | None:
        """Who should own a shard."""
        owner = self._plan(region, down_too=False).owner(_place(region, shard))
        return None if owner is None else self._keys[owner]

    def holders_since(self, region: Region, shard: int, epoch: int) -> tuple[tuple[int, tuple[NodeKey, ...]], ...]:
        """Whoever may have acknowledged a write of the shard since that epoch: its homes and backups by each membership
        that there was, and from which index on. Epoch 0 is not known: then, as where this node does not know what was
        so long ago, all members may have, from index 0 on."""
        found: list[tuple[int, tuple[NodeKey, ...]]] = []
        if not epoch or epoch < self._known_from:
            found.append((0, tuple([member.key for member in self._core.state.members()])))
        for number, past in enumerate(self._history):
            if number + 1 < len(self._history) and self._history[number + 1].index <= epoch:
                continue
            holders = tuple(dict.fromkeys([past.keys[one] for one in self._held_by(past, region, shard)]))
            if not found or found[-1][1] != holders:
                found.append((past.index, holders))
        return tuple(found)

    def _held_by(self, past: _Membership, region: Region, shard: int) -> list[str]:
        """Node ids of those who held a shard at some time, or would have if they had been up."""
        place = _place(region, shard)
        holders = list(self._plan_of(past, region, down_too=False).homes(place))
        down = {member.name: None for member, status in past.members if status is Status.DOWN}
        if down:
            holders += [one for one in self._plan_of(past, region, down_too=True).homes(place) if one in down]
        return holders

    def backups(self, region: Region, shard: int, owner: NodeKey) -> tuple[NodeKey, ...]:
        """Who backs a shard up while `owner` owns it: those who should, and those who are down and would."""
        if region.settings.factor == 1:
            return ()
        holders = list(self._plan(region, down_too=False).homes(_place(region, shard)))
        if not self._is_all_up():
            down = {member.name: None for member, status in self._members if status is Status.DOWN}
            holders += [one for one in self._plan(region, down_too=True).homes(_place(region, shard)) if one in down]
        keys = dict.fromkeys([self._keys[one] for one in holders])
        keys.pop(owner, None)
        # While a shard is on its way to its home there is one holder more.
        return tuple(keys)

    def _is_all_up(self) -> bool:
        return all(status is Status.UP for _, status in self._members)

    def _plan(self, region: Region, *, down_too: bool) -> Plan:
        settings = region.settings
        hosted = region.name if settings.hosted else None
        key = (settings.role, _places(region), settings.factor, down_too, hosted)
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = self._plan_of(
                _Membership(0, self._members, self._keys), region, down_too=down_too
            )
        return found

    def _plan_of(self, past: _Membership, region: Region, *, down_too: bool) -> Plan:
        settings = region.settings
        members = [member for member, status in past.members if down_too or status is Status.UP]
        if settings.hosted:
            members = [member for member in members if past.keys[member.name] in region.hosts]
        strategy: Any = self._core.options.placement
        return _planned(tuple(members), _places(region), settings.factor, settings.role, strategy)


@lru_cache(maxsize=32)
def _planned(members: tuple[Member, ...], num_shards: int, copies: int, role: str | None, placement: Any) -> Plan:
    """A plan follows from its arguments: nodes of one process, as in tests and simulations, have it once."""
    return plan(members, num_shards, copies, role=role, placement=placement)


def _place(region: Region, shard: int) -> int:
    """The shard of the plan that a shard of the region is."""
    return shard if region.kind is not RegionKind.SINGLETON else shard_of(region.name, SINGLETONS)


def _places(region: Region) -> int:
    return region.settings.num_shards if region.kind is not RegionKind.SINGLETON else SINGLETONS
