"""One connection: bytes to frames and back, the handshake before them, and the end.

A connection belongs to nobody until its handshake is over. Then its owner, the transport, gives it a sink: whoever is
to have the frames. A sink that has more to write than the socket takes is told when there is room again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from casty_proto.link import LinkFrame, packed
from casty_proto.machine import Instant, Wake
from casty_proto.wire import (
    HANDSHAKE_FRAME_MAX,
    Connected,
    ConnectionLost,
    Dialer,
    Established,
    FrameDecoder,
    FrameError,
    HandshakeEvent,
    HandshakeRefused,
    Listener,
    Lost,
    Received,
    Send,
    frame,
)

if TYPE_CHECKING:
    from .transport import Transport

HIGH_WATER = 256 * 1024
"""How many bytes wait in the socket's buffer before its sink is asked to stop."""
LINGER_SECONDS = 2.0
"""How long a connection that is being closed may take to write what it has."""


class Sink(Protocol):
    """Who has the frames of a connection."""

    def received(self, connection: Connection, bodies: list[bytes]) -> None:
        """Frames have come. Must not raise."""
        ...

    def writable(self, connection: Connection) -> None:
        """There is room again."""
        ...

    def closed(self, connection: Connection, text: str) -> None:
        """The connection is gone. Not called for one that the sink has closed itself."""
        ...


class Connection(asyncio.Protocol):
    """One connection, dialled or accepted. Equal to itself only."""

    def __init__(self, transport: Transport, handshake: Dialer | Listener) -> None:
        self.established: asyncio.Future[Established] | None = None
        """Set by whoever dialled and waits for the end of the handshake."""
        self.peer = "somebody"
        """For the log: the address, as far as it is known."""
        self.sink: Sink | None = None
        self.writable = True
        """Whether the socket's buffer has room."""
        self._owner = transport
        self._handshake: Dialer | Listener | None = handshake
        self._decoder = FrameDecoder(HANDSHAKE_FRAME_MAX)
        self._socket: asyncio.Transport | None = None
        self._closing = False

    # -- what the event loop calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop are no subclass of it.
        self._socket = socket = cast(asyncio.Transport, transport)
        socket.set_write_buffer_limits(HIGH_WATER)
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple) and len(address) >= 2:
            self.peer = f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"
        if self._owner.opened(self):
            self._shake(Connected())

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._handshake is not None:
            self._on_handshake_data(data)
            return
        try:
            bodies = self._decoder.feed(data)
        except FrameError as error:
            self._on_frames(error.frames)
            self.fail(str(error))
            return
        self._on_frames(bodies)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.sink is not None and not self._closing:
            self.sink.writable(self)

    def eof_received(self) -> None:
        """The peer has closed: the transport closes as well, after what was written."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.clock.cancel(self)
        self._socket = None
        self.writable = False
        closing, self._closing = self._closing, True
        text = "the peer closed the connection" if exc is None else f"the connection broke: {_described(exc)}"
        if self._handshake is not None and not closing:
            self._shake(ConnectionLost(), text)
        self._owner.over(self)
        sink, self.sink = self.sink, None
        if sink is not None and not closing:
            sink.closed(self, text)

    # -- the handshake -------------------------------------------------------------------------------------------------

    def _on_handshake_data(self, data: bytes) -> None:
        """One frame at a time: what comes after the handshake is no longer its own, and may be longer."""
        while self._handshake is not None and not self._closing:
            try:
                bodies = self._decoder.feed(data, 1)
            except FrameError as error:
                self._owner.complain(self.peer, "handshake", f"{self.peer} does not speak the protocol: {error}")
                self.fail(str(error))
                return
            data = b""
            if not bodies:
                return
            self._shake(Received(bodies[0]))
        if not self._closing:
            self.data_received(b"")

    def _shake(self, event: HandshakeEvent, text: str = "") -> None:
        handshake = self._handshake
        if handshake is None:
            return
        for effect in handshake.handle(event, self._owner.clock.now()):
            match effect:
                case Send(body):
                    self._write(frame(body, HANDSHAKE_FRAME_MAX))
                case Established():
                    self._handshake = None
                    self._decoder.allow(self._owner.max_frame)
                    self._owner.clock.cancel(self)
                    self._on_established(effect)
                    return
                case HandshakeRefused(_, why):
                    self._give_up(ConnectionRefused(why))
                    self._owner.complain(self.peer, "handshake", f"{self.peer}: {why}")
                    self.close()
                    return
                case Lost():
                    self._give_up(ConnectionError(f"{text} during the handshake"))
                    return
        if (deadline := handshake.deadline()) is not None:
            self._owner.clock.set_at(self, deadline)

    def on_due(self, now: Instant) -> None:
        """The time for the handshake, or for closing, is over."""
        if self._closing:
            self.abort()
        else:
            self._shake(Wake())

    def _on_established(self, established: Established) -> None:
        if self.established is not None:
            if not self.established.done():
                self.established.set_result(established)
            return
        self._owner.accepted(self, established)

    def _give_up(self, error: Exception) -> None:
        if self.established is not None and not self.established.done():
            self.established.set_exception(error)

    # -- for its owner and its sink ------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write whole frames."""
        if not self._closing:
            self._write(data)

    def say(self, message: LinkFrame) -> None:
        """Write one frame about the link."""
        self.write(frame(packed(message), self._owner.max_frame))

    def close(self) -> None:
        """Close the connection after what was written to it. Its sink hears no more of it."""
        if self._closing:
            return
        self._closing = True
        self.sink = None
        self._give_up(ConnectionError("the connection was closed"))
        if self._socket is not None:
            self._socket.close()
            # Whoever does not read could keep it open for ever.
            self._owner.clock.set(self, LINGER_SECONDS)

    def fail(self, text: str) -> None:
        """Close the connection because of what the peer sent, and tell the sink."""
        sink = self.sink
        self._give_up(ConnectionError(text))
        self.close()
        if sink is not None:
            sink.closed(self, text)

    def abort(self) -> None:
        """Close the connection at once."""
        self._closing = True
        self.sink = None
        self._give_up(ConnectionError("the connection was closed"))
        if self._socket is not None:
            self._socket.abort()

    def _write(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.write(data)

    def _on_frames(self, bodies: list[bytes]) -> None:
        if bodies and self.sink is not None:
            self.sink.received(self, bodies)


class ConnectionRefused(ConnectionError):
    """The handshake ended with a refusal, whose reason is the text."""


def _described(error: BaseException) -> str:
    return str(error) or type(error).__name__
