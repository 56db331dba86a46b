"""How this node and one peer meet: connections that are dialled, here or there, until the session goes on over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from casty_proto.address import NodeAddress
from casty_proto.link import Bye, Dialed, DialFailed, Superseded
from casty_proto.wire import Established, Kind

from .connection import Connection
from .dialing import DialError, NotWelcome, dial

if TYPE_CHECKING:
    from .peer import Peer

_GREETING_MAX = 4
"""How many connections of one peer may wait for their `Resume`."""


class Meeting:
    """The connections of one peer that are new."""

    def __init__(self, peer: Peer) -> None:
        self.machine = str(peer.dial_at)
        """Where the last connection led, for complaints."""
        self._peer = peer
        self._transport = peer.transport
        self._greeting: dict[Connection, None] = {}
        """Dialled by the peer, and waiting for its `Resume`."""

    def __len__(self) -> int:
        return len(self._greeting)

    # -- dialled here --------------------------------------------------------------------------------------------------

    def dial(self) -> None:
        """Open a connection for data."""
        address = self._peer.dial_at
        assert address is not None
        self._transport.spawn(self._dial(address), f"casty-dial {address}")

    async def _dial(self, address: NodeAddress) -> None:
        try:
            connection, established = await dial(self._transport, address, self._transport.kind)
        except DialError as error:
            self._transport.log.debug("%s: %s", self._peer.node, error)
            self._peer.feed(DialFailed(str(error), error.refused))
            if self._transport.closing:
                self._peer.flow.release()  # There will be no other attempt.
            return
        try:
            found = self._transport.peer(established.peer, proven=True)
        except NotWelcome as error:
            connection.close()
            self._peer.feed(Superseded(str(error)))
            return
        if found is not self._peer:
            self._peer.feed(Superseded(f"another process, {established.peer}, is at its address"))
        found.meeting.dialed(connection)

    def dialed(self, connection: Connection) -> None:
        """A connection to this peer was dialled, for whichever reason."""
        self.machine = connection.machine
        connection.give_to(self._peer)
        self._peer.feed(Dialed(connection))

    # -- dialled there -------------------------------------------------------------------------------------------------

    def accept(self, connection: Connection, established: Established) -> None:
        """The peer has dialled."""
        gone = self._peer.link.gone
        if gone is not None:
            # It does not know that yet.
            connection.say_last(Bye(gone))
            connection.close()
            return
        self.machine = connection.machine
        connection.give_to(self._peer)
        if established.kind is Kind.CONTROL:
            self._peer.control.accept(connection)
            return
        if len(self._greeting) == _GREETING_MAX:
            self._close(next(iter(self._greeting)))
        self._greeting[connection] = None
        connection.must_speak_within(self._transport.options.connect_timeout)

    def end(self, connection: Connection) -> bool:
        """A connection has begun with its `Resume`, or is gone. False for one that does not wait."""
        if connection not in self._greeting:
            return False
        del self._greeting[connection]
        return True

    def drop(self) -> None:
        """The peer is gone."""
        for connection in list(self._greeting):
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        del self._greeting[connection]
        connection.close()
