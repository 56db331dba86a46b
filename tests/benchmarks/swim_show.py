"""What the parts of the SWIM benchmark share: how much is run, and how it is shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from attrs import frozen

N = 128
"""Members, where nothing else is said."""
FIRST = "member-000"
"""The seed of all others. It never crashes."""


@frozen
class Plan:
    """How much is run."""

    rounds: int
    sizes: tuple[int, ...]
    crashes: int
    slow: tuple[int, ...]
    blocked: tuple[float, ...]
    runs: int
    losses: tuple[float, ...]
    ablation: bool


def progress(text: str) -> None:
    """Show on a terminal what is going on; without a text, clear the line."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table, the first one its head. Columns of numbers are right-aligned, the first and bars are not."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place == 0 or "#" in cell else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * (sum(widths) + 2 * len(widths) - 2))
    return "\n".join(lines)
