"""A small deterministic cluster: machines, a network in one's hand, disks that can be held back, and applications.

Nothing happens by itself. `settle` delivers what is under way until nothing moves; `advance` lets time pass. Tests may
instead take single packets out of `wires`, in any order, or drop them. Every server has a clock of its own, so that one
of them can time out while the others do not notice that time has passed. The observer looks at everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from attrs import evolve, frozen

from casty_proto.machine import MILLISECOND, Instant, Note, Persist, Persisted, Rejected, Reply, Wake
from casty_proto.raft import (
    Append,
    Apply,
    Ballot,
    Base,
    ChangeMembership,
    Command,
    Committed,
    Configuration,
    Entry,
    Proposable,
    Proposal,
    Propose,
    Raft,
    RaftEffect,
    RaftEvent,
    RaftOptions,
    Read,
    Received,
    Record,
    Restore,
    Role,
    Send,
    SessionsEnded,
    SnapshotTaken,
    Start,
    TakeSnapshot,
    TransferLeadership,
    recover,
)

from .application import Application
from .observer import Disk, Observer

HEARTBEAT = 10 * MILLISECOND
ELECTION = 100 * MILLISECOND

OPTIONS = RaftOptions(
    heartbeat_interval_ns=HEARTBEAT, election_timeout_min_ns=ELECTION, election_timeout_max_ns=2 * ELECTION - 1
)
"""Ten heartbeats to an election timeout."""
PLAIN = RaftOptions(
    heartbeat_interval_ns=HEARTBEAT,
    election_timeout_min_ns=ELECTION,
    election_timeout_max_ns=2 * ELECTION - 1,
    pre_vote=False,
    check_quorum=False,
)
"""Elections as in the paper: no pre-vote, and nobody ignores a vote."""
PRE_VOTE = evolve(PLAIN, pre_vote=True)
CHECK_QUORUM = evolve(PLAIN, check_quorum=True)


@frozen
class Packet:
    source: str
    target: str
    message: Any


def records_of(voters: Iterable[str], terms: Iterable[int] = (), term: int = 0, vote: str | None = None) -> Any:
    """The records of a server whose log has entries of these terms, the n-th with the command `n`."""
    entries = tuple([Entry(n, t, Command(b"%d.%d" % (n, t))) for n, t in enumerate(terms, 1)])
    records: list[Record] = [Base(0, 0, Configuration(tuple(voters)))]
    known = max([term, *terms])
    if known:
        records.append(Ballot(known, vote))
    if entries:
        records.append(Append(entries))
    return tuple(records)


class Host:
    """One server: what survives a crash and what does not."""

    def __init__(self, name: str, options: RaftOptions, rng: Random, records: tuple[Record, ...]) -> None:
        self.name = name
        self.options = options
        self.rng = rng
        self.disk = Disk(records)
        self.ahead = 0
        """By how much its clock is ahead of the cluster's."""
        self.boot()

    def boot(self) -> None:
        self.raft = Raft(self.name, Random(self.rng.getrandbits(64)), self.options, recover(self.disk.records))
        self.application = Application()
        self.up = True


