"""The layouts of a session: what is read of a body is what was written into it. The bytes are one body, or frames."""

from __future__ import annotations

from casty_proto.wire import FrameDecoder, FrameError, Malformed
from casty_proto.wire.envelopes import (
    ASK,
    FOUND,
    LOOKUP,
    ONE,
    REFUSED,
    TELL,
    TWO,
    frame_one,
    frame_two,
    numbers,
    path_of,
)

LIMIT = 2**20
TEXT_MAX = 500
WITH_TWO = (ASK, LOOKUP, FOUND, REFUSED)


def fuzz_envelopes(data: bytes) -> None:
    """Raise for a bug: another exception than `Malformed`, a body that is read otherwise than it was written."""
    try:
        frames = FrameDecoder(LIMIT).feed(data)
    except FrameError as error:
        frames = error.frames
    for body in (data, *frames):
        if body:
            _read(body)


def _read(body: bytes) -> None:
    try:
        first, second = numbers(body)
        if body[0] == LOOKUP:
            assert path_of(body).encode() == body[TWO.size :]
    except Malformed as error:
        if len(str(error)) >= TEXT_MAX:
            raise AssertionError("an error quotes too much of what came") from error
        return
    assert TELL <= body[0] <= REFUSED
    if body[0] in WITH_TWO:
        written = frame_two(body[0], first, second, body[TWO.size :])
    else:
        assert second == 0
        written = frame_one(body[0], first, body[ONE.size :])
    assert FrameDecoder(LIMIT).feed(written) == [body]
