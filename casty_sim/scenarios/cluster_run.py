"""What a run of the cluster scenario is at both levels: what was drawn for it, what happened so far, and who watches.

`ClusterWorld` plays it with machines, and `AppCluster` with applications. What hosts find when they start, which losses
are borne, what must be in a shard that is opened, and whether the registers were registers is decided here for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from casty_proto.cluster import events
from casty_proto.cluster.checks import NodeKey
from casty_proto.machine import Instant

from ..checkers.cluster_copies import Copies
from ..checkers.cluster_health import is_whole, missing
from ..checkers.cluster_losses import Losses
from ..checkers.cluster_owners import Owners
from ..checkers.cluster_views import Views
from ..checkers.cluster_writes import Writes
from ..checkers.history import BUDGET, judge
from ..checkers.linearizability import Finding, Operation, check, register
from ..scenario import Outcome, Settings
from ..tape import Tape
from ..trace import Trace
from ..world import Host, World
from .cluster_clients import Ask
from .cluster_ops import BOSS, COUNTERS, NAMES, REGISTERS, Spot
from .cluster_policy import Policy
from .cluster_variety import Variety


class ClusterRun(Variety, ABC):
    """The cluster of one run. What runs on its hosts is a program, or a life, as the level has it."""

    quota: int | None = None
    """How many things each client wants; `None` for no end."""
    kind_of_writes: type[Writes] = Writes
    kind_of_policy: type[Policy] = Policy

    def __init__(self, tape: Tape, settings: Settings, trace: Trace) -> None:
        super().__init__(tape, settings)
        self.settings = settings
        self.world = self._build(tape, trace)
        self.hosts = [self.world.hosts[name] for name in self.names]
        self.keys: dict[str, NodeKey] = {}
        """The latest node of each host."""
        self.left: dict[NodeKey, None] = {}
        """Nodes that have left, with nothing left behind, as the cluster has it."""
        self.dead: list[Any] = []
        """What ran on hosts that are gone for good."""
        self.calm_at: Instant = 0
        """When all has arrived that was late when the faults ended. On an ordered network it holds up the rest."""
        self.quiet = False
        """Whether clients ask for nothing more."""
        self.completed: dict[str, int] = {}
        """How much was done for each client."""
        self.history: list[Operation] = []
        self.finding: Finding | None = None
        """What the check of the history has found."""
        reach = self.world.reach
        self.losses = Losses(settings.nodes, self._down, self._is_whole)
        self.owners = Owners(self._acts, self.losses.is_in_doubt, reach)
        self.writes = self.kind_of_writes(reach)
        self.copies = Copies()
        self.views = Views(reach)
        self.policy = self.kind_of_policy(self)

    @abstractmethod
    def _build(self, tape: Tape, trace: Trace) -> World:
        """The world of the run, with a host for each of `names`."""

    @abstractmethod
    def program_at(self, name: str) -> Any:
        """What runs on a host at the moment, or `None`: with `name`, `host`, `node`, `ready`, and what checkers ask."""

    # -- what a host finds when it starts ------------------------------------------------------------------------------

    def keeps_disk(self, name: str) -> bool:
        """Whether what is on the disk of that host is there after a crash."""
        return self.disks[name]

    def seeds_for(self, host: Host) -> tuple[str, ...]:
        """At first as was drawn; later all hosts, since the seeds of a cluster that is there are its members. Who has
        lost its disk while one was founded starts like the others: all are to have the same seeds then."""
        if host.starts == 1 or not self.policy.has_begun:
            return self.first_seeds
        return self.names

    def clients_at(self, host: Host) -> int:
        """How many clients a host has."""
        return 1 + host.number % 2

    def keys_of(self, client: str) -> Callable[[str], Sequence[str]]:
        """The entities of each region that a client asks."""
        return NAMES.__getitem__

    # -- what is judged ------------------------------------------------------------------------------------------------

    def opened(self, spot: Spot, states: dict[str, Any], where: str) -> None:
        """A shard is opened with these states."""
        if spot[0] in (COUNTERS, BOSS):
            self.writes.opened(spot, states, lost=self.losses.too_many(1), where=where)
        elif spot[0] == REGISTERS:
            for number in states.values():
                if number is not None:
                    self.writes.stands(number, where)
            if self.losses.too_many(1 if self.sync_count == 1 else 2):
                self.writes.excused[spot] = None

    def owners_changed(self, program: Any, effect: events.OwnersChanged) -> None:
        """A program has heard of other owners: from whom its node has what it is given, at which epoch."""
        if effect.to == program.node.key:
            for shard, before in effect.shards:
                program.given[effect.region, shard] = (effect.epoch, None if effect.forced else before)
        if effect.forced and any(before is not None for _, before in effect.shards):
            self.world.reach("a shard was taken by force")
        program.host.moment()

    def cannot_be_done(self, ask: Ask) -> bool:
        """Whether it is no wonder that an ask fails: what all backups are to have needs those who are gone for good."""
        return bool(self.dead) and self.sync_count == -1 and ask.spot[0] == REGISTERS

    def check_registers(self, outcome: Outcome) -> None:
        """The registers have behaved like registers, as far as nothing was lost that may be lost."""
        excused = dict.fromkeys(shard for region, shard in self.writes.excused if region == REGISTERS)
        shard_of = self.programs()[0].node.shard_of
        history = [each for each in self.history if shard_of(REGISTERS, str(each.key)) not in excused]
        self.finding = check(history, register(None), BUDGET)
        judge(history, self.finding, outcome)

    # -- the truth -----------------------------------------------------------------------------------------------------

    def programs(self) -> list[Any]:
        """What runs at the moment."""
        return [program for host in self.hosts if (program := self.program_at(host.name)) is not None]

    def problems(self) -> list[str]:
        """What is not as it should be when all hosts are up."""
        names = [host.name for host in self.hosts if not host.is_scrap]
        return missing(self.programs(), names, self.regions, self.dead)

    def _acts(self, name: str, region: str, shard: int) -> int | None:
        program = self.program_at(name)
        return None if program is None else program.node.acts(region, shard, program.host.now())

    def _down(self) -> list[str]:
        return [
            host.name
            for host in self.hosts
            if not host.up and host.starts and self.keys.get(host.name, "") not in self.left
        ]

    def _is_whole(self) -> bool:
        return is_whole(self.programs(), self.regions, len(self.hosts))
