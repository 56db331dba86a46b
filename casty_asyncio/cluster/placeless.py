"""Refs without a place: those of entities, singletons and types mean the same on every node and client.

How they go over the wire, and how they are asked in the style of behaviors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from casty_proto.address import actor_name_problem
from casty_proto.cluster.handover import is_entity

from ..errors import UsageError
from ..refs import ActorRef
from .broadcast import BroadcastRef
from .items import Form
from .refs import EntityRef, ShardedRef

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .regions import Region

_ENTITY, _REGION = "$entity", "$region"


class PlacelessRefs:
    """Encodes and decodes them for one system, whose types `region` knows by their names."""

    def __init__(self, runtime: Runtime, region: Callable[[str], Region]) -> None:
        self._runtime = runtime
        self._region = region

    def parts_of(self, ref: ActorRef[Any]) -> tuple[str, str, str] | None:
        """What is sent of a ref to an entity, a singleton or a type."""
        if isinstance(ref, EntityRef):
            kind, entity = _ENTITY, ref.entity_id
        elif isinstance(ref, ShardedRef):
            kind, entity = _REGION, ""
        else:
            return None
        if ref.region.runtime is not self._runtime:
            raise ValueError(f"{ref!r} belongs to another actor system of this process")
        return kind, ref.region.name, entity

    def ref_of(self, kind: str, name: str, entity: str) -> ActorRef[Any]:
        """The ref, bound to this system."""
        if actor_name_problem(name) is not None or not name.isprintable():
            raise ValueError("a ref has the name of a type that is none")
        if kind == _ENTITY and not is_entity(entity):
            raise ValueError("a ref has the id of an entity that is none")
        if kind == _ENTITY:
            return EntityRef(self._region(name), entity)
        if kind == _REGION:
            return ShardedRef(self._region(name))
        raise ValueError(f"{kind!r} is no kind of ref")


async def ask_anyone(
    ask: Callable[[ActorRef[Any], Any, float], Awaitable[Any]],
    ref: ActorRef[Any],
    build: Callable[[ActorRef[Any]], Any],
    timeout: float,
    what: str,
) -> Any:
    """Ask whatever can be asked; `ask` is for actors that have a place. `what` the call is named by in errors."""
    if isinstance(ref, ShardedRef):
        raise UsageError(f"{ref!r} is all entities of a type; ask one of them, {ref.region.name}[entity_id]")
    if isinstance(ref, BroadcastRef):
        return await ref.gather(lambda one: ask(one, build, timeout))
    if not isinstance(ref, EntityRef):
        return await ask(ref, build, timeout)
    if not callable(build):
        raise UsageError(f"{what} of {ref!r} wants a function that makes the message, not {build!r}")
    return await ref.region.asks.ask(ref, None, build, Form.ASK, timeout)
