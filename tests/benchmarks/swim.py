"""`python -m tests.benchmarks swim`: how fast SWIM is simulated, what it costs, what it finds, and what it gets wrong.

Members are machines in a lean loop (`swim_net.py`); links take 1 ms. Speeds are by processor time. Everything else is
in simulated time, and follows from the seed exactly.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Awaitable, Callable, Sequence

from attrs import define

from casty_proto.machine import SECOND, nanoseconds
from casty_proto.swim import Ack, Gossip, IndirectAck, Nack, Ping, PingRequest
from casty_proto.swim.maths import sync_scale

from . import swim_accuracy
from .harness import Figure, Result, measure, table
from .swim_net import Net, cluster
from .swim_show import FIRST, N, Plan, grid, progress
from .swim_world import world_speed

PROBES = (Ping, Ack, PingRequest, IndirectAck, Nack)
SPREAD_MAX = 1.1
"""How much the load per member may differ between the smallest and the largest cluster."""


FULL = Plan(
    rounds=3,
    sizes=(8, 16, 32, 64, 128, 256, 512),
    crashes=100,
    slow=(1, 4, 16),
    blocked=(8.0, 16.0, 30.0),
    runs=1,
    losses=(0.05, 0.25),
    ablation=True,
)
QUICK = Plan(rounds=1, sizes=(8, 32, 128), crashes=10, slow=(4,), blocked=(16.0,), runs=1, losses=(), ablation=False)


# -- a: speed ----------------------------------------------------------------------------------------------------------


def speeds(plan: Plan, seed: int) -> list[Result]:
    """Simulated seconds per second of processor time."""

    def timed(make: Callable[[], Net], seconds: int) -> Callable[[], Awaitable[float]]:
        kept: list[Net] = []

        async def run() -> float:
            if not kept:
                kept.append(make())
            began = time.process_time()
            kept[0].run(seconds)
            return seconds / (time.process_time() - began)

        return run

    async def world() -> float:
        return world_speed(N, seed, 90)

    def quiet() -> Net:
        net = cluster(N, seed)
        net.run(40)
        return net

    def churning(every: float) -> Net:
        net = quiet()
        _churn(net, every)
        net.run(40)
        return net

    figures = [
        Figure("no faults, lean loop", timed(quiet, 90), bar=100, unit=" s/s"),
        Figure("no faults, casty_sim.World without digest", world, bar=100, unit=" s/s"),
        Figure("a crash and a restart every 30 s, lean loop", timed(lambda: churning(30.0), 60), unit=" s/s"),
        Figure("a crash and a restart every 5 s, lean loop", timed(lambda: churning(5.0), 30), unit=" s/s"),
    ]
    results = []
    for figure in figures:
        progress(f"speed: {figure.name}")
        results.append(measure(figure, plan.rounds, "asyncio"))
    return results


def _churn(net: Net, every: float) -> None:
    """One member crashes now and then, and is back after 20 s."""

    def crash() -> None:
        name = net.rng.choice([address for address in net.up() if address != FIRST])
        net.crash(name)
        net.after(20 * SECOND, lambda: net.start(name, FIRST))
        net.after(nanoseconds(every), crash)

    crash()


# -- b: load -----------------------------------------------------------------------------------------------------------


@define
class Load:
    """Messages for each member and period, over a stretch of time."""

    probes: float
    gossip: float
    sync: float
    size: float
    """Estimated bytes."""
    largest: int
    largest_sync: int

    @property
    def total(self) -> float:
        """All messages."""
        return self.probes + self.gossip + self.sync

    @property
    def swim(self) -> float:
        """All but the comparison of states, which is memberlist's."""
        return self.probes + self.gossip


