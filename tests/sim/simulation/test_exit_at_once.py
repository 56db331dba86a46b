"""Programs that call `os._exit` or `os.abort`: they are gone at once, and the simulation goes on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from typing import cast

import pytest

from casty_sim.loop import NotSimulatedError
from casty_sim.scenario import Outcome
from casty_sim.simulation import Faults, Sim, SimNode, simulate

from .programs import ask, echo

type App = Callable[[SimNode], object]


def run(app: App, *more: Callable[[Sim], object], restart: bool = False) -> Outcome:
    """An app on n1, beside an echo on n2; the functions are called after some time."""

    async def main(sim: Sim) -> None:
        sim.start("n2", echo)
        sim.start("n1", cast("Callable[[SimNode], asyncio.Future[None]]", app), restart_on=(SystemExit,) * restart)
        await asyncio.sleep(5)
        assert await ask("n2", "others") == "n2 others", "the others go on"
        for each in more:
            each(sim)

    return simulate(nodes=2, faults=Faults.none())(main).run(0)


@pytest.mark.parametrize("where", ["main", "task", "callback", "thread", "signal"])
def test_nothing_of_it_runs_on(where: str) -> None:
    seen: list[str] = []

    def leave() -> None:
        os._exit(0)

    async def task() -> None:
        leave()
        seen.append("after the call")

    async def other() -> None:
        try:
            await asyncio.sleep(2)
        finally:
            seen.append("the finally of another task")

    async def app(node: SimNode) -> None:
        others = [asyncio.create_task(other())]
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        if where == "main":
            leave()
        elif where == "task":
            others.append(asyncio.create_task(task()))
        elif where == "callback":
            loop.call_soon(leave)
        elif where == "thread":
            await asyncio.to_thread(leave)
        else:
            loop.add_signal_handler(15, leave)
            loop.call_soon(node.sim.terminate, node)
        await asyncio.sleep(2)
        seen.append("the main task")

    def is_down(sim: Sim) -> None:
        assert not sim.node("n1").up
        assert seen == []

    outcome = run(app, is_down)
    assert not outcome.failed, outcome.problem


def test_it_cannot_be_held_up() -> None:
    seen: list[str] = []

    async def app(node: SimNode) -> None:
        try:
            os._exit(0)
        except BaseException:
            await asyncio.sleep(0)
            seen.append("went on")

    assert not run(app).failed
    assert seen == []


@pytest.mark.parametrize(("end", "status"), [(lambda: os._exit(3), 3), (lambda: os.abort(), 134)])
def test_a_status_fails_the_test_and_says_where_it_came_from(end: Callable[[], None], status: int) -> None:
    async def app(node: SimNode) -> None:
        end()

    outcome = run(app)
    assert f"the program ended by ExitedAtOnce: {status}" in outcome.problem
    assert "in app\n" in outcome.traceback
    assert "This ended the program of n1 at 0.000 s" in outcome.traceback


def test_an_orchestrator_starts_it_again() -> None:
    async def app(node: SimNode) -> None:
        if node.lives < 3:
            os._exit(1)
        await echo(node)

    def third(sim: Sim) -> None:
        assert sim.node("n1").lives == 3

    outcome = run(app, third, restart=True)
    assert not outcome.failed, outcome.problem


def test_files_are_left_as_they_were() -> None:
    caught: list[OSError] = []

    async def app(node: SimNode) -> None:
        if node.lives == 2:
            (node.disk / "second").write_text("can write again")
            return
        (node.disk / "closed").write_text("stays")
        database = sqlite3.connect(node.disk / "data")
        database.execute("create table t (x)")
        with (node.disk / "buffered").open("w") as file:
            file.write("flushed ")
            file.flush()
            file.write("not flushed, and nobody else writes it")
            try:
                os._exit(1)
            finally:
                file.write(" and this even less")
                for change in (lambda: (node.disk / "new").write_text("x"), (node.disk / "closed").unlink):
                    try:
                        change()
                    except OSError as error:
                        caught.append(error)
                with pytest.raises(sqlite3.ProgrammingError):
                    database.execute("insert into t values (1)")

    def as_they_were(sim: Sim) -> None:
        disk = sim.node("n1").disk
        assert (disk / "closed").read_text() == "stays"
        assert (disk / "buffered").read_text() == "flushed "
        assert not (disk / "new").exists()
        assert (disk / "second").read_text() == "can write again"

    outcome = run(app, as_they_were, restart=True)
    assert not outcome.failed, outcome.problem + outcome.traceback
    assert ["has ended itself with os._exit" in str(error) for error in caught] == [True, True]


def test_connections_are_closed_by_the_system_and_nothing_is_sent_any_more() -> None:
    heard: list[bytes] = []

    async def app(node: SimNode) -> None:
        _, writer = await asyncio.open_connection("test", 80)
        writer.write(b"before")
        await asyncio.sleep(1)
        try:
            os._exit(0)
        finally:
            writer.write(b"after")

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    async def main(sim: Sim) -> None:
        await asyncio.start_server(hear, "0.0.0.0", 80)
        sim.start("n1", app)
        await asyncio.sleep(5)
        assert heard == [b"before"]

    outcome = simulate(nodes=1, faults=Faults.none())(main).run(0)
    assert not outcome.failed, outcome.problem


@pytest.mark.parametrize("status", [0, 1])
def test_a_test_cannot_end_so(status: int) -> None:
    async def main(sim: Sim) -> None:
        with pytest.raises(NotSimulatedError, match=r"os\._exit is not simulated: it would end the process"):
            os._exit(status)
        sim.reach("the end")

    assert "the end" in simulate(nodes=1, faults=Faults.none())(main).run(0).reached
