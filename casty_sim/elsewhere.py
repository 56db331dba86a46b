"""Other runs that may break the same rule: with few hosts, few faults, and links and disks in order.

In a world with fewer hosts, or without the losses of links, a tape means something else, and leaving faults out of it
comes to an end where those that are left depend on one another. What is small from the start needs no shrinking. So
other seeds are run, of which most of what strikes is left out beforehand. What they draw is one of several things, and
those that have found something are tried more often:

-   "as it is": whatever the seed draws, in a world with few hosts. Nothing is left out.
-   "all kinds": a few faults of any kind that can strike.
-   "its kinds": a few faults of the kinds that were on in the failure, one or two of which may be wrong with links and
    disks all the time.
-   "its faults": some of the very faults of the failure, many or few, while all else goes differently.

Half of the runs have the options of the failure, as far as its scenario draws them from streams of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from attrs import define, evolve

from .faults import STANDING, kinds_on, numbers_of
from .scenario import Settings
from .tape import Tape, without

if TYPE_CHECKING:
    from .shrink import Numbers, Shrunk

FEW_NODES = 3
"""The fewest of which a majority can bear that one is lost."""
FEW_FAULTS = 3
"""So many faults are few, and no more are tried of those that a seed draws."""
MANY_FAULTS = 1000
PLAN, WHEN, STRIKE = "plan", "faults", "fault/"
"""The streams of what is on, of when something strikes, and of each fault (`faults`)."""


@define
class _Way:
    """One way to make another run out of a failure."""

    name: str
    make: Callable[[Random, Shrunk, int], Numbers]
    """What is played, with at most so many faults; all else is drawn from a seed."""
    nodes: int
    faults: int
    """The most that are let strike."""
    weight: int = 1
    tries: int = 0
    hits: int = 0

    @property
    def price(self) -> float:
        """What the next failure may take that way, where a run of many nodes takes longer, and says less."""
        return (self.tries + 1) * self.weight * self.nodes**4 / (self.hits + 1)


class Elsewhere:
    """Where to look next for a smaller failure than the best that is known."""

    def __init__(self, first: Shrunk) -> None:
        """`first` is the failure as it was found."""
        self._settings = first.settings
        struck = [_number(label) for label in first.numbers if label.startswith(STRIKE)]
        self._highest = max(struck, default=0)
        self._strikes = max(FEW_FAULTS, len(first.numbers.get(WHEN, ())))
        self._seed = -1
        self._way: _Way | None = None
        self._ways: list[_Way] = []
        for nodes in dict.fromkeys((min(FEW_NODES, first.settings.nodes), first.settings.nodes)):
            self._ways += [
                _Way("its kinds", self._its_kinds, nodes, FEW_FAULTS),
                _Way("all kinds", self._all_kinds, nodes, FEW_FAULTS),
                _Way("its faults", self._its_faults, nodes, MANY_FAULTS),
                _Way("as it is", _as_it_is, nodes, MANY_FAULTS, weight=2),
            ]

    @property
    def way(self) -> str:
        """How the last candidate was made."""
        assert self._way is not None
        return self._way.name

    def candidate(self, best: Shrunk) -> tuple[Tape, Settings]:
        """The next run to try. It may be no smaller than the best."""
        nodes = best.settings.nodes
        ways = [way for way in self._ways if way.nodes <= max(nodes, FEW_NODES)]
        self._way = way = min(ways, key=lambda way: way.price)
        way.tries += 1
        self._seed += 1
        choices = Random(self._seed)
        fewer = FEW_FAULTS if best.outcome.faults < 0 else max(0, best.outcome.faults - 1)
        most = min(fewer, way.faults)
        # Of two, the more: more faults do more harm, and those that it takes none for are found all the same.
        played = way.make(choices, best, max(choices.randint(0, most), choices.randint(0, most)))
        return Tape(self._seed, played=played, record=True), evolve(self._settings, nodes=min(way.nodes, nodes))

    def found(self) -> None:
        """The last candidate broke the rule."""
        assert self._way is not None
        self._way.hits += 1

    # -- the ways ------------------------------------------------------------------------------------------------------

    def _all_kinds(self, choices: Random, best: Shrunk, most: int) -> Numbers:
        kinds = [kind for kind in best.parts.get(PLAN, ()) if kind not in STANDING and kind != "timely"]
        return {**_options(choices, best), **_only(best, kinds), **self._few(choices, most, self._strikes)}

    def _its_kinds(self, choices: Random, best: Shrunk, most: int) -> Numbers:
        on = _kinds_on(best)
        standing = _some_standing(choices, on, min(most, choices.choice((0, 0, 1, 1, 2))))
        kinds = [kind for kind in on if kind not in STANDING or kind in standing]
        last = self._highest if "timely" in kinds else self._strikes
        return {**_options(choices, best), **_only(best, kinds), **self._few(choices, most - len(standing), last)}

    def _its_faults(self, choices: Random, best: Shrunk, most: int) -> Numbers:
        on = _kinds_on(best)
        standing = _some_standing(choices, on, choices.randint(0, most))
        plan = best.numbers.get(PLAN, [])
        off = [kind for kind in on if kind in STANDING and kind not in standing]
        strikes = [label for label, values in best.numbers.items() if label.startswith(STRIKE) and any(values)]
        kept = choices.sample(strikes, min(len(strikes), most - len(standing)))
        return {
            **_options(choices, best),
            **self._quiet(),
            **{label: best.numbers[label] for label in (WHEN, *kept) if label in best.numbers},
            PLAN: without(plan, best.parts.get(PLAN, {}), off),
        }

    def _few(self, choices: Random, count: int, last: int) -> Numbers:
        """So many faults strike, one time or another, as far as they can."""
        numbers = self._quiet()
        for strike in choices.sample(range(1, last + 1), min(count, last)):
            numbers.pop(f"{STRIKE}{strike}", None)
        return numbers

    def _quiet(self) -> Numbers:
        """Whenever something may strike, it is nothing."""
        return {f"{STRIKE}{number}": [0.0] for number in range(1, 2 * max(self._highest, self._strikes) + 64)}


def _as_it_is(choices: Random, best: Shrunk, most: int) -> Numbers:
    return {}


def _number(label: str) -> int:
    return int(label.removeprefix(STRIKE))


def _kinds_on(best: Shrunk) -> list[str]:
    return kinds_on(best.numbers.get(PLAN, ()), best.parts.get(PLAN, {}))


def _some_standing(choices: Random, on: list[str], most: int) -> list[str]:
    """So many things that are wrong all the time, or all that are."""
    standing = [kind for kind in on if kind in STANDING]
    return choices.sample(standing, min(most, len(standing)))


def _only(best: Shrunk, kinds: list[str]) -> Numbers:
    """A plan with these kinds on, where the scenario has one."""
    parts = best.parts.get(PLAN)
    return {PLAN: numbers_of(kinds, parts)} if parts else {}


def _options(choices: Random, best: Shrunk) -> Numbers:
    """What belongs to no host and to no fault, in every other run: how the world is set up."""
    if choices.random() < 0.5:
        return {}
    return {label: values for label, values in best.numbers.items() if "/" not in label and label not in (PLAN, WHEN)}
