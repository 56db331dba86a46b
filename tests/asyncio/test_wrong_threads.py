"""Other threads without the bridge: what is refused there, and what is left as it was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    Context,
    UsageError,
    WrongThreadError,
)

from .probe import Probe, within


@frozen
class Get:
    reply_to: ActorRef[str]


def answering() -> Behavior[Any]:
    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        match message:
            case Get(reply_to):
                reply_to.tell("got")
            case "fail":
                raise ValueError("as asked")
            case "nothing":
                pass
            case "stop":
                return Behaviors.stopped()
            case _:
                await asyncio.sleep(0)
                ctx.reply((message, threading.get_ident()))
        return Behaviors.same()

    return Behaviors.receive(receive)


async def elsewhere(call: Callable[[], Any]) -> Any:
    """Call in another thread, and get what comes out of it."""
    return await within(asyncio.to_thread(call))


# -- without the bridge ------------------------------------------------------------------------------------------------


async def test_in_the_thread_of_the_loop_a_blocking_ask_is_refused_and_the_rest_works() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        bridge = system.threadsafe
        with pytest.raises(WrongThreadError, match=r"await ref.ask"):
            bridge.ask(probe.ref, "question")
        with pytest.raises(WrongThreadError, match=r"await ref.ask"):
            bridge.ask_with(probe.ref, lambda r: Get(reply_to=r))
        bridge.tell(probe.ref, "hello")
        assert await probe.next() == "hello"
        assert await probe.all() == []


async def test_a_tell_from_a_wrong_thread_that_would_have_to_wake_the_actor_is_refused_and_changes_nothing() -> None:
    async with ActorSystem() as system:
        probe = Probe(system, "probe")
        await probe.all()
        await idle(system)
        for _ in range(3):
            with pytest.raises(WrongThreadError, match=r"a message to /probe was sent from another thread; use system"):
                await elsewhere(lambda: probe.ref.tell("refused"))
        for number in range(3):
            probe.ref.tell(number)
        assert await probe.take(3) == [0, 1, 2]
        assert await probe.all() == []
        assert system.dead_letters == 0


async def idle(system: ActorSystem) -> None:
    """Wait until no worker is active: only then does a message have to wake one."""
    assert system._running is not None
    pool = system._running.pool
    async with asyncio.timeout(5):
        while pool.active is not None:  # noqa: ASYNC110 - there is no event for it, and it takes two turns of the loop
            await asyncio.sleep(0)


async def test_after_refused_tells_from_many_threads_the_actor_still_works() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        await probe.all()
        await idle(system)

        def work() -> int:
            refused = 0
            for _ in range(200):
                try:
                    probe.ref.tell("wrong")
                except WrongThreadError:
                    refused += 1
            return refused

        refused = sum(await within(asyncio.gather(*(asyncio.to_thread(work) for _ in range(4)))))
        found = await probe.all()
        assert refused + len(found) == 800
        assert refused > 0
        assert await probe.all() == []


class Silent(Actor[str]):
    async def receive(self, msg: str, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    "call",
    [
        lambda system, ref: system.spawn(answering()),
        lambda system, ref: asyncio.run(ref.ask("question")),
        lambda system, ref: asyncio.run(system.ask(ref, lambda r: "question")),
        lambda system, ref: system.stop(ref),
        lambda system, ref: system.lookup("ref"),
        lambda system, ref: system.schedule("key", ref, "message", 1.0),
        lambda system, ref: system.tick("key", ref, "message", 1.0),
        lambda system, ref: system.cancel_schedule("key"),
        lambda system, ref: system.event_stream,
        lambda system, ref: asyncio.run(system.wait_stopped(ref)),
    ],
)
async def test_everything_else_from_a_wrong_thread_is_refused_and_changes_nothing(call: Any) -> None:
    async with ActorSystem() as system:
        ref = system.spawn(answering(), "ref")
        await ref.ask("begun?")
        with pytest.raises(WrongThreadError, match=r"use system\.threadsafe there"):
            await elsewhere(lambda: call(system, ref))
        assert system._running is not None
        assert list(system._running.machine.user.children or ()) == ["ref"]
        assert len(system._running.timers) == 0
        assert (await ref.ask("still there?"))[0] == "still there?"


async def test_a_context_is_refused_in_a_wrong_thread() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)

        def start(ctx: ActorContext[Any]) -> Behavior[Any]:
            async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
                for call in (
                    lambda: ctx.spawn(answering()),
                    lambda: ctx.stop(),
                    lambda: ctx.watch(ctx.self),
                    lambda: ctx.tick("key", "message", 1.0),
                    lambda: ctx.pipe_to_self(asyncio.Event().wait()),
                ):
                    with pytest.raises((WrongThreadError, UsageError)):
                        await asyncio.to_thread(call)
                probe.ref.tell((len(ctx.children), ctx.cancel_schedule("key")))
                return Behaviors.same()

            return Behaviors.receive(receive)

        system.spawn(Behaviors.setup(start)).tell("go")
        assert await probe.next() == (0, False)


def test_a_system_that_outlives_its_loop_says_so() -> None:
    async def main() -> tuple[ActorSystem, ActorRef[Any]]:
        system = ActorSystem("old")
        ref = system.spawn(answering())
        await ref.ask("begun?")
        return system, ref

    system, ref = asyncio.run(main())

    async def again() -> None:
        calls: tuple[Callable[[], Any], ...] = (
            lambda: system.spawn(answering()),
            lambda: system.lookup("x"),
            lambda: system.schedule("key", ref, "message", 1.0),
        )
        for call in calls:
            with pytest.raises(UsageError, match="the event loop of actor system 'old' has ended; create a system"):
                call()
        with pytest.raises(UsageError, match="the event loop of actor system 'old' has ended"):
            await ref.ask("question")

    asyncio.run(again())
