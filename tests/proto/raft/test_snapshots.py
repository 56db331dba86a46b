"""Snapshots and compaction (thesis 5, paper 7)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.raft import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Configuration,
    ConfigurationChanged,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    RaftOptions,
    Received,
    Restore,
    Role,
    SaveSnapshot,
    Send,
    Snapshot,
    SnapshotReply,
    SnapshotTaken,
    Unreachable,
)
from casty_proto.raft.progress import REPLICATE, SNAPSHOT
from casty_proto.raft.sessions import Sessions
from casty_proto.raft.snapshot import Incoming, Outgoing, assemble

from .bench import ELECTION, HEARTBEAT, OPTIONS, PLAIN, Cluster
from .script import Server, applied, entries, notes, sends

TRIO = Configuration(("n1", "n2", "n3"))
BARE = evolve(OPTIONS, trailing_entries=0)
BARE_AND_PLAIN = evolve(PLAIN, trailing_entries=0)
"""Nothing is kept that a snapshot covers."""


def snapshot(index: int, term: int, configuration: Configuration = TRIO, data: bytes = b"state") -> Snapshot:
    return Snapshot(index, term, configuration, Sessions().encode(), data)


def whole(term: int, one: Snapshot) -> InstallSnapshot:
    """A snapshot in one message."""
    outgoing = Outgoing(one)
    return InstallSnapshot(term, one.index, one.term, outgoing.size, 0, outgoing.chunk(outgoing.size))


# At the follower -----------------------------------------------------------------------------------------------------


def test_r_101_an_empty_follower_begins_again_from_a_snapshot() -> None:
    server = Server(voters="", term=11)
    effects = server.feed(Received("n2", whole(11, snapshot(11, 11))))
    log = server.raft.log
    assert (log.last_index, log.term(11), server.raft.commit) == (11, 11, 11)
    assert server.raft.configurations.latest == TRIO
    assert Restore(11, 11, b"state") in effects
    assert ConfigurationChanged(11, TRIO, True) in effects
    assert sends(effects)[-1] == Send("n2", AppendAccepted(11, 11))
    assert server.state == (Role.FOLLOWER, 11)
    assert server.tell("n2", whole(11, snapshot(11, 11))) == [Send("n2", AppendAccepted(11, 11))]


def test_r_101_and_r_114_it_is_acknowledged_when_it_is_durable() -> None:
    server = Server(term=5)
    server.tell("n2", Heartbeat(5, 0, 1))
    server.held = True
    message = whole(5, snapshot(9, 4))
    assert server.tell("n2", message) == [Send("n2", SnapshotReply(5, 9, message.size))]
    assert sends(server.sync()) == [Send("n2", AppendAccepted(5, 9))]


def test_r_102_a_snapshot_of_what_is_in_the_log_commits_it_and_discards_nothing() -> None:
    """Paper 7: entries following the snapshot are still valid and must be retained."""
    server = Server(terms=(1, 1, 1), term=1)
    server.commit(1)
    assert server.tell("n2", whole(1, snapshot(1, 1))) == [Send("n2", AppendAccepted(1, 1))]
    effects = server.feed(Received("n2", whole(1, snapshot(2, 1))))
    assert applied(effects) == [(2, 1)]
    assert sends(effects) == [Send("n2", AppendAccepted(1, 2))]
    assert (server.raft.commit, server.terms, server.raft.snapshot) == (2, [1, 1, 1], None)


def test_r_103_a_log_that_contradicts_the_snapshot_or_ends_before_it_is_replaced() -> None:
    for terms in [(1, 1), (1, 1, 1, 1, 1, 1)]:
        server = Server(terms=terms, term=3)
        server.tell("n2", whole(3, snapshot(5, 3)))
        log = server.raft.log
        assert (log.base_index, log.base_term, len(log)) == (5, 3, 0)
        assert SaveSnapshot(snapshot(5, 3)) in server.disk.records


def test_r_104_a_snapshot_of_what_is_committed_changes_nothing_and_the_leader_learns_that() -> None:
    server = Server(terms=(1, 1, 1), term=2)
    server.commit(3)
    assert server.tell("n2", whole(2, snapshot(2, 1))) == [Send("n2", AppendAccepted(2, 3))]
    assert (server.raft.commit, server.terms) == (3, [1, 1, 1])


def test_r_108_the_configuration_comes_with_the_snapshot_whatever_the_role_was() -> None:
    for configuration in [Configuration(("n2",), ("n1",)), Configuration(("n1", "n2")), Configuration(("n2", "n3"))]:
        server = Server(term=2)
        server.tell("n2", whole(2, snapshot(5, 1, configuration)))
        assert server.raft.configurations.latest == configuration


def test_r_110_entries_from_before_the_base_are_taken_for_known() -> None:
    server = Server(term=2)
    server.tell("n2", whole(2, snapshot(5, 1)))
    assert server.tell("n2", AppendEntries(2, 2, 1, entries(3, 1, 1, 1, 2), 0)) == [Send("n2", AppendAccepted(2, 6))]
    assert server.terms == [2]
    assert server.tell("n2", AppendEntries(2, 1, 1, (), 0)) == [Send("n2", AppendAccepted(2, 6))]


# In chunks -----------------------------------------------------------------------------------------------------------


def chunks(one: Snapshot, size: int, term: int = 2) -> list[InstallSnapshot]:
    outgoing = Outgoing(one)
    made = []
    while outgoing.offset < outgoing.size:
        data = outgoing.chunk(size)
        made.append(InstallSnapshot(term, one.index, one.term, outgoing.size, outgoing.offset, data))
        outgoing.offset += len(data)
    return made


def test_r_109_chunks_in_order_make_a_snapshot() -> None:
    server = Server(term=2)
    parts = chunks(snapshot(9, 2, data=b"x" * 500), 100)
    assert len(parts) > 5
    for part in parts[:-1]:
        received = part.offset + len(part.data)
        assert server.tell("n2", part) == [Send("n2", SnapshotReply(2, 9, received))]
    assert server.tell("n2", parts[-1])[-1] == Send("n2", AppendAccepted(2, 9))
    assert server.raft.snapshot == snapshot(9, 2, data=b"x" * 500)


def test_r_109_a_chunk_that_is_missing_or_comes_twice_does_no_harm() -> None:
    server = Server(term=2)
    parts = chunks(snapshot(9, 2, data=b"abc" * 200), 100)
    server.tell("n2", parts[0])
    assert server.tell("n2", parts[2]) == [Send("n2", SnapshotReply(2, 9, 100))]
    assert server.tell("n2", parts[0]) == [Send("n2", SnapshotReply(2, 9, 100))]
    assert server.tell("n2", parts[1]) == [Send("n2", SnapshotReply(2, 9, 200))]
    for part in parts[1:]:
        server.tell("n2", part)
    assert server.raft.snapshot is not None
    assert server.raft.snapshot.data == b"abc" * 200


def test_r_109_another_leader_or_another_snapshot_begins_from_the_start() -> None:
    """Two servers' snapshots of one index need not be the same bytes."""
    server = Server(term=2)
    old, new = chunks(snapshot(9, 2, data=b"x" * 400), 100), chunks(snapshot(9, 2, data=b"y" * 400), 100, term=3)
    server.tell("n2", old[0])
    assert server.tell("n3", new[1]) == [Send("n3", SnapshotReply(3, 9, 0))]
    for part in new:
        server.tell("n3", part)
    assert server.raft.snapshot is not None
    assert server.raft.snapshot.data == b"y" * 400


