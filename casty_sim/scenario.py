"""What a scenario is: a world that can be built from a tape, run, and judged.

How to write one: subclass `Scenario`, and in `play` build a `World` from the tape, add hosts with programs, start them,
let time pass with `World.run`, and raise `Violation` where something is not as it must be. `settings.nodes`,
`settings.safety_ns` and `settings.faults` are for the scenario to obey; `draw_plan` and `Nemesis` of `faults` make the
faults. Before anything can go wrong, set `outcome.reached = world.reached`; in a `finally`, set `outcome.events` and
`outcome.simulated_ns`; at the end of a run that is well, call `World.digest_states`. All the rest of the outcome is
filled in by `run`. What people are to see of a run goes to `World.trace.note`, and, for reports, to `Trace.timeline`
where there is one: roles of hosts are taken from `Program.label`, the rest is told (see `timeline`). Then
`python -m casty_sim run MODULE:CLASS` runs it. The smallest program is in `tests/sim/toy.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from traceback import format_exception

from attrs import define, field, frozen
from attrs.validators import ge, instance_of

from casty_proto.machine import SECOND, Instant, Nanoseconds

from .tape import Tape
from .trace import Trace
from .world import Violation


@frozen
class Settings:
    """What may be varied from outside. Raises `ValueError` or `TypeError` for what makes no sense."""

    nodes: int = field(default=5, validator=[instance_of(int), ge(1)])
    safety_ns: Nanoseconds = field(default=10 * SECOND, validator=[instance_of(int), ge(0)])
    """How long the faults go on."""
    liveness_ns: Nanoseconds = field(default=15 * SECOND, validator=[instance_of(int), ge(0)])
    """How long the core then has to make progress, where the scenario has no bound of its own."""
    faults: bool = field(default=True, validator=instance_of(bool))
    check_invariants: bool = field(default=False, validator=instance_of(bool))
    """Whether every machine asserts its invariants after every event."""


@define
class Unhandled:
    """Something that went wrong in a program on a host, and that nobody has handled."""

    host: str
    kind: str
    """The same for all that are alike."""
    text: str
    """The first of these, with all that is known of it."""
    at: Instant
    """When it was told."""
    times: int = 0

    def __str__(self) -> str:
        more = f" ({self.times} times)" if self.times > 1 else ""
        return f"{self.at / SECOND:.3f} s, {self.host}: {self.text}{more}"


@define
class Outcome:
    """What came of one run."""

    seed: int
    digest: str = ""
    events: int = 0
    simulated_ns: Nanoseconds = 0
    well_after_ns: Nanoseconds = -1
    """How long after the last fault all was well again; -1 where the scenario does not say."""
    reached: dict[str, int] = field(factory=dict)
    plan: str = ""
    """The kinds of faults that were on."""
    faults: int = -1
    """How many faults there were; -1 where the scenario does not say."""
    rule: str = ""
    """What was broken; empty when all is well."""
    problem: str = ""
    """How it was broken."""
    where: str = ""
    """The line that raised an exception that nobody expected: two of them are the same problem where that is."""
    traceback: str = ""
    """Where an exception came from that nobody expected."""
    unhandled: list[Unhandled] = field(factory=list)
    """What nobody has handled, where the scenario looks for that."""
    unknown: bool = False
    """Whether a checker ran out of its budget."""

    @property
    def failed(self) -> bool:
        """Whether a checker found something."""
        return bool(self.rule)


class Abandoned(BaseException):
    """Raised by `Scenario.play` where a run says that there are to be no others, as a test does that skips itself.
    `run` raises `error`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Scenario(ABC):
    """One kind of run. `name` and `help` are shown to people; `states` must each be reached by some run."""

    name: str
    help: str
    states: tuple[str, ...] = ()
    defaults: Settings = Settings()
    """What it is run with where nothing else is asked for."""
    seeds: int = 100
    """How many of them."""
    bound_ns: Nanoseconds = 0
    """Within what time after the last fault all must be well again, where the scenario has a bound of its own."""

    @abstractmethod
    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        """Build the world, run it, and check it. Fills in the outcome as it goes. Raises `Violation`, or
        `Abandoned`."""


def run(scenario: Scenario, tape: Tape, settings: Settings | None = None, trace: Trace | None = None) -> Outcome:
    """One run. An exception of a machine is a failure like any other: `handle` raises only for bugs.

    A tape is played once: raises `TapeError` for one that was played before, and nothing is run.
    """
    tape.begin()
    trace = trace or Trace()
    outcome = Outcome(tape.seed)
    try:
        scenario.play(tape, settings or Settings(), trace, outcome)
    except Abandoned as abandoned:
        raise abandoned.error from None
    except Violation as violation:
        outcome.rule, outcome.problem, outcome.traceback = violation.rule, str(violation), violation.traceback
    except AssertionError as error:
        _unexpected(outcome, "invariants", error, str(error) or "an assertion does not hold")
    except Exception as error:
        _unexpected(outcome, "no exceptions", error, repr(error))
    if outcome.failed:
        trace.broken(outcome.simulated_ns, outcome.rule, outcome.problem)
    if trace.timeline is not None:
        trace.timeline.close(outcome.simulated_ns)
    outcome.digest = trace.digest
    return outcome


def _unexpected(outcome: Outcome, rule: str, error: BaseException, text: str) -> None:
    outcome.rule, outcome.where = rule, _where(error)
    outcome.problem = f"{rule}: {outcome.where}: {text}"
    outcome.traceback = "".join(format_exception(error))


def _where(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return "somewhere"
    code = frame.tb_frame.f_code
    return f"{code.co_filename.rpartition('/')[2]}:{frame.tb_lineno} in {code.co_name}"


type Make = Callable[[], Scenario]
