"""Where the states of the shards are that a node owns: the replicas, and which entities rest.

`Owning` decides whether anything may be done for a shard at all. Here the states are kept, recovered, replicated and
given up, and what `Replica` says is told to whom it concerns:

    Handled --> Changed --> Durable(request), with a lease, or NotDurable      Own --> Recovered --> on_recovered

A write that becomes durable while there is no lease waits for the next one (`holding.py`), as long as its region lets
it wait for backups.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, assert_never

from ..machine import MILLISECOND, Instant, Nanoseconds, Note, Reply, Wake
from ..replica import (
    Backups,
    Changed,
    Deleted,
    Disown,
    Durable,
    Failed,
    Own,
    Recovered,
    Replica,
    ReplicaEvent,
    ReplicaSettings,
    Send,
    Superseded,
    UpToDate,
)
from ..shard.idling import Idling
from ..shard.steward import Spot
from . import events
from .checks import NodeKey
from .core import Core
from .holding import Holding
from .plans import Plans
from .regions import Region

_AGAIN_NS: Nanoseconds = 100 * MILLISECOND
"""The least time after which an entity that could not rest is asked again."""


class Keeping:
    """The states of a node's shards, and its copies of those of others.

    `may_act` says whether the lease lasts. `on_recovered` is told of what was found of a shard, and `on_superseded`
    that somebody else owns it.
    """

    __slots__ = ("_core", "_holding", "_idling", "_may_act", "_on_recovered", "_on_superseded", "_plans", "_replica")

    def __init__(
        self,
        core: Core,
        plans: Plans,
        rng: Random,
        may_act: Callable[[], bool],
        on_recovered: Callable[[Recovered], None],
        on_superseded: Callable[[Superseded], None],
    ) -> None:
        self._core = core
        self._plans = plans
        self._may_act = may_act
        self._on_recovered = on_recovered
        self._on_superseded = on_superseded
        self._replica = Replica(core.key, rng, core.options.replica)
        self._idling = Idling()
        self._holding = Holding()

    # -- shards --------------------------------------------------------------------------------------------------------

    def own(
        self,
        spot: Spot,
        epoch: int,
        asked: tuple[NodeKey, ...],
        owners: tuple[tuple[int, NodeKey], ...],
        *,
        is_all_known: bool,
    ) -> None:
        """Find all that there is of a shard. `asked`: whoever may have a copy; `owners`: those before, by epoch, and
        whether there were no others."""
        core, region = self._core, self._core.state.region(spot[0])
        assert region is not None, f"{spot} has an owner, and is in no region"
        settings = region.settings
        backups = self._plans.backups(region, spot[1], core.key)
        counting: tuple[tuple[int, tuple[NodeKey, ...]], ...] = ()
        began: tuple[tuple[NodeKey, int], ...] = ()
        several: tuple[int, ...] = ()
        if settings.sync_count and asked:
            counting = self._plans.holders_since(region, spot[1], owners[0][0] if owners and is_all_known else 0)
            began = tuple([(one.key, one.began) for one in core.state.members()])
            several = tuple(region.rises[1:])
        self.feed(
            Own(
                *spot,
                epoch,
                backups,
                ReplicaSettings(settings.sync_count, settings.timeout_ns),
                asked,
                _possible(region),
                core.state.version,
                counting,
                owners,
                began,
                settings.sync_count,
                several,
            )
        )

    def disown(self, spot: Spot) -> None:
        """The shard is not this node's any more. What is here stays as a copy, until somebody says otherwise."""
        self._idling.closed(spot)
        self.feed(Disown(*spot))
        self._not_durable(self._holding.lose(spot), "the lease of this node was over, and the shard is not its own now")

    def lease_begun(self) -> None:
        """There is a lease, and what is owned was owned all the while."""
        self._core.out.extend([events.Durable(request) for request in self._holding.release()])

    def plans_changed(self, spot: Spot, region: Region) -> None:
        """The backups of a shard may be others."""
        backups = self._plans.backups(region, spot[1], self._core.key)
        self.feed(Backups(*spot, backups, _possible(region), self._core.state.version))

    # -- entities ------------------------------------------------------------------------------------------------------

    def handled(self, spot: Spot, entity: str, state: bytes | None, request: Any) -> None:
        """An entity has this state now; `None`: it is no more. `request` is answered when that is durable."""
        if state is None:
            self._idling.rested(spot, entity)
            self.feed(Deleted(*spot, entity, (request, spot)))
        else:
            self.touched(spot, entity)
            self.feed(Changed(*spot, entity, state, (request, spot)))

    def put(self, spot: Spot, entity: str, state: bytes) -> None:
        """An entity has this state, and nobody waits for that."""
        self.feed(Changed(*spot, entity, state))

    def drop(self, spot: Spot, entity: str) -> None:
        """An entity is no more, and nobody waits for that."""
        self.feed(Deleted(*spot, entity))

    def touched(self, spot: Spot, entity: str) -> None:
        """An entity was needed."""
        self._set_idle_in(spot, entity, 0)

    def ask_again(self, spot: Spot, entity: str) -> None:
        """An entity cannot rest at the moment. With a short timeout a node would do nothing but look at that."""
        self._set_idle_in(spot, entity, _AGAIN_NS)

    def _set_idle_in(self, spot: Spot, entity: str, least_ns: Nanoseconds) -> None:
        region = self._core.state.region(spot[0])
        timeout_ns = None if region is None else region.settings.idle_timeout_ns
        if timeout_ns is not None:
            self._idling.touched(spot, entity, max(timeout_ns, least_ns), self._core.now)

    def rested(self, spot: Spot, entity: str, state: bytes) -> None:
        """An entity takes up nothing any more."""
        self._idling.rested(spot, entity)
        self.put(spot, entity, state)

    def idle(self) -> tuple[tuple[Spot, str], ...]:
        """The entities that may rest now: nobody needs them, and their states are safe."""
        found = []
        for spot, entity in self._idling.due(self._core.now):
            if self._is_replicated(spot) and not self._replica.is_safe(*spot, entity):
                self.ask_again(spot, entity)
            else:
                found.append((spot, entity))
        return tuple(found)

    def _is_replicated(self, spot: Spot) -> bool:
        region = self._core.state.region(spot[0])
        return region is not None and region.settings.factor > 1

    # -- queries -------------------------------------------------------------------------------------------------------

    def state_of(self, spot: Spot, entity: str) -> bytes | None:
        """The state of an entity of a shard that is owned here."""
        return self._replica.state_of(*spot, entity)

    def gaps(self, spot: Spot) -> tuple[str, ...]:
        """The backups of a shard that have no complete copy."""
        return self._replica.gaps(*spot)

    def complete(self, spot: Spot) -> tuple[str, ...]:
        """The backups of a shard that have a complete copy."""
        return self._replica.complete(*spot)

    def lacks(self, spot: Spot) -> int:
        """How many backups a shard lacks for its writes to be acknowledged."""
        return self._replica.lacks(*spot)

    def is_wanted(self, given: dict[Spot, int]) -> bool:
        """Whether others may still want something of what this node holds for them.

        Of shards without replicas that is what it has `given` away, at which epochs. Nobody asks for what is left of
        earlier times.
        """
        for spot in self._replica.copies():
            region = self._core.state.region(spot[0])
            if region is not None and (region.settings.factor > 1 or given.get(spot) == region.epoch(spot[1])):
                return True
        return False

    def deadline(self) -> Instant | None:
        """When `wake` is wanted."""
        return min([at for part in self.deadlines if (at := part()) is not None], default=None)

    @property
    def deadlines(self) -> tuple[Callable[[], Instant | None], ...]:
        """What `deadline` is the earliest of."""
        return (self._replica.deadline, self._idling.deadline, self._holding.deadline)

    def wake(self) -> None:
        """The deadline has come."""
        self.feed(Wake())
        due = self._holding.due(self._core.now)
        self._not_durable(due, "the lease of this node is over, and it has got no other one in time")

    def invariants(self) -> None:
        """Assert what must hold between two events."""
        self._replica.invariants()
        self._idling.invariants()
        self._holding.invariants()

    # -- the replica ---------------------------------------------------------------------------------------------------

    def feed(self, event: ReplicaEvent) -> None:
        """One event, and all that follows."""
        core = self._core
        for effect in self._replica.handle(event, core.now):
            match effect:
                case Send(to, message):
                    core.send(to, message)
                case Durable(request):
                    self._on_durable(request)
                case Failed(request, reason):
                    if request is not None:
                        core.out.append(events.NotDurable(request[0], reason))
                case Reply(request, result):
                    if request is not None:
                        core.out.append(Reply(request[0], result))
                case Recovered():
                    self._on_recovered(effect)
                case Superseded():
                    self._on_superseded(effect)
                case Note():
                    core.out.append(effect)
                case UpToDate():
                    pass
                case _:
                    assert_never(effect)

    def _on_durable(self, request: Any) -> None:
        """Owning, rule 1."""
        if request is None:
            return
        whose, spot = request
        if self._may_act():
            self._core.out.append(events.Durable(whose))
            return
        region = self._core.state.region(spot[0])
        self._holding.hold(spot, whose, self._core.now, 0 if region is None else region.settings.timeout_ns)

    def _not_durable(self, requests: list[Any], reason: str) -> None:
        self._core.out.extend([events.NotDurable(request, reason) for request in requests])


def _possible(region: Region) -> int:
    """How many backups a shard of the region could have had at any time."""
    return min(region.settings.factor, region.peak) - 1
