"""Terms, timeouts and campaigns of one server (paper 5.1, 5.2)."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from casty_proto.machine import Machine, Wake
from casty_proto.raft import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Raft,
    RaftEffect,
    RaftEvent,
    RequestVote,
    Role,
    Send,
    SnapshotReply,
    Stale,
    Start,
    TimeoutNow,
    Vote,
    recover,
)

from .bench import ELECTION, HEARTBEAT, PLAIN, Cluster, records_of
from .script import Server, entries, no_op


def in_role(role: Role) -> Server:
    server = Server(term=0 if role is not Role.FOLLOWER else 1)
    if role is Role.CANDIDATE:
        server.time_out()
    elif role is Role.LEADER:
        server.lead()
    assert server.state == (role, 1)
    return server


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_r_01_a_later_term_makes_a_follower_of_anybody(role: Role) -> None:
    """Paper 5.1: if a server's term is older it updates it; a candidate or leader reverts to follower."""
    server = in_role(role)
    server.tell("n2", AppendEntries(2, 0, 0, (), 0))
    assert server.state == (Role.FOLLOWER, 2)
    assert server.raft.leader == "n2"


OLD: list[tuple[Any, list[Any]]] = [
    (AppendEntries(1, 0, 0, entries(1, 1), 1), [Stale(2)]),
    (Heartbeat(1, 1, 1), [Stale(2)]),
    (InstallSnapshot(1, 9, 1, 5, 0, b"abc"), [Stale(2)]),
    (TimeoutNow(1), [Stale(2)]),
    (RequestVote(1, 9, 0), [Vote(2, False)]),
    (RequestVote(1, 9, 0, pre=True), [Vote(2, False, pre=True)]),
    (Vote(1, True), []),
    (AppendAccepted(1, 1), []),
    (AppendRejected(1, 1, 0, 0), []),
    (HeartbeatReply(1, 1), []),
    (SnapshotReply(1, 1, 1), []),
    (Stale(1), []),
]


@pytest.mark.parametrize(("message", "answer"), OLD, ids=[type(message).__name__ for message, _ in OLD])
def test_r_02_a_message_of_an_earlier_term_changes_nothing_and_is_told_the_present_one(
    message: Any, answer: list[Any]
) -> None:
    """Paper 5.1: a server that receives a request with a stale term rejects it."""
    server = Server(terms=(2,), term=2)
    assert server.tell("n2", message) == [Send("n2", one) for one in answer]
    assert server.state == (Role.FOLLOWER, 2)
    assert (server.terms, server.raft.commit, server.raft.leader) == ([2], 0, None)


def test_a_server_has_the_shape_of_a_machine() -> None:
    machine: Machine[RaftEvent, RaftEffect] = Raft("n1", Random(1))
    assert machine.deadline() is None
    assert machine.handle(Wake(), 0) == ()
    machine.invariants()


def test_r_03_a_server_starts_as_a_follower_with_the_term_and_the_vote_of_its_records() -> None:
    assert Server().state == (Role.FOLLOWER, 0)
    server = Server(terms=(1, 2), term=4, vote="n3")
    assert server.state == (Role.FOLLOWER, 4)
    assert (server.raft.vote, server.terms) == ("n3", [1, 2])


def test_r_04_a_leader_sends_each_follower_one_heartbeat_in_each_interval() -> None:
    server = Server()
    server.lead()
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(1, 1))
    assert server.time_out() == [Send("n2", Heartbeat(1, 1, 1)), Send("n3", Heartbeat(1, 1, 1))]
    assert server.raft.deadline() == server.now + HEARTBEAT


def test_r_04_a_heartbeat_names_no_more_than_the_follower_has_acknowledged() -> None:
    """Leader with 11 entries committed, and a follower that has 5."""
    server = Server(terms=(1,) * 10, term=1)
    server.lead()
    server.tell("n2", AppendAccepted(2, 11))
    server.tell("n3", AppendAccepted(2, 5))
    assert server.raft.commit == 11
    assert server.time_out() == [Send("n2", Heartbeat(2, 11, 1)), Send("n3", Heartbeat(2, 5, 1))]


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_r_05_without_a_leader_a_server_campaigns_in_the_next_term(role: Role) -> None:
    """Paper 5.2: it increments its term, votes for itself, and asks each of the others once."""
    server = in_role(role)
    server.now += 2 * ELECTION - 1
    sent = [effect for effect in server.feed(Wake()) if isinstance(effect, Send)]
    assert sent == [Send("n2", RequestVote(2, 0, 0)), Send("n3", RequestVote(2, 0, 0))]
    assert server.state == (Role.CANDIDATE, 2)
    assert server.raft.vote == "n1"


