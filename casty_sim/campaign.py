"""Many runs of one scenario: seeds spread over processes, and what came of them added up."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from types import FrameType

from attrs import define, field

from casty_proto.machine import SECOND

from .scenario import Outcome, Scenario, Settings, run
from .tape import Tape
from .world import Violation

HANG_SECONDS = 60.0
"""A run takes a fraction of a second; one that takes this long will not end."""
HANGS = "no hangs"
"""The rule that such a run breaks."""

CHUNK = 8
"""Seeds that a process runs before it reports."""


@define
class Summary:
    """What a campaign has found so far."""

    scenario: str
    seeds: int = 0
    events: int = 0
    simulated_ns: int = 0
    wall_seconds: float = 0.0
    unknown: int = 0
    well_after_ns: int = -1
    """The longest that it took after the last fault until all was well again, where runs say so."""
    reached: dict[str, int] = field(factory=dict)
    """In how many runs each interesting state was reached."""
    failures: list[Outcome] = field(factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one run."""
        self.seeds += 1
        self.events += outcome.events
        self.simulated_ns += outcome.simulated_ns
        self.unknown += outcome.unknown
        self.well_after_ns = max(self.well_after_ns, outcome.well_after_ns)
        for state in outcome.reached:
            self.reached[state] = self.reached.get(state, 0) + 1
        if outcome.failed:
            self.failures.append(outcome)

    def never(self, states: Iterable[str]) -> list[str]:
        """The states that no run has reached."""
        return [state for state in states if state not in self.reached]

    @property
    def seeds_per_second(self) -> float:
        """Runs per second of wall clock, over all processes."""
        return self.seeds / self.wall_seconds if self.wall_seconds else 0.0

    @property
    def speed(self) -> float:
        """Simulated seconds per second of wall clock."""
        return self.simulated_ns / SECOND / self.wall_seconds if self.wall_seconds else 0.0


def campaign(
    scenario: Scenario,
    seeds: range,
    settings: Settings,
    *,
    jobs: int = 1,
    stop_at_first: bool = False,
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Run every seed. With several jobs, runs are spread over processes; the result does not depend on how."""
    summary = Summary(scenario.name)
    began = time.perf_counter()
    for outcomes in _outcomes(scenario, seeds, settings, jobs, stop_at_first=stop_at_first):
        for outcome in outcomes:
            summary.add(outcome)
        summary.wall_seconds = time.perf_counter() - began
        if progress is not None:
            progress(summary)
        if stop_at_first and summary.failures:
            break
    summary.failures.sort(key=lambda outcome: outcome.seed)
    return summary


def _outcomes(
    scenario: Scenario, seeds: range, settings: Settings, jobs: int, *, stop_at_first: bool
) -> Iterator[list[Outcome]]:
    """What came of the seeds, in their order, whoever was the first to finish."""
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    if jobs <= 1:
        for chunk in chunks:
            yield _run_chunk(scenario, chunk, settings, stop_at_first=stop_at_first)
        return
    # Fresh interpreters: a forked child would inherit whatever state this process has come into.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(_run_chunk, scenario, chunk, settings, stop_at_first=stop_at_first) for chunk in chunks]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run_chunk(scenario: Scenario, seeds: range, settings: Settings, *, stop_at_first: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for seed in seeds:
        with limited():
            outcomes.append(run(scenario, Tape(seed), settings))
        if stop_at_first and outcomes[-1].failed:
            break
    return outcomes


@contextmanager
def limited(seconds: float = HANG_SECONDS) -> Iterator[None]:
    """Interrupt a run that hangs: a machine that never returns is a bug to be told, not one to wait for.

    Only where a signal can do that: in the main thread of a process.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def interrupt(_: int, frame: FrameType | None) -> None:
        where = (
            "somewhere" if frame is None else f"{frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"
        )
        raise Violation(HANGS, f"the run took more than {seconds:g} s, and was then in {where}")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
