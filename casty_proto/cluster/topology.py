"""A snapshot of a cluster: for people, for tools, and for clients that route messages by themselves."""

from __future__ import annotations

from attrs import frozen

from .checks import NodeKey
from .records import RegionKind, RegionSettings, Status
from .state import ControlState


@frozen
class TopologyMember:
    """A member."""

    key: NodeKey
    node_id: str
    address: str
    roles: tuple[str, ...]
    status: Status
    votes: bool


@frozen
class TopologyRegion:
    """An entity type or a singleton, and who owns its shards."""

    name: str
    kind: RegionKind
    settings: RegionSettings
    nodes: tuple[NodeKey | None, ...]
    """Those that own anything; `None` for nobody."""
    table: tuple[int, ...]
    """For each shard who owns it, as an index into `nodes`."""
    epochs: tuple[int, ...]
    """The epoch of each shard."""
    hosts: tuple[NodeKey, ...]
    """The members that have registered it, in order, where only these hold anything of it."""

    def owner(self, shard: int) -> NodeKey | None:
        """Who owns a shard. Raises `IndexError` for no such shard."""
        return self.nodes[self.table[shard]]


@frozen
class Topology:
    """What one node has applied. Of two snapshots of one cluster that with the higher version is the newer one."""

    cluster: str
    """The key of the founder."""
    version: int
    leader: NodeKey | None
    """Whom the node that tells it takes for the leader."""
    members: tuple[TopologyMember, ...]
    """In the order of their keys."""
    regions: tuple[TopologyRegion, ...]
    """In the order of their names."""


def topology_of(state: ControlState, cluster: str, leader: NodeKey | None, voters: tuple[NodeKey, ...]) -> Topology:
    """The topology that a control state amounts to."""
    voting = dict.fromkeys(voters)
    members = [
        TopologyMember(one.key, one.node.node_id, one.node.address, one.node.roles, one.status, one.key in voting)
        for one in state.members()
    ]
    regions = []
    for region in state.regions():
        numbers: dict[NodeKey | None, int] = {}
        table = tuple([numbers.setdefault(owner, len(numbers)) for owner in region.owners])
        hosts = tuple(sorted(region.hosts))
        owned = (tuple(numbers), table, region.epochs, hosts)
        regions.append(TopologyRegion(region.name, region.kind, region.settings, *owned))
    return Topology(cluster, state.version, leader, tuple(members), tuple(regions))
