"""Let it crash: actors do not defend themselves against every failure; whoever supervises them gives them a new start.

Four scenes: a restart with back-off, the limit of restarts, a failure that escalates, and one child's failure that
concerns its siblings. A subscriber to the event stream tells what happens. Run it with
`python examples/supervision.py`. It prints:

    1. Restart: the message that failed is gone, the rest of the mailbox is kept
      /parser restarted: ValueError("invalid literal for int() with base 10: 'two'")
      the ask failed because of: ValueError
      the new instance has seen: [3, 4]
    2. Too many restarts within the window: it stops
      /parser restarted: ValueError("invalid literal for int() with base 10: 'x'")
      /parser stopped
    3. Escalation: the child cannot help itself, so its parent starts anew, with new children
      /bank/ledger stopped
      /bank restarted: LookupError('lost')
    4. One for all: the siblings depend on each other, so they start anew together
      /pipeline/read restarted: OSError('no line')
      /pipeline/count restarted: OSError('no line')
"""

import asyncio
import logging
from dataclasses import dataclass

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorFailedError,
    ActorRestarted,
    ActorStopped,
    ActorSystem,
    Behavior,
    Behaviors,
    EventStreamSubscribe,
    MultiChildStrategy,
    SupervisionStrategy,
    SupervisorConfig,
    run,
    supervised,
)

# Every failure is logged with its traceback. Here they are on purpose, and the events tell enough.
logging.getLogger("casty").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Parse:
    text: str


@dataclass(frozen=True)
class GetNumbers:
    """Answered with a `list[int]`."""


# Waits 20 ms before the first restart and 40 ms before the second; a third failure within a minute is its last.
@supervised(max_restarts=2, within_seconds=60.0, backoff_initial=0.02, backoff_multiplier=2.0)
class Parser(Actor[Parse | GetNumbers]):
    """Keeps what it has parsed in memory: a restart loses that, and takes up the mailbox where it was."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    async def receive(self, msg: Parse | GetNumbers, ctx: ActorContext[Parse | GetNumbers]) -> None:
        match msg:
            case Parse(text):
                self.numbers.append(int(text))
            case GetNumbers():
                ctx.reply(self.numbers)


class Failing(Actor[str]):
    """Raises `error` on any message."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def receive(self, msg: str, ctx: ActorContext[str]) -> None:
        raise self.error


class Parent(Actor[str]):
    """Has these children, all under one policy, and passes every message on to the first."""

    def __init__(self, children: dict[str, Exception], policy: SupervisorConfig) -> None:
        self.errors, self.policy = children, policy

    async def on_start(self) -> None:
        spawn = self.context.spawn
        self.refs = [await spawn(Failing, name, supervision=self.policy, error=e) for name, e in self.errors.items()]

    def receive(self, msg: str, ctx: ActorContext[str]) -> None:
        self.refs[0].tell(msg)


type Event = ActorRestarted | ActorStopped


async def main() -> None:
    async with ActorSystem() as system:
        news: asyncio.Queue[str] = asyncio.Queue()

        def note(ctx: ActorContext[Event], event: Event) -> Behavior[Event]:
            match event:
                case ActorRestarted(ref, exception):
                    news.put_nowait(f"  {ref.path} restarted: {exception!r}")
                case ActorStopped(ref):
                    news.put_nowait(f"  {ref.path} stopped")
            return Behaviors.same()

        reporter = system.spawn(Behaviors.receive(note), "reporter")
        system.event_stream.tell(EventStreamSubscribe(ActorRestarted | ActorStopped, reporter))

        print("1. Restart: the message that failed is gone, the rest of the mailbox is kept")
        parser = await system.spawn(Parser, name="parser")
        parser.tell(Parse("1"))
        failed = asyncio.create_task(parser.ask(Parse("two")))
        await asyncio.sleep(0)  # lets the task send its message before the next two
        parser.tell(Parse("3"))
        parser.tell(Parse("4"))
        print(await news.get())
        try:
            await failed
        except ActorFailedError as error:
            print(f"  the ask failed because of: {type(error.__cause__).__name__}")
        print(f"  the new instance has seen: {await parser.ask(GetNumbers())}")

        print("2. Too many restarts within the window: it stops")
        parser.tell(Parse("x"))
        parser.tell(Parse("y"))
        print(await news.get(), await news.get(), sep="\n")

        print("3. Escalation: the child cannot help itself, so its parent starts anew, with new children")
        escalate = SupervisorConfig(SupervisionStrategy.ESCALATE)
        bank = await system.spawn(Parent, "bank", children={"ledger": LookupError("lost")}, policy=escalate)
        bank.tell("go")
        print(await news.get(), await news.get(), sep="\n")

        print("4. One for all: the siblings depend on each other, so they start anew together")
        together = SupervisorConfig(multi_child=MultiChildStrategy.ONE_FOR_ALL, backoff_initial=0.01)
        stages: dict[str, Exception] = {"read": OSError("no line"), "count": ValueError()}
        pipeline = await system.spawn(Parent, "pipeline", children=stages, policy=together)
        pipeline.tell("go")
        print(await news.get(), await news.get(), sep="\n")


if __name__ == "__main__":
    run(main())
