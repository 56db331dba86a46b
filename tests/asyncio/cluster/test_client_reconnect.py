"""A client whose nodes go away, and whose entities move: it goes on by itself, in order, and nothing is done twice."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

from casty_asyncio import (
    ActorSystem,
    ClientConnected,
    ClientDisconnected,
    ClusterClient,
    NotHandledError,
    OutcomeUnknownError,
    ReplicationConfig,
)
from casty_asyncio.cluster.client_wire import Changes, Outside

from ..probe import Probe
from ..remote.kit import Proxy, peers_of
from .client_kit import (
    KEPT,
    PATIENCE,
    RELEASED,
    Add,
    Counter,
    Get,
    Greet,
    Keep,
    Note,
    Notes,
    Where,
    client_of,
    cluster,
    crash,
    dead_letters,
    ids_owned_by,
    inside_of,
    joined,
    linked,
    member_events,
    node,
    node_with,
    until,
)


async def next_connection(events: Probe) -> ClientConnected:
    """The next node that is followed."""
    async with asyncio.timeout(PATIENCE):
        while not isinstance(event := await events._come.get(), ClientConnected):
            pass
    return event


# -- the node that is followed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [ActorSystem.shutdown, crash])
async def test_when_the_node_that_is_followed_is_gone_another_member_is(end: object) -> None:
    async with cluster(3, leave_timeout=0.2) as systems, client_of(systems[0]) as client:
        await linked(client, 3)
        events = member_events(client)
        assert client.connected_to == "node-1"
        await end(systems[0])  # type: ignore[operator]
        event = await next_connection(events)
        assert event.address in [str(system.address) for system in systems[1:]]
        await until(lambda: client.topology is not None and client.leader_id in ("node-2", "node-3"))
        async with node("node-4", systems[1]):
            await client.wait_for(3)


async def test_a_client_comes_back_through_a_contact_point_when_all_that_it_knew_are_gone() -> None:
    async with cluster(1) as (only,):
        address = only.address
        assert address is not None
        client = ClusterClient([str(address)], connect_timeout=PATIENCE)
        await client.start()
        events = member_events(client)
        await crash(only)
        async with asyncio.timeout(PATIENCE):
            while not isinstance(await events._come.get(), ClientDisconnected):
                pass
        assert not client.is_connected
        assert [member.node_id for member in client.members] == ["node-1"]
        async with ActorSystem.distributed(address.host, address.port, node_id="again") as again:
            await next_connection(events)
            await until(lambda: [member.node_id for member in client.members] == ["again"])
            await again.spawn(Counter, name="counters", sharded=True, num_shards=8)
            assert await client.entity_ref("counters", "a").ask(Add(1)) == 1
        await client.shutdown()


async def test_a_node_that_says_nothing_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casty_asyncio.cluster.client_feed.HOLD_SECONDS", 0.2)
    monkeypatch.setattr("casty_asyncio.cluster.client_feed.PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("casty_asyncio.cluster.gateway.HOLD_SECONDS", 0.1)
    async with cluster(2) as systems:
        proxy = Proxy()
        assert systems[0].address is not None
        port = await proxy.listen(systems[0].address.port)
        known = {str(systems[0].address): ("127.0.0.1", port)}
        try:
            async with client_of(systems[0], address_map=known) as client:
                await linked(client, 2)
                events = member_events(client)
                proxy.stall()
                event = await next_connection(events)
                assert event.address == str(systems[1].address)
                proxy.resume()
        finally:
            await proxy.close()


async def test_a_node_that_knows_of_no_leader_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casty_asyncio.cluster.client_feed.LEADERLESS_SECONDS", 0.05)
    monkeypatch.setattr("casty_asyncio.cluster.gateway.HOLD_SECONDS", 0.1)
    async with cluster(2) as systems:
        gateway = inside_of(systems[0]).gateway
        news_of = gateway._news

        def without_leader(seen: int) -> Changes | Outside:
            news = news_of(seen)
            if isinstance(news, Changes) and news.head is not None:
                return evolve(news, head=evolve(news.head, leader=None))
            return news

        monkeypatch.setattr(gateway, "_news", without_leader)
        async with client_of(systems[0]) as client:
            await until(lambda: client.connected_to == "node-2")
            await until(lambda: client.leader_id is not None)


async def test_a_client_that_is_cut_off_for_a_moment_loses_nothing() -> None:
    async with cluster(1) as (only,):
        await only.spawn(Counter, name="counters", sharded=True, num_shards=8)
        proxy = Proxy()
        assert only.address is not None
        port = await proxy.listen(only.address.port)
        try:
            async with client_of(only, address_map={str(only.address): f"127.0.0.1:{port}"}) as client:
                ref = client.entity_ref("counters", "a")
                for number in range(200):
                    ref.tell(Note(number))
                    if number % 20 == 10:
                        proxy.cut()
                        await asyncio.sleep(0)
                assert await ref.ask(Notes(), PATIENCE) == list(range(200))
        finally:
            await proxy.close()


# -- entities ----------------------------------------------------------------------------------------------------------


async def test_asks_go_on_while_nodes_come_and_go_gracefully_and_each_is_handled_once() -> None:
    replication = ReplicationConfig(factor=2, sync_count=1)
    async with cluster(3) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=16, replication=replication)
        async with client_of(*systems) as client:
            counts = {f"e{number}": 0 for number in range(8)}
            over = False

            async def ask(entity: str) -> None:
                ref = client.entity_ref("counters", entity)
                while not over:
                    counts[entity] += 1
                    assert await ref.ask(Add(1), PATIENCE) == counts[entity]

            asking = [asyncio.ensure_future(ask(entity)) for entity in counts]
            async with node("node-4", systems[0]) as fourth:
                await fourth.spawn(Counter, name="counters", sharded=True, num_shards=16, replication=replication)
                await client.wait_for(4)
                await ids_owned_by(client, fourth, "counters", 1)
                await systems[0].shutdown()
                await until(lambda: len(client.members) == 3)
                await asyncio.gather(*(client.entity_ref("counters", entity).ask(Get(), 20) for entity in counts))
                over = True
                await asyncio.gather(*asking)


async def test_what_was_acknowledged_is_there_when_the_contact_has_crashed_under_load() -> None:
    replication = ReplicationConfig(factor=2, sync_count=1)
    async with cluster(3, leave_timeout=0.2) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=16, replication=replication)
        async with client_of(systems[0]) as client:
            await linked(client, 3)
            events = member_events(client)
            acknowledged = {f"e{number}": 0 for number in range(6)}
            unknown = dict.fromkeys(acknowledged, 0)
            over = False

            async def ask(entity: str) -> None:
                ref = client.entity_ref("counters", entity)
                while not over:
                    try:
                        await ref.ask(Add(1), PATIENCE)
                        acknowledged[entity] += 1
                    except OutcomeUnknownError:
                        unknown[entity] += 1

            asking = [asyncio.ensure_future(ask(entity)) for entity in acknowledged]
            await until(lambda: min(acknowledged.values()) > 5)
            await crash(systems[0])
            await next_connection(events)
            before = dict(acknowledged)
            await until(lambda: all(acknowledged[entity] > before[entity] for entity in before))
            over = True
            await asyncio.gather(*asking)
            for entity, count in acknowledged.items():
                there = await client.entity_ref("counters", entity).ask(Get(), PATIENCE)
                assert count <= there <= count + unknown[entity]


async def test_an_ask_of_which_nobody_knows_what_became_fails_and_the_next_one_finds_the_new_owner() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=16)
        async with client_of(systems[0]) as client:
            await linked(client, 3)
            (entity,) = await ids_owned_by(client, systems[2], "counters", 1)
            ref = client.entity_ref("counters", entity)
            KEPT.clear()
            RELEASED.clear()
            asked = asyncio.ensure_future(ref.ask(Keep(), PATIENCE))
            await KEPT.wait()
            crashing = asyncio.ensure_future(crash(systems[2]))
            with pytest.raises(OutcomeUnknownError, match=entity):
                await asked
            assert await ref.ask(Where(), PATIENCE) in ("node-1", "node-2")
            RELEASED.set()
            await crashing


async def test_a_node_that_is_held_to_be_dead_and_still_connected_holds_up_nothing() -> None:
    async with cluster(3, leave_timeout=0.2) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=16)
        proxy = Proxy()
        assert systems[2].address is not None
        known = {str(systems[2].address): ("127.0.0.1", await proxy.listen(systems[2].address.port))}
        try:
            async with client_of(systems[0], address_map=known) as client:
                await linked(client, 3)
                (entity,) = await ids_owned_by(client, systems[2], "counters", 1)
                ref = client.entity_ref("counters", entity)
                assert await ref.ask(Where()) == "node-3"
                letters = dead_letters(client)
                # The client's connection stays open, and nothing comes through. The others see a node that is gone.
                proxy.stall()
                asked = asyncio.ensure_future(ref.ask(Add(1), PATIENCE))
                await asyncio.sleep(0)
                inside = inside_of(systems[2])
                inside.member.end()
                inside.lanes.close()
                with pytest.raises(OutcomeUnknownError, match="holds it to be dead"):
                    await asked
                assert await ref.ask(Where(), PATIENCE) in ("node-1", "node-2")
                proxy.resume()
                inside.views.gone.set()
                links = client._links
                assert links is not None
                gateway = links._by_id["node-3"].gateway
                assert gateway is not None
                # What the node says of it in the end is news to nobody.
                await until(lambda: not len(gateway.conversation.asking))
                assert not await letters.all()
        finally:
            await proxy.close()


async def test_messages_stay_in_order_while_their_shard_moves() -> None:
    async with cluster(2) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=8)
        async with client_of(systems[0]) as client:
            await linked(client, 2)
            (entity,) = await ids_owned_by(client, systems[1], "counters", 1)
            ref = client.entity_ref("counters", entity)
            letters = dead_letters(client)
            leaving: asyncio.Task[object] | None = None
            for number in range(400):
                ref.tell(Note(number))
                if number == 100:
                    leaving = asyncio.ensure_future(systems[1].shutdown())
                if number % 10 == 0:
                    await asyncio.sleep(0.001)
            assert leaving is not None
            await leaving
            assert await ref.ask(Notes(), PATIENCE) == list(range(400))
            assert await ref.ask(Where()) == "node-1"
            assert not await letters.all()


async def test_what_is_told_while_no_node_is_there_waits_within_limits() -> None:
    first = node("node-1")
    await first.start()
    await first.spawn(Counter, name="counters", sharded=True, num_shards=8)
    address = first.address
    assert address is not None
    async with client_of(first, max_waiting=10) as client:
        ref = client.entity_ref("counters", "a")
        assert await ref.ask(Add(1)) == 1
        await crash(first)
        await until(lambda: not client.is_connected)
        letters = dead_letters(client)
        for number in range(12):
            ref.tell(Note(number))
        assert [(await letters.next()).message for _ in range(2)] == [Note(10), Note(11)]
        with pytest.raises(NotHandledError, match="wait already"):
            await ref.ask(Get(), 0.1)
        async with ActorSystem.distributed(address.host, address.port, node_id="again") as again:
            await again.spawn(Counter, name="counters", sharded=True, num_shards=8)
            assert await ref.ask(Notes(), PATIENCE) == list(range(10))


async def test_what_waits_has_a_limit_in_bytes_too() -> None:
    first = node("node-1")
    await first.start()
    address = first.address
    assert address is not None
    big = [Note("x" * 1000 + f"{number}") for number in range(5)]
    async with client_of(first, max_waiting_bytes=2500) as client:
        ref, unknown = client.entity_ref("counters", "a"), client.entity_ref("unknown", "a")
        letters = dead_letters(client)
        # Nobody has spawned any of these types yet, and all that waits counts together.
        ref.tell(big[0])
        unknown.tell(big[1])
        ref.tell(big[2])
        assert (await letters.next()).message == big[2]
        ref.tell(Note("small"))
        with pytest.raises(
            NotHandledError, match=r"3 messages of this client, .* bytes, wait already .*max_waiting_bytes"
        ):
            await unknown.ask(big[3], 0.1)
        await first.spawn(Counter, name="counters", sharded=True, num_shards=8)
        assert await ref.ask(Notes(), PATIENCE) == [big[0].number, "small"]
        # There is room again, when nothing waits for anything of any size.
        await first.spawn(Counter, name="unknown", sharded=True, num_shards=8)
        assert await unknown.ask(Notes(), PATIENCE) == [big[1].number]
        await crash(first)
        await until(lambda: not client.is_connected)
        huge = Note("y" * 3000)
        ref.tell(huge)
        ref.tell(big[4])
        assert (await letters.next()).message == big[4]
        async with ActorSystem.distributed(address.host, address.port, node_id="again") as again:
            await again.spawn(Counter, name="counters", sharded=True, num_shards=8)
            assert await ref.ask(Notes(), PATIENCE) == [huge.number]
            assert client._routes is not None
            assert (client._routes._waiting, client._routes._waiting_bytes) == (0, 0)


async def test_only_so_many_bytes_are_on_their_way_and_more_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casty_asyncio.cluster.client_routes.UNDER_WAY_BYTES", 2500)
    async with cluster(1) as (only,):
        await only.spawn(Counter, name="counters", sharded=True, num_shards=8)
        async with client_of(only) as client:
            ref, routes = client.entity_ref("counters", "a"), client._routes
            assert routes is not None
            assert await ref.ask(Add(1)) == 1
            most = 0
            for number in range(20):
                ref.tell(Note("x" * 1000 + f"{number}"))
                most = max(most, routes._under_way)
            assert (most, routes._waiting) == (2, 18)
            assert len(await ref.ask(Notes(), PATIENCE)) == 20
            ref.tell(Note("y" * 5000))  # One alone goes whatever its size.
            assert len(await ref.ask(Notes(), PATIENCE)) == 21
            await until(lambda: not routes._under_way)
            assert (routes._under_way_bytes, routes._waiting_bytes) == (0, 0)


async def test_what_was_on_its_way_to_a_node_that_is_lost_is_a_dead_letter_as_it_was_told() -> None:
    async with cluster(1) as (only,):
        await only.spawn(Counter, name="counters", sharded=True, num_shards=8)
        proxy = Proxy()
        assert only.address is not None
        port = await proxy.listen(only.address.port)
        try:
            async with client_of(only, address_map={str(only.address): f"127.0.0.1:{port}"}) as client:
                ref = client.entity_ref("counters", "a")
                assert await ref.ask(Add(1)) == 1
                letters = dead_letters(client)
                assert not await letters.all()
                proxy.stall("there")
                ref.tell(Note(1))
                await proxy.close()
                letter = await letters.next()
                assert letter.message == Note(1)
                assert letter.ref == ref
                assert not await letters.all()
        finally:
            await proxy.close()


# -- members -----------------------------------------------------------------------------------------------------------


async def test_members_that_join_later_can_address_the_client_and_those_that_left_are_forgotten() -> None:
    async with cluster(1) as (first,), client_of(first) as client:
        probe = Probe(client)
        async with node("node-2", first) as second:
            await joined(first, second)
            await second.spawn(Counter, name="greeter")
            await linked(client, 2)
            greeter = await client.lookup("greeter")
            assert greeter is not None
            greeter.tell(Greet(probe.ref, "from the second"))
            assert await probe.next() == "from the second"
        links = client._links
        assert links is not None
        await until(lambda: list(links._by_id) == ["node-1"])
        assert [peer.node.node_id for peer in peers_of(client) if peer.link.gone is None] == ["node-1"]
        assert node_with([first], "node-1") is first
