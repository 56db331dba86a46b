"""What an owner leaves to the next: `cluster/handover.py`. How it travels is in test_moving.py."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.cluster.handover import (
    NAME,
    Handover,
    decode_handover,
    encode_handover,
    is_entity,
    is_part,
    part_name,
)
from casty_proto.shard.channel import Record

NUMBERS = st.integers(0, 2**63 - 1)
RECORDS = st.builds(Record, NUMBERS, st.lists(st.tuples(st.text(max_size=9), NUMBERS, NUMBERS), max_size=5).map(tuple))
HANDOVERS = st.builds(Handover, NUMBERS, RECORDS, st.lists(st.binary(max_size=30), max_size=5).map(tuple))


@given(HANDOVERS, st.integers(1, 100))
def test_what_was_encoded_is_decoded(handover: Handover, most: int) -> None:
    parts = encode_handover(handover, most)
    assert [name for name, _ in parts] == [part_name(number) for number in range(len(parts))]
    assert decode_handover(dict(parts)) == handover


@given(HANDOVERS, st.integers(1, 60))
def test_the_messages_of_a_part_weigh_as_much_as_is_allowed_or_are_one(handover: Handover, most: int) -> None:
    parts = encode_handover(handover, most)
    for number, (_, data) in enumerate(parts):
        items = msgpack.unpackb(data)[3 if number == 0 else 2]
        assert sum(map(len, items)) <= most or len(items) == 1
        assert items or number == 0


@given(HANDOVERS, st.data())
def test_without_one_of_its_parts_or_with_one_of_another_epoch_there_is_none(
    handover: Handover, data: st.DataObject
) -> None:
    parts = encode_handover(handover, 10)
    other = encode_handover(Handover(handover.epoch + 1, handover.record, handover.waiting), 10)
    number = data.draw(st.integers(0, len(parts) - 1))
    assert decode_handover(dict([*parts[:number], *parts[number + 1 :]])) is None
    if len(parts) > 1:
        assert decode_handover(dict([*parts[:number], other[number], *parts[number + 1 :]])) is None
    assert decode_handover(dict([*parts, (part_name(len(parts)), b"of an earlier one")])) == handover


@given(HANDOVERS, st.data())
def test_what_is_cut_off_or_has_something_behind_it_is_none(handover: Handover, data: st.DataObject) -> None:
    parts = encode_handover(handover, 20)
    name, encoded = data.draw(st.sampled_from(parts))
    assert decode_handover({**dict(parts), name: encoded[: data.draw(st.integers(0, len(encoded) - 1))]}) is None
    assert decode_handover({**dict(parts), name: encoded + b"\x00"}) is None


@given(st.binary(max_size=60))
def test_any_bytes_are_one_or_none(data: bytes) -> None:
    found = decode_handover({NAME: data})
    assert found is None or decode_handover(dict(encode_handover(found, 100))) == found


@pytest.mark.parametrize(
    "thing",
    [
        None,
        [],
        [1, 1, [], []],
        [1, 1, [], [], []],
        [1, 1, [], [], -1],
        [1, 1, [], [], 2**62],
        [1, 1, [], [], 1, 1],
        [-1, 1, [], [], 1],
        [1, -1, [], [], 1],
        [True, 1, [], [], 1],
        [1.0, 1, [], [], 1],
        [1, "1", [], [], 1],
        [1, 1, [["a", 1]], [], 1],
        [1, 1, [["a", 1, -1]], [], 1],
        [1, 1, [[b"a", 1, 1]], [], 1],
        [1, 1, [["a", None, 1]], [], 1],
        [1, 1, 5, [], 1],
        [1, 1, [], 5, 1],
        [1, 1, [], ["text"], 1],
        [1, 1, [], [None], 1],
        {"epoch": 1},
    ],
)
def test_what_is_packed_and_no_hand_over_is_none(thing: Any) -> None:
    assert decode_handover({NAME: msgpack.packb(thing)}) is None


@pytest.mark.parametrize("thing", [None, [1, 1], [2, 1, []], [1, 2, []], [1, 1, 5], [1, 1, ["text"]], [1, 1, [], 1]])
def test_what_is_packed_and_no_second_part_is_none(thing: Any) -> None:
    first = msgpack.packb([1, 1, [], [b"x"], 2])
    assert decode_handover({NAME: first, part_name(1): msgpack.packb(thing)}) is None
    assert decode_handover({NAME: first, part_name(1): msgpack.packb([1, 1, [b"y"]])}) is not None


def test_no_entity_can_have_the_names_under_which_it_is_kept() -> None:
    assert not any(is_entity(part_name(number)) for number in range(3))
    assert all(is_part(part_name(number)) for number in range(3))
    assert not is_part("handover")


@pytest.mark.parametrize("name", ["x", "ä", " ", "a\x00b", "x" * 4096, "ä" * 2048])
def test_other_texts_of_at_most_4096_bytes_are_names_of_entities(name: str) -> None:
    assert is_entity(name)


@pytest.mark.parametrize("name", ["", "\x00", "\x00x", "x" * 4097, "ä" * 2049, "\ud800", 7, None, b"x"])
def test_what_is_no_text_or_too_long_is_no_name_of_an_entity(name: Any) -> None:
    assert not is_entity(name)
