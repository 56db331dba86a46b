"""How long nobody does the work of a node that crashed: from the crash until a shard is opened at another node.

Each run forms a cluster of its own: nodes that have each other as seeds, a singleton, a region of 64 shards without
copies, and one of 64 shards with three copies, one of them synchronous, and an entity in each shard. When all vote, and
something between one and three seconds have passed, the node that has the singleton crashes without a word. Counted are
the singleton, and the last of its shards in each region.

Whether that node leads is drawn with the names of the nodes: the lowest founds the cluster, and leads from then on, and
the plan follows from the names.
"""

from __future__ import annotations

import math
from random import Random

from attrs import frozen

from casty_proto.cluster.events import Handled
from casty_proto.cluster.options import NodeOptions
from casty_proto.cluster.plans import SINGLETONS
from casty_proto.cluster.records import RegionKind, RegionSettings
from casty_proto.machine import SECOND, seconds
from casty_proto.shard.hashing import shard_of
from casty_proto.shard.plan import Member, plan

from .cluster_world import Net, NotSoError, each
from .swim_show import grid

SIZES = (3, 5)
BARS = {"default": 5.0, "fast": 0.6}
"""Seconds, at the 99th percentile."""
SINGLETON, PLAIN, COPIED = "boss", "players", "accounts"
SHARDS = 64
KINDS = {SINGLETON: "singleton", PLAIN: "shard", COPIED: "shard with copies"}
_PART = 200
"""Runs of one task."""


@frozen
class Task:
    """Some runs."""

    options: str
    nodes: int
    leads: bool
    """Whether the leader is to have the singleton, or somebody else."""
    seeds: range


@frozen
class Failover:
    """One run."""

    seed: int
    led: bool
    """Whether the node that crashed was the leader."""
    took: dict[str, float]
    """By region, in seconds."""
    problem: str = ""


def some_runs(task: Task) -> list[Failover]:
    """All runs of a task."""
    return [one_run(task.options, task.nodes, task.leads, seed) for seed in task.seeds]


def one_run(options: str, nodes: int, leads: bool, seed: int) -> Failover:
    """Form a cluster, crash the node with the singleton, and wait until others do all that it did."""
    net = Net(seed, NodeOptions.fast() if options == "fast" else NodeOptions())
    led = leads
    try:
        _prepare(net, _names(net.rng, nodes, leads))
        victim = net.homes[SINGLETON, 0].name
        led = victim == net.leader()
        lost = [spot for spot, home in net.homes.items() if home.name == victim]
        crashed = net.now
        net.crash(victim)
        net.run_until(lambda: all(spot in net.homes for spot in lost), f"{victim} is replaced", 60.0)
    except NotSoError as error:
        who = "leader" if led else "other"
        return Failover(seed, led, {}, f"{options}, {nodes} nodes, {who}, seed {seed}: {error}")
    took: dict[str, float] = {}
    for region, shard in lost:
        took[region] = max(took.get(region, 0.0), seconds(net.opened[region, shard] - crashed))
    return Failover(seed, led, took)


def _names(rng: Random, nodes: int, leads: bool) -> list[str]:
    """Names with which the singleton is at the node that founds the cluster, or is not."""
    while True:
        names = [f"node-{rng.getrandbits(32):08x}" for _ in range(nodes)]
        owner = plan([Member(name) for name in names], SINGLETONS).owner(shard_of(SINGLETON, SINGLETONS))
        if (owner == min(names)) is leads:
            return names


def _prepare(net: Net, names: list[str]) -> None:
    for name in names:
        net.start(name, *names)
    net.run_until(lambda: net.see_each_other() and net.leader() is not None, "all are members and see each other")
    net.add_region(SINGLETON, RegionSettings(num_shards=1), RegionKind.SINGLETON)
    net.add_region(PLAIN, RegionSettings(num_shards=SHARDS))
    net.add_region(COPIED, RegionSettings(num_shards=SHARDS, factor=3, sync_count=1))
    net.run_until(lambda: all(map(net.is_owned, KINDS)), "every shard has an owner")
    for (region, shard), home in net.homes.items():
        if region == COPIED:
            net.feed(net.places[home.name], Handled(region, shard, home.epoch, "entity", b"state" * 10))
    net.run_until(lambda: len(net.voters()) == len(names), "all vote")
    # A generator of its own: what the nodes do has nothing to do with when one of them crashes.
    net.run(round(Random(net.rng.getrandbits(64)).uniform(1.0, 3.0) * SECOND))
    net.run_until(lambda: all(map(net.is_owned, KINDS)) and net.leader() is not None, "all is well")


def report(seed: int, seeds: int, jobs: int) -> bool:
    """Print the table. Returns whether all bars are met."""
    cells = [(options, nodes, leads) for options in BARS for nodes in SIZES for leads in (True, False)]
    parts = [range(at, min(at + _PART, seed + seeds)) for at in range(seed, seed + seeds, _PART)]
    tasks = [Task(*cell, part) for cell in cells for part in parts]
    found = each(some_runs, tasks, jobs, "failover")
    by_cell: dict[tuple[str, int, bool], list[Failover]] = {cell: [] for cell in cells}
    for task, runs in zip(tasks, found, strict=True):
        for run in runs:
            by_cell[task.options, task.nodes, run.led].append(run)
    good = True
    rows: list[tuple[str, ...]] = [
        ("options", "nodes", "crashed", "of it", "runs", "p50 s", "p99 s", "max s", "seed", "bar", "")
    ]
    problems = [run.problem for runs in by_cell.values() for run in runs if run.problem]
    for (options, nodes, leads), runs in by_cell.items():
        for region in KINDS:
            row, met = _row(options, nodes, leads, region, runs)
            rows.append(row)
            good = good and met
    print(f"\nfailover: from a crash to OpenShard elsewhere, in simulated seconds; {seeds} seeds from {seed} a row")
    print(grid(rows))
    print("seed: of the longest. The bar is for p99. A shard: the last of about 64 / n that the node had.")
    for problem in problems:
        print(f"NOT MET: {problem}")
    return good and not problems


def _row(options: str, nodes: int, leads: bool, region: str, runs: list[Failover]) -> tuple[tuple[str, ...], bool]:
    took = sorted([(run.took[region], run.seed) for run in runs if region in run.took])
    head = (options, str(nodes), "leader" if leads else "other", KINDS[region], str(len(took)))
    bar = BARS[options]
    if not took:
        return (*head, "", "", "", "", f"<= {bar}", "no run"), True
    p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
    longest, worst = took[-1]
    verdict = "met" if p99 <= bar else "NOT MET"
    cells = (f"{p50:.3f}", f"{p99:.3f}", f"{longest:.3f}", str(worst), f"<= {bar}", verdict)
    return (*head, *cells), p99 <= bar


def percentile(took: list[tuple[float, int]], share: float) -> float:
    """The smallest time that so large a share of all does not exceed."""
    return took[math.ceil(share * len(took)) - 1][0]
