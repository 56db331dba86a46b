"""The properties of Raft (paper, Figure 3), watched from outside: by effects, records and replies.

One `RaftChecker` watches a whole cluster. It remembers what was applied where and who led when, across crashes and
restarts, which no single server does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from casty_proto.raft import (
    Append,
    Apply,
    Command,
    Configuration,
    Entry,
    Recovered,
    Restore,
    Role,
    RoleChanged,
    SaveSnapshot,
)

from ..world import Violation


class RaftChecker:
    """Raises `Violation` at the event that broke a property."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        """Who led in each term."""
        self.applied: dict[int, Entry] = {}
        """What was applied at each index, by whoever came first."""
        self._known_in: dict[int, int] = {}
        """The term in which whoever came first applied each index: it was committed in that term, or before."""
        self.executed: dict[tuple[int, int], int] = {}
        """At which index each command of a session was executed."""
        self.written: dict[tuple[int, int], tuple[Any, int]] = {}
        """By index and term: the payload of that entry, and the term of the one before."""
        self.positions: dict[str, int] = {}
        """The last index that each server has applied in its present life."""
        self.committed: list[tuple[int, Configuration]] = []
        """Committed configurations, in order."""
        self._terms: dict[str, dict[int, int]] = {}
        """The term at each index of the log of each server. What was dropped at its end is overwritten in time."""
        self._changes: dict[str, list[int]] = {}
        """Where configurations stand in the log of each server."""
        self._acknowledged: dict[int, bytes] = {}
        """The commands that clients were told are committed, by index."""

    def started(self, server: str, recovered: Recovered) -> None:
        """A server began a new life: its application is empty, and its log is what was found on the disk."""
        self.positions[server] = 0
        self._terms[server] = {entry.index: entry.term for entry in recovered.entries}
        self._changes[server] = [entry.index for entry in recovered.entries if isinstance(entry.payload, Configuration)]

    def role_changed(self, server: str, effect: RoleChanged) -> None:
        """Election safety: at most one leader in a term."""
        if effect.role is not Role.LEADER:
            return
        first = self.leaders.setdefault(effect.term, server)
        if first != server:
            raise Violation("election safety", f"{first} and {server} both lead in term {effect.term}")

    def leader_has(self, server: str, term: int, term_at: Callable[[int], int], first: int) -> None:
        """Leader completeness: what was committed in earlier terms is in the log of a leader, from `first` on.

        Of what was committed in later terms a leader that is late may know nothing.
        """
        for index in range(max(first, 1), max(self.applied, default=0) + 1):
            entry = self.applied.get(index)
            if entry is not None and self._known_in[index] < term and term_at(index) != entry.term:
                raise Violation(
                    "leader completeness", f"{server} leads term {term} without entry {index} of term {entry.term}"
                )

    def persisted(self, server: str, record: Any) -> None:
        """Log matching: the same index and term mean the same entry, and the same one before it."""
        if isinstance(record, SaveSnapshot):
            # Whatever stands under a snapshot is committed, or was replaced by it.
            index = record.snapshot.index
            self._changes[server] = [change for change in self._changes[server] if change > index]
            self._terms[server][index] = record.snapshot.term
        if not isinstance(record, Append):
            return
        self._one_change_at_a_time(server, record.entries)
        terms = self._terms[server]
        for entry in record.entries:
            key = (entry.index, entry.term)
            previous = terms.get(entry.index - 1, -1)
            payload, known = self.written.setdefault(key, (entry.payload, previous))
            if payload is not entry.payload and payload != entry.payload:
                raise Violation("log matching", f"{server} has another entry at index {key[0]} of term {key[1]}")
            if previous >= 0:
                if known >= 0 and known != previous:
                    raise Violation("log matching", f"{server} has another entry before {key[0]} of term {key[1]}")
                self.written[key] = (payload, previous)
            terms[entry.index] = entry.term

    def _one_change_at_a_time(self, server: str, entries: tuple[Entry, ...]) -> None:
        """Configuration safety: of the changes in a log only the last may be uncommitted (thesis 4.1)."""
        changes = self._changes[server]
        while changes and changes[-1] >= entries[0].index:
            changes.pop()
        for entry in entries:
            if isinstance(entry.payload, Configuration):
                before = changes[-1] if changes else 0
                if before not in dict(self.committed):
                    raise Violation(
                        "configuration safety", f"{server} has a change at {entry.index}, and that at {before} is open"
                    )
                changes.append(entry.index)

    def apply(self, server: str, effect: Apply, term: int) -> None:
        """State machine safety and at-most-once application. `term` is the one in which the server is."""
        for entry in effect.entries:
            position = self.positions.get(server, 0)
            if entry.index <= position:
                raise Violation("state machine safety", f"{server} applies {entry.index} after {position}")
            self.positions[server] = entry.index
            first = self.applied.setdefault(entry.index, entry)
            self._known_in.setdefault(entry.index, term)
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

    def acknowledged_are_applied(self, running: list[str]) -> None:
        """At the end: one of those that run, and have agreed on something since, has all that was acknowledged."""
        last = max(self._acknowledged, default=0)
        furthest = max((self.positions[server] for server in running), default=0)
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