def load(net: Net, seconds: float) -> Load:
    """Let time pass and count."""
    net.kinds, net.largest, net.bytes, net.watch_sizes = {}, {}, 0, True
    members = len(net.up())
    net.run(seconds)
    net.watch_sizes = False
    share = 1 / (members * seconds * SECOND / net.options.probe_interval_ns)
    probes = sum(net.kinds.get(kind, 0) for kind in PROBES)
    gossip = net.kinds.get(Gossip, 0)
    sync = sum(net.kinds.values()) - probes - gossip
    swim = (*PROBES, Gossip)
    largest = max(net.largest.get(kind, 0) for kind in swim)
    largest_sync = max((size for kind, size in net.largest.items() if kind not in swim), default=0)
    return Load(probes * share, gossip * share, sync * share, net.bytes * share, largest, largest_sync)


def loads(plan: Plan, seed: int) -> tuple[str, float, float]:
    """The curve over the size of the cluster, and how much the load without faults differs along it.

    That of SWIM's own messages, and that of all. Gossip without faults has no column: there is none, or "all" shows it.
    """
    steady, churned = [], []
    for n in plan.sizes:
        progress(f"load: {n} members")
        net = cluster(n, seed)
        # The first comparison of states comes early and at random; then they come at their intervals.
        net.run(40)
        steady.append(load(net, max(60.0, 30.0 * sync_scale(n))))
        net.crash(net.rng.choice(net.up()[1:]))
        churned.append(load(net, 60.0))
    rows = [
        ("n", "probes", "sync", "all", "", "bytes", "largest", "sync", "|", "probes", "gossip", "both", "", "largest")
    ]
    most = max(each.swim for each in churned)
    for n, calm, crash in zip(plan.sizes, steady, churned, strict=True):
        rows.append(
            (
                str(n),
                f"{calm.probes:.2f}",
                f"{calm.sync:.2f}",
                f"{calm.total:.2f}",
                "#" * round(20 * calm.total / most),
                f"{calm.size:.0f}",
                f"{calm.largest} B",
                f"{calm.largest_sync} B",
                "|",
                f"{crash.probes:.2f}",
                f"{crash.gossip:.2f}",
                f"{crash.swim:.2f}",
                "#" * round(20 * crash.swim / most),
                f"{crash.largest} B",
            )
        )
    return grid(rows), _spread([each.swim for each in steady]), _spread([each.total for each in steady])


def _spread(values: Sequence[float]) -> float:
    return max(values) / min(values)


# ----------------------------------------------------------------------------------------------------------------------


def _verdict(spread: float) -> str:
    return f"{spread:.2f} {'met' if spread <= SPREAD_MAX else 'NOT MET'}"


def main(arguments: Sequence[str]) -> int:
    """Returns 1 when a bar is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks swim", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes, crashes and settings")
    parser.add_argument("--seed", type=int, default=1, help="of everything but the speeds (default: 1)")
    given = parser.parse_args(arguments)
    plan, seed = (QUICK if given.quick else FULL), given.seed
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{python}, seed {seed}, {N} members and the default SwimOptions where nothing else is said, links of 1 ms")
    results = speeds(plan, seed)
    progress("")
    print(f"\nsimulated seconds per second of processor time\n{table(results)}")
    curve, own, everything = loads(plan, seed)
    progress("")
    print(f"\nmessages per member and period: without faults | in the 60 s after one crash, without sync\n{curve}")
    print(
        f"largest over smallest without faults: probes and gossip, which are SWIM, {_verdict(own)}, bar {SPREAD_MAX};\n"
        f"with the comparison of whole states, which is memberlist's and grows with n / log n, {everything:.2f}"
    )
    for title, make, note in (
        ("from a crash to its detection", swim_accuracy.detections, swim_accuracy.DETECTION_NOTE),
        ("false positives, a run of 120 s for each figure", swim_accuracy.comparison, swim_accuracy.ALARM_NOTE),
    ):
        text = make(plan, seed)
        progress("")
        print(f"\n{title}\n{text}\n{note}")
    if plan.ablation:
        text = swim_accuracy.ablation(plan, seed)
        progress("")
        print(f"\neach part of Lifeguard alone\n{text}")
    return 0 if own <= SPREAD_MAX and all(result.met is not False for result in results) else 1
