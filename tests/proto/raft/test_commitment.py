"""What a leader may call committed, against published vectors."""

from __future__ import annotations

import pytest

from casty_proto.raft import AppendAccepted, Configuration
from casty_proto.raft.log import Log
from casty_proto.raft.quorum import committed
from casty_proto.raft.replication import committable

from .script import Server, entries

COMMIT = [
    ([1], (1,), 1, 1),
    ([1], (1,), 2, 0),
    ([2], (1, 2), 2, 2),
    ([1], (2,), 2, 1),
    ([2, 1, 1], (1, 2), 1, 1),
    ([2, 1, 1], (1, 1), 2, 0),
    ([2, 1, 2], (1, 2), 2, 2),
    ([2, 1, 2], (1, 1), 2, 0),
    ([2, 1, 1, 1], (1, 2), 1, 1),
    ([2, 1, 1, 1], (1, 1), 2, 0),
    ([2, 1, 1, 2], (1, 2), 1, 1),
    ([2, 1, 1, 2], (1, 1), 2, 0),
    ([2, 1, 2, 2], (1, 2), 2, 2),
    ([2, 1, 2, 2], (1, 1), 2, 0),
]


@pytest.mark.parametrize(("matches", "terms", "term", "expected"), COMMIT)
def test_vectors_0_4_only_an_entry_of_the_own_term_is_committed_by_counting(
    matches: list[int], terms: tuple[int, ...], term: int, expected: int
) -> None:
    """Paper 5.4.2."""
    assert committable(Log(entries=entries(1, *terms)), term, 0, matches) == expected


def test_vectors_0_4_the_commit_index_never_goes_back() -> None:
    assert committable(Log(entries=entries(1, 1, 1, 1)), 1, 3, [1, 1, 3]) == 3


def test_vectors_0_5_a_new_configuration_counts_its_own_members_only() -> None:
    """[hashicorp] Acknowledgements of those who left drop out, and who is new stands at 0."""
    acks = {"a": 10, "b": 20, "c": 30}
    assert committed("abc", acks) == 20
    assert committed("cde", acks | {"e": 40}) == 30
    acks = {"a": 30, "b": 20}
    assert committed("abcde", acks) == 0
    assert committed("abcde", acks | {"c": 10}) == 10
    assert committed("abcde", acks | {"c": 10, "d": 15}) == 15
    assert committed("abc", acks | {"c": 10, "d": 15}) == 20
    assert committed(["a", "b", "c", "d'"], {"a": 30, "b": 25, "c": 10, "d'": 23}) == 23


def leader() -> Server:
    server = Server(terms=(1, 1, 1), term=1)
    server.lead()
    assert server.raft.log.last_index == 4
    return server


def test_vectors_0_5_an_acknowledgement_below_an_earlier_one_is_ignored() -> None:
    server = leader()
    server.propose(b"x")
    server.tell("n2", AppendAccepted(2, 5))
    server.tell("n2", AppendAccepted(2, 2))
    assert server.raft.commit == 5
    assert server.raft.lead is not None
    assert server.raft.lead.progress["n2"].match == 5


def test_vectors_0_5_acknowledgements_of_those_who_do_not_vote_change_nothing() -> None:
    server = leader()
    for number in range(4, 30):
        server.tell(f"n{number}", AppendAccepted(2, 4))
    assert server.raft.commit == 0


def test_vectors_0_5_nothing_is_committed_before_the_entry_that_begins_the_term() -> None:
    server = leader()
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(2, 3))
    assert server.raft.commit == 0
    server.tell("n2", AppendAccepted(2, 4))
    assert server.raft.commit == 4


def test_vectors_0_5_without_voters_nobody_leads_and_nothing_is_committed() -> None:
    server = Server(voters="")
    assert server.raft.configurations.latest == Configuration()
    for _ in range(2):
        if server.raft.deadline() is not None:
            assert server.time_out() == []
    assert server.raft.deadline() is None
    assert server.raft.term == 0
