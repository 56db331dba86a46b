"""Many runs of one scenario: seeds spread over processes, and what came of them added up."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
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

STARTED_AGAIN = 83
"""The exit status of a process that was to run seeds, and came to start a campaign of its own before."""


class NotSentError(TypeError):
    """A scenario that other processes cannot find. No seed was run."""


class WorkerError(RuntimeError):
    """A process that ran seeds is gone. Nothing is known about those that had not been counted."""


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
    unhandled: dict[str, tuple[int, int]] = field(factory=dict)
    """What nobody has handled, by its kind: in how many runs it came, and the seed of the first."""
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
        for kind in dict.fromkeys([each.kind for each in outcome.unhandled]):
            runs, first = self.unhandled.get(kind, (0, outcome.seed))
            self.unhandled[kind] = (runs + 1, first)
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
    """Run every seed. With several jobs, runs are spread over processes; the result does not depend on how.

    With several jobs it raises `NotSentError` for a scenario that other processes cannot find, and `WorkerError` where
    one of them ends before its time."""
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
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A new process imports the script, and this is the script. The one that has started it says what is wrong.
        sys.exit(STARTED_AGAIN)
    packed = _packed(scenario)
    # Fresh interpreters: a forked child would inherit whatever state this process has come into.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(_run_away, packed, chunk, settings, stop_at_first=stop_at_first) for chunk in chunks]
        workers = multiprocessing.active_children()
        try:
            for future in futures:
                yield future.result()
        except BrokenProcessPool:
            # It is told before they have come to their ends, with which they say how.
            pool.shutdown(wait=True)
            raise WorkerError(_why_gone(workers)) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _packed(scenario: Scenario) -> bytes:
    try:
        return pickle.dumps(scenario)
    except NotSentError:
        raise
    except Exception as error:
        raise NotSentError(f"{scenario.name} cannot be sent to another process: use one job ({error})") from error


def _why_gone(workers: list[BaseProcess]) -> str:
    # The others are ended by the pool as soon as one is gone.
    codes = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0, -signal.SIGTERM)]
    if STARTED_AGAIN in codes:
        return (
            "each process that runs seeds imports the script first, and that has begun a campaign again: call it below "
            '`if __name__ == "__main__":`, or use one job'
        )
    code = codes[0] if codes else None
    how = "" if code is None else f" with status {code}" if code > 0 else f" by {signal.Signals(-code).name}"
    return (
        f"a process that ran seeds has ended{how}, and nothing is known about its seeds: with one job they run in this "
        "process, where it can be seen what ends it"
    )


def _run_away(packed: bytes, seeds: range, settings: Settings, *, stop_at_first: bool) -> list[Outcome]:
    """In another process, which has to find the scenario first."""
    try:
        scenario: Scenario = pickle.loads(packed)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        raise NotSentError(f"another process cannot find what it is to run: use one job ({text})") from error
    return _run_chunk(scenario, seeds, settings, stop_at_first=stop_at_first)


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
