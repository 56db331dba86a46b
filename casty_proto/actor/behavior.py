"""Behaviors as values.

A behavior says what an actor does with its next message. It is a plain value: nothing runs until a driver spawns it.
Some behaviors are cores (`Receive`, `Setup`, `Ignore`, and the signals that a handler returns), the others wrap one and
add something. `unwrap` takes the wrappers off, once, when an actor is spawned.

Handlers, hooks and factories are opaque here: any callables, `def` or `async def`, that the driver knows how to run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import define, evolve, field, frozen
from attrs.validators import instance_of, is_callable, optional

from .mailbox import Mailbox
from .supervision import Policy


class BehaviorError(TypeError):
    """A value that is not a behavior stands where one is needed. No state changed."""


class Behavior[M]:
    """What an actor does with its next message. `M` is the type of its messages."""

    __slots__ = ("__weakref__",)

    def _accepts(self, message: M) -> None:
        """Makes `Behavior` contravariant in `M`; never called."""


@frozen(eq=False, weakref_slot=False)
class Receive[M](Behavior[M]):
    """Handle each message with `handler(context, message)`, which returns the next behavior.

    Raises `TypeError` for a `handler` that cannot be called.
    """

    handler: Callable[[Any, M], Any] = field(validator=is_callable())


@frozen(eq=False, weakref_slot=False)
class Setup[M](Behavior[M]):
    """Run `factory(context)` at the start, and at each restart, to get the behavior.

    Raises `TypeError` for a `factory` that cannot be called.
    """

    factory: Callable[[Any], Any] = field(validator=is_callable())


class Signal(Behavior[Any]):
    """A behavior without content, told from others by identity."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Behaviors.{self.name}()"


SAME: Final = Signal("same")
"""Go on with the current behavior."""
STOPPED: Final = Signal("stopped")
"""Stop the actor."""
UNHANDLED: Final = Signal("unhandled")
"""Go on, and report that the message was not understood."""
RESTART: Final = Signal("restart")
"""Begin anew from the original behavior, as after a failure but without back-off and without counting."""
IGNORE: Final = Signal("ignore")
"""Handle every message by doing nothing."""


@frozen(eq=False, weakref_slot=False)
class Wrapper[M](Behavior[M]):
    """A behavior around another one."""

    inner: Behavior[M]


@frozen(eq=False, weakref_slot=False)
class Lifecycle[M](Wrapper[M]):
    """Hooks around the life of the actor, each a callable or `None`.

    `pre_start` is for the first incarnation and `post_stop` for the last. At a restart `pre_restart` is for the one
    that goes, and `post_restart` for the one that comes; where there is none, `pre_start` is. Raises `TypeError` for a
    hook that cannot be called.
    """

    pre_start: Callable[..., Any] | None = field(default=None, validator=optional(is_callable()))
    post_stop: Callable[..., Any] | None = field(default=None, validator=optional(is_callable()))
    pre_restart: Callable[..., Any] | None = field(default=None, validator=optional(is_callable()))
    post_restart: Callable[..., Any] | None = field(default=None, validator=optional(is_callable()))


@frozen(eq=False, weakref_slot=False)
class Supervised[M](Wrapper[M]):
    """A `policy` for the failures of the actor. Raises `TypeError` for what is none."""

    policy: Policy = field(validator=instance_of(Policy))


@frozen(eq=False, weakref_slot=False)
class Discoverable[M](Wrapper[M]):
    """Registered with the receptionist under `key` for as long as the actor lives."""

    key: Any


@frozen(eq=False, weakref_slot=False)
class Spied[M](Wrapper[M]):
    """Everything that the actor handles is told to `observer` as well; its children's too, if `children`."""

    observer: Any
    children: bool = False


@frozen(eq=False, weakref_slot=False)
class Boxed[M](Wrapper[M]):
    """A `mailbox` of its own, where `spawn` does not name one. Raises `TypeError` for what is none."""

    mailbox: Mailbox = field(validator=instance_of(Mailbox))


@define
class Layers:
    """A behavior without its wrappers, and what they add. Lists run from the innermost wrapper to the outermost.

    `core` is what is left; `hooks`, `policy`, `mailbox`, `keys` and `spies` are what was around it.
    """

    core: Behavior[Any]
    hooks: tuple[Lifecycle[Any], ...] = ()
    policy: Policy | None = None
    mailbox: Mailbox | None = None
    keys: tuple[Any, ...] = ()
    spies: tuple[Spied[Any], ...] = ()


def unwrap(behavior: Behavior[Any]) -> Layers:
    """Take a behavior apart. An outer policy or mailbox wins over an inner one.

    Raises `BehaviorError` for anything but a behavior, and for a signal that means nothing at the start of an actor.
    """
    wrappers: list[Wrapper[Any]] = []
    while isinstance(behavior, Wrapper):
        wrappers.append(behavior)
        behavior = behavior.inner
    if not isinstance(behavior, Behavior):
        raise BehaviorError(f"{behavior!r} is not a behavior; use Behaviors.receive(...) or Behaviors.setup(...)")
    if behavior in (SAME, UNHANDLED, RESTART):
        raise BehaviorError(f"{behavior!r} means nothing before there is a message; it is for handlers to return")
    layers = Layers(behavior)
    for wrapper in reversed(wrappers):
        layers = _add(layers, wrapper)
    return layers


def _add(layers: Layers, wrapper: Wrapper[Any]) -> Layers:
    match wrapper:
        case Lifecycle():
            return evolve(layers, hooks=(*layers.hooks, wrapper))
        case Supervised(policy=policy):
            return evolve(layers, policy=policy)
        case Boxed(mailbox=mailbox):
            return evolve(layers, mailbox=mailbox)
        case Discoverable(key=key):
            return evolve(layers, keys=(*layers.keys, key))
        case Spied():
            return evolve(layers, spies=(*layers.spies, wrapper))
        case _:
            raise BehaviorError(f"{wrapper!r} is not a wrapper that the engine knows")
