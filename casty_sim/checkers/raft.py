"""The properties of Raft (paper, Figure 3), watched from outside: by effects, records and replies.

One `RaftChecker` watches a whole cluster. It remembers what was applied where and who led when, across crashes and
restarts, which no single server does.
"""

from __future__ import annotations

from typing import Any

from casty_proto.raft import Append, Apply, Command, Configuration, Entry, Restore, Role, RoleChanged

from ..world import Violation


class RaftChecker:
    """Raises `Violation` at the event that broke a property."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        """Who led in each term."""
        self.applied: dict[int, Entry] = {}
        """What was applied at each index, by whoever came first."""
        self.executed: dict[tuple[int, int], int] = {}
        """At which index each command of a session was executed."""
        self.written: dict[tuple[int, int], tuple[Any, int]] = {}
        """By index and term: the payload of that entry, and the term of the one before."""
        self.positions: dict[str, int] = {}
        """The last index that each server has applied in its present life."""
        self.committed: list[tuple[int, Configuration]] = []
        """Committed configurations, in order."""
        self._acknowledged: dict[int, bytes] = {}
        """The commands that clients were told are committed, by index."""

    def started(self, server: str) -> None:
        """A server began a new life: its application is empty."""
        self.positions[server] = 0

    def role_changed(self, server: str, effect: RoleChanged) -> None:
        """Election safety: at most one leader in a term."""
        if effect.role is not Role.LEADER:
            return
        first = self.leaders.setdefault(effect.term, server)
        if first != server:
            raise Violation("election safety", f"{first} and {server} both lead in term {effect.term}")

    def leader_has(self, server: str, term_at: Any, first: int) -> None:
        """Leader completeness: whatever was committed is in the log of a new leader, from `first` on."""
        for index in range(max(first, 1), max(self.applied, default=0) + 1):
            entry = self.applied.get(index)
            if entry is not None and term_at(index) != entry.term:
                raise Violation("leader completeness", f"{server} leads without entry {index} of term {entry.term}")

    def persisted(self, server: str, record: Any) -> None:
        """Log matching: the same index and term mean the same entry, and the same one before it."""
        if not isinstance(record, Append):
            return
        before: Entry | None = None
        for entry in record.entries:
            key = (entry.index, entry.term)
            previous = -1 if before is None else before.term
            payload, known = self.written.setdefault(key, (entry.payload, previous))
            if payload is not entry.payload and payload != entry.payload:
                raise Violation("log matching", f"{server} has another entry at index {key[0]} of term {key[1]}")
            if previous >= 0:
                if known >= 0 and known != previous:
                    raise Violation("log matching", f"{server} has another entry before {key[0]} of term {key[1]}")
                self.written[key] = (payload, previous)
            before = entry

    def apply(self, server: str, effect: Apply) -> None:
        """State machine safety and at-most-once application."""
        for entry in effect.entries:
            position = self.positions.get(server, 0)
            if entry.index <= position:
                raise Violation("state machine safety", f"{server} applies {entry.index} after {position}")
            self.positions[server] = entry.index
            first = self.applied.setdefault(entry.index, entry)
            if first is not entry and first != entry:
                raise Violation(
                    "state machine safety",
                    f"{server} applies {entry.payload} at {entry.index}, somebody applied {first.payload}",
                )
            self._executed(server, entry)

    def _executed(self, server: str, entry: Entry) -> None:
        command = entry.payload
        if not isinstance(command, Command) or not command.session:
            return
        key = (command.session, command.serial)
        index = self.executed.setdefault(key, entry.index)
        if index != entry.index:
            raise Violation(
                "at-most-once", f"{server} executes serial {key[1]} of session {key[0]} at {entry.index} and at {index}"
            )

    def restored(self, server: str, effect: Restore) -> None:
        """A snapshot replaced the state of a server: it goes on from there, never back."""
        position = self.positions.get(server, 0)
        if effect.index < position:
            raise Violation("state machine safety", f"{server} goes back from {position} to {effect.index}")
        self.positions[server] = effect.index

    def acknowledged(self, index: int, data: bytes) -> None:
        """A client was told that its command is committed at `index`."""
        entry = self.applied.get(index)
        if entry is None or not isinstance(entry.payload, Command) or entry.payload.data != data:
            was = "nothing" if entry is None else entry.payload
            raise Violation("durability", f"{data!r} was acknowledged at {index}, where {was} was applied")
        self._acknowledged[index] = data

    def acknowledged_are_applied(self) -> None:
        """At the end: the servers that lead or follow have everything that was acknowledged."""
        last = max(self._acknowledged, default=0)
        furthest = max(self.positions.values(), default=0)
        if furthest < last:
            raise Violation("durability", f"{last} was acknowledged, and nobody has applied more than {furthest}")

    def same_state(self, server: str, state: dict[str, str]) -> None:
        """The state of a server is what the entries up to its position make of an empty one."""
        position = self.positions[server]
        expected: dict[str, str] = {}
        for index in sorted(self.applied):
            command = self.applied[index].payload
            if index <= position and isinstance(command, Command):
                key, _, value = command.data.decode().partition("=")
                expected[key] = value
        if state != expected:
            raise Violation("state machine safety", f"{server} has {state} at {position}, and not {expected}")

    def configuration_committed(self, index: int, configuration: Configuration) -> None:
        """Configuration safety: each committed configuration differs from the one before by one voter at most."""
        known = dict(self.committed)
        if index in known:
            if known[index] != configuration:
                raise Violation("configuration safety", f"two configurations are committed at {index}")
            return
        self.committed.append((index, configuration))
        self.committed.sort(key=lambda each: each[0])
        for (_, one), (at, other) in zip(self.committed, self.committed[1:], strict=False):
            moved = dict.fromkeys(one.voters).keys() ^ dict.fromkeys(other.voters).keys()
            if len(moved) > 1 and at == index:
                raise Violation("configuration safety", f"{sorted(moved)} came and went at once at {at}")
