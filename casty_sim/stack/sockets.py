"""Sockets of a simulated host, as far as programs touch them themselves: to listen, and to learn addresses."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from ..boundary import refuse
from .tcp import End

if TYPE_CHECKING:
    from .stack import Stack

ANY = ("0.0.0.0", "")
LOOPBACK = "127.0.0.1"


class SimSocket:
    """A socket: one that listens, one that was accepted, or one that asks for its own address."""

    def __init__(self, stack: Stack, family: int = -1, kind: int = -1, proto: int = -1, end: End | None = None) -> None:
        self.family = socket.AF_INET if family == -1 else family
        self.type = socket.SOCK_STREAM if kind == -1 else kind
        self.proto = socket.IPPROTO_TCP if proto == -1 else proto
        if self.family == getattr(socket, "AF_UNIX", None):
            refuse("a Unix socket")
        if self.family != socket.AF_INET:
            raise OSError(errno.EAFNOSUPPORT, "hosts of a simulation have addresses of version 4 only")
        self._stack = stack
        self._end = end
        self._address: tuple[str, int] = ("0.0.0.0", 0) if end is None else end.local
        self._waiting: deque[End] = deque()
        self._backlog = 0
        self._is_closed = False
        self._options: dict[tuple[int, int], Any] = {}
        self.is_view = False
        """Whether a transport has the connection, and this socket is only asked about it."""
        self._number = stack.next_descriptor(self)

    # -- listening -----------------------------------------------------------------------------------------------------

    def bind(self, address: Any) -> None:
        """Take a port. Raises `OSError` where it is taken, or the address is none of this host."""
        host, port = address[0], address[1]
        self._address = self._stack.take_port(self, host, port)

    def listen(self, backlog: int = 128) -> None:
        """Let others connect."""
        self._backlog = max(1, backlog)
        self._stack.listen(self)

    @property
    def is_full(self) -> bool:
        """Whether nobody else can wait to be accepted."""
        return len(self._waiting) >= self._backlog

    @property
    def has_waiting(self) -> bool:
        """Whether somebody waits to be accepted."""
        return bool(self._waiting)

    def enqueue(self, end: End) -> None:
        """Somebody has connected."""
        self._waiting.append(end)

    def accept(self) -> tuple[SimSocket, tuple[str, int]]:
        """The connection that has waited for longest. Raises `BlockingIOError` when there is none."""
        self._check_open()
        if not self._waiting:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        end = self._waiting.popleft()
        return SimSocket(self._stack, end=end), end.remote

    def take_end(self) -> End:
        """The connection, for a transport. The socket is not used any more."""
        self._check_open()
        end, self._end = self._end, None
        if end is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        self._stack.drop_descriptor(self._number)
        self._number = -1
        return end

    # -- what is asked of sockets --------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """A number that no other socket of the host has, far above those of real descriptors; -1 when closed."""
        return self._number

    def getsockname(self) -> tuple[str, int]:
        """Its own address."""
        self._check_open()
        return self._address

    def getpeername(self) -> tuple[str, int]:
        """The address at the other end. Raises `OSError` where there is none."""
        self._check_open()
        if self._end is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._end.remote

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Remembered; it changes nothing, but for the port, which can always be taken again."""
        self._check_open()
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int) -> Any:
        """What was set, or 0."""
        self._check_open()
        return self._options.get((level, option), 0)

    def setblocking(self, flag: bool) -> None:
        """Sockets of a simulation never block."""
        self._options[-1, 0] = flag

    def settimeout(self, value: float | None) -> None:
        """Sockets of a simulation never block."""
        self._options[-1, 0] = value != 0

    def gettimeout(self) -> float | None:
        """It never blocks."""
        return 0.0

    def getblocking(self) -> bool:
        """It never blocks."""
        return False

    def connect(self, address: Any) -> None:
        """For a datagram socket: choose the address that others see. Nothing is sent. Others raise."""
        self._check_open()
        if self.type != socket.SOCK_DGRAM:
            refuse("socket.connect")
        self._address = (self._stack.address, self._stack.free_port())

    def recv(self, *_: Any) -> bytes:
        """Not simulated."""
        refuse("socket.recv")

    def send(self, *_: Any) -> int:
        """Not simulated."""
        refuse("socket.send")

    sendall = send

    def close(self) -> None:
        """Let go of the port, or break the connection. Harmless when repeated."""
        if self._is_closed or self.is_view:
            return
        self._is_closed = True
        self._stack.drop_descriptor(self._number)
        self._stack.stop_listening(self)
        while self._waiting:
            self._waiting.popleft().reset()
        if self._end is not None:
            self._end.let_go()
            self._end = None
        self._number = -1

    def end_view(self) -> None:
        """The transport has closed the connection."""
        self._is_closed = True
        self._stack.drop_descriptor(self._number)
        self._end = None
        self._number = -1

    def _check_open(self) -> None:
        if self._is_closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SimSocket {self._number} at {self._address}>"
