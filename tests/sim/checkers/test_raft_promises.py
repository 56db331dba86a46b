"""The promises that are watched: what breaks each rule, and what only looks like it."""

from __future__ import annotations

import pytest

from casty_proto.raft import Append, Base, Command, Configuration, Entry, Recovered, SaveSnapshot
from casty_proto.raft.messages import AppendAccepted, Heartbeat, HeartbeatReply, RequestVote, TimeoutNow, Vote
from casty_proto.raft.snapshot import Snapshot
from casty_sim.checkers.raft_promises import Promises
from casty_sim.world import Violation

THREE = ("a", "b", "c")


def entries(first: int, last: int, term: int) -> tuple[Entry, ...]:
    return tuple(Entry(index, term, Command(b"x"), 0) for index in range(first, last + 1))


def recovered(last: int = 0, term: int = 1) -> Recovered:
    return Recovered(base=Base(0, 0, Configuration(THREE)), entries=entries(1, last, term))


def begun(lease_ns: int = 0) -> Promises:
    promises = Promises(lease_ns)
    for server in THREE:
        promises.started(server, recovered())
    return promises


def test_rule_1_one_vote_a_term_also_after_a_restart() -> None:
    promises = begun()
    promises.sent("c", "a", Vote(2, granted=True), 0)
    promises.sent("c", "a", Vote(2, granted=True), 0)
    promises.sent("c", "b", Vote(2, granted=False), 0)
    promises.sent("c", "b", Vote(2, granted=True, pre=True), 0)
    promises.sent("c", "b", Vote(3, granted=True), 0)
    promises.started("c", recovered())
    with pytest.raises(Violation, match="one vote a term: c votes for a and for b in term 2"):
        promises.sent("c", "b", Vote(2, granted=True), 0)


def test_rule_1_a_leader_has_voted_for_itself() -> None:
    promises = begun()
    promises.sent("a", "b", Vote(2, granted=True), 0)
    with pytest.raises(Violation, match="one vote a term"):
        promises.leads("a", 2, THREE)


def test_rule_1_a_candidate_has_voted_for_itself_when_it_asks_others_to() -> None:
    promises = begun()
    promises.sent("a", "b", RequestVote(2, 1, 1, pre=True), 0)
    promises.sent("a", "b", Vote(2, granted=True), 0)
    promises.sent("a", "b", RequestVote(3, 1, 1), 0)
    with pytest.raises(Violation, match="one vote a term"):
        promises.sent("a", "c", Vote(3, granted=True), 0)


def test_rule_2_a_leader_has_the_votes_of_a_majority_in_its_own_term() -> None:
    promises = begun()
    promises.sent("b", "a", Vote(1, granted=True), 0)
    with pytest.raises(Violation, match="a majority elects"):
        promises.leads("a", 2, THREE)
    promises.sent("b", "a", Vote(2, granted=True), 0)
    promises.leads("a", 2, THREE)


def test_rule_2_the_votes_of_others_than_voters_do_not_count() -> None:
    promises = begun()
    promises.sent("x", "a", Vote(2, granted=True), 0)
    with pytest.raises(Violation, match="a majority elects"):
        promises.leads("a", 2, THREE)


def test_rule_3_what_was_acknowledged_is_there_after_a_restart() -> None:
    promises = begun()
    promises.written("b", Append(entries(1, 3, 1)))
    promises.sent("b", "a", AppendAccepted(1, 3), 0)
    promises.started("b", recovered(3))
    with pytest.raises(Violation, match="b acknowledged 3, and has 2 on its disk"):
        promises.started("b", recovered(2))


def test_rule_3_what_is_acknowledged_is_on_the_disk_already() -> None:
    promises = begun()
    with pytest.raises(Violation, match="b acknowledges 3, which is not on its disk"):
        promises.sent("b", "a", AppendAccepted(1, 3), 0)


def test_rule_3_a_snapshot_that_contradicts_the_log_takes_what_came_after_it() -> None:
    promises = begun()
    promises.written("b", Append(entries(1, 12, 2)))
    promises.sent("b", "a", AppendAccepted(2, 12), 0)
    promises.began_to_write("b", SaveSnapshot(Snapshot(9, 3, Configuration(THREE), b"", b"")))
    promises.started("b", recovered(9))


def test_rule_3_what_a_leader_replaces_is_not_promised_any_more() -> None:
    promises = begun()
    promises.written("b", Append(entries(1, 3, 1)))
    promises.sent("b", "a", AppendAccepted(1, 3), 0)
    promises.began_to_write("b", Append(entries(2, 2, 2)))
    promises.started("b", recovered(1))
    with pytest.raises(Violation, match="acknowledged is durable"):
        promises.started("b", recovered(0))


