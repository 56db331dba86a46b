"""Changes of membership, one voter at a time (thesis 4)."""

from __future__ import annotations

import pytest

from casty_proto.raft import (
    AddVoter,
    AppendAccepted,
    AppendEntries,
    Changed,
    ChangeMembership,
    Configuration,
    ConfigurationChanged,
    NotLeader,
    Received,
    Remove,
    RequestVote,
    Role,
    Send,
    Unknown,
    Vote,
)

from .bench import ELECTION, PLAIN, Cluster
from .script import Server, sends


def voters(cluster: Cluster, name: str) -> str:
    """The voters of the configuration that is in effect at a server."""
    return " ".join(cluster[name].configurations.latest.voters)


def no_entries(cluster: Cluster) -> None:
    """Messages with entries get lost from now on."""
    cluster.drop = lambda packet: isinstance(packet.message, AppendEntries)


# The rules ---------------------------------------------------------------------------------------------------------


def test_thesis_4_1_a_configuration_is_in_effect_as_soon_as_it_is_in_the_log() -> None:
    server = Server(voters="n1 n2")
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    effects = server.feed(ChangeMembership("c", (Remove("n2"),)))
    assert ConfigurationChanged(2, Configuration(("n1",)), False) in effects
    assert ConfigurationChanged(2, Configuration(("n1",)), True) in effects
    assert server.raft.commit == 2


def test_thesis_4_1_a_configuration_that_is_truncated_gives_way_to_the_one_before() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PLAIN).elect("n1")
    cluster.isolate("n1")
    request = cluster.change("n1", Remove("n3"))
    assert voters(cluster, "n1") == "n1 n2"
    cluster.elect("n2")
    cluster.heal()
    cluster.time_out("n2")
    cluster.settle()
    assert voters(cluster, "n1") == "n1 n2 n3"
    assert isinstance(cluster.replies[request], Unknown)
    restored = ConfigurationChanged(0, Configuration(("n1", "n2", "n3")), True)
    assert ("n1", restored) in cluster.effects[-30:]


def test_r_82_nothing_is_changed_before_a_commit_in_the_leaders_term() -> None:
    """Ongaro, raft-dev, 10 July 2015."""
    server = Server(voters="n1 n2 n3 n4", terms=(1,), term=1)
    server.lead()
    (reply,) = server.feed(ChangeMembership("c", (Remove("n4"),)))
    assert "has not committed anything in term 2" in getattr(reply, "result").reason  # noqa: B009
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(2, 2))
    assert sends(server.feed(ChangeMembership("c", (Remove("n4"),))))


CHANGES_2015 = {
    "add then remove": (AddVoter("s5"), Remove("s1")),
    "add then add": (AddVoter("s5"), AddVoter("s6")),
    "remove then remove": (Remove("s3"), Remove("s4")),
    "remove then add": (Remove("s4"), AddVoter("s6")),
}


@pytest.mark.parametrize("case", CHANGES_2015)
def test_r_82_two_leaders_changes_do_not_lead_to_two_majorities(case: str) -> None:
    """The bug of 2015: s1 leaves a change uncommitted, s2 makes another, and s1 comes back with its own.

    s2 must first commit an entry of its own term on a majority of the old configuration, and then s1 loses.
    """
    first, second = CHANGES_2015[case]
    founders = ["s1", "s2", "s3", "s4"]
    cluster = Cluster("s1", "s2", "s3", "s4", "s5", "s6", options=PLAIN, voters=founders).elect("s1")
    cluster.cut("s1", "s2", "s3", "s4")
    cluster.change("s1", first)
    cluster.settle()
    theirs = voters(cluster, "s1")
    assert theirs != "s1 s2 s3 s4"
    no_entries(cluster)
    cluster.elect("s2")
    assert "has not committed" in cluster.rejected(cluster.change("s2", second))
    cluster.drop = lambda packet: isinstance(packet.message, AppendEntries) and packet.target == "s1"
    for _ in range(2):
        cluster.time_out("s2")
        cluster.settle()
    assert cluster["s2"].commit == 2
    cluster.drop = lambda packet: isinstance(packet.message, AppendEntries) and packet.target in ("s1", "s4")
    request = cluster.change("s2", second)
    cluster.settle()
    assert isinstance(cluster.replies[request], Changed)
    cluster.heal()
    cluster.cut("s1", "s2", "s3")
    for _ in range(4):
        cluster.time_out("s1")
        cluster.settle()
        assert cluster["s1"].role is not Role.LEADER
    cluster.heal()
    cluster.advance(20 * ELECTION)
    cluster.check()


def test_r_82_s4_refuses_s1_because_its_log_ends_in_a_later_term() -> None:
    server = Server("s4", voters="s1 s2 s3 s4", terms=(1, 2), term=2)
    assert server.tell("s1", RequestVote(3, 2, 1)) == [Send("s1", Vote(3, False))]


def test_r_87_one_change_at_a_time() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    no_entries(cluster)
    cluster.change("n1", Remove("n3"))
    last = cluster["n1"].log.last_index
    assert "another change is under way" in cluster.rejected(cluster.change("n1", Remove("n2")))
    assert cluster["n1"].log.last_index == last
    assert voters(cluster, "n1") == "n1 n2"


def test_r_84_a_change_of_two_voters_is_refused_and_changes_nothing() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    assert "one voter may come or go" in cluster.rejected(cluster.change("n1", Remove("n2"), Remove("n3")))
    assert cluster["n1"].log.last_index == 1


def test_r_85_a_change_that_changes_nothing_is_answered_at_once() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    request = cluster.change("n1", AddVoter("n2"), Remove("n9"))
    assert cluster.replies[request] == Changed(0, Configuration(("n1", "n2", "n3")))
    assert cluster["n1"].log.last_index == 1


