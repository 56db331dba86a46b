"""Making a failure small: fewer hosts, less time, fewer faults, plainer choices, and the same rule broken.

A run is its tape, and 0.0 is the plainest choice, so shrinking is trying smaller tapes: whole streams emptied, ends cut
off, blocks set to zero; and smaller settings. A candidate counts when the same rule is broken. What is found is a tape
again, which replays like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from attrs import define, evolve

from casty_proto.machine import SECOND

from .campaign import limited
from .scenario import Outcome, Scenario, Settings, run
from .tape import Tape
from .trace import Trace

type Numbers = dict[str, list[float]]


@define
class Shrunk:
    """The smallest failure that was found."""

    seed: int
    numbers: Numbers
    settings: Settings
    outcome: Outcome
    tries: int = 0

    def tape(self) -> Tape:
        """A tape that replays it."""
        return Tape(self.seed, played=self.numbers, edited=True, record=True)

    @property
    def choices(self) -> int:
        """How many choices are not the plainest."""
        return sum(value != 0.0 for values in self.numbers.values() for value in values)


class NotReproducible(RuntimeError):
    """The run that was to be shrunk does not fail."""


def shrink(
    scenario: Scenario,
    tape: Tape,
    settings: Settings,
    *,
    seconds: float = 60.0,
    progress: Callable[[Shrunk], None] | None = None,
) -> Shrunk:
    """Shrink the failure of `tape`, which must not have been played, for about so many seconds.

    An interrupt from the keyboard ends the search, and the best that was found counts. Raises `NotReproducible`.
    """
    outcome = run(scenario, tape, settings, Trace(digest=False))
    if not outcome.failed:
        raise NotReproducible(f"seed {tape.seed} does not fail scenario {scenario.name} with these settings")
    best = Shrunk(tape.seed, tape.recorded(), settings, outcome)
    search = _Search(scenario, best, time.monotonic() + seconds, progress)
    with suppress(KeyboardInterrupt):
        search.run()
    return search.best


class _Search:
    def __init__(
        self, scenario: Scenario, best: Shrunk, until: float, progress: Callable[[Shrunk], None] | None
    ) -> None:
        self.scenario = scenario
        self.best = best
        self._until = until
        self._progress = progress

    def run(self) -> None:
        """Go over everything again and again, until a whole round finds nothing, or the time is up."""
        improved = True
        while improved and not self._late():
            improved = any([self._settings(), self._streams(), self._ends(), self._blocks()])

    def _late(self) -> bool:
        return time.monotonic() >= self._until

    def _try(self, numbers: Numbers, settings: Settings) -> bool:
        if self._late():
            return False
        self.best.tries += 1
        tape = Tape(self.best.seed, played=numbers, edited=True, record=True)
        with limited():
            outcome = run(self.scenario, tape, settings, Trace(digest=False))
        if outcome.rule != self.best.outcome.rule:
            return False
        # What was not drawn is gone, and what was drawn beyond the end is zero.
        kept = {label: values for label, values in tape.recorded().items() if any(values)}
        self.best = Shrunk(self.best.seed, kept, settings, outcome, self.best.tries)
        if self._progress is not None:
            self._progress(self.best)
        return True

    def _settings(self) -> bool:
        return any([self._fewer_nodes(), self._less_time()])

    def _fewer_nodes(self) -> bool:
        found = False
        while self.best.settings.nodes > 2:
            fewer = evolve(self.best.settings, nodes=self.best.settings.nodes - 1)
            if not self._try(self.best.numbers, fewer):
                return found
            found = True
        return found

    def _less_time(self) -> bool:
        found = False
        while self.best.settings.safety_ns > SECOND:
            less = evolve(self.best.settings, safety_ns=self.best.settings.safety_ns * 3 // 4)
            if not self._try(self.best.numbers, less):
                return found
            found = True
        return found

    def _streams(self) -> bool:
        """Whole streams."""
        found = False
        for label in sorted(self.best.numbers, key=lambda each: -len(self.best.numbers[each])):
            numbers = {each: values for each, values in self.best.numbers.items() if each != label}
            found |= self._try(numbers, self.best.settings)
        return found

    def _ends(self) -> bool:
        """Longer and longer ends of streams."""
        found = False
        for label in list(self.best.numbers):
            keep = 0
            while label in self.best.numbers and keep < len(self.best.numbers[label]):
                values = self.best.numbers[label]
                if self._try({**self.best.numbers, label: values[:keep]}, self.best.settings):
                    found = True
                    break
                keep = max(1, keep * 2)
        return found

    def _blocks(self) -> bool:
        """Blocks within streams, from large to small."""
        found = False
        for label in sorted(self.best.numbers, key=lambda each: len(self.best.numbers[each])):
            for first, last in _spans(len(self.best.numbers[label])):
                values = self.best.numbers.get(label, [])
                if any(values[first:last]):
                    zeroed = [*values[:first], *[0.0] * len(values[first:last]), *values[last:]]
                    found |= self._try({**self.best.numbers, label: zeroed}, self.best.settings)
                if self._late():
                    return found
        return found


def _spans(length: int) -> Iterator[tuple[int, int]]:
    size = length
    while size >= 1:
        for first in range(0, length, size):
            yield first, min(length, first + size)
        size //= 2
