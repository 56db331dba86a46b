"""One server, for tests that read as a script: an event in, the effects out.

Writes become durable at once, unless `held`. The observer checks that nothing is promised before.
"""

from __future__ import annotations

from random import Random
from typing import Any

from casty_proto.machine import Instant, Note, Persist, Persisted, Reply, Wake
from casty_proto.raft import (
    Apply,
    Command,
    Entry,
    Heartbeat,
    NoOp,
    Proposal,
    Propose,
    Raft,
    RaftEffect,
    RaftEvent,
    RaftOptions,
    Received,
    Record,
    Role,
    Send,
    Start,
    Vote,
    recover,
)

from .bench import PLAIN, records_of
from .observer import Disk, Observer


def entry(index: int, term: int) -> Entry:
    """The entry that `records_of` puts there."""
    return Entry(index, term, Command(b"%d.%d" % (index, term)))


def entries(first: int, *terms: int) -> tuple[Entry, ...]:
    return tuple([entry(index, term) for index, term in enumerate(terms, first)])


class Server:
    """A machine, its disk and its clock."""

    def __init__(
        self,
        name: str = "n1",
        voters: str = "n1 n2 n3",
        terms: tuple[int, ...] = (),
        term: int = 0,
        vote: str | None = None,
        options: RaftOptions = PLAIN,
        records: tuple[Record, ...] | None = None,
    ) -> None:
        given = records_of(voters.split(), terms, term, vote) if records is None else records
        self.now: Instant = 0
        self.disk = Disk(given)
        self.observer = Observer()
        self.held = False
        self.raft = Raft(name, Random(1), options, recover(given))
        self.started = self.feed(Start())

    def feed(self, event: RaftEvent) -> list[RaftEffect]:
        """Every effect of an event, and of the writes that it led to."""
        effects: list[RaftEffect] = []
        events = [event]
        while events:
            for effect in self.raft.handle(events.pop(), self.now):
                self.observer.effect(self.raft, self.disk, effect)
                effects.append(effect)
                if isinstance(effect, Persist):
                    self.disk.write(effect.ticket, effect.record)
            self.raft.deep_invariants()
            self.observer.handled(self.raft)
            if self.disk.pending and not self.held:
                events.append(Persisted(self.disk.sync(len(self.disk.pending))))
        return effects

    def tell(self, peer: str, message: Any) -> list[Send]:
        """What is sent because of a message from `peer`."""
        return sends(self.feed(Received(peer, message)))

    def sync(self, count: int = 1) -> list[RaftEffect]:
        """The disk gets round to `count` writes."""
        return self.feed(Persisted(self.disk.sync(count)))

    def time_out(self) -> list[Send]:
        """The clock reaches the deadline."""
        at = self.raft.deadline()
        assert at is not None
        self.now = max(self.now, at)
        return sends(self.feed(Wake()))

    def wake(self) -> list[RaftEffect]:
        """The alarm rings now, whatever it was set to."""
        return self.feed(Wake())

    def lead(self) -> list[Send]:
        """Win an election, with everybody's vote. Returns what is sent on taking office."""
        sent = self.time_out()
        for peer in self.raft.configurations.latest.voters:
            if peer != self.raft.id and self.raft.role is not Role.LEADER:
                sent = self.tell(peer, Vote(self.raft.term, granted=True))
        assert self.raft.role is Role.LEADER
        return sent

    def propose(self, *data: bytes) -> list[RaftEffect]:
        """Propose commands. The requests are their numbers, from 0."""
        return self.feed(Propose(tuple([Proposal(number, Command(one)) for number, one in enumerate(data)])))

    def commit(self, index: int, leader: str = "n2") -> list[RaftEffect]:
        """A follower hears that everything up to `index` is committed."""
        return self.feed(Received(leader, Heartbeat(self.raft.term, index, 0)))

    @property
    def terms(self) -> list[int]:
        """The terms in the log."""
        log = self.raft.log
        return [log.term(index) for index in range(log.base_index + 1, log.last_index + 1)]

    @property
    def led(self) -> str:
        """The term, and who leads it: `2 n3`."""
        return f"{self.raft.term} {self.raft.leader or 'nobody'}"

    @property
    def state(self) -> tuple[Role, int]:
        return self.raft.role, self.raft.term


def sends(effects: list[RaftEffect]) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send)]


def applied(effects: list[RaftEffect]) -> list[tuple[int, int]]:
    """The index and the term of what is executed."""
    return [(entry.index, entry.term) for effect in effects if isinstance(effect, Apply) for entry in effect.entries]


def replies(effects: list[RaftEffect]) -> dict[Any, Any]:
    return {effect.request: effect.result for effect in effects if isinstance(effect, Reply)}


def notes(effects: list[RaftEffect]) -> list[Note]:
    return [effect for effect in effects if isinstance(effect, Note)]


def no_op(index: int, term: int, time_ns: int = 0) -> Entry:
    return Entry(index, term, NoOp(), time_ns)
