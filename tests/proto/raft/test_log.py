"""The log against published vectors, and against a plain list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from casty_proto.machine import Severity
from casty_proto.raft import AppendAccepted, AppendEntries, AppendRejected, Command, Entry, Received
from casty_proto.raft.entries import size_of
from casty_proto.raft.log import UNKNOWN, Log

from .script import Server, entries, notes, sends


def log_of(*terms: int, base: int = 0, base_term: int = 0) -> Log:
    return Log(base, base_term, entries(base + 1, *terms))


@pytest.mark.parametrize(
    ("first", "terms", "expected"),
    [
        (1, (), 0),
        (1, (1, 2, 3), 0),
        (2, (2, 3), 0),
        (3, (3,), 0),
        (1, (1, 2, 3, 4, 4), 4),
        (2, (2, 3, 4, 5), 4),
        (3, (3, 4, 4), 4),
        (4, (4, 4), 4),
        (1, (4, 4), 1),
        (2, (1, 4, 4), 2),
        (3, (1, 2, 4, 4), 3),
    ],
)
def test_vectors_0_6_the_first_entry_that_differs_or_is_new(first: int, terms: tuple[int, ...], expected: int) -> None:
    assert log_of(1, 2, 3).conflict(entries(first, *terms)) == expected


BACK_OFF = [(5, 6, 5), (5, 5, 5), (5, 4, 2), (5, 2, 2), (5, 1, 0), (1, 2, 1), (1, 1, 0), (0, 0, 0), (100, 2, 100)]
BACK_OFF_COMPACTED = [
    (14, 9, 14),
    (14, 4, 14),
    (14, 3, 12),
    (14, 2, 9),
    (11, 5, 11),
    (10, 3, 10),
    (10, 2, 9),
    (9, 2, 9),
]


@pytest.mark.parametrize(("index", "term", "expected"), BACK_OFF)
def test_vectors_0_6_the_largest_index_whose_term_is_not_beyond(index: int, term: int, expected: int) -> None:
    assert log_of(2, 2, 5, 5, 5).last_of_term_at_most(index, term) == expected


@pytest.mark.parametrize(("index", "term", "expected"), BACK_OFF_COMPACTED)
def test_vectors_0_6_the_same_in_a_compacted_log(index: int, term: int, expected: int) -> None:
    assert log_of(3, 3, 4, 4, 4, base=10, base_term=3).last_of_term_at_most(index, term) == expected


@pytest.mark.parametrize(
    ("terms", "last", "refused"),
    [
        ((1,), (1, 1), False),
        ((1,), (1, 2), False),
        ((1, 1), (1, 1), True),
        ((1,), (2, 1), False),
        ((1,), (2, 2), False),
        ((1, 1), (2, 1), False),
        ((2,), (1, 1), True),
        ((2,), (1, 2), True),
        ((2, 2), (1, 1), True),
    ],
)
def test_r_24_a_log_is_ahead_by_its_last_term_and_then_by_its_length(
    terms: tuple[int, ...], last: tuple[int, int], refused: bool
) -> None:
    """Paper 5.4.1. `last` is the term and the index of the candidate's last entry."""
    assert log_of(*terms).is_ahead_of(last[1], last[0]) is refused


def test_a_batch_ends_at_the_limit_of_entries_and_of_bytes_and_has_one_entry_at_least() -> None:
    log = Log(0, 0, tuple([Entry(index, 1, Command(b"x" * 36)) for index in range(1, 11)]))
    assert size_of(log.slice(1, 1)[0]) == 100
    assert len(log.batch(1, 4, 10_000)) == 4
    assert len(log.batch(1, 100, 399)) == 3
    assert len(log.batch(1, 100, 400)) == 4
    assert len(log.batch(1, 100, 1)) == 1
    assert len(log.batch(8, 100, 10_000)) == 3
    log.compact(5)
    assert [entry.index for entry in log.batch(6, 100, 250)] == [6, 7]
    assert log.bytes_between(6, 9) == 300


