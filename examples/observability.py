"""Seeing what happens: the event stream, messages that could not be delivered, and spies.

Run it with `python examples/observability.py`. It prints:

    1. The event stream tells of every actor's life
      started  /observer
      started  /till
      stopped  /till
    2. Nothing is lost silently: what was not delivered or not understood is an event with its reason
      dead letter 'too late' to /till: the actor has stopped
      dead letter 'third' to /small: the mailbox was full
      dead letter 'anyone?' to /nobody: there is no actor at this path
      unhandled 'gibberish' by /strict
      3 messages were not delivered so far
    3. An application publishes events of its own
      the till was emptied: 120
    4. A spy sees what an actor and its children handle
      /manager handles 'clean up'
      /manager/helper handles 'sweep'
      /manager/helper handles 'dust'
"""

import asyncio
import logging
from dataclasses import dataclass

from casty_asyncio import (
    ActorContext,
    ActorStarted,
    ActorStopped,
    ActorSystem,
    Behavior,
    Behaviors,
    DeadLetter,
    EventStreamPublish,
    EventStreamSubscribe,
    EventStreamUnsubscribe,
    Mailbox,
    SpyEvent,
    UnhandledMessage,
    run,
)

# Dead letters are logged as well, the first few of them. This program prints the events instead.
logging.getLogger("casty").setLevel(logging.ERROR)


@dataclass(frozen=True)
class TillEmptied:
    """An event of the application's own: any class will do."""

    amount: int


type Event = ActorStarted | ActorStopped | DeadLetter | UnhandledMessage | TillEmptied | SpyEvent[str]


def describe(event: Event) -> str:
    match event:
        case ActorStarted(ref):
            return f"started  {ref.path}"
        case ActorStopped(ref):
            return f"stopped  {ref.path}"
        case DeadLetter(message, ref, reason):
            return f"dead letter {message!r} to {ref.path}: {reason}"
        case UnhandledMessage(message, ref):
            return f"unhandled {message!r} by {ref.path}"
        case TillEmptied(amount):
            return f"the till was emptied: {amount}"
        case SpyEvent(actor_path, message):
            return f"{actor_path} handles {message!r}"


def observer(lines: asyncio.Queue[str]) -> Behavior[Event]:
    """A subscriber is an actor like any other; this one hands over what it hears."""

    def receive(ctx: ActorContext[Event], event: Event) -> Behavior[Event]:
        lines.put_nowait(f"  {describe(event)}")
        return Behaviors.same()

    return Behaviors.receive(receive)


def strict() -> Behavior[str]:
    """Understands nothing."""
    return Behaviors.receive(lambda ctx, msg: Behaviors.unhandled())


def manager() -> Behavior[str]:
    """Has a helper do it."""

    def setup(ctx: ActorContext[str]) -> Behavior[str]:
        helper = ctx.spawn(Behaviors.ignore(), "helper")

        def receive(ctx: ActorContext[str], msg: str) -> Behavior[str]:
            helper.tell("sweep")
            helper.tell("dust")
            return Behaviors.same()

        return Behaviors.receive(receive)

    return Behaviors.setup(setup)


async def main() -> None:
    async with ActorSystem() as system:
        lines: asyncio.Queue[str] = asyncio.Queue()
        watcher = system.spawn(observer(lines), "observer")

        print("1. The event stream tells of every actor's life")
        system.event_stream.tell(EventStreamSubscribe(ActorStarted | ActorStopped, watcher))
        till = system.spawn(Behaviors.ignore(), "till")
        print(await lines.get())  # the observer's own start, which came after it had subscribed
        print(await lines.get())
        system.stop(till)
        print(await lines.get())

        print("2. Nothing is lost silently: what was not delivered or not understood is an event with its reason")
        system.event_stream.tell(EventStreamUnsubscribe(watcher))
        system.event_stream.tell(EventStreamSubscribe(DeadLetter | UnhandledMessage, watcher))
        till.tell("too late")
        small = system.spawn(Behaviors.ignore(), "small", mailbox=Mailbox(capacity=2))
        for message in ("first", "second", "third"):
            small.tell(message)
        system.lookup("/nobody").tell("anyone?")
        system.spawn(strict(), "strict").tell("gibberish")
        for _ in range(4):
            print(await lines.get())
        print(f"  {system.dead_letters} messages were not delivered so far")

        print("3. An application publishes events of its own")
        system.event_stream.tell(EventStreamSubscribe(TillEmptied, watcher))
        system.event_stream.tell(EventStreamPublish(TillEmptied(120)))
        print(await lines.get())

        print("4. A spy sees what an actor and its children handle")
        system.spawn(Behaviors.spy(manager(), watcher, spy_children=True), "manager").tell("clean up")
        for _ in range(3):
            print(await lines.get())


if __name__ == "__main__":
    run(main())