def test_rule_4_what_counts_as_committed_is_on_the_disks_of_a_majority() -> None:
    promises = begun()
    promises.written("a", Append(entries(1, 3, 1)))
    with pytest.raises(Violation, match=r"committed is on a majority: .* on the disks of \['a'\]"):
        promises.counts_as_committed("a", 3, 1, 1, [THREE])
    promises.written("b", Append(entries(1, 3, 1)))
    promises.counts_as_committed("a", 3, 1, 1, [THREE])


def test_rule_4_an_entry_of_another_term_is_another_entry() -> None:
    promises = begun()
    promises.written("a", Append(entries(1, 3, 2)))
    promises.written("b", Append(entries(1, 3, 1)))
    with pytest.raises(Violation, match="committed is on a majority"):
        promises.counts_as_committed("a", 3, 2, 2, [THREE])


def test_rule_4_a_snapshot_covers_what_is_under_it_and_replaces_what_contradicts_it() -> None:
    promises = begun()
    promises.written("a", Append(entries(1, 3, 2)))
    promises.written("b", Append(entries(1, 5, 1)))
    promises.written("b", SaveSnapshot(Snapshot(3, 2, Configuration(THREE), b"", b"")))
    promises.counts_as_committed("a", 3, 2, 2, [THREE])
    with pytest.raises(Violation, match="committed is on a majority"):
        promises.counts_as_committed("b", 5, 1, 1, [THREE])


def test_rule_4_either_of_two_electorates_may_have_been_in_effect() -> None:
    promises = begun()
    promises.written("a", Append(entries(1, 1, 1)))
    promises.counts_as_committed("a", 1, 1, 1, [THREE, ("a",)])


def test_rule_4_a_leader_counts_only_entries_of_its_own_term() -> None:
    promises = begun()
    for server in THREE:
        promises.written(server, Append(entries(1, 2, 1)))
    with pytest.raises(Violation, match="only its own term"):
        promises.counts_as_committed("a", 2, 1, 3, [THREE])


def test_rule_5_a_read_sees_what_was_answered_before_it_was_asked_for() -> None:
    promises = begun()
    promises.answered(7)
    promises.answered(5)
    asked_at = promises.answered_up_to
    promises.answered(9)
    promises.read("b", 7, asked_at)
    with pytest.raises(Violation, match="b reads at 6, and 7 was answered before it was asked"):
        promises.read("b", 6, asked_at)


def test_rule_5_without_leases_a_leader_asks_the_others_before_it_permits_a_read() -> None:
    promises = begun()
    promises.reads_at_once("a", 2, ("a",))
    with pytest.raises(Violation, match="without asking whether it leads"):
        promises.reads_at_once("a", 2, THREE)


def test_rule_6_a_change_waits_for_an_entry_of_the_leaders_own_term() -> None:
    promises = begun()
    promises.written("a", Append(entries(1, 2, 2)))
    with pytest.raises(Violation, match="a change waits"):
        promises.changes("a", 2, THREE)
    promises.written("c", Append(entries(1, 2, 2)))
    promises.written("c", Append(entries(1, 2, 5)))
    promises.changes("a", 2, THREE)


def heard(promises: Promises, now: int) -> None:
    promises.received("b", "a", Heartbeat(1, 0, 1), now)
    promises.received("b", "x", Heartbeat(0, 0, 1), now - 500)
    promises.sent("b", "a", HeartbeatReply(1, 1), now + 90)


def test_rule_7_whoever_answered_a_leader_votes_for_nobody_else_for_a_while() -> None:
    promises = begun(lease_ns=100)
    heard(promises, 1000)
    with pytest.raises(Violation, match="a lease is kept"):
        promises.sent("b", "c", Vote(2, granted=True), 1099)


def test_rule_7_counts_from_when_the_leader_was_heard_not_from_the_answer() -> None:
    promises = begun(lease_ns=100)
    heard(promises, 1000)
    promises.sent("b", "c", Vote(2, granted=True), 1100)


def test_rule_7_does_not_bind_in_an_election_that_the_leader_asked_for() -> None:
    promises = begun(lease_ns=100)
    heard(promises, 1000)
    promises.sent("c", "b", RequestVote(2, 1, 1, transfer=True), 1001)
    promises.sent("b", "c", Vote(2, granted=True), 1002)


def test_rule_7_who_has_asked_another_to_lead_reads_by_its_lease_no_more_in_that_term() -> None:
    promises = begun(lease_ns=100)
    promises.reads_at_once("a", 2, THREE)
    promises.sent("a", "b", TimeoutNow(2), 0)
    promises.reads_at_once("b", 2, THREE)
    promises.reads_at_once("a", 3, THREE)
    with pytest.raises(Violation, match="having asked another to lead"):
        promises.reads_at_once("a", 2, THREE)


def test_rule_7_does_not_bind_without_leases_nor_for_the_leader_itself() -> None:
    promises = begun()
    heard(promises, 1000)
    promises.sent("b", "c", Vote(2, granted=True), 1001)
    promises = begun(lease_ns=100)
    heard(promises, 1000)
    promises.sent("b", "a", Vote(2, granted=True), 1001)
