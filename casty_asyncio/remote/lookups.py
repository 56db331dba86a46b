"""Lookups of actors by their paths, between two processes (rule 7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from casty_proto.wire import Malformed
from casty_proto.wire.envelopes import FOUND, LOOKUP, frame_two

from ..errors import UnreachableError
from .refs import RemoteRef

if TYPE_CHECKING:
    from .conversation import Conversation


class Lookups:
    """Both directions of looking up, with one peer."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._waiting)

    async def lookup(self, path: str, incarnation: int | None) -> RemoteRef[Any] | None:
        """The actor at a path there. Raises `UnreachableError`."""
        conversation = self._conversation
        node, gone = conversation.peer.node, conversation.peer.link.gone
        if gone is not None:
            raise UnreachableError(f"{node} is lost: {gone}")
        self._last_number = number = self._last_number + 1
        self._waiting[number] = found = conversation.runtime.loop.create_future()
        conversation.be_interested()
        conversation.say(frame_two(LOOKUP, number, incarnation or 0, path.encode()))
        try:
            at = await found
        finally:
            del self._waiting[number]
        return RemoteRef(conversation.remoting, node, path, at) if at else None

    def on_lookup(self, request: int, incarnation: int, path: str) -> None:
        """Somebody there looks for an actor here."""
        remoting = self._conversation.remoting
        found = remoting.find_local(path, incarnation or None)
        number = 0 if found is None else remoting.exports.number_of(found)
        self._conversation.say(frame_two(FOUND, request, number))

    def on_found(self, request: int, number: int) -> None:
        """What was looked for there was found, or is not there. Raises `Malformed`."""
        if not 0 < request <= self._last_number:
            raise Malformed("an answer came to what was never asked")
        waiting = self._waiting.get(request)
        if waiting is not None and not waiting.done():
            waiting.set_result(number)

    def lost(self, text: str) -> None:
        """The process is lost."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(UnreachableError(f"{self._conversation.peer.node} is lost: {text}"))
