"""What two systems say to each other over a link: the layouts of the frames that a session carries.

Each begins with its kind, and with the numbers that it is about. A value in the codec of the session follows where the
table says so. Actors are known by the incarnation in their refs, and whatever has one can be told something: actors,
and the handles of asks.

| kind       | numbers             | then                                                              |
|------------|---------------------|-------------------------------------------------------------------|
| TELL       | receiver            | message                                                           |
| TELL_FROM  | receiver            | (message, sender)                                                 |
| ASK        | receiver, ask       | message                                                           |
| ANSWER     | ask                 | the answer                                                        |
| FAILED     | ask                 | (kind of error, text, cause or `None`, traceback)                 |
| FORGET     | ask                 |                                                                   |
| WATCH      | actor               |                                                                   |
| UNWATCH    | actor               |                                                                   |
| TERMINATED | actor               |                                                                   |
| LOOKUP     | request, incarnation or 0 | the path, in UTF-8                                          |
| FOUND      | request, incarnation or 0 |                                                             |
| REFUSED    | number of a frame, reason |                                                             |
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

from .errors import Malformed, shown
from .frame import HEADER_SIZE

TELL: Final = 32
TELL_FROM: Final = 33
ASK: Final = 34
ANSWER: Final = 35
FAILED: Final = 36
FORGET: Final = 37
WATCH: Final = 38
UNWATCH: Final = 39
TERMINATED: Final = 40
LOOKUP: Final = 41
FOUND: Final = 42
REFUSED: Final = 43

ONE = Struct(">BQ")
"""A kind and a number."""
TWO = Struct(">BQQ")
"""A kind and two numbers."""
FRAME_ONE = Struct(">IBQ")
"""The same with the length of the frame before it, as it is written."""
FRAME_TWO = Struct(">IBQQ")

_NUMBERS = {LOOKUP: 2, ASK: 2, FOUND: 2, REFUSED: 2}
_WITH_VALUE = (TELL, TELL_FROM, ASK, ANSWER, FAILED)


class RefusedBecause(IntEnum):
    """Why a frame was not delivered. The values are those on the wire."""

    UNKNOWN = 1
    """Nobody has that incarnation, or no longer."""
    UNDECODABLE = 2


def frame_one(kind: int, number: int, rest: bytes = b"") -> bytes:
    """A whole frame with one number."""
    return FRAME_ONE.pack(ONE.size + len(rest), kind, number) + rest


def frame_two(kind: int, first: int, second: int, rest: bytes = b"") -> bytes:
    """A whole frame with two numbers."""
    return FRAME_TWO.pack(TWO.size + len(rest), kind, first, second) + rest


def numbers(body: bytes) -> tuple[int, int]:
    """The numbers of a body, the second of them 0 where there is only one. Raises `Malformed`.

    The body must be as long as its kind demands: with a value, where there is one, and without anything else.
    """
    kind = body[0]
    if not TELL <= kind <= REFUSED:
        raise Malformed(f"a frame of the session has the kind {kind}, which is none")
    layout = TWO if _NUMBERS.get(kind) == 2 else ONE
    rest = len(body) - layout.size
    if rest < 0 or (kind != LOOKUP and (rest > 0) != (kind in _WITH_VALUE)):
        raise Malformed(f"a frame of the kind {kind} has {len(body)} bytes")
    if layout is TWO:
        _, first, second = TWO.unpack_from(body)
        return first, second
    return ONE.unpack_from(body)[1], 0


def path_of(body: bytes) -> str:
    """The path of a `LOOKUP`. Raises `Malformed`."""
    try:
        return body[TWO.size :].decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"a path is no text: {shown(body[TWO.size :])}") from error


__all__ = [
    "ANSWER",
    "ASK",
    "FAILED",
    "FORGET",
    "FOUND",
    "FRAME_ONE",
    "FRAME_TWO",
    "HEADER_SIZE",
    "LOOKUP",
    "ONE",
    "REFUSED",
    "TELL",
    "TELL_FROM",
    "TERMINATED",
    "TWO",
    "UNWATCH",
    "WATCH",
    "RefusedBecause",
    "frame_one",
    "frame_two",
    "numbers",
    "path_of",
]
