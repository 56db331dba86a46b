"""`python -m tests.benchmarks [SUITE ...]`: measure, and print a table of ratios."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from . import cluster, local, nodes, nodes_many, nodes_times, raft, remote, shard, shrinking, simloop, swim, wire
from .harness import Figure, Result, measure, table

SUITES: dict[str, list[Figure]] = {
    "local": local.FIGURES,
    "simloop": simloop.FIGURES,
    "nodes": nodes.FIGURES,
    "raft": raft.FIGURES,
    "remote": remote.FIGURES,
    "shard": shard.FIGURES,
    "wire": wire.FIGURES,
}
WITHOUT_LOOP = ("simloop", "raft", "shard", "wire")
"""Suites of pure code, for which the event loop does not matter."""


def main() -> int:
    """Returns 1 when a bar is not met, so that a script can tell."""
    if sys.argv[1:2] == ["cluster"]:
        return cluster.main(sys.argv[2:])
    if sys.argv[1:2] == ["nodes-many"]:
        return nodes_many.main(sys.argv[2:])
    if sys.argv[1:2] == ["nodes-times"]:
        return nodes_times.main(sys.argv[2:])
    if sys.argv[1:2] == ["shrinking"]:
        return shrinking.main(sys.argv[2:])
    if sys.argv[1:2] == ["swim"]:
        return swim.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"what to measure: {', '.join(SUITES)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count, after one to warm up (default: 5)")
    parser.add_argument(
        "--loop", choices=["asyncio", "uvloop", "both"], default="both", help="event loop (default: both)"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="only figures whose name contains TEXT")
    options = parser.parse_args()
    unknown = [name for name in options.suites if name not in SUITES]
    if unknown or options.rounds < 1:
        parser.error(f"no such suite: {', '.join(unknown)}" if unknown else "--rounds must be at least 1")
    missed = 0
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{python}, {os.cpu_count()} cores, medians of {options.rounds}")
    for suite in options.suites or SUITES:
        figures = [figure for figure in SUITES[suite] if options.only in figure.name]
        loops = ["asyncio", "uvloop"] if options.loop == "both" else [options.loop]
        for loop in ["asyncio"] if suite in WITHOUT_LOOP else loops:
            results = _run(figures, options.rounds, loop)
            missed += sum(result.met is False for result in results)
            print(f"\n{suite}{'' if suite in WITHOUT_LOOP else f' on {loop}'}\n{table(results)}")
    return 1 if missed else 0


def _run(figures: list[Figure], rounds: int, loop: str) -> list[Result]:
    results = []
    for number, figure in enumerate(figures, 1):
        if sys.stderr.isatty():
            print(f"\r\033[K{loop}: {number}/{len(figures)} {figure.name}", end="", file=sys.stderr, flush=True)
        results.append(measure(figure, rounds, loop))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
