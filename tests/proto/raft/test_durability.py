"""What waits for the disk, and what does not (paper, Figure 2, "persistent state"; thesis 10.2.1).

The observer, which every test of this folder has looking on, checks each message against what is on disk.
"""

from __future__ import annotations

from casty_proto.machine import Persist, Persisted, Severity
from casty_proto.raft import (
    Append,
    AppendAccepted,
    AppendEntries,
    Ballot,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Received,
    RequestVote,
    Role,
    Send,
    Vote,
)

from .bench import PLAIN, PRE_VOTE, Cluster
from .script import Server, applied, entries, notes, replies, sends


def held(*terms: int, term: int = 0, voters: str = "n1 n2 n3") -> Server:
    """A server whose disk has stopped."""
    server = Server(terms=terms, term=term, voters=voters)
    server.held = True
    return server


def test_r_114_a_vote_is_told_when_it_is_durable() -> None:
    server = held()
    effects = server.feed(Received("n2", RequestVote(1, 0, 0)))
    assert [effect.record for effect in effects if isinstance(effect, Persist)] == [Ballot(1, "n2")]
    assert sends(effects) == []
    assert sends(server.sync()) == [Send("n2", Vote(1, True))]


def test_r_114_a_candidate_asks_for_votes_when_its_own_is_durable() -> None:
    server = held()
    assert server.time_out() == []
    assert server.state == (Role.CANDIDATE, 1)
    assert sends(server.sync()) == [Send("n2", RequestVote(1, 0, 0)), Send("n3", RequestVote(1, 0, 0))]


def test_r_114_a_candidate_counts_itself_when_its_vote_is_durable() -> None:
    server = held(voters="n1")
    server.time_out()
    assert server.state == (Role.CANDIDATE, 1)
    server.sync()
    assert server.state == (Role.LEADER, 1)


def test_r_114_another_write_that_comes_through_does_not_make_its_vote_count() -> None:
    server = held(term=1)
    server.tell("n2", AppendEntries(1, 0, 0, entries(1, 1), 0))
    server.time_out()
    server.tell("n3", Vote(2, True))
    server.sync()
    assert server.state == (Role.CANDIDATE, 2)
    server.sync()
    assert server.state == (Role.LEADER, 2)


def test_r_114_a_pre_vote_waits_for_nothing() -> None:
    server = Server(options=PRE_VOTE)
    server.held = True
    assert server.time_out() == [Send(peer, RequestVote(1, 0, 0, pre=True)) for peer in ("n2", "n3")]
    assert server.tell("n2", RequestVote(1, 0, 0, pre=True)) == [Send("n2", Vote(1, True, pre=True))]


def test_r_114_entries_are_acknowledged_when_they_are_durable() -> None:
    server = held(term=1)
    assert server.tell("n2", AppendEntries(1, 0, 0, entries(1, 1, 1), 0)) == []
    assert server.tell("n2", AppendEntries(1, 2, 1, entries(3, 1), 0)) == []
    assert sends(server.sync()) == [Send("n2", AppendAccepted(1, 2))]
    assert sends(server.sync()) == [Send("n2", AppendAccepted(1, 3))]


def test_r_114_one_write_may_make_several_durable_and_is_acknowledged_once() -> None:
    server = held(term=1)
    for index in range(1, 4):
        server.tell("n2", AppendEntries(1, index - 1, min(index - 1, 1), entries(index, 1), 0))
    assert sends(server.sync(3)) == [Send("n2", AppendAccepted(1, 3))]


def test_r_114_messages_that_depend_on_nothing_are_not_delayed() -> None:
    """A disk that is busy with entries holds up no heartbeat, and no acknowledgement of what it has."""
    server = held(1, term=1)
    server.tell("n2", AppendEntries(1, 1, 1, entries(2, 1), 0))
    assert server.tell("n2", Heartbeat(1, 1, 4)) == [Send("n2", HeartbeatReply(1, 4))]
    assert server.tell("n2", AppendEntries(1, 0, 0, entries(1, 1), 0)) == [Send("n2", AppendAccepted(1, 1))]


def test_r_114_nothing_is_said_in_a_term_that_is_not_durable() -> None:
    server = held()
    assert server.tell("n2", Heartbeat(3, 0, 1)) == []
    assert server.tell("n2", Heartbeat(3, 0, 2)) == []
    assert sends(server.sync()) == [Send("n2", HeartbeatReply(3, 2))]


def test_r_114_what_waits_is_bounded_however_long_the_disk_takes() -> None:
    """Of the messages of one kind to one server the newest is enough."""
    server = held()
    for number in range(1, 1000):
        server.tell("n2", Heartbeat(3, 0, number))
        server.tell("n3", RequestVote(3, 0, 0))
    assert sends(server.sync(len(server.disk.pending))) == [
        Send("n2", HeartbeatReply(3, 999)),
        Send("n3", Vote(3, True)),
    ]


def test_r_114_what_names_a_term_that_is_over_is_not_sent_any_more() -> None:
    server = held()
    server.tell("n2", RequestVote(1, 0, 0))
    server.tell("n3", RequestVote(2, 0, 0))
    assert sends(server.sync()) == []
    assert sends(server.sync()) == [Send("n3", Vote(2, True))]


def test_r_42_a_single_server_commits_when_its_write_is_through() -> None:
    server = held(voters="n1")
    server.time_out()
    server.sync()
    server.sync()
    assert server.raft.commit == 1
    effects = server.propose(b"x")
    assert applied(effects) == []
    effects = server.sync()
    assert applied(effects) == [(2, 1)]
    assert replies(effects) == {0: Committed(2, 1)}


