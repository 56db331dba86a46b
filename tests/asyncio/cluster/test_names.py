"""Cluster-wide names: claimed, looked up on every node and by clients, and given up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ClusterClient,
    ClusterError,
    ClusterTimeoutError,
    DistributedSystem,
    InvalidNameError,
    NameChanged,
    NameTakenError,
    UsageError,
)
from casty_asyncio.cluster.status import status_of
from casty_proto.cluster import events as said

from .node_kit import cluster, crash, inside_of, joined, next_of, node, subscribed, until, within
from .things import Counter, Say


class Ledger(Actor[Any]):
    """Says whose it is."""

    def __init__(self, whose: str) -> None:
        self.whose = whose

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        ctx.reply(self.whose)


async def ledger(system: DistributedSystem, name: str | None = None) -> ActorRef[Any]:
    return await system.spawn(Ledger, name=name, whose=system.node_id)


async def whose(system: Any, name: str = "ledger") -> Any:
    found = await within(system.lookup(name))
    return None if found is None else await within(found.ask(Say()))


def knows(system: DistributedSystem, name: str = "ledger") -> str | None:
    """The path of the actor that has the name, as far as the node knows."""
    found: Any = system.lookup(name).ref
    return None if found is None else found.path


async def test_a_name_is_found_on_all_nodes_and_by_clients_and_belongs_to_one_actor() -> None:
    async with cluster(2) as (one, two):
        here, there = await ledger(one, "first"), await ledger(two, "second")
        await within(one.claim_name("ledger", here))
        assert await whose(one) == await whose(two) == "node-1"
        with pytest.raises(NameTakenError, match="'ledger' is that of /first of node-1"):
            await within(two.claim_name("ledger", there))
        await within(one.claim_name("ledger", here))  # It has that already.
        async with ClusterClient([str(two.address)]) as client:
            assert await whose(client) == "node-1"
            assert await whose(client, "nothing") is None
        await until(lambda: knows(two) == "/first")
        assert status_of(inside_of(one))["names"] == [{"name": "ledger", "node": "node-1", "path": "/first"}]


async def test_of_those_who_claim_a_name_at_once_one_gets_it() -> None:
    async with cluster(3) as systems:
        claims = [each.claim_name("ledger", await ledger(each)) for each in systems for _ in range(2)]
        results = await within(asyncio.gather(*claims, return_exceptions=True))
        assert sum(result is None for result in results) == 1
        assert sum(isinstance(result, NameTakenError) for result in results) == 5
        assert len({await whose(each) for each in systems}) == 1


async def test_a_node_that_does_not_know_it_yet_asks_the_others() -> None:
    async with cluster(2) as (one, two):
        await within(one.claim_name("ledger", await ledger(one)))
        await until(lambda: knows(two))
        # As if it had not come yet.
        inside_of(two).claims.known = lambda name: None  # type: ignore[method-assign]
        assert not two.lookup("ledger")
        assert await whose(two) == "node-1"


async def test_a_name_that_was_claimed_comes_before_the_name_of_an_actor() -> None:
    async with cluster(2) as (one, two):
        await ledger(two, "ledger")
        assert await whose(one) == await whose(two) == "node-2"
        await within(one.claim_name("ledger", await ledger(one, "other")))
        await until(lambda: knows(two) == "/other")
        assert await whose(two) == "node-1"
        assert await whose(one, f"casty://casty@{two.address}/ledger") == "node-2", "an address says where"


async def test_a_name_is_free_when_it_was_released() -> None:
    async with cluster(2) as (one, two):
        heard = await subscribed(two, NameChanged)
        await within(one.claim_name("ledger", await ledger(one)))
        await within(two.release_name("ledger"))
        assert await whose(one) == "node-1", "it is not that of an actor of the other node"
        await within(one.release_name("ledger"))
        await within(one.release_name("ledger"))
        assert await whose(one) is None
        await within(two.claim_name("ledger", await ledger(two)))
        assert await whose(one) == "node-2"
        assert not inside_of(one).claims._claims
        changes = [await next_of(heard, NameChanged) for _ in range(3)]
        assert [each.node_id for each in changes] == ["node-1", None, "node-2"]


async def test_a_name_is_free_when_its_actor_has_stopped() -> None:
    async with cluster(2) as (one, two):
        ref = await ledger(one)
        await within(one.claim_name("ledger", ref))
        one.stop(ref)
        await until(lambda: inside_of(two).node.state.name("ledger") is None)
        await within(two.claim_name("ledger", await ledger(two)))
        assert await whose(one) == "node-2"
        with pytest.raises(ClusterError, match="has stopped"):
            await within(one.claim_name("other", ref))
        assert not inside_of(one).claims._claims


async def test_a_name_is_free_when_its_node_has_left_or_died() -> None:
    async with cluster(3, leave_timeout=0.2) as (one, two, three):
        await within(three.claim_name("left", await ledger(three)))
        await within(two.claim_name("died", await ledger(two)))
        await three.shutdown()
        await within(one.claim_name("left", await ledger(one)))
        async with node("node-4", one) as four:
            await joined(one, two, four)
            await crash(two)
            await until(lambda: inside_of(one).node.state.name("died") is None)
            await within(four.claim_name("died", await ledger(four)))
            assert (await whose(one, "left"), await whose(one, "died")) == ("node-1", "node-4")


def lose(system: DistributedSystem, name: str = "ledger") -> None:
    """What a leader that held the node to be dead would have led to."""
    inside = inside_of(system)
    [number] = inside.claims._claims[name]
    inside.member.feed(said.ReleaseName(None, name, number))


@contextmanager
def held_up(system: DistributedSystem) -> Iterator[asyncio.Event]:
    """Requests of a node wait until the event is set."""
    regions, go_on = inside_of(system).regions, asyncio.Event()
    ask = regions.request

    async def waits(event_of: Any) -> Any:
        await go_on.wait()
        return await ask(event_of)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "request", waits)
        yield go_on


async def test_a_name_that_was_lost_is_claimed_again(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster(1) as [only]:
        ref = await ledger(only, "actor")
        await within(only.claim_name("ledger", ref))
        heard = await subscribed(only, NameChanged)
        for _ in range(2):
            lose(only)
            assert (await next_of(heard, NameChanged)).node_id is None
            assert (await next_of(heard, NameChanged)).node_id == "node-1"
        assert await whose(only) == "node-1"
        assert caplog.text.count("/actor has lost the cluster-wide name 'ledger'") == 2
        only.stop(ref)
        await until(lambda: inside_of(only).node.state.name("ledger") is None)
        await until(lambda: not inside_of(only).claims._claims)


async def test_a_name_that_was_lost_to_somebody_else_stays_lost_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with cluster(2) as (one, two):
        await within(one.claim_name("ledger", await ledger(one, "first")))
        with held_up(one) as go_on:
            lose(one)
            await within(two.claim_name("ledger", await ledger(two, "second")))
            go_on.set()
            await until(lambda: not inside_of(one).claims._claims)
        assert await whose(one) == await whose(two) == "node-2"
        [error] = [each for each in caplog.records if each.levelname == "ERROR"]
        assert "/first goes on without the cluster-wide name 'ledger'" in error.getMessage()
        assert "that of /second of node-2; stop the one that is not wanted" in error.getMessage()


async def test_a_name_that_was_lost_is_not_claimed_for_who_has_stopped_or_gives_it_up() -> None:
    async with cluster(1) as [only]:
        names = {"stops": await ledger(only), "gives-up": await ledger(only), "asks": await ledger(only)}
        for name, ref in names.items():
            await within(only.claim_name(name, ref))
        with held_up(only) as go_on:
            for name in names:
                lose(only, name)
            await until(lambda: not any(inside_of(only).node.state.name(name) for name in names))
            only.stop(names["stops"])
            release = asyncio.ensure_future(only.release_name("gives-up"))
            with pytest.raises(ClusterTimeoutError):
                await only.claim_name("asks", names["asks"], timeout=0.01)
            await until(lambda: not inside_of(only).claims._claims)
            go_on.set()
            await within(release)
        await within(only.claim_name("last", await ledger(only)))
        assert [name for name, _ in inside_of(only).node.state.names()] == ["last"]


async def test_a_claim_that_was_given_up_is_not_held_later() -> None:
    async with node("alone", "127.0.0.1:1") as alone:
        with pytest.raises(ClusterTimeoutError, match="'ledger' could not be claimed within"):
            await alone.claim_name("ledger", await ledger(alone), timeout=0.01)
        assert not inside_of(alone).claims._claims
    async with cluster(2) as (one, two):
        ref = await ledger(two)
        claim = asyncio.ensure_future(two.claim_name("ledger", ref))
        await asyncio.sleep(0)  # It is on its way to the leader.
        assert inside_of(two).claims._claims
        claim.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claim
        assert not inside_of(two).claims._claims
        # What that node says next comes after it.
        await within(two.claim_name("other", await ledger(two)))
        await within(one.claim_name("ledger", await ledger(one)))
        assert await whose(two) == "node-1"


async def test_what_cannot_be_claimed_is_refused() -> None:
    async with cluster(2) as (one, two):
        ref = await ledger(one)
        counters = await one.spawn(Counter, name="counters", sharded=True, num_shards=4)
        with pytest.raises(NameTakenError, match="the name of a sharded type"):
            await within(one.claim_name("counters", ref))
        for bad in ("", "a/b", "$1", "_x", "a b", 7):
            with pytest.raises(InvalidNameError):
                await one.claim_name(bad, ref)  # type: ignore[arg-type]
        for other in (await ledger(two), counters["a"], "ref"):
            with pytest.raises(UsageError):
                await one.claim_name("ledger", other)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="timeout of claim_name"):
            await one.claim_name("ledger", ref, timeout=-1)


async def test_a_name_that_was_got_without_being_told_so_is_given_up_when_the_claim_fails() -> None:
    async with cluster(1) as [only]:
        regions = inside_of(only).regions
        ask = regions.request

        async def is_not_told(event_of: Any) -> Any:
            regions.request = ask  # type: ignore[method-assign]
            await ask(event_of)
            assert inside_of(only).node.state.name("ledger") is not None
            await only.spawn(Counter, name="ledger", sharded=True, num_shards=4)
            return said.Unknown("the leader is gone")

        ref = await ledger(only)
        regions.request = is_not_told  # type: ignore[method-assign]
        with pytest.raises(NameTakenError, match="the name of a sharded type"):
            await within(only.claim_name("ledger", ref))
        await until(lambda: inside_of(only).node.state.name("ledger") is None)
        assert not inside_of(only).claims._claims
