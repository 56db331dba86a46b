"""The three doors: rubbish from a peer, illegal requests, and options that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import Severity
from casty_proto.raft import (
    AddVoter,
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Command,
    Configuration,
    Entry,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    NoOp,
    OpenSession,
    Proposal,
    Raft,
    RaftOptions,
    ReadReply,
    ReadRequest,
    Received,
    RequestTransfer,
    RequestVote,
    Role,
    SnapshotReply,
    Stale,
    TimeoutNow,
    Vote,
)

from .observer import Disk, Observer
from .script import Server, entries, notes

BAD: list[Any] = [
    None,
    "hello",
    AppendEntries,
    AppendEntries("1", 0, 0, (), 0),  # type: ignore[arg-type]
    AppendEntries(1, -1, 0, (), 0),
    AppendEntries(1, 0, 0, [], 0),  # type: ignore[arg-type]
    AppendEntries(1, 0, 0, (1,), 0),  # type: ignore[arg-type]
    AppendEntries(1, 0, 0, entries(2, 1), 0),
    AppendEntries(1, 0, 0, entries(1, 2), 0),
    AppendEntries(3, 0, 0, entries(1, 2, 1), 0),
    AppendEntries(3, 0, 0, (Entry(1, 1, NoOp(), 5), Entry(2, 1, NoOp(), 4)), 0),
    AppendEntries(3, 0, 0, (Entry(1, 1, "x"),), 0),  # type: ignore[arg-type]
    AppendEntries(3, 0, 0, (Entry(1, 1, Configuration()),), 0),
    AppendEntries(2**63, 0, 0, (), 0),
    AppendAccepted(1, True),
    AppendRejected(1, 0, 0, None),  # type: ignore[arg-type]
    Heartbeat(1, 0, 0.5),  # type: ignore[arg-type]
    Heartbeat(1, 99, 1),
    HeartbeatReply(1, -1),
    InstallSnapshot(3, 5, 1, 3, 0, "abc"),  # type: ignore[arg-type]
    InstallSnapshot(3, 5, 1, 3, 2, b"abc"),
    InstallSnapshot(3, 5, 4, 3, 0, b"abc"),
    InstallSnapshot(3, 5, 1, 2**40, 0, b"abc"),
    SnapshotReply(1, 5, None),  # type: ignore[arg-type]
    RequestVote(1, 0, None),  # type: ignore[arg-type]
    RequestVote(3, 5, 3),
    Vote(1, 1),  # type: ignore[arg-type]
    Vote(None, True),  # type: ignore[arg-type]
    ReadRequest(1, "x"),  # type: ignore[arg-type]
    ReadReply(1, 1, "x"),  # type: ignore[arg-type]
    RequestTransfer(1, 7),  # type: ignore[arg-type]
    TimeoutNow(1.5),  # type: ignore[arg-type]
    Stale(-1),
]


def state(server: Server) -> tuple[Any, ...]:
    raft = server.raft
    return server.state, server.led, server.terms, raft.commit, list(server.disk.records), raft.configurations.latest


@pytest.mark.parametrize("message", BAD, ids=repr)
def test_rubbish_is_dropped_with_a_note_and_promises_nothing(message: Any) -> None:
    server = Server(term=1)
    before = (
        server.state,
        server.terms,
        server.raft.commit,
        list(server.disk.records),
        server.raft.configurations.latest,
    )
    effects = server.feed(Received("n2", message))
    assert [note.severity for note in notes(effects)] == [Severity.ERROR]
    assert "n1 dropped a message of n2" in notes(effects)[0].text
    after = (
        server.state,
        server.terms,
        server.raft.commit,
        list(server.disk.records),
        server.raft.configurations.latest,
    )
    assert after == before


def test_answers_that_go_beyond_what_was_asked_are_dropped() -> None:
    server = Server()
    server.lead()
    for message in [AppendAccepted(1, 2), HeartbeatReply(1, 9)]:
        assert len(notes(server.feed(Received("n2", message)))) == 1
    assert server.raft.commit == 0


def test_a_message_of_oneself_is_dropped() -> None:
    server = Server()
    assert len(notes(server.feed(Received("n1", RequestVote(1, 0, 0))))) == 1


def test_a_long_message_is_not_repeated_in_the_note() -> None:
    server = Server()
    (note,) = notes(server.feed(Received("n2", b"x" * 100_000)))
    assert len(note.text) < 400


small = st.integers(0, 4)
some_entries = st.builds(
    lambda first, terms: entries(first, *terms), st.integers(1, 4), st.lists(st.integers(1, 4), max_size=3)
)
any_message = st.one_of(
    st.builds(AppendEntries, small, small, small, some_entries, small),
    st.builds(AppendAccepted, small, small),
    st.builds(AppendRejected, small, small, small, small),
    st.builds(Heartbeat, small, small, small),
    st.builds(HeartbeatReply, small, small),
    st.builds(RequestVote, small, small, small, st.booleans(), st.booleans()),
    st.builds(Vote, small, st.booleans(), st.booleans()),
    st.builds(InstallSnapshot, small, small, small, small, small, st.binary(max_size=4)),
    st.builds(SnapshotReply, small, small, small),
    st.builds(TimeoutNow, small),
    st.builds(RequestTransfer, small, st.sampled_from(["n1", "n2", "n9"])),
    st.builds(ReadRequest, small, small),
    st.builds(ReadReply, small, small, st.none() | small),
    st.builds(Stale, small),
)


class Blind(Observer):
    """Does not mind that the messages do not fit together."""

    def effect(self, raft: Raft, disk: Disk, effect: Any) -> None:
        pass

    def handled(self, raft: Raft) -> None:
        pass


@given(st.sampled_from(list(Role)), st.lists(st.tuples(st.sampled_from(["n2", "n3", "n9"]), any_message), max_size=12))
def test_no_sequence_of_messages_makes_a_server_raise_or_break_what_it_asserts_of_itself(
    role: Role, messages: list[tuple[str, Any]]
) -> None:
    """A server that is lied to may believe the wrong thing; it does not fall over."""
    options = evolve(Server().raft.options, pre_vote=role is Role.PRE_CANDIDATE)
    server = Server(options=options)
    server.observer = Blind()
    if role is Role.LEADER:
        server.lead()
    elif role is not Role.FOLLOWER:
        server.time_out()
    for peer, message in messages:
        server.feed(Received(peer, message))


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("heartbeat_interval_ns", 0, ValueError),
        ("heartbeat_interval_ns", 1.5, TypeError),
        ("heartbeat_interval_ns", 10**9, ValueError),
        ("election_timeout_min_ns", 1, ValueError),
        ("election_timeout_max_ns", 5, ValueError),
        ("pre_vote", 1, TypeError),
        ("max_message_entries", 0, ValueError),
        ("max_inflight_bytes", "many", TypeError),
        ("trailing_entries", -1, ValueError),
        ("snapshot_factor", -1, ValueError),
        ("catch_up_rounds", 0, ValueError),
    ],
)
def test_options_that_make_no_sense_are_refused(field: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{field}|election_timeout_min_ns"):
        RaftOptions(**{field: value})


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Command("text"), TypeError),  # type: ignore[arg-type]
        (lambda: Command(b"", -1), ValueError),
        (lambda: Command(b"", 1, 2**63), ValueError),
        (lambda: OpenSession(0), ValueError),
        (lambda: Proposal(1, NoOp()), TypeError),  # type: ignore[arg-type]
        (lambda: AddVoter(""), ValueError),
        (lambda: AddVoter(7), TypeError),  # type: ignore[arg-type]
    ],
)
def test_requests_that_make_no_sense_cannot_be_made(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()
