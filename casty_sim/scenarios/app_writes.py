"""What is watched of the operations that entities of an application carry out."""

from __future__ import annotations

from ..checkers.cluster_writes import Writes, words
from ..world import Violation
from .cluster_ops import Op


class AppWrites(Writes):
    """As at the level of machines, but for the order of one sender.

    An ask that was not handled is asked again by the actor system itself, and comes after what was asked since.
    """

    def begins(self, op: Op) -> None:
        """A handler begins."""
        if op.number in self._refused:
            raise Violation("not handled", f"{words(op)} is handled, although it was said that it would not be")
        if op.number in self._begun:
            raise Violation("at most once", f"{words(op)} is handled again")
        self._begun[op.number] = None
