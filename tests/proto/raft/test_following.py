"""The follower's side of replication, one message at a time (paper 5.3)."""

from __future__ import annotations

from typing import Any

import pytest

from casty_proto.raft import (
    Append,
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    NotLeader,
    Received,
    Send,
)

from .script import Server, applied, entries, replies


def follower(*terms: int, commit: int = 0, term: int = 2) -> Server:
    """A follower that n2 leads."""
    server = Server(terms=terms, term=term)
    server.commit(commit)
    return server


@pytest.mark.parametrize("commit", [1, 2])
def test_r_29_a_follower_applies_exactly_what_is_committed(commit: int) -> None:
    """Paper 5.3: it applies the entry once it learns that it is committed, in log order."""
    server = follower()
    effects = server.feed(Received("n2", AppendEntries(2, 0, 0, entries(1, 1, 2), commit)))
    assert applied(effects) == [(1, 1), (2, 2)][:commit]
    assert applied(server.commit(2)) == [(1, 1), (2, 2)][commit:]
    assert applied(server.commit(2)) == []


@pytest.mark.parametrize(
    ("prev", "answer"),
    [
        ((0, 0), AppendAccepted(2, 1)),
        ((1, 1), AppendAccepted(2, 1)),
        ((2, 2), AppendAccepted(2, 2)),
        ((2, 1), AppendRejected(2, 2, 1, 1)),
        ((3, 2), AppendRejected(2, 3, 2, 2)),
    ],
)
def test_r_30_entries_are_taken_only_after_one_that_both_have(prev: tuple[int, int], answer: Any) -> None:
    """Paper 5.3, consistency check. The follower has [1,2], of which 1 is committed; no entries are sent.

    What it answers for (0, 0) is its commit index: up to there it equals any leader.
    """
    server = follower(1, 2, commit=1)
    assert server.tell("n2", AppendEntries(2, *prev, (), 1)) == [Send("n2", answer)]


@pytest.mark.parametrize(
    ("prev", "terms", "expected", "written"),
    [
        ((2, 2), (3,), [1, 2, 3], 1),
        ((1, 1), (3, 4), [1, 3, 4], 2),
        ((0, 0), (1,), [1, 2], 0),
        ((0, 0), (3,), [3], 1),
    ],
)
def test_r_31_only_a_conflict_removes_what_follows_it(
    prev: tuple[int, int], terms: tuple[int, ...], expected: list[int], written: int
) -> None:
    """Paper 5.3: if an existing entry conflicts with a new one, delete it and all that follow it."""
    server = follower(1, 2, term=4)
    server.disk.records.clear()
    server.tell("n2", AppendEntries(4, *prev, entries(prev[0] + 1, *terms), 0))
    assert server.terms == expected
    records = [record for record in server.disk.records if isinstance(record, Append)]
    assert sum(len(record.entries) for record in records) == written


@pytest.mark.parametrize(
    ("prev", "terms", "commit", "last", "committed"),
    [
        ((2, 3), (), 3, 2, 0),
        ((3, 3), (), 3, 2, 0),
        ((1, 1), (), 1, 2, 1),
        ((0, 0), (1,), 1, 2, 1),
        ((0, 0), (2,), 1, 1, 1),
        ((2, 2), (2, 2), 3, 4, 3),
        ((2, 2), (2,), 4, 3, 3),
        ((1, 1), (2,), 4, 2, 2),
        ((1, 1), (), 3, 2, 1),
        ((2, 2), (), 3, 2, 2),
        ((2, 2), (), 4, 2, 2),
    ],
)
def test_r_32_the_commit_index_does_not_pass_what_the_message_has_proved(
    prev: tuple[int, int], terms: tuple[int, ...], commit: int, last: int, committed: int
) -> None:
    """Paper, Figure 2: commitIndex = min(leaderCommit, index of last new entry). The follower has [1,2]."""
    server = follower(1, 2)
    server.tell("n2", AppendEntries(3, *prev, entries(prev[0] + 1, *terms), commit))
    assert (server.raft.log.last_index, server.raft.commit) == (last, committed)


def test_r_33_a_heartbeat_raises_the_commit_index_and_never_lowers_it() -> None:
    server = follower(1, 2, 3, term=3)
    server.commit(2)
    assert server.tell("n2", Heartbeat(3, 3, 7)) == [Send("n2", HeartbeatReply(3, 7))]
    assert server.raft.commit == 3
    server.tell("n2", Heartbeat(3, 1, 8))
    assert server.raft.commit == 3


