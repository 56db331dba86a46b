"""How a figure is measured: the reference and ours in turn, several rounds, and the medians of what came out."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
from collections.abc import Awaitable, Callable

from attrs import frozen

from casty_asyncio.runner import loop_factory

type Measure = Callable[[], Awaitable[float]]
"""Runs once and returns operations per second (or, where a figure says so, another quantity)."""


@frozen
class Figure:
    """One line of the table."""

    name: str
    ours: Measure
    reference: Measure | None = None
    bar: float | None = None
    """For a ratio, ours / reference must be at least this; otherwise the value itself is compared."""
    unit: str = "/s"
    at_most: bool = False
    """Whether the bar is a ceiling."""
    note: str = ""


@frozen
class Result:
    """What came out, as medians over the rounds."""

    figure: Figure
    ours: float
    reference: float | None
    ratio: float | None
    spread: float
    """Largest over smallest of what is compared with the bar: how noisy the machine was."""

    @property
    def compared(self) -> float:
        """What the bar is about."""
        return self.ours if self.ratio is None else self.ratio

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; `None` without a bar."""
        if self.figure.bar is None:
            return None
        return self.compared <= self.figure.bar if self.figure.at_most else self.compared >= self.figure.bar


def factory_of(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop factory for `asyncio` or `uvloop`. Exits with a message when uvloop is wanted and not there."""
    if loop == "asyncio":
        return None
    factory = loop_factory()
    if factory is None:
        sys.exit("uvloop is not installed; use --loop asyncio")
    return factory


def measure(figure: Figure, rounds: int, loop: str) -> Result:
    """Measure one figure. The first round warms up and does not count."""
    ours: list[float] = []
    references: list[float] = []
    with asyncio.Runner(loop_factory=factory_of(loop)) as runner:
        for _ in range(rounds + 1):
            if figure.reference is not None:
                references.append(_once(runner, figure.reference))
            ours.append(_once(runner, figure.ours))
    del ours[0], references[:1]
    ratios = [mine / bare for mine, bare in zip(ours, references, strict=True)] if references else []
    compared = ratios or ours
    return Result(
        figure=figure,
        ours=statistics.median(ours),
        reference=statistics.median(references) if references else None,
        ratio=statistics.median(ratios) if ratios else None,
        spread=max(compared) / min(compared) if min(compared) > 0 else 1.0,
    )


def _once(runner: asyncio.Runner, what: Measure) -> float:
    async def run() -> float:
        return await what()

    gc.collect()
    return runner.run(run())


def table(results: list[Result]) -> str:
    """The results as a table for people."""
    rows = [("figure", "ours", "reference", "ratio", "bar", "", "spread")]
    for result in results:
        figure = result.figure
        bar = "" if figure.bar is None else f"{'<=' if figure.at_most else '>='} {_short(figure.bar)}"
        verdict = {None: "", True: "met", False: "NOT MET"}[result.met]
        rows.append(
            (
                figure.name,
                _short(result.ours) + figure.unit,
                "" if result.reference is None else _short(result.reference) + figure.unit,
                "" if result.ratio is None else f"{result.ratio:.2f}",
                bar,
                verdict,
                f"x{result.spread:.2f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *padded]))
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f}M"
    if value >= 1e4:
        return f"{value / 1e3:.0f}k"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def pinned(measure: Measure, start_peers: Callable[[], object]) -> Measure:
    """Run on the first core; the processes that `start_peers` starts are on the last."""

    async def run() -> float:
        cores = os.sched_getaffinity(0)
        start_peers()
        os.sched_setaffinity(0, {min(cores)})
        try:
            return await measure()
        finally:
            os.sched_setaffinity(0, cores)

    return run
