"""What the tests of the transport have in common: systems, actors to talk to, and a peer that is written by hand."""

from __future__ import annotations

import asyncio
import gc
import hmac
import logging
import socket
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from hashlib import sha256
from os import urandom
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
import trustme
from attrs import field, frozen

from casty_asyncio import ActorContext, ActorRef, ActorSystem, Behavior, Behaviors, Contexts, Remote, UnreachableError
from casty_asyncio.remote.conversation import Conversation
from casty_asyncio.remote.refs import RemoteRef
from casty_asyncio.transport.peer import Peer
from casty_asyncio.transport.transport import Transport
from casty_proto.link import COUNTED, LinkFrame, Resume, SayFresh, SayResumed, packed, unpacked
from casty_proto.wire import Encoder, Node, Types, WireOptions
from casty_proto.wire.envelopes import FOUND, LOOKUP, TELL, TWO, frame_one

from ..probe import within

CONTROL, DATA, CLIENT = 1, 2, 3
HELLO, CHALLENGE, PROOF, WELCOME, REFUSAL = 1, 2, 3, 4, 5
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@frozen
class Text:
    """A message."""

    text: str


class Unknown:
    """Loaded, and no class that may be sent."""


# -- systems -----------------------------------------------------------------------------------------------------------


def shop(**options: Any) -> ActorSystem:
    """A system that listens on loopback."""
    return ActorSystem("shop", remote=Remote(options.pop("host", "127.0.0.1"), **options))


def echo(name: str = "") -> Behavior[Any]:
    """An actor that answers with the message."""

    def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        if ctx.sender is not None:
            ctx.sender.tell(message)
        return Behaviors.same()

    return Behaviors.receive(receive)


def transport_of(system: ActorSystem) -> Transport:
    assert system._running is not None
    assert system._running.remoting is not None
    return system._running.remoting.transport


def peer_of(system: ActorSystem, node_id: str) -> Peer:
    """What a system has of a node."""
    (found,) = [peer for peer in transport_of(system).peers.values() if peer.node.node_id == node_id]
    return found


def conversation_of(system: ActorSystem, node_id: str) -> Conversation:
    conversation = peer_of(system, node_id).conversation
    assert isinstance(conversation, Conversation)
    return conversation


async def lookup(system: ActorSystem, other: ActorSystem, path: str) -> ActorRef[Any]:
    """The ref of an actor of another system."""
    found = await within(system.lookup(f"casty://{other.name}@{other.address}{path}"))
    assert found is not None
    assert isinstance(found, ActorRef)
    return found


@asynccontextmanager
async def served(system: ActorSystem, **options: Any) -> AsyncIterator[Honest]:
    """An honest node that talks to `system` all the time, and must be answered all the time."""
    async with shop(node_id="honest", **options) as other:
        honest = Honest(other, await served_echo(system, other))
        task = asyncio.create_task(honest.run())
        try:
            yield honest
            await honest.answered()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def served_echo(system: ActorSystem, other: ActorSystem) -> ActorRef[Any]:
    if not system.lookup("/served"):
        system.spawn(echo(), "served")
    return await lookup(other, system, "/served")


class Honest:
    """Asks, one question after the other."""

    PATIENCE = 3.0

    def __init__(self, system: ActorSystem, ref: ActorRef[Any]) -> None:
        self.system = system
        self.ref = ref
        self.count = 0
        self.slowest = 0.0
        """How long the slowest answer took so far, in seconds."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            assert await self.ref.ask(Text("are you there?"), timeout=self.PATIENCE) == Text("are you there?")
            self.slowest = max(self.slowest, loop.time() - began)
            self.count += 1
            await asyncio.sleep(0.001)

    async def answered(self) -> None:
        """Wait for an answer to a question that is asked from now on."""
        seen = self.count
        await until(lambda: self.count > seen + 1)


def ref_of(system: ActorSystem, peer: Raw) -> RemoteRef[Any]:
    """The ref of an actor that a peer by hand could have."""
    who = peer.identity
    node = Node(who.node_id, who.generation, who.address)
    return RemoteRef(conversation_of(system, who.node_id).remoting, node, "/there", 5)


def contexts(signer: trustme.CA | None, trusted: trustme.CA, *names: str, **options: Any) -> Contexts:
    """Both contexts of a node, with a certificate of `signer`, or with none."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificate = None if signer is None else signer.issue_cert(*(names or LOOPBACK), **options)
    for context in (server, client):
        trusted.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        if certificate is not None:
            certificate.configure_cert(context)
    return Contexts(server, client)


# -- waiting -----------------------------------------------------------------------------------------------------------


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until something is so."""
    async with asyncio.timeout(8.0):
        while not condition():  # noqa: ASYNC110 - what is waited for are tables, which set no event
            await asyncio.sleep(0.002)


async def ends(awaitable: Awaitable[Any], error: type[BaseException]) -> str:
    """Wait for an error of that kind, and return its text."""
    with pytest.raises(error) as caught:
        await within(awaitable)
    return str(caught.value)


def lines(caplog: pytest.LogCaptureFixture, part: str, level: int = logging.WARNING) -> list[str]:
    """What was logged with that in it."""
    return [record.getMessage() for record in caplog.records if record.levelno >= level and part in record.getMessage()]


@contextmanager
def memory_within(limit: int) -> Iterator[None]:
    """What is allocated inside must stay within `limit` bytes, at its worst."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < limit, f"{(peak - before) / 2**20:.1f} MB were in use"


