"""The class style: an actor as an instance with state, and how it is adapted to the engine."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Behavior, SupervisionStrategy

from .body import Body
from .context import ActorContext
from .errors import InvalidBehaviorError, UsageError
from .refs import ActorRef, LocalRef

if TYPE_CHECKING:
    from .runtime import Runtime


class Actor[M]:
    """The base of class actors. `M` is the type of the messages, usually a union.

    Derive from it, define `receive`, and spawn the class: `ref = await system.spawn(Account, name="alice", limit=5)`.
    Arguments of `spawn` that it does not know itself are given to `__init__`, at every restart again. `receive` and all
    hooks may be `async def` or `def`.
    """

    _casty_context: ActorContext[M]
    __casty_exclude_fields__: Collection[str] = ()
    """The names of attributes that are no part of the state that is replicated or moved."""

    def receive(self, msg: M, ctx: ActorContext[M]) -> Awaitable[Any] | Any:
        """Handle one message. Answer an ask with `ctx.reply(...)`.

        What it returns is ignored, unless it is one of the signals `Behaviors.stopped()`, `Behaviors.unhandled()` or
        `Behaviors.restart()`.
        """
        raise AssertionError(f"{type(self).__name__} is spawned without a receive method")

    def on_start(self) -> Awaitable[None] | None:
        """Called once before the first message. By default also called by `post_restart`."""

    def on_stop(self) -> Awaitable[None] | None:
        """Called once after the last message, when the children have stopped; also when `on_start` had failed.

        Not called at a restart: that is what `pre_restart` is for.
        """

    def pre_restart(self, exc: Exception, msg: M | None) -> Awaitable[None] | None:
        """Called on the instance that failed with `exc`, on the message `msg` if it was handling one.

        The place to give back what `on_start` took.
        """

    def post_restart(self, exc: Exception) -> Awaitable[None] | None:
        """Called on the new instance before its first message. Unless overridden, it runs `on_start`."""
        return self.on_start()

    def on_child_failure(
        self, child: ActorRef[Any], exc: Exception
    ) -> Awaitable[SupervisionStrategy | None] | SupervisionStrategy | None:
        """What is to become of a child that failed. `None` leaves that to the child's own policy.

        Called like a message handler, in its turn. The child waits; its mailbox goes on filling. Not called for a child
        whose `spawn` is still awaited, perhaps by the very handler that would have to end first: its own policy decides
        then, and `spawn` raises `StartError` when that gives up.
        """
        return None

    def get_state(self) -> Any:
        """The state that is replicated, and moves with the entity: all that `set_state` needs to make it again.

        By default a dict of the attributes whose names do not begin with `_` and are not excluded. It must be made of
        what can be sent. `None` means that the entity is no more: its next message makes a new one.
        """
        excluded = self.__casty_exclude_fields__
        cls: Any = type(self)
        names = dict.fromkeys([*_slots_of(cls), *getattr(self, "__dict__", ())])
        return {
            name: getattr(self, name)
            for name in names
            if not name.startswith("_") and name not in excluded and hasattr(self, name)
        }

    def set_state(self, state: Any) -> None:
        """Take over what `get_state` gave, on a new instance, before `on_start`. By default sets the attributes."""
        for name, value in state.items():
            setattr(self, name, value)

    @property
    def context(self) -> ActorContext[M]:
        """The same context that `receive` gets, for the hooks. Raises `UsageError` in `__init__`: not there yet."""
        context: ActorContext[M] | None = getattr(self, "_casty_context", None)
        if context is None:
            raise UsageError(f"{type(self).__name__}.context is not there yet in __init__; use it from on_start on")
        return context


@lru_cache(maxsize=256)
def _slots_of(cls: type) -> tuple[str, ...]:
    """The names that the classes of an object have reserved, instead of a dictionary."""
    found: list[str] = []
    for base in reversed(cls.__mro__):
        slots = base.__dict__.get("__slots__", ())
        found += [slots] if isinstance(slots, str) else slots
    return tuple(found)


class ClassBody(Body):
    """Runs an instance of an `Actor` class."""

    __slots__ = ("_cls", "_instance", "_kwargs")

    def __init__(self, runtime: Runtime, cls: type[Actor[Any]], kwargs: dict[str, Any]) -> None:
        super().__init__(runtime, context_first=False)
        self._cls = cls
        self._kwargs = kwargs or None
        # The first instance is made at once, so that wrong arguments are the spawner's exception.
        self._instance: Actor[Any] | None = cls(**kwargs)

    async def start(self, error: Exception | None) -> None:
        instance = self._instance
        if instance is None:
            instance = self._instance = self._cls(**(self._kwargs or {}))
        instance._casty_context = self.context
        hook = instance.on_start() if error is None else instance.post_restart(error)
        if inspect.isawaitable(hook):
            await hook
        self.install(instance.receive)

    async def pre_restart(self, error: Exception, message: Any) -> None:
        if self._instance is None:
            return  # It was __init__ that failed, at an earlier restart.
        hook = self._instance.pre_restart(error, message)
        if inspect.isawaitable(hook):
            await hook

    async def post_stop(self) -> None:
        if self._instance is None:
            return
        hook = self._instance.on_stop()
        if inspect.isawaitable(hook):
            await hook

    async def judge(self, child: LocalRef[Any], error: Exception) -> Any:
        if self._instance is None:
            return None
        verdict = self._instance.on_child_failure(child, error)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        return verdict

    async def become(self, behavior: Behavior[Any]) -> None:
        raise InvalidBehaviorError(
            f"receive of {self.cell.path} returned {behavior!r}; a class actor cannot become a behavior"
        )

    async def follow(self, result: Any, message: Any) -> None:
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, Behavior):
            await super().follow(result, message)

    def release(self) -> None:
        super().release()
        self._instance = None

    def forget(self) -> None:
        super().forget()
        self._kwargs = None
