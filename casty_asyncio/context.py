"""What a handler is given besides its message: its own place in the system."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from casty_proto.actor import (
    Behavior,
    Cell,
    Envelope,
    Mailbox,
    Phase,
    Reason,
    Stop,
    Undelivered,
    Unwatch,
    Watch,
)

from .arguments import check_awaitable, check_callable
from .errors import HandlerCancelledError, StashFullError, UsageError
from .generic import Message
from .refs import ActorRef, LocalRef
from .scheduler import Timers

if TYPE_CHECKING:
    from .actor import Actor
    from .asks import Ask
    from .body import Body
    from .runtime import Runtime
    from .supervision import SupervisorConfig
    from .system import ActorSystem


class ActorContext(Generic[Message]):  # noqa: UP046 - Python 3.12 cannot write a default in the new way
    """The environment of one actor. `Context` is another name for it.

    It belongs to the actor for its whole life, restarts included, and is only valid in its handlers and hooks.
    """

    __slots__ = ("_ask", "_body", "_sender", "_tasks", "_timers")

    def __init__(self, body: Body) -> None:
        self._body = body
        self._sender: ActorRef[Any] | None = None
        self._ask: Ask | None = None
        self._timers: Timers | None = None
        self._tasks: dict[asyncio.Task[None], None] | None = None

    # -- who I am --------------------------------------------------------------------------------------------------

    @property
    def self(self) -> ActorRef[Message]:
        """The ref of this actor."""
        return self._body.ref

    @property
    def self_ref(self) -> ActorRef[Message]:
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
        return _ActorLog(cast(Any, self._body.runtime.log), {"actor": self._body.cell.path})

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
        if worker is None or worker.cell is not body.cell or worker.task is not asyncio.current_task():
            # The same check at length: it is written out above because it is made for every answer.
            self._check_in_hand("reply", "keep `to = ctx.sender` in the handler, and call to.tell(answer) later")
        if self._ask is not None:
            self._ask.resolve(message)
        elif self._sender is None:
            body.runtime.dead_letter(body.ref, message, Reason.NOBODY_ASKED)
        else:
            self._sender.tell(message)

    def stash(self, message: Message) -> None:
        """Set the message in hand aside until `unstash_all`. An ask among them stays open. What an entity has set aside
        goes with it to another node, and comes there before all that was sent later.

        Raises `StashFullError` when the stash holds as many messages as the mailbox may, and `UsageError` outside of
        the handler's own task; it was not stashed then. An actor that is stopping makes it a dead letter.
        """
        body = self._body
        self._check_in_hand("stash", "stash in the handler itself")
        sender = self.sender
        item = message if sender is None else Envelope(message, sender)
        if body.cell.phase >= Phase.STOPPING:
            body.runtime.undelivered(Undelivered(body.cell, item, Reason.STOPPED))
        elif not body.stash(message, item):
            raise StashFullError(f"the stash of {self.path} is full; unstash in time, or give it a larger mailbox")

    def unstash_all(self) -> int:
        """Handle what was stashed next, in its old order, before the rest of the mailbox. Returns how many there were.

        A restart does this by itself; a stop turns stashed messages into dead letters. Raises `UsageError` outside of
        the handler's own task.
        """
        self._check_in_hand("unstash_all", "tell the actor a message, and unstash in its handler")
        return self._body.unstash()

    def _check_in_hand(self, what: str, instead: str) -> None:
        """Elsewhere than in the handler's own task another message may be in hand by now, or none."""
        if self._body.runtime.pool.in_hand() is not self._body.cell:
            raise UsageError(f"ctx.{what}() of {self.path} was called outside of its handler; {instead}")

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
        target = body.cell if ref is None else _cell(ref, body.runtime)
        if target is not body.cell and target.parent is not body.cell:
            raise UsageError(
                f"{self.path} may stop itself and its children, and {target.path} is neither; send it a message, or "
                "use ctx.system.stop(ref)"
            )
        body.runtime.feed(Stop(target))

    def watch(self, ref: ActorRef[Any]) -> None:
        """Get the message `Terminated(ref)` when that actor has stopped; soon if it has already."""
        self._body.runtime.feed(Watch(self._body.cell, watchable(ref, self._body.runtime)))

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """Undo `watch`. A `Terminated` that is in the mailbox already is still handled."""
        self._body.runtime.feed(Unwatch(self._body.cell, watchable(ref, self._body.runtime)))

    # -- later -----------------------------------------------------------------------------------------------------

    def pipe_to_self[T](
        self,
        awaitable: Awaitable[T],
        mapper: Callable[[T], Message] | None = None,
        on_failure: Callable[[Exception], Message] | None = None,
    ) -> None:
        """Await something beside the handler, and get what `mapper` makes of the result as a message.

        Without a mapper the result itself is the message. A failure, also one of the mapper, becomes the message that
        `on_failure` makes of it; without `on_failure` it is logged. Work that somebody else cancelled has failed, with
        a `HandlerCancelledError`. The work goes on over a restart, and is cancelled when the actor stops.

        Raises `UsageError` for what cannot be awaited or called, and once the actor has stopped.
        """
        body = self._body
        check_awaitable(f"pipe_to_self of {self.path}: the work", awaitable)
        try:
            body.runtime.check_thread()
            check_callable(f"pipe_to_self of {self.path}: mapper", mapper)
            check_callable(f"pipe_to_self of {self.path}: on_failure", on_failure)
            if body.cell.phase == Phase.STOPPED:
                raise UsageError(f"{self.path} has stopped, and nothing can be piped to it any more")
        except UsageError:
            _close(awaitable)
            raise
        task = body.runtime.tracker.start(_pipe(body, awaitable, mapper, on_failure), f"pipe {self.path}")
        if self._tasks is None:
            self._tasks = {}
        self._tasks[task] = None

        def forget(task: asyncio.Task[None]) -> None:
            # A task that is cancelled before its first step has not touched what it was to await.
            _abandon(awaitable)
            if self._tasks is not None:
                self._tasks.pop(task, None)

        task.add_done_callback(forget)

    def run_blocking[T](
        self,
        function: Callable[..., T],
        *args: Any,
        mapper: Callable[[T], Message] | None = None,
        on_failure: Callable[[Exception], Message] | None = None,
    ) -> None:
        """Call a blocking function in a thread, and get its result as a message, as `pipe_to_self` does.

        The handler goes on at once. A thread cannot be cancelled: when the actor stops, a call that has begun goes on,
        and its result is dropped.
        """
        if not callable(function):
            raise UsageError(
                f"run_blocking of {self.path} wants a function and its arguments, not {function!r}; do not call it yet"
            )
        self.pipe_to_self(asyncio.to_thread(_in_thread, function, *args), mapper, on_failure)

    def schedule(self, key: str, message: Message, delay: float) -> None:
        """Send `message` to this actor after `delay` seconds. The same key replaces the earlier timer of this actor.

        Timers of an actor end with it, and with a restart. Raises `UsageError` without having changed anything.
        """
        self._own_timers().schedule(key, self._body.ref, message, delay)

    def tick(self, key: str, message: Message, interval: float) -> None:
        """Send `message` to this actor every `interval` seconds, the first time after one interval."""
        self._own_timers().tick(key, self._body.ref, message, interval)

    def cancel_schedule(self, key: str) -> bool:
        """Cancel a timer of this actor. False when there was none of that key. Nothing more is sent after this."""
        return self._own_timers().cancel(key)

    def _own_timers(self) -> Timers:
        if self._timers is None:
            self._timers = Timers(self._body.runtime)
        return self._timers

    # -- for the body ----------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        """A new incarnation begins."""
        if self._timers is not None:
            self._timers.clear()

    def _release(self) -> None:
        """The actor has stopped."""
        self._renew()
        for task in list(self._tasks or ()):
            task.cancel()


