"""The outside client: what it finds, whom it can ask, and what it says when it finds nobody."""

from __future__ import annotations

import asyncio

import pytest

from casty_asyncio import (
    Actor,
    ActorFailedError,
    ActorRef,
    ActorSystem,
    AskTimeoutError,
    Behaviors,
    ClientConnected,
    ClientDisconnected,
    ClusterClient,
    ClusterTimeoutError,
    ContactError,
    Context,
    EntityRef,
    Listing,
    MemberLeft,
    MemberStatus,
    MemberUp,
    NotSendableError,
    Remote,
    ReplicationConfig,
    ServiceKey,
    ShardEnvelope,
    SubscribeListing,
    SystemShutDownError,
    UsageError,
)

from ..probe import Probe, within
from ..remote.kit import echo
from .client_kit import (
    PATIENCE,
    Add,
    Counter,
    Fail,
    Get,
    Greet,
    Where,
    client_of,
    cluster,
    ids_owned_by,
    inside_of,
    linked,
    member_events,
    node,
    node_with,
    until,
)

ECHO: ServiceKey[object] = ServiceKey("echo")


class Mute(Actor[object]):
    """Keeps whom it should answer, and does not."""

    async def receive(self, msg: object, ctx: Context) -> None:
        self._asker = ctx.sender


# -- what it knows -----------------------------------------------------------------------------------------------------


async def test_a_client_knows_the_members_the_leader_and_who_owns_what_and_joins_nothing() -> None:
    async with cluster(2) as systems:
        await systems[0].spawn(Counter, name="counters", sharded=True, num_shards=16)
        async with client_of(systems[0]) as client:
            await client.wait_for(2)
            assert [member.node_id for member in client.members] == ["node-1", "node-2"]
            assert {member.status for member in client.members} == {MemberStatus.UP}
            await until(lambda: client.leader_id == systems[0].leader_id)
            topology = client.topology
            assert topology is not None
            (region,) = topology.regions
            assert (region.name, len(region.table)) == ("counters", 16)
            assert client.is_connected
            assert client.connected_to == "node-1"
            assert client.address is None
            assert len(systems[0].members) == 2


async def test_contact_points_are_pairs_or_texts_and_any_that_lives_is_enough() -> None:
    async with cluster(1) as (only,):
        assert only.address is not None
        host, port = only.address.host, only.address.port
        for contacts in ([(host, port)], [f"{host}:{port}"], [("127.0.0.1", 1), (host, port)]):
            async with ClusterClient(contact_points=contacts) as client:
                assert [member.node_id for member in client.members] == ["node-1"]


async def test_members_that_come_and_go_are_seen_and_are_events() -> None:
    async with cluster(1) as (first,), client_of(first) as client:
        events = member_events(client)
        async with node("node-2", first):
            await client.wait_for(2)
            assert isinstance(up := await events.next(), MemberUp)
            assert up.member.node_id == "node-2"
        async with asyncio.timeout(PATIENCE):
            while not isinstance(event := await events.next(), MemberLeft):
                pass
        assert event.member.node_id == "node-2"
        assert [member.node_id for member in client.members] == ["node-1"]


async def test_waiting_for_more_members_than_there_are_says_who_is_there() -> None:
    async with cluster(1) as (only,), client_of(only) as client:
        with pytest.raises(ClusterTimeoutError, match=r"2 members that are up, and knows of: node-1 \(up\)"):
            await client.wait_for(2, timeout=0.05)
        with pytest.raises(ClusterTimeoutError, match="1 actors that offer 'echo', and knows of 0"):
            await client.wait_for_service(ECHO, timeout=0.05)


# -- services and paths ------------------------------------------------------------------------------------------------


async def test_a_listing_is_there_at_once_and_has_the_actors_of_all_nodes() -> None:
    async with cluster(2) as systems:
        for system in systems:
            system.spawn(Behaviors.discoverable(echo(), key=ECHO), "echo")
        async with client_of(systems[1]) as client:
            listing = await client.wait_for_service(ECHO, 2)
            assert client.lookup(ECHO) == listing
            assert [instance.node for instance in listing] == [system.address for system in systems]
            for instance in listing:
                assert await instance.ref.ask("hello") == "hello"


async def test_a_listing_that_is_awaited_waits_for_the_first_copy() -> None:
    async with cluster(1) as (only,):
        only.spawn(Behaviors.discoverable(echo(), key=ECHO), "echo")
        async with client_of(only, connect_timeout=0) as client:
            early = client.lookup(ECHO)
            assert not client.is_connected
            assert not early
            listing = await within(early)
            assert isinstance(listing, Listing)
            assert len(listing) == 1


