"""One message for an entity, from its arrival at the owner of the shard to its end.

Where it is handled it is an ordinary `Ask`, and the `Turn` stands for its future: what settles the ask is an answer to
whoever asked, wherever that is. The answer of a type that is replicated waits until the state after the message is
kept (`entities.py`, rule 4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Reason

from ..asks import OVER, Ask, over
from ..errors import ActorFailedError, ActorStoppedError, NotSendableError, OutcomeUnknownError
from ..mail import Parcel
from ..refs import ActorRef
from .answers import give_answer
from .items import EntityAnswer, Form

if TYPE_CHECKING:
    from .entities import Entity
    from .hosting import Hosting


class Turn:
    """A message, and what becomes of it."""

    __slots__ = (
        "_callbacks",
        "_hosting",
        "_is_over",
        "answer",
        "arrival",
        "ask",
        "attempts",
        "data",
        "entity",
        "form",
        "handle",
        "has_begun",
        "sender",
    )

    def __init__(self, hosting: Hosting, data: bytes, arrival: int) -> None:
        self._hosting = hosting
        self._is_over = False
        self._callbacks: list[Callable[[Any], None]] | None = None
        self.data = data
        """The message as it came, for whoever owns the shard next."""
        self.arrival = arrival
        self.entity: Entity
        self.form = Form.TELL
        self.sender: ActorRef[Any] | None = None
        self.handle: ActorRef[Any] | None = None
        """To whom the answer goes; `None` when nobody wants one."""
        self.answer: EntityAnswer | None = None
        """What is to be said once the handler has ended."""
        self.has_begun = False
        self.attempts = 0
        self.ask = Ask(hosting.runtime, self, None, 0.0, self)

    @property
    def path(self) -> str:
        """Whose message it is, for texts."""
        return self.entity.path

    def kind(self) -> str:
        """The name of the class of the message."""
        return self.ask.kind()

    # -- as a future ---------------------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether it was answered, or nobody wants an answer any more."""
        return self._is_over

    def set_result(self, value: Any) -> None:
        """The handler has answered."""
        if self.form is not Form.ASK:
            return  # Whoever sends waits for the end of the handler, and not for what it says.
        self.end()
        try:
            answer = self._hosting.items.answer(value, self.entity)
        except NotSendableError as error:
            self._hosting.runtime.log.error("%s", error, extra={"actor": self.path})
            answer = self._hosting.items.failure(ActorFailedError(str(error)))
        self.entity.answers(self, answer)

    def set_exception(self, error: Exception) -> None:
        """There is no answer, and this is why."""
        if not self.has_begun:
            if isinstance(error, ActorStoppedError) and self.entity.tries_again(self):
                return
            self.entity.passes_over(self)
        self.end()
        self.say(self._hosting.items.failure(error))

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back when it is over."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    def end(self) -> None:
        """Nothing more is to be done for it but to say what was found."""
        self._is_over = True
        over(self.ask)
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback(self)

    # -- what is said --------------------------------------------------------------------------------------------------

    def end_silently(self) -> None:
        """Nobody waits for what becomes of it."""
        self._is_over = True
        # The ask leads to the turn, which leads to the ask: no circle.
        self.ask.future = OVER

    def fail(self, error: Exception) -> None:
        """Whatever the handler does now, this is how it has ended for whoever asked."""
        if not self._is_over:
            self.end()
        elif self.answer is None:
            return
        self.answer = None
        self.say(self._hosting.items.failure(error))

    def refuse(self, error: Exception) -> None:
        """It is not handled, and was not begun. Where nobody waits for it, it becomes a dead letter."""
        if self.form is Form.TELL:
            self._hosting.lost(self, self.ask.message, Reason.STOPPED)
        self.fail(error)

    def lose(self) -> None:
        """This node does not own the shard any more, and the handler had begun."""
        self.fail(OutcomeUnknownError(f"{self.path} had {self.ask.kind()} in hand when its node had to stop"))

    def say(self, answer: EntityAnswer) -> None:
        """Tell whoever asked."""
        handle, self.handle = self.handle, None
        if handle is not None:
            give_answer(self._hosting.runtime, handle, answer)


class Told(Parcel):
    """A message that nobody waits for, in a shard where nothing is kept: all that a `Turn` need not be.

    It waits in the mailbox itself, with others before and behind it, until its handler begins; and can be taken back
    from there (`entities.py`, rule 10).
    """

    __slots__ = ("arrival", "attempts", "data", "entity", "has_begun", "is_refused")

    form = Form.TELL

    def __init__(self, entity: Entity, data: bytes, arrival: int, sender: ActorRef[Any] | None, message: Any) -> None:
        self.entity = entity
        self.data = data
        self.arrival = arrival
        self.sender = sender
        self.message = message
        self.has_begun = self.is_refused = False
        self.attempts = 0
        """How many actors had it that had not started when they got it."""

    @property
    def path(self) -> str:
        """Whose message it is, for texts."""
        return self.entity.path

    def kind(self) -> str:
        """The name of the class of the message."""
        return type(self.message).__name__

    def done(self) -> bool:
        """Whether it was said what becomes of it."""
        return self.is_refused

    def refuse(self, error: Exception) -> None:
        """It is not handled, and becomes a dead letter."""
        self.is_refused = True
        self.entity.lost(self)

    def lose(self) -> None:
        """Its handler had begun, and nobody waits for what becomes of it."""

    def fail_undelivered(self, reason: Reason) -> bool:
        """Its actor has stopped before it began. Whether it is lost: another one may be there soon."""
        return not self.has_begun and not self.entity.tries_ahead_again(self)
