"""The actors of entities: what comes before and after each of their handlers (`entities.py`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Behavior, Envelope, Layers

from ..actor import Actor, ClassBody
from ..asks import Ask
from ..behavior_body import BehaviorBody
from ..body import Body
from ..spy import spied
from .entities import Entity
from .items import Form
from .stash import stash, unstash
from .turns import Told, Turn

if TYPE_CHECKING:
    from ..runtime import Runtime


class _EntityBody(Body):
    """What is the same in either style."""

    __slots__ = ()

    _entity: Entity

    def stash(self, message: Any, item: Any) -> bool:
        return stash(self._entity, message, item)

    def unstash(self) -> int:
        return unstash(self._entity) + super().unstash()

    def settle(self, item: Envelope | Ask) -> None:
        if not _was_set_aside(self, item):
            super().settle(item)

    def install(self, handler: Callable[..., Any]) -> None:
        self.handler = partial(_guard, self, self._entity, spied(self, handler) if self.spies else handler)

    async def follow(self, result: Any, message: Any) -> None:
        await super().follow(result, message.message if type(message) is Told else message)

    def ended(self, error: Exception | None) -> None:
        super().ended(error)
        self._entity.gone()


class EntityClassBody(_EntityBody, ClassBody):
    """Runs an entity that is an instance of an `Actor` class."""

    __slots__ = ("_entity", "_restore")

    def __init__(
        self, runtime: Runtime, cls: type[Actor[Any]], kwargs: dict[str, Any], entity: Entity, restore: Any
    ) -> None:
        super().__init__(runtime, cls, kwargs)
        self._entity = entity
        self._restore = restore

    async def start(self, error: Exception | None) -> None:
        if error is not None:
            unstash(self._entity)
        if self._instance is None:
            self._instance = self._cls(**(self._kwargs or {}))
        entity = self._entity
        data = entity.saved
        # A state that is not kept is that of the move by which the entity came, and no good for a restart.
        if data is not None and (error is None or entity.shard.region.recipe.is_kept):
            self._restore(self._instance, data)
        await super().start(error)

    @property
    def instance(self) -> Actor[Any] | None:
        """The present one."""
        return self._instance


class EntityBehaviorBody(_EntityBody, BehaviorBody):
    """Runs an entity that is a behavior."""

    __slots__ = ("_entity",)

    def __init__(self, runtime: Runtime, layers: Layers, entity: Entity) -> None:
        super().__init__(runtime, layers)
        self._entity = entity

    async def start(self, error: Exception | None) -> None:
        if error is not None:
            unstash(self._entity)
        await super().start(error)


def _was_set_aside(body: Body, item: Envelope | Ask) -> bool:
    """Whether nothing is owed for an ask yet, since it is to be handled later."""
    turn: object = item.future if type(item) is Ask else None
    if type(turn) is not Turn or turn.has_begun:
        return False
    body.context._sender = body.context._ask = None
    return True


def _guard(body: Body, entity: Entity, handler: Callable[..., Any], first: Any, second: Any) -> Any:
    """Call a handler, and see to what comes before and after it."""
    context_first, context = body.context_first, body.context
    told = second if context_first else first
    if type(told) is not Told:
        return _guard_turn(body, entity, handler, first, second)
    # It is told by somebody who does not wait, where nothing is kept.
    if not entity.begins_told(told):
        return None
    context._sender = told.sender
    try:
        result = handler(context, told.message) if context_first else handler(told.message, context)
    except BaseException:
        entity.ends_silently(told, body)
        raise
    if type(result) is CoroutineType or (not isinstance(result, Behavior) and inspect.isawaitable(result)):
        return _finish_silently(body, entity, told, result)
    entity.ends_silently(told, body)
    return result


def _guard_turn(body: Body, entity: Entity, handler: Callable[..., Any], first: Any, second: Any) -> Any:
    """The same for all other messages, those of the actor to itself among them."""
    ask = body.context._ask
    future: object = None if ask is None else ask.future
    turn = future if type(future) is Turn else None
    if not entity.begins(turn, body, second if body.context_first else first):
        return None
    try:
        result = handler(first, second)
    except BaseException:
        entity.ends(turn, body, failed=True)
        raise
    if turn is not None and turn.form is Form.TELL and entity.shard.leaves_nothing and type(result) is CoroutineType:
        return _finish_silently(body, entity, turn, result)
    if type(result) is CoroutineType or (not isinstance(result, Behavior) and inspect.isawaitable(result)):
        return _finish(body, entity, turn, result)
    entity.ends(turn, body, failed=False)
    return result


async def _finish_silently(body: Body, entity: Entity, turn: Turn | Told, result: Any) -> Any:
    try:
        return await result
    finally:
        entity.ends_silently(turn, body)


async def _finish(body: Body, entity: Entity, turn: Turn | None, result: Any) -> Any:
    try:
        result = await result
    except BaseException:
        entity.ends(turn, body, failed=True)
        raise
    entity.ends(turn, body, failed=False)
    return result
