"""Who talks to the cluster during a campaign, and keeps account of what it was told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from casty_asyncio import OutcomeUnknownError, UnreachableError
from tests.asyncio.cluster.things import Add, Get, Say

ASK_SECONDS = 15.0
"""The timeout of an ask. Nothing that a campaign does lasts as long."""
SLACK_SECONDS = 5.0
"""How much later than its timeout an ask may end on a busy machine."""
_PAUSE = 0.004
_IDS = 12

ALLOWED = (OutcomeUnknownError, UnreachableError)
"""What an ask may raise when its node is gone. That it was not handled for all of its time is a finding."""


class Load:
    """Increments counters, each of them one at a time, and talks to the singleton, by way of one system.

    `counter` and `boss` make refs. `name` goes before the ids of the counters, so that each has one sender.
    """

    def __init__(self, name: str, counter: Callable[[str], Any], boss: Callable[[], Any]) -> None:
        self.name = name
        self._counter = counter
        self._boss = boss
        self.acknowledged = [0] * _IDS
        self.unknown = [0] * _IDS
        self._last = [0] * _IDS
        self.longest = 0.0
        self.findings: list[str] = []
        self._going = True
        self._tasks = [asyncio.ensure_future(self._count(number)) for number in range(_IDS)]
        self._tasks.append(asyncio.ensure_future(self._talk()))

    @property
    def total(self) -> int:
        """How many increments were acknowledged."""
        return sum(self.acknowledged)

    async def end(self) -> None:
        """Send no more, and wait for what is under way."""
        self._going = False
        _, late = await asyncio.wait(self._tasks, timeout=ASK_SECONDS + SLACK_SECONDS)
        for task in late:
            self.findings.append(f"{self.name}: an ask has not ended {SLACK_SECONDS:g} s after its timeout")
            task.cancel()
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self.findings.append(f"{self.name}: {type(error).__name__}: {error}")

    def cancel(self) -> None:
        """Send no more, whatever is under way."""
        for task in self._tasks:
            task.cancel()

    async def check(self) -> None:
        """Compare what was acknowledged with what is there."""
        for number in range(_IDS):
            found = await self._asked_again(self._counter(self._id(number)), Get())
            if found is None:
                continue
            least, most = self.acknowledged[number], self.acknowledged[number] + self.unknown[number]
            if not least <= found <= most:
                self.findings.append(f"{self._id(number)} has {found}, and not from {least} to {most}")

    def _id(self, number: int) -> str:
        return f"{self.name}-{number}"

    async def _count(self, number: int) -> None:
        while self._going:
            ref = self._counter(self._id(number))
            answer = await self._ask(ref, Add())
            if answer is None:
                self.unknown[number] += 1
            else:
                self.acknowledged[number] += 1
                # What was acknowledged before is in every answer after it.
                if answer <= self._last[number]:
                    self.findings.append(f"{self._id(number)} answers {answer} after {self._last[number]}")
                self._last[number] = answer
            await asyncio.sleep(_PAUSE * _IDS)

    async def _talk(self) -> None:
        while self._going:
            await self._ask(self._boss(), Say())
            await asyncio.sleep(_PAUSE)

    async def _asked_again(self, ref: Any, message: Any) -> Any:
        until = time.monotonic() + 2 * ASK_SECONDS
        while time.monotonic() < until:
            before = len(self.findings)
            answer = await self._ask(ref, message)
            if answer is not None or len(self.findings) > before:
                return answer
        self.findings.append(f"{self.name}: {ref.path} did not answer at all")
        return None

    async def _ask(self, ref: Any, message: Any) -> Any:
        """The answer; `None` when nobody knows whether it was handled, or when that is a finding."""
        began = time.monotonic()
        try:
            answer = await ref.ask(message, timeout=ASK_SECONDS)
        except ALLOWED:
            answer = None
        except Exception as error:
            logging.exception("%s: after %.3f s", self.name, time.monotonic() - began)
            self.findings.append(f"{self.name}: {type(error).__name__}: {error}")
            answer = None
        took = time.monotonic() - began
        self.longest = max(self.longest, took)
        if took > ASK_SECONDS + SLACK_SECONDS:
            self.findings.append(f"{self.name}: an ask of {ref.path} took {took:.1f} s")
        return answer
