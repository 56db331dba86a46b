"""What an earlier process of this node has owned, and what is given back of it (owning.py, rule 2).

A process that starts again on its disk has the key of the one before it, so the log says of both that they own. Which
of them is meant tells the index of the command that marks the beginning of this one. Until that is applied, nothing is
taken up; then all that this node owns by the log is left over. The leader is told of it, again and again, as of shards
that were closed, until they have another epoch.
"""

from __future__ import annotations

from ..shard.steward import Released, Spot
from .core import STALE, Core


class Leftovers:
    """The shards of earlier processes of a node."""

    __slots__ = ("_begun", "_core", "_epochs")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._begun: int | None = 0
        """What was given to this node below that index was given to an earlier process; `None`: not known yet."""
        self._epochs: dict[Spot, int] = {}
        """What is to be given back, and the epochs at which it was owned."""

    def await_life(self) -> None:
        """An earlier process has been this node: what it owned is not to be taken up."""
        self._begun = None

    def life_began(self, index: int) -> None:
        """The command that marks the beginning of this process is applied."""
        self._begun = index
        # What was given to this node since then, before it heard of that, is given back as well: it was not looked at.
        for region in self._core.state.regions():
            for shard in region.shards_of(self._core.key):
                self._epochs[region.name, shard] = region.epoch(shard)
        self.give_back()

    def collects(self, spot: Spot, epoch: int) -> bool:
        """Whether a shard that was given to this node at that epoch is not for this process. What is known to be an
        earlier one's is remembered; what is not known yet is found when that is."""
        if self._begun is None:
            return True
        if epoch >= self._begun:
            return False
        self._epochs[spot] = epoch
        return True

    def add(self, spot: Spot, epoch: int) -> None:
        """An earlier process has begun with this shard, whatever the log says."""
        self._epochs[spot] = epoch
        self.give_back()

    def give_back(self) -> None:
        """Tell the leader, if there is one, and do so again after a while."""
        core = self._core
        for (name, shard), epoch in list(self._epochs.items()):
            region = core.state.region(name)
            if region is None or region.epoch(shard) != epoch:
                del self._epochs[name, shard]
        if not self._epochs:
            return
        core.deadlines.set(STALE, core.now + core.options.homes.repeat_ns)
        if core.leader is None:
            return
        regions: dict[str, list[tuple[int, int]]] = {}
        for (name, shard), epoch in self._epochs.items():
            regions.setdefault(name, []).append((shard, epoch))
        most = core.options.homes.max_released
        for name, shards in regions.items():
            for at in range(0, len(shards), most):
                core.send(core.leader, Released(name, tuple(shards[at : at + most])))

    def spots(self) -> tuple[Spot, ...]:
        """What is not given back yet, as far as is known."""
        return tuple(self._epochs)
