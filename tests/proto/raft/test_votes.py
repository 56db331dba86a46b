"""One server is asked for its vote (paper 5.2, 5.4.1)."""

from __future__ import annotations

import pytest

from casty_proto.raft import (
    AppendEntries,
    Ballot,
    Heartbeat,
    InstallSnapshot,
    RequestVote,
    Role,
    Send,
    Vote,
)

from .bench import PLAIN, PRE_VOTE
from .script import Server


@pytest.mark.parametrize(
    ("voted", "candidate", "granted"),
    [
        (None, "n2", True),
        (None, "n3", True),
        ("n2", "n2", True),
        ("n3", "n3", True),
        ("n2", "n3", False),
        ("n3", "n2", False),
    ],
)
def test_r_07_a_server_votes_once_in_a_term_and_repeats_its_answer(
    voted: str | None, candidate: str, granted: bool
) -> None:
    """Paper 5.2: each server votes for at most one candidate in a term, first come first served."""
    server = Server(term=1, vote=voted)
    assert server.tell(candidate, RequestVote(1, 0, 0)) == [Send(candidate, Vote(1, granted))]
    assert server.raft.vote == (candidate if granted else voted)


@pytest.mark.parametrize(
    ("terms", "last", "refused"),
    [
        ((1,), (1, 1), False),
        ((1,), (1, 2), False),
        ((1, 1), (1, 1), True),
        ((1,), (2, 1), False),
        ((1,), (2, 2), False),
        ((1, 1), (2, 1), False),
        ((2,), (1, 1), True),
        ((2,), (1, 2), True),
        ((2, 2), (1, 1), True),
    ],
)
def test_r_24_no_vote_for_a_log_that_lacks_something_of_ours(
    terms: tuple[int, ...], last: tuple[int, int], refused: bool
) -> None:
    """Paper 5.4.1. `last` is the term and the index of the candidate's last entry."""
    server = Server(terms=terms)
    last_term, last_index = last
    assert server.tell("n2", RequestVote(3, last_index, last_term)) == [Send("n2", Vote(3, not refused))]
    assert server.raft.term == 3


R_25 = [(index, term, term == 3 or (index >= 2 and term == 2)) for index in range(4) for term in range(4)]


@pytest.mark.parametrize(("index", "term", "granted"), R_25)
@pytest.mark.parametrize("pre", [False, True])
def test_r_25_the_table_of_votes_and_of_pre_votes(index: int, term: int, granted: bool, pre: bool) -> None:
    server = Server(terms=(2, 2), term=2)
    (answer,) = server.tell("n2", RequestVote(4, index, term, pre=pre))
    assert isinstance(answer.message, Vote)
    assert answer.message.granted is granted
    assert server.raft.term == (2 if pre else 4)


def test_r_25_whoever_has_voted_or_campaigns_or_leads_refuses_another_in_the_same_term() -> None:
    voted = Server(terms=(2, 2), term=3, vote="n2")
    assert voted.tell("n2", RequestVote(3, 3, 2)) == [Send("n2", Vote(3, True))]
    assert voted.tell("n3", RequestVote(3, 3, 2)) == [Send("n3", Vote(3, False))]
    candidate = Server(terms=(2, 2), term=2)
    candidate.time_out()
    assert candidate.state == (Role.CANDIDATE, 3)
    assert candidate.tell("n2", RequestVote(3, 3, 2)) == [Send("n2", Vote(3, False))]
    leader = Server(terms=(2, 2), term=2)
    leader.lead()
    assert leader.tell("n2", RequestVote(3, 3, 2)) == [Send("n2", Vote(3, False))]
    assert leader.state == (Role.LEADER, 3)


def in_role(role: Role) -> Server:
    """A server of term 1, or of 2 where it had to campaign for its role."""
    server = Server(term=1, options=PRE_VOTE if role is Role.PRE_CANDIDATE else PLAIN)
    if role in (Role.CANDIDATE, Role.PRE_CANDIDATE):
        server.time_out()
    elif role is Role.LEADER:
        server.lead()
    assert server.raft.role is role
    return server


@pytest.mark.parametrize("role", list(Role))
def test_r_22_a_vote_in_a_later_term_is_given_from_any_role(role: Role) -> None:
    server = in_role(role)
    term = server.raft.term + 1
    assert server.tell("n2", RequestVote(term, 5, term - 1)) == [Send("n2", Vote(term, True))]
    assert server.state == (Role.FOLLOWER, term)
    assert server.raft.vote == "n2"
    assert server.disk.records[-1] == Ballot(term, "n2")


