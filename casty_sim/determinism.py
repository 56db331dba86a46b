"""Whether a seed does the same in every process: it is run in two, which differ in everything that must not matter.

The second process has another hash seed, another layout of its heap, another threshold of the garbage collector, and
runs the seeds in another order, after others. A seed whose digests differ is run again in both with a journal, which
has a line for each event; the first line that differs is where somebody chose by something that is not in the seed.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any

from attrs import asdict, frozen

from casty_proto.machine import SECOND, Instant

from .scenario import Settings, run
from .tape import Tape
from .trace import Trace, plain
from .world import ALARM, DELIVER, LOCAL, WRITTEN

CHUNK = 20
"""Seeds that two processes run before they are compared."""

EARLIER = 2
"""How many other seeds the second process runs before each chunk."""

SHOWN = 5
"""How many events before the first difference are shown."""

CHUNK_SECONDS = 600.0
"""After how long such a process is given up."""

DIGESTS = "digests of seeds: "
"""What the line begins with by which such a process says what it has found."""

KINDS = {DELIVER: "gets", WRITTEN: "has written", ALARM: "wakes", LOCAL: "is called"}
"""What an event of the world is, for people."""


class CheckError(RuntimeError):
    """A process that was to run seeds has failed. Nothing is known about them."""


@frozen
class Difference:
    """A seed that did not do the same twice."""

    seed: int
    digests: tuple[str, str]
    before: tuple[str, ...] = ()
    """The last events that are the same."""
    events: tuple[str, str] = ("", "")
    """The first event that is another; empty where one of the two runs has no more."""
    number: int = 0
    """Which event of the run that is, from 1; 0 where all are the same."""

    def words(self) -> str:
        """For people."""
        lines = [f"seed {self.seed} is not deterministic: digests {self.digests[0]} and {self.digests[1]}"]
        if not any(self.events):
            text = (
                "the events are the same: it is the states of hosts that differ, or what made the difference was gone"
            )
            return "\n".join([*lines, f"  {text} when the seed was run again"])
        lines.append(f"  the first difference is event {self.number}; before it:")
        lines += [f"    {line}" for line in self.before] or ["    nothing"]
        lines += [f"  once:  {self.events[0] or 'no more events'}", f"  again: {self.events[1] or 'no more events'}"]
        lines.append(
            "  what often makes one: the order of a set, id() or hash(), and what a module keeps from an earlier run; "
            "see casty_sim/BOUNDARY.md"
        )
        return "\n".join(lines)


class Journal(Trace):
    """A trace that keeps a line for each event."""

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write
        self.step = self._on_step

    def _on_step(self, at: Instant, host: int, name: str) -> None:
        self._write(f"{at / SECOND:.9f} {self.hosts[host]} runs {name}\n")

    def event(self, at: Instant, host: int, kind: int, payload: Any) -> None:
        """One event."""
        super().event(at, host, kind, payload)
        text = "" if payload is None else repr(plain(payload))
        name = blake2b(text.encode(), digest_size=6).hexdigest()
        shown = text if len(text) <= 300 else f"{text[:300]}..."
        self._write(f"{at / SECOND:.9f} {self.hosts[host]} {KINDS[kind]} {name} {shown}\n")


# -- the processes that run seeds --------------------------------------------------------------------------------------


def _child(order: dict[str, Any]) -> None:
    """Run seeds, and print their digests."""
    from argparse import Namespace

    from .options import scenario_of

    scenario = scenario_of(Namespace(**order["options"]))
    settings = Settings(**order["settings"])
    kept = _disturb(Random(order["disturb"])) if order["disturb"] else None
    for seed in order["earlier"]:
        run(scenario, Tape(seed), settings)
    found: dict[str, str] = {}
    for seed in order["seeds"]:
        if order["journal"]:
            with open(order["journal"], "w", encoding="utf-8") as file:
                found[str(seed)] = run(scenario, Tape(seed), settings, Journal(file.write)).digest
        else:
            found[str(seed)] = run(scenario, Tape(seed), settings).digest
    del kept
    sys.stdout.write(f"\n{DIGESTS}{json.dumps(found)}\n")


def _disturb(random: Random) -> list[object]:
    """Another heap, and another collector of garbage."""
    kept: list[object] = [bytearray(random.randrange(1, 2000)) for _ in range(20_000)]
    del kept[:: random.randrange(2, 5)]
    gc.set_threshold(random.randrange(50, 5000), random.randrange(2, 30), random.randrange(2, 30))
    return kept


def _run(order: dict[str, Any], hash_seed: int, python: str = sys.executable) -> dict[str, str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(_paths(python))}
    what = f"a process that was to run seeds {order['seeds']}"
    try:
        done = subprocess.run(
            [python, "-m", "casty_sim.determinism", json.dumps(order)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=CHUNK_SECONDS,
            check=False,
        )
    except OSError as error:
        raise CheckError(f"{what} could not be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"{what} has not ended after {CHUNK_SECONDS:g} s: is there a run that never ends?") from error
    if done.returncode:
        raise CheckError(f"{what} ended with {done.returncode}:\n{done.stderr}")
    # A program may print at its exit as well.
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(DIGESTS):
            found: dict[str, str] = json.loads(line.removeprefix(DIGESTS))
            return found
    raise CheckError(f"{what} ended without their digests:\n{done.stdout[-2000:]}{done.stderr}")


def _paths(python: str) -> list[str]:
    """Where modules are found. Another interpreter has packages of its own, but the same programs to simulate."""
    if python == sys.executable:
        return sys.path
    installed = (sys.prefix, sys.base_prefix)
    return [path for path in sys.path if not path.startswith(installed)] + [str(Path(__file__).parent.parent)]


# -- the comparison ----------------------------------------------------------------------------------------------------


def check(
    options: dict[str, Any], settings: Settings, seeds: range, python: str = sys.executable
) -> Iterator[Difference | int]:
    """Compare seeds, a chunk at a time. Yields the number of seeds that were compared, and differences.

    `options` are what `options.scenario_of` finds the scenario by, and `python` is the interpreter of the second
    process. Raises `CheckError` where a process cannot be started, fails, or does not end within `CHUNK_SECONDS`.
    """
    order = {"options": options, "settings": asdict(settings), "journal": "", "earlier": [], "disturb": 0}
    for first in range(0, len(seeds), CHUNK):
        chunk = list(seeds[first : first + CHUNK])
        plainly = _run({**order, "seeds": chunk}, 0)
        random = Random(chunk[0] + 1)
        other = {
            **order,
            "seeds": random.sample(chunk, len(chunk)),
            "earlier": [seeds[-1] + 1 + number for number in range(EARLIER)],
            "disturb": random.randrange(1, 2**32),
        }
        hash_seed = random.randrange(1, 2**32)
        again = _run(other, hash_seed, python)
        for seed in chunk:
            if plainly[str(seed)] != again[str(seed)]:
                yield _looked_at(order, other, seed, (plainly[str(seed)], again[str(seed)]), hash_seed, python)
        yield len(chunk)


def _looked_at(
    order: dict[str, Any], other: dict[str, Any], seed: int, digests: tuple[str, str], hash_seed: int, python: str
) -> Difference:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("once", "again")]
        _run({**order, "seeds": [seed], "journal": str(paths[0])}, 0)
        # As it was then: whatever ran before it may be what makes the difference.
        place = other["seeds"].index(seed)
        earlier = [*other["earlier"], *other["seeds"][:place]]
        again = {**other, "seeds": [seed], "earlier": earlier, "journal": str(paths[1])}
        _run(again, hash_seed, python)
        return _first_difference(seed, digests, *[path.read_text(encoding="utf-8").splitlines() for path in paths])


def _first_difference(seed: int, digests: tuple[str, str], once: list[str], again: list[str]) -> Difference:
    for number, (left, right) in enumerate(zip_longest(once, again, fillvalue="")):
        if left != right:
            before = tuple(once[max(0, number - SHOWN) : number])
            return Difference(seed, digests, before, (left, right), number + 1)
    return Difference(seed, digests)


if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
