"""Clocks, randomness, names and identifiers of a host, wherever a program takes them from."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import pickle
import random
import secrets
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from random import choice, randrange
from random import random as kept_random
from time import monotonic, sleep, time_ns
from typing import Any

import pytest

from casty_sim.simulation import Sim, SimNode
from tests.sim.loop.kit import alone, world

EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


def run[T](work: Callable[[], T], *, after: float = 0.0) -> T:
    """What a program finds, some simulated seconds after its beginning."""

    async def main() -> T:
        await asyncio.sleep(after)
        return work()

    return alone(main)


CLOCKS: dict[str, Callable[[], float]] = {
    "time.monotonic": lambda: time.monotonic(),
    "imported by name": lambda: monotonic(),
    "time.perf_counter": lambda: time.perf_counter(),
    "time.monotonic_ns": lambda: time.monotonic_ns() / 1e9,
    "time.perf_counter_ns": lambda: time.perf_counter_ns() / 1e9,
    "time.clock_gettime": lambda: time.clock_gettime(time.CLOCK_MONOTONIC),
    "time.clock_gettime_ns": lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC) / 1e9,
    "time.clock_gettime, of the wall": lambda: time.clock_gettime(time.CLOCK_REALTIME) - EPOCH.timestamp(),
    "time.time": lambda: time.time() - EPOCH.timestamp(),
    "time.time_ns": lambda: time_ns() / 1e9 - EPOCH.timestamp(),
    "datetime.now": lambda: (datetime.datetime.now() - EPOCH.replace(tzinfo=None)).total_seconds(),
    "datetime.now, aware": lambda: (datetime.datetime.now(datetime.UTC) - EPOCH).total_seconds(),
    "datetime.utcnow": lambda: (utcnow() - EPOCH.replace(tzinfo=None)).total_seconds(),
    "datetime.today": lambda: (datetime.datetime.today() - EPOCH.replace(tzinfo=None)).total_seconds(),
    "time.gmtime": lambda: time.gmtime().tm_sec + 60 * time.gmtime().tm_min + 0.5,
    "time.localtime": lambda: time.localtime().tm_sec + 60 * time.localtime().tm_min + 0.5,
    "time.strftime": lambda: int(time.strftime("%M")) * 60 + int(time.strftime("%S")) + 0.5,
    "time.ctime": lambda: int(time.ctime()[14:16]) * 60 + int(time.ctime()[17:19]) + 0.5,
    "time.asctime": lambda: int(time.asctime()[14:16]) * 60 + int(time.asctime()[17:19]) + 0.5,
    "logging": lambda: logging.LogRecord("", 0, "", 0, "", None, None).created - EPOCH.timestamp(),
    "the loop": lambda: asyncio.get_running_loop().time(),
}


def utcnow() -> datetime.datetime:
    """Deprecated, and used."""
    now: datetime.datetime = getattr(datetime.datetime, "utcnow")()  # noqa: B009
    return now


@pytest.mark.filterwarnings("ignore:.*utcnow:DeprecationWarning")
@pytest.mark.parametrize("name", CLOCKS)
def test_every_clock_is_that_of_the_host(name: str) -> None:
    assert run(CLOCKS[name], after=1234.5) == pytest.approx(1234.5, abs=1e-5)


def test_dates_and_subclasses_are_of_their_kinds() -> None:
    class Mine(datetime.datetime):
        pass

    def work() -> None:
        assert datetime.date.today() == datetime.date(2000, 1, 1)
        assert type(datetime.date.today()) is datetime.date
        assert type(Mine.now()) is Mine
        zone = datetime.timezone(datetime.timedelta(hours=5))
        assert datetime.datetime.now(zone).hour == 5

    run(work)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine under the simulation is in another time zone than its hosts."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_hosts_are_in_utc_wherever_the_machine_is() -> None:
    def look() -> list[Any]:
        at = EPOCH.timestamp() + 20 * 3600
        return [
            datetime.datetime.fromtimestamp(at).hour,
            datetime.datetime.fromtimestamp(at, EPOCH.tzinfo).hour,
            datetime.date.fromtimestamp(at).day,
            time.mktime(time.localtime(at)) == at,
            time.localtime(at).tm_hour,
        ]

    assert run(look) == [20, 20, 1, True, 20]
    assert look() == [5, 20, 2, True, 5]


def test_no_clock_of_a_processor_moves() -> None:
    assert run(lambda: time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID), after=1.0) == 0


def test_nothing_takes_processor_time() -> None:
    def work() -> None:
        before = time.process_time(), time.thread_time()
        sum(range(100_000))
        assert (time.process_time(), time.thread_time()) == before

    run(work)


CHANCES: dict[str, Callable[[], Any]] = {
    "random.random": lambda: random.random(),
    "imported by name": lambda: (kept_random(), choice(range(10**9)), randrange(10**9)),
    "random.shuffle": lambda: (numbers := list(range(50)), random.shuffle(numbers), numbers)[2],
    "random.Random": lambda: random.Random().random(),
    "random.SystemRandom": lambda: random.SystemRandom().random(),
    "os.urandom": lambda: os.urandom(16),
    "secrets": lambda: (secrets.token_hex(), secrets.randbelow(10**9), secrets.choice(range(10**9))),
    "uuid1": lambda: uuid.uuid1(),
    "uuid4": lambda: uuid.uuid4(),
}


@pytest.mark.parametrize("name", CHANCES)
def test_chance_follows_from_the_seed_and_differs_between_hosts_and_lives_and_calls(name: str) -> None:
    draw = CHANCES[name]

    def drawn(seed: int) -> list[Any]:
        found: list[Any] = []

        async def app(node: SimNode) -> None:
            found.extend([draw(), draw()])

        async def main(sim: Sim) -> None:
            for _ in range(2):
                for target in sim.nodes:
                    sim.start(target, app)
                    await asyncio.sleep(1)

        world(main, seed=seed)
        return found

    once, again, other = drawn(1), drawn(1), drawn(2)
    assert once == again
    texts = [repr(each) for each in (*once, *other)]
    assert len(set(texts)) == 16


def test_a_generator_with_a_seed_is_what_it_always_is() -> None:
    expected = random.Random(5).random()
    assert run(lambda: random.Random(5).random()) == expected

    def seeded() -> float:
        random.seed(5)
        return random.random()

    assert run(seeded) == expected


def test_the_randomness_of_the_process_is_left_alone() -> None:
    random.seed(1)
    state = random.getstate()
    run(lambda: (random.random(), random.seed(7), random.shuffle([1, 2, 3])))
    assert random.getstate() == state


def test_numbers_of_processes_are_those_of_hosts_and_lives() -> None:
    found: list[int] = []

    async def app(node: SimNode) -> None:
        found.append(os.getpid())

    async def main(sim: Sim) -> None:
        for _ in range(2):
            for name in sim.nodes:
                sim.start(name, app)
                await asyncio.sleep(1)

    world(main)
    assert len(set(found)) == 4
    assert os.getpid() not in found


def test_outside_of_a_host_all_of_it_is_what_it_always_was() -> None:
    run(lambda: None)
    assert abs(time.time() - datetime.datetime.now(datetime.UTC).timestamp()) < 1000
    assert datetime.datetime.now().year > 2020
    assert datetime.date.today().year > 2020
    assert socket.gethostname() == os.uname().nodename
    before = time.monotonic()
    sleep(0.001)
    assert time.monotonic() > before
    assert pickle.loads(pickle.dumps(time.time))() > EPOCH.timestamp() + 1e8


def test_a_module_that_is_imported_by_a_host_gets_the_same_clocks(tmp_path: Path) -> None:
    (tmp_path / "imported_late.py").write_text("from time import monotonic\ndef clock():\n    return monotonic()\n")
    code = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from casty_sim.loop import SimLoop
async def main():
    await asyncio.sleep(77)
    import imported_late
    return imported_late.clock()
with asyncio.Runner(loop_factory=SimLoop) as runner:
    print(runner.run(main()))
"""
    # Compiled code is written, which is nothing that the host does.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "77.0"
    assert list(tmp_path.glob("__pycache__/imported_late*"))


