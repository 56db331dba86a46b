"""Stand-ins: cells outside of the tree, for actors that are elsewhere or gone. They are watched and never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from casty_proto.actor import Cell, Mailbox, Phase
from casty_proto.actor.supervision import STOP_ON_FAILURE

from .refs import ActorRef


class StandIn:
    """The body of such a cell: what a driver wants of the body of anything that can be watched."""

    __slots__ = ("_on_end", "ref")

    def __init__(self, ref: ActorRef[Any]) -> None:
        self.ref = ref
        self._on_end: list[Callable[[], None]] = []

    @property
    def is_needed(self) -> bool:
        """Whether somebody wants to be called back."""
        return bool(self._on_end)

    def call_at_end(self, callback: Callable[[], None]) -> None:
        """Call back once when the actor has stopped, as far as can be known here."""
        self._on_end.append(callback)

    def forget_at_end(self, callback: Callable[[], None]) -> None:
        """Undo `call_at_end`."""
        if callback in self._on_end:
            self._on_end.remove(callback)

    def ended(self, error: Exception | None) -> None:
        """The actor has stopped."""
        callbacks, self._on_end = self._on_end, []
        for callback in callbacks:
            callback()


def stand_in(ref: ActorRef[Any], number: int, phase: Phase) -> Cell:
    """A cell for an actor that runs elsewhere, or has stopped."""
    cell = Cell(number, ref.name, None, Mailbox(), STOP_ON_FAILURE, StandIn(ref), judges=False)
    cell.phase = phase
    return cell
