"""The tape: every random choice of a simulated world, labelled, recorded, and played again.

Rules
-----
1.  Every choice is one number in [0, 1), drawn from the stream of whoever chooses. A stream has a label, such as
    `net/a` or `disk/b`; a draw more in one stream changes nothing in any other, so that a changed world stays as close
    to the old one as it can.
2.  0.0 stands for the plainest choice: no fault, the shortest delay, the first of several. Replacing a number by 0.0
    therefore makes a run simpler, and shrinking is nothing but that, and cutting off ends.
3.  A forced choice (one possibility, a probability of 0 or 1) draws nothing, so that switching a fault off does not
    move the choices that follow.
4.  A tape that is played gives the recorded numbers. What lies beyond the end of a record is 0.0 for a tape that was
    edited, and drawn from the seed for one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, Self

FORMAT = 1

type Parts = dict[str, list[int]]
"""Where in a stream the numbers of each part are, the one that decides whether it is there first."""


class TapeError(ValueError):
    """A file is not a tape, or not one that this version can play. Nothing was played."""


def seed_of(seed: int, label: str) -> int:
    """The seed of one stream: the same in every process, whatever the hash seed."""
    return int.from_bytes(blake2b(f"{seed}/{label}".encode(), digest_size=8).digest(), "big")


class Stream:
    """The choices of one chooser."""

    __slots__ = ("_played", "_position", "_random", "_then_zero", "label", "parts", "raw", "record")

    def __init__(
        self,
        label: str,
        seed: int,
        played: Sequence[float] = (),
        *,
        then_zero: bool = False,
        record: bool = False,
    ) -> None:
        self.label = label
        self._random = Random(seed).random
        self._played = played
        self._position = 0
        self._then_zero = then_zero
        self.record: list[float] | None = [] if record else None
        """What was drawn so far, on a tape that records."""
        self.parts: Parts = {}
        """Which numbers of the record belong together: see `part`."""
        # Most streams do nothing but draw, and they draw often.
        self.raw: Callable[[], float] = self._random if not (record or played or then_zero) else self._next
        """The next number in [0, 1)."""

    def _next(self) -> float:
        # The seed's number is drawn in any case, so that what comes after a played part is what came after it before.
        value = self._random()
        position = self._position
        if position < len(self._played):
            value = self._played[position]
        elif self._then_zero:
            value = 0.0
        self._position = position + 1
        if self.record is not None:
            self.record.append(value)
        return value

    def part(self, name: str) -> Self:
        """The next number belongs to what is called so, such as a kind of fault. Returns the stream.

        The first number of a part decides whether it is there at all, and others are drawn only where it is. So it can
        be left out of a tape without a change of anything else (`without`).
        """
        if self.record is not None:
            self.parts.setdefault(name, []).append(len(self.record))
        return self

    def chance(self, probability: float) -> bool:
        """Whether something happens that happens with that probability."""
        if probability <= 0.0:
            return False
        return probability >= 1.0 or self.raw() >= 1.0 - probability

    def below(self, count: int) -> int:
        """A whole number from 0 to `count - 1`."""
        return 0 if count <= 1 else int(self.raw() * count)

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return low if high <= low else low + self.raw() * (high - low)

    def pick[T](self, choices: Sequence[T]) -> T:
        """One of several. The first is the plainest."""
        return choices[self.below(len(choices))]

    def shuffled[T](self, items: Sequence[T]) -> list[T]:
        """The items in some order; all zeros leave it as it is."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]


