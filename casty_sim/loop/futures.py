"""Tasks and futures that are told apart by the number of their making.

`TaskGroup`, `wait`, `gather` and the registry of all tasks keep them in sets, whose order is that of the hashes. By
default that is the address in memory: another one in every process. A number that counts them is the same in each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .loop import SimLoop


class SimFuture[T](asyncio.Future[T]):
    """A future of a simulated loop."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        # Counted when it is asked for: most futures never are, and the order of asking is the same in every run.
        try:
            return self.number
        except AttributeError:
            self.number = number = cast("SimLoop", self.get_loop()).next_number()
            return number


class SimTask[T](asyncio.Task[T]):
    """A task of a simulated loop."""

    __slots__ = ("number",)

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        loop: SimLoop,
        name: str | None,
        context: Context | None,
        **more: Any,
    ) -> None:
        # The registry of all tasks asks for the hash before the end of the constructor.
        self.number = number = loop.next_number()
        # The default name counts all tasks of the process, whoever has made them.
        super().__init__(coro, loop=loop, name=f"Task-{number}" if name is None else name, context=context, **more)

    def __hash__(self) -> int:
        return self.number


def number_gatherings() -> None:
    """Give the futures that `asyncio.gather` makes numbers as well, which no loop is asked to make."""
    kind: Any = asyncio.tasks._GatheringFuture  # type: ignore[attr-defined]
    if "__hash__" not in kind.__dict__ or kind.__hash__ is not _gathering_hash:
        kind.__hash__ = _gathering_hash


def _gathering_hash(future: Any) -> int:
    number: int | None = getattr(future, "_sim_number", None)
    if number is None:
        next_number = getattr(future.get_loop(), "next_number", None)
        number = future._sim_number = object.__hash__(future) if next_number is None else next_number()
    return number
