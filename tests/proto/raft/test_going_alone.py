"""A leader of two voters that loses the other one (`membership.py`, rule 7)."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.machine import Rejected
from casty_proto.raft import AddLearner, AddVoter, Committed, RaftOptions, Remove, Role

from .bench import ELECTION, OPTIONS, Cluster, Packet
from .test_membership import no_entries, voters

ALONE = evolve(OPTIONS, goes_on_alone=True)


def one_and_a_learner() -> Cluster:
    """`n1` is the only voter, and `n2` listens."""
    cluster = Cluster("n1", "n2", options=ALONE, voters=["n1"]).elect("n1")
    cluster.change("n1", AddLearner("n2"))
    return cluster.settle()


def growing_and_cut() -> tuple[Cluster, str]:
    """`n2` was made a voter, and is gone before it has heard of it."""
    cluster = one_and_a_learner()
    no_entries(cluster)
    request = cluster.change("n1", AddVoter("n2"))
    cluster.settle()
    assert voters(cluster, "n1") == "n1 n2"
    assert request not in cluster.replies
    cluster.crash("n2")
    return cluster.heal(), request


def test_rule_7_a_second_voter_that_dies_before_it_was_one_does_not_stop_the_first() -> None:
    cluster, request = growing_and_cut()
    cluster.advance(2 * ELECTION)
    assert cluster["n1"].role is Role.LEADER
    assert voters(cluster, "n1") == "n1"
    assert isinstance(cluster.replies[request], Rejected)
    (answer,) = cluster.commit("n1", b"x")
    assert isinstance(answer, Committed)


def test_rule_7_so_does_one_that_was_one_and_dies() -> None:
    cluster = Cluster("n1", "n2", options=ALONE).elect("n1")
    cluster.crash("n2")
    (answer,) = cluster.commit("n1", b"x")
    assert answer is None
    cluster.advance(2 * ELECTION)
    assert voters(cluster, "n1") == "n1"
    assert cluster.leader == "n1"
    assert isinstance(cluster.replies["r1"], Committed)


def test_rule_7_whoever_was_given_up_can_lead_no_more_and_gets_the_log_when_it_is_back() -> None:
    cluster = Cluster("n1", "n2", options=ALONE).elect("n1")
    cluster.commit("n1", b"a")
    cluster.isolate("n2")
    cluster.advance(3 * ELECTION)
    cluster.commit("n1", b"b")
    assert [cluster[name].role is Role.LEADER for name in ("n1", "n2")] == [True, False]
    cluster.heal()
    cluster.advance(5 * ELECTION)
    assert cluster.leader == "n1"
    assert cluster["n2"].configurations.latest.learners == ("n2",)
    cluster.converged()


def test_rule_7_a_leader_that_has_committed_nothing_in_its_term_goes_nowhere_alone() -> None:
    """The other one may have gone on alone before, in a way that this leader does not know."""
    cluster = Cluster("n1", "n2", options=ALONE)
    no_entries(cluster)
    cluster.elect("n1")
    cluster.crash("n2")
    cluster.advance(3 * ELECTION)
    assert cluster.leader is None
    assert voters(cluster, "n1") == "n1 n2"


def test_rule_7_while_it_is_open_who_else_votes_nobody_goes_on_alone() -> None:
    """Two of three can decide without the first until it is certain that one of them votes no more."""
    cluster = Cluster("n1", "n2", "n3", options=ALONE).elect("n1")
    cluster.isolate("n1")
    cluster.change("n1", Remove("n3"))
    cluster.settle()
    assert voters(cluster, "n1") == "n1 n2"
    cluster.advance(3 * ELECTION)
    assert cluster.leader in ("n2", "n3")
    cluster.heal()
    cluster.advance(5 * ELECTION)
    assert voters(cluster, "n1") == "n1 n2 n3"
    cluster.converged()


def test_rule_7_a_third_one_that_was_to_become_a_voter_is_told_that_it_is_none() -> None:
    cluster = Cluster("n1", "n2", "n3", options=ALONE, voters=["n1", "n2"]).elect("n1")
    cluster.change("n1", AddLearner("n3"))
    cluster.settle()

    def late(packet: Packet) -> bool:
        return packet.source == "n3"

    cluster.drop = late
    cluster.advance(ELECTION)
    cluster.isolate("n2")
    request = cluster.change("n1", AddVoter("n3"))
    cluster.advance(2 * ELECTION)
    assert "was not made a voter" in cluster.rejected(request)
    assert voters(cluster, "n1") == "n1"


@pytest.mark.parametrize("options", [OPTIONS, evolve(ALONE, check_quorum=True, goes_on_alone=False)])
def test_rule_7_unless_that_is_wanted_a_leader_of_two_steps_down(options: RaftOptions) -> None:
    cluster = Cluster("n1", "n2", options=options).elect("n1")
    cluster.crash("n2")
    cluster.advance(3 * ELECTION)
    assert cluster.leader is None


def test_rule_7_who_never_steps_down_does_not_go_on_alone_either() -> None:
    with pytest.raises(ValueError, match="check_quorum"):
        evolve(ALONE, check_quorum=False)


@pytest.mark.parametrize("seed", range(60))
def test_rule_7_whatever_is_lost_no_two_decide_alone(seed: int) -> None:
    """Two voters and a learner that becomes one and loses its vote again, with cuts, crashes and restarts."""
    cluster = Cluster("n1", "n2", "n3", options=ALONE, voters=["n1", "n2"], seed=seed)
    rng = cluster.rng
    for _ in range(60):
        leader = cluster.leader
        match rng.randrange(8):
            case 0:
                cluster.isolate(rng.choice(("n1", "n2", "n3")))
            case 1:
                cluster.heal()
            case 2 if len(cluster._running()) > 1:
                cluster.crash(rng.choice([name for name, _ in cluster._running()]))
            case 3:
                for name, host in cluster.hosts.items():
                    if not host.up:
                        cluster.restart(name)
            case 4 if leader is not None:
                change = rng.choice((AddVoter, AddLearner))
                cluster.change(leader, change(rng.choice(("n1", "n2", "n3"))))
            case 5:
                cluster.cut(*rng.sample(("n1", "n2", "n3"), 2), both=False)
            case _:
                for name, raft in cluster._running():
                    if raft.role is Role.LEADER:
                        cluster.propose(name, b"x")
        cluster.advance(rng.randrange(2 * ELECTION))
        cluster.check()
    cluster.heal()
    for name, host in cluster.hosts.items():
        if not host.up:
            cluster.restart(name)
    cluster.advance(20 * ELECTION)
    assert cluster.leader is not None
    (answer,) = cluster.commit(cluster.leader, b"y")
    assert isinstance(answer, Committed)
    cluster.check()