def test_r_88_a_change_of_an_earlier_leader_is_decided_before_another_is_made() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.isolate("n3")
    cluster.drop = lambda packet: isinstance(packet.message, AppendAccepted)
    cluster.change("n1", Remove("n3"))
    cluster.settle()
    cluster.drop = lambda packet: isinstance(packet.message, AppendEntries)
    cluster.transfer("n1", "n2")
    cluster.crash("n1")
    cluster.hosts["n3"].ahead += 3 * ELECTION
    cluster.restart("n1")
    cluster.elect("n2")
    assert voters(cluster, "n2") == "n1 n2"
    assert "another change is under way" in cluster.rejected(cluster.change("n2", Remove("n1")))
    cluster.heal()
    cluster.time_out("n2")
    cluster.settle()
    request = cluster.change("n2", Remove("n1"))
    cluster.settle()
    assert isinstance(cluster.replies[request], Changed)


def test_a_follower_refuses_a_change_and_names_the_leader() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    request = cluster.change("n2", Remove("n3"))
    assert cluster.replies[request] == NotLeader("n2 does not lead", "n1")


# Removal -----------------------------------------------------------------------------------------------------------


def test_r_89_after_a_removal_the_smaller_majority_commits() -> None:
    """{1,2}: n2 is removed at 2, "hello" is at 3. The removal is in effect at once, so n1 alone is the majority."""
    server = Server(voters="n1 n2")
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    server.held = True
    server.feed(ChangeMembership("c", (Remove("n2"),)))
    server.propose(b"hello")
    server.tell("n2", AppendAccepted(1, 3))
    assert server.raft.commit == 1
    server.sync(2)
    assert server.raft.commit == 3


def test_r_90_a_leader_that_removes_itself_leads_without_counting_itself_until_that_is_committed() -> None:
    server = Server(terms=(1, 1), term=1)
    server.lead()
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(2, 3))
    server.feed(ChangeMembership("c", (Remove("n1"),)))
    server.propose(b"foo", b"bar")
    server.tell("n2", AppendAccepted(2, 6))
    assert (server.raft.commit, server.state) == (3, (Role.LEADER, 2))
    effects = server.feed(Received("n3", AppendAccepted(2, 6)))
    assert server.raft.commit == 6
    assert server.state == (Role.FOLLOWER, 2)
    assert [send.to for send in sends(effects) if type(send.message).__name__ == "TimeoutNow"] == ["n2"]
    server.now += 10 * ELECTION
    assert sends(server.wake()) == []
    assert server.raft.deadline() is None


def test_r_100_the_leadership_moves_at_once_when_a_leader_removes_itself() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    request = cluster.change("n1", Remove("n1"))
    cluster.settle()
    assert cluster.replies[request] == Changed(2, Configuration(("n2", "n3")))
    assert cluster.leader in ("n2", "n3")
    assert cluster["n1"].role is Role.FOLLOWER
    (rejected,) = cluster.propose("n1", b"x")
    assert isinstance(cluster.replies[rejected], NotLeader)


def test_r_97_and_r_100_a_server_that_was_removed_and_does_not_know_deposes_nobody() -> None:
    """Thesis 4.2.3, Figure 4.7: its log may be as good as another's, so a pre-vote alone would not do."""
    cluster = Cluster("n1", "n2", "n3", "n4").elect("n4")
    cluster.isolate("n1")
    cluster.change("n4", Remove("n1"))
    cluster.settle()
    cluster.heal()
    cluster.advance(20 * ELECTION)
    assert cluster.leader == "n4"
    assert cluster["n4"].term == 1


def test_a_server_that_is_removed_learns_of_it_and_keeps_quiet() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.change("n1", Remove("n3"))
    cluster.settle()
    assert cluster["n3"].commit == 2
    cluster.advance(10 * ELECTION)
    assert cluster["n3"].role is Role.FOLLOWER
    assert cluster["n3"].deadline() is None
    assert cluster["n1"].lead is not None
    assert list(cluster["n1"].lead.progress) == ["n2"]


def test_a_server_that_is_removed_and_silent_is_forgotten_after_an_election_timeout() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.crash("n3")
    cluster.change("n1", Remove("n3"))
    cluster.settle()
    assert cluster["n1"].lead is not None
    assert list(cluster["n1"].lead.progress) == ["n2", "n3"]
    cluster.advance(ELECTION)
    assert list(cluster["n1"].lead.progress) == ["n2"]


def test_r_98_the_only_one_that_knows_of_its_own_removal_may_still_be_elected() -> None:
    """Thesis 4.2.2, Figure 4.6: of {1,2}, n1 removes itself and fails; only its log has the entry."""
    cluster = Cluster("n1", "n2", options=PLAIN).elect("n1")
    no_entries(cluster)
    cluster.change("n1", Remove("n1"))
    cluster.settle()
    cluster.crash("n1")
    cluster.heal()
    cluster.restart("n1")
    for _ in range(3):
        cluster.time_out("n2")
        cluster.settle()
        assert cluster["n2"].role is not Role.LEADER
    cluster.time_out("n1")
    assert cluster["n1"]._votes == {}
    for _ in range(3):
        if cluster["n1"].role is not Role.LEADER and cluster["n1"].deadline() is not None:
            cluster.time_out("n1")
        cluster.settle()
    assert cluster["n1"].commit == 3
    assert voters(cluster, "n2") == "n2"
    cluster.advance(5 * ELECTION)
    assert cluster.leader == "n2"
    assert cluster["n1"].role is Role.FOLLOWER
