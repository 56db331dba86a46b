"""Reads through the read-index (thesis 6.4)."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.machine import SECOND, Reply
from casty_proto.raft import (
    AddLearner,
    AppendAccepted,
    AppendEntries,
    Committed,
    Heartbeat,
    HeartbeatReply,
    NotLeader,
    Read,
    ReadReady,
    ReadReply,
    ReadRequest,
    Received,
    Remove,
    RequestVote,
    Role,
    Send,
    TimeoutNow,
    Vote,
)

from .bench import ELECTION, HEARTBEAT, OPTIONS, PLAIN, Cluster, records_of
from .script import Server, replies, sends


def ready(cluster: Cluster, request: str) -> int:
    """The index that a read was permitted at."""
    result = cluster.replies.get(request)
    assert isinstance(result, ReadReady), f"{request} was answered with {result}"
    return result.index


def test_r_73_a_read_names_what_was_committed_when_it_was_asked_for_at_whichever_server() -> None:
    """Ten proposals before each read; the no-op is the first entry."""
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    found = []
    for name in ("n1", "n2", "n3", "n1", "n2", "n3"):
        cluster.commit("n1", *[b"x"] * 10)
        request = cluster.read(name)
        cluster.settle()
        found.append(ready(cluster, request))
    assert found == [11, 21, 31, 41, 51, 61]


def test_r_73_a_learner_reads_too() -> None:
    cluster = Cluster("n1", "n2", voters=["n1"]).elect("n1")
    cluster.change("n1", AddLearner("n2"))
    cluster.settle()
    found = []
    for name in ("n1", "n2", "n1", "n2"):
        cluster.commit("n1", *[b"x"] * 10)
        request = cluster.read(name)
        cluster.settle()
        found.append(ready(cluster, request))
    assert found == [12, 22, 32, 42]


def test_r_73_a_read_is_permitted_when_a_majority_has_answered_a_heartbeat_that_came_after_it() -> None:
    server = Server()
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    effects = server.feed(Read("r"))
    assert sends(effects) == [Send("n2", Heartbeat(1, 1, 1)), Send("n3", Heartbeat(1, 0, 1))]
    assert replies(effects) == {}
    assert replies(server.feed(Received("n3", HeartbeatReply(1, 1)))) == {"r": ReadReady(1)}


def test_r_74_a_new_leader_answers_when_it_has_committed_an_entry_of_its_own_term() -> None:
    """Thesis 6.4, step 1. Log [1,1] everywhere; what is committed of it the leader cannot know."""
    names = ["n1", "n2", "n3"]
    cluster = Cluster(*names, options=PLAIN, records={name: records_of(names, (1, 1)) for name in names})
    cluster.drop = lambda packet: isinstance(packet.message, AppendEntries)
    cluster.elect("n1")
    request = cluster.read("n1")
    cluster.time_out("n1")
    cluster.settle()
    assert request not in cluster.replies
    cluster.drop = lambda packet: False
    cluster.time_out("n1")
    cluster.settle()
    assert ready(cluster, request) >= 3


def test_r_75_a_leader_that_was_replaced_without_knowing_answers_nothing() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PLAIN).elect("n1")
    cluster.commit("n1", b"x=1")
    cluster.isolate("n1")
    cluster.elect("n2")
    cluster.commit("n2", b"x=2")
    request = cluster.read("n1")
    cluster.advance(5 * ELECTION)
    assert cluster["n1"].role is Role.LEADER
    assert request not in cluster.replies
    cluster.heal()
    cluster.advance(5 * HEARTBEAT)
    assert isinstance(cluster.replies[request], NotLeader)


def test_r_75_with_a_checked_quorum_it_fails_within_an_election_timeout() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.isolate("n1")
    request = cluster.read("n1")
    cluster.advance(ELECTION)
    assert isinstance(cluster.replies[request], NotLeader)


def test_r_76_answers_to_heartbeats_from_before_the_read_do_not_count() -> None:
    server = Server()
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    server.time_out()
    server.feed(Read("r"))
    for _ in range(3):
        assert replies(server.feed(Received("n2", HeartbeatReply(1, 1)))) == {}
        assert replies(server.feed(Received("n3", HeartbeatReply(1, 1)))) == {}
    assert list(replies(server.feed(Received("n2", HeartbeatReply(1, 2))))) == ["r"]


def test_r_76_a_doubled_answer_to_one_round_does_not_confirm_the_next() -> None:
    server = Server()
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    server.feed(Read("first"))
    server.feed(Read("second"))
    assert list(replies(server.feed(Received("n2", HeartbeatReply(1, 1))))) == ["first"]
    assert replies(server.feed(Received("n2", HeartbeatReply(1, 1)))) == {}
    assert list(replies(server.feed(Received("n2", HeartbeatReply(1, 2))))) == ["second"]


def test_r_76_reads_that_come_together_share_a_round_and_are_answered_in_order() -> None:
    server = Server()
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    rounds = [len(sends(server.feed(Read(number)))) for number in range(100)]
    assert rounds == [2] + [0] * 99
    effects = server.feed(Received("n2", HeartbeatReply(1, 1)))
    assert (list(replies(effects)), len(sends(effects))) == ([0], 2)
    assert list(replies(server.feed(Received("n2", HeartbeatReply(1, 2))))) == list(range(1, 100))


def test_r_76_a_round_that_was_lost_is_replaced_by_the_next_heartbeat() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.drop = lambda packet: isinstance(packet.message, Heartbeat)
    first, second = cluster.read("n1"), cluster.read("n1")
    cluster.settle()
    cluster.drop = lambda packet: False
    cluster.advance(HEARTBEAT)
    assert (ready(cluster, first), ready(cluster, second)) == (1, 1)


def test_r_76_an_answer_to_a_round_that_was_never_sent_is_dropped() -> None:
    server = Server()
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    server.tell("n2", HeartbeatReply(1, 50))
    effects = server.feed(Read("r"))
    assert replies(effects) == {}


def test_r_77_a_follower_asks_the_leader_and_waits_until_it_has_applied_that_much() -> None:
    server = Server(terms=(1, 1, 1), term=1)
    server.tell("n2", AppendEntries(1, 3, 1, (), 1))
    (asked,) = sends(server.feed(Read("r")))
    assert asked.to == "n2"
    assert isinstance(asked.message, ReadRequest)
    answer = ReadReply(1, asked.message.id, 3)
    assert replies(server.feed(Received("n2", answer))) == {}
    assert replies(server.commit(2)) == {}
    assert replies(server.commit(3)) == {"r": ReadReady(3)}
    assert server.feed(Received("n2", answer)) == []


def test_r_77_a_leader_that_has_become_a_follower_asks_its_successor() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.transfer("n1", "n2")
    cluster.settle()
    request = cluster.read("n1")
    cluster.settle()
    assert ready(cluster, request) == 2


def test_r_77_a_read_is_given_up_when_the_leader_changes() -> None:
    server = Server(term=1)
    server.tell("n2", Heartbeat(1, 0, 1))
    server.feed(Read("r"))
    assert replies(server.feed(Received("n3", Heartbeat(2, 0, 1)))) == {
        "r": NotLeader("the leader that n1 asked has changed", "n3")
    }


@pytest.mark.parametrize("answered", [False, True])
def test_r_77_a_read_is_given_up_after_its_time(answered: bool) -> None:
    """Also when the leader named an index that this server does not get to."""
    server = Server(term=1, options=evolve(PLAIN, read_timeout_ns=ELECTION // 2))
    server.tell("n2", Heartbeat(1, 0, 1))
    (asked,) = sends(server.feed(Read("r")))
    assert isinstance(asked.message, ReadRequest)
    if answered:
        server.tell("n2", ReadReply(1, asked.message.id, 7))
    assert server.raft.deadline() == server.now + ELECTION // 2
    server.now += ELECTION // 2
    assert "in time" in replies(server.wake())["r"].reason
    assert server.raft.deadline() != server.now


def test_r_77_whoever_does_not_lead_says_so() -> None:
    cluster = Cluster("n1", "n2", "n3", options=evolve(OPTIONS, read_timeout_ns=5 * SECOND)).elect("n1")
    cluster.feed("n2", Received("n3", ReadRequest(1, 7)))
    assert cluster.wires[-1].message == ReadReply(1, 7, None)
    cluster.crash("n1")
    cluster.restart("n1")
    request = cluster.read("n3")
    cluster.settle()
    assert "does not lead any more" in cluster.rejected(request)


def test_r_77_a_restarted_server_does_not_take_an_answer_to_its_former_life_for_its_own() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.commit("n1", b"x=1")
    cluster.read("n3")
    (asked,) = [packet for packet in cluster.wires if isinstance(packet.message, ReadRequest)]
    cluster.settle()
    cluster.commit("n1", b"x=2")
    cluster.crash("n3")
    cluster.restart("n3")
    cluster.time_out("n1")
    cluster.settle()
    request = cluster.read("n3")
    late = ReadReply(1, asked.message.id, 2)
    cluster.feed("n3", Received("n1", late))
    assert request not in cluster.replies
    cluster.settle()
    assert ready(cluster, request) == 3


def test_r_78_a_single_server_answers_at_once() -> None:
    cluster = Cluster("n1").elect("n1")
    request = cluster.read("n1")
    assert ready(cluster, request) == 1


def test_r_78_a_read_is_answered_when_the_majority_shrinks_to_those_who_have_answered() -> None:
    """[raft-rs] n2 has answered and n3 has not; n3 is removed, and {n1, n2} is a majority of all that are left."""
    cluster = Cluster("n1", "n2", "n3", "n4").elect("n1")
    cluster.isolate("n3", "n4")
    request = cluster.read("n1")
    cluster.settle()
    assert request not in cluster.replies
    cluster.change("n1", Remove("n4"))
    assert ready(cluster, request) == 1


def test_r_75_a_deposed_leader_refuses_the_read_when_it_learns_of_its_successor() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PLAIN).elect("n1")
    cluster.isolate("n1")
    request = cluster.read("n1")
    cluster.elect("n2")
    assert isinstance(cluster.commit("n2", b"x=2")[0], Committed)
    cluster.heal()
    cluster.settle()
    cluster.time_out("n1")
    cluster.settle()
    assert isinstance(cluster.replies[request], NotLeader)


# Leases --------------------------------------------------------------------------------------------------------------

LEASES = evolve(OPTIONS, lease_reads=True, clock_drift_percent=25)
LEASE = ELECTION * 4 // 5


def with_lease() -> Server:
    """A leader whose lease began when it sent its first heartbeat."""
    server = Server(options=evolve(LEASES, pre_vote=False))
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    server.time_out()
    server.tell("n2", HeartbeatReply(1, 1))
    return server


def test_r_79_leases_without_a_checked_quorum_are_an_error() -> None:
    with pytest.raises(ValueError, match="lease_reads needs check_quorum"):
        evolve(OPTIONS, lease_reads=True, check_quorum=False)


def test_r_79_a_lease_lasts_from_when_the_round_was_sent_for_an_election_timeout_less_the_drift() -> None:
    server = with_lease()
    sent_at = server.now
    server.now = sent_at + LEASE - 1
    assert server.feed(Read("r")) == [Reply("r", ReadReady(1))]
    server.now = sent_at + LEASE
    assert replies(server.feed(Read("r"))) == {}


def test_r_79_a_late_answer_counts_from_its_own_round() -> None:
    server = with_lease()
    sent_at = server.now
    server.now += HEARTBEAT
    server.wake()
    server.now += ELECTION // 2
    server.tell("n3", HeartbeatReply(1, 1))
    assert server.raft.lead is not None
    assert server.raft.lead.lease_until == sent_at + LEASE
    server.tell("n3", HeartbeatReply(1, 2))
    assert server.raft.lead.lease_until == sent_at + HEARTBEAT + LEASE


def test_r_79_a_leader_that_asked_for_an_election_has_no_lease_any_more() -> None:
    """Also when the transfer is given up: the target may get the order late."""
    cluster = Cluster("n1", "n2", "n3", options=LEASES).elect("n1")
    cluster.advance(HEARTBEAT)
    assert ready(cluster, cluster.read("n1")) == 1
    cluster.drop = lambda packet: isinstance(packet.message, TimeoutNow)
    cluster.transfer("n1", "n2")
    cluster.advance(ELECTION)
    request = cluster.read("n1")
    assert request not in cluster.replies
    cluster.settle()
    assert ready(cluster, request) == 1


def test_r_79_nobody_votes_for_another_while_a_lease_may_last() -> None:
    """Neither one that has forgotten the leader with the term, nor one that has restarted."""
    server = Server(term=1, options=LEASES)
    server.now = ELECTION
    server.tell("n2", Heartbeat(1, 0, 1))
    server.tell("n3", HeartbeatReply(3, 1))
    assert server.led == "3 nobody"
    server.now += ELECTION - 1
    assert server.tell("n3", RequestVote(4, 9, 3)) == []
    server.now += 1
    assert server.tell("n3", RequestVote(4, 9, 3)) == [Send("n3", Vote(4, True))]
    restarted = Server(term=1, options=LEASES)
    restarted.now = ELECTION - 1
    assert restarted.tell("n3", RequestVote(4, 9, 3)) == []
    restarted.now = ELECTION
    assert restarted.tell("n3", RequestVote(4, 9, 3)) == [Send("n3", Vote(4, True))]


def test_r_79_a_leader_that_is_cut_off_stops_before_another_can_lead() -> None:
    cluster = Cluster("n1", "n2", "n3", options=LEASES)
    cluster.advance(5 * ELECTION)
    old = cluster.leader
    assert old is not None
    cluster.isolate(old)
    permitted = True
    while cluster.leader == old:
        permitted = cluster.read(old) in cluster.replies
        cluster.advance(ELECTION // 20)
    assert permitted is False
