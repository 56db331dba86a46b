"""The rules of the event loop, and what programs expect of any event loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from casty_sim.loop import DeadlockError, NotSimulatedError, SimLoop
from casty_sim.loop.loop import BREATH_NS, TURNS_AT_ONCE

from .kit import alone


@pytest.fixture
def loop() -> Any:
    with closing(SimLoop()) as loop:
        yield loop


# -- the rules ---------------------------------------------------------------------------------------------------------


def test_rule_1_callbacks_run_in_turns_and_timers_first_in_the_order_of_their_times(loop: SimLoop) -> None:
    seen: list[str] = []
    loop.call_at(0.2, seen.append, "second timer")
    loop.call_at(0.1, seen.append, "first timer")
    loop.call_at(0.1, seen.append, "made later")
    loop.call_soon(lambda: loop.call_soon(seen.append, "next turn"))
    loop.call_soon(seen.append, "this turn")
    loop.call_at(0.3, loop.stop)
    loop.run_forever()
    assert seen == ["this turn", "next turn", "first timer", "made later", "second timer"]


def test_rule_2_the_clock_stands_still_and_moves_for_one_that_polls() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = []
        for _ in range(3 * TURNS_AT_ONCE):
            times.append(loop.time())
            await asyncio.sleep(0)
        return times

    times = alone(main)
    assert len(set(times[: TURNS_AT_ONCE // 2])) == 1
    steps = sorted(set(times))
    assert [round((b - a) * 1e9) for a, b in pairwise(steps)] == [BREATH_NS] * (len(steps) - 1)
    assert len(steps) in (3, 4)


def test_rule_3_the_clock_is_never_before_the_time_of_a_timer_that_runs(loop: SimLoop) -> None:
    late: list[float] = []

    def note(when: float) -> None:
        late.append(loop.time() - when)

    for number in range(1, 3000):
        when = number / 7 + number * 1e-7
        loop.call_at(when, note, when)
    loop.call_at(1000, loop.stop)
    loop.run_forever()
    assert len(late) == 2999
    assert min(late) >= 0
    assert max(late) < 2e-9


def test_an_hour_is_over_at_once_and_exactly() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert alone(main) == 3600.0


# -- timers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [math.inf, 1e300, 1e10])
def test_a_timer_may_be_too_far_off_ever_to_run(loop: SimLoop, when: float) -> None:
    timer = loop.call_at(when, pytest.fail)
    assert timer.when() == when
    loop.run_until_complete(asyncio.sleep(1))
    timer.cancel()


def test_sleeping_for_ever_can_be_cancelled() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(math.inf)

    alone(main)


def test_a_time_that_is_no_number_is_refused(loop: SimLoop) -> None:
    with pytest.raises(ValueError, match="NaN"):
        loop.call_at(math.nan, pytest.fail)
    with pytest.raises(TypeError):
        loop.call_at(None, pytest.fail)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        loop.call_later(None, pytest.fail)  # type: ignore[arg-type]


def test_a_time_that_is_over_is_now(loop: SimLoop) -> None:
    seen: list[float] = []
    loop.call_later(-5, lambda: seen.append(loop.time()))
    loop.run_until_complete(asyncio.sleep(0.1))
    assert seen == [0.0]


def test_cancelled_timers_are_not_kept(loop: SimLoop) -> None:
    for number in range(10_000):
        loop.call_later(1000 + number, pytest.fail).cancel()
    assert len(loop._timers) < 200
    loop.run_until_complete(asyncio.sleep(0.1))


def test_a_callback_that_was_cancelled_is_not_called(loop: SimLoop) -> None:
    handles: list[asyncio.Handle] = []
    first = loop.call_soon(lambda: handles[0].cancel())
    handles.append(second := loop.call_soon(pytest.fail))
    loop.run_until_complete(asyncio.sleep(0))
    assert second.cancelled()
    assert not first.cancelled()
    assert "cancelled" in repr(second)


# -- running and stopping ----------------------------------------------------------------------------------------------


def test_stopped_before_it_runs_it_runs_one_turn(loop: SimLoop) -> None:
    seen: list[int] = []

    def first() -> None:
        seen.append(1)
        loop.call_soon(seen.append, 2)

    loop.call_soon(first)
    loop.stop()
    loop.run_forever()
    assert seen == [1]
    loop.stop()
    loop.run_forever()
    assert seen == [1, 2]


def test_stopped_it_ends_its_turn_and_goes_on_where_it_was(loop: SimLoop) -> None:
    seen: list[int] = []
    loop.call_soon(loop.stop)
    loop.call_soon(seen.append, 1)
    loop.call_soon(lambda: loop.call_soon(seen.append, 2))
    loop.run_forever()
    assert seen == [1]
    assert not loop.is_running()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [1, 2]


def test_stopped_before_the_future_is_done(loop: SimLoop) -> None:
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.run_until_complete(loop.create_future())


def test_a_loop_that_runs_cannot_run_again_nor_be_closed_nor_another_one_run(loop: SimLoop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_until_complete(loop.create_future())
        with pytest.raises(RuntimeError, match="Cannot close a running"):
            loop.close()
        with closing(SimLoop()) as another, pytest.raises(RuntimeError, match="another loop is running"):
            another.run_forever()

    loop.run_until_complete(main())


def test_closed_it_takes_nothing_more(loop: SimLoop) -> None:
    loop.close()
    loop.close()
    assert loop.is_closed()
    coroutine = asyncio.sleep(0)
    for call in (
        lambda: loop.call_soon(pytest.fail),
        lambda: loop.call_later(1, pytest.fail),
        lambda: loop.call_at(1, pytest.fail),
        lambda: loop.create_task(coroutine),
        lambda: loop.run_in_executor(None, pytest.fail),
        loop.run_forever,
    ):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    coroutine.close()


def test_where_nothing_will_ever_happen_it_says_who_waits_and_where() -> None:
    async def waits_in_vain() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        task = asyncio.create_task(waits_in_vain(), name="in vain")
        await task

    with pytest.raises(DeadlockError, match=r"in vain waits at test_loop\.py:\d+ in .*waits_in_vain"):
        alone(main)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_process_comes_through_and_the_loop_can_go_on(loop: SimLoop, kind: type[BaseException]) -> None:
    def end() -> None:
        raise kind

    seen: list[int] = []
    loop.call_soon(end)
    loop.call_soon(seen.append, 1)
    with pytest.raises(kind):
        loop.run_forever()
    assert not loop.is_running()
    loop.run_until_complete(asyncio.sleep(1))
    assert seen == [1]


def test_two_loops_take_turns_and_each_has_its_own_clock() -> None:
    with closing(SimLoop()) as one, closing(SimLoop()) as other:
        one.run_until_complete(asyncio.sleep(5))
        other.run_until_complete(asyncio.sleep(1))
        one.run_until_complete(asyncio.sleep(1))
        assert (one.time(), other.time()) == (6.0, 1.0)


def test_runner_as_it_is_documented() -> None:
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        runner.run(asyncio.sleep(1))
        runner.run(asyncio.sleep(1))
        assert runner.get_loop().time() == 2.0
        assert isinstance(runner.get_loop(), SimLoop)


def test_closing_it_cancels_what_is_left_and_closes_generators() -> None:
    seen: list[str] = []

    async def left() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            seen.append("cancelled")

    async def generator() -> Any:
        try:
            yield 1
        finally:
            seen.append("closed")

    async def main() -> None:
        background.add(asyncio.create_task(left()))
        kept.append(opened := generator())
        await anext(opened)

    background: set[asyncio.Task[None]] = set()
    kept: list[Any] = []
    alone(main)
    assert seen == ["cancelled", "closed"]


# -- errors ------------------------------------------------------------------------------------------------------------


def test_what_a_callback_raises_is_reported_and_the_others_run(loop: SimLoop, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    loop.call_soon(lambda: 1 // 0)
    loop.call_soon(seen.append, 1)
    with caplog.at_level(logging.ERROR, "asyncio"):
        loop.run_until_complete(asyncio.sleep(0))
    assert seen == [1]
    assert "Exception in callback" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_to_a_handler_where_there_is_one(loop: SimLoop, caplog: pytest.LogCaptureFixture) -> None:
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    assert loop.get_exception_handler() is not None
    loop.call_soon(lambda: 1 // 0)
    loop.run_until_complete(asyncio.sleep(0))
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)

    loop.set_exception_handler(lambda _, context: 1 // 0)
    loop.call_soon(lambda: [][0])
    with caplog.at_level(logging.ERROR, "asyncio"):
        loop.run_until_complete(asyncio.sleep(0))
    assert "Unhandled error in exception handler" in caplog.text
    with pytest.raises(TypeError):
        loop.set_exception_handler(1)  # type: ignore[arg-type]


def test_contexts_are_those_in_which_a_callback_was_given(loop: SimLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    def note() -> None:
        seen.append(variable.get())
        variable.set("changed")

    context = contextvars.copy_context()
    context.run(variable.set, "given")
    variable.set("outer")
    loop.call_soon(note)
    loop.call_soon(note, context=context)
    loop.call_later(1, note, context=context)

    async def main() -> None:
        variable.set("task")
        await asyncio.sleep(2)
        seen.append(await asyncio.to_thread(variable.get))

    loop.run_until_complete(main())
    assert seen == ["outer", "given", "changed", "task"]
    assert variable.get() == "outer"
    assert context[variable] == "changed"


def test_asynchronous_generators_that_are_dropped_are_closed_on_their_own_loop() -> None:
    seen: list[object] = []

    async def generator() -> Any:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            seen.append(asyncio.get_running_loop())

    async def main() -> None:
        async for _ in generator():
            break
        await asyncio.sleep(2)
        assert seen == [asyncio.get_running_loop()]

    alone(main)
    assert len(seen) == 1


# -- the boundary ------------------------------------------------------------------------------------------------------


def test_no_method_of_event_loops_is_neither_there_nor_refused() -> None:
    abstract = asyncio.AbstractEventLoop
    names = [name for name, value in vars(abstract).items() if callable(value) and not name.startswith("__")]
    assert len(names) > 50
    missing = [name for name in names if getattr(SimLoop, name) is getattr(abstract, name)]
    # Only the debug mode of asyncio's own loops calls it.
    assert missing == ["_timer_handle_cancelled"]


def test_tasks_of_a_factory(loop: SimLoop) -> None:
    made: list[str] = []

    def factory(loop: Any, coro: Any, **more: Any) -> asyncio.Task[Any]:
        made.append(coro.__name__)
        return asyncio.Task(coro, loop=loop, **more)

    async def work() -> int:
        return 5

    loop.set_task_factory(factory)
    assert loop.run_until_complete(work()) == 5
    assert made == ["work"]
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    with pytest.raises(TypeError):
        loop.set_task_factory(1)


def test_eager_tasks_run_at_once() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("work")

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        task = asyncio.create_task(work())
        seen.append("after")
        await task

    alone(main)
    assert seen == ["work", "after"]


def test_another_thread_is_refused(loop: SimLoop) -> None:
    code = """
