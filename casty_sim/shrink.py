"""Making a failure small: fewer hosts, less time, fewer faults, plainer choices, and the same rule broken.

A run is its tape, and 0.0 is the plainest choice, so shrinking is trying smaller tapes: whole streams emptied, ends cut
off, blocks set to zero; and smaller settings. A candidate counts when the same rule is broken. What is found is a tape
again, which replays like any other.

What is tried first is what says most to a reader. Time after the failure goes first, since that costs one try. A world
with fewer hosts is another world, in which the same tape means something else: so the same rule is looked for under a
few other seeds as well. Then all streams of one kind go, such as those of the network. Then faults are left out, each
of which has a stream of its own (`fault/3`): halves of them first, then single ones. Then one choice after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from attrs import define, evolve

from casty_proto.machine import SECOND, Instant

from .campaign import limited
from .scenario import Outcome, Scenario, Settings, run
from .tape import Tape
from .trace import Trace
from .world import Violation

LEAST_NODES = 2
FEW_NODES = 3
"""What is looked for under other seeds, where the tape of the failure does not do with so few."""
ELSEWHERE = 0.35
"""The part of the time that this may take."""
ELSEWHERE_SEEDS = 2000
ENOUGH = 3
"""So many failures with few hosts are compared."""

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

    @property
    def size(self) -> tuple[float, ...]:
        """What is to become small, the most important first."""
        total = sum(map(sum, self.numbers.values()))
        return (self.settings.nodes, self.outcome.faults, self.choices, self.settings.safety_ns, total)


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


class _Until(Trace):
    """Keeps nothing, and ends a run that takes too long."""

    def __init__(self, last: Instant) -> None:
        super().__init__(digest=False)
        self._last = last

    def event(self, at: Instant, host: int, kind: int, payload: Any) -> None:
        if at > self._last:
            raise Violation("in time", "it has not failed in time")


class _Search:
    def __init__(
        self, scenario: Scenario, best: Shrunk, until: float, progress: Callable[[Shrunk], None] | None
    ) -> None:
        self.scenario = scenario
        self.best = best
        self._first_settings = best.settings
        self._until = until
        self._progress = progress

    def run(self) -> None:
        """Go over everything again and again, until a whole round finds nothing, or the time is up."""
        self._settings()
        self._elsewhere()
        improved = True
        while improved and not self._late():
            improved = any(
                [
                    self._settings(),
                    self._kinds(),
                    self._faults(),
                    self._plan(),
                    self._streams(),
                    self._ends(),
                    self._blocks(),
                ]
            )
            self._rounded()

    def _late(self) -> bool:
        return time.monotonic() >= self._until

    def _try(self, numbers: Numbers, settings: Settings) -> bool:
        return self._try_tape(Tape(self.best.seed, played=numbers, edited=True, record=True), settings)

    def _try_tape(self, tape: Tape, settings: Settings, *, smaller: bool = True) -> bool:
        if self._late():
            return False
        self.best.tries += 1
        with limited():
            outcome = run(self.scenario, tape, settings, _Until(self._last_instant()))
        if outcome.rule != self.best.outcome.rule:
            return False
        # What was not drawn is gone, and what was drawn beyond the end is zero.
        kept = {label: values for label, values in tape.recorded().items() if any(values)}
        found = Shrunk(tape.seed, kept, settings, outcome, self.best.tries)
        # One choice less may lead to others, and back again.
        if smaller and found.size >= self.best.size:
            return False
        self.best = found
        if self._progress is not None:
            self._progress(self.best)
        return True

    def _last_instant(self) -> Instant:
        """A candidate that fails much later is no simpler, and most of the time would go into those that never fail."""
        return self.best.outcome.simulated_ns * 5 // 4 + SECOND

    def _settings(self) -> bool:
        return any([self._until_it_fails(), self._fewer_nodes(), self._less_time()])

    def _until_it_fails(self) -> bool:
        """No faults after what was found: it was found when the run ended."""
        settings, ended = self.best.settings, self.best.outcome.simulated_ns
        return ended + 1 < settings.safety_ns and self._try(self.best.numbers, evolve(settings, safety_ns=ended + 1))

    def _fewer_nodes(self) -> bool:
        found = False
        while self.best.settings.nodes > LEAST_NODES:
            fewer = evolve(self.best.settings, nodes=self.best.settings.nodes - 1)
            if not self._try(self.best.numbers, fewer):
                return found
            found = True
        return found

    def _elsewhere(self) -> bool:
        """The same rule under other seeds, with fewer hosts, and the fewest faults of those that were found."""
        began, found = time.monotonic(), 0
        until = began + (self._until - began) * ELSEWHERE
        whole, wanted = self._first_settings, self.best.outcome.rule
        for seed in range(ELSEWHERE_SEEDS):
            nodes = self.best.settings.nodes
            if time.monotonic() >= until or nodes < FEW_NODES or (nodes == FEW_NODES and found >= ENOUGH):
                break
            settings = evolve(whole, nodes=min(nodes, FEW_NODES))
            before = self.best
            if self._try_tape(Tape(seed, record=True), settings, smaller=False):
                assert self.best.outcome.rule == wanted
                found += 1
                if before.settings.nodes <= settings.nodes and before.outcome.faults <= self.best.outcome.faults:
                    self.best, before.tries = before, self.best.tries
        return found > 0

    def _less_time(self) -> bool:
        found = False
        while self.best.settings.safety_ns > SECOND:
            less = evolve(self.best.settings, safety_ns=self.best.settings.safety_ns * 3 // 4)
            if not self._try(self.best.numbers, less):
                return found
            found = True
        return found

    def _without(self, labels: Iterable[str]) -> bool:
        gone = dict.fromkeys(labels)
        numbers = {label: values for label, values in self.best.numbers.items() if label not in gone}
        return len(numbers) < len(self.best.numbers) and self._try(numbers, self.best.settings)

    def _faults(self) -> bool:
        """Whole faults, the latest first: halves of them, quarters, and so on."""
        found = False
        labels = [label for label in self.best.numbers if label.startswith("fault/")]
        labels.sort(key=lambda label: -int(label.partition("/")[2]))
        for first, last in _spans(len(labels)):
            found |= self._without(labels[first:last])
        return found

    def _kinds(self) -> bool:
        """All streams of one kind, such as those of the network."""
        found = False
        kinds = dict.fromkeys(label.partition("/")[0] for label in self.best.numbers)
        for kind in kinds:
            if kind != "fault":
                found |= self._without([label for label in self.best.numbers if label.partition("/")[0] == kind])
        return found

    def _plan(self) -> bool:
        """One choice of what is on in the run after the other."""
        found = False
        for place in range(len(self.best.numbers.get("plan", ()))):
            values = list(self.best.numbers.get("plan", ()))
            if place < len(values) and values[place]:
                values[place] = 0.0
                found |= self._try({**self.best.numbers, "plan": values}, self.best.settings)
        return found

    def _rounded(self) -> None:
        """Numbers that are easier to read, where it does not matter."""
        for digits in (1, 2, 4):
            numbers = {label: _cut(values, digits) for label, values in self.best.numbers.items()}
            if numbers == self.best.numbers or self._try(numbers, self.best.settings):
                return
        for label, values in list(self.best.numbers.items()):
            if (shorter := _cut(values, 2)) != values:
                self._try({**self.best.numbers, label: shorter}, self.best.settings)

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


def _cut(values: list[float], digits: int) -> list[float]:
    """The same with so many digits, or a little less. What is not 0.0 stays so."""
    unit = 10**digits
    return [value and max(1, int(value * unit)) / unit for value in values]


def _spans(length: int) -> Iterator[tuple[int, int]]:
    size = length
    while size >= 1:
        for first in range(0, length, size):
            yield first, min(length, first + size)
        size //= 2
