"""Raft: bugs of membership changes."""

from __future__ import annotations

from casty_proto.machine import Instant
from casty_proto.raft import Raft
from casty_proto.raft.configuration import Configuration
from casty_proto.raft.entries import Entry
from casty_proto.raft.leadership import Leadership
from casty_proto.raft.quorum import reached
from casty_sim.mutants import Mutant, planter
from casty_sim.scenarios.raft import RaftScenario

MUTANTS: list[Mutant] = []
planted = planter(MUTANTS, RaftScenario)


@planted("changes the membership before anything of the term is committed", "Ongaro, raft-dev, 10 July 2015")
class ChangeTooEarly(Raft):
    __slots__ = ()

    def _unchangeable(self, lead: Leadership) -> str | None:
        if self.log.term(self.commit) == self.term:
            return super()._unchangeable(lead)
        if lead.transfer is not None or lead.catch_up is not None or self.configurations.latest_index > self.commit:
            return "busy"
        return None


@planted("changes the membership while another change is not committed", "thesis 4.1")
class TwoChangesAtOnce(Raft):
    __slots__ = ()

    def _unchangeable(self, lead: Leadership) -> str | None:
        if lead.transfer is not None or lead.catch_up is not None or self.log.term(self.commit) != self.term:
            return super()._unchangeable(lead)
        lead.change = None
        return None


@planted("keeps a configuration whose entry was truncated", "thesis 4.1")
class KeepTruncatedConfiguration(Raft):
    __slots__ = ()

    def _store(self, entries: tuple[Entry, ...], now: Instant) -> None:
        first = entries[0].index
        latest = self.configurations.latest
        rolled_back = self.configurations.latest_index >= first
        super()._store(entries, now)
        if rolled_back and self.configurations.latest != latest:
            index, _ = self.configurations._history[-1]
            self.configurations._history[-1] = (index, latest)


@planted("a leader that was removed goes on counting itself", "thesis 4.2.2")
class RemovedLeaderCounts(Raft):
    __slots__ = ()

    def _advance_commit(self, lead: Leadership, now: Instant) -> None:
        voters = self.configurations.latest.voters
        acknowledged = [self.journal.durable if voter == self.id else lead.progress[voter].match for voter in voters]
        if self.id not in voters and len(voters) > 1:
            acknowledged = [*sorted(acknowledged, reverse=True)[: len(voters) - 1], self.journal.durable]
        index = reached(acknowledged)
        if index > self.commit and self.log.term(index) == self.term:
            before = self.commit
            self._commit_to(index, now)
            if before < self.configurations.latest_index <= index and self.id not in voters:
                self._leave(lead, now)


@planted("replaces several voters in one step", "thesis 4.1, Figure 4.2")
class ManyVotersAtOnce(Raft):
    __slots__ = ()

    def _change(self, lead: Leadership, changed: Configuration, event: object, now: Instant) -> None:
        voters = self.configurations.latest.voters
        dropped = [voter for voter in voters if voter != self.id][: max(0, len(voters) - 2)]
        kept = tuple(voter for voter in changed.voters if voter not in dropped)
        lead.change = None
        self._append(lead, Configuration(kept or changed.voters, ()), now)
