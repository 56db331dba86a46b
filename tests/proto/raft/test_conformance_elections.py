"""The published list on elections: what the other files of this folder leave open (paper 5.2; thesis 4.2.3, 9.6)."""

from __future__ import annotations

from typing import Any

import pytest

from casty_proto.raft import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Committed,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    NotLeader,
    RaftOptions,
    ReadReply,
    ReadRequest,
    Remove,
    RequestTransfer,
    RequestVote,
    Role,
    Send,
    SnapshotReply,
    Stale,
    TimeoutNow,
    Vote,
)

from .bench import CHECK_QUORUM, ELECTION, OPTIONS, PLAIN, PRE_VOTE, Cluster, records_of
from .script import Server, entries

OLD: list[tuple[Any, list[Any]]] = [
    (AppendEntries(1, 0, 0, entries(1, 1), 1), [Stale(2)]),
    (Heartbeat(1, 1, 1), [Stale(2)]),
    (InstallSnapshot(1, 9, 1, 5, 0, b"abc"), [Stale(2)]),
    (TimeoutNow(1), [Stale(2)]),
    (RequestVote(1, 9, 0), [Vote(2, False)]),
    (RequestVote(1, 9, 0, pre=True), [Vote(2, False, pre=True)]),
    (Vote(1, True), []),
    (Vote(1, True, pre=True), []),
    (AppendAccepted(1, 1), []),
    (AppendRejected(1, 1, 0, 0), []),
    (HeartbeatReply(1, 1), []),
    (SnapshotReply(1, 1, 1), []),
    (Stale(1), []),
    (ReadReply(1, 1, 9), []),
    (RequestTransfer(1, "n3"), []),
]


@pytest.mark.parametrize("role", [Role.CANDIDATE, Role.LEADER])
@pytest.mark.parametrize(("message", "answer"), OLD, ids=[type(message).__name__ for message, _ in OLD])
def test_r_02_a_candidate_and_a_leader_too_ignore_messages_of_an_earlier_term(
    message: Any, answer: list[Any], role: Role
) -> None:
    """Paper 5.1. Nothing changes, and the answer, if there is one, names the present term."""
    server = Server(terms=(1,), term=1)
    server.time_out()
    if role is Role.LEADER:
        server.tell("n3", Vote(2, True))
    before = (server.state, server.terms, server.raft.commit, server.raft.vote, list(server.disk.records))
    assert before[0] == (role, 2)
    assert server.tell("n2", message) == [Send("n2", one) for one in answer]
    assert (server.state, server.terms, server.raft.commit, server.raft.vote, server.disk.records) == before


def test_r_02_a_question_of_an_earlier_term_is_answered_by_whoever_does_not_lead_with_a_refusal() -> None:
    server = Server(terms=(2,), term=2)
    assert server.tell("n2", ReadRequest(1, 7)) == [Send("n2", ReadReply(2, 7, None))]
    assert server.state == (Role.FOLLOWER, 2)


def test_r_25_a_pre_candidate_refuses_another_in_its_own_term() -> None:
    server = Server(terms=(1, 1), term=2, options=PRE_VOTE)
    server.time_out()
    assert server.state == (Role.PRE_CANDIDATE, 2)
    assert server.tell("n2", RequestVote(2, 9, 1)) == [Send("n2", Vote(2, False))]
    assert (server.state, server.raft.vote) == ((Role.PRE_CANDIDATE, 2), None)


@pytest.mark.parametrize("pre", [False, True])
def test_r_50_a_leader_that_checks_its_quorum_ignores_requests_and_the_term_in_them(pre: bool) -> None:
    """Thesis 4.2.3: also a leader does; whether it still is one, its quorum decides."""
    server = Server(options=OPTIONS)
    server.time_out()
    server.tell("n2", Vote(1, True, pre=True))
    server.tell("n2", Vote(1, True))
    assert server.state == (Role.LEADER, 1)
    assert server.tell("n3", RequestVote(2, 9, 1, pre=pre)) == []
    assert server.tell("n3", RequestVote(9, 9, 8, pre=pre)) == []
    assert server.state == (Role.LEADER, 1)
    assert server.tell("n3", RequestVote(2, 9, 1, transfer=True)) == [Send("n3", Vote(2, True))]


def test_r_50_the_old_leader_ignores_the_vote_and_yields_to_the_entries_of_its_successor() -> None:
    """[etcd] prevote_checkquorum.txt, run (ii): logs of 11 entries; n2 has not heard n1 for an election timeout."""
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.commit("n1", *[b"x"] * 10)
    assert [cluster[name].log.last_index for name in ("n1", "n2", "n3")] == [11, 11, 11]
    cluster.hosts["n2"].ahead += ELECTION
    cluster.drop = lambda packet: packet.target == "n1" and isinstance(packet.message, AppendEntries)
    cluster.elect("n3")
    assert cluster.roles() == "L1 F2 L2"
    cluster.heal()
    cluster.time_out("n3")
    while cluster.wires[0].target != "n1":
        cluster.deliver(cluster.wires.pop(0))
    assert isinstance(cluster.wires[0].message, Heartbeat)
    assert cluster.roles() == "L1 F2 L2"
    cluster.deliver(cluster.wires.pop(0))
    assert cluster.roles() == "F2 F2 L2"
    cluster.settle()
    assert cluster.roles() == "F2 F2 L2"
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.commits() == [12, 12, 12]


