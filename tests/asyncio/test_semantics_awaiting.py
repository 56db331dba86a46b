"""Semantics 4: a handler that awaits holds up nobody, and what asyncio offers to a task works in handlers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_asyncio import ActorSystem

from .probe import Probe, within
from .styles import Life, Script, Style, Turn, both


@both
async def test_semantics_4_a_handler_that_awaits_holds_up_no_other_actor(style: Style) -> None:
    go_on = asyncio.Event()

    async def wait(turn: Turn, message: Any) -> None:
        await go_on.wait()
        turn.answer(message)

    async def answer(turn: Turn, message: Any) -> None:
        turn.answer(message)

    async with ActorSystem() as system:
        waiting = [asyncio.ensure_future(style.ask(system, await style.spawn(system, Script(wait)), n)) for n in (1, 2)]
        other = await style.spawn(system, Script(answer))
        for number in range(100):
            assert await within(style.ask(system, other, number)) == number
        assert not any(each.done() for each in waiting)
        go_on.set()
        assert await within(asyncio.gather(*waiting)) == [1, 2]


@both
async def test_semantics_4_a_start_and_a_stop_that_await_hold_up_no_other_actor(style: Style) -> None:
    go_on = asyncio.Event()

    async def hook(life: Life) -> None:
        await go_on.wait()

    async def answer(turn: Turn, message: Any) -> None:
        turn.answer(message)

    async with ActorSystem() as system:
        other = await style.spawn(system, Script(answer))
        starting = asyncio.ensure_future(style.spawn(system, Script(answer, start=hook), "slow"))
        stopping = await style.spawn(system, Script(answer, stop=hook))
        system.stop(stopping)
        for number in range(100):
            assert await within(style.ask(system, other, number)) == number
        assert system.lookup("slow").ref is not None
        go_on.set()
        await within(starting)
        await within(system.wait_stopped(stopping))


@both
async def test_semantics_4_an_actor_may_ask_others_in_its_handler(style: Style) -> None:
    async def relay(turn: Turn, message: Any) -> None:
        depth, bottom = message
        if depth == 0:
            turn.answer(bottom)
            return
        below = await style.spawn(turn.ctx, Script(relay))
        turn.answer(await style.ask(turn.ctx.system, below, (depth - 1, bottom)))

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(relay))
        assert await within(style.ask(system, ref, (50, "deep"))) == "deep"


@both
async def test_semantics_4_current_task_is_one_task_before_and_after_every_suspension(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        tasks = [asyncio.current_task()]
        for _ in range(3):
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
            await style.ask(turn.ctx.system, echo, "x")
            tasks.append(asyncio.current_task())
        task = tasks[0]
        assert task is not None
        turn.answer((len(set(tasks)), task.cancelling(), task in asyncio.all_tasks()))

    async with ActorSystem() as system:
        echo = await style.spawn(system, Script(lambda turn, message: turn.answer(message)))
        ref = await style.spawn(system, Script(receive))
        for _ in range(3):
            assert await within(style.ask(system, ref, "go")) == (1, 0, True)


@both
async def test_semantics_4_a_timeout_in_a_handler_ends_what_it_is_around_and_nothing_else(style: Style) -> None:
    never = asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        if message == "next":
            await asyncio.sleep(0)
            turn.answer("next")
            return
        if message == "suspended before":
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await never.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(never.wait(), 0.001)
        async with asyncio.timeout(None):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        turn.answer(task.cancelling())

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        for message in ("at once", "suspended before"):
            asking = asyncio.ensure_future(style.ask(system, ref, message))
            following = asyncio.ensure_future(style.ask(system, ref, "next"))
            assert await within(asking) == 0
            assert await within(following) == "next"


@both
async def test_semantics_4_a_timeout_around_an_ask_in_a_handler_works(style: Style) -> None:
    go_on = asyncio.Event()

    async def wait(turn: Turn, message: Any) -> None:
        await go_on.wait()

    async def receive(turn: Turn, message: Any) -> None:
        try:
            async with asyncio.timeout(0.001):
                await style.ask(turn.ctx.system, slow, "x")
        except TimeoutError:
            turn.answer("gave up")

    async with ActorSystem() as system:
        slow = await style.spawn(system, Script(wait))
        ref = await style.spawn(system, Script(receive))
        assert await within(style.ask(system, ref, "go")) == "gave up"
        go_on.set()


@both
async def test_semantics_4_a_task_group_in_a_handler_runs_its_tasks_and_gathers_their_failures(style: Style) -> None:
    cancelled: list[str] = []

    async def forever(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(name)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("one of them")

    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def failing_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(forever("a"))
            group.create_task(fail())
            await forever("body")

    async def receive(turn: Turn, message: Any) -> None:
        if message == "suspended before":
            await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(double(number)) for number in range(3)]
        with pytest.raises(ExceptionGroup) as caught:
            await failing_group()
        task = asyncio.current_task()
        assert task is not None
        turn.answer(([task.result() for task in tasks], len(caught.value.exceptions), task.cancelling()))

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        for message in ("at once", "suspended before"):
            assert await within(style.ask(system, ref, message)) == ([0, 2, 4], 1, 0)
            assert sorted(cancelled) == ["a", "body"]
            cancelled.clear()


@both
async def test_semantics_4_locks_threads_and_gather_work_in_handlers(style: Style) -> None:
    lock = asyncio.Lock()

    async def receive(turn: Turn, message: Any) -> None:
        async with lock:
            two = await asyncio.gather(asyncio.sleep(0, 1), asyncio.to_thread(lambda: 2))
        turn.answer([*two, await asyncio.shield(asyncio.sleep(0, 3))])

    async with ActorSystem() as system:
        refs = [await style.spawn(system, Script(receive)) for _ in range(5)]
        answers = await within(asyncio.gather(*(style.ask(system, ref, "go") for ref in refs)))
        assert answers == [[1, 2, 3]] * 5


@both
async def test_semantics_4_a_handler_may_wait_for_what_its_own_actor_is_told_by_others(style: Style) -> None:
    """The mailbox goes on filling while the handler waits, and is worked off afterwards."""
    go_on = asyncio.Event()

    async with ActorSystem() as system:
        probe = Probe(system)

        async def receive(turn: Turn, message: Any) -> None:
            if message == "wait":
                await go_on.wait()
            probe.ref.tell(message)

        ref = await style.spawn(system, Script(receive))
        ref.tell("wait")
        for number in range(3):
            await asyncio.sleep(0)
            ref.tell(number)
        assert await probe.all() == []
        go_on.set()
        assert [await probe.next() for _ in range(4)] == ["wait", 0, 1, 2]
