"""Semantics 1: one message at a time per actor, and from one sender in the order sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import Actor, ActorRef, ActorSystem, Context, SupervisionStrategy, Terminated

from .probe import Probe, within
from .styles import RESTARTS, Script, Style, Turn, both, found


class Monitor:
    """Counts how many pieces of one actor's code are being run at the same time."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0

    async def pause(self, times: int) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(times):
            await asyncio.sleep(0)
        self.inside -= 1


@both
async def test_semantics_1_an_actor_handles_one_message_at_a_time(style: Style) -> None:
    monitor = Monitor()

    async def receive(turn: Turn, message: Any) -> None:
        if message == "end":
            turn.answer(None)
        else:
            await monitor.pause(message % 4)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        for number in range(200):
            ref.tell(number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        await within(style.ask(system, ref, "end"))
    assert monitor.most == 1


@both
async def test_semantics_1_hooks_and_messages_are_handled_one_at_a_time_too(style: Style) -> None:
    monitor = Monitor()

    async def receive(turn: Turn, message: Any) -> None:
        await monitor.pause(2)
        match message:
            case "fail":
                raise ValueError(message)
            case "end":
                turn.answer(None)

    script = Script(
        receive,
        start=lambda life: monitor.pause(3),
        stop=lambda life: monitor.pause(3),
        pre_restart=lambda life, exc, msg: monitor.pause(3),
        post_restart=lambda life, exc: monitor.pause(3),
    )
    async with ActorSystem() as system:
        ref = await style.spawn(system, script, supervision=RESTARTS)
        for message in ("a", "fail", "b", "fail", "c"):
            ref.tell(message)
        await within(style.ask(system, ref, "end"))
        assert script.lives == 3
    assert (monitor.most, monitor.inside) == (1, 0)


@both
async def test_semantics_1_a_notice_waits_for_the_message_in_hand(style: Style) -> None:
    monitor = Monitor()
    order: list[Any] = []
    go_on = asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        order.append(type(message) if isinstance(message, Terminated) else message)
        await monitor.pause(1)
        match message:
            case "watch":
                child = await style.spawn(turn.ctx, Script())
                turn.ctx.watch(child)
                turn.ctx.stop(child)
                await turn.ctx.system.wait_stopped(child)
                await go_on.wait()
            case "end":
                turn.answer(None)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        ref.tell("watch")
        ref.tell("next")
        go_on.set()
        await within(style.ask(system, ref, "end"))
        await within(style.ask(system, ref, "end"))
    assert order == ["watch", "next", "end", Terminated, "end"]
    assert monitor.most == 1


async def test_semantics_1_a_failing_child_waits_for_the_message_that_its_parent_has_in_hand() -> None:
    monitor = Monitor()
    order: list[str] = []
    failed = asyncio.Event()

    class Child(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            failed.set()
            raise ValueError(msg)

        async def pre_restart(self, exc: Exception, msg: str | None) -> None:
            order.append("restarts")

    class Parent(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            order.append(msg)
            if msg == "begin":
                self.child = await ctx.spawn(Child, supervision=RESTARTS)
                self.child.tell("fail")
                await failed.wait()
                await monitor.pause(10)
                order.append("over")
            else:
                ctx.reply(None)

        async def on_child_failure(self, child: ActorRef[Any], exc: Exception) -> SupervisionStrategy:
            order.append("asked")
            await monitor.pause(10)
            return SupervisionStrategy.RESTART

    async with ActorSystem() as system:
        ref = await system.spawn(Parent)
        ref.tell("begin")
        await within(ref.ask("next"))
        await within(ref.ask("last"))
        assert order[:3] == ["begin", "over", "asked"]
        assert monitor.most == 1


@both
async def test_semantics_1_messages_from_one_sender_arrive_in_the_order_sent(style: Style) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)

        async def forward(turn: Turn, message: Any) -> None:
            probe.ref.tell(message)

        async def send(turn: Turn, message: Any) -> None:
            target, name = message
            for number in range(50):
                target.tell((name, number))
                if number % 3 == 0:
                    await asyncio.sleep(0)

        receiver = await style.spawn(system, Script(forward))
        for name in ("a", "b", "c"):
            (await style.spawn(system, Script(send))).tell((receiver, name))
        arrived = [await probe.next() for _ in range(150)]
    for name in ("a", "b", "c"):
        assert [number for who, number in arrived if who == name] == list(range(50))
    assert [who for who, _ in arrived] != sorted(who for who, _ in arrived), "the senders did take turns"


@both
async def test_semantics_1_tell_send_and_ask_keep_their_order_among_each_other(style: Style) -> None:
    order: list[Any] = []

    async def receive(turn: Turn, message: Any) -> None:
        order.append(message)
        if message == "ask":
            turn.answer(len(order))

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        ref.tell("tell")
        await ref.send("send")
        assert await within(style.ask(system, ref, "ask")) == 3
        await ref.send("send")
        ref.tell("tell")
        assert await within(style.ask(system, ref, "ask")) == 6
    assert order == ["tell", "send", "ask", "send", "tell", "ask"]


@both
async def test_semantics_1_what_is_told_during_the_start_comes_after_it_in_order(style: Style) -> None:
    order: list[Any] = []
    go_on = asyncio.Event()

    async def start(life: Any) -> None:
        life.ctx.self.tell("by itself")
        await go_on.wait()
        order.append("started")

    async def receive(turn: Turn, message: Any) -> None:
        order.append(message)
        if message == "ask":
            turn.answer(None)

    async with ActorSystem() as system:
        spawning = asyncio.ensure_future(style.spawn(system, Script(receive, start=start), "late"))
        ref = await found(system, "late")
        for number in range(5):
            ref.tell(number)
        asking = asyncio.ensure_future(style.ask(system, ref, "ask"))
        await asyncio.sleep(0)
        assert order == []
        go_on.set()
        assert await within(spawning) == ref
        await within(asking)
    assert set(order[1:3]) <= {"by itself", 0, 1}
    assert order[0] == "started"
    assert [each for each in order if each not in ("started", "by itself")] == [0, 1, 2, 3, 4, "ask"]


@pytest.mark.parametrize("suspends", [False, True])
@both
async def test_semantics_1_order_holds_over_more_messages_than_a_turn_has(style: Style, suspends: bool) -> None:
    order: list[int] = []

    async def receive(turn: Turn, message: Any) -> None:
        if message == "end":
            turn.answer(None)
            return
        if suspends and message % 5 == 0:
            await asyncio.sleep(0)
        order.append(message)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        for number in range(1000):
            ref.tell(number)
        await within(style.ask(system, ref, "end"))
    assert order == list(range(1000))
