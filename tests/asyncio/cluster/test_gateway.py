"""What a gateway tells, and what a client makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import ActorSystem, Behaviors, Remote, ServiceKey
from casty_asyncio.cluster.client_view import Copy, View
from casty_asyncio.cluster.client_wire import Changes, Deliver, Head, Outside, Refusal, Watch, allow_types
from casty_asyncio.cluster.cluster import Cluster
from casty_proto.cluster.records import RegionKind, RegionSettings, Status
from casty_proto.cluster.topology import TopologyMember, TopologyRegion

from ..probe import within
from ..remote.kit import echo, remoting_of
from .client_kit import Counter, cluster, inside_of, node, until

MEMBER = TopologyMember("a.1", "a", "127.0.0.1:1", (), Status.UP, votes=True)
HEAD = Head("a.1", 5, "a.1", (MEMBER,))


def region(name: str, epoch: int = 1) -> TopologyRegion:
    """A type of one shard."""
    return TopologyRegion(name, RegionKind.ENTITIES, RegionSettings(1), ("a.1",), (0,), (epoch,), ("a.1",))


# -- the client's copy -------------------------------------------------------------------------------------------------


def test_a_copy_is_what_all_changes_amount_to() -> None:
    copy = Copy()
    entry = ("a.1", 1, "1/x")
    view = copy.apply(Changes(1, True, HEAD, (region("b"), region("a")), (("s", (entry,)),)))
    assert list(view.regions) == ["a", "b"]
    assert view.topology.regions == (region("a"), region("b"))
    assert view.services == {"s": (entry,)}
    after = copy.apply(Changes(2, False, None, (region("b", 2),), (("s", ()),), (("b", 0, 2),)))
    assert after.regions["b"].epochs == (2,)
    assert (after.services, after.taken) == ({}, {("b", 0): 2})
    assert view.regions["b"].epochs == (1,), "a view does not change"


def test_a_complete_picture_makes_void_what_was_before() -> None:
    copy = Copy()
    copy.apply(Changes(1, True, HEAD, (region("a"),), (("s", (("a.1", 1, "1/x"),)),), (("a", 0, 1),)))
    view = copy.apply(Changes(2, True, HEAD, (region("b"),)))
    assert (list(view.regions), view.services, view.taken) == (["b"], {}, {})


def test_a_picture_without_members_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="lacks the members"):
        Copy().apply(Changes(1, True))


def test_a_picture_counts_when_it_is_as_new_or_of_another_cluster() -> None:
    def of(cluster: str, version: int) -> View:
        return Copy().apply(Changes(1, True, Head(cluster, version, None, (MEMBER,))))

    assert of("a.1", 5).is_newer_than(None)
    assert of("a.1", 5).is_newer_than(of("a.1", 5))
    assert not of("a.1", 4).is_newer_than(of("a.1", 5))
    assert of("b.1", 1).is_newer_than(of("a.1", 5))


# -- the gateway -------------------------------------------------------------------------------------------------------


async def gateway_of(system: ActorSystem, client: ActorSystem) -> Any:
    """The gateway of a node, as an outside system sees it."""
    found = await within(client.lookup(f"casty://casty@{system.address}/_gateway"))
    assert found is not None
    return found


async def test_a_watch_tells_only_what_has_changed_and_waits_for_it() -> None:
    key: ServiceKey[Any] = ServiceKey("echo")
    async with cluster(1) as (only,), ActorSystem(remote=Remote()) as outside:
        assert outside._running is not None
        assert outside._running.remoting is not None
        allow_types(outside._running.remoting.types)
        gateway = await gateway_of(only, outside)

        async def watch(seen: int) -> Changes:
            answer = await outside.ask(gateway, lambda reply_to: Watch(seen, reply_to), 10.0)
            assert isinstance(answer, Changes)
            return answer

        first = await watch(0)
        assert first.is_complete
        assert first.head is not None
        later = asyncio.ensure_future(watch(first.number))
        ref = only.spawn(Behaviors.discoverable(echo(), key=key), "echo")
        second = await within(later)
        assert not second.is_complete
        assert [name for name, _ in second.services] == ["echo"]
        assert (second.head, second.regions) == (None, ())
        only.stop(ref)
        third = await within(watch(second.number))
        assert third.services == (("echo", ()),)
        await only.spawn(Counter, name="counters", sharded=True, num_shards=4)
        seen = third.number
        found: list[str] = []
        while not found:
            news = await within(watch(seen))
            seen, found = news.number, [each.name for each in news.regions]
        assert found == ["counters"]
        everything = await watch(0)
        assert everything.is_complete
        assert [each.name for each in everything.regions] == ["counters"]


async def test_a_gateway_with_nothing_new_answers_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casty_asyncio.cluster.gateway.HOLD_SECONDS", 0.05)
    async with cluster(1) as (only,):
        gateway = inside_of(only).gateway
        ref: Any = only._service("_gateway")
        news = await only.ask(ref, lambda reply_to: Watch(0, reply_to))
        assert isinstance(news, Changes)
        # What is still on its way after the start is told as well.
        while True:
            again = await only.ask(ref, lambda reply_to, seen=news.number: Watch(seen, reply_to))  # type: ignore[misc]
            if again.number == news.number:
                break
            news = again
        assert (again.head, again.regions, again.services) == (None, (), ())
        assert not gateway._waiting


async def test_a_gateway_forgets_those_who_wait_no_more() -> None:
    async with cluster(1) as (only,):
        gateway = inside_of(only).gateway
        ref: Any = only._service("_gateway")
        news = await only.ask(ref, lambda reply_to: Watch(0, reply_to))
        waits = asyncio.ensure_future(only.ask(ref, lambda reply_to: Watch(news.number + 1, reply_to)))
        await until(lambda: gateway._waiting)
        waits.cancel()
        only.spawn(Behaviors.discoverable(echo(), key=ServiceKey[Any]("echo")), "echo")
        await until(lambda: not gateway._waiting)


async def test_a_node_without_a_cluster_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casty_asyncio.cluster.gateway.HOLD_SECONDS", 0.05)
    async with node("alone", "127.0.0.1:1") as alone:
        ref: Any = alone._service("_gateway")
        answer = await alone.ask(ref, lambda reply_to: Watch(0, reply_to))
        assert answer == Outside("its node belongs to no cluster yet", has_ended=False)


async def test_a_node_that_leaves_tells_its_clients_to_go_elsewhere() -> None:
    async with cluster(1) as (only,):
        await only.spawn(Counter, name="counters", sharded=True, num_shards=4)
        gateway = inside_of(only).gateway
        ref: Any = only._service("_gateway")
        news = await only.ask(ref, lambda reply_to: Watch(0, reply_to))
        waits = asyncio.ensure_future(only.ask(ref, lambda reply_to: Watch(news.number + 99, reply_to)))
        await until(lambda: gateway._waiting)
        await gateway.drain(1.0)
        answer = await waits
        assert isinstance(answer, Outside)
        assert answer.has_ended
        refusal = await only.ask(ref, lambda reply_to: Deliver("counters", "a", b"", reply_to))
        assert isinstance(refusal, Refusal)
        assert (refusal.is_certain, refusal.is_for_others, refusal.has_ended) == (True, True, True)


async def test_who_asks_before_the_node_has_begun_is_answered_when_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    begins, known, inside = asyncio.Event(), Cluster._known_seeds, list[Cluster]()

    async def known_later(self: Cluster, seeds: Any, own: Any) -> tuple[str, ...]:
        inside.append(self)
        await begins.wait()
        return await known(self, seeds, own)

    monkeypatch.setattr(Cluster, "_known_seeds", known_later)
    system = node("early")
    starts = asyncio.ensure_future(system.start())
    await until(lambda: bool(inside))
    async with ActorSystem("casty", remote=Remote()) as outside:
        assert outside._running is not None
        allow_types(remoting_of(outside).types)
        gateway = await gateway_of(system, outside)
        asked = [
            asyncio.ensure_future(outside.ask(gateway, lambda reply_to: Deliver("counters", "a", b"", reply_to))),
            asyncio.ensure_future(outside.ask(gateway, lambda reply_to: Watch(0, reply_to))),
        ]
        await until(lambda: inside[0].gateway.delivered == 1)
        begins.set()
        refusal, news = await asyncio.gather(*asked)
        assert isinstance(refusal, Refusal)
        assert (refusal.is_certain, refusal.has_ended) == (True, False)
        assert isinstance(news, Changes | Outside)
        await starts
        await system.shutdown()


async def test_rule_4_of_one_client_a_limited_number_of_questions_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casty_asyncio.cluster.gateway.WATCHES_EACH", 3)
    async with cluster(1) as (only,):
        gateway = inside_of(only).gateway
        async with ActorSystem("casty", remote=Remote()) as one, ActorSystem("casty", remote=Remote()) as other:

            def asked(system: ActorSystem, gateway: Any) -> asyncio.Task[Any]:
                return asyncio.create_task(system.ask(gateway, lambda reply_to: Watch(2**40, reply_to), 30.0))

            for each in (one, other):
                allow_types(remoting_of(each).types)
            ref = await gateway_of(only, one)
            out = [asked(one, ref) for _ in range(3)]
            await until(lambda: gateway._waiting_count == 3)
            answer = await within(asked(one, ref))
            assert isinstance(answer, Outside)
            assert (
                answer.reason == "3 questions of this client wait at node-1 already; ask when one of them is answered"
            )
            assert not answer.has_ended
            out.append(asked(other, await gateway_of(only, other)))
            await until(lambda: len(gateway._waiting) == 2)
            monkeypatch.setattr("casty_asyncio.cluster.gateway.WATCHES_MAX", 4)
            answer = await within(asked(other, await gateway_of(only, other)))
            assert answer.reason == "too many clients wait for news of node-1; follow another node"
            gateway._tell_all()
            for question in out:
                assert isinstance(await within(question), Changes)
            assert not gateway._waiting
