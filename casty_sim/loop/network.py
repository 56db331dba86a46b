"""The part of a loop that opens and accepts connections on the simulated network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from ..boundary import refuse
from ..stack.server import SimServer
from ..stack.sockets import SimSocket
from ..stack.tcp import End
from ..stack.transport import SimTransport
from .handles import SimHandle

if TYPE_CHECKING:
    from ..stack.stack import Stack
    from .loop import SimLoop


class _Dialling:
    """Whoever waits for a connection."""

    def __init__(self, waiter: asyncio.Future[None]) -> None:
        self._waiter = waiter

    def connected(self) -> None:
        if not self._waiter.done():
            self._waiter.set_result(None)

    def broken(self, error: OSError) -> None:
        if not self._waiter.done():
            self._waiter.set_exception(error)

    def arrived(self, data: bytes) -> None:
        raise AssertionError("nothing is read before there is a transport")

    def ended(self) -> None:
        raise AssertionError("nothing is read before there is a transport")

    @property
    def wants_room(self) -> bool:
        return False

    def room(self) -> None:
        """Nothing was written."""


class NetworkCalls:
    """What asyncio programs call."""

    _stack: Stack | None

    @property
    def stack(self) -> Stack:
        """The network stack of the host."""
        if self._stack is None:
            from ..stack.stack import Stack

            loop = cast("SimLoop", self)
            self._stack = Stack(loop.host, loop)
        return self._stack

    def close_network(self) -> None:
        """The program has ended."""
        if self._stack is not None:
            self._stack.end_of_program()

    # -- names ---------------------------------------------------------------------------------------------------------

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As `socket.getaddrinfo`, for the names of the simulation. Raises `socket.gaierror`."""
        loop = cast("SimLoop", self)
        found = await loop.run_in_executor(None, self.stack.names.look_up, host, port, family, type, proto, flags)
        return list(found)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """As `socket.getnameinfo`, for the hosts of the simulation."""
        address, port = sockaddr[0], sockaddr[1]
        name = self.stack.names.host_at(address)
        return (address if flags & socket.NI_NUMERICHOST or name is None else name), str(port)

    async def _addresses(self, host: Any, port: Any, family: int, proto: int, flags: int) -> list[tuple[str, int]]:
        names = [host] if host is None or isinstance(host, str | bytes) else list(host)
        found: list[tuple[str, int]] = []
        for name in names:
            infos = await self.getaddrinfo(name, port, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags)
            found += [(entry[4][0], entry[4][1]) for entry in infos]
        return list(dict.fromkeys(found))

    # -- out -----------------------------------------------------------------------------------------------------------

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: str | int | None = None,
        *,
        ssl: Any = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: Any = None,
        local_addr: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> tuple[asyncio.Transport, Any]:
        """Connect, to the first address of the name that answers. Raises `OSError`, and `NotSimulatedError` for `ssl`
        and for a socket that was made outside of a host."""
        if ssl:
            refuse("ssl=")
        if server_hostname is not None:
            raise ValueError("server_hostname is only meaningful with ssl")
        if sock is not None:
            if host is not None or port is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            return await self._made(protocol_factory, _simulated(sock).take_end())
        if host is None and port is None:
            raise ValueError("host and port was not specified and no sock specified")
        addresses = await self._addresses(host, port, family, proto, flags)
        errors: list[OSError] = []
        for address in addresses:
            try:
                return await self._made(protocol_factory, await self._dial(address, local_addr))
            except OSError as error:
                errors.append(error)
        if all_errors:
            raise ExceptionGroup("create_connection failed", errors)
        if len(errors) == 1:
            raise errors[0]
        raise OSError(f"Multiple exceptions: {', '.join(map(str, errors))}")

    async def _dial(self, address: tuple[str, int], local: tuple[str, int] | None) -> End:
        waiter: asyncio.Future[None] = cast("SimLoop", self).create_future()
        end = self.stack.connect(address, local)
        end.user = _Dialling(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            end.reset()
            raise
        except OSError as error:
            raise type(error)(error.errno, f"Connect call failed {address}") from None
        return end

    async def _made(
        self, factory: Callable[[], asyncio.BaseProtocol], end: End
    ) -> tuple[SimTransport, asyncio.BaseProtocol]:
        loop = cast("SimLoop", self)
        protocol = factory()
        waiter: asyncio.Future[None] = loop.create_future()
        transport = SimTransport(loop, end, protocol, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    # -- in ------------------------------------------------------------------------------------------------------------

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        family: int = socket.AF_UNSPEC,
        flags: int = socket.AI_PASSIVE,
        sock: Any = None,
        backlog: int = 100,
        ssl: Any = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> asyncio.Server:
        """Listen at all addresses of the host. Raises `OSError`, and `NotSimulatedError` for `ssl` and for a socket
        that was made outside of a host."""
        if ssl:
            refuse("ssl=")
        if sock is not None:
            if host is not None or port is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            sockets = [_simulated(sock)]
        else:
            if host is None and port is None:
                raise ValueError("Neither host/port nor sock were specified")
            addresses = await self._addresses(host or None, port, family, 0, flags)
            sockets = self._bound(addresses)
        server = SimServer(cast("SimLoop", self), sockets, protocol_factory, backlog)
        if start_serving:
            server.begin()
            # As asyncio does: whoever is there to be accepted is, before anything else.
            await asyncio.sleep(0)
        return cast(asyncio.Server, server)

    def _bound(self, addresses: Iterable[tuple[str, int]]) -> list[SimSocket]:
        sockets: list[SimSocket] = []
        try:
            for address in addresses:
                sockets.append(sock := SimSocket(self.stack))
                try:
                    sock.bind(address)
                except OSError as error:
                    text = f"error while attempting to bind on address {address!r}: {error.strerror}"
                    raise OSError(error.errno, text) from None
        except OSError:
            for sock in sockets:
                sock.close()
            raise
        return sockets

    async def connect_accepted_socket(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: Any,
        *,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        """A transport for a connection that was accepted by the program itself."""
        if ssl:
            refuse("ssl=")
        return await self._made(protocol_factory, _simulated(sock).take_end())

    def add_reader[*Ts](self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        """Have it called when somebody waits to be accepted. Raises `NotSimulatedError` for other descriptors."""
        sock = self.stack.socket_of(fd)
        if sock is None:
            refuse("add_reader of another descriptor")
        self.stack.set_reader(sock, SimHandle(callback, args, copy_context()))

    def remove_reader(self, fd: Any) -> bool:
        """Whether somebody was to be told."""
        sock = self.stack.socket_of(fd)
        return sock is not None and self.stack.set_reader(sock, None)


def _simulated(sock: Any) -> SimSocket:
    if not isinstance(sock, SimSocket):
        refuse("sock= of another socket")
    return sock
