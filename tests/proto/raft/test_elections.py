"""Elections between servers (paper 5.2, 5.4): who wins, who yields, and what becomes of their logs."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.raft import AppendEntries, Committed, RaftOptions, Received, RequestVote, Role

from .bench import ELECTION, HEARTBEAT, OPTIONS, PLAIN, PRE_VOTE, Cluster, records_of
from .script import entries


@pytest.mark.parametrize(("options", "roles"), [(PLAIN, "F2 F2 F2"), (PRE_VOTE, "L1 F1 F1")])
def test_r_15_a_candidate_with_a_shorter_log_disturbs_but_does_not_win(options: RaftOptions, roles: str) -> None:
    """Dueling candidates. With a pre-vote it does not even disturb (thesis 9.6)."""
    cluster = Cluster("n1", "n2", "n3", options=options)
    cluster.cut("n1", "n3")
    cluster.elect("n1")
    cluster.time_out("n3")
    cluster.settle()
    assert cluster["n3"].role is (Role.CANDIDATE if options is PLAIN else Role.FOLLOWER)
    cluster.heal()
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == roles
    assert [cluster[name].log.last_index for name in ("n1", "n2", "n3")] == [1, 1, 0]


def test_r_16_a_candidate_concedes_to_the_leader_of_its_term() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PLAIN)
    cluster.isolate("n1")
    cluster.time_out("n1")
    cluster.elect("n3")
    assert cluster.roles() == "C1 F1 L1"
    cluster.heal()
    cluster.time_out("n3")
    cluster.settle()
    cluster.commit("n3", b"data")
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == "F1 F1 L1"
    assert [cluster.terms(name) for name in ("n1", "n2", "n3")] == [[1, 1]] * 3
    assert cluster.commits() == [2, 2, 2]


def test_r_17_messages_of_old_terms_are_ignored() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PLAIN)
    for name in ("n1", "n2", "n1"):
        cluster.elect(name)
    cluster.feed("n1", Received("n2", AppendEntries(2, 2, 1, entries(3, 2), 3)))
    cluster.commit("n1", b"data")
    cluster.converged()
    assert cluster.terms("n1") == [1, 2, 3, 3]
    assert cluster.commits() == [4, 4, 4]


@pytest.mark.parametrize(
    ("size", "dead", "roles"),
    [(3, 1, "L1"), (3, 2, "C1"), (4, 2, "C1"), (5, 2, "L1")],
)
def test_r_18_a_leader_needs_a_majority_of_all_voters(size: int, dead: int, roles: str) -> None:
    cluster = Cluster(*[f"n{number}" for number in range(1, size + 1)], options=PLAIN)
    for number in range(size - dead + 1, size + 1):
        cluster.crash(f"n{number}")
    cluster.time_out("n1")
    cluster.settle()
    assert cluster.roles().split()[0] == roles


def test_r_18_without_a_majority_a_pre_candidate_stays_in_its_term() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PRE_VOTE)
    cluster.crash("n2")
    cluster.crash("n3")
    cluster.time_out("n1")
    cluster.settle()
    assert cluster.roles() == "P0"


def test_r_18_three_refusals_of_five_end_a_candidacy() -> None:
    names = ["n1", "n2", "n3", "n4", "n5"]
    logs = {"n1": (), "n2": (1,), "n3": (1,), "n4": (1, 1), "n5": ()}
    cluster = Cluster(*names, options=PLAIN, records={name: records_of(names, logs[name]) for name in names})
    cluster.time_out("n1")
    cluster.settle()
    assert (cluster["n1"].role, cluster["n1"].term) == (Role.FOLLOWER, 1)


def test_r_19_a_leader_of_a_later_term_overwrites_what_was_not_committed() -> None:
    """n1 and n2 have the entry of term 1, n3 led term 2 for an entry of its own, with the votes of n4 and n5."""
    names = ["n1", "n2", "n3", "n4", "n5"]
    records = {name: records_of(names, (1,), term=1) for name in ("n1", "n2")}
    records["n3"] = records_of(names, (2,), term=2, vote="n3")
    records |= {name: records_of(names, (), term=2, vote="n3") for name in ("n4", "n5")}
    cluster = Cluster(*names, options=PLAIN, records=records)
    cluster.time_out("n1")
    cluster.settle()
    assert (cluster["n1"].role, cluster["n1"].term) == (Role.FOLLOWER, 2)
    cluster.elect("n1")
    assert cluster["n1"].term == 3
    assert [cluster.terms(name) for name in names] == [[1, 3]] * 5
    cluster.advance(HEARTBEAT)
    cluster.converged()


def test_r_55_a_split_vote_after_two_pre_votes_is_resolved_by_the_next_timeout() -> None:
    """[etcd] Both passed the pre-vote at the same moment; each votes for itself."""
    cluster = Cluster("n1", "n2", "n3", options=PRE_VOTE)
    cluster.elect("n1")
    cluster.isolate("n1")
    cluster.time_out("n2")
    cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == "L1 C2 C2"
    cluster.time_out("n2")
    cluster.settle()
    assert cluster.roles() == "L1 L3 F3"


def test_r_56_a_server_that_is_a_term_behind_can_complete_an_election() -> None:
    """[etcd] n3 pre-campaigns in the past while the others have gone on."""
    cluster = Cluster("n1", "n2", "n3", options=PRE_VOTE)
    cluster.isolate("n3")
    cluster.elect("n1")
    cluster.time_out("n3")
    cluster.elect("n2")
    assert cluster.roles() == "F2 L2 P0"
    cluster.heal()
    cluster.isolate("n2")
    for name in ("n3", "n1"):
        cluster.time_out(name)
        cluster.settle()
    assert sorted([cluster["n1"].role.value, cluster["n3"].role.value]) == ["follower", "leader"]


def test_r_54_a_server_that_is_switched_to_pre_votes_does_not_block_the_cluster() -> None:
    """[etcd] n3 campaigned without pre-votes while it was cut off, and comes back with them, its log too short."""
    cluster = Cluster("n1", "n2", "n3", options=PRE_VOTE)
    cluster.hosts["n3"].options = PLAIN
    cluster.restart("n3")
    cluster.elect("n1")
    cluster.isolate("n3")
    cluster.commit("n1", b"missed")
    for _ in range(2):
        cluster.time_out("n3")
    cluster.settle()
    assert cluster.roles() == "L1 F1 C3"
    cluster.crash("n3")
    cluster.hosts["n3"].options = PRE_VOTE
    cluster.restart("n3")
    cluster.heal()
    for _ in range(2):
        cluster.time_out("n3")
        cluster.settle()
        assert (cluster["n1"].role, cluster["n2"].role) == (Role.LEADER, Role.FOLLOWER)
    cluster.crash("n1")
    for name in ("n3", "n2", "n3", "n2"):
        if cluster.leader != name:
            cluster.time_out(name)
            cluster.settle()
    assert cluster["n2"].role is Role.LEADER
    assert cluster["n3"].role is Role.FOLLOWER


def test_r_54_its_later_term_reaches_the_leader_with_the_answer_to_a_heartbeat() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PLAIN)
    cluster.elect("n1")
    cluster.isolate("n3")
    for _ in range(2):
        cluster.time_out("n3")
        cluster.settle()
    cluster.heal()
    cluster.time_out("n1")
    cluster.settle()
    assert cluster["n1"].role is Role.FOLLOWER
    assert cluster["n1"].term == cluster["n3"].term == 3


def downtime(timeout: tuple[int, int], trials: int) -> list[int]:
    """How long it takes five servers to have a new leader after the old one crashed (thesis 9, paper 9.3)."""
    low, high = timeout
    options = evolve(OPTIONS, heartbeat_interval_ns=low // 2, election_timeout_min_ns=low, election_timeout_max_ns=high)
    lengths = []
    for seed in range(trials):
        cluster = Cluster("n1", "n2", "n3", "n4", "n5", options=options, seed=seed)
        cluster.advance(4 * high)
        leader, crashed = cluster.leader, cluster.now
        assert leader is not None
        cluster.crash(leader)
        while cluster.leader is None:
            cluster.advance(low // 10)
            assert cluster.now - crashed < 20 * high, "no leader is found"
        lengths.append(cluster.now - crashed)
    return sorted(lengths)


def test_section_o_an_election_takes_about_a_timeout_and_split_votes_end() -> None:
    """Of four servers the first times out early in the range: E[first] is low + (high - low) / 5."""
    lengths = downtime((ELECTION, 2 * ELECTION), 40)
    assert lengths[0] >= ELECTION // 2
    assert lengths[len(lengths) // 2] <= 2 * ELECTION
    assert lengths[-1] <= 5 * ELECTION


@pytest.mark.parametrize("options", [PLAIN, OPTIONS])
def test_a_request_for_a_vote_is_answered_whoever_asks(options: RaftOptions) -> None:
    """Thesis 4.1: servers process requests from servers that are not in their configuration."""
    cluster = Cluster("n1", "n2", "n3", options=options)
    cluster.feed("n1", Received("n9", RequestVote(1, 0, 0)))
    cluster.settle()
    assert cluster["n1"].vote == "n9"


def test_a_single_server_leads_at_once() -> None:
    """There is nobody to wait for."""
    cluster = Cluster("n1")
    cluster.advance(0)
    assert cluster.roles() == "L1"
    assert isinstance(cluster.commit("n1", b"x")[0], Committed)
