"""What an owner sends to its backups: which message, when, and when again.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from ..machine import Instant
from ..timers import Deadlines
from . import delta
from .events import PrimaryEffect, Send
from .messages import Drop, Update, Whole
from .options import ReplicaOptions
from .owned import Owned, Record
from .peers import Control, Flight, Key, Peer

type ShardKey = tuple[str, int]

PEER, WRITE, RECOVERY = range(3)
type Due = tuple[int, str | int | ShardKey]
"""A deadline: one of the above, and whom or what it is about."""

_OVERHEAD = 64
"""What a message takes besides its names and its state, about."""
_DELTA_MIN = 64
"""Smaller states are sent whole."""


class Sending:
    """The traffic to all backups of all shards of one node."""

    __slots__ = ("_deadlines", "_options", "_peers", "_shards", "_touched")

    def __init__(self, shards: dict[ShardKey, Owned], deadlines: Deadlines[Due], options: ReplicaOptions) -> None:
        self._shards = shards
        self._deadlines = deadlines
        self._options = options
        self._peers: dict[str, Peer] = {}
        self._touched: dict[str, None] = {}
        """Peers to whom there may be something to send."""

    # What is to be sent ---------------------------------------------------------------------------------------------

    def add(self, node: str, key: Key, *, bulk: bool = False) -> None:
        """Let it wait for its turn. Call `pump` when all is said."""
        peer = self._peers.get(node)
        if peer is None:
            peer = self._peers[node] = Peer()
        self._touched[node] = None
        peer.add(key, bulk=bulk)

    def add_all(self, node: str, owned: Owned) -> None:
        """Bring a backup up to date."""
        for entity in owned.links[node].behind:
            self.add(node, (owned.region, owned.shard, entity), bulk=True)

    def cancel(self, node: str, key: Key) -> None:
        """Do not send it, and expect no answer."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.cancel(key)
            self._touched[node] = None
            self._deadlines.cancel((PEER, node))

    def forget(self, node: str, owned: Owned) -> None:
        """Nothing about that shard is sent to that node any more."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.forget(owned.region, owned.shard)
            self._touched[node] = None

    def begin_stage(self, owned: Owned) -> None:
        """A new round in which the copies of a shard are completed."""
        owned.begin_stage()
        self.complete(owned)

    def complete(self, owned: Owned) -> None:
        """Tell those who have everything of the present stage that they are complete."""
        key: Key = (owned.region, owned.shard, Control.WHOLE)
        for node, link in owned.links.items():
            self.cancel(node, key)
            if not link.missing and not link.whole:
                self.add(node, key)

    # Answers --------------------------------------------------------------------------------------------------------

    def heard(self, node: str) -> None:
        """The node is there. What it has not answered for a while is sent again at once, if it is overdue."""
        peer = self._peers.get(node)
        if peer is not None and peer.attempt:
            peer.attempt = 0
            self._touched[node] = None
            self._deadlines.cancel((PEER, node))

    def flight(self, node: str, key: Key) -> Flight | None:
        """What is under way there."""
        peer = self._peers.get(node)
        return None if peer is None else peer.flying.get(key)

    def land(self, node: str, key: Key) -> None:
        """It was answered."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.land(key)
            self._touched[node] = None
            self._deadlines.cancel((PEER, node))

    def is_silent(self, node: str) -> bool:
        """Whether the node has not answered for long."""
        peer = self._peers.get(node)
        return peer is not None and peer.is_silent

    def prune(self, owned: Owned, entity: str, record: Record) -> None:
        """Keep those old states only that may be the base of a delta (rule 10)."""
        if not record.older:
            return
        older: dict[tuple[int, int], bytes] = {}
        for node, link in owned.links.items():
            version = link.behind.get(entity)
            if version is None or self.is_silent(node):
                continue
            if version in record.older:
                older[version] = record.older[version]
            flight = self.flight(node, (owned.region, owned.shard, entity))
            flying = (owned.epoch, flight.sequence) if flight is not None else version
            if flying in record.older:
                older[flying] = record.older[flying]
        record.older = older

    # The way out ----------------------------------------------------------------------------------------------------

    def pump(self, now: Instant, out: list[PrimaryEffect]) -> None:
        """Send whatever may be sent, to all."""
        touched, self._touched = self._touched, {}
        for node in touched:
            self._pump(node, now, out)

    def _pump(self, node: str, now: Instant, out: list[PrimaryEffect]) -> None:
        peer = self._peers.get(node)
        if peer is None:
            return
        while (key := peer.next(self._options)) is not None:
            built = self._build(node, key)
            if built is None:
                continue
            message, size, sequence = built
            peer.launch(key, Flight(now, size, sequence))
            out.append(Send(node, message))
        due: Due = (PEER, node)
        if peer.is_idle:
            del self._peers[node]
            self._deadlines.cancel(due)
        elif due not in self._deadlines:
            self._deadlines.set(due, peer.oldest + self._options.retry(peer.attempt))

    def on_peer_due(self, node: str, now: Instant, out: list[PrimaryEffect]) -> None:
        """A message was not answered in time: send it again, as it is now (rule 8)."""
        peer = self._peers[node]
        peer.take_back(now, self._options)
        self._pump(node, now, out)
        if node in self._peers:
            self._deadlines.set((PEER, node), max(peer.oldest + self._options.retry(peer.attempt), now + 1))

    def _build(self, node: str, key: Key) -> tuple[Update | Whole | Drop, int, int] | None:
        """The message, its size, and its sequence; `None` where there is nothing to say any more."""
        region, shard, what = key
        owned = self._shards[region, shard]
        if what is Control.DROP:
            return Drop(region, shard, owned.epoch, owned.stage), _OVERHEAD, 0
        link = owned.links[node]
        if what is Control.WHOLE:
            whole = Whole(region, shard, owned.epoch, owned.stage, link.since, owned.mark, link.life, owned.index)
            return whole, _OVERHEAD, owned.mark
        assert type(what) is str
        if what not in link.behind:
            return None
        record = owned.records[what]
        sequence = record.version[1]
        state, base = record.state, link.behind[what]
        former = record.older.get(base)
        versions = (owned.epoch, owned.stage, what, sequence)
        if former is not None and state is not None and len(state) >= _DELTA_MIN:
            difference = delta.encode(former, state)
            if len(difference) < len(state):
                return Update(region, shard, *versions, difference, base), _size(what, difference), sequence
        return Update(region, shard, *versions, state), _size(what, state), sequence

    def invariants(self) -> None:
        """Assert what holds between two calls."""
        for node, known in self._peers.items():
            known.invariants(self._options)
            assert (PEER, node) in self._deadlines, f"nobody sends to {node} again"
        for owned in self._shards.values():
            for node, link in owned.links.items():
                about: Key = (owned.region, owned.shard, Control.WHOLE)
                peer = self._peers.get(node)
                due = peer is not None and (about in peer.flying or about in peer.fresh)
                assert due == (not link.whole and not link.missing), f"{node} is told of a complete copy: {due}"
                for entity in link.behind:
                    key: Key = (owned.region, owned.shard, entity)
                    assert peer is not None, f"{node} waits in vain for {entity}"
                    assert key in peer.flying or key in peer.fresh or key in peer.bulk, f"{entity} is forgotten"


def _size(entity: str, state: bytes | None) -> int:
    return _OVERHEAD + len(entity) + len(state or b"")
