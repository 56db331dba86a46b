"""What happens in a cluster, as events for the event stream, and what can be known of its members.

Each event says what this node has learned. Other nodes learn the same, in the same order, a little earlier or later.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from casty_proto.cluster.records import MemberInfo, Status

from ..events import SystemEvent


class MemberStatus(Enum):
    """What a member is to its cluster."""

    UP = "up"
    LEAVING = "leaving"
    """It wants to go, and hands over what it has."""
    UNREACHABLE = "unreachable"
    """It is held to be dead; its work is done elsewhere. It counts for durability until it is back, or forgotten."""


MEMBER_STATUS = {
    Status.UP: MemberStatus.UP,
    Status.LEAVING: MemberStatus.LEAVING,
    Status.DOWN: MemberStatus.UNREACHABLE,
}


@frozen
class ClusterMember:
    """One member of the cluster."""

    node_id: str
    generation: int
    """Tells the lives of a node apart. A process that starts again without its directory has another one."""
    address: str
    """Where the others dial it, as `host:port`."""
    roles: tuple[str, ...]
    status: MemberStatus


def member_of(info: MemberInfo) -> ClusterMember:
    """A member, as users see it."""
    node = info.node
    return ClusterMember(node.node_id, node.generation, node.address, node.roles, MEMBER_STATUS[info.status])


@frozen
class ClusterEvent(SystemEvent):
    """The base of all events of the cluster."""


@frozen
class MemberUp(ClusterEvent):
    """There is a new member."""

    member: ClusterMember


@frozen
class MemberChanged(ClusterEvent):
    """A member says other things of itself than before: its roles, or its address."""

    member: ClusterMember


@frozen
class MemberLeaving(ClusterEvent):
    """A member wants to go. It still finishes what it has."""

    member: ClusterMember


@frozen
class MemberUnreachable(ClusterEvent):
    """A member is held to be dead. Its work is done elsewhere."""

    member: ClusterMember


@frozen
class MemberReachable(ClusterEvent):
    """A member that was held to be dead is there again."""

    member: ClusterMember


@frozen
class MemberLeft(ClusterEvent):
    """It is no member any more: it has left, was replaced by a newer process, or was forgotten."""

    member: ClusterMember
    reason: str


@frozen
class LeaderChanged(ClusterEvent):
    """This node takes the node with the id `leader_id` for the leader; `None`: it knows of none."""

    leader_id: str | None
    term: int


@frozen
class ShardsMoved(ClusterEvent):
    """Shards of a type have another owner; a singleton has the one shard 0."""

    name: str
    """Of the type, or of the singleton."""
    shards: tuple[int, ...]
    owner_id: str | None
    """The node that has them from now on; `None` for nobody yet."""
    forced: bool
    """Whether they were taken, after a failure, and not handed over."""


@frozen
class NameChanged(ClusterEvent):
    """A cluster-wide name was claimed by an actor of the node `node_id`, or is free again: `None`."""

    name: str
    node_id: str | None


@frozen
class NodeExpelled(ClusterEvent):
    """This node is no member any more, and did not ask for that, or cannot go on as one. It does no more work."""

    reason: str


@frozen
class ClientConnected(ClusterEvent):
    """An outside client follows the cluster, through the node at `address`."""

    address: str
    """As `host:port`; what that node calls itself."""


@frozen
class ClientDisconnected(ClusterEvent):
    """No node tells an outside client what happens. It looks for another one, and uses what it knows meanwhile."""

    reason: str


def member_changes(before: tuple[ClusterMember, ...], after: tuple[ClusterMember, ...]) -> list[ClusterEvent]:
    """What has happened between two lists of members, as far as the lists tell."""
    old = {member.node_id: member for member in before}
    new = {member.node_id: member for member in after}
    found: list[ClusterEvent] = []
    for node_id, was in old.items():
        now = new.get(node_id)
        if now is None:
            found.append(MemberLeft(was, "left" if was.status is not MemberStatus.UNREACHABLE else "forgotten"))
        elif now.generation != was.generation:
            found.append(MemberLeft(was, "replaced"))
    for node_id, member in new.items():
        known = old.get(node_id)
        if known is None or known.generation != member.generation:
            found.append(MemberUp(member))
        elif known.status is not member.status:
            found.append(_STATUS_EVENTS[member.status](member))
        elif known != member:
            found.append(MemberChanged(member))
    return found


_STATUS_EVENTS = {
    MemberStatus.UP: MemberReachable,
    MemberStatus.LEAVING: MemberLeaving,
    MemberStatus.UNREACHABLE: MemberUnreachable,
}
