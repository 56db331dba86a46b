"""What is watched of the copies that nodes hold for the owners of shards.

A copy that has answered a new owner's question has promised to obey no earlier one. A new owner relies on that: what
is acknowledged to a former one afterwards, it would never see. Mostly the lease of the former owner makes up for a
promise that is broken, since it passes no acknowledgement on any more; so a run in which something comes of it is
rare, and the promise itself is watched.

1.  Whatever a process says of its copy of a shard, it says to no owner of an earlier epoch than one that it has obeyed.
"""

from __future__ import annotations

from typing import Any

from casty_proto.cluster.checks import NodeKey
from casty_proto.replica import Ack, Dropped, NeedsWhole, Page, States, WholeAck

from ..world import Host, Violation

PROMISES = (Page, States, Ack, NeedsWhole, Dropped)
"""Who says one of these obeys the owner of that epoch from then on."""
ANSWERS = dict.fromkeys([*PROMISES, WholeAck])
"""What is said to an owner. A process that was started again answers what was meant for the one before it with the
last one, and obeys nobody by that."""


class Copies:
    """See the module."""

    def __init__(self) -> None:
        self._obeyed: dict[tuple[str, int], dict[tuple[str, int], int]] = {}
        """By host and life, and by shard: the latest epoch."""

    def says(self, host: Host, key: NodeKey, answer: Any) -> None:
        """A node says something of a copy, one of `ANSWERS`."""
        obeyed = self._obeyed.setdefault((host.name, host.life), {})
        spot = (answer.region, answer.shard)
        before = obeyed.get(spot, 0)
        if answer.epoch < before:
            raise Violation(
                "copies obey the latest owner",
                f"{key} says {type(answer).__name__} of {spot} to the owner of epoch {answer.epoch}, after it has "
                f"obeyed the one of epoch {before}",
            )
        if type(answer) is not WholeAck:
            obeyed[spot] = answer.epoch
