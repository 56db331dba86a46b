"""A cluster of members under every fault that SWIM must bear, while members change, leave, and come back.

Theory of operation
-------------------
Each host runs one member. Datagrams are lost, late, repeated and out of order. In the safety phase anything goes, and
what each member says and announces is checked at once (`checkers/swim.py`). Then the core is healed, and the others
meet a fate of their own: some go on as they are, some lose power, some are cut off for good. From the last change on
the time runs within which everybody who can be reached must know the others as they are, and nobody else.

The core contains a seed, so that members who have forgotten each other find together again (rule 26). The clique that
must converge is whoever is up, unpaused, a member, and connected with that seed in both directions.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from casty_proto.machine import MILLISECOND, SECOND, Instant, Note, Reply, Wake
from casty_proto.swim import (
    Departed,
    Identity,
    Join,
    Joined,
    Member,
    MemberAlive,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    Received,
    Send,
    State,
    Swim,
    SwimEffect,
    SwimEvent,
    SwimOptions,
    message_size,
)

from ..checkers.swim import SwimChecker
from ..checkers.swim_views import LIVE, Difference, differences, overdue
from ..faults import FaultOptions, Nemesis, draw_plan
from ..network import Link
from ..scenario import Outcome, Scenario, Settings
from ..tape import Stream, Tape
from ..timeline import Timeline
from ..trace import Trace
from ..world import Host, Program, Violation, World
from .swim_workload import Workload

OPTIONS = SwimOptions(
    probe_interval_ns=500 * MILLISECOND,
    probe_timeout_ns=150 * MILLISECOND,
    indirect_probes=2,
    awareness_max=3,
    suspicion_mult=2,
    suspicion_max_mult=3,
    confirmations=2,
    retransmit_mult=2,
    gossip_interval_ns=100 * MILLISECOND,
    gossip_nodes=2,
    gossip_to_dead_ns=2 * SECOND,
    sync_interval_ns=1500 * MILLISECOND,
)
"""Short times: members are suspected, die and come back within a short run."""

FAULTS = FaultOptions(
    kinds=(
        "loss",
        "tail",
        "duplicate",
        "bandwidth",
        "crash",
        "pause",
        "partition",
        "one way",
        "isolate",
        "clog",
        "drift",
        "jump",
    ),
    down_at_once=2,
)
"""A member has no disk: whoever restarts has lost everything, and comes with a higher generation."""

STEP = 250 * MILLISECOND
"""The views are compared at these intervals, not after every event."""


CALM = ("crash", "duplicate", "drift")
"""With no faults but these, nobody who is up may be suspected."""


def draw_options(stream: Stream) -> SwimOptions:
    """The options of one run: mostly the plain ones, each now and then another."""
    choices: dict[str, tuple[Any, ...]] = {
        "indirect_probes": (0, 1, 3),
        "awareness_max": (1, 8),
        "suspicion_mult": (1, 4),
        "suspicion_max_mult": (1, 2),
        "confirmations": (0, 1, None),
        "buddy": (False,),
        "retransmit_mult": (1, 4),
        "gossip_nodes": (1, 3),
        "gossip_to_dead_ns": (0, 30 * SECOND),
        "sync_interval_ns": (500 * MILLISECOND, 4 * SECOND),
    }
    changes = {name: stream.pick(others) for name, others in choices.items() if stream.chance(0.15)}
    return evolve(OPTIONS, **changes)


class SwimProgram(Program):
    """One member after the other: it may leave, and come back as another."""

    def __init__(self, world: SwimWorld) -> None:
        self.cluster = world

    def start(self, host: Host, records: list[Any]) -> None:
        self.host = host
        self.name = host.name
        self.checker = self.cluster.checker
        self.begin()

    def begin(self) -> None:
        """Join with an identity that was never used. The address is the name of the host."""
        cluster = self.cluster
        self.swim = self.machine(cluster.next_identity(self.name), cluster.next_payload())
        self.checker.started(self.swim.me)
        self.feed(Join(cluster.seeds))

    def machine(self, identity: Identity, payload: bytes) -> Swim:
        """The machine of a new identity."""
        rng = self.host.world.tape.random(f"swim/{self.name}")
        return self.cluster.machine(identity, self.name, payload, rng=rng, options=self.cluster.options)

    def feed(self, event: SwimEvent) -> None:
        """One event to the machine, and all of its effects."""
        now = self.host.now()
        effects = self.swim.handle(event, now)
        self.checker.handled(self.swim.me, event, effects, now, self.host.world.now)
        for effect in effects:
            if type(effect) is Send:
                size = message_size(effect.message)
                self.checker.size(effect.message, size)
                self.host.send(effect.to, effect.message, size)
            else:
                self._carry_out(effect)

    def receive(self, peer: Host, message: Any) -> None:
        self.feed(Received(peer.name, message))

    def persisted(self, ticket: int) -> None:
        raise AssertionError("a member writes nothing")

    def wake(self) -> None:
        self.feed(Wake())
        deadline, now = self.swim.deadline(), self.host.now()
        if deadline is not None and deadline <= now:
            raise Violation(
                "deadlines", f"{self.swim.me} was woken and wants to be woken in the past: {deadline} <= {now}"
            )

    def deadline(self) -> Instant | None:
        return self.swim.deadline()

    def invariants(self) -> None:
        self.swim.invariants()

    def fingerprint(self) -> Any:
        swim = self.swim
        live = sum(member.state in LIVE for member in swim.members)
        return (swim.me.identity.generation, swim.me.incarnation, swim.me.state, swim.health, live)

    def label(self) -> str:
        return self.swim.me.state.name.lower()

    def _carry_out(self, effect: SwimEffect) -> None:
        cluster, world = self.cluster, self.cluster.world
        match effect:
            case Departed():
                cluster.workload.departed(self)
            case Joined():
                world.reach("a member joined")
            case Note(severity, text):
                if world.trace.timeline is not None:
                    world.trace.timeline.log(world.now, self.name, severity.name.lower(), text)
                return
            case Reply():
                return
            case _:
                pass
        if world.trace.keeps:
            world.trace.note(world.now, self.name, "member", f"{effect}", finer=type(effect).__name__)
        if world.trace.timeline is not None:
            self._keep_opinion(world.trace.timeline, effect)

    def _keep_opinion(self, timeline: Timeline, effect: SwimEffect) -> None:
        """Whom this member suspects, and whom it holds dead, for a report."""
        at = self.cluster.world.now
        match effect:
            case MemberSuspected(member):
                timeline.begin(at, self.name, "suspects", member.identity.node_id, f"suspects {member.identity}")
            case MemberDead(member):
                timeline.end(at, self.name, "suspects", member.identity.node_id)
                text = f"holds {member.identity} dead"
                timeline.begin(at, self.name, "holds dead", member.identity.node_id, text)
            case MemberAlive(member) | MemberLeft(member):
                timeline.end(at, self.name, "suspects", member.identity.node_id)
                timeline.end(at, self.name, "holds dead", member.identity.node_id)
            case _:
                return


class SwimWorld:
    """The cluster of one run."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace, machine: type[Swim]) -> None:
        self.world = World(tape, ordered=False, trace=trace, check_invariants=settings.check_invariants)
        self.machine = machine
        self.options = draw_options(tape.stream("options"))
        names = tuple(f"n{number}" for number in range(1, settings.nodes + 1))
        self.hosts = [self.world.add_host(name, lambda: SwimProgram(self)) for name in names]
        self.checker = SwimChecker(self.options, settings.nodes, self.world.reach, self.is_up)
        stream = tape.stream("seeds")
        self.seeds = tuple(stream.shuffled(names)[: stream.between(1, settings.nodes)])
        self.workload = Workload(self)
        self._generations = dict.fromkeys(names, 0)
        self._payloads = 0
        self._payload_stream = tape.stream("payload")
        self._cut_off: dict[str, None] = {}

    def begin(self) -> None:
        """Start everything."""
        for host in self.hosts:
            host.start()
        self.workload.begin()

    def next_identity(self, name: str) -> Identity:
        """An identity that was never used."""
        self._generations[name] += 1
        return Identity(name, self._generations[name])

    def next_payload(self) -> bytes:
        """A payload that was never used; now and then one that fills a message."""
        self._payloads += 1
        text = b"%d" % self._payloads
        return text.ljust(1024, b".") if self._payload_stream.chance(0.1) else text

    def cut_off(self, host: Host) -> None:
        """Let nothing reach that host, nor come from it, any more, whatever cuts are mended."""
        self.checker.calm = False
        self.world.trace.note(self.world.now, host.name, "fault", "cut off for good")
        self._cut_off[host.name] = None
        for other in self.hosts:
            self.world.network.shape(host.name, other.name, Link(loss=1.0))
            self.world.network.shape(other.name, host.name, Link(loss=1.0))

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets there from here."""
        return source in self._cut_off or target in self._cut_off or self.world.network.is_cut(source, target)

    # The truth ------------------------------------------------------------------------------------------------------

    def is_up(self, name: str) -> bool:
        """Whether a member runs there."""
        return self.world.hosts[name].up

    def running(self) -> dict[str, Swim]:
        """The machines of all hosts that are up."""
        programs = {host.name: host.program for host in self.hosts}
        return {name: program.swim for name, program in programs.items() if isinstance(program, SwimProgram)}

    def situation(self) -> Any:
        """Whatever the truth depends on."""
        running = self.running()
        states = [(name, swim.me.identity.generation, swim.me.state) for name, swim in running.items()]
        paused = [host.name for host in self.hosts if host.paused]
        cut = [(a.name, b.name) for a in self.hosts for b in self.hosts if self.is_cut(a.name, b.name)]
        return states, paused, cut

    def clique(self) -> dict[str, Member] | None:
        """Who is there and connected, and what they say of themselves. `None` while somebody is partly connected."""
        center = self.seeds[0]
        running = {name: swim for name, swim in self.running().items() if swim.me.state is State.ALIVE}
        if any(self.world.hosts[name].paused for name in running) or center not in running:
            return None
        clique = {name: swim.me for name, swim in running.items() if name == center or not self.is_cut(center, name)}
        for name in running:
            expected = name not in clique
            for other in clique:
                if other == name:
                    continue
                if self.is_cut(name, other) != expected or self.is_cut(other, name) != expected:
                    return None
        return clique

    def differences(self, clique: dict[str, Member]) -> list[Difference]:
        """What those who are there have wrong."""
        found: list[Difference] = []
        running = self.running()
        for name, me in clique.items():
            announced = self.checker.announced(name)
            found += differences(me, running[name].members, announced, clique, self.checker.bounds)
        for name, swim in running.items():
            if swim.me.state is State.LEFT and not self.checker.departed(name):
                text = f"{swim.me} has not come to the end of its goodbye"
                found.append(Difference("goodbye", text, self.checker.bounds.goodbye_ns))
        return found


class SwimScenario(Scenario):
    """See the module."""

    name = "swim"
    help = "members of SWIM who fail, leave and come back; suspicion, dissemination, whole states"
    states = (
        "a member joined",
        "a member was suspected",
        "a suspicion was refuted",
        "a confirmation shortened a suspicion",
        "a member was declared dead",
        "a member that was up was declared dead",
        "a dead member came back",
        "a member was replaced",
        "a member left",
        "one who had left came back",
        "one who was held dead had left",
        "a payload changed",
        "a helper was asked",
        "a helper passed an answer on",
        "a helper got no answer",
        "states were compared",
        "somebody was cut off for good",
        "somebody lost power for good",
    )

    def __init__(self, machine: type[Swim] = Swim) -> None:
        self.machine = machine

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        cluster = SwimWorld(tape, settings, trace, self.machine)
        world = cluster.world
        outcome.reached = world.reached
        plan = draw_plan(tape.stream("plan"), FAULTS, world.network.default)
        if not settings.faults or tape.stream("calm").chance(0.1):
            plan.enabled = tuple(kind for kind in plan.enabled if kind in CALM and settings.faults)
            duplicate = plan.link.duplicate if settings.faults else 0.0
            plan.link = evolve(world.network.default, duplicate=duplicate)
        cluster.checker.calm = not any(kind not in CALM for kind in plan.enabled)
        cluster.checker.even_clocks = "jump" not in plan.enabled
        outcome.plan = plan.words()
        nemesis = Nemesis(world, cluster.hosts, plan, FAULTS)
        cluster.begin()
        nemesis.begin()
        try:
            world.run(settings.safety_ns)
            cluster.workload.end()
            self._heal(cluster, nemesis, settings)
            self._check_liveness(cluster, plan.link)
            world.digest_states()
        finally:
            outcome.faults = plan.faults
            outcome.events = world.events
            outcome.simulated_ns = world.now

    def _heal(self, cluster: SwimWorld, nemesis: Nemesis, settings: Settings) -> None:
        """The core, with the first seed in it, is put right. The others meet their fates."""
        world = cluster.world
        stream = world.tape.stream("core")
        size = stream.between(settings.nodes // 2 + 1, settings.nodes)
        first = world.hosts[cluster.seeds[0]]
        others = stream.shuffled([host for host in cluster.hosts if host is not first])
        nemesis.end([first, *others[: size - 1]], Link())
        if not settings.faults:
            return
        for host in others[size - 1 :]:
            fate = stream.pick(("as it is", "power", "cut off"))
            if fate == "power":
                host.crash()
                world.reach("somebody lost power for good")
            elif fate == "cut off":
                cluster.cut_off(host)
                world.reach("somebody was cut off for good")

    def _check_liveness(self, cluster: SwimWorld, link: Link) -> None:
        """Views converge within the bounds, which count from the last change, and from when old packets have come.

        The bounds follow from the options of the members, so `Settings.liveness_ns` has no say here.
        """
        world = cluster.world
        drained = world.now + FAULTS.longest_ns + link.tail_ns
        since, before = drained, None
        while True:
            world.run(world.now + STEP)
            situation = cluster.situation()
            if situation != before:
                since, before = max(drained, world.now), situation
            clique = cluster.clique()
            if clique is None:
                assert world.now - since < 2 * SECOND + FAULTS.longest_ns, f"a fault that does not end: {situation}"
                continue
            found = cluster.differences(clique)
            if not found:
                return
            overdue(found, world.now - since)
