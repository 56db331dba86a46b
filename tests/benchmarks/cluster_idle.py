"""What 5 nodes say to each other when nobody wants anything of them, and what that costs to simulate."""

from __future__ import annotations

import time
from collections import Counter

from attrs import frozen

from casty_proto.cluster.options import NodeOptions
from casty_proto.cluster.records import RegionKind, RegionSettings
from casty_proto.machine import SECOND

from .cluster_form import grouped
from .cluster_world import Net
from .swim_show import grid

NODES = 5
SECONDS = 60
REGION, SINGLETON, SHARDS = "players", "boss", 64


@frozen
class Idle:
    """One run."""

    rates: dict[str, float]
    """Messages per node and second, by protocol."""
    cost: float
    """Milliseconds of processor time per simulated second."""
    steady: bool
    """Whether nothing has changed."""


def one_run(options: NodeOptions, seed: int) -> Idle:
    """Form a cluster, let it settle, and count."""
    net = Net(seed, options)
    names = [f"node-{number}" for number in range(NODES)]
    for name in names:
        net.start(name, *names)
    net.run_until(lambda: net.see_each_other() and net.leader() is not None, "all are members and see each other")
    net.add_region(REGION, RegionSettings(num_shards=SHARDS))
    net.add_region(SINGLETON, RegionSettings(num_shards=1), RegionKind.SINGLETON)
    net.run_until(lambda: net.is_owned(REGION) and net.is_owned(SINGLETON), "every shard has an owner")
    net.run_until(lambda: len(net.voters()) == NODES, "all vote")
    net.run(10 * SECOND)
    before = (dict(net.homes), [(place.node.term, place.node.state.changed) for place in net.up()])
    net.by_door = Counter()
    began = time.process_time()
    net.run(SECONDS * SECOND)
    took = time.process_time() - began
    after = (dict(net.homes), [(place.node.term, place.node.state.changed) for place in net.up()])
    share = 1 / (NODES * SECONDS)
    rates = {group: count * share for group, count in grouped(net.by_door).items()}
    return Idle(rates, 1000 * took / SECONDS, before == after)


def report(seed: int) -> bool:
    """Print the table. Returns whether nothing has changed while nothing was wanted."""
    found = {"default": one_run(NodeOptions(), seed), "fast": one_run(NodeOptions.fast(), seed)}
    print(f"\nidle: {NODES} nodes, {SHARDS} shards and a singleton, {SECONDS} simulated seconds without anything to do")
    groups = list(found["default"].rates)
    rows = [("options", *groups, "all", "", "ms of CPU", "", "leader, owners, state")]
    rows += [
        (
            name,
            *[f"{idle.rates[group]:.2f}" for group in groups],
            f"{sum(idle.rates.values()):.2f}",
            "|",
            f"{idle.cost:.1f}",
            "|",
            "unchanged: met" if idle.steady else "changed: NOT MET",
        )
        for name, idle in found.items()
    ]
    print(grid(rows))
    print("messages per node and second by protocol | for all nodes, per simulated second | bar: nothing changes")
    return all(idle.steady for idle in found.values())
