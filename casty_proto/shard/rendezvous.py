"""Another placement: the highest random number wins (Thaler and Ravishankar, 1996).

Each member draws a number for each shard, and the shard belongs to the highest, with the next ones as its backups. What
a member weighs is the number of draws of which its best one counts. A shard moves only to a member that comes or from
one that goes. Loads are as uneven as chance has it: for 100 members and 16384 shards the largest is about 1.2 times
the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from .hashing import draws


@frozen
class Rendezvous:
    """Moves as little as possible, and does not limit loads."""

    def place(self, members: Sequence[tuple[str, int]], num_shards: int, copies: int) -> list[int]:
        """See `Placement`."""
        columns = [_best(name, weight, num_shards) for name, weight in members]
        table: list[int] = []
        for numbers in zip(*columns, strict=True):
            # Sorting keeps equals in order, so of two equal numbers the first name's wins.
            ranking = sorted(range(len(numbers)), key=numbers.__getitem__, reverse=True)
            table += ranking[:copies]
        return table


def _best(name: str, weight: int, num_shards: int) -> Sequence[int]:
    columns = [draws(f"{copy}:{name}", num_shards, "Q") for copy in range(weight)]
    return columns[0] if weight == 1 else [max(numbers) for numbers in zip(*columns, strict=True)]
