"""Tasks of asyncio, in orders that do not depend on where objects are in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .replace import Place

if TYPE_CHECKING:
    from ..loop import SimLoop

_all_tasks, _as_completed = asyncio.all_tasks, asyncio.as_completed


def _every(loop: SimLoop, which: Any = None) -> set[Any]:
    """The registry of asyncio has those of all loops, and of earlier worlds: the order of a set depends on that."""
    tasks = sorted(_all_tasks(which), key=lambda task: getattr(task, "number", 0))
    return set(tasks)


def _completed(loop: SimLoop, fs: Any, *, timeout: float | None = None) -> Any:
    """It makes a set of what it is given, which for coroutines is in the order of their addresses."""
    if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
        raise TypeError(f"expect an iterable of futures, not {type(fs).__name__}")
    if isinstance(_as_completed, type(_lazily)) and _as_completed.__code__.co_flags & 0x20:
        return _lazily(fs, timeout)
    return _as_completed(_futures(fs), timeout=timeout)


def _lazily(fs: Any, timeout: float | None) -> Iterator[Any]:
    """Before Python 3.13 it began with the first that was asked for."""
    yield from _as_completed(_futures(fs), timeout=timeout)


def _futures(fs: Any) -> list[asyncio.Future[Any]]:
    return [asyncio.ensure_future(each) for each in dict.fromkeys(fs)]


def places() -> list[Place]:
    """The functions of `asyncio`."""
    return [Place(asyncio.tasks, "all_tasks", _every), Place(asyncio.tasks, "as_completed", _completed)]