@given(st.binary(max_size=300), st.integers(1, 80), st.randoms(use_true_random=False))
def test_r_109_whatever_the_order_the_chunks_make_the_same_bytes(data: bytes, size: int, rng: Random) -> None:
    one = snapshot(9, 2, data=data)
    parts = chunks(one, size)
    incoming = Incoming(9, 2, parts[0].size)
    while not incoming.is_complete:
        wanted = [part for part in parts if part.offset == incoming.received]
        part = rng.choice([*wanted, rng.choice(parts)])
        incoming.add(part.offset, part.data)
    assert assemble(9, 2, incoming.stream()) == one


NOT_SNAPSHOTS = [
    b"",
    b"\0\0\0\1",
    b"\xff" * 40,
    b"\0\0\0\1\0\0\0\3abc",
    Outgoing(snapshot(5, 1, Configuration())).chunk(999),
]


@pytest.mark.parametrize("stream", NOT_SNAPSHOTS)
def test_bytes_that_are_no_snapshot_are_dropped(stream: bytes) -> None:
    server = Server(term=2)
    effects = server.feed(Received("n2", InstallSnapshot(2, 9, 1, len(stream), 0, stream)))
    assert len(notes(effects)) == 1
    assert server.raft.log.last_index == 0


# At the leader -------------------------------------------------------------------------------------------------------


def compacted(options: RaftOptions = BARE_AND_PLAIN, data: bytes = b"state") -> Server:
    """A leader whose log begins after 11, with a follower n2 that has 1 and one n3 that has everything."""
    server = Server(terms=(1,) * 10, term=1, options=options)
    server.lead()
    server.tell("n3", AppendAccepted(2, 11))
    server.feed(SnapshotTaken(11, data))
    assert server.raft.log.base_index == 11
    return server


def progress(server: Server, peer: str = "n2") -> Any:
    assert server.raft.lead is not None
    return server.raft.lead.progress[peer]


def test_r_105_a_follower_that_lacks_what_was_compacted_gets_a_snapshot_and_nothing_else() -> None:
    server = compacted()
    sent = server.tell("n2", AppendRejected(2, 10, 1, 1))
    assert [type(send.message) for send in sent] == [InstallSnapshot]
    assert progress(server).state is SNAPSHOT
    assert [send.to for send in sends(server.propose(b"x"))] == ["n3"]
    assert server.tell("n2", AppendRejected(2, 10, 1, 1)) == []


