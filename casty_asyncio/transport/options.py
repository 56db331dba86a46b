"""What can be set for a system that talks to others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ssl import CERT_REQUIRED
from typing import Any

from attrs import Attribute, field, frozen

from casty_proto.address import NAME_MAX, AddressError, NodeAddress, check_host, check_port
from casty_proto.link import LinkOptions
from casty_proto.machine import nanoseconds
from casty_proto.wire import WireOptions

from ..clock import MAX_SECONDS
from ..errors import UsageError
from .tls import Contexts, Tls


def _seconds(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= min(MAX_SECONDS, 1e7):
        raise UsageError(f"Remote.{attribute.name} must be a number of seconds from 0.001 to 1e7, not {value!r}")


def _count(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if type(value) is not int or not 1 <= value <= 2**31 - 1:
        raise UsageError(f"Remote.{attribute.name} must be a whole number from 1 to 2**31 - 1, not {value!r}")


def _boolean(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if type(value) is not bool:
        raise UsageError(f"Remote.{attribute.name} must be True or False, not {value!r}")


def _secret(value: Any) -> bytes | None:
    if value is not None and (not isinstance(value, str | bytes) or not value):
        raise UsageError("Remote.secret must be a text or bytes, and not empty; or None")
    return value.encode() if isinstance(value, str) else value


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_MAX


def _address(value: str | NodeAddress) -> NodeAddress:
    return value if isinstance(value, NodeAddress) else NodeAddress.parse(value)


def _addresses(value: Mapping[str, str] | Mapping[NodeAddress, NodeAddress]) -> dict[NodeAddress, NodeAddress]:
    try:
        return {_address(known): _address(dialled) for known, dialled in value.items()}
    except (AddressError, AttributeError, TypeError) as error:
        raise UsageError(
            f"Remote.address_map must map 'host:port' to the 'host:port' that is to be dialled instead: {error}"
        ) from error


def _tls(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, Tls | Contexts):
        raise UsageError(f"Remote.tls must be a Tls, or Contexts that are ready, not {value!r}")


@frozen
class Codec[T]:
    """How objects of one class, and of no subclass, are sent: as what `encode` returns.

    `decode` is given whatever a peer sends. It must check that, and raise where it is not what it should be.
    """

    cls: type[T]
    name: str
    """What peers know the class by."""
    encode: Callable[[T], Any]
    decode: Callable[[Any], T]


@frozen(kw_only=True)
class Remote:
    """How a system talks to others: `ActorSystem("shop", remote=Remote(host="127.0.0.1", port=25520))`.

    Without a `host` it listens nowhere, and dials others only; they can still reach its actors over its connections.
    Raises `UsageError` for what makes no sense.
    """

    host: str | None = field(default=None, kw_only=False)
    """Where to listen; `"0.0.0.0"` is everywhere."""
    port: int = field(default=0, kw_only=False)
    """The port to listen on; 0 for any that is free."""
    advertise: str | None = None
    """The `host:port`, or the host alone, that others are to dial. Needed where they know this machine by another name
    or port. The default is `host`, or this machine's own address where that is a wildcard."""
    node_id: str | None = None
    """What this node is called. The default is its address; where it listens nowhere, a name that is made up."""
    secret: bytes | None = field(default=None, converter=_secret, repr=False)
    """What all nodes must know. Each proves it to the other; it is never sent. Make it long and random."""
    tls: Tls | Contexts | None = field(default=None, validator=_tls)
    """Mutual TLS."""
    strict: bool = field(default=False, validator=_boolean)
    """Whether only classes with `@message`, and those with a `Codec`, may be sent and received."""
    codecs: tuple[Codec[Any], ...] = field(default=(), converter=tuple)
    """How to send classes that are no dataclass, attrs class, enum or named tuple."""
    address_map: Mapping[NodeAddress, NodeAddress] = field(factory=dict, converter=_addresses)
    """What to dial instead of an address, for tunnels: `{"10.0.0.7:25520": "localhost:9000"}`."""
    connect_timeout: float = field(default=10.0, validator=_seconds)
    """How long one attempt to connect may take, the handshake included, in seconds."""
    lost_after: float = field(default=30.0, validator=_seconds)
    """How long a node may be out of reach until what waits for it is given up, in seconds."""
    refused_after: float = field(default=2.0, validator=_seconds)
    """The same for a node whose machine says that nobody listens there, in seconds."""
    ping_after: float = field(default=2.0, validator=_seconds)
    """How long nothing may be heard of a node that matters until it is asked for a sign, in seconds."""
    mute_after: float = field(default=10.0, validator=_seconds)
    """How long nothing may be heard of it until its connection is given up, in seconds."""
    idle_after: float = field(default=300.0, validator=_seconds)
    """How long a connection is kept that nobody needs, in seconds."""
    max_message: int = field(default=16 * 2**20, validator=_count)
    """The longest message, in bytes; the same on all nodes. A longer one is an error where it is sent. One that is
    longer than the receiver takes ends what the two have in common, and both log it."""
    max_queued: int = field(default=2**17, validator=_count)
    """How many messages may wait for one node, those included that it has not acknowledged."""
    max_queued_bytes: int = field(default=64 * 2**20, validator=_count)
    """How many bytes of them."""
    max_connections: int = field(default=1024, validator=_count)
    """How many connections of others are open at a time."""
    max_handshakes: int = field(default=64, validator=_count)
    """How many of them may be strangers', whose handshake is not over. One more takes the place of the oldest."""
    max_peers: int = field(default=4096, validator=_count)
    """How many nodes are remembered at a time. Of more than that those are forgotten with which nothing is under way,
    and if there are none, no others are taken."""
    max_asked: int = field(default=2**17, validator=_count)
    """How many asks of one node may wait here for their answers. More are refused."""

    def __attrs_post_init__(self) -> None:
        try:
            if self.host is not None:
                check_host(self.host)
            check_port(self.port, any_port=True)
        except (AddressError, TypeError) as error:
            raise UsageError(f"Remote: {error}") from error
        if self.host is None and (self.port or self.advertise is not None):
            raise UsageError("Remote: a port or an address to advertise is of no use without a host to listen on")
        if self.node_id is not None and not _is_name(self.node_id):
            raise UsageError(f"Remote.node_id must be a text of 1 to {NAME_MAX} characters, not {self.node_id!r}")
        if self.mute_after <= self.ping_after:
            raise UsageError("Remote.mute_after must be longer than ping_after")
        if not all(isinstance(codec, Codec) for codec in self.codecs):
            raise UsageError("Remote.codecs must be Codec objects")
        if self.max_queued < 256:
            raise UsageError("Remote.max_queued must be at least 256")

    @property
    def is_open(self) -> bool:
        """Whether anybody who can connect is as good as a node of this system."""
        if self.secret is not None or isinstance(self.tls, Tls):
            return False
        return self.tls is None or self.tls.server.verify_mode is not CERT_REQUIRED

    @property
    def link_options(self) -> LinkOptions:
        """The part that concerns links."""
        return LinkOptions(
            lost_after_ns=nanoseconds(self.lost_after),
            refused_after_ns=nanoseconds(self.refused_after),
            ping_after_ns=nanoseconds(self.ping_after),
            mute_after_ns=nanoseconds(self.mute_after),
            idle_after_ns=nanoseconds(self.idle_after),
            max_frames=self.max_queued,
            max_bytes=self.max_queued_bytes,
        )

    @property
    def wire_options(self) -> WireOptions:
        """The part that concerns values."""
        return WireOptions(max_frame=self.max_message)