@pytest.mark.parametrize("role", list(Role))
def test_r_22_and_r_46_a_pre_vote_changes_neither_term_nor_vote_nor_role(role: Role) -> None:
    """Thesis 9.6. The answer names the term that was asked for."""
    server = in_role(role)
    before = (server.state, server.raft.vote, list(server.disk.records))
    term = server.raft.term + 1
    assert server.tell("n2", RequestVote(term, 5, term - 1, pre=True)) == [Send("n2", Vote(term, True, pre=True))]
    assert (server.state, server.raft.vote, server.disk.records) == before


def test_r_46_a_refused_pre_vote_names_the_term_of_whoever_refuses() -> None:
    server = Server(terms=(1, 2), term=7)
    assert server.tell("n2", RequestVote(8, 1, 1, pre=True)) == [Send("n2", Vote(7, False, pre=True))]
    assert server.tell("n2", RequestVote(3, 9, 2, pre=True)) == [Send("n2", Vote(7, False, pre=True))]
    assert server.state == (Role.FOLLOWER, 7)


def test_r_46_whoever_learns_of_a_later_term_from_a_refused_pre_vote_enters_it() -> None:
    server = Server(term=1, options=PRE_VOTE)
    server.time_out()
    assert server.tell("n2", Vote(5, False, pre=True)) == []
    assert server.state == (Role.FOLLOWER, 5)


def test_r_21_only_messages_of_a_leader_say_who_leads() -> None:
    """A request for a vote moves the term, and nobody is known to lead it."""
    server = Server(term=1)
    server.tell("n2", Heartbeat(1, 0, 1))
    assert server.led == "1 n2"
    server.tell("n3", RequestVote(3, 0, 0))
    assert server.led == "3 nobody"
    for term, message in enumerate(
        [AppendEntries(4, 0, 0, (), 0), Heartbeat(5, 0, 1), InstallSnapshot(6, 5, 4, 10, 0, b"x")], 4
    ):
        server.tell("n2", message)
        assert server.led == f"{term} n2"


def test_r_23_a_vote_for_oneself_that_becomes_durable_too_late_does_not_count() -> None:
    """The write of the candidacy comes through when another leads the term, and when it is over."""
    server = Server()
    server.held = True
    server.time_out()
    assert server.state == (Role.CANDIDATE, 1)
    server.tell("n2", AppendEntries(1, 0, 0, (), 0))
    assert server.state == (Role.FOLLOWER, 1)
    server.sync()
    server.tell("n3", Vote(1, True))
    assert server.state == (Role.FOLLOWER, 1)


def test_r_23_a_pre_vote_is_not_counted_as_a_vote() -> None:
    server = Server(options=PRE_VOTE)
    server.time_out()
    server.tell("n2", Vote(1, True, pre=True))
    assert server.state == (Role.CANDIDATE, 1)
    server.tell("n3", Vote(1, True, pre=True))
    server.tell("n3", Vote(2, True, pre=True))
    assert server.state == (Role.CANDIDATE, 1)
    server.tell("n3", Vote(1, True))
    assert server.state == (Role.LEADER, 1)


def test_r_23_a_vote_of_an_earlier_candidacy_is_not_counted() -> None:
    server = Server()
    server.time_out()
    server.time_out()
    assert server.state == (Role.CANDIDATE, 2)
    server.tell("n2", Vote(1, True))
    assert server.state == (Role.CANDIDATE, 2)
    server.tell("n2", Vote(2, True))
    assert server.state == (Role.LEADER, 2)


def test_r_23_a_pre_vote_for_an_earlier_term_is_not_counted() -> None:
    server = Server(term=3, options=PRE_VOTE)
    server.time_out()
    server.tell("n2", Vote(2, True, pre=True))
    server.tell("n2", Vote(3, True, pre=True))
    assert server.state == (Role.PRE_CANDIDATE, 3)
    server.tell("n2", Vote(4, True, pre=True))
    assert server.state == (Role.CANDIDATE, 4)


def test_section_5_2_giving_a_vote_puts_off_the_own_election_and_refusing_it_does_not() -> None:
    """Paper, rules for followers: the timeout runs without a message of the leader or a vote that is given."""
    server = Server(terms=(1,), term=1)
    before = server.raft.deadline()
    assert before is not None
    server.now = before - 1
    server.tell("n2", RequestVote(2, 0, 0))
    assert server.raft.deadline() == before
    server.tell("n3", RequestVote(3, 1, 1))
    after = server.raft.deadline()
    assert after is not None
    assert after >= server.now + PLAIN.election_timeout_min_ns
    undecided = Server(term=1)
    before = undecided.raft.deadline()
    assert before is not None
    undecided.now = before - 1
    undecided.tell("n2", RequestVote(1, 0, 0))
    after = undecided.raft.deadline()
    assert after is not None
    assert after >= undecided.now + PLAIN.election_timeout_min_ns
