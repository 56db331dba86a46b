"""More of what a test can do to the nodes of a simulated application."""

from __future__ import annotations

import asyncio
import errno
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from casty_proto.machine import Instant
from casty_sim.checkers.linearizability import Model
from casty_sim.network import Link
from casty_sim.scenario import Settings, run
from casty_sim.simulation import Faults, Sim, SimNode, simulate
from casty_sim.tape import Tape
from casty_sim.trace import Trace
from casty_sim.world import Violation
from tests.sim.loop.kit import world

from . import programs
from .programs import ask, echo


def test_faults_end_with_heal_and_all_nodes_are_up_again() -> None:
    async def heals(sim: Sim) -> None:
        for name in sim.nodes:
            sim.start(name, echo)
        await asyncio.sleep(sim.duration)
        sim.heal()
        struck = sim.plan.struck
        await asyncio.sleep(10)
        assert all(sim.node(name).up for name in sim.nodes)
        assert [await ask(name, "well?") for name in sim.nodes] == [f"{name} well?" for name in sim.nodes]
        sim.unleash()
        await asyncio.sleep(10)
        assert sim.plan.struck == struck, "they do not begin again"
        sim.reach(f"struck {struck > 0}")

    simulated = simulate(seeds=6, nodes=3, faults=Faults.only("crash").calmly(0.3), duration=5.0)(heals)
    assert simulated().reached.get("struck True", 0) > 0


def test_a_node_is_cut_off_from_everybody_and_a_link_has_a_delay_of_its_own() -> None:
    async def main(sim: Sim) -> None:
        sim.start("n1", echo)
        await asyncio.sleep(1)
        mend = sim.isolate("n1")
        with pytest.raises(TimeoutError):
            await ask("n1", "anybody?")
        mend()
        mend()
        sim.shape("test", "n1", Link(delay_ns=300_000_000, spread_ns=0))
        began = sim.clock
        assert await ask("n1", "slowly", 5.0) == "n1 slowly"
        assert sim.clock - began > 0.6
        sim.shape("test", "n1", None)
        began = sim.clock
        await ask("n1", "quickly")
        assert sim.clock - began < 0.3

    world(main)


def test_a_program_that_ends_by_its_full_disk_fails_nothing_and_can_be_restarted() -> None:
    async def writes(node: SimNode) -> None:
        while True:
            (node.disk / "file").write_text("x")
            await asyncio.sleep(0.1)

    async def main(sim: Sim) -> None:
        node = sim.start("n1", writes)
        await asyncio.sleep(1)
        sim.fill_disk("n1")
        await asyncio.sleep(1)
        assert not node.up
        assert node.process is not None
        assert isinstance(node.process.error, OSError)
        assert node.process.error.errno == errno.ENOSPC
        sim.fill_disk(node, full=False)
        await asyncio.sleep(1)
        sim.restart("n1")
        await asyncio.sleep(1)
        assert node.up

    world(main)


def test_a_program_is_started_again_by_the_orchestrator_unless_somebody_has_done_something_else() -> None:
    async def fails_once(node: SimNode) -> None:
        if node.lives == 1:
            raise ConnectionError("not yet")

    async def main(sim: Sim) -> None:
        ends, crashed = sim.node("n1"), sim.node("n2")
        for node in (ends, crashed):
            sim.start(node, fails_once, restart_on=(ConnectionError,))
        await asyncio.sleep(0.5)
        sim.restart(ends)
        sim.crash(crashed)
        await asyncio.sleep(5)
        # The second life of the one is over, as it should be; and the other stays down.
        assert (ends.lives, crashed.lives) == (2, 1)

    world(main)


def test_what_was_refused_is_no_part_of_the_history() -> None:
    async def main(sim: Sim) -> None:
        with sim.history.call("a", "key", 1) as call:
            call.did_not_happen()
        with suppress(LookupError), sim.history.call("a", "key", 1) as call:
            call.did_not_happen()
            raise LookupError
        assert len(sim.history) == 0
        assert sim.history.check(Model("never", 0, lambda state, _: (False, state)))

    world(main)


def test_a_node_says_what_it_is() -> None:
    async def main(sim: Sim) -> None:
        node = sim.start("n1", echo)
        assert repr(node) == "<node n1 up, life 1>"
        assert node.is_now() == "up"
        node.role = lambda: "leader"
        assert node.is_now() == "leader"
        node.role = lambda: str(1 / 0)
        assert node.is_now() == "up (ZeroDivisionError: division by zero)"
        assert node.log.name == "sim.n1"
        assert sim.seed == 0

    world(main)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda sim: sim.start("n1", echo), "n1 runs already"),
        (lambda sim: sim.restart("n1"), "n1 runs already"),
        (lambda sim: sim.wipe("n1"), "n1 runs: crash it first"),
        (lambda sim: sim.terminate("n2"), "n2 does not run"),
    ],
)
def test_what_makes_no_sense_while_a_node_runs_is_refused(call: Callable[[Sim], object], text: str) -> None:
    async def main(sim: Sim) -> None:
        sim.start("n1", echo)
        with pytest.raises(RuntimeError, match=text):
            call(sim)
        assert sim.node("n1").up
        assert sim.node("n1").lives == 1

    world(main)


def test_loops_may_be_asked_whether_they_are_whole_after_every_event() -> None:
    async def main(sim: Sim) -> None:
        sim.start("n1", echo)
        await asyncio.sleep(0.1)
        assert await ask("n1", "well?") == "n1 well?"

    simulated = simulate(nodes=1, faults=Faults.none())(main)
    outcome = run(simulated.scenario, Tape(0), Settings(nodes=1, faults=False, check_invariants=True))
    assert (outcome.rule, outcome.problem) == ("", "")


class _Ends(Trace):
    """Ends the world at an event."""

    def __init__(self, last: int) -> None:
        super().__init__(digest=False)
        self._last = last

    def event(self, at: Instant, host: int, kind: int, payload: Any) -> None:
        super().event(at, host, kind, payload)
        if self.events > self._last:
            raise Violation("ended", "the world is over")


def test_a_program_that_had_not_begun_when_the_world_ended_is_no_complaint() -> None:
    """Whoever handles what ended the world still holds the program, so that it outlives the run."""
    for last in range(12):
        outcome = run(programs.answers.scenario, Tape(0), programs.answers.options.settings(), _Ends(last))
        assert outcome.rule == "ended"
    gc.collect()
