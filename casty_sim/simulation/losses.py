"""How much an application can bear to lose right now.

What a node has in memory is lost when its power is cut, when it is killed, and when its program ends. A state that N
other nodes have survives the loss of N nodes at once, and nodes are lost at once if nobody has had the time in between
to make new copies of what they had. So the faults of a seed must not strike again before that, or they would find what
nobody has promised.

1.  Where the programs are nodes of clusters of `casty_asyncio`, the simulation sees it: a loss is over when every node
    that was started is up and a member, all shards are open, and all copies are complete. Before that was so for the
    first time, no node is lost: while a cluster forms, what it has acknowledged may be with one node only. Nor is one
    lost without which those who vote are no majority.
2.  Of other programs it is not known, and a loss is over when all nodes are up, and those that have started again have
    been up for `Faults.recovery` seconds.
3.  At most `Faults.down_at_once` nodes are lost at once, those counted that the test itself has crashed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from casty_asyncio.cluster import system as clustered
from casty_proto.cluster.events import Standing
from casty_proto.cluster.node import Node
from casty_proto.machine import Instant

from ..checkers.cluster_health import is_whole
from ..loop import running

if TYPE_CHECKING:
    from .node import SimNode


@frozen
class _Clock:
    now: Callable[[], Instant]


@frozen
class _Member:
    """One node of a cluster, as the checkers want to see it."""

    node: Node
    host: _Clock
    ready: bool = True


class Losses:
    """See the module. `nodes` are those that may be lost; `recovery_ns` and `at_once` are those of the faults."""

    def __init__(self, nodes: Callable[[], list[SimNode]], recovery_ns: int, at_once: int) -> None:
        self._nodes = nodes
        self._recovery_ns = recovery_ns
        self._at_once = at_once
        self._lost: dict[str, None] = {}
        self._was_whole = False
        self._systems: dict[str, tuple[int, list[clustered.DistributedSystem]]] = {}
        """By host: in which of its lives, and which."""

    def watch(self) -> None:
        """Hear of every node of a cluster that starts in this process."""
        clustered.STARTED.append(self._started)

    def end(self) -> None:
        """Hear of nobody any more, and forget them all."""
        clustered.STARTED.remove(self._started)
        self._systems.clear()

    def _started(self, system: clustered.DistributedSystem) -> None:
        loop = running.current
        if loop is None:
            return
        host = loop.host
        life, systems = self._systems.get(host.name, (0, []))
        self._systems[host.name] = (host.starts, [*systems, system] if life == host.starts else [system])

    def lost(self, name: str) -> None:
        """A node has lost what it had in memory."""
        self._lost[name] = None

    def may_lose(self, node: SimNode) -> bool:
        """Whether a node may be lost now. If so, it counts as lost from now on."""
        self._review()
        if self._systems and not (self._was_whole and self._votes_survive(node)):
            return False
        lost = {**self._lost, node.id: None}
        if len(lost) > self._at_once:
            return False
        self._lost = lost
        return True

    def _votes_survive(self, lost: SimNode) -> bool:
        """Whether, without this node, a majority is left of those who vote. One that was started again counts only if
        it is the node that it was."""
        nodes = [self._nodes_of(each) for each in self._nodes()]
        left = {node.key for each in self._nodes() if each is not lost and each.up for node in self._nodes_of(each)}
        voters = [node.voters for each in nodes for node in each]
        return all(2 * sum(voter in left for voter in each) > len(each) for each in voters if each)

    def _nodes_of(self, node: SimNode) -> list[Node]:
        """Of the present life."""
        life, systems = self._systems.get(node.id, (0, []))
        inside = [each._cluster for each in systems if life == node.lives]
        return [each.node for each in inside if each is not None]

    def _review(self) -> None:
        if (self._lost or not self._was_whole) and self._is_over():
            self._lost.clear()
            self._was_whole = bool(self._systems)

    def _is_over(self) -> bool:
        nodes = self._nodes()
        # A program learns of a disk that is full or fails when it writes to it, and ends then.
        if any(not node.up or node.host.disk.full or node.host.disk.failed for node in nodes):
            return False
        if not self._systems:
            # Who has started for the first time has nothing yet to be made good.
            return all(node.lives == 1 or self._age(node) >= self._recovery_ns for node in nodes)
        clusters: dict[str, list[_Member]] = {}
        for node in nodes:
            if node.id not in self._systems:
                continue  # It is something else.
            life, systems = self._systems[node.id]
            if life != node.host.starts:
                return False
            for each in systems:
                inside = each._cluster
                if inside is None or inside.node.standing is not Standing.MEMBER:
                    return False
                clusters.setdefault(each.name, []).append(_Member(inside.node, _Clock(inside.member.now)))
        return all(_is_complete(members) for members in clusters.values())

    def _age(self, node: SimNode) -> int:
        return node.host.world.now - node.host.started_at


def _is_complete(members: list[_Member]) -> bool:
    """Whether a cluster has all that it wants to have, and more of it than it would lose."""
    state = max((each.node.state for each in members), key=lambda state: state.version)
    for region in state.regions():
        wanted = min(region.settings.factor, len(state.up_members(region.settings.role)))
        if region.hosts and len(region.hosts) < wanted:
            return False  # Not everybody has spawned it yet.
    if any(each.node.shortages() for each in members):
        return False
    return is_whole(members, [region.name for region in state.regions()], len(members))
