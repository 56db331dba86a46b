"""The class style in one minute: an actor is a class with state of its own, and a ref is all that others have of it.

Run it with `python examples/hello.py`. It prints:

    Hello, Alice!
    Hello, Bob!
    Total greetings: 2
    Found under its name: Hello, Carol!
    Total greetings: 3
    It has stopped: /greeter can be asked no more
"""

from dataclasses import dataclass

from casty_asyncio import Actor, ActorRef, ActorStoppedError, ActorSystem, Context, run

# Messages are plain classes. Frozen ones are best: a message is shared by whoever sent it and whoever handles it.


@dataclass(frozen=True)
class Greet:
    """Say hello. Nobody waits for an answer."""

    name: str


@dataclass(frozen=True)
class GetGreetingCount:
    """How many have been greeted? Answered with an `int`."""


type GreeterMsg = Greet | GetGreetingCount


class Greeter(Actor[GreeterMsg]):
    """Handles one message at a time, so that `count` needs no lock."""

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting
        self.count = 0

    async def receive(self, msg: GreeterMsg, ctx: Context) -> None:
        match msg:
            case Greet(name):
                print(f"{self.greeting}, {name}!")
                self.count += 1
            case GetGreetingCount():
                ctx.reply(self.count)


async def main() -> None:
    # Leaving the block stops every actor and waits until all of them are gone.
    async with ActorSystem() as system:
        # Arguments that `spawn` does not know are those of `__init__`. The ref is typed: `greeter.send("Alice")` is
        # an error for a type checker.
        greeter: ActorRef[GreeterMsg] = await system.spawn(Greeter, name="greeter", greeting="Hello")

        await greeter.send(Greet("Alice"))  # sent, not handled yet: nobody waits
        await greeter.send(Greet("Bob"))
        # Messages from one sender arrive in the order sent, so both have been greeted when the answer comes.
        count: int = await greeter.ask(GetGreetingCount(), timeout=5.0)
        print(f"Total greetings: {count}")

        # Whoever has no ref finds the actor under its name.
        found = await system.lookup("greeter")
        assert found == greeter
        print("Found under its name: ", end="")
        found.tell(Greet("Carol"))  # the same as `await found.send(...)`, for code that cannot await
        print(f"Total greetings: {await found.ask(GetGreetingCount())}")

        # An ask always ends: here with an error at once, and not after five seconds of silence.
        system.stop(greeter)
        await system.wait_stopped(greeter)
        try:
            await greeter.ask(GetGreetingCount())
        except ActorStoppedError:
            print(f"It has stopped: {greeter.path} can be asked no more")


if __name__ == "__main__":
    run(main())
