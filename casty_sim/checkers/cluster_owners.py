"""What is watched of shards: who handles their messages, at which epochs, and what a hand-over carries.

1.  At the instant at which a shard is opened, or resumed, at which a handler begins or ends, and at which a write is
    acknowledged, no other node may act for it. What other nodes may do is asked from them, on their own clocks, by the
    direct lane that drivers use too.
2.  An epoch of a shard is opened once, and epochs rise.
3.  A shard that was given, and not taken, comes with the messages that waited when it was closed, and, where nothing
    else keeps them, with the states of its entities. If the node that had it is lost, they may be missing, but nothing
    else may be there instead.
4.  A shard is halted or closed before it is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from casty_proto.cluster import events
from casty_proto.cluster.checks import NodeKey

from ..world import Host, Violation

type Spot = tuple[str, int]
type Acts = Callable[[str, str, int], int | None]
"""The epoch in which the node of a host may act for a shard of a region, at this instant."""


@frozen
class _Left:
    """What was left of a shard when it was closed."""

    host: str
    life: int
    key: NodeKey
    epoch: int
    states: tuple[tuple[str, bytes], ...]
    waiting: tuple[bytes, ...]


class Owners:
    """See the module. `reach` is told of interesting states."""

    def __init__(self, acts: Acts, is_lost: Callable[[str], bool], reach: Callable[[str], None]) -> None:
        self._acts = acts
        self._is_lost = is_lost
        self._reach = reach
        self._open: dict[Spot, dict[str, tuple[int, int]]] = {}
        """Where each shard is open, as drivers were told: life of the host, and epoch."""
        self._opened: dict[Spot, tuple[int, str, int]] = {}
        """The latest epoch at which each was opened, and where, in which life."""
        self._left: dict[Spot, _Left] = {}

    # -- what drivers are told -----------------------------------------------------------------------------------------

    def opens(self, host: Host, effect: events.OpenShard, giver: NodeKey | None) -> None:
        """A shard is opened. `giver` has given it, as its owner has heard; `None` where it was taken, or not heard."""
        spot = (effect.region, effect.shard)
        before = self._opened.get(spot)
        if before is not None and effect.epoch <= before[0]:
            raise Violation(
                "epochs rise", f"{spot} is opened by {host.name} at {effect.epoch}, after {before[1]} at {before[0]}"
            )
        self._check_alone(host, spot, effect.epoch, "opens it")
        self._check_contents(host, effect, giver)
        self._opened[spot] = (effect.epoch, host.name, host.life)
        self._begin(host, spot, effect.epoch)
        if before is not None and before[1] != host.name and giver is not None:
            self._reach("a shard was handed over")

    def resumes(self, host: Host, effect: events.ResumeShard) -> None:
        """It goes on."""
        spot = (effect.region, effect.shard)
        if self._opened.get(spot) != (effect.epoch, host.name, host.life):
            raise Violation("epochs rise", f"{host.name} resumes {spot} at {effect.epoch}: {self._opened.get(spot)}")
        self._check_alone(host, spot, effect.epoch, "resumes it")
        self._left.pop(spot, None)
        self._begin(host, spot, effect.epoch)
        self._reach("a shard was resumed")

    def halts(self, host: Host, effect: events.HaltShard) -> None:
        """Nothing may be done for it."""
        self._open.get((effect.region, effect.shard), {}).pop(host.name, None)
        self._reach("a lease ended" if "lease" in effect.reason else "a shard was not closed in time")

    def drops(self, host: Host, effect: events.DropShard) -> None:
        """It is somebody else's."""
        spot = (effect.region, effect.shard)
        known = self._open.get(spot, {}).pop(host.name, None)
        if known is not None and known == (host.life, effect.epoch):
            raise Violation(
                "single owner", f"{host.name} still had {spot} open at {effect.epoch} when it had to drop it"
            )

    def closed(self, host: Host, key: NodeKey, event: events.Closed) -> None:
        """It was closed, and this is left of it."""
        spot = (event.region, event.shard)
        self._open.get(spot, {}).pop(host.name, None)
        self._left[spot] = _Left(host.name, host.life, key, event.epoch, event.states, event.waiting)

    def handles(self, host: Host, spot: Spot, epoch: int) -> None:
        """A handler begins, or ends."""
        self._check_alone(host, spot, epoch, "handles a message")

    def acknowledges(self, host: Host, spot: Spot, epoch: int) -> None:
        """Somebody is told that a write is durable."""
        self._check_alone(host, spot, epoch, "acknowledges a write")

    # -- rules ---------------------------------------------------------------------------------------------------------

    def _begin(self, host: Host, spot: Spot, epoch: int) -> None:
        self._open.setdefault(spot, {})[host.name] = (host.life, epoch)

    def _check_alone(self, host: Host, spot: Spot, epoch: int, what: str) -> None:
        """Rule 1."""
        there = self._open.get(spot)
        if not there:
            return
        for name, (life, other) in list(there.items()):
            if name == host.name:
                continue
            if host.world.hosts[name].life != life:
                del there[name]
            elif self._acts(name, *spot) is not None:
                raise Violation(
                    "single owner",
                    f"{host.name} {what}, of {spot} at epoch {epoch}, while {name} acts for it at epoch {other}",
                )

    def _check_contents(self, host: Host, effect: events.OpenShard, giver: NodeKey | None) -> None:
        """Rule 3."""
        spot = (effect.region, effect.shard)
        before, left = self._opened.get(spot), self._left.pop(spot, None)
        if left is None or before is None or left.epoch != before[0]:
            if effect.waiting:
                raise Violation("hand-over", f"{host.name} opens {spot} with messages that nobody has left there")
            return
        where = f"{host.name} opens {spot} at {effect.epoch}, which {left.host} has closed at {left.epoch}"
        if effect.waiting not in (left.waiting, ()):
            raise Violation("hand-over", f"{where}: other messages wait than those that were left")
        if giver != left.key or self._is_lost(left.host) or host.world.hosts[left.host].life != left.life:
            return
        if effect.waiting != left.waiting:
            raise Violation("hand-over", f"{where}: {len(left.waiting)} messages that waited are missing")
        there = dict(effect.entities)
        for entity, state in left.states:
            if there.get(entity) != state:
                raise Violation("hand-over", f"{where}: {entity} has another state than it was left with")
