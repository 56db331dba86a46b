"""A cluster under random disasters, with clients that check what they are told.

Everything is drawn from one `random.Random`, so a seed is a run. First things go wrong; then everything is mended, and
the cluster must get back to work and agree.
"""

from __future__ import annotations

from random import Random
from typing import Any

from casty_proto.machine import MILLISECOND
from casty_proto.raft import (
    AddLearner,
    AddVoter,
    Command,
    Committed,
    Duplicate,
    OpenSession,
    RaftOptions,
    Read,
    ReadReady,
    Remove,
    SessionUnknown,
    SnapshotTaken,
    Unreachable,
)

from .bench import ELECTION, HEARTBEAT, Cluster, Host

SMALL = RaftOptions(
    heartbeat_interval_ns=HEARTBEAT,
    election_timeout_min_ns=ELECTION,
    election_timeout_max_ns=2 * ELECTION,
    max_message_entries=3,
    max_message_bytes=300,
    max_inflight_messages=3,
    snapshot_entries=8,
    snapshot_factor=0,
    trailing_entries=3,
    snapshot_chunk_bytes=200,
    read_timeout_ns=300 * MILLISECOND,
)
"""Limits so small that each of them is met all the time."""


class Client:
    """One session. It has one command under way, and retries it anywhere until it knows what became of it."""

    def __init__(self, chaos: Chaos, number: int) -> None:
        self.chaos = chaos
        self.number = number
        self.session = 0
        self.serial = 0
        self.request: str | None = None
        self.payload: Command | OpenSession | None = None
        self.attempts = 0

    def act(self, name: str) -> None:
        """Ask `name` for the next thing, or for the last one again."""
        cluster = self.chaos.cluster
        if self.request is not None:
            result = cluster.replies.get(self.request)
            if result is None and self.chaos.rng.random() < 0.9:
                return
            self.learn(result)
        if self.payload is None:
            self.attempts = 0
            self.payload = self.next()
        self.attempts += 1
        (self.request,) = cluster.propose(name, self.payload)

    def next(self) -> Command | OpenSession:
        if not self.session:
            return OpenSession(ttl_ns=500 * MILLISECOND)
        self.serial += 1
        return Command(b"c%d=%d" % (self.number, self.serial), self.session, self.serial, self.serial)

    def learn(self, result: Any) -> None:
        if isinstance(result, SessionUnknown):
            self.session, self.serial, self.payload = 0, 0, None
        elif isinstance(result, Committed):
            if isinstance(self.payload, OpenSession):
                self.session, self.serial = result.index, 0
            self.payload = None
        elif isinstance(result, Duplicate):
            assert self.attempts > 1, f"a first attempt at {self.payload} is a duplicate"
            self.payload = None