class TapeRandom(Random):
    """A `random.Random` for machines, whose numbers come from the tape."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        super().__init__(0)

    def random(self) -> float:
        return self._stream.raw()

    def getrandbits(self, k: int, /) -> int:
        value, bits = 0, 0
        while bits < k:
            value = value << 32 | int(self._stream.raw() * 4294967296.0)
            bits += 32
        return value >> bits - k

    def seed(self, *_: Any, **__: Any) -> None:
        """The tape has its seed already."""


class Tape:
    """All choices of one world.

    `seed` draws whatever is not played. With `record`, what was drawn can be saved. `played` are numbers by label; with
    `edited`, what lies beyond them is 0.0.
    """

    def __init__(
        self,
        seed: int,
        *,
        record: bool = False,
        played: dict[str, list[float]] | None = None,
        edited: bool = False,
    ) -> None:
        self.seed = seed
        self.edited = edited
        self._record = record
        self._played = played or {}
        self._streams: dict[str, Stream] = {}
        self._played_once = False

    def begin(self) -> None:
        """A run begins. Raises `TapeError` when there was one before: it would go on where that one has stopped."""
        if self._played_once:
            raise TapeError(f"the tape of seed {self.seed} was played before; make a new one for each run")
        self._played_once = True

    def stream(self, label: str) -> Stream:
        """The stream of that label, which goes on where it was."""
        stream = self._streams.get(label)
        if stream is None:
            seed = seed_of(self.seed, label)
            played = self._played.get(label, ())
            stream = Stream(label, seed, played, then_zero=self.edited, record=self._record)
            self._streams[label] = stream
        return stream

    def random(self, label: str) -> Random:
        """The stream of that label as a `random.Random`."""
        return TapeRandom(self.stream(label))

    def recorded(self) -> dict[str, list[float]]:
        """What was drawn, by label, without the streams that drew nothing. Empty unless the tape records."""
        return {label: list(stream.record) for label, stream in self._streams.items() if stream.record}

    def parts(self) -> dict[str, Parts]:
        """Which numbers of what was recorded belong together, by label (`Stream.part`)."""
        return {label: stream.parts for label, stream in self._streams.items() if stream.parts}

    def save(self, path: Path, about: dict[str, Any], numbers: dict[str, list[float]] | None = None) -> None:
        """Write the tape as a small readable file. `about` says what it is a tape of, for people and for `load`.

        `numbers` are what to write, where that is not what was recorded.
        """
        write_tape(path, self.seed, self.recorded() if numbers is None else numbers, about, edited=self.edited)

    @classmethod
    def load(cls, path: Path) -> tuple[Self, dict[str, Any]]:
        """Read a tape, ready to be played, and what it is about. Raises `TapeError`."""
        seed, played, edited, about = read_tape(path)
        return cls(seed, played=played, edited=edited, record=True), about


def without(values: Sequence[float], parts: Parts, names: Iterable[str]) -> list[float]:
    """The numbers of a stream that are left when these parts are not there. All others mean what they did."""
    left_out = dict.fromkeys(names)
    off = dict.fromkeys(places[0] for name, places in parts.items() if name in left_out)
    gone = dict.fromkeys(place for name, places in parts.items() if name in left_out for place in places[1:])
    return [0.0 if place in off else value for place, value in enumerate(values) if place not in gone]


def write_tape(path: Path, seed: int, numbers: dict[str, list[float]], about: dict[str, Any], *, edited: bool) -> None:
    """Write numbers by label. Zeros at the end of a stream are left out where they mean nothing."""
    streams = {}
    for label, values in sorted(numbers.items()):
        kept = list(values)
        while edited and kept and kept[-1] == 0.0:
            kept.pop()
        if kept:
            streams[label] = kept
    lines = [f"  {json.dumps(label)}: {json.dumps(values)}" for label, values in streams.items()]
    head = json.dumps({"format": FORMAT, "seed": seed, "edited": edited, "about": about}, indent=1, sort_keys=True)
    path.write_text(head[:-2] + ',\n "streams": {\n' + ",\n".join(lines) + "\n }\n}\n", encoding="utf-8")


def same_scenario(one: str, other: str) -> bool:
    """Whether two names of scenarios can be those of the same. A module of tests is `tests.test_it` by command, and may
    be `test_it` for pytest."""
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


def read_tape(path: Path) -> tuple[int, dict[str, list[float]], bool, dict[str, Any]]:
    """Read what `write_tape` wrote. Raises `TapeError` with the reason."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TapeError(f"{path} cannot be read as a tape: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TapeError(f"{path} is not a tape of format {FORMAT}")
    seed, streams, about = content.get("seed"), content.get("streams"), content.get("about", {})
    if type(seed) is not int or not isinstance(streams, dict) or not isinstance(about, dict):
        raise TapeError(f"{path} has no seed, no streams, or does not say what it is about: was it edited by hand?")
    if not isinstance(about.get("settings", {}), dict):
        raise TapeError(f"{path} has settings that are none")
    for label, values in streams.items():
        if not isinstance(values, list) or not all(type(value) in (int, float) and 0 <= value < 1 for value in values):
            raise TapeError(f"{path}: stream {label!r} has something else than numbers from 0 to 1")
    return seed, streams, bool(content.get("edited")), about
