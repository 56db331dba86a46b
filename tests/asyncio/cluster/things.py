"""Messages and actors of the tests of nodes. A module of its own: whoever reads a message must know its class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from casty_asyncio import Actor, ActorContext, ActorRef, Behavior, Behaviors


@frozen
class Add:
    """Add to the counter, and answer with what it has then."""

    amount: int = 1


@frozen
class Get:
    """Answer with what the counter has."""


@frozen
class Where:
    """Answer with the id of the node."""


@frozen
class Say:
    """Anything."""

    what: Any = None


@frozen
class Question:
    """A message with its reply handle, as the behavior style has it."""

    what: Any
    reply_to: ActorRef[Any]


class Counter(Actor[Any]):
    """Counts."""

    def __init__(self, entity_id: str) -> None:
        self.entity_id = entity_id
        self.count = 0

    async def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        match msg:
            case Add(amount):
                self.count += amount
                ctx.reply(self.count)
            case Get():
                ctx.reply(self.count)
            case Where():
                ctx.reply(node_of(ctx))
            case Question(_, reply_to):
                reply_to.tell((self.entity_id, self.count))


class Played(Actor[Any]):
    """Does what a test says. What the test says is no part of its state."""

    def __init__(self, entity_id: str, play: Callable[[Any, Any, ActorContext[Any]], Any]) -> None:
        self.entity_id = entity_id
        self.seen: list[Any] = []
        self._play = play

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> Any:
        return self._play(self, msg, ctx)


class Solo(Actor[Any]):
    """A singleton that does what a test says."""

    def __init__(self, play: Callable[[Any, Any, ActorContext[Any]], Any]) -> None:
        self.seen: list[Any] = []
        self._play = play

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> Any:
        return self._play(self, msg, ctx)


def node_of(ctx: ActorContext[Any]) -> str:
    """The node on which an actor is."""
    node_id: str = ctx.system.node_id  # type: ignore[attr-defined]
    return node_id


def counting(entity_id: str) -> Behavior[Any]:
    """The counter in the behavior style."""

    def counts(count: int) -> Behavior[Any]:
        def receive(ctx: ActorContext[Any], msg: Any) -> Behavior[Any]:
            match msg:
                case Add(amount):
                    ctx.reply(count + amount)
                    return counts(count + amount)
                case Get():
                    ctx.reply(count)
                case Where():
                    ctx.reply(node_of(ctx))
                case Question(_, reply_to):
                    reply_to.tell((entity_id, count))
            return Behaviors.same()

        return Behaviors.receive(receive)

    return counts(0)


class Boss(Actor[Any]):
    """A singleton that says where it is."""

    def receive(self, msg: Any, ctx: ActorContext[Any]) -> None:
        ctx.reply(node_of(ctx))
