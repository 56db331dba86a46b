"""What holds of a server between two events."""

from __future__ import annotations

from .core import NEVER, Core
from .events import Role
from .leadership import Leadership


def check(raft: Core) -> None:
    """Assert it, at a cost that does not grow with the log."""
    log, journal = raft.log, raft.journal
    log.invariants()
    journal.invariants(log.last_index)
    assert log.last_term <= raft.term, f"an entry of term {log.last_term} in term {raft.term}"
    assert log.base_index <= raft.commit <= log.last_index, (
        f"commit {raft.commit} in {log.base_index}..{log.last_index}"
    )
    assert raft.commit <= raft._matched <= log.last_index, f"matched {raft._matched}, commit {raft.commit}"
    _check_snapshot(raft)
    assert (raft.lead is not None) == (raft.role is Role.LEADER), f"{raft.role} with or without an office"
    assert raft.role is not Role.CANDIDATE or raft.vote == raft.id, "a candidate that did not vote for itself"
    if raft.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
        assert raft.leader is None, f"a candidate that follows {raft.leader}"
    if raft.lead is not None:
        _check_lead(raft, raft.lead)
    else:
        assert raft.leader != raft.id, "follows itself"
    waiting = [until for until, _ in raft._reads.values()] + [until for _, until, _ in raft._waiting_reads]
    assert raft._reads_at <= min(waiting, default=NEVER), "a read would wait for ever"
    assert raft.leader is not None or not raft._reads, "a read waits for nobody's answer"
    assert all(index > raft.commit for index, _, _ in raft._waiting_reads), "a read waits for what is applied"


def check_deeply(raft: Core) -> None:
    """Assert it of the whole log and of all sessions too."""
    check(raft)
    raft.log.invariants(tail=None)
    raft.configurations.invariants()
    raft.sessions.invariants()


def _check_snapshot(raft: Core) -> None:
    log, snapshot = raft.log, raft.snapshot
    if snapshot is None:
        assert log.base_index == 0, "entries were dropped that nothing covers"
    else:
        assert log.base_index <= snapshot.index <= raft.commit, f"snapshot {snapshot.index}, commit {raft.commit}"
        assert log.term(snapshot.index) == snapshot.term, "the snapshot contradicts the log"
    assert raft._capture is None or raft._capture.index <= raft.commit, "a snapshot of what is not committed"
    if raft._incoming is not None:
        assert not raft._incoming.is_complete, "a snapshot has come and was not installed"


def _check_lead(raft: Core, lead: Leadership) -> None:
    configurations, log = raft.configurations, raft.log
    assert raft.leader == raft.id, f"leads and follows {raft.leader}"
    assert raft._election_at == NEVER, "a leader would hold an election"
    assert not raft.journal.ballot, "leads a term that is not durable"
    assert log.last_term == raft.term, "a leader without an entry of its term"
    assert raft.id not in lead.progress, "replicates to itself"
    for member in configurations.latest.members:
        assert member == raft.id or member in lead.progress, f"{member} is not served"
    for peer, progress in lead.progress.items():
        catching_up = lead.catch_up is not None and lead.catch_up.node == peer
        assert (peer in lead.leaving) != (peer in configurations.latest.members or catching_up), f"{peer} is served"
        progress.invariants()
        assert progress.match <= log.last_index, f"{peer} has more than there is"
        assert progress.next <= log.last_index + 1, f"{peer} was sent more than there is"
        assert len(progress.inflight) <= raft.options.max_inflight_messages, f"{peer} has too much under way"
        assert progress.round <= lead.round, f"{peer} answered a round that was not sent"
        assert progress.commit_told <= raft.commit, f"{peer} was told of more than is committed"
    uncommitted = configurations.latest_index > raft.commit
    assert uncommitted or raft.id in configurations.latest.voters, "leads without being a voter"
    assert lead.change is None or (uncommitted and lead.change[0] == configurations.latest_index), "a change is lost"
    assert not lead.proposals or raft.commit < lead.proposals[0][0], "a proposal was applied and not answered"
    assert not lead.proposals or lead.proposals[-1][0] <= log.last_index, "a proposal is not in the log"
    assert not lead.reads or lead.reads[-1][0] <= lead.round + 1, "a read waits for a round that nobody will begin"
    assert lead.read_round <= lead.round, "a round was begun and not sent"
    assert lead.transfer is None or lead.transfer.target in configurations.latest.voters, "a transfer to no voter"
    assert not lead.commit_due, "a commit was not looked at"