TALLY = [
    (1, "", Role.LEADER),
    (3, "2y 3y", Role.LEADER),
    (3, "2y", Role.LEADER),
    (5, "2y 3y 4y 5y", Role.LEADER),
    (5, "2y 3y 4y", Role.LEADER),
    (5, "2y 3y", Role.LEADER),
    (3, "2n 3n", Role.FOLLOWER),
    (5, "2n 3n 4n 5n", Role.FOLLOWER),
    (5, "2y 3n 4n 5n", Role.FOLLOWER),
    (3, "", Role.CANDIDATE),
    (5, "2y", Role.CANDIDATE),
    (5, "2n 3n", Role.CANDIDATE),
    (5, "", Role.CANDIDATE),
]


@pytest.mark.parametrize(("size", "votes", "role"), TALLY)
def test_r_06_a_candidate_leads_with_a_majority_and_gives_up_against_one(size: int, votes: str, role: Role) -> None:
    server = Server(voters=" ".join(f"n{number}" for number in range(1, size + 1)))
    server.time_out()
    for vote in votes.split():
        server.tell(f"n{vote[0]}", Vote(1, vote[1] == "y"))
    assert server.state == (role, 1)


@pytest.mark.parametrize("term", [1, 2])
def test_r_08_a_candidate_yields_to_a_leader_of_its_term_or_a_later_one(term: int) -> None:
    server = in_role(Role.CANDIDATE)
    server.tell("n2", AppendEntries(term, 0, 0, (), 0))
    assert server.state == (Role.FOLLOWER, term)
    assert server.raft.leader == "n2"


def timeouts(role: Role, count: int) -> Counter[int]:
    """How many full heartbeats pass until a fresh server campaigns, or a candidate again: 10 to 19."""
    found: Counter[int] = Counter()
    for seed in range(count):
        raft = Raft("n1", Random(seed), PLAIN, recover(records_of(["n1", "n2", "n3"])))
        raft.handle(Start(), 0)
        first = raft.deadline()
        assert first is not None
        if role is Role.FOLLOWER:
            found[first // HEARTBEAT] += 1
            continue
        raft.handle(Wake(), first)
        again = raft.deadline()
        assert again is not None
        found[(again - first) // HEARTBEAT] += 1
    return found


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_r_09_every_timeout_of_the_range_occurs(role: Role) -> None:
    """Paper 5.2: timeouts are chosen from an interval. 500 trials, ten values."""
    assert sorted(timeouts(role, 500)) == list(range(10, 20))


def test_r_10_servers_seldom_time_out_together() -> None:
    """Paper 5.2. Of five servers two are the first, in the same heartbeat, in at most 30 % of 1000 rounds."""
    drawn = list(timeouts(Role.FOLLOWER, 5000).elements())
    Random(1).shuffle(drawn)
    rounds = [sorted(drawn[start : start + 5]) for start in range(0, 5000, 5)]
    assert len(rounds) == 1000
    assert sum(one[0] == one[1] for one in rounds) <= 300


def test_r_11_timeouts_are_spread_evenly() -> None:
    """[etcd] The share of the timeouts that have come after so many heartbeats."""
    found = timeouts(Role.FOLLOWER, 2000)
    for elapsed, share in [(5, 0.0), (10, 0.1), (13, 0.4), (15, 0.6), (18, 0.9), (20, 1.0)]:
        assert abs(sum(number for at, number in found.items() if at <= elapsed) / 2000 - share) <= 0.03


@pytest.mark.parametrize(("terms", "last", "term"), [((1,), (1, 1), 2), ((1, 2), (2, 2), 3)])
def test_r_12_a_request_for_votes_names_the_last_entry(
    terms: tuple[int, ...], last: tuple[int, int], term: int
) -> None:
    server = Server(terms=terms)
    assert [send.message for send in server.time_out()] == [RequestVote(term, *last)] * 2


def test_r_13_a_leader_holds_no_election() -> None:
    server = Server()
    server.lead()
    server.now += 10 * ELECTION
    sent = [effect.message for effect in server.feed(Wake()) if isinstance(effect, Send)]
    assert all(isinstance(message, Heartbeat) for message in sent)
    assert server.state == (Role.LEADER, 1)
    assert server.terms == [1]


def test_r_14_a_new_leader_makes_itself_known_to_all_at_once() -> None:
    """Paper 5.2: it sends to all of the other servers, and does not wait for the next heartbeat."""
    server = Server()
    sent = server.lead()
    entry = (no_op(1, 1),)
    assert sent == [Send(peer, AppendEntries(1, 0, 0, entry, 0)) for peer in ("n2", "n3")]


def test_r_20_each_server_can_become_leader_in_turn() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PLAIN)
    for term, name in enumerate(("n1", "n2", "n3", "n1"), 1):
        cluster.elect(name)
        assert [raft.term for _, raft in cluster._running()] == [term] * 3
        assert cluster.roles().count("L") == 1