def test_r_43_a_leader_sends_what_it_is_still_writing_and_may_commit_it_without_itself() -> None:
    """Thesis 10.2.1: the leader may commit an entry before it has been written to its own disk."""
    server = Server()
    server.lead()
    server.held = True
    effects = server.propose(b"x")
    assert [send.to for send in sends(effects)] == []
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(1, 1))
    assert server.raft.commit == 1
    server.tell("n2", AppendAccepted(1, 2))
    assert server.raft.commit == 1
    assert applied(server.feed(Received("n3", AppendAccepted(1, 2)))) == [(2, 1)]
    assert server.raft.journal.durable == 1


def test_r_43_a_leader_does_not_count_what_is_not_on_its_own_disk() -> None:
    server = Server()
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    server.held = True
    server.propose(b"x")
    server.tell("n2", AppendAccepted(1, 2))
    assert server.raft.commit == 1
    assert applied(server.sync()) == [(2, 1)]


def test_r_115_a_delayed_write_of_an_entry_that_was_overwritten_twice_does_not_count() -> None:
    """[etcd] ABA: index 2 is written by the leaders of terms 1, 2 and 3, and the first write comes through last."""
    server = held(1, term=1)
    server.tell("n2", AppendEntries(1, 1, 1, entries(2, 1), 0))
    server.tell("n3", AppendEntries(2, 1, 1, entries(2, 2), 0))
    server.tell("n2", AppendEntries(3, 1, 1, entries(2, 3), 0))
    assert [type(record) for _, record in server.disk.pending] == [Append, Ballot, Append, Ballot, Append]
    assert sends(server.sync()) == []
    assert server.raft.journal.durable == 1
    assert sends(server.sync(3)) == []
    assert server.raft.journal.durable == 1
    assert sends(server.sync()) == [Send("n2", AppendAccepted(3, 2))]
    assert server.terms == [1, 3]


def test_r_115_the_same_term_at_the_same_index_after_a_truncation_waits_for_its_own_write() -> None:
    server = held(1, 1, term=1)
    server.tell("n3", AppendEntries(2, 1, 1, entries(2, 2, 2), 0))
    assert server.raft.journal.durable == 1
    server.sync()
    assert server.raft.journal.durable == 1
    assert sends(server.sync()) == [Send("n3", AppendAccepted(2, 3))]


def test_r_114_whatever_moment_the_power_fails_there_is_no_second_vote_and_no_lost_acknowledgement() -> None:
    """Every prefix of what n1 writes in a run: it restarts from there, and the run goes on."""
    whole = 0
    for survived in range(60):
        cluster = Cluster("n1", "n2", "n3", options=PLAIN)
        host = cluster.hosts["n1"]
        host.disk.held = True
        cluster.time_out("n1")
        steps = 0
        for step in range(60):
            if step % 7 == 3 and cluster["n1"].lead is not None:
                cluster.propose("n1", b"%d=%d" % (step % 3, step))
            if host.disk.pending:
                if steps == survived:
                    break
                cluster.sync("n1")
                steps += 1
            cluster.settle()
        whole = max(whole, steps)
        host.disk.held = False
        cluster.crash("n1")
        cluster.advance(10 * PLAIN.election_timeout_max_ns)
        leader = cluster.leader
        assert leader in ("n2", "n3")
        cluster.commit(leader, b"after")
        cluster.restart("n1")
        cluster.advance(10 * PLAIN.heartbeat_interval_ns)
        cluster.converged()
    assert whole >= 8


def test_r_116_after_a_restart_what_is_committed_is_applied_again_once_and_in_order() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.commit("n1", *[b"%d" % number for number in range(10)])
    cluster.advance(PLAIN.heartbeat_interval_ns)
    before = cluster.executed("n3")
    cluster.crash("n3")
    cluster.restart("n3")
    assert cluster.executed("n3") == []
    cluster.advance(5 * PLAIN.heartbeat_interval_ns)
    assert cluster.executed("n3") == before
    cluster.converged()


def test_r_116_after_a_restart_the_state_begins_at_the_snapshot() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.commit("n1", b"a", b"b")
    cluster.snapshot("n1")
    cluster.commit("n1", b"c")
    cluster.crash("n1")
    cluster.restart("n1")
    assert cluster.executed("n1") == [b"a", b"b"]
    assert cluster["n1"].commit == 3
    cluster.advance(PLAIN.election_timeout_max_ns * 3)
    cluster.converged()
    assert cluster.executed("n1") == [b"a", b"b", b"c"]


def test_a_ticket_that_was_never_given_out_is_noted_and_one_that_was_settled_is_ignored() -> None:
    server = Server(term=1)
    server.tell("n2", RequestVote(2, 0, 0))
    assert server.feed(Persisted(1)) == []
    assert [note.severity for note in notes(server.feed(Persisted(99)))] == [Severity.ERROR]
    assert server.tell("n2", RequestVote(3, 0, 0)) == [Send("n2", Vote(3, True))]


def test_r_114_a_write_for_one_leader_is_not_acknowledged_to_the_next() -> None:
    """What n2 sent in term 1 is on disk; whether n3, which leads term 2, has the same is not known yet."""
    server = held(term=1)
    server.tell("n2", AppendEntries(1, 0, 0, entries(1, 1, 1), 0))
    server.tell("n3", Heartbeat(2, 0, 1))
    assert sends(server.sync(2)) == [Send("n3", HeartbeatReply(2, 1))]
    assert server.tell("n3", AppendEntries(2, 1, 1, (), 0)) == [Send("n3", AppendAccepted(2, 1))]
