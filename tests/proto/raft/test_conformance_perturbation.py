"""Section M of the published list: scenarios again and again, each time with another message disturbed.

Lost once, doubled, or overtaken by the message after it. The observer looks on, and at the end the servers must get
back to work and agree.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from casty_proto.raft import AddLearner, AddVoter, Committed, OpenSession, Remove, RequestVote, Role, Vote

from .bench import ELECTION, HEARTBEAT, OPTIONS, PLAIN, Cluster, Packet, records_of

BARE = evolve(OPTIONS, trailing_entries=0, snapshot_chunk_bytes=60)
LEADER = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
OLD = (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3)


class Perturbed(Cluster):
    """A cluster in which one message is disturbed: the one with the number `victim`, from 0."""

    def disturb(self, how: str, victim: int) -> None:
        self.how, self.victim, self.count = how, victim, 0

    def deliver(self, packet: Packet) -> None:
        if packet.source == packet.target:
            super().deliver(packet)
            return
        number, self.count = self.count, self.count + 1
        if number != self.victim:
            super().deliver(packet)
        elif self.how == "doubled":
            super().deliver(packet)
            super().deliver(packet)
        elif self.how == "overtaken":
            if self.wires:
                self.deliver(self.wires.pop(0))
            super().deliver(packet)


def time_out(cluster: Cluster, name: str) -> None:
    """Like `Cluster.elect`, but whoever is disturbed may lose."""
    if cluster[name].deadline() is not None:
        cluster.time_out(name)
    cluster.settle()


def leading(cluster: Cluster) -> str:
    return cluster.leader or "n1"


def dueling(cluster: Cluster) -> None:
    """R-15, R-16."""
    cluster.cut("n1", "n3")
    time_out(cluster, "n1")
    time_out(cluster, "n3")
    cluster.heal()
    time_out(cluster, "n3")


def terms(cluster: Cluster) -> None:
    """R-17, R-20."""
    for name in ("n1", "n2", "n1", "n3"):
        time_out(cluster, name)
        cluster.commit(leading(cluster), b"x")


def transfer(cluster: Cluster) -> None:
    """R-61, R-63."""
    time_out(cluster, "n1")
    cluster.cut("n1", "n3")
    cluster.commit(leading(cluster), b"missed")
    cluster.heal()
    for target in ("n3", "n2"):
        cluster.transfer(leading(cluster), target)
        cluster.settle()
        cluster.advance(HEARTBEAT)


def members(cluster: Cluster) -> None:
    """R-82 to R-100: a voter comes, a learner comes, and the leader goes."""
    time_out(cluster, "n1")
    for change in (AddVoter("n4"), AddLearner("n3"), AddVoter("n3")):
        cluster.change(leading(cluster), change)
        cluster.settle()
        cluster.advance(HEARTBEAT)
    cluster.change(leading(cluster), Remove(leading(cluster)))
    cluster.settle()


def snapshot(cluster: Cluster) -> None:
    """R-105 to R-110, in chunks."""
    time_out(cluster, "n1")
    cluster.isolate("n3")
    cluster.commit(leading(cluster), *[b"x" * 20] * 5)
    cluster.snapshot(leading(cluster))
    cluster.heal()
    cluster.advance(2 * HEARTBEAT)


def reads(cluster: Cluster) -> None:
    """R-73 to R-77, and a session (R-80)."""
    time_out(cluster, "n1")
    cluster.commit(leading(cluster), OpenSession(10 * ELECTION))
    for name in ("n1", "n2", "n3"):
        cluster.commit(leading(cluster), b"x=1")
        cluster.read(name)
        cluster.settle()
    time_out(cluster, "n2")


def figure_7(cluster: Cluster) -> None:
    """R-44, with the log of the follower f."""
    time_out(cluster, "n1")
    cluster.commit(leading(cluster), b"data")


NAMES = ["n1", "n2", "n3"]
LOGS = {"n1": records_of(NAMES, LEADER), "n2": records_of(NAMES, OLD), "n3": records_of(NAMES, LEADER)}
SCENARIOS: dict[str, tuple[Callable[[Cluster], None], Callable[[], Perturbed]]] = {
    "dueling": (dueling, lambda: Perturbed(*NAMES, options=PLAIN)),
    "dueling with pre-votes": (dueling, lambda: Perturbed(*NAMES)),
    "terms": (terms, lambda: Perturbed(*NAMES, options=PLAIN)),
    "transfer": (transfer, lambda: Perturbed(*NAMES)),
    "members": (members, lambda: Perturbed(*NAMES, "n4", voters=NAMES)),
    "snapshot": (snapshot, lambda: Perturbed(*NAMES, options=BARE)),
    "reads": (reads, lambda: Perturbed(*NAMES)),
    "figure 7": (figure_7, lambda: Perturbed(*NAMES, options=PLAIN, records=LOGS)),
}


@pytest.mark.parametrize("how", ["lost", "doubled", "overtaken"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_section_m_a_scenario_survives_the_disturbance_of_any_one_message(name: str, how: str) -> None:
    scenario, make = SCENARIOS[name]
    count, total = 0, 1
    while count < total:
        cluster = make()
        cluster.disturb(how, count)
        scenario(cluster)
        total = cluster.count
        work_again(cluster)
        count += 1
    assert total >= 10


def work_again(cluster: Cluster) -> None:
    """Somebody leads, takes a command, and all members agree."""
    cluster.heal()
    for _ in range(20):
        cluster.advance(3 * ELECTION)
        if cluster.leader is not None and isinstance(cluster.commit(cluster.leader, b"end")[0], Committed):
            break
    else:
        raise AssertionError(f"the cluster does not get back to work: {cluster.roles()}")
    cluster.advance(3 * HEARTBEAT)
    present = cluster[cluster.leader].configurations.latest.members
    for host in cluster.hosts.values():
        host.up = host.name in present
    cluster.converged()


@pytest.mark.parametrize("late", [RequestVote, Vote], ids=["requests", "votes"])
@pytest.mark.parametrize("seed", range(3))
def test_section_m_votes_that_come_an_election_timeout_late_cost_no_entry(
    late: type[RequestVote | Vote], seed: int
) -> None:
    """[hashicorp] Slow votes: they arrive when the election that they are for is over, or another is under way."""
    cluster = Cluster("n1", "n2", "n3", "n4", "n5", seed=seed)
    kept: list[Packet] = []

    def keep(packet: Packet) -> bool:
        slow = isinstance(packet.message, late) and cluster.rng.random() < 0.5
        if slow:
            kept.append(packet)
        return slow

    acknowledged: list[bytes] = []
    cluster.drop = keep
    for number in range(20):
        if number % 5 == 4 and cluster.leader is not None:
            cluster.isolate(cluster.leader)
        arriving, kept[:] = list(kept), []
        cluster.advance(2 * ELECTION)
        for packet in arriving:
            cluster.deliver(packet)
        cluster.settle()
        cluster._cuts.clear()
        leader = cluster.leader
        if leader is not None and isinstance(cluster.commit(leader, b"%d" % number)[0], Committed):
            acknowledged.append(b"%d" % number)
    assert len(acknowledged) > 5
    work_again(cluster)
    assert cluster.leader is not None
    executed = cluster.executed(cluster.leader)
    assert [data for data in acknowledged if data not in executed] == []


def test_section_m_a_server_that_is_cut_off_is_removed_and_comes_back_to_a_cluster_without_it() -> None:
    """[hashicorp] Remove a partitioned node: it finds no votes, and the others go on in the same term."""
    cluster = Cluster("n1", "n2", "n3", "n4", "n5").elect("n1")
    cluster.isolate("n5")
    cluster.change("n1", Remove("n5"))
    cluster.advance(5 * ELECTION)
    cluster.heal()
    for number in range(20):
        assert isinstance(cluster.commit("n1", b"%d" % number)[0], Committed)
        cluster.advance(ELECTION // 2)
    assert (cluster["n1"].role, cluster["n1"].term) == (Role.LEADER, 1)
    assert cluster["n5"].role is not Role.LEADER
    assert cluster.executed("n5") == []
