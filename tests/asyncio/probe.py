"""A probe: an actor that keeps what it is told, for a test to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from casty_asyncio import ActorContext, ActorRef, ActorSystem, Behavior, Behaviors, EventStreamPublish

PATIENCE = 5.0
"""Seconds after which a message that a test waits for counts as lost."""


class Probe:
    """Collects messages of any type. `ref` is the actor to tell them to."""

    def __init__(self, system: ActorSystem, name: str | None = None) -> None:
        self._come: asyncio.Queue[Any] = asyncio.Queue()
        self.system = system
        self.ref: ActorRef[Any] = system.spawn(self.behavior(), name)

    def behavior(self) -> Behavior[Any]:
        """What the probe does; spawn it again for an actor of another kind that tells the same probe."""

        async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            self._come.put_nowait(message)
            return Behaviors.same()

        return Behaviors.receive(receive)

    async def next(self) -> Any:
        """The next message."""
        async with asyncio.timeout(PATIENCE):
            return await self._come.get()

    async def take(self, count: int) -> list[Any]:
        """The next `count` messages."""
        return [await self.next() for _ in range(count)]

    async def all(self) -> list[Any]:
        """Every message that was told before this call and not taken yet."""
        end = object()
        self.ref.tell(end)
        return await self.until(end)

    async def events(self) -> list[Any]:
        """Every event of what was told before this call, and not taken yet. The probe must be subscribed to `Marker`.

        When the first marker comes, everybody who had something to do has had a turn; what they published in it comes
        before the second.
        """
        found: list[Any] = []
        for end in (Marker(), Marker()):
            self.system.event_stream.tell(EventStreamPublish(end))
            found += await self.until(end)
        return found

    async def until(self, end: Any) -> list[Any]:
        """The messages before the message `end`, which is taken as well."""
        found: list[Any] = []
        while (message := await self.next()) is not end:
            found.append(message)
        return found


class Marker:
    """An event that ends what `Probe.events` collects."""


class Gate:
    """An actor whose handler waits until the gate is open; for full mailboxes."""

    def __init__(self) -> None:
        self.busy = asyncio.Event()
        """Set while the handler has a message in hand."""
        self.opened = asyncio.Event()
        self.handled: asyncio.Queue[Any] = asyncio.Queue()

    def behavior(self) -> Behavior[Any]:
        async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            self.busy.set()
            await self.opened.wait()
            self.handled.put_nowait(message)
            return Behaviors.same()

        return Behaviors.receive(receive)

    async def hold(self, ref: ActorRef[Any], message: Any = "held") -> None:
        """Tell a message and wait until it is in hand: from now on, what is told waits."""
        self.busy.clear()
        ref.tell(message)
        await within(self.busy.wait())

    async def open(self, ref: ActorRef[Any], count: int) -> list[Any]:
        """Let the actor handle the message in hand and `count` that wait, and return those. There must be no more."""
        self.opened.set()
        _, *found = [await within(self.handled.get()) for _ in range(count + 1)]
        ref.tell(self)
        assert await within(self.handled.get()) is self
        return found


async def within(awaitable: Awaitable[Any]) -> Any:
    """Wait, but not for ever."""
    async with asyncio.timeout(PATIENCE):
        return await awaitable
