"""Refs to what has no place of its own: entities, singletons, and types of entities."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from attrs import field, frozen

from casty_proto.cluster.handover import is_entity

from ..errors import UsageError
from ..refs import ActorRef
from .asking import Telling
from .items import Form
from .names import SINGLETON_ID, name_of

if TYPE_CHECKING:
    from .regions import Region


def _is_id(_: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, str):
        raise UsageError(f"ShardEnvelope.{attribute.name} must be a string, not {value!r}")


@frozen
class ShardEnvelope[M]:
    """Message to the ref of a sharded type: pass `message` on to the entity `entity_id`."""

    entity_id: str = field(validator=_is_id)
    message: M


class EntityRef[M](ActorRef[M]):
    """An entity, or a singleton, wherever it is. It follows its owner; what is sent while it moves waits.

    Messages from one node arrive in the order sent. An ask that certainly was not handled is asked again by itself
    until its timeout. `OutcomeUnknownError` is raised where the node that had the message is gone, and
    `ReplicationError` where a state could not be kept as the type demands.
    """

    __slots__ = ("entity_id", "region")

    def __init__(self, region: Region, entity_id: str) -> None:
        self.region = region
        self.entity_id = entity_id

    def tell(self, message: M, sender: ActorRef[Any] | None = None) -> None:
        """Send a message and go on; see `ActorRef.tell`. What waits for one shard is limited."""
        region = self.region
        data = region.items.message(self, Form.TELL, sender, None, message)
        region.tell(self.entity_id, data, Telling(region.runtime, self, message, sender), quiet=True)

    async def send(self, message: M, sender: ActorRef[Any] | None = None) -> None:
        """Send a message, and wait until the owner has it.

        Where the type replicates with a `sync_count`, wait until it was handled and the state after it is kept. Raises
        `ReplicationError` if that cannot be made sure, `ActorFailedError` if the handler raised, and otherwise what
        `ask` raises.
        """
        region = self.region
        if region.waits_for_backups:
            await region.asks.ask(self, message, None, Form.SEND, region.send_timeout)
        else:
            await region.accepted(self, message, sender)

    def ask(self, message: M, timeout: float = 5.0) -> Coroutine[Any, Any, Any]:
        return self.region.asks.ask(self, message, None, Form.ASK, timeout)

    @property
    def path(self) -> str:
        path = f"/{self.region.name}"
        return path if self.entity_id == SINGLETON_ID else f"{path}/{name_of(self.entity_id)}"

    @property
    def name(self) -> str:
        return self.region.name if self.entity_id == SINGLETON_ID else self.entity_id

    @property
    def address(self) -> str:
        return f"casty://{self.region.runtime.name}{self.path}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EntityRef):
            return NotImplemented
        return self.entity_id == other.entity_id and self.region is other.region

    def __hash__(self) -> int:
        return hash((self.region.name, self.entity_id))


class ShardedRef[M](ActorRef[ShardEnvelope[M]]):
    """All entities of a type: `players["alice"]` is the ref of one of them.

    It can be told `ShardEnvelope(entity_id, message)` as well, and asked that.
    """

    __slots__ = ("region",)

    def __init__(self, region: Region) -> None:
        self.region = region

    def __getitem__(self, entity_id: str) -> EntityRef[M]:
        """The ref of one entity, which is made when it gets its first message."""
        if not is_entity(entity_id) or entity_id == SINGLETON_ID:
            raise UsageError(
                f"the id of an entity of {self.region.name!r} must be a text of 1 to 4096 bytes that does not begin "
                f"with '\\x00', not {entity_id!r}"
            )
        return EntityRef(self.region, entity_id)

    def tell(self, message: ShardEnvelope[M], sender: ActorRef[Any] | None = None) -> None:
        ref, inner = self._opened(message)
        ref.tell(inner, sender)

    async def send(self, message: ShardEnvelope[M], sender: ActorRef[Any] | None = None) -> None:
        """As that of the entity's own ref."""
        ref, inner = self._opened(message)
        await ref.send(inner, sender)

    def ask(self, message: ShardEnvelope[M], timeout: float = 5.0) -> Coroutine[Any, Any, Any]:
        ref, inner = self._opened(message)
        return ref.ask(inner, timeout)

    def _opened(self, message: ShardEnvelope[M]) -> tuple[EntityRef[M], M]:
        if not isinstance(message, ShardEnvelope):
            raise UsageError(
                f"{self!r} is all entities of a type; use {self.region.name}[entity_id], or send "
                f"ShardEnvelope(entity_id, message), not {message!r}"
            )
        return self[message.entity_id], cast(Any, message.message)

    @property
    def path(self) -> str:
        return f"/{self.region.name}"

    @property
    def address(self) -> str:
        return f"casty://{self.region.runtime.name}{self.path}"

    def __eq__(self, other: object) -> bool:
        return self.region is other.region if isinstance(other, ShardedRef) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.region.name)
