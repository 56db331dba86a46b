"""Flow control: what is under way to a follower, and what waits at a leader, is bounded."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.machine import Rejected
from casty_proto.raft import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    HeartbeatReply,
    Send,
)
from casty_proto.raft.entries import OVERHEAD

from .bench import ELECTION, HEARTBEAT, PLAIN, Cluster
from .script import Server, replies, sends

NARROW = evolve(PLAIN, max_inflight_messages=3, max_message_entries=2)


def appends(sent: list[Send], to: str = "n2") -> list[AppendEntries]:
    return [send.message for send in sent if send.to == to and isinstance(send.message, AppendEntries)]


def replicating() -> Server:
    server = Server(options=NARROW)
    server.lead()
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(1, 1))
    return server


def test_r_112_a_probe_is_one_message_until_the_follower_is_heard() -> None:
    server = Server(options=NARROW)
    server.lead()
    assert [appends(sends(server.propose(b"x"))) for _ in range(5)] == [[]] * 5
    server.time_out()
    (again,) = appends(server.tell("n2", HeartbeatReply(1, 1)))
    assert (again.prev_index, len(again.entries)) == (0, 2)
    assert appends(sends(server.propose(b"x"))) == []
    (next_probe,) = appends(server.tell("n2", AppendRejected(1, 0, 0, 0)))
    assert next_probe == again


def test_r_112_entries_are_sent_ahead_up_to_a_window_of_messages_which_acknowledgements_slide() -> None:
    server = replicating()
    sent = [len(appends(sends(server.propose(b"x")))) for _ in range(5)]
    assert sent == [1, 1, 1, 0, 0]
    (slid,) = appends(server.tell("n2", AppendAccepted(1, 2)))
    assert [entry.index for entry in slid.entries] == [5, 6]
    assert appends(server.tell("n2", AppendAccepted(1, 2))) == []
    assert appends(server.tell("n2", AppendAccepted(1, 1))) == []


def test_r_112_a_full_window_lets_one_empty_message_through_when_the_follower_is_heard() -> None:
    server = replicating()
    for _ in range(5):
        server.propose(b"x")
    server.time_out()
    (check,) = appends(server.tell("n2", HeartbeatReply(1, 1)))
    assert (check.prev_index, check.entries) == (4, ())


def test_r_112_the_window_is_one_of_bytes_too() -> None:
    server = Server(options=evolve(PLAIN, max_inflight_bytes=1000, max_message_bytes=400))
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    sent = appends(sends(server.propose(*[b"x" * (100 - OVERHEAD)] * 50)))
    assert [len(message.entries) for message in sent] == [4, 4, 4]
    assert server.raft.lead is not None
    assert server.raft.lead.progress["n2"].inflight_bytes == 1200


def test_an_entry_over_the_limit_of_a_message_is_sent_alone() -> None:
    server = Server(options=evolve(PLAIN, max_message_bytes=100))
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    sent = appends(sends(server.propose(b"x" * 500, b"y", b"z")))
    assert [len(message.entries) for message in sent] == [1, 1, 1]


def test_r_113_a_leader_takes_no_more_than_so_much_that_is_not_committed() -> None:
    """[etcd] 1024 proposals are accepted, and the next is refused; one that is too large is, when nothing waits."""
    size = OVERHEAD + 8
    server = Server(options=evolve(PLAIN, max_uncommitted_bytes=1024 * size))
    server.lead()
    server.tell("n2", AppendAccepted(1, 1))
    assert replies(server.propose(*[b"12345678"] * 1024)) == {}
    (refused,) = replies(server.propose(b"12345678")).values()
    assert isinstance(refused, Rejected)
    assert "not committed" in refused.reason
    server.tell("n2", AppendAccepted(1, 1025))
    assert replies(server.propose(b"x" * 2 * 1024 * size)) == {}
    assert len(replies(server.propose(b""))) == 1


def test_r_113_what_is_refused_in_a_batch_does_not_refuse_the_rest() -> None:
    server = Server(options=evolve(PLAIN, max_command_bytes=10))
    server.lead()
    refused = replies(server.propose(b"ok", b"x" * 11, b"ok"))
    assert list(refused) == [1]
    assert server.raft.log.last_index == 3


@pytest.mark.parametrize("perturbation", ["lost", "doubled", "swapped"])
def test_section_m_a_run_survives_the_loss_the_doubling_and_the_swapping_of_any_one_message(
    perturbation: str,
) -> None:
    """An election, proposals, a change of leader: again for each message, with that one disturbed."""
    count = 0
    total = 1
    while count < total:
        total = disturbed(perturbation, count)
        count += 1
    assert total > 30


def disturbed(perturbation: str, victim: int) -> int:
    """The run, with the message number `victim` disturbed. Returns how many there were."""
    cluster = Cluster("n1", "n2", "n3", options=NARROW)
    sent = 0

    def settle() -> None:
        nonlocal sent
        while cluster.wires or any(host.disk.pending for host in cluster.hosts.values()):
            for host in cluster.hosts.values():
                if host.disk.pending:
                    cluster.sync(host.name, len(host.disk.pending))
            if not cluster.wires:
                continue
            packet = cluster.wires.pop(0)
            sent += 1
            if sent - 1 == victim:
                if perturbation == "lost":
                    continue
                if perturbation == "doubled":
                    cluster.wires.insert(0, packet)
                elif cluster.wires:
                    cluster.wires.insert(1, packet)
                    continue
            cluster.deliver(packet)

    for name in ("n1", "n2"):
        cluster.time_out(name)
        settle()
        if cluster[name].lead is not None:
            for _ in range(3):
                cluster.propose(name, b"a=1", b"b=2", b"c=3")
            settle()
    for _ in range(40):
        cluster.advance(ELECTION)
        settle()
        leader = cluster.leader
        if leader is not None and cluster.commit(leader, b"end")[0] is not None:
            break
    cluster.advance(3 * HEARTBEAT)
    cluster.converged()
    return sent