async def test_a_listing_can_be_followed_and_loses_what_stops_and_who_leaves() -> None:
    async with cluster(2) as systems, client_of(systems[0]) as client:
        probe = Probe(client)
        client.receptionist_ref.tell(SubscribeListing(ECHO, probe.ref))
        assert not await probe.next()
        first = systems[0].spawn(Behaviors.discoverable(echo(), key=ECHO), "echo")
        assert [instance.node for instance in await probe.next()] == [systems[0].address]
        systems[1].spawn(Behaviors.discoverable(echo(), key=ECHO), "echo")
        assert len(await probe.next()) == 2
        systems[0].stop(first)
        assert [instance.node for instance in await probe.next()] == [systems[1].address]
        await systems[1].shutdown()
        assert not await probe.next()


async def test_a_lookup_by_name_finds_types_singletons_and_actors_of_any_node() -> None:
    async with cluster(2) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=8)
            await system.spawn(Counter, name="chief", singleton=True)
        await systems[1].spawn(Counter, name="plain")
        async with client_of(systems[0]) as client:
            counters, chief = await client.lookup("counters"), await client.lookup("/chief")
            assert counters == client.sharded_ref("counters")
            assert client.lookup("counters").ref == counters
            assert chief == client.singleton_ref("chief")
            assert chief is not None
            assert await chief.ask(Add(3)) == 3
            plain = await client.lookup("plain")
            assert plain is not None
            assert await plain.ask(Where()) == "node-2"
            assert await client.lookup("nobody") is None
            assert not client.lookup("plain")
            mine = client.spawn(echo(), "mine")
            assert client.lookup("mine").ref == mine
            there = await client.lookup(f"casty://casty@{systems[1].address}/plain")
            assert there == plain


async def test_a_broadcasted_actor_is_told_and_asked_on_all_nodes() -> None:
    async with cluster(2) as systems:
        for system in systems:
            system.spawn(Behaviors.broadcasted(echo()), "everywhere")
        async with client_of(systems[0]) as client:
            ref = client.broadcast_ref("everywhere")
            await until(lambda: len(ref.instances) == 2)
            assert await ref.ask("hello") == ("hello", "hello")


# -- its own actors ----------------------------------------------------------------------------------------------------


async def test_actors_of_the_client_are_told_by_every_node_also_by_one_it_never_talked_to() -> None:
    async with cluster(3) as systems:
        for system in systems:
            await system.spawn(Counter, name="greeter")
        async with client_of(systems[0]) as client:
            await client.wait_for(3)
            probe = Probe(client, "probe")
            first = await client.lookup(f"casty://casty@{systems[0].address}/greeter")
            others = [await systems[0].lookup(f"casty://casty@{each.address}/greeter") for each in systems[1:]]
            assert first is not None
            first.tell(Greet(probe.ref, "from the first"))
            assert await probe.next() == "from the first"
            # The first one passes the ref on. Nobody can dial the client, which has to have connected by itself.
            for number, other in enumerate(others):
                assert other is not None
                keeper = client_ref_at(systems[0], client, probe)
                other.tell(Greet(keeper, f"from other {number}"))
                assert await probe.next() == f"from other {number}"


def client_ref_at(system: ActorSystem, client: ClusterClient, probe: Probe) -> ActorRef[object]:
    """The ref that a node has of an actor of the client."""
    assert system._running is not None
    assert client._running is not None
    there, here = system._running.remoting, client._running.remoting
    assert there is not None
    assert here is not None
    found: ActorRef[object] = there.refs.decode(here.refs.encode(probe.ref))
    return found


async def test_class_actors_of_a_client_and_asks_between_both_sides_work() -> None:
    async with cluster(1) as (only,):
        await only.spawn(Counter, name="there")
        async with client_of(only) as client:
            here = await client.spawn(Counter, name="here")
            there = await client.lookup("there")
            assert there is not None
            assert await here.ask(Add(2)) == 2
            assert await client.ask(there, lambda reply_to: Get(reply_to)) == 0
            with pytest.raises(ActorFailedError, match="as it was asked to"):
                await there.ask(Fail())


