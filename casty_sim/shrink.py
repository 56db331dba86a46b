"""Making a failure small: fewer hosts, fewer faults, plainer choices, less time, and the same rule broken.

A run is its tape, and 0.0 is the plainest choice, so shrinking is trying smaller tapes: whole streams emptied, ends cut
off, blocks set to zero; and smaller settings. A candidate counts when the same rule is broken, and where that is an
exception that nobody expected, by the same line. What is found is a tape again, which replays like any other.

What is tried first is what says most to a reader. Time after the failure goes first, since that costs one try. Then the
same rule is looked for in other runs, with few hosts and few faults (`elsewhere`): what is found there is another
failure of the same rule, and takes the place of the first one. Then what is wrong all the time goes, with the links and
disks; then faults are left out, each of which has a stream of its own (`fault/3`): halves of them first, then single
ones. Then one choice after the other. What time is left when nothing of that helps any more goes to other runs again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field

from casty_proto.machine import SECOND, Instant

from .campaign import HANG_SECONDS, HANGS, limited
from .elsewhere import FEW_FAULTS, FEW_NODES, Elsewhere
from .faults import STANDING
from .scenario import Outcome, Scenario, Settings, run
from .tape import Parts, Tape, without
from .trace import Trace
from .world import Violation

LEAST_NODES = 2
ELSEWHERE = (0.4, 0.75)
"""What part of the time may be over when other runs give way to the tape, at first and if that was not enough."""
PATIENCE, AT_LEAST = 3, 40
"""So many times as many other runs as the best took to be found, and at least so many, are tried for a better one."""
STARTS = 100
"""So many starts of hosts within a second make a try end."""
SLOWER, SLOW_SECONDS = 20, 5.0
"""So many times as long as the run that is to be shrunk may a try take, and so long in any case."""

type Numbers = dict[str, list[float]]


@define
class Shrunk:
    """The smallest failure that was found."""

    seed: int
    numbers: Numbers
    settings: Settings
    outcome: Outcome
    tries: int = 0
    parts: dict[str, Parts] = field(factory=dict)
    """Which of the numbers belong together (`Stream.part`)."""
    is_elsewhere: bool = False
    """Whether it is another failure of the same rule than the one that was to be shrunk."""

    def tape(self) -> Tape:
        """A tape that replays it."""
        return Tape(self.seed, played=self.numbers, edited=True, record=True)

    @property
    def choices(self) -> int:
        """How many choices are not the plainest."""
        return sum(value != 0.0 for values in self.numbers.values() for value in values)

    @property
    def size(self) -> tuple[float, ...]:
        """What is to become small, the most important first. Of few hosts, one less is worth one fault more."""
        total = sum(map(sum, self.numbers.values()))
        nodes, faults = self.settings.nodes, self.outcome.faults
        return (max(nodes, FEW_NODES), nodes + faults, faults, self.choices, self.settings.safety_ns, total)


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
    began = time.monotonic()
    outcome = run(scenario, tape, settings, Trace(digest=False))
    took = time.monotonic() - began
    if not outcome.failed:
        raise NotReproducible(f"seed {tape.seed} does not fail scenario {scenario.name} with these settings")
    best = Shrunk(tape.seed, tape.recorded(), settings, outcome, parts=tape.parts())
    search = _Search(scenario, best, seconds, took, progress)
    with suppress(KeyboardInterrupt):
        search.run()
    return search.best


class _Until(Trace):
    """Keeps nothing, and ends a run that takes too long."""

    def __init__(self, last: Instant) -> None:
        super().__init__(digest=False)
        self._last = last
        self._starts: deque[Instant] = deque()

    def event(self, at: Instant, host: int, kind: int, payload: Any) -> None:
        if at > self._last:
            raise Violation("in time", "it has not failed in time")

    def started(self, at: Instant, host: str, text: str) -> None:
        # A host whose disk is full stops at once, and with the plainest choices it starts again a nanosecond later.
        recent = self._starts
        recent.append(at)
        if len(recent) > STARTS and recent.popleft() > at - SECOND:
            raise Violation("in time", "hosts do nothing but start")


class _Search:
    def __init__(
        self, scenario: Scenario, best: Shrunk, seconds: float, took: float, progress: Callable[[Shrunk], None] | None
    ) -> None:
        """`took` is how long the run of the failure took."""
        self.scenario = scenario
        self.best = best
        self._began = time.monotonic()
        self._until = self._began + seconds
        self._slow = max(SLOW_SECONDS, SLOWER * took)
        self._progress = progress
        self._others = Elsewhere(best)
        self._others_last = self._last_instant()

    def run(self) -> None:
        """Few nodes and faults first, here or elsewhere, then plain choices, until nothing is found or time is up."""
        self._settings()
        for part in ELSEWHERE:
            if not self._elsewhere(self._began + (self._until - self._began) * part):
                self._fewer()
            if self._is_small():
                break
        self._plainer()
        while self._elsewhere(self._until):
            self._plainer()

    def _fewer(self) -> None:
        """What says most to a reader: the settings, and the faults."""
        improved = True
        while improved and not self._late():
            improved = any([self._settings(), self._standing(), self._faults()])

    def _plainer(self) -> None:
        """Go over all of the tape again and again, until a whole round finds nothing."""
        improved = True
        while improved and not self._late():
            improved = any(
                [
                    self._settings(),
                    self._standing(),
                    self._kinds(),
                    self._faults(),
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

    def _try_tape(self, tape: Tape, settings: Settings) -> bool:
        found = None if self._late() else self._broken(tape, settings, self._last_instant())
        return found is not None and self._take(found, is_elsewhere=self.best.is_elsewhere)

    def _broken(self, tape: Tape, settings: Settings, last: Instant) -> Shrunk | None:
        """The run of the tape, if it breaks the same rule until then."""
        self.best.tries += 1
        with limited(self._patience()):
            outcome = run(self.scenario, tape, settings, _Until(last))
        if (outcome.rule, outcome.where) != (self.best.outcome.rule, self.best.outcome.where):
            return None
        # What was not drawn is gone, and what was drawn beyond the end is zero.
        kept = {label: values for label, values in tape.recorded().items() if any(values)}
        return Shrunk(tape.seed, kept, settings, outcome, parts=tape.parts())

    def _patience(self) -> float:
        """How many seconds a try may take, unless to hang is what is wrong."""
        if self.best.outcome.rule == HANGS:
            return HANG_SECONDS
        return min(HANG_SECONDS, self._slow, max(1.0, self._until - time.monotonic()))

    def _take(self, found: Shrunk, *, is_elsewhere: bool) -> bool:
        """Whether it is smaller than the best, and so the best. Any other might lead back again."""
        if found.size >= self.best.size:
            return False
        self.best = evolve(found, tries=self.best.tries, is_elsewhere=is_elsewhere)
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

    def _elsewhere(self, until: float) -> bool:
        """The same rule in other runs. Gives up where a better one would be far more luck than the best was."""
        improved, tried, took = False, 0, 0
        while time.monotonic() < until and not (self._is_small() and self._is_luck(tried, took)):
            tried += 1
            found = self._broken(*self._others.candidate(self.best), self._others_last)
            if found is None:
                continue
            self._others.found()
            if self._take(found, is_elsewhere=True):
                improved, tried, took = True, 0, took + tried
                self._fewer()
        return improved

    def _is_luck(self, tried: int, took: int) -> bool:
        return self.best.outcome.faults <= 0 or tried >= max(AT_LEAST, PATIENCE * took)

    def _is_small(self) -> bool:
        return self.best.settings.nodes <= FEW_NODES and self.best.outcome.faults <= FEW_FAULTS

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
        """All streams of one kind, such as those of the network; then kinds of faults, whether they strike or not."""
        found = False
        kinds = dict.fromkeys(label.partition("/")[0] for label in self.best.numbers)
        for kind in kinds:
            if kind != "fault":
                found |= self._without([label for label in self.best.numbers if label.partition("/")[0] == kind])
        return found | self._parts(lambda names: [[name] for name in names if name not in STANDING])

    def _standing(self) -> bool:
        """What is wrong with links and disks all the time: first all of it, then one thing after the other."""

        def groups(names: Sequence[str]) -> list[list[str]]:
            standing = [name for name in names if name in STANDING]
            return [standing[first:last] for first, last in _spans(len(standing))]

        return self._parts(groups)

    def _parts(self, groups: Callable[[Sequence[str]], list[list[str]]]) -> bool:
        """Leave out groups of parts of streams, and nothing else of them."""
        found = False
        for label, parts in self.best.parts.items():
            for group in groups(list(parts)):
                values = self.best.numbers.get(label, [])
                left = without(values, self.best.parts.get(label, {}), group)
                found |= left != values and self._try({**self.best.numbers, label: left}, self.best.settings)
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
