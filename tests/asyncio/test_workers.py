"""Workers: a few tasks run all actors, and what a handler does to its task is seen by nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorFailedError,
    ActorRef,
    ActorSystem,
    Behaviors,
    Context,
    HandlerCancelledError,
    SupervisionStrategy,
    Terminated,
)
from casty_asyncio.workers import MAX_IDLE

from .probe import Probe, within
from .styles import RESTARTS, Life, Script, Style, Turn, both, eager_tasks, runtime_of

mark: ContextVar[Any] = ContextVar("mark", default="nothing")


def see(turn: Turn, message: Any) -> None:
    turn.answer(mark.get())


# -- context variables (rule 4) ----------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("before", [False, True], ids=["after an await", "before an await"])
async def test_rule_4_what_a_handler_sets_is_seen_by_no_other_actor_nor_by_the_next_message(
    style: Style, before: bool
) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        seen = mark.get()
        if not before:
            await asyncio.sleep(0)
        mark.set(message)
        if before:
            await asyncio.sleep(0)
        assert mark.get() == message, "the handler itself keeps it over a suspension"
        turn.answer(seen)

    async with ActorSystem() as system:
        refs = [await style.spawn(system, Script(receive)) for _ in range(3)]
        refs.append(await style.spawn(system, Script(see)))
        asks = [style.ask(system, ref, f"mark {number}") for number in range(10) for ref in refs]
        assert set(await within(asyncio.gather(*asks))) == {"nothing"}
    assert mark.get() == "nothing"


@both
async def test_rule_4_a_handler_that_never_suspends_leaves_no_mark_either(style: Style) -> None:
    def receive(turn: Turn, message: Any) -> None:
        turn.answer(mark.get())
        mark.set(message)

    async with ActorSystem() as system:
        marking, seeing = [await style.spawn(system, Script(each)) for each in (receive, see)]
        asks = [style.ask(system, ref, "mark") for _ in range(10) for ref in (marking, seeing)]
        assert set(await within(asyncio.gather(*asks))) == {"nothing"}


@both
async def test_rule_4_what_a_hook_sets_is_not_seen_by_messages(style: Style) -> None:
    def hook(life: Life, *_: Any) -> None:
        mark.set("hook")

    def receive(turn: Turn, message: Any) -> None:
        if message == "fail":
            raise ValueError
        turn.answer(mark.get())

    async with ActorSystem() as system:
        script = Script(receive, start=hook, stop=hook, pre_restart=hook, post_restart=hook)
        ref = await style.spawn(system, script, supervision=RESTARTS)
        assert await within(style.ask(system, ref, "x")) == "nothing"
        ref.tell("fail")
        assert await within(style.ask(system, ref, "x")) == "nothing"
        system.stop(ref)
        assert await within(style.ask(system, await style.spawn(system, Script(see)), "x")) == "nothing"


async def test_rule_4_what_notices_and_verdicts_set_is_not_seen_by_messages() -> None:
    class Parent(Actor[Any]):
        async def receive(self, msg: Any, ctx: Context) -> None:
            if isinstance(msg, Terminated):
                mark.set("notice")
            elif msg == "go":
                child = await Style.CLASS.spawn(ctx, Script(lambda turn, message: 1 / 0))
                ctx.watch(child)
                child.tell("fail")
                self.child, self.asker = child, ctx.sender
            else:
                ctx.reply(mark.get())

        def on_child_failure(self, child: ActorRef[Any], exc: Exception) -> SupervisionStrategy:
            mark.set("verdict")
            self.context.self.tell("after the verdict")
            return SupervisionStrategy.STOP

    async with ActorSystem() as system:
        ref = await system.spawn(Parent)
        ref.tell("go")
        for _ in range(20):
            assert await within(ref.ask("x")) == "nothing"


async def test_rule_4_handlers_see_what_was_set_before_the_system_was_first_used() -> None:
    mark.set("from outside")
    async with ActorSystem() as system:
        ref = await Style.CLASS.spawn(system, Script(see))
        mark.set("too late")
        assert await within(ref.ask("x")) == "from outside"


async def test_rule_4_an_equal_object_is_not_the_same_object() -> None:
    """Where the context of the system has a list, a handler that sets another empty list leaves that to nobody."""
    outside: list[str] = []
    mark.set(outside)

    def receive(turn: Turn, message: Any) -> None:
        turn.answer(mark.get() is outside)
        mark.set([])

    async with ActorSystem() as system:
        refs = [await Style.CLASS.spawn(system, Script(receive)) for _ in range(2)]
        asks = [ref.ask("x") for _ in range(5) for ref in refs]
        assert await within(asyncio.gather(*asks)) == [True] * 10


async def test_rule_4_values_that_cannot_be_compared_do_no_harm() -> None:
    class Unequal:
        def __eq__(self, other: object) -> bool:
            raise ValueError("cannot be compared")

        __hash__ = None  # type: ignore[assignment]

    mark.set(1)

    def receive(turn: Turn, message: Any) -> None:
        turn.answer(mark.get())
        mark.set(Unequal())

    async with ActorSystem() as system:
        ref = await Style.CLASS.spawn(system, Script(receive))
        assert await within(asyncio.gather(*(ref.ask("x") for _ in range(5)))) == [1] * 5


async def test_rule_4_tasks_of_a_handler_inherit_what_it_set() -> None:
    async def child() -> Any:
        return mark.get()

    async def receive(turn: Turn, message: Any) -> None:
        mark.set(message)
        turn.answer(await asyncio.create_task(child()))

    async with ActorSystem() as system:
        ref = await Style.CLASS.spawn(system, Script(receive))
        assert await within(ref.ask("mine")) == "mine"


# -- cancellation (rule 4) ---------------------------------------------------------------------------------------------


async def cancel_and_wait() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancel_while_suspended() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.Event().wait()


async def raise_by_hand() -> None:
    raise asyncio.CancelledError


async def raise_after_a_suspension() -> None:
    await asyncio.sleep(0)
    raise asyncio.CancelledError


async def await_what_was_cancelled() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


CANCELS = [cancel_and_wait, cancel_while_suspended, raise_by_hand, raise_after_a_suspension, await_what_was_cancelled]


@both
@pytest.mark.parametrize("cancel", CANCELS)
async def test_rule_4_a_cancelled_handler_is_a_failure_of_its_actor_and_of_no_other(
    style: Style, cancel: Callable[[], Awaitable[None]]
) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        if message == "cancel":
            await cancel()
        await asyncio.sleep(0)
        turn.answer((turn.life.number, message))

    async with ActorSystem() as system:
        refs = [await style.spawn(system, Script(receive), supervision=RESTARTS) for _ in range(3)]
        asks = [
            asyncio.ensure_future(style.ask(system, ref, "cancel" if ref is refs[1] and number == 2 else number))
            for number in range(5)
            for ref in refs
        ]
        answers = await within(asyncio.gather(*asks, return_exceptions=True))
        for index, ref in enumerate(refs):
            mine = answers[index::3]
            if ref is not refs[1]:
                assert mine == [(1, number) for number in range(5)]
                continue
            assert mine[:2] + mine[3:] == [(1, 0), (1, 1), (2, 3), (2, 4)]
            assert isinstance(mine[2], ActorFailedError)
            assert isinstance(mine[2].__cause__, HandlerCancelledError)
            assert isinstance(mine[2].__cause__.__cause__, asyncio.CancelledError)


@both
async def test_rule_4_a_cancellation_that_nobody_waited_for_reaches_no_other_actor(style: Style) -> None:
    def leak(turn: Turn, message: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        turn.answer("leaked")

    async def receive(turn: Turn, message: Any) -> None:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        turn.answer(task.cancelling())

    async with ActorSystem() as system:
        leaking, other = [await style.spawn(system, Script(each)) for each in (leak, receive)]
        asks = [style.ask(system, ref, "x") for _ in range(5) for ref in (leaking, other)]
        assert await within(asyncio.gather(*asks)) == ["leaked", 0] * 5


@both
async def test_rule_4_a_handler_that_swallows_a_cancellation_leaves_no_trace_of_it(style: Style) -> None:
    async def receive(turn: Turn, message: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        with pytest.raises(asyncio.CancelledError):
            await cancel_and_wait()
        turn.answer(before)

    async with ActorSystem() as system:
        ref = await style.spawn(system, Script(receive))
        assert await within(asyncio.gather(*(style.ask(system, ref, "x") for _ in range(5)))) == [0] * 5


# -- how many (rules 1 and 5) ------------------------------------------------------------------------------------------


@both
async def test_rule_5_ten_thousand_actors_that_do_not_suspend_need_one_worker(style: Style) -> None:
    async with ActorSystem() as system:
        refs = [await style.spawn(system, Script(lambda turn, message: turn.answer(message))) for _ in range(10_000)]
        others = asyncio.all_tasks()
        assert await within(style.ask(system, refs[-1], "x")) == "x"
        for ref in refs:
            ref.tell("y")
        assert await within(style.ask(system, refs[0], "x")) == "x"
        assert len(runtime_of(refs[0]).pool.workers) <= 2
        assert len(others) <= 3


@both
async def test_rule_5_a_thousand_suspended_handlers_all_proceed_and_then_the_pool_shrinks(style: Style) -> None:
    suspended = 0
    all_in, go_on = asyncio.Event(), asyncio.Event()

    async def receive(turn: Turn, message: Any) -> None:
        nonlocal suspended
        suspended += 1
        if suspended == 1000:
            all_in.set()
        await go_on.wait()
        await asyncio.sleep(0)
        turn.answer(message)

    async with ActorSystem() as system:
        refs = [await style.spawn(system, Script(receive)) for _ in range(1000)]
        asks = [asyncio.ensure_future(style.ask(system, ref, number)) for number, ref in enumerate(refs)]
        await within(all_in.wait())
        pool = runtime_of(refs[0]).pool
        assert len(pool.running()) == 1000
        go_on.set()
        assert await within(asyncio.gather(*asks)) == list(range(1000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pool.running() == []
        assert len(pool.workers) <= MAX_IDLE + 1


async def test_rule_7_workers_are_not_run_in_the_call_that_makes_them() -> None:
    """With eager tasks, a chain of `tell` from handlers that suspend would otherwise nest as deep as it is long."""
    order: list[str] = []

    with eager_tasks():
        async with ActorSystem() as system:

            async def receive(turn: Turn, message: int) -> None:
                if message:
                    next_one = await Style.BEHAVIOR.spawn(turn.ctx.system, Script(receive))
                    next_one.tell(message - 1)
                    order.append("told")
                    await asyncio.sleep(0)
                else:
                    done.set()

            done = asyncio.Event()
            (await Style.BEHAVIOR.spawn(system, Script(receive))).tell(2000)
            order.append("outside")
            await within(done.wait())
    assert order == ["outside"] + ["told"] * 2000


@pytest.mark.parametrize("steps", range(5))
async def test_rule_6_a_worker_that_somebody_cancels_at_any_time_is_replaced(steps: int) -> None:
    """Also before its first step: `asyncio.run` cancels all tasks at its end, and the system has still to shut down."""
    async with ActorSystem() as system:
        ref = await Style.CLASS.spawn(system, Script(lambda turn, message: turn.answer(message)), supervision=RESTARTS)
        for _ in range(3):
            ref.tell("x")
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            assert await within(ref.ask("x")) == "x"


async def test_a_worker_says_whose_handler_it_runs() -> None:
    names: list[str] = []
    async with ActorSystem() as system:
        ref = await Style.CLASS.spawn(system, Script(lambda turn, message: names.append(repr(asyncio.current_task()))))
        ref.tell("x")
        await Probe(system).all()
    assert f"worker of {ref.path}" in names[0]


# -- handlers of all kinds ---------------------------------------------------------------------------------------------


class Patient:
    """Awaitable, and no coroutine."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self.work = work

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.work.__await__()


@both
@pytest.mark.parametrize(
    "wrap", [asyncio.ensure_future, Patient, lambda work: work], ids=["task", "object", "coroutine"]
)
async def test_a_plain_handler_may_return_anything_that_can_be_awaited(style: Style, wrap: Callable[..., Any]) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)

        async def work(turn: Turn, message: Any) -> Any:
            await asyncio.sleep(0)
            probe.ref.tell((turn.life.number, message))
            if message == "fail":
                raise ValueError
            return Behaviors.stopped() if message == "stop" else None

        ref = await style.spawn(system, Script(lambda turn, message: wrap(work(turn, message))), supervision=RESTARTS)
        for message in ("a", "fail", "b", "stop"):
            ref.tell(message)
        await within(system.wait_stopped(ref))
        assert await probe.all() == [(1, "a"), (1, "fail"), (2, "b"), (2, "stop")]
