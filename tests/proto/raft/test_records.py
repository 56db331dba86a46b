"""What a server remembers from its records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.raft import (
    Append,
    Ballot,
    Base,
    Configuration,
    Entry,
    NoOp,
    Record,
    Recovered,
    RecoveryError,
    SaveSnapshot,
    Snapshot,
    bootstrap,
    checkpoint,
    recover,
)
from casty_proto.raft.sessions import Sessions

from .chaos import Chaos
from .script import entries

TRIO = Configuration(("n1", "n2", "n3"))


def snapshot(index: int, term: int, configuration: Configuration = TRIO) -> Snapshot:
    return Snapshot(index, term, configuration, Sessions().encode(), b"state")


def test_nothing_recovers_to_a_server_that_nobody_has_told_anything() -> None:
    assert recover([]) == Recovered()
    assert Recovered().base.configuration == Configuration()


def test_a_founder_begins_with_the_first_configuration() -> None:
    assert recover(bootstrap(TRIO)) == Recovered(base=Base(0, 0, TRIO))


def test_an_append_replaces_what_the_log_had_from_there_on() -> None:
    records = [*bootstrap(TRIO), Ballot(2, "n2"), Append(entries(1, 1, 1, 1)), Append(entries(2, 2))]
    assert recover(records) == Recovered(2, "n2", None, Base(0, 0, TRIO), (*entries(1, 1), *entries(2, 2)))


def test_a_snapshot_that_the_log_reaches_leaves_it_alone_and_another_replaces_it() -> None:
    records: list[Record] = [*bootstrap(TRIO), Ballot(2, None), Append(entries(1, 1, 1, 2))]
    assert recover([*records, SaveSnapshot(snapshot(2, 1))]).entries == entries(1, 1, 1, 2)
    other = Configuration(("n1", "n2"))
    for index, term in [(2, 2), (9, 2)]:
        found = recover([*records, SaveSnapshot(snapshot(index, term, other))])
        assert (found.entries, found.base) == ((), Base(index, term, other))


def test_a_base_drops_what_is_before_it() -> None:
    records: list[Record] = [*bootstrap(TRIO), Ballot(1, None), Append(entries(1, 1, 1, 1))]
    records += [SaveSnapshot(snapshot(3, 1)), Base(2, 1, TRIO)]
    found = recover(records)
    assert (found.base, found.entries) == (Base(2, 1, TRIO), entries(3, 1))


@pytest.mark.parametrize(
    "records",
    [
        [Ballot(1, None), Append(entries(2, 1))],
        [Ballot(1, None), Append(entries(1, 1)), Append(entries(3, 1))],
        [Append(entries(1, 1))],
        [Base(5, 1, TRIO)],
        [Base(5, 1, TRIO), Ballot(1, None), SaveSnapshot(snapshot(4, 1))],
    ],
)
def test_records_with_something_missing_in_the_middle_are_refused(records: list[Record]) -> None:
    with pytest.raises(RecoveryError):
        recover(records)


@given(st.integers(0, 400), st.integers(200, 900))
def test_every_beginning_of_what_was_written_recovers_and_so_does_its_checkpoint(seed: int, steps: int) -> None:
    """A disk that lost the end of its records has a state that the server was in."""
    chaos = Chaos(seed)
    for _ in range(steps):
        chaos.step()
    for host in chaos.cluster.hosts.values():
        term = commit = 0
        for count in range(len(host.disk.records) + 1):
            found = recover(host.disk.records[:count])
            assert found.term >= term
            assert (found.snapshot.index if found.snapshot else 0) >= commit
            term, commit = found.term, found.snapshot.index if found.snapshot else 0
            assert recover(checkpoint(found)) == found


def test_a_payload_of_any_kind_is_kept() -> None:
    log = (Entry(1, 1, NoOp(), 5), Entry(2, 1, TRIO, 9))
    assert recover([Ballot(1, "n1"), Append(log)]).entries == log
