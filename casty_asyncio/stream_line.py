"""Those who want to put into a full buffer, in line.

When there is room, as many as it is for are let in, the first ones first. Who is let in has the turn: it may go on
putting for as long as it does not suspend, so that one wake-up is good for more than one element. Who finds no room
after all keeps its place. Everybody else who comes while there is a line stands at its end, and so nobody starves.

Leaving the line lets the next one in, whatever the reason: its element was taken, it was cancelled, the stream was
closed. So the first in line has always been let in, or has been turned away by a full buffer, which will tell when it
has room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Any

from casty_proto.stream import FULL


class Line[E]:
    """A line in front of `offer`, which takes an element or returns `FULL`, and counts those whom it turned away."""

    __slots__ = ("_has_turn", "_loop", "_offer", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, offer: Callable[[E], int]) -> None:
        self._loop = loop
        self._offer = offer
        self.waiting: dict[object, asyncio.Future[None]] = {}
        """In order. A future that is done lets its owner in."""
        self._has_turn: asyncio.Task[Any] | None = None

    def offer(self, element: E) -> int:
        """Offer an element for somebody who comes while others wait: `FULL` unless it has the turn, or for `None`."""
        if element is not None and asyncio.current_task() is not self._has_turn:
            return FULL
        return self._offer(element)

    async def wait(self, element: E) -> int:
        """Offer an element as soon as there is room for it. Returns what the last offer returned, which is not `FULL`.

        When it is cancelled, the element was not taken.
        """
        me = object()
        waiting = self.waiting
        waiting[me] = self._loop.create_future()
        try:
            while True:
                await waiting[me]
                self._has_turn = asyncio.current_task()
                outcome = self._offer(element)
                if outcome != FULL:
                    return outcome
                waiting[me] = self._loop.create_future()
        finally:
            del waiting[me]
            self.admit(1)
            if not waiting:
                self._has_turn = None

    def admit(self, count: int) -> None:
        """Let the first `count` in."""
        for waiter in islice(self.waiting.values(), count):
            if not waiter.done():
                waiter.set_result(None)
