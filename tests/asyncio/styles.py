"""One script, played by an actor of either style: what users may rely on is proven in both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import pytest
from attrs import define, field, frozen

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    Mailbox,
    SupervisorConfig,
)
from casty_asyncio.body import Body
from casty_asyncio.refs import LocalRef
from casty_asyncio.runtime import Runtime
from casty_proto.actor import Cell

from .probe import PATIENCE

RESTARTS = SupervisorConfig(max_restarts=None, backoff_initial=0.0)
"""Restart at once, as often as it takes."""


@define(eq=False)
class Life:
    """One incarnation of an actor."""

    number: int
    """1 for the first."""
    ctx: ActorContext[Any]
    state: dict[str, Any] = field(factory=dict)


@define(eq=False)
class Turn:
    """One message in the hands of an actor."""

    life: Life
    ctx: ActorContext[Any]
    reply_to: ActorRef[Any] | None
    """The handle of the ask, in the behavior style."""

    def answer(self, value: Any) -> None:
        """Answer the ask in the way of the style."""
        if self.reply_to is None:
            self.ctx.reply(value)
        else:
            self.reply_to.tell(value)

    @property
    def handle(self) -> ActorRef[Any]:
        """What to keep in order to answer later."""
        handle = self.ctx.sender if self.reply_to is None else self.reply_to
        assert handle is not None
        return handle


@define(eq=False)
class Script:
    """What an actor does. Every part may be `def` or `async def`, or be left out."""

    receive: Callable[[Turn, Any], Any] = field(default=lambda turn, message: None)
    start: Callable[[Life], Any] | None = None
    stop: Callable[[Life], Any] | None = None
    pre_restart: Callable[[Life, Exception, Any], Any] | None = None
    post_restart: Callable[[Life, Exception], Any] | None = None
    lives: int = field(default=0, init=False)
    """How many incarnations there have been."""


@frozen
class Question:
    """A message with its reply handle, as the behavior style has it."""

    what: Any
    reply_to: ActorRef[Any]


class Style(StrEnum):
    """The two ways to write an actor."""

    CLASS = "class"
    BEHAVIOR = "behavior"

    async def spawn(
        self,
        spawner: ActorSystem | ActorContext[Any],
        script: Script,
        name: str | None = None,
        *,
        supervision: SupervisorConfig | None = None,
        mailbox: Mailbox | None = None,
    ) -> ActorRef[Any]:
        """Spawn an actor that plays the script."""
        if self is Style.CLASS:
            return await spawner.spawn(Player, name, script=script, supervision=supervision, mailbox=mailbox)
        return spawner.spawn(playing(script), name, supervision=supervision, mailbox=mailbox)

    def ask(self, system: ActorSystem, ref: ActorRef[Any], what: Any, timeout: float = 4 * PATIENCE) -> Ask:
        """Ask in the way of the style. By default the timeout is longer than `within` waits: nobody may need it."""
        if self is Style.CLASS:
            return ref.ask(what, timeout)
        return system.ask(ref, lambda reply_to: Question(what, reply_to), timeout)


type Ask = Coroutine[Any, Any, Any]

both = pytest.mark.parametrize("style", list(Style), ids=str)


class Player(Actor[Any]):
    """Plays a script in the class style."""

    def __init__(self, script: Script) -> None:
        script.lives += 1
        self.script = script
        self.number = script.lives
        self.life: Life | None = None

    def alive(self) -> Life:
        if self.life is None:
            self.life = Life(self.number, self.context)
        return self.life

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> Any:
        return self.script.receive(Turn(self.alive(), ctx, None), msg)

    def on_start(self) -> Any:
        return self.script.start and self.script.start(self.alive())

    def on_stop(self) -> Any:
        return self.script.stop and self.script.stop(self.alive())

    def pre_restart(self, exc: Exception, msg: Any) -> Any:
        return self.script.pre_restart and self.script.pre_restart(self.alive(), exc, msg)

    def post_restart(self, exc: Exception) -> Any:
        if self.script.post_restart is None:
            return super().post_restart(exc)
        return self.script.post_restart(self.alive(), exc)


def playing(script: Script) -> Behavior[Any]:
    """Plays a script in the behavior style."""

    def setup(ctx: ActorContext[Any]) -> Behavior[Any]:
        script.lives += 1
        life = Life(script.lives, ctx)
        start, stop, pre, post = script.start, script.stop, script.pre_restart, script.post_restart

        async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            what, reply_to = (message.what, message.reply_to) if type(message) is Question else (message, None)
            result = script.receive(Turn(life, ctx, reply_to), what)
            if inspect.isawaitable(result):
                result = await result
            return Behaviors.same() if result is None else result

        return Behaviors.with_lifecycle(
            Behaviors.receive(receive),
            pre_start=None if start is None else lambda ctx: start(life),
            post_stop=None if stop is None else lambda ctx: stop(life),
            pre_restart=None if pre is None else lambda ctx, exc, msg: pre(life, exc, bare(msg)),
            post_restart=None if post is None else lambda ctx, exc: post(life, exc),
        )

    return Behaviors.setup(setup)


def bare(message: Any) -> Any:
    """The message without its reply handle."""
    return message.what if type(message) is Question else message


async def found(system: ActorSystem, path: str) -> ActorRef[Any]:
    """The actor at that path, as soon as it is there."""
    async with asyncio.timeout(PATIENCE):
        while (ref := system.lookup(path).ref) is None:  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0)
    return ref


def runtime_of(ref: ActorRef[Any]) -> Runtime:
    """The driver that an actor is run by."""
    assert isinstance(ref, LocalRef)
    return ref._runtime


def cell_of(ref: ActorRef[Any]) -> Cell:
    """The engine's half of an actor."""
    assert isinstance(ref, LocalRef)
    return ref._cell


def body_of(ref: ActorRef[Any]) -> Body:
    """The driver's half of an actor."""
    body: Body = cell_of(ref).body
    return body


@contextmanager
def eager_tasks() -> Iterator[None]:
    """Start tasks at once, in the call that creates them."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        work = asyncio.sleep(0)
        try:
            assert loop.create_task(work) is not None
        except TypeError:
            work.close()
            pytest.skip("this version of uvloop does not go with eager tasks")
        yield
    finally:
        loop.set_task_factory(None)
