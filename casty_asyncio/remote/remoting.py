"""What connects an actor system with others: its address, its transport, and its conversations."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from os import urandom
from random import Random
from typing import TYPE_CHECKING, Any

from casty_proto.address import ActorAddress, AddressError, NodeAddress, check_host, parse_endpoint
from casty_proto.wire import Node

from ..errors import UnreachableError, UsageError
from ..refs import ActorRef, LocalRef
from ..transport import Remote
from ..transport.dialing import DialedItself, DialError, NotWelcome
from ..transport.peer import Peer
from ..transport.transport import Transport
from .conversation import Conversation
from .exports import Exports
from .ref_codec import RefCodec
from .refs import RemoteRef
from .values import types_for

if TYPE_CHECKING:
    from ..runtime import Runtime


class Nobody:
    """Stands for the actor that an ask was meant for and that is not there."""

    path = "/$nobody"


class Remoting:
    """One system's half of all that is said to others."""

    def __init__(
        self, runtime: Runtime, options: Remote, find_local: Callable[[str, int | None], LocalRef[Any] | None]
    ) -> None:
        self.runtime = runtime
        self.options = options
        self.wire_options = options.wire_options
        self.find_local = find_local
        """The actor at a path, of that incarnation if one is given. For lookups from outside."""
        self.types = types_for(options.codecs, strict=options.strict)
        self.refs = RefCodec(self)
        self.types.use_refs(ActorRef, self.refs.encode, self.refs.decode)  # type: ignore[type-abstract]
        self.nobody = Nobody()
        self.own: Node
        """Who this is. Known once it listens."""
        self.exports: Exports
        self._transport: Transport | None = None

    # -- beginning and end ---------------------------------------------------------------------------------------------

    async def start(self, before_serving: Callable[[Transport], None] | None = None) -> None:
        """Begin to listen. Raises `UsageError` where that is impossible; nothing was begun then.

        `before_serving` is called when it is known who this is, and nobody was accepted yet.
        """
        options, runtime = self.options, self.runtime
        # Microseconds, so that two processes on one machine never have the same one after another.
        generation = time.time_ns() // 1000
        self.exports = Exports(generation)
        if options.host is None:
            own = Node(options.node_id or f"client-{urandom(8).hex()}", generation)
            self._begin(own)
            return
        transport = self._begin(Node("starting", generation))
        try:
            port = await transport.bind(options.host, options.port)
            if self._transport is not transport:
                raise UsageError("it was shut down meanwhile")
            address = self._advertised(options.host, port)
        except (OSError, AddressError, UsageError) as error:
            await transport.close("it did not start")
            self._transport = None
            raise UsageError(f"{runtime.name!r} cannot listen on {options.host}:{options.port}: {error}") from error
        self.own = transport.own = Node(options.node_id or str(address), generation, str(address))
        runtime.authority = f"{runtime.name}@{address}"
        runtime.incarnations = self.exports.base
        if before_serving is not None:
            before_serving(transport)
        transport.serve()
        if options.is_open and not _is_loopback(options.host):
            runtime.log.warning(
                "listening on %s:%s with neither a secret nor mutual TLS: whoever can connect can send messages to the "
                "actors",
                options.host,
                port,
            )

    def _begin(self, own: Node) -> Transport:
        runtime = self.runtime
        self.own = own
        runtime.incarnations = self.exports.base
        self._transport = transport = Transport(
            self.options,
            own,
            runtime.name,
            runtime.log,
            runtime.clock,
            Random(runtime.rng.getrandbits(64)),
            lambda peer: Conversation(self, peer),
            lambda work, name: runtime.tracker.start(work, name),
        )
        return transport

    def _advertised(self, host: str, port: int) -> NodeAddress:
        given = self.options.advertise
        if given is None:
            return NodeAddress(_own_address(host) if host in ("0.0.0.0", "::") else host, port)
        try:
            return NodeAddress(check_host(given), port)
        except AddressError:
            return NodeAddress(*parse_endpoint(given))

    async def close(self) -> None:
        """Say farewell to everybody and close everything. May be repeated."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close(f"the actor system {self.runtime.name!r} was shut down")

    @property
    def transport(self) -> Transport:
        """The transport. Raises `UnreachableError` when the system has ended."""
        if self._transport is None:
            raise UnreachableError(f"actor system {self.runtime.name!r} is not connected with others")
        return self._transport

    @property
    def address(self) -> NodeAddress | None:
        """Where others dial this system, if they can."""
        return NodeAddress.parse(self.own.address) if self.own.address else None

    # -- others --------------------------------------------------------------------------------------------------------

    def conversation_with(self, node: Node) -> Conversation:
        """The conversation with a process. Raises `UnreachableError` for one that is known to be gone."""
        try:
            return _conversation(self.transport.peer(node, proven=False))
        except NotWelcome as error:
            raise UnreachableError(str(error)) from None

    def over(self, number: int) -> RemoteRef[Any]:
        """Stands for the ask of that number, which is over."""
        return RemoteRef(self, self.own, "/$ask", number)

    async def lookup(self, address: ActorAddress) -> ActorRef[Any] | None:
        """The actor at an address of another process, or of this one by another name. Raises `UnreachableError`."""
        assert address.node is not None
        try:
            peer = await self.transport.peer_at(address.node)
        except DialedItself:
            return self.find_local(address.path, address.incarnation)
        except DialError as error:
            raise UnreachableError(f"{address} cannot be looked up: {error}") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._transport is not None or (task is not None and task.cancelling()):
                raise
            raise UnreachableError(f"{address} cannot be looked up: this system was shut down") from error
        return await _conversation(peer).lookups.lookup(address.path, address.incarnation)


def _conversation(peer: Peer) -> Conversation:
    conversation = peer.conversation
    assert isinstance(conversation, Conversation)
    return conversation


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _own_address(wildcard: str) -> str:
    """This machine's address on the way to others. Nothing is sent."""
    family, elsewhere = (socket.AF_INET, "192.0.2.1") if wildcard == "0.0.0.0" else (socket.AF_INET6, "2001:db8::1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1" if family is socket.AF_INET else "::1"
