"""Actors that are on every node that has spawned them, behind one ref."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..receptionist import ServiceKey
from ..refs import ActorRef

if TYPE_CHECKING:
    from ..system import ActorSystem

_PREFIX = "casty.broadcast/"


def broadcast_key(name: str) -> ServiceKey[Any]:
    """The key under which the instances find each other."""
    return ServiceKey(f"{_PREFIX}{name}")


class BroadcastRef[M](ActorRef[M]):
    """All instances of a broadcasted actor that this node knows of at the moment of a call.

    What is told goes to each of them. An ask waits for the answers of all, and gives a tuple of them: that of this
    node first, and then node by node. When one of them fails, so does the ask.
    """

    __slots__ = ("_key", "_name", "_system")

    def __init__(self, system: ActorSystem, name: str) -> None:
        self._system = system
        self._name = name
        self._key = broadcast_key(name)

    @property
    def instances(self) -> tuple[ActorRef[M], ...]:
        """The refs of all instances, as this node knows them."""
        return tuple([instance.ref for instance in self._system.receptionist.listing(self._key)])

    def tell(self, message: M, sender: ActorRef[Any] | None = None) -> None:
        for ref in self.instances:
            ref.tell(message, sender)

    async def send(self, message: M, sender: ActorRef[Any] | None = None) -> None:
        for ref in self.instances:
            await ref.send(message, sender)

    async def ask(self, message: M, timeout: float = 5.0) -> Any:
        return await self.gather(lambda ref: ref.ask(message, timeout))

    async def gather(self, ask: Callable[[ActorRef[M]], Any]) -> tuple[Any, ...]:
        """Ask each of them, at the same time. Raises what the first one in their order raises that fails."""
        answers = await asyncio.gather(*(ask(ref) for ref in self.instances), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return tuple(answers)

    @property
    def path(self) -> str:
        return f"/{self._name}"

    @property
    def address(self) -> str:
        return f"casty://{self._system.name}{self.path}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BroadcastRef):
            return NotImplemented
        return self._name == other._name and self._system is other._system

    def __hash__(self) -> int:
        return hash(self._name)
