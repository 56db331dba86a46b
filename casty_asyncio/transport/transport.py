"""The transport of one system: its listening socket, its peers, and everything that is open between them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from os import urandom
from typing import Any

from casty_proto.address import NodeAddress
from casty_proto.link import Bye
from casty_proto.machine import nanoseconds
from casty_proto.wire import NONCE_SIZE, Established, HandshakeOptions, Kind, Listener, Node

from ..clock import Clock
from .complaints import Complaints
from .connection import Connection
from .dialing import DialError, dial
from .options import Remote
from .peer import Conversation, Peer
from .tls import Contexts, Tls

FLUSH_SECONDS = 2.0
"""How long the end may take until peers have acknowledged what was sent."""
_MAX_GONE = 4096
"""How many peers are remembered that are gone for good."""


class Transport:
    """What is open between this node and others.

    `converse` makes the conversation with a new peer. `spawn` runs a coroutine beside the caller, until the end.
    """

    def __init__(
        self,
        options: Remote,
        own: Node,
        system: str,
        log: logging.Logger,
        clock: Clock,
        rng: random.Random,
        converse: Callable[[Peer], Conversation],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self.options = options
        self.own = own
        self.loop = asyncio.get_running_loop()
        self.log = log
        self.clock = clock
        self.rng = rng
        self.max_frame = options.max_message + 64
        self.link_options = options.link_options
        self.contexts: Contexts | None = options.tls.contexts() if isinstance(options.tls, Tls) else options.tls
        self.handshake_options = HandshakeOptions(
            system, options.secret, timeout_ns=nanoseconds(options.connect_timeout)
        )
        self.converse = converse
        self.spawn = spawn
        self.peers: dict[tuple[str, int], Peer] = {}
        self.closing = False
        self._generations: dict[str, Peer] = {}
        """The peer of the newest generation that was heard of, for each node."""
        self._at: dict[NodeAddress, Peer] = {}
        self._resolving: dict[NodeAddress, asyncio.Task[Peer]] = {}
        self._complaints = Complaints(log, clock.now)
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, None] = {}
        self._shaking: dict[Connection, None] = {}
        self._all_over = asyncio.Event()

    # -- listening -----------------------------------------------------------------------------------------------------

    async def bind(self, host: str, port: int) -> int:
        """Take a port, and accept nobody yet. Returns the port. Raises `OSError` where that is impossible."""
        server = self.contexts.server if self.contexts is not None else None
        self._server = await self.loop.create_server(
            self._accept,
            host,
            port,
            ssl=server,
            ssl_handshake_timeout=self.options.connect_timeout if server is not None else None,
            reuse_address=True,
            start_serving=False,
        )
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def serve(self) -> None:
        """Begin to accept connections."""
        assert self._server is not None
        await self._server.start_serving()

    def _accept(self) -> Connection:
        return Connection(self, Listener(self.own, self.handshake_options, self.nonce()))

    def opened(self, connection: Connection) -> bool:
        """A connection was made. False, and it is closed, when there are too many."""
        self._connections[connection] = None
        self._all_over.clear()
        if connection.established is not None:
            return True
        self._shaking[connection] = None
        if self.closing:
            connection.abort()
            return False
        if len(self._shaking) > self.options.max_handshakes:
            self.complain(
                connection.peer,
                "flood",
                f"a connection from {connection.peer} was closed: {self.options.max_handshakes} others have not "
                "finished their handshakes",
            )
            connection.abort()
            return False
        if len(self._connections) > self.options.max_connections:
            self.complain(
                connection.peer,
                "crowd",
                f"a connection from {connection.peer} was closed: {self.options.max_connections} are open",
            )
            connection.abort()
            return False
        return True

    def accepted(self, connection: Connection, established: Established) -> None:
        """The handshake of a connection that a peer has dialled is over."""
        self._shaking.pop(connection, None)
        peer = self.peer(established.peer)
        if peer is None:
            connection.say(Bye("another process of that name has been here"))
            connection.close()
            return
        peer.accept(connection, established)

    def over(self, connection: Connection) -> None:
        """A connection is gone."""
        self._shaking.pop(connection, None)
        self._connections.pop(connection, None)
        if not self._connections:
            self._all_over.set()

    # -- peers ---------------------------------------------------------------------------------------------------------

    def peer(self, node: Node) -> Peer | None:
        """The peer of that identity. `None` when a newer generation of it is known, or it is this node itself."""
        identity = (node.node_id, node.generation)
        found = self.peers.get(identity)
        if found is not None:
            return found
        if node.node_id == self.own.node_id:
            return None
        newest = self._generations.get(node.node_id)
        if newest is not None:
            if newest.node.generation > node.generation:
                return None
            newest.supersede(f"a newer process runs as {node.node_id}")
        found = self.peers[identity] = self._generations[node.node_id] = Peer(self, node)
        if node.address:
            self._meet(NodeAddress.parse(node.address), found)
        self._forget_old()
        return found

    def _meet(self, address: NodeAddress, peer: Peer) -> None:
        """A peer was found, or says that it is, at an address. Whoever was there before is gone."""
        before = self._at.get(address)
        self._at[address] = peer
        if before is not None and before is not peer and peer.proven:
            before.supersede(f"another process, {peer.node}, is at its address")

    def _forget_old(self) -> None:
        """What is gone for good needs no place for ever."""
        if len(self.peers) <= _MAX_GONE:
            return
        for identity, peer in list(self.peers.items()):
            if peer.is_forgettable and self._generations.get(identity[0]) is not peer:
                del self.peers[identity]

    async def peer_at(self, address: NodeAddress) -> Peer:
        """Whoever is at an address. Raises `DialError`."""
        found = self._at.get(address)
        if found is not None and found.link.gone is None and found.proven:
            return found
        task = self._resolving.get(address)
        if task is None:
            task = self.loop.create_task(self._find(address), name=f"casty-find {address}")
            self._resolving[address] = task
            task.add_done_callback(lambda _: self._resolving.pop(address, None))
        return await asyncio.shield(task)

    async def _find(self, address: NodeAddress) -> Peer:
        connection, established = await dial(self, address, self.kind)
        peer = self.peer(established.peer)
        if peer is None:
            connection.close()
            raise DialError(f"an old process, {established.peer}, answers at {address}")
        peer.dial_at = address
        peer.proven = True
        self._meet(address, peer)
        peer.dialed(connection)
        return peer

    @property
    def kind(self) -> Kind:
        """What this node dials: it has a connection for control beside that for data, if it can be dialled itself."""
        return Kind.DATA if self.own.address else Kind.CLIENT

    def nonce(self) -> bytes:
        """Fresh random bytes for a handshake."""
        return urandom(NONCE_SIZE)

    def complain(self, peer: str, cause: str, text: str) -> None:
        """Log what was refused, once for each peer and cause."""
        self._complaints.add(peer, cause, text)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def close(self, text: str) -> None:
        """Write what waits, say farewell, and close everything. Nothing is left open when this returns."""
        self.closing = True
        if self._server is not None:
            self._server.close()
        for task in list(self._resolving.values()):
            task.cancel()
        live = [peer for peer in self.peers.values() if peer.link.attached is not None]
        if live:
            await asyncio.wait([self.loop.create_task(peer.drained()) for peer in live], timeout=FLUSH_SECONDS)
        for peer in list(self.peers.values()):
            peer.close(text)
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._all_over.wait()
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
                await asyncio.sleep(0)
        for peer in list(self.peers.values()):
            peer.end(text)
