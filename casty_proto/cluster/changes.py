"""What lies between two control states, as the changes that led from one to the other might have been.

A node that was away for long gets a snapshot in place of what it has missed. Its users hear of the difference. What
happened in between and was undone they do not hear of; and who gave what to whom is not known any more, so all that has
moved counts as taken.
"""

from __future__ import annotations

from .checks import NodeKey
from .outcomes import (
    Change,
    HostsChanged,
    MemberDown,
    MemberJoined,
    MemberLeaving,
    MemberRemoved,
    MemberReturned,
    MemberUpdated,
    NameFreed,
    NameTaken,
    RegionAdded,
    RegionClosing,
    RegionRemoved,
    Removal,
    ShardsMoved,
)
from .records import MemberInfo, Status
from .state import ControlState


def difference(before: ControlState, after: ControlState) -> tuple[Change, ...]:
    """The changes from one state to a later one, in an order in which users can hear of them."""
    return (
        *_names_freed(before, after),
        *_members(before, after),
        *_regions(before, after),
        *_names_taken(before, after),
    )


def _members(before: ControlState, after: ControlState) -> list[Change]:
    changes: list[Change] = []
    for member in before.members():
        if after.member(member.key) is None:
            replaced = after.key_of(member.node.node_id) is not None
            gone = Removal.LEFT if member.status is Status.LEAVING else Removal.FORGOTTEN
            changes.append(MemberRemoved(member, Removal.REPLACED if replaced else gone))
    for member in sorted(after.members(), key=lambda one: one.joined):
        known = before.member(member.key)
        if known is None:
            changes.append(MemberJoined(member))
            changes += _turned(Status.UP, member)
            continue
        if known.node != member.node:
            changes.append(MemberUpdated(member))
        changes += _turned(known.status, member)
    return changes


def _turned(status: Status, member: MemberInfo) -> list[Change]:
    """What has become of a member that was up, leaving or down."""
    if status is member.status:
        return []
    if status is Status.LEAVING and member.status is Status.UP:
        # It was held to be down meanwhile; what else is said of it then is that it wants to leave no more.
        return [MemberDown(member), MemberReturned(member)]
    changes: list[Change] = [MemberReturned(member)] if status is Status.DOWN else []
    if member.status is Status.LEAVING:
        changes.append(MemberLeaving(member))
    elif member.status is Status.DOWN:
        changes.append(MemberDown(member))
    return changes


def _regions(before: ControlState, after: ControlState) -> list[Change]:
    changes: list[Change] = []
    for old in before.regions():
        new = after.region(old.name)
        if new is None or new.registered != old.registered:
            changes.append(RegionRemoved(old.name))
    for region in after.regions():
        known = before.region(region.name)
        if known is None or known.registered != region.registered:
            changes.append(RegionAdded(region.name))
            known = None
        hosts = {} if known is None else known.hosts
        changes += [HostsChanged(region.name, node, False) for node in hosts if node not in region.hosts]
        changes += [HostsChanged(region.name, node, True) for node in region.hosts if node not in hosts]
        moved: dict[tuple[NodeKey | None, int], list[tuple[int, NodeKey | None, int]]] = {}
        for shard in range(region.num_shards):
            epoch = region.epoch(shard)
            was = region.registered if known is None else known.epoch(shard)
            if epoch != was:
                owner = None if known is None else known.owner(shard)
                moved.setdefault((region.owner(shard), epoch), []).append((shard, owner, was))
        for (to, epoch), shards in sorted(moved.items(), key=lambda item: item[0][1]):
            # Epoch 0 was nobody's: nothing was given, and whoever had it before may have left copies.
            unknown = tuple([(shard, owner, 0) for shard, owner, _ in shards])
            changes.append(ShardsMoved(region.name, to, epoch, unknown, True))
        if region.closing and not (known is not None and known.closing):
            changes.append(RegionClosing(region.name))
    return changes


def _names_freed(before: ControlState, after: ControlState) -> list[Change]:
    return [NameFreed(name, entry) for name, entry in before.names() if after.name(name) != entry]


def _names_taken(before: ControlState, after: ControlState) -> list[Change]:
    return [NameTaken(name, entry) for name, entry in after.names() if before.name(name) != entry]
