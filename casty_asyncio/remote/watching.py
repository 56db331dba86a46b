"""Who watches whom across processes (rule 5).

The engine knows cells only. An actor elsewhere that is watched here has a stand-in: a cell outside of the tree that
never runs, watched like any other. When the news of the actor's end comes, or its process is lost, the stand-in is
stopped, and the engine tells the watchers as it always does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Cell, Phase, Stop
from casty_proto.wire.envelopes import TERMINATED, UNWATCH, WATCH, frame_one

from ..stand_in import stand_in
from .exports import exported_actor

if TYPE_CHECKING:
    from .conversation import Conversation
    from .refs import RemoteRef


class Watching:
    """Both directions of watching, with one peer."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._stand_ins: dict[int, Cell] = {}
        """Actors there, by their numbers."""
        self._watched: dict[int, tuple[Any, Callable[[], None]]] = {}
        """Actors here: the body, and what is called at its end."""

    @property
    def is_needed(self) -> bool:
        """Whether anybody here waits for the end of somebody there."""
        return any(cell.watchers or cell.body.is_needed for cell in self._stand_ins.values())

    @property
    def is_used(self) -> bool:
        """Whether anybody, here or there, waits for the end of somebody."""
        return bool(self._stand_ins or self._watched)

    # -- actors there --------------------------------------------------------------------------------------------------

    def stand_in(self, ref: RemoteRef[Any]) -> Cell:
        """The cell that stands for an actor there. It has stopped already where the process is lost for good."""
        conversation = self._conversation
        found = self._stand_ins.get(ref.number)
        if found is not None:
            return found
        if conversation.peer.link.gone is not None:
            return stand_in(ref, ref.number, Phase.STOPPED)
        cell = self._stand_ins[ref.number] = stand_in(ref, ref.number, Phase.RUNNING)
        conversation.say(frame_one(WATCH, ref.number))
        conversation.be_interested()
        return cell

    def on_terminated(self, number: int) -> None:
        """An actor there has stopped."""
        self._conversation.undelivered.remember_gone(number)
        cell = self._stand_ins.pop(number, None)
        if cell is not None:
            self._conversation.runtime.feed(Stop(cell))

    def sweep(self) -> None:
        """Let go of those that nobody watches any more."""
        for number, cell in list(self._stand_ins.items()):
            if not cell.watchers and not cell.body.is_needed:
                del self._stand_ins[number]
                self._conversation.say(frame_one(UNWATCH, number))

    # -- actors here ---------------------------------------------------------------------------------------------------

    def on_watch(self, number: int) -> None:
        """Somebody there watches an actor here."""
        if number in self._watched:
            return
        ref = exported_actor(self._conversation.remoting.exports.find(number))
        if ref is None:
            self._conversation.say(frame_one(TERMINATED, number))
            return

        def ended() -> None:
            del self._watched[number]
            self._conversation.say(frame_one(TERMINATED, number))

        body = ref._cell.body
        self._watched[number] = (body, ended)
        body.call_at_end(ended)

    def on_unwatch(self, number: int) -> None:
        """Nobody there watches it any more."""
        found = self._watched.pop(number, None)
        if found is not None:
            found[0].forget_at_end(found[1])

    # -- the end -------------------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """The process is lost: so are all actors there, and nobody there watches."""
        cells, self._stand_ins = self._stand_ins, {}
        for number in list(self._watched):
            self.on_unwatch(number)
        for cell in cells.values():
            self._conversation.runtime.feed(Stop(cell))
