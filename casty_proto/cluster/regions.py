"""The regions: entity types and singletons, and who owns their shards.

Rules 7 to 12, 20 and 21 of `cluster/__init__.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import assert_never

from .checks import MEMBERS_MAX, NAME_MAX, REGIONS_MAX, SHARDS_MAX, NodeKey, split_key
from .commands import Assign, Gift, RegionCommand, RegisterRegion, RemoveRegion
from .members import Members
from .outcomes import (
    AlreadySo,
    Applied,
    HostsChanged,
    Outcome,
    Outdated,
    Refused,
    RegionAdded,
    RegionChange,
    RegionClosing,
    RegionRemoved,
    ShardsMoved,
)
from .records import RegionKind, RegionSettings, Status


class Region:
    """One entity type or singleton. For reading; it changes when commands are applied."""

    __slots__ = (
        "_counts",
        "_epochs",
        "_owners",
        "by",
        "closing",
        "hosts",
        "kind",
        "name",
        "peak",
        "recipe",
        "registered",
        "rises",
        "settings",
    )

    def __init__(self, command: RegisterRegion, registered: int) -> None:
        self.name = command.name
        self.kind: RegionKind = command.kind
        self.settings: RegionSettings = command.settings
        self.by: NodeKey = command.by
        self.recipe: bytes = command.recipe
        self.registered = registered
        """The index of its registration, and the first epoch of its shards."""
        self.closing = False
        """Whether it is to be removed."""
        self.hosts: dict[NodeKey, int] = {}
        """The members that have registered it, where only these can hold anything of it, and at which index."""
        self.peak = 0
        """The most members that could hold a copy at any time since it was registered. It never falls."""
        self.rises: list[int] = []
        """The indexes at which the peak came to 1, 2, and so on, up to the number of copies that are wanted."""
        self._owners: list[NodeKey | None] = [None] * command.settings.num_shards
        self._epochs = [registered] * command.settings.num_shards
        self._counts: dict[NodeKey, int] = {}

    @property
    def num_shards(self) -> int:
        """How many shards it has."""
        return len(self._owners)

    @property
    def owners(self) -> tuple[NodeKey | None, ...]:
        """Who owns each shard."""
        return tuple(self._owners)

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epoch of each shard."""
        return tuple(self._epochs)

    def owner(self, shard: int) -> NodeKey | None:
        """Who owns a shard. Raises `IndexError` for no such shard."""
        return self._owners[shard]

    def epoch(self, shard: int) -> int:
        """The epoch of a shard. Raises `IndexError` for no such shard."""
        return self._epochs[shard]

    def owned(self, node: NodeKey) -> int:
        """How many shards a node owns."""
        return self._counts.get(node, 0)

    def owning(self) -> tuple[NodeKey, ...]:
        """Who owns anything, in order."""
        return tuple(sorted(self._counts))

    def shards_of(self, node: NodeKey) -> tuple[int, ...]:
        """The shards of a node, in order."""
        if node not in self._counts:
            return ()
        return tuple([shard for shard, owner in enumerate(self._owners) if owner == node])

    def give(self, gift: Gift, index: int) -> tuple[tuple[int, NodeKey | None, int], ...]:
        """Move the shards that have the epochs that were expected. Returns each with its owner and epoch before."""
        moved = []
        for shard, expected in gift.shards:
            # A shard that stands twice in one command moves once: its epoch rises, or it is left alone.
            if not self._epochs[shard] == expected < index:
                continue
            before = self._owners[shard]
            moved.append((shard, before, expected))
            self._owners[shard] = gift.to
            self._epochs[shard] = index
            self._count(before, -1)
            self._count(gift.to, 1)
        return tuple(moved)

    def holders(self, members: Members) -> tuple[NodeKey, ...]:
        """The members that can hold a copy, those that are down included. In order."""
        found = members.counting(self.settings.role)
        return tuple([node for node in found if node in self.hosts]) if self.settings.hosted else found

    def rise(self, present: int, index: int) -> None:
        """So many members can hold a copy at that index."""
        self.peak = max(self.peak, present)
        self.rises += [index] * (min(self.peak, self.settings.factor) - len(self.rises))

    def has_risen_well(self, version: int) -> bool:
        """Whether the peak can have risen so, by the index `version`."""
        rises = self.rises
        if len(rises) != min(self.peak, self.settings.factor) or rises != sorted(rises):
            return False
        return not rises or self.registered <= rises[0] <= rises[-1] <= version

    def restore(
        self,
        owners: Sequence[NodeKey | None],
        epochs: Sequence[int],
        closing: bool,
        peak: int,
        rises: Sequence[int],
    ) -> None:
        """Take over what a snapshot says. Raises `ValueError` where it is of other shards."""
        if not len(owners) == len(epochs) == self.settings.num_shards:
            raise ValueError(f"{self.name!r} has {self.settings.num_shards} shards, not {len(owners)}, {len(epochs)}")
        self._owners, self._epochs, self.closing = list(owners), list(epochs), closing
        self.peak, self.rises = peak, list(rises)
        self._counts = _counts_of(owners)

    def _count(self, node: NodeKey | None, by: int) -> None:
        if node is None:
            return
        left = self._counts.get(node, 0) + by
        if left:
            self._counts[node] = left
        else:
            del self._counts[node]

    def fault(self, version: int) -> str | None:
        """Why no commands can have led here by the index `version`, or `None` where some can."""
        if not 0 < len(self.name.encode()) <= NAME_MAX:
            return f"{self.name!r} is no name"
        if not 0 < self.registered <= min(self._epochs) <= max(self._epochs) <= version:
            return f"{self.name!r}, of {self.registered}, has epochs that do not lie between that and {version}"
        if any(owner is not None and epoch == self.registered for owner, epoch in self._pairs()):
            return f"{self.name!r} has a shard that was never given, and an owner of it"
        if self.closing and not self._counts:
            return f"{self.name!r} is to be removed, and is there without an owner"
        if self._counts != _counts_of(self._owners):
            return f"the shards of {self.name!r} are not counted right"
        for node in self._counts:
            split_key(node)
        if self.hosts and not self.settings.hosted:
            return f"{self.name!r} has hosts, and needs none"
        if not all(self.registered <= index <= version for index in self.hosts.values()):
            return f"{self.name!r} has a host of a time when it was not there"
        return None

    def _pairs(self) -> zip[tuple[NodeKey | None, int]]:
        return zip(self._owners, self._epochs, strict=True)


