"""What can be asked of a node at any time: what it is, what it knows, and whether it may do something right now.

Events change a node and answer with effects. What stands here changes nothing, and is answered at once: it is asked for
each message, right before a handler begins or ends, where an event and a tuple of effects would cost too much.

Whatever is read here is what this node knows. Others may know more (`Confer` sees to that).
"""

from __future__ import annotations

from ..machine import Instant
from ..shard.hashing import shard_of
from ..shard.homes import Phase
from ..shard.plan import DEFAULT_NUM_SHARDS
from .applying import Discovering
from .checks import NodeKey
from .core import Core
from .events import Standing
from .inside import Inside
from .owning import Owning
from .records import NodeInfo, Status
from .state import ControlState
from .topology import Topology, topology_of


class Direct:
    """The direct lane of a node. The parts are those of `Node`, which sets them."""

    __slots__ = ("_core", "_discovering", "_in", "_owning")

    _core: Core
    _discovering: Discovering
    _in: Inside | None
    """What it has as soon as it belongs to a cluster."""
    _owning: Owning

    @property
    def key(self) -> NodeKey:
        """The name of this life of the node."""
        return self._core.key

    @property
    def info(self) -> NodeInfo:
        """What the node says of itself."""
        return self._core.info

    @property
    def standing(self) -> Standing:
        """What it is to its cluster."""
        return self._core.standing

    @property
    def cluster(self) -> str:
        """The cluster that it belongs to, or belonged to: the key of the founder. Empty before."""
        return self._core.cluster

    @property
    def leader(self) -> NodeKey | None:
        """Whom it takes for the leader."""
        return self._core.leader

    @property
    def is_leader(self) -> bool:
        """Whether it takes itself for the leader."""
        return self._core.leads

    @property
    def term(self) -> int:
        """The term of Raft that it knows of."""
        return self._core.term

    @property
    def voters(self) -> tuple[NodeKey, ...]:
        """Who votes, as far as it knows."""
        return () if self._in is None else self._in.consensus.raft.configurations.latest.voters

    @property
    def agreed_voters(self) -> tuple[NodeKey, ...]:
        """Who votes, as far as it knows that a majority knows it: no failure of a minority undoes it."""
        if self._in is None:
            return ()
        raft = self._in.consensus.raft
        return raft.configurations.at(raft.commit).voters

    @property
    def state(self) -> ControlState:
        """What it has applied. For reading; it changes, and is replaced."""
        return self._core.state

    def may_act(self, now: Instant) -> bool:
        """Whether its lease lasts: without one it owns nothing. To be asked right before something is done."""
        return self._owning.may_act(now)

    @property
    def leased_until(self) -> Instant | None:
        """When its lease ends, as it stands; `None` where it has none. It may get a longer one meanwhile. If it is to
        end earlier, every shard that is open here is halted, with an effect."""
        return self._owning.leased_until

    def owns(self, region: str, shard: int, now: Instant) -> int | None:
        """The epoch in which it owns a shard, if a handler may begin right now; otherwise `None`."""
        return self._owning.owns(region, shard, now)

    def acts(self, region: str, shard: int, now: Instant) -> int | None:
        """The same for a handler that runs, and may end while the shard is being closed."""
        return self._owning.acts(region, shard, now)

    def phase_of(self, region: str, shard: int) -> Phase | None:
        """Where a shard is in its life here; `None` where it is not this node's."""
        return self._owning.phase_of(region, shard)

    def shard_of(self, region: str, entity: str) -> int:
        """The shard of an entity. For a region that is not known here: as if it had the default number of shards."""
        known = self._core.state.region(region)
        return shard_of(entity, DEFAULT_NUM_SHARDS if known is None else known.num_shards)

    def state_of(self, region: str, shard: int, entity: str) -> bytes | None:
        """The state of an entity that rests in a shard that is owned here; `None` for one that never was."""
        return self._owning.state_of(region, shard, entity)

    def topology(self) -> Topology:
        """A snapshot of the cluster, as this node has applied it. Linear in the number of shards."""
        core = self._core
        return topology_of(core.state, core.cluster, core.leader, self.voters)

    def listing(self, key: str) -> tuple[tuple[NodeKey, int, str], ...]:
        """Node, number and path of all actors that can be discovered under a key."""
        return self._discovering.registry.listing(key)

    def gaps(self) -> tuple[str, ...]:
        """What is not as it should be with the shards that are owned here, for people; empty when all is well."""
        return self._owning.gaps()

    def copies(self, region: str) -> dict[int, int]:
        """Of each shard of a region that is open here: how many complete copies there are, the one here included. What
        a member has that is down does not count. Linear in the number of shards."""
        return self._owning.copies(region)

    def shortages(self) -> tuple[str, ...]:
        """Of which types writes cannot be acknowledged here, for people: there are too few nodes for backups."""
        return self._owning.shortages()

    def members_alive(self) -> tuple[NodeKey, ...]:
        """The members that are held to be there."""
        return tuple([one.key for one in self._core.state.members() if one.status is not Status.DOWN])
