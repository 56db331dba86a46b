"""What a handler returns: the next behavior, a signal, or something that makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorFailedError,
    ActorSystem,
    Behavior,
    Behaviors,
    CastyError,
    Context,
    EventStreamSubscribe,
    UnhandledMessage,
)

from .probe import Probe, within
from .styles import RESTARTS, Script, Style, Turn, both

SAME = Behaviors.receive(lambda ctx, message: Behaviors.same())
RUBBISH = [5, "same", True, [], Behaviors, Behaviors.same, object(), Behaviors.with_lifecycle(SAME)]


@pytest.mark.parametrize("rubbish", RUBBISH, ids=lambda value: type(value).__name__)
async def test_a_behavior_that_returns_no_behavior_has_failed(rubbish: Any) -> None:
    async with ActorSystem() as system:
        script = Script(lambda turn, message: rubbish if message == "x" else turn.answer(turn.life.number))
        ref = await Style.BEHAVIOR.spawn(system, script, supervision=RESTARTS)
        with pytest.raises(ActorFailedError) as caught:
            await within(Style.BEHAVIOR.ask(system, ref, "x"))
        assert isinstance(caught.value.__cause__, CastyError)
        assert isinstance(caught.value.__cause__, TypeError)
        assert await within(Style.BEHAVIOR.ask(system, ref, "y")) == 2


@pytest.mark.parametrize("value", [5, "same", True, [], object(), None], ids=repr)
async def test_what_a_class_actor_returns_is_ignored(value: Any) -> None:
    class Returning(Actor[Any]):
        async def receive(self, msg: Any, ctx: Context) -> Any:
            ctx.reply(msg)
            return value

    async with ActorSystem() as system:
        ref = await system.spawn(Returning)
        assert [await within(ref.ask(number)) for number in range(3)] == [0, 1, 2]


async def test_a_class_actor_cannot_become_a_behavior() -> None:
    class Becoming(Actor[Any]):
        def receive(self, msg: Any, ctx: Context) -> Any:
            return SAME

    async with ActorSystem() as system:
        ref = await system.spawn(Becoming, supervision=RESTARTS)
        with pytest.raises(ActorFailedError, match="cannot become a behavior"):
            await within(ref.ask("x"))


@both
async def test_unhandled_is_an_event_and_the_actor_goes_on(style: Style) -> None:
    def receive(turn: Turn, message: Any) -> Any:
        if message == "what":
            return Behaviors.unhandled()
        turn.answer(turn.life.number)
        return None

    async with ActorSystem() as system:
        probe = Probe(system)
        await probe.all()
        system.event_stream.tell(EventStreamSubscribe(UnhandledMessage, probe.ref))
        ref = await style.spawn(system, Script(receive))
        ref.tell("what")
        assert (await probe.next()).ref == ref
        assert await within(style.ask(system, ref, "x")) == 1


def counting(count: int) -> Any:
    """Answers how often it was asked, by becoming another behavior each time; through a setup every second time."""

    def receive(ctx: ActorContext[Any], reply_to: Any) -> Any:
        reply_to.tell(count)
        following = counting(count + 1)
        return following if count % 2 else Behaviors.setup(lambda ctx: following)

    return Behaviors.receive(receive)


async def test_a_behavior_becomes_the_one_that_it_returns() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(counting(0))
        assert [await within(system.ask(ref, lambda reply_to: reply_to)) for _ in range(20)] == list(range(20))


async def test_a_behavior_that_becomes_ignore_handles_nothing_and_loses_nothing_of_its_place() -> None:
    async with ActorSystem() as system:
        ref = await Style.BEHAVIOR.spawn(system, Script(lambda turn, message: Behaviors.ignore()), "deaf")
        for _ in range(3):
            ref.tell("x")
        await Probe(system).all()
        assert system.lookup("deaf").ref == ref
        assert system.dead_letters == 0


async def test_a_behavior_that_becomes_a_setup_with_hooks_begins_and_ends_with_them() -> None:
    events: list[str] = []

    def answering(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        message.tell(list(events))
        return Behaviors.same()

    def inner(ctx: ActorContext[Any]) -> Behavior[Any]:
        return Behaviors.with_lifecycle(
            Behaviors.receive(answering),
            pre_start=lambda ctx: events.append("begun"),
            post_stop=lambda ctx: events.append("ended"),
        )

    async with ActorSystem() as system:
        ref = system.spawn(Behaviors.receive(lambda ctx, message: Behaviors.setup(inner)))
        ref.tell("become")
        assert await within(system.ask(ref, lambda reply_to: reply_to)) == ["begun"]
    assert events == ["begun", "ended"]
