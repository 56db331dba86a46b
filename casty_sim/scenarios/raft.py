"""A replicated map on Raft, with clients and an operator, under every fault that Raft must bear.

Each run draws, besides its faults, how the servers are set up: who votes at first, whether an operator changes the
membership and moves the leadership, and which options the servers have.
"""

from __future__ import annotations

from attrs import asdict, evolve

from casty_proto.machine import MILLISECOND, SECOND
from casty_proto.raft import Configuration, Raft, RaftOptions, bootstrap, recover

from ..checkers.history import BUDGET, judge, record
from ..checkers.linearizability import Finding, Operation, check, register
from ..checkers.raft import RaftChecker
from ..checkers.raft_promises import Promises
from ..faults import KINDS, FaultOptions, FaultPlan, Nemesis, draw_plan
from ..network import Link
from ..scenario import Outcome, Scenario, Settings
from ..tape import Stream, Tape
from ..trace import Trace
from ..world import Host, Violation, World
from .raft_clients import Client
from .raft_operator import Operator
from .raft_program import RaftProgram

OPTIONS = RaftOptions(
    heartbeat_interval_ns=250 * MILLISECOND,
    election_timeout_min_ns=650 * MILLISECOND,
    election_timeout_max_ns=1300 * MILLISECOND,
    max_message_entries=8,
    max_inflight_messages=4,
    snapshot_entries=24,
    snapshot_factor=0,
    trailing_entries=8,
    snapshot_chunk_bytes=64,
    read_timeout_ns=SECOND,
)
"""Small limits: snapshots, windows and chunks are reached within a short run."""

CLIENTS = 3
CATCH_UP = 10 * SECOND
"""How long a member of a healthy core may take to get everything."""

# A server that lost its disk is another server (raft records, rule 6).
FAULTS = FaultOptions(kinds=tuple(kind for kind in KINDS if kind != "wipe"), down_at_once=2)


def draw_options(stream: Stream, plan: FaultPlan) -> RaftOptions:
    """The options of this run's servers. The plainest are `OPTIONS`."""
    check_quorum = not stream.chance(0.25)
    shortest = OPTIONS.election_timeout_min_ns
    return evolve(
        OPTIONS,
        pre_vote=not stream.chance(0.4),
        check_quorum=check_quorum,
        # A lease trusts clocks, and a clock that jumps is none to be trusted (thesis 6.4.1).
        lease_reads=stream.chance(0.4) and check_quorum and "jump" not in plan.enabled,
        # Timeouts that hardly differ make elections that collide.
        election_timeout_max_ns=stream.pick((2 * shortest, 2 * shortest, shortest + 60 * MILLISECOND)),
        max_message_entries=stream.pick((8, 1, 64)),
        snapshot_entries=stream.pick((24, 8, 1000)),
        trailing_entries=stream.pick((8, 0)),
    )


def _changed(options: RaftOptions) -> str:
    """What is not as in `OPTIONS`, for people."""
    plain, drawn = asdict(OPTIONS), asdict(options)
    return ", ".join(f"{name}={drawn[name]}" for name in drawn if drawn[name] != plain[name]) or "plain options"


