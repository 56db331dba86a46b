"""The entities of the cluster scenario as actors: what `cluster_ops.execute` does, in the words of applications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from casty_asyncio import Actor, ActorContext

from .cluster_ops import BOSS, COUNTERS, PLAIN, REGISTERS, Kind, Op, execute

if TYPE_CHECKING:
    from .app_life import Life


@frozen
class Do:
    """One operation, as it is sent to an entity: an `Op` of the scenario."""

    number: int
    kind: int
    expected: int | None

    def op(self, entity: str) -> Op:
        """The operation on an entity."""
        return Op(self.number, entity, Kind(self.kind), self.expected, "")


class Watched(Actor[Do]):
    """One entity, whose handlers are watched. A handler takes time."""

    region = ""

    def __init__(self, life: Life, entity_id: str = BOSS) -> None:
        self._life = life
        self._name = entity_id
        self._content: Any = None if self.region == REGISTERS else []

    async def receive(self, msg: Do, ctx: ActorContext[Do]) -> None:
        op = msg.op(self._name)
        async with self._life.handler(self.region, op):
            self._content, result = execute(self._content, op)
        ctx.reply(list(result) if isinstance(result, list) else result)

    def get_state(self) -> Any:
        """What `execute` knows; `None` for a register that was deleted."""
        return self._content

    def set_state(self, state: Any) -> None:
        """Go on from there."""
        self._content = state


class Counter(Watched):
    """Lists the numbers of all operations that it has carried out."""

    region = COUNTERS


class Register(Watched):
    """Has the number of the operation that has set it."""

    region = REGISTERS


class Plain(Watched):
    """A counter of which there are no copies."""

    region = PLAIN


class Boss(Watched):
    """A counter of which there is one in the whole cluster."""

    region = BOSS


ACTORS: dict[str, type[Watched]] = {each.region: each for each in (Counter, Register, Plain, Boss)}
"""By region."""
