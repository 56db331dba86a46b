"""From the commit index to the application, and back as snapshots.

Theory of operation
-------------------
What is committed is applied at once: `commit` only moves in `_commit_to`, which returns the effects that execute the
entries before anything that depends on them. There is no second index to keep up with it. A driver that executes slowly
keeps the effects in a queue.

    _commit_to -> Apply / SessionsEnded, in the order of the log      (the application executes)
               -> Reply to what was proposed here                      (paper section 8: after it was applied)
               -> ConfigurationChanged(committed=True), Reply           (membership)
               -> Reply to reads that waited for this                   (thesis 6.4)
               -> TakeSnapshot, when the log has grown enough           (thesis 5.1.2)

A snapshot is the work of two. The application has its state; the machine adds what it has applied itself. It notes that
when it asks, in `_capture`, because by the time of the answer it will have gone on. Only when the snapshot is durable
may the entries under it be dropped, and then a few are kept for followers that are a little behind.

Whether a command is executed is decided here and nowhere else, from the entries alone: `sessions` is the same on every
server that has applied the same entries.
"""

from __future__ import annotations

from typing import Any, assert_never

from attrs import evolve

from ..machine import Instant, Note, Severity
from .configuration import Configuration
from .core import Core
from .entries import CloseSession, Command, Entry, NoOp, OpenSession, RenewSession
from .events import (
    Apply,
    Changed,
    Committed,
    ConfigurationChanged,
    Duplicate,
    ReadReady,
    Result,
    SessionsEnded,
    SessionUnknown,
    SnapshotTaken,
    TakeSnapshot,
)
from .records import Base, SaveSnapshot
from .sessions import DUPLICATE, ENDED, FRESH, Verdict
from .snapshot import Snapshot


