"""The invariants of section N of the published list, asserted after every event of random runs.

The names are those of the TLA+ specification of etcd's Raft. `observer.py` asserts Election Safety, Log Matching,
Leader Completeness and State Machine Safety; here are the others. Each looks at the servers and disks alone.
"""

from __future__ import annotations

import pytest

from casty_proto.raft import Raft, RaftEffect, RaftEvent, Role

from .bench import Cluster, Host, records_of
from .chaos import SMALL, Chaos


class Watched(Cluster):
    """A cluster that is looked at after every event."""

    def feed(self, name: str, event: RaftEvent) -> tuple[RaftEffect, ...]:
        raft = self.hosts[name].raft
        before = (raft.term, raft.commit, raft.vote)
        effects = super().feed(name, event)
        monotone(before, raft)
        running = [host.raft for host in self.hosts.values() if host.up]
        one_leader_per_term(running)
        log_inv(raft)
        more_up_to_date_correct(running)
        if raft.commit > before[1]:
            quorum_log(self)
        return effects


def monotone(before: tuple[int, int, str | None], raft: Raft) -> None:
    """Term and commit index never go back, and a vote is given once in a term."""
    term, commit, vote = before
    assert raft.term >= term, f"{raft.id}: term {term} to {raft.term}"
    assert raft.commit >= commit, f"{raft.id}: commit {commit} to {raft.commit}"
    assert raft.term > term or vote in (None, raft.vote), f"{raft.id} votes for {vote} and for {raft.vote}"


def one_leader_per_term(running: list[Raft]) -> None:
    """MoreThanOneLeaderInv."""
    terms = [raft.term for raft in running if raft.role is Role.LEADER]
    assert len(dict.fromkeys(terms)) == len(terms), f"two lead one of the terms {terms}"


def log_inv(raft: Raft) -> None:
    """LogInv: what is committed is in the log."""
    assert raft.log.base_index <= raft.commit <= raft.log.last_index


def more_up_to_date_correct(running: list[Raft]) -> None:
    """MoreUpToDateCorrect: a log that is at least as up to date as another has all that is committed in it."""
    for one in running:
        for other in running:
            if other.log.is_ahead_of(one.log.last_index, one.log.last_term):
                continue
            commit = other.commit
            assert one.log.last_index >= commit, f"{one.id} is not behind {other.id} and lacks {commit}"
            if commit > max(one.log.base_index, other.log.base_index):
                assert one.log.term(commit) == other.log.term(commit), f"{one.id} has another {commit} than {other.id}"


def quorum_log(cluster: Cluster) -> None:
    """QuorumLog and CommittedIsDurable: each quorum has a member with everything committed on its disk."""
    hosts = cluster.hosts
    ahead = max((host.raft for host in hosts.values() if host.up), key=lambda raft: raft.commit)
    if ahead.commit <= ahead.log.base_index:
        return
    configuration = ahead.configurations.at(ahead.commit)
    without = [name for name in configuration.voters if not holds(hosts[name], ahead.commit, ahead)]
    majority = len(configuration.voters) // 2 + 1
    assert len(without) < majority, f"{ahead.commit} is committed, and {without} of {configuration} do not have it"


def holds(host: Host, index: int, ahead: Raft) -> bool:
    """Whether the disk of a server, which may be down, has that entry."""
    return index <= host.disk.snapshot or host.disk.terms.get(index) == ahead.log.term(index)


class WatchedChaos(Chaos):
    """Random disasters for a cluster that is looked at."""

    def __init__(self, seed: int, size: int, spares: int) -> None:
        super().__init__(seed, size, spares)
        cluster = Watched(*self.names, options=SMALL, seed=self.rng.getrandbits(32), voters=self.names[:size])
        cluster.answered = self.hear
        self.cluster = cluster


@pytest.mark.parametrize("seed", range(12))
def test_section_n_every_invariant_holds_after_every_event(seed: int) -> None:
    """3 servers and one that joins, as in the published model, or more; members come and go."""
    WatchedChaos(seed, size=[3, 4, 5][seed % 3], spares=[1, 2, 0][seed % 3]).run(1000)


# The invariants themselves can fail ----------------------------------------------------------------------------------


def stopped() -> Cluster:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.commit("n1", b"x", b"y")
    return cluster


def test_section_n_an_entry_that_a_quorum_has_lost_is_noticed() -> None:
    cluster = stopped()
    quorum_log(cluster)
    cluster.hosts["n2"].disk.terms.pop(3)
    quorum_log(cluster)
    cluster.hosts["n3"].disk.terms.pop(3)
    with pytest.raises(AssertionError, match="do not have it"):
        quorum_log(cluster)


def test_section_n_a_log_that_is_ahead_without_what_is_committed_is_noticed() -> None:
    cluster = stopped()
    running = [cluster[name] for name in ("n1", "n2", "n3")]
    more_up_to_date_correct(running)
    other = Cluster("n1", "n2", "n3", records={"n1": records_of(["n1", "n2", "n3"], (5,))})["n1"]
    with pytest.raises(AssertionError, match="lacks 3"):
        more_up_to_date_correct([*running, other])


def test_section_n_two_leaders_of_a_term_are_noticed() -> None:
    one, other = stopped()["n1"], Cluster("n1", "n2", "n3").elect("n3")["n3"]
    with pytest.raises(AssertionError, match="two lead"):
        one_leader_per_term([one, other])
