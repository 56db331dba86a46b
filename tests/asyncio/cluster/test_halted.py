"""A shard that is halted, because the lease of its owner is over, and goes on when there is a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from casty_asyncio import ActorContext, DeadLetter, DistributedSystem, Reason, ReplicationConfig
from casty_proto.cluster import events

from .node_kit import all_open, cluster, hosting_of, inside_of, next_of, subscribed, until, within
from .things import Played, Say

type Shard = tuple[str, int, int]


async def spawned(system: DistributedSystem, play: Callable[..., Any], **options: Any) -> Any:
    """One entity, and a shard of its own for it."""
    replication = ReplicationConfig(factor=2)
    things = await within(
        system.spawn(Played, name="things", sharded=True, num_shards=1, replication=replication, play=play, **options)
    )
    await all_open([system], "things")
    return things["a"]


def place(system: DistributedSystem) -> Shard:
    """The shard, as the node has it."""
    member = inside_of(system).member
    epoch = member.node.owns("things", 0, member.now())
    assert epoch is not None
    return "things", 0, epoch


async def test_what_an_entity_tells_itself_while_it_is_halted_is_handled_when_it_goes_on() -> None:
    refs: list[Any] = []
    piped: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def play(self: Played, msg: Any, ctx: ActorContext[Any]) -> None:
        self.seen.append(msg.what)
        match msg.what:
            case "begin":
                refs.append(ctx.self)
                ctx.pipe_to_self(piped)
                ctx.schedule("later", Say("timer"), 0.02)
            case "tell":
                ctx.reply(list(self.seen))

    async with cluster(1) as [system]:
        thing = await spawned(system, play)
        hosting, shard = hosting_of(system), place(system)
        await thing.ask(Say("tell"))
        await thing.send(Say("begin"))
        await until(lambda: refs)
        hosting.halt(events.HaltShard(*shard, "the lease of this node is over"))
        piped.set_result(Say("piped"))
        refs[0].tell(Say("told"))
        asked = asyncio.ensure_future(refs[0].ask(Say("tell")))
        await asyncio.sleep(0.1)
        assert not asked.done()
        refs[0].tell(Say("last"))
        hosting.resume(events.ResumeShard(*shard))
        assert await within(asked) == ["tell", "begin", "told", "piped", "tell"]
        assert await thing.ask(Say("tell")) == ["tell", "begin", "told", "piped", "tell", "timer", "last", "tell"]


async def test_what_it_told_itself_becomes_dead_letters_where_somebody_else_has_it() -> None:
    refs: list[Any] = []

    async with cluster(1) as [system]:
        thing = await spawned(system, lambda self, msg, ctx: refs.append(ctx.self))
        hosting, shard = hosting_of(system), place(system)
        await thing.send(Say("begin"))
        await until(lambda: refs)
        probe = await subscribed(system, DeadLetter)
        hosting.halt(events.HaltShard(*shard, "the lease of this node is over"))
        refs[0].tell(Say("told"))
        await asyncio.sleep(0.05)
        hosting.drop(events.DropShard(*shard))
        letter = await next_of(probe, DeadLetter)
        assert (letter.message, letter.reason) == (Say("told"), Reason.STOPPED)


async def test_an_entity_that_is_remembered_and_was_stopped_with_its_shard_is_there_again() -> None:
    began: list[str] = []

    class Remembered(Played):
        async def on_start(self) -> None:
            began.append(self.entity_id)

        async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
            if msg.what == "wait":
                began.append("waits")
                await asyncio.Event().wait()

    def is_there(name: str) -> bool:
        return name in hosting_of(system).shards[name, 0].entities

    async with cluster(1) as [system]:
        for early in (True, False):
            name = f"early-{early}"
            things = await within(
                system.spawn(
                    Remembered,
                    name=name,
                    sharded=True,
                    num_shards=1,
                    replication=ReplicationConfig(factor=2),
                    remember=True,
                    play=lambda *_: None,
                )
            )
            await all_open([system], name)
            member = inside_of(system).member
            epoch = member.node.owns(name, 0, member.now())
            assert epoch is not None
            things[name].tell(Say("wait"))
            await until(lambda: "waits" in began)
            hosting_of(system).halt(events.HaltShard(name, 0, epoch, "the lease of this node is over"))
            if not early:
                await until(partial(lambda name: not is_there(name), name))
            hosting_of(system).resume(events.ResumeShard(name, 0, epoch))
            await until(lambda: len(began) == 3)
            assert began == [name, "waits", name]
            began.clear()
