"""What a driver tells a handshake, and what it asks of it. Nothing here is sent to another node."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import instance_of

from ..machine import Wake
from .messages import Kind, Node, Reason

# Events --------------------------------------------------------------------------------------------------------------


@frozen
class Connected:
    """The connection is there, both ways. The time for the handshake begins."""


@frozen
class Received:
    """The `body` of a frame came. One at a time: what comes after the last one of the handshake is no longer its own.

    Raises `TypeError` for a body that is no `bytes`.
    """

    body: bytes = field(validator=instance_of(bytes))


@frozen
class ConnectionLost:
    """The connection is gone."""


type HandshakeEvent = Connected | Received | ConnectionLost | Wake
"""What `Dialer.handle` and `Listener.handle` take. `Connected` comes first."""

# Effects -------------------------------------------------------------------------------------------------------------


@frozen
class Send:
    """Write a frame with this `body`."""

    body: bytes


@frozen
class Established:
    """The connection is open. The last effect: feed no more frames, and raise the limit of the frame decoder."""

    version: int
    """The highest that both speak."""
    peer: Node
    """Who is at the other end, as far as that one says; believe it where `secured` is set, or by TLS."""
    kind: Kind
    """What the connection is for."""
    secured: bool
    """Whether the peer has proved that it knows the secret."""


@frozen
class HandshakeRefused:
    """The connection is not to be used. The last effect: write what was sent before, then close it."""

    reason: Reason
    """For programs: what was wrong."""
    text: str
    """For the log. Names the peer where it is known."""
    by_peer: bool
    """Whether it was the peer who refused."""


@frozen
class Lost:
    """The connection went away before the handshake was over. The last effect."""


type HandshakeEffect = Send | Established | HandshakeRefused | Lost
"""What they return, in the order in which it is to be carried out."""
