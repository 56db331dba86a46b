"""The ring, slowly: every virtual node is put on it, and each shard looks along its sector."""

from __future__ import annotations

import hashlib
from fractions import Fraction

from casty_proto.shard import Member

type Point = tuple[int, int, str]
"""A virtual node in one sector: how far from the beginning, who is first of those at the same distance, and whose."""


def hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def wishes(seed: str, num_shards: int) -> list[int]:
    """All shards in the order of first draws; those that were not drawn in the order of the number at their place."""
    stream = hashlib.shake_128(seed.encode()).digest(4 * num_shards)
    numbers = [256 * stream[at] + stream[at + 1] for at in range(0, len(stream), 2)]
    order: list[int] = []
    for number in numbers:
        if number % num_shards not in order:
            order.append(number % num_shards)
    return order + sorted([s for s in range(num_shards) if s not in order], key=lambda shard: (numbers[shard], shard))


def sectors(members: list[Member], num_shards: int) -> list[list[Point]]:
    """The virtual nodes of each sector, clockwise."""
    seeds = [(hash64(f"{copy}:{one.name}"), f"{copy}:{one.name}") for one in members for copy in range(one.weight)]
    ring: list[list[Point]] = [[] for _ in range(num_shards)]
    for place, (_, seed) in enumerate(sorted(seeds)):
        for distance, shard in enumerate(wishes(seed, num_shards)):
            ring[shard].append((distance, -place if distance % 2 else place, seed.partition(":")[2]))
    return [sorted(points) for points in ring]


def limit(member: Member, members: list[Member], num_shards: int, slack_percent: int | None) -> int:
    """How many shards a member may own."""
    if slack_percent is None:
        return num_shards
    share = Fraction(num_shards * member.weight, sum([one.weight for one in members]))
    in_65536ths = share * (100 + slack_percent) * 65536 // 100 + hash64(member.name) % 65536
    return max(in_65536ths // 65536, share.__ceil__())


def slow_homes(members: list[Member], num_shards: int, copies: int, slack_percent: int | None) -> list[tuple[str, ...]]:
    """The homes of each shard, the owner first."""
    ring = sectors(members, num_shards)
    room = {one.name: limit(one, members, num_shards, slack_percent) for one in members}
    nearest_first = sorted([(*point, shard) for shard, points in enumerate(ring) for point in points])
    owners: dict[int, Point] = {}
    for distance, turn, name, shard in nearest_first:
        if shard not in owners and room[name] > 0:
            room[name] -= 1
            owners[shard] = (distance, turn, name)
    homes = []
    for shard, points in enumerate(ring):
        at = points.index(owners[shard])
        walk = [name for _, _, name in points[at:] + points[:at]]
        homes.append(tuple(dict.fromkeys(walk))[:copies])
    return homes
