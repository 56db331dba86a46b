"""What handlers of entities leave, on its way to where it is kept (`entities.py`, rules 3, 4 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casty_proto.cluster import events

from ..errors import ActorFailedError, ReplicationError, described

if TYPE_CHECKING:
    from ..body import Body
    from .entities import Entity
    from .turns import Turn


class Write:
    """A state on its way to where it is kept, and the answers that wait for it."""

    __slots__ = ("_entity", "data", "turns")

    def __init__(self, entity: Entity, turn: Turn | None) -> None:
        self._entity = entity
        self.data: bytes | None = None
        self.turns: list[Turn] = [] if turn is None else [turn]

    def durable(self) -> None:
        """It is kept."""
        self._entity.saved_by(self, None)

    def not_durable(self, reason: str) -> None:
        """Nobody knows."""
        self._entity.saved_by(self, ReplicationError(f"{self._entity.path}: {reason}"))

    def answered(self, result: Any) -> None:
        """The node does not own the shard."""
        self._entity.saved_by(self, ReplicationError(f"{self._entity.path}: {result.reason}"))


def keep(entity: Entity, turn: Turn | None, body: Body) -> bool:
    """Take the state that a handler has left. False, and nothing done, where it is that which is kept.

    Raises `NotSendableError` for a state that cannot be kept; whoever asked was told then.
    """
    shard, hosting = entity.shard, entity._hosting
    try:
        data = shard.region.recipe.state_of(body, hosting.items, entity)
    except BaseException as error:
        if turn is not None:
            turn.fail(ActorFailedError(f"{entity.path} failed on {turn.ask.kind()}: {described(error)}"))
        raise
    if data == entity.saved and not entity._saving and not entity._in_doubt:
        return False
    entity.saved, entity._in_doubt = data, False
    write = entity._unsent
    if write is None:
        entity._unsent = write = entity._last_write = Write(entity, turn)
        entity._saving += 1
        shard.saving += 1
        if entity.waiting:
            # The next handler may take its time.
            hosting.soon(lambda: _send(entity))
    elif turn is not None:
        write.turns.append(turn)
    write.data = data
    if not entity.waiting:
        _send(entity)
    return True


def _send(entity: Entity) -> None:
    """Give the node the state that it has not got yet (rule 7)."""
    write, entity._unsent = entity._unsent, None
    if write is not None:
        shard = entity.shard
        place = (shard.region.name, shard.number, shard.epoch, entity.name)
        entity._hosting.member.feed(events.Handled(*place, write.data, write))
