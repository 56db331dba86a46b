"""Frames. Rules 1 to 4; K-03, K-04, K-05, K-06."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.wire.errors import EncodeError, FrameError
from casty_proto.wire.frame import HEADER, MAX_FRAME_LIMIT, FrameDecoder, frame

MAX = 1000
bodies = st.lists(st.binary(min_size=1, max_size=50), max_size=10)


def test_rule_1_a_frame_is_four_bytes_of_length_and_a_body() -> None:
    assert frame(b"abc", MAX) == b"\x00\x00\x00\x03abc"
    assert FrameDecoder(MAX).feed(b"\x00\x00\x00\x03abc") == [b"abc"]


@pytest.mark.parametrize("size", [1, MAX])
def test_rule_2_lengths_up_to_the_limit_are_taken(size: int) -> None:
    assert FrameDecoder(MAX).feed(frame(bytes(size), MAX)) == [bytes(size)]


def test_rule_2_the_sender_does_not_make_what_the_limit_forbids() -> None:
    with pytest.raises(EncodeError, match="length 1001; the limit is 1000"):
        frame(bytes(MAX + 1), MAX)
    with pytest.raises(EncodeError, match="length 0"):
        frame(b"", MAX)


@pytest.mark.parametrize("length", [0, MAX + 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_rule_2_k_04_other_lengths_are_refused_as_soon_as_they_are_there(length: int) -> None:
    decoder = FrameDecoder(MAX)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match=f"length {length};") as caught:
            decoder.feed(b"\x00\x00\x00\x01a" + HEADER.pack(length))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert caught.value.frames == [b"a"]
    if length:
        assert "the limit is 1000" in str(caught.value)
    with pytest.raises(FrameError, match=f"length {length};"):
        decoder.feed(frame(b"b", MAX))


@given(bodies, st.data())
def test_rule_3_k_03_frames_may_be_split_anywhere(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(body, MAX) for body in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    decoder, received = FrameDecoder(MAX), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.feed(stream[start:end])
    assert received == sent
    assert decoder.buffered == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_rule_3_k_03_one_byte_at_a_time_and_all_at_once(kind: type) -> None:
    sent = [bytes([n]) * n for n in range(1, 60)]
    stream = b"".join(frame(body, MAX) for body in sent)
    decoder = FrameDecoder(MAX)
    assert [body for n in range(len(stream)) for body in decoder.feed(kind(stream[n : n + 1]))] == sent
    assert decoder.feed(kind(stream)) == sent
    assert all(type(body) is bytes for body in decoder.feed(kind(stream)))


def test_rule_3_k_05_a_length_over_what_comes_waits_for_more() -> None:
    decoder = FrameDecoder(MAX)
    assert decoder.feed(b"\x00\x00\x00\x05abcd") == []
    assert decoder.feed(b"e\x00") == [b"abcde"]
    assert decoder.buffered == 1


def test_rule_3_k_06_half_a_frame_is_all_that_is_kept() -> None:
    decoder = FrameDecoder(MAX)
    assert decoder.feed(HEADER.pack(MAX)) == []
    for sent in range(1, MAX):
        assert decoder.feed(b"x") == []
        assert decoder.buffered == 4 + sent
    assert decoder.feed(b"x") == [b"x" * MAX]
    assert decoder.buffered == 0


def test_rule_4_a_limit_that_grows_counts_from_the_next_frame_on() -> None:
    decoder = FrameDecoder(3)
    stream = frame(b"abc", MAX) + frame(b"d" * MAX, MAX)
    assert decoder.feed(stream, at_most=1) == [b"abc"]
    decoder.allow(MAX)
    assert decoder.feed(b"") == [b"d" * MAX]
    assert decoder.buffered == 0


def test_rule_4_what_was_kept_is_measured_by_a_limit_that_shrinks() -> None:
    decoder = FrameDecoder(MAX)
    assert decoder.feed(frame(b"d" * MAX, MAX)[:-9]) == []
    decoder.allow(3)
    with pytest.raises(FrameError, match="the limit is 3 bytes"):
        decoder.feed(b"d")


@pytest.mark.parametrize("limit", [0, -1, MAX_FRAME_LIMIT + 1])
def test_a_limit_is_a_sensible_number(limit: int) -> None:
    with pytest.raises(ValueError, match="max_frame must be between"):
        FrameDecoder(limit)


@given(st.lists(st.binary(max_size=30)))
def test_k_20_random_bytes_make_frames_or_a_frame_error(chunks: list[bytes]) -> None:
    decoder = FrameDecoder(MAX)
    for chunk in chunks:
        with suppress(FrameError):
            decoder.feed(chunk)
        assert decoder.buffered <= MAX + 4 + len(chunk)
