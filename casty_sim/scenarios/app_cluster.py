"""The cluster scenario once more, as an application: real actor systems, on real event loops in simulated time.

What is asked for, what goes wrong, and what is watched are as in `cluster.py`; between them is all of the driver:
connections, handshakes, lanes, files, event loops, actors. A client outside of the cluster asks for things as well.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from casty_asyncio import ClusterClient
from casty_asyncio.cluster.storage_file import FILE_NAME
from casty_proto.cluster.checks import NodeKey, split_key
from casty_proto.cluster.events import Standing
from casty_proto.cluster.node import Node
from casty_proto.cluster.records import Status
from casty_proto.machine import MILLISECOND, SECOND, Instant, Nanoseconds

from ..checkers.cluster_copies import Copies
from ..checkers.cluster_health import is_whole, missing
from ..checkers.cluster_losses import Losses
from ..checkers.cluster_owners import Owners
from ..checkers.cluster_views import Views
from ..checkers.history import record
from ..checkers.linearizability import Finding, Operation, Verdict, check, draw, register
from ..loop import running
from ..scenario import Outcome, Scenario, Settings
from ..simulation.faults import Faults
from ..simulation.logs import captured
from ..simulation.node import SimNode
from ..simulation.process import Process
from ..simulation.sim import Sim
from ..tape import Tape
from ..trace import Trace
from ..world import Host, Violation
from .app_clients import AppClient
from .app_life import Life, WatchedDriver
from .app_workload import AppWorkload
from .app_writes import AppWrites
from .cluster import ANSWER, BOUND, SETTLED, STEP, draw_options
from .cluster_clients import LONGEST_ASK, Ask, keep_ask, operation
from .cluster_ops import BOSS, COUNTERS, DONE, NAMES, REGISTERS, RETRY, Kind, Spot, number_of, regions
from .cluster_policy import Policy
from .cluster_roles import Roles
from .cluster_workload import AWAY

if TYPE_CHECKING:
    from .cluster import ClusterWorld

FAULTS = Faults(drift=0.04, down_at_once=1)
LIMIT = 600 * SECOND
STEP_SECONDS = STEP / SECOND


class AppSim(Sim):
    """The simulation of one run. What a host may lose, and when it comes back, is for the scenario to say."""

    cluster: AppCluster

    def _may_lose(self, lost: Host) -> bool:
        return self.cluster.policy.may_crash(lost)

    def _may_wipe(self, lost: Host) -> bool:
        return self.cluster.policy.may_wipe(lost)

    def _on_end(self, node: SimNode, process: Process) -> None:
        super()._on_end(node, process)
        if process.error is None and node.id in self.nodes:
            self.cluster.ended_by_itself(node.host)

    def fail(self, error: Exception) -> None:
        """The run ends, and this is why. The first one counts."""
        if self._failure is None:
            self._failure = error
            self.world.halt()


class AppPolicy(Policy):
    """Disks have files, and not records; and a node that is told to end gives away what it has before it says so."""

    def _may_go(self, host: Host, *without: str) -> bool:
        for life in self._cluster.programs():
            one = cast("Life", life)
            if one.is_told_to_end and one.host is not host and one.node.standing is Standing.MEMBER:
                return False
        return super()._may_go(host, *without)

    def _comes_back(self, name: str) -> bool:
        cluster = cast("AppCluster", self._cluster)
        with running.outside():
            return cluster.keeps_disk(name) and (cluster.disk_of(name) / FILE_NAME).exists()


class AppCluster:
    """The cluster of one run."""

    quota: int | None = None
    """How many things each client wants; `None` for no end."""
    driver: type[WatchedDriver] = WatchedDriver
    """What drives nodes; one with a bug, where somebody wants to see it found."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace, machine: type[Node] = Node) -> None:
        variety = tape.stream("variety")
        self.settings = settings
        self.sim = AppSim(tape, settings, trace, FAULTS)
        self.sim.cluster = self
        self.world = world = self.sim.world
        self.machine = machine
        variety.chance(0.5)  # There it is whether the network keeps the order of packets; connections always do.
        self.options = draw_options(variety)
        self.sync_count = variety.pick((1, -1))
        names = self.sim.nodes
        self.roles = Roles(tape, names, tuple(NAMES))
        self.regions = regions(
            self.sync_count,
            variety.pick((2000, 500)) * MILLISECOND,
            variety.pick((None, 700 * MILLISECOND)),
            remember=variety.chance(0.3),
            role_of=self.roles.role_of,
        )
        self.loses_one = settings.faults and settings.nodes >= 3 and variety.chance(0.25)
        self.think_ns: Nanoseconds = variety.pick((400, 150)) * MILLISECOND
        self.longest_handler_ns: Nanoseconds = variety.pick((30, 30, 200)) * MILLISECOND
        self.ask_timeout_ns: Nanoseconds = variety.pick((LONGEST_ASK, LONGEST_ASK // 5))
        self.hosts = [world.hosts[name] for name in names]
        self.outside = world.hosts["test"]
        self.first_seeds = tuple(variety.shuffled(names)[: variety.between(1, settings.nodes)])
        self._disks = {name: variety.chance(0.5) for name in names}
        self._lives: dict[str, Life] = {}
        self._all_lives: list[Life] = []
        self.keys: dict[str, NodeKey] = {}
        """The latest node of each host."""
        self.left: dict[NodeKey, None] = {}
        """Nodes that have left, with nothing left behind, as the cluster has it."""
        self.dead: list[Life] = []
        """Who was on hosts that are gone for good."""
        self.calm_at: Instant = 0
        self.quiet = False
        """Whether clients ask for nothing more."""
        self.completed: dict[str, int] = {}
        """How much was done for each client."""
        self.asks: dict[int, tuple[Ask, str]] = {}
        """What is out, and who has asked."""
        self.history: list[Operation] = []
        self.finding: Finding | None = None
        self.durable: dict[int, None] = {}
        """Operations in states of which some node has said that they are durable."""
        self._serials: dict[str, int] = {}
        reach = world.reach
        self.losses = Losses(settings.nodes, self._down, self._is_whole)
        self.owners = Owners(self._acts, self.losses.is_in_doubt, reach)
        self.writes = AppWrites(reach)
        self.copies = Copies()
        self.views = Views(reach)
        # It is asked for nothing that this is not.
        self.policy: Policy = AppPolicy(cast("ClusterWorld", self))

    @contextmanager
    def judging(self) -> Iterator[None]:
        """A violation that is found within ends the run, whatever it is found in the middle of."""
        try:
            yield
        except Violation as violation:
            self.sim.fail(violation)

    # -- what lives want to know ---------------------------------------------------------------------------------------

    def keeps_disk(self, name: str) -> bool:
        """Whether a node of that host keeps what it must know on its disk."""
        return self._disks[name]

    def disk_of(self, name: str) -> Path:
        """Where it keeps that."""
        return self.sim.node(name).disk / "raft"

    def seeds_for(self, host: Host) -> tuple[str, ...]:
        """At first as was drawn; later all hosts, since the seeds of a cluster that is there are its members."""
        if host.starts == 1 or not self.policy.has_begun:
            return self.first_seeds
        return self.sim.nodes

    def clients_at(self, host: Host) -> int:
        """How many clients a host has."""
        return 1 + host.number % 2

    def keys_of(self, client: str) -> Callable[[str], Sequence[str]]:
        """The entities of each region that a client asks."""
        return NAMES.__getitem__

    def next_number(self, host: Host) -> int:
        """The number of the next operation that a host asks for."""
        self._serials[host.name] = serial = self._serials.get(host.name, 0) + 1
        return number_of(host.number + 1, host.starts, serial)

    # -- what lives say ------------------------------------------------------------------------------------------------

    def started(self, life: Life) -> None:
        """A node has begun."""
        name, key = life.name, life.node.key
        before = self.keys.get(name)
        if before is not None:
            if before not in self.left:
                self.losses.crashed(name)
            self.views.ended(before)
            self.world.reach("a node came back with its disk" if before == key else "a node came back as a new one")
        self.keys[name] = key
        self._lives[name] = life
        self._all_lives.append(life)

    def ended_by_itself(self, host: Host) -> None:
        """A node has left, or was removed. It comes back after a while."""
        stream = self.world.tape.stream("workload")
        self.world.after(int(stream.raw() * AWAY) + 1, host.start)

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

    def ended(self, number: int, verdict: str, result: Any) -> None:
        """An ask has ended."""
        ask, client = self.asks.pop(number)
        op = ask.op
        self.world.reach(f"an ask ended with {verdict}")
        if (timeline := self.world.trace.timeline) is not None:
            keep_ask(timeline, ask, verdict, result, client, self.world.now)
        found = operation(ask, verdict, result, client, self.world.now)
        if found is not None:
            self.history.append(found)
        if verdict == RETRY:
            self.writes.refused(number)
        if verdict == DONE or self._cannot_be_done(ask):
            self.completed[client] = self.completed.get(client, 0) + 1
        if verdict == DONE and op.kind is Kind.ADD and ask.spot[0] in (COUNTERS, BOSS):
            if number not in self.durable:
                raise Violation("durability", f"{client} has its answer before the state of {op.entity} is durable")
            self.writes.acknowledged(ask.spot, op)

    def _cannot_be_done(self, ask: Ask) -> bool:
        return bool(self.dead) and self.sync_count == -1 and ask.spot[0] == REGISTERS

    # -- the truth -----------------------------------------------------------------------------------------------------

    def life_at(self, name: str) -> Life | None:
        """What runs on a host at the moment."""
        host, life = self.world.hosts[name], self._lives.get(name)
        return life if life is not None and host.up and life.life == host.life else None

    def programs(self) -> list[Any]:
        """What runs at the moment, for checkers that know programs of machines: what they ask for is the same."""
        return [life for host in self.hosts if (life := self.life_at(host.name)) is not None]

    def problems(self) -> list[str]:
        """What is not as it should be when all hosts are up."""
        names = [host.name for host in self.hosts if not host.is_scrap]
        return missing(self.programs(), names, self.regions, cast("list[Any]", self.dead))

    def forgettable(self, life: Life) -> list[str]:
        """The members that are held to be down, and are."""
        members = life.node.state.members()
        names = [split_key(member.key)[0] for member in members if member.status is Status.DOWN]
        return [name for name in names if not self.world.hosts[name].up]

    def _acts(self, name: str, region: str, shard: int) -> int | None:
        life = self.life_at(name)
        return None if life is None else life.node.acts(region, shard, life.host.now())

    def _down(self) -> list[str]:
        return [
            host.name
            for host in self.hosts
            if not host.up and host.starts and self.keys.get(host.name, "") not in self.left
        ]

    def _is_whole(self) -> bool:
        return is_whole(self.programs(), self.regions, len(self.hosts))

    # -- what is done to it --------------------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Start the nodes; some come later."""
        stream = self.world.tape.stream("starts")
        for host in self.hosts:
            late = 0 if host.name in self.first_seeds else int(stream.uniform(0.0, 1.0) ** 3 * 3 * SECOND)
            node = self.sim.node(host.name)
            node.app = lambda node: Life(self, node).run()
            self.world.after(late, host.start)

    def leave(self, life: Life) -> None:
        """Tell a node to go."""
        life.is_told_to_end = True
        self.sim.terminate(life.name)

    def begin_on(self, life: Life, work: Coroutine[Any, Any, None]) -> None:
        """Do something on a node."""
        process = life.sim_node.process
        assert process is not None
        process.loop.create_task(work)
        life.host.look_at_alarm()

    def dispose(self) -> None:
        """The run is over."""
        for life in self._all_lives:
            life.forget()
        self._lives.clear()
        self.sim._failure = None
        self.sim.dispose()

    async def review(self) -> None:
        """Look now and then whether what was lost is made good."""
        while True:
            with self.judging():
                self.losses.review()
            await asyncio.sleep(STEP_SECONDS)


class AppClusterScenario(Scenario):
    """See the module."""

    name = "app-cluster"
    help = "the cluster scenario as an application: actor systems, connections, files and clients in simulated time"
    bound_ns = BOUND
    states: tuple[str, ...] = (
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
        "a lease ended",
        "messages waited through a hand-over",
        "a write was not durable",
        "a name was given",
        "a name was refused",
        "another leader was elected",
        "an entity was to rest",
        "an ask ended with retry",
        "an ask ended with unknown",
        "more was lost than a write survives",
        "a node was lost for good",
        "a disk was wiped",
        "a failed write stopped a host",
    )

    def __init__(self, machine: type[Node] = Node, driver: type[WatchedDriver] = WatchedDriver) -> None:
        self.machine = machine
        self.driver = driver

    def build(self, tape: Tape, settings: Settings, trace: Trace) -> AppCluster:
        """The cluster of a run."""
        cluster = AppCluster(tape, settings, trace, self.machine)
        cluster.driver = self.driver
        return cluster

    def play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> None:
        try:
            found = self._play(tape, settings, trace, outcome)
        finally:
            # Nothing holds the programs any more, and what they still say at their end is of no interest.
            hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
            gc.collect()
            sys.unraisablehook = hook
        if found is not None:
            raise found

    def _play(self, tape: Tape, settings: Settings, trace: Trace, outcome: Outcome) -> Violation | None:
        cluster = self.build(tape, settings, trace)
        sim, world = cluster.sim, cluster.world
        outcome.reached = world.reached
        outcome.plan = sim.plan.words()
        try:
            with captured(world), running.simulation(world):
                try:
                    sim.run(lambda _: self.go(cluster, outcome), LIMIT / SECOND)
                    world.digest_states()
                except Violation as violation:
                    # Whatever it was found in the middle of must not live on with it.
                    violation.__context__ = None
                    return violation.with_traceback(None)
                finally:
                    cluster.dispose()
        finally:
            if trace.timeline is not None:
                record(trace.timeline, cluster.history, cluster.finding, lambda each: str(each.client))
            outcome.faults = sim.plan.faults
            outcome.events = world.events
            outcome.simulated_ns = world.now
        return None

    async def go(self, cluster: AppCluster, outcome: Outcome) -> None:
        """The run, as the host sees it that is outside of the cluster."""
        cluster.start_all()
        if cluster.settings.faults:
            cluster.sim.unleash()
        acting = AppWorkload(cluster).run()
        async with beside(cluster, cluster.review(), outside_client(cluster)):
            async with beside(cluster, acting):
                await asyncio.sleep(cluster.settings.safety_ns / SECOND)
            await self._calm(cluster, outcome)
            await finish(cluster)
        check_writes(cluster)
        check_history(cluster, outcome)

    async def _calm(self, cluster: AppCluster, outcome: Outcome) -> None:
        """The faults end. Within the bound all is well, and goes on."""
        world = cluster.world
        cluster.sim.heal()
        healed_at = world.now
        cluster.calm_at = healed_at + cluster.sim.plan.link.tail_ns + SETTLED
        await await_health(cluster)
        outcome.well_after_ns = world.now - healed_at
        await await_progress(cluster)
        if cluster.loses_one:
            outcome.well_after_ns = max(outcome.well_after_ns, await await_loss(cluster))


@asynccontextmanager
async def beside(cluster: AppCluster, *works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do something meanwhile, until the block is left. What any of it raises ends the run."""

    async def watched(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            cluster.sim.fail(error)

    tasks = [asyncio.create_task(watched(work)) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def outside_client(cluster: AppCluster) -> None:
    """Two clients that use one connection with the cluster. Runs until it is cancelled."""
    contacts = [(name, 7000) for name in cluster.sim.nodes]
    async with ClusterClient(contact_points=contacts, connect_timeout=0) as system:

        def ref(region: str, entity: str) -> Any:
            return system.singleton_ref(region) if region == BOSS else system.entity_ref(region, entity)

        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(AppClient(cluster, None, number).run(ref))


# Waiting for what must come -------------------------------------------------------------------------------------------


async def await_health(cluster: AppCluster, bound_ns: Nanoseconds = BOUND) -> None:
    """With all hosts up and connected, all is well within the bound."""
    deadline = cluster.world.now + bound_ns
    while problems := cluster.problems():
        if cluster.world.now >= deadline:
            more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
            text = f"after {bound_ns / SECOND:g} s without faults: {'; '.join(problems[:8])}{more}"
            raise Violation("liveness", text)
        await asyncio.sleep(STEP_SECONDS)


async def await_progress(cluster: AppCluster) -> None:
    """Every client gets on, and all is still well."""
    world, before = cluster.world, dict(cluster.completed)
    names = [client.name for life in cluster.programs() for client in life.clients]
    names += [f"client {number}/{cluster.outside.name}" for number in range(2)]
    deadline = world.now + ANSWER
    while stuck := [name for name in names if cluster.completed.get(name, 0) <= before.get(name, 0) + 1]:
        if world.now >= deadline:
            raise Violation("liveness", f"all is well, but {', '.join(stuck)} get no further")
        await asyncio.sleep(STEP_SECONDS)
    problems = cluster.problems()
    if problems and world.now < cluster.calm_at:
        await await_health(cluster)
    elif problems:
        raise Violation("liveness", f"all was well, and is not any more without faults: {'; '.join(problems[:8])}")


async def await_loss(cluster: AppCluster) -> Nanoseconds:
    """One host is gone for good, when all is well. The others get on without it. Returns how long that took."""
    world = cluster.world
    if world.now < cluster.calm_at:
        await asyncio.sleep((cluster.calm_at - world.now) / SECOND)
        await await_health(cluster)
    cluster.losses.review()
    host = world.tape.stream("loss").pick(cluster.hosts)
    lost_at, life = world.now, cluster.life_at(host.name)
    if life is not None:
        cluster.dead.append(life)
    host.scrap()
    await await_health(cluster)
    took = world.now - lost_at
    await await_progress(cluster)
    world.reach("a node was lost for good")
    return took


# At the end -----------------------------------------------------------------------------------------------------------


async def finish(cluster: AppCluster) -> None:
    """Nothing more is wanted, and what is out comes to its end."""
    cluster.quiet = True
    await asyncio.sleep(1.0)


def check_writes(cluster: AppCluster) -> None:
    """What was acknowledged is there at the end, where it was written last."""
    for life in cluster.programs():
        for spot in life.app.shards:
            if spot[0] in (COUNTERS, BOSS) and life.node.owns(*spot, life.host.now()) is not None:
                names = list(cluster.writes.acknowledged_by.get(spot, {}))
                where = f"at the end at {life.node.key}"
                cluster.writes.opened(spot, life.contents(spot, names), lost="", where=where)


def check_history(cluster: AppCluster, outcome: Outcome) -> None:
    """The registers have behaved like registers."""
    for number in list(cluster.asks):
        cluster.ended(number, "unknown", None)
    excused = dict.fromkeys(shard for region, shard in cluster.writes.excused if region == REGISTERS)
    shard_of = cluster.programs()[0].node.shard_of
    history = [each for each in cluster.history if shard_of(REGISTERS, str(each.key)) not in excused]
    finding = cluster.finding = check(history, register(None), budget=100_000)
    if finding.verdict is Verdict.UNKNOWN:
        outcome.unknown = True
    if finding.verdict is Verdict.NOT_LINEARIZABLE:
        about = [each for each in history if each.key == finding.key]
        raise Violation("linearizability", f"the history of {finding.key} has no order\n{draw(about)}")
