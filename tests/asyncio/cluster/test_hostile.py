"""What clients, other nodes and handlers do that nobody should."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from casty_asyncio import ActorContext, Mailbox, MailboxFullError, MailboxOverflowStrategy
from casty_asyncio.cluster.client_wire import Deliver, Watch
from casty_asyncio.cluster.items import Form
from casty_proto.cluster import events as said

from .node_kit import cluster, hosting_of, inside_of, within
from .things import Add, Counter, Get, Played, Say

# -- answers that nobody takes -----------------------------------------------------------------------------------------


async def test_an_ask_whose_handle_takes_no_answer_harms_nobody_else() -> None:
    """A handle is what a client says that it is; this one is the ref of a whole type."""
    async with cluster(1) as (only,):
        counters = await only.spawn(Counter, name="counters", sharded=True)
        items, member = hosting_of(only).items, inside_of(only).member
        handle = items._refs.encode(counters)
        data = items._encode(("a", int(Form.ASK), None, handle, Add(3)))
        member.feed(said.Tell(None, "counters", member.node.shard_of("counters", "a"), data))
        assert await within(counters["a"].ask(Get())) == 3


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
        for what in ("flood", "first", "second"):
            things["a"].tell(Say(what))
        assert await within(things["a"].ask(Say("third"))) == "third"
