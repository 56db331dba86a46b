"""What asyncio calls a server, over listening ports of a simulated host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .transport import SimTransport

if TYPE_CHECKING:
    from ..loop import SimLoop
    from .sockets import SimSocket


class SimServer(asyncio.AbstractServer):
    """Accepts connections, and makes a protocol for each."""

    def __init__(
        self, loop: SimLoop, sockets: Sequence[SimSocket], factory: Callable[[], asyncio.BaseProtocol], backlog: int
    ) -> None:
        self._loop = loop
        self._sockets: list[SimSocket] | None = list(sockets)
        self._factory = factory
        self._backlog = backlog
        self._is_serving = False
        self._transports: dict[SimTransport, None] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._forever: asyncio.Future[None] | None = None

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""
        return tuple(self._sockets or ())

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Its loop."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._is_serving

    async def start_serving(self) -> None:
        """Begin to accept connections. A no-op when it does."""
        self.begin()
        await asyncio.sleep(0)

    def begin(self) -> None:
        """Begin to accept connections."""
        if self._is_serving or self._sockets is None:
            return
        self._is_serving = True
        for sock in self._sockets:
            sock.listen(self._backlog)
            self._loop.add_reader(sock, self._on_ready, sock)

    def _on_ready(self, sock: SimSocket) -> None:
        accepted, _ = sock.accept()
        try:
            protocol = self._factory()
        except BaseException:
            # Nobody will ever serve it, and the other end is to know that.
            accepted.close()
            raise
        SimTransport(self._loop, accepted.take_end(), protocol, server=self)

    async def serve_forever(self) -> None:
        """Accept connections until this is cancelled. Raises `RuntimeError` when it does already, or is closed."""
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self.begin()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            try:
                self.close()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._forever = None

    def close(self) -> None:
        """Accept nobody any more. Connections that are open stay open."""
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        for sock in sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self._is_serving = False
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        self._look_whether_over()

    def close_clients(self) -> None:
        """Close the connections that are open."""
        for transport in list(self._transports):
            transport.close()

    def abort_clients(self) -> None:
        """Break the connections that are open."""
        for transport in list(self._transports):
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until it is closed, and all its connections are."""
        if self._sockets is None and not self._transports:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def attach(self, transport: SimTransport) -> None:
        """A connection is open."""
        self._transports[transport] = None

    def detach(self, transport: SimTransport) -> None:
        """A connection is closed."""
        self._transports.pop(transport, None)
        self._look_whether_over()

    def _look_whether_over(self) -> None:
        if self._sockets is None and not self._transports:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def __repr__(self) -> str:
        return f"<SimServer {'closed' if self._sockets is None else [sock.getsockname() for sock in self._sockets]}>"
