"""The leader's side of replication, one message at a time (paper 5.3)."""

from __future__ import annotations

import pytest

from casty_proto.raft import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Received,
    Send,
    Unreachable,
)
from casty_proto.raft.progress import PROBE, REPLICATE

from .bench import HEARTBEAT, PLAIN, Cluster, records_of
from .script import Server, applied, no_op, replies, sends


def leader(*terms: int, voters: str = "n1 n2 n3", term: int = 0) -> Server:
    """A leader whose followers have not said anything yet."""
    server = Server(terms=terms, voters=voters, term=term)
    server.lead()
    return server


def replicating(*terms: int, term: int = 0) -> Server:
    """A leader whose followers have the whole log, its no-op included."""
    server = leader(*terms, term=term)
    for peer in ("n2", "n3"):
        server.tell(peer, AppendAccepted(server.raft.term, server.raft.log.last_index))
    return server


def test_r_26_a_proposal_is_sent_to_all_at_once_and_committed_with_a_majority() -> None:
    """Paper 5.3."""
    server = replicating()
    effects = server.propose(b"x")
    entry = server.raft.log.slice(2, 2)
    assert sends(effects) == [Send(peer, AppendEntries(1, 1, 1, entry, 1)) for peer in ("n2", "n3")]
    assert server.raft.commit == 1
    effects = server.feed(Received("n2", AppendAccepted(1, 2)))
    assert applied(effects) == [(2, 1)]
    assert replies(effects) == {0: Committed(2, 1)}
    assert sends(effects) == [Send("n2", Heartbeat(1, 2, 0))]
    assert applied(server.feed(Received("n3", AppendAccepted(1, 2)))) == []
    (sent, _) = sends(server.propose(b"y"))
    assert isinstance(sent.message, AppendEntries)
    assert sent.message.commit == 2


@pytest.mark.parametrize(
    ("size", "acks", "committed"),
    [
        (1, "", True),
        (3, "", False),
        (3, "2", True),
        (5, "", False),
        (5, "2", False),
        (5, "23", True),
        (5, "2345", True),
    ],
)
def test_r_27_how_many_acknowledgements_commit_an_entry(size: int, acks: str, committed: bool) -> None:
    server = leader(voters=" ".join(f"n{number}" for number in range(1, size + 1)))
    server.propose(b"x")
    for number in acks:
        server.tell(f"n{number}", AppendAccepted(1, 2))
    assert (server.raft.commit == 2) is committed


@pytest.mark.parametrize("old", [(), (2,), (1, 2), (1,)])
def test_r_28_entries_of_earlier_terms_are_committed_with_one_of_this_term(old: tuple[int, ...]) -> None:
    """Paper 5.4.2: then all prior entries are committed indirectly because of the Log Matching Property."""
    server = leader(*old, term=2)
    assert server.raft.term == 3
    server.propose(b"x")
    last = len(old) + 2
    effects = server.feed(Received("n2", AppendAccepted(3, last)))
    effects += server.feed(Received("n3", AppendAccepted(3, last)))
    assert applied(effects) == [*enumerate(old, 1), (last, 3)]


def test_r_39_entries_of_earlier_terms_are_not_committed_by_counting() -> None:
    """Paper 5.4.2, Figure 8. Log [1,2], a leader of term 3 with its no-op at 3 and data at 4."""
    server = leader(1, 2)
    server.propose(b"x")
    for ack, commit in [(1, 0), (2, 0), (3, 3)]:
        server.tell("n2", AppendAccepted(3, ack))
        assert server.raft.commit == commit


def test_r_34_a_late_rejection_does_not_undo_what_was_acknowledged() -> None:
    server = replicating()
    server.propose(b"x")
    server.propose(b"y")
    server.tell("n2", AppendAccepted(1, 3))
    assert server.tell("n2", AppendRejected(1, 2, 0, 0)) == []
    assert server.raft.lead is not None
    progress = server.raft.lead.progress["n2"]
    assert (progress.state, progress.match, progress.next) == (REPLICATE, 3, 4)


