"""What a driver tells a link, and what a link asks of it. Nothing here is sent to another node.

A connection is known by whatever the driver calls it, as long as no two have the same name.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..machine import Note, Wake
from ..values import value
from .frames import LinkFrame
from .session import Entry

type Connection = Hashable

# Events --------------------------------------------------------------------------------------------------------------


@value
class Wanted:
    """There is something to say. Needed after each `push` while no connection is attached; harmless otherwise."""


@value
class Interest:
    """Whether the peer's end would matter to somebody here: an ask that waits, an actor that is watched."""

    wanted: bool
    """While it is on, the connection is needed (rule 12)."""


@value
class Dialed:
    """The answer to `Dial`, or a connection dialled for another reason: the handshake is over, and it is the peer."""

    connection: Connection


@value
class DialFailed:
    """The other answer to `Dial`."""

    text: str
    refused: bool = False
    """Whether the peer's machine says that nobody listens there."""


@value
class Accepted:
    """The peer has dialled, the handshake is over, and it began with `Resume` (rule 6)."""

    connection: Connection
    session: int
    received: int
    insists: bool = False
    """Whether this connection is to take the place of any other (rule 9)."""


@value
class Resumed:
    """The answer to our `Resume`: go on (rule 6)."""

    connection: Connection
    session: int
    received: int


@value
class Refreshed:
    """The answer to our `Resume`: begin anew (rule 7)."""

    connection: Connection
    session: int


@value
class Busy:
    """The answer to our `Resume`: the peer's own connection counts (rule 9)."""

    connection: Connection


@value
class Closed:
    """A connection is gone. `idle` when the peer had said that it needs it no longer."""

    connection: Connection
    text: str
    idle: bool = False


@value
class Farewell:
    """The peer's process ends (rule 14)."""

    connection: Connection
    text: str


@value
class Superseded:
    """Another process has taken the peer's place (rule 14)."""

    text: str


@value
class Broken:
    """A frame of the session came that cannot be, or a limit was reached: what follows would make no sense."""

    text: str


type LinkEvent = (
    Wanted
    | Interest
    | Dialed
    | DialFailed
    | Accepted
    | Resumed
    | Refreshed
    | Busy
    | Closed
    | Farewell
    | Superseded
    | Broken
    | Wake
)
"""What `Link.handle` takes."""

# Effects -------------------------------------------------------------------------------------------------------------


@value
class Dial:
    """Open a connection to the peer. Answered by `Dialed` or `DialFailed`."""


@value
class Write:
    """Write a frame to a connection, outside of the session."""

    connection: Connection
    frame: LinkFrame


@value
class Attached:
    """This connection carries the session from now on: write what waits."""

    connection: Connection


@value
class Drop:
    """Close a connection, after what was written to it. No `Closed` is needed for it."""

    connection: Connection
    text: str


@value
class Ping:
    """Send `PingFrame` on whichever connection answers fastest."""

    number: int


@value
class LinkLost:
    """The session is over; the next one begins with nothing. `left` is what it had not got across (rule 15)."""

    text: str
    for_good: bool
    """Whether the peer's process is gone, so that there will be no next one (rule 14)."""
    left: tuple[Entry, ...]


type LinkEffect = Dial | Write | Attached | Drop | Ping | LinkLost | Note
"""What `Link.handle` returns, in the order in which it is to be carried out."""
