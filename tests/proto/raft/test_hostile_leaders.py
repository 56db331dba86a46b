"""What no leader can have sent is dropped with a note, and nothing is done about it: not even its sender is heard."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest
from attrs import evolve

from casty_proto.machine import Severity
from casty_proto.raft import (
    Append,
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Ballot,
    Base,
    Command,
    Configuration,
    Entry,
    Heartbeat,
    InstallSnapshot,
    NoOp,
    OpenSession,
    Payload,
    Received,
    Record,
    Send,
    Snapshot,
    SnapshotReply,
)
from casty_proto.raft.configuration import may_follow
from casty_proto.raft.entries import NOT_ENTRIES, TIME_MAX, examined
from casty_proto.raft.journal import MAX_WRITES
from casty_proto.raft.sessions import Sessions
from casty_proto.raft.snapshot import INDEX_MAX, Outgoing

from .script import Server, entries, entry, no_op, notes, sends

TRIO = Configuration(("n1", "n2", "n3"))
TRIO_AND_1 = Configuration(("n1", "n2", "n3", "n4"))
TRIO_AND_2 = Configuration(("n1", "n2", "n3", "n4", "n5"))
OTHERS = Configuration(("n7", "n8", "n9"))


def at(index: int, term: int, payload: Payload | None = None, time_ns: int = 0) -> Entry:
    return Entry(index, term, payload or NoOp(), time_ns)


def follower(*made: Entry, term: int = 3, commit: int = 0) -> Server:
    """A server of `TRIO` with these entries, which has heard nobody since it started."""
    records: list[Record] = [Base(0, 0, TRIO), Ballot(term, None)]
    if made:
        records.append(Append(made))
    server = Server(records=tuple(records))
    if commit:
        server.commit(commit)
    return server


def everything(server: Server) -> tuple[Any, ...]:
    raft, journal = server.raft, server.raft.journal
    received = None if raft._incoming is None else raft._incoming.received
    return (
        (raft.role, raft.term, raft.vote, raft.leader, raft.commit, raft._matched, received),
        (raft._heard_at, raft.deadline(), journal.issued, journal.durable, list(server.disk.records)),
        (server.terms, raft.log.time_ns, raft.configurations.latest, raft.sessions.encode(), raft.snapshot),
    )


def assert_dropped(server: Server, message: Any, peer: str = "n2") -> None:
    """There is a note and nothing else, and everything is as it was."""
    before = everything(server)
    server.now += 1
    effects = server.feed(Received(peer, message))
    assert [note.severity for note in notes(effects)] == [Severity.ERROR]
    assert len(effects) == 1
    assert everything(server) == before


# Entries in themselves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prev_term", "made"),
    [
        (3, (at(4, 2),)),
        (4, ()),
        (2, (at(4, 3), at(5, 2))),
        (2, (at(4, 3, time_ns=5), at(5, 3, time_ns=4))),
        (2, (at(4, 3, time_ns=-1),)),
        (2, (at(4, 3, time_ns=TIME_MAX + 1),)),
        (2, (at(4, 3, TRIO), at(5, 3, TRIO_AND_2))),
        (2, (at(4, 3, TRIO), no_op(5, 3), at(6, 3, OTHERS))),
    ],
    ids=["term", "prev term", "terms", "time", "negative time", "end of time", "two voters", "other voters"],
)
def test_what_cannot_stand_in_a_log_is_rubbish_wherever_it_is_to_stand(prev_term: int, made: tuple[Entry, ...]) -> None:
    """Along a log terms and the clock never fall, and one voter moves at a time (paper 5.3; thesis 4.1, 6.3).

    It makes no difference whether this server has the entry before them.
    """
    assert examined(made, 4, prev_term, 3) == NOT_ENTRIES
    for own in [(), (1, 2, prev_term)]:
        assert_dropped(Server(terms=own, term=4), AppendEntries(3, 3, prev_term, made, 0))


def test_entries_that_can_stand_in_a_log_are_examined_for_configurations() -> None:
    made = (at(4, 2, TRIO, 7), at(5, 2, None, 7), at(6, 3, TRIO_AND_1, TIME_MAX), at(7, 3, TRIO_AND_2, TIME_MAX))
    assert examined(made, 4, 2, 3) == 3
    assert examined((), 4, 3, 3) == 0


def test_the_first_configuration_may_be_any_for_a_server_that_knows_none() -> None:
    assert may_follow(Configuration(), TRIO_AND_2)
    assert may_follow(TRIO, TRIO_AND_1)
    assert may_follow(TRIO_AND_1, TRIO)
    assert not may_follow(TRIO, OTHERS)
    assert not may_follow(TRIO, Configuration((), ("n1",)))
    server = Server(voters="")
    message = AppendEntries(3, 0, 0, (no_op(1, 1), at(2, 1, TRIO_AND_2)), 0)
    assert server.tell("n2", message) == [Send("n2", AppendAccepted(3, 2))]


# Entries after ours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [0, 1, 2])
def test_the_clock_of_an_entry_is_not_before_that_of_the_entry_before_it(commit: int) -> None:
    """Thesis 6.3. Also where that one is committed, and where it comes in the same message as something else."""
    own = (at(1, 1, time_ns=10), at(2, 1, time_ns=20))
    for message in [
        AppendEntries(3, 2, 1, (at(3, 3, time_ns=19),), 0),
        AppendEntries(3, 1, 1, (at(2, 1, time_ns=15), at(3, 3, time_ns=15)), 0),
    ]:
        assert_dropped(follower(*own, commit=commit), message)
    server = follower(*own, commit=commit)
    assert server.tell("n2", AppendEntries(3, 2, 1, (at(3, 3, time_ns=20),), 0)) == [Send("n2", AppendAccepted(3, 3))]


def test_the_clock_of_an_entry_is_not_before_that_of_a_snapshot() -> None:
    server = follower()
    server.tell("n2", whole(3, snapshot(5, 2, time_ns=50)))
    assert_dropped(server, AppendEntries(3, 5, 2, (at(6, 3, time_ns=49),), 0))
    assert server.tell("n2", AppendEntries(3, 5, 2, (at(6, 3, time_ns=50),), 0)) == [Send("n2", AppendAccepted(3, 6))]


@pytest.mark.parametrize("commit", [0, 2])
def test_a_configuration_is_at_most_one_voter_apart_from_the_one_that_it_follows(commit: int) -> None:
    """Thesis 4.1, Figure 4.3. In the message nothing is wrong; only with what stands in the log before it."""
    own = (no_op(1, 1), at(2, 1, TRIO_AND_1), no_op(3, 1))
    for configuration in [OTHERS, Configuration(("n1", "n2"))]:
        assert_dropped(follower(*own, commit=commit), AppendEntries(3, 3, 1, (no_op(4, 3), at(5, 3, configuration)), 0))
    server = follower(*own, commit=commit)
    sent = server.tell("n2", AppendEntries(3, 3, 1, (at(4, 3, TRIO_AND_2), at(5, 3, TRIO_AND_1)), 0))
    assert sent == [Send("n2", AppendAccepted(3, 5))]


def test_a_configuration_that_replaces_another_follows_the_one_before_that() -> None:
    """The own configuration at 2 is truncated, and has no say in what may stand in its place."""
    server = follower(no_op(1, 1), at(2, 1, TRIO_AND_1))
    assert_dropped(server, AppendEntries(3, 1, 1, (at(2, 3, TRIO_AND_2),), 0))
    assert server.tell("n2", AppendEntries(3, 1, 1, (at(2, 3, Configuration(("n1", "n2"))),), 0)) == [
        Send("n2", AppendAccepted(3, 2))
    ]


def test_where_the_logs_part_the_message_is_rejected_and_not_compared() -> None:
    """What the clock showed at an entry of ours says nothing about an entry that follows another one."""
    server = follower(at(1, 1, time_ns=10), at(2, 1, time_ns=20))
    assert server.tell("n2", AppendEntries(3, 2, 2, (at(3, 3, time_ns=5),), 0)) == [
        Send("n2", AppendRejected(3, 2, 2, 1))
    ]


def test_a_leader_of_an_earlier_term_is_told_so_whatever_it_sends() -> None:
    server = follower(at(1, 1, time_ns=10), commit=1)
    sent = server.tell("n3", AppendEntries(2, 1, 1, (at(2, 2, OTHERS, 1),), 0))
    assert [type(send.message).__name__ for send in sent] == ["Stale"]


def test_the_clock_of_a_leader_stops_where_its_entries_would_be_refused() -> None:
    """An entry may take the clock to its end. Sessions do not end then, and everything else goes on."""
    server = follower(at(1, 1, OpenSession(5), TIME_MAX))
    server.lead()
    server.now += 10**12
    server.propose(b"x")
    server.tell("n2", AppendAccepted(server.raft.term, 3))
    made = server.raft.log.slice(1, 3)
    assert [one.time_ns for one in made] == [TIME_MAX] * 3
    assert examined(made, 1, 0, server.raft.term) == 0
    assert 1 in server.raft.sessions


def test_what_waits_for_the_disk_is_bounded_whatever_a_leader_sends() -> None:
    """Each of these overwrites the last, so the log does not grow; what is beyond the bound is taken for lost."""
    server = Server(term=1)
    server.held = True
    for term in range(2, MAX_WRITES):
        server.tell("n2", AppendEntries(term, 0, 0, entries(1, term), 0))
    assert len(server.disk.pending) <= MAX_WRITES + 1
    assert server.raft.leader == "n2"
    server.sync(len(server.disk.pending))
    term = server.raft.term
    assert server.tell("n2", AppendEntries(term, 0, 0, entries(1, term), 0)) == []
    assert sends(server.sync(len(server.disk.pending))) == [Send("n2", AppendAccepted(term, 1))]


# Snapshots -----------------------------------------------------------------------------------------------------------


def table(*numbers: int) -> bytes:
    return pack(f">{len(numbers)}Q", *numbers)


def snapshot(index: int, term: int, time_ns: int = 0, sessions: bytes | None = None) -> Snapshot:
    return Snapshot(index, term, TRIO, sessions if sessions is not None else table(time_ns, 0), b"state")


def whole(term: int, one: Snapshot) -> InstallSnapshot:
    outgoing = Outgoing(one)
    return InstallSnapshot(term, one.index, one.term, outgoing.size, 0, outgoing.chunk(outgoing.size))


@pytest.mark.parametrize(
    ("index", "term"), [(9, 1), (2, 1), (2, 3), (1, 2)], ids=["below", "committed", "committed later", "base"]
)
def test_a_snapshot_whose_term_contradicts_what_is_committed_is_rubbish(index: int, term: int) -> None:
    """Leader Completeness, paper 5.4.3: every leader's log has it, and terms never fall along a log."""
    assert_dropped(follower(entry(1, 1), entry(2, 2), entry(3, 3), commit=2), whole(3, snapshot(index, term)))


