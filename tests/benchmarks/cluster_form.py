"""How many messages, and how much time, a cluster of n nodes takes to form, and to get over the loss of a third.

All nodes have one seed, and start within 100 ms if nothing else is said. When they are members and see each other, a
region of 64 shards is added; 10 s later a third of them crash at once, so chosen that a majority of those who vote is
left.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter

from attrs import frozen

from casty_proto.cluster.doors import Door
from casty_proto.cluster.options import NodeOptions
from casty_proto.cluster.records import RegionSettings
from casty_proto.machine import SECOND, Nanoseconds, seconds

from .cluster_world import Net, NotSoError, each
from .swim_show import grid

SIZES = (5, 10, 25, 50, 100)
RUNS = 3
QUIET_NS = 10 * SECOND
REGION, SHARDS = "players", 64
BASE = 10
"""The size that larger ones are compared with. With fewer most of what is said is said a fixed number of times."""
GROWTH_MAX = 1.1
"""How much larger than with so many the share of n log n may be."""

_GROUPS: dict[str, tuple[Door, ...]] = {
    "raft": (Door.RAFT,),
    "swim": (Door.SWIM,),
    "registry": (Door.REGISTRY,),
    "lease": (Door.LEASE, Door.GRANT),
    "replica": (Door.REPLICA,),
}


@frozen
class Phase:
    """What something took."""

    seconds: float
    sent: int
    by_group: dict[str, int]


@frozen
class Formed:
    """One run."""

    n: int
    forming: Phase | None = None
    losing: Phase | None = None
    problem: str = ""


def grouped(by_door: Counter[Door | None]) -> dict[str, int]:
    """Messages by protocol."""
    found = {name: sum(by_door[door] for door in doors) for name, doors in _GROUPS.items()}
    return {**found, "other": by_door.total() - sum(found.values())}


def one_run(task: tuple[int, int, Nanoseconds]) -> Formed:
    """Form a cluster of n nodes that start within some time, from a seed, and crash a third of it."""
    n, seed, within_ns = task
    net = Net(seed, NodeOptions())
    forming: Phase | None = None
    try:
        forming = _form(net, n, within_ns)
        net.add_region(REGION, RegionSettings(num_shards=SHARDS))
        net.run_until(lambda: net.is_owned(REGION), "every shard has an owner")
        net.run(QUIET_NS)
        votes = min(5, n - 1 + n % 2)
        net.run_until(lambda: len(net.voters()) == votes, f"{votes} vote")
        return Formed(n, forming, _lose(net, n))
    except NotSoError as error:
        return Formed(n, forming, problem=f"{n} nodes, seed {seed}: {error}")


def _form(net: Net, n: int, within_ns: Nanoseconds) -> Phase:
    names = [f"node-{number:03}" for number in range(n)]
    net.by_door = Counter()
    for name in names:
        net.after(round(net.rng.random() * within_ns), lambda name=name: net.start(name, names[0]))  # type: ignore[misc]
    net.run_until(lambda: len(net.places) == n and net.see_each_other(), "all are members and see each other")
    return Phase(net.now / SECOND, net.sent, grouped(net.by_door))


def _lose(net: Net, n: int) -> Phase:
    voters = [place.name for place in net.up() if place.node.key in net.voters()]
    names = list(net.places)
    victims = net.rng.sample(names, n // 3)
    while 2 * len([name for name in voters if name in victims]) >= len(voters):
        victims = net.rng.sample(names, n // 3)
    for name in victims:
        net.crash(name)
    began, sent, net.by_door = net.now, net.sent, Counter()
    net.run_until(lambda: net.see_each_other() and net.is_owned(REGION), "the survivors agree, and own all")
    return Phase((net.now - began) / SECOND, net.sent - sent, grouped(net.by_door))


def report(seed: int, jobs: int, within_ns: Nanoseconds) -> bool:
    """Print the tables. Returns whether all bars are met."""
    tasks = [(n, seed + number, within_ns) for n in reversed(SIZES) for number in range(RUNS)]
    runs = each(one_run, tasks, jobs, "form")
    print(f"\nform: 5 to 100 nodes from one seed, then a third crashes; default options, medians of {RUNS} runs")
    print(f"all start within {seconds(within_ns):g} s, from which on time counts")
    print("messages: all, those of one node, as a share of n log2 n | those of one node by protocol")
    good = True
    for run in runs:
        if run.problem:
            good = False
            print(f"NOT CONVERGED: {run.problem}")
    for title, phases in (
        ("until all are members and see each other", _by_size([(run.n, run.forming) for run in runs])),
        (
            f"from the crash until survivors see all crashed as down and own all {SHARDS} shards",
            _by_size([(run.n, run.losing) for run in runs]),
        ),
    ):
        print(f"\n{title}\n{_table(phases)}")
        good = _growth(phases) and good
    return good


def _by_size(runs: list[tuple[int, Phase | None]]) -> dict[int, list[Phase]]:
    found: dict[int, list[Phase]] = {n: [] for n in SIZES}
    for n, phase in runs:
        if phase is not None:
            found[n].append(phase)
    return {n: phases for n, phases in found.items() if phases}


def _share(n: int, phases: list[Phase]) -> float:
    return statistics.median(phase.sent for phase in phases) / (n * math.log2(n))


def _table(by_size: dict[int, list[Phase]]) -> str:
    groups = [*_GROUPS, "other"]
    rows = [("n", "seconds", "longest", "messages", "a node", "n log2 n", "|", *groups)]
    for n, phases in by_size.items():
        sent = statistics.median(phase.sent for phase in phases)
        rows.append(
            (
                str(n),
                f"{statistics.median(phase.seconds for phase in phases):.2f}",
                f"{max(phase.seconds for phase in phases):.2f}",
                f"{sent:.0f}",
                f"{sent / n:.1f}",
                f"x {_share(n, phases):.1f}",
                "|",
                *[f"{statistics.median(phase.by_group[group] for phase in phases) / n:.1f}" for group in groups],
            )
        )
    return grid(rows)


def _growth(by_size: dict[int, list[Phase]]) -> bool:
    shares = [_share(n, phases) for n, phases in by_size.items() if n >= BASE]
    growth = max(shares, default=math.inf) / shares[0] if shares else math.inf
    met = growth <= GROWTH_MAX
    print(
        f"messages over n log2 n, largest over that of {BASE} nodes: {growth:.2f}, bar {GROWTH_MAX}: "
        f"{'met' if met else 'NOT MET'}"
    )
    return met
