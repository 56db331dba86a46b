"""Formation: how nodes find each other, what they know of each other, and what is said when they do not."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from casty_asyncio import (
    ActorSystem,
    ClusterClient,
    ClusterError,
    ClusterTimeoutError,
    DistributedSystem,
    ExpelledError,
    GossipConfig,
    LeaderChanged,
    MemberLeaving,
    MemberLeft,
    MemberStatus,
    MemberUnreachable,
    MemberUp,
    NotHandledError,
    RaftConfig,
    ServiceKey,
    UsageError,
)
from casty_proto.cluster.node import Node

from .node_kit import FAST, PATIENCE, cluster, crash, inside_of, joined, next_of, node, subscribed, until, within
from .things import Add, Counter


def clusters_of(systems: list[DistributedSystem]) -> set[str]:
    """Who has founded the clusters that these nodes belong to."""
    return {inside_of(each).member.node.cluster for each in systems}


async def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    servers = [await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) for _ in range(count)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    for server in servers:
        server.close()
        await server.wait_closed()
    return ports


# -- how a cluster begins ----------------------------------------------------------------------------------------------


async def test_a_node_without_seeds_founds_a_cluster() -> None:
    async with node("node-1") as system:
        await system.wait_for(1)
        assert (system.node_id, system.leader_id, system.is_leader) == ("node-1", "node-1", True)
        [member] = system.members
        assert (member.node_id, member.address, member.roles) == ("node-1", str(system.address), ())
        assert member.status is MemberStatus.UP


async def test_the_name_of_a_node_is_its_address_if_it_has_no_other() -> None:
    async with node() as system:
        assert system.node_id == str(system.address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_node_whose_only_seed_is_itself_founds_a_cluster(host: str) -> None:
    [port] = await free_ports(1)
    async with node("node-1", f"{host}:{port}", port=port) as system:
        await system.wait_for(1, 5.0)
        assert system.is_leader


async def test_a_node_joins_through_any_member() -> None:
    async with cluster(3) as systems, node("node-4", systems[2]) as fourth, node("node-5", fourth) as fifth:
        await joined(*systems, fourth, fifth)
        names = tuple(f"node-{number}" for number in range(1, 6))
        for system in (*systems, fourth, fifth):
            assert tuple(sorted(member.node_id for member in system.members)) == names
            assert system.leader_id == "node-1"
        assert len(clusters_of([*systems, fourth, fifth])) == 1


async def test_a_seed_that_is_not_there_is_no_obstacle() -> None:
    [nobody] = await free_ports(1)
    async with node("node-1") as first, node("node-2", f"127.0.0.1:{nobody}", first) as second:
        await joined(first, second)


async def test_a_node_goes_on_looking_until_its_seed_is_there() -> None:
    [port] = await free_ports(1)
    async with node("node-2", f"127.0.0.1:{port}") as second:
        with pytest.raises(ClusterTimeoutError, match=r"waited 0\.2 s for 1 members"):
            await second.wait_for(1, 0.2)
        assert (second.members, second.leader_id, second.is_leader) == ((), None, False)
        async with node("node-1", port=port) as first:
            await joined(first, second)


@pytest.mark.parametrize("attempt", range(8))
async def test_nodes_that_are_seeds_of_each_other_form_one_cluster(attempt: int) -> None:
    ports = await free_ports(3)
    seeds = [f"127.0.0.1:{port}" for port in ports]
    systems = [node(f"node-{number}", *seeds, port=port) for number, port in enumerate(ports)]
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(each) for each in systems))
        await joined(*systems)
        assert len(clusters_of(systems)) == 1


async def test_two_clusters_never_form_from_one_seed_list() -> None:
    for attempt in range(4):
        ports = await free_ports(2)
        seeds = [f"127.0.0.1:{port}" for port in ports]
        systems = [node(f"node-{number}", *seeds, port=port) for number, port in enumerate(ports)]
        async with AsyncExitStack() as stack:
            if attempt % 2:
                systems.reverse()
            for each in systems:
                await stack.enter_async_context(each)
                await asyncio.sleep(0.02 * attempt)
            await joined(*systems)
            assert len(clusters_of(systems)) == 1


async def test_a_system_of_another_name_does_not_come_in() -> None:
    async with node("node-1", name="shop") as first, node("node-2", first, name="other") as second:
        with pytest.raises(ClusterTimeoutError):
            await second.wait_for(1, 0.4)
        assert len(first.members) == 1


async def test_a_wrong_secret_does_not_come_in() -> None:
    async with node("node-1", secret="right") as first:
        async with node("node-2", first, secret="right") as second:
            await joined(first, second)
        await until(lambda: len(first.members) == 1)
        async with node("node-3", first, secret="wrong") as third:
            with pytest.raises(ClusterTimeoutError):
                await third.wait_for(1, 0.4)
        async with node("node-4", first) as fourth:
            with pytest.raises(ClusterTimeoutError):
                await fourth.wait_for(1, 0.4)
        assert len(first.members) == 1


async def test_a_newer_process_of_a_name_replaces_the_older_one() -> None:
    async with cluster(3) as systems:
        old = systems[2]
        async with node("node-3", systems[0]) as new:
            await new.wait_for(3, PATIENCE)
            await until(lambda: inside_of(old).views.gone.is_set())
            with pytest.raises(ExpelledError, match="node-3 is no member"):
                await old.wait_for(1)
            generations = [member.generation for member in systems[0].members if member.node_id == "node-3"]
            assert generations == [inside_of(new).member.node.info.generation]


# -- what is known of members ------------------------------------------------------------------------------------------


async def test_wait_for_says_what_it_has_waited_for() -> None:
    async with cluster(1) as [system]:
        with pytest.raises(ClusterTimeoutError, match="for 3 members and a leader, and knows of 1"):
            await system.wait_for(3, 0.1)
        with pytest.raises(TimeoutError):
            await system.wait_for(2, 0)
        with pytest.raises(UsageError, match="timeout of wait_for"):
            await system.wait_for(1, -1)
        for count in ("2", -1, 1.0, True):
            with pytest.raises(UsageError, match="count of wait_for"):
                await system.wait_for(count)  # type: ignore[arg-type]
            with pytest.raises(UsageError, match="count of wait_for_service"):
                await system.wait_for_service(ServiceKey[Any]("s"), count)  # type: ignore[arg-type]
        async with ClusterClient([str(system.address)]) as client:
            with pytest.raises(UsageError, match="count of wait_for"):
                await client.wait_for("2")  # type: ignore[arg-type]
            with pytest.raises(UsageError, match="count of wait_for_service"):
                await client.wait_for_service(ServiceKey[Any]("s"), "2")  # type: ignore[arg-type]


async def test_who_does_not_find_a_cluster_is_told_what_is_wrong_with_each_seed() -> None:
    [port] = await free_ports(1)
    nobody = f"127.0.0.1:{port}"
    async with (
        node("node-1", secret="a secret of the cluster") as first,
        node("node-2", nobody, f"{first.address}", secret="another secret, by mistake") as second,
    ):
        lanes = inside_of(second).lanes
        await until(lambda: all(lanes.problem_with(each) for each in (nobody, str(first.address))))
        with pytest.raises(ClusterTimeoutError) as waited:
            await second.wait_for(2, 0.0)
        with pytest.raises(ClusterTimeoutError) as ready:
            await second.wait_ready(0.0)
        for text in (str(waited.value), str(ready.value)):
            assert f"; its seeds: {nobody} cannot be reached: " in text
            assert "the secrets differ" in text
        assert lanes.problem_with("127.0.0.1:9") is None
    async with cluster(1) as [alone]:
        with pytest.raises(ClusterTimeoutError) as found:
            await alone.wait_for(2, 0.0)
        assert "seeds" not in str(found.value)


@pytest.mark.parametrize(("count", "votes"), [(2, 1), (3, 3), (4, 3)])
async def test_after_wait_for_so_many_members_vote_as_can(count: int, votes: int) -> None:
    async with node("node-1") as first, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(node(f"node-{number}", first)) for number in range(2, count + 1)]
        for each in (first, *others):
            await each.wait_for(count)
            assert len(inside_of(each).node.agreed_voters) >= votes


async def test_wait_for_says_that_too_few_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Node, "agreed_voters", property(lambda node: node.voters[:1]))
    async with node("node-1") as first, node("node-2", first), node("node-3", first) as third:
        await until(lambda: inside_of(third).views.count() == 3)
        with pytest.raises(ClusterTimeoutError, match=r"until 3 vote, and knows of 3 that are up: .*; 1 vote"):
            await third.wait_for(3, 0.1)
        waiting = asyncio.ensure_future(third.wait_for(3))
        await asyncio.sleep(0)
        await third.shutdown()
        with pytest.raises(ExpelledError):
            await within(waiting)


async def test_wait_for_starts_a_node() -> None:
    system = node("node-1")
    await system.wait_for(1)
    assert system.is_leader
    await system.shutdown()


async def test_events_tell_of_members_that_come_leave_and_crash() -> None:
    async with cluster(2) as [first, second]:
        probe = await subscribed(first, MemberUp, MemberLeaving, MemberLeft, MemberUnreachable)
        async with node("node-3", first, roles=["backend"]) as third:
            up = await next_of(probe, MemberUp)
            assert (up.member.node_id, up.member.roles) == ("node-3", ("backend",))
            await joined(first, second, third)
        assert (await next_of(probe, MemberLeaving)).member.node_id == "node-3"
        left = await next_of(probe, MemberLeft)
        assert (left.member.node_id, left.reason) == ("node-3", "left")
        fourth = node("node-4", first)
        fifth = node("node-5", first)
        await fourth.start()
        await fifth.start()
        await joined(first, second, fourth, fifth)
        await crash(fourth)
        gone = await next_of(probe, MemberUnreachable)
        assert (gone.member.node_id, gone.member.status) == ("node-4", MemberStatus.UNREACHABLE)
        with pytest.raises(ClusterError, match="node-5"):
            await within(first.forget("node-5"))
        await within(first.forget("nobody"))
        await within(second.forget("node-4"))
        left = await next_of(probe, MemberLeft)
        assert (left.member.node_id, left.reason) == ("node-4", "forgotten")
        await fifth.shutdown()


async def test_a_leader_that_crashes_is_followed_by_another() -> None:
    async with cluster(3, leave_timeout=0.5) as systems:
        probe = await subscribed(systems[1], LeaderChanged)
        assert systems[0].is_leader
        await crash(systems[0])
        while (await next_of(probe, LeaderChanged)).leader_id in (None, "node-1"):
            pass
        assert systems[1].leader_id in ("node-2", "node-3")
        await until(lambda: systems[2].leader_id == systems[1].leader_id)
        assert [each.is_leader for each in systems[1:]].count(True) == 1


# -- wrong calls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ["nowhere", "host:", "host:port", "host:70000", "", 7, None, "a b:1"])
async def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    system = ActorSystem.distributed("127.0.0.1", 0, seeds=[seed], raft_config=FAST)
    with pytest.raises(UsageError, match="a seed is given as 'host:port'"):
        await system.start()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seeds": "127.0.0.1:1"}, "lists of texts"),
        ({"roles": "backend"}, "lists of texts"),
        ({"leave_timeout": -1}, "leave_timeout"),
        ({"node_id": ""}, "node_id"),
    ],
)
async def test_options_that_make_no_sense_are_refused(options: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        ActorSystem.distributed("127.0.0.1", 0, **options)


@pytest.mark.parametrize(
    "times", [(0.3, 0.2, 0.4), (0.1, 0.5, 0.4), (0, 1, 2), (-1, 1, 2), ("0.1", 1, 2), (True, 1, 2), (0.1, 1, 1e9)]
)
def test_a_pace_that_makes_no_sense_is_refused(times: Any) -> None:
    with pytest.raises(UsageError, match="RaftConfig"):
        RaftConfig(*times)


def test_a_pace_of_gossip_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="GossipConfig"):
        GossipConfig(probe_interval=0)
    with pytest.raises(UsageError, match="GossipConfig"):
        ActorSystem.distributed("127.0.0.1", 0, gossip_config=GossipConfig(probe_interval=0.1, probe_timeout=5.0))


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_a_node_can_be_shut_down_before_it_has_found_its_cluster() -> None:
    [port] = await free_ports(1)
    async with node("node-1", f"127.0.0.1:{port}"):
        pass


async def test_a_node_that_has_left_says_so() -> None:
    async with cluster(2) as [first, second]:
        await second.shutdown()
        await until(lambda: len(first.members) == 1)
        waiting = asyncio.ensure_future(first.wait_for(2))
        await asyncio.sleep(0)
        await first.shutdown()
        with pytest.raises(ExpelledError, match="node-1 is no member of its cluster: it has left"):
            await within(waiting)


async def test_serve_ends_when_the_system_is_shut_down() -> None:
    system = node("node-1")
    serving = asyncio.ensure_future(system.serve())
    await system.wait_for(1)
    system.request_shutdown()
    await within(serving)


async def test_serve_that_is_cancelled_leaves_nothing_behind() -> None:
    async with cluster(1) as [system]:
        serving = asyncio.ensure_future(system.serve())
        await until(lambda: any(task.get_name() == "casty-serve" for task in asyncio.all_tasks()))
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "casty-serve"]
        assert system.health().live


async def test_who_waits_for_the_cluster_in_vain_is_not_remembered() -> None:
    async with cluster(1) as [system]:
        for _ in range(3):
            with pytest.raises(ClusterTimeoutError):
                await system.wait_for(2, 0.01)
        assert not inside_of(system).views._waiting


async def test_who_waits_until_a_node_is_ready_is_told_at_once_that_it_never_will_be() -> None:
    async with cluster(2) as [_, second]:
        inside_of(second).views.expelled = "it was replaced"
        inside_of(second).views.end("it was replaced")
        with pytest.raises(ExpelledError, match="node-2 is no member of its cluster: it was replaced"):
            await within(second.wait_ready())


async def test_the_figures_can_be_had_while_shards_come_and_go() -> None:
    """Exporters ask for them in threads of their own."""
    async with cluster(1) as [system]:
        shards: Any = inside_of(system).hosting.shards

        class Moves:
            """A shard that is counted while another one comes."""

            @property
            def entities(self) -> dict[str, Any]:
                del shards["moves", 0]
                return {}

        shards["moves", 0] = Moves()
        assert {metric.name: metric for metric in system.metrics()}["casty_cluster_entities"].samples == (((), 0),)
        assert not shards


async def test_serve_says_that_the_node_was_expelled() -> None:
    async with cluster(2) as [first, _]:
        old = node("node-3", first)
        serving = asyncio.ensure_future(old.serve())
        await old.wait_for(3, PATIENCE)
        async with node("node-3", first) as new:
            await new.wait_for(3, PATIENCE)
            with pytest.raises(ExpelledError, match="node-3 is no member of its cluster any more"):
                await within(serving)


async def test_an_ask_through_a_node_that_has_ended_ends_at_once() -> None:
    async with cluster(2) as [first, second]:
        things = await first.spawn(Counter, name="things", sharded=True, num_shards=8)
        await second.spawn(Counter, name="things", sharded=True, num_shards=8)
        assert await within(things["a"].ask(Add(1))) == 1
        await first.shutdown()
        with pytest.raises(NotHandledError, match="belongs to no cluster any more"):
            await things["a"].ask(Add(1))
        with pytest.raises(NotHandledError):
            await things["a"].send(Add(1))


async def test_what_a_deadline_leads_to_is_written_at_once() -> None:
    async with cluster(2) as systems:
        leader = next(each for each in systems if each.is_leader)
        member, lanes = inside_of(leader).member, inside_of(leader).lanes
        ring, left = member.on_due, []

        def on_due(now: int) -> None:
            before = lanes.sent
            ring(now)
            if lanes.sent > before:
                left.append((len(lanes._dirty), lanes.will_flush))

        member.on_due = on_due  # type: ignore[method-assign]
        await until(lambda: len(left) > 3)
        assert set(left) == {(0, False)}
