"""The cluster scenario as machines and as an application: campaigns, and whether the two levels tell the same story."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve, field, frozen

from casty_proto.cluster.checks import split_key
from casty_proto.machine import SECOND
from casty_sim.campaign import campaign
from casty_sim.checkers.cluster_owners import Owners
from casty_sim.scenario import Outcome, Settings, run
from casty_sim.scenarios import SCENARIOS
from casty_sim.scenarios.app_clients import AppClient
from casty_sim.scenarios.app_cluster import AppCluster, AppClusterScenario, await_health
from casty_sim.scenarios.app_more import QuietAppCluster
from casty_sim.scenarios.cluster import STEP, ClusterWorld
from casty_sim.scenarios.cluster_clients import Ask, Client
from casty_sim.scenarios.cluster_more import Quiet
from casty_sim.scenarios.cluster_ops import BOSS, DONE, NAMES, Kind, state_of
from casty_sim.tape import Tape
from casty_sim.trace import Trace
from casty_sim.world import Host

SHORT = Settings(nodes=3, safety_ns=4 * SECOND)
QUOTA = 40


# Campaigns ------------------------------------------------------------------------------------------------------------


def test_a_campaign_of_applications_finds_nothing_and_reaches_what_it_should() -> None:
    scenario = SCENARIOS["app-cluster"]
    summary = campaign(scenario, range(5), Settings())
    assert not summary.failures, summary.failures[0].problem
    usual = (
        "a node left",
        "a shard was taken by force",
        "a name was given",
        "a write was not durable",
        "a lease ended",
    )
    assert summary.never(usual) == []
    assert 0 <= summary.well_after_ns <= scenario.bound_ns


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_small_clusters_are_well_too(nodes: int) -> None:
    summary = campaign(SCENARIOS["app-cluster"], range(3), evolve(SHORT, nodes=nodes, check_invariants=True))
    assert not summary.failures, summary.failures[0].problem


def test_a_rolling_restart_of_an_application_fails_no_ask() -> None:
    scenario = SCENARIOS["app-cluster-rolling"]
    summary = campaign(scenario, range(2), SHORT)
    assert not summary.failures, summary.failures[0].problem
    assert summary.never(("a node left", "a shard was handed over", "a node came back as a new one")) == []


def test_the_same_seed_gives_the_same_digest_in_another_process_under_another_hash_seed() -> None:
    program = (
        "from casty_sim.scenarios import SCENARIOS\nfrom casty_sim.scenario import Settings, run\n"
        "from casty_sim.tape import Tape\n"
        "junk = [object() for _ in range(12345)]\n"
        "settings = Settings(nodes=3, safety_ns=4 * 10**9)\n"
        "print(*[run(SCENARIOS['app-cluster'], Tape(seed), settings).digest for seed in (3, 4)])"
    )
    here = [run(SCENARIOS["app-cluster"], Tape(seed), SHORT).digest for seed in (3, 4)]
    for hash_seed in ("0", "77"):
        command = [sys.executable, "-c", program]
        out = subprocess.run(command, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True)
        assert out.stdout.split() == here


# Both levels ----------------------------------------------------------------------------------------------------------


@frozen
class Observed:
    """What somebody sees of a run who cannot see times."""

    results: dict[tuple[str, str], list[tuple[Any, ...]]] = field(factory=dict)
    """By client and key, in the order asked: what was asked, how it ended, and the result."""
    shared: list[int] = field(factory=list)
    """What the singleton has answered to all, in rising order."""
    values: dict[str, Any] = field(factory=dict)
    """What is in the entities at the end."""
    members: list[tuple[str, ...]] = field(factory=list)
    """Of each node, whom it takes for members."""


class Story:
    """Takes down what happened. Operations are named by who asked them, and how many he had asked before."""

    def __init__(self) -> None:
        self._asked: list[tuple[int, str, Ask, str, Any]] = []
        self.owners: dict[tuple[str, int], dict[str, None]] = {}
        """By shard: the hosts on which a handler has begun."""

    def ended(self, ask: Ask, client: str, verdict: str, result: Any) -> None:
        """An ask has ended."""
        self._asked.append((ask.op.number, client, ask, verdict, result))

    def told(self, values: dict[str, Any], members: list[tuple[str, ...]]) -> Observed:
        """The whole of it."""
        names: dict[int, tuple[str, int]] = {}
        counts: dict[str, int] = {}
        for number, client, *_ in sorted(self._asked, key=lambda each: each[0]):
            counts[client] = place = counts.get(client, 0) + 1
            names[number] = (client, place)

        def named(value: Any) -> Any:
            if isinstance(value, list):
                return [named(each) for each in value]
            return names.get(value, value) if type(value) is int else value

        seen = Observed(values={key: named(value) for key, value in values.items()}, members=members)
        seen.values[BOSS] = sorted(seen.values[BOSS])
        for number, client, ask, verdict, result in sorted(self._asked, key=lambda each: each[0]):
            op = ask.op
            if ask.spot[0] == BOSS:
                seen.shared.append(result)
            said = result if op.kind is Kind.ADD else named(result)
            line = (names[number][1], op.kind.name, named(op.expected), verdict, said)
            seen.results.setdefault((client, op.entity), []).append(line if ask.spot[0] != BOSS else line[:4])
        seen.shared.sort()
        return seen


def own_keys(client: str) -> Callable[[str], Sequence[str]]:
    """Each client has entities of its own, so that results do not depend on who comes first; the singleton is all's."""
    return lambda region: [f"{key} of {client}" if region != BOSS else key for key in NAMES[region]]


