"""What is said of a test that failed under simulation."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from casty_proto.machine import SECOND

from ..scenario import Outcome
from .simulate import Simulation


def failed(scenario: Simulation, outcome: Outcome) -> str:
    """A seed that failed: what was broken, under what, and the command that does it again."""
    options = scenario.options
    lines = [
        f"seed {outcome.seed} of {scenario.function} broke {outcome.problem}",
        f"  after {outcome.simulated_ns / SECOND:.3f} simulated seconds, {outcome.events} events",
        f"  nodes: {options.nodes}; faults of this seed: {outcome.plan or 'none'}",
        f"  casty {_version()}, digest {outcome.digest}",
        f"  again: {again(scenario, outcome.seed)}",
    ]
    if outcome.traceback:
        lines += ["", outcome.traceback.rstrip()]
    return "\n".join(lines)


def again(scenario: Simulation, seed: int) -> str:
    """The command that runs one seed again."""
    path = Path(scenario.file)
    with suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return f"python -m pytest {path}::{scenario.function.replace('.', '::')} --sim-seed {seed} --sim-trace"


def _version() -> str:
    try:
        return version("casty")
    except PackageNotFoundError:
        return "of unknown version"