class LogMachine(RuleBasedStateMachine):
    """The model is a list with every entry from the beginning, and the index of the base."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.model: list[Entry] = []
        self.base = 0
        self.base_term = 0

    @rule(terms=st.lists(st.integers(0, 1), min_size=1, max_size=4), size=st.integers(0, 40))
    def append(self, terms: list[int], size: int) -> None:
        made: list[Entry] = []
        term = self.log.last_term
        for step in terms:
            term += step
            made.append(Entry(self.log.last_index + 1 + len(made), term, Command(b"x" * size)))
        self.log.append(tuple(made))
        self.model += made

    @precondition(lambda self: len(self.model) > self.base)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(self.base + 1, len(self.model)))
        self.log.truncate(first)
        del self.model[first - 1 :]

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        self.base = data.draw(st.integers(self.base, len(self.model)))
        self.base_term = self.model[self.base - 1].term if self.base else 0
        self.log.compact(self.base)

    @rule(data=st.data(), max_entries=st.integers(1, 5), max_bytes=st.integers(1, 400))
    def batch(self, data: st.DataObject, max_entries: int, max_bytes: int) -> None:
        first = data.draw(st.integers(self.base + 1, len(self.model) + 1))
        expected: list[Entry] = []
        for entry in self.model[first - 1 : first - 1 + max_entries]:
            if expected and sum(map(size_of, [*expected, entry])) > max_bytes:
                break
            expected.append(entry)
        assert self.log.batch(first, max_entries, max_bytes) == tuple(expected)

    @rule(data=st.data(), term=st.integers(0, 6))
    def back_off(self, data: st.DataObject, term: int) -> None:
        index = data.draw(st.integers(self.base, len(self.model)))
        expected = index
        while expected >= self.base and (self.model[expected - 1].term if expected else 0) > term:
            expected -= 1
        assert self.log.last_of_term_at_most(index, term) == expected

    @rule(index=st.integers(0, 30), term=st.integers(0, 6))
    def reset(self, index: int, term: int) -> None:
        if index > len(self.model) and term >= self.log.last_term:
            self.log.reset(index, term)
            self.model = [Entry(at, term, Command(b"")) for at in range(1, index + 1)]
            self.base, self.base_term = index, term

    @invariant()
    def terms_and_ends(self) -> None:
        self.log.invariants(tail=None)
        assert (self.log.base_index, self.log.base_term) == (self.base, self.base_term)
        assert self.log.last_index == len(self.model)
        assert self.log.slice(self.base + 1, len(self.model)) == tuple(self.model[self.base :])
        assert self.log.term(len(self.model) + 1) == UNKNOWN
        assert self.log.term(self.base - 1) == UNKNOWN
        for index in range(self.base + 1, len(self.model) + 1):
            assert self.log.term(index) == self.model[index - 1].term


TestLog = LogMachine.TestCase


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.data())
def test_what_a_message_brings_that_is_new_is_what_a_walk_over_it_finds(
    common: int, ours: int, theirs: int, data: st.DataObject
) -> None:
    """Two logs part after `common` entries, and from there have terms that the other does not have (Log Matching)."""
    log = log_of(*[1] * common, *[2] * ours)
    leader = entries(1, *[1] * common, *[3] * theirs)
    prev = data.draw(st.integers(0, common))
    last = data.draw(st.integers(prev, len(leader)))
    sent = leader[prev:last]
    walked = next((entry.index for entry in sent if log.term(entry.index) != entry.term), 0)
    assert log.conflict(sent) == walked


@pytest.mark.parametrize(
    ("prev", "terms", "commit", "expected"),
    [
        ((3, 2), (4,), 3, None),
        ((4, 3), (4,), 3, None),
        ((3, 3), (), 3, (3, 3)),
        ((3, 3), (), 4, (3, 3)),
        ((3, 3), (), 2, (3, 2)),
        ((3, 3), (), 0, (3, 1)),
        ((0, 0), (), 3, (3, 1)),
        ((3, 3), (4,), 3, (4, 3)),
        ((3, 3), (4,), 4, (4, 4)),
        ((3, 3), (4,), 5, (4, 4)),
        ((3, 3), (4, 4), 5, (5, 5)),
        ((2, 2), (4,), 3, (3, 3)),
        ((1, 1), (4,), 3, (2, 2)),
        ((1, 1), (4, 4), 3, (3, 3)),
    ],
)
def test_vectors_0_6_attempts_to_append_to_a_log_of_three_with_one_committed(
    prev: tuple[int, int], terms: tuple[int, ...], commit: int, expected: tuple[int, int] | None
) -> None:
    """Log [1,2,3], commit 1. `expected`: the last index and the commit index afterwards, or a rejection."""
    server = Server(terms=(1, 2, 3), term=4)
    server.commit(1)
    (answer,) = server.tell("n2", AppendEntries(4, *prev, entries(prev[0] + 1, *terms), commit))
    if expected is None:
        assert isinstance(answer.message, AppendRejected)
        assert (server.raft.commit, server.terms) == (1, [1, 2, 3])
    else:
        assert isinstance(answer.message, AppendAccepted)
        assert (server.raft.log.last_index, server.raft.commit) == expected


def test_vectors_0_6_what_is_committed_is_never_overwritten_and_the_attempt_is_loud() -> None:
    server = Server(terms=(1, 2, 3), term=4)
    server.commit(1)
    effects = server.feed(Received("n2", AppendEntries(4, 0, 0, entries(1, 4), 3)))
    assert [note.severity for note in notes(effects)] == [Severity.ERROR]
    assert sends(effects) == []
    assert (server.terms, server.raft.commit) == ([1, 2, 3], 1)
