"""Finding one another: actors are listed under typed keys for as long as they live, and looked up or followed.

Run it with `python examples/discovery.py`. It prints:

    at first, nobody: 0 instances
    followed: []
    followed: ['berlin']
    followed: ['berlin', 'lisbon']
    berlin: it is 21 degrees
    lisbon: it is 27 degrees
    berlin stops, and is listed no longer
    followed: ['lisbon']
    under its path: /lisbon
    under a path where nobody is: None
"""

import asyncio
from dataclasses import dataclass

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    Listing,
    Register,
    ServiceKey,
    SubscribeListing,
    run,
)


@dataclass(frozen=True)
class GetWeather:
    reply_to: ActorRef[str]


# The key says what its actors understand. So `system.lookup(WEATHER)` gives refs of that type.
WEATHER: ServiceKey[GetWeather] = ServiceKey("weather")


def station(degrees: int) -> Behavior[GetWeather]:
    """A behavior is made discoverable from outside: it does not know of its key."""

    def receive(ctx: ActorContext[GetWeather], msg: GetWeather) -> Behavior[GetWeather]:
        msg.reply_to.tell(f"it is {degrees} degrees")
        return Behaviors.same()

    return Behaviors.discoverable(Behaviors.receive(receive), key=WEATHER)


class Station(Actor[GetWeather]):
    """An instance of a class registers itself with the receptionist."""

    def __init__(self, degrees: int) -> None:
        self.degrees = degrees

    def on_start(self) -> None:
        self.context.system.receptionist_ref.tell(Register(WEATHER, self.context.self))

    def receive(self, msg: GetWeather, ctx: ActorContext[GetWeather]) -> None:
        msg.reply_to.tell(f"it is {self.degrees} degrees")


async def main() -> None:
    async with ActorSystem() as system:
        print(f"at first, nobody: {len(system.lookup(WEATHER))} instances")

        # Who wants to know of every change subscribes, and gets a `Listing` now and with each of them.
        changes: asyncio.Queue[list[str]] = asyncio.Queue()

        def follow(
            ctx: ActorContext[Listing[GetWeather]], listing: Listing[GetWeather]
        ) -> Behavior[Listing[GetWeather]]:
            changes.put_nowait([instance.ref.name for instance in listing])
            return Behaviors.same()

        follower = system.spawn(Behaviors.receive(follow), "follower")
        system.receptionist_ref.tell(SubscribeListing(WEATHER, follower))
        print(f"followed: {await changes.get()}")

        berlin = system.spawn(station(21), "berlin")
        print(f"followed: {await changes.get()}")
        await system.spawn(Station, "lisbon", degrees=27)
        print(f"followed: {await changes.get()}")

        # A listing is a snapshot, in the order of registration.
        for instance in system.lookup(WEATHER):
            answer: str = await system.ask(instance.ref, lambda r: GetWeather(reply_to=r))
            print(f"{instance.ref.name}: {answer}")

        print("berlin stops, and is listed no longer")
        system.stop(berlin)
        print(f"followed: {await changes.get()}")

        # A path finds the one actor that lives there, if any.
        print(f"under its path: {(await system.lookup('/lisbon') or berlin).path}")
        print(f"under a path where nobody is: {await system.lookup('/berlin')}")


if __name__ == "__main__":
    run(main())
