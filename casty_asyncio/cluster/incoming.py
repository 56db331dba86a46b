"""What other nodes say over the connections that this one takes (`lanes.py`, rules 5 and 6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from casty_proto.cluster.checks import split_key
from casty_proto.cluster.messages import Envelope
from casty_proto.cluster.packed import POST, is_packed, unpacked
from casty_proto.machine import shown
from casty_proto.wire import Decoder, Established, Malformed, Refused
from casty_proto.wire.frame import HEADER

from ..transport.connection import Connection

if TYPE_CHECKING:
    from .lanes import Lanes

SIGN_SECONDS = 1.0
IDLE_SECONDS = 60.0
PATIENT_COUNT = 64
_POST = POST[0]
_SIGN = HEADER.pack(1) + b"\xc0"


class Incoming:
    """What another node says over one connection. Equal to itself only."""

    __slots__ = ("_decode", "_lanes", "_said_by", "_sign", "connection", "heard_at", "key", "machine", "node")

    def __init__(self, lanes: Lanes, established: Established, connection: Connection) -> None:
        self.node = node = established.peer
        """Who has shaken hands."""
        self.key = (node.node_id, node.generation, established.kind)
        self.connection = connection
        self.machine = connection.machine
        self.heard_at = 0.0
        """When it has said something last, about, in seconds of the loop's clock."""
        self._lanes = lanes
        self._decode = Decoder(lanes.types, lanes.wire_options).decode
        self._sign: asyncio.TimerHandle | None = None
        self._said_by: str | None = None
        """The name in which it speaks, from its first message on."""

    def received(self, connection: Connection, bodies: list[bytes]) -> None:
        """Messages."""
        lanes = self._lanes
        if self._sign is None:
            self._sign = lanes.transport.loop.call_later(SIGN_SECONDS, self._give_sign)
        lanes.will_flush = True
        try:
            for body in bodies:
                if not self._hear(body):
                    return
        finally:
            # What was answered goes out together, and need not wait for the next turn.
            lanes.flush()
        if lanes.is_hurried:
            lanes.is_hurried = False
            lanes.hurry()

    def _hear(self, body: bytes) -> bool:
        """One message. False where the connection was closed because of it."""
        lanes, connection = self._lanes, self.connection
        try:
            message = unpacked(body) if is_packed(body) else self._decode(body)
        except Refused as error:
            lanes.transport.complain(connection.machine, "decode", f"{connection.peer}: {error}")
            return True
        except Malformed as error:
            self._end("malformed", str(error))
            return False
        if type(message) is not Envelope:
            self._end("malformed", "what it says is no message of a node")
            return False
        if message.sender != self._said_by and not self._may_say(message.sender):
            self._end("sender", f"it has shaken hands as {self.node}, and speaks for {shown(str(message.sender))}")
            return False
        lanes.received += 1
        lanes.on_message(message)
        if body[0] == _POST and len(message.body.body.items) >= PATIENT_COUNT:
            # Whoever sends so much at once may have sent all that it may before it hears of that.
            lanes.is_hurried = True
        return True

    def _may_say(self, sender: object) -> bool:
        """Whether it is the node that has shaken hands: in this life, or in an earlier one from which it came back."""
        try:
            node_id, generation = split_key(sender)  # type: ignore[arg-type]
        except (ValueError, TypeError):
            return False
        if self._said_by is not None or node_id != self.node.node_id or generation > self.node.generation:
            return False
        self._said_by = str(sender)
        self.heard_at = self._lanes.transport.loop.time()
        return True

    def _end(self, cause: str, text: str) -> None:
        self._lanes.transport.complain(self.machine, cause, f"{self.connection.peer}: {text}")
        self.close()

    def _give_sign(self) -> None:
        self._sign = None
        self.heard_at = self._lanes.transport.loop.time()
        self.connection.must_speak_within(IDLE_SECONDS)
        if self.connection.writable:
            self.connection.write(_SIGN)

    def writable(self, connection: Connection) -> None:
        """Signs are not worth waiting for."""

    def broken(self, connection: Connection, text: str) -> None:
        """What comes are no frames."""
        self._end("malformed", text)

    def closed(self, connection: Connection, text: str) -> None:
        """The connection is gone."""
        self._lanes.over(self)
        if self._sign is not None:
            self._sign.cancel()
            self._sign = None

    def close(self) -> None:
        """Hear no more of it."""
        self.connection.close()
        self.closed(self.connection, "")