def test_a_snapshot_of_what_was_compacted_is_not_of_a_later_term_than_the_base() -> None:
    server = follower()
    server.tell("n2", whole(3, snapshot(5, 2)))
    assert_dropped(server, whole(3, snapshot(4, 3)))
    assert server.tell("n2", whole(3, snapshot(4, 1))) == [Send("n2", AppendAccepted(3, 5))]


def test_a_snapshot_of_an_earlier_term_than_an_entry_that_is_not_committed_is_taken() -> None:
    """That entry is of a leader that was not followed; the next one has an older entry in its place."""
    server = follower(entry(1, 1), entry(2, 3), term=4)
    assert server.tell("n2", whole(4, snapshot(2, 2)))[-1] == Send("n2", AppendAccepted(4, 2))
    assert (server.raft.commit, server.raft.log.base_term) == (2, 2)


def test_a_snapshot_leaves_room_for_a_log_after_it() -> None:
    assert_dropped(follower(), whole(3, snapshot(INDEX_MAX + 1, 2)))
    raft = follower().raft
    raft.handle(Received("n2", whole(3, snapshot(INDEX_MAX, 2))), 0)
    assert raft.commit == INDEX_MAX


def test_a_snapshot_from_before_what_is_committed_by_the_clock_is_rubbish() -> None:
    assert_dropped(follower(at(1, 1, time_ns=50), commit=1), whole(3, snapshot(9, 2, time_ns=49)))


