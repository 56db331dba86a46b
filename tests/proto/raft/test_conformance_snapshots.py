"""The published list on snapshots: what the other files of this folder leave open (paper 7, thesis 5)."""

from __future__ import annotations

from attrs import evolve

from casty_proto.machine import Note, Severity
from casty_proto.raft import (
    Append,
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Ballot,
    Base,
    Changed,
    ChangeMembership,
    Configuration,
    HeartbeatReply,
    InstallSnapshot,
    RaftOptions,
    Received,
    Remove,
    Restore,
    Role,
    SaveSnapshot,
    Send,
    Snapshot,
    SnapshotTaken,
)
from casty_proto.raft.progress import SNAPSHOT
from casty_proto.raft.sessions import Sessions
from casty_proto.raft.snapshot import Outgoing

from .bench import ELECTION, HEARTBEAT, OPTIONS, PLAIN, Cluster, Packet
from .script import Server, entries, sends

TRIO = Configuration(("n1", "n2", "n3"))
BARE = evolve(PLAIN, trailing_entries=0)


def whole(term: int, index: int, snapshot_term: int) -> InstallSnapshot:
    """A snapshot in one message."""
    outgoing = Outgoing(Snapshot(index, snapshot_term, TRIO, Sessions().encode(), b"state"))
    return InstallSnapshot(term, index, snapshot_term, outgoing.size, 0, outgoing.chunk(outgoing.size))


def compacted() -> Server:
    """A leader whose log begins after 11. n3 has everything, n2 has not said anything."""
    server = Server(terms=(1,) * 10, term=1, options=BARE)
    server.lead()
    server.tell("n3", AppendAccepted(2, 11))
    server.feed(SnapshotTaken(11, b"state"))
    assert server.raft.log.base_index == 11
    return server


def test_r_101_a_server_that_was_given_a_snapshot_waits_before_it_campaigns() -> None:
    server = Server(voters="", term=11)
    server.now = 50 * ELECTION
    server.tell("n2", whole(11, 11, 11))
    deadline = server.raft.deadline()
    assert deadline is not None
    assert deadline >= server.now + ELECTION
    server.now = deadline
    server.wake()
    assert server.state == (Role.CANDIDATE, 12)


def test_r_102_what_follows_a_snapshot_in_the_log_is_still_acknowledged_and_committed() -> None:
    """Paper 7: F has [1,1,1], the snapshot is (2,t1), and the entry 3 is retained."""
    server = Server(terms=(1, 1, 1), term=1)
    server.tell("n2", whole(1, 2, 1))
    assert server.tell("n2", AppendEntries(1, 3, 1, (), 3)) == [Send("n2", AppendAccepted(1, 3))]
    assert (server.raft.commit, server.terms) == (3, [1, 1, 1])


def test_r_105_a_follower_that_is_silent_is_sent_no_snapshot() -> None:
    """[etcd] Only its rejection says that it needs one."""
    server = compacted()
    for _ in range(5):
        assert [send for send in server.time_out() if isinstance(send.message, InstallSnapshot)] == []
        server.tell("n3", HeartbeatReply(2, server.raft.lead.round if server.raft.lead else 0))
    (sent,) = server.tell("n2", AppendRejected(2, 10, 1, 1))
    assert isinstance(sent.message, InstallSnapshot)


def test_r_105_a_follower_that_only_lacks_what_is_in_the_log_gets_no_snapshot() -> None:
    server = compacted()
    server.propose(b"x")
    server.tell("n3", AppendAccepted(2, 12))
    sent = server.tell("n2", AppendAccepted(2, 11))
    assert [type(send.message) for send in sent] == [AppendEntries]


def test_r_106_a_rejection_during_a_snapshot_is_an_old_one_and_changes_nothing() -> None:
    """[etcd] A pending snapshot ends with an acknowledgement. It does not fail: the chunk is asked for again."""
    server = compacted()
    server.tell("n2", AppendRejected(2, 10, 1, 1))
    assert server.raft.lead is not None
    progress = server.raft.lead.progress["n2"]
    for rejected in (0, 5, 10):
        assert server.tell("n2", AppendRejected(2, rejected, 0, 0)) == []
        assert (progress.state, progress.match) == (SNAPSHOT, 0)


def test_r_106_an_acknowledgement_beyond_the_snapshot_is_as_good() -> None:
    """[etcd] Pending at 11, acknowledged 12: replication goes on at 13."""
    server = compacted()
    server.tell("n2", AppendRejected(2, 10, 1, 1))
    server.propose(b"x", b"y")
    sent = server.tell("n2", AppendAccepted(2, 12))
    assert [send.message for send in sent if isinstance(send.message, AppendEntries)] == [
        AppendEntries(2, 12, 2, server.raft.log.slice(13, 13), 12)
    ]


