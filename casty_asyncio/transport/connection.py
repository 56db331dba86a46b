"""One connection: bytes to frames and back, the handshake before them, and the end.

A connection belongs to nobody until its handshake is over. Then its owner, the transport, gives it a sink: whoever is
to have the frames. Until then it reads no further, so that nothing is lost that comes in between. A sink that has more
to write than the socket takes is told when there is room again.
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
    Reason,
    Received,
    Send,
    frame,
)

if TYPE_CHECKING:
    from .transport import Transport

HIGH_WATER = 256 * 1024
"""How many bytes wait in the socket's buffer before its sink is asked to stop."""
FRAMES_AT_A_TIME = 512
"""How many frames of one connection are dealt with in one turn of the loop. Others have something to do as well."""
LINGER_SECONDS = 2.0
"""How long a connection that is being closed may take to write what it has."""
FAREWELL_SECONDS = 0.25
"""How long the peer may take to close the connection after the last word."""
SILENT = "it said nothing for too long"

_TLS_HELLO, _TLS_ALERT = b"\x16\x03", b"\x15\x03"
"""What TLS begins with: a client, and a server that does not understand."""


class Sink(Protocol):
    """Who has the frames of a connection."""

    def received(self, connection: Connection, bodies: list[bytes]) -> None:
        """Frames have come. Must not raise."""
        ...

    def writable(self, connection: Connection) -> None:
        """There is room again."""
        ...

    def broken(self, connection: Connection, text: str) -> None:
        """What comes cannot be cut into frames any more. The sink closes the connection."""
        ...

    def closed(self, connection: Connection, text: str) -> None:
        """The connection is gone. Not called for one that the sink has closed itself."""
        ...


