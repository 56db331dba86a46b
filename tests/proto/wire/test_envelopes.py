"""The layouts of a session. K-01, K-02, K-05, K-10, K-12, K-24."""

from __future__ import annotations

import pytest

from casty_proto.wire import Malformed
from casty_proto.wire.envelopes import (
    ANSWER,
    ASK,
    FAILED,
    FORGET,
    FOUND,
    LOOKUP,
    REFUSED,
    TELL,
    TELL_FROM,
    TERMINATED,
    UNWATCH,
    WATCH,
    frame_one,
    frame_two,
    numbers,
    path_of,
)
from casty_proto.wire.frame import HEADER_SIZE
from tests.fuzz.envelopes import fuzz_envelopes

BIG = 2**64 - 1
GOOD: list[tuple[bytes, tuple[int, int]]] = [
    *[(frame_one(kind, BIG, b"v"), (BIG, 0)) for kind in (TELL, TELL_FROM, ANSWER, FAILED)],
    *[(frame_one(kind, 7), (7, 0)) for kind in (FORGET, WATCH, UNWATCH, TERMINATED)],
    (frame_two(ASK, 1, BIG, b"v"), (1, BIG)),
    *[(frame_two(kind, BIG, 2), (BIG, 2)) for kind in (FOUND, REFUSED)],
    (frame_two(LOOKUP, 1, 0, "/user/ä".encode()), (1, 0)),
]
WITHOUT_REST = (FORGET, WATCH, UNWATCH, TERMINATED, FOUND, REFUSED)


def body_of(frame: bytes) -> bytes:
    assert int.from_bytes(frame[:HEADER_SIZE]) == len(frame) - HEADER_SIZE
    return frame[HEADER_SIZE:]


@pytest.mark.parametrize(("frame", "expected"), GOOD, ids=lambda part: part[4] if isinstance(part, bytes) else "")
def test_what_was_written_is_read(frame: bytes, expected: tuple[int, int]) -> None:
    assert numbers(body_of(frame)) == expected


def test_each_kind_is_written_and_read_here() -> None:
    assert sorted(frame[HEADER_SIZE] for frame, _ in GOOD) == [*range(TELL, REFUSED + 1)]
    assert path_of(body_of(GOOD[-1][0])) == "/user/ä"


def test_k_01_a_body_that_is_cut_off_within_its_numbers_or_before_its_value_is_malformed() -> None:
    for frame, _ in GOOD:
        body = body_of(frame)
        shortest = 17 if body[0] == LOOKUP else len(body)
        for size in range(1, shortest):
            with pytest.raises(Malformed, match=f"kind {body[0]} has {size} bytes"):
                numbers(body[:size])


def test_k_02_every_flipped_bit_makes_other_numbers_or_is_malformed() -> None:
    for frame, _ in GOOD:
        body = bytearray(body_of(frame))
        for bit in range(len(body) * 8):
            body[bit // 8] ^= 1 << bit % 8
            fuzz_envelopes(bytes(body))
            body[bit // 8] ^= 1 << bit % 8


def test_k_05_a_byte_too_many_is_malformed_where_no_value_follows() -> None:
    for frame, _ in GOOD:
        body = body_of(frame)
        if body[0] in WITHOUT_REST:
            with pytest.raises(Malformed, match=f"has {len(body) + 1} bytes"):
                numbers(body + b"x")


@pytest.mark.parametrize("kind", [0, 1, TELL - 1, REFUSED + 1, 0xC1, 255])
def test_k_10_an_unknown_kind_is_malformed(kind: int) -> None:
    with pytest.raises(Malformed, match=f"has the kind {kind}, which is none"):
        numbers(bytes([kind]) + bytes(16))


def test_k_12_k_24_a_path_that_is_no_text_is_malformed_and_is_quoted_in_short() -> None:
    for path in (b"\xff" * 5000, b"/a\xc3", b"\xed\xa0\x80"):
        with pytest.raises(Malformed, match="a path is no text") as caught:
            path_of(body_of(frame_two(LOOKUP, 1, 0, path)))
        assert len(str(caught.value)) < 200
