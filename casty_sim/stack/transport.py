"""What asyncio calls a transport, over one end of a simulated connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from .sockets import SimSocket
from .tcp import End

if TYPE_CHECKING:
    from ..loop import SimLoop
    from .server import SimServer

HIGH_WATER = 64 * 1024


class SimTransport(asyncio.Transport):
    """A connection, as a protocol sees it. It behaves as the transports of asyncio's own loops do."""

    def __init__(
        self,
        loop: SimLoop,
        end: End,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        server: SimServer | None = None,
    ) -> None:
        self._view = view = SimSocket(loop.stack, end=end)
        view.is_view = True
        super().__init__({"peername": end.remote, "sockname": end.local, "socket": view})
        self._loop = loop
        self._end: End | None = end
        self._protocol = protocol
        self._server = server
        self._buffer = bytearray()
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._is_full = False
        self._is_paused = False
        self._has_eof = False
        self._is_closing = False
        self._is_lost = False
        end.user = self
        if server is not None:
            server.attach(self)
        loop.call_soon(self._begin, waiter)

    def _begin(self, waiter: asyncio.Future[None] | None) -> None:
        self._protocol.connection_made(self)
        # Nothing is read before the protocol knows of the connection.
        self._loop.call_soon(self._begin_reading)
        if waiter is not None and not waiter.cancelled():
            self._loop.call_soon(_done, waiter)

    def _begin_reading(self) -> None:
        if self._end is not None and not self._is_closing and not self._is_paused:
            self._end.read(on=True)

    # -- the connection's side -----------------------------------------------------------------------------------------

    def connected(self) -> None:
        """Not called: the connection is there before there is a transport."""
        raise AssertionError("a transport is made for a connection that is there")

    def arrived(self, data: bytes) -> None:
        """Bytes have come."""
        if self._is_closing:
            return
        try:
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                self._fill(self._protocol, data)
            else:
                cast(asyncio.Protocol, self._protocol).data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal(error, "Fatal error: protocol.data_received() call failed.")

    def _fill(self, protocol: asyncio.BufferedProtocol, data: bytes) -> None:
        while data and not self._is_closing:
            buffer = memoryview(protocol.get_buffer(len(data)))
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            protocol.buffer_updated(count)

    def ended(self) -> None:
        """No more bytes will come."""
        if self._is_closing:
            return
        try:
            keeps_open = cast(asyncio.Protocol, self._protocol).eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal(error, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keeps_open:
            self.close()

    @property
    def wants_room(self) -> bool:
        """Whether something waits for the connection to take more bytes."""
        return self._is_full or self._is_closing or self._has_eof or bool(self._buffer)

    def room(self) -> None:
        """The connection takes more bytes."""
        end = self._end
        if end is None:
            return
        self._flush(end)
        if not self._buffer:
            if self._is_closing:
                self._loop.call_soon(self._lose, None)
            elif self._has_eof:
                end.end()
        if self._is_full and len(self._buffer) <= self._low:
            self._is_full = False
            self._call(self._protocol.resume_writing)

    def broken(self, error: OSError) -> None:
        """The connection is gone."""
        self._end = None
        self._force(error)

    # -- the program's side --------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes. Raises `TypeError` for what is none, and `RuntimeError` after `write_eof`."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._has_eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        end = self._end
        if not data or end is None or self._is_closing:
            return
        if not self._buffer and len(data) <= end.takes:
            end.write(bytes(data))
            return
        self._buffer += data
        self._flush(end)
        if len(self._buffer) > self._high and not self._is_full:
            self._is_full = True
            self._call(self._protocol.pause_writing)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several pieces."""
        self.write(b"".join(list_of_data))

    def _flush(self, end: End) -> None:
        takes = min(end.takes, len(self._buffer))
        if takes > 0:
            end.write(bytes(self._buffer[:takes]))
            del self._buffer[:takes]

    def write_eof(self) -> None:
        """Send no more; what was written still goes."""
        if self._is_closing or self._has_eof:
            return
        self._has_eof = True
        if not self._buffer and self._end is not None:
            self._end.end()

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def close(self) -> None:
        """Read no more, and close when all that was written has gone."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._end is not None:
            self._end.read(on=False)
        if not self._buffer:
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Close now. What was written and has not gone is lost."""
        self._force(None)

    def is_closing(self) -> bool:
        """Whether it is closing, or closed."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Give the protocol nothing for a while."""
        if not self._is_closing and not self._is_paused:
            self._is_paused = True
            if self._end is not None:
                self._end.read(on=False)

    def resume_reading(self) -> None:
        """Give the protocol what came, and what comes."""
        if not self._is_closing and self._is_paused:
            self._is_paused = False
            # In the next turn, as a loop would do that asks the system what is there.
            self._loop.call_soon(self._begin_reading)

    def is_reading(self) -> bool:
        """Whether the protocol is given what comes."""
        return not self._is_closing and not self._is_paused

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is told to pause and to go on, in bytes that wait. Raises `ValueError` for low > high."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    def get_write_buffer_size(self) -> int:
        """How many bytes wait here."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The limits, the low one first."""
        return self._low, self._high

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give what comes to another one."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is given what comes."""
        return self._protocol

    # -- the end -------------------------------------------------------------------------------------------------------

    def _call(self, method: Any) -> None:
        try:
            method()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            name = getattr(method, "__name__", "?")
            self._loop.call_exception_handler(
                {
                    "message": f"protocol.{name}() failed",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )

    def _fatal(self, error: BaseException, message: str) -> None:
        if not isinstance(error, OSError):
            self._loop.call_exception_handler(
                {"message": message, "exception": error, "transport": self, "protocol": self._protocol}
            )
        self._force(error)

    def _force(self, error: BaseException | None) -> None:
        if self._is_lost:
            return
        self._buffer.clear()
        self._is_closing = True
        end, self._end = self._end, None
        if end is not None:
            end.reset()
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: BaseException | None) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        try:
            self._protocol.connection_lost(cast(Exception | None, error))
        finally:
            end, self._end = self._end, None
            if end is not None:
                end.let_go()
            self._view.end_view()
            if self._server is not None:
                self._server.detach(self)
                self._server = None

    def __repr__(self) -> str:
        state = "closed" if self._is_lost else "closing" if self._is_closing else "open"
        return f"<SimTransport {state} {self.get_extra_info('sockname')} - {self.get_extra_info('peername')}>"


def _done(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
