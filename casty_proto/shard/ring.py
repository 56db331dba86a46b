"""The default placement: a hash ring with virtual nodes and a limit on loads.

Theory of operation
-------------------
The ring is divided into as many sectors as there are shards, and each shard lies at the beginning of its sector. Every
node has one virtual node in every sector. Clockwise from a shard, all nodes come once before the sector ends: the first
one with room owns the shard, and the next ones are its backups.

Where in the sectors the virtual nodes of a node lie is a random order of all shards that follows from its name alone,
its wishes: in the sector of its k-th wish, it lies at k / `num_shards` of the way. So the ring need not be built, and
nothing searched: in round k each node claims the shard of its k-th wish. A shard goes to the first that claims it and
is not full, and the next that claim it are its backups. When all shards have their homes, the rest of the ring does not
matter: with n nodes, that is after some 11 / n of all rounds, or 15 / n with three homes.

    wishes of a   3 0 5 1 2 4        round 0: a takes 3, b takes 5, c takes 0
    wishes of b   5 1 3 4 0 2        round 1: b takes 1; a and c come too late for 0 and 5, and back them up
    wishes of c   0 5 2 3 1 4        round 2: c takes 2; then 4 is b's in round 3

The limit: a node that owns `slack_percent` more than its share claims nothing more, and the shard goes to the next. It
keeps the shards that lie closest to its virtual nodes. This differs from the published scheme for bounded loads
(Mirrokni, Thorup and Zadimoghaddam, 2016), which has no order among the keys of a full node: here, what a node loses by
another one's coming is mostly what it would have gained last.

It is a pure function of the members, without history, so that every node computes the same plan whenever it joined,
and a node that goes and comes back finds everything as it was. What that costs, and why the numbers are as they are:

-   With no limit, nothing moves but to the node that comes or from the one that goes, and the loads are what chance
    makes of them. With random positions that is a standard deviation of sqrt(n / num_shards) of the mean. As each
    node lies once at each distance, half of the variance is gone, and nothing is paid for it.
-   A limit that is often reached moves shards between nodes that stay: a full node that gives some to a newcomer has
    room for others. How often it is reached depends on its distance in standard deviations. More virtual nodes do not
    help, since the deviation is that of the shards; more shards do. A newcomer takes num_shards / n**2 shards from
    each node. Where that is less than one, as with 4096 shards and 100 nodes, levelling what chance has made of it
    costs about half as much again as is moved anyway.

What 100 nodes give (moved when another one joins, times n / num_shards: the mean of 25 joins, and the most; entities:
the largest load of 1,000,000 on any node in any of 25 clusters, over the mean):

    shards   slack      moved: mean, most      entities
      4096     7 %          1.43     1.66          1.10
      4096    10 %          1.26     1.56          1.14
      8192     6 %          1.22     1.36          1.09
     12288     6 %          1.12     1.25          1.09
     16384     5 %          1.10     1.22          1.08
     16384     6 %          1.07     1.16          1.09
     16384     7 %          1.05     1.14          1.10
     16384    none          0.98     1.06          1.17

For comparison, moved at a join: the published scheme with 5 % and 100 virtual nodes 1.42, a levelled table of Maglev
1.55. With 16384 shards and up to 10 nodes the limit was never reached and nothing moved between those that stay; with
20 nodes it was 0.002 of a share, with 50 0.02, and with 100 0.08. With 200 nodes a join moves 1.38, and at most 1.53:
who has so many should take four times the shards.

What is guaranteed
------------------
 1. No node owns more than its share, and `slack_percent` of it, and one shard.
 2. A shard moves between two nodes that stay only if one of them is full, before or after. So where nobody is full,
    exactly what the newcomer gets, or what the leaver had, is moved.
 3. How much is moved on the whole is not guaranteed but measured, as above.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from attrs import Attribute, field, frozen

from .hashing import draws, stable_hash

NUM_SHARDS_MAX = 2**16
"""The most shards that there can be. Their numbers are from 0 to one less."""
DEFAULT_SLACK_PERCENT = 6
_FRACTION = 2**16


def _percent(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and (type(value) is not int or not 0 <= value <= 10_000):
        raise ValueError(f"{attribute.name} is {value!r}; expected a whole number from 0 to 10000, or None")


@frozen
class Ring:
    """The hash ring. Raises `ValueError` for a slack that makes no sense."""

    slack_percent: int | None = field(default=DEFAULT_SLACK_PERCENT, validator=_percent)
    """By how much a node may own more than its share; `None` for no limit."""

    def place(self, members: Sequence[tuple[str, int]], num_shards: int, copies: int) -> list[int]:
        """See `Placement`. A node of weight w has w virtual nodes in every sector."""
        seeds = [(seed, index) for index, (name, weight) in enumerate(members) for seed in _seeds(name, weight)]
        seeds.sort(key=_by_hash)
        claimants = [index for _, index in seeds]
        room = self._room(members, num_shards)
        wants = bytearray([copies]) * num_shards
        table = [0] * (num_shards * copies)
        # A number that is drawn is a place on this circle. Where there is no power of two of shards, some come
        # up more often, for all nodes alike. All lists share these few objects, which stay in the processor's cache.
        circle = (list(range(num_shards)) * (NUM_SHARDS_MAX // num_shards + 1))[:NUM_SHARDS_MAX]
        drawn = (17 + copies) * num_shards // len(seeds) + 8
        begin = 0
        while any(wants):
            wishes = [_wishes(seed, circle, num_shards, drawn) for seed, _ in seeds]
            rounds = enumerate(zip(*wishes, strict=False))
            _claim(claimants, islice(rounds, begin, None), room, wants, table)
            # Once around the ring, it begins anew: whoever was full on the way to the owner can still be a backup.
            begin = min([len(row) for row in wishes]) % num_shards
            drawn += drawn // 3
        return table

    def _room(self, members: Sequence[tuple[str, int]], num_shards: int) -> list[int]:
        """How many shards each member may own. Together that is enough, as nobody gets less than its share."""
        if self.slack_percent is None:
            return [num_shards] * len(members)
        percent, total = 100 + self.slack_percent, sum([weight for _, weight in members])
        room = []
        for name, weight in members:
            # Rounded up or down by the node's own number: rounded in one way for all, the limits of all full nodes
            # would change at once, at some sizes of the cluster.
            exact = num_shards * weight * percent * _FRACTION // (total * 100)
            rounded = (exact + stable_hash(name) % _FRACTION) // _FRACTION
            room.append(max(rounded, -(-num_shards * weight // total)))
        return room


def _seeds(name: str, weight: int) -> list[str]:
    return [f"{copy}:{name}" for copy in range(weight)]


def _by_hash(point: tuple[str, int]) -> tuple[int, str]:
    return stable_hash(point[0]), point[0]


def _wishes(seed: str, circle: list[int], num_shards: int, drawn: int) -> tuple[int, ...]:
    """The beginning of a random order of all shards: each when it is first drawn. All of it, where that is long.

    The eighth of the shards that has not come after twice as many draws as there are shards is put in order by sorting.
    """
    if drawn < num_shards:
        return tuple(dict.fromkeys(map(circle.__getitem__, draws(seed, drawn))))
    numbers = draws(seed, 2 * num_shards)
    wishes = dict.fromkeys(map(circle.__getitem__, numbers))
    late = [shard for shard in circle[:num_shards] if shard not in wishes]
    late.sort(key=numbers.__getitem__)
    return (*wishes, *late)


def _claim(
    claimants: list[int],
    rounds: Iterable[tuple[int, tuple[int, ...]]],
    room: list[int],
    wants: bytearray,
    table: list[int],
) -> None:
    """Go through these rounds, or until no shard wants more homes.

    `rounds` gives the number of each and what the claimants claim in it; `room`, how many shards each member may own
    yet; `wants`, how many homes each shard lacks; `table` is filled.
    """
    copies = len(table) // len(wants)
    wanting = len(wants) - wants.count(0)
    backwards = claimants[::-1]
    for number, column in rounds:
        # Who comes first changes from round to round, so that of two nodes that claim a shard at once each wins half
        # of the time. It is the same whoever else is there.
        claims = zip(backwards, column[::-1], strict=True) if number & 1 else zip(claimants, column, strict=True)
        for index, shard in claims:
            if not (wanted := wants[shard]):
                continue
            end = (shard + 1) * copies
            if wanted == copies:
                if not room[index]:
                    continue
                room[index] -= 1
            elif index in table[end - copies : end - wanted]:
                continue
            table[end - wanted] = index
            wants[shard] = wanted - 1
            wanting -= wanted == 1
        if not wanting:
            break
