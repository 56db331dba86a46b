"""Names and addresses of a simulated network.

Every host has one address, `10.0.0.1` and so on in the order in which hosts are added, and its name stands for it. More
names can be given, each for one address or several, as a headless service has them.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address
from typing import Any

from ..world import World

LOOPBACK = "127.0.0.1"
LAST_PORT = 65535


class Names:
    """Who is where. One for each world."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        self._more: dict[str, tuple[str, ...]] = {}
        self._key = 0

    @classmethod
    def of(cls, world: World) -> Names:
        """Those of a world."""
        found = world.extras.get("names")
        if found is None:
            found = world.extras["names"] = cls()
        assert isinstance(found, Names)
        return found

    def add(self, host: str) -> str:
        """The address of a host, which has one from now on."""
        if host not in self._addresses:
            address = str(IPv4Address(0x0A000001 + len(self._addresses)))
            self._addresses[host] = address
            self._hosts[address] = host
        return self._addresses[host]

    def name(self, name: str, *hosts: str) -> None:
        """Let a name stand for the addresses of these hosts."""
        self._more[name] = tuple([self.add(host) for host in hosts])

    def host_at(self, address: str) -> str | None:
        """The host that has an address."""
        return self._hosts.get(address)

    def addresses(self, name: str) -> tuple[str, ...]:
        """What a name stands for; nothing for one that nobody has."""
        if name == "localhost":
            # Also where a host is called that.
            return (LOOPBACK,)
        if name in self._addresses:
            return (self._addresses[name],)
        return self._more.get(name, ())

    def next_key(self) -> int:
        """A key for the first end of a connection; the other one has the next."""
        self._key += 2
        return self._key

    def look_up(self, host: Any, port: Any, family: int, kind: int, proto: int, flags: int) -> list[tuple[Any, ...]]:
        """As `socket.getaddrinfo`. Raises `socket.gaierror` for names that nobody has."""
        if isinstance(host, bytes):
            host = host.decode()
        if family not in (socket.AF_UNSPEC, socket.AF_INET):
            raise socket.gaierror(socket.EAI_FAMILY, "hosts of a simulation have addresses of version 4 only")
        number = _port(port)
        if not host:
            found: tuple[str, ...] = ("0.0.0.0" if flags & socket.AI_PASSIVE else LOOPBACK,)
        elif _is_address(host):
            found = (host,)
        elif flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is no address")
        else:
            found = self.addresses(host)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, f"no host of this simulation is called {host!r}")
        kinds = [(socket.SOCK_STREAM, socket.IPPROTO_TCP), (socket.SOCK_DGRAM, socket.IPPROTO_UDP)]
        kinds = [each for each in kinds if kind in (0, each[0]) and proto in (0, each[1])]
        return [(socket.AF_INET, *each, "", (address, number)) for address in found for each in kinds]


def _port(port: Any) -> int:
    if port is None:
        return 0
    if isinstance(port, bytes):
        port = port.decode()
    if isinstance(port, str) and not port.isdecimal():
        known = {"http": 80, "https": 443}
        if port not in known:
            raise socket.gaierror(socket.EAI_SERVICE, f"no service is called {port!r}")
        return known[port]
    number = int(port)
    if not 0 <= number <= LAST_PORT:
        raise OverflowError(f"port must be 0-{LAST_PORT}, not {number}")
    return number


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
