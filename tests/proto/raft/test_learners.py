"""Learners, and new voters that are brought up to date before they count (thesis 4.2.1, 4.2.2)."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.raft import (
    AddLearner,
    AddVoter,
    AppendAccepted,
    AppendEntries,
    Changed,
    ChangeMembership,
    Configuration,
    Heartbeat,
    NotLeader,
    Received,
    Remove,
    Role,
)

from .bench import ELECTION, HEARTBEAT, OPTIONS, PLAIN, Cluster
from .script import Server


def voters(cluster: Cluster, name: str) -> str:
    """The voters of the configuration that is in effect at a server."""
    return " ".join(cluster[name].configurations.latest.voters)


# Learners ----------------------------------------------------------------------------------------------------------


def with_learner() -> Cluster:
    cluster = Cluster("n1", "n2", "n3", voters=["n1", "n2"]).elect("n1")
    request = cluster.change("n1", AddLearner("n3"))
    cluster.settle()
    assert cluster.replies[request] == Changed(2, Configuration(("n1", "n2"), ("n3",)))
    cluster.time_out("n1")
    cluster.settle()
    return cluster


def test_r_94_a_learner_replicates_and_is_not_counted() -> None:
    cluster = with_learner()
    assert cluster.terms("n3") == [1, 1]
    cluster.isolate("n2")
    (request,) = cluster.propose("n1", b"x")
    cluster.settle()
    assert cluster["n3"].log.last_index == 3
    assert request not in cluster.replies


def test_r_94_a_learner_never_campaigns_and_can_be_promoted() -> None:
    cluster = with_learner()
    cluster.isolate("n3")
    cluster.advance(4 * ELECTION)
    assert cluster["n3"].role is Role.FOLLOWER
    cluster.heal()
    cluster.advance(HEARTBEAT)
    cluster.change("n1", AddVoter("n3"))
    cluster.settle()
    assert voters(cluster, "n1") == "n1 n2 n3"
    cluster.transfer("n1", "n3")
    cluster.settle()
    assert cluster.leader == "n3"


def test_r_93_a_learner_votes_for_it_may_be_a_voter_that_does_not_know_it() -> None:
    """[etcd] The promotion of n3 is committed by n1 and n2; n3 has not got it, n1 dies, and n2 needs its vote."""
    cluster = with_learner()
    cluster.cut("n1", "n3")
    cluster.feed("n1", Received("n3", AppendAccepted(1, 2)))
    cluster.change("n1", AddVoter("n3"))
    cluster.settle()
    assert voters(cluster, "n2") == "n1 n2 n3"
    assert voters(cluster, "n3") == "n1 n2"
    cluster.crash("n1")
    cluster.heal()
    cluster.hosts["n3"].ahead += 3 * ELECTION
    cluster.elect("n2")
    cluster.advance(2 * HEARTBEAT)
    assert voters(cluster, "n3") == "n1 n2 n3"
    cluster.converged()


def test_r_100_a_voter_that_is_demoted_goes_on_replicating() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.change("n1", AddLearner("n3"))
    cluster.settle()
    cluster.commit("n1", b"x")
    cluster.advance(HEARTBEAT)
    assert cluster["n1"].configurations.latest == Configuration(("n1", "n2"), ("n3",))
    cluster.converged()


# Catching up -------------------------------------------------------------------------------------------------------


def test_r_99_a_new_voter_is_brought_up_to_date_before_it_counts() -> None:
    """Thesis 4.2.1."""
    cluster = Cluster("n1", "n2", "n3", "n4", voters=["n1", "n2", "n3"]).elect("n1")
    cluster.commit("n1", *[b"x"] * 20)
    cluster.drop = lambda packet: packet.target == "n4" and isinstance(packet.message, AppendEntries)
    request = cluster.change("n1", AddVoter("n4"))
    cluster.settle()
    assert voters(cluster, "n1") == "n1 n2 n3"
    assert "another change is under way" in cluster.rejected(cluster.change("n1", Remove("n2")))
    cluster.drop = lambda packet: False
    cluster.time_out("n1")
    cluster.settle()
    assert isinstance(cluster.replies[request], Changed)
    assert cluster["n4"].log.last_index == 22
    assert voters(cluster, "n4") == "n1 n2 n3 n4"


def test_r_96_and_r_99_a_new_voter_that_is_not_heard_is_not_added_and_deposes_nobody() -> None:
    """[etcd] A single leader that checks its quorum, and a second server that is silent."""
    cluster = Cluster("n1", "n2", voters=["n1"]).elect("n1")
    cluster.crash("n2")
    request = cluster.change("n1", AddVoter("n2"))
    cluster.advance(10 * ELECTION)
    assert "n2 was not made a voter: n2 has not been heard" in cluster.rejected(request)
    assert cluster["n1"].role is Role.LEADER
    assert cluster["n1"].lead is not None
    assert cluster["n1"].lead.progress == {}


@pytest.mark.parametrize(("slow", "added"), [(3, True), (9, True), (10, False), (30, False)])
def test_r_99_a_new_voter_has_ten_rounds_and_the_last_must_be_short(slow: int, added: bool) -> None:
    """`slow`: how many rounds take longer than an election timeout."""
    server = Server(voters="n1 n2", options=evolve(PLAIN, catch_up_rounds=10))
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    server.feed(ChangeMembership("c", (AddVoter("n9"),)))
    result = None
    for number in range(1, 12):
        target = server.raft.log.last_index
        server.propose(b"x")
        server.now += ELECTION if number <= slow else ELECTION - 1
        effects = server.feed(Received("n9", AppendAccepted(1, target)))
        server.tell("n2", AppendAccepted(1, server.raft.log.last_index))
        if any(getattr(effect, "request", None) == "c" for effect in effects):
            result = "refused"
            break
        if "n9" in server.raft.configurations.latest.voters:
            result = "added"
            break
    assert result == ("added" if added else "refused")
    assert number == min(slow + 1, 10)


def test_r_99_a_learner_that_had_everything_and_has_died_since_is_not_made_a_voter() -> None:
    cluster = with_learner()
    cluster.crash("n3")
    cluster.advance(2 * ELECTION)
    request = cluster.change("n1", AddVoter("n3"))
    assert request not in cluster.replies
    assert voters(cluster, "n1") == "n1 n2"
    cluster.advance(5 * ELECTION)
    assert "has not been heard" in cluster.rejected(request)


def test_r_99_whoever_was_not_added_is_sent_nothing_any_more() -> None:
    server = Server(voters="n1 n2", options=evolve(PLAIN, catch_up_rounds=1))
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    server.feed(ChangeMembership("c", (AddVoter("n9"),)))
    server.now += ELECTION
    assert "not up to date after 1 rounds" in str(server.feed(Received("n9", AppendAccepted(1, 1))))
    assert [send.to for send in server.time_out() if isinstance(send.message, Heartbeat)] == ["n2"]


def test_r_99_a_leader_that_steps_down_tells_that_it_has_not_added_anybody() -> None:
    cluster = Cluster("n1", "n2", "n3", "n4", voters=["n1", "n2", "n3"]).elect("n1")
    cluster.crash("n4")
    request = cluster.change("n1", AddVoter("n4"))
    cluster.transfer("n1", "n2")
    cluster.settle()
    assert isinstance(cluster.replies[request], NotLeader)


def test_r_99_replacing_a_server_goes_by_adding_first() -> None:
    """Four voters tolerate one failure on the way, as three did; two tolerate none."""
    cluster = Cluster("n1", "n2", "n3", "n4", voters=["n1", "n2", "n3"], options=OPTIONS).elect("n1")
    cluster.change("n1", AddVoter("n4"))
    cluster.settle()
    assert voters(cluster, "n1") == "n1 n2 n3 n4"
    cluster.change("n1", Remove("n3"))
    cluster.settle()
    cluster.advance(HEARTBEAT)
    assert voters(cluster, "n4") == "n1 n2 n4"