async def test_refs_of_entities_mean_the_same_on_both_sides() -> None:
    async with cluster(1) as (only,):
        counters = await only.spawn(Counter, name="counters", sharded=True, num_shards=8)
        await only.spawn(Counter, name="greeter")
        async with client_of(only) as client:
            greeter = await client.lookup("greeter")
            assert greeter is not None
            probe = Probe(only)
            keeper = await client.lookup(f"casty://casty@{only.address}{probe.ref.path}")
            assert keeper is not None
            keeper.tell(client.entity_ref("counters", "a"))
            assert await probe.next() == counters["a"]
            keeper.tell(client.sharded_ref("counters"))
            assert await probe.next() == counters


# -- entities ----------------------------------------------------------------------------------------------------------


async def test_entities_are_told_asked_and_sent_in_every_way() -> None:
    async with cluster(2) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=16)
        async with client_of(systems[0]) as client:
            alice, counters = client.entity_ref("counters", "alice"), client.sharded_ref("counters")
            alice.tell(Add(1))
            await alice.send(Add(2))
            assert await alice.ask(Add(3)) == 6
            assert await client.ask(alice, lambda reply_to: Get(reply_to)) == 6
            assert await counters["alice"].ask(Get()) == 6
            counters.tell(ShardEnvelope("alice", Add(4)))
            assert await counters.ask(ShardEnvelope("alice", Get())) == 10
            probe = Probe(client)
            alice.tell(Greet(probe.ref))
            assert await probe.next() == "hello"
            with pytest.raises(ActorFailedError, match="as it was asked to"):
                await alice.ask(Fail())
            with pytest.raises(UsageError, match=r"ask one of them, counters\[entity_id\]"):
                await client.ask(counters, lambda _: Get())  # type: ignore[arg-type, return-value]


async def test_messages_go_straight_to_the_node_that_owns_the_shard() -> None:
    async with cluster(3) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=32)
        async with client_of(systems[0]) as client:
            await linked(client, 3)
            for system in systems:
                (entity,) = await ids_owned_by(client, system, "counters", 1)
                before = [inside_of(each).gateway.delivered for each in systems]
                assert await client.entity_ref("counters", entity).ask(Where()) == system.node_id
                after = [inside_of(each).gateway.delivered for each in systems]
                assert [b - a for a, b in zip(before, after, strict=True)] == [each is system for each in systems]


async def test_what_is_sent_to_a_type_before_it_is_known_waits_for_it() -> None:
    async with cluster(1) as (only,), client_of(only) as client:
        alice = client.entity_ref("counters", "alice")
        alice.tell(Add(1))
        asked = asyncio.ensure_future(alice.ask(Add(2), timeout=PATIENCE))
        await only.spawn(Counter, name="counters", sharded=True, num_shards=8)
        assert await asked == 3


async def test_an_ask_that_is_not_answered_says_how_far_it_got() -> None:
    async with cluster(1) as [system], client_of(system) as client:
        here = EntityRef[object](inside_of(system).regions.region("unknown"), "a")
        for ref in (here, client.entity_ref("unknown", "a")):
            with pytest.raises(AskTimeoutError, match="no 'unknown' is known here; is that its name"):
                await ref.ask(Get(), timeout=0.01)
        mutes = await system.spawn(Mute, name="mutes", sharded=True, num_shards=4)
        for ref in (mutes["a"], client.entity_ref("mutes", "b")):
            asking = asyncio.ensure_future(ref.ask(Get(), timeout=30.0))
            asks = ref.region.asks._out.setdefault("mutes", {})
            await until(lambda asks=asks: any(ask.is_accepted for ask in asks))  # type: ignore[misc]
            next(iter(asks)).on_due(0)
            with pytest.raises(AskTimeoutError, match=r"/mutes/. did not answer Get within 30 s: a node has it"):
                await within(asking)


async def test_an_ask_that_cannot_be_sent_is_over() -> None:
    async with cluster(1) as [system], client_of(system, remote=Remote(max_message=16384)) as client:
        await system.spawn(Counter, name="counters", sharded=True, num_shards=4)
        ref = client.entity_ref("counters", "x" * 4096)
        with pytest.raises(NotSendableError, match="with its address it takes up to"):
            await ref.ask(Get())
        assert len(client._used().asks) == 0


async def test_send_to_a_replicated_entity_ends_when_its_backups_have_the_state() -> None:
    async with cluster(2) as systems:
        for system in systems:
            await system.spawn(
                Counter, name="kept", sharded=True, num_shards=8, replication=ReplicationConfig(2, sync_count=1)
            )
        async with client_of(systems[0]) as client:
            ref = client.entity_ref("kept", "a")
            await ref.send(Add(5))
            assert await ref.ask(Get()) == 5


