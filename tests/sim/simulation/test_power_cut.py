"""What ends a life of a program, and what of it is left: nothing but what was synced."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sqlite3
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from casty_sim.simulation import Faults, Sim, SimNode, simulate
from tests.sim.loop.kit import world

type End = Callable[[Sim, str], object]

ENDS: dict[str, End] = {
    "power cut": lambda sim, name: sim.crash(name),
    "killed": lambda sim, name: sim.kill(name),
}


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest) -> End:
    """Each way in which a program ends without a word."""
    return ENDS[request.param]


class Noisy:
    """Says when it is finalized, whatever holds it."""

    def __init__(self, heard: list[str], name: str, *, cycle: bool = False) -> None:
        self.heard, self.name = heard, name
        self.itself = self if cycle else None
        weakref.finalize(self, heard.append, f"finalized {name}").atexit = False

    def __del__(self) -> None:
        self.heard.append(f"del {self.name}")


def test_nothing_of_it_is_run(end: End) -> None:
    heard: list[str] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        try:
            yield
        finally:
            heard.append("manager")

    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0.1)
        finally:
            heard.append("generator")

    async def sleeper(name: str) -> None:
        noisy = Noisy(heard, name)
        try:
            await asyncio.sleep(1000)
        except BaseException as error:
            heard.append(f"{name} {type(error).__name__}")
            raise
        finally:
            heard.append(f"finally {noisy.name}")

    async def app(node: SimNode) -> None:
        loop = asyncio.get_running_loop()
        local = Noisy(heard, "local", cycle=True)
        kept = numbers()
        await anext(kept)
        loop.call_later(2, heard.append, "timer")
        future = loop.create_future()
        future.add_done_callback(lambda _: heard.append("callback"))
        executor = loop.run_in_executor(None, heard.append, "executor")
        waits = asyncio.create_task(asyncio.to_thread(lambda: None))
        waits.add_done_callback(lambda _: heard.append("done"))
        async with manager(), asyncio.TaskGroup() as group:
            group.create_task(sleeper("sibling"))
            group.create_task(sleeper("other"))
            async for _ in numbers():
                pass
        assert not any(each is None for each in (local, future, executor))

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(0)
        await asyncio.sleep(0.00001)
        end(sim, "n1")
        await asyncio.sleep(10)
        gc.collect()
        assert heard == []
        sim.restart("n1")
        await asyncio.sleep(1)
        end(sim, "n1")
        await asyncio.sleep(10)
        gc.collect()
        assert set(heard) <= {"executor", "done"}, heard

    world(main)


def test_nothing_of_an_earlier_life_runs_in_a_later_one(end: End) -> None:
    running: list[tuple[int, int]] = []
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    futures: list[asyncio.Future[None]] = []

    async def app(node: SimNode) -> None:
        life = node.lives
        assert variable.get() == 0
        variable.set(life)
        assert asyncio.get_running_loop().time() >= 0
        assert len(asyncio.all_tasks()) == 1
        # What an earlier life has kept in a global, and waits for, is not to wake it.
        for future in futures:
            with suppress(asyncio.InvalidStateError):
                future.set_result(None)
        futures.append(future := asyncio.get_running_loop().create_future())
        future.add_done_callback(lambda _: running.append((node.lives, life)))

        async def beat() -> None:
            while True:
                running.append((node.lives, life))
                await asyncio.sleep(0.01)

        task = asyncio.create_task(beat())
        await task

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        for _ in range(5):
            await asyncio.sleep(0.105)
            end(sim, "n1")
            await asyncio.sleep(0.1)
            sim.restart("n1")
        await asyncio.sleep(0.1)

    world(main)
    assert {now for now, _ in running} == {1, 2, 3, 4, 5, 6}
    assert all(now == life for now, life in running)


def test_a_connection_vanishes_without_a_word_and_is_reset_by_a_later_life() -> None:
    seen: list[object] = []

    async def app(node: SimNode) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                writer.write(data)

        async with await asyncio.start_server(serve, "0.0.0.0", 80) as server:
            await server.serve_forever()

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("n1", 80)
        writer.write(b"x")
        assert await reader.read(100) == b"x"
        sim.crash("n1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                seen.append(await reader.read(100))
        sim.restart("n1")
        await asyncio.sleep(1)
        assert not reader.at_eof()
        writer.write(b"y")
        with pytest.raises(ConnectionResetError):
            await reader.read(100)

    world(main)
    assert seen == []


def test_a_killed_program_has_its_connections_closed_by_the_system() -> None:
    async def app(node: SimNode) -> None:
        _, writer = await asyncio.open_connection("test", 80)
        writer.write(b"last words")
        await asyncio.sleep(1000)

    async def main(sim: Sim) -> None:
        got: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await reader.read())
            writer.close()

        async with await asyncio.start_server(serve, "0.0.0.0", 80):
            sim.start("n1", app)
            await asyncio.sleep(0.5)
            sim.kill("n1")
            await asyncio.sleep(0.5)
        assert got == [b"last words"]

    world(main)


def test_a_restart_gets_the_disk_as_far_as_it_was_synced() -> None:
    found: list[tuple[bool, list[tuple[int]]]] = []

    async def app(node: SimNode) -> None:
        database = sqlite3.connect(node.disk / "base")
        database.execute("CREATE TABLE IF NOT EXISTS lives (life)")
        found.append(((node.disk / "buffered").exists(), database.execute("SELECT life FROM lives").fetchall()))
        with database:
            database.execute("INSERT INTO lives VALUES (?)", (node.lives,))
        database.execute("INSERT INTO lives VALUES (-1)")
        file = (node.disk / "buffered").open("x" if node.lives == 1 else "a")
        file.write("never leaves the program")
        await asyncio.sleep(1000)

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        for _ in range(3):
            await asyncio.sleep(1)
            sim.kill("n1")
            gc.collect()
            assert (sim.node("n1").disk / "buffered").read_text() == ""
            sim.restart("n1")
        await asyncio.sleep(1)

    world(main)
    assert [lives for _, lives in found] == [[], [(1,)], [(1,), (2,)], [(1,), (2,), (3,)]]


def test_it_may_come_from_the_program_s_own_doing() -> None:
    """A node that has itself crashed, as a test may let it do at a certain line, stops at that line."""
    after: list[str] = []

    async def app(node: SimNode) -> None:
        try:
            if node.lives == 1:
                node.sim.crash(node)
                await asyncio.sleep(0)
                after.append("ran on")
        finally:
            after.append(f"finally {node.lives}")

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(1)
        sim.restart("n1")
        await asyncio.sleep(1)
        assert after == ["finally 2"]

    world(main)


def test_what_it_hands_to_an_executor_in_its_last_step_is_not_run(end: End) -> None:
    after: list[str] = []

    async def app(node: SimNode) -> None:
        end(node.sim, node.id)
        asyncio.get_running_loop().run_in_executor(None, after.append, "ran")
        await asyncio.Event().wait()

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(1)
        assert after == []

    world(main)


def test_what_a_node_writes_in_the_step_in_which_it_cuts_its_own_power_is_under_the_cut() -> None:
    found: list[bool] = []

    async def app(node: SimNode) -> None:
        node.sim.crash(node)
        (node.disk / "file").write_text("x")
        asyncio.get_running_loop().call_soon(found.append, True)

    async def main(sim: Sim) -> None:
        for _ in range(40):
            sim.start("n1", app)
            await asyncio.sleep(0.1)
            assert not sim.node("n1").up
            lost.append(not (sim.node("n1").disk / "file").exists())
            sim.wipe("n1")

    lost: list[bool] = []
    world(main)
    assert set(lost) == {True, False}
    assert found == []


def test_a_generator_that_the_program_drops_at_its_end_is_closed() -> None:
    seen: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        except GeneratorExit:
            seen.append("closing")
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                seen.append("cancelled")
            raise

    async def app(node: SimNode) -> None:
        kept = numbers()
        await anext(kept)

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(5)
        assert not sim.node("n1").up

    world(main)
    assert seen == ["closing", "cancelled"]


@pytest.mark.parametrize("status", [None, 0, 3, "a text"])
@pytest.mark.parametrize("where", ["main", "task", "callback"])
def test_sys_exit_ends_the_program_with_its_finally_and_not_the_simulation(where: str, status: Any) -> None:
    seen: list[str] = []

    async def leave() -> None:
        sys.exit(status)

    async def app(node: SimNode) -> None:
        try:
            if where == "main":
                await leave()
            if where == "task":
                task = asyncio.create_task(leave())
                await asyncio.sleep(1)
                task.cancel()
            asyncio.get_running_loop().call_soon(sys.exit, status)
            await asyncio.sleep(1)
            seen.append("goes on")
        finally:
            await asyncio.sleep(0.1)
            seen.append("finally")

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(2)
        assert not sim.node("n1").up

    outcome = simulate(nodes=1, faults=Faults.none())(main).run(0)
    assert seen == ["finally"]
    assert outcome.failed == bool(status)
    assert not status or "SystemExit" in outcome.problem
    assert not status or where == "callback" or "in leave\n" in outcome.traceback, "it says where"


def test_a_program_that_is_cancelled_fails_the_test() -> None:
    async def app(node: SimNode) -> None:
        raise asyncio.CancelledError

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(1)

    outcome = simulate(nodes=1, faults=Faults.none())(main).run(0)
    assert "CancelledError" in outcome.problem


def test_a_loop_of_a_host_can_be_neither_closed_nor_run_again() -> None:
    async def main(sim: Sim) -> None:
        loop = asyncio.get_running_loop()
        for call in (loop.close, loop.run_forever):
            with pytest.raises(RuntimeError):
                call()
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            loop.run_until_complete(coroutine)
        coroutine.close()

    world(main)


async def _busy(node: SimNode) -> None:
    sim = node.sim

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except OSError:
            sim.reach("a connection broke")
        finally:
            writer.close()

    async def numbers() -> AsyncIterator[int]:
        while True:
            yield 1
            await asyncio.sleep(0.1)

    async def count() -> None:
        async for _ in numbers():
            with suppress(OSError):
                (node.disk / "file").write_text("x")
            await asyncio.to_thread(lambda: None)

    async with await asyncio.start_server(serve, "0.0.0.0", 80), asyncio.TaskGroup() as group:
        group.create_task(count())
        while True:
            with suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(1):
                    reader, writer = await asyncio.open_connection(node.sim.random.choice(node.sim.nodes), 80)
                    try:
                        writer.write(b"x" * 50_000)
                        await reader.readexactly(50_000)
                    finally:
                        writer.close()
            await asyncio.sleep(0.1)


@simulate(nodes=3, faults=Faults.swarm(), seeds=1, duration=3.0)
async def busy(sim: Sim) -> None:
    """Hosts that do everything, and are crashed."""
    for name in sim.nodes:
        sim.start(name, _busy)
    for _ in range(3):
        await asyncio.sleep(1)
        name = sim.random.choice(sim.nodes)
        if sim.node(name).up:
            sim.crash(name)
            sim.restart(name)


def test_many_runs_leave_nothing_behind() -> None:
    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    def run(seeds: range) -> None:
        for seed in seeds:
            outcome = busy.run(seed)
            assert not outcome.failed, outcome.problem

    run(range(5))
    before = objects()
    run(range(5, 35))
    # A cache here and there may still fill.
    assert objects() - before < 300
