"""The transport of one system: its peers, and the connections between them and this node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from os import urandom
from typing import Any
from weakref import WeakValueDictionary

from casty_proto.address import NodeAddress
from casty_proto.link import Bye
from casty_proto.machine import nanoseconds
from casty_proto.wire import NONCE_SIZE, Established, HandshakeOptions, Kind, Node

from ..clock import Clock
from ..logs import Log
from .complaints import Complaints
from .connection import Connection
from .dialing import DialError, NotWelcome, dial
from .listening import Listening
from .options import Remote
from .peer import Conversation, Peer
from .tls import Contexts, Tls

FLUSH_SECONDS = 2.0
"""How long the end may take until peers have acknowledged what was sent."""
_REPORTS = 5


class Transport:
    """What is open between this node and others.

    `converse` makes the conversation with a new peer. `spawn` runs a coroutine beside the caller, until the end.
    """

    def __init__(
        self,
        options: Remote,
        own: Node,
        system: str,
        log: Log,
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
        """Those that are remembered, no more than `max_peers`."""
        self.kinds: tuple[Kind, ...] = (Kind.CONTROL, Kind.DATA, Kind.CLIENT)
        """Which connections are taken here."""
        self.on_lane: Callable[[Connection, Established], None] | None = None
        """Who takes those of the kinds `CLUSTER` and `SHARDS`, if anybody does."""
        self.closing = False
        self.nonces: dict[bytes, bool] = {}
        """Those of the handshakes that were dialled and are not over, and whether each has come back to this node."""
        self._known: WeakValueDictionary[tuple[str, int], Peer] = WeakValueDictionary()
        """Those as well that were forgotten here, as long as somebody else knows them, such as a ref."""
        self._newest: dict[str, Peer] = {}
        """The peer of the newest generation that has shaken hands, for each node."""
        self._at: dict[NodeAddress, Peer] = {}
        """Who was found where it was dialled. Nobody is found where he only says that he is."""
        self._finding: dict[NodeAddress, asyncio.Task[Peer]] = {}
        self._complaints = Complaints(log, clock.now)
        self._listening = Listening(self)
        self._connections: dict[Connection, None] = {}
        self._all_over = asyncio.Event()

    # -- connections ---------------------------------------------------------------------------------------------------

    async def bind(self, host: str, port: int) -> int:
        """Take a port, and accept nobody yet. Returns the port. Raises `OSError` where that is impossible."""
        return await self._listening.bind(host, port)

    def serve(self) -> None:
        """Begin to accept connections."""
        self._listening.serve()

    def opened(self, connection: Connection) -> None:
        """A connection was made."""
        self._connections[connection] = None
        self._all_over.clear()

    def accepted(self, connection: Connection, established: Established) -> None:
        """The handshake of a connection that a peer has dialled is over."""
        self._listening.established(connection)
        if established.kind in (Kind.CLUSTER, Kind.SHARDS):
            assert self.on_lane is not None, "such connections are not taken"
            self.on_lane(connection, established)
            return
        try:
            peer = self.peer(established.peer, proven=True)
        except NotWelcome as error:
            self.complain(connection.machine, "peer", f"{connection.peer} was refused: {error}")
            connection.say_last(Bye(str(error)))
            connection.close()
            return
        peer.meeting.accept(connection, established)

    def take_lanes(self, on_lane: Callable[[Connection, Established], None]) -> None:
        """Give connections of the kinds `CLUSTER` and `SHARDS` to somebody, from now on."""
        self.on_lane = on_lane
        self.kinds = (*self.kinds, Kind.CLUSTER, Kind.SHARDS)

    def over(self, connection: Connection) -> None:
        """A connection is gone."""
        self._listening.over(connection)
        self._connections.pop(connection, None)
        if not self._connections:
            self._all_over.set()

    # -- peers ---------------------------------------------------------------------------------------------------------

    def peer(self, node: Node, *, proven: bool) -> Peer:
        """The peer of that identity. `proven` when it has shaken hands, and is not known by hearsay alone.

        Raises `NotWelcome` when a newer generation of it has, when this node goes by the same name, and when there are
        too many.
        """
        identity = (node.node_id, node.generation)
        found = self.peers.get(identity)
        if found is None:
            found = self._remembered(node, proven=proven)
        if proven and not found.proven:
            self._prove(found)
        return found

    def _remembered(self, node: Node, *, proven: bool) -> Peer:
        identity = (node.node_id, node.generation)
        if node.node_id == self.own.node_id:
            if not proven:
                raise NotWelcome(f"{node} is gone: {self.own} has taken its place")
            raise NotWelcome(f"two processes, {node} and {self.own}, have the same node_id; give each its own")
        newest = self._newest.get(node.node_id)
        if newest is not None and newest.node.generation > node.generation:
            raise NotWelcome(f"{node} is gone: {newest.node} has taken its place")
        if len(self.peers) >= self.options.max_peers:
            self._forget_some()
        found = self._known.get(identity)
        if found is None:
            found = self._known[identity] = Peer(self, node)
        self.peers[identity] = found
        return found

    def _prove(self, peer: Peer) -> None:
        """It has shaken hands. What is only heard of a node must not cost it its place, but this does."""
        before = self._newest.get(peer.node.node_id)
        peer.proven = True
        self._newest[peer.node.node_id] = peer
        if before is not None and before is not peer:
            before.supersede(f"{peer.node} has taken its place")

    def _forget_some(self) -> None:
        """Make room for an eighth. Raises `NotWelcome` where there is none."""
        idle = sorted([peer for peer in self.peers.values() if peer.is_forgettable], key=lambda peer: peer.worth)
        if not idle:
            raise NotWelcome(f"{len(self.peers)} nodes are known already, and something is under way with each of them")
        for peer in idle[: 1 + self.options.max_peers // 8]:
            node = peer.node
            del self.peers[node.node_id, node.generation]
            if self._newest.get(node.node_id) is peer:
                del self._newest[node.node_id]
        left = dict.fromkeys(self.peers.values())
        self._at = {address: peer for address, peer in self._at.items() if peer in left}

    async def peer_at(self, address: NodeAddress) -> Peer:
        """Whoever is at an address. Raises `DialError`, which is `DialedItself` where that is this node."""
        found = self._at.get(address)
        if found is not None and found.link.gone is None:
            return found
        task = self._finding.get(address)
        if task is None:
            task = self.loop.create_task(self._find(address), name=f"casty-find {address}")
            self._finding[address] = task
            task.add_done_callback(lambda task: self._on_found(address, task))
        return await asyncio.shield(task)

    def _on_found(self, address: NodeAddress, task: asyncio.Task[Peer]) -> None:
        self._finding.pop(address, None)
        if not task.cancelled():
            task.exception()  # Those who waited for it have it, if they still do.

    async def _find(self, address: NodeAddress) -> Peer:
        connection, established = await dial(self, address, self.kind)
        try:
            peer = self.peer(established.peer, proven=True)
        except NotWelcome as error:
            connection.close()
            raise DialError(f"{address} is refused: {error}") from error
        if peer.link.gone is not None:
            connection.close()
            raise DialError(f"{address} is lost: {peer.link.gone}")
        before = self._at.get(address)
        if before is not None and before is not peer:
            before.supersede(f"another process, {peer.node}, is at its address")
        self._at[address] = peer
        peer.dial_at = address
        peer.meeting.dialed(connection)
        return peer

    @property
    def kind(self) -> Kind:
        """What this node dials: it has a connection for control beside that for data, if it can be dialled itself."""
        return Kind.DATA if self.own.address else Kind.CLIENT

    def nonce(self) -> bytes:
        """Fresh random bytes for a handshake."""
        return urandom(NONCE_SIZE)

    def met_itself(self, nonce: bytes, said: bytes) -> bool:
        """Whether a connection that was refused because this node is at both ends is one that it has dialled.

        Anybody could say so. But what is `said` to it as a listener has the random bytes of the handshake in it, which
        only whoever is at the other end of the connection knows. `nonce` is that of the dialler, who asks later.
        """
        if nonce:
            return self.nonces.get(nonce, False)
        for own in self.nonces:
            if own in said:
                self.nonces[own] = True
                return True
        return False

    def complain(self, peer: str, cause: str, text: str) -> None:
        """Log what was refused, once for each peer and cause. `peer` is a machine: ports and names can be made up."""
        self._complaints.add(peer, cause, text)

    def report(self, peer: str, cause: str, text: str, level: int) -> None:
        """Log what happened to a peer, a few times a minute for each peer and cause."""
        self._complaints.add(peer, cause, text, level, burst=_REPORTS)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def close(self, text: str) -> None:
        """Write what waits, say farewell, and close everything. Nothing is left open when this returns."""
        self.closing = True
        await self._listening.close()
        await _cancelled(list(self._finding.values()))
        live = [peer for peer in self._known.values() if peer.link.is_promising]
        if live:
            drained = [self.loop.create_task(peer.flow.drained()) for peer in live]
            await asyncio.wait(drained, timeout=FLUSH_SECONDS)
            await _cancelled(drained)
        for peer in list(self._known.values()):
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
        for peer in list(self._known.values()):
            peer.end(text)


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