IMPOSSIBLE = [
    table(5, 0, 3, 10, 6, 1, 0),
    table(5, 0, 3, 10, 5, 4, 1, 2),
    table(5, 0, 10, 10, 5, 1, 0),
    table(2**63, 0),
]


@pytest.mark.parametrize("term", [3, 7])
@pytest.mark.parametrize("sessions", IMPOSSIBLE, ids=["used later", "not closed up", "not opened yet", "time"])
def test_a_snapshot_with_sessions_that_cannot_have_come_about_is_rubbish(sessions: bytes, term: int) -> None:
    """Session 10 cannot be in a snapshot of 9, because a session is named by the index where it was opened."""
    assert_dropped(follower(), whole(term, snapshot(9, 2, sessions=sessions)))


def test_a_snapshot_that_cannot_be_read_says_nothing_about_its_sender() -> None:
    assert_dropped(follower(), InstallSnapshot(7, 9, 3, 4, 0, b"abcd"))
    assert_dropped(follower(), InstallSnapshot(7, 9, 3, 0, 0, b""))


def test_r_109_a_snapshot_that_came_to_nothing_begins_again_from_the_start() -> None:
    """Its pieces are dropped with the one that showed it, and the answer to the next piece asks for the first."""
    server = follower()
    one = whole(3, snapshot(9, 2))
    broken = InstallSnapshot(3, 9, 2, one.size, 0, b"\xff" * (one.size - 1))
    server.tell("n2", broken)
    assert len(notes(server.feed(Received("n2", evolve(broken, offset=one.size - 1, data=b"x"))))) == 1
    assert server.raft._incoming is None
    again = evolve(one, offset=one.size - 1, data=one.data[-1:])
    assert server.tell("n2", again) == [Send("n2", SnapshotReply(3, 9, 0))]
    assert server.tell("n2", one)[-1] == Send("n2", AppendAccepted(3, 9))


