"""What is said too early: it counts for nothing as yet, and may when this node has applied more.

A node that is behind does not know all members, nor all regions. What only a member says, of whom it has not heard, and
what copies say about a region that it does not know, would be lost, and said again only after a while. So the last of
it waits, and is looked at again whenever more is applied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from ..replica.door import is_well_formed
from .checks import NodeKey
from .core import Core
from .doors import Door

MOST = 256
"""How many messages wait."""

_OF_MEMBERS = (Door.REPLICA, Door.REGISTRY, Door.LEASE, Door.RELEASED, Door.TO_OWNER, Door.TO_SENDER, Door.ORDER)
"""What nobody says who is no member here. It may be one all the same, if this node is behind: then it is heard when it
is known. The others are how a node that is behind learns that."""

type Heard = tuple[NodeKey, str, Door, Any]
"""Who has said something, where that is, what it is about, and what was said."""


class Early:
    """What waits to be heard, oldest first."""

    __slots__ = ("_core", "looked_at", "waiting")

    def __init__(self, core: Core) -> None:
        self._core = core
        self.waiting: deque[Heard] = deque(maxlen=MOST)
        """What was said by nodes that are no members here, or of regions that are not known, the last of it."""
        self.looked_at = 0
        """Up to which index it was applied when that was looked through last."""

    def keep(self, sender: NodeKey, address: str, door: Door, body: Any) -> bool:
        """Whether it comes too early. Then it waits, and what has waited longest may have to go for it."""
        state = self._core.state
        is_strange = door in _OF_MEMBERS and state.member(sender) is None
        if not is_strange and not (door is Door.REPLICA and is_well_formed(body) and state.region(body.region) is None):
            return False
        self.waiting.append((sender, address, door, body))
        return True

    def in_time(self) -> Iterator[Heard]:
        """More is applied: what is not too early any more, one by one, since hearing one may change that of the next.
        The rest waits on."""
        self.looked_at = self._core.state.changed
        for _ in range(len(self.waiting)):
            heard = self.waiting.popleft()
            if not self.keep(*heard):
                yield heard