def test_r_54_a_pre_candidate_of_a_later_term_tells_it_the_leader_that_lives() -> None:
    """[etcd] Case (a): its log is too short to win; with the leader in its term it can follow again."""
    cluster = Cluster("n1", "n2", "n3", options=PLAIN).elect("n1")
    cluster.isolate("n3")
    cluster.commit("n1", b"missed")
    for _ in range(2):
        cluster.time_out("n3")
        cluster.settle()
    for name in ("n1", "n2", "n3"):
        cluster.hosts[name].options = PRE_VOTE
    cluster.crash("n3")
    cluster.restart("n3")
    cluster.heal()
    cluster.time_out("n3")
    assert cluster["n3"].role is Role.PRE_CANDIDATE
    cluster.settle()
    assert cluster.roles() == "L1 F1 F3"
    cluster.time_out("n1")
    cluster.settle()
    assert cluster["n1"].role is Role.FOLLOWER
    assert cluster["n1"].term == cluster["n3"].term == 3


def test_r_57_a_leader_that_lost_its_quorum_learns_the_term_from_a_late_vote_and_another_wins() -> None:
    """[etcd] checkquorum.txt, with 11 entries in each log."""
    cluster = Cluster("n1", "n2", "n3", options=CHECK_QUORUM).elect("n1")
    cluster.commit("n1", *[b"x"] * 10)
    cluster.isolate("n1")
    cluster.hosts["n1"].ahead += 2 * ELECTION
    cluster.wake("n1")
    assert (cluster["n1"].role, cluster["n1"].term) == (Role.FOLLOWER, 1)
    cluster.heal()
    cluster.drop = lambda packet: packet.target == "n3"
    cluster.hosts["n2"].ahead += 2 * ELECTION
    cluster.time_out("n2")
    cluster.settle()
    cluster.heal()
    assert cluster["n1"].term == cluster["n2"].term
    cluster.hosts["n3"].ahead += 2 * ELECTION
    while cluster.leader != "n2":
        cluster.time_out("n2")
        cluster.settle()
    assert cluster.terms("n2") == [1] * 11 + [cluster["n2"].term]


def test_r_81_the_leader_is_found_in_half_of_the_tries_and_with_a_hint_in_two() -> None:
    """Thesis 6.2: whoever asks servers at random needs (n + 1) / 2 tries on average."""
    names = [f"n{number}" for number in range(1, 6)]
    cluster = Cluster(*names).elect("n4")
    tries = [tries_until_accepted(cluster, names[start:] + names[:start]) for start in range(5)]
    assert sum(tries) / 5 == (5 + 1) / 2
    hints = [cluster.replies[request] for request in cluster.replies]
    assert all(hint.leader == "n4" for hint in hints if isinstance(hint, NotLeader))


def tries_until_accepted(cluster: Cluster, order: list[str]) -> int:
    """Propose at one after the other until it is committed. Returns how many were asked."""
    for count, name in enumerate(order, 1):
        if isinstance(cluster.commit(name, b"x")[0], Committed):
            return count
    raise AssertionError(f"none of {order} leads")


@pytest.mark.parametrize(("options", "roles"), [(PRE_VOTE, "L2 F2 F2 F2"), (OPTIONS, "F1 F1 F1 L1")])
def test_r_97_figure_4_7_a_pre_vote_alone_does_not_protect_from_a_server_that_is_removed(
    options: RaftOptions, roles: str
) -> None:
    """Thesis 4.2.3: n4 has made the configuration without n1 and not sent it; n1's log is as good as n2's and n3's."""
    cluster = Cluster("n1", "n2", "n3", "n4", options=options).elect("n4")
    cluster.drop = lambda packet: isinstance(packet.message, AppendEntries)
    cluster.change("n4", Remove("n1"))
    cluster.settle()
    cluster.heal()
    cluster.drop = lambda packet: packet.source == "n4"
    cluster.time_out("n1")
    cluster.settle()
    assert cluster.roles().replace("P", "F") == roles


def test_r_06_a_server_counts_each_vote_once() -> None:
    """Paper 5.2: a majority of servers, not of messages."""
    server = Server(voters="n1 n2 n3 n4 n5")
    server.time_out()
    for _ in range(5):
        server.tell("n2", Vote(1, True))
    server.tell("n9", Vote(1, True))
    assert server.state == (Role.CANDIDATE, 1)
    server.tell("n3", Vote(1, True))
    assert server.state == (Role.LEADER, 1)


def test_r_18_a_refused_candidate_of_five_ends_in_the_term_of_its_candidacy() -> None:
    """Voters with [1], [1], [1,1] and [] are asked by a candidate with an empty log: three refuse."""
    names = ["n1", "n2", "n3", "n4", "n5"]
    logs = {"n1": (), "n2": (1,), "n3": (1,), "n4": (1, 1), "n5": ()}
    cluster = Cluster(*names, options=PLAIN, records={name: records_of(names, logs[name]) for name in names})
    cluster.time_out("n1")
    cluster.settle()
    votes = [cluster[name].vote for name in names]
    assert votes == ["n1", None, None, None, "n1"]
    assert cluster["n1"].role is Role.FOLLOWER