def test_r_109_who_does_not_lead_cannot_spoil_a_snapshot_that_is_coming() -> None:
    server = follower()
    one = whole(3, snapshot(9, 2))
    server.tell("n2", evolve(one, data=one.data[:-1]))
    assert_dropped(server, evolve(one, offset=one.size - 1, data=b"x"), peer="n3")
    assert server.tell("n2", evolve(one, offset=one.size - 1, data=one.data[-1:]))[-1].message == AppendAccepted(3, 9)


def test_r_109_pieces_without_bytes_take_no_room() -> None:
    server = follower()
    one = whole(3, snapshot(9, 2))
    for _ in range(100):
        assert server.tell("n2", evolve(one, data=b"")) == [Send("n2", SnapshotReply(3, 9, 0))]
    assert server.raft._incoming is not None
    assert server.raft._incoming.stream() == b""


def test_r_114_while_a_snapshot_is_on_its_way_to_the_disk_no_other_is_received() -> None:
    server = follower()
    server.tell("n2", Heartbeat(3, 0, 1))
    server.held = True
    server.tell("n2", whole(3, snapshot(5, 2)))
    assert server.tell("n2", whole(3, snapshot(9, 2))) == []
    assert (server.raft.commit, server.raft._incoming, len(server.disk.pending)) == (5, None, 1)
    server.held = False
    server.sync(1)
    assert server.tell("n2", whole(3, snapshot(9, 2)))[-1] == Send("n2", AppendAccepted(3, 9))


# Heartbeats ----------------------------------------------------------------------------------------------------------


def test_a_heartbeat_that_commits_what_is_not_here_says_nothing_about_its_sender() -> None:
    assert_dropped(follower(entry(1, 1)), Heartbeat(3, 2, 1))
    assert_dropped(follower(entry(1, 1)), Heartbeat(9, 2, 1))


def test_who_does_not_lead_the_term_cannot_replace_who_does() -> None:
    server = follower(entry(1, 1))
    server.tell("n2", Heartbeat(3, 0, 1))
    for message in [Heartbeat(3, 1, 1), AppendEntries(3, 1, 1, (), 1), whole(3, snapshot(9, 2))]:
        assert_dropped(server, message, peer="n3")


def test_commands_of_any_session_may_be_sent() -> None:
    """What the entries say to the application is not for a follower to judge."""
    made = (at(1, 3, Command(b"", 77, 2**63 - 1, 2**63 - 1)), at(2, 3, OpenSession(2**63 - 1)))
    server = follower()
    assert server.tell("n2", AppendEntries(3, 0, 0, made, 2)) == [Send("n2", AppendAccepted(3, 2))]
    assert Sessions.decode(server.raft.sessions.encode(), 2).encode() == server.raft.sessions.encode()
