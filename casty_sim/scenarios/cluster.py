"""A cluster of nodes with entities, a singleton, names and a registry, under every fault that it must bear.

Each run draws, besides its faults, how the cluster is set up: which hosts have a disk, who is a seed, who comes later,
which roles and weights there are, which options the nodes and the regions have. While the faults last, hosts crash and
come back, leave and come back, and clients ask entities for things. The policy (`cluster_policy.py`) sees to it that no
more is lost at once than may be, as far as anybody is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve

from casty_proto.cluster import events
from casty_proto.cluster.checks import NodeKey
from casty_proto.cluster.events import Standing
from casty_proto.cluster.node import Node
from casty_proto.cluster.options import NodeOptions
from casty_proto.machine import MILLISECOND, SECOND, Instant, Nanoseconds
from casty_proto.raft import RaftOptions
from casty_proto.replica import ReplicaOptions
from casty_proto.shard.channel import ChannelOptions
from casty_proto.shard.homes import HomeOptions
from casty_proto.shard.leases import LeaseOptions
from casty_proto.shard.plan import DEFAULT_PLACEMENT
from casty_proto.shard.rendezvous import Rendezvous
from casty_proto.shard.steward import StewardOptions
from casty_proto.swim import SwimOptions

from ..checkers.cluster_copies import Copies
from ..checkers.cluster_health import is_whole, missing, unanswered
from ..checkers.cluster_losses import Losses
from ..checkers.cluster_owners import Owners
from ..checkers.cluster_views import Views
from ..checkers.cluster_writes import Writes
from ..checkers.history import record
from ..checkers.linearizability import Finding, Operation, Verdict, check, draw, register
from ..faults import KINDS, FaultOptions, FaultPlan, Nemesis, draw_plan
from ..network import Link
from ..scenario import Outcome, Scenario, Settings
from ..tape import Stream, Tape
from ..timeline import Timeline
from ..trace import Trace
from ..world import Host, Violation, World
from .cluster_clients import LONGEST_ASK, Ask, Asks, keep_ask, operation
from .cluster_host import ClusterProgram
from .cluster_ops import BOSS, COUNTERS, NAMES, REGISTERS, regions, state_of
from .cluster_policy import Policy
from .cluster_roles import Roles
from .cluster_workload import Workload

OPTIONS = NodeOptions(
    swim=SwimOptions.local(
        probe_interval_ns=400 * MILLISECOND,
        probe_timeout_ns=120 * MILLISECOND,
        gossip_interval_ns=100 * MILLISECOND,
        sync_interval_ns=4 * SECOND,
    ),
    raft=RaftOptions(
        heartbeat_interval_ns=200 * MILLISECOND,
        election_timeout_min_ns=500 * MILLISECOND,
        election_timeout_max_ns=1000 * MILLISECOND,
    ),
    leases=LeaseOptions(duration_ns=600 * MILLISECOND),
    steward=StewardOptions(patience_ns=2 * SECOND),
    channels=ChannelOptions(patience_ns=3 * SECOND),
    silence_ns=2 * SECOND,
    order_patience_ns=5 * SECOND,
)
"""Times that let a run of ten seconds see several failures, with few messages."""

# A clock that leaps breaks leases, as it must.
FAULTS = FaultOptions(kinds=tuple([kind for kind in KINDS if kind != "jump"]), drift=0.04)

BOUND = 30 * SECOND
"""How long a healed cluster may take until all is well."""
ANSWER = 12 * SECOND
"""How long a node may take to say what became of a message, when all is well."""
STEP = SECOND // 4
SETTLED = 2 * SECOND
"""How long a node may be held to be down for what was late."""


def draw_options(stream: Stream) -> NodeOptions:
    """The options of this run's nodes. The plainest are `OPTIONS`."""
    raft = evolve(
        OPTIONS.raft,
        snapshot_entries=stream.pick((8192, 16, 64)),
        trailing_entries=stream.pick((1024, 0, 8)),
        snapshot_factor=stream.pick((4, 0)),
    )
    if stream.chance(0.15):
        fast = NodeOptions.fast()
        return evolve(fast, raft=evolve(raft, **_times(fast.raft)), order_patience_ns=OPTIONS.order_patience_ns)
    return evolve(
        OPTIONS,
        raft=raft,
        leases=LeaseOptions(duration_ns=stream.pick((600, 300, 1000)) * MILLISECOND),
        homes=HomeOptions(
            max_closing=stream.pick((64, 1)), close_timeout_ns=stream.pick((10_000, 10_000, 20)) * MILLISECOND
        ),
        channels=ChannelOptions(window=stream.pick((256, 1, 3)), patience_ns=OPTIONS.channels.patience_ns),
        replica=ReplicaOptions(page_entries=stream.pick((512, 1)), window_messages=stream.pick((256, 2))),
        max_voters=stream.pick((5, 3)),
        placement=stream.pick((DEFAULT_PLACEMENT, DEFAULT_PLACEMENT, Rendezvous())),
    )