class Connection(asyncio.Protocol):
    """One connection, dialled or accepted. Equal to itself only."""

    def __init__(
        self, transport: Transport, handshake: Dialer | Listener, peer: str = "somebody", nonce: bytes = b""
    ) -> None:
        self.established: asyncio.Future[Established] | None = None
        """Set by whoever dialled and waits for the end of the handshake."""
        self.peer = peer
        """For the log: the address, as far as it is known."""
        self.sink: Sink | None = None
        """Whoever has the frames; see `give_to`."""
        self.writable = True
        """Whether the socket's buffer has room."""
        self._nonce = nonce
        """Of the handshake, for whoever dialled."""
        self._owner = transport
        self._handshake: Dialer | Listener | None = handshake
        self._decoder = FrameDecoder(HANDSHAKE_FRAME_MAX)
        self._socket: asyncio.Transport | None = None
        self._closing = False
        self._has_last_word = False
        self._is_half_closed = False
        self._written = 0
        self._rest: list[bytes] = []
        """Frames that came together with too many others to be dealt with at once."""
        self._is_behind = False
        """Whether nothing is read because of them."""
        self._broken: str | None = None
        """Why nothing can come after them."""
        self._lost_early: str | None = None
        """Why it is gone, when that came before there was a sink."""

    @property
    def machine(self) -> str:
        """Whom to complain about: the address, for whoever has dialled without the port, which is another each time."""
        return machine(self.peer) if self.established is None else self.peer

    # -- what the event loop calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop are no subclass of it.
        self._socket = socket = cast(asyncio.Transport, transport)
        socket.set_write_buffer_limits(HIGH_WATER)
        self.peer = endpoint(transport.get_extra_info("peername")) or self.peer
        if self._closing:
            socket.abort()
            return
        self._owner.opened(self)
        self._shake(Connected())

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._handshake is not None:
            self._on_handshake_data(data)
            return
        try:
            bodies = self._decoder.feed(data, 0 if self.sink is None else None)
        except FrameError as error:
            bodies, self._broken = error.frames, str(error)
        self._rest += bodies
        self._hand_over(FRAMES_AT_A_TIME)

    def _hand_over(self, most: int) -> None:
        """Give frames to the sink, and those beyond `most` in later turns of the loop. Reads no further until then."""
        rest, sink = self._rest, self.sink
        if len(rest) > most:
            bodies, self._rest = rest[:most], rest[most:]
            if not self._is_behind and self._socket is not None:
                self._is_behind = True
                self._socket.pause_reading()
            self._owner.loop.call_soon(self._catch_up)
        else:
            bodies, self._rest = rest, []
        if bodies and sink is not None:
            sink.received(self, bodies)
        # What was in the frames may have closed it already.
        if self._rest or self._broken is None or self._closing:
            return
        if sink is not None:
            sink.broken(self, self._broken)
        else:
            self.fail(self._broken)

    def _catch_up(self) -> None:
        if self._closing:
            self._rest = []
            return
        self._hand_over(FRAMES_AT_A_TIME)
        if self._is_behind and not self._rest and (socket := self._socket) is not None and not socket.is_closing():
            self._is_behind = False
            socket.resume_reading()

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
        if self._rest and not self._closing:
            # The last words of a process that ends are among them.
            self._hand_over(len(self._rest))
        closing, self._closing = self._closing, True
        text = "the peer closed the connection" if exc is None else f"the connection broke: {_described(exc)}"
        if self._handshake is not None and not closing:
            self._shake(ConnectionLost(), text)
        self._owner.over(self)
        sink, self.sink = self.sink, None
        if closing:
            return
        if sink is None:
            self._lost_early = text
        else:
            sink.closed(self, text)

    # -- the handshake -------------------------------------------------------------------------------------------------

    def _on_handshake_data(self, data: bytes) -> None:
        """One frame at a time: what comes after the handshake is no longer its own, and may be longer."""
        while self._handshake is not None and not self._closing:
            try:
                bodies = self._decoder.feed(data, 1)
            except FrameError as error:
                self._on_strange(data, error)
                return
            data = b""
            if not bodies:
                return
            self._shake(Received(bodies[0]))
        if not self._closing and self.sink is not None:
            self.data_received(b"")

    def _on_strange(self, data: bytes, error: FrameError) -> None:
        """It is another protocol. What mistakes look like is known."""
        why = str(error)
        if data.startswith(_TLS_HELLO):
            why = "it begins with TLS, and this node has none (Remote.tls)"
        elif data.startswith(_TLS_ALERT):
            why = "it answers with an alert of TLS, so it has TLS, and this node has none (Remote.tls)"
        self._owner.complain(self.machine, "handshake", f"{self.peer} does not speak the protocol: {why}")
        self._give_up(ConnectionError(f"it does not speak the protocol: {why}"))
        self.close()

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
                case HandshakeRefused():
                    self._on_refused(effect, event)
                    return
                case Lost():
                    self._give_up(ConnectionError(f"{text} during the handshake"))
                    return
        if (deadline := handshake.deadline()) is not None:
            self._owner.clock.set_at(self, deadline)

    def on_due(self, now: Instant) -> None:
        """The time for the handshake, for closing, or for saying something, is over."""
        if self._is_half_closed:
            self._is_half_closed = False
            self._close_socket()
        elif self._closing:
            self.abort()
        elif self._handshake is not None:
            self._shake(Wake())
        else:
            self.fail(SILENT)

    def _on_refused(self, refused: HandshakeRefused, event: HandshakeEvent) -> None:
        reason, why = refused.reason, refused.text
        said = event.body if isinstance(event, Received) else b""
        if reason is Reason.SELF and self._owner.met_itself(self._nonce, said):
            self._give_up(MetItself(why))
        else:
            self._give_up(ConnectionRefused(why))
            self._owner.complain(self.machine, f"handshake, {reason.name}", f"{self.peer}: {why}")
        self.close()

    def _on_established(self, established: Established) -> None:
        if self.established is None:
            self._owner.accepted(self, established)
            return
        if self._socket is not None:
            self._socket.pause_reading()
        if not self.established.done():
            self.established.set_result(established)

    def _give_up(self, error: Exception) -> None:
        if self.established is not None and not self.established.done():
            self.established.set_exception(error)

    # -- for its owner and its sink ------------------------------------------------------------------------------------

    def give_to(self, sink: Sink) -> None:
        """Frames go to `sink` from now on, those that have come already in the next turn of the loop."""
        self.sink = sink
        if self.established is not None:
            self._owner.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._closing and self._lost_early is None:
            return
        if self._socket is not None:
            self._socket.resume_reading()
        self._closing = False
        self.data_received(b"")
        sink, text = self.sink, self._lost_early
        if text is not None:
            self._closing, self.sink = True, None
            if sink is not None:
                sink.closed(self, text)

    def must_speak_within(self, seconds: float | None) -> None:
        """Close it when nothing comes for so long, until this is called again; `None` for ever."""
        if seconds is None:
            self._owner.clock.cancel(self)
        elif not self._closing:
            self._owner.clock.set(self, seconds)

    def write(self, data: bytes) -> None:
        """Write whole frames."""
        if not self._closing:
            self._write(data)

    def say(self, message: LinkFrame) -> None:
        """Write one frame about the link."""
        self.write(frame(packed(message), self._owner.max_frame))

    def say_last(self, message: LinkFrame) -> None:
        """As `say`, for what the peer must hear although nothing comes after it: it has some time to read it."""
        self.say(message)
        self._has_last_word = True

    def close(self) -> None:
        """Close the connection after what was written to it. Its sink hears no more of it."""
        if self._closing:
            return
        self._closing = True
        self.sink = None
        self._give_up(ConnectionError("the connection was closed"))
        if self._socket is None:
            return
        if self._has_last_word and self._half_close(self._socket):
            self._is_half_closed = True
            self._owner.clock.set(self, FAREWELL_SECONDS)
        else:
            self._close_socket()

    def _half_close(self, socket: asyncio.Transport) -> bool:
        """Write no more, and read what comes until the peer closes. False where that is impossible.

        With something unread TCP would reset the connection, and take from the peer what it has not read. TLS has no
        such thing, and needs none: it closes when both sides have said so.
        """
        if socket.is_closing() or not socket.can_write_eof():
            return False
        try:
            socket.write_eof()
        except OSError:
            return False  # The peer has reset it already.
        if self._is_behind:
            self._is_behind = False
            socket.resume_reading()
        return True

    def _close_socket(self) -> None:
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
            self._written += len(data)
            self._socket.write(data)

    @property
    def passed_on(self) -> int:
        """How many bytes were written that do not wait here any more."""
        return 0 if self._socket is None else self._written - self._socket.get_write_buffer_size()


class ConnectionRefused(ConnectionError):
    """The handshake ended with a refusal, whose reason is the text."""


class MetItself(ConnectionRefused):
    """The handshake ended because this node is at both ends."""


def endpoint(address: object) -> str | None:
    """The address of a socket, as logs have it; `None` for what is none."""
    if not isinstance(address, tuple) or len(address) < 2:
        return None
    return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"


def machine(peer: str) -> str:
    """What `endpoint` returned without the port."""
    return peer.rpartition(":")[0] or peer


def _described(error: BaseException) -> str:
    return str(error) or type(error).__name__
