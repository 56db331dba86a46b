"""The published list on members and transfers: what the other files of this folder leave open (thesis 3.10, 4)."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.raft import (
    AddLearner,
    AddVoter,
    Append,
    AppendAccepted,
    AppendEntries,
    Ballot,
    Base,
    Changed,
    ChangeMembership,
    Committed,
    Configuration,
    Entry,
    Received,
    Remove,
    RequestVote,
    Restore,
    Role,
    Send,
    TimeoutNow,
    TransferLeadership,
    Vote,
)

from .bench import CHECK_QUORUM, ELECTION, HEARTBEAT, OPTIONS, PLAIN, Cluster
from .script import Server, entries, replies

TRIO = Configuration(("n1", "n2", "n3"))
FOUR = Configuration(("n1", "n2", "n3", "n4"))
PAIR_AND_LEARNER = Configuration(("n2", "n3"), ("n1",))


# The rules -----------------------------------------------------------------------------------------------------------


def test_thesis_4_1_a_follower_uses_a_configuration_that_is_in_its_log_and_not_committed() -> None:
    """R-95 asks a server to wait until it has applied it; here it is in effect before, so nobody has to wait."""
    server = Server(term=1)
    server.tell("n2", AppendEntries(1, 0, 0, (Entry(1, 1, FOUR),), 0))
    assert server.raft.commit == 0
    assert server.time_out() == [Send(peer, RequestVote(2, 1, 1)) for peer in ("n2", "n3", "n4")]
    server.tell("n2", Vote(2, True))
    assert server.state == (Role.CANDIDATE, 2)
    server.tell("n4", Vote(2, True))
    assert server.state == (Role.LEADER, 2)


def test_thesis_4_1_a_configuration_that_is_not_committed_survives_a_restart() -> None:
    records = (Base(0, 0, TRIO), Ballot(1, None), Append((Entry(1, 1, FOUR),)))
    server = Server(records=records)
    assert (server.raft.configurations.latest, server.raft.commit) == (FOUR, 0)
    assert [send.to for send in server.time_out()] == ["n2", "n3", "n4"]


def test_thesis_4_1_entries_are_taken_from_a_leader_that_is_not_in_the_configuration() -> None:
    """Who leads is decided by those who elected it; a server that is behind may not know of it."""
    server = Server(term=1)
    assert server.tell("n9", AppendEntries(2, 0, 0, entries(1, 1, 2), 1)) == [Send("n9", AppendAccepted(2, 2))]
    assert server.led == "2 n9"
    assert server.terms == [1, 2]


def test_r_82_a_change_waits_for_the_own_term_however_small_it_is() -> None:
    """Ongaro, raft-dev, 10 July 2015: also one that adds a learner only, and also right after the election."""
    cluster = Cluster("n1", "n2", "n3", options=PLAIN).elect("n1")
    cluster.drop = lambda packet: isinstance(packet.message, AppendEntries)
    cluster.elect("n2")
    for change in (AddVoter("n4"), Remove("n3"), AddLearner("n5")):
        assert "has not committed anything in term 2" in cluster.rejected(cluster.change("n2", change))
    cluster.heal()
    cluster.time_out("n2")
    cluster.settle()
    request = cluster.change("n2", Remove("n3"))
    cluster.settle()
    assert isinstance(cluster.replies[request], Changed)


def test_r_94_the_vote_of_a_learner_does_not_count() -> None:
    records = (Base(0, 0, Configuration(("n1", "n2", "n3"), ("n4", "n5"))),)
    server = Server(records=records)
    assert [send.to for send in server.time_out()] == ["n2", "n3"]
    for learner in ("n4", "n5"):
        server.tell(learner, Vote(1, True))
    assert server.state == (Role.CANDIDATE, 1)
    server.tell("n3", Vote(1, True))
    assert server.state == (Role.LEADER, 1)


def test_r_96_a_leader_that_was_alone_has_an_election_timeout_to_hear_the_voter_that_it_added() -> None:
    """[etcd] The check of the quorum is due right after the change; the new voter says nothing any more."""
    server = Server(voters="n1", options=CHECK_QUORUM)
    server.lead()
    server.now += ELECTION - 1
    server.feed(ChangeMembership("c", (AddVoter("n2"),)))
    server.tell("n2", AppendAccepted(1, 1))
    assert server.raft.configurations.latest == Configuration(("n1", "n2"))
    added_at = server.now
    for passed, role in [(1, Role.LEADER), (ELECTION - 1, Role.LEADER), (ELECTION, Role.FOLLOWER)]:
        server.now = added_at + passed
        server.wake()
        assert server.state == (role, 1)


# What joint configurations do at once, in single steps ----------------------------------------------------------------


def test_r_91_a_leader_is_replaced_in_single_steps() -> None:
    """[etcd] {1,2,3} to {2,3,4}: n4 is added, takes over, and removes n1, whose acknowledgements then do not count."""
    cluster = Cluster("n1", "n2", "n3", "n4", voters=["n1", "n2", "n3"]).elect("n1")
    cluster.change("n1", AddVoter("n4"))
    cluster.settle()
    cluster.transfer("n1", "n4")
    cluster.settle()
    assert cluster.leader == "n4"
    request = cluster.change("n4", Remove("n1"))
    cluster.settle()
    assert cluster.replies[request] == Changed(4, Configuration(("n2", "n3", "n4")))
    cluster.crash("n2")
    cluster.crash("n3")
    (pending,) = cluster.propose("n4", b"x")
    cluster.settle()
    cluster.feed("n4", Received("n1", AppendAccepted(2, 5)))
    assert pending not in cluster.replies
    assert cluster["n4"].commit == 4


def test_r_92_two_voters_are_added_one_after_the_other_and_get_a_snapshot() -> None:
    """[etcd] From {1} to {1,2,3}. Each new server learns of its configuration with what it is brought up to date by."""
    options = evolve(OPTIONS, trailing_entries=0)
    cluster = Cluster("n1", "n2", "n3", options=options, voters=["n1"]).elect("n1")
    cluster.commit("n1", b"a", b"b", b"c")
    cluster.snapshot("n1")
    for node in ("n2", "n3"):
        request = cluster.change("n1", AddVoter(node))
        cluster.settle()
        assert isinstance(cluster.replies[request], Changed)
    cluster.advance(HEARTBEAT)
    cluster.converged()
    installed = [name for name, effect in cluster.effects if isinstance(effect, Restore)]
    assert installed == ["n2", "n3"]
    assert cluster["n3"].configurations.latest == TRIO
    assert cluster.executed("n3") == [b"a", b"b", b"c"]


def test_r_92_a_change_that_a_leader_did_not_get_to_is_made_by_the_next_exactly_once() -> None:
    """[etcd] There the new leader ends the joint configuration; here what was begun is over, and is asked for again."""
    cluster = Cluster("n1", "n2", "n3", "n4", voters=["n1", "n2", "n3"]).elect("n1")
    cluster.isolate("n4")
    cluster.change("n1", AddVoter("n4"))
    cluster.transfer("n1", "n2")
    cluster.settle()
    assert cluster.leader == "n2"
    cluster.heal()
    cluster.advance(3 * HEARTBEAT)
    assert cluster["n2"].configurations.latest == TRIO
    request = cluster.change("n2", AddVoter("n4"))
    for _ in range(20):
        cluster.propose("n2", b"x")
    cluster.settle()
    assert isinstance(cluster.replies[request], Changed)
    log = cluster["n2"].log
    made = [entry for entry in log.slice(1, log.last_index) if isinstance(entry.payload, Configuration)]
    assert [entry.payload for entry in made] == [FOUR]


# Transfer ------------------------------------------------------------------------------------------------------------


def test_r_69_and_r_72_a_server_that_has_caught_up_is_not_added_while_a_transfer_waits() -> None:
    """The configuration in which the target was chosen stays until the transfer is over."""
    server = Server()
    server.lead()
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(1, 1))
    server.feed(ChangeMembership("c", (AddVoter("n9"),)))
    server.feed(Received("n3", AppendAccepted(1, 1)))
    server.propose(b"x")
    server.feed(TransferLeadership("t", "n3"))
    (refused,) = replies(server.feed(Received("n9", AppendAccepted(1, 1)))).values()
    assert "the leadership is being transferred to n3" in refused.reason
    assert server.raft.configurations.latest == TRIO


@pytest.mark.parametrize("configuration", [PAIR_AND_LEARNER, Configuration(("n2", "n3"))])
def test_r_71_whoever_has_no_vote_stays_a_follower_when_told_to_campaign(configuration: Configuration) -> None:
    """Neither a learner nor a server that is no member at all: nothing is sent, and the term stays."""
    server = Server(records=(Base(0, 0, configuration), Ballot(1, None)))
    server.tell("n2", AppendEntries(1, 0, 0, (), 0))
    assert server.tell("n2", TimeoutNow(1)) == []
    assert (server.state, server.raft.vote) == ((Role.FOLLOWER, 1), None)


def test_r_63_what_was_proposed_before_a_transfer_is_committed_before_it() -> None:
    """The target is told when it has the whole log, the last proposal included."""
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    (request,) = cluster.propose("n1", b"x")
    cluster.transfer("n1", "n2")
    cluster.settle()
    assert cluster.leader == "n2"
    assert cluster.replies[request] == Committed(2, 1)
    cluster.advance(HEARTBEAT)
    cluster.converged()
    assert cluster.executed("n2") == [b"x"]


def test_r_87_of_two_changes_in_one_moment_the_second_is_refused_and_the_first_is_made() -> None:
    server = Server(voters="n1 n2 n3")
    server.lead()
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(1, 1))
    assert replies(server.feed(ChangeMembership("first", (Remove("n3"),)))) == {}
    (refused,) = replies(server.feed(ChangeMembership("second", (Remove("n2"),)))).values()
    assert "another change is under way" in refused.reason
    assert replies(server.feed(Received("n2", AppendAccepted(1, 2)))) == {
        "first": Changed(2, Configuration(("n1", "n2")))
    }
    assert server.raft.log.last_index == 2