def _times(options: RaftOptions) -> dict[str, Any]:
    names = ("heartbeat_interval_ns", "election_timeout_min_ns", "election_timeout_max_ns")
    return {name: getattr(options, name) for name in names}


class ClusterWorld:
    """The cluster of one run."""

    program: type[ClusterProgram] = ClusterProgram
    quota: int | None = None
    """How many things each client wants; `None` for no end."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace, machine: type[Node] = Node) -> None:
        variety = tape.stream("variety")
        self.world = world = World(
            tape, ordered=variety.chance(0.5), trace=trace, check_invariants=settings.check_invariants
        )
        self.machine = machine
        self.plan = draw_plan(tape.stream("plan"), FAULTS, world.network.default)
        if not settings.faults:
            self.plan = FaultPlan((), world.network.default)
        self.options = draw_options(variety)
        self.sync_count = variety.pick((1, -1))
        names = tuple([f"n{number}" for number in range(1, settings.nodes + 1)])
        self.roles = Roles(tape, names, tuple(NAMES))
        self.regions = regions(
            self.sync_count,
            variety.pick((2000, 500)) * MILLISECOND,
            variety.pick((None, 700 * MILLISECOND)),
            remember=variety.chance(0.3),
            role_of=self.roles.role_of,
        )
        self.loses_one = settings.faults and settings.nodes >= 3 and variety.chance(0.25)
        """Whether one host is gone for good at the end."""
        self.think_ns: Nanoseconds = variety.pick((400, 150)) * MILLISECOND
        self.longest_handler_ns: Nanoseconds = variety.pick((30, 30, 200)) * MILLISECOND
        self.ask_timeout_ns: Nanoseconds = variety.pick((LONGEST_ASK, LONGEST_ASK // 5))
        self.hosts = [world.add_host(name, lambda: self.program(self)) for name in names]
        self.first_seeds = tuple(variety.shuffled(names)[: variety.between(1, settings.nodes)])
        self._disks = {name: variety.chance(0.5) for name in names}
        self._generations = dict.fromkeys(names, 0)
        self.keys: dict[str, NodeKey] = {}
        """The latest node of each host."""
        self.away: dict[str, None] = {}
        """Hosts whose node has ended, and will be followed by another."""
        self.left: dict[NodeKey, None] = {}
        """Nodes that have left, with nothing left behind, as the cluster has it."""
        self.dead: list[ClusterProgram] = []
        """What ran on hosts that are gone for good."""
        self.calm_at: Instant = 0
        """When all has arrived that was late when the faults ended. On an ordered network it holds up the rest."""
        self.quiet = False
        """Whether clients ask for nothing more."""
        self.completed: dict[str, int] = {}
        self.history: list[Operation] = []
        self.finding: Finding | None = None
        """What the check of the history has found."""
        self._asks: list[Asks] = []
        """Those of all lives of all hosts."""
        self._abandoned = False
        reach = world.reach
        self.losses = Losses(settings.nodes, self._down, self._is_whole)
        self.owners = Owners(self._acts, self.losses.is_in_doubt, reach)
        self.writes = Writes(reach)
        self.copies = Copies()
        self.views = Views(reach)
        self.policy = Policy(self)
        self.workload = Workload(self)

    def begin(self) -> None:
        """Start everything; some hosts come later."""
        stream = self.world.tape.stream("starts")
        for host in self.hosts:
            late = 0 if host.name in self.first_seeds else int(stream.uniform(0.0, 1.0) ** 3 * 3 * SECOND)
            self.world.after(late, host.start)
        self.workload.begin()
        self._review()

    def _review(self) -> None:
        self.losses.review()
        self.world.after(STEP, self._review)

    # -- what programs want to know ------------------------------------------------------------------------------------

    def keeps_disk(self, name: str) -> bool:
        """Whether what is on the disk of that host is there after a crash."""
        return self._disks[name]

    def next_generation(self, name: str) -> int:
        """A generation that no node of this host has had."""
        self._generations[name] += 1
        return self._generations[name]

    def seeds_for(self, host: Host) -> tuple[str, ...]:
        """At first as was drawn; later all hosts, since the seeds of a cluster that is there are its members. Who has
        lost its disk while one was founded starts like the others: all are to have the same seeds then."""
        if host.starts == 1 or not self.policy.has_begun:
            return self.first_seeds
        return tuple([each.name for each in self.hosts])

    def clients_at(self, host: Host) -> int:
        """How many clients a host has."""
        return 1 + host.number % 2

    def keys_of(self, client: str) -> Callable[[str], Sequence[str]]:
        """The entities of each region that a client asks."""
        return NAMES.__getitem__

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
        if effect.region in (COUNTERS, BOSS):
            states = {name: state_of(data, effect.region) for name, data in effect.entities}
            self.writes.opened(spot, states, lost=self.losses.too_many(1), where=where)
        elif effect.region == REGISTERS:
            for _, data in effect.entities:
                number = state_of(data, effect.region)
                if number is not None:
                    self.writes.stands(number, where)
            if self.losses.too_many(1 if self.sync_count == 1 else 2):
                self.writes.excused[spot] = None

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

    def cannot_be_done(self, ask: Ask) -> bool:
        """Whether it is no wonder that an ask fails: what all backups are to have needs those who are gone for good."""
        return bool(self.dead) and self.sync_count == -1 and ask.spot[0] == REGISTERS

    def keep_history(self, timeline: Timeline) -> None:
        """What clients have asked for goes into the report, with what is still out, and what was found."""
        for asks in () if self._abandoned else self._asks:
            for ask in asks.abandoned():
                keep_ask(timeline, ask, "", None, ask.op.reply_to, None)
        record(timeline, self.history, self.finding, lambda each: str(each.client).partition(".")[0])

    def abandoned(self) -> None:
        """What is out now, and what was out when a host lost power, does not end any more."""
        self._abandoned = True
        for asks in self._asks:
            for ask in asks.abandoned():
                self.ended(ask, "unknown", None, "late")

    # -- the truth -----------------------------------------------------------------------------------------------------

    def programs(self) -> list[ClusterProgram]:
        """What runs at the moment."""
        return [host.program for host in self.hosts if isinstance(host.program, ClusterProgram)]

    def problems(self) -> list[str]:
        """What is not as it should be when all hosts are up."""
        names = [host.name for host in self.hosts if not host.is_scrap]
        return missing(self.programs(), names, self.regions, self.dead)

    def _acts(self, name: str, region: str, shard: int) -> int | None:
        host = self.world.hosts[name]
        program = host.program
        if not isinstance(program, ClusterProgram):
            return None
        return program.node.acts(region, shard, host.now())

    def _down(self) -> list[str]:
        return [
            host.name for host in self.hosts if not host.up and host.starts and self.keys[host.name] not in self.left
        ]

    def _is_whole(self) -> bool:
        return is_whole(self.programs(), self.regions, len(self.hosts))


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
        world = cluster.world
        outcome.reached = world.reached
        outcome.plan = cluster.plan.words()
        policy = cluster.policy
        nemesis = Nemesis(world, cluster.hosts, cluster.plan, FAULTS, policy.may_crash, policy.may_wipe)
        cluster.begin()
        nemesis.begin()
        try:
            world.run(settings.safety_ns)
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
        finally:
            if trace.timeline is not None:
                cluster.keep_history(trace.timeline)
            outcome.faults = cluster.plan.faults
            outcome.events = world.events
            outcome.simulated_ns = world.now

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
        excused = dict.fromkeys(shard for region, shard in cluster.writes.excused if region == REGISTERS)
        shard_of = cluster.programs()[0].node.shard_of
        history = [each for each in cluster.history if shard_of(REGISTERS, str(each.key)) not in excused]
        finding = cluster.finding = check(history, register(None), budget=100_000)
        if finding.verdict is Verdict.UNKNOWN:
            outcome.unknown = True
        if finding.verdict is Verdict.NOT_LINEARIZABLE:
            about = [each for each in history if each.key == finding.key]
            raise Violation("linearizability", f"the history of {finding.key} has no order\n{draw(about)}")


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
