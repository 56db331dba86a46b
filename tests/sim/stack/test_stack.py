"""The network of a host, as programs see it: names, ports, servers, transports."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from casty_sim.simulation import Sim, SimNode
from casty_sim.stack.names import LAST_PORT
from casty_sim.stack.stack import FIRST_FREE_PORT
from tests.sim.loop.kit import alone, world


class Protocol(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.transport: Any = None
        self.keeps_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keeps_open

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append(("lost", type(error).__name__))

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


async def pair() -> tuple[Protocol, Protocol, Any]:
    """A client and a server that are connected, within a host."""
    loop = asyncio.get_running_loop()
    served: list[Protocol] = []

    def factory() -> Protocol:
        served.append(Protocol())
        return served[-1]

    server = await loop.create_server(factory, "localhost", 0)
    _, client = await loop.create_connection(Protocol, *server.sockets[0].getsockname())
    await asyncio.sleep(0.01)
    return client, served[0], server


# -- names and ports ---------------------------------------------------------------------------------------------------


def test_names_and_addresses() -> None:
    async def main(sim: Sim) -> None:
        sim.name("both", "n1", "n2")
        loop = asyncio.get_running_loop()
        first = sim.node("n1").address
        for name in ("n1", b"n1", first):
            found = await loop.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
            assert [entry[4] for entry in found] == [(first, 80)]
        both = await loop.getaddrinfo("both", "http", type=socket.SOCK_STREAM)
        assert [entry[4] for entry in both] == [(sim.node(name).address, 80) for name in sim.nodes]
        assert len(await loop.getaddrinfo("n1", None)) == 2
        assert await loop.getnameinfo((first, 80)) == ("n1", "80")
        assert await loop.getnameinfo((first, 80), socket.NI_NUMERICHOST) == (first, "80")
        assert socket.gethostname() == "test"
        assert socket.gethostbyname("n1") == first
        for name, port, named in (
            ("nobody", 80, {}),
            ("n1", "gopher", {}),
            ("n1", 80, {"family": socket.AF_INET6}),
            ("n1", 80, {"flags": socket.AI_NUMERICHOST}),
        ):
            with pytest.raises(socket.gaierror):
                await loop.getaddrinfo(name, port, **named)
        with pytest.raises(OverflowError, match="0-65535"):
            await asyncio.open_connection("n1", 65536)

    world(main)


def test_localhost_is_the_loopback_of_each_host() -> None:
    async def main() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 80):
            reader, writer = await asyncio.open_connection("localhost", 80)
            assert await reader.read() == b""
            writer.close()

    async def nowhere_else(sim: Sim) -> None:
        async def app(node: SimNode) -> None:
            await main()
            async with await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 80):
                await asyncio.sleep(100)

        sim.start("n1", app)
        await asyncio.sleep(1)
        for name in ("n1", "localhost"):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(name, 80)

    alone(main)
    world(nowhere_else)


def test_ports_are_taken_once_and_free_again() -> None:
    async def main() -> None:
        one = await asyncio.start_server(lambda *_: None, "0.0.0.0", 80)
        for host in ("0.0.0.0", "localhost", None):
            with pytest.raises(OSError, match="in use") as caught:
                await asyncio.start_server(lambda *_: None, host, 80)
            assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match="not") as elsewhere:
            await asyncio.start_server(lambda *_: None, "10.9.9.9", 80)
        assert elsewhere.value.errno == errno.EADDRNOTAVAIL
        one.close()
        await one.wait_closed()
        async with await asyncio.start_server(lambda *_: None, "localhost", 80):
            pass

    alone(main)


def test_free_ports_come_round_and_run_out() -> None:
    async def main() -> None:
        async with await asyncio.start_server(lambda *_: None, "localhost", 80) as server:
            stack: Any = asyncio.get_running_loop().stack  # type: ignore[attr-defined]
            stack._next_port = LAST_PORT
            ports = [stack.free_port() for _ in range(3)]
            assert ports == [LAST_PORT, FIRST_FREE_PORT, FIRST_FREE_PORT + 1]
            stack._ports |= {("127.0.0.1", port): None for port in range(FIRST_FREE_PORT, LAST_PORT + 1)}
            with pytest.raises(OSError, match="all ports are taken") as caught:
                await asyncio.open_connection("localhost", 80)
            assert caught.value.errno == errno.EADDRNOTAVAIL
            stack._ports = {key: sock for key, sock in stack._ports.items() if sock is not None}
            assert server.is_serving()

    alone(main)


def test_a_local_address_may_be_named() -> None:
    async def main() -> None:
        client, served, server = await pair()
        address = server.sockets[0].getsockname()
        loop = asyncio.get_running_loop()
        named, _ = await loop.create_connection(Protocol, *address, local_addr=("127.0.0.1", 5000))
        assert named.get_extra_info("sockname") == ("127.0.0.1", 5000)
        with pytest.raises(OSError, match="in use"):
            await loop.create_connection(Protocol, *address, local_addr=("127.0.0.1", 5000))
        free, _ = await loop.create_connection(Protocol, *address, local_addr=("127.0.0.1", 0))
        assert free.get_extra_info("sockname")[1] >= FIRST_FREE_PORT
        with pytest.raises(OSError, match="not"):
            await loop.create_connection(Protocol, *address, local_addr=("10.9.9.9", 0))
        assert client.told == served.told == ["made"]
        server.close()

    alone(main)


def test_refused_unreachable_and_silent() -> None:
    async def main(sim: Sim) -> None:
        async def app(node: SimNode) -> None:
            await asyncio.sleep(1000)

        sim.start("n1", app)
        loop = asyncio.get_running_loop()
        before = loop.time()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("n1", 80)
        assert loop.time() - before < 1
        with pytest.raises(OSError, match="no host has"):
            await asyncio.open_connection("10.9.9.9", 80)
        sim.crash("n1")
        before = loop.time()
        with pytest.raises(TimeoutError):
            await asyncio.open_connection("n1", 80)
        assert 20 <= loop.time() - before < 20.1

    world(main)


def test_a_name_with_several_addresses_is_tried_in_turn() -> None:
    async def main(sim: Sim) -> None:
        async def app(node: SimNode) -> None:
            if node.id == "n2":
                await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", 80)
            await asyncio.sleep(1000)

        for name in sim.nodes:
            sim.start(name, app)
        sim.name("both", "n1", "n2")
        await asyncio.sleep(1)
        _, writer = await asyncio.open_connection("both", 80)
        assert writer.get_extra_info("peername") == (sim.node("n2").address, 80)
        writer.close()
        with pytest.raises(OSError, match="Multiple exceptions"):
            await asyncio.open_connection("both", 81)
        with pytest.raises(ExceptionGroup):
            await asyncio.open_connection("both", 81, all_errors=True)

    world(main)


def test_who_gives_up_connecting_leaves_nothing() -> None:
    async def main(sim: Sim) -> None:
        accepted: list[object] = []

        async def app(node: SimNode) -> None:
            async with await asyncio.start_server(lambda *args: accepted.append(args), "0.0.0.0", 80) as server:
                await server.serve_forever()

        sim.start("n1", app)
        await asyncio.sleep(1)
        for delay in (0.0, 0.0001, 0.0003, 0.0006, 0.001):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.open_connection("n1", 80), delay)
        await asyncio.sleep(100)
        stack: Any = asyncio.get_running_loop().stack  # type: ignore[attr-defined]
        assert not stack._ends

    world(main)


# -- servers -----------------------------------------------------------------------------------------------------------


def test_a_full_backlog_keeps_others_waiting() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.bind(("localhost", 80))
            sock.listen(2)
            dialling = [asyncio.create_task(loop.create_connection(Protocol, "localhost", 80)) for _ in range(4)]
            await asyncio.sleep(0.5)
            assert [task.done() for task in dialling] == [True, True, False, False]
            for _ in range(2):
                accepted, _ = sock.accept()
                await loop.connect_accepted_socket(Protocol, accepted)
            with pytest.raises(BlockingIOError):
                sock.accept()
            await asyncio.gather(*dialling)

    alone(main)


def test_closing_a_server_keeps_connections_and_its_clients_can_be_closed() -> None:
    async def main() -> None:
        client, served, server = await pair()
        server.close()
        assert not server.is_serving()
        assert server.sockets == ()
        await asyncio.sleep(1)
        assert served.told == ["made"]
        waiter = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0)
        assert not waiter.done()
        client.transport.write(b"x")
        await asyncio.sleep(0.1)
        assert served.told == ["made", b"x"]
        server.close_clients()
        await waiter
        await asyncio.sleep(0.1)
        assert client.told == ["made", "eof", ("lost", "NoneType")]

    alone(main)


def test_aborting_clients_resets_them() -> None:
    async def main() -> None:
        client, _, server = await pair()
        server.abort_clients()
        await asyncio.sleep(0.1)
        assert client.told == ["made", ("lost", "ConnectionResetError")]
        server.close()
        await server.wait_closed()

    alone(main)


def test_serving_for_ever_ends_when_it_is_cancelled() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Protocol, "localhost", 80, start_serving=False)
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("localhost", 80)
        task = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        assert server.is_serving()
        with pytest.raises(RuntimeError, match="already being awaited"):
            await server.serve_forever()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(RuntimeError, match="closed"):
            await server.serve_forever()

    alone(main)


# -- transports --------------------------------------------------------------------------------------------------------


def test_a_writer_is_paused_and_resumed() -> None:
    async def main() -> None:
        client, served, _ = await pair()
        served.transport.pause_reading()
        assert not served.transport.is_reading()
        client.transport.set_write_buffer_limits(high=1000)
        assert client.transport.get_write_buffer_limits() == (250, 1000)
        client.transport.write(bytes(500_000))
        assert client.told == ["made", "pause"]
        assert client.transport.get_write_buffer_size() > 0
        served.transport.resume_reading()
        await asyncio.sleep(5)
        assert client.told == ["made", "pause", "resume"]
        assert sum(map(len, served.told[1:])) == 500_000
        with pytest.raises(ValueError, match="must be >="):
            client.transport.set_write_buffer_limits(high=1, low=2)

    alone(main)


def test_what_is_acknowledged_wakes_no_program() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        client, server, _ = await pair()
        await asyncio.sleep(1.0)
        before = loop.steps
        await asyncio.sleep(1.0)
        idle = loop.steps - before
        before = loop.steps
        for _ in range(10):
            client.transport.write(b"word")
            await asyncio.sleep(1.0)
        # For each: the sleep, the arrival, and the instant at which it is acknowledged. Neither the acknowledgement nor
        # the time at which it would have been sent again is anything to the program.
        assert loop.steps - before == 10 * (idle + 2)
        assert server.told.count(b"word") == 10

    alone(main)


def test_closing_sends_what_was_written() -> None:
    async def main() -> None:
        client, served, _ = await pair()
        client.transport.write(bytes(500_000))
        client.transport.close()
        client.transport.write(b"not any more")
        assert client.transport.is_closing()
        await asyncio.sleep(5)
        assert sum(len(each) for each in served.told if isinstance(each, bytes)) == 500_000
        assert served.told[-2:] == ["eof", ("lost", "NoneType")]
        assert client.told[-1] == ("lost", "NoneType")

    alone(main)


def test_aborting_loses_it_and_resets() -> None:
    async def main() -> None:
        client, served, _ = await pair()
        client.transport.write(bytes(500_000))
        client.transport.abort()
        await asyncio.sleep(5)
        assert served.told[-1] == ("lost", "ConnectionResetError")
        assert client.told[-1] == ("lost", "NoneType")

    alone(main)


def test_half_of_a_connection_may_be_closed() -> None:
    async def main() -> None:
        client, served, _ = await pair()
        served.keeps_open = True
        assert client.transport.can_write_eof()
        client.transport.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            client.transport.write(b"x")
        await asyncio.sleep(1)
        assert served.told == ["made", "eof"]
        served.transport.writelines([b"an", b"swer"])
        await asyncio.sleep(1)
        assert client.told == ["made", b"answer"]
        served.transport.close()
        await asyncio.sleep(1)
        assert client.told[2:] == ["eof", ("lost", "NoneType")]

    alone(main)


def test_what_a_protocol_raises_breaks_its_connection_and_is_reported() -> None:
    async def main() -> None:
        client, served, _ = await pair()
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
        served.data_received = lambda data: 1 // 0  # type: ignore[assignment,method-assign]
        client.transport.write(b"x")
        await asyncio.sleep(1)
        assert served.told[-1] == ("lost", "ZeroDivisionError")
        assert client.told[-1] == ("lost", "ConnectionResetError")
        assert "data_received" in reported[0]

    alone(main)


def test_a_protocol_with_a_buffer_of_its_own() -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(7)
            self.got = b""

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.got += self.buffer[:nbytes]

    async def main() -> None:
        client, served, _ = await pair()
        buffered = Buffered()
        served.transport.set_protocol(buffered)
        assert served.transport.get_protocol() is buffered
        client.transport.write(b"more than fits into it")
        await asyncio.sleep(1)
        assert buffered.got == b"more than fits into it"

    alone(main)


def test_only_bytes_are_written() -> None:
    async def main() -> None:
        client, served, _ = await pair()
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError):
                client.transport.write(wrong)
        client.transport.write(b"")
        client.transport.write(memoryview(b"view"))
        client.transport.write(bytearray(b"array"))
        client.transport.write(memoryview(bytearray(16)).cast("I"))
        await asyncio.sleep(1)
        assert b"".join(served.told[1:]) == b"viewarray" + bytes(16)

    alone(main)


def test_what_is_written_is_what_it_was_then() -> None:
    async def main() -> None:
        client, served, _ = await pair()
        buffer = bytearray(b"before")
        client.transport.write(buffer)
        buffer[:] = b"after!"
        await asyncio.sleep(1)
        assert served.told[1:] == [b"before"]

    alone(main)


def test_sockets_that_only_ask_for_the_own_address() -> None:
    async def main(sim: Sim) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("10.9.9.9", 1))
            assert sock.getsockname()[0] == sim._test.address
        with pytest.raises(OSError, match="version 4") as caught:
            socket.socket(socket.AF_INET6)
        assert caught.value.errno == errno.EAFNOSUPPORT
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
            with pytest.raises(OSError, match="not connected"):
                sock.getpeername()
        with pytest.raises(OSError, match="descriptor"):
            sock.getsockname()
        assert sock.fileno() == -1

    world(main)


def test_a_connection_for_which_no_protocol_can_be_made_is_closed() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: list[str] = []
        loop.set_exception_handler(lambda _, context: told.append(repr(context["exception"])))

        def fails() -> asyncio.Protocol:
            raise LookupError("no protocol")

        server = await loop.create_server(fails, "localhost", 80)
        reader, writer = await asyncio.open_connection("localhost", 80)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        assert told == ["LookupError('no protocol')"]
        writer.close()
        server.close()

    alone(main)
