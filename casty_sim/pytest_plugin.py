"""Simulated tests in pytest, and their options: `--sim-seeds`, `--sim-seed`, `--sim-tape` and others (`pytest --help`).

A test that was made with `casty_sim.simulation.simulate` is one item. It runs its seeds, and stops at the first that
fails. That one is made smaller, and the outcome names the seed, what was broken, the faults, the command that runs it
again, a report to look at in a browser, and the tape of the smallest run that was found.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .campaign import Summary
    from .scenario import Outcome
    from .simulation import Simulated
    from .tape import Tape
    from .trace import Trace

SHRINK_SECONDS = 20.0
FOLDER = ".casty-sim"

_summaries = pytest.StashKey[list[tuple[str, "Summary", list[str]]]]()
"""Each test by its name, what came of it, and remarks."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of simulated tests."""
    group = parser.getgroup("casty_sim", "simulated tests")
    group.addoption("--sim-seeds", type=_count, metavar="N", help="run so many seeds of each simulated test")
    group.addoption("--sim-seed", type=_seed, metavar="SEED", help="run this seed only")
    group.addoption("--sim-tape", metavar="FILE", help="run this tape only, in the test that it is of")
    group.addoption("--sim-jobs", type=_count, default=1, metavar="N", help="spread seeds over processes (default: 1)")
    group.addoption("--sim-trace", action="store_true", help="print everything that happens; for --sim-seed")
    group.addoption(
        "--sim-report",
        default=FOLDER,
        metavar="FOLDER",
        help=f"where reports and tapes of failures are written (default: {FOLDER})",
    )
    group.addoption(
        "--sim-shrink",
        type=float,
        default=SHRINK_SECONDS,
        metavar="SECONDS",
        help=f"how long to look for a smaller run that fails alike (default: {SHRINK_SECONDS:g}; 0: not at all)",
    )


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of {least} or more, not {text!r}")
    return int(text)


