"""What can be wrong on the wire. Texts that quote a peer's bytes quote at most `SHOWN_MAX` characters of them."""

from __future__ import annotations

SHOWN_MAX = 80


class WireError(ValueError):
    """Whatever this package raises for data, its own or a peer's. Each kind says what may be used afterwards."""


class FrameError(WireError):
    """The peer sent a length that no frame has. Where the next frame begins is unknown: close the connection."""

    def __init__(self, text: str, frames: list[bytes]) -> None:
        super().__init__(text)
        self.frames = frames
        """The frames of the same call that came before, which are good."""


class EncodeError(WireError):
    """A value cannot be sent. Says where in it. Nothing was sent, and the encoder is as usable as before."""


class DecodeError(WireError):
    """A body is no value here: `Malformed`, which ends the connection, or `Refused`, which does not."""


class Malformed(DecodeError):
    """The peer does not speak the protocol, or breaks a limit. Close the connection; the decoder is of no more use."""


class Refused(DecodeError):
    """This value cannot be had here: its type is unknown or not allowed, a field is missing, or the class objects.

    What comes after it on the connection is not affected.
    """


def shown(value: object) -> str:
    """A value as errors quote it."""
    if isinstance(value, str | bytes):
        text = repr(value[:SHOWN_MAX])
        return clipped(text) if len(value) <= SHOWN_MAX else f"{clipped(text)}... ({len(value)} long)"
    return clipped(f"{type(value).__name__}")


def clipped(text: str) -> str:
    """A text that somebody else made up, at the length at which errors quote it."""
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."
