"""Spies: what an actor handles, told to an observer as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from .body import Body


@frozen
class SpyEvent[M]:
    """A message (or a notice, like `Terminated`) that the actor at `actor_path` was about to handle.

    `timestamp` is in seconds on the clock of the event loop.
    """

    actor_path: str
    event: M
    timestamp: float


def spied(body: Body, handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, with every message told to the spies of the actor first."""
    clock, path = body.runtime.loop.time, body.cell.path
    position = 1 if body.context_first else 0

    def observe(*args: Any) -> Any:
        event = SpyEvent(path, args[position], clock())
        for spy in body.spies:
            spy.observer.tell(event)
        return handler(*args)

    return observe
