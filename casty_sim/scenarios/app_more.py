"""A rolling restart of an application: every node is told to end, and comes back, while clients ask for things."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import evolve

from casty_proto.cluster.node import Node
from casty_proto.machine import SECOND, Nanoseconds

from ..scenario import Outcome, Settings
from ..tape import Tape
from ..trace import Trace
from ..world import Violation
from .app_cluster import (
    STEP_SECONDS,
    AppCluster,
    AppClusterScenario,
    await_health,
    await_progress,
    beside,
    check_history,
    check_writes,
    finish,
    outside_client,
)
from .app_life import Life
from .cluster_more import TURN
from .cluster_ops import DONE
from .cluster_variety import OPTIONS


class QuietAppCluster(AppCluster):
    """A cluster in which nothing goes wrong by itself."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace, machine: type[Node] = Node) -> None:
        super().__init__(tape, evolve(settings, faults=False), trace, machine)
        self.options = OPTIONS
        self.first_seeds = self.sim.nodes


class _Rolling(QuietAppCluster):
    """No ask of a client may fail: what was not handled, the actor system asks again by itself."""

    def __init__(self, tape: Tape, settings: Settings, trace: Trace, machine: type[Node] = Node) -> None:
        super().__init__(tape, settings, trace, machine)
        self.ask_timeout_ns: Nanoseconds = 10 * SECOND

    def ended(self, number: int, verdict: str, result: Any) -> None:
        ask, client = self.asks[number]
        super().ended(number, verdict, result)
        if verdict != DONE and not self.quiet:
            raise Violation("rolling restart", f"an ask of {client} for {ask.op.entity} ended with {verdict!r}")


class AppClusterRolling(AppClusterScenario):
    """Every node leaves gracefully and comes back, one after the other, while clients ask for things."""

    name = "app-cluster-rolling"
    help = "a rolling restart of an application, each node by SIGTERM, in which no ask may fail"
    states = ("a node left", "a shard was handed over", "another leader was elected", "a node came back as a new one")

    def build(self, tape: Tape, settings: Settings, trace: Trace) -> AppCluster:
        """The cluster of a run."""
        cluster = _Rolling(tape, settings, trace, self.machine)
        cluster.driver = self.driver
        return cluster

    async def go(self, cluster: AppCluster, outcome: Outcome) -> None:
        """The run."""
        cluster.start_all()
        await await_health(cluster)
        async with beside(cluster, outside_client(cluster)):
            for host in cluster.world.tape.stream("rolling").shuffled(cluster.hosts):
                life = cluster.life_at(host.name)
                assert life is not None
                await self._turn(cluster, life)
            await await_progress(cluster)
            await finish(cluster)
        check_writes(cluster)
        check_history(cluster, outcome)

    async def _turn(self, cluster: AppCluster, life: Life) -> None:
        """One node: its own clients end first, as whoever restarts a process sees to."""
        world = cluster.world
        for client in life.clients:
            client.pausing = True
        deadline = world.now + TURN
        while any(client.out for client in life.clients) and world.now < deadline:  # noqa: ASYNC110
            await asyncio.sleep(STEP_SECONDS)
        cluster.leave(life)
        while cluster.life_at(life.name) in (life, None) or cluster.problems():
            if world.now >= deadline:
                there = cluster.life_at(life.name) is life
                problems = [f"{life.name} has not left"] if there else cluster.problems()
                text = f"{TURN / SECOND:g} s after {life.name} was told to end: {'; '.join(problems[:8])}"
                raise Violation("rolling restart", text)
            await asyncio.sleep(STEP_SECONDS)
