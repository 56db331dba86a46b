"""Two programs on two terminals: a kitchen, and a waiter who brings it orders from another process.

A system with `remote=` listens. Whoever knows the address of an actor looks it up, and from then on its ref is a ref
like any other: it is told and asked, watched, and streamed from, and it can be sent to somebody else. In one terminal
run `python examples/two_terminals.py kitchen`, and in another `python examples/two_terminals.py waiter`.

The waiter prints:

    ── Asking ──
      Soup is 4.5, says the kitchen
      no such dish: KeyError('Lobster')
    ── Telling ──
      ready: 2 x Soup
      ready: 1 x Bread
    ── A stream, as fast as it is eaten ──
      course 1: Soup
      course 2: Bread
      course 3: Tea
    ── The kitchen closes ──
      Terminated: /kitchen

and the kitchen:

    ── The kitchen is open ──
      2 x Soup
      1 x Bread
      a menu of 3 courses
    ── The kitchen is closed ──
"""

import argparse
import asyncio
from dataclasses import dataclass

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorFailedError,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    Context,
    GetSink,
    GetSource,
    Remote,
    SinkRef,
    SourceRef,
    StreamProducerMsg,
    SupervisionStrategy,
    Terminated,
    UnreachableError,
    message,
    run,
    stream_consumer,
    stream_producer,
    supervised,
)

PRICES = {"Soup": 4.5, "Bread": 1.0, "Tea": 2.0}


# What two programs say to each other is defined where both can import it. A name of its own keeps a class known to
# older and newer programs when it moves to another module.
@message(name="diner.Price")
@dataclass(frozen=True)
class Price:
    dish: str


@message(name="diner.Order")
@dataclass(frozen=True)
class Order:
    dish: str
    count: int


@message(name="diner.Ready")
@dataclass(frozen=True)
class Ready:
    order: Order


@message(name="diner.Menu")
@dataclass(frozen=True)
class Menu:
    reply_to: ActorRef[ActorRef[StreamProducerMsg[str]]]


@message(name="diner.Close")
@dataclass(frozen=True)
class Close:
    pass


@supervised(strategy=SupervisionStrategy.RESTART, max_restarts=10, backoff_initial=0.0)
class Kitchen(Actor[Price | Order | Menu | Close]):
    async def receive(self, msg: Price | Order | Menu | Close, ctx: Context) -> None:
        match msg:
            case Price(dish):
                ctx.reply(PRICES[dish])  # a dish that is not there fails the ask, over there as it would here
            case Order(dish, count):
                print(f"  {count} x {dish}")
                ctx.reply(Ready(msg))  # the sender is an actor of the other process
            case Menu(reply_to):
                print(f"  a menu of {len(PRICES)} courses")
                producer = ctx.system.spawn(stream_producer())
                sink: SinkRef[str] = await ctx.system.ask(producer, lambda r: GetSink(reply_to=r))
                for dish in PRICES:
                    await sink.put(dish)
                await sink.complete()
                reply_to.tell(producer)
            case Close():
                ctx.stop()


async def kitchen(port: int) -> None:
    """The first terminal."""
    # Only those who know the secret may come in. Over a network that others use, add `tls=`.
    async with ActorSystem("diner", remote=Remote("127.0.0.1", port, secret="knock twice")) as system:
        ref = await system.spawn(Kitchen, name="kitchen")
        print("── The kitchen is open ──", flush=True)
        if port == 0:
            print(system.address, flush=True)  # any port that was free
        await system.wait_stopped(ref)
    print("── The kitchen is closed ──")


async def waiter(address: str) -> None:
    """The second terminal."""
    # Without a host it listens nowhere; the kitchen answers over the waiter's own connection.
    async with ActorSystem("diner", remote=Remote(secret="knock twice")) as system:
        try:
            there = await system.lookup(f"casty://diner@{address}/kitchen")
        except UnreachableError as error:
            raise SystemExit(f"Is the kitchen open? {error}") from None
        assert there is not None
        await serve(system, there)


async def serve(system: ActorSystem, there: ActorRef[Price | Order | Menu | Close]) -> None:
    print("── Asking ──")
    print(f"  Soup is {await there.ask(Price('Soup'))}, says the kitchen")
    try:
        await there.ask(Price("Lobster"))
    except ActorFailedError as error:
        # The cause came along, and its notes have the traceback of the kitchen's process.
        print(f"  no such dish: {error.__cause__!r}")

    print("── Telling ──")
    orders = [Order("Soup", 2), Order("Bread", 1)]
    served = asyncio.Event()
    gone = asyncio.Event()
    table = system.spawn(guest(there, len(orders), served, gone), "table")
    for order in orders:
        there.tell(order, sender=table)
    await served.wait()

    print("── A stream, as fast as it is eaten ──")
    producer: ActorRef[StreamProducerMsg[str]] = await system.ask(there, lambda r: Menu(reply_to=r))
    consumer = system.spawn(stream_consumer(producer, initial_demand=1, timeout=5.0))
    source: SourceRef[str] = await system.ask(consumer, lambda r: GetSource(reply_to=r))
    number = 0
    async for dish in source:
        number += 1
        print(f"  course {number}: {dish}")

    print("── The kitchen closes ──")
    there.tell(Close())
    await gone.wait()


def guest(
    there: ActorRef[Price | Order | Menu | Close], orders: int, served: asyncio.Event, gone: asyncio.Event
) -> Behavior[Ready | Terminated]:
    """An actor at the table: it watches the kitchen, and is told when a dish is ready."""
    left = orders

    async def receive(ctx: ActorContext[Ready | Terminated], msg: Ready | Terminated) -> Behavior[Ready | Terminated]:
        nonlocal left
        match msg:
            case Ready(Order(dish, count)):
                print(f"  ready: {count} x {dish}")
                left -= 1
                if not left:
                    served.set()
            case Terminated(ref):
                # This comes also when the kitchen's process is gone, or cannot be reached any more.
                print(f"  Terminated: {ref.path}")
                gone.set()
        return Behaviors.same()

    def setup(ctx: ActorContext[Ready | Terminated]) -> Behavior[Ready | Terminated]:
        ctx.watch(there)
        return Behaviors.receive(receive)

    return Behaviors.setup(setup)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A kitchen and a waiter, in two processes.")
    parser.add_argument("role", choices=["kitchen", "waiter"])
    parser.add_argument("--port", type=int, default=25520, help="where the kitchen listens (default: 25520)")
    options = parser.parse_args()
    run(kitchen(options.port) if options.role == "kitchen" else waiter(f"127.0.0.1:{options.port}"))
