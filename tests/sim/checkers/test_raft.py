"""The properties of Figure 3, and what breaks each."""

from __future__ import annotations

import pytest

from casty_proto.raft import (
    Append,
    Apply,
    Base,
    Command,
    Configuration,
    Entry,
    Payload,
    Recovered,
    Restore,
    Role,
    RoleChanged,
    SaveSnapshot,
)
from casty_proto.raft.snapshot import Snapshot
from casty_sim.checkers.raft import RaftChecker
from casty_sim.world import Violation

FIVE = Configuration(("a", "b", "c", "d", "e"))
FOUR = Configuration(("a", "b", "c", "d"))
THREE = Configuration(("a", "b", "c"))
EMPTY = Recovered(base=Base(0, 0, FIVE))


def begun() -> RaftChecker:
    checker = RaftChecker()
    checker.configuration_committed(0, FIVE)
    for server in FIVE.voters:
        checker.started(server, EMPTY)
    return checker


def entry(index: int, term: int = 1, payload: Payload | bytes = b"k=v") -> Entry:
    return Entry(index, term, Command(payload) if isinstance(payload, bytes) else payload, 0)


def applied(checker: RaftChecker, server: str, *entries: Entry, term: int = 1) -> None:
    checker.apply(server, Apply(entries), term)


def test_election_safety_one_leader_in_a_term() -> None:
    checker = begun()
    checker.role_changed("a", RoleChanged(Role.LEADER, 1, "a"))
    checker.role_changed("b", RoleChanged(Role.FOLLOWER, 1, "a"))
    checker.role_changed("b", RoleChanged(Role.LEADER, 2, "b"))
    with pytest.raises(Violation, match="a and c both lead in term 1"):
        checker.role_changed("c", RoleChanged(Role.LEADER, 1, "c"))


def test_leader_completeness_what_was_committed_in_earlier_terms_is_in_the_log_of_a_leader() -> None:
    checker = begun()
    applied(checker, "a", entry(1), entry(2), term=1)
    checker.leader_has("b", 2, {1: 1, 2: 1}.__getitem__, 1)
    checker.leader_has("b", 2, {2: 1}.__getitem__, 2)
    with pytest.raises(Violation, match="b leads term 2 without entry 2 of term 1"):
        checker.leader_has("b", 2, {1: 1, 2: -1}.__getitem__, 1)


def test_leader_completeness_a_leader_that_is_late_need_not_have_what_came_after_its_term() -> None:
    checker = begun()
    applied(checker, "a", entry(1, 3), term=3)
    checker.leader_has("b", 2, {1: -1}.__getitem__, 1)


def test_log_matching_one_entry_for_an_index_and_a_term() -> None:
    checker = begun()
    checker.persisted("a", Append((entry(1), entry(2))))
    checker.persisted("b", Append((entry(1), entry(2))))
    checker.persisted("b", Append((entry(2, 2, b"k=w"),)))
    with pytest.raises(Violation, match="c has another entry at index 2 of term 1"):
        checker.persisted("c", Append((entry(1), entry(2, 1, b"k=w"))))


def test_log_matching_the_same_entry_before_it() -> None:
    checker = begun()
    checker.persisted("a", Append((entry(1, 1), entry(2, 3))))
    with pytest.raises(Violation, match="c has another entry before 2 of term 3"):
        checker.persisted("c", Append((entry(1, 2), entry(2, 3))))


def test_log_matching_the_same_entry_before_it_also_from_one_write_to_the_next() -> None:
    checker = begun()
    checker.persisted("a", Append((entry(1, 1),)))
    checker.persisted("a", Append((entry(2, 3),)))
    checker.persisted("c", Append((entry(1, 2),)))
    with pytest.raises(Violation, match="c has another entry before 2 of term 3"):
        checker.persisted("c", Append((entry(2, 3),)))


def test_state_machine_safety_nobody_applies_another_entry_at_an_index() -> None:
    checker = begun()
    applied(checker, "a", entry(1))
    applied(checker, "b", entry(1))
    with pytest.raises(Violation, match="state machine safety"):
        applied(checker, "c", entry(1, 1, b"k=w"))


