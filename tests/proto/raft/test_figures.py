"""The paper's Figures 7 and 8 as scenarios."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.raft import AppendEntries, Role

from .bench import ELECTION, HEARTBEAT, PLAIN, Cluster, Packet, records_of

LEADER = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
FIGURE_7 = {
    "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 1, 4),
    "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 1, 4, 4, 4, 4),
    "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}


@pytest.mark.parametrize("case", FIGURE_7)
def test_r_44_figure_7_every_follower_ends_with_the_leaders_log(case: str) -> None:
    """Elected in term 8, by a third server, the leader brings the follower's log into line with its own."""
    names = ["leader", "follower", "third"]
    logs = {"leader": LEADER, "follower": FIGURE_7[case], "third": ()}
    records = {name: records_of(names, logs[name], term=7) for name in names}
    cluster = Cluster(*names, options=PLAIN, records=records).elect("leader")
    assert cluster["leader"].term == 8
    cluster.commit("leader", b"data")
    cluster.advance(HEARTBEAT)
    cluster.converged()
    assert cluster.terms("follower") == [*LEADER, 8, 8]


def test_r_44_figure_7_five_of_seven_vote_for_that_leader() -> None:
    """a, b, e and f have less than the leader; c is longer, and d has a later term."""
    names = ["leader", *FIGURE_7]
    records = {name: records_of(names, FIGURE_7.get(name, LEADER), term=7) for name in names}
    cluster = Cluster(*names, options=PLAIN, records=records)
    cluster.elect("leader")
    granted = [name for name in FIGURE_7 if cluster[name].vote == "leader"]
    assert granted == ["a", "b", "e", "f"]
    cluster.advance(HEARTBEAT)
    cluster.converged()


NAMES = ["s1", "s2", "s3", "s4", "s5"]


class Figure8:
    """The five servers of the figure, up to (c). Whether an entry reaches a server is decided entry by entry."""

    def __init__(self) -> None:
        records = {name: records_of(NAMES, (1,)) for name in NAMES}
        self.cluster = cluster = Cluster(*NAMES, options=evolve(PLAIN, max_message_entries=1), records=records)
        # (a) s1 leads term 2; its entry reaches s2.
        self.elect("s1", 2, voters="s2 s3", entries={2: "s2"})
        assert self.logs() == "12 12 1 1 1"
        # (b) s1 crashes; s5 leads term 3, and its entry reaches nobody.
        cluster.crash("s1")
        self.elect("s5", 3, voters="s3 s4", entries={3: ""})
        assert cluster.terms("s5") == [1, 3]
        # (c) s5 crashes; s1 restarts and leads term 4. The entry of term 2 reaches s3, that of term 4 nobody.
        cluster.crash("s5")
        cluster.restart("s1")
        self.elect("s1", 4, voters="s2 s3", entries={2: "s3", 4: ""})
        assert self.logs() == "124 12 12 1"

    def elect(self, name: str, term: int, voters: str, entries: dict[int, str]) -> None:
        """Have `name` lead `term` with these votes. `entries`: which term's entries reach whom."""
        cluster = self.cluster
        cluster.heal()
        cluster.drop = lambda packet: self.stopped(packet, name, voters.split(), entries)
        while cluster[name].term < term:
            cluster.time_out(name)
        cluster.settle()
        assert (cluster[name].role, cluster[name].term) == (Role.LEADER, term)

    def stopped(self, packet: Packet, leader: str, voters: list[str], entries: dict[int, str]) -> bool:
        if packet.source == leader and packet.target not in voters:
            return True
        message, target = packet.message, packet.target
        if not isinstance(message, AppendEntries):
            return False
        if self.cluster[target].log.term(message.prev_index) != message.prev_term:
            return False  # It will be rejected, and the leader learns where to begin.
        return any(target not in entries[entry.term].split() for entry in message.entries)

    def logs(self) -> str:
        running = [name for name in NAMES if self.cluster.hosts[name].up]
        return " ".join(["".join(map(str, self.cluster.terms(name))) for name in running])


def test_r_45_figure_8_c_an_old_entry_on_a_majority_is_not_committed() -> None:
    """Paper 5.4.2. (2,2) is on s1, s2 and s3, and s1 leads: it stays uncommitted, and is not applied."""
    cluster = Figure8().cluster
    assert cluster["s1"].commit == 0
    assert cluster.executed("s1") == []


def test_r_45_figure_8_d_and_so_it_may_be_overwritten() -> None:
    """s1 crashes; s5 is elected by s2, s3 and s4, and its entry of term 3 takes the place."""
    figure = Figure8()
    cluster = figure.cluster
    cluster.crash("s1")
    cluster.restart("s5")
    figure.elect("s5", 5, voters="s2 s3 s4", entries={1: "s2 s3 s4", 3: "s2 s3 s4", 5: "s2 s3 s4"})
    cluster.restart("s1")
    cluster.heal()
    for _ in range(3):
        cluster.time_out("s5")
        cluster.settle()
    cluster.converged()
    assert cluster.terms("s1") == [1, 3, 5]


def test_r_45_figure_8_e_an_entry_of_the_own_term_on_a_majority_commits_both() -> None:
    """(3,4) reaches s2 and s3 before the crash: then s5 cannot be elected any more."""
    figure = Figure8()
    cluster = figure.cluster
    cluster.heal()
    cluster.cut("s1", "s4")
    for _ in range(3):
        cluster.time_out("s1")
        cluster.settle()
    assert figure.logs() == "124 124 124 1"
    assert cluster["s1"].commit == 3
    cluster.crash("s1")
    cluster.heal()
    cluster.restart("s5")
    for _ in range(5):
        cluster.time_out("s5")
        cluster.settle()
        assert cluster["s5"].role is not Role.LEADER
    cluster.restart("s1")
    cluster.advance(20 * ELECTION)
    cluster.converged()
    assert cluster.terms("s5")[:3] == [1, 2, 4]
