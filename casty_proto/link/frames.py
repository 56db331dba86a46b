"""What the two ends of a link say to each other about the link itself. Each is the body of one frame.

The first byte says what it is. Bodies that begin with `COUNTED` or more belong to the session: they are counted, kept
and acknowledged, and mean nothing here.
"""

from __future__ import annotations

from struct import Struct
from typing import assert_never

from ..values import value
from ..wire import Malformed

COUNTED = 32
"""The first byte from which on a frame is one of the session."""
NUMBER_MAX = 2**63 - 1
TEXT_MAX = 300

_ONE = Struct(">BQ")
_TWO = Struct(">BQQ")
_RESUME, _RESUMED, _FRESH, _BUSY, _ACK, _PING, _PONG, _IDLE, _BYE, _INSIST = range(1, 11)


@value
class Resume:
    """Dialler: I know this session, or 0, and have received so many of its frames (rule 6)."""

    session: int
    received: int
    insists: bool = False
    """Whether the listener is to let go of any other connection (rule 9)."""


@value
class SayResumed:
    """Listener: so do I, and have received so many (rule 6)."""

    session: int
    received: int


@value
class SayFresh:
    """Listener: we begin anew, with this number (rule 7)."""

    session: int


@value
class SayBusy:
    """Listener: I have another connection to you, or have dialled you as well (rule 9)."""


@value
class Ack:
    """So many frames of the session have arrived (rule 2)."""

    received: int


@value
class PingFrame:
    """Give a sign (rule 11)."""

    number: int


@value
class Pong:
    """The sign that was asked for with this `number` (rule 11)."""

    number: int


@value
class Idle:
    """I have no need of this connection, and close it (rule 12)."""


@value
class Bye:
    """This process ends (rule 14)."""

    text: str


type LinkFrame = Resume | SayResumed | SayFresh | SayBusy | Ack | PingFrame | Pong | Idle | Bye
"""What the two ends say to each other about the link. `packed` makes a body of it, and `unpacked` reads one."""


def packed(frame: LinkFrame) -> bytes:
    """The body for a frame."""
    match frame:
        case Resume(session, received, insists):
            return _TWO.pack(_INSIST if insists else _RESUME, session, received)
        case SayResumed(session, received):
            return _TWO.pack(_RESUMED, session, received)
        case SayFresh(session):
            return _ONE.pack(_FRESH, session)
        case SayBusy():
            return bytes([_BUSY])
        case Ack(received):
            return _ONE.pack(_ACK, received)
        case PingFrame(number):
            return _ONE.pack(_PING, number)
        case Pong(number):
            return _ONE.pack(_PONG, number)
        case Idle():
            return bytes([_IDLE])
        case Bye(text):
            return bytes([_BYE]) + text[:TEXT_MAX].encode(errors="replace")
        case _:
            assert_never(frame)


def unpacked(body: bytes) -> LinkFrame:
    """The frame of a body whose first byte is less than `COUNTED`. Raises `Malformed`."""
    if not body:
        raise Malformed("a frame is empty")
    numbers = _numbers(body)
    match body[0], numbers:
        case 1, [session, received]:
            return Resume(session, received)
        case 2, [session, received]:
            return SayResumed(session, received)
        case 3, [session] if session:
            return SayFresh(session)
        case 4, []:
            return SayBusy()
        case 5, [received]:
            return Ack(received)
        case 6, [number]:
            return PingFrame(number)
        case 7, [number]:
            return Pong(number)
        case 8, []:
            return Idle()
        case 9, None:
            return Bye(_text(body[1:]))
        case 10, [session, received]:
            return Resume(session, received, insists=True)
    raise Malformed(f"a frame that begins with {body[0]} and has {len(body)} bytes is none of a link")


def _numbers(body: bytes) -> list[int] | None:
    if body[0] == _BYE:
        return None
    if len(body) == 1:
        return []
    layout = {_ONE.size: _ONE, _TWO.size: _TWO}.get(len(body))
    if layout is None:
        return None
    numbers = list(layout.unpack(body)[1:])
    return numbers if max(numbers) <= NUMBER_MAX else None


def _text(data: bytes) -> str:
    if len(data) > 4 * TEXT_MAX:
        raise Malformed(f"a farewell has {len(data)} bytes")
    text = data.decode(errors="replace")[:TEXT_MAX]
    return "".join(character if character.isprintable() else "?" for character in text)