def _count(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count. Raises `UsageError` for options that make no sense together, and for what is no tape."""
    config.stash[_summaries] = []
    which = [name for name in ("seeds", "seed", "tape") if config.getoption(f"sim_{name}") is not None]
    if len(which) > 1:
        raise pytest.UsageError(f"--sim-{which[0]} and --sim-{which[1]} both say what to run: give one of them")
    if config.getoption("sim_trace") and which not in (["seed"], ["tape"]):
        raise pytest.UsageError("--sim-trace prints one run: say which, with --sim-seed or --sim-tape")
    if which == ["tape"]:
        _load(config)


def _load(config: pytest.Config) -> tuple[Tape, dict[str, Any]]:
    """The tape that is to be run, and what is known of it. It is read anew for each test, since a run uses it up."""
    from .tape import Tape, TapeError

    path = Path(config.getoption("sim_tape"))
    try:
        tape, about = Tape.load(path)
    except TapeError as error:
        raise pytest.UsageError(f"--sim-tape: {error}") from error
    if "scenario" not in about or "settings" not in about:
        raise pytest.UsageError(f"--sim-tape: {path} does not say which test it is of")
    return tape, about


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> Generator[None, Any, Any]:
    """A simulated test is an item of its own kind."""
    made = yield
    if isinstance(obj, staticmethod):
        # In a class: there is no object that it could be a method of.
        obj = obj.__func__
    if _is_simulated(obj) and collector.funcnamefilter(name):
        return SimulatedItem.from_parent(collector, name=name, simulated=obj)
    return made


def _is_simulated(obj: object) -> bool:
    kind = type(obj)
    return kind.__name__ == "Simulated" and kind.__module__ == "casty_sim.simulation.simulate"


class SimulatedItem(pytest.Item):
    """All seeds of one simulated test."""

    def __init__(self, *, simulated: Simulated, **more: Any) -> None:
        super().__init__(**more)
        self.simulated = simulated
        for mark in getattr(simulated, "pytestmark", ()):
            if mark.name == "usefixtures":
                raise pytest.Collector.CollectError(
                    f"{self.name} is simulated, and pytest.mark.{mark.name} has no effect on that: a simulated test "
                    "has one argument, its Sim"
                )
            self.add_marker(getattr(pytest.mark, mark.name).with_args(*mark.args, **mark.kwargs))

    @property
    def target(self) -> str:
        """What pytest is given to run this test alone, from the directory in which it runs now."""
        path, (_, separator, name) = self.path, self.nodeid.partition("::")
        with suppress(ValueError):
            path = path.relative_to(Path.cwd())
        return f"{path}{separator}{name}"

    def runtest(self) -> None:
        """Run the seeds. Raises `SimulationFailedError`."""
        seed, tape = self.config.getoption("sim_seed"), self.config.getoption("sim_tape")
        if tape is not None:
            self._run_tape()
        elif seed is not None:
            self._run_one(lambda trace: self.simulated.run(seed, trace=trace))
        else:
            self._run_many()

    def _run_tape(self) -> None:
        from .scenario import Settings, run
        from .tape import same_scenario

        tape, about = _load(self.config)
        scenario = self.simulated.scenario
        if not same_scenario(about["scenario"], scenario.name):
            pytest.skip(f"the tape is one of {about['scenario']}")
        path = Path(self.config.getoption("sim_tape"))
        settings = Settings(**about["settings"])
        self._run_one(lambda trace: run(scenario, tape, settings, trace), tape=path, nodes=settings.nodes)

    def _run_one(self, play: Callable[[Trace], Outcome], *, tape: Path | None = None, nodes: int | None = None) -> None:
        from .simulation.simulate import SimulationFailedError
        from .simulation.words import failed
        from .trace import Trace

        trace = Trace(keep=bool(self.config.getoption("sim_trace")))
        outcome = play(trace)
        summary = self.simulated.new_summary()
        summary.add(outcome)
        self._report(summary)
        if trace.lines is not None:
            # Also where a test is well, and whatever is captured: somebody has asked for it.
            self.config.get_terminal_writer().line(f"\n{trace.text()}")
        if outcome.failed:
            what = f"--sim-seed {outcome.seed}" if tape is None else f"--sim-tape {tape}"
            text = failed(self.simulated.scenario, outcome, self.target, what, nodes=nodes)
            raise SimulationFailedError(self._closer(text, outcome.seed) if tape is None else text, summary)

    def _run_many(self) -> None:
        from .campaign import NotSentError
        from .simulation.simulate import SimulationFailedError
        from .simulation.words import failed

        seeds = self.config.getoption("sim_seeds") or self.simulated.options.seeds
        remarks = []
        try:
            summary = self.simulated.campaign(range(seeds), jobs=self.config.getoption("sim_jobs"))
        except NotSentError as error:
            # The option is one for all tests, and most of them it can be of use to.
            summary = self.simulated.campaign(range(seeds))
            remarks.append(f"run in one process: {str(error).removesuffix(': use one job')}")
        self._report(summary, remarks)
        if summary.failures:
            first = summary.failures[0]
            raise SimulationFailedError(
                self._closer(failed(self.simulated.scenario, first, self.target), first.seed), summary
            )

    def _report(self, summary: Summary, remarks: Iterable[str] = ()) -> None:
        from .report import unhandled
        from .simulation.words import summarised

        never = summary.never(self.simulated.options.reach) if summary.seeds > 1 and not summary.failures else []
        lines = [*remarks, *[f"never reached: {state}" for state in never], *unhandled(summary)]
        self.config.stash[_summaries].append((self.nodeid, summary, lines))
        self.add_report_section("call", "simulation", summarised(self.simulated.scenario, summary))

    def _closer(self, text: str, seed: int) -> str:
        """A failure, and what was found by looking closer: a smaller run, and the page to look at."""
        from .simulation.closer import look_closer

        folder = Path(self.config.getoption("sim_report"))
        lines = look_closer(self.simulated, seed, folder, float(self.config.getoption("sim_shrink")), self.target)
        head, separator, rest = text.partition("\n\n")
        return "\n".join([head, *lines]) + separator + rest

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The text of the failure says all; where it came from within the simulator says nothing."""
        from .campaign import WorkerError
        from .simulation.simulate import SimulationFailedError

        if isinstance(excinfo.value, SimulationFailedError):
            return str(excinfo.value)
        if isinstance(excinfo.value, WorkerError):
            return f"--sim-jobs: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where it stands."""
        scenario = self.simulated.scenario
        return scenario.file or self.path, scenario.line, self.name


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for all of them."""
    config = terminalreporter.config
    found, tape = config.stash.get(_summaries, []), config.getoption("sim_tape")
    if not found:
        if tape is not None and any(terminalreporter.stats.values()):
            terminalreporter.section("simulation")
            terminalreporter.write_line(f"nothing was run: {tape} is a tape of {_load(config)[1]['scenario']}")
        return
    terminalreporter.section("simulation")
    for line in _lines(found):
        terminalreporter.write_line(line)


def _lines(found: Iterable[tuple[str, Summary, list[str]]]) -> list[str]:
    lines = []
    for name, summary, remarks in found:
        verdict = f"seed {summary.failures[0].seed} FAILED" if summary.failures else "all is well"
        lines.append(f"{name}: {summary.seeds} seeds, {summary.seeds_per_second:.1f}/s, {verdict}")
        lines += [f"  {remark}" for remark in remarks]
    return lines
