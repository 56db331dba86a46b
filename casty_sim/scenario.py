"""What a scenario is: a world that can be built from a tape, run, and judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from attrs import define, field, frozen

from casty_proto.machine import SECOND, Nanoseconds

from .tape import Tape
from .trace import Trace
from .world import Violation


@frozen
class Settings:
    """What may be varied from outside."""

    nodes: int = 5
    safety_ns: Nanoseconds = 10 * SECOND
    """How long the faults go on."""
    liveness_ns: Nanoseconds = 15 * SECOND
    """How long the core then has to make progress."""
    faults: bool = True
    check_invariants: bool = False
    """Whether every machine asserts its invariants after every event."""


@define
class Outcome:
    """What came of one run."""

    seed: int
    digest: str = ""
    events: int = 0
    simulated_ns: Nanoseconds = 0
    reached: dict[str, int] = field(factory=dict)
    plan: str = ""
    """The faults that were on."""
    rule: str = ""
    """What was broken; empty when all is well."""
    problem: str = ""
    """How it was broken."""
    unknown: bool = False
    """Whether a checker ran out of its budget."""

    @property
    def failed(self) -> bool:
        """Whether a checker found something."""
        return bool(self.rule)


class Scenario(ABC):
    """One kind of run. `name` and `help` are shown to people; `states` must each be reached by some run."""

    name: str
    help: str
    states: tuple[str, ...] = ()

    @abstractmethod
    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        """Build the world, run it, and check it. Fills in the outcome as it goes. Raises `Violation`."""


def run(scenario: Scenario, tape: Tape, settings: Settings | None = None, trace: Trace | None = None) -> Outcome:
    """One run. An exception of a machine is a failure like any other: `handle` raises only for bugs."""
    trace = trace or Trace()
    outcome = Outcome(tape.seed)
    try:
        scenario.play(tape, settings or Settings(), trace, outcome)
    except Violation as violation:
        outcome.rule, outcome.problem = violation.rule, str(violation)
    except AssertionError as error:
        outcome.rule, outcome.problem = "invariants", f"{_where(error)}: {error}"
    except Exception as error:
        outcome.rule, outcome.problem = "no exceptions", f"{_where(error)}: {error!r}"
    outcome.digest = trace.digest
    return outcome


def _where(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return "somewhere"
    code = frame.tb_frame.f_code
    return f"{code.co_filename.rpartition('/')[2]}:{frame.tb_lineno} in {code.co_name}"


type Make = Callable[[], Scenario]
