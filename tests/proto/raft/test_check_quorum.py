"""Pre-votes and the leader's quorum together (thesis 9.6, 6.2, 4.2.3): a cluster that nobody disturbs."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.machine import Severity
from casty_proto.raft import (
    AddLearner,
    AppendEntries,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Received,
    RequestVote,
    Role,
    Send,
    Unknown,
    Vote,
)

from .bench import CHECK_QUORUM, ELECTION, HEARTBEAT, OPTIONS, PRE_VOTE, Cluster, records_of
from .script import Server, notes


def three(**changes: bool) -> Cluster:
    return Cluster("n1", "n2", "n3", options=evolve(OPTIONS, **changes)).elect("n1")


def test_r_47_a_pre_candidate_with_a_shorter_log_returns_to_following() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PRE_VOTE).elect("n1")
    cluster.isolate("n3")
    cluster.commit("n1", *[b"x"] * 11)
    cluster.heal()
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == "L1 F1 F1"
    cluster.time_out("n1")
    cluster.settle()
    assert cluster["n3"].log.last_index == 12
    cluster.elect("n3")
    assert cluster.roles() == "F2 F2 L2"


def test_r_48_a_server_that_comes_back_from_isolation_changes_nothing() -> None:
    cluster = Cluster("n1", "n2", "n3", "n4", "n5").elect("n1")
    cluster.isolate("n5")
    cluster.advance(10 * 2 * ELECTION)
    assert cluster.roles() == "L1 F1 F1 F1 P1"
    cluster.heal()
    cluster.advance(2 * ELECTION)
    assert cluster.roles() == "L1 F1 F1 F1 F1"


def test_r_48_without_a_pre_vote_it_comes_back_with_a_later_term_and_the_leader_yields() -> None:
    cluster = three(pre_vote=False)
    cluster.isolate("n3")
    cluster.advance(15 * ELECTION)
    grown = cluster["n3"].term
    assert 7 <= grown <= 15
    cluster.heal()
    cluster.advance(10 * ELECTION)
    assert cluster.leader is not None
    assert cluster[cluster.leader].term > grown


def test_r_49_and_r_53_a_candidate_of_a_later_term_is_ignored_until_it_answers_the_leader() -> None:
    """n2 hears n1, so n3's candidacy is ignored; but n1 must learn of its term, or n3 would be stuck."""
    cluster = three(pre_vote=False)
    cluster.cut("n1", "n3")
    for _ in range(2):
        cluster.time_out("n3")
        cluster.settle()
    assert cluster.roles() == "L1 F1 C3"
    cluster.heal()
    cluster.time_out("n1")
    cluster.settle()
    assert cluster.roles() == "F3 F1 C3"
    cluster.hosts["n2"].ahead += ELECTION
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == "F4 F4 L4"


def test_r_49_with_a_pre_vote_the_leader_stays() -> None:
    cluster = three()
    cluster.isolate("n3")
    cluster.commit("n1", b"a", b"b", b"c")
    cluster.time_out("n3")
    cluster.heal()
    cluster.time_out("n1")
    cluster.settle()
    assert cluster.roles() == "L1 F1 F1"


@pytest.mark.parametrize("pre", [False, True])
def test_r_50_whoever_heard_a_leader_lately_ignores_requests_and_the_term_in_them(pre: bool) -> None:
    server = Server(term=1, options=OPTIONS)
    server.tell("n2", Heartbeat(1, 0, 1))
    server.now += ELECTION - 1
    assert server.tell("n3", RequestVote(5, 9, 1, pre=pre)) == []
    assert server.led == "1 n2"
    server.now += 1
    assert server.tell("n3", RequestVote(5, 9, 1, pre=pre)) == [Send("n3", Vote(5, True, pre=pre))]
    assert server.raft.term == (1 if pre else 5)


def test_r_50_and_r_62_an_election_that_the_leader_asked_for_is_not_ignored() -> None:
    server = Server(term=1, options=OPTIONS)
    server.tell("n2", Heartbeat(1, 0, 1))
    assert server.tell("n3", RequestVote(2, 0, 0, transfer=True)) == [Send("n3", Vote(2, True))]


def test_r_50_a_leader_is_replaced_when_the_others_do_not_hear_it() -> None:
    """[etcd] The run of prevote_checkquorum.txt: one follower is not enough, two are."""
    cluster = three()
    cluster.time_out("n2")
    cluster.settle()
    assert cluster.roles() == "L1 P1 F1"
    cluster.time_out("n1")
    cluster.settle()
    assert cluster.roles() == "L1 F1 F1"
    cluster.hosts["n2"].ahead += ELECTION
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == "F2 F2 L2"
    cluster.time_out("n3")
    cluster.settle()
    cluster.converged()


