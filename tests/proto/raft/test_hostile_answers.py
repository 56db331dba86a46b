"""Answers that nobody was asked for, terms that cannot have come about, and strangers in great numbers."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from casty_proto.machine import Persist, Rejected, Severity
from casty_proto.raft import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Ballot,
    Committed,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Read,
    ReadReply,
    ReadRequest,
    Received,
    RequestTransfer,
    RequestVote,
    Role,
    Send,
    SnapshotReply,
    SnapshotTaken,
    Stale,
    TimeoutNow,
    Vote,
)
from casty_proto.raft import contact as contact_module
from casty_proto.raft.entries import OVERHEAD
from casty_proto.raft.journal import MANY_WRITES, MAX_WITHHELD
from casty_proto.raft.messages import TERM_LEAP, booleans

from .bench import PLAIN, PRE_VOTE
from .script import Server, entries, notes, replies, sends


def leader(last: int = 1, **options: Any) -> Server:
    """Leads term 2 with `last` entries of it, and has sent one round of heartbeats. n3 has it all, n2 said nothing."""
    server = Server(options=evolve(PLAIN, trailing_entries=0, **options), term=1)
    server.lead()
    for _ in range(last - 1):
        server.propose(b"x")
    server.tell("n3", AppendAccepted(2, last))
    server.time_out()
    return server


def heard(server: Server) -> Any:
    """All that a leader knows of n2, and of whom it waits for."""
    lead = server.raft.lead
    assert lead is not None
    progress = lead.progress["n2"]
    outgoing = progress.outgoing
    return (
        (progress.heard_at, progress.match, progress.next, progress.state, progress.round, progress.probing),
        (None if outgoing is None else (outgoing.index, outgoing.offset, outgoing.sent_at)),
        (server.led, server.raft.commit, server.raft.deadline(), list(server.disk.records)),
    )


# Answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        AppendAccepted(2, 4),
        AppendRejected(2, 4, 0, 0),
        AppendRejected(2, 2, 3, 1),
        AppendRejected(2, 2, 1, 3),
        HeartbeatReply(2, 2),
        HeartbeatReply(2, 0),
        SnapshotReply(2, 3, 0),
        SnapshotReply(2, 0, 0),
    ],
    ids=repr,
)
def test_an_answer_to_what_was_never_sent_is_rubbish_and_nobody_was_heard(message: Any) -> None:
    """The leader has 3 entries, one round and no snapshot. Its quorum is not kept by who makes up answers."""
    server = leader(3)
    before = heard(server)
    server.now += 1
    effects = server.feed(Received("n2", message))
    assert [type(effect).__name__ for effect in effects] == ["Note"]
    assert heard(server) == before


def test_an_answer_about_a_snapshot_that_there_is_not_so_much_of_is_rubbish_and_nobody_was_heard() -> None:
    server = leader(3)
    server.feed(SnapshotTaken(3, b"state"))
    server.propose(b"x")
    server.tell("n3", AppendAccepted(2, 4))
    (sent,) = server.tell("n2", AppendRejected(2, 0, 0, 0))
    assert isinstance(sent.message, InstallSnapshot)
    before = heard(server)
    server.now += 1
    for message in [SnapshotReply(2, 3, sent.message.size + 1), SnapshotReply(2, 4, 0)]:
        assert len(notes(server.feed(Received("n2", message)))) == 1
        assert heard(server) == before
    assert notes(server.feed(Received("n2", SnapshotReply(2, 3, sent.message.size)))) == []
    assert heard(server) != before


@pytest.mark.parametrize("message", [AppendAccepted(2, 3), AppendRejected(2, 3, 3, 1), HeartbeatReply(2, 1)], ids=repr)
def test_an_answer_that_can_be_one_shows_that_its_sender_lives(message: Any) -> None:
    server = leader(3)
    server.now += 1
    assert notes(server.feed(Received("n2", message))) == []
    assert server.raft.lead is not None
    assert server.raft.lead.progress["n2"].heard_at == server.now


def test_r_02_a_later_term_is_believed_whatever_else_the_answer_says() -> None:
    """It is no answer to this leader, so there is nothing to compare it with."""
    for message in [AppendAccepted(3, 99), AppendRejected(3, 99, 0, 0), HeartbeatReply(3, 99), SnapshotReply(3, 99, 9)]:
        server = leader()
        server.tell("n2", message)
        assert server.state == (Role.FOLLOWER, 3)


def test_r_73_only_the_leader_that_was_asked_can_permit_a_read() -> None:
    server = Server(term=1)
    server.tell("n2", Heartbeat(1, 0, 1))
    (sent,) = sends(server.feed(Read("r")))
    assert isinstance(sent.message, ReadRequest)
    effects = server.feed(Received("n3", ReadReply(1, sent.message.id, 0)))
    assert (len(notes(effects)), replies(effects)) == (1, {})
    assert list(replies(server.feed(Received("n2", ReadReply(1, sent.message.id, 0))))) == ["r"]


@pytest.mark.parametrize(
    "message",
    [
        RequestVote(5, 9, 1, pre=1),  # type: ignore[arg-type]
        RequestVote(5, 9, 1, pre=None),  # type: ignore[arg-type]
        RequestVote(5, 9, 1, transfer="yes"),  # type: ignore[arg-type]
        Vote(1, True, pre=0),  # type: ignore[arg-type]
        Vote(1, None),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_what_is_only_taken_for_true_or_false_is_rubbish(message: Any) -> None:
    server = Server(term=1)
    before = (server.led, server.state, list(server.disk.records))
    effects = server.feed(Received("n2", message))
    assert [type(effect).__name__ for effect in effects] == ["Note"]
    assert (server.led, server.state, list(server.disk.records)) == before


def test_booleans_are_true_and_false() -> None:
    assert booleans(True, False)
    assert not booleans(True, 1)
    assert not booleans(0)


# Terms ---------------------------------------------------------------------------------------------------------------

FAR = 5 + TERM_LEAP + 1


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER])
@pytest.mark.parametrize(
    "message",
    [
        Stale(FAR),
        Stale(2**63 - 1),
        Vote(FAR, False),
        Vote(FAR, True, pre=True),
        RequestVote(FAR, 9, 1),
        RequestVote(FAR, 9, 1, transfer=True),
        TimeoutNow(FAR),
        RequestTransfer(FAR, "n1"),
        Heartbeat(FAR, 0, 1),
        AppendEntries(FAR, 0, 0, (), 0),
        InstallSnapshot(FAR, 9, 1, 3, 0, b""),
        AppendAccepted(FAR, 0),
        AppendRejected(FAR, 1, 0, 0),
        HeartbeatReply(FAR, 0),
        SnapshotReply(FAR, 9, 0),
        ReadRequest(FAR, 1),
        ReadReply(FAR, 1, 0),
    ],
    ids=repr,
)
def test_a_term_that_is_too_far_beyond_ours_is_rubbish_in_every_message(message: Any, role: Role) -> None:
    """No higher term could be named than the highest, so one such message would end all elections."""
    options = evolve(PLAIN, pre_vote=role is Role.PRE_CANDIDATE)
    server = Server(term=5 if role in (Role.FOLLOWER, Role.PRE_CANDIDATE) else 4, options=options)
    if role is Role.LEADER:
        server.lead()
    elif role is not Role.FOLLOWER:
        server.time_out()
    assert server.state == (role, 5)
    effects = server.feed(Received("n2", message))
    assert [note.severity for note in notes(effects)] == [Severity.ERROR]
    assert len(effects) == 1
    assert server.state == (role, 5)


def test_a_term_that_elections_can_have_led_to_is_believed() -> None:
    server = Server(term=5)
    server.tell("n2", Stale(5 + TERM_LEAP))
    assert server.raft.term == 5 + TERM_LEAP
    server.lead()
    assert server.state == (Role.LEADER, 6 + TERM_LEAP)


def test_a_server_that_knows_no_members_takes_the_term_that_its_cluster_has_come_to() -> None:
    """It joins. Its own term is no measure of anything."""
    server = Server(voters="")
    term = 9 * TERM_LEAP
    assert server.tell("n2", Heartbeat(term, 0, 1)) == [Send("n2", HeartbeatReply(term, 1))]


# Floods --------------------------------------------------------------------------------------------------------------


def test_r_114_ballots_do_not_pile_up_while_the_disk_does_not_answer() -> None:
    """Of the terms that were heard of meanwhile only the last is written, when there is room for it."""
    server = Server(term=1)
    server.held = True
    for term in range(2, 1000):
        server.tell("n2", Stale(term))
    server.tell("n3", RequestVote(999, 9, 1))
    assert len(server.disk.pending) == MANY_WRITES
    effects = server.sync(MANY_WRITES)
    assert [effect.record for effect in effects if isinstance(effect, Persist)] == [Ballot(999, "n3")]
    assert sends(effects) == []
    assert sends(server.sync()) == [Send("n3", Vote(999, True))]
    assert server.disk.records[-1] == Ballot(999, "n3")


def test_r_114_no_entry_is_written_before_the_ballot_of_its_term() -> None:
    """A disk whose log ends in a term after that of its last ballot could not be recovered from."""
    server = Server(term=1)
    server.held = True
    for term in range(2, 1000):
        server.tell("n2", Stale(term))
    effects = server.feed(Received("n2", AppendEntries(999, 0, 0, entries(1, 999), 0)))
    records = [effect.record for effect in effects if isinstance(effect, Persist)]
    assert records[0] == Ballot(999, None)
    assert len(records) == 2
    assert sends(server.sync(MANY_WRITES)) == []
    assert sends(server.sync(2)) == [Send("n2", AppendAccepted(999, 1))]


def test_r_114_a_candidate_counts_itself_when_the_last_of_its_ballots_is_durable() -> None:
    server = Server()
    server.held = True
    for _ in range(2 * MANY_WRITES):
        server.time_out()
    term = server.raft.term
    assert server.state == (Role.CANDIDATE, 2 * MANY_WRITES)
    server.tell("n2", Vote(term, True))
    server.sync(MANY_WRITES)
    assert server.state == (Role.CANDIDATE, term)
    assert server.disk.pending[-1][1] == Ballot(term, "n1")
    server.sync()
    assert server.state == (Role.LEADER, term)


def test_r_114_strangers_cannot_fill_the_memory_while_the_disk_does_not_answer() -> None:
    """The newest answers are kept, and every other question can be asked again."""
    server = Server(term=1)
    server.held = True
    server.tell("n2", Stale(2))
    for number in range(2 * MAX_WITHHELD):
        server.tell(f"x{number}", Heartbeat(1, 0, 1))
    server.tell("n3", RequestVote(2, 0, 0))
    answers = sends(server.sync(2))
    assert len(answers) == MAX_WITHHELD
    assert answers[-1] == Send("n3", Vote(2, True))


@pytest.mark.parametrize("options", [PLAIN, PRE_VOTE])
def test_votes_of_strangers_are_not_even_remembered(options: Any) -> None:
    server = Server(options=options)
    server.time_out()
    pre = options.pre_vote
    for number in range(100):
        assert server.feed(Received(f"x{number}", Vote(1 if not pre else 0, False, pre))) == []
        assert server.feed(Received(f"x{number}", Vote(1, True, pre))) == []
    assert list(server.raft._votes) == ["n1"]


def test_reads_that_wait_for_a_majority_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `check_quorum` a leader that was cut off stays one, and what it was asked waits as long."""
    monkeypatch.setattr(contact_module, "MAX_READS", 3)
    for early in (True, False):
        server = leader()
        if early:
            server = Server()
            server.lead()
        term = server.raft.term
        for number in range(2):
            assert replies(server.feed(Read(number))) == {}
        server.tell("n2", ReadRequest(term, 7))
        (refusal,) = replies(server.feed(Read("one too many"))).values()
        assert type(refusal) is Rejected
        assert "too many reads" in refusal.reason
        assert server.tell("n2", ReadRequest(term, 8)) == [Send("n2", ReadReply(term, 8, None))]


def test_r_43_a_leader_whose_disk_hangs_takes_no_more_than_may_be_uncommitted() -> None:
    """Thesis 10.2.1: the others commit without it. What its disk lacks is counted all the same."""
    server = Server(options=evolve(PLAIN, max_uncommitted_bytes=3 * (OVERHEAD + 1)))
    server.lead()
    server.held = True
    answers: list[Any] = []
    for _ in range(5):
        answers += replies(server.propose(b"x")).values()
        for peer in ("n2", "n3"):
            answers += replies(server.feed(Received(peer, AppendAccepted(1, server.raft.log.last_index)))).values()
    assert [type(answer) for answer in answers] == [Committed] * 3 + [Rejected] * 2
    assert "not on its disk" in answers[-1].reason
    assert len(server.disk.pending) == 3
    server.held = False
    server.sync(3)
    assert replies(server.propose(b"x")) == {}
