"""Entities of which there are many, and what they take up, in the figures of one process and of several."""

from __future__ import annotations

import gc
import os

from casty_asyncio import Actor, Context

from .nodes_peer import Add


class Thing(Actor[Add]):
    """An entity of which there are many."""

    def __init__(self, entity_id: str) -> None:
        self.entity_id = entity_id
        self.count = 0

    def receive(self, msg: Add, ctx: Context) -> None:
        self.count += msg.amount
        ctx.reply(self.count)


class Bare:
    """What the user's own object takes."""

    __slots__ = ("count", "entity_id")

    def __init__(self, entity_id: str) -> None:
        self.entity_id = entity_id
        self.count = 0


def memory() -> int:
    """The bytes that this process has in memory, without rubbish."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
