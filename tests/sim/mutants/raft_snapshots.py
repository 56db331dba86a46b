"""Raft: bugs of snapshots, sessions and restarts."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from casty_proto.machine import Instant
from casty_proto.raft import Command, Raft, SnapshotTaken
from casty_proto.raft.entries import Entry
from casty_proto.raft.messages import InstallSnapshot
from casty_proto.raft.records import Base
from casty_proto.raft.sessions import DUPLICATE, FRESH, Sessions, Verdict
from casty_proto.raft.snapshot import Snapshot
from casty_sim.mutants import Mutant, planter
from casty_sim.scenarios.raft import RaftScenario

MUTANTS: list[Mutant] = []
planted = planter(MUTANTS, RaftScenario)


@planted("executes a command again that a client has sent again", "thesis 6.3; paper 8")
class ExecuteTwice(Raft):
    __slots__ = ()

    def _judge(self, entry: Entry, fresh: list[Entry]) -> Verdict:
        verdict = super()._judge(entry, fresh)
        if verdict is DUPLICATE and isinstance(entry.payload, Command):
            fresh.append(entry)
            return FRESH
        return verdict


@planted("leaves the sessions out of the snapshot", "thesis 6.3: they are a part of the state")
class SessionsNotInSnapshot(Raft):
    __slots__ = ()

    def _own_part(self) -> Snapshot:
        return evolve(super()._own_part(), sessions=Sessions().encode())


@planted("puts the first configuration into every snapshot", "thesis 5.1, 4.1")
class OldConfigurationInSnapshot(Raft):
    __slots__ = ()

    def _own_part(self) -> Snapshot:
        return evolve(super()._own_part(), configuration=self.configurations._history[0][1])


@planted("says that a snapshot is of when it was written out, not of when it was begun", "thesis 5.1.2")
class SnapshotOfLater(Raft):
    __slots__ = ()

    def _on_snapshot_taken(self, event: SnapshotTaken) -> None:
        if self._capture is not None and self._capture.index == event.index:
            self._capture = self._own_part()
            event = SnapshotTaken(self._capture.index, event.data)
        super()._on_snapshot_taken(event)


@planted("installs a snapshot that is older than its state", "paper 7; hashicorp/raft: restore of a stale snapshot")
class InstallOldSnapshot(Raft):
    __slots__ = ()

    def _skip_snapshot(self, peer: str, index: int, now: Instant) -> None:
        if self.snapshot is not None and self.snapshot.index < self.commit:
            self._install(self.snapshot, Sessions.decode(self.snapshot.sessions), now)
        super()._skip_snapshot(peer, index, now) if index >= self.commit else None


@planted("keeps the log after a snapshot that contradicts it", "paper 7, Figure 13, rule 7")
class KeepLogAfterSnapshot(Raft):
    __slots__ = ()

    def _on_install_snapshot(self, peer: str, message: InstallSnapshot, now: Instant) -> None:
        if message.term >= self.term and self.commit < message.index <= self.log.last_index:
            message = evolve(message, snapshot_term=self.log.term(message.index))
        super()._on_install_snapshot(peer, message, now)


@planted("drops the log under a snapshot before that is on the disk", "thesis 5.1; paper 7")
class CompactBeforeTheDisk(Raft):
    __slots__ = ()

    def _keep_snapshot(self, snapshot: Snapshot) -> None:
        if snapshot.index > self.log.base_index and self.log.term(snapshot.index) == snapshot.term:
            # The record of the base goes to the disk before the snapshot does.
            configuration = self.configurations.at(snapshot.index)
            self.log.compact(snapshot.index)
            self.configurations.compact(snapshot.index)
            self._persist(Base(snapshot.index, snapshot.term, configuration))
        super()._keep_snapshot(snapshot)


@planted("does not restore its snapshot after a restart", "paper 7")
class NoRestore(Raft):
    __slots__ = ()

    def _on_start(self, now: Instant) -> None:
        snapshot, self.snapshot = self.snapshot, None
        super()._on_start(now)
        self.snapshot = snapshot


@planted("forgets its term in a restart", "paper, Figure 2, persistent state")
class ForgetTerm(Raft):
    __slots__ = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.term = self.log.last_term
        self.vote = None
