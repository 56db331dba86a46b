"""Mistakes in what handlers return and in where calls are made: each says where, what to do, and changes nothing."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorFailedError,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    Behavior,
    Behaviors,
    CastyError,
    Context,
    InvalidBehaviorError,
    NotAnActorError,
    OneForOneStrategy,
    SupervisionStrategy,
    SupervisorConfig,
    SystemShutDownError,
    UsageError,
)

from .probe import Probe, within


class Fine(Actor[Any]):
    def __init__(self, size: int = 1) -> None:
        self.size = size

    async def receive(self, msg: Any, ctx: Context[Any]) -> None:
        ctx.reply(msg)


def fine() -> Behavior[Any]:
    return Behaviors.receive(lambda ctx, message: Behaviors.same())


# -- what handlers return ----------------------------------------------------------------------------------------------

RUBBISH: list[tuple[Any, str]] = [
    ("same", r"the handler of /bad returned 'same' for str; it must return a behavior, for example Behaviors.same\(\)"),
    (Behaviors.same, r"the handler of /bad returned <function"),
    (Behaviors.with_lifecycle(fine()), r"/bad cannot become .*lifecycle, supervision and the like belong to the spawn"),
]


@pytest.mark.parametrize(("result", "text"), RUBBISH, ids=lambda value: None)
async def test_a_handler_that_returns_no_behavior_fails_with_the_path_and_the_message(result: Any, text: str) -> None:
    async with ActorSystem() as system:
        ref: ActorRef[Any] = system.spawn(Behaviors.receive(lambda ctx, message: result), "bad")
        with pytest.raises(ActorFailedError) as caught:
            await within(ref.ask("message"))
        cause = caught.value.__cause__
        assert isinstance(cause, InvalidBehaviorError)
        assert isinstance(cause, CastyError)
        with pytest.raises(InvalidBehaviorError, match=text):
            raise cause


@pytest.mark.parametrize("made", [None, 5, fine, Behaviors.same()], ids=repr)
async def test_a_setup_that_returns_no_behavior_fails_with_the_path(
    made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with ActorSystem() as system:
        ref: ActorRef[Any] = system.spawn(Behaviors.setup(lambda ctx: made), "bad")
        await within(system.wait_stopped(ref))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], InvalidBehaviorError)
    assert "the setup of /bad returned no behavior" in str(record.exc_info[1])


async def test_a_class_actor_cannot_become_a_behavior() -> None:
    class Becoming(Actor[str]):
        def receive(self, msg: str, ctx: Context) -> Any:
            return fine()

    async with ActorSystem() as system:
        ref = await system.spawn(Becoming, "bad")
        with pytest.raises(ActorFailedError, match="a class actor cannot become a behavior"):
            await within(ref.ask("message"))


async def test_a_decider_and_a_parent_that_answer_rubbish_do_not_leave_the_child_hanging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rubbish: Any = "restart"

    class Failing(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            raise ValueError(msg)

    class Parent(Actor[str]):
        def on_child_failure(self, child: ActorRef[Any], exc: Exception) -> SupervisionStrategy | None:
            return rubbish  # type: ignore[no-any-return]

        async def receive(self, msg: str, ctx: Context) -> None:
            policy = SupervisorConfig(strategy=SupervisionStrategy.STOP)
            ctx.reply(await ctx.spawn(Failing, "child", supervision=policy))

    async with ActorSystem() as system:
        ref = await system.spawn(Failing, "bad", supervision=OneForOneStrategy(decider=lambda error: rubbish))
        child = await (await system.spawn(Parent, "parent")).ask("spawn")
        for actor in (ref, child):
            actor.tell("fail")
            await within(system.wait_stopped(actor))
    lines = [f"{record.getMessage()} {record.exc_info[1]}" for record in caplog.records if record.exc_info]
    assert "/bad stops: its decider failed with TypeError" in lines[0]
    assert "/parent: its hook on_child_failure failed on_child_failure returned 'restart'" in lines[1]
    assert lines[2].startswith("/parent/child stops")


# -- where a call can work ---------------------------------------------------------------------------------------------


async def test_an_actor_that_asks_itself_and_waits_is_told_so_at_once() -> None:
    class Selfish(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            if msg == "ask":
                await ctx.self_ref.ask("me")
            elif msg == "system.ask":
                await ctx.system.ask(ctx.self_ref, lambda r: "me")
            ctx.reply(msg)

    policy = OneForOneStrategy(max_restarts=None)
    async with ActorSystem() as system:
        ref = await system.spawn(Selfish, "selfish", supervision=policy)
        for message in ("ask", "system.ask"):
            with pytest.raises(ActorFailedError, match=r"/selfish asks itself and waits.*ctx.pipe_to_self") as caught:
                await within(ref.ask(message, timeout=1000))
            assert isinstance(caught.value.__cause__, UsageError)
        assert await ref.ask("still there?") == "still there?"


async def test_wrong_arguments_of_an_ask_are_refused_before_anything_is_sent() -> None:
    async with ActorSystem() as system:
        probe = Probe(system, "probe")
        wrong: Any
        for wrong in (-1, float("nan"), float("inf"), None, "5"):
            with pytest.raises(UsageError, match=r"the timeout of an ask of /probe must be a number of seconds"):
                await probe.ref.ask("message", timeout=wrong)
            with pytest.raises(UsageError, match=r"the timeout of an ask of /probe must be a number of seconds"):
                await system.ask(probe.ref, lambda r: "message", timeout=wrong)
        for wrong in (None, "message", ("message",)):
            with pytest.raises(UsageError, match=r"system.ask of ActorRef\(/probe\) wants a function .* ref.ask\("):
                await system.ask(probe.ref, wrong)
        for wrong in (None, "probe", system.lookup("probe")):
            with pytest.raises(UsageError, match=r"is no actor of this system"):
                await system.ask(wrong, lambda r: "message")
        assert await probe.all() == []


async def test_actors_of_another_system_are_not_stopped_watched_or_asked_through_this_one() -> None:
    async with ActorSystem("here") as here, ActorSystem("there") as there:
        probe = Probe(there)
        contexts: list[ActorContext[Any]] = []

        def start(ctx: ActorContext[Any]) -> Behavior[Any]:
            contexts.append(ctx)
            return fine()

        here.spawn(Behaviors.setup(start))
        await Probe(here).all()
        calls: list[Callable[[], Any]] = [
            lambda: here.stop(probe.ref),
            lambda: contexts[0].watch(probe.ref),
            lambda: contexts[0].unwatch(probe.ref),
            lambda: contexts[0].stop(probe.ref),
            lambda: here.ask(probe.ref, lambda r: "message"),
            lambda: here.wait_stopped(probe.ref),
        ]
        for call in calls:
            with pytest.raises(UsageError, match=r"casty://there/.* belongs to another actor system, not to 'here'"):
                await call()
        probe.ref.tell("but it can be told")
        assert await probe.all() == ["but it can be told"]


async def test_a_handler_that_waits_for_an_end_that_waits_for_it_is_told_so_at_once() -> None:
    class Parent(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            match msg:
                case "itself":
                    await ctx.system.wait_stopped(ctx.self_ref)
                case "shutdown":
                    await ctx.system.wait_shutdown()
                case "child":
                    child = await ctx.spawn(Child, "child")
                    with pytest.raises(ActorFailedError, match="/parent/child waits for the end of /parent, which"):
                        await child.ask(ctx.self_ref)
                    ctx.stop(child)
                    await ctx.system.wait_stopped(child)
                    ctx.reply("a child may be waited for")

    class Child(Actor[ActorRef[Any]]):
        async def receive(self, msg: ActorRef[Any], ctx: Context) -> None:
            await ctx.system.wait_stopped(msg)

    async with ActorSystem() as system:
        ref = await system.spawn(Parent, "parent", supervision=OneForOneStrategy())
        with pytest.raises(
            ActorFailedError, match="/parent waits for the end of /parent, which waits for this handler"
        ):
            await within(ref.ask("itself"))
        with pytest.raises(ActorFailedError, match="/parent waits for the shutdown that waits for its own handler"):
            await within(ref.ask("shutdown"))
        assert await within(ref.ask("child")) == "a child may be waited for"


async def test_giving_up_waiting_for_an_end_leaves_nothing_behind() -> None:
    async with ActorSystem() as system:
        ref: Any = Probe(system).ref
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await system.wait_stopped(ref)
        assert not ref._cell.body._on_end
        system.stop(ref)
        await within(system.wait_stopped(ref))


async def test_a_spawn_that_was_not_awaited_is_named_in_the_complaint() -> None:
    async with ActorSystem() as system:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            system.spawn(Fine)  # type: ignore[unused-coroutine]
            gc.collect()
        assert [str(each.message) for each in caught] == ["coroutine 'spawn(Fine)' was never awaited"]


def test_outside_of_a_loop_a_system_says_where_it_can_be_used() -> None:
    system = ActorSystem("shop")
    calls: list[Callable[[], Any]] = [
        lambda: system.spawn(fine()),
        lambda: system.lookup("x"),
        lambda: system.event_stream,
        lambda: system.cancel_schedule("key"),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=r"actor system 'shop' is used outside of an event loop; use it in a"):
            call()


@pytest.mark.parametrize("used", [True, False])
async def test_after_the_shutdown_everything_is_refused_and_nothing_begins_again(used: bool) -> None:
    system = ActorSystem("shop")
    ref: Any = system.spawn(fine()) if used else None
    await system.shutdown()
    calls: list[Callable[[], Any]] = [
        lambda: system.spawn(fine()),
        lambda: system.spawn(Fine),
        lambda: system.lookup("x"),
        lambda: system.schedule("key", ref, "message", 1.0),
        lambda: system.tick("key", ref, "message", 1.0),
        lambda: system.event_stream,
        lambda: system.receptionist_ref,
        lambda: system.task_runner,
        lambda: system.scheduler,
        lambda: system.threadsafe,
    ]
    for call in calls:
        with pytest.raises(SystemShutDownError, match=r"actor system 'shop'"):
            call()
    with pytest.raises(SystemShutDownError):
        await system.ask(ref, lambda r: "message")
    with pytest.raises(SystemShutDownError):
        await system.__aenter__()
    if used:
        with pytest.raises(ActorStoppedError):
            await ref.ask("message")
    assert await system.shutdown() == ()
    await within(system.wait_shutdown())
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_init_that_wants_an_argument_of_spawn_is_refused_with_what_to_do() -> None:
    class Named(Actor[int]):
        def __init__(self, name: str) -> None:
            self.called = name

        def receive(self, msg: int, ctx: Context) -> None:
            ctx.reply(self.called)

    async with ActorSystem() as system:
        with pytest.raises(NotAnActorError, match="'name', which spawn keeps for itself; give the parameter another"):
            await system.spawn(Named, name="alice")


async def test_an_init_that_has_a_default_for_an_argument_of_spawn_is_fine() -> None:
    class Named(Actor[int]):
        def __init__(self, name: str = "nobody") -> None:
            self.called = name

        def receive(self, msg: int, ctx: Context) -> None:
            ctx.reply(self.called)

    async with ActorSystem() as system:
        ref = await system.spawn(Named, name="alice")
        assert await ref.ask(1) == "nobody"


async def test_the_context_in_init_is_refused_with_where_it_is_there() -> None:
    class Early(Actor[int]):
        def __init__(self) -> None:
            self.path = self.context.path

        def receive(self, msg: int, ctx: Context) -> None:
            """Never called."""

    async with ActorSystem() as system:
        with pytest.raises(UsageError, match=r"Early\.context is not there yet in __init__; use it from on_start on"):
            await system.spawn(Early)
