"""What is on the disk of a node, and what it amounts to when the node starts again.

A node that founds a cluster writes down what it is a member of, and the configuration with itself as the only voter.
One that joins writes down the former, and gets everything else from the leader. All other records are those of Raft,
with tickets that come after these two.

`recover_node` makes of all records what `Node` is made with, and `checkpoint_node` makes few records of that again, for
a driver that wants to shrink its file. The rules of raft/records.py hold for the records of Raft.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from attrs import frozen

from ..machine import Persist
from ..raft import Command, Configuration, Recovered, bootstrap, checkpoint, recover
from ..raft import Record as RaftRecord
from ..values import value
from .commands import decode_command
from .core import Core
from .records import NodeInfo
from .state import ControlState, StateError

OWN_TICKETS = 2
"""Tickets 1 and 2 are the node's own."""


@value
class Membership:
    """The first record of a node that belongs to a cluster: which one, and as what. All others are those of Raft."""

    cluster: str
    """The name of the cluster: the node key of whoever founded it."""
    node: NodeInfo
    """This node, as it said of itself last."""


type NodeRecord = Membership | RaftRecord
"""What a driver writes to disk for a node."""


@frozen
class NodeRecovered:
    """What a node finds on its disk."""

    cluster: str
    """The name of its cluster: the node key of whoever founded it."""
    node: NodeInfo
    """What it was when it wrote that down: its id and generation are those that it has now."""
    raft: Recovered
    """The ballot, the log and the snapshot."""

    @property
    def contacts(self) -> tuple[str, ...]:
        """Where members may listen, as far as the disk tells. Some of it may not be true any more."""
        found: dict[str, None] = {}
        if self.raft.snapshot is not None:
            with suppress(StateError):
                state = ControlState.decode(self.raft.snapshot.data)
                found.update(dict.fromkeys([member.node.address for member in state.members()]))
        for entry in self.raft.entries:
            if type(entry.payload) is Command:
                command = decode_command(entry.payload.data)
                node = getattr(command, "node", None)
                if type(node) is NodeInfo:
                    found[node.address] = None
        return tuple(found)


def recover_node(records: Iterable[Any]) -> NodeRecovered | None:
    """What the records of a node amount to; `None` where it has never belonged to a cluster.

    Raises `RecoveryError` where they do not follow from one another.
    """
    membership: Membership | None = None
    rest: list[RaftRecord] = []
    for record in records:
        if type(record) is Membership:
            membership = record
        else:
            rest.append(record)
    if membership is None:
        return None
    return NodeRecovered(membership.cluster, membership.node, recover(rest))


def checkpoint_node(recovered: NodeRecovered) -> tuple[NodeRecord, ...]:
    """Few records that amount to `recovered`."""
    return (Membership(recovered.cluster, recovered.node), *checkpoint(recovered.raft))


def founding_records(core: Core) -> tuple[Recovered, tuple[Persist, ...]]:
    """What a founder begins with, and what it writes down first."""
    base = bootstrap(Configuration((core.key,)))
    writes = (Membership(core.cluster, core.info), *base)
    return recover(base), tuple([Persist(ticket, record) for ticket, record in enumerate(writes, 1)])
