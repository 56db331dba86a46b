"""Messages for shards that this node owns, and that are not open yet.

Whoever has heard of the new owner sends at once what has waited, while the owner still fetches the contents. What it
could not take then would come again only when the sender takes it for lost. So a little is kept, and heard when the
shard is opened; the rest is sent again, like anything that is lost.
"""

from __future__ import annotations

from ..shard.channel import Hello, Post
from ..shard.steward import Spot
from .checks import NodeKey

MOST = 1024
"""How many messages are kept."""
BYTES_MOST = 4 * 2**20
"""How many bytes of theirs."""


class Knocking:
    """Who has knocked, by shard, in order."""

    __slots__ = ("_bytes", "_count", "_early")

    def __init__(self) -> None:
        self._early: dict[Spot, list[tuple[NodeKey, Post | Hello]]] = {}
        self._count = self._bytes = 0

    def keep(self, spot: Spot, peer: NodeKey, body: Post | Hello) -> None:
        """Keep a message, unless there are enough. One that comes again is kept once."""
        known = self._early.get(spot, [])
        size = _size(body)
        if self._count < MOST and self._bytes + size <= BYTES_MOST and (peer, body) not in known:
            self._early.setdefault(spot, known).append((peer, body))
            self._count += 1
            self._bytes += size

    def take(self, spot: Spot) -> list[tuple[NodeKey, Post | Hello]]:
        """All that was kept for a shard. It is kept no longer."""
        found = self._early.pop(spot, [])
        self._count -= len(found)
        self._bytes -= sum([_size(body) for _, body in found])
        return found

    def forget(self, peer: NodeKey) -> None:
        """It is no member any more, and owners forget what they have accepted of it: what comes twice must not be heard
        twice."""
        for spot, known in list(self._early.items()):
            if any(sender == peer for sender, _ in known):
                left = [each for each in known if each[0] != peer]
                self.take(spot)
                for sender, body in left:
                    self.keep(spot, sender, body)

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        assert self._count == sum(map(len, self._early.values())) <= MOST
        assert 0 <= self._bytes <= BYTES_MOST


def _size(body: Post | Hello) -> int:
    return sum(map(len, body.items)) if type(body) is Post else 0