# -- a peer by hand ----------------------------------------------------------------------------------------------------


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def unreachable(system: ActorSystem, address: object) -> Awaitable[str]:
    """Look somebody up at an address in vain. Returns the reason."""
    return ends(system.lookup(f"casty://shop@{address}/served"), UnreachableError)


def counted(number: int, *values: object) -> bytes:
    """The bodies of values, as frames that tell them to the actor of that number."""
    encoder = Encoder(Types(), WireOptions())
    return b"".join([frame_one(TELL, number, encoder.encode(value)) for value in values])


@frozen
class Identity:
    """Whom a peer says that it is."""

    node_id: str = "raw"
    generation: int = 7
    address: str = ""
    system: str = "shop"
    kind: int = DATA
    secret: bytes | None = None
    versions: tuple[int, int] = (1, 1)
    nonce: bytes = field(factory=lambda: urandom(32))


class Raw:
    """A connection whose bytes a test writes itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.identity = Identity()
        self.session = 0

    def write(self, data: bytes) -> None:
        """Write bytes, unless the other side has closed the connection."""
        if not self.writer.is_closing():
            self.writer.write(data)

    def send(self, *bodies: bytes) -> None:
        """Write frames."""
        self.write(b"".join(map(framed, bodies)))

    def say(self, *frames: LinkFrame) -> None:
        """Write frames about the link."""
        self.send(*map(packed, frames))

    async def body(self) -> bytes:
        """The next frame that comes."""
        async with asyncio.timeout(5.0):
            (length,) = struct.unpack(">I", await self.reader.readexactly(4))
            return await self.reader.readexactly(length)

    async def link_frame(self) -> LinkFrame:
        """The next frame about the link; those of the session are skipped."""
        while (body := await self.body())[0] >= COUNTED:
            pass
        return unpacked(body)

    async def counted_body(self) -> bytes:
        """The next frame of the session; those about the link are skipped."""
        while (body := await self.body())[0] < COUNTED:
            pass
        return body

    async def message(self) -> list[Any]:
        """The next message of the handshake, without its first word."""
        found: list[Any] = msgpack.unpackb(await self.body())
        assert found[0] == "casty"
        return found[1:]

    def hello(self, who: Identity) -> bytes:
        self.identity = who
        parts = [*who.versions, who.system, who.node_id, who.generation, who.address, who.kind]
        body: bytes = msgpack.packb(["casty", HELLO, *parts, who.secret is not None, who.nonce])
        return body

    def proof(self, hello: bytes, challenge: bytes) -> bytes:
        secret = self.identity.secret
        digest = b""
        if secret is not None:
            said = sha256(hello).digest() + sha256(challenge).digest()
            digest = hmac.new(secret, b"casty handshake 1 dialer\0" + said, sha256).digest()
        body: bytes = msgpack.packb(["casty", PROOF, digest])
        return body

    async def shake(self, who: Identity | None = None) -> list[Any]:
        """The whole handshake. Returns what was answered to the proof, which is a `Welcome` if all is well."""
        hello = self.hello(who or Identity())
        self.send(hello)
        challenge = await self.body()
        found: list[Any] = msgpack.unpackb(challenge)
        if found[1] == REFUSAL:
            return found[1:]
        self.send(self.proof(hello, challenge))
        return await self.message()

    async def attach(self, who: Identity | None = None) -> None:
        """Shake hands and begin a session, or go on with it."""
        assert (await self.shake(who))[0] == WELCOME
        self.say(Resume(self.session, 0))
        match await self.link_frame():
            case SayFresh(session) | SayResumed(session, _):
                self.session = session
            case other:
                raise AssertionError(other)

    async def find(self, path: str, request: int = 1) -> int:
        """The number of an actor there."""
        self.send(TWO.pack(LOOKUP, request, 0) + path.encode())
        kind, answered, number = TWO.unpack(await self.counted_body())
        assert (kind, answered) == (FOUND, request)
        found: int = number
        return found

    async def end(self) -> bytes:
        """Everything that comes until the other side closes the connection."""
        async with asyncio.timeout(5.0):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def closes(self) -> None:
        await self.end()

    def pause(self) -> None:
        """Read nothing more from the socket."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self) -> None:
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def close(self) -> None:
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def raw(system: ActorSystem, who: Identity | None = None, *, receive_buffer: int = 0) -> AsyncIterator[Raw]:
    """A connection to a system. With an identity its session has begun."""
    assert system.address is not None
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (system.address.host, system.address.port))
    peer = Raw(*await asyncio.open_connection(sock=sock, limit=2**12 if receive_buffer else 2**16))
    try:
        if who is not None:
            await peer.attach(who)
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def listening(serve: Callable[[Raw], Awaitable[None]], host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A listener by hand, that gives each connection to `serve`. Its address."""
    tasks: list[asyncio.Task[Any]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        peer = Raw(reader, writer)
        try:
            await serve(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, TimeoutError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, host, 0)
    try:
        found = server.sockets[0].getsockname()
        yield f"{found[0]}:{found[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
