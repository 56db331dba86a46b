"""Frames: a length of four bytes, big-endian, and that many bytes of body (rules 1 to 4 of the package).

The decoder keeps what is not yet a whole frame, and never more than that: a length is checked when its four bytes are
there, and memory grows with what has arrived, not with what was announced. Bytes of whole frames are copied once, out
of what was fed.
"""

from __future__ import annotations

from struct import Struct

from .errors import EncodeError, FrameError

HEADER = Struct(">I")
HEADER_SIZE = HEADER.size
MAX_FRAME_LIMIT = 2**31 - 1
"""No limit is above this, so that the length could be read as a signed number as well."""

type Bytes = bytes | bytearray | memoryview


def check_max_frame(max_frame: int) -> int:
    """The limit, if it is one. Raises `ValueError` or `TypeError`."""
    if type(max_frame) is not int:
        raise TypeError(f"max_frame must be an int, not {type(max_frame).__name__}")
    if not 1 <= max_frame <= MAX_FRAME_LIMIT:
        raise ValueError(f"max_frame must be between 1 and {MAX_FRAME_LIMIT}, not {max_frame}")
    return max_frame


def frame(body: bytes, max_frame: int) -> bytes:
    """The body with its length before it; `max_frame` is the limit for the body, in bytes.

    Raises `EncodeError` for an empty body and for one over the limit.
    """
    length = len(body)
    if not 0 < length <= max_frame:
        raise EncodeError(_problem(length, max_frame))
    return HEADER.pack(length) + body


class FrameDecoder:
    """Cuts what arrives over one connection into bodies, each of at most `max_frame` bytes.

    Raises `ValueError` or `TypeError` for a limit that is none.
    """

    __slots__ = ("_buffer", "_failure", "_max_frame", "_wanted")

    def __init__(self, max_frame: int) -> None:
        self._max_frame = check_max_frame(max_frame)
        self._buffer = bytearray()
        self._wanted = HEADER_SIZE
        """How many bytes must be in the buffer before it is worth looking at it."""
        self._failure: str | None = None

    @property
    def max_frame(self) -> int:
        """The longest body that is taken, in bytes."""
        return self._max_frame

    @property
    def buffered(self) -> int:
        """How many bytes wait for the rest of their frame. At most a frame, unless `feed` was told to stop before."""
        return len(self._buffer)

    def allow(self, max_frame: int) -> None:
        """Change the limit for all frames that were not yet returned. Raises `ValueError` or `TypeError`."""
        self._max_frame = check_max_frame(max_frame)
        self._wanted = HEADER_SIZE

    def feed(self, data: Bytes, at_most: int | None = None) -> list[bytes]:
        """The bodies that are complete with `data`; no more than `at_most`, if given, and the rest is kept.

        `feed(b"")` goes on where `at_most` stopped. Raises `FrameError`, which has the frames before the bad length,
        and raises it again for every further call: a stream is not found again once it is lost.
        """
        if self._failure is not None:
            raise FrameError(self._failure, [])
        if not self._buffer:
            return self._cut(data, at_most)
        self._buffer += data
        if len(self._buffer) < self._wanted:
            return []
        data, self._buffer = self._buffer, bytearray()
        return self._cut(data, at_most)

    def _cut(self, data: Bytes, at_most: int | None) -> list[bytes]:
        frames: list[bytes] = []
        start, size, limit, wanted = 0, len(data), self._max_frame, HEADER_SIZE
        while start + HEADER_SIZE <= size and len(frames) != at_most:
            (length,) = HEADER.unpack_from(data, start)
            if not 0 < length <= limit:
                self._failure = _problem(length, limit)
                raise FrameError(self._failure, frames)
            end = start + HEADER_SIZE + length
            if end > size:
                wanted = HEADER_SIZE + length
                break
            frames.append(bytes(data[start + HEADER_SIZE : end]))
            start = end
        self._wanted = wanted
        if start < size:
            self._buffer = bytearray(data[start:])
        return frames


def _problem(length: int, limit: int) -> str:
    if length == 0:
        return "a frame has the length 0; every frame has a body"
    return f"a frame has the length {length}; the limit is {limit} bytes"
