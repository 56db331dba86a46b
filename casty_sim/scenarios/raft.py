"""A replicated map on Raft, with clients, under every fault that Raft must bear."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from casty_proto.machine import MILLISECOND, SECOND, Instant, Note, Persist, Persisted, Reply, Wake
from casty_proto.raft import (
    Append,
    Apply,
    Command,
    Configuration,
    ConfigurationChanged,
    Raft,
    RaftEffect,
    RaftEvent,
    RaftOptions,
    Received,
    Restore,
    Role,
    RoleChanged,
    Send,
    SessionsEnded,
    SnapshotTaken,
    Start,
    TakeSnapshot,
    bootstrap,
    checkpoint,
    recover,
)

from ..checkers.linearizability import Verdict, check, draw, register
from ..checkers.raft import RaftChecker
from ..faults import KINDS, FaultOptions, Nemesis, draw_plan
from ..network import Link
from ..scenario import Outcome, Scenario, Settings
from ..tape import Tape
from ..trace import Trace
from ..world import Host, Program, Violation, World
from .raft_clients import Client

OPTIONS = RaftOptions(
    heartbeat_interval_ns=100 * MILLISECOND,
    election_timeout_min_ns=500 * MILLISECOND,
    election_timeout_max_ns=1000 * MILLISECOND,
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

# A server that lost its disk is another server (raft records, rule 6).
FAULTS = FaultOptions(kinds=tuple(kind for kind in KINDS if kind != "wipe"), down_at_once=2)


class RaftProgram(Program):
    """One server with its application, a map of keys to values."""

    def __init__(self, world: RaftWorld) -> None:
        self.cluster = world
        self.state: dict[str, int] = {}

    def start(self, host: Host, records: list[Any]) -> None:
        self.host = host
        self.name = host.name
        self.checker = self.cluster.checker
        recovered = recover(records)
        if len(records) > 64:
            host.disk.compact(list(checkpoint(recovered)))
        self.raft = Raft(host.name, host.world.tape.random(f"raft/{host.name}"), self.cluster.options, recovered)
        self.checker.started(host.name)
        self.feed(Start())

    def feed(self, event: RaftEvent) -> None:
        """One event to the machine, and all of its effects."""
        for effect in self.raft.handle(event, self.host.now()):
            self._carry_out(effect)

    def receive(self, peer: Host, message: Any) -> None:
        self.feed(Received(peer.name, message))

    def persisted(self, ticket: int) -> None:
        self.feed(Persisted(ticket))

    def wake(self) -> None:
        self.feed(Wake())

    def deadline(self) -> Instant | None:
        return self.raft.deadline()

    def invariants(self) -> None:
        self.raft.invariants()

    def fingerprint(self) -> Any:
        raft = self.raft
        return (raft.term, raft.vote, raft.role, raft.leader, raft.commit, raft.log.last_index, raft.log.last_term)

    def label(self) -> str:
        return self.raft.role.value

    def _carry_out(self, effect: RaftEffect) -> None:
        match effect:
            case Send(to, message):
                self.host.send(to, message)
            case Persist(ticket, record):
                self.checker.persisted(self.name, record)
                if isinstance(record, Append) and record.entries[0].index in self.checker.applied:
                    self.cluster.world.reach("an applied index was written again")
                self.host.persist(ticket, record)
            case Apply(entries):
                self.checker.apply(self.name, effect)
                for entry in entries:
                    if isinstance(entry.payload, Command):
                        key, value = json.loads(entry.payload.data)
                        self.state[key] = value
            case Reply(request, result):
                request(self, result)
            case TakeSnapshot(index):
                data = json.dumps(self.state).encode()
                self.host.local(20 * MILLISECOND, lambda: self.feed(SnapshotTaken(index, data)))
            case Restore(_, _, data):
                self.checker.restored(self.name, effect)
                self.state = json.loads(data)
                self.cluster.world.reach("a snapshot was restored")
            case ConfigurationChanged(index, configuration, committed):
                if committed:
                    self.checker.configuration_committed(index, configuration)
            case RoleChanged():
                self._role_changed(effect)
            case SessionsEnded() | Note():
                pass

    def _role_changed(self, effect: RoleChanged) -> None:
        world = self.cluster.world
        world.trace.note(world.now, self.name, "role", f"{effect.role.value} in term {effect.term}")
        self.checker.role_changed(self.name, effect)
        if effect.role is Role.LEADER:
            world.reach("a leader was elected")
            if len(self.checker.leaders) > 1:
                world.reach("another leader was elected")
            self.checker.leader_has(self.name, self.raft.log.term, self.raft.log.base_index + 1)
        elif effect.role is Role.CANDIDATE:
            world.reach("somebody was a candidate")


class RaftWorld:
    """The cluster of one run."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace, make: Callable[[RaftWorld], RaftProgram]) -> None:
        self.world = World(tape, ordered=False, trace=trace, check_invariants=settings.check_invariants)
        self.options = OPTIONS
        self.checker = RaftChecker()
        names = tuple(f"n{number}" for number in range(1, settings.nodes + 1))
        self.servers = [self.world.add_host(name, lambda: make(self)) for name in names]
        for server in self.servers:
            server.disk.compact(list(bootstrap(Configuration(voters=names))))
        self.clients = [Client(self, f"c{number}") for number in range(1, CLIENTS + 1)]

    def begin(self) -> None:
        """Start everything."""
        for server in self.servers:
            server.start()
        for client in self.clients:
            client.begin()