Context = ActorContext
"""What the class style calls `ActorContext`."""


class _ActorLog(logging.LoggerAdapter[logging.Logger]):
    """Begins each line with the path of the actor, and has it as the attribute `actor` of the record."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            return
        assert self.extra is not None
        path = str(self.extra["actor"])
        # A name may have a per cent sign, which would be taken for the place of an argument.
        prefix = path.replace("%", "%%") if args else path
        kwargs["extra"] = {**self.extra, **(kwargs.get("extra") or {})}
        # One frame, this one, stands between the caller and the logger.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.logger.log(level, f"{prefix}: {msg}", *args, **kwargs)


def watchable(ref: ActorRef[Any], runtime: Runtime) -> Cell:
    """The cell to watch for an actor here or elsewhere. Raises `UsageError` for what cannot be watched."""
    if isinstance(ref, LocalRef):
        return _cell(ref, runtime)
    known: object = ref
    cell = known._watchable() if isinstance(known, ActorRef) else None
    if cell is None:
        raise UsageError(f"{ref!r} is no actor that could be watched or waited for")
    return cell


def _cell(ref: ActorRef[Any], runtime: Runtime) -> Cell:
    if not isinstance(ref, LocalRef):
        raise UsageError(f"{ref!r} is no actor of this system that could be stopped; send it a message instead")
    if ref._runtime is not runtime:
        raise UsageError(f"{ref.address} belongs to another actor system, not to {runtime.name!r}")
    return ref._cell


async def _pipe(
    body: Body,
    awaitable: Awaitable[Any],
    mapper: Callable[[Any], Any] | None,
    on_failure: Callable[[Exception], Any] | None,
) -> None:
    try:
        result = await _uncancelled(awaitable, body)
        message = result if mapper is None else mapper(result)
    except Exception as error:
        if on_failure is None:
            body.runtime.log.error(
                "%s: what it piped to itself failed", body.cell.path, exc_info=error, extra={"actor": body.cell.path}
            )
            return
        message = on_failure(error)
    body.ref.tell(message)


async def _uncancelled(awaitable: Awaitable[Any], body: Body) -> Any:
    """Tell the end of the actor, which cancels this task, from work that somebody else cancelled."""
    try:
        return await awaitable
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise HandlerCancelledError(f"what {body.cell.path} piped to itself was cancelled by somebody else") from error


def _in_thread[T](function: Callable[..., T], *args: Any) -> T:
    try:
        return function(*args)
    except StopIteration as error:
        # A future cannot carry this one: early releases of Python 3.12 never wake whoever waits for it.
        raise RuntimeError(f"a blocking function raised {error!r}") from error


def _abandon(awaitable: Awaitable[Any]) -> None:
    """Nobody will await it any more. A no-op when it has ended."""
    _close(awaitable)
    if isinstance(awaitable, asyncio.Future):
        awaitable.cancel()


def _close(awaitable: Awaitable[Any]) -> None:
    """Python complains about a coroutine that was never awaited, unless it was closed."""
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
        awaitable.close()
