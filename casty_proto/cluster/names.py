"""Cluster-wide names. Rules 13 and 14 of `cluster/__init__.py`."""

from __future__ import annotations

from typing import assert_never

from .checks import NAME_MAX, NAMES_MAX, NodeKey
from .commands import NameCommand, RegisterName, UnregisterName
from .members import Members
from .outcomes import AlreadySo, Applied, NameFreed, NameTaken, Outcome, Outdated, Refused, Taken
from .records import NameEntry, Status


class Names:
    """Who has which name."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[str, NameEntry] = {}

    def of(self, node: NodeKey) -> tuple[str, ...]:
        """The names that actors of this node have, in order."""
        return tuple(sorted([name for name, entry in self.entries.items() if entry.node == node]))

    def apply(self, command: NameCommand, index: int, members: Members) -> Outcome:
        """Apply a command about names."""
        match command:
            case RegisterName():
                return self._register(command, index, members)
            case UnregisterName(name, node, number):
                return self._unregister(name, node, number)
            case _:
                assert_never(command)

    def _register(self, command: RegisterName, index: int, members: Members) -> Outcome:
        name, node = command.name, command.node
        holder = self.entries.get(name)
        if holder is not None:
            mine = (holder.node, holder.number, holder.path) == (node, command.number, command.path)
            return AlreadySo() if mine else Taken(holder)
        member = members.get(node)
        if member is None:
            return Refused(f"{node} cannot have the name {name!r}: it is no member; it must join first")
        if member.status is Status.DOWN:
            return Refused(f"{node} cannot have the name {name!r}: it is held to be down; try again when it is up")
        if len(self.entries) >= NAMES_MAX:
            return Refused(f"{node} cannot have the name {name!r}: {NAMES_MAX} names are taken; give some up first")
        entry = NameEntry(node, command.number, command.path, index)
        self.entries[name] = entry
        return Applied((NameTaken(name, entry),))

    def _unregister(self, name: str, node: NodeKey, number: int) -> Outcome:
        entry = self.entries.get(name)
        if entry is None:
            return AlreadySo()
        if (entry.node, entry.number) != (node, number):
            return Outdated(
                f"actor {number} of {node} does not have the name {name!r}; {entry.path} of {entry.node} has"
            )
        del self.entries[name]
        return Applied((NameFreed(name, entry),))

    def drop(self, node: NodeKey, before: int | None = None) -> tuple[NameFreed, ...]:
        """Free the names of a node, in order: all, or those that it got before an index."""
        old = [name for name in self.of(node) if before is None or self.entries[name].since < before]
        return tuple([NameFreed(name, self.entries.pop(name)) for name in old])

    def fault(self, changed: int, members: Members) -> str | None:
        """Why no commands can have led here by the index `changed`, or `None` where some can."""
        if len(self.entries) > NAMES_MAX:
            return f"there are {len(self.entries)} names"
        for name, entry in self.entries.items():
            if not 0 < len(name.encode()) <= NAME_MAX:
                return f"{name!r} is no name"
            member = members.get(entry.node)
            if member is None or member.status is Status.DOWN:
                return f"the name {name!r} is that of {entry.node}, which is not there"
            if not member.joined < entry.since <= changed:
                return f"the name {name!r} was taken at {entry.since}, by {entry.node}, which joined at {member.joined}"
        indexes = dict.fromkeys([entry.since for entry in self.entries.values()])
        return None if len(indexes) == len(self.entries) else "two names were taken at one index"