def test_r_50_two_pre_candidates_replace_a_live_leader() -> None:
    """[etcd] They hear nobody, and so neither has a reason to ignore the other."""
    cluster = three()
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == "L1 F1 P1"
    cluster.time_out("n2")
    cluster.settle()
    assert cluster.roles() == "F2 L2 F2"


def test_r_51_a_leader_that_hears_a_majority_in_each_timeout_stays() -> None:
    server = Server(options=CHECK_QUORUM)
    server.lead()
    for _ in range(5):
        server.now += ELECTION - 1
        server.tell("n3", HeartbeatReply(1, 1))
        server.wake()
    assert server.state == (Role.LEADER, 1)


def test_r_51_a_leader_that_hears_nobody_for_a_timeout_steps_down_in_its_term() -> None:
    """Thesis 6.2."""
    server = Server(options=CHECK_QUORUM)
    server.lead()
    server.now += ELECTION - 1
    server.wake()
    assert server.state == (Role.LEADER, 1)
    server.now += 1
    server.wake()
    assert server.state == (Role.FOLLOWER, 1)


def test_r_52_a_candidate_wins_when_the_others_have_not_heard_the_leader_for_long_enough() -> None:
    cluster = three(pre_vote=False)
    cluster.cut("n1", "n3")
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == "L1 F1 C2"
    cluster.hosts["n2"].ahead += ELECTION
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == "L1 F3 L3"


def test_r_57_a_deposed_leader_learns_the_term_from_a_late_vote() -> None:
    """[etcd] checkquorum.txt."""
    server = Server(options=CHECK_QUORUM)
    server.lead()
    server.now += ELECTION
    server.wake()
    assert server.state == (Role.FOLLOWER, 1)
    server.tell("n2", Vote(2, False))
    assert server.state == (Role.FOLLOWER, 2)


def test_r_58_a_leader_that_is_cut_off_fails_what_it_was_asked_for() -> None:
    cluster = three()
    cluster.isolate("n1")
    (request,) = cluster.propose("n1", b"x")
    read = cluster.read("n1")
    cluster.advance(2 * ELECTION)
    assert isinstance(cluster.replies[request], Unknown)
    assert "does not hear a majority" in cluster.rejected(read)


def test_r_59_a_learner_with_a_far_later_term_does_not_keep_the_cluster_from_working() -> None:
    cluster = Cluster("n1", "n2", "n3", "n4", voters=["n1", "n2", "n3"]).elect("n1")
    cluster.change("n1", AddLearner("n4"))
    cluster.settle()
    cluster.crash("n4")
    records = [*cluster.hosts["n4"].disk.records, records_of([], term=21)[1]]
    cluster.hosts["n4"].disk.records[:] = records
    cluster.hosts["n4"].disk.term = 21
    cluster.restart("n4")
    cluster.advance(20 * ELECTION)
    leader = cluster.leader
    assert leader in ("n1", "n2", "n3")
    for number in range(200):
        assert isinstance(cluster.commit(leader, b"%d" % number)[0], Committed)
    cluster.advance(HEARTBEAT)
    cluster.converged()


def test_r_60_a_follower_that_restarts_causes_no_election() -> None:
    cluster = three()
    cluster.advance(3 * ELECTION)
    cluster.crash("n2")
    cluster.advance(3 * ELECTION)
    cluster.restart("n2")
    cluster.advance(3 * ELECTION)
    assert cluster.roles() == "L1 F1 F1"


def test_a_follower_that_is_heard_only_in_one_direction_does_not_depose_the_leader() -> None:
    """n3 hears nothing, and everybody hears n3."""
    cluster = three()
    cluster.cut("n1", "n3", both=False)
    cluster.cut("n2", "n3", both=False)
    cluster.advance(10 * ELECTION)
    assert cluster.roles() == "L1 F1 P1"


def test_two_leaders_of_one_term_are_not_believed() -> None:
    """Election Safety rules it out; whoever says so does not speak this protocol."""
    server = Server(term=1)
    server.tell("n2", Heartbeat(1, 0, 1))
    effects = server.feed(Received("n3", AppendEntries(1, 0, 0, (), 0)))
    assert [note.severity for note in notes(effects)] == [Severity.ERROR]
    assert server.led == "1 n2"
    leader = Server()
    leader.lead()
    assert leader.tell("n2", Heartbeat(1, 0, 1)) == []
    assert leader.state == (Role.LEADER, 1)
