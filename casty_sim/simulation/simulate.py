"""`simulate`: a test of an application, run once for each seed."""

from __future__ import annotations

import builtins
import copyreg
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from traceback import clear_frames, extract_tb, format_exception
from typing import Any

from attrs import evolve, field, frozen
from attrs.validators import ge, gt, in_, instance_of

from casty_proto.machine import nanoseconds

from ..campaign import NotSentError, Summary, campaign
from ..loop import running
from ..scenario import Abandoned, Outcome, Scenario, Settings, run
from ..tape import Tape
from ..trace import Trace
from ..world import Violation
from .faults import Faults
from .logs import captured
from .sim import Sim
from .unhandled import POLICIES, Policy

type Test = Callable[[Sim], Awaitable[object]]


class SimulationFailedError(AssertionError):
    """A seed has failed. The text says which, what was broken, and how to look at it again."""

    def __init__(self, text: str, summary: Summary) -> None:
        super().__init__(text)
        self.summary = summary


@frozen
class Options:
    """How often, with how many nodes, and under what a test runs."""

    seeds: int = field(validator=[instance_of(int), ge(1)])
    nodes: int = field(validator=[instance_of(int), ge(1)])
    faults: Faults = field(validator=instance_of(Faults))
    duration: float = field(validator=gt(0.0))
    limit: float = field(validator=gt(0.0))
    reach: tuple[str, ...] = ()
    unhandled: Policy = field(default="assertions", validator=in_(POLICIES))

    def settings(self) -> Settings:
        """The same for a scenario."""
        return Settings(nodes=self.nodes, safety_ns=nanoseconds(self.duration), faults=bool(self.faults.kinds))


class Simulation(Scenario):
    """A test as a scenario, which `python -m casty_sim` can run like those of machines."""

    def __init__(self, test: Test, options: Options) -> None:
        self._test = test
        self.take(options)
        self.module = test.__module__
        self.file = inspect.getsourcefile(test) or ""
        self.line = inspect.unwrap(test).__code__.co_firstlineno - 1
        self.function = test.__qualname__
        self.name = f"{test.__module__}:{test.__qualname__}"
        self.help = (inspect.getdoc(test) or "").partition("\n")[0]
        self.states = options.reach

    def take(self, options: Options) -> None:
        """Run with these from now on."""
        self.options = options
        self.defaults = options.settings()
        self.seeds = options.seeds

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        """One run."""
        sim = Sim(tape, settings, trace, self.options.faults, self.options.unhandled)
        world = sim.world
        outcome.reached = world.reached
        outcome.plan = sim.plan.words()
        try:
            with captured(world), running.simulation(world):
                try:
                    sim.run(self._test, self.options.limit)
                    world.digest_states()
                except Violation as violation:
                    # What was at work then is in its frames, and is to be dropped with the rest.
                    clear_frames(violation.__traceback__)
                    raise
                finally:
                    sim.dispose()
        except Violation:
            raise
        except BaseException as error:
            # What pytest fails a test with is no `Exception`, and nor is what cancels it.
            if _is_for_the_runner(error):
                if type(error).__module__ == "builtins" and not hasattr(builtins, type(error).__name__):
                    # It only says that it is from there, and the process of the runner, if that is another one, would
                    # not find it.
                    copyreg.pickle(type(error), _reduced)
                raise Abandoned(error) from None
            raise Broken(*self._broken(error), error, self.file) from error
        finally:
            outcome.unhandled = list(sim.unhandled)
            outcome.faults = sim.plan.faults
            outcome.events = world.events
            outcome.simulated_ns = world.now

    def _broken(self, error: BaseException) -> tuple[str, str]:
        """The rule that was broken is the line of the test, or of whatever else raised, where it is known."""
        frames = extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == self.file] or frames[-1:]
        where = f"{Path(own[-1].filename).name}:{own[-1].name}" if own else "somewhere"
        line = f"line {own[-1].lineno}: " if own else ""
        text = str(error) or "an assertion does not hold" if isinstance(error, AssertionError) else repr(error)
        return f"{type(error).__name__} in {where}", f"{line}{text}"

    def __reduce__(self) -> tuple[Any, ...]:
        where = f"{self.function} of {self.module}"
        if "<locals>" in self.function:
            raise NotSentError(
                f"{self.function} was made in a function, where another process cannot find it: use one job"
            )
        main = sys.modules["__main__"]
        if self.module == "__main__" and not hasattr(main, "__file__") and getattr(main, "__spec__", None) is None:
            raise NotSentError(f"{where} is in no file, where another process could find it: use one job")
        if self.module in sys.modules and not self._is_found_in(sys.modules[self.module]):
            raise NotSentError(f"{where} is not there by that name for another process: use one job")
        return _found, (self.module, self.file, self.function, self.options)

    def _is_found_in(self, module: Any) -> bool:
        try:
            found = _scenario_in(module, self.function, self.options)
        except AttributeError:
            return False
        # Not the same object where the module was imported anew.
        return (found.file, found.line) == (self.file, self.line)


def _is_for_the_runner(error: BaseException) -> bool:
    """Whether it ends, or skips, all seeds: it does not say that one has failed."""
    outcomes, unittest = sys.modules.get("_pytest.outcomes"), sys.modules.get("unittest.case")
    kinds = () if outcomes is None else (outcomes.Skipped, outcomes.XFailed, outcomes.Exit)
    kinds = kinds if unittest is None else (*kinds, unittest.SkipTest)
    return isinstance(error, (KeyboardInterrupt, *kinds))


def _reduced(error: Any) -> tuple[Any, ...]:
    return _outcome_again, (type(error).__name__, error.msg)


