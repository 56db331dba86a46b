"""The flow of a session: its frames to the connection that carries it, and acknowledgements both ways.

Nothing is written to a connection that its peer does not read, beyond what is limited: frames of the session wait in
the session, and of acknowledgements only the last one counts.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from casty_proto.link import Ack, Link, Wanted
from casty_proto.wire import Malformed

from ..errors import WrongThreadError
from .connection import HIGH_WATER, Connection

if TYPE_CHECKING:
    from .peer import Peer


class Flow:
    """What goes from the session of one peer to its connection. Call `flush_soon` after a push."""

    def __init__(self, peer: Peer, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self.flushing = False
        """Whether what waits will be written soon."""
        self._peer = peer
        self._link = link
        self._loop = loop
        self._thread = threading.get_ident()
        self._late_ack: Ack | None = None
        """What is to be acknowledged once the attached connection has room."""
        self._drained: list[asyncio.Future[None]] = []

    # -- frames --------------------------------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Write what waits in this turn of the loop, or see to it that there will be a connection for it."""
        if threading.get_ident() != self._thread:
            raise WrongThreadError(
                f"a message to {self._peer.node} was sent from another thread; use system.threadsafe there"
            )
        self.flushing = True
        self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits, as much as the connection takes."""
        self.flushing = False
        link = self._link
        connection = link.attached
        if connection is None:
            self._peer.feed(Wanted())
            return
        assert isinstance(connection, Connection)
        session = link.session
        while session.has_waiting and connection.writable:
            connection.write(b"".join(session.take(HIGH_WATER)))

    def on_writable(self, connection: Connection) -> None:
        """The attached connection has room again."""
        late, self._late_ack = self._late_ack, None
        if late is not None:
            connection.say(late)
        self.flush()

    def on_attached(self) -> None:
        """There is a new connection. It begins with an acknowledgement."""
        self._late_ack = None
        self._let_go_on()
        if not self.flushing:
            self.flush()

    # -- acknowledgements ----------------------------------------------------------------------------------------------

    def acknowledge(self, connection: Connection, acknowledgement: Ack) -> None:
        """Say what has come."""
        # What was refused of these frames is to be known before they are forgotten.
        if self.flushing:
            self.flush()
        self.say_ack(connection, acknowledgement)

    def say_ack(self, connection: Connection, acknowledgement: Ack) -> None:
        """The same, where nothing was refused."""
        if connection.writable:
            connection.say(acknowledgement)
        else:
            self._late_ack = acknowledgement

    def on_ack(self, received: int) -> None:
        """So many frames have arrived. Raises `Malformed`."""
        session = self._link.session
        if not session.acknowledge(received):
            raise Malformed(f"{received} frames were acknowledged, which cannot be")
        self._let_go_on()

    def _let_go_on(self) -> None:
        """The peer has received more than before: those who wait for that may go on."""
        session = self._link.session
        if self._drained and not len(session):
            self.release()
        if session.has_room:
            self._peer.conversation.has_room()

    # -- the end -------------------------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until the peer has acknowledged everything, or the link is lost."""
        if not len(self._link.session):
            return
        waiter = self._loop.create_future()
        self._drained.append(waiter)
        await waiter

    def release(self) -> None:
        """Nobody needs to wait for that any more."""
        waiting, self._drained = self._drained, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
