"""The published list on replication and commitment: what the other files of this folder leave open (paper 5.3, 5.4)."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.machine import Rejected
from casty_proto.raft import (
    Append,
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Ballot,
    Base,
    Committed,
    Configuration,
    Heartbeat,
    SaveSnapshot,
    Send,
    Snapshot,
)
from casty_proto.raft.entries import OVERHEAD
from casty_proto.raft.sessions import Sessions

from .bench import HEARTBEAT, PLAIN, Cluster, Packet, records_of
from .script import Server, entries, replies

TRIO = Configuration(("n1", "n2", "n3"))


def leader(*terms: int, term: int = 0) -> Server:
    """A leader whose followers have not said anything yet."""
    server = Server(terms=terms, term=term)
    server.lead()
    return server


class Doubling(Cluster):
    """Every message arrives twice."""

    def deliver(self, packet: Packet) -> None:
        super().deliver(packet)
        if packet.source != packet.target:
            super().deliver(packet)


def test_r_35_a_run_in_which_every_message_comes_twice_ends_as_if_it_came_once() -> None:
    """The same logs, the same commit index, and each entry executed once."""
    ends = []
    for kind in (Cluster, Doubling):
        cluster = kind("n1", "n2", "n3", options=PLAIN)
        cluster.elect("n1")
        cluster.commit("n1", b"a", b"b")
        cluster.elect("n2")
        for data in (b"c", b"d"):
            cluster.commit("n2", data)
        cluster.advance(HEARTBEAT)
        cluster.converged()
        ends.append((cluster.terms("n3"), cluster.commits(), cluster.executed("n3")))
    assert ends[0] == ends[1] == ([1, 1, 1, 2, 2, 2], [6, 6, 6], [b"a", b"b", b"c", b"d"])


def test_r_34_two_messages_that_change_places_end_in_equal_logs() -> None:
    """The second comes first and is rejected, the rejection is late, and the leader sends what is missing."""
    cluster = Cluster("n1", "n2", "n3", options=PLAIN).elect("n1")
    cluster.commit("n1", b"before")
    cluster.cut("n1", "n3")
    cluster.propose("n1", b"e1")
    cluster.propose("n1", b"e2")
    first, second = [packet for packet in cluster.wires if isinstance(packet.message, AppendEntries)]
    cluster.wires.clear()
    cluster.deliver(second)
    (rejection,) = cluster.wires
    assert isinstance(rejection.message, AppendRejected)
    cluster.wires.clear()
    cluster.deliver(first)
    cluster.settle()
    assert cluster["n1"].lead is not None
    progress = cluster["n1"].lead.progress["n2"]
    assert progress.match == 3
    cluster.deliver(rejection)
    assert (progress.match, progress.next) == (3, 5)
    cluster.heal()
    cluster.advance(2 * HEARTBEAT)
    cluster.converged()


def test_r_36_a_follower_that_acknowledges_nothing_is_sent_everything() -> None:
    """[etcd] Log [1,1], the no-op at 3; an acknowledgement of 0."""
    server = leader(1, 1, term=1)
    log = server.raft.log.slice(1, 3)
    assert server.tell("n2", AppendAccepted(2, 0)) == [Send("n2", AppendEntries(2, 0, 0, log, 0))]
    assert server.raft.lead is not None
    assert (server.raft.lead.progress["n2"].match, server.raft.lead.progress["n2"].next) == (0, 4)


def test_r_36_a_new_commit_index_is_told_to_all_who_are_up_to_date() -> None:
    """[etcd] The acknowledgement that commits leads to a message to both followers."""
    server = leader()
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(1, 1))
    server.held = True
    server.propose(b"x")
    assert server.tell("n3", AppendAccepted(1, 2)) == []
    sent = server.tell("n2", AppendAccepted(1, 2))
    assert sent == [Send(peer, Heartbeat(1, 2, 0)) for peer in ("n2", "n3")]


def test_r_37_the_hint_of_a_compacted_log_does_not_lead_below_its_base() -> None:
    """What is compacted is committed, and the leader has it: 1 to 5 are gone, 6 to 8 differ from the leader's."""
    snapshot = Snapshot(5, 3, TRIO, Sessions().encode(), b"")
    log = entries(6, 4, 4, 4)
    records = (Base(0, 0, TRIO), Ballot(4, None), SaveSnapshot(snapshot), Append(log))
    follower = Server("n2", records=records)
    assert follower.raft.log.base_index == 5
    leading = Server("n1", terms=(1, 1, 3, 3, 3, 5, 5, 5), term=5)
    first = next(send for send in leading.lead() if send.to == "n2")
    (rejection,) = follower.tell("n1", first.message)
    assert rejection.message == AppendRejected(6, 8, 8, 4)
    (again,) = leading.tell("n2", rejection.message)
    assert isinstance(again.message, AppendEntries)
    assert (again.message.prev_term, again.message.prev_index) == (3, 5)
    (answer,) = follower.tell("n1", again.message)
    assert answer.message == AppendAccepted(6, 9)
    assert follower.terms == [5, 5, 5, 6]


