"""The shards of one node alone, and what came of them."""

from __future__ import annotations

from typing import Any

from casty_proto.cluster import Applied, Assign, Gift, Leave, RegionKind, RegionSettings, RegisterRegion, ShardsMoved
from casty_proto.cluster import events as ev
from casty_proto.cluster.core import Core
from casty_proto.cluster.owning import Owning
from casty_proto.cluster.plans import Plans
from casty_proto.shard.channel import Hello, Post
from casty_proto.shard.leases import LeaseGrant, LeaseRequest

from .kit_parts import FAST, execute, member_core, rng, sent, take

LEASE = FAST.leases.duration_ns


class Bench:
    """The shards of the node `a`, a member besides `b` and `c`. `b` leads. Region `r` has shards at home here."""

    def __init__(self, **settings: Any) -> None:
        self.core: Core = member_core("b", "c")
        self.core.leader = "b.1"
        self.plans = Plans(self.core)
        self.owning = Owning(self.core, self.plans, rng(1))
        execute(self.core, RegisterRegion("r", RegionKind.ENTITIES, RegionSettings(num_shards=16, **settings), "a.1"))
        self.region = self.core.state.region("r")
        assert self.region is not None
        self.plans.refresh()
        homes = self.plans.homes(self.region)
        self.home, self.other = homes.index("a.1"), homes.index("a.1", homes.index("a.1") + 1)
        """Two shards whose home is here."""
        self.owning.leader_known("b.1")

    def lease(self) -> None:
        """The leader answers the latest question."""
        number = [body.number for _, body in sent(self.core, LeaseRequest)][-1]
        self.owning.on_grant("b.1", LeaseGrant(number, LEASE, self.core.state.version))
        self.owning.invariants()

    def give(self, to: str | None, shard: int, *, forced: bool = False) -> int:
        """The shard gets another owner. Returns the epoch."""
        epoch = self.core.state.epoch_of("r", shard)
        outcome = execute(self.core, Assign((Gift("r", to, ((shard, epoch),), forced),)))
        assert isinstance(outcome, Applied)
        for change in outcome.changes:
            assert isinstance(change, ShardsMoved)
            self.owning.moved(change)
        self.owning.settled(self.core.state.changed)
        self.owning.invariants()
        return self.core.state.changed

    def owned(self) -> int:
        """It has a lease, and owns `home`. Returns the epoch."""
        self.lease()
        epoch = self.give("a.1", self.home)
        assert [one for one in take(self.core) if not isinstance(one, ev.Send)] == [
            ev.OpenShard("r", self.home, epoch, (), (), False)
        ]
        return epoch

    def move_away(self) -> None:
        """This node is to leave: its shards have another home, and are being closed."""
        execute(self.core, Leave("a.1"))
        self.plans.refresh()
        self.owning.plans_changed()

    def renew(self, duration_ns: int) -> None:
        """Time passes, and the lease is renewed whenever that is asked for."""
        end = self.core.now + duration_ns
        while self.core.now < end:
            deadline = self.owning.deadline()
            assert deadline is not None
            self.core.now = min(end, max(deadline, self.core.now + 1))
            self.owning.expire()
            self.owning.wake()
            for one in [one for one in self.core.out if isinstance(one, ev.Send)]:
                body = one.message.body
                if isinstance(body, LeaseRequest):
                    self.owning.on_grant("b.1", LeaseGrant(body.number, LEASE, 0))
        self.owning.invariants()

    def routed(self, body: Post | Hello, peer: str = "c.1") -> None:
        self.owning.on_routed(peer, "r", self.home, body)
        self.owning.invariants()
