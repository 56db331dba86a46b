"""Exceptions of which nobody hears: those of tasks that nobody awaits, and of callbacks."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from casty_sim.__main__ import main
from casty_sim.scenario import Outcome
from casty_sim.simulation import Faults, Sim, SimNode, SimulationFailedError, simulate
from casty_sim.simulation.closer import look_closer
from casty_sim.simulation.unhandled import Policy
from casty_sim.trace import Trace

from . import programs

type App = Callable[[SimNode], Awaitable[None]]

HERE = "test_unhandled.py"


def run(app: App, unhandled: Policy = "assertions", *, trace: Trace | None = None) -> Outcome:
    """An app on n1 that runs for five seconds."""

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(5)

    return simulate(nodes=1, faults=Faults.none(), unhandled=unhandled)(main).run(0, trace=trace)


async def fails() -> None:
    """Raises at once."""
    raise LookupError("nothing here")


async def forever() -> None:
    """Does nothing."""
    await asyncio.Event().wait()


async def never_awaited(node: SimNode) -> None:
    asyncio.create_task(fails(), name="pump")  # noqa: RUF006
    await forever()


async def kept_and_never_awaited(node: SimNode) -> None:
    pump = asyncio.create_task(fails(), name="pump")
    await forever()
    await pump


async def callback(node: SimNode) -> None:
    def breaks() -> None:
        raise LookupError("nothing here")

    asyncio.get_running_loop().call_later(1, breaks)
    await forever()


async def in_a_cycle(node: SimNode) -> None:
    async def fails_and_holds_itself() -> None:
        own = [asyncio.current_task()]
        own.append(own)  # type: ignore[arg-type]
        await fails()

    asyncio.create_task(fails_and_holds_itself(), name="pump")  # noqa: RUF006
    await asyncio.sleep(1)
    gc.collect()
    await forever()


async def dropped_before_its_end(node: SimNode) -> None:
    task = asyncio.create_task(forever(), name="pump")
    await asyncio.sleep(1)
    del task
    gc.collect()
    await forever()


FAILS = "LookupError: nothing here, test_unhandled.py:"


@pytest.mark.parametrize(
    ("app", "at", "text"),
    [
        (never_awaited, 0.0, f"Task exception was never retrieved (pump): {FAILS}"),
        (in_a_cycle, 1.0, f"Task exception was never retrieved (pump): {FAILS}"),
        (kept_and_never_awaited, 5.0, f"Task exception was not retrieved until the end of the run (pump): {FAILS}"),
        (callback, 1.0, "Exception in callback <SimTimer callback.<locals>.breaks>: LookupError: nothing here, "),
        (dropped_before_its_end, 1.0, "Task was destroyed but it is pending! (pump)"),
    ],
)
def test_what_nobody_hears_of_is_told(app: App, at: float, text: str) -> None:
    trace = Trace(keep=True)
    outcome = run(app, trace=trace)
    assert not outcome.failed, outcome.problem
    [found] = outcome.unhandled
    assert (found.host, found.times) == ("n1", 1)
    assert found.at / 1e9 == pytest.approx(at, abs=0.01)
    assert found.text.startswith(text)
    assert found.text.partition(" (pump)")[0].partition(":")[0] in trace.text(), "the trace has it as well"
    assert str(found).startswith(f"{found.at / 1e9:.3f} s, n1: {text}")


def test_what_is_alike_is_told_once_with_its_number() -> None:
    async def app(node: SimNode) -> None:
        for _ in range(4):
            asyncio.create_task(fails())  # noqa: RUF006
            await asyncio.sleep(1)

    [found] = run(app).unhandled
    assert found.times == 4
    assert str(found).endswith("in fails (4 times)")


def test_who_hears_of_it_has_handled_it() -> None:
    heard: list[object] = []

    async def app(node: SimNode) -> None:
        task = asyncio.create_task(fails())
        await asyncio.wait([task])
        heard.append(task.exception())
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["message"]))
        asyncio.create_task(fails())  # noqa: RUF006
        kept = asyncio.create_task(fails())
        await forever()
        await kept

    assert run(app, "fail").unhandled == []
    assert len(heard) >= 2


def test_who_is_just_about_to_hear_of_it_counts_as_told() -> None:
    """A program that never pauses is cut between two turns by the end of the run: here once at either."""

    async def app(node: SimNode) -> None:
        if node.id == "n2":
            await asyncio.sleep(0)
        while True:
            try:
                await asyncio.create_task(fails())
            except LookupError:
                node.sim.reach(f"heard on {node.id}")

    async def main(sim: Sim) -> None:
        for name in sim.nodes:
            sim.start(name, app)
        await asyncio.sleep(0.01)

    outcome = simulate(nodes=2, faults=Faults.none(), unhandled="fail")(main).run(0)
    assert not outcome.failed, outcome.problem
    assert outcome.reached.keys() == {"heard on n1", "heard on n2"}
    assert outcome.unhandled == []


@pytest.mark.parametrize("end", [Sim.crash, Sim.kill, lambda sim, name: sim.node(name).call(leave)])
def test_of_a_program_that_was_cut_off_only_what_was_told_before_is_told(end: Callable[[Sim, str], object]) -> None:
    async def app(node: SimNode) -> None:
        asyncio.create_task(fails(), name="told")  # noqa: RUF006
        kept = asyncio.create_task(fails(), name="kept")
        await forever()
        await kept

    async def main(sim: Sim) -> None:
        sim.start("n1", app)
        await asyncio.sleep(1)
        ended = end(sim, "n1")
        if asyncio.iscoroutine(ended):
            asyncio.ensure_future(ended)  # noqa: RUF006
        await asyncio.sleep(1)
        assert not sim.node("n1").up

    outcome = simulate(nodes=1, faults=Faults.none())(main).run(0)
    assert not outcome.failed, outcome.problem
    assert [each.text.partition(":")[0] for each in outcome.unhandled] == ["Task exception was never retrieved (told)"]


async def leave() -> None:
    """Ends the program of the node on which it runs."""
    os._exit(0)


# -- what fails the test -----------------------------------------------------------------------------------------------


async def assertion(node: SimNode) -> None:
    async def checks() -> None:
        await asyncio.sleep(1)
        assert node.lives == 2, "it lives again"

    asyncio.create_task(checks())  # noqa: RUF006
    await forever()


async def assertion_of_a_task_that_is_kept(node: SimNode) -> None:
    async def checks() -> None:
        assert node.lives == 2, "it lives again"

    kept = asyncio.create_task(checks())
    await forever()
    await kept


async def not_simulated(node: SimNode) -> None:
    asyncio.get_running_loop().call_later(1, socket.socketpair)
    await forever()


async def pytest_fails(node: SimNode) -> None:
    asyncio.get_running_loop().call_later(1, pytest.fail, "it lives again")
    await forever()


@pytest.mark.parametrize(
    ("app", "rule", "text"),
    [
        (assertion, f"AssertionError in {HERE}:checks", "it lives again"),
        (assertion_of_a_task_that_is_kept, f"AssertionError in {HERE}:checks", "it lives again"),
        (not_simulated, "NotSimulatedError in boundary.py:refuse", "socket.socketpair is not simulated"),
        (pytest_fails, "Failed in outcomes.py:__call__", "it lives again"),
    ],
)
def test_an_assertion_fails_the_test_wherever_it_is(app: App, rule: str, text: str) -> None:
    outcome = run(app)
    assert outcome.rule == rule
    assert text in outcome.problem
    at = 5 if app is assertion_of_a_task_that_is_kept else 1
    assert outcome.simulated_ns / 1e9 == pytest.approx(at, abs=0.01), "at once"
    assert f"Nobody has handled this, on n1 at {at}.00" in outcome.traceback
    lenient = run(app, "log")
    assert not lenient.failed
    assert text in lenient.unhandled[0].text


@pytest.mark.parametrize("app", [never_awaited, kept_and_never_awaited, callback, in_a_cycle, dropped_before_its_end])
def test_everything_may_fail_the_test(app: App) -> None:
    outcome = run(app, "fail")
    what = "UnhandledError" if app is dropped_before_its_end else "LookupError"
    assert outcome.rule.startswith(f"{what} in ")
    assert "Nobody has handled this, on n1 at " in outcome.traceback


def test_an_assertion_on_the_host_of_the_test_fails_it_as_well() -> None:
    async def main(sim: Sim) -> None:
        async def checks() -> None:
            assert sim.clock > 100, "it is late"

        kept = asyncio.create_task(checks())
        await asyncio.sleep(1)
        sim.reach(kept.get_name())

    outcome = simulate(nodes=1, faults=Faults.none())(main).run(0)
    assert "it is late" in outcome.problem


def test_a_test_may_skip_itself_in_a_callback() -> None:
    async def main(sim: Sim) -> None:
        asyncio.get_running_loop().call_soon(pytest.skip, "not here")
        await asyncio.sleep(1)

    with pytest.raises(pytest.skip.Exception):
        simulate(nodes=1, faults=Faults.none())(main).run(0)


def test_what_a_full_disk_breaks_is_excused() -> None:
    async def app(node: SimNode) -> None:
        async def writes() -> None:
            (node.disk / "file").write_text("x")

        node.sim.fill_disk(node)
        asyncio.create_task(writes())  # noqa: RUF006
        await forever()

    outcome = run(app, "fail")
    assert not outcome.failed, outcome.problem
    assert "No space left" in outcome.unhandled[0].text


def test_the_first_thing_that_went_wrong_is_what_the_test_fails_by() -> None:
    async def main(sim: Sim) -> None:
        sim.start("n1", kept_and_never_awaited)
        await asyncio.sleep(1)
        raise ValueError("by itself")

    simulated = simulate(nodes=1, faults=Faults.none(), unhandled="fail")(main)
    with pytest.raises(SimulationFailedError) as caught:
        simulated()
    head, _, rest = str(caught.value).partition("In this run nobody has handled:\n")
    assert "by itself" in head
    assert rest.startswith("  1.000 s, n1: Task exception was not retrieved until the end of the run (pump): LookupErr")


def test_an_error_that_cannot_be_shown_is_told_all_the_same() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    async def app(node: SimNode) -> None:
        def breaks() -> None:
            raise OddError

        asyncio.get_running_loop().call_soon(breaks)
        await forever()

    assert "OddError, which cannot be shown (ZeroDivisionError)" in run(app).unhandled[0].text


def test_a_test_can_look_at_it_itself() -> None:
    async def main(sim: Sim) -> None:
        assert not sim.unhandled
        sim.start("n1", never_awaited)
        await asyncio.sleep(1)
        [found] = sim.unhandled
        assert "nothing here" in found.text

    outcome = simulate(nodes=1, faults=Faults.none())(main).run(0)
    assert not outcome.failed, outcome.problem


# -- what is said of many runs -----------------------------------------------------------------------------------------


def test_it_is_the_same_in_every_process_and_counted_by_runs() -> None:
    here = programs.loses_tasks.campaign()
    assert here.unhandled == programs.loses_tasks.campaign(jobs=2).unhandled
    assert not here.failures
    assert [numbers for _, numbers in sorted(here.unhandled.items())] == [(6, 1), (12, 0), (12, 0)]


def test_the_report_of_a_run_has_it(tmp_path: Path) -> None:
    async def breaks(sim: Sim) -> None:
        sim.start("n1", never_awaited)
        await asyncio.sleep(1)
        raise ValueError("by itself")

    look_closer(simulate(nodes=1, faults=Faults.none())(breaks), 0, tmp_path, 0.0)
    [page] = tmp_path.glob("*.html")
    assert "n1: Task exception was never retrieved (pump): LookupError: nothing here" in page.read_text("utf-8")


def test_the_command_line_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", f"{programs.__name__}:loses_tasks", "--jobs", "1"]) == 0
    assert "nobody has handled, in 6 of 12 runs, the first of them seed 1: Task exc" in capsys.readouterr().out
    assert main(["replay", f"{programs.__name__}:loses_tasks", "1"]) == 0
    assert "nobody has handled: 0.000 s, n1: Task exception was never retrieved (Task-" in capsys.readouterr().out


def test_pytest_shows_it_though_all_is_well(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it="from tests.sim.simulation.programs import loses_tasks as test_loses")
    result = pytester.runpytest()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["  nobody has handled, in 6 of 12 runs, the first of them seed 1: * KeyError, programs.py:* in *odd"]
    )
