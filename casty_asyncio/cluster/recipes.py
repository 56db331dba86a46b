"""What a sharded type or a singleton is made of: how its entities are made here, and what their states are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from casty_proto.actor import STOP_ON_FAILURE, Behavior, BehaviorError, Mailbox, Policy, unwrap
from casty_proto.cluster.records import RegionKind, RegionSettings

from ..actor import Actor
from ..arguments import class_problem
from ..body import Body
from ..errors import NotAnActorError, UsageError
from ..spawning import Blueprint
from ..supervision import SupervisorConfig, policy_of_class
from .bodies import EntityBehaviorBody, EntityClassBody
from .entities import Entity
from .items import Items

if TYPE_CHECKING:
    from ..runtime import Runtime

_ID = "entity_id"


@frozen
class Recipe:
    """How the entities of one region are made here."""

    name: str
    kind: RegionKind
    settings: RegionSettings
    body: Callable[[Runtime, Entity, Items], Body]
    """Makes the actor of an entity. Raises what its constructor raises."""
    policy: Policy
    mailbox: Mailbox
    judges: bool
    has_state: bool
    """Whether its entities have states that can be taken: those of `Actor` classes do."""

    @property
    def is_kept(self) -> bool:
        """Whether the state after each handler goes to others, and answers wait for that."""
        return self.has_state and self.settings.factor > 1

    @property
    def rests(self) -> bool:
        """Whether entities go to sleep that nobody needs."""
        return self.settings.idle_timeout_ns is not None

    def blueprint(self, entity: Entity, items: Items) -> Blueprint:
        """What the engine wants to know of an entity."""
        return Blueprint(
            body=lambda runtime: self.body(runtime, entity, items),
            policy=self.policy,
            mailbox=self.mailbox,
            judges=self.judges,
            keys=(),
            awaited=False,
        )

    def state_of(self, body: Body, items: Items, entity: Entity) -> bytes | None:
        """The state of an entity; `None`: it is no more. Raises what `get_state` raises, and `NotSendableError`."""
        assert isinstance(body, EntityClassBody)
        instance = body.instance
        assert instance is not None
        state = instance.get_state()
        return None if state is None else items.state(state, entity)


def recipe_of_class(
    cls: Any,
    name: str,
    kind: RegionKind,
    settings: RegionSettings,
    mailbox: Mailbox | None,
    supervision: SupervisorConfig | None,
    kwargs: dict[str, Any],
) -> Recipe:
    """For an `Actor` class. Raises `NotAnActorError` or `UsageError`."""
    if not (isinstance(cls, type) and issubclass(cls, Actor)):
        raise NotAnActorError(
            f"{name!r}: {cls!r} is no class derived from Actor; for behaviors there are Behaviors.sharded and "
            "Behaviors.singleton"
        )
    if cls.receive is Actor.receive:
        raise NotAnActorError(f"{name!r}: {cls.__name__} does not define receive(self, msg, ctx)")
    if (problem := class_problem(cls)) is not None:
        raise NotAnActorError(f"{name!r}: {problem}")
    if _ID in kwargs:
        raise UsageError(f"{name!r}: {_ID} is given to each entity by itself; do not pass it to spawn")
    with_id = kind is RegionKind.ENTITIES and _takes_id(cls)

    def make(runtime: Runtime, entity: Entity, items: Items) -> Body:
        given = {**kwargs, _ID: entity.name} if with_id else kwargs

        def restore(instance: Actor[Any], data: bytes) -> None:
            instance.set_state(items.state_of(data))

        return EntityClassBody(runtime, cls, given, entity, restore)

    return Recipe(
        name,
        kind,
        settings,
        make,
        policy_of_class(cls) if supervision is None else supervision.policy,
        mailbox or Mailbox(),
        cls.on_child_failure is not Actor.on_child_failure,
        has_state=True,
    )


def recipe_of_factory(
    factory: Callable[..., Behavior[Any]],
    name: str,
    kind: RegionKind,
    settings: RegionSettings,
    mailbox: Mailbox | None,
    supervision: SupervisorConfig | None,
) -> Recipe:
    """For a function that makes behaviors: with the id of the entity, or for a singleton without anything."""

    def make(runtime: Runtime, entity: Entity, _: Items) -> Body:
        behavior = factory(entity.name) if kind is RegionKind.ENTITIES else factory()
        try:
            layers = unwrap(behavior)
        except BehaviorError as error:
            raise NotAnActorError(f"the factory of {name!r} returned no behavior: {error}") from None
        return EntityBehaviorBody(runtime, layers, entity)

    policy = STOP_ON_FAILURE if supervision is None else supervision.policy
    return Recipe(name, kind, settings, make, policy, mailbox or Mailbox(), judges=False, has_state=False)


def _takes_id(cls: type[Actor[Any]]) -> bool:
    """Whether the constructor wants to know which entity it makes."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(each.name == _ID or each.kind is each.VAR_KEYWORD for each in parameters)
