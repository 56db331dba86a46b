"""Mistakes in what is spawned and how it is made: each is refused at once, says where, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorSystem,
    Behavior,
    Behaviors,
    CastyError,
    Context,
    DuplicateNameError,
    InvalidNameError,
    NotAnActorError,
    SpawnError,
    SupervisorConfig,
    UsageError,
    supervised,
)

from .probe import Gate


class Fine(Actor[Any]):
    def __init__(self, size: int = 1) -> None:
        self.size = size

    async def receive(self, msg: Any, ctx: Context[Any]) -> None:
        ctx.reply(msg)


def fine() -> Behavior[Any]:
    return Behaviors.receive(lambda ctx, message: Behaviors.same())


async def bare(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
    return Behaviors.same()


async def refused(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
    ctx.reply("refused")
    return Behaviors.same()


class NoReceive(Actor[Any]): ...


class Swapped(Actor[Any]):
    async def receive(self, ctx: Any, msg: Any) -> None: ...  # type: ignore[override]


class Yields(Actor[Any]):
    async def receive(self, msg: Any, ctx: Any) -> Any:
        yield msg


class WantsContext(Fine):
    async def on_start(self, ctx: Any) -> None: ...  # type: ignore[override]


class TooFewArguments(Fine):
    async def pre_restart(self, exc: Exception) -> None: ...  # type: ignore[override]


class NoMethod(Fine):
    on_stop = 5  # type: ignore[assignment]


# -- what can be spawned -----------------------------------------------------------------------------------------------

NO_ACTORS = [
    (Fine(), r"Fine object .* is an instance; pass the class Fine, and its arguments by name"),
    (fine, r"fine is neither a Behavior nor an Actor class; call it if it returns a behavior"),
    (bare, r"or wrap a handler as Behaviors.receive\(bare\)"),
    (None, r"None is neither a Behavior nor a class derived from Actor"),
    ("Fine", r"'Fine' is neither"),
    (dict, r"dict is neither a Behavior nor an Actor class"),
    (Actor, r"Actor does not define receive\(self, msg, ctx\)"),
    (NoReceive, r"NoReceive does not define receive\(self, msg, ctx\)"),
    (Swapped, r"Swapped.receive\(self, msg, ctx\) is given the message first, but is defined as \(self, ctx: "),
    (Yields, r"Yields.receive\(self, msg, ctx\) has a yield, and its body would never run"),
    (WantsContext, r"WantsContext.on_start\(self\) cannot be called like that: it is defined as \(self, ctx: "),
    (TooFewArguments, r"TooFewArguments.pre_restart\(self, exc, msg\) cannot be called like that"),
    (NoMethod, r"NoMethod.on_stop\(self\) is not a method but 5"),
    (Behaviors.same(), r"Behaviors.same\(\) means nothing before there is a message"),
    (Behaviors.restart(), r"Behaviors.restart\(\) means nothing before there is a message"),
]


def children(system: ActorSystem) -> list[str]:
    assert system._running is not None
    return list(system._running.machine.user.children or ())


@pytest.mark.parametrize(("what", "text"), NO_ACTORS, ids=lambda value: None)
async def test_only_a_behavior_and_an_actor_class_that_can_run_are_spawned(what: Any, text: str) -> None:
    async with ActorSystem() as system:
        system.spawn(fine(), "parent")
        with pytest.raises(NotAnActorError, match=f"spawn under /: .*{text}"):
            system.spawn(what, "name")
        assert children(system) == ["parent"]

        def start(ctx: ActorContext[Any]) -> Behavior[Any]:
            with pytest.raises(NotAnActorError, match=f"spawn under /asking: .*{text}"):
                ctx.spawn(what)
            assert ctx.children == ()
            return Behaviors.receive(refused)

        assert await system.spawn(Behaviors.setup(start), "asking").ask("go") == "refused"


def test_a_decorated_method_is_judged_by_what_is_called() -> None:
    def injected(method: Any) -> Any:
        @wraps(method)
        async def wrapper(self: Any) -> None:
            await method(self, "database")

        return wrapper

    class Decorated(Fine):
        @injected
        async def on_start(self, database: str) -> None:
            self.database = database

        @staticmethod
        def on_stop() -> None: ...

    async def main() -> None:
        async with ActorSystem() as system:
            await system.spawn(Decorated)

    asyncio.run(main())


NAMES = [
    ("", r"actor name '' is empty; expected 1 to 255 characters"),
    ("a/b", r"actor name 'a/b' has '/' at index 1"),
    ("a#1", r"actor name 'a#1' has '#' at index 1"),
    ("a b", r"actor name 'a b' has ' ' at index 1"),
    ("$1", r"actor name '\$1' begins with '\$'"),
    ("x" * 256, r"has 256 characters"),
    ("_private", r"top-level names that begin with '_' belong to the system; rename '_private'"),
    (5, r"the name of an actor must be a string, not 5"),
]


@pytest.mark.parametrize(("name", "text"), NAMES, ids=lambda value: None)
async def test_a_bad_name_is_refused(name: Any, text: str) -> None:
    async with ActorSystem() as system:
        with pytest.raises(InvalidNameError, match=text):
            system.spawn(fine(), name)
        with pytest.raises(InvalidNameError, match=text):
            await system.spawn(Fine, name=name)
        assert children(system) == []


async def test_a_name_that_a_live_actor_has_is_refused_and_free_again_after_its_end() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        ref = system.spawn(gate.behavior(), "taken")
        await gate.hold(ref)
        with pytest.raises(DuplicateNameError, match=r"there is an actor /taken already; choose another name, or wait"):
            system.spawn(fine(), "taken")
        system.stop(ref)
        with pytest.raises(SpawnError, match=r"/taken already \(it is still stopping\)"):
            await system.spawn(Fine, "taken")
        gate.opened.set()
        await system.wait_stopped(ref)
        assert (await system.spawn(Fine, "taken")).path == "/taken"


async def test_arguments_of_spawn_that_fit_nowhere_are_refused() -> None:
    wrong: Any = 5
    async with ActorSystem() as system:
        with pytest.raises(UsageError, match=r"spawn under /: a behavior takes no arguments \(limit, size\)"):
            system.spawn(fine(), limit=1, size=2)  # type: ignore[call-overload]
        with pytest.raises(UsageError, match=r"spawn under /: mailbox must be a Mailbox, not 5"):
            system.spawn(fine(), mailbox=wrong)
        with pytest.raises(UsageError, match=r"spawn under /: supervision must be a SupervisorConfig, not 5"):
            await system.spawn(Fine, supervision=wrong)
        with pytest.raises(TypeError, match="limit"):
            await system.spawn(Fine, limit=1)
        assert children(system) == []


# -- how behaviors are made --------------------------------------------------------------------------------------------

WRONG: Any = 5
MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: Behaviors.receive(WRONG), r"the handler given to Behaviors.receive must be a function, not 5"),
    (lambda: Behaviors.receive(Fine), r"an Actor class is spawned as it is"),  # type: ignore[arg-type]
    (lambda: Behaviors.setup(WRONG), r"the factory given to Behaviors.setup must be a function, not 5"),
    (lambda: Behaviors.with_lifecycle(fine(), WRONG), r"each hook given to Behaviors.with_lifecycle must be"),
    (lambda: Behaviors.with_lifecycle(fine(), post_restart=WRONG), r"must be something to call, or None, not 5"),
    (lambda: Behaviors.with_lifecycle(WRONG), r"Behaviors.with_lifecycle wants a behavior, .* not 5"),
    (lambda: Behaviors.supervise(fine, SupervisorConfig()), r"call the function that makes it"),  # type: ignore[arg-type]
    (lambda: Behaviors.supervise(fine(), WRONG), r"wants a SupervisorConfig or OneForOneStrategy\(...\), not 5"),
    (lambda: Behaviors.with_mailbox(fine(), WRONG), r"Behaviors.with_mailbox wants a Mailbox\(...\), not 5"),
    (lambda: ActorSystem("a b"), r"system name 'a b' has ' ' at index 1"),
    (lambda: ActorSystem(WRONG), r"the name of an actor system must be a string, not 5"),
    (lambda: ActorSystem(shutdown_timeout=-1), r"shutdown_timeout of actor system 'casty' must be .*, not -1"),
    (lambda: ActorSystem(shutdown_timeout=float("nan")), r"must be a number of seconds, .*, not nan"),
]


@pytest.mark.parametrize(("make", "text"), MISTAKES, ids=lambda value: None)
def test_a_mistake_in_the_making_is_refused_where_it_is_made(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(CastyError, match=text):
        make()


CONFIGS: list[tuple[str, Any, str]] = [
    ("strategy", "restart", r"'strategy' must be <enum 'SupervisionStrategy'> \(got 'restart'"),
    ("max_restarts", -1, r"max_restarts must be 0 or more, or None for no limit, not -1"),
    ("max_restarts", 1.5, r"max_restarts must be a whole number, or None for no limit, not 1.5"),
    ("max_restarts", True, r"max_restarts must be a whole number, or None for no limit, not True"),
    ("within_seconds", 0, r"within_seconds must be a number of seconds, more than 0 .*, not 0"),
    ("within_seconds", float("nan"), r"within_seconds must be a number of seconds, .*, not nan"),
    ("within_seconds", "60", r"within_seconds must be a number of seconds, not '60'"),
    ("backoff_initial", -0.1, r"backoff_initial must be a number of seconds, 0 or more .*, not -0.1"),
    ("backoff_max", float("inf"), r"backoff_max must be a number of seconds, .*, not inf"),
    ("backoff_max", None, r"backoff_max must be a number of seconds, not None"),
    ("backoff_multiplier", 0.5, r"backoff_multiplier"),
    ("backoff_multiplier", "2", r"backoff_multiplier must be a number, not '2'"),
    ("jitter", 1.1, r"jitter"),
    ("jitter", float("nan"), r"jitter"),
    ("decider", "restart", r"decider must be a function of the exception, or None, not 'restart'"),
    ("multi_child", "all", r"multi_child"),
]


@pytest.mark.parametrize(("name", "value", "text"), CONFIGS, ids=lambda value: None)
def test_a_bad_value_of_a_supervision_is_refused_by_its_name(name: str, value: Any, text: str) -> None:
    arguments = {name: value}
    for make in (SupervisorConfig, lambda **kwargs: supervised(**kwargs)(Fine)):
        with pytest.raises((ValueError, TypeError), match=f"SupervisorConfig: .*{text}"):
            make(**arguments)
