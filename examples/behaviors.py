"""The behavior style: an actor is a function that handles a message and returns the behavior for the next one.

State is what the function closes over; to change it is to return another function. Run it with
`python examples/behaviors.py`. It prints:

    counter: 5
    door: opened
    door: it is open already
    shop: opening
    shop: closed for today
    shop: apples 3, pears 1
"""

from dataclasses import dataclass

from casty_asyncio import ActorContext, ActorRef, ActorSystem, Behavior, Behaviors, run

# -- 1. A counter without a variable that changes ----------------------------------------------------------------------


@dataclass(frozen=True)
class Increment:
    by: int = 1


@dataclass(frozen=True)
class GetCount:
    """A question carries the ref that wants the answer; its type says what the answer is."""

    reply_to: ActorRef[int]


type CounterMsg = Increment | GetCount


def counter(value: int = 0) -> Behavior[CounterMsg]:
    def receive(ctx: ActorContext[CounterMsg], msg: CounterMsg) -> Behavior[CounterMsg]:
        match msg:
            case Increment(by):
                return counter(value + by)
            case GetCount(reply_to):
                reply_to.tell(value)
                return Behaviors.same()

    return Behaviors.receive(receive)


# -- 2. Two behaviors that become one another: a state machine without a flag ------------------------------------------


@dataclass(frozen=True)
class Push:
    reply_to: ActorRef[str]


def closed_door() -> Behavior[Push]:
    def receive(ctx: ActorContext[Push], msg: Push) -> Behavior[Push]:
        msg.reply_to.tell("opened")
        return open_door()

    return Behaviors.receive(receive)


def open_door() -> Behavior[Push]:
    def receive(ctx: ActorContext[Push], msg: Push) -> Behavior[Push]:
        msg.reply_to.tell("it is open already")
        return Behaviors.same()

    return Behaviors.receive(receive)


# -- 3. Setup and hooks: an actor with children of its own -------------------------------------------------------------


@dataclass(frozen=True)
class Sold:
    fruit: str


@dataclass(frozen=True)
class Close:
    reply_to: ActorRef[str]


type ShopMsg = Sold | Close


def shop(*fruits: str) -> Behavior[ShopMsg]:
    def setup(ctx: ActorContext[ShopMsg]) -> Behavior[ShopMsg]:
        # This runs at the start, and again at each restart, with the actor's own context.
        counters = {fruit: ctx.spawn(counter(), fruit) for fruit in fruits}

        async def receive(ctx: ActorContext[ShopMsg], msg: ShopMsg) -> Behavior[ShopMsg]:
            match msg:
                case Sold(fruit) if fruit in counters:
                    counters[fruit].tell(Increment())
                    return Behaviors.same()
                case Sold():
                    return Behaviors.unhandled()
                case Close(reply_to):
                    sold: list[str] = []
                    for fruit, ref in counters.items():
                        count: int = await ctx.system.ask(ref, lambda r: GetCount(reply_to=r))
                        sold.append(f"{fruit} {count}")
                    reply_to.tell(", ".join(sold))
                    return Behaviors.stopped()

        return Behaviors.receive(receive)

    def post_stop(ctx: ActorContext[ShopMsg]) -> None:
        print(f"{ctx.self.name}: closed for today")

    return Behaviors.with_lifecycle(
        Behaviors.setup(setup), pre_start=lambda ctx: print(f"{ctx.self.name}: opening"), post_stop=post_stop
    )


async def main() -> None:
    async with ActorSystem() as system:
        # A behavior's ref is there at once, nothing to await: messages wait until the actor has started.
        ref = system.spawn(counter(), "counter")
        ref.tell(Increment(2))
        ref.tell(Increment(3))
        count: int = await system.ask(ref, lambda r: GetCount(reply_to=r), timeout=5.0)
        print(f"counter: {count}")

        door = system.spawn(closed_door(), "door")
        for _ in range(2):
            print(f"door: {await system.ask(door, Push)}")  # Push itself makes the message of its reply_to

        stand = system.spawn(shop("apples", "pears"), "shop")
        for fruit in ("apples", "pears", "apples", "apples"):
            stand.tell(Sold(fruit))
        report: str = await system.ask(stand, lambda r: Close(reply_to=r))
        await system.wait_stopped(stand)  # its children first, then its last hook
        print(f"shop: {report}")


if __name__ == "__main__":
    run(main())
