"""What other processes can address here: the actors and handles whose refs were sent or looked up (rule 7)."""

from __future__ import annotations

from casty_proto.actor import Phase
from casty_proto.address import INCARNATION_MAX

from ..refs import ActorRef, LocalRef, ReplyRef

_UIDS = 2**40
"""How many actors one process can have in its life."""
_HANDLES = 2**63
"""The numbers of handles begin here."""


class Exports:
    """Numbers for whatever can be told something, and back.

    The number of an actor is its incarnation, as it is written in addresses. It begins with some bits of the generation
    of the process, so that a ref from before a restart does not mean somebody else after it.
    """

    def __init__(self, generation: int) -> None:
        self.base = (generation % (_HANDLES // _UIDS)) * _UIDS
        """The number of an actor is this and its number in the engine."""
        self._targets: dict[int, LocalRef[object] | ReplyRef[object]] = {}
        self._handles: dict[ReplyRef[object], int] = {}
        self._next_handle = _HANDLES
        assert self.base + _UIDS <= _HANDLES <= INCARNATION_MAX

    def __len__(self) -> int:
        return len(self._targets)

    def number_of(self, ref: LocalRef[object]) -> int:
        """The number of an actor, which can be addressed from now on until it has stopped."""
        cell = ref._cell
        number: int = self.base + cell.uid
        if number not in self._targets and cell.phase != Phase.STOPPED:
            self._targets[number] = ref
            targets = self._targets
            cell.body.call_at_end(lambda: targets.pop(number, None))
        return number

    def number_of_handle(self, ref: ReplyRef[object]) -> int:
        """The number of a handle, which can be told its answer from now on until the ask is over."""
        known = self._handles.get(ref)
        if known is not None:
            return known
        number = self._next_handle
        self._next_handle += 1
        if not ref._ask.future.done():
            self._targets[number] = ref
            self._handles[ref] = number

            def forget(_: object) -> None:
                self._targets.pop(number, None)
                self._handles.pop(ref, None)

            ref._ask.future.add_done_callback(forget)
        return number

    def lend(self, ref: ReplyRef[object]) -> int:
        """A number of its own for a handle, which can be told its answer until it is taken back."""
        number = self._next_handle
        self._next_handle += 1
        self._targets[number] = ref
        return number

    def take_back(self, number: int) -> None:
        """Nobody has that number any more."""
        self._targets.pop(number, None)

    def find(self, number: int) -> LocalRef[object] | ReplyRef[object] | None:
        """Whoever has that number now."""
        return self._targets.get(number)


def is_handle(number: int) -> bool:
    """Whether a number is that of the handle of an ask."""
    return number >= _HANDLES


def exported_actor(ref: ActorRef[object] | None) -> LocalRef[object] | None:
    """The actor, if it is one and no handle."""
    return ref if isinstance(ref, LocalRef) else None