class RaftScenario(Scenario):
    """See the module."""

    name = "raft"
    help = "a replicated map with clients on 5 servers; elections, replication, snapshots, sessions, reads"
    states = (
        "a leader was elected",
        "another leader was elected",
        "somebody was a candidate",
        "a snapshot was restored",
        "an applied index was written again",
        "a retry was answered as a duplicate",
        "a read was served by a follower",
        "an operation got no answer",
    )

    def make(self, world: RaftWorld) -> RaftProgram:
        """The program of a server; planted bugs override this."""
        return RaftProgram(world)

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        cluster = RaftWorld(tape, settings, trace, self.make)
        world = cluster.world
        outcome.reached = world.reached
        plan = draw_plan(tape.stream("plan"), FAULTS, world.network.default)
        if not settings.faults:
            plan.enabled = ()
            plan.link = world.network.default
        outcome.plan = plan.words()
        nemesis = Nemesis(world, cluster.servers, plan, FAULTS)
        cluster.begin()
        nemesis.begin()
        try:
            world.run(settings.safety_ns)
            self._check_liveness(cluster, nemesis, settings)
            self._check_history(cluster, outcome)
        finally:
            outcome.events = world.events
            outcome.simulated_ns = world.now
            world.digest_states()

    def _check_liveness(self, cluster: RaftWorld, nemesis: Nemesis, settings: Settings) -> None:
        world = cluster.world
        stream = world.tape.stream("core")
        size = stream.between(settings.nodes // 2 + 1, settings.nodes)
        core = stream.shuffled(cluster.servers)[:size]
        nemesis.end(core, Link())
        before = {client.name: client.completed for client in cluster.clients}
        deadline = world.now + settings.liveness_ns
        while world.now < deadline:
            world.run(min(deadline, world.now + SECOND))
            if all(client.completed > before[client.name] + 1 for client in cluster.clients):
                return
        stuck = [client.name for client in cluster.clients if client.completed <= before[client.name] + 1]
        raise Violation("liveness", f"clients {stuck} made no progress with a healthy core of {size}")

    def _check_history(self, cluster: RaftWorld, outcome: Outcome) -> None:
        history = [operation for client in cluster.clients for operation in client.history()]
        if any(not operation.answered for operation in history):
            cluster.world.reach("an operation got no answer")
        finding = check(history, register(None), budget=100_000)
        if finding.verdict is Verdict.UNKNOWN:
            outcome.unknown = True
        if finding.verdict is Verdict.NOT_LINEARIZABLE:
            about = [operation for operation in history if operation.key == finding.key]
            raise Violation("linearizability", f"the history of {finding.key} has no order\n{draw(about)}")