import asyncio, threading
from casty_sim.loop import NotSimulatedError, SimLoop
loop = SimLoop()
caught = []
def call():
    try:
        loop.call_soon_threadsafe(print)
    except NotSimulatedError as error:
        caught.append(str(error))
ready, done = threading.Lock(), threading.Lock()
ready.acquire(), done.acquire()
def other():
    ready.acquire()
    call()
    done.release()
threading.Thread(target=other, daemon=True).start()
async def main():
    ready.release()
    done.acquire()
loop.run_until_complete(main())
print(caught)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "call_soon_threadsafe from another thread is not simulated" in done.stdout


def test_in_its_own_thread_that_is_a_callback_like_any_other(loop: SimLoop) -> None:
    seen: list[int] = []
    loop.call_soon_threadsafe(seen.append, 1)
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == [1]


def test_a_world_at_a_time() -> None:
    async def main() -> None:
        from casty_sim.loop import running

        with (
            closing(SimLoop()) as another,
            pytest.raises(RuntimeError, match="another simulated world"),
            running.simulation(another.world),
        ):
            pytest.fail("it runs")

    alone(main)


def test_what_is_refused_has_no_effect(loop: SimLoop) -> None:
    async def main() -> None:
        for _ in range(3):
            with pytest.raises(NotSimulatedError):
                await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("0.0.0.0", 1))

    loop.run_until_complete(main())
