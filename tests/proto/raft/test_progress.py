"""What a leader knows of a follower, against published vectors (0.7) and against its own contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.raft import Configuration, Snapshot
from casty_proto.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from casty_proto.raft.sessions import Sessions
from casty_proto.raft.snapshot import Outgoing


def progress(state: str, match: int, next_index: int) -> Progress:
    made = Progress(next_index, 0)
    made.match = match
    if state == "replicate":
        made.replicate()
        made.next = next_index
    return made


def outgoing(index: int) -> Outgoing:
    return Outgoing(Snapshot(index, 1, Configuration(("n1",)), Sessions().encode(), b""))


@pytest.mark.parametrize(("ack", "match", "next_index"), [(2, 3, 5), (3, 3, 5), (4, 4, 5), (5, 5, 6)])
def test_vectors_0_7_an_acknowledgement_moves_match_and_next_forward_only(
    ack: int, match: int, next_index: int
) -> None:
    one = progress("probe", 3, 5)
    assert one.accept(ack) is (match > 3)
    assert (one.match, one.next) == (match, next_index)


@pytest.mark.parametrize(
    ("state", "match", "next_index", "rejected", "hint", "acted", "expected"),
    [
        ("replicate", 5, 10, 5, 5, False, 10),
        ("replicate", 5, 10, 4, 4, False, 10),
        ("replicate", 5, 10, 9, 9, True, 6),
        ("probe", 0, 10, 5, 5, False, 10),
        ("probe", 0, 10, 9, 9, True, 9),
        ("probe", 0, 2, 1, 1, True, 1),
        ("probe", 0, 1, 0, 0, True, 1),
        ("probe", 0, 10, 9, 2, True, 3),
        ("probe", 0, 10, 9, 0, True, 1),
    ],
)
def test_vectors_0_7_a_rejection_moves_next_back_unless_it_is_an_old_one(
    state: str, match: int, next_index: int, rejected: int, hint: int, acted: bool, expected: int
) -> None:
    one = progress(state, match, next_index)
    assert one.reject(rejected, hint) is acted
    assert (one.match, one.next) == (match, expected)


def test_vectors_0_7_a_probe_begins_after_what_is_certain() -> None:
    one = progress("replicate", 1, 5)
    one.probe()
    assert (one.state, one.next) == (PROBE, 2)
    one = progress("probe", 1, 5)
    one.restore(outgoing(10))
    one.probe()
    assert (one.state, one.next) == (PROBE, 11)


def test_r_106_an_acknowledgement_of_the_snapshot_lets_replication_go_on_after_it() -> None:
    one = progress("probe", 1, 5)
    one.restore(outgoing(11))
    assert one.accept(11)
    one.replicate()
    assert (one.state, one.match, one.next, one.outgoing) == (REPLICATE, 11, 12, None)


steps = st.lists(
    st.tuples(
        st.sampled_from(["accept", "reject", "send", "probe", "snapshot"]), st.integers(0, 12), st.integers(0, 12)
    ),
    max_size=30,
)


@given(steps)
def test_r_34_match_never_goes_back_and_next_stays_above_it_whatever_arrives(
    made: list[tuple[str, int, int]],
) -> None:
    """Answers come late, doubled and in any order; none of them may undo what the follower has promised."""
    one = Progress(5, 0)
    last = 12
    for step, first, second in made:
        match = one.match
        if step == "accept":
            one.accept(first)
            if one.state is PROBE or (one.outgoing is not None and one.match >= one.outgoing.index):
                one.replicate()
        elif step == "reject":
            one.reject(first, second)
        elif step == "send" and one.state is REPLICATE and one.next <= last:
            one.sent(min(one.next + first, last), 10)
        elif step == "probe" and one.state is REPLICATE:
            one.probe()
        elif step == "snapshot" and one.state is not SNAPSHOT:
            one.restore(outgoing(first))
        one.invariants()
        assert one.match >= match
        assert one.inflight_bytes == 10 * len(one.inflight)
