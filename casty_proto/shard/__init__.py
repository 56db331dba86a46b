"""Shards: who owns which of them, and how messages find the owner.

Placement
 1. An entity belongs to one shard, by a hash of its id that is the same in every process and version.
 2. A plan says for each shard who owns it and who backs it up. It follows from the members, their weights and roles,
    the number of shards and of replicas; neither from an order nor from what was before. Karger et al. 1997
 3. The homes of a shard are different members: as many as there are replicas, or as there are members who can.
 4. Only members with the required role hold anything. Where nobody can, nobody owns: this is a plan, too.
 5. No member owns more than its share of the shards, by weight, and the slack on top of that, and one.
    Mirrokni et al. 2016
 6. A shard moves between two members that stay only if one of them has all that it may own, before or after.
 7. How many replicas there are does not matter to who owns.
 8. The strategy can be replaced. Rules 1 to 4 and 7 hold for every one, 5 and 6 for the default, `Ring`.
"""

from .hashing import shard_of, stable_hash
from .plan import DEFAULT_NUM_SHARDS, Member, Move, Placement, Plan, moves, plan
from .rendezvous import Rendezvous
from .ring import NUM_SHARDS_MAX, Ring

__all__ = [
    "DEFAULT_NUM_SHARDS",
    "NUM_SHARDS_MAX",
    "Member",
    "Move",
    "Placement",
    "Plan",
    "Rendezvous",
    "Ring",
    "moves",
    "plan",
    "shard_of",
    "stable_hash",
]
