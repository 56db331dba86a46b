"""What an outside client knows of the cluster."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from casty_proto.cluster.checks import split_key
from casty_proto.cluster.records import Status
from casty_proto.cluster.topology import Topology, TopologyMember, TopologyRegion

from .client_wire import Changes, Entry, Head
from .events import MEMBER_STATUS, ClusterMember


@frozen
class View:
    """One picture of the cluster, as some node has told it."""

    topology: Topology
    regions: Mapping[str, TopologyRegion]
    """The types and singletons, by their names."""
    members: Mapping[str, TopologyMember]
    """The members, by their keys."""
    services: Mapping[str, tuple[Entry, ...]]
    taken: Mapping[tuple[str, int], int]
    """The epoch since which a shard was taken from its owner last; not for those that never were."""
    users_members: tuple[ClusterMember, ...] = field(init=False)
    """The members as users see them."""

    @users_members.default
    def _users_members(self) -> tuple[ClusterMember, ...]:
        return tuple([_member(one) for one in self.topology.members])

    def is_newer_than(self, other: View | None) -> bool:
        """Whether this is to take the place of the other: it is as new, or of another cluster."""
        if other is None or self.topology.cluster != other.topology.cluster:
            return True
        return self.topology.version >= other.topology.version

    @property
    def up(self) -> int:
        """How many members are up."""
        return sum(one.status is Status.UP for one in self.topology.members)


class Copy:
    """Keeps a picture up to date with what one gateway tells."""

    def __init__(self) -> None:
        self._head: Head | None = None
        self._regions: dict[str, TopologyRegion] = {}
        self._services: dict[str, tuple[Entry, ...]] = {}
        self._taken: dict[tuple[str, int], int] = {}

    def apply(self, changes: Changes) -> View:
        """What it is after these changes. Raises `ValueError` or `TypeError` for what makes no sense."""
        if changes.is_complete:
            self._head, self._regions, self._services, self._taken = None, {}, {}, {}
        if changes.head is not None:
            self._head = changes.head
        if self._head is None:
            raise ValueError("the first picture lacks the members")
        for region in changes.regions:
            self._regions[region.name] = region
        for name, entries in changes.services:
            if entries:
                self._services[name] = entries
            else:
                self._services.pop(name, None)
        for name, shard, epoch in changes.taken:
            self._taken[name, shard] = epoch
        head, regions = self._head, dict(sorted(self._regions.items()))
        topology = Topology(head.cluster, head.version, head.leader, head.members, tuple(regions.values()))
        members = {one.key: one for one in head.members}
        return View(topology, regions, members, dict(self._services), dict(self._taken))


def _member(one: TopologyMember) -> ClusterMember:
    return ClusterMember(one.node_id, split_key(one.key)[1], one.address, one.roles, MEMBER_STATUS[one.status])
