"""Raft without anything around it: three machines that pass each other messages in memory, and runs under faults."""

from __future__ import annotations

import marshal
import time
from collections import deque
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random

from casty_proto.machine import MILLISECOND, SECOND, Instant, Persist, Persisted, Reply, Wake
from casty_proto.raft import (
    Apply,
    Command,
    Committed,
    Configuration,
    Proposal,
    Propose,
    Raft,
    RaftEvent,
    RaftOptions,
    Received,
    Send,
    SnapshotTaken,
    Start,
    TakeSnapshot,
    bootstrap,
    recover,
)
from casty_sim.scenario import Settings, run
from casty_sim.scenarios.raft import RaftScenario
from casty_sim.tape import Tape

from .harness import Figure

COMMANDS = 60_000
BATCH = 64
OUTSTANDING = 1024
NAMES = ("a", "b", "c")
SEEDS = 60


class Trio:
    """Three servers on one clock. Messages take no time but their turn; disks sync when nothing else is to be done."""

    def __init__(self) -> None:
        records = recover(list(bootstrap(Configuration(voters=NAMES))))
        options = RaftOptions(max_message_entries=512)
        self.now: Instant = 0
        self.machines = {name: Raft(name, Random(name), options, records) for name in NAMES}
        self.inbox: deque[tuple[str, RaftEvent]] = deque()
        self.unsynced: dict[str, int] = {}
        self.committed = 0
        self.applied = dict.fromkeys(NAMES, 0)
        for name in NAMES:
            self.feed(name, Start())

    def feed(self, name: str, event: RaftEvent) -> None:
        """One event to one machine; its effects go into the queues."""
        for effect in self.machines[name].handle(event, self.now):
            match effect:
                case Send(to, message):
                    self.inbox.append((to, Received(name, message)))
                case Persist(ticket, _):
                    self.unsynced[name] = ticket
                case Reply(_, Committed()):
                    self.committed += 1
                case Apply(entries):
                    self.applied[name] += len(entries)
                case TakeSnapshot(index):
                    self.inbox.append((name, SnapshotTaken(index, b"")))
                case _:
                    pass

    def settle(self) -> None:
        """Deliver everything, sync everything, until nothing is under way."""
        inbox, unsynced = self.inbox, self.unsynced
        while inbox or unsynced:
            while inbox:
                self.feed(*inbox.popleft())
            self.now += MILLISECOND // 20
            for name in list(unsynced):
                self.feed(name, Persisted(unsynced.pop(name)))

    def leader(self) -> str:
        """Let time pass until somebody leads."""
        while True:
            for name, machine in self.machines.items():
                if machine.lead is not None:
                    return name
                due = machine.deadline()
                if due is not None and due <= self.now:
                    self.feed(name, Wake())
            self.settle()
            self.now += SECOND // 100


async def committed_commands() -> float:
    """Commands per second of processor time that were committed, applied by all three and answered."""
    trio = Trio()
    leader = trio.leader()
    data = b"x" * 32
    trio.committed = proposed = 0
    began = time.process_time()
    while trio.committed < COMMANDS:
        while proposed < COMMANDS and proposed - trio.committed < OUTSTANDING:
            batch = tuple(Proposal(proposed + n, Command(data)) for n in range(min(BATCH, COMMANDS - proposed)))
            proposed += len(batch)
            trio.feed(leader, Propose(batch))
        trio.settle()
        for name, machine in trio.machines.items():
            due = machine.deadline()
            if due is not None and due <= trio.now:
                trio.feed(name, Wake())
    trio.settle()
    took = time.process_time() - began
    assert set(trio.applied.values()) == {COMMANDS}, trio.applied
    return COMMANDS / took


async def seeds_with_faults() -> float:
    """Runs per second of processor time: 5 nodes, 10 simulated seconds under faults, clients, digest."""
    scenario, settings = RaftScenario(), Settings()
    began = time.process_time()
    for seed in range(SEEDS):
        outcome = run(scenario, Tape(seed), settings)
        assert not outcome.failed, outcome.problem
    return SEEDS / (time.process_time() - began)


async def bare_events() -> float:
    """The reference: events per second of a loop that takes them from a heap, digests them, and makes one more."""
    rng, digest = Random(1), blake2b(digest_size=16)
    heap = [(n, n) for n in range(8)]
    began = time.process_time()
    for count in range(200_000):
        at, number = heappop(heap)
        digest.update(marshal.dumps((at, number), 2))
        heappush(heap, (at + int(rng.random() * 1000), count))
    return 200_000 / (time.process_time() - began)


FIGURES = [
    Figure("3 nodes in memory, commands in batches of 64", committed_commands, bar=40_000.0),
    Figure("5 nodes under faults, seeds of 10 simulated seconds", seeds_with_faults, bar=100.0),
    Figure("for comparison: a bare loop around a heap, events", bare_events),
]
