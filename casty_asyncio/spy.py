"""Spies: what an actor handles, told to an observer as well.

Spying must not change what it looks at. So a full or stopped observer is no concern of the actor; an observer is not
told of its own messages; and nobody is told of `SpyEvent`s, or two actors that observe each other would never rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from .events import is_gone, notify

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
        message = args[position]
        if type(message) is not SpyEvent:
            event = SpyEvent(path, message, clock())
            for observer in dict.fromkeys(spy.observer for spy in body.spies):
                if observer != body.ref and not is_gone(observer):
                    notify(observer, event)
        return handler(*args)

    return observe
