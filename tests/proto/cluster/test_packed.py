"""Messages of channels as bytes: `cluster/packed.py`."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.cluster.messages import Envelope, Routed, Seek
from casty_proto.cluster.packed import ACCEPTED, POST, is_packed, packed, unpacked
from casty_proto.shard.channel import Accepted, Hello, Moved, Post, Welcome
from casty_proto.wire import Malformed

_NUMBERS = st.integers(0, 2**63 - 1)
_NAMES = st.text(max_size=20)
_POSTS = st.builds(Post, _NUMBERS, _NUMBERS, _NUMBERS, st.lists(st.binary(max_size=50), max_size=20).map(tuple))
_ACCEPTED = st.builds(Accepted, _NUMBERS, _NUMBERS, _NUMBERS)
_ROUTED = st.builds(Routed, _NAMES, _NUMBERS, _POSTS | _ACCEPTED)
GOOD = ["a.1", "a", "a.1", "b.1", "r", 0, 1, 2, 3]


def of(kind: bytes, parts: object) -> bytes:
    data: bytes = msgpack.packb(parts)
    return kind + data


@given(st.builds(Envelope, _NAMES, _NAMES, _NAMES, _NAMES | st.none(), _ROUTED))
def test_what_is_packed_comes_out_equal(message: Envelope) -> None:
    body = packed(message)
    assert body is not None
    assert is_packed(body)
    assert unpacked(body) == message


@pytest.mark.parametrize(
    "body",
    [Seek((), 0), Routed("r", 0, Hello(1, 1, 1)), Routed("r", 0, Welcome(1, 1, 1)), Routed("r", 0, Moved(1, None, 1))],
)
def test_all_else_is_left_to_the_codec(body: Any) -> None:
    assert packed(Envelope("a.1", "a", "a.1", None, body)) is None


@pytest.mark.parametrize("parts", [Post(2**70, 1, 1, ()), Post(1, 1, 1, ("\ud800",)), Post(1, 1, 1, (object(),))])
def test_what_cannot_be_packed_is_left_to_the_codec_which_says_why(parts: Any) -> None:
    assert packed(Envelope("a.1", "a", "a.1", None, Routed("r", 0, parts))) is None


@pytest.mark.parametrize(
    "body",
    [
        POST,
        ACCEPTED,
        POST + b"\xc1",
        of(POST, None),
        of(POST, []),
        of(POST, GOOD[:8]),
        of(ACCEPTED, GOOD[:8]),
        of(ACCEPTED, [*GOOD, 4]),
        of(POST, [*GOOD, "text"]),
        of(POST, [*GOOD, b"x", None]),
        of(POST, [*GOOD, [b"x"]]),
        of(POST, {0: 1}),
        of(POST, [*GOOD[:8], msgpack.ExtType(1, b"")]),
        of(POST, GOOD) + b"\x00",
        *[of(POST, [*GOOD[:place], 1.5, *GOOD[place + 1 :]]) for place in range(9)],
        *[of(ACCEPTED, [*GOOD[:place], True, *GOOD[place + 1 :]]) for place in range(9)],
        POST + b"\x91" * 100_000,
        POST + b"\xdd\xff\xff\xff\xff",
    ],
)
def test_rubbish_is_malformed(body: bytes) -> None:
    assert is_packed(body)
    with pytest.raises(Malformed):
        unpacked(body)


@given(st.sampled_from([POST, ACCEPTED]), st.binary(max_size=100))
def test_whatever_comes_is_a_message_or_malformed(kind: bytes, rest: bytes) -> None:
    try:
        message = unpacked(kind + rest)
    except Malformed:
        return
    assert packed(message) is not None
