"""A cluster of nodes with entities, a singleton, names and a registry, under every fault that it must bear.

Each run draws, besides its faults, how the cluster is set up (`cluster_variety.py`): which hosts have a disk, who is a
seed, who comes later, which roles and weights there are, which options the nodes and the regions have. While the faults
last, hosts crash and come back, leave and come back, and clients ask entities for things. The policy
(`cluster_policy.py`) sees to it that no more is lost at once than may be, as far as anybody is asked. What is watched
and judged is the same for machines and for applications (`cluster_run.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from casty_proto.cluster import events
from casty_proto.cluster.events import Standing
from casty_proto.cluster.node import Node
from casty_proto.machine import SECOND, Nanoseconds

from ..checkers.cluster_health import unanswered
from ..checkers.history import record
from ..faults import KINDS, FaultOptions, FaultPlan, Nemesis, draw_plan
from ..network import Link
from ..scenario import Outcome, Scenario, Settings
from ..tape import Tape
from ..timeline import Timeline
from ..trace import Trace
from ..world import Violation, World
from .cluster_clients import Ask, Asks, keep_ask, operation
from .cluster_host import ClusterProgram
from .cluster_ops import BOSS, COUNTERS, state_of
from .cluster_run import ClusterRun
from .cluster_workload import Workload

# A clock that leaps breaks leases, as it must.
FAULTS = FaultOptions(kinds=tuple([kind for kind in KINDS if kind != "jump"]), drift=0.04)

BOUND = 30 * SECOND
"""How long a healed cluster may take until all is well."""
ANSWER = 12 * SECOND
"""How long a node may take to say what became of a message, when all is well."""
STEP = SECOND // 4
SETTLED = 2 * SECOND
"""How long a node may be held to be down for what was late."""


class ClusterWorld(ClusterRun):
    """The cluster of one run, as machines."""

    program: type[ClusterProgram] = ClusterProgram
    dead: list[ClusterProgram]

    def __init__(self, tape: Tape, settings: Settings, trace: Trace, machine: type[Node] = Node) -> None:
        self.machine = machine
        super().__init__(tape, settings, trace)
        self._generations = dict.fromkeys(self.names, 0)
        self.away: dict[str, None] = {}
        """Hosts whose node has ended, and will be followed by another."""
        self._asks: list[Asks] = []
        """Those of all lives of all hosts."""
        self._abandoned = False
        self.workload = Workload(self)

    def _build(self, tape: Tape, trace: Trace) -> World:
        settings = self.settings
        world = World(tape, ordered=self.ordered, trace=trace, check_invariants=settings.check_invariants)
        self.plan = draw_plan(tape.stream("plan"), FAULTS, world.network.default)
        if not settings.faults:
            self.plan = FaultPlan((), world.network.default)
        for name in self.names:
            world.add_host(name, lambda: self.program(self))
        return world

    def begin(self) -> None:
        """Start everything; some hosts come later."""
        for host in self.hosts:
            self.world.after(self.late_ns(host.name), host.start)
        self.workload.begin()
        self._review()

    def _review(self) -> None:
        self.losses.review()
        self.world.after(STEP, self._review)

    # -- what programs want to know ------------------------------------------------------------------------------------

    def next_generation(self, name: str) -> int:
        """A generation that no node of this host has had."""
        self._generations[name] += 1
        return self._generations[name]

    # -- what programs say ---------------------------------------------------------------------------------------------

    def started(self, program: ClusterProgram) -> None:
        """A process has begun."""
        name, key = program.name, program.node.key
        self._asks.append(program.asks)
        before = self.keys.get(name)
        if before is not None:
            if before not in self.left:
                self.losses.crashed(name)
            self.views.ended(before)
            if before != key:
                self.world.reach("a node came back as a new one")
        self.keys[name] = key

    def standing_changed(self, program: ClusterProgram, effect: events.StandingChanged) -> None:
        """What a node is to its cluster."""
        node, host = program.node, program.host
        self.world.trace.note(self.world.now, host.name, "standing", f"{node.key} is {effect.standing.value}")
        match effect.standing:
            case Standing.MEMBER:
                self.views.member_of(host, node.cluster)
                self.policy.became_member(host)
                self.world.reach("a node joined")
            case Standing.DEPARTED:
                self.workload.ended(host)
            case Standing.EXPELLED:
                self.world.reach("a node was expelled")
                self.workload.ended(host)
            case Standing.SEEKING | Standing.LEAVING:
                pass

    def opens(self, program: ClusterProgram, effect: events.OpenShard) -> None:
        """A shard is opened; what is in it is looked at."""
        spot = (effect.region, effect.shard)
        heard = program.given.get(spot)
        giver = heard[1] if heard is not None and heard[0] == effect.epoch else None
        self.owners.opens(program.host, effect, giver)
        where = f"{effect.region}/{effect.shard} is opened by {program.node.key} at epoch {effect.epoch}"
        self.opened(spot, {name: state_of(data, effect.region) for name, data in effect.entities}, where)

    def ended(self, ask: Ask, verdict: str, result: Any, client: str) -> None:
        """An ask has ended."""
        if self.world.trace.keeps:
            op = ask.op
            text = f"{op.kind.name} {op.entity} ({op.number}): {verdict} {result if op.kind else ''}"
            self.world.trace.note(self.world.now, op.reply_to, "ask", text)
            keep_ask(self.world.trace.timeline, ask, verdict, result, client, self.world.now)
        if verdict != "done":
            self.world.reach(f"an ask ended with {verdict}")
        found = operation(ask, verdict, result, client, self.world.now)
        if found is not None:
            self.history.append(found)

    def keep_history(self, timeline: Timeline) -> None:
        """What clients have asked for goes into the report, with what is still out, and what was found."""
        for asks in () if self._abandoned else self._asks:
            for ask in asks.abandoned():
                keep_ask(timeline, ask, "", None, ask.op.reply_to, None)
        record(timeline, self.history, self.finding, lambda each: str(each.client).partition(".")[0])

    @contextmanager
    def telling(self, outcome: Outcome) -> Iterator[None]:
        """Within, the run goes on. However it ends, the outcome and a report are told of it."""
        world = self.world
        outcome.reached = world.reached
        try:
            yield
        finally:
            if world.trace.timeline is not None:
                self.keep_history(world.trace.timeline)
            outcome.events = world.events
            outcome.simulated_ns = world.now

    def abandoned(self) -> None:
        """What is out now, and what was out when a host lost power, does not end any more."""
        self._abandoned = True
        for asks in self._asks:
            for ask in asks.abandoned():
                self.ended(ask, "unknown", None, "late")

    # -- the truth -----------------------------------------------------------------------------------------------------

    def program_at(self, name: str) -> ClusterProgram | None:
        program = self.world.hosts[name].program
        return program if isinstance(program, ClusterProgram) else None

    def programs(self) -> list[ClusterProgram]:
        return super().programs()


class ClusterScenario(Scenario):
    """See the module."""

    name = "cluster"
    help = "a whole cluster: members, leases, shards, hand-overs, replicated entities, singletons, names, the registry"
    bound_ns = BOUND
    states = (
        "a cluster was formed",
        "a node joined",
        "a node left",
        "a node came back with its disk",
        "a node came back as a new one",
        "a node was expelled",
        "a member was forgotten",
        "a shard was handed over",
        "a shard was taken by force",
        "a shard was resumed",
        "a shard was not closed in time",
        "a lease ended",
        "messages waited through a hand-over",
        "a write was not durable",
        "several answers waited for one write",
        "a name was given",
        "a name was refused",
        "a node was as up to date as anybody",
        "a member said something else of itself",
        "another leader was elected",
        "an entity rested",
        "an entity came back after a rest",
        "an ask ended with retry",
        "an ask ended with unknown",
        "more was lost than a write survives",
        "a node was lost for good",
        "a disk was wiped",
        "a failed write stopped a host",
    )

    def __init__(self, machine: type[Node] = Node) -> None:
        self.machine = machine
        """What runs on each host; one with a bug, where somebody wants to see it found."""

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        cluster = self.build(tape, settings, trace)
        outcome.plan = cluster.plan.words()
        with cluster.telling(outcome):
            try:
                self._play(cluster, outcome)
            finally:
                outcome.faults = cluster.plan.faults

    def _play(self, cluster: ClusterWorld, outcome: Outcome) -> None:
        world, policy = cluster.world, cluster.policy
        nemesis = Nemesis(world, cluster.hosts, cluster.plan, FAULTS, policy.may_crash, policy.may_wipe)
        cluster.begin()
        nemesis.begin()
        world.run(cluster.settings.safety_ns)
        cluster.workload.end()
        nemesis.end(cluster.hosts, Link())
        healed_at = world.now
        cluster.calm_at = healed_at + cluster.plan.link.tail_ns + SETTLED
        await_health(cluster)
        outcome.well_after_ns = world.now - healed_at
        await_progress(cluster)
        if cluster.loses_one:
            outcome.well_after_ns = max(outcome.well_after_ns, await_loss(cluster))
        self._check_writes(cluster)
        self._check_history(cluster, outcome)
        world.digest_states()

    def build(self, tape: Tape, settings: Settings, trace: Trace) -> ClusterWorld:
        """The cluster of a run."""
        return ClusterWorld(tape, settings, trace, self.machine)

    def _check_writes(self, cluster: ClusterWorld) -> None:
        """What was acknowledged is there at the end, where it was written last."""
        cluster.quiet = True
        cluster.world.run(cluster.world.now + SECOND)
        for program in cluster.programs():
            for spot, shard in program.app.shards.items():
                if spot[0] in (COUNTERS, BOSS) and program.node.owns(*spot, program.host.now()) is not None:
                    names = cluster.writes.acknowledged_by.get(spot, {})
                    rested = {name: program.node.state_of(*spot, name) for name in names if name not in shard.entities}
                    states = {name: state_of(data, spot[0]) for name, data in rested.items()}
                    states |= {name: entity.state for name, entity in shard.entities.items()}
                    cluster.writes.opened(spot, states, lost="", where=f"at the end at {program.node.key}")

    def _check_history(self, cluster: ClusterWorld, outcome: Outcome) -> None:
        cluster.abandoned()
        cluster.check_registers(outcome)


def await_health(cluster: ClusterWorld, bound_ns: Nanoseconds = BOUND) -> None:
    """With all hosts up and connected, all is well within the bound."""
    world = cluster.world
    deadline = world.now + bound_ns
    while problems := cluster.problems():
        if world.now >= deadline:
            more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
            raise Violation(
                "liveness", f"after {bound_ns / SECOND:g} s without faults: {'; '.join(problems[:8])}{more}"
            )
        world.run(world.now + STEP)


def await_loss(cluster: ClusterWorld) -> Nanoseconds:
    """One host is gone for good, when all is well. The others get on without it. Returns how long that took.

    Hosts that always come back would hide it where nobody sees to what a dead node owns, or votes on.
    """
    world = cluster.world
    if world.now < cluster.calm_at:
        world.run(cluster.calm_at)
        await_health(cluster)
    cluster.losses.review()
    host = world.tape.stream("loss").pick(cluster.hosts)
    lost_at = world.now
    if isinstance(host.program, ClusterProgram):
        cluster.dead.append(host.program)
    host.scrap()
    await_health(cluster)
    took = world.now - lost_at
    await_progress(cluster)
    world.reach("a node was lost for good")
    return took


def await_progress(cluster: ClusterWorld) -> None:
    """Every client gets on, everything that was said to a node is answered, and all is still well."""
    world = cluster.world
    before = dict(cluster.completed)
    began, deadline = world.now, world.now + ANSWER
    while True:
        stuck = [
            host.name
            for host in cluster.hosts
            if not host.is_scrap and cluster.completed.get(host.name, 0) <= before.get(host.name, 0) + 1
        ]
        late = unanswered(cluster.programs(), began)
        if not stuck and not late:
            break
        if world.now >= deadline:
            said = "; ".join(late)
            raise Violation("liveness", f"all is well, but the clients of {stuck} get no further; {said}")
        world.run(world.now + STEP)
    problems = cluster.problems()
    if problems and world.now < cluster.calm_at:
        await_health(cluster)
    elif problems:
        raise Violation("liveness", f"all was well, and is not any more without faults: {'; '.join(problems[:8])}")