def _counts_of(owners: Sequence[NodeKey | None]) -> dict[NodeKey, int]:
    counts = Counter(owners)
    return {owner: count for owner, count in counts.items() if owner is not None}


class Regions:
    """All regions, by name."""

    __slots__ = ("by_name", "total")

    def __init__(self) -> None:
        self.by_name: dict[str, Region] = {}
        self.total = 0
        """How many shards there are."""

    def owned(self, node: NodeKey) -> int:
        """How many shards a node owns."""
        return sum([region.owned(node) for region in self.by_name.values()])

    def owning(self) -> tuple[NodeKey, ...]:
        """Who owns anything, in order."""
        return tuple(sorted({node: None for region in self.by_name.values() for node in region.owning()}))

    def apply(self, command: RegionCommand, index: int, members: Members) -> Outcome:
        """Apply a command about regions."""
        match command:
            case RegisterRegion():
                return self._register(command, index, members)
            case RemoveRegion(name, registered):
                return self._remove(name, registered)
            case Assign(gifts):
                return self._assign(gifts, index, members)
            case _:
                assert_never(command)

    def _register(self, command: RegisterRegion, index: int, members: Members) -> Outcome:
        name, num_shards = command.name, command.settings.num_shards
        there = self.by_name.get(name)
        if there is not None:
            return self._host(there, command, index, members)
        if members.get(command.by) is None:
            return Refused(f"{command.by} cannot register {name!r}: it is no member; it must join first")
        if len(self.by_name) >= REGIONS_MAX:
            return Refused(f"{name!r} cannot be registered: there are {REGIONS_MAX} types and singletons; remove some")
        if self.total + num_shards > SHARDS_MAX:
            return Refused(
                f"{name!r} cannot be registered: it has {num_shards} shards, and there are {self.total} of at most "
                f"{SHARDS_MAX}; choose a smaller num_shards"
            )
        region = Region(command, index)
        self.put(region)
        changes: list[RegionChange] = [RegionAdded(name)]
        if command.settings.hosted:
            region.hosts[command.by] = index
            changes.append(HostsChanged(name, command.by, True))
        self.look_at(members, index)
        return Applied(tuple(changes))

    def _host(self, region: Region, command: RegisterRegion, index: int, members: Members) -> Outcome:
        """A region is registered once more: by somebody else who can hold something of it, perhaps."""
        outcome = _compared(region, command)
        node = command.by
        if type(outcome) is not AlreadySo or not region.settings.hosted or node in region.hosts:
            return outcome
        if members.get(node) is None:
            return Refused(f"{node} cannot host {region.name!r}: it is no member; it must join first")
        region.hosts[node] = index
        self.look_at(members, index)
        return Applied((HostsChanged(region.name, node, True),))

    def drop_hosts(self, node: NodeKey, before: int | None = None) -> tuple[HostsChanged, ...]:
        """A node can hold nothing any more of what it registered, or did before an index."""
        changes = []
        for name in sorted(self.by_name):
            hosts = self.by_name[name].hosts
            if node in hosts and (before is None or hosts[node] < before):
                del hosts[node]
                changes.append(HostsChanged(name, node, False))
        return tuple(changes)

    def _remove(self, name: str, registered: int) -> Outcome:
        region = self.by_name.get(name)
        if region is None:
            return AlreadySo()
        if region.registered != registered:
            return Outdated(f"{name!r} was registered anew at index {region.registered}, after {registered}")
        if region.closing:
            return AlreadySo()
        if not region.owning():
            return Applied((self._drop(region),))
        region.closing = True
        return Applied((RegionClosing(name),))

    def _assign(self, gifts: tuple[Gift, ...], index: int, members: Members) -> Outcome:
        changes: list[RegionChange] = []
        reasons: list[str] = []
        for gift in gifts:
            reason = self._why_not(gift, members)
            if reason is not None:
                reasons.append(reason)
                continue
            region = self.by_name[gift.region]
            moved = region.give(gift, index)
            if moved:
                changes.append(ShardsMoved(gift.region, gift.to, index, moved, gift.forced))
            if region.closing and not region.owning():
                changes.append(self._drop(region))
        if changes:
            return Applied(tuple(changes))
        if reasons:
            return Refused(reasons[0])
        return Outdated("all of these shards have another epoch by now; look at them again")

    def _why_not(self, gift: Gift, members: Members) -> str | None:
        """Why a gift cannot be given, whatever the epochs are."""
        region = self.by_name.get(gift.region)
        if region is None:
            return f"there is no {gift.region!r}; register it first"
        last = max([shard for shard, _ in gift.shards])
        if last >= region.num_shards:
            return f"{gift.region!r} has no shard {last}; it has {region.num_shards}"
        if gift.to is None:
            return None
        if region.closing:
            return f"{gift.region!r} is being removed; its shards can be given to nobody"
        member = members.get(gift.to)
        if member is None or member.status is not Status.UP:
            state = "no member" if member is None else member.status.name
            return f"{gift.to} cannot own shards of {gift.region!r}: it is {state}; choose one that is up"
        if region.settings.hosted and gift.to not in region.hosts:
            return f"{gift.to} cannot own shards of {gift.region!r}: it has not registered it"
        if not member.has_role(region.settings.role):
            return f"{gift.to} cannot own shards of {gift.region!r}: it does not have the role {region.settings.role!r}"
        return None

    def put(self, region: Region) -> None:
        """Add a region."""
        self.by_name[region.name] = region
        self.total += region.num_shards

    def _drop(self, region: Region) -> RegionRemoved:
        del self.by_name[region.name]
        self.total -= region.num_shards
        return RegionRemoved(region.name)

    def look_at(self, members: Members, index: int) -> None:
        """The members are others: there may be more who can hold copies than there ever were."""
        for region in self.by_name.values():
            region.rise(len(region.holders(members)), index)

    def fault(self, version: int, members: Members) -> str | None:
        """Why no commands can have led here by the index `version`, or `None` where some can."""
        total = sum([region.num_shards for region in self.by_name.values()])
        if len(self.by_name) > REGIONS_MAX or total > SHARDS_MAX or total != self.total:
            return f"there are {len(self.by_name)} regions with {total} shards; {self.total} were counted"
        for name, region in self.by_name.items():
            if region.name != name:
                return f"{name!r} is not listed as itself"
            if (found := region.fault(version)) is not None:
                return found
            if any(members.get(node) is None for node in region.hosts):
                return f"{name!r} is hosted by somebody who is no member"
            present = len(region.holders(members))
            # Whoever owns a shard counted when it was given.
            if not max(present, bool(region.owning())) <= region.peak <= MEMBERS_MAX:
                return f"{name!r} had {region.peak} members at most, and has {present}"
            if not region.has_risen_well(version):
                return f"{name!r} had {region.peak} members at most, and came to have them at {region.rises}"
        indexes = dict.fromkeys([region.registered for region in self.by_name.values()])
        return None if len(indexes) == len(self.by_name) else "two regions were registered at one index"


def _compared(there: Region, command: RegisterRegion) -> Outcome:
    """What becomes of a second registration."""
    if there.closing:
        return Refused(f"{there.name!r} cannot be registered: it is being removed; try again when it has gone")
    if there.kind is not command.kind:
        return Refused(f"{there.name!r} differs from what {there.by} registered: it is of kind {there.kind.name}")
    difference = there.settings.what_differs(command.settings)
    if difference is None:
        return AlreadySo()
    return Refused(f"{there.name!r} differs from what {there.by} registered: its {difference}; use the same settings")
