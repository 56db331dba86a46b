"""Small applications for tests of the simulation."""

from __future__ import annotations

import asyncio
import os

from casty_sim.loop import running
from casty_sim.simulation import Faults, Sim, SimNode, simulate

lives: list[str] = []
"""What programs have left behind, for tests of what a crash does not run."""


async def echo(node: SimNode) -> None:
    """Answers each line with the name of the node."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(node.id.encode() + b" " + line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", node.port)
    async with server:
        await server.serve_forever()


async def ask(name: str, text: str, timeout: float = 1.0) -> str:
    """Ask an echo."""
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(name, 7000)
        try:
            writer.write(f"{text}\n".encode())
            return (await reader.readline()).decode().strip()
        finally:
            writer.close()


async def diary(node: SimNode) -> None:
    """Notes its end in every way that a program can."""
    path = node.disk / "diary"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"life {node.lives}\n")
    try:
        await asyncio.sleep(1000)
    finally:
        lives.append(f"{node.id} finally")


@simulate(seeds=3, nodes=2, faults=Faults.none(), reach=("answered",))
async def answers(sim: Sim) -> None:
    """Every node answers."""
    for name in sim.nodes:
        sim.start(name, echo)
    await asyncio.sleep(0.1)
    for name in sim.nodes:
        assert await ask(name, "hello") == f"{name} hello"
        sim.reach("answered")


@simulate(seeds=20, nodes=5, faults=Faults(("crash", "pause", "clog"), recovery=1.0), duration=5.0)
async def never_down(sim: Sim) -> None:
    """Wrong: nodes do crash."""
    for name in sim.nodes:
        sim.start(name, echo)
    while sim.clock < sim.duration:
        await asyncio.sleep(0.5)
        assert all(sim.node(name).lives == 1 for name in sim.nodes), "a node was down"


@simulate(seeds=4, nodes=1, faults=Faults.none())
async def by_hash(sim: Sim) -> None:
    """Wrong: what it sends depends on the process."""
    sim.start("n1", echo)
    await asyncio.sleep(0.1)
    await ask("n1", "first")
    await ask("n1", str(hash("a text") % 1000))


@simulate(seeds=2, nodes=1, faults=Faults.none())
async def names_nothing(sim: Sim) -> None:
    """Comes to a state that it has not named before."""
    sim.reach("seen")


async def body(sim: Sim) -> None:
    """No test: one is made of it elsewhere."""
    sim.reach("was there")


@simulate(seeds=4, nodes=1, faults=Faults.none())
async def ends_the_process(sim: Sim) -> None:
    """Ends the process that runs the simulation, as a fault of an extension would."""
    with running.outside():
        os._exit(3)


async def takes_more(sim: Sim, tmp_path: str) -> None:
    """No test: nobody gives it a second argument."""
    sim.reach(tmp_path)


async def loses_its_tasks(node: SimNode) -> None:
    """Awaits none of its tasks, and keeps some of them."""

    async def broken(number: int) -> None:
        await asyncio.sleep(0.1 * number)
        raise LookupError(number)

    async def odd() -> None:
        raise KeyError(node.id)

    kept = {asyncio.create_task(broken(number)) for number in range(3)}
    for number in range(3):
        asyncio.create_task(broken(number))  # noqa: RUF006
    if node.sim.seed % 2:
        asyncio.create_task(odd())  # noqa: RUF006
    await asyncio.Event().wait()
    await asyncio.wait(kept)


@simulate(seeds=12, nodes=2, faults=Faults.none())
async def loses_tasks(sim: Sim) -> None:
    """Does not mind what the tasks of programs come to."""
    for name in sim.nodes:
        sim.start(name, loses_its_tasks)
    await asyncio.sleep(1)
