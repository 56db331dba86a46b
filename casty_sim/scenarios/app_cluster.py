"""The cluster scenario once more, as an application: real actor systems, on real event loops in simulated time.

What is asked for, what goes wrong, and what is watched are as in `cluster.py`; between them is all of the driver:
connections, handshakes, lanes, files, event loops, actors. A client outside of the cluster asks for things as well.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

from casty_asyncio import ClusterClient
from casty_asyncio.cluster.storage_file import FILE_NAME
from casty_proto.cluster.checks import split_key
from casty_proto.cluster.events import Standing
from casty_proto.cluster.node import Node
from casty_proto.cluster.records import Status
from casty_proto.machine import SECOND, Nanoseconds

from ..checkers.history import record
from ..loop import running
from ..scenario import Outcome, Scenario, Settings
from ..simulation.faults import Faults
from ..simulation.logs import captured
from ..simulation.node import SimNode
from ..simulation.process import Process
from ..simulation.sim import Sim
from ..tape import Tape
from ..trace import Trace
from ..world import Host, Violation, World
from .app_clients import AppClient
from .app_life import Life, WatchedDriver
from .app_workload import AppWorkload
from .app_writes import AppWrites
from .cluster import ANSWER, BOUND, SETTLED, STEP
from .cluster_clients import Ask, keep_ask, operation
from .cluster_ops import BOSS, COUNTERS, DONE, RETRY, Kind, number_of
from .cluster_policy import Policy
from .cluster_run import ClusterRun
from .cluster_workload import AWAY

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


class AppCluster(ClusterRun):
    """The cluster of one run, as an application."""

    driver: type[WatchedDriver] = WatchedDriver
    """What drives nodes; one with a bug, where somebody wants to see it found."""
    kind_of_writes = AppWrites
    kind_of_policy = AppPolicy
    writes: AppWrites
    dead: list[Life]

    def __init__(self, tape: Tape, settings: Settings, trace: Trace, machine: type[Node] = Node) -> None:
        super().__init__(tape, settings, trace)
        self.machine = machine
        self.outside = self.world.hosts["test"]
        self._lives: dict[str, Life] = {}
        self._all_lives: list[Life] = []
        self.asks: dict[int, tuple[Ask, str]] = {}
        """What is out, and who has asked."""
        self.durable: dict[int, None] = {}
        """Operations in states of which some node has said that they are durable."""
        self._serials: dict[str, int] = {}

    def _build(self, tape: Tape, trace: Trace) -> World:
        self.sim = AppSim(tape, self.settings, trace, FAULTS)
        self.sim.cluster = self
        return self.sim.world

    @contextmanager
    def judging(self) -> Iterator[None]:
        """A violation that is found within ends the run, whatever it is found in the middle of."""
        try:
            yield
        except Violation as violation:
            self.sim.fail(violation)

    # -- what lives want to know ---------------------------------------------------------------------------------------

    def disk_of(self, name: str) -> Path:
        """Where it keeps that."""
        return self.sim.node(name).disk / "raft"

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
        if verdict == DONE or self.cannot_be_done(ask):
            self.completed[client] = self.completed.get(client, 0) + 1
        if verdict == DONE and op.kind is Kind.ADD and ask.spot[0] in (COUNTERS, BOSS):
            if number not in self.durable:
                raise Violation("durability", f"{client} has its answer before the state of {op.entity} is durable")
            self.writes.acknowledged(ask.spot, op)

    # -- the truth -----------------------------------------------------------------------------------------------------

    def life_at(self, name: str) -> Life | None:
        """What runs on a host at the moment."""
        host, life = self.world.hosts[name], self._lives.get(name)
        return life if life is not None and host.up and life.life == host.life else None

    def program_at(self, name: str) -> Life | None:
        return self.life_at(name)

    def forgettable(self, life: Life) -> list[str]:
        """The members that are held to be down, and are."""
        members = life.node.state.members()
        names = [split_key(member.key)[0] for member in members if member.status is Status.DOWN]
        return [name for name in names if not self.world.hosts[name].up]

    # -- what is done to it --------------------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Start the nodes; some come later."""
        for host in self.hosts:
            node = self.sim.node(host.name)
            node.app = lambda node: Life(self, node).run()
            self.world.after(self.late_ns(host.name), host.start)

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
    cluster.check_registers(outcome)
