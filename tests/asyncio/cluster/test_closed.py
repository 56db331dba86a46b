"""Clusters that let nobody else in: with certificates, with a secret, and with named messages only."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
import trustme
from attrs import frozen

from casty_asyncio import Actor, ActorContext, AskError, ClusterTimeoutError, NotSendableError, Remote, message
from casty_asyncio.cluster.shards import Life
from tests.asyncio.transport.kit import contexts

from .node_kit import all_open, cluster, hosting_of, ids_at, inside_of, joined, node, until, within
from .things import Add, Counter, Say


@message(name="tests.cluster.named")
@frozen
class Named:
    """A message that has a name."""

    what: Any = None


class Echo(Actor[Any]):
    """Says what it was told."""

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        ctx.reply(msg)


async def test_nodes_with_certificates_of_one_authority_form_a_cluster_and_others_stay_out() -> None:
    authority = trustme.CA()
    tls = contexts(authority, authority, "127.0.0.1")
    async with cluster(3, tls=tls, secret="s3cret") as systems:
        refs = [await each.spawn(Counter, name="things", sharded=True, num_shards=8) for each in systems]
        await all_open(systems, "things")
        for each in systems:
            [thing] = ids_at(each, "things", 1)
            for number, ref in enumerate(refs, 1):
                assert await within(ref[thing].ask(Add())) == number
        stranger = trustme.CA()
        async with node(
            "stranger", systems[0], tls=contexts(stranger, stranger, "127.0.0.1"), secret="s3cret"
        ) as other:
            with pytest.raises(ClusterTimeoutError):
                await other.wait_for(1, 0.3)
        async with node("open", systems[0], secret="s3cret") as other:
            with pytest.raises(ClusterTimeoutError):
                await other.wait_for(1, 0.3)
        assert len(systems[0].members) == 3


async def test_a_strict_cluster_takes_named_messages_and_no_others() -> None:
    strict = Remote(strict=True)
    async with node("node-1", remote=strict) as first, node("node-2", first, remote=strict) as second:
        await joined(first, second)
        refs = [await each.spawn(Echo, name="things", sharded=True, num_shards=8) for each in (first, second)]
        await all_open([first, second], "things")
        for each in (first, second):
            [thing] = ids_at(each, "things", 1)
            for ref in refs:
                assert await within(ref[thing].ask(Named((1, "a", ref["other"])))) == Named((1, "a", ref["other"]))
                with pytest.raises((NotSendableError, AskError), match="Say"):
                    await within(ref[thing].ask(Say("?")))


async def test_a_cluster_works_with_the_limits_of_its_connections() -> None:
    small = Remote(max_message=65536)
    async with node("node-1", remote=small) as first, node("node-2", first, remote=small) as second:
        await joined(first, second)
        refs = [await each.spawn(Echo, name="things", sharded=True, num_shards=8) for each in (first, second)]
        await all_open([first, second], "things")
        for each in (first, second):
            [thing] = ids_at(each, "things", 1)
            for ref in refs:
                assert await within(ref[thing].ask(Named("x" * 40_000))) == Named("x" * 40_000)
                with pytest.raises(NotSendableError, match="the limit is"):
                    await within(ref[thing].ask(Named("x" * 70_000)))


async def test_many_messages_that_waited_are_not_sent_as_one_that_is_too_long() -> None:
    small = Remote(max_message=65536)
    async with node("node-1", remote=small) as first, node("node-2", first, remote=small, leave_timeout=0.2) as second:
        await joined(first, second)
        lanes = inside_of(first).lanes
        await second.spawn(Echo, name="things", sharded=True, num_shards=8)
        await until(lambda: first.lookup("things").ref is not None)
        await all_open([second], "things")
        things = first.lookup("things").ref
        assert things is not None
        # What is lost is sent again, and all that has come since with it.
        send, lanes.send = lanes.send, lambda to, message: None  # type: ignore[method-assign]
        for _ in range(20):
            things["a"].tell(Named("x" * 30_000))
        lanes.send = send  # type: ignore[method-assign]
        assert await within(things["a"].ask(Named("end"))) == Named("end")


async def test_a_message_nearly_as_long_as_the_limit_either_arrives_or_is_the_senders_error() -> None:
    small = Remote(max_message=16384)
    async with node("node-1", remote=small) as first, node("node-2", first, remote=small) as second:
        await joined(first, second)
        refs = [await each.spawn(Echo, name="things", sharded=True, num_shards=8) for each in (first, second)]
        await all_open([first, second], "things")
        [thing] = ids_at(second, "things", 1)
        for length in range(15_800, 16_400, 25):
            with suppress(NotSendableError):
                await refs[0][thing].send(Named("x" * length))
        assert await within(refs[0][thing].ask(Named("end"))) == Named("end")


async def test_what_is_handed_over_may_be_longer_than_a_message_of_a_node() -> None:
    """Of many states, and of messages that wait, as many go together as fit."""
    go_on = asyncio.Event()

    class Sum(Actor[Any]):
        def __init__(self, entity_id: str) -> None:
            self.first = ""
            self.length = 0

        async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
            match msg.what:
                case "wait":
                    await go_on.wait()
                case "length":
                    ctx.reply((len(self.first), self.length))
                case text:
                    self.first = self.first or text
                    self.length += len(text)

    small = Remote(max_message=65536)
    async with node("node-1", remote=small) as first:
        things = await within(first.spawn(Sum, name="things", sharded=True, num_shards=1))
        await all_open([first], "things")
        for number in range(20):
            await within(things[f"e{number}"].send(Named("x" * 30_000)))
        for entity in ("e0", "new"):
            things[entity].tell(Named("wait"))
            for _ in range(30):
                things[entity].tell(Named("y" * 10_000))
        async with node("node-2", first, remote=small) as second:
            await joined(first, second)
            await within(second.spawn(Sum, name="things", sharded=True, num_shards=1))
            there = await within(second.lookup("things"))
            leaving = asyncio.ensure_future(first.shutdown())
            await until(lambda: [shard.life for shard in hosting_of(first).shards.values()] == [Life.CLOSING])
            go_on.set()
            lengths = [await within(there[name].ask(Named("length"), 20.0)) for name in ("e0", "e1", "new")]
            assert lengths == [(30_000, 330_000), (30_000, 30_000), (10_000, 300_000)]
            await leaving
