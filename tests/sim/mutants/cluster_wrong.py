"""A node with parts that do one thing wrong.

A part is made wrong in place, by giving it another class with the same slots: so all that is right about it stays as it
is.
"""

from __future__ import annotations

from typing import Any

from casty_proto.cluster.inside import Inside
from casty_proto.cluster.node import Node


class Wrong(Node):
    """A node of which some parts are replaced."""

    __slots__ = ()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.spoil()
        self._deadlines = self._queries()

    def spoil(self) -> None:
        """Make the parts wrong that are there from the beginning."""

    def _enter(self, *arguments: Any) -> Inside:
        inside = super()._enter(*arguments)
        self.spoil_inside(inside)
        self._deadlines = self._queries()
        return inside

    def spoil_inside(self, inside: Inside) -> None:
        """Make the parts wrong that are there once it belongs to a cluster."""
