"""What a test and its other process say to each other, and the actor there that does it."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from casty_asyncio import (
    Actor,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    Context,
    GetSink,
    GetSource,
    RunTask,
    SinkRef,
    SourceRef,
    SupervisionStrategy,
    Terminated,
    stream_consumer,
    stream_producer,
    supervised,
)


@frozen
class Echo:
    """Answer with `what`."""

    what: Any


@frozen
class Keep:
    """Keep the handle, and answer it when `Release` comes."""


@frozen
class Release:
    """Answer what was kept."""

    what: Any


@frozen
class Tell:
    """Tell `to` the numbers from 0 on."""

    to: ActorRef[Any]
    count: int


@frozen
class Fail:
    """Raise."""

    text: str


@frozen
class Spawn:
    """Answer with the ref of a new actor that echoes."""

    name: str | None = None


@frozen
class Halt:
    """Stop an actor; this one, if none is said."""

    ref: ActorRef[Any] | None = None


@frozen
class Watch:
    """Watch `ref`, and tell `to` when it ends."""

    ref: ActorRef[Any]
    to: ActorRef[Any]


@frozen
class Gone:
    """What is told then."""

    ref: ActorRef[Any]


@frozen
class Produce:
    """Answer with the producer of a stream of the numbers below `count`; it stays open if `ends` is false."""

    count: int
    ends: bool = True


@frozen
class Consume:
    """Consume from a producer, and tell `to` each element."""

    producer: ActorRef[Any]
    to: ActorRef[Any]
    demand: int = 16


@frozen
class AskOf:
    """Ask `ref`, and wait for long."""

    ref: ActorRef[Any]


@supervised(strategy=SupervisionStrategy.RESTART, max_restarts=None, backoff_initial=0.0)
class Desk(Actor[Any]):
    """Does what it is told."""

    kept: ActorRef[Any] | None = None

    def __init__(self) -> None:
        self.watchers: dict[ActorRef[Any], list[ActorRef[Any]]] = {}

    async def receive(self, msg: Any, ctx: Context[Any]) -> None:
        match msg:
            case Echo(what):
                ctx.reply(what)
            case Keep():
                self.kept = ctx.sender
            case Release(what):
                assert self.kept is not None
                self.kept.tell(what)
            case Tell(to, count):
                for number in range(count):
                    to.tell(number)
            case Fail(text):
                raise LookupError(text)
            case Spawn(name):
                ctx.reply(ctx.spawn(echoing(), name))
            case Halt(ref):
                ctx.stop(ref)
            case Watch(ref, to):
                self.watchers.setdefault(ref, []).append(to)
                ctx.watch(ref)
            case Terminated(ref):
                for to in self.watchers.pop(ref):
                    to.tell(Gone(ref))
            case AskOf(ref):
                ctx.pipe_to_self(ref.ask("a question", timeout=60.0))
            case Produce(count, ends):
                ctx.reply(await produced(ctx.system, count, ends))
            case Consume(producer, to, demand):
                ctx.system.task_runner.tell(RunTask(consume(ctx.system, producer, to, demand)))


def echoing() -> Behavior[Any]:
    """Answers with what it is asked."""

    def receive(ctx: Context[Any], msg: Any) -> Behavior[Any]:
        if msg == Halt():
            return Behaviors.stopped()
        ctx.reply(msg.what if isinstance(msg, Echo) else msg)
        return Behaviors.same()

    return Behaviors.receive(receive)


async def produced(system: ActorSystem, count: int, ends: bool) -> ActorRef[Any]:
    """The producer of a stream."""
    producer = system.spawn(stream_producer(buffer_size=64))
    sink: SinkRef[int] = await system.ask(producer, lambda reply_to: GetSink(reply_to))

    async def put() -> None:
        for number in range(count):
            await sink.put(number)
        if ends:
            await sink.complete()

    system.task_runner.tell(RunTask(put()))
    return producer


async def consume(system: ActorSystem, producer: ActorRef[Any], to: ActorRef[Any], demand: int) -> None:
    """Tell what comes."""
    consumer = system.spawn(stream_consumer(producer, initial_demand=demand))
    source: SourceRef[Any] = await system.ask(consumer, lambda reply_to: GetSource(reply_to))
    async for element in source:
        to.tell(element)
    to.tell("completed")
