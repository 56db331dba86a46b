"""What a handler is given besides its message: its own place in the system."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, overload

from casty_proto.actor import Behavior, Cell, Envelope, Mailbox, Reason, Stop, Unwatch, Watch

from .errors import StashFullError, UsageError
from .refs import ActorRef, LocalRef

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from .actor import Actor
    from .asks import Ask
    from .body import Body
    from .supervision import SupervisorConfig
    from .system import ActorSystem

    M = TypeVar("M", default=Any)
else:
    from typing import TypeVar

    M = TypeVar("M")


class ActorContext(Generic[M]):  # noqa: UP046 - the default of M cannot be written in the new way on Python 3.12
    """The environment of one actor. `Context` is another name for it.

    It belongs to the actor for its whole life, restarts included, and is only valid in its handlers and hooks.
    """

    __slots__ = ("_ask", "_body", "_keys", "_sender", "_tasks")

    def __init__(self, body: Body) -> None:
        self._body = body
        self._sender: ActorRef[Any] | None = None
        self._ask: Ask | None = None
        self._keys: dict[str, None] | None = None
        self._tasks: dict[asyncio.Task[None], None] | None = None

    # -- who I am --------------------------------------------------------------------------------------------------

    @property
    def self(self) -> ActorRef[M]:
        """The ref of this actor."""
        return self._body.ref

    @property
    def self_ref(self) -> ActorRef[M]:
        """The ref of this actor."""
        return self._body.ref

    @property
    def path(self) -> str:
        """Where this actor is in its system, like `/shop/cart`."""
        return self._body.cell.path

    @property
    def system(self) -> ActorSystem:
        """The actor system."""
        return self._body.runtime.system

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines begin with the path of this actor."""
        return _ActorLog(self._body.runtime.log, {"actor": self._body.cell.path})

    # -- the message in hand ---------------------------------------------------------------------------------------

    @property
    def sender(self) -> ActorRef[Any] | None:
        """Where a reply to the message in hand would go: the handle of an ask, the `sender` of a `tell`, or nobody.

        Keep it to answer later, from any task: the handle stays valid when the handler has returned.
        """
        return self._sender if self._ask is None else self._ask.handle()

    def reply(self, message: Any) -> None:
        """Answer the message in hand. Without somebody who asked, the answer becomes a `DeadLetter`.

        Raises `UsageError` outside of the handler's own task, where another message may be in hand by now; keep
        `ctx.sender` instead.
        """
        body = self._body
        worker = body.runtime.pool.current
        if worker is None or worker.cell is not body.cell:
            raise UsageError(
                f"ctx.reply() of {self.path} was called outside of its handler; keep `to = ctx.sender` in the handler, "
                "and call to.tell(answer) when the answer is there"
            )
        if self._ask is not None:
            self._ask.resolve(message)
        elif self._sender is None:
            body.runtime.dead_letter(body.ref, message, Reason.NOBODY_ASKED)
        else:
            self._sender.tell(message)

    def stash(self, message: M) -> None:
        """Set the message in hand aside until `unstash_all`. An ask among them stays open.

        Raises `StashFullError` when the stash holds as many messages as the mailbox may; it was not stashed then.
        """
        body = self._body
        sender = self.sender
        if not body.runtime.machine.stash(body.cell, message if sender is None else Envelope(message, sender)):
            raise StashFullError(f"the stash of {self.path} is full; unstash in time, or give it a larger mailbox")

    def unstash_all(self) -> int:
        """Handle what was stashed next, in its old order, before the rest of the mailbox. Returns how many there were.

        A restart does this by itself; a stop turns stashed messages into dead letters.
        """
        return self._body.runtime.machine.unstash(self._body.cell)

    # -- children and others ---------------------------------------------------------------------------------------

    @overload
    def spawn[T](
        self,
        actor: Behavior[T],
        name: str | None = None,
        *,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
    ) -> ActorRef[T]: ...

    @overload
    def spawn[T](
        self,
        actor: type[Actor[T]],
        name: str | None = None,
        *,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, ActorRef[T]]: ...

    def spawn(
        self,
        actor: Behavior[Any] | type[Actor[Any]],
        name: str | None = None,
        *,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
        **kwargs: Any,
    ) -> ActorRef[Any] | Coroutine[Any, Any, ActorRef[Any]]:
        """Spawn a child of this actor; see `ActorSystem.spawn`. It stops when this actor stops or restarts."""
        body = self._body
        return body.runtime.spawn(body.cell, actor, name, mailbox, supervision, kwargs)  # type: ignore[no-any-return]

    @property
    def children(self) -> tuple[ActorRef[Any], ...]:
        """The live children, in the order in which they were spawned."""
        return tuple(child.body.ref for child in (self._body.cell.children or {}).values())

    def child(self, name: str) -> ActorRef[Any] | None:
        """The live child of that name."""
        cell = (self._body.cell.children or {}).get(name)
        return None if cell is None else cell.body.ref

    def stop(self, ref: ActorRef[Any] | None = None) -> None:
        """Stop a child, or without an argument this actor itself, after the message in hand.

        Raises `UsageError` for an actor that is neither.
        """
        body = self._body
        target = body.cell if ref is None else _cell(ref)
        if target is not body.cell and target.parent is not body.cell:
            raise UsageError(
                f"{self.path} may stop itself and its children, and {target.path} is neither; send it a message, or "
                "use ctx.system.stop(ref)"
            )
        body.runtime.feed(Stop(target))

    def watch(self, ref: ActorRef[Any]) -> None:
        """Get the message `Terminated(ref)` when that actor has stopped; soon if it has already."""
        self._body.runtime.feed(Watch(self._body.cell, _cell(ref)))

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """Undo `watch`. A `Terminated` that is in the mailbox already is still handled."""
        self._body.runtime.feed(Unwatch(self._body.cell, _cell(ref)))

    # -- later -----------------------------------------------------------------------------------------------------

    def pipe_to_self[T](
        self,
        awaitable: Awaitable[T],
        mapper: Callable[[T], M] | None = None,
        on_failure: Callable[[Exception], M] | None = None,
    ) -> None:
        """Await something beside the handler, and get what `mapper` makes of the result as a message.

        Without a mapper the result itself is the message. A failure becomes the message that `on_failure` makes of it;
        without `on_failure` it is logged. The work is cancelled when the actor stops.
        """
        task = self._body.runtime.tracker.start(_pipe(self._body, awaitable, mapper, on_failure), f"pipe {self.path}")
        if self._tasks is None:
            self._tasks = {}
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def run_blocking[T](
        self,
        function: Callable[..., T],
        *args: Any,
        mapper: Callable[[T], M] | None = None,
        on_failure: Callable[[Exception], M] | None = None,
    ) -> None:
        """Call a blocking function in a thread, and get its result as a message, as `pipe_to_self` does.

        The handler goes on at once. A thread cannot be cancelled: when the actor stops, the call goes on, and its
        result is dropped.
        """
        self.pipe_to_self(asyncio.to_thread(function, *args), mapper, on_failure)

    def schedule(self, key: str, message: M, delay: float) -> None:
        """Send `message` to this actor after `delay` seconds. The same key replaces the earlier timer of this actor.

        Timers of an actor end with it, and with a restart.
        """
        self._timers(key).schedule(self._key(key), self._body.ref, message, delay)

    def tick(self, key: str, message: M, interval: float) -> None:
        """Send `message` to this actor every `interval` seconds, the first time after one interval."""
        self._timers(key).tick(self._key(key), self._body.ref, message, interval)

    def cancel_schedule(self, key: str) -> bool:
        """Cancel a timer of this actor. False when there was none of that key. Nothing more is sent after this."""
        if self._keys is None or key not in self._keys:
            return False
        del self._keys[key]
        return self._body.runtime.timers.cancel(self._key(key))

    def _timers(self, key: str) -> Any:
        if self._keys is None:
            self._keys = {}
        self._keys[key] = None
        return self._body.runtime.timers

    def _key(self, key: str) -> tuple[int, str]:
        return (self._body.cell.uid, key)

    # -- for the body ----------------------------------------------------------------------------------------------

    def _forget(self, task: asyncio.Task[None]) -> None:
        if self._tasks is not None:
            self._tasks.pop(task, None)

    def _renew(self) -> None:
        """A new incarnation begins."""
        for key in list(self._keys or ()):
            self.cancel_schedule(key)

    def _release(self) -> None:
        """The actor has stopped."""
        self._renew()
        for task in list(self._tasks or ()):
            task.cancel()


Context = ActorContext
"""What the class style calls `ActorContext`."""


class _ActorLog(logging.LoggerAdapter[logging.Logger]):
    """Begins each line with the path of the actor, and has it as the attribute `actor` of the record."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        assert self.extra is not None
        kwargs["extra"] = {**self.extra, **(kwargs.get("extra") or {})}
        return f"{self.extra['actor']}: {msg}", kwargs


def _cell(ref: ActorRef[Any]) -> Cell:
    if not isinstance(ref, LocalRef):
        raise UsageError(f"{ref!r} is no actor of this system that could be stopped or watched")
    return ref._cell


async def _pipe(
    body: Body,
    awaitable: Awaitable[Any],
    mapper: Callable[[Any], Any] | None,
    on_failure: Callable[[Exception], Any] | None,
) -> None:
    try:
        result = await awaitable
        message = result if mapper is None else mapper(result)
    except Exception as error:
        if on_failure is None:
            body.runtime.log.error("%s: what it piped to itself failed", body.cell.path, exc_info=error)
            return
        message = on_failure(error)
    body.ref.tell(message)
