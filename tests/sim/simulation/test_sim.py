"""What a test can do to the nodes of a simulated application, and what follows from it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
import warnings
from collections.abc import Awaitable, Callable

import pytest

from casty_sim.checkers.linearizability import Model, Operation
from casty_sim.scenario import Outcome
from casty_sim.simulation import Faults, Sim, SimNode, simulate
from casty_sim.trace import Trace
from casty_sim.world import Violation

from . import programs
from .programs import ask, diary, echo

type Test = Callable[[Sim], Awaitable[None]]


def run(test: Test, nodes: int = 2, seed: int = 0) -> Outcome:
    outcome = simulate(nodes=nodes, faults=Faults.none(), limit=120.0)(test).run(seed)
    assert not outcome.failed, f"{outcome.problem}\n{outcome.traceback}"
    return outcome


def test_programs_on_two_hosts_talk_over_the_simulated_network() -> None:
    outcome = programs.answers.run(0)
    assert (outcome.rule, outcome.reached) == ("", {"answered": 2})
    assert outcome.simulated_ns < 200_000_000


def test_a_run_takes_no_real_time() -> None:
    async def waits(sim: Sim) -> None:
        await asyncio.sleep(100)
        assert sim.clock == pytest.approx(100)

    began = time.monotonic()
    run(waits)
    assert time.monotonic() - began < 50


def test_a_crash_runs_no_finally_and_takes_what_was_not_synced_or_leaves_it() -> None:
    found: list[str] = []

    async def crashes(sim: Sim) -> None:
        # When a world is over, what was left of it is dropped: the run before has come by its `finally` then.
        programs.lives.clear()
        node = sim.start("n1", diary)
        await asyncio.sleep(1)
        sim.crash("n1")
        assert not node.up
        await asyncio.sleep(1)
        assert programs.lives == []
        found.append((node.disk / "diary").read_text() if (node.disk / "diary").exists() else "")
        sim.restart("n1")
        await asyncio.sleep(1)
        assert node.lives == 2

    for seed in range(12):
        run(crashes, seed=seed)
    # Rule 2 of the disk: back, as it is, or torn.
    assert {"", "life 1\n"} < set(found)


def test_the_trace_says_what_a_power_cut_has_made_of_files_that_were_not_synced() -> None:
    async def writes(node: SimNode) -> None:
        with (node.disk / "log").open("wb") as file:
            file.write(b"kept")
            file.flush()
            os.fsync(file)
            file.write(b" or not")
            file.flush()
            await asyncio.sleep(10)

    async def crashes(sim: Sim) -> None:
        node = sim.start("n1", writes)
        await asyncio.sleep(1)
        sim.crash("n1")
        left.append(len((node.disk / "log").read_bytes()))

    left: list[int] = []
    said: set[str] = set()
    for seed in range(12):
        trace = Trace(keep=True)
        simulate(nodes=1, faults=Faults.none())(crashes).run(seed, trace=trace)
        said.add(text := next(line.text for line in trace.lines or [] if line.kind == "disk"))
        assert text.startswith("log: 11 bytes, not synced since there were 4; ")
        assert f"{left[-1]} bytes are left" in text or text.endswith("; all of it stays")
    assert {4, 11} < set(left), "some are torn"
    assert {text.rpartition("; ")[2].partition(",")[0] for text in said} == {
        "all of it stays",
        "back as it was",
        "torn",
    }


def test_a_killed_program_runs_no_finally_and_its_files_and_refusals_stay() -> None:
    async def kills(sim: Sim) -> None:
        programs.lives.clear()
        node = sim.start("n1", diary)
        sim.start("n2", echo)
        await asyncio.sleep(1)
        sim.kill("n1")
        sim.kill("n2")
        await asyncio.sleep(1)
        assert programs.lives == []
        assert (node.disk / "diary").read_text() == "life 1\n"
        with pytest.raises(ConnectionRefusedError):
            await ask("n2", "anybody?")

    run(kills)


def test_a_host_without_power_answers_nothing_at_all() -> None:
    async def crashes(sim: Sim) -> None:
        sim.start("n1", echo)
        await asyncio.sleep(1)
        sim.crash("n1")
        with pytest.raises(TimeoutError):
            await ask("n1", "anybody?")

    run(crashes)


def test_a_signal_is_for_its_handler_and_kills_a_program_without_one() -> None:
    heard: list[str] = []

    async def listens(node: SimNode) -> None:
        over = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
        await over.wait()
        heard.append("the end")

    async def signals(sim: Sim) -> None:
        sim.start("n1", listens)
        sim.start("n2", echo)
        await asyncio.sleep(1)
        sim.terminate("n1")
        sim.terminate("n2")
        await asyncio.sleep(1)
        assert (sim.node("n1").up, sim.node("n2").up) == (False, False)

    run(signals)
    assert heard == ["the end"]


def test_a_partition_loses_everything_until_it_is_undone() -> None:
    async def parts(sim: Sim) -> None:
        sim.start("n1", echo)
        await asyncio.sleep(0.1)
        undo = sim.partition("n1")
        with pytest.raises(TimeoutError):
            await ask("n1", "anybody?")
        undo()
        assert await ask("n1", "and now?") == "n1 and now?"

    run(parts)


def test_a_paused_node_goes_on_with_what_came_meanwhile() -> None:
    async def pauses(sim: Sim) -> None:
        sim.start("n1", echo)
        await asyncio.sleep(0.1)
        sim.pause("n1", 2.0)
        before = sim.clock
        assert await ask("n1", "late", timeout=10.0) == "n1 late"
        assert sim.clock - before >= 2.0

    run(pauses)


def test_a_program_that_raises_fails_the_test_and_says_on_which_node() -> None:
    async def breaks(node: SimNode) -> None:
        await asyncio.sleep(0.5)
        raise ValueError("broken by itself")

    async def waits(sim: Sim) -> None:
        sim.start("n2", breaks)
        await asyncio.sleep(5)

    outcome = simulate(nodes=2, faults=Faults.none())(waits).run(0)
    assert outcome.rule == "ValueError in test_sim.py:breaks"
    assert "This ended the program of n2 at 0.5" in outcome.traceback


def test_nobody_is_warned_of_a_program_that_was_started_when_another_failed() -> None:
    kept: list[object] = []

    async def starts_another(node: SimNode) -> None:
        kept.append(node.sim.start("n2", echo).process)
        raise ValueError("broken by itself")

    async def waits(sim: Sim) -> None:
        sim.start("n1", starts_another)
        await asyncio.sleep(5)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert simulate(nodes=2, faults=Faults.none())(waits).run(0).failed
        kept.clear()
        gc.collect()
    assert [str(each.message) for each in caught] == []


def test_a_program_may_end_by_what_an_orchestrator_would_restart() -> None:
    async def breaks(node: SimNode) -> None:
        if node.lives < 3:
            raise LookupError("not yet")
        await echo(node)

    async def waits(sim: Sim) -> None:
        sim.start("n1", breaks, restart_on=(LookupError,))
        await asyncio.sleep(5)
        assert sim.node("n1").lives == 3

    run(waits)


def test_a_test_that_does_not_end_says_where_its_tasks_wait() -> None:
    async def hangs(sim: Sim) -> None:
        await asyncio.Event().wait()

    async def ticks(node: SimNode) -> None:
        while True:
            await asyncio.sleep(1)
            sim_time.append(node.sim.clock)

    async def hangs_while_others_do_not(sim: Sim) -> None:
        sim.start("n1", ticks)
        await hangs(sim)

    sim_time: list[float] = []
    outcome = simulate(nodes=1, faults=Faults.none(), limit=5.0)(hangs_while_others_do_not).run(0)
    assert outcome.rule == "the test ends"
    assert "it has not ended after 5 simulated seconds" in outcome.problem
    assert "in test_a_test_that_does_not_end_says_where_its_tasks_wait.<locals>.hangs" in outcome.problem
    assert outcome.simulated_ns == 5_000_000_000
    assert len(sim_time) >= 4


def test_a_test_that_can_never_end_is_ended_where_nothing_happens_any_more() -> None:
    async def waits(node: SimNode) -> None:
        await asyncio.Event().wait()

    async def hangs(sim: Sim) -> None:
        sim.start("n1", waits)
        await asyncio.sleep(3)
        await asyncio.Event().wait()

    outcome = simulate(nodes=2, faults=Faults.none())(hangs).run(0)
    assert outcome.rule == "the test ends"
    assert outcome.problem.startswith("the test ends: nothing will ever happen any more: no timer is set")
    here = "test_a_test_that_can_never_end_is_ended_where_nothing_happens_any_more.<locals>"
    test, _, node = outcome.problem.partition("\nn1: These tasks wait:\n")
    assert f"in {here}.hangs, locks.py:" in test
    assert f"in {here}.waits, locks.py:" in node
    assert node.endswith("\nn2 is down.")
    assert outcome.simulated_ns == 3_000_000_000


def test_work_on_a_node_runs_on_its_loop_and_its_error_comes_back() -> None:
    async def calls(sim: Sim) -> None:
        node = sim.start("n1", echo)
        await asyncio.sleep(0.1)

        async def name() -> str:
            return repr(asyncio.get_running_loop())

        assert "n1" in await node.call(name)

        async def fails() -> None:
            raise LookupError("nothing here")

        with pytest.raises(LookupError, match="nothing here"):
            await node.call(fails)

    run(calls)


def test_a_node_may_have_work_done_on_another_one_and_hears_of_it_at_once() -> None:
    async def calls(sim: Sim) -> None:
        heard: list[tuple[str, float]] = []

        async def asks(node: SimNode) -> None:
            async def name() -> str:
                return repr(asyncio.get_running_loop())

            heard.append((await sim.node("n2").call(name), sim.clock))
            await asyncio.Event().wait()

        sim.start("n2", echo)
        await asyncio.sleep(1)
        sim.start("n1", asks)
        await asyncio.sleep(1)
        [(name, at)] = heard
        assert "n2" in name
        assert at == pytest.approx(1.0, abs=0.01)

    run(calls)


def test_what_is_no_exception_fails_the_test_with_its_seed_and_the_lines_it_came_from() -> None:
    async def raises_nothing(sim: Sim) -> None:
        with pytest.raises(LookupError):
            await asyncio.sleep(1)

    async def on_a_node(sim: Sim) -> None:
        async def fails(node: SimNode) -> None:
            pytest.fail("a node says so")

        sim.start("n1", fails)
        await asyncio.sleep(1)

    async def leaves(sim: Sim) -> None:
        raise SystemExit(3)

    async def is_cancelled(sim: Sim) -> None:
        raise asyncio.CancelledError

    found = [simulate(nodes=1, faults=Faults.none())(each).run(0) for each in (raises_nothing, on_a_node)]
    assert "DID NOT RAISE" in found[0].problem
    assert "with pytest.raises(LookupError)" in found[0].traceback
    assert "a node says so" in found[1].problem
    assert found[1].rule.startswith("Failed in ")
    assert 'pytest.fail("a node says so")' in found[1].traceback
    assert simulate(nodes=1, faults=Faults.none())(leaves).run(0).rule.startswith("SystemExit")
    assert simulate(nodes=1, faults=Faults.none())(is_cancelled).run(0).rule.startswith("CancelledError")


def test_a_test_that_skips_itself_is_skipped() -> None:
    async def skips(sim: Sim) -> None:
        pytest.skip("not here")

    async def skips_on_a_node(sim: Sim) -> None:
        async def app(node: SimNode) -> None:
            pytest.skip("not here")

        sim.start("n1", app)
        await asyncio.sleep(1)

    for test in (skips, skips_on_a_node):
        with pytest.raises(pytest.skip.Exception):
            simulate(nodes=1, faults=Faults.none())(test).run(0)


def test_a_line_that_cannot_be_logged_is_no_error_of_the_program_whether_lines_are_kept_or_not() -> None:
    async def logs(sim: Sim) -> None:
        logging.getLogger("shop").warning("%d apples", "many")

    simulated = simulate(nodes=1, faults=Faults.none())(logs)
    trace = Trace(keep=True)
    assert not simulated.run(0).failed
    assert not simulated.run(0, trace=trace).failed
    assert "shop: a line that cannot be put together (TypeError" in trace.text()


def test_what_a_client_was_doing_when_it_was_lost_may_have_happened() -> None:
    async def loses(sim: Sim) -> None:
        value = [0]

        async def client(node: SimNode) -> None:
            with sim.history.call(node.id, "value", 1):
                value[0] = 1
                await asyncio.Event().wait()

        sim.start("n1", client)
        await asyncio.sleep(1)
        sim.crash("n1")
        with sim.history.call("test", "value", None) as call:
            await asyncio.sleep(1)
            call.result = value[0]
        assert len(sim.history) == 1
        assert sim.history.check(Model("register", 0, _register))
        with sim.history.call("test", "value", None) as call:
            call.result = 2
        with pytest.raises(Violation):
            sim.history.check(Model("register", 0, _register))

    run(loses)


def _register(state: int, operation: Operation) -> tuple[bool, int]:
    """Reads where the argument is `None`, and writes it otherwise."""
    if operation.argument is None:
        return operation.result == state, state
    return True, operation.argument


def test_a_name_stands_for_several_nodes_as_a_headless_service_does() -> None:
    async def names(sim: Sim) -> None:
        for name in sim.nodes:
            sim.start(name, echo)
        sim.name("casty", *sim.nodes)
        await asyncio.sleep(0.1)
        found = await asyncio.get_running_loop().getaddrinfo("casty", 7000)
        assert {entry[4][0] for entry in found} == {sim.node(name).address for name in sim.nodes}

    run(names)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda sim: sim.start("n9", echo), "there is no node 'n9'; there are n1, n2"),
        (lambda sim: sim.restart("n1"), "n1 was never started"),
        (lambda sim: sim.kill("n1"), "n1 does not run"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(call: Callable[[Sim], object], text: str) -> None:
    async def wrong(sim: Sim) -> None:
        with pytest.raises((KeyError, RuntimeError)) as caught:
            call(sim)
        assert text in str(caught.value)

    run(wrong)


def test_nothing_of_a_run_reaches_into_the_next_one() -> None:
    digests = [programs.answers.run(seed).digest for seed in (0, 1, 0)]
    assert digests[0] == digests[2] != digests[1]
