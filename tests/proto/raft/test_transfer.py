"""Transfer of leadership (thesis 3.10)."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.raft import (
    AddLearner,
    AppendEntries,
    Committed,
    Forwarded,
    InstallSnapshot,
    NotLeader,
    Remove,
    RequestVote,
    Role,
    SteppedDown,
    TimeoutNow,
)

from .bench import ELECTION, HEARTBEAT, OPTIONS, Cluster
from .script import Server


def three() -> Cluster:
    """n1 leads, and everybody hears it."""
    return Cluster("n1", "n2", "n3").elect("n1")


def pending(cluster: Cluster, name: str = "n1") -> str | None:
    """Whom the leader waits for."""
    lead = cluster[name].lead
    return lead.transfer.target if lead is not None and lead.transfer is not None else None


def test_r_61_and_r_62_a_target_that_has_everything_takes_over_at_once_and_may_give_it_back() -> None:
    """Though everybody heard the leader just now, and would ignore any other candidate."""
    cluster = three()
    request = cluster.transfer("n1", "n2")
    cluster.settle()
    assert cluster.roles() == "F2 L2 F2"
    assert cluster.replies[request] == SteppedDown(2)
    cluster.transfer("n2", "n1")
    cluster.settle()
    assert cluster.roles() == "L3 F3 F3"


def test_r_61_a_follower_passes_the_request_on() -> None:
    cluster = three()
    request = cluster.transfer("n3", "n2")
    assert cluster.replies[request] == Forwarded("n1")
    cluster.settle()
    assert cluster.roles() == "F2 L2 F2"


def test_r_61_nobody_knows_whom_to_ask_without_a_leader() -> None:
    cluster = Cluster("n1", "n2", "n3")
    request = cluster.transfer("n3", "n2")
    assert isinstance(cluster.replies[request], NotLeader)


def test_r_63_a_target_that_lacks_an_entry_gets_it_first() -> None:
    cluster = three()
    cluster.isolate("n3")
    cluster.commit("n1", b"missed")
    cluster.heal()
    cluster.transfer("n1", "n3")
    assert cluster.settle().roles() == "L1 F1 F1"
    cluster.time_out("n1")
    assert cluster["n3"].log.last_index == 1
    cluster.settle()
    assert cluster.roles() == "F2 F2 L2"
    assert cluster.terms("n3") == [1, 1, 2]


def test_r_64_a_target_that_needs_a_snapshot_gets_it_first() -> None:
    cluster = Cluster("n1", "n2", "n3", options=evolve(OPTIONS, trailing_entries=0)).elect("n1")
    cluster.isolate("n3")
    cluster.commit("n1", b"a", b"b")
    cluster.snapshot("n1")
    cluster.heal()
    cluster.drop = lambda packet: isinstance(packet.message, InstallSnapshot)
    cluster.transfer("n1", "n3")
    cluster.time_out("n1")
    cluster.settle()
    assert cluster.roles() == "L1 F1 F1"
    cluster.heal()
    cluster.time_out("n1")
    cluster.settle()
    assert cluster.roles() == "F2 F2 L2"
    assert cluster.executed("n3") == [b"a", b"b"]


def test_r_65_and_r_72_a_transfer_to_oneself_or_to_one_without_a_vote_is_refused() -> None:
    cluster = Cluster("n1", "n2", "n3", "n4", voters=["n1", "n2", "n3"]).elect("n1")
    cluster.change("n1", AddLearner("n4"))
    cluster.settle()
    for target, why in [("n1", "leads already"), ("n9", "does not vote"), ("n4", "does not vote")]:
        assert why in cluster.rejected(cluster.transfer("n1", target))
        cluster.settle()
    assert pending(cluster) is None
    assert cluster.roles() == "L1 F1 F1 F1"


def test_r_66_and_r_72_a_transfer_that_takes_an_election_timeout_is_given_up_and_the_leader_works_on() -> None:
    cluster = three()
    cluster.isolate("n3")
    request = cluster.transfer("n1", "n3")
    cluster.advance(HEARTBEAT)
    assert pending(cluster) == "n3"
    cluster.advance(ELECTION - HEARTBEAT)
    assert pending(cluster) is None
    assert "did not take over" in cluster.rejected(request)
    assert cluster["n1"].role is Role.LEADER
    assert isinstance(cluster.commit("n1", b"x")[0], Committed)


def test_r_67_and_r_72_nothing_is_proposed_or_changed_meanwhile() -> None:
    cluster = three()
    cluster.isolate("n3")
    cluster.transfer("n1", "n3")
    (request,) = cluster.propose("n1", b"x")
    assert "being transferred to n3" in cluster.rejected(request)
    assert "being transferred to n3" in cluster.rejected(cluster.change("n1", Remove("n2")))
    assert cluster["n1"].log.last_index == 1


def test_r_68_another_who_wins_an_election_ends_the_transfer() -> None:
    cluster = three()
    cluster.isolate("n3")
    request = cluster.transfer("n1", "n3")
    cluster.heal()
    cluster.hosts["n3"].ahead += ELECTION
    cluster.elect("n2")
    assert cluster.roles() == "F2 L2 F2"
    assert isinstance(cluster.replies[request], SteppedDown)


def test_r_69_a_target_cannot_lose_its_vote_while_the_transfer_waits() -> None:
    """Changes are refused meanwhile, and one that was made before takes effect at once."""
    cluster = three()
    cluster.change("n1", Remove("n3"))
    assert "does not vote" in cluster.rejected(cluster.transfer("n1", "n3"))


def test_r_70_another_target_takes_the_place_of_the_first() -> None:
    """[etcd]"""
    cluster = three()
    cluster.isolate("n3")
    first = cluster.transfer("n1", "n3")
    cluster.transfer("n1", "n2")
    assert "n2 is to lead instead of n3" in cluster.rejected(first)
    cluster.settle()
    assert cluster.roles() == "F2 L2 F1"


def test_r_70_asking_again_for_the_same_target_does_not_extend_the_time() -> None:
    """[etcd]"""
    cluster = three()
    cluster.isolate("n3")
    cluster.transfer("n1", "n3")
    cluster.advance(HEARTBEAT)
    assert "under way already" in cluster.rejected(cluster.transfer("n1", "n3"))
    cluster.advance(ELECTION - HEARTBEAT)
    assert pending(cluster) is None


def test_r_70_a_transfer_to_the_leader_itself_calls_off_the_one_that_is_under_way() -> None:
    """[etcd]"""
    cluster = three()
    cluster.isolate("n3")
    first = cluster.transfer("n1", "n3")
    second = cluster.transfer("n1", "n1")
    assert "was called off" in cluster.rejected(first)
    assert cluster.replies[second] is None
    assert isinstance(cluster.commit("n1", b"x")[0], Committed)


@pytest.mark.parametrize("voters", ["n2 n3", ""])
def test_r_71_a_server_that_does_not_vote_does_not_obey_the_order(voters: str) -> None:
    server = Server("n1", voters=voters, term=1, options=OPTIONS)
    assert server.tell("n2", TimeoutNow(1)) == []
    assert server.state == (Role.FOLLOWER, 1)


def test_r_61_the_order_is_obeyed_without_a_pre_vote_and_marks_the_request() -> None:
    server = Server(terms=(1,), term=1, options=OPTIONS)
    server.tell("n2", AppendEntries(1, 1, 1, (), 1))
    sent = server.tell("n2", TimeoutNow(1))
    assert [send.message for send in sent] == [RequestVote(2, 1, 1, transfer=True)] * 2
    assert server.state == (Role.CANDIDATE, 2)


def test_an_order_of_somebody_who_does_not_lead_is_not_obeyed() -> None:
    server = Server(terms=(1,), term=1, options=OPTIONS)
    server.tell("n2", AppendEntries(1, 1, 1, (), 1))
    assert server.tell("n3", TimeoutNow(1)) == []
    assert server.led == "1 n2"


def test_a_transfer_that_fails_without_an_election_leaves_reads_and_members_alone() -> None:
    cluster = three()
    cluster.isolate("n3")
    cluster.transfer("n1", "n3")
    read = cluster.read("n1")
    cluster.settle()
    assert cluster.replies[read].index == 1
