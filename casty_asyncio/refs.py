"""Refs: what application code holds instead of an actor.

A message's way: `tell` gives it to the engine's `deliver`; the engine says whether the actor has to be put into the run
queue; a worker takes it from there (`workers.py`) and calls the handler.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

from casty_proto.actor import READY, Cell, Envelope, Phase

from .asks import Ask, ask_actor
from .errors import UsageError

if TYPE_CHECKING:
    from .runtime import Runtime


class ActorRef[M](ABC):
    """The address of one actor, typed by the messages that it understands.

    Refs are equal when they mean the same actor, of the same incarnation: a ref to an actor that has stopped never
    equals the ref of a later actor of the same name. A restart does not change a ref.
    """

    __slots__ = ("__weakref__",)

    @abstractmethod
    def tell(self, message: M, sender: ActorRef[Any] | None = None) -> None:
        """Send a message and go on. It is delivered at most once.

        Messages from one sender arrive in the order sent. What cannot be delivered becomes a `DeadLetter`. `sender`
        is what the handler finds in `ctx.sender`, and where its `ctx.reply` goes.

        Raises `MailboxFullError` when the mailbox is full and configured to reject; the message is not queued.
        """

    async def send(self, message: M, sender: ActorRef[Any] | None = None) -> None:
        """As `tell`, for `await`. Between actors of one process it never yields to the event loop."""
        self.tell(message, sender)

    @abstractmethod
    def ask(self, message: M, timeout: float = 5.0) -> Coroutine[Any, Any, Any]:
        """Send a message and wait, at most `timeout` seconds, for what the actor gives to `ctx.reply`.

        Raises `AskTimeoutError`; `ActorFailedError`, chained to the handler's exception, when the handler of this
        message raised; `ActorStoppedError` when the actor has stopped and the reply cannot come any more;
        `MailboxFullError` when a bounded mailbox did not keep the message; `UsageError` when an actor asks itself and
        waits, which could never end.
        """

    def _offer(self, message: Any, sender: ActorRef[Any] | None) -> bool:
        """As `tell`, but false, and nothing was sent, where the message would be lost for want of room on the way."""
        self.tell(message, sender)
        return True

    def _watchable(self) -> Cell | None:
        """What the engine can watch in the actor's place; `None` for what has no end that could be told of."""
        return None

    def _is_gone(self) -> bool:
        """Whether nothing that is told to the actor can arrive any more, as far as is known here."""
        return False

    @property
    @abstractmethod
    def path(self) -> str:
        """Where the actor is in its system, like `/shop/cart`."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The whole address, like `casty://shop/cart#17`; the number tells actors of the same name apart."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def __repr__(self) -> str:
        return f"ActorRef({self.path})"

    def __copy__(self) -> ActorRef[M]:
        return self

    def __deepcopy__(self, memo: Any) -> ActorRef[M]:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled: a ref means something only to its actor system")


class LocalRef[M](ActorRef[M]):
    """The ref of an actor of this process."""

    __slots__ = ("_cell", "_runtime")

    def __init__(self, runtime: Runtime, cell: Cell) -> None:
        self._runtime = runtime
        self._cell = cell

    def tell(self, message: M, sender: ActorRef[Any] | None = None) -> None:
        cell = self._cell
        item = message if sender is None else Envelope(message, sender)
        if cell.put is not None:
            cell.put(item)
            return
        runtime = self._runtime
        outcome = runtime.deliver(cell, item)
        if outcome is None:
            return
        if outcome is READY:
            runtime.make_ready(cell)
        else:
            runtime.undelivered(outcome)

    def ask(self, message: M, timeout: float = 5.0) -> Coroutine[Any, Any, Any]:
        return ask_actor(self._runtime, self._cell, message, None, timeout)

    def _watchable(self) -> Cell | None:
        return self._cell

    def _is_gone(self) -> bool:
        return self._cell.phase >= Phase.STOPPING

    @property
    def path(self) -> str:
        return self._cell.path

    @property
    def name(self) -> str:
        return self._cell.name

    @property
    def address(self) -> str:
        runtime = self._runtime
        return f"casty://{runtime.authority}{self._cell.path}#{runtime.incarnations + self._cell.uid}"

    def __eq__(self, other: object) -> bool:
        return self._cell is other._cell if isinstance(other, LocalRef) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._cell.uid)


class ReplyRef[R](ActorRef[R]):
    """The handle by which one ask is answered. It may be kept, and told the answer later, once."""

    __slots__ = ("_ask",)

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def tell(self, message: R, sender: ActorRef[Any] | None = None) -> None:
        """Answer the ask. A second answer, or one that comes too late, becomes a `DeadLetter`."""
        self._ask.resolve(message)

    def ask(self, message: R, timeout: float = 5.0) -> Coroutine[Any, Any, Any]:
        raise UsageError(f"{self!r} is the handle of an ask: it can be told an answer, but not asked")

    def _is_gone(self) -> bool:
        return self._ask.future.done()

    @property
    def path(self) -> str:
        return f"{self._ask.cell.path}/$ask"

    @property
    def address(self) -> str:
        return f"casty://{self._ask.runtime.name}{self.path}"

    def __eq__(self, other: object) -> bool:
        return self._ask is other._ask if isinstance(other, ReplyRef) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._ask)