def test_r_107_a_follower_that_was_paused_with_two_messages_under_way_converges_at_18() -> None:
    """[etcd] Four proposals, and compaction to 17 at the leader, before it gets the two."""
    cluster = Cluster("n1", "n2", "n3", options=evolve(OPTIONS, trailing_entries=0)).elect("n1")
    cluster.commit("n1", *[b"%d" % number for number in range(11)])
    assert cluster.commits() == [12, 12, 12]
    kept: list[Packet] = []

    def pause(packet: Packet) -> bool:
        if packet.target == "n3":
            kept.append(packet)
        return packet.target == "n3"

    cluster.drop = pause
    for data in (b"first", b"second"):
        cluster.commit("n1", data)
    late = [packet for packet in kept if isinstance(packet.message, AppendEntries)]
    assert len(late) == 2
    cluster.commit("n1", b"a", b"b", b"c")
    cluster.snapshot("n1")
    assert cluster["n1"].log.base_index == 17
    cluster.commit("n1", b"d")
    cluster.heal()
    for packet in late:
        cluster.deliver(packet)
    cluster.settle()
    cluster.advance(3 * HEARTBEAT)
    cluster.converged()
    assert cluster.commits() == [18, 18, 18]


def test_r_108_a_snapshot_has_the_configuration_of_its_index_and_not_one_that_is_not_committed() -> None:
    server = Server(options=BARE)
    server.lead()
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(1, 1))
    server.feed(ChangeMembership("c", (Remove("n3"),)))
    server.feed(SnapshotTaken(1, b"state"))
    assert server.raft.snapshot is not None
    assert (server.raft.snapshot.index, server.raft.snapshot.configuration) == (1, TRIO)
    assert Base(1, 1, TRIO) in server.disk.records
    assert server.raft.configurations.latest == Configuration(("n1", "n2"))
    assert server.raft.configurations.before_latest == TRIO
    restarted = Server(records=tuple(server.disk.records), options=BARE)
    assert restarted.raft.configurations.latest == Configuration(("n1", "n2"))


def test_r_108_a_configuration_that_is_compacted_is_that_of_the_snapshot_and_of_whoever_gets_it() -> None:
    cluster = Cluster("n1", "n2", "n3", "n4", options=evolve(OPTIONS, trailing_entries=0)).elect("n1")
    cluster.isolate("n3")
    request = cluster.change("n1", Remove("n4"))
    cluster.settle()
    assert isinstance(cluster.replies[request], Changed)
    cluster.snapshot("n1")
    cluster.heal()
    cluster.advance(3 * HEARTBEAT)
    assert [name for name, effect in cluster.effects if isinstance(effect, Restore)] == ["n3"]
    assert cluster["n3"].configurations.latest == TRIO


def test_r_110_what_is_below_the_base_is_accepted_after_a_restart_too() -> None:
    """The base is what the disk says it is; a leader that begins below it is not rejected for ever."""
    records = (
        Base(0, 0, TRIO),
        Ballot(2, None),
        SaveSnapshot(Snapshot(5, 1, TRIO, Sessions().encode(), b"")),
        Append(entries(6, 2)),
    )
    server = Server(records=records)
    assert server.raft.log.base_index == 5
    message = AppendEntries(2, 3, 1, entries(4, 1, 1, 2, 2), 0)
    assert server.tell("n2", message) == [Send("n2", AppendAccepted(2, 7))]
    assert server.terms == [2, 2]


def test_r_109_a_snapshot_whose_size_changes_on_the_way_begins_again() -> None:
    """Chunks of two streams are never put together, though index and term are the same."""
    server = Server(term=2)
    long, short = whole(2, 9, 2), whole(2, 9, 2)
    long = evolve(long, size=long.size + 5, data=long.data[:20])
    assert server.tell("n2", long)[-1].message.received == 20  # type: ignore[union-attr]
    effects = server.feed(Received("n2", short))
    assert sends(effects)[-1] == Send("n2", AppendAccepted(2, 9))
    assert [effect for effect in effects if isinstance(effect, Note) and effect.severity is Severity.ERROR] == []


def test_r_111_the_defaults_keep_the_proportions_of_the_thesis() -> None:
    """Thesis 5.1.3: a snapshot when the log has four times the size of the last one; [hashicorp] after 8192 entries."""
    options = RaftOptions()
    assert (options.snapshot_factor, options.snapshot_entries) == (4, 8192)
    assert options.trailing_entries < options.snapshot_entries
