"""What is said of a test that failed under simulation."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

from casty_proto.machine import SECOND

from ..campaign import Summary
from ..report import unhandled, versions
from ..scenario import Outcome
from .simulate import Simulation


def failed(
    scenario: Simulation, outcome: Outcome, target: str = "", what: str = "", *, nodes: int | None = None
) -> str:
    """A run that failed: what was broken, under what, and the command that does it again. For `target` see `again`;
    `what` are the options that say which run it was, by default the one of its seed, and `nodes` how many there were
    where they were not as many as the test asks for."""
    nodes = scenario.options.nodes if nodes is None else nodes
    lines = [
        f"seed {outcome.seed} of {scenario.function} broke {outcome.problem}",
        f"  after {outcome.simulated_ns / SECOND:.3f} simulated seconds, {outcome.events} events",
        f"  nodes: {nodes}; faults of this seed: {outcome.plan or 'none'}",
        f"  {versions()}, digest {outcome.digest}",
        f"  again: {again(scenario, what or f'--sim-seed {outcome.seed}', target)} --sim-trace",
    ]
    if outcome.traceback:
        lines += ["", outcome.traceback.rstrip()]
    if outcome.unhandled:
        lines += ["", "In this run nobody has handled:", *[f"  {each}" for each in outcome.unhandled]]
    return "\n".join(lines)


def again(scenario: Simulation, what: str, target: str = "") -> str:
    """The command that runs a seed or a tape again. `target` is what pytest calls the test, where it runs there: one
    that a function has made has another name in its module than it was written with."""
    if target:
        return f"python -m pytest {shlex.quote(target)} {what}"
    path = Path(scenario.file)
    with suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return f"python -m pytest {path}::{scenario.function.replace('.', '::')} {what}"


def summarised(scenario: Simulation, summary: Summary) -> str:
    """What came of the seeds of a test."""
    lines = [
        f"{scenario.function}: {summary.seeds} seeds, {len(summary.failures)} failed, {summary.seeds_per_second:.1f} "
        f"seeds/s, {summary.events // max(1, summary.seeds)} events a seed",
    ]
    states = [*scenario.states, *[state for state in summary.reached if state not in scenario.states]]
    lines += [f"  {summary.reached.get(state, 0):>6}  {state}" for state in states]
    if summary.never(scenario.states):
        lines.append("some states were never reached: try more seeds, or ask why")
    lines += unhandled(summary)
    return "\n".join(lines)
