"""What did not arrive, on either side, and what that says about whom it was for (rule 3).

A frame that cannot be decoded, or whose receiver is not there, is refused, and the sender makes a dead letter of it: it
has the message still. What it learns from that, and from the news of an actor's end, it keeps for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casty_proto.actor import Envelope, Reason
from casty_proto.link import Entry
from casty_proto.stream import StreamCompleted, StreamElement, StreamElements, StreamFailed
from casty_proto.wire import EncodeError, Malformed, Refused
from casty_proto.wire.envelopes import REFUSED, RefusedBecause, frame_two

from ..errors import NotSendableError

if TYPE_CHECKING:
    from ..asks import Ask
    from .conversation import Conversation
    from .refs import RemoteRef

GONE_MAX = 4096
"""How many actors of one process are remembered that have stopped. Of more the oldest are forgotten."""
HANDLED = object()
"""Stands for the message of an ask that was answered: it cannot be lost any more."""
_UNMISSED = (StreamElement, StreamElements, StreamCompleted, StreamFailed)
"""What was on its way when a consumer left is dropped silently (stream rule 24)."""


class Asked:
    """An ask that was sent, and is to be answered there."""

    __slots__ = ("ask", "message", "ref")

    def __init__(self, ask: Ask, ref: RemoteRef[Any], message: Any) -> None:
        self.ask = ask
        self.ref = ref
        self.message = message
        """What was sent, in case that it is lost."""


class Undelivered:
    """What did not arrive, with one peer."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._gone: dict[int, None] = {}
        """The numbers of those there that have stopped, the oldest news first. No number is ever used again."""

    # -- here ----------------------------------------------------------------------------------------------------------

    def refuse(self, number: int, reason: RefusedBecause, error: Refused | None = None) -> None:
        """The `number`-th frame of the peer cannot be delivered."""
        if error is not None:
            self.complain(error)
        conversation = self._conversation
        if conversation.say(frame_two(REFUSED, number, reason)):
            conversation.session.refuse(number)

    def complain(self, error: Refused) -> None:
        """What the peer has sent cannot be decoded."""
        peer = self._conversation.peer
        peer.transport.complain(str(peer.node), "undecodable", f"a message of {peer.node} is refused: {error}")

    # -- there ---------------------------------------------------------------------------------------------------------

    def on_refused(self, number: int, reason: int) -> None:
        """What was sent did not arrive. Raises `Malformed`."""
        if reason not in (*RefusedBecause,):
            raise Malformed(f"a frame was refused for the reason {reason}, which is none")
        entry = self._conversation.session.sent(number)
        if entry is None or entry[1] is None:
            raise Malformed("a frame was refused that is no message")
        if reason == RefusedBecause.UNKNOWN:
            self.remember_gone(entry[1].number)
            self.report(entry, Reason.STOPPED)
        else:
            self.report(entry, Reason.UNDECODABLE)

    def report(self, entry: Entry, reason: Reason) -> None:
        """A message did not arrive, and becomes a dead letter."""
        to, message = entry[1:]
        if type(message) is Asked:
            message = message.message
        if message is HANDLED:
            return
        runtime = self._conversation.runtime
        if type(message) is not Envelope:
            runtime.dead_letter(to, message, reason)
        elif reason is not Reason.STOPPED or not isinstance(message.message, _UNMISSED):
            runtime.dead_letter(to, message.message, reason, message.sender)

    # -- who is gone ---------------------------------------------------------------------------------------------------

    def is_gone(self, number: int) -> bool:
        """Whether whoever has that number there is known to have stopped."""
        return number in self._gone

    def remember_gone(self, number: int) -> None:
        """Whoever has that number there has stopped."""
        self._gone[number] = None
        if len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]


def not_sendable(what: str, ref: RemoteRef[Any], error: EncodeError, has_sender: bool = False) -> NotSendableError:
    """The error of whoever sends what cannot be sent."""
    text = str(error)
    if has_sender:
        # They are sent as a tuple, of which nobody knows.
        text = text.replace("tuple[0]", what, 1) if text.startswith("tuple[0]") else text
        text = text.replace("tuple[1]", "its sender", 1) if text.startswith("tuple[1]") else text
    return NotSendableError(f"{what} cannot be sent to {ref.address}: {text}")
