"""What `system.lookup(path)` returns: an answer that can be used at once or awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Cell, Phase, Reason
from casty_proto.address import ActorAddress

from .errors import ActorStoppedError
from .refs import ActorRef, LocalRef
from .stand_in import stand_in

if TYPE_CHECKING:
    from .runtime import Runtime


class MissingRef(ActorRef[Any]):
    """Stands for an actor that is not there: every message to it is a dead letter."""

    __slots__ = ("_address", "_reason", "_runtime")

    def __init__(self, runtime: Runtime, address: ActorAddress, reason: Reason = Reason.UNKNOWN_PATH) -> None:
        self._runtime = runtime
        self._address = address
        self._reason = reason

    @property
    def incarnation(self) -> int | None:
        """Which actor at that path it was, where that is known."""
        return self._address.incarnation

    def tell(self, message: Any, sender: ActorRef[Any] | None = None) -> None:
        self._runtime.dead_letter(self, message, self._reason, sender)

    async def ask(self, message: Any, timeout: float = 5.0) -> Any:
        raise ActorStoppedError(f"there is no actor {self.address} that could be asked")

    @property
    def path(self) -> str:
        return self._address.path

    @property
    def address(self) -> str:
        return str(self._address)

    def _watchable(self) -> Cell:
        return stand_in(self, self._address.incarnation or 0, Phase.STOPPED)

    def _is_gone(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"ActorRef({self.path}: nobody there)"

    def _uid(self) -> int | None:
        """What the engine knew the actor by."""
        known = self._address.incarnation
        return None if known is None else known - self._runtime.incarnations

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LocalRef):
            # Somebody kept the ref of the actor, and got it once more from elsewhere after its end.
            return other._runtime is self._runtime and other._cell.uid == self._uid()
        if not isinstance(other, MissingRef):
            return NotImplemented
        uid = self._uid()
        return self._runtime is other._runtime and (
            self._address == other._address if uid is None else uid == other._uid()
        )

    def __hash__(self) -> int:
        uid = self._uid()
        return hash(self._address if uid is None else uid)


class Lookup:
    """The answer to a lookup by path.

    Used directly, it is the local answer: false when there is no such actor here, with `ref` and `tell`. Awaiting it
    gives the ref, or `None`; for the address of an actor of another process that process is asked, and if it cannot
    be, because it is out of reach or this system talks to no others, `UnreachableError` is raised.
    """

    __slots__ = ("_elsewhere", "_missing", "ref")

    def __init__(
        self,
        ref: ActorRef[Any] | None,
        missing: MissingRef,
        elsewhere: Callable[[], Awaitable[ActorRef[Any] | None]] | None = None,
    ) -> None:
        self.ref = ref
        """The actor, or `None`."""
        self._missing = missing
        self._elsewhere = elsewhere

    def tell(self, message: Any, sender: ActorRef[Any] | None = None) -> None:
        """Send a message to the actor; a dead letter when there is none."""
        (self.ref or self._missing).tell(message, sender)

    def __bool__(self) -> bool:
        return self.ref is not None

    def __await__(self) -> Generator[Any, Any, ActorRef[Any] | None]:
        return self._answer().__await__()

    async def _answer(self) -> ActorRef[Any] | None:
        return self.ref if self._elsewhere is None else await self._elsewhere()

    def __repr__(self) -> str:
        return f"Lookup({self._missing.path}: {'found' if self.ref else 'nobody there'})"
