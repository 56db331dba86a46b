"""The behavior style: how a behavior is run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.actor import (
    IGNORE,
    STOPPED,
    Behavior,
    BehaviorError,
    Cell,
    Layers,
    Receive,
    Setup,
    Stop,
    unwrap,
)

from .body import Body
from .errors import InvalidBehaviorError
from .refs import LocalRef

if TYPE_CHECKING:
    from .runtime import Runtime


class BehaviorBody(Body):
    """Runs a behavior.

    The hooks of nested `with_lifecycle` run like nested context managers: on the way in the outermost first, on the
    way out the innermost first.
    """

    __slots__ = ("_given_spies", "_hooks", "_layers")

    def __init__(self, runtime: Runtime, layers: Layers) -> None:
        super().__init__(runtime, context_first=True)
        self._layers = layers
        self._hooks = layers.hooks
        self.spies = layers.spies

    def attach(self, cell: Cell) -> None:
        super().attach(cell)
        self._given_spies = self.spies
        """Those that every incarnation has; a setup may add more."""

    async def start(self, error: Exception | None) -> None:
        self._hooks = self._layers.hooks
        self.spies = self._given_spies
        core = self._layers.core
        if type(core) is Receive and not self._hooks:
            self.install(core.handler)
            return
        core = await self._set_up(core)
        for hook in reversed(self._hooks):
            if error is not None and hook.post_restart is not None:
                await _call(hook.post_restart, self.context, error)
            elif hook.pre_start is not None:
                await _call(hook.pre_start, self.context)
        await self.become(core)

    async def _set_up(self, core: Behavior[Any]) -> Behavior[Any]:
        """Run factories until there is a behavior that can handle messages."""
        while isinstance(core, Setup):
            made = core.factory(self.context)
            if inspect.isawaitable(made):
                made = await made
            try:
                layers = unwrap(made)
            except BehaviorError as error:
                raise InvalidBehaviorError(f"the setup of {self.cell.path} returned no behavior: {error}") from None
            if layers.mailbox is not None:
                raise InvalidBehaviorError(f"{self.cell.path}: a mailbox is chosen at the spawn, not in a setup")
            self._hooks = (*layers.hooks, *self._hooks)
            if layers.policy is not None:
                self.cell.policy = layers.policy
            for key in layers.keys:
                self.runtime.system.receptionist.announce(key, self)
            if layers.spies:
                self.spies = (*self.spies, *layers.spies)
            core = layers.core
        return core

    async def become(self, behavior: Behavior[Any]) -> None:
        if isinstance(behavior, Setup):
            before = len(self._hooks)
            behavior = await self._set_up(behavior)
            # Hooks that come with it are the innermost ones now. They begin here, and end with the actor.
            for hook in reversed(self._hooks[: len(self._hooks) - before]):
                if hook.pre_start is not None:
                    await _call(hook.pre_start, self.context)
        if isinstance(behavior, Receive):
            self.install(behavior.handler)
        elif behavior is IGNORE:
            self.install(_ignore)
        elif behavior is STOPPED:
            self.install(_ignore)
            self.runtime.feed(Stop(self.cell))
        else:
            raise InvalidBehaviorError(
                f"{self.cell.path} cannot become {behavior!r}: lifecycle, supervision and the like belong to the spawn "
                "or to a setup"
            )

    async def pre_restart(self, error: Exception, message: Any) -> None:
        for hook in self._hooks:
            if hook.pre_restart is not None:
                await _call(hook.pre_restart, self.context, error, message)

    async def post_stop(self) -> None:
        """Run every last hook, even when one raises. The first error is raised; the others are reported."""
        first: BaseException | None = None
        for hook in self._hooks:
            if hook.post_stop is None:
                continue
            error = await self._outcome(_call(hook.post_stop, self.context))
            if first is None:
                first = error
            elif error is not None:
                self.runtime.hook_failed(self.ref, "post_stop", error)
        if first is not None:
            raise first

    async def judge(self, child: LocalRef[Any], error: Exception) -> None:
        return None

    def forget(self) -> None:
        super().forget()
        self._layers, self._hooks, self._given_spies = _FORGOTTEN, (), ()


_FORGOTTEN = Layers(IGNORE)


async def _call(hook: Callable[..., Any], *args: Any) -> None:
    """Call a hook with as many of the arguments as it takes."""
    if len(args) > 1:
        args = args[: _arity(hook, len(args))]
    result = hook(*args)
    if inspect.isawaitable(result):
        await result


def _arity(hook: Callable[..., Any], most: int) -> int:
    try:
        parameters = inspect.signature(hook).parameters.values()
    except (TypeError, ValueError):
        return most
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return most
    return min(most, sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters))


def _ignore(context: Any, message: Any) -> None:
    """What `Behaviors.ignore()` does with a message."""
