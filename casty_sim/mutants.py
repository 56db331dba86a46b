"""Planted bugs: whether the campaigns would find what has gone wrong elsewhere.

A checker that has never found anything proves little. A mutant is a machine with one known bug, as a small subclass;
it runs in the same scenario, under the same faults and checkers as the machine itself, and what finds it is general.
The mutants are kept beside the tests (`tests.sim.mutants`); any module that has a list `MUTANTS` will do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module

from attrs import frozen

from .campaign import Summary, campaign
from .scenario import Scenario, Settings

MODULE = "tests.sim.mutants"


class MutantsError(ValueError):
    """A module cannot be imported, or has no mutants. Nothing was run."""


@frozen
class Mutant:
    """One planted bug."""

    name: str
    bug: str
    """What it does wrong, in a line."""
    source: str
    """Where the bug, or the rule that it breaks, was published."""
    scenario: Scenario
    """The scenario with the broken machine in it."""


@frozen
class Hunt:
    """What came of looking for one mutant."""

    mutant: Mutant
    rule: str
    """What found it: the rule that was broken. Empty when it got away."""
    problem: str
    seed: int
    """The first seed that fails."""
    seeds: int
    """How many seeds were run, up to that one."""
    wall_seconds: float

    @property
    def caught(self) -> bool:
        """Whether a checker found it."""
        return bool(self.rule)


def planter[M](
    mutants: list[Mutant], scenario: Callable[[type[M]], Scenario]
) -> Callable[[str, str], Callable[[type[M]], type[M]]]:
    """A decorator for broken machines: `@planted(bug, source)`. It adds a mutant, named after the class, to a list."""

    def planted(bug: str, source: str) -> Callable[[type[M]], type[M]]:
        def plant(machine: type[M]) -> type[M]:
            mutants.append(Mutant(machine.__name__, bug, source, scenario(machine)))
            return machine

        return plant

    return planted


def load(module: str = MODULE) -> list[Mutant]:
    """The mutants of a module. Raises `MutantsError`."""
    try:
        mutants = import_module(module).MUTANTS
    except (ImportError, AttributeError) as error:
        raise MutantsError(
            f"no mutants in {module}: {error}; run this where the tests are, or name another module with --module"
        ) from error
    return list(mutants)


def hunt(
    mutant: Mutant,
    settings: Settings,
    *,
    seeds: int,
    jobs: int = 1,
    progress: Callable[[Summary], None] | None = None,
) -> Hunt:
    """Run the scenario with the mutant until a seed fails, or `seeds` of them have not."""
    began = time.perf_counter()
    summary = campaign(mutant.scenario, range(seeds), settings, jobs=jobs, stop_at_first=True, progress=progress)
    took = time.perf_counter() - began
    if not summary.failures:
        return Hunt(mutant, "", "", -1, summary.seeds, took)
    first = summary.failures[0]
    return Hunt(mutant, first.rule, first.problem, first.seed, first.seed + 1, took)
