"""Refs to actors of other processes."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Cell, Phase, Reason
from casty_proto.wire import Node

from ..errors import UnreachableError
from ..refs import ActorRef
from ..stand_in import stand_in
from .asking import ask_remote
from .exports import is_handle

if TYPE_CHECKING:
    from .conversation import Conversation
    from .remoting import Remoting


class RemoteRef[M](ActorRef[M]):
    """The ref of one incarnation of an actor of another process, or of the handle of an ask there."""

    __slots__ = ("_conversation", "_remoting", "node", "number", "remote_path")

    def __init__(self, remoting: Remoting, node: Node, path: str, number: int) -> None:
        self._remoting = remoting
        self._conversation: Conversation | None = None
        self.node = node
        """The process."""
        self.remote_path = path
        self.number = number
        """Its incarnation, which no other actor of that process has."""

    @property
    def conversation(self) -> Conversation:
        """What is said between its process and this one."""
        found = self._conversation
        if found is None:
            found = self._conversation = self._remoting.conversation_with(self.node)
        return found

    def tell(self, message: M, sender: ActorRef[Any] | None = None) -> None:
        """Send a message and go on; see `ActorRef.tell`.

        Raises `NotSendableError` for what cannot be sent to another process. What waits for one process is limited:
        beyond that a message becomes a dead letter; `send` waits instead.
        """
        try:
            conversation = self._conversation or self.conversation
        except UnreachableError:
            self._remoting.runtime.dead_letter(self, message, Reason.UNREACHABLE, sender)
            return
        conversation.tell(self, message, sender)

    async def send(self, message: M, sender: ActorRef[Any] | None = None) -> None:
        """As `tell`, but waits while too much waits for that process."""
        try:
            conversation = self._conversation or self.conversation
        except UnreachableError:
            pass  # A dead letter, as below.
        else:
            if not conversation.session.has_room:
                await conversation.room()
        self.tell(message, sender)

    def ask(self, message: M, timeout: float = 5.0) -> Coroutine[Any, Any, Any]:
        """Ask; see `ActorRef.ask`. Raises `UnreachableError` as well, when the actor's process is lost."""
        return ask_remote(self._remoting.runtime, self, message, None, timeout)

    def _offer(self, message: M, sender: ActorRef[Any] | None) -> bool:
        try:
            return self.conversation.offer(self, message, sender)
        except UnreachableError:
            return False

    def _watchable(self) -> Cell | None:
        if is_handle(self.number):
            return None
        try:
            return self.conversation.watching.stand_in(self)
        except UnreachableError:
            return stand_in(self, self.number, Phase.STOPPED)

    def _is_gone(self) -> bool:
        # Who was never told anything has no conversation yet, and is not worth one.
        conversation = self._conversation
        return conversation is not None and conversation.is_gone(self.number)

    @property
    def path(self) -> str:
        return self.remote_path

    @property
    def address(self) -> str:
        where = f"@{self.node.address}" if self.node.address else ""
        return f"casty://{self._remoting.runtime.name}{where}{self.remote_path}#{self.number}"

    def __repr__(self) -> str:
        return f"ActorRef({self.address})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteRef):
            return NotImplemented
        ours, theirs = self.node, other.node
        return (
            self.number == other.number
            and ours.generation == theirs.generation
            and ours.node_id == theirs.node_id
            and self._remoting is other._remoting
        )

    def __hash__(self) -> int:
        return hash((self.number, self.node.generation))