async def test_what_lives_on_nodes_cannot_be_spawned_on_a_client() -> None:
    async with cluster(1) as (only,), client_of(only) as client:
        for spawn in (
            lambda: client.spawn(Counter, name="x", sharded=True),
            lambda: client.spawn(Counter, name="x", singleton=True),
            lambda: client.spawn(Behaviors.sharded(lambda _: echo()), "x"),  # type: ignore[call-overload]
            lambda: client.spawn(Behaviors.broadcasted(echo()), "x"),  # type: ignore[call-overload]
        ):
            with pytest.raises(UsageError, match="live on the nodes of a cluster"):
                spawn()


# -- nobody there ------------------------------------------------------------------------------------------------------


async def test_a_client_that_reaches_nobody_names_each_contact_point_and_why() -> None:
    client = ClusterClient([("127.0.0.1", 1), "127.0.0.1:2"], connect_timeout=0.3)
    with pytest.raises(ContactError) as caught:
        await client.start()
    lines = str(caught.value).splitlines()
    assert lines[0] == "no node of cluster 'casty' within 0.3 s:"
    assert [line.split(": ")[0].strip() for line in lines[1:]] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert all("cannot be reached" in line for line in lines[1:])
    with pytest.raises(ContactError, match=r"127\.0\.0\.1:2"):
        await client.start()
    await client.shutdown()


async def test_a_system_that_is_no_node_is_told_at_once() -> None:
    async with ActorSystem(remote=Remote("127.0.0.1")) as plain:
        client = client_of(plain)
        with pytest.raises(ContactError, match="is an actor system, and no node of a cluster"):
            await within(client.start())
        await client.shutdown()


async def test_a_cluster_of_another_name_is_told_at_once() -> None:
    async with cluster(1, name="other") as (only,):
        client = client_of(only)
        with pytest.raises(ContactError, match="other"):
            await within(client.start())
        await client.shutdown()


async def test_a_client_can_wait_in_the_background_and_finds_a_node_that_starts_later() -> None:
    first = node("node-1")
    async with first:
        port = first.address.port if first.address is not None else 0
    async with ClusterClient([("127.0.0.1", port)], connect_timeout=0) as client:
        events = member_events(client)
        with pytest.raises(ContactError, match="cannot be reached"):
            await client.wait_connected(0.2)
        async with ActorSystem.distributed("127.0.0.1", port, node_id="node-1"):
            await client.wait_connected(PATIENCE)
            assert isinstance(await events.next(), MemberUp)
            assert isinstance(await events.next(), ClientConnected)
        async with asyncio.timeout(PATIENCE):
            while not isinstance(await events.next(), ClientDisconnected):
                pass
        assert not client.is_connected


@pytest.mark.parametrize(
    ("contacts", "text"),
    [
        ([], "at least one contact point"),
        ("node-1:25520", "not one text"),
        (["node-1"], "a contact point is given as"),
        ([("node-1", "25520")], "a contact point is given as"),
        ([("node-1", 0)], "a contact point is given as"),
        ([7], "a contact point is given as"),
    ],
)
def test_contact_points_that_make_no_sense_are_an_error(contacts: object, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        ClusterClient(contacts)  # type: ignore[arg-type]


async def test_a_client_listens_nowhere_and_is_started_before_it_is_used() -> None:
    with pytest.raises(UsageError, match="a client listens nowhere"):
        ClusterClient([("127.0.0.1", 1)], remote=Remote("127.0.0.1"))
    for word in ("max_waiting", "max_waiting_bytes"):
        with pytest.raises(UsageError, match=f"{word} must be a whole number"):
            ClusterClient([("127.0.0.1", 1)], **{word: -1})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="was not started"):
        ClusterClient([("127.0.0.1", 1)]).entity_ref("players", "alice")


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_a_shutdown_ends_what_waits_and_leaves_nothing_behind() -> None:
    async with cluster(1) as (only,):
        await only.spawn(Counter, name="counters", sharded=True, num_shards=8)
        client = client_of(only)
        await client.start()
        waits = asyncio.ensure_future(client.entity_ref("unknown", "a").ask(Get(), timeout=PATIENCE))
        members = asyncio.ensure_future(client.wait_for(5))
        await asyncio.sleep(0)
        await client.shutdown()
        with pytest.raises(Exception, match="shut down"):
            await waits
        with pytest.raises(SystemShutDownError):
            await members
        await client.shutdown()
        assert node_with([only], "node-1") is only
        assert client._running is not None
        assert len(client._running.clock) == 0
