"""A program that has everything of which the order could come from memory: its digest is the same in every process.

`python -m tests.sim.loop.unordered SEED...` prints the digests of those seeds. `--junk N` first fills memory with that
many objects, and drops every other one; `--gc N` sets the threshold of the garbage collector.
"""

# What is awaited in a loop is what is tested.
# ruff: noqa: PERF401

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import secrets
import time
import uuid
import weakref
from collections.abc import AsyncIterator
from typing import Any

from casty_sim.simulation import Faults, Sim, SimNode, simulate


class Thing:
    """Something with a finalizer."""

    def __init__(self, node: SimNode, seen: list[object], name: str) -> None:
        self.node, self.seen, self.name = node, seen, name
        self.itself: Thing | None = None

    def __del__(self) -> None:
        self.seen.append(f"del {self.name}")


async def napping(seen: list[object], name: str) -> str:
    """Sleeps for some time, and says what became of it."""
    try:
        await asyncio.sleep(random.random() * 0.01)
    except asyncio.CancelledError:
        seen.append(f"cancelled {name}")
        raise
    return name


async def groups(seen: list[object]) -> None:
    """Siblings that are cancelled, by groups, timeouts, gatherings and hand."""

    async def fails() -> None:
        await asyncio.sleep(0.003)
        raise ValueError

    for _ in range(3):
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(8):
                    group.create_task(napping(seen, f"sibling {number}"))
                group.create_task(fails())
        except* ValueError:
            seen.append("group failed")
    tasks = {asyncio.create_task(napping(seen, f"set {number}")) for number in range(20)}
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done | left:
        seen.append(task.get_name())
        task.cancel()
    results: list[Any] = [*await asyncio.gather(*left, return_exceptions=True)]
    seen.append([type(each).__name__ for each in results])
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name()):
        seen.append(task.get_name())
    seen.extend(task.get_name() for task in asyncio.all_tasks())


async def completed(seen: list[object]) -> None:
    """Coroutines, in the order in which they end."""
    for each in asyncio.as_completed([napping(seen, f"completed {number}") for number in range(20)]):
        seen.append(await each)
    for each in asyncio.as_completed({napping(seen, f"at once {number}"): None for number in range(20)}, timeout=9):
        seen.append(await each)
    futures = {asyncio.get_running_loop().create_future(): number for number in range(30)}
    for future in set(futures):
        future.add_done_callback(lambda done: seen.append(futures[done]))
        future.set_result(None)
    await asyncio.sleep(0)


async def memory(node: SimNode, seen: list[object]) -> None:
    """Weak references, finalizers and cycles."""
    things = [Thing(node, seen, str(number)) for number in range(10)]
    references = weakref.WeakSet[asyncio.Task[str]]()
    for number, thing in enumerate(things):
        weakref.finalize(thing, seen.append, f"finalized {number}")
        references.add(asyncio.create_task(napping(seen, f"weak {number}")))
        if number % 2:
            thing.itself = thing
    seen.extend(task.get_name() for task in references)
    things.clear()
    del thing
    seen.append(len(references))


async def numbers(seen: list[object]) -> AsyncIterator[int]:
    """Is left open."""
    try:
        while True:
            await asyncio.sleep(0.001)
            yield random.randrange(1000)
    finally:
        await asyncio.sleep(0.001)
        seen.append("generator closed")


async def threads(seen: list[object]) -> None:
    """Functions of executors."""

    def work(number: int) -> tuple[int, float, str]:
        time.sleep(random.random() * 0.01)
        seen.append(f"ran {number}")
        return number, time.time(), uuid.uuid4().hex

    for each in asyncio.as_completed([asyncio.to_thread(work, number) for number in range(10)]):
        seen.append(await each)


async def talk(node: SimNode, seen: list[object]) -> None:
    """Connections."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.write(secrets.token_bytes(8) + b"\n")
        writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", node.port)
    async with server:
        for other in node.sim.nodes:
            try:
                async with asyncio.timeout(2):
                    reader, writer = await asyncio.open_connection(other, node.port)
                    writer.write(f"{node.id} {random.random()}\n".encode())
                    seen.append(await reader.readline())
                    writer.close()
            except OSError as error:
                seen.append(repr(error))
        await asyncio.sleep(1)


async def app(node: SimNode) -> None:
    """All of it."""
    seen: list[object] = []
    generator = numbers(seen)
    async for number in numbers(seen):
        if number % 3 == 0:
            break
    seen.append(await anext(generator))
    for _ in range(2):
        await asyncio.gather(groups(seen), completed(seen), memory(node, seen), threads(seen), talk(node, seen))
    # What was seen becomes a part of what is sent, and so of the digest.
    for other in node.sim.nodes:
        try:
            async with asyncio.timeout(1):
                _, writer = await asyncio.open_connection(other, node.port)
                writer.write(repr(seen).encode())
                writer.close()
        except OSError:
            seen.append("nobody there")
    await asyncio.sleep(random.random())
    assert generator is not None


@simulate(nodes=3, faults=Faults.swarm(), seeds=3)
async def everything(sim: Sim) -> None:
    """Three hosts do all of it, under faults and with crashes."""
    for name in sim.nodes:
        sim.start(name, app)
    for number in range(4):
        await asyncio.sleep(sim.random.random())
        target = sim.random.choice(sim.nodes)
        if number % 2:
            sim.crash(target)
        elif sim.node(target).up:
            sim.kill(target)
        await asyncio.sleep(0.1)
        if not sim.node(target).up:
            sim.restart(target)
    await asyncio.sleep(3)


class Plain:
    """Told apart by its address."""

    def __init__(self, number: int) -> None:
        self.number = number


@simulate(nodes=1, faults=Faults.none(), seeds=1)
async def sets_of_objects(sim: Sim) -> None:
    """What cannot be put right, and is found: the order of a set of objects without a hash of their own."""
    for each in {Plain(number) for number in range(100)}:
        await asyncio.sleep(each.number * 1e-3)


def main() -> None:
    """Print the digests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", type=int, nargs="*")
    parser.add_argument("--junk", type=int, default=0)
    parser.add_argument("--gc", type=int, default=700)
    options = parser.parse_args()
    gc.set_threshold(options.gc)
    junk: list[Any] = [object() if number % 3 else [number] for number in range(options.junk)]
    del junk[::2]
    for seed in options.seeds:
        outcome = everything.run(seed)
        print(seed, outcome.digest, outcome.rule, outcome.problem, flush=True)


if __name__ == "__main__":
    main()