def test_r_33_a_heartbeat_without_a_round_is_not_answered() -> None:
    server = follower(1, 2)
    assert server.tell("n2", Heartbeat(2, 1, 0)) == []
    assert server.raft.commit == 1


def test_r_34_of_two_messages_in_the_wrong_order_the_first_is_rejected_and_nothing_is_lost() -> None:
    server = follower()
    late, early = AppendEntries(2, 1, 1, entries(2, 1), 0), AppendEntries(2, 0, 0, entries(1, 1), 0)
    assert server.tell("n2", late) == [Send("n2", AppendRejected(2, 1, 0, 0))]
    assert server.terms == []
    assert server.tell("n2", early) == [Send("n2", AppendAccepted(2, 1))]
    assert server.tell("n2", late) == [Send("n2", AppendAccepted(2, 2))]


def test_r_35_a_message_that_comes_twice_is_answered_twice_and_changes_nothing() -> None:
    server = follower()
    message = AppendEntries(2, 0, 0, entries(1, 1, 2), 1)
    first = server.feed(Received("n2", message))
    written = list(server.disk.records)
    again = server.feed(Received("n2", message))
    assert applied(first) == [(1, 1)]
    assert again == [Send("n2", AppendAccepted(2, 2))]
    assert server.disk.records == written


def test_r_35_an_old_message_does_not_remove_what_came_after_it() -> None:
    """Paper 5.3, Figure 2 (AppendEntries, 3 and 4): no conflict, no deletion."""
    server = follower()
    server.tell("n2", AppendEntries(2, 0, 0, entries(1, 1, 2), 0))
    server.tell("n2", AppendEntries(2, 2, 2, entries(3, 2, 2), 0))
    assert server.tell("n2", AppendEntries(2, 0, 0, entries(1, 1, 2), 0)) == [Send("n2", AppendAccepted(2, 4))]
    assert server.terms == [1, 2, 2, 2]


def test_r_38_a_follower_refuses_a_proposal_and_names_the_leader() -> None:
    server = follower()
    assert replies(server.propose(b"x")) == {0: NotLeader("n1 does not lead; n2 does", "n2")}
    assert server.terms == []


def test_r_38_a_candidate_refuses_a_proposal_and_knows_nobody() -> None:
    server = Server()
    server.time_out()
    assert replies(server.propose(b"x")) == {0: NotLeader("n1 does not lead, and knows nobody who does")}
    assert server.terms == []


def test_r_81_the_hint_is_dropped_when_the_term_changes() -> None:
    server = follower()
    server.time_out()
    (result,) = replies(server.propose(b"x")).values()
    assert result.leader is None


def test_r_37_a_rejection_skips_the_whole_term_that_conflicts() -> None:
    """Paper 5.3, end; the hint is the last entry of a term that is not beyond the leader's."""
    server = follower(1, 2, 2, 3, 3, 3, 3, term=5)
    assert server.tell("n2", AppendEntries(5, 7, 2, (), 0)) == [Send("n2", AppendRejected(5, 7, 3, 2))]
    assert server.tell("n2", AppendEntries(5, 9, 4, (), 0)) == [Send("n2", AppendRejected(5, 9, 7, 3))]


def test_r_110_what_lies_under_the_commit_index_is_taken_for_known() -> None:
    """The part of the message that is committed here is skipped, the rest is taken."""
    server = follower(1, 2, 2, commit=3)
    assert server.tell("n2", AppendEntries(2, 1, 1, entries(2, 2, 2, 2, 2), 0)) == [Send("n2", AppendAccepted(2, 5))]
    assert server.terms == [1, 2, 2, 2, 2]
    assert server.tell("n2", AppendEntries(2, 1, 1, entries(2, 2), 0)) == [Send("n2", AppendAccepted(2, 5))]


def test_a_leader_that_is_heard_puts_off_the_own_election() -> None:
    server = follower()
    for _ in range(5):
        before = server.raft.deadline()
        assert before is not None
        server.now = before - 1
        server.tell("n2", Heartbeat(2, 0, 1))
        after = server.raft.deadline()
        assert after is not None
        assert after > before
