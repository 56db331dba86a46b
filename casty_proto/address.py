"""Addresses: which actor, of which system, on which node.

    casty://system@host:port/path#incarnation        an actor of a system that listens
    casty://system/path#incarnation                  an actor of a system without a network address

Rules
-----
1.  One actor, one text. `parse` and `str` are inverse to each other: numbers have no leading zeros, a path begins
    with `/` and does not end with one, and a host is kept in one spelling (lower case, IPv6 compressed and in brackets,
    IPv4 in IPv6 clothes as IPv4). Two addresses are equal exactly when their texts are.
2.  Nothing is escaped or decoded. Names are compared character by character; whatever could be confused in print, or
    with the syntax, is not allowed in them: `/` and `#` (they divide the address), white space, control characters,
    and lone surrogates (they cannot be sent). `@` and `:` are allowed in actor names, which come after the first `/`,
    but not in system names, which come before it.
3.  A name has at most 255 characters.
4.  Top-level names that begin with `_` belong to the system. Names that begin with `$` are made up for actors that were
    spawned without one, at any depth; nobody can choose them, so the two never meet.
5.  The incarnation tells an actor from an earlier one of the same name. An address with one reaches that actor or
    nobody; an address without one reaches whoever has the name now.
6.  A node address is one that others can dial: its port is 1 to 65535. Port 0, "pick one", is a request to the
    operating system and never part of an address; `check_port` and `parse_endpoint` let it through only when told to.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Self

from attrs import field, frozen
from attrs.validators import instance_of, optional

SCHEME = "casty://"
"""What every address of an actor begins with."""
ROOT = "/"
"""The path above all top-level actors. It names no actor."""

NAME_MAX = 255
"""The longest name of an actor or a system, in characters."""
HOST_MAX = 253
"""The longest host name, in characters (RFC 1035)."""
INCARNATION_MAX = 2**64 - 1
"""The highest incarnation."""

_NEVER = r"\s\x00-\x1f\x7f-\x9f\ud800-\udfff/#"
_ACTOR_TABOO = re.compile(f"[{_NEVER}]")
_SYSTEM_TABOO = re.compile(rf"[{_NEVER}@:\[\]]")
_PATH = re.compile(f"(?:/[^{_NEVER}]{{1,{NAME_MAX}}})+")
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_LOOKS_LIKE_IPV4 = re.compile(r"(?:.*\.)?\d+\.?")
_ZONE = re.compile("[A-Za-z0-9_.-]+")
_NUMBER = re.compile("0|[1-9][0-9]{0,19}")

_NAME_EXPECTED = f"expected 1 to {NAME_MAX} characters without '/', '#', white space and control characters"
_SYSTEM_EXPECTED = (
    f"expected 1 to {NAME_MAX} characters without '/', '#', '@', ':', brackets, white space and control characters"
)
_HOST_EXPECTED = "expected a host name (letters, digits, '-' and '_' between dots), an IPv4 or an IPv6 address"
_ENDPOINT_EXPECTED = "expected 'host:port', with an IPv6 address in brackets: '[::1]:8001'"
_SHOWN_MAX = 80


class AddressError(ValueError):
    """A text, or a part of an address, is not what it should be. Says what is wrong, where, and what is expected.

    Nothing was made.
    """


# -- names and paths ---------------------------------------------------------------------------------------------------


def actor_name_problem(name: str) -> str | None:
    """Why an actor cannot be given this name, or `None` when it can. Whether the name is taken is another question."""
    if name.startswith("$"):
        return f"actor name {_shown(name)} begins with '$', as only made-up names do; choose another first character"
    return _name_problem("actor name", name, _ACTOR_TABOO, _NAME_EXPECTED)


def system_name_problem(name: str) -> str | None:
    """Why a system cannot be given this name, or `None` when it can."""
    return _name_problem("system name", name, _SYSTEM_TABOO, _SYSTEM_EXPECTED)


def is_reserved(path: str) -> bool:
    """Whether a path, or a top-level name, belongs to the system (rule 4)."""
    return path.startswith(("/_", "_"))


def parse_path(text: str) -> str:
    """The path that a person means: `cache` and `/cache` are both `/cache`. Raises `AddressError`."""
    path = text if text.startswith(ROOT) else ROOT + text
    _check_path(path)
    return path


def join_path(parent: str, name: str) -> str:
    """The path of the child `name` of `parent`, which may be `ROOT`. Neither is checked."""
    return ROOT + name if parent == ROOT else f"{parent}/{name}"


def split_path(path: str) -> tuple[str, ...]:
    """The names along a path, from the top-level actor down; none for `ROOT`."""
    return () if path == ROOT else tuple(path[1:].split("/"))


def parent_path(path: str) -> str:
    """The path above: `ROOT` for a top-level actor. Raises `AddressError` for `ROOT` itself."""
    if path == ROOT:
        raise AddressError(f"path {ROOT!r} has no parent; expected the path of an actor, such as '/name'")
    return path.rpartition("/")[0] or ROOT


def _check_path(path: str) -> None:
    if _PATH.fullmatch(path):
        return
    where = f"path {_shown(path)}"
    if not path.startswith(ROOT):
        raise AddressError(f"{where} does not begin with '/'; expected '/name' or '/name/name'")
    if path == ROOT:
        raise AddressError(f"{where} names no actor; expected '/name' or '/name/name'")
    for name in split_path(path):
        if (problem := _name_problem("actor name", name, _ACTOR_TABOO, _NAME_EXPECTED)) is not None:
            raise AddressError(f"{where}: {problem}")
    raise AssertionError(path)


def _name_problem(what: str, name: str, taboo: re.Pattern[str], expected: str) -> str | None:
    if not name:
        return f"{what} '' is empty; {expected}"
    if (found := taboo.search(name)) is not None:
        return f"{what} {_shown(name)} has {found.group()!r} at index {found.start()}; {expected}"
    if len(name) > NAME_MAX:
        return f"{what} {_shown(name)} has {len(name)} characters; {expected}"
    return None


# -- nodes -------------------------------------------------------------------------------------------------------------


def check_host(host: str) -> str:
    """The host in its one spelling (rule 1). Raises `AddressError`. Resolves nothing."""
    if not host:
        raise AddressError(f"host '' is empty; {_HOST_EXPECTED}")
    if len(host) > HOST_MAX:
        raise AddressError(f"host {_shown(host)} is longer than {HOST_MAX} characters; {_HOST_EXPECTED}")
    if ":" in host:
        return _check_ipv6(host)
    lower = host.lower()
    if _LOOKS_LIKE_IPV4.fullmatch(lower):
        try:
            return str(IPv4Address(lower))
        except AddressValueError as error:
            raise AddressError(f"host {_shown(host)} is not an IPv4 address ({error}); {_HOST_EXPECTED}") from None
    if not _HOST_NAME.fullmatch(lower):
        raise AddressError(f"host {_shown(host)} is not a host name; {_HOST_EXPECTED}")
    return lower


def _check_ipv6(host: str) -> str:
    try:
        address = IPv6Address(host)
    except AddressValueError as error:
        raise AddressError(f"host {_shown(host)} is not an IPv6 address ({error}); {_HOST_EXPECTED}") from None
    if address.ipv4_mapped is not None:
        # Python 3.12 and 3.13 print these differently; the plain address is the same host in one spelling.
        return str(address.ipv4_mapped)
    if address.scope_id is not None and not _ZONE.fullmatch(address.scope_id):
        raise AddressError(
            f"host {_shown(host)} has the zone {_shown(address.scope_id)}; "
            "expected letters, digits, '-', '_' and '.' after the '%'"
        )
    return str(address)


def check_port(port: int, *, any_port: bool = False) -> int:
    """The port, if it is one. 0, which asks for any free port, passes only with `any_port`. Raises `AddressError`."""
    lowest = 0 if any_port else 1
    if type(port) is not int or not lowest <= port <= 65535:
        raise AddressError(f"port {_shown(port)} is out of range; expected {lowest} to 65535")
    return port


def parse_endpoint(text: str, *, any_port: bool = False) -> tuple[str, int]:
    """The host, in its one spelling, and the port of `host:port`. Raises `AddressError`.

    This is for places to listen on; a node to dial is a `NodeAddress`.
    """
    where = f"endpoint {_shown(text)}"
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise AddressError(f"{where} has no ']'; {_ENDPOINT_EXPECTED}")
        if ":" not in host:
            raise AddressError(f"{where} has brackets around {_shown(host)}; {_ENDPOINT_EXPECTED}")
        if rest and not rest.startswith(":"):
            raise AddressError(f"{where} has {_shown(rest)} after the ']'; {_ENDPOINT_EXPECTED}")
        colon, digits = rest[:1], rest[1:]
    else:
        host, colon, digits = text.rpartition(":")
        if ":" in host:
            raise AddressError(f"{where} has more than one ':' and no brackets; {_ENDPOINT_EXPECTED}")
    if not colon:
        raise AddressError(f"{where} has no port; {_ENDPOINT_EXPECTED}")
    if not _NUMBER.fullmatch(digits):
        raise AddressError(f"{where} has the port {_shown(digits)}, which is not a number; {_ENDPOINT_EXPECTED}")
    try:
        return check_host(host), check_port(int(digits), any_port=any_port)
    except AddressError as error:
        raise AddressError(f"{where}: {error}") from None


def _port(port: int) -> int:
    return check_port(port)


@frozen
class NodeAddress:
    """Where a node can be dialled. Raises `AddressError` unless host and port are good.

    `host` is a name or an IP address, in its one spelling (rule 1). `port` is from 1 to 65535.
    """

    host: str = field(converter=check_host)
    port: int = field(converter=_port)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host:port`, as seeds are written. Raises `AddressError`."""
        return cls(*parse_endpoint(text))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


