"""Three more runs of the cluster: clocks that nobody should trust, a rolling restart, and a long quiet hour."""

from __future__ import annotations

from typing import Any

from casty_proto.cluster import events
from casty_proto.cluster.options import NodeOptions
from casty_proto.machine import MILLISECOND, SECOND, Nanoseconds
from casty_proto.swim import State

from ..faults import FaultOptions, FaultPlan, Nemesis
from ..scenario import Outcome, Scenario, Settings
from ..tape import Tape
from ..trace import Trace
from ..world import Host, Violation
from .cluster import STEP, ClusterWorld, await_health, await_progress
from .cluster_clients import Ask
from .cluster_host import ClusterProgram
from .cluster_variety import OPTIONS

WILD = FaultOptions(kinds=("drift", "isolate", "pause", "one way"), every_ns=250 * MILLISECOND, drift=0.8)
"""Clocks that run at up to almost twice their speed, or stand almost still."""


class ClusterDrift(Scenario):
    """Clocks drift beyond the margin of the leases: two nodes may then own one shard, and that must be detected."""

    name = "cluster-drift"
    help = "a cluster whose clocks drift beyond the margin: it is expected to break the rule of the single owner"

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        cluster = _Drifting(tape, settings, trace)
        world = cluster.world
        outcome.plan = cluster.plan.words()
        nemesis = Nemesis(world, cluster.hosts, cluster.plan, WILD)
        cluster.begin()
        nemesis.begin()
        with cluster.telling(outcome):
            world.run(settings.safety_ns)
            world.digest_states()


class Quiet(ClusterWorld):
    """A cluster in which nothing goes wrong by itself."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace) -> None:
        super().__init__(tape, settings, trace)
        self.plan = FaultPlan((), self.world.network.default)
        self.options = OPTIONS
        self.workload.end()

    def start_all(self) -> None:
        """Start all hosts at once, and wait until all is well."""
        for host in self.hosts:
            host.start()
        await_health(self)


class _Drifting(Quiet):
    """All kinds of faults that break leases where clocks cannot be trusted."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace) -> None:
        super().__init__(tape, settings, trace)
        self.plan = FaultPlan(WILD.kinds, self.world.network.default)


# A rolling restart ----------------------------------------------------------------------------------------------------

TURN = 20 * SECOND
"""How long it may take until a host has left, and all is well again."""


class _Rolling(Quiet):
    """No ask of a client may fail but with "retry", which is typed and tells that nothing has happened."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace) -> None:
        super().__init__(tape, settings, trace)
        self.ask_timeout_ns: Nanoseconds = 10 * SECOND

    def ended(self, ask: Ask, verdict: str, result: Any, client: str) -> None:
        super().ended(ask, verdict, result, client)
        if verdict not in ("done", "retry"):
            raise Violation("rolling restart", f"an ask of {client} for {ask.op.entity} ended with {verdict!r}")


class ClusterRolling(Scenario):
    """Every node leaves gracefully and comes back, one after the other, while clients ask for things."""

    name = "cluster-rolling"
    help = "a rolling restart of every node with graceful leave, in which no ask may fail"
    states = ("a node left", "a shard was handed over", "another leader was elected", "a node came back as a new one")

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        cluster = _Rolling(tape, settings, trace)
        world = cluster.world
        with cluster.telling(outcome):
            cluster.start_all()
            for host in world.tape.stream("rolling").shuffled(cluster.hosts):
                self._turn(cluster, host)
            cluster.workload.end()
            await_progress(cluster)
            world.digest_states()

    def _turn(self, cluster: ClusterWorld, host: Host) -> None:
        """One host: its own clients end first, as whoever restarts a process sees to."""
        world, program = cluster.world, host.program
        assert isinstance(program, ClusterProgram)
        program.pausing = True
        deadline = world.now + TURN
        while not program.asks.idle and world.now < deadline:
            world.run(world.now + STEP)
        host.local(1, lambda: program.feed(events.Depart()))
        while (host.program is program or cluster.problems()) and world.now < deadline:
            world.run(world.now + STEP)
        if problems := [f"{host.name} has not left"] if host.program is program else cluster.problems():
            raise Violation("rolling restart", f"{TURN / SECOND:g} s after {host.name} left: {'; '.join(problems[:8])}")


# A quiet hour ---------------------------------------------------------------------------------------------------------


class ClusterIdle(Scenario):
    """A healthy cluster without work, with the default options: nobody is suspected, and nothing changes."""

    name = "cluster-idle"
    help = "an idle healthy cluster with the default options: no suspicion, no change of epochs or of the leader"

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        cluster = _Idle(tape, settings, trace)
        world = cluster.world
        with cluster.telling(outcome):
            cluster.start_all()
            world.run(world.now + 5 * SECOND)
            cluster.formed = True
            before = cluster.picture()
            world.run(world.now + settings.safety_ns)
            if cluster.picture() != before:
                raise Violation("idle", f"something has changed: {before} became {cluster.picture()}")
            await_health(cluster, STEP)
            world.digest_states()


class _Listening(ClusterProgram):
    """Looks into what it is sent, once the cluster is formed."""

    def receive(self, peer: Host, message: Any) -> None:
        for update in getattr(message.body, "updates", ()):
            if update.state in (State.SUSPECT, State.DEAD) and isinstance(self.cluster, _Idle) and self.cluster.formed:
                raise Violation("idle", f"{peer.name} says that {update.identity} is {update.state.name}")
        super().receive(peer, message)


class _Idle(Quiet):
    """Nobody asks for anything."""

    program = _Listening
    formed = False

    def __init__(self, tape: Tape, settings: Settings, trace: Trace) -> None:
        super().__init__(tape, settings, trace)
        self.options = NodeOptions()

    def clients_at(self, host: Host) -> int:
        return 0

    def picture(self) -> Any:
        """Who leads, and everything that was applied: members with their status, epochs, owners."""
        nodes = [program.node for program in self.programs()]
        return [(node.key, node.leader, node.term, node.state.encode()) for node in nodes]
