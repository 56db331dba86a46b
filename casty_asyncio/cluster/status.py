"""What there is to know about a cluster, for people and tools: `status`, `health`, and the figures of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import instance_of

from casty_proto.actor import SAME, UNHANDLED, Behavior, Receive
from casty_proto.cluster.checks import split_key
from casty_proto.cluster.events import Standing
from casty_proto.cluster.records import RegionKind, Status
from casty_proto.wire import Types

from ..arguments import is_ref
from ..events import notify
from ..health import Health
from ..metrics import Metric, MetricKind, counter, gauge
from ..refs import ActorRef
from ..remote.refs import RemoteRef
from .claims import path_of

if TYPE_CHECKING:
    from .cluster import Cluster
    from .system import DistributedSystem

STATUS = "_status"
"""The actor of the system that tells others how it is."""


@frozen
class GetStatus:
    """Message to `/_status`: tell `reply_to` what `system.status()` returns."""

    reply_to: ActorRef[dict[str, Any]] = field(validator=is_ref)


@frozen
class GetCopies:
    """Message to `/_status`: tell `reply_to` how many complete copies there are of each shard that is open there."""

    name: str = field(validator=instance_of(str))
    """The sharded type, or the singleton."""
    reply_to: ActorRef[dict[int, int]] = field(validator=is_ref)


def allow_status(types: Types) -> None:
    """Let a node ask others for their copies, also where it is strict."""
    types.allow(GetCopies, "casty.status.copies")


def status_actor(system: DistributedSystem) -> Behavior[GetStatus | GetCopies]:
    """The actor `/_status`."""

    def receive(_: Any, message: object) -> Behavior[GetStatus | GetCopies]:
        match message:
            case GetStatus():
                notify(message.reply_to, system.status())
            case GetCopies():
                notify(message.reply_to, system._joined().node.copies(message.name))
            case _:
                return UNHANDLED
        return SAME

    return Receive(receive)


def status_of(cluster: Cluster) -> dict[str, Any]:
    """The cluster as this node sees it, made of what JSON knows."""
    node, system = cluster.node, cluster.system
    topology = node.topology()
    ids = {member.key: member.node_id for member in topology.members}
    regions = [
        {
            "name": region.name,
            "shards": len(region.table),
            "factor": region.settings.factor,
            "sync_count": region.settings.sync_count,
            "role": region.settings.role,
            "shards_per_node": _per_node(region.nodes, region.table, ids),
            "hosts": [_id(host) for host in region.hosts],
        }
        for region in topology.regions
        if region.kind is RegionKind.ENTITIES
    ]
    singletons = [
        {"name": region.name, "node": None if (owner := region.owner(0)) is None else _id(owner)}
        for region in topology.regions
        if region.kind is RegionKind.SINGLETON
    ]
    return {
        "system": system.name,
        "node": node.info.node_id,
        "address": node.info.address,
        "standing": node.standing.value,
        "cluster": topology.cluster,
        "leader": None if topology.leader is None else _id(topology.leader),
        "term": node.term,
        "epoch": topology.version,
        "members": [
            {
                "node": member.node_id,
                "address": member.address,
                "roles": list(member.roles),
                "status": _STATUS[member.status],
                "votes": member.votes,
                "leader": member.key == topology.leader,
            }
            for member in topology.members
        ],
        "types": regions,
        "singletons": singletons,
        "services": [
            {
                "key": key.name,
                "instances": [_where(cluster, instance.ref) for instance in system.receptionist.listing(key)],
            }
            for key in system.receptionist.all_keys()
        ],
        "names": [
            {"name": name, "node": _id(entry.node), "path": path_of(entry)} for name, entry in node.state.names()
        ],
        "gaps": [*node.shortages(), *node.gaps()],
        "traffic": {
            "messages_sent": cluster.lanes.sent,
            "messages_received": cluster.lanes.received,
            "asks_under_way": len(cluster.regions.asks),
            "dead_letters": system.dead_letters,
            "shards_here": len(cluster.hosting.shards),
            "entities_here": sum(len(shard.entities) for shard in cluster.hosting.shards.values()),
        },
    }


_STATUS = {Status.UP: "up", Status.LEAVING: "leaving", Status.DOWN: "unreachable"}


def _id(key: str) -> str:
    return split_key(key)[0]


def _per_node(nodes: tuple[str | None, ...], table: tuple[int, ...], ids: dict[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for place in table:
        owner = nodes[place]
        name = "nobody" if owner is None else ids.get(owner, _id(owner))
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _where(cluster: Cluster, ref: ActorRef[Any]) -> str:
    if isinstance(ref, RemoteRef):
        return f"{ref.node.node_id}{ref.path}"
    return f"{cluster.node.info.node_id}{ref.path}"


def health_of(cluster: Cluster) -> Health:
    """How a node is: live unless it was expelled, ready while it can act as a member."""
    node = cluster.node
    if cluster.views.fault is not None:
        return Health(False, False, (str(cluster.views.fault),))
    if node.standing is Standing.EXPELLED or cluster.views.expelled is not None:
        return Health(False, False, (f"it is no member of the cluster any more: {cluster.views.expelled}",))
    reasons = []
    if node.standing is not Standing.MEMBER:
        reasons.append(f"it is {node.standing.value}")
    elif not node.may_act(cluster.member.now()):
        reasons.append("it has no lease: it cannot reach the leader, or there is none")
    return Health(True, not reasons, tuple(reasons))


def metrics_of(cluster: Cluster) -> tuple[Metric, ...]:
    """The figures of a node, besides those of its actor system."""
    node, lanes, hosting = cluster.node, cluster.lanes, cluster.hosting
    members = [info.status for info in node.state.members()]
    by_status = tuple(
        [((("status", text),), float(sum(each is status for each in members))) for status, text in _STATUS.items()]
    )
    asks = cluster.regions.asks
    return (
        Metric("casty_cluster_members", MetricKind.GAUGE, "Members of the cluster, by status.", by_status),
        gauge("casty_cluster_is_leader", "Whether this node takes itself for the leader.", node.is_leader),
        gauge("casty_cluster_term", "The term of Raft.", node.term),
        gauge("casty_cluster_epoch", "The version of what the cluster has agreed upon.", node.state.version),
        counter("casty_cluster_messages_sent_total", "Messages to other nodes.", lanes.sent),
        counter("casty_cluster_messages_received_total", "Messages of other nodes.", lanes.received),
        gauge("casty_cluster_shards", "Shards that this node has.", len(hosting.shards)),
        gauge(
            "casty_cluster_entities",
            "Entities that are awake here.",
            # Other threads may want to know, while shards come and go.
            sum(len(shard.entities) for shard in list(hosting.shards.values())),
        ),
        gauge("casty_entity_asks_under_way", "Asks of entities that wait for their answers here.", len(asks)),
        counter("casty_entity_asks_failed_total", "Asks of entities that have failed here.", asks.failed),
        Metric(
            "casty_entity_ask_seconds",
            MetricKind.HISTOGRAM,
            "How long asks of entities took that were answered, in seconds.",
            (((), asks.durations.read()),),
        ),
    )
