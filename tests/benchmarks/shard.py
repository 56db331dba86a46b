"""Placement: what a plan costs, how even it is, and how much of it one member more or less changes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache

from casty_proto.shard import DEFAULT_NUM_SHARDS, Member, Plan, moves, plan, shard_of

from .harness import Figure, Measure

IDS = 1_000_000
ROUNDS = 200_000
CHANGES = 10
"""How many joins, and how many leaves, are looked at for each size of the cluster."""

_names = iter(range(10**9))


def _members(count: int, prefix: str = "10.0.0") -> list[Member]:
    return [Member(f"{prefix}.{number}:7000") for number in range(count)]


def _plan(count: int, replicas: int) -> Measure:
    async def measure() -> float:
        """Milliseconds for members that were never seen before."""
        members = _members(count, f"cluster-{next(_names)}")
        began = time.process_time()
        plan(members, replicas=replicas)
        return (time.process_time() - began) * 1e3

    return measure


async def differences() -> float:
    """Milliseconds to compare two plans of 100 nodes."""
    before, after = _hundred()
    began = time.process_time()
    moves(before, after)
    return (time.process_time() - began) * 1e3


@cache
def _hundred() -> tuple[Plan, Plan]:
    return plan(_members(100), replicas=3), plan(_members(101), replicas=3)


async def shards() -> float:
    """Entities per second, none of them twice."""
    ids = [f"customer-{number}" for number in range(ROUNDS)]
    began = time.process_time()
    for entity in ids:
        shard_of(entity, DEFAULT_NUM_SHARDS)
    return ROUNDS / (time.process_time() - began)


@cache
def _entities() -> list[int]:
    found = Counter([shard_of(f"customer-{number}", DEFAULT_NUM_SHARDS) for number in range(IDS)])
    return [found[shard] for shard in range(DEFAULT_NUM_SHARDS)]


def _largest(count: int) -> Measure:
    @cache
    def largest() -> float:
        load: Counter[str | None] = Counter()
        for owner, number in zip(plan(_members(count)).owners(), _entities(), strict=True):
            load[owner] += number
        return max(load.values()) * count / IDS

    return _always(largest)


def _moved(count: int) -> Measure:
    """The largest part that one join or leave moved, in n-ths of the shards."""

    @cache
    def moved() -> float:
        before = plan(_members(count))
        return max([_owner_changes(before, plan(members)) for members in _changes(count)]) * count / DEFAULT_NUM_SHARDS

    return _always(moved)


def _always(result: Callable[[], float]) -> Measure:
    async def measure() -> float:
        return result()

    return measure


def _changes(count: int) -> Iterable[list[Member]]:
    members = _members(count)
    for number in range(CHANGES):
        yield [*members, Member(f"10.0.1.{number}:7000")]
        if number < count:
            yield [one for one in members if one != members[number]]


def _owner_changes(before: Plan, after: Plan) -> int:
    return sum([move.owner_changes for move in moves(before, after)])


FIGURES = [
    Figure("plan for 100 nodes", _plan(100, 1), bar=50, unit=" ms", at_most=True),
    Figure("plan for 100 nodes, 3 replicas", _plan(100, 3), bar=50, unit=" ms", at_most=True),
    Figure("plan for 10 nodes, 3 replicas", _plan(10, 3), unit=" ms"),
    Figure("plan for 1000 nodes, 3 replicas", _plan(1000, 3), unit=" ms"),
    Figure("moves between two plans of 100 nodes, 3 replicas", differences, unit=" ms"),
    Figure("shard_of", shards),
    *[
        Figure(f"largest load / mean, 1,000,000 entities on {count} nodes", _largest(count), None, 1.10, "", True)
        for count in (3, 10, 100)
    ],
    *[
        Figure(f"largest move of {2 * CHANGES} changes, {count} nodes, times n", _moved(count), None, 1.25, "", True)
        for count in (3, 10, 100)
    ],
]
