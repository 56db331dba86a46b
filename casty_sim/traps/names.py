"""Sockets and names, as programs ask for them without an event loop."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from ..boundary import refuse
from ..loop import running
from ..stack.sockets import SimSocket
from .replace import Method, Place

if TYPE_CHECKING:
    from ..loop import SimLoop


def _look_up(
    loop: SimLoop, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> list[Any]:
    return loop.stack.names.look_up(host, port, family, type, proto, flags)


def _by_name(loop: SimLoop, name: str) -> str:
    return str(loop.stack.names.look_up(name, 0, socket.AF_INET, socket.SOCK_STREAM, 0, 0)[0][4][0])


def places() -> list[Place]:
    """The functions of `socket`."""
    return [
        Place(socket, "getaddrinfo", _look_up),
        Place(socket, "gethostbyname", _by_name),
        Place(socket, "gethostname", lambda loop: loop.host.name),
        Place(socket, "getfqdn", lambda loop, name="": name or loop.host.name),
        Place(socket, "socketpair", lambda *_, **__: refuse("socket.socketpair")),
    ]


def methods() -> list[Method]:
    """Sockets of hosts are simulated ones."""

    inherited = socket.socket.__new__

    def new(cls: Any, *args: Any, **named: Any) -> Any:
        loop = running.current
        if loop is None or not running.is_own_thread():
            return inherited(cls, *args, **named)
        family, kind, proto = (*args, -1, -1, -1)[:3]
        return SimSocket(loop.stack, named.get("family", family), named.get("type", kind), named.get("proto", proto))

    return [(socket.socket, "__new__", staticmethod(new))]