def test_r_106_when_it_has_the_snapshot_replication_goes_on_after_it() -> None:
    server = compacted()
    (sent,) = server.tell("n2", AppendRejected(2, 10, 1, 1))
    server.propose(b"x")
    assert isinstance(sent.message, InstallSnapshot)
    assert server.tell("n2", SnapshotReply(2, 11, sent.message.size)) == []
    (sent,) = server.tell("n2", AppendAccepted(2, 11))
    assert sent.message == AppendEntries(2, 11, 2, server.raft.log.slice(12, 12), 11)
    assert (progress(server).state, progress(server).match, progress(server).next) == (REPLICATE, 11, 13)


def test_r_106_an_older_snapshot_will_do_if_the_log_goes_on_from_it() -> None:
    server = compacted()
    server.tell("n2", AppendRejected(2, 10, 1, 1))
    server.propose(b"x")
    server.tell("n3", AppendAccepted(2, 12))
    progress(server).outgoing.index = 12
    (sent,) = server.tell("n2", AppendAccepted(2, 11))
    assert sent.message == AppendEntries(2, 11, 2, server.raft.log.slice(12, 12), 12)


def test_r_106_another_snapshot_follows_if_the_log_was_compacted_again_meanwhile() -> None:
    server = compacted()
    server.tell("n2", AppendRejected(2, 10, 1, 1))
    server.propose(b"x")
    server.tell("n3", AppendAccepted(2, 12))
    server.feed(SnapshotTaken(12, b"newer"))
    (sent,) = server.tell("n2", AppendAccepted(2, 11))
    assert isinstance(sent.message, InstallSnapshot)
    assert sent.message.index == 12


def test_r_109_one_chunk_at_a_time_and_one_that_was_lost_again_after_a_heartbeat() -> None:
    server = compacted(evolve(PLAIN, trailing_entries=0, snapshot_chunk_bytes=40), b"x" * 100)
    server.time_out()
    (first,) = server.tell("n2", AppendRejected(2, 10, 1, 1))
    assert isinstance(first.message, InstallSnapshot)
    server.now += HEARTBEAT - 1
    assert server.tell("n2", HeartbeatReply(2, 1)) == []
    server.time_out()
    assert server.tell("n2", HeartbeatReply(2, 2)) == [first]
    (second,) = server.tell("n2", SnapshotReply(2, 11, 40))
    assert isinstance(second.message, InstallSnapshot)
    assert second.message.offset == 40
    assert server.tell("n2", SnapshotReply(2, 11, 40)) == []
    assert server.tell("n2", SnapshotReply(2, 11, 0)) == []
    server.now += HEARTBEAT
    assert server.tell("n2", HeartbeatReply(2, 2)) == [first]
    (third,) = server.tell("n2", SnapshotReply(2, 11, 80))
    assert isinstance(third.message, InstallSnapshot)
    assert third.message.offset == 80


def test_r_109_a_transfer_goes_on_where_it_was_after_the_follower_was_cut_off() -> None:
    options = evolve(BARE, snapshot_chunk_bytes=50)
    cluster = Cluster("n1", "n2", "n3", options=options).elect("n1")
    cluster.isolate("n3")
    cluster.commit("n1", *[b"x" * 20] * 20)
    cluster.snapshot("n1")
    cluster.heal()
    cluster.time_out("n1")
    while cluster["n3"]._incoming is None or cluster["n3"]._incoming.received < 200:
        cluster.deliver(cluster.wires.pop(0))
    cluster.wires.clear()
    cluster.isolate("n3")
    cluster.advance(ELECTION // 2)
    cluster.heal()
    before = len(cluster.effects)
    cluster.advance(2 * HEARTBEAT)
    offsets = [
        effect.message.offset
        for _, effect in cluster.effects[before:]
        if isinstance(effect, Send) and isinstance(effect.message, InstallSnapshot)
    ]
    assert min(offsets) >= 150
    cluster.converged()


def test_r_112_a_lost_connection_does_not_begin_a_transfer_again() -> None:
    server = compacted()
    server.tell("n2", AppendRejected(2, 10, 1, 1))
    assert server.feed(Unreachable("n2")) == []
    assert progress(server).state is SNAPSHOT


@pytest.mark.parametrize("trailing", [0, 3, 200])
def test_r_107_a_slow_follower_catches_up_through_a_snapshot_or_the_log(trailing: int) -> None:
    cluster = Cluster("n1", "n2", "n3", options=evolve(OPTIONS, trailing_entries=trailing)).elect("n1")
    cluster.isolate("n3")
    for number in range(101):
        cluster.propose("n1", b"%d=%d" % (number % 7, number))
        cluster.settle()
    cluster.snapshot("n1")
    cluster.heal()
    cluster.advance(2 * HEARTBEAT)
    cluster.commit("n1", b"last")
    cluster.advance(HEARTBEAT)
    cluster.converged()
    assert cluster["n3"].commit == 103
    installed = any(name == "n3" and isinstance(effect, Restore) for name, effect in cluster.effects)
    assert installed is (trailing < 200)