def test_a_clock_that_is_fast_or_jumps_moves_all_clocks_of_its_host_and_no_other() -> None:
    async def main(sim: Sim) -> None:
        async def ends_at(node: SimNode) -> None:
            await asyncio.sleep(100)

        async def clock() -> tuple[float, float, float]:
            return asyncio.get_running_loop().time(), time.monotonic(), time.time() - EPOCH.timestamp()

        node = sim.start("n1", ends_at)
        node.host.drift(2.0)
        await asyncio.sleep(10)
        assert await node.call(clock) == pytest.approx((20, 20, 20))
        node.host.drift(1.0)
        node.host.jump(30 * 10**9)
        await asyncio.sleep(10)
        assert await node.call(clock) == pytest.approx((60, 60, 60))
        assert time.monotonic() == pytest.approx(20)
        await asyncio.sleep(39.9)
        assert node.up
        await asyncio.sleep(0.2)
        assert not node.up

    world(main)


def test_a_pause_moves_the_clock_and_what_was_due_comes_late_and_in_order() -> None:
    seen: list[tuple[str, float]] = []

    async def app(node: SimNode) -> None:
        async def beat(name: str, period: float) -> None:
            for _ in range(4):
                await asyncio.sleep(period)
                seen.append((name, round(time.monotonic(), 3)))

        await asyncio.gather(beat("fast", 1), beat("slow", 1.5))

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(1.2)
        sim.pause("n1", 5)
        await asyncio.sleep(20)

    world(main)
    assert seen[:3] == [("fast", 1.0), ("slow", 6.2), ("fast", 6.2)]
    assert seen[-1] == ("slow", 10.7)
