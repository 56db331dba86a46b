"""Who owns what: the plan that follows from the members, and what changes from one plan to the next.

A plan is computed by whoever needs it, and never sent: it follows from the members, the number of shards, the number of
replicas and the role, and from nothing else. So who has applied the same membership has the same plan. How shards are
spread over the members is up to a `Placement`; what is the same for all of them is done here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Protocol

from attrs import Attribute, field, frozen
from attrs.validators import deep_iterable, instance_of

from .ring import NUM_SHARDS_MAX, Ring

DEFAULT_NUM_SHARDS = 16384
"""How many shards there are where nobody says otherwise."""
REPLICAS_MAX = 16
WEIGHT_MAX = 64


def _check(name: str, number: object, high: int) -> None:
    if type(number) is not int or not 1 <= number <= high:
        raise ValueError(f"{name} is {number!r}; expected a whole number from 1 to {high}")


def _weight(_: object, attribute: Attribute[Any], number: object) -> None:
    _check(attribute.name, number, WEIGHT_MAX)


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        raise TypeError(f"roles are {texts!r}; expected several texts, such as ({texts!r},)")
    return tuple(texts)


@frozen
class Member:
    """A member, as far as placement is concerned. Raises `ValueError` or `TypeError` for what makes no sense."""

    name: str = field(validator=instance_of(str))
    """Its node id. It stands for the disk and the state that a node has; so its generation plays no part."""
    weight: int = field(default=1, validator=_weight)
    """How much it owns in proportion to the others. The time for a plan grows with the sum of the weights."""
    roles: tuple[str, ...] = field(default=(), converter=_texts, validator=deep_iterable(instance_of(str)))
    """What it may hold: with a role that a region asks for, that region (rule 4)."""


class Placement(Protocol):
    """A strategy: how shards are spread over members."""

    def place(self, members: Sequence[tuple[str, int]], num_shards: int, copies: int) -> Sequence[int]:
        """For each shard in turn the members that hold it, as `copies` different indexes, the owner first.

        Members are names and weights: at least `copies` of them, which is at least one, in the order of their names.
        The result must follow from the arguments alone.
        """
        ...


@frozen
class Plan:
    """Who owns each shard, and who holds a copy of it."""

    num_shards: int
    """How many shards there are. They are numbered from 0."""
    nodes: tuple[str, ...]
    """The members that can own something, in the order of their names. There may be none."""
    copies: int
    """How many members hold each shard, the owner among them: as many as wanted, or as there are."""
    table: tuple[int, ...] = field(repr=False)
    """Indexes into `nodes`: `copies` for shard 0, the owner first, then those for shard 1, and so on."""

    def owner(self, shard: int) -> str | None:
        """Who owns the shard; `None` where there is nobody who could. Raises `IndexError` for no such shard."""
        self._check(shard)
        return self.nodes[self.table[shard * self.copies]] if self.copies else None

    def homes(self, shard: int) -> tuple[str, ...]:
        """Who holds the shard: the owner, then the backups in the order in which they are to replace it."""
        self._check(shard)
        nodes, at = self.nodes, shard * self.copies
        return tuple([nodes[index] for index in self.table[at : at + self.copies]])

    def backups(self, shard: int) -> tuple[str, ...]:
        """Who holds a copy of the shard and does not own it, in the order in which they are to replace the owner."""
        return self.homes(shard)[1:]

    def owners(self) -> tuple[str | None, ...]:
        """The owners of all shards, in order."""
        if not self.copies:
            return (None,) * self.num_shards
        nodes = self.nodes
        return tuple([nodes[index] for index in self.table[:: self.copies]])

    def owned_by(self, node: str) -> tuple[int, ...]:
        """The shards that a node owns, in order; none for a node that is not in the plan."""
        if node not in self.nodes:
            return ()
        index = self.nodes.index(node)
        return tuple([shard for shard, owner in enumerate(self.table[:: self.copies]) if owner == index])

    def _check(self, shard: int) -> None:
        if not 0 <= shard < self.num_shards:
            raise IndexError(f"shard {shard} is out of range; expected 0 to {self.num_shards - 1}")


@frozen
class Move:
    """A `shard`, by its number, whose homes change: who holds it, the owner first, `before` and `after`."""

    shard: int
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def owner_changes(self) -> bool:
        """Whether the shard gets another owner; otherwise only who backs it up is different, or in what order."""
        return self.before[:1] != self.after[:1]


DEFAULT_PLACEMENT: Placement = Ring()


def plan(
    members: Iterable[Member],
    num_shards: int = DEFAULT_NUM_SHARDS,
    replicas: int = 1,
    *,
    role: str | None = None,
    placement: Placement = DEFAULT_PLACEMENT,
) -> Plan:
    """The plan for these members, in whatever order they are given.

    `replicas` counts the owner. With a `role`, only members that have it hold anything. Where no member can, the plan
    has no nodes and `owner` is `None`. Raises `ValueError` for numbers out of range and for two members of one name.
    """
    _check("num_shards", num_shards, NUM_SHARDS_MAX)
    _check("replicas", replicas, REPLICAS_MAX)
    able = sorted([(one.name, one.weight) for one in members if role is None or role in one.roles])
    nodes = tuple([name for name, _ in able])
    if len(dict.fromkeys(nodes)) < len(nodes):
        twice = next(name for name, other in pairwise(nodes) if name == other)
        raise ValueError(f"there are two members {twice!r}; expected different names")
    copies = min(replicas, len(nodes))
    table = tuple(placement.place(able, num_shards, copies)) if nodes else ()
    assert len(table) == num_shards * copies, (len(table), num_shards, copies)
    return Plan(num_shards, nodes, copies, table)


def moves(before: Plan, after: Plan) -> tuple[Move, ...]:
    """What changes between two plans, by shard. Raises `ValueError` where they are not of the same shards."""
    if before.num_shards != after.num_shards:
        raise ValueError(f"one plan has {before.num_shards} shards and the other {after.num_shards}; expected the same")
    if before.copies == after.copies:
        # Names are compared only where it matters: most shards of a large cluster stay where they are.
        where = {name: index for index, name in enumerate(after.nodes)}
        moved_to = [where.get(name, -1) for name in before.nodes]
        translated = [moved_to[index] for index in before.table]
        width = before.copies or 1
        changed = [at // width for at, (old, new) in enumerate(zip(translated, after.table, strict=True)) if old != new]
        shards: Iterable[int] = dict.fromkeys(changed)
    else:
        shards = range(before.num_shards)
    found = [Move(shard, before.homes(shard), after.homes(shard)) for shard in shards]
    return tuple([move for move in found if move.before != move.after])
