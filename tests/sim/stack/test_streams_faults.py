"""Programs on asyncio's streams, over a network that is as bad as the seed makes it: what was sent arrives in order, or
a beginning of it and then an error, and who closes well is done."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from contextlib import suppress

from casty_proto.machine import MILLISECOND
from casty_sim.network import Link
from casty_sim.simulation import Faults, Sim, SimNode, simulate

PORT = 80


def content(connection: int, count: int) -> bytes:
    """What a connection carries: of each another one, and at each place other bytes."""
    blocks = [hashlib.blake2b(struct.pack("<II", connection, at)).digest() for at in range(count // 64 + 1)]
    return b"".join(blocks)[:count]


class Ledger:
    """What servers have received, by the numbers of connections."""

    def __init__(self) -> None:
        self.got: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.twice: set[int] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection: its number and count, the bytes, and answer with their digest."""
        try:
            number, count = struct.unpack("<II", await reader.readexactly(8))
            if number in self.got:
                self.twice.add(number)
            got = self.got.setdefault(number, bytearray())
            while data := await reader.read(10_000):
                got += data
                if len(got) % 3 == 0:
                    await asyncio.sleep(0.01)
            self.ended.add(number)
            assert len(got) == count, "the end comes after all bytes"
            writer.write(hashlib.sha256(got).digest())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def send(sim: Sim, number: int, target: str) -> bool:
    """Send one, in pieces. Whether the answer came, which must be right."""
    data = content(number, sim.random.choice([0, 1, 5000, 100_000, 300_000]))
    try:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(target, PORT)
            try:
                writer.write(struct.pack("<II", number, len(data)))
                at = 0
                while at < len(data):
                    size = sim.random.choice([1, 1000, 20_000, 100_000])
                    writer.write(data[at : at + size])
                    at += size
                    await writer.drain()
                    if sim.random.random() < 0.2:
                        await asyncio.sleep(sim.random.random() * 0.05)
                writer.write_eof()
                answer = await reader.read()
                assert answer in (hashlib.sha256(data).digest(), b""), "an answer is whole"
                return bool(answer)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def traffic(sim: Sim, ledger: Ledger, count: int) -> list[bool]:
    """Many connections at once."""

    async def app(node: SimNode) -> None:
        async with await asyncio.start_server(ledger.serve, "0.0.0.0", PORT) as server:
            await server.serve_forever()

    for name in sim.nodes:
        sim.start(name, app)
    await asyncio.sleep(0.1)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(sim, number, sim.random.choice(sim.nodes))) for number in range(count)]
    for number, got in ledger.got.items():
        assert content(number, len(got)) == got, "what arrives is a beginning"
    assert not ledger.twice, "no connection is accepted twice"
    return [task.result() for task in tasks]


@simulate(nodes=2, faults=Faults.none(), seeds=5)
async def over_a_bad_network(sim: Sim) -> None:
    """It loses, repeats, delays and reorders, and everything arrives."""
    for source in (*sim.nodes, "test"):
        for target in (*sim.nodes, "test"):
            if source != target:
                loss, tail = sim.random.choice([0.0, 0.05, 0.2]), sim.random.choice([0.0, 0.1])
                rate = sim.random.choice([0, 2_000_000])
                link = Link(loss=loss, duplicate=0.1, tail=tail, spread_ns=5 * MILLISECOND, bytes_per_second=rate)
                sim.shape(source, target, link)
    ledger = Ledger()
    results = await traffic(sim, ledger, 12)
    assert all(results), results
    assert ledger.ended == set(range(12))


@simulate(nodes=3, faults=Faults.swarm(), seeds=10, duration=8.0, reach=("some failed", "some were answered"))
async def under_faults(sim: Sim) -> None:
    """Hosts are cut off, paused and crashed as well."""
    ledger = Ledger()
    results = await traffic(sim, ledger, 20)
    if not all(results):
        sim.reach("some failed")
    if any(results):
        sim.reach("some were answered")
    sim.heal()
    await asyncio.sleep(60)
    assert await send(sim, 1000, "n1"), "when all is well again, so are connections"


def test_over_a_bad_network_everything_arrives() -> None:
    over_a_bad_network()


def test_under_faults_what_arrives_is_a_beginning() -> None:
    summary = under_faults()
    assert not summary.never(under_faults.options.reach)


def test_connections_are_forgotten_when_they_are_over() -> None:
    async def closes(sim: Sim) -> None:
        ledger = Ledger()
        await traffic(sim, ledger, 20)
        await asyncio.sleep(60)
        for name in (*sim.nodes, "test"):
            process = sim.node(name).process
            assert process is not None
            assert not process.loop.stack._ends
            assert not process.loop.stack._asked
            assert len(process.loop.stack._descriptors) <= 1

    simulate(nodes=2, faults=Faults.none(), seeds=1)(closes)()
