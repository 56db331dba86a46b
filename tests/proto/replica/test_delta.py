"""Rule 10: deltas reproduce states, and rubbish is none."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from casty_proto.replica import delta

TEXT = st.binary(max_size=80)
RUNS = st.lists(st.one_of(TEXT, st.integers(0, 200).map(bytes)), max_size=6).map(b"".join)


@given(RUNS, RUNS)
@example(b"", b"")
@example(b"x", b"")
@example(bytes(1000), bytes(999))
def test_rule_10_a_delta_reproduces_the_state(base: bytes, target: bytes) -> None:
    assert delta.apply(base, delta.encode(base, target)) == target


@given(st.lists(st.tuples(TEXT, TEXT, st.sampled_from(["same", "new", "gone", "more"])), max_size=8))
def test_rule_10_a_delta_of_an_edited_state_reproduces_it(parts: list[tuple[bytes, bytes, str]]) -> None:
    base = b"".join(old for old, _, _ in parts)
    edits = {"same": (1, 0), "new": (0, 1), "gone": (0, 0), "more": (1, 1)}
    target = b"".join(old * edits[kind][0] + new * edits[kind][1] for old, new, kind in parts)
    assert delta.apply(base, delta.encode(base, target)) == target


@given(TEXT, TEXT)
def test_rule_10_prefix_and_suffix_are_those_of_a_slow_and_obvious_search(a: bytes, b: bytes) -> None:
    slow = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert delta.common_prefix(a, b) == slow
    assert delta.common_suffix(a[::-1], b[::-1]) == slow


@pytest.mark.parametrize("touched", [["f0"], ["f50"], ["f99"], ["f3", "f40", "f90"]])
def test_rule_10_one_field_of_many_costs_a_few_bytes(touched: list[str]) -> None:
    fields: dict[str, object] = {f"f{n}": f"value number {n} of the state" for n in range(100)}
    base = msgpack.packb(fields)
    target = msgpack.packb(fields | dict.fromkeys(touched, "something of another length altogether"))
    difference = delta.encode(base, target)
    assert delta.apply(base, difference) == target
    assert len(difference) < 100 * len(touched) < len(target) / 10


def test_rule_10_the_same_state_is_a_few_bytes() -> None:
    assert len(delta.encode(bytes(range(256)) * 40, bytes(range(256)) * 40)) < 10


def test_rule_10_a_search_that_finds_nothing_ends() -> None:
    base, target = bytes(range(256)) * 2000, bytes(range(255, -1, -1)) * 2000
    assert delta.apply(base, delta.encode(base, target)) == target
    assert delta.apply(target[:60_000], delta.encode(target[:60_000], base[:60_000])) == base[:60_000]


@given(TEXT, TEXT)
def test_rule_25_rubbish_is_no_delta_or_makes_no_more_than_there_is(base: bytes, rubbish: bytes) -> None:
    try:
        made = delta.apply(base, rubbish)
    except delta.DeltaError:
        return
    assert len(made) <= len(base) + len(rubbish)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",  # no size
        b"\x01",  # a byte is missing
        b"\x00\x02x",  # more than the size
        b"\x02\x04x",  # a piece that is cut off
        b"\x03\x07\x01",  # a run beyond the end
        b"\x06\x07\x00\x07\x00",  # a run that begins beyond the end
        b"\x00\x00",  # an empty piece
        b"\x80" * 12,  # a number without an end
        b"\x03\x07",  # a run from nowhere
    ],
)
def test_rule_25_a_malformed_delta_is_refused(rubbish: bytes) -> None:
    with pytest.raises(delta.DeltaError):
        delta.apply(b"abc", rubbish)