def test_r_36_the_answers_to_a_probe() -> None:
    """[etcd] Log [1,1] and the no-op at 3; n2 has not said anything."""
    server = leader(1, 1, term=1)
    log, raft = server.raft.log, server.raft
    assert raft.lead is not None
    progress = raft.lead.progress["n2"]
    assert server.tell("n2", AppendRejected(2, 3, 1, 1)) == []
    assert server.tell("n2", AppendRejected(2, 2, 1, 1)) == [Send("n2", AppendEntries(2, 1, 1, log.slice(2, 3), 0))]
    assert (progress.state, progress.next) == (PROBE, 2)
    server.tell("n2", AppendAccepted(2, 1))
    assert (progress.state, progress.match) == (REPLICATE, 1)
    sent = server.tell("n2", AppendAccepted(2, 3))
    assert (progress.match, progress.next, raft.commit) == (3, 4, 3)
    assert sent == [Send("n2", Heartbeat(2, 3, 0))]


FAST = [
    ((1, 2, 2, 4, 4, 4, 4), (1, 2, 2, *[3] * 8), (2, 3)),
    ((1, 2, 2, 3, 4, 4, 4, 5), (1, 2, 2, *[3] * 8), (3, 4)),
    ((1, 1, 1, 1), (1, 2, 2, 4), (1, 1)),
    ((1,) * 6, (1, 2, 2, 4), (1, 1)),
    ((1,) * 4, (1, 2, 2, 4, 4, 4), (1, 1)),
    ((1, 1, 1, 4, 5), (1, 1, 1, 4), (4, 4)),
    ((2, *[5] * 8), (2, *[4] * 5), (2, 1)),
    ((2,) * 5, (2, *[4] * 7), (2, 1)),
]


@pytest.mark.parametrize(("ours", "theirs", "agreed"), FAST)
def test_r_37_one_exchange_finds_where_the_logs_part(
    ours: tuple[int, ...], theirs: tuple[int, ...], agreed: tuple[int, int]
) -> None:
    """Paper 5.3, end. `agreed`: term and index of the entry before those that the leader sends next."""
    term = max(*ours, *theirs)
    follower = Server("n2", terms=theirs, term=term)
    leading = Server("n1", terms=ours, term=term)
    first = next(send for send in leading.lead() if send.to == "n2")
    (rejection,) = follower.tell("n1", first.message)
    assert isinstance(rejection.message, AppendRejected)
    (again,) = leading.tell("n2", rejection.message)
    assert isinstance(again.message, AppendEntries)
    assert (again.message.prev_term, again.message.prev_index) == agreed
    (answer,) = follower.tell("n1", again.message)
    assert answer.message == AppendAccepted(term + 1, len(ours) + 1)
    assert follower.terms == leading.terms


