"""The listening sockets of a node, and what comes in by them until it has shaken hands.

A stranger costs a socket, a task and a few kilobytes, from the moment it is accepted: also while TLS is being agreed
upon, which an event loop's own servers do not let anybody see. So the number of strangers is limited. Whoever is one
more takes the place of the one that has been at it for longest, from the machine that has most of them: a handshake
takes milliseconds, and who needs seconds is up to something, or will come again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from casty_proto.wire import Listener

from .connection import Connection, endpoint, machine

if TYPE_CHECKING:
    from .transport import Transport

_BACKLOG = 128
_PORT_ATTEMPTS = 8
_PAUSE_SECONDS = 0.5
"""How long nobody is accepted after the system had no socket left."""


class Listening:
    """Accepts connections for a transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._sockets: list[socket.socket] = []
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        """Those at which nobody is accepted for a moment."""
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._strangers: dict[Connection, asyncio.Task[None]] = {}
        """Those whose handshakes are not over, the oldest first."""
        self._open: dict[Connection, None] = {}
        """All that were accepted, and are not closed."""

    # -- beginning and end ---------------------------------------------------------------------------------------------

    async def bind(self, host: str, port: int) -> int:
        """Take a port at all addresses of the host. Returns the port. Raises `OSError` where that is impossible."""
        found = await self._transport.loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys([(family, address) for family, _, _, _, address in found]))
        for attempt in range(_PORT_ATTEMPTS):
            try:
                return self._bind_all(addresses, port)
            except OSError:
                self._close_sockets()
                # Any port will do, but it must be the same at all addresses.
                if port or len(addresses) == 1 or attempt == _PORT_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt raises")

    def _bind_all(self, addresses: list[tuple[Any, Any]], port: int) -> int:
        problem: OSError | None = None
        for family, address in addresses:
            try:
                self._sockets.append(listener := _listener(family, (address[0], port, *address[2:])))
            except OSError as error:
                # A name often has an address that this machine has not.
                if not isinstance(error, _Unavailable):
                    raise
                problem = error
                continue
            port = listener.getsockname()[1]
        if not self._sockets:
            raise problem or OSError("it has no address")
        return port

    def serve(self) -> None:
        """Begin to accept connections."""
        for listener in self._sockets:
            self._listen(listener)

    async def close(self) -> None:
        """Accept nobody any more, and turn out those who have not shaken hands."""
        self._close_sockets()
        for connection in list(self._strangers):
            connection.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _close_sockets(self) -> None:
        sockets, self._sockets = self._sockets, []
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()
        for listener in sockets:
            self._transport.loop.remove_reader(listener.fileno())
            listener.close()

    # -- who comes -----------------------------------------------------------------------------------------------------

    def _on_ready(self, listener: socket.socket) -> None:
        """Somebody wants to come in. One for each turn of the loop: others have something to do as well.

        No coroutine waits for this: one that was cancelled when it had accepted would leave the socket to nobody.
        """
        try:
            sock, address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # It is gone already.
        except OSError as error:
            self._transport.complain("this machine", "accept", f"no connection can be accepted: {error}")
            self._transport.loop.remove_reader(listener.fileno())
            self._pauses[listener] = self._transport.loop.call_later(_PAUSE_SECONDS, self._listen, listener)
            return
        sock.setblocking(False)
        self._on_accepted(sock, endpoint(address) or "somebody")

    def _listen(self, listener: socket.socket) -> None:
        self._pauses.pop(listener, None)
        self._transport.loop.add_reader(listener.fileno(), self._on_ready, listener)

    def _on_accepted(self, sock: socket.socket, peer: str) -> None:
        transport, options = self._transport, self._transport.options
        if transport.closing:
            sock.close()
            return
        if len(self._open) >= options.max_connections:
            transport.complain(
                machine(peer), "crowd", f"a connection from {peer} was closed: {options.max_connections} are open"
            )
            sock.close()
            return
        if len(self._strangers) >= options.max_handshakes:
            self._turn_out()
        handshake = Listener(transport.own, transport.handshake_options, transport.nonce(), transport.kinds)
        connection = Connection(transport, handshake, peer)
        self._open[connection] = None
        waiting = [sock]
        task = self._start(self._welcome(connection, waiting), f"casty-welcome {peer}")
        # A task that is cancelled before it began does not even begin.
        task.add_done_callback(lambda _: _close_all(waiting))
        self._strangers[connection] = task

    async def _welcome(self, connection: Connection, waiting: list[socket.socket]) -> None:
        """Make a connection of a socket, which takes time with TLS."""
        transport, sock = self._transport, waiting.pop()
        tls = transport.contexts.server if transport.contexts is not None else None
        try:
            await transport.loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=tls,
                ssl_handshake_timeout=transport.options.connect_timeout if tls is not None else None,
            )
        except OSError as error:
            # One that was turned out has been complained about.
            if connection in self._strangers:
                # An event loop that refuses a certificate does not always send the alert that says so.
                what = str(error) or "it broke off; does it trust the certificate of this node (Remote.tls)?"
                transport.complain(connection.machine, "TLS", f"{connection.peer} was refused: TLS failed: {what}")
            self.over(connection)
        except BaseException:
            self.over(connection)
            raise

    def _turn_out(self) -> None:
        counts: dict[str, int] = {}
        for connection in self._strangers:
            counts[connection.machine] = counts.get(connection.machine, 0) + 1
        most = max(counts.values())
        oldest = next(connection for connection in self._strangers if counts[connection.machine] == most)
        self._transport.complain(
            oldest.machine,
            "flood",
            f"the connection from {oldest.peer} was closed: {self._transport.options.max_handshakes} have not finished "
            "their handshakes, and it is the oldest",
        )
        self._strangers.pop(oldest).cancel()
        oldest.abort()
        self.over(oldest)

    def established(self, connection: Connection) -> None:
        """Its handshake is over."""
        self._strangers.pop(connection, None)

    def over(self, connection: Connection) -> None:
        """A connection is gone."""
        self._strangers.pop(connection, None)
        self._open.pop(connection, None)

    def _start(self, work: Any, name: str) -> asyncio.Task[None]:
        task = self._transport.loop.create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._transport.log.error("task %s failed", task.get_name(), exc_info=error)


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


class _Unavailable(OSError):
    """This machine has no such address."""


def _listener(family: int, address: tuple[Any, ...]) -> socket.socket:
    try:
        # asyncio sends small messages at once on sockets that say that they are TCP. On others they wait for the
        # acknowledgement of those before, which may take 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise _Unavailable(*error.args) from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _Unavailable(*error.args) from error
        raise
    return listener
