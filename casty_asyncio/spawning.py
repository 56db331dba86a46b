"""From what an application hands to `spawn` to what the engine and the driver need: a blueprint, checked at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define

from casty_proto.actor import STOP_ON_FAILURE, Behavior, BehaviorError, Cell, Mailbox, Policy, unwrap

from .actor import Actor, ClassBody
from .arguments import class_problem
from .behavior_body import BehaviorBody
from .errors import NotAnActorError, UsageError
from .supervision import SupervisorConfig, policy_of_class

if TYPE_CHECKING:
    from .body import Body
    from .runtime import Runtime

_UNBOUNDED = Mailbox()


@define
class Blueprint:
    """Everything about an actor that is known before it is spawned."""

    body: Callable[[Runtime], Body]
    """Makes the driver's half. For a class this creates the first instance, so it may raise what `__init__` raises."""
    policy: Policy
    mailbox: Mailbox
    judges: bool
    """Whether the actor wants to be asked about its failing children."""
    keys: tuple[Any, ...]
    """Service keys to announce it under."""
    awaited: bool
    """Whether `spawn` is awaited until the actor has started."""


def blueprint(
    actor: Any, mailbox: Mailbox | None, supervision: SupervisorConfig | None, kwargs: dict[str, Any], where: Cell
) -> Blueprint:
    """Check and translate the arguments of `spawn`. Raises before anything has changed."""
    if mailbox is not None and not isinstance(mailbox, Mailbox):
        raise UsageError(f"spawn under {where.path}: mailbox must be a Mailbox, not {mailbox!r}")
    if supervision is not None and not isinstance(supervision, SupervisorConfig):
        raise UsageError(f"spawn under {where.path}: supervision must be a SupervisorConfig, not {supervision!r}")
    policy = None if supervision is None else supervision.policy
    if isinstance(actor, Behavior):
        return _of_behavior(actor, mailbox, policy, kwargs, where)
    if isinstance(actor, type) and issubclass(actor, Actor):
        return _of_class(actor, mailbox, policy, kwargs, where)
    raise NotAnActorError(f"spawn under {where.path}: {_hint(actor)}")


def _of_behavior(
    behavior: Behavior[Any], mailbox: Mailbox | None, policy: Policy | None, kwargs: dict[str, Any], where: Cell
) -> Blueprint:
    if kwargs:
        raise UsageError(
            f"spawn under {where.path}: a behavior takes no arguments ({', '.join(kwargs)}); pass them to the function "
            "that makes the behavior"
        )
    try:
        layers = unwrap(behavior)
    except BehaviorError as error:
        raise NotAnActorError(f"spawn under {where.path}: {error}") from None
    return Blueprint(
        body=lambda runtime: BehaviorBody(runtime, layers),
        policy=policy or layers.policy or STOP_ON_FAILURE,
        mailbox=mailbox or layers.mailbox or _UNBOUNDED,
        judges=False,
        keys=layers.keys,
        awaited=False,
    )


def _of_class(
    cls: type[Actor[Any]], mailbox: Mailbox | None, policy: Policy | None, kwargs: dict[str, Any], where: Cell
) -> Blueprint:
    if cls.receive is Actor.receive:
        raise NotAnActorError(f"spawn under {where.path}: {cls.__name__} does not define receive(self, msg, ctx)")
    if (problem := class_problem(cls)) is not None:
        raise NotAnActorError(f"spawn under {where.path}: {problem}")
    return Blueprint(
        body=lambda runtime: ClassBody(runtime, cls, kwargs),
        policy=policy or policy_of_class(cls),
        mailbox=mailbox or _UNBOUNDED,
        judges=cls.on_child_failure is not Actor.on_child_failure,
        keys=(),
        awaited=True,
    )


def _hint(actor: Any) -> str:
    if isinstance(actor, Actor):
        return f"{actor!r} is an instance; pass the class {type(actor).__name__}, and its arguments by name"
    if callable(actor):
        name = getattr(actor, "__name__", repr(actor))
        return (
            f"{name} is neither a Behavior nor an Actor class; call it if it returns a behavior, or wrap a handler as "
            f"Behaviors.receive({name})"
        )
    return f"{actor!r} is neither a Behavior nor a class derived from Actor"