class Chaos:
    """A run."""

    def __init__(self, seed: int, size: int = 3, spares: int = 0, options: RaftOptions = SMALL) -> None:
        self.rng = rng = Random(seed)
        self.names = names = [f"n{number}" for number in range(1, size + spares + 1)]
        self.cluster = Cluster(*names, options=options, seed=rng.getrandbits(32), voters=names[:size])
        self.cluster.answered = self.hear
        self.clients = [Client(self, number) for number in range(2)]
        self.serial = 0
        self.floor = 0
        """What a read that begins now must see at least: the last command that anybody knows to be executed."""
        self.reads: dict[str, int] = {}
        self.acknowledged: dict[int, None] = {}
        self.pace = rng.choice([4, 10, 30]) * MILLISECOND
        kinds = [self.crash, self.restart, self.cut, self.isolate, self.heal, self.lose, self.double, self.hold]
        kinds += [self.release, self.transfer, self.offer, self.pause, self.disconnect]
        if spares:
            kinds += [self.change, self.change]
        self.faults = rng.sample(kinds, rng.randint(0, len(kinds)))
        """Which disasters there are in this run."""
        self.rate = rng.choice([0.02, 0.1, 0.2])

    def run(self, steps: int) -> Cluster:
        for _ in range(steps):
            self.step()
        self.mend()
        return self.cluster

    def step(self) -> None:
        rng, wires = self.rng, self.cluster.wires
        if self.faults and rng.random() < self.rate:
            rng.choice(self.faults)()
        choice = rng.random()
        if choice < 0.55 and wires:
            self.cluster.deliver(wires.pop(0 if rng.random() < 0.7 else rng.randrange(len(wires))))
        elif choice < 0.75:
            self.write()
        elif choice < 0.81:
            rng.choice(self.clients).act(self.anyone())
        elif choice < 0.86:
            self.burst(self.someone_who_leads())
        elif choice < 0.9:
            self.read(rng.choice([self.anyone(), self.someone_who_leads()]))
        else:
            self.tick(rng.randrange(self.pace))

    def anyone(self) -> str:
        """A server that runs."""
        running = [host.name for host in self.cluster.hosts.values() if host.up]
        return self.rng.choice(running)

    def someone_who_leads(self) -> str:
        """A server that takes itself for the leader, if there is one."""
        leading = [host.name for host in self.cluster.hosts.values() if host.up and host.raft.lead is not None]
        return self.rng.choice(leading) if leading else self.anyone()

    # What happens in any case -----------------------------------------------------------------------------------------

    def write(self) -> None:
        hosts = [host for host in self.cluster.hosts.values() if host.up and host.disk.pending and not host.disk.held]
        if hosts:
            host = self.rng.choice(hosts)
            self.cluster.sync(host.name, self.rng.randint(1, len(host.disk.pending)))

    def burst(self, name: str) -> None:
        """Commands of nobody's session, so many that those which get lost leave a trace in the log."""
        self.serial += 1
        self.cluster.propose(name, *[b"b%d=%d" % (n, self.serial) for n in range(self.rng.randint(1, 4))])

    def read(self, name: str) -> None:
        request = self.cluster.request()
        self.reads[request] = self.floor
        self.cluster.feed(name, Read(request))

    def tick(self, duration_ns: int) -> None:
        cluster = self.cluster
        cluster.now += duration_ns
        for host in list(cluster.hosts.values()):
            at = host.raft.deadline() if host.up else None
            if at is not None and at <= cluster.clock(host.name):
                cluster.wake(host.name)

    def hear(self, host: Host, request: str, result: Any) -> None:
        """An answer, at the moment in which it is given."""
        application = host.application
        if isinstance(result, ReadReady):
            seen = self.reads.pop(request)
            assert application.index >= seen, f"a read at {host.name} sees {application.index}, {seen} was known before"
            self.floor = max(self.floor, application.index)
        elif isinstance(result, Committed) and result.index in self.cluster.observer.executed:
            self.acknowledged[result.index] = None
            self.floor = max(self.floor, result.index)

    # Disasters --------------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        running = [host for host in self.cluster.hosts.values() if host.up]
        if len(running) > 1:
            host = self.rng.choice(running)
            if host.disk.pending and self.rng.random() < 0.5:
                host.disk.sync(self.rng.randint(1, len(host.disk.pending)))
            self.cluster.crash(host.name)

    def restart(self) -> None:
        for host in list(self.cluster.hosts.values()):
            if not host.up:
                self.cluster.restart(host.name)

    def cut(self) -> None:
        one, other = self.rng.sample(self.names, 2)
        self.cluster.cut(one, other, both=self.rng.random() < 0.7)

    def isolate(self) -> None:
        self.cluster.isolate(self.rng.choice([self.anyone(), self.someone_who_leads()]))

    def heal(self) -> None:
        self.cluster.heal()

    def lose(self) -> None:
        wires = self.cluster.wires
        if wires:
            del wires[self.rng.randrange(len(wires))]

    def double(self) -> None:
        wires = [packet for packet in self.cluster.wires if packet.source != packet.target]
        if wires:
            self.cluster.wires.append(self.rng.choice(wires))

    def hold(self) -> None:
        self.cluster.hosts[self.anyone()].disk.held = True

    def release(self) -> None:
        for host in self.cluster.hosts.values():
            host.disk.held = False

    def disconnect(self) -> None:
        one, other = self.rng.sample(self.names, 2)
        if self.cluster.hosts[one].up:
            self.cluster.feed(one, Unreachable(other))

    def transfer(self) -> None:
        self.cluster.transfer(self.someone_who_leads(), self.rng.choice(self.names))

    def offer(self) -> None:
        name = self.anyone()
        self.cluster.feed(
            name, SnapshotTaken(self.cluster[name].commit, self.cluster.hosts[name].application.snapshot())
        )

    def pause(self) -> None:
        self.tick(self.rng.randrange(3 * ELECTION))

    def change(self) -> None:
        kind = self.rng.choice([AddVoter, AddVoter, AddLearner, Remove])
        self.cluster.change(self.someone_who_leads(), kind(self.rng.choice(self.names)))

    # The end ----------------------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """Everything works again. Then so must the cluster."""
        cluster = self.cluster
        self.heal()
        self.restart()
        self.release()
        cluster.check()
        for attempt in range(40):
            cluster.advance(3 * ELECTION)
            leader = cluster.leader
            if leader is not None and isinstance(cluster.commit(leader, b"end=%d" % attempt)[0], Committed):
                break
        else:
            raise AssertionError(f"the cluster does not get back to work: {cluster.roles()}")
        cluster.advance(3 * ELECTION)
        members = cluster[leader].configurations.latest.members
        for name in [name for name in cluster.hosts if name not in members]:
            cluster.hosts[name].up = False
        cluster.converged()
        done = cluster.hosts[leader].application.executed
        for index in self.acknowledged:
            assert any(index == place for place, _ in done), f"what was acknowledged at {index} is gone"