def test_state_machine_safety_indexes_rise_within_a_life_and_begin_again_in_the_next() -> None:
    checker = begun()
    applied(checker, "a", entry(1), entry(3))
    checker.started("a", EMPTY)
    applied(checker, "a", entry(1))
    with pytest.raises(Violation, match="a applies 1 after 1"):
        applied(checker, "a", entry(1))


def test_state_machine_safety_a_snapshot_never_goes_back() -> None:
    checker = begun()
    checker.restored("a", Restore(5, 1, b""))
    checker.restored("a", Restore(5, 1, b""))
    with pytest.raises(Violation, match="a goes back from 5 to 4"):
        checker.restored("a", Restore(4, 1, b""))


def test_state_machine_safety_the_state_is_what_the_entries_make() -> None:
    checker = begun()
    applied(checker, "a", entry(1, 1, b"k=1"), entry(2, 1, b"l=2"), entry(3, 1, b"k=3"))
    checker.same_state("a", {"k": "3", "l": "2"})
    checker.restored("b", Restore(2, 1, b""))
    checker.same_state("b", {"k": "1", "l": "2"})
    with pytest.raises(Violation, match="state machine safety: b has"):
        checker.same_state("b", {"k": "3", "l": "2"})


def test_at_most_once_a_serial_of_a_session_is_executed_at_one_index() -> None:
    checker = begun()
    applied(checker, "a", entry(5, 1, Command(b"k=1", 4, 1, 1)))
    applied(checker, "b", entry(5, 1, Command(b"k=1", 4, 1, 1)))
    with pytest.raises(Violation, match="serial 1 of session 4 at 7 and at 5"):
        applied(checker, "a", entry(7, 1, Command(b"k=1", 4, 1, 1)))


def test_durability_what_is_acknowledged_was_applied_there() -> None:
    checker = begun()
    applied(checker, "a", entry(5, 1, b"k=1"))
    checker.acknowledged(5, b"k=1")
    checker.acknowledged_are_applied(["a", "b"])
    with pytest.raises(Violation, match="durability"):
        checker.acknowledged(5, b"k=2")
    with pytest.raises(Violation, match="where nothing was applied"):
        checker.acknowledged(6, b"k=1")


def test_durability_at_the_end_somebody_has_what_was_acknowledged() -> None:
    checker = begun()
    applied(checker, "a", entry(5, 1, b"k=1"))
    checker.acknowledged(5, b"k=1")
    with pytest.raises(Violation, match="5 was acknowledged, and nobody has applied more than 0"):
        checker.acknowledged_are_applied(["b", "c"])


def test_configuration_safety_one_voter_comes_or_goes_at_a_time() -> None:
    checker = begun()
    checker.configuration_committed(3, FOUR)
    checker.configuration_committed(3, FOUR)
    with pytest.raises(Violation, match="came and went at once at 6"):
        checker.configuration_committed(6, Configuration(("a", "b")))


def test_configuration_safety_one_configuration_at_an_index() -> None:
    checker = begun()
    checker.configuration_committed(3, FOUR)
    with pytest.raises(Violation, match="two configurations are committed at 3"):
        checker.configuration_committed(3, FIVE)


def test_configuration_safety_no_second_change_in_a_log_while_the_first_is_open() -> None:
    checker = begun()
    checker.persisted("a", Append((entry(1, 1, FOUR),)))
    with pytest.raises(Violation, match="a has a change at 2, and that at 1 is open"):
        checker.persisted("a", Append((entry(2, 1, THREE),)))


def test_configuration_safety_a_change_that_was_committed_replaced_or_covered_is_not_open() -> None:
    checker = begun()
    checker.persisted("a", Append((entry(1, 1, FOUR),)))
    checker.persisted("a", Append((entry(1, 2, FOUR),)))
    checker.configuration_committed(1, FOUR)
    checker.persisted("a", Append((entry(2, 2, THREE),)))
    checker.persisted("a", SaveSnapshot(Snapshot(4, 3, FOUR, b"", b"")))
    checker.persisted("a", Append((entry(5, 3, THREE),)))
