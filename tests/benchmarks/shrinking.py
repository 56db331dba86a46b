"""`python -m tests.benchmarks shrinking`: how small failures become, and how soon.

A bug is planted. Five nodes find it under many faults; then the failure is shrunk for at most 60 seconds. The bar is a
tape with at most three faults and three nodes.

Of Raft: a leader commits entries of earlier terms by counting copies (figure 8 of its paper), which takes two changes
of the leader, or one and lost messages. Of the cluster: a new leader does not wait for the leases of the one before it,
which takes a leader that is lost, or leaves, and an owner who has not heard of that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from casty_sim.campaign import campaign
from casty_sim.mutants import Mutant, load
from casty_sim.scenario import Settings
from casty_sim.shrink import Shrunk, shrink
from casty_sim.tape import Tape

BUGS = ("CommitEarlierTerms", "NewLeaderDoesNotWait")
SECONDS = 60.0
NODES, FAULTS = 3, 3


def main(arguments: Sequence[str]) -> int:
    """Returns 1 when the bar is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks shrinking", description=__doc__)
    parser.add_argument("bugs", nargs="*", metavar="BUG", help=f"planted bugs (default: {', '.join(BUGS)})")
    parser.add_argument("--first", type=int, default=0, help="the first seed to look under (default: 0)")
    options = parser.parse_args(arguments)
    known = {mutant.name: mutant for mutant in load()}
    unknown = [name for name in options.bugs if name not in known]
    if unknown:
        parser.error(f"no such planted bug: {', '.join(unknown)}")
    met = [_measure(known[name], options.first) for name in options.bugs or BUGS]
    return 0 if all(met) else 1


def _measure(mutant: Mutant, first: int) -> bool:
    settings = Settings(nodes=5)
    summary = campaign(mutant.scenario, range(first, first + 5000), settings, stop_at_first=True)
    if not summary.failures:
        print(f"{mutant.name}: not found")
        return False
    failure, began = summary.failures[0], time.monotonic()
    reached: list[float] = []

    def progress(best: Shrunk) -> None:
        if not reached and best.settings.nodes <= NODES and best.outcome.faults <= FAULTS:
            reached.append(time.monotonic() - began)

    best = shrink(mutant.scenario, Tape(failure.seed, record=True), settings, seconds=SECONDS, progress=progress)
    when = f"the bar after {reached[0]:.1f} s" if reached else "BAR NOT MET"
    print(
        f"{mutant.name} ({mutant.scenario.name}), seed {failure.seed}: from 5 nodes and {failure.faults} faults to "
        f"{best.settings.nodes} and {best.outcome.faults} ({best.outcome.plan}), {best.choices} choices, "
        f"{best.settings.safety_ns / 1e9:.1f} s; {best.tries} tries in {time.monotonic() - began:.0f} s; {when}"
    )
    return best.settings.nodes <= NODES and best.outcome.faults <= FAULTS