class Watching(Owners):
    """Takes down who handles."""

    story: Story

    def handles(self, host: Host, spot: tuple[str, int], epoch: int) -> None:
        super().handles(host, spot, epoch)
        self.story.owners.setdefault(spot, {})[host.name] = None


class Machines(Quiet):
    """The cluster as machines."""

    quota = QUOTA

    def __init__(self, seed: int) -> None:
        super().__init__(Tape(seed), SHORT, Trace())
        self.story = Story()
        self.owners = Watching(self._acts, self.losses.is_in_doubt, self.world.reach)
        self.owners.story = self.story

    def clients_at(self, host: Host) -> int:
        return 0  # They begin when all is well.

    def keys_of(self, client: str) -> Callable[[str], Sequence[str]]:
        return own_keys(client)

    def ended(self, ask: Ask, verdict: str, result: Any, client: str) -> None:
        super().ended(ask, verdict, result, client)
        assert ask.client is not None
        self.story.ended(ask, ask.client.name, verdict, result)

    def observe(self) -> Observed:
        """Run it to its end."""
        self.start_all()
        clients = []
        for program in self.programs():
            for number in range(ClusterWorld.clients_at(self, program.host)):
                clients.append(Client(program, number, self.think_ns))
                clients[-1].begin()
        while any(client.left or client.out for client in clients):
            self.world.run(self.world.now + STEP)
        values: dict[str, Any] = {}
        for program in self.programs():
            for spot, shard in program.app.shards.items():
                for name in names_in(program.node, spot):
                    data = program.node.state_of(*spot, name)
                    if name in shard.entities:
                        values[name] = shard.entities[name].state
                    elif data is not None:
                        values[name] = state_of(data, spot[0])
        return self.story.told(values, [members_of(program.node) for program in self.programs()])


def names_in(node: Any, spot: tuple[str, int]) -> list[str]:
    """The entities of a shard."""
    clients = [f"client {number}/n{host}" for host in (1, 2, 3) for number in range(2)]
    names = dict.fromkeys(key for client in clients for key in own_keys(client)(spot[0]))
    return [name for name in names if node.shard_of(spot[0], name) == spot[1]]


class Application(QuietAppCluster):
    """The cluster as an application."""

    quota = QUOTA

    def __init__(self, seed: int) -> None:
        super().__init__(Tape(seed), SHORT, Trace())
        self.story = Story()
        self.owners = Watching(self._acts, self.losses.is_in_doubt, self.world.reach)
        self.owners.story = self.story
        self.observed: Observed | None = None

    def clients_at(self, host: Host) -> int:
        return 0

    def keys_of(self, client: str) -> Callable[[str], Sequence[str]]:
        return own_keys(client)

    def ended(self, number: int, verdict: str, result: Any) -> None:
        ask, client = self.asks[number]
        super().ended(number, verdict, result)
        self.story.ended(ask, client, verdict, result)


class Telling(AppClusterScenario):
    """Runs one application, and tells what was observed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.made: list[Application] = []

    def build(self, tape: Tape, settings: Settings, trace: Trace) -> AppCluster:
        self.made.append(Application(tape.seed))
        return self.made[-1]

    async def go(self, cluster: AppCluster, outcome: Outcome) -> None:
        assert isinstance(cluster, Application)
        cluster.start_all()
        await await_health(cluster)
        clients = []
        for life in cluster.programs():
            for number in range(AppCluster.clients_at(cluster, life.host)):
                clients.append(AppClient(cluster, life, number))
                cluster.begin_on(life, clients[-1].run())
        while any(client.left or client.out for client in clients):  # noqa: ASYNC110
            await asyncio.sleep(0.25)
        values: dict[str, Any] = {}
        for life in cluster.programs():
            for spot in life.app.shards:
                values |= life.contents(spot, names_in(life.node, spot))
        members = [members_of(life.node) for life in cluster.programs()]
        cluster.observed = cluster.story.told(values, members)


def members_of(node: Any) -> tuple[str, ...]:
    """The hosts that a node knows."""
    return tuple(sorted(split_key(member.key)[0] for member in node.state.members()))


@pytest.mark.parametrize("seed", range(6))
def test_equal_seeds_without_faults_are_observed_to_be_the_same_at_both_levels(seed: int) -> None:
    machines = Machines(seed)
    below = machines.observe()
    scenario = Telling(seed)
    outcome = run(scenario, Tape(seed), SHORT)
    assert not outcome.failed, outcome.problem
    application = scenario.made[0]
    above = application.observed
    assert above is not None
    assert above.results == below.results
    assert above.shared == below.shared == list(range(1, len(below.shared) + 1))
    there = {key: value for key, value in below.values.items() if value is not None and value != []}
    assert {key: value for key, value in above.values.items() if value is not None and value != []} == there
    assert above.members == below.members == [("n1", "n2", "n3")] * 3
    # That the comparison says something: all was done, by all clients, and each shard was always with one node.
    assert len({client for client, _ in below.results}) == 4
    assert sum(map(len, below.results.values())) == 4 * QUOTA
    assert {line[3] for lines in below.results.values() for line in lines} == {DONE}
    for story in (machines.story, application.story):
        assert story.owners
        assert all(len(hosts) == 1 for hosts in story.owners.values())
    assert {key[0] for key in there} == {"b", "c", "p", "r"}