# -- actors ------------------------------------------------------------------------------------------------------------


@frozen
class ActorAddress:
    """One actor, wherever it is. `node` is `None` where the system has no network address.

    `system` is a name, `path` begins with `/` and has the names from the top-level actor down, and `incarnation` is
    from 0 to `INCARNATION_MAX`, or `None` for whoever has the name (rule 5). Raises `AddressError` for a part that is
    not so, and `TypeError` for one of another type.
    """

    system: str = field(validator=instance_of(str))
    node: NodeAddress | None = field(validator=optional(instance_of(NodeAddress)))
    path: str = field(validator=instance_of(str))
    incarnation: int | None = field(default=None)

    def __attrs_post_init__(self) -> None:
        if (problem := system_name_problem(self.system)) is not None:
            raise AddressError(problem)
        _check_path(self.path)
        number = self.incarnation
        if number is not None and (type(number) is not int or not 0 <= number <= INCARNATION_MAX):
            raise AddressError(f"incarnation {_shown(number)} is out of range; expected 0 to 2**64 - 1, or none")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `casty://system@host:port/path#incarnation`; the node and the incarnation may be absent.

        Raises `AddressError`, which quotes the text, shortened if it is long.
        """
        try:
            return cls._parse(text)
        except AddressError as error:
            raise AddressError(f"address {_shown(text)}: {error}") from None

    @classmethod
    def _parse(cls, text: str) -> Self:
        if not text.startswith(SCHEME):
            raise AddressError(f"does not begin with {SCHEME!r}; expected '{SCHEME}system@host:port/path'")
        where, hash_sign, number = text[len(SCHEME) :].partition("#")
        if hash_sign and not _NUMBER.fullmatch(number):
            raise AddressError(f"incarnation {_shown(number)} is not a number; expected digits after the '#'")
        authority, slash, names = where.partition("/")
        if not slash:
            raise AddressError(f"no '/' after the system {_shown(authority)}; expected '{SCHEME}system@host:port/path'")
        system, at, endpoint = authority.partition("@")
        return cls(
            system=system,
            node=NodeAddress.parse(endpoint) if at else None,
            path=slash + names,
            incarnation=int(number) if hash_sign else None,
        )

    @property
    def name(self) -> str:
        """The actor's own name, the last along its path."""
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        node = "" if self.node is None else f"@{self.node}"
        incarnation = "" if self.incarnation is None else f"#{self.incarnation}"
        return f"{SCHEME}{self.system}{node}{self.path}{incarnation}"


def _shown(value: object) -> str:
    """A value as it is quoted in an error: a peer's rubbish may be long."""
    if isinstance(value, str) and len(value) > _SHOWN_MAX:
        return f"{value[:_SHOWN_MAX]!r}... ({len(value)} characters)"
    return repr(value)
