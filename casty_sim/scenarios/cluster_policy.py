"""What the cluster of a run can bear: which host may go down, or leave, at this instant.

A disk that fails asks nobody: its host stops, and comes back with what was written. So several may be lost at once, and
then what they had in memory may be gone (`checkers/cluster_losses.py`).

1.  Where a host may crash, no other one is lost (`checkers/cluster_losses.py`); so writes that one backup has survive.
2.  More than half of the voters of every configuration are left, as the nodes that they are. A host without a disk, or
    with one that was wiped, never comes back as the node that it was. One that is lost while it is made a voter does
    not count: a leader that was the only voter goes on alone. Nor is one counted upon that is leaving when another one
    wants to leave: where all who stay are held to be down, wrongly perhaps, those who leave wait a while only, and go
    with their votes.
3.  Fewer than half of all hosts are outside of the cluster at any time. Hosts that look for a cluster, and find nobody
    but each other, found one if they are more than half of all seeds. At first the seeds are few, so none of them may
    go before all are in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casty_proto.cluster.events import Standing

from ..world import Host

if TYPE_CHECKING:
    from .cluster_run import ClusterRun


class Policy:
    """See the module."""

    def __init__(self, cluster: ClusterRun) -> None:
        self._cluster = cluster
        self._were_members: dict[str, None] = {}

    def became_member(self, host: Host) -> None:
        """A node of that host belongs to the cluster."""
        self._were_members[host.name] = None

    @property
    def has_begun(self) -> bool:
        """Whether there is a cluster."""
        return bool(self._were_members)

    def may_crash(self, host: Host) -> bool:
        """Whether this host may lose power."""
        return self._may_be_lost(host, keeps_disk=self._cluster.keeps_disk(host.name))

    def may_wipe(self, host: Host) -> bool:
        """Whether it may lose power, and its disk."""
        return self._may_be_lost(host, keeps_disk=False)

    def _may_be_lost(self, host: Host, *, keeps_disk: bool) -> bool:
        cluster = self._cluster
        cluster.losses.review()
        if any(lost != host.name for lost in cluster.losses.now()):
            return False
        if any(each.disk.full for each in cluster.hosts):
            return False
        return self._may_go(host, "" if keeps_disk else host.name)

    def may_leave(self, host: Host) -> bool:
        """Whether the node of this host may leave."""
        leaving = [one.name for one in self._cluster.programs() if one.node.standing is Standing.LEAVING]
        return not self._cluster.losses.now() and self._may_go(host, host.name, *leaving)

    def _may_go(self, host: Host, *without: str) -> bool:
        cluster = self._cluster
        if host.name in cluster.first_seeds and len(self._were_members) < len(cluster.hosts):
            return False
        running = {program.name: program for program in cluster.programs()}
        outside = [
            each
            for each in cluster.hosts
            if each is not host
            and (each.name not in running or running[each.name].node.standing is not Standing.MEMBER)
        ]
        return len(outside) < (len(cluster.hosts) - 1) // 2 and self._votes_survive(*without)

    def _comes_back(self, name: str) -> bool:
        """Whether the host will be the node again that it was: a disk that was wiped says nothing of it."""
        return self._cluster.keeps_disk(name) and bool(self._cluster.world.hosts[name].disk.records())

    def _votes_survive(self, *without: str) -> bool:
        cluster = self._cluster
        left = {
            key: None
            for name, key in cluster.keys.items()
            if name not in without and (cluster.world.hosts[name].up or self._comes_back(name))
        }
        for program in cluster.programs():
            voters = dict.fromkeys(program.node.voters)
            if voters and 2 * sum(voter in left for voter in voters) <= len(voters):
                return False
        return True
