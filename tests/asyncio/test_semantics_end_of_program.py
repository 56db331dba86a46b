"""Semantics 5 and 7: what ends a program ends it in order, also when it comes from the middle of a handler."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from pathlib import Path

import pytest

from casty_asyncio import ActorSystem

from .styles import Script, Style, Turn

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import asyncio
import casty_asyncio
from casty_asyncio import Actor, ActorSystem, SupervisorConfig

PLACE, ERROR = "{place}", {error}

async def reach(place):
    if PLACE.startswith(place):
        if PLACE.endswith("later"):
            await asyncio.sleep(0.01)
        raise ERROR

class Bad(Actor[str]):
    async def receive(self, msg, ctx):
        await reach("receive")
        if msg == "fail":
            raise ValueError
        if msg == "stop":
            ctx.stop()

    async def on_start(self):
        print("start")
        await reach("on_start")

    async def on_stop(self):
        print("stop")
        await reach("on_stop")

    async def pre_restart(self, exc, msg):
        print("pre_restart")
        await reach("pre_restart")

async def main():
    async with ActorSystem() as system:
        supervision = SupervisorConfig(backoff_initial=0.0)
        spawning = asyncio.ensure_future(system.spawn(Bad, supervision=supervision, name="bad"))
        await asyncio.sleep(0)
        ref = system.lookup("bad").ref
        ref.tell("fail" if PLACE.startswith("pre_restart") else "stop")
        try:
            await asyncio.sleep(60)
        finally:
            print("end")

try:
    {run}(main())
except BaseException as error:
    print(type(error).__name__)
"""

PLACES = ["receive", "receive, later", "on_start", "on_start, later", "on_stop", "on_stop, later", "pre_restart"]

INTERRUPTED = """
import asyncio, os, signal
import casty_asyncio
from casty_asyncio import Actor, ActorSystem

class Slow(Actor[str]):
    async def receive(self, msg, ctx):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)
        print("handled")

    async def on_stop(self):
        print("stop")

async def main():
    async with ActorSystem() as system:
        ref = await system.spawn(Slow)
        ref.tell("go")
        await asyncio.sleep(60)

try:
    {run}(main())
except KeyboardInterrupt:
    print("interrupted")
"""


def execute(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize("run", ["casty_asyncio.run", "asyncio.run"])
def test_what_ends_a_program_ends_it_from_an_actor_too_which_has_its_last_hook_and_is_not_restarted(
    run: str, error: str, place: str
) -> None:
    done = execute(PROGRAM.format(run=run, error=error, place=place))
    restarts = ["pre_restart"] if place == "pre_restart" else []
    assert sorted(done.stdout.split()) == sorted(["start", "stop", "end", error, *restarts]), done.stderr
    assert "never retrieved" not in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("run", ["casty_asyncio.run", "asyncio.run"])
def test_an_interrupt_from_the_keyboard_lets_handlers_end_and_every_actor_has_its_last_hook(run: str) -> None:
    done = execute(INTERRUPTED.format(run=run))
    assert done.stdout.split() == ["handled", "stop", "interrupted"], done.stderr
    assert done.stderr == ""


def test_a_loop_that_is_closed_under_a_suspended_handler_runs_nothing_of_it_any_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody shut the system down. Python throws the task away, which is no failure for anybody to deal with."""
    log: list[str] = []
    reports: list[str] = []

    async def receive(turn: Turn, message: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("thrown away")

    async def start() -> None:
        system = ActorSystem()
        script = Script(receive, stop=lambda life: log.append("stop"), pre_restart=lambda *_: log.append("restart"))
        (await Style.CLASS.spawn(system, script)).tell("x")
        await asyncio.sleep(0.01)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
    loop.run_until_complete(start())
    loop.close()
    del loop
    gc.collect()
    assert log == ["thrown away"]
    assert set(reports) == {"Task was destroyed but it is pending!"}
    assert caplog.text == ""
