"""Entities that add up, for tests of clusters."""

from __future__ import annotations

from attrs import frozen

from casty_asyncio import Actor, Context


@frozen
class Add:
    number: int


class Counter(Actor[Add]):
    """Adds up."""

    def __init__(self, entity_id: str) -> None:
        self.value = 0

    async def receive(self, msg: Add, ctx: Context[Add]) -> None:
        self.value += msg.number
        ctx.reply(self.value)
