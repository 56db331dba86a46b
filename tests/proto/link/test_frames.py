"""What is said about a link: each frame comes out as it went in, and nothing else is one."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.link import (
    COUNTED,
    Ack,
    Bye,
    Idle,
    LinkFrame,
    PingFrame,
    Pong,
    Resume,
    SayBusy,
    SayFresh,
    SayResumed,
    packed,
    unpacked,
)
from casty_proto.link.frames import NUMBER_MAX, TEXT_MAX
from casty_proto.wire import Malformed

FRAMES: list[LinkFrame] = [
    Resume(0, 0),
    Resume(NUMBER_MAX, NUMBER_MAX),
    Resume(5, 6, insists=True),
    SayResumed(5, 6),
    SayResumed(NUMBER_MAX, 0),
    SayFresh(1),
    SayFresh(NUMBER_MAX),
    SayBusy(),
    Ack(0),
    Ack(NUMBER_MAX),
    PingFrame(3),
    Pong(3),
    Idle(),
    Bye(""),
    Bye("the end, for ever and \N{SNOWMAN}"),
    Bye("x" * TEXT_MAX),
    Bye("\N{GRINNING FACE}" * TEXT_MAX),
]


def read(body: bytes) -> LinkFrame | None:
    """The frame, or none. Anything but `Malformed` goes through."""
    try:
        return unpacked(body)
    except Malformed:
        return None


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: repr(frame)[:40])
def test_rule_16_a_frame_comes_out_as_it_went_in(frame: LinkFrame) -> None:
    body = packed(frame)
    assert unpacked(body) == frame
    assert body[0] < COUNTED


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: repr(frame)[:40])
def test_rule_16_no_beginning_of_a_frame_is_one_but_that_of_a_farewell(frame: LinkFrame) -> None:
    body = packed(frame)
    for size in range(len(body)):
        # A two-number frame is never cut to a one-number frame, since the first byte says which it is.
        assert read(body[:size]) is None or isinstance(frame, Bye)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: repr(frame)[:40])
def test_rule_16_a_frame_with_a_flipped_bit_is_a_frame_or_malformed(frame: LinkFrame) -> None:
    body = packed(frame)[:40]
    for bit in range(8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        found = read(bytes(flipped))
        assert found is None or unpacked(packed(found)) == found


@settings(max_examples=200, deadline=None, derandomize=True)
@given(first=st.integers(0, 255), rest=st.binary(max_size=20))
def test_rule_16_whatever_comes_is_a_frame_or_malformed(first: int, rest: bytes) -> None:
    found = read(bytes([first]) + rest)
    assert found is None or packed(found)[0] == first


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        bytes([11]),
        bytes([COUNTED - 1]),
        pack(">BQ", 3, 0),
        pack(">BQ", 3, NUMBER_MAX + 1),
        pack(">BQ", 5, 2**64 - 1),
        pack(">BQQ", 1, 0, NUMBER_MAX + 1),
        pack(">BQQ", 2, NUMBER_MAX + 1, 0),
        pack(">BQQ", 5, 1, 1),
        pack(">BQ", 1, 1),
        pack(">BQ", 4, 1),
        pack(">BQ", 8, 1),
        bytes([5]),
        bytes([9]) + b"x" * (4 * TEXT_MAX + 1),
    ],
)
def test_rule_16_what_is_no_frame_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        unpacked(body)


def test_rule_14_a_farewell_is_cut_to_what_may_be_sent_and_shown() -> None:
    assert unpacked(packed(Bye("x" * (TEXT_MAX + 1)))) == Bye("x" * TEXT_MAX)
    assert unpacked(packed(Bye("one\ntwo\x1b[31m"))) == Bye("one?two?[31m")
    assert unpacked(packed(Bye("\ud800"))) == Bye("?")
    assert unpacked(bytes([9, 0xFF])) == Bye("\N{REPLACEMENT CHARACTER}")
    assert unpacked(bytes([9]) + b"x" * 4 * TEXT_MAX) == Bye("x" * TEXT_MAX)
