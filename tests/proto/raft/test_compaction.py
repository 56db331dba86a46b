"""When snapshots are taken, and what may be dropped then (thesis 5.1)."""

from __future__ import annotations

from attrs import evolve

from casty_proto.raft import (
    Base,
    Configuration,
    OpenSession,
    Proposal,
    Propose,
    Snapshot,
    SnapshotTaken,
    TakeSnapshot,
)
from casty_proto.raft.sessions import Sessions

from .bench import PLAIN
from .script import Server, notes

BARE_AND_PLAIN = evolve(PLAIN, trailing_entries=0)
SINGLE = Configuration(("n1",))


def snapshot(index: int, data: bytes = b"state") -> Snapshot:
    return Snapshot(index, 1, SINGLE, Sessions().encode(), data)


def test_thesis_5_1_a_snapshot_is_asked_for_after_so_many_entries_and_compacts_when_it_is_durable() -> None:
    server = Server(voters="n1", options=evolve(PLAIN, snapshot_entries=10, snapshot_factor=0, trailing_entries=4))
    server.lead()
    for number in range(8):
        assert TakeSnapshot(number + 2) not in server.propose(b"x")
    assert TakeSnapshot(10) in server.propose(b"x")
    assert TakeSnapshot(11) not in server.propose(b"x")
    server.held = True
    server.feed(SnapshotTaken(10, b"state"))
    assert server.raft.log.base_index == 0
    server.held = False
    server.sync()
    assert (server.raft.log.base_index, server.raft.log.last_index) == (6, 11)
    assert Base(6, 1, SINGLE) in server.disk.records


def test_thesis_5_1_nothing_is_dropped_before_the_snapshot_that_covers_it_is_durable() -> None:
    server = Server(voters="n1", options=BARE_AND_PLAIN)
    server.lead()
    server.propose(b"x")
    server.held = True
    server.propose(b"y")
    server.feed(SnapshotTaken(2, b"state"))
    server.sync()
    assert server.raft.log.base_index == 0
    server.sync()
    assert server.raft.log.base_index == 2


def test_r_111_a_snapshot_waits_until_the_log_is_several_times_as_large_as_the_last() -> None:
    """Thesis 5.1.3: four times the previous snapshot, so that little of the disk's time goes into snapshots."""
    server = Server(voters="n1", options=evolve(PLAIN, snapshot_entries=2, snapshot_factor=4))
    server.lead()
    effects = server.propose(b"x" * 36)
    assert TakeSnapshot(2) in effects
    server.feed(SnapshotTaken(2, b"s" * 250))
    asked = [number for number in range(3, 40) if TakeSnapshot(number) in server.propose(b"x" * 36)]
    assert asked == [12]


def test_a_snapshot_that_could_not_be_taken_is_asked_for_again_later() -> None:
    server = Server(voters="n1", options=evolve(PLAIN, snapshot_entries=5, snapshot_factor=0))
    server.lead()
    asked = []
    for _ in range(14):
        for effect in server.propose(b"x"):
            if isinstance(effect, TakeSnapshot):
                asked.append(effect.index)
                server.feed(SnapshotTaken(effect.index, None))
    assert asked == [5, 10, 15]


def test_what_the_machine_adds_to_a_snapshot_is_of_the_moment_in_which_it_asked() -> None:
    """The answer may come when much more has been applied."""
    server = Server(voters="n1", options=evolve(PLAIN, snapshot_entries=3, snapshot_factor=0))
    server.lead()
    server.feed(Propose((Proposal("o", OpenSession(10**12)),)))
    assert TakeSnapshot(3) in server.propose(b"x")
    server.feed(Propose((Proposal("p", OpenSession(10**12)),)))
    server.feed(SnapshotTaken(3, b"state"))
    assert server.raft.snapshot is not None
    assert len(Sessions.decode(server.raft.snapshot.sessions)) == 1
    assert len(server.raft.sessions) == 2


def test_a_snapshot_of_another_moment_than_the_one_that_was_asked_for_is_not_used() -> None:
    server = Server(voters="n1", options=evolve(PLAIN, snapshot_entries=3, snapshot_factor=0))
    server.lead()
    assert TakeSnapshot(3) in server.propose(b"x", b"y")
    server.propose(b"z")
    for index in (2, 4):
        assert len(notes(server.feed(SnapshotTaken(index, b"wrong")))) == 1
    server.feed(SnapshotTaken(3, b"right"))
    assert server.raft.snapshot == snapshot(3, b"right")


def test_a_snapshot_that_nobody_can_use_is_noted() -> None:
    server = Server(voters="n1", options=PLAIN)
    server.lead()
    server.propose(b"x", b"y")
    for index in (1, 9):
        assert len(notes(server.feed(SnapshotTaken(index, b"state")))) == 1
    server.feed(SnapshotTaken(3, b"state"))
    assert len(notes(server.feed(SnapshotTaken(3, b"again")))) == 1
    assert server.raft.snapshot == snapshot(3)
