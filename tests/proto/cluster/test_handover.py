"""What an owner leaves to the next: `cluster/handover.py`. How it travels is in test_moving.py."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.cluster.handover import NAME, Handover, decode_handover, encode_handover, is_entity
from casty_proto.shard.channel import Record

NUMBERS = st.integers(0, 2**63 - 1)
RECORDS = st.builds(Record, NUMBERS, st.lists(st.tuples(st.text(max_size=9), NUMBERS, NUMBERS), max_size=5).map(tuple))
HANDOVERS = st.builds(Handover, NUMBERS, RECORDS, st.lists(st.binary(max_size=30), max_size=5).map(tuple))


@given(HANDOVERS)
def test_what_was_encoded_is_decoded(handover: Handover) -> None:
    assert decode_handover(encode_handover(handover)) == handover


@given(HANDOVERS, st.data())
def test_what_is_cut_off_or_has_something_behind_it_is_none(handover: Handover, data: st.DataObject) -> None:
    encoded = encode_handover(handover)
    assert decode_handover(encoded[: data.draw(st.integers(0, len(encoded) - 1))]) is None
    assert decode_handover(encoded + b"\x00") is None


@given(st.binary(max_size=60))
def test_any_bytes_are_one_or_none(data: bytes) -> None:
    found = decode_handover(data)
    assert found is None or decode_handover(encode_handover(found)) == found


@pytest.mark.parametrize(
    "thing",
    [
        None,
        [],
        [1, 1, []],
        [1, 1, [], [], []],
        [-1, 1, [], []],
        [1, -1, [], []],
        [True, 1, [], []],
        [1.0, 1, [], []],
        [1, "1", [], []],
        [1, 1, [["a", 1]], []],
        [1, 1, [["a", 1, -1]], []],
        [1, 1, [[b"a", 1, 1]], []],
        [1, 1, [["a", None, 1]], []],
        [1, 1, 5, []],
        [1, 1, [], 5],
        [1, 1, [], ["text"]],
        [1, 1, [], [None]],
        {"epoch": 1},
    ],
)
def test_what_is_packed_and_no_hand_over_is_none(thing: Any) -> None:
    assert decode_handover(msgpack.packb(thing)) is None


def test_no_entity_can_have_the_name_under_which_it_is_kept() -> None:
    assert not is_entity(NAME)


@pytest.mark.parametrize("name", ["x", "ä", " ", "a\x00b", "x" * 4096, "ä" * 2048])
def test_other_texts_of_at_most_4096_bytes_are_names_of_entities(name: str) -> None:
    assert is_entity(name)


@pytest.mark.parametrize("name", ["", "\x00", "\x00x", "x" * 4097, "ä" * 2049, "\ud800", 7, None, b"x"])
def test_what_is_no_text_or_too_long_is_no_name_of_an_entity(name: Any) -> None:
    assert not is_entity(name)