class Applying(Core):
    """Executes what is committed."""

    __slots__ = ()

    def _commit_to(self, index: int, now: Instant) -> None:
        """Everything up to `index` is committed."""
        assert self.commit < index <= self.log.last_index, f"commit {self.commit} to {index} of {self.log.last_index}"
        first = self.commit + 1
        self.commit = index
        if index > self._matched:
            self._matched = index
        self._apply(self.log.slice(first, index))
        if first <= self.configurations.latest_index:
            self._on_configurations_committed(first, index)
        if self._waiting_reads:
            self._answer_waiting_reads()
        if index >= self._snapshot_due:
            self._want_snapshot()

    # Entries --------------------------------------------------------------------------------------------------------

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        proposals = self.lead.proposals if self.lead is not None else None
        fresh: list[Entry] = []
        replies: list[tuple[Any, Result]] = []
        for entry in entries:
            payload = entry.payload
            if type(payload) is Command and not payload.session:
                fresh.append(entry)
                verdict = FRESH
            else:
                verdict = self._judge(entry, fresh)
            if proposals and proposals[0][0] == entry.index:
                replies.append((proposals.popleft()[1], _result(entry, verdict)))
        if fresh:
            self._out.append(Apply(tuple(fresh)))
        self.sessions.time_ns = entries[-1].time_ns
        for request, result in replies:
            self._reply(request, result)

    def _judge(self, entry: Entry, fresh: list[Entry]) -> Verdict:
        """What becomes of an entry that is not simply executed. What is to be executed is added to `fresh`."""
        payload, sessions = entry.payload, self.sessions
        match payload:
            case Command():
                verdict = sessions.admit(payload, entry.time_ns)
                if verdict is FRESH:
                    fresh.append(entry)
                elif verdict is ENDED:
                    self._end_sessions((payload.session,), fresh)
                return verdict
            case NoOp() | Configuration():
                return FRESH
            case OpenSession():
                self._end_sessions(sessions.open(entry.index, payload.ttl_ns, entry.time_ns), fresh)
                return FRESH
            case RenewSession():
                verdict = sessions.renew(payload.session, entry.time_ns)
            case CloseSession():
                verdict = sessions.close(payload.session, entry.time_ns)
            case _:
                assert_never(payload)
        if verdict is ENDED:
            self._end_sessions((payload.session,), fresh)
        return verdict

    def _end_sessions(self, ended: tuple[int, ...], fresh: list[Entry]) -> None:
        """Tell the application, in its place: after what was executed before."""
        if not ended:
            return
        if fresh:
            self._out.append(Apply(tuple(fresh)))
            fresh.clear()
        self._out.append(SessionsEnded(ended))

    def _on_configurations_committed(self, first: int, last: int) -> None:
        """Tell of those between `first` and `last`, if there are any."""
        lead = self.lead
        for index, configuration in self.configurations.between(first, last):
            self._out.append(ConfigurationChanged(index, configuration, committed=True))
            if lead is not None and lead.change is not None and lead.change[0] == index:
                self._reply(lead.change[1], Changed(index, configuration))
                lead.change = None

    def _answer_waiting_reads(self) -> None:
        waiting, self._waiting_reads = self._waiting_reads, []
        for index, until, request in waiting:
            if index <= self.commit:
                self._reply(request, ReadReady(self.commit))
            else:
                self._waiting_reads.append((index, until, request))

    # Snapshots ------------------------------------------------------------------------------------------------------

    def _want_snapshot(self) -> None:
        """Ask for a snapshot, if none is being made and the log has grown enough to be worth one."""
        if self._capture is not None:
            return
        last = self.snapshot
        after, size = (last.index, len(last.data)) if last is not None else (0, 0)
        if self.log.bytes_between(after, self.commit) >= self.options.snapshot_factor * size:
            self._capture = self._own_part()
            self._out.append(TakeSnapshot(self.commit))

    def _own_part(self) -> Snapshot:
        """A snapshot of the present state, without what the application adds."""
        index = self.commit
        return Snapshot(index, self.log.term(index), self.configurations.at(index), self.sessions.encode(), b"")

    def _on_snapshot_taken(self, event: SnapshotTaken) -> None:
        capture, data = self._capture, event.data
        if capture is None and self._is_news(event.index):
            capture = self._own_part()
        if capture is None or capture.index != event.index:
            self._out.append(Note(Severity.INFO, f"{self.id} has no use for a snapshot of {event.index}"))
            return
        self._capture = None
        if data is None:
            self._snapshot_due = self.commit + self.options.snapshot_entries
        else:
            self._keep_snapshot(evolve(capture, data=data))

    def _is_news(self, index: int) -> bool:
        """Whether a snapshot of `index` that nobody asked for can be used: it is of now, and there is no such yet."""
        return index == self.commit > (self.snapshot.index if self.snapshot is not None else 0)

    def _keep_snapshot(self, snapshot: Snapshot) -> None:
        """Use `snapshot` from now on, and write it."""
        self.snapshot = snapshot
        self._snapshot_due = snapshot.index + self.options.snapshot_entries
        self._capture = None
        self._saving = self._persist(SaveSnapshot(snapshot), snapshot.index)

    def _on_snapshot_durable(self) -> None:
        """What the snapshot covers may go, but for a few entries."""
        self._saving = 0
        assert self.snapshot is not None
        base = self.snapshot.index - self.options.trailing_entries
        if base > self.log.base_index:
            configuration = self.configurations.at(base)
            self.log.compact(base)
            self.configurations.compact(base)
            self._persist(Base(base, self.log.base_term, configuration))


def _result(entry: Entry, verdict: Verdict) -> Result:
    payload = entry.payload
    if verdict is FRESH or type(payload) is CloseSession:
        return Committed(entry.index, entry.term)
    assert isinstance(payload, Command | RenewSession), f"{payload} cannot be a {verdict}"
    if verdict is DUPLICATE and type(payload) is Command:
        return Duplicate(payload.session, payload.serial)
    return SessionUnknown(payload.session)
