"""`python -m tests.benchmarks cluster`: how fast a cluster forms and fails over, and what it says meanwhile.

Nodes are machines in a lean loop (`cluster_world.py`). But for processor time, everything is in simulated time, and
follows from the seed exactly.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence

from casty_proto.machine import nanoseconds

from . import cluster_failover, cluster_form, cluster_idle

PARTS = ("form", "failover", "idle")


def main(arguments: Sequence[str]) -> int:
    """Returns 1 when a bar is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks cluster", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--seeds", type=int, default=1000, help="runs of each row of failover (default: 1000)")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="processes (default: 1)")
    parser.add_argument("--within", type=float, default=0.1, help="seconds in which nodes of form start (default: 0.1)")
    given = parser.parse_args(arguments)
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown or given.seeds < 1 or not 0 <= given.within <= 60:
        reason = "--seeds must be at least 1, and --within from 0 to 60"
        parser.error(f"no such part: {', '.join(unknown)}" if unknown else reason)
    parts = given.parts or PARTS
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{python}, seed {given.seed}; links of 0.3 to 1 ms, disks of 0.5 ms; who crashes is silent")
    met = True
    if "form" in parts:
        met = cluster_form.report(given.seed, given.jobs, nanoseconds(given.within)) and met
    if "failover" in parts:
        met = cluster_failover.report(given.seed, given.seeds, given.jobs) and met
    if "idle" in parts:
        met = cluster_idle.report(given.seed) and met
    return 0 if met else 1
