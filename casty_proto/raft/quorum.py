"""What a majority has decided. Pure arithmetic on acknowledgements and votes.

A decision needs a majority of the voters. Where two groups have to agree (the two halves of a joint configuration,
thesis 4.3), it needs a majority of each; the `joint_` functions take the groups. A group without voters decides
nothing and hinders nothing: its majority has acknowledged everything and granted every vote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from .configuration import NodeId

UNBOUNDED = 2**63 - 1
"""What a majority of nobody has acknowledged."""


class Outcome(Enum):
    """Where an election stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority(voters: int) -> int:
    """How many of `voters` are more than half."""
    return voters // 2 + 1


def reached(values: list[int]) -> int:
    """The highest value that a majority has reached; `values` has one for each voter, and is sorted by this call."""
    if not values:
        return UNBOUNDED
    values.sort()
    return values[(len(values) - 1) // 2]


def committed(voters: Sequence[NodeId], acknowledged: Mapping[NodeId, int]) -> int:
    """The highest index that a majority of `voters` has acknowledged. Who has not said anything stands at 0."""
    return reached([acknowledged.get(voter, 0) for voter in voters])


def outcome(voters: Sequence[NodeId], votes: Mapping[NodeId, bool]) -> Outcome:
    """What the votes that came in so far amount to. Votes of others than `voters` do not count."""
    needed = majority(len(voters))
    yes = sum([votes.get(voter, False) for voter in voters])
    no = sum([not votes.get(voter, True) for voter in voters])
    if not voters or yes >= needed:
        return Outcome.WON
    return Outcome.LOST if no > len(voters) - needed else Outcome.PENDING


def joint_committed(groups: Iterable[Sequence[NodeId]], acknowledged: Mapping[NodeId, int]) -> int:
    """The highest index that a majority of each group has acknowledged."""
    return min([committed(voters, acknowledged) for voters in groups], default=UNBOUNDED)


def joint_outcome(groups: Iterable[Sequence[NodeId]], votes: Mapping[NodeId, bool]) -> Outcome:
    """Won when every group is won, lost when one of them is lost."""
    outcomes = [outcome(voters, votes) for voters in groups]
    if Outcome.LOST in outcomes:
        return Outcome.LOST
    return Outcome.PENDING if Outcome.PENDING in outcomes else Outcome.WON
