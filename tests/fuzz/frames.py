"""The frame decoder, against a slow reading of the same rules. The bytes are a stream, and then bodies to be sent."""

from __future__ import annotations

from random import Random
from zlib import crc32

from casty_proto.wire import FrameDecoder, FrameError, frame
from casty_proto.wire.frame import HEADER_SIZE, Bytes

LIMITS = (1, 16, 300, 2**20)
SPLIT_EVERYWHERE_MAX = 48
"""Shorter streams are split in two at every place."""

type Outcome = tuple[list[bytes], bool, int]
"""The bodies, whether a length was refused, and how many bytes are kept for later."""


def fuzz_frames(data: bytes) -> None:
    """Raise for a bug: frames that depend on where the stream was cut, too much that is kept, another exception."""
    rng = Random(crc32(data))
    for limit in LIMITS:
        expected = _slowly(data, limit)
        for pieces in _cuts(data, rng):
            got = _fed(pieces, limit)
            assert got == expected, f"cut into {[len(piece) for piece in pieces]}: {got}, expected {expected}"
        assert _one_at_a_time(data, limit) == expected
        _sent(data, limit, rng)
    _limit_that_grows(data)


def _slowly(stream: bytes, limit: int) -> Outcome:
    """Rules 1 to 3 of the package, one step after the other."""
    bodies: list[bytes] = []
    while len(stream) >= HEADER_SIZE:
        length = int.from_bytes(stream[:HEADER_SIZE])
        if length == 0 or length > limit:
            return bodies, True, 0
        if len(stream) < HEADER_SIZE + length:
            break
        bodies.append(stream[HEADER_SIZE : HEADER_SIZE + length])
        stream = stream[HEADER_SIZE + length :]
    return bodies, False, len(stream)


def _cuts(data: bytes, rng: Random) -> list[list[Bytes]]:
    """The stream whole, in bytes, in random pieces, in two at every place, and as the types that drivers have."""
    found: list[list[Bytes]] = [[data], [bytearray(data)], [b"", memoryview(data), b""]]
    if len(data) <= 4096:
        found.append([data[at : at + 1] for at in range(len(data))])
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 8)))
    found.append([data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)])
    if len(data) <= SPLIT_EVERYWHERE_MAX:
        found += [[data[:at], data[at:]] for at in range(len(data) + 1)]
    return found


def _fed(pieces: list[Bytes], limit: int) -> Outcome:
    decoder = FrameDecoder(limit)
    bodies: list[bytes] = []
    for piece in pieces:
        try:
            bodies += decoder.feed(piece)
        except FrameError as error:
            bodies += error.frames
            _is_lost(decoder, str(error))
            return bodies, True, 0
        assert decoder.buffered < HEADER_SIZE + limit, "more is kept than an unfinished frame"
    assert all(type(body) is bytes for body in bodies)
    return bodies, False, decoder.buffered


def _is_lost(decoder: FrameDecoder, text: str) -> None:
    """A stream that was lost once stays lost, and nothing of it is kept."""
    for more in (b"", b"\0\0\0\1x"):
        found = None
        try:
            decoder.feed(more)
        except FrameError as error:
            found = error.frames, str(error)
        assert found == ([], text), "frames were found again after a wrong length"
    assert decoder.buffered == 0
    assert len(text) < 200


def _one_at_a_time(data: bytes, limit: int) -> Outcome:
    """As during a handshake: `feed` is told to stop after each body."""
    decoder, bodies, piece = FrameDecoder(limit), list[bytes](), data
    while True:
        try:
            found = decoder.feed(piece, at_most=1)
        except FrameError as error:
            return bodies + error.frames, True, 0
        if not found:
            return bodies, False, decoder.buffered
        bodies += found
        assert len(found) == 1
        assert decoder.buffered == len(data) - sum(HEADER_SIZE + len(body) for body in bodies)
        piece = b""


def _limit_that_grows(data: bytes) -> None:
    """The end of a handshake: the frames after the first have another limit, wherever they are cut."""
    (bodies, failed, _), decoder = _slowly(data, LIMITS[1]), FrameDecoder(LIMITS[1])
    if failed and not bodies:
        return
    first = decoder.feed(data, at_most=1)
    assert first == bodies[:1]
    decoder.allow(LIMITS[3])
    expected = _slowly(data[sum(HEADER_SIZE + len(body) for body in first) :], LIMITS[3])
    try:
        got: Outcome = (decoder.feed(b""), False, decoder.buffered)
    except FrameError as error:
        got = (error.frames, True, 0)
    assert got == expected


def _sent(data: bytes, limit: int, rng: Random) -> None:
    """What a sender makes is what a receiver finds."""
    sizes = [rng.randrange(1, limit + 1) for _ in range(3)]
    bodies = [body for size, start in zip(sizes, (0, 7, 1), strict=True) if (body := data[start : start + size])]
    stream = b"".join([frame(body, limit) for body in bodies])
    assert _fed([stream], limit) == (bodies, False, 0)