class RaftWorld:
    """The cluster of one run."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace, machine: type[Raft]) -> None:
        self.world = World(tape, ordered=False, trace=trace, check_invariants=settings.check_invariants)
        self.machine = machine
        self.plan = draw_plan(tape.stream("plan"), FAULTS, self.world.network.default)
        if not settings.faults:
            self.plan = FaultPlan((), self.world.network.default)
        variety = tape.stream("variety")
        self.options = draw_options(variety, self.plan)
        self.checker = RaftChecker()
        self.promises = Promises(self.options.election_timeout_min_ns if self.options.lease_reads else 0)
        names = [f"n{number}" for number in range(1, settings.nodes + 1)]
        self.servers = [self.world.add_host(name, lambda: RaftProgram(self)) for name in names]
        moves_members = settings.nodes > 2 and variety.chance(0.5)
        self.operator = Operator(self, moves_members=moves_members)
        # In small clusters a single server that breaks a promise does harm more often.
        voters = max(min(len(names), 2), len(names) - variety.below(3))
        learners = voters + variety.below(len(names) - voters + 1)
        self.first = Configuration(tuple(names[:voters]), tuple(names[voters:learners]))
        self.checker.configuration_committed(0, self.first)
        for server in self.servers[:learners]:
            server.disk.compact(list(bootstrap(self.first)))
        self.finding: Finding | None = None
        """What the check of the history has found."""
        self.clients = [Client(self, f"c{number}") for number in range(1, CLIENTS + 1)]
        if trace.timeline is not None:
            for client in self.clients:
                trace.timeline.client(client.name)

    def begin(self) -> None:
        """Start everything."""
        for server in self.servers:
            server.start()
        for client in self.clients:
            client.begin()
        self.operator.begin()

    def history(self) -> list[Operation]:
        """What the clients have asked for so far."""
        return [operation for client in self.clients for operation in client.history()]

    def programs(self) -> list[RaftProgram]:
        """What runs at the moment."""
        return [server.program for server in self.servers if isinstance(server.program, RaftProgram)]

    def configurations(self) -> list[Configuration]:
        """Every configuration that a server would act on, or has on its disk, and the last one that was committed."""
        found = [program.raft.configurations.latest for program in self.programs()]
        for server in self.servers:
            recovered = recover(server.disk.records())
            found.append(recovered.base.configuration)
            found += [entry.payload for entry in recovered.entries if isinstance(entry.payload, Configuration)][-1:]
        found.append(self.checker.committed[-1][1])
        return [configuration for configuration in found if configuration.voters]

    def behind(self, hosts: list[Host], index: int) -> list[str]:
        """Those of the hosts that are members, as far as anybody knows, and have not applied everything to `index`."""
        members = {name for configuration in self.configurations()[-1:] for name in configuration.members}
        running = {program.name: program.raft.commit for program in self.programs()}
        return [host.name for host in hosts if host.name in members and running.get(host.name, 0) < index]

    def draw_core(self, stream: Stream) -> list[Host]:
        """Servers that could make progress by themselves: a majority of every configuration that may be in effect."""
        if not self.options.check_quorum:
            # A leader that is heard but hears nobody can then hold up everybody for good (thesis 6.2).
            return self.servers
        order = stream.shuffled(self.servers)
        configurations = self.configurations()
        size = stream.between(len(order) // 2 + 1, len(order))
        while not all(_has_majority(order[:size], configuration) for configuration in configurations):
            size += 1
        return order[:size]


def _has_majority(core: list[Host], configuration: Configuration) -> bool:
    voters = dict.fromkeys(configuration.voters)
    return 2 * sum(host.name in voters for host in core) > len(voters)


class RaftScenario(Scenario):
    """See the module."""

    name = "raft"
    help = "a replicated map with clients: elections, replication, snapshots, sessions, reads, membership, transfers"
    states = (
        "a leader was elected",
        "another leader was elected",
        "somebody was a candidate",
        "a snapshot was restored",
        "an applied index was written again",
        "a retry was answered as a duplicate",
        "a read was served by a follower",
        "an operation got no answer",
        "a server was made a voter",
        "a server was made a learner",
        "a server was removed",
        "the leadership was transferred",
        "a configuration was rolled back",
    )

    def __init__(self, machine: type[Raft] = Raft) -> None:
        self.machine = machine
        """What runs on each server; one with a bug, where somebody wants to see it found."""

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        cluster = RaftWorld(tape, settings, trace, self.machine)
        world = cluster.world
        outcome.reached = world.reached
        outcome.plan = f"{cluster.plan.words()}; {_changed(cluster.options)}"
        nemesis = Nemesis(world, cluster.servers, cluster.plan, FAULTS)
        cluster.begin()
        nemesis.begin()
        try:
            world.run(settings.safety_ns)
            self._check_liveness(cluster, nemesis, settings)
            self._check_states(cluster)
            self._check_history(cluster, outcome)
            world.digest_states()
        finally:
            if trace.timeline is not None:
                record(trace.timeline, cluster.history(), cluster.finding)
            outcome.faults = cluster.plan.faults
            outcome.events = world.events
            outcome.simulated_ns = world.now

    def _check_liveness(self, cluster: RaftWorld, nemesis: Nemesis, settings: Settings) -> None:
        world = cluster.world
        cluster.operator.end()
        core = cluster.draw_core(world.tape.stream("core"))
        nemesis.end(core, Link())
        before = {client.name: client.completed for client in cluster.clients}
        deadline = world.now + settings.liveness_ns
        while world.now < deadline:
            world.run(min(deadline, world.now + SECOND // 4))
            if all(client.completed > before[client.name] + 1 for client in cluster.clients):
                self._check_catching_up(cluster, core)
                return
        stuck = [client.name for client in cluster.clients if client.completed <= before[client.name] + 1]
        names = [host.name for host in core]
        raise Violation("liveness", f"clients {stuck} made no progress with a healthy core of {names}")

    def _check_catching_up(self, cluster: RaftWorld, core: list[Host]) -> None:
        """Every member in the core gets what was committed by now."""
        world = cluster.world
        target = max(program.raft.commit for program in cluster.programs())
        deadline = world.now + CATCH_UP
        while late := cluster.behind(core, target):
            if world.now >= deadline:
                raise Violation("liveness", f"{late} do not get what is committed up to {target} with a healthy core")
            world.run(world.now + SECOND // 4)

    def _check_states(self, cluster: RaftWorld) -> None:
        """What was acknowledged is there, and every server has the state that its part of the log makes."""
        checker = cluster.checker
        checker.acknowledged_are_applied([program.name for program in cluster.programs()])
        for program in cluster.programs():
            checker.same_state(program.name, program.state)

    def _check_history(self, cluster: RaftWorld, outcome: Outcome) -> None:
        history = cluster.history()
        if any(not operation.answered for operation in history):
            cluster.world.reach("an operation got no answer")
        cluster.finding = check(history, register(None), BUDGET)
        judge(history, cluster.finding, outcome)
