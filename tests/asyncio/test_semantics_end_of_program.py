"""Semantics 5 and 7: what ends a program ends it in order, also when it comes from the middle of a handler."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import asyncio, sys
import casty_asyncio
from casty_asyncio import Actor, ActorSystem, Behaviors

class Bad(Actor[str]):
    async def receive(self, msg, ctx):
        if msg == "later":
            await asyncio.sleep(0.01)
        raise {error}

    async def on_stop(self):
        print("stop")

async def main():
    async with ActorSystem() as system:
        ref = await system.spawn(Bad)
        other = await system.spawn(Bad)
        ref.tell("{when}")
        try:
            await asyncio.sleep(60)
        finally:
            print("end")

try:
    {run}(main())
except BaseException as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("when", ["now", "later"])
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize("run", ["casty_asyncio.run", "asyncio.run"])
def test_what_ends_a_program_ends_it_from_a_handler_too_and_every_actor_has_its_last_hook(
    run: str, error: str, when: str
) -> None:
    program = textwrap.dedent(PROGRAM).format(run=run, error=error, when=when)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert sorted(done.stdout.split()) == sorted(["end", "stop", "stop", error]), done.stderr
    assert "never retrieved" not in done.stderr
    assert done.returncode == 0


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


@pytest.mark.parametrize("run", ["casty_asyncio.run", "asyncio.run"])
def test_an_interrupt_from_the_keyboard_lets_handlers_end_and_every_actor_has_its_last_hook(run: str) -> None:
    program = INTERRUPTED.format(run=run)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.split() == ["handled", "stop", "interrupted"], done.stderr
    assert done.stderr == ""
