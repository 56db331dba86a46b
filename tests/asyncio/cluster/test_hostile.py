"""What clients, other nodes and handlers do that nobody should."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    ActorFailedError,
    Mailbox,
    MailboxFullError,
    MailboxOverflowStrategy,
    NotHandledError,
    ReplicationConfig,
)
from casty_asyncio.cluster.client_wire import Deliver, Watch
from casty_asyncio.cluster.cluster import Cluster
from casty_asyncio.cluster.gateway import Gateway
from casty_asyncio.cluster.items import Form
from casty_proto.cluster import events as said
from casty_proto.cluster.messages import Envelope, Expelled, JoinRequest, OpenOrders
from casty_proto.cluster.records import NodeInfo

from .node_kit import cluster, hosting_of, inside_of, node, until, within
from .things import Add, Counter, Get, Played, Say

# -- answers that nobody takes -----------------------------------------------------------------------------------------


async def test_an_ask_whose_handle_takes_no_answer_harms_nobody_else() -> None:
    """A handle is what a client says that it is: one of this process that is none, or of another that is not there."""
    async with cluster(1) as (only,):
        counters = await only.spawn(Counter, name="counters", sharded=True)
        items, member = hosting_of(only).items, inside_of(only).member
        own = items._refs.origin
        for origin, number in (
            (own, 2**63 + 999),
            (own, 2**64 - 1),
            ("1 127.0.0.1:1 nobody", 2**63),
            ("1  nobody", 2**63),
        ):
            data = items._encode(("a", int(Form.ASK), None, origin, number, Add(3)))
            member.feed(said.Tell(None, "counters", member.node.shard_of("counters", "a"), data))
        assert await within(counters["a"].ask(Get())) == 12


@pytest.mark.parametrize(
    ("origin", "number"),
    [
        *(("", 2**63), ("1 127.0.0.1:1", 2**63), ("x 127.0.0.1:1 nobody", 2**63), ("-1 127.0.0.1:1 nobody", 2**63)),
        *(("1 127.0.0.1:1 ", 2**63), ("1 nowhere nobody", 2**63), (1, 2**63), ([], 2**63), (b"", 2**63)),
        *(("1 127.0.0.1:1 nobody", 1), ("1 127.0.0.1:1 nobody", -1), ("1 127.0.0.1:1 nobody", 2**64)),
        ("1 127.0.0.1:1 nobody", None),
    ],
)
async def test_an_ask_whose_handle_is_none_is_not_handled(origin: Any, number: Any) -> None:
    async with cluster(1) as (only,):
        counters = await only.spawn(Counter, name="counters", sharded=True)
        items, member = hosting_of(only).items, inside_of(only).member
        data = items._encode(("a", int(Form.ASK), None, origin, number, Add(3)))
        member.feed(said.Tell(None, "counters", member.node.shard_of("counters", "a"), data))
        assert await within(counters["a"].ask(Get())) == 0


async def test_a_client_that_takes_no_answer_does_not_break_the_gateway() -> None:
    async with cluster(1) as (only,):
        counters: Any = await only.spawn(Counter, name="counters", sharded=True)
        gateway: Any = only._service("_gateway")
        gateway.tell(Watch(0, counters))
        gateway.tell(Watch(2**62, counters))
        gateway.tell(Deliver("counters", "a", b"rubbish", counters))
        gateway.tell(Deliver("nothing", "a", b"rubbish", counters))
        news = await only.ask(gateway, lambda reply_to: Watch(0, reply_to))
        assert [region.name for region in news.regions] == ["counters"]
        assert inside_of(only).gateway.delivered == 2
        assert await within(counters["a"].ask(Get())) == 0
    assert only.address is None, "the shutdown, which answers whoever still waits, has come to its end"


# -- names -------------------------------------------------------------------------------------------------------------


async def test_a_node_remembers_no_types_that_strangers_have_named() -> None:
    async with cluster(1) as (only,):
        inside = inside_of(only)
        refs = inside.remoting.refs
        for number in range(100):
            refs.decode(("$entity", 0, f"nothing-{number}", "a", 0))
        assert not inside.regions._regions
        refs.decode(("$entity", 0, "later", "a", 0)).tell(Add(3))
        assert list(inside.regions._regions) == ["later"], "what waits for a type is not forgotten"
        later = await only.spawn(Counter, name="later", sharded=True)
        assert await within(later["a"].ask(Get())) == 3


async def test_messages_wait_for_a_limited_number_of_unknown_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casty_asyncio.cluster.regions.WAITED_FOR_MAX", 5)
    async with cluster(1) as (only,):
        inside = inside_of(only)
        for number in range(10):
            inside.remoting.refs.decode(("$entity", 0, f"nothing-{number}", "a", 0)).tell(Add())
        assert len(inside.regions.waited_for) == 5


async def test_so_many_bytes_wait_for_all_unknown_types_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(1) as (only,):
        decode = inside_of(only).remoting.refs.decode
        one, other = (decode(("$entity", 0, name, "a", 0)) for name in ("one", "other"))
        one.tell(Add(1))
        monkeypatch.setattr("casty_asyncio.cluster.regions.WAITING_BYTES", 1)
        with pytest.raises(NotHandledError, match="too much waits"):
            await within(other.ask(Add(1), timeout=0.1))
        counters = await only.spawn(Counter, name="one", sharded=True)
        assert await within(counters["a"].ask(Get())) == 1
        other.tell(Add(2))
        counters = await only.spawn(Counter, name="other", sharded=True)
        assert await within(counters["a"].ask(Get())) == 2, "one waits, whatever its size"


@pytest.mark.parametrize(
    "sent",
    [
        ("$entity", 0, "a\nline", "a", 0),
        ("$entity", 0, "", "a", 0),
        ("$entity", 0, "x" * 1000, "a", 0),
        ("$entity", 0, "counters", "", 0),
        ("$entity", 0, "counters", "\x00a", 0),
        ("$region", 0, "\x1b[31m", "", 0),
        ("$other", 0, "counters", "", 0),
    ],
)
async def test_what_names_no_entity_is_no_ref(sent: Any) -> None:
    async with cluster(1) as (only,):
        with pytest.raises(ValueError, match=r"that is none|no kind of ref"):
            inside_of(only).remoting.refs.decode(sent)


async def test_nobody_writes_lines_of_his_own_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "casty")
    async with cluster(1) as (only,):
        member = inside_of(only).member
        evil = "a\nCRITICAL \x1b[31mall is lost"
        joining = JoinRequest(NodeInfo(evil, 1, "127.0.0.1:1", ()))
        member.received(Envelope(f"{evil}.1", "127.0.0.1:1", f"{evil}.1", None, OpenOrders(1)))
        member.received(Envelope(f"{evil}.1", "127.0.0.1:1", "", None, joining))
        await within(only.wait_for(2))
        member.received(Envelope("b.1", "127.0.0.1:2", member.node.cluster, None, Expelled(member.node.key, evil)))
        await until(inside_of(only).views.gone.is_set)
    said_of_it = [line for line in caplog.messages if "all is lost" in line]
    assert len(said_of_it) >= 3
    assert all(line.isprintable() for line in said_of_it)


@pytest.mark.parametrize("entity", ["a", "", "\x00a", "$singleton", "x" * 5000])
async def test_an_entity_is_never_in_a_shard_that_it_does_not_belong_to(entity: str) -> None:
    """The item says for whom it is, and the client says to which shard it goes."""
    async with cluster(1) as (only,):
        counters = await only.spawn(Counter, name="counters", sharded=True, num_shards=2)
        hosting, member = hosting_of(only), inside_of(only).member
        other = 1 - member.node.shard_of("counters", entity)
        data = hosting.items._encode((entity, int(Form.TELL), None, None, 0, Add(3)))
        member.feed(said.Tell(None, "counters", other, data))
        assert await within(counters["a"].ask(Get())) == 0
        assert entity not in hosting.shards["counters", other].entities


# -- handlers ----------------------------------------------------------------------------------------------------------


def floods_itself(_: Any, msg: Any, ctx: ActorContext[Any]) -> None:
    """Fills its mailbox, or answers."""
    if msg.what == "flood":
        for _ in range(5):
            with suppress(MailboxFullError):
                ctx.self.tell(Say("own"))
    elif msg.what != "own":
        ctx.reply(msg.what)


@pytest.mark.parametrize("strategy", list(MailboxOverflowStrategy))
async def test_an_entity_goes_on_whose_mailbox_is_full_of_its_own_messages(strategy: MailboxOverflowStrategy) -> None:
    async with cluster(1) as (only,):
        things = await only.spawn(Played, name="things", sharded=True, play=floods_itself, mailbox=Mailbox(2, strategy))
        for what in ("flood", "first"):
            things["a"].tell(Say(what))
        assert await within(things["a"].ask(Say("second"))) == "second"


class Cancels(Counter):
    """Its state cannot be taken."""

    def get_state(self) -> Any:
        raise asyncio.CancelledError


async def test_whoever_asks_is_told_that_taking_the_state_was_cancelled() -> None:
    async with cluster(1) as (only,):
        replication = ReplicationConfig(factor=2, sync_count=0)
        things = await only.spawn(Cancels, name="things", sharded=True, replication=replication)
        with pytest.raises(ActorFailedError, match="CancelledError"):
            await within(things["a"].ask(Add(), timeout=2.0))


# -- the beginning and the end -----------------------------------------------------------------------------------------


async def test_what_is_said_to_a_node_that_has_not_begun_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens already while it finds out which of its seeds it is itself."""
    known_seeds = Cluster._known_seeds

    async def spoken_to(self: Cluster, seeds: Any, own: Any) -> tuple[str, ...]:
        self._received("rubbish")
        self._lost("127.0.0.1:1")
        return await known_seeds(self, seeds, own)

    monkeypatch.setattr(Cluster, "_known_seeds", spoken_to)
    async with node("early") as early:
        await within(early.wait_for(1))


async def test_a_shutdown_that_cannot_leave_the_cluster_closes_everything_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails(self: Gateway, timeout: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Gateway, "drain", fails)
    only = node("only")
    await only.start()
    with pytest.raises(ZeroDivisionError):
        await only.shutdown()
    assert only.address is None
