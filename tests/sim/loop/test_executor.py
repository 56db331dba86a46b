"""The rules of executors, by their numbers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from casty_sim.loop import NotSimulatedError
from casty_sim.loop.executor import SPREAD_NS, START_NS
from casty_sim.simulation import Sim, SimNode

from .kit import alone, world


def nothing() -> None:
    """Does nothing."""


def sleeping(
    *seconds: float, before: Callable[[], None] = nothing, after: Callable[[], None] = nothing
) -> Callable[[], None]:
    """What sleeps, as a function of an executor can."""

    def work() -> None:
        before()
        for each in seconds:
            time.sleep(each)
        after()

    return work


def test_rule_1_it_runs_some_time_later_and_its_result_comes_some_time_after_that() -> None:
    async def main() -> list[tuple[float, float, float]]:
        loop = asyncio.get_running_loop()
        times = []
        for _ in range(50):
            before = loop.time()
            ran = await loop.run_in_executor(None, time.monotonic)
            times.append((before, ran, loop.time()))
        return times

    times = alone(main)
    least, most = START_NS / 1e9, (START_NS + SPREAD_NS) / 1e9 + 1e-8
    for before, ran, after in times:
        assert least - 1e-8 <= ran - before <= most
        assert least - 1e-8 <= after - ran <= most
    assert len({round(ran - before, 6) for before, ran, _ in times}) > 10, "the times are drawn"


def test_rule_1_all_at_once_in_the_thread_of_the_world() -> None:
    async def main() -> None:
        assert await asyncio.to_thread(threading.get_ident) == threading.get_ident()
        seen: list[str] = []

        def work() -> None:
            seen.append("begins")
            seen.append("ends")

        async def other() -> None:
            while len(seen) < 2:
                assert not seen
                await asyncio.sleep(0)

        await asyncio.gather(other(), asyncio.to_thread(work))

    alone(main)


def test_rule_1_a_crash_comes_before_it_or_between_it_and_its_result() -> None:
    ran: list[int] = []
    told: list[int] = []

    async def app(node: SimNode) -> None:
        await asyncio.to_thread(ran.append, node.lives)
        told.append(node.lives)
        await asyncio.sleep(100)

    async def main(sim: Sim) -> None:
        for _ in range(100):
            sim.start("n1", app)
            await asyncio.sleep(sim.random.random() * 0.002)
            sim.crash("n1")
        await asyncio.sleep(1)

    world(main)
    assert 0 < len(told) < len(ran) < 100


def test_rule_2_no_loop_is_running_meanwhile() -> None:
    def work() -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()

    async def main() -> None:
        await asyncio.to_thread(work)
        asyncio.get_running_loop()

    alone(main)


def test_rule_3_sleeping_delays_the_result_and_nobody_else() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        waiting = asyncio.create_task(asyncio.to_thread(sleeping(3, 2)))
        await asyncio.sleep(1)
        assert not waiting.done()
        await waiting
        assert 5 <= loop.time() - before <= 5.01

    alone(main)


def test_rule_3_so_does_waiting_in_vain() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert await asyncio.to_thread(threading.Event().wait, 4) is False
        assert 4 <= loop.time() - before <= 4.01
        with pytest.raises(NotSimulatedError):
            threading.Event().wait(1)
        done = threading.Event()
        done.set()
        assert done.wait()

    alone(main)


def test_rule_4_one_worker_does_one_after_the_other_in_order() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[int] = []

        def work(number: int) -> None:
            seen.append(number)
            time.sleep(1)

        with ThreadPoolExecutor(1) as single:
            before = loop.time()
            await asyncio.gather(*[loop.run_in_executor(single, work, number) for number in range(10)])
        assert seen == list(range(10))
        assert 10 <= loop.time() - before <= 10.1

    alone(main)


def test_rule_4_several_may_do_them_in_any_order() -> None:
    async def main() -> None:
        seen: list[int] = []
        before = asyncio.get_running_loop().time()
        await asyncio.gather(*[asyncio.to_thread(sleeping(1, before=partial(seen.append, n))) for n in range(30)])
        assert sorted(seen) == list(range(30))
        assert seen != list(range(30))
        assert asyncio.get_running_loop().time() - before < 1.1

    alone(main)


def test_what_it_raises_comes_back() -> None:
    def fails(error: BaseException) -> None:
        raise error

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(fails, ZeroDivisionError())
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.to_thread(fails, StopIteration())
        with pytest.raises(asyncio.CancelledError):
            await asyncio.to_thread(fails, asyncio.CancelledError())

    alone(main)


def test_one_that_was_cancelled_before_it_began_does_not_run() -> None:
    seen: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, seen.append, "ran")
        future.cancel()
        begun = loop.run_in_executor(None, sleeping(5, before=lambda: seen.append("begun")))
        await asyncio.sleep(1)
        begun.cancel()
        with suppress(asyncio.CancelledError):
            await begun
        await asyncio.sleep(10)

    alone(main)
    assert seen == ["begun"]


def test_executors_that_are_shut_down_take_nothing() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pool = ThreadPoolExecutor()
        pool.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            loop.run_in_executor(pool, print)
        seen: list[int] = []
        loop.run_in_executor(None, sleeping(2, after=lambda: seen.append(1)))
        await loop.shutdown_default_executor()
        assert seen == [1]
        with pytest.raises(RuntimeError, match="shutdown"):
            await asyncio.to_thread(print)

    alone(main)


def test_the_default_executor_may_have_one_worker() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        seen: list[int] = []
        await asyncio.gather(*[asyncio.to_thread(seen.append, number) for number in range(20)])
        assert seen == list(range(20))
        with pytest.raises(TypeError):
            loop.set_default_executor(partial)  # type: ignore[arg-type]

    alone(main)


def test_what_runs_sees_the_clocks_and_the_disk_of_its_host() -> None:
    found: dict[str, Any] = {}

    async def app(node: SimNode) -> None:
        def work() -> None:
            (node.disk / "file").write_text(node.id)
            found[node.id] = time.monotonic(), (node.disk / "file").read_text()

        await asyncio.to_thread(work)

    async def main(sim: Sim) -> None:
        await asyncio.sleep(10)
        for name in sim.nodes:
            sim.start(name, app)
            await asyncio.sleep(1)

    world(main)
    assert [text for _, text in found.values()] == ["n1", "n2"]
    assert [int(at) for at, _ in found.values()] == [10, 11]
