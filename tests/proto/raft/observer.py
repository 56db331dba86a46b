"""An onlooker: sees every effect, record and log of a cluster, and asserts what Raft promises.

It shares no code with the machines. What is durable it works out from the records itself, and what is committed it
remembers from whoever said so first.
"""

from __future__ import annotations

from typing import Any

from casty_proto.raft import (
    Append,
    AppendAccepted,
    Apply,
    Ballot,
    Base,
    Command,
    Raft,
    ReadRequest,
    Record,
    RequestTransfer,
    RequestVote,
    Restore,
    Role,
    RoleChanged,
    SaveSnapshot,
    Send,
    Vote,
)


class Disk:
    """What one server has written. A write is pending until the disk gets round to it, and lost if the power fails."""

    def __init__(self, records: tuple[Record, ...] = ()) -> None:
        self.records: list[Record] = []
        self.pending: list[tuple[int, Record]] = []
        self.held = False
        """Nothing becomes durable meanwhile."""
        self.term = 0
        self.vote: str | None = None
        self.terms: dict[int, int] = {}
        """The term at each index that is durable."""
        self.snapshot = 0
        for record in records:
            self._add(record)

    def write(self, ticket: int, record: Record) -> None:
        self.pending.append((ticket, record))

    def sync(self, count: int = 1) -> int:
        """Make the first `count` pending writes durable. Returns the ticket of the last of them."""
        done, self.pending = self.pending[:count], self.pending[count:]
        for _, record in done:
            self._add(record)
        return done[-1][0]

    def lose(self) -> None:
        """The power fails."""
        self.pending.clear()

    def has(self, index: int) -> bool:
        return index <= self.snapshot or index in self.terms

    def _add(self, record: Record) -> None:
        self.records.append(record)
        match record:
            case Ballot():
                assert record.term >= self.term, f"the term went back from {self.term} to {record.term}"
                assert record.term > self.term or self.vote in (None, record.vote), "R-07: a second vote in one term"
                self.term, self.vote = record.term, record.vote
            case Append(entries=entries):
                for index in [index for index in self.terms if index >= entries[0].index]:
                    del self.terms[index]
                self.terms |= {entry.index: entry.term for entry in entries}
            case SaveSnapshot(snapshot=snapshot):
                self.snapshot = max(self.snapshot, snapshot.index)
                if self.terms.get(snapshot.index) != snapshot.term:
                    self.terms.clear()
            case Base():
                assert record.index <= self.snapshot, "entries were dropped that nothing covers"
                self.terms = {index: term for index, term in self.terms.items() if index > record.index}


class Observer:
    """Asserts the properties of the paper's Figure 3, that promises are durable, and that nothing is executed twice."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        self.committed: dict[int, int] = {}
        """The term at each index that some server holds for committed."""
        self.executed: dict[int, Command] = {}
        self.seen: dict[str, int] = {}
        """Up to which index each server's commits were looked at."""
        self.serials: dict[str, dict[tuple[int, int], int]] = {}

    def restarted(self, name: str) -> None:
        self.seen.pop(name, None)
        self.serials.pop(name, None)

    def effect(self, raft: Raft, disk: Disk, effect: Any) -> None:
        """One effect of one server, before it is carried out."""
        match effect:
            case Send():
                self._promise(raft, disk, effect)
            case RoleChanged(role=Role.LEADER, term=term):
                leader = self.leaders.setdefault(term, raft.id)
                assert leader == raft.id, f"Election Safety: {leader} and {raft.id} lead term {term}"
                self._leader_completeness(raft)
            case Apply(entries=entries):
                for entry in entries:
                    assert isinstance(entry.payload, Command), f"{entry} is not for the application"
                    self._executed(raft.id, entry.index, entry.payload)
            case Restore():
                self.serials.pop(raft.id, None)

    def handled(self, raft: Raft) -> None:
        """One server has handled an event."""
        log = raft.log
        first = max(self.seen.get(raft.id, 0), log.base_index) + 1
        for index in range(first, raft.commit + 1):
            term = self.committed.setdefault(index, log.term(index))
            assert term == log.term(index), f"State Machine Safety: {raft.id} commits {index} of {log.term(index)}"
        self.seen[raft.id] = max(self.seen.get(raft.id, 0), raft.commit)

    def compare(self, servers: list[Raft]) -> None:
        """Log Matching, between all logs as they are (paper 5.3)."""
        for one in servers:
            for other in servers:
                last = min(one.log.last_index, other.log.last_index)
                base = max(one.log.base_index, other.log.base_index)
                agree = False
                for index in range(last, base, -1):
                    same = one.log.term(index) == other.log.term(index)
                    assert same or not agree, f"Log Matching: {one.id} and {other.id} differ at {index}"
                    if same:
                        left, right = one.log.slice(index, index), other.log.slice(index, index)
                        assert left == right, f"Log Matching: {left} and {right}"
                        agree = True

    def _promise(self, raft: Raft, disk: Disk, send: Send) -> None:
        """R-114: nothing is said that a power cut could make untrue."""
        message = send.message
        match message:
            case Vote(pre=True, granted=True) | ReadRequest() | RequestTransfer():
                return
            case RequestVote(pre=True):
                known = message.term - 1
            case _:
                known = message.term
        assert disk.term >= known, f"{raft.id} says {message} with term {disk.term} on disk"
        match message:
            case Vote(granted=True):
                assert (disk.term, disk.vote) == (message.term, send.to), f"{raft.id}'s {message} is not on disk"
            case RequestVote(pre=False):
                assert (disk.term, disk.vote) == (message.term, raft.id), f"{raft.id} has not voted for itself"
            case AppendAccepted(match=match):
                assert all(map(disk.has, range(1, match + 1))), f"{raft.id} acknowledges {match}, which is not on disk"
                assert raft.log.base_index >= match or disk.terms.get(match, raft.log.term(match)) == raft.log.term(
                    match
                ), f"R-115: {raft.id} acknowledges another entry {match} than the one on disk"

    def _leader_completeness(self, raft: Raft) -> None:
        for index, term in self.committed.items():
            if index > raft.log.base_index:
                assert raft.log.term(index) == term, f"Leader Completeness: {raft.id} lacks the committed entry {index}"

    def _executed(self, name: str, index: int, command: Command) -> None:
        assert self.executed.setdefault(index, command) == command, f"State Machine Safety: {index} at {name}"
        if command.session:
            first = self.serials.setdefault(name, {}).setdefault((command.session, command.serial), index)
            assert first == index, f"{name} executed serial {command.serial} at {first} and at {index}"