def test_r_38_with_two_of_three_down_a_proposal_is_not_committed() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PLAIN).elect("n1")
    for name in ("n2", "n3"):
        cluster.crash(name)
    assert cluster.commit("n1", b"x") == [None]
    assert cluster["n1"].commit == 1


def test_r_40_the_no_op_alone_commits_what_the_predecessor_left() -> None:
    """Paper 5.4.2: the two entries of term 1 are on n2 only until its first entry of term 2 is on a majority."""
    names = ["n1", "n2", "n3", "n4", "n5"]
    cluster = Cluster(*names, options=PLAIN).elect("n1")
    cluster.cut("n1", "n3", "n4", "n5")
    cluster.propose("n1", b"a", b"b")
    cluster.settle()
    cluster.heal()
    cluster.elect("n2")
    assert cluster.terms("n2") == [1, 1, 1, 2]
    assert cluster["n2"].commit == 4
    assert cluster.executed("n2") == [b"a", b"b"]


def test_r_44_figure_7_b_with_an_entry_more() -> None:
    """[etcd] Its test has [1,1,1,4,4] for b."""
    names = ["leader", "follower", "third"]
    logs = {"leader": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6), "follower": (1, 1, 1, 4, 4), "third": ()}
    records = {name: records_of(names, logs[name], term=8) for name in names}
    cluster = Cluster(*names, options=PLAIN, records=records).elect("leader")
    cluster.commit("leader", b"data")
    cluster.advance(HEARTBEAT)
    cluster.converged()
    assert cluster.terms("follower") == [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 9, 9]


def test_r_113_the_log_of_a_leader_without_a_majority_grows_up_to_its_limit() -> None:
    """[etcd] Room for 16 entries, 1024 proposals: 16 are kept, and all others refused at once."""
    server = Server(options=evolve(PLAIN, max_uncommitted_bytes=17 * OVERHEAD + 16 * 8))
    server.lead()
    refused = [reply for _ in range(1024) for reply in replies(server.propose(b"12345678")).values()]
    assert len(refused) == 1024 - 16
    assert all(isinstance(reply, Rejected) for reply in refused)
    assert server.raft.log.last_index == 1 + 16


@pytest.mark.parametrize("size", [3, 5, 7])
def test_section_o_a_commit_takes_two_messages_per_follower_and_one_write_per_server(size: int) -> None:
    """Paper 5.3, thesis 10.2: one round trip and one write are in the path to the answer."""
    names = [f"n{number}" for number in range(1, size + 1)]
    cluster = Cluster(*names).elect("n1")
    written = {name: len(cluster.hosts[name].disk.records) for name in names}
    before = len(cluster.effects)
    (result,) = cluster.commit("n1", b"x")
    assert isinstance(result, Committed)
    sent = [effect.message for _, effect in cluster.effects[before:] if isinstance(effect, Send)]
    assert sum(isinstance(message, AppendEntries | AppendAccepted) for message in sent) == 2 * (size - 1)
    assert [message for message in sent if isinstance(message, Heartbeat)] == [Heartbeat(1, 2, 0)] * (size - 1)
    assert all(len(cluster.hosts[name].disk.records) == written[name] + 1 for name in names)


def test_section_o_a_follower_learns_of_a_commit_without_waiting_for_the_next_heartbeat() -> None:
    """[etcd] lagging_commit.txt: there it is told with the heartbeat; here as soon as its acknowledgement is there."""
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.commit("n1", b"x")
    assert cluster.commits() == [2, 2, 2]
    assert cluster.now == 0
