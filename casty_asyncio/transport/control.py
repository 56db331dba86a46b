"""Signs of life of a peer, and the connections for control on which nothing ever waits behind data.

A node that can be dialled itself dials one beside that for data, once it wants a sign. An outside client has none, and
gives its signs between data. Of many questions for a sign one is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casty_proto.address import NodeAddress
from casty_proto.link import Closed, PingFrame, Pong
from casty_proto.machine import Instant
from casty_proto.wire import Kind

from .connection import Connection
from .dialing import DialError, dial

if TYPE_CHECKING:
    from .peer import Peer


class Control:
    """Asks one peer for signs of life, and answers it."""

    def __init__(self, peer: Peer) -> None:
        self.ours: Connection | None = None
        """Dialled here."""
        self.theirs: Connection | None = None
        """Dialled there."""
        self.to_answer: int | None = None
        """The last question for a sign that came and is not answered."""
        self._peer = peer
        self._transport = peer.transport
        self._dialing = False
        self._silent: tuple[Connection, Instant, int] | None = None
        """The attached connection, since when nothing has come over it, and how much it had passed on by then."""

    # -- signs ---------------------------------------------------------------------------------------------------------

    def ping(self, number: int) -> None:
        """Ask for a sign."""
        peer = self._peer
        attached = peer.link.attached
        assert isinstance(attached, Connection)
        if self._is_half_open(attached):
            attached.abort()
            peer.feed(Closed(attached, "nothing came or went over it, although the peer gives signs of life"))
            return
        if attached.writable:
            # Also where there is a connection for control: what lies between forgets a connection that is not used.
            attached.say(PingFrame(number))
        if self.ours is not None:
            self.ours.say(PingFrame(number))
        elif self._transport.own.address and peer.dial_at is not None and not self._dialing:
            self._dialing = True
            self._transport.spawn(self._dial(peer.dial_at, number), f"casty-control {peer.dial_at}")

    def _is_half_open(self, attached: Connection) -> bool:
        """Whether the connection for data is of no use, while the one for control gives the signs that the link wants.

        What is long on its way does not count as silence, as long as some of it is passed on.
        """
        now, passed_on = self._transport.clock.now(), attached.passed_on
        silent = self._silent
        if silent is None or silent[0] is not attached or (passed_on > silent[2] and not attached.writable):
            self._silent = attached, now, passed_on
            return False
        return now - silent[1] >= self._transport.link_options.mute_after_ns

    def heard(self, connection: Connection) -> None:
        """Something has come over a connection: answer the last question for a sign that was among it."""
        if connection is self._peer.link.attached:
            self._silent = None
        number, self.to_answer = self.to_answer, None
        # Not faster than the answers are read.
        if number is not None and connection.writable:
            connection.say(Pong(number))
        if connection is self.theirs:
            connection.must_speak_within(self._transport.options.idle_after)

    # -- connections ---------------------------------------------------------------------------------------------------

    async def _dial(self, address: NodeAddress, number: int) -> None:
        transport, node = self._transport, self._peer.node
        try:
            connection, established = await dial(transport, address, Kind.CONTROL)
        except DialError as error:
            transport.log.debug("%s: no connection for control: %s", node, error)
            return
        finally:
            self._dialing = False
        same = (established.peer.node_id, established.peer.generation) == (node.node_id, node.generation)
        if not same or self._peer.link.attached is None or self.ours is not None:
            connection.close()
            return
        connection.give_to(self._peer)
        self.ours = connection
        connection.say(PingFrame(number))

    def accept(self, connection: Connection) -> None:
        """The peer has dialled one."""
        before, self.theirs = self.theirs, connection
        connection.must_speak_within(self._transport.options.idle_after)
        if before is not None:
            before.close()

    def forget(self, connection: Connection) -> None:
        """A connection is gone, whichever it was."""
        if connection is self.ours:
            self.ours = None
        if connection is self.theirs:
            self.theirs = None

    def drop_ours(self) -> None:
        """There is nothing beside which it is needed."""
        ours, self.ours = self.ours, None
        if ours is not None:
            ours.close()

    def drop(self) -> None:
        """The peer is gone."""
        self.drop_ours()
        theirs, self.theirs = self.theirs, None
        if theirs is not None:
            theirs.close()