def _outcome_again(name: str, text: str) -> BaseException:
    """An outcome of pytest from another process, whose lines this one does not have."""
    outcomes = importlib.import_module("_pytest.outcomes")
    more = {"_use_item_location": True} if name == "Skipped" else {}
    made: BaseException = getattr(outcomes, name)(text, **more)
    return made


class Broken(Violation):
    """A test, or an application, has raised an exception, which is the cause of this one."""

    def __init__(self, rule: str, text: str, error: BaseException, file: str) -> None:
        super().__init__(rule, text)
        self.error = error
        self.traceback = _traceback(error, file)


def _traceback(error: BaseException, file: str) -> str:
    """Where it came from, from the first line of the test on: what is above is the simulator."""
    first = found = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename != file:
        found = found.tb_next
    return "".join(format_exception(type(error), error, found or first))


def _found(module: str, file: str, function: str, options: Options) -> Simulation:
    """The scenario of another process, found again."""
    if module not in sys.modules:
        try:
            importlib.import_module(module)
        except ImportError:
            spec = importlib.util.spec_from_file_location(module, file)
            if spec is None or spec.loader is None:
                raise
            sys.modules[module] = made = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(made)
    found = _scenario_in(sys.modules[module], function, options)
    found.take(options)
    return found


def _scenario_in(module: Any, function: str, options: Options) -> Simulation:
    """What has that name may be the test, or the function of which it was made. Raises `AttributeError` for neither."""
    found = module
    for name in function.split("."):
        found = getattr(found, name)
    if inspect.iscoroutinefunction(found):
        return Simulation(found, options)
    scenario: Simulation = found.scenario
    return scenario


class Simulated:
    """A test that runs under simulation: call it, or let pytest find it.

    `run` is one seed, for scripts and for Hypothesis; `campaign` many.
    """

    def __init__(self, test: Test, options: Options) -> None:
        functools.update_wrapper(self, test)
        self.scenario = Simulation(test, options)

    @property
    def options(self) -> Options:
        """How often, with how many nodes, and under what it runs."""
        return self.scenario.options

    def new_summary(self) -> Summary:
        """One to add outcomes to."""
        return Summary(self.scenario.name)

    def run(self, seed: int, *, trace: Trace | None = None, nodes: int | None = None) -> Outcome:
        """One run of this seed, with `nodes` in place of those that the test asks for. Never raises for what the test
        finds: the outcome says it. Raises `ValueError` for a seed below 0, which no command could run again."""
        if seed < 0:
            raise ValueError(f"a seed is a whole number of 0 or more, and not {seed!r}")
        settings = self.options.settings()
        settings = settings if nodes is None else evolve(settings, nodes=nodes)
        return run(self.scenario, Tape(seed), settings, trace)

    def campaign(
        self,
        seeds: range | None = None,
        *,
        jobs: int = 1,
        stop_at_first: bool = True,
        progress: Callable[[Summary], None] | None = None,
    ) -> Summary:
        """Run many seeds, by default those that the test asks for. Never raises for what the test finds.

        With several jobs the processes import the script that calls it, as those of `multiprocessing` do: it must call
        it below `if __name__ == "__main__":`. With several jobs it raises `NotSentError`, which is a `TypeError`, for a
        test that other processes cannot find, as one made in a function, and `WorkerError` where one of them ends
        before its time."""
        chosen = range(self.options.seeds) if seeds is None else seeds
        return campaign(
            self.scenario, chosen, self.options.settings(), jobs=jobs, stop_at_first=stop_at_first, progress=progress
        )

    def __call__(self) -> Summary:
        """Run all seeds. Raises `SimulationFailedError` at the first that fails."""
        summary = self.campaign()
        if summary.failures:
            from .words import failed

            raise SimulationFailedError(failed(self.scenario, summary.failures[0]), summary)
        return summary


def simulate(
    *,
    seeds: int = 100,
    nodes: int = 3,
    faults: Faults | None = None,
    duration: float = 10.0,
    limit: float = 600.0,
    reach: Iterable[str] = (),
    unhandled: Policy = "assertions",
) -> Callable[[Test], Simulated]:
    """Make a test of a coroutine function that is given a `Sim`. It runs once for each seed.

    `nodes` is how many nodes there are, `faults` what may go wrong (by default `Faults.swarm()`), `duration` for how
    many simulated seconds, which the test finds in `Sim.duration`, and `limit` after how many simulated seconds a run
    that has not ended is taken for one that never will. `reach` names states, each of which some seed should come to
    (`Sim.reach`).

    `unhandled` says what becomes of exceptions that nobody hears of, as those of tasks that nobody awaits: by default
    an assertion that does not hold, and what is not simulated, fail the test wherever they are raised, and all else is
    told with the outcome. With "fail" all of them fail it, with "log" none. Raises `ValueError` or `TypeError` for what
    makes no sense.

        @simulate(seeds=200, nodes=5, faults=Faults.swarm())
        async def test_no_money_is_lost(sim: Sim) -> None: ...
    """
    if isinstance(reach, str):
        raise TypeError(f"reach is to be a tuple of names, not {reach!r}")
    options = Options(
        seeds,
        nodes,
        Faults.swarm() if faults is None else faults,
        float(duration),
        float(limit),
        tuple(reach),
        unhandled,
    )

    def decorate(test: Test) -> Simulated:
        if not inspect.iscoroutinefunction(test):
            raise TypeError(f"{test!r} is no coroutine function: write `async def`")
        try:
            inspect.signature(test).bind(None)
        except TypeError as error:
            raise TypeError(
                f"{test.__qualname__} is given the Sim and nothing else, no `self` and no fixtures ({error}): write "
                "`async def test_...(sim: Sim)`, in a class as a @staticmethod, and make what it needs in it"
            ) from None
        return Simulated(test, options)

    return decorate
