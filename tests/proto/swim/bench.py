"""A small network of machines: delay, loss, repetition, partitions, crashes and pauses, from one seed and on one clock.

Everything that a machine says and does is watched (`watch.py`), and its invariants are checked after each event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from random import Random

from casty_proto.machine import MILLISECOND, SECOND, Instant, Nanoseconds, Wake
from casty_proto.swim import (
    Identity,
    Join,
    Leave,
    Member,
    Received,
    Send,
    State,
    Swim,
    SwimEffect,
    SwimEvent,
    SwimOptions,
)

from .watch import Watch


def address_of(node_id: str) -> str:
    """Where a node of the bench is reached."""
    return f"{node_id}:1"


class Host:
    """One node: the machine that runs there now, and what stands between it and the network."""

    def __init__(self, machine: Swim, watch: Watch) -> None:
        self.machine = machine
        self.watch = watch
        self.alarm: Instant | None = None
        self.up = True
        self.paused = False
        self.reads_every_ns: Nanoseconds = 0
        self.inbox: list[tuple[str, object]] = []
        self.log: list[tuple[Instant, SwimEffect]] = []

    def effects[F](self, kind: type[F]) -> list[F]:
        """All effects of one kind, in order."""
        return [effect for _, effect in self.log if isinstance(effect, kind)]


class Bench:
    """Hosts by node id. Time is in nanoseconds; `run` takes seconds."""

    def __init__(
        self,
        seed: int = 1,
        options: SwimOptions | None = None,
        *,
        loss: float = 0.0,
        delay_ns: tuple[Nanoseconds, Nanoseconds] = (MILLISECOND, 3 * MILLISECOND),
        watched: bool = True,
    ) -> None:
        self.now: Instant = 0
        self.rng = Random(seed)
        self.options = options or SwimOptions()
        self.loss = loss
        self.repeats = 0.0
        self.delay_ns = delay_ns
        self.watched = watched
        self.hosts: dict[str, Host] = {}
        self.groups: dict[str, int] = {}
        """Who can talk to whom: those of the same number. 0 where nothing is said."""
        self.cuts: dict[tuple[str, str], None] = {}
        """Links that are cut in this direction."""
        self.sent = 0
        self.forwarded: Callable[[str, str, object], None] | None = None
        self._heap: list[tuple[Instant, int, str, str | None, object]] = []
        self._sequence = 0

    # What a test does -----------------------------------------------------------------------------------------------

    def add(
        self,
        node_id: str,
        *seeds: str,
        generation: int = 1,
        payload: bytes = b"",
        options: SwimOptions | None = None,
    ) -> Swim:
        """Start a node, in place of any that had its name, and let it join. Seeds are node ids."""
        options = options or self.options
        rng = Random(self.rng.getrandbits(64))
        machine = Swim(Identity(node_id, generation), address_of(node_id), payload, rng=rng, options=options)
        self.hosts[node_id] = Host(machine, Watch(machine, options))
        self.feed(node_id, Join(tuple(map(address_of, seeds))))
        return machine

    def grow(self, count: int) -> list[str]:
        """Nodes n0, n1 ... of which all join through the first."""
        node_ids = [f"n{number}" for number in range(count)]
        for node_id in node_ids:
            self.add(node_id, *node_ids[:1])
        return node_ids

    def crash(self, node_id: str) -> None:
        """Stop a node without a word."""
        self.hosts[node_id].up = False

    def leave(self, node_id: str) -> None:
        """Let a node say goodbye."""
        self.feed(node_id, Leave())

    def pause(self, node_id: str) -> None:
        """Stop a node; what it is sent waits."""
        self.hosts[node_id].paused = True

    def resume(self, node_id: str, *, wake_first: bool = False) -> None:
        """Let a node go on, with its alarm or with what has come meanwhile."""
        host = self.hosts[node_id]
        host.paused = False
        if wake_first:
            self.feed(node_id, Wake())
        waiting, host.inbox = host.inbox, []
        for peer, message in waiting:
            self.feed(node_id, Received(peer, message))
        self.feed(node_id, Wake())

    def slow_down(self, node_id: str, seconds: float) -> None:
        """Let a node look at its messages at these intervals only, while its alarms ring in time."""
        self.hosts[node_id].reads_every_ns = round(seconds * SECOND)

    def partition(self, *groups: Iterable[str]) -> None:
        """Let only those of one group talk to each other. Without groups, everybody."""
        self.groups = {node_id: number for number, group in enumerate(groups, 1) for node_id in group}

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + round(seconds * SECOND)
        while self._heap and self._heap[0][0] <= until:
            self._step()
        self.now = until

    def run_until(self, condition: Callable[[], bool], limit: float, step: float = 0.05) -> float:
        """Let time pass until something is so, in steps. Returns the seconds that it took."""
        start = self.now
        while not condition():
            assert self.now - start < limit * SECOND, f"not so after {limit} s"
            self.run(step)
        return (self.now - start) / SECOND

    # What a test asks -----------------------------------------------------------------------------------------------

    def running(self) -> list[str]:
        """The nodes that are up and members."""
        return [n for n, host in self.hosts.items() if host.up and host.machine.me.state is State.ALIVE]

    def view(self, node_id: str) -> dict[str, Member]:
        """What a node knows of all."""
        return {member.identity.node_id: member for member in self.hosts[node_id].machine.members}

    def sees(self, node_id: str, other: str) -> State | None:
        """What a node believes of another."""
        member = self.view(node_id).get(other)
        return None if member is None else member.state

    def all_see(self, other: str, *states: State | None) -> bool:
        """Whether all running nodes believe one of these of another."""
        return all(self.sees(node_id, other) in states for node_id in self.running() if node_id != other)

    def converged(self) -> bool:
        """Whether all running nodes know each other as they are, and nobody else as alive."""
        running = self.running()
        expected = {n: self.hosts[n].machine.me for n in running}
        for node_id in running:
            live = {n: m for n, m in self.view(node_id).items() if m.state in (State.ALIVE, State.SUSPECT)}
            if live != expected:
                return False
        return True

    def count(self, kind: type) -> int:
        """How many effects of one kind there were at the nodes that are up."""
        return sum(len(host.effects(kind)) for host in self.hosts.values() if host.up)

    # The driver -----------------------------------------------------------------------------------------------------

    def feed(self, node_id: str, event: SwimEvent) -> None:
        """Give a machine an event and do what it wants."""
        host = self.hosts[node_id]
        effects = host.machine.handle(event, self.now)
        if self.watched:
            host.machine.invariants()
            host.watch.see(event, effects)
        for effect in effects:
            if isinstance(effect, Send):
                self._send(node_id, effect)
            else:
                host.log.append((self.now, effect))
        self._arm(node_id, host)

    def _arm(self, node_id: str, host: Host) -> None:
        deadline = host.machine.deadline()
        if deadline is not None and (host.alarm is None or deadline < host.alarm):
            host.alarm = deadline
            self._push(deadline, node_id, None, host.machine)

    def _push(self, at: Instant, node_id: str, peer: str | None, what: object) -> None:
        self._sequence += 1
        assert len(self._heap) < 200_000, "messages breed messages"
        heappush(self._heap, (at, self._sequence, node_id, peer, what))

    def _send(self, sender: str, effect: Send) -> None:
        receiver = effect.to.partition(":")[0]
        self.sent += 1
        if self.forwarded is not None:
            self.forwarded(sender, receiver, effect.message)
        host = self.hosts.get(receiver)
        if (
            host is None
            or self.groups.get(sender, 0) != self.groups.get(receiver, 0)
            or (sender, receiver) in self.cuts
        ):
            return
        if self.loss and self.rng.random() < self.loss:
            return
        shortest, longest = self.delay_ns
        at = self.now + shortest + int(self.rng.random() * (longest - shortest))
        if every_ns := host.reads_every_ns:
            at += -at % every_ns
        self._push(at, receiver, address_of(sender), effect.message)
        if self.repeats and self.rng.random() < self.repeats:
            self._push(at + longest, receiver, address_of(sender), effect.message)

    def _step(self) -> None:
        at, _, node_id, peer, what = heappop(self._heap)
        self.now = at
        host = self.hosts.get(node_id)
        if host is None or not host.up:
            return
        if peer is not None:
            if host.paused:
                host.inbox.append((peer, what))
            else:
                self.feed(node_id, Received(peer, what))
        elif what is host.machine and host.alarm == at:
            host.alarm = None
            if not host.paused:
                self._ring(node_id, host)

    def _ring(self, node_id: str, host: Host) -> None:
        deadline = host.machine.deadline()
        if deadline is not None and deadline > self.now:
            self._arm(node_id, host)
            return
        self.feed(node_id, Wake())
        deadline = host.machine.deadline()
        assert deadline is None or deadline > self.now, "a deadline that has passed is still there"