class Cluster:
    """Servers, their network and disks."""

    def __init__(
        self,
        *names: str,
        options: RaftOptions = OPTIONS,
        seed: int = 1,
        voters: Iterable[str] | None = None,
        records: dict[str, tuple[Record, ...]] | None = None,
    ) -> None:
        self.now: Instant = 0
        self.rng = Random(seed)
        self.options = options
        self.observer = Observer()
        self.wires: list[Packet] = []
        self.drop: Callable[[Packet], bool] = lambda packet: False
        self.snapshots = True
        """Applications answer `TakeSnapshot` at once."""
        self.replies: dict[Any, Any] = {}
        self.answered: Callable[[Host, Any, Any], None] = lambda host, request, result: None
        """Called with every answer, at the moment in which the client gets it."""
        self.notes: list[Note] = []
        self.effects: list[tuple[str, RaftEffect]] = []
        self._requests = 0
        self._cuts: dict[tuple[str, str], None] = {}
        self.hosts: dict[str, Host] = {}
        founders = tuple(voters if voters is not None else names)
        for name in names:
            given = (records or {}).get(name)
            self.add(name, given if given is not None else records_of(founders if name in founders else ()))

    def add(self, name: str, records: tuple[Record, ...] = (), options: RaftOptions | None = None) -> None:
        """Start a server."""
        self.hosts[name] = Host(name, options or self.options, self.rng, records)
        self.feed(name, Start())

    def __getitem__(self, name: str) -> Raft:
        return self.hosts[name].raft

    # Events -----------------------------------------------------------------------------------------------------------

    def clock(self, name: str) -> Instant:
        return self.now + self.hosts[name].ahead

    def feed(self, name: str, event: RaftEvent) -> tuple[RaftEffect, ...]:
        """One event to one server, and its effects to where they belong."""
        host = self.hosts[name]
        assert host.up, f"{name} is down"
        effects = host.raft.handle(event, self.clock(name))
        host.raft.invariants()
        for effect in effects:
            self.observer.effect(host.raft, host.disk, effect)
            self._perform(host, effect)
        self.observer.handled(host.raft)
        return effects

    def _perform(self, host: Host, effect: RaftEffect) -> None:
        self.effects.append((host.name, effect))
        match effect:
            case Send(to=to, message=message):
                packet = Packet(host.name, to, message)
                if (host.name, to) not in self._cuts and not self.drop(packet):
                    self.wires.append(packet)
            case Persist(ticket=ticket, record=record):
                host.disk.write(ticket, record)
            case Apply(entries=entries):
                host.application.execute(entries)
            case SessionsEnded(sessions=sessions):
                host.application.forget(sessions)
            case Restore(index=index, data=data):
                host.application.restore(index, data)
            case Reply(request=request, result=result):
                assert request not in self.replies, f"{request} is answered twice"
                if isinstance(result, Committed) and result.index in self.observer.executed:
                    assert host.application.index >= result.index, "R-41: answered before it was applied"
                self.replies[request] = result
                self.answered(host, request, result)
            case Note():
                self.notes.append(effect)
            case TakeSnapshot(index=index):
                if self.snapshots:
                    self.wires.append(Packet(host.name, host.name, SnapshotTaken(index, host.application.snapshot())))

    # The world --------------------------------------------------------------------------------------------------------

    def deliver(self, packet: Packet) -> None:
        """Bring a packet to its target, if there is a way and somebody at the end of it."""
        if packet.target not in self.hosts or not self.hosts[packet.target].up:
            return
        if packet.source == packet.target:
            self.feed(packet.target, packet.message)
        elif (packet.source, packet.target) not in self._cuts:
            self.feed(packet.target, Received(packet.source, packet.message))

    def sync(self, name: str, count: int = 1) -> None:
        """Make pending writes of a server durable, and tell it."""
        self.feed(name, Persisted(self.hosts[name].disk.sync(count)))

    def settle(self) -> Cluster:
        """Deliver and write until nothing moves."""
        for _ in range(100_000):
            writing = [host for host in self.hosts.values() if host.up and host.disk.pending and not host.disk.held]
            for host in writing:
                self.sync(host.name, len(host.disk.pending))
            if self.wires:
                self.deliver(self.wires.pop(0))
            elif not writing:
                return self
        raise AssertionError("the cluster does not come to rest")

    def advance(self, duration_ns: int) -> Cluster:
        """Let time pass, with all alarms in it."""
        until = self.now + duration_ns
        self.settle()
        while (at := min([at for _, at in self._alarms()], default=until + 1)) <= until:
            self.now = max(self.now, at)
            for name, due in self._alarms():
                if due <= self.now and self.hosts[name].up:
                    self.wake(name)
            self.settle()
        self.now = until
        return self

    def _alarms(self) -> list[tuple[str, Instant]]:
        running = [host for host in self.hosts.values() if host.up]
        alarms = [(host, host.raft.deadline()) for host in running]
        return [(host.name, at - host.ahead) for host, at in alarms if at is not None]

    def wake(self, name: str) -> None:
        self.feed(name, Wake())
        at = self[name].deadline()
        assert at is None or at > self.clock(name), "a deadline that has passed is still there"

    def crash(self, name: str) -> None:
        """A power cut: what was not durable is gone."""
        host = self.hosts[name]
        host.up = False
        host.disk.lose()

    def restart(self, name: str) -> None:
        self.observer.restarted(name)
        self.hosts[name].boot()
        self.feed(name, Start())

    def cut(self, one: str, *others: str, both: bool = True) -> None:
        """Let nothing pass from `one` to `others`, and back."""
        for other in others:
            self._cuts[one, other] = None
            if both:
                self._cuts[other, one] = None

    def isolate(self, *names: str) -> None:
        """Cut these off from everybody else, but not from each other."""
        for name in names:
            self.cut(name, *[other for other in self.hosts if other not in names])

    def heal(self) -> Cluster:
        self._cuts.clear()
        self.drop = lambda packet: False
        return self

    # What one asks of it ----------------------------------------------------------------------------------------------

    def time_out(self, name: str) -> None:
        """The server's clock jumps to its deadline; nobody else's does."""
        at = self[name].deadline()
        assert at is not None, f"{name} waits for nothing"
        self.hosts[name].ahead += max(0, at - self.clock(name))
        self.wake(name)

    def elect(self, name: str) -> Cluster:
        """Have `name` time out, and win."""
        self.time_out(name)
        self.settle()
        assert self[name].role is Role.LEADER, f"{name} is {self[name].role}"
        return self

    def request(self) -> str:
        self._requests += 1
        return f"r{self._requests}"

    def propose(self, name: str, *payloads: Proposable | bytes) -> list[str]:
        """Propose, and return the requests."""
        requests = [self.request() for _ in payloads]
        made = [Command(payload) if isinstance(payload, bytes) else payload for payload in payloads]
        self.feed(name, Propose(tuple(map(Proposal, requests, made))))
        return requests

    def commit(self, name: str, *payloads: Proposable | bytes) -> list[Any]:
        """Propose, let it settle, and return the answers."""
        requests = self.propose(name, *payloads)
        self.settle()
        return [self.replies.get(request) for request in requests]

    def read(self, name: str) -> str:
        request = self.request()
        self.feed(name, Read(request))
        return request

    def change(self, name: str, *changes: Any) -> str:
        request = self.request()
        self.feed(name, ChangeMembership(request, changes))
        return request

    def transfer(self, name: str, target: str) -> str:
        request = self.request()
        self.feed(name, TransferLeadership(request, target))
        return request

    def rejected(self, request: str) -> str:
        """Why a request was rejected."""
        result = self.replies.get(request)
        assert isinstance(result, Rejected), f"{request} was answered with {result}"
        return result.reason

    def snapshot(self, name: str) -> None:
        """Have the application offer a snapshot of now."""
        self.feed(name, SnapshotTaken(self[name].commit, self.hosts[name].application.snapshot()))
        self.settle()

    # What one looks at ------------------------------------------------------------------------------------------------

    @property
    def leader(self) -> str | None:
        """The leader of the highest term that has one."""
        leading = [(raft.term, name) for name, raft in self._running() if raft.role is Role.LEADER]
        return max(leading)[1] if leading else None

    def roles(self) -> str:
        """The role and the term of each server: `L2 F2 F1`."""
        letters = {Role.LEADER: "L", Role.FOLLOWER: "F", Role.CANDIDATE: "C", Role.PRE_CANDIDATE: "P"}
        return " ".join([f"{letters[raft.role]}{raft.term}" for _, raft in self._running()])

    def terms(self, name: str) -> list[int]:
        """The terms in a log."""
        log = self[name].log
        return [log.term(index) for index in range(log.base_index + 1, log.last_index + 1)]

    def commits(self) -> list[int]:
        return [raft.commit for _, raft in self._running()]

    def executed(self, name: str) -> list[bytes]:
        """What the application of a server has executed."""
        return [data for _, data in self.hosts[name].application.executed]

    def check(self) -> None:
        """Everything that holds at any time, looked at thoroughly."""
        for _, raft in self._running():
            raft.deep_invariants()
        self.observer.compare([raft for _, raft in self._running()])

    def converged(self) -> None:
        """All servers have the same log, committed, and have executed the same."""
        self.check()
        ends = [(raft.log.last_index, raft.log.last_term, raft.commit) for _, raft in self._running()]
        assert len(dict.fromkeys(ends)) == 1, f"the logs end at {ends}"
        assert ends[0][0] == ends[0][2], f"not all is committed: {ends}"
        done = [host.application.executed for host in self.hosts.values() if host.up]
        assert all(executed == done[0] for executed in done), "the applications differ"

    def _running(self) -> list[tuple[str, Raft]]:
        return [(host.name, host.raft) for host in self.hosts.values() if host.up]