@pytest.mark.parametrize("terms", [2, 4, 8])
def test_r_37_the_exchanges_are_as_many_as_terms_and_not_as_entries(terms: int) -> None:
    """Two logs of 400 entries that part at the first, and have no term in common."""
    ours = (1, *[2 * term for term in range(1, terms + 1) for _ in range(400 // terms)])
    theirs = (1, *[2 * term + 1 for term in range(1, terms + 1) for _ in range(400 // terms)])
    names = ["n1", "n2", "n3"]
    logs = {"n1": (*ours, 99), "n2": theirs, "n3": (*ours, 99)}
    cluster = Cluster(*names, options=PLAIN, records={name: records_of(names, logs[name]) for name in names})
    cluster.elect("n1")
    rejected = [e for name, e in cluster.effects if isinstance(e, Send) and isinstance(e.message, AppendRejected)]
    assert 0 < len(rejected) <= terms + 1
    assert cluster.terms("n2") == [*ours, 99, 100]


def test_r_40_a_leader_commits_what_its_predecessor_replicated_with_its_own_first_entry() -> None:
    names = ["n1", "n2", "n3", "n4", "n5"]
    cluster = Cluster(*names, options=PLAIN).elect("n1")
    cluster.advance(HEARTBEAT)
    cluster.cut("n1", "n3", "n4", "n5")
    cluster.propose("n1", b"a", b"b")
    cluster.settle()
    assert cluster["n1"].commit == 1
    cluster.heal()
    cluster.drop = lambda packet: isinstance(packet.message, AppendEntries)
    cluster.elect("n2")
    assert cluster.terms("n2") == [1, 1, 1, 2]
    assert cluster["n2"].commit == 1
    cluster.drop = lambda packet: False
    cluster.time_out("n2")
    cluster.settle()
    assert cluster["n2"].commit == 4
    cluster.commit("n2", b"c")
    assert cluster["n2"].commit == 5
    cluster.advance(HEARTBEAT)
    cluster.converged()


def test_r_41_a_proposal_that_is_overwritten_is_never_answered_as_committed() -> None:
    cluster = Cluster("n1", "n2", "n3", options=PLAIN).elect("n1")
    cluster.isolate("n1")
    (lost,) = cluster.propose("n1", b"lost")
    cluster.elect("n2")
    cluster.commit("n2", b"kept")
    cluster.heal()
    cluster.advance(5 * HEARTBEAT)
    assert "lost the leadership" in cluster.replies[lost].reason
    assert not isinstance(cluster.replies[lost], Committed)
    cluster.converged()
    assert cluster.executed("n1") == [b"kept"]


def test_r_38_what_can_be_committed_with_some_servers_down() -> None:
    for size, dead, committed in [(3, 0, True), (3, 1, True), (5, 2, True), (4, 1, True)]:
        names = [f"n{number}" for number in range(1, size + 1)]
        cluster = Cluster(*names, options=PLAIN)
        for name in names[size - dead :]:
            cluster.crash(name)
        cluster.elect("n1")
        assert isinstance(cluster.commit("n1", b"x")[0], Committed) is committed
    cluster = Cluster("n1", "n2", "n3", "n4", options=PLAIN).elect("n1")
    for name in ("n3", "n4"):
        cluster.crash(name)
    assert cluster.commit("n1", b"x") == [None]


def test_thesis_10_2_entries_are_sent_ahead_of_their_acknowledgement() -> None:
    server = replicating()
    for index in range(2, 6):
        (sent, _) = sends(server.propose(b"x"))
        assert isinstance(sent.message, AppendEntries)
        assert (sent.message.prev_index, len(sent.message.entries)) == (index - 1, 1)


def test_thesis_10_2_proposals_of_one_event_share_one_write_and_one_message() -> None:
    server = replicating()
    written = len(server.disk.records)
    sent = sends(server.propose(*[b"x"] * 50))
    assert [len(send.message.entries) for send in sent if isinstance(send.message, AppendEntries)] == [50, 50]
    assert len(server.disk.records) == written + 1


def test_what_was_lost_is_sent_again_when_the_follower_is_heard() -> None:
    """The answer to a heartbeat asks where it is; the rejection says it; then it is sent again."""
    server = replicating()
    server.propose(b"lost")
    server.propose(b"lost too")
    server.time_out()
    (check,) = server.tell("n2", HeartbeatReply(1, 1))
    assert check.message == AppendEntries(1, 3, 1, (), 1)
    (again,) = server.tell("n2", AppendRejected(1, 3, 1, 1))
    assert again.message == AppendEntries(1, 1, 1, server.raft.log.slice(2, 3), 1)


def test_r_112_a_follower_that_is_reported_unreachable_is_probed_from_what_is_certain() -> None:
    server = replicating()
    server.propose(b"lost")
    sent = sends(server.feed(Unreachable("n2")))
    assert sent == [Send("n2", AppendEntries(1, 1, 1, server.raft.log.slice(2, 2), 1))]
    assert sends(server.feed(Unreachable("n2"))) == []
    assert sends(server.feed(Unreachable("n9"))) == []


def test_an_answer_of_a_server_that_is_not_served_changes_nothing() -> None:
    server = replicating()
    server.propose(b"x")
    assert server.feed(Received("n9", AppendAccepted(1, 2))) == []
    assert server.raft.commit == 1


def test_the_first_entry_of_a_term_is_the_leaders_own() -> None:
    """Thesis 6.4."""
    server = leader(1, term=1)
    assert server.raft.log.slice(2, 2) == (no_op(2, 2),)
