"""The world: hosts that run programs, a heap of what is still to happen, and one clock that never waits.

Theory of operation
-------------------
Everything that will happen is an entry `(at, seq, kind, host, life, a, b)` in one heap. `seq` is the order in which
entries were made, so that what happens at the same instant happens in that order, and never in that of addresses or
hashes. The loop takes the earliest, sets the clock to it and hands it to its host. Nothing is awaited, and no time
passes in between.

1.  A host has a clock of its own: it may run fast or slow, and jump forward. Programs see nothing but that clock.
2.  A crash is a power cut. The program is dropped as it stands, unsynced writes are gone, and every entry of that life
    of the host is void: the `life` in the entry no longer matches.
3.  A paused host handles nothing. What becomes due meanwhile is put off until it goes on, in its order.
4.  A host has one alarm, for the deadline of its program. A deadline that moves away leaves the entry in the heap where
    it is: when that comes due too early, it is put off to the deadline of then, and the program hears nothing of it.
5.  A write that fails stops the host, as a driver must that cannot promise durability any more.

Messages and records are attrs classes, tuples or plain values (`trace.plain`): they go into the digest. A packet to a
name that no host has is lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from casty_proto.machine import SECOND, Instant, Nanoseconds

from .disk import Disk, DiskProfile
from .network import Link, Network
from .tape import Stream, Tape
from .timeline import DOWN, PAUSED
from .trace import Trace

NEVER: Instant = 2**63 - 1
STATE_EVERY = 128
"""After so many events the states of all machines go into the digest."""

STORM_EVENTS = 50_000
STORM_RATE = 10_000
"""More events than the first number, and the second for each simulated second, are taken for a storm: messages that
make more messages, or a program that is woken and does not move its deadline."""


class Violation(AssertionError):
    """A checker found something that must not be. `rule` names what was broken."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule
        self.traceback = ""
        """Where in a program it came from, when that was an exception."""


type Kind = int
"""What an entry of the heap is: plain numbers, because every event compares them and goes into the digest."""
DELIVER: Kind = 0
WRITTEN: Kind = 1
ALARM: Kind = 2
CALL: Kind = 3
LOCAL: Kind = 4


class Program(ABC):
    """What runs on a host: one machine, or several, and the driver that carries out their effects.

    A program is made anew at every start of its host, and keeps nothing but what it finds on the disk.
    """

    ended = False
    """Whether it has ended by itself, so that the host may start another one."""

    @abstractmethod
    def start(self, host: Host, records: list[Any]) -> None:
        """The host has started, with these records on its disk."""

    @abstractmethod
    def receive(self, peer: Host, message: Any) -> None:
        """A packet has arrived."""

    @abstractmethod
    def persisted(self, ticket: int) -> None:
        """A write has ended."""

    @abstractmethod
    def wake(self) -> None:
        """The deadline has come."""

    @abstractmethod
    def deadline(self) -> Instant | None:
        """When `wake` is wanted, on the clock of the host."""

    @abstractmethod
    def fingerprint(self) -> Any:
        """The state of the machine, for the digest."""

    @abstractmethod
    def invariants(self) -> None:
        """Assert what must hold after every event."""

    def label(self) -> str:
        """A word about the state, for a timeline: a role, for example."""
        return "up"

    def kind_of(self, message: Any) -> str:
        """What people call a message of that kind."""
        return type(message).__name__

    def words_of(self, message: Any) -> str:
        """A message in words, for a timeline."""
        return repr(message)


class Host:
    """A machine in the simulated sense of the word: a clock, a disk, and a program that comes and goes."""

    def __init__(self, world: World, name: str, number: int, make: Callable[[], Program]) -> None:
        self.world = world
        self.name = name
        self.number = number
        self.disk = Disk(world.tape.stream(f"disk/{name}"), world.disk_profile)
        self.program: Program | None = None
        self.life = 0
        self.starts = 0
        self.started_at: Instant = 0
        """When it was started last."""
        self.is_scrap = False
        """Whether it never starts again."""
        self._make = make
        self._paused_until: Instant = 0
        self._put_off: list[tuple[Kind, Any, Any]] = []
        self._armed: Instant = NEVER
        """When the earliest alarm of this life comes due."""
        self.armed_local: Instant = NEVER
        """The same on the clock of this host."""
        self.rate = 1.0
        """How fast its clock runs."""
        self.ahead: Nanoseconds = 0
        """How far its clock is ahead of that of the world, while it runs as fast."""
        self._local_base: Instant = 0
        self._global_base: Instant = 0

    # -- for programs ----------------------------------------------------------------------------------------------

    def now(self) -> Instant:
        """The instant on the clock of this host."""
        if self.rate == 1.0:
            return self.world.now + self.ahead
        return self._local_base + int((self.world.now - self._global_base) * self.rate)

    def stream(self, label: str) -> Stream:
        """Choices of a subsystem of this host."""
        return self.world.tape.stream(f"{label}/{self.name}")

    def send(self, target: str, message: Any, size: int = 100) -> None:
        """Send a packet to the host of that name: ask the network for its verdict, and deliver accordingly."""
        world = self.world
        now = world.now
        arrivals = world.network.verdict(self.name, target, size, now)
        if world.trace.keeps:
            self._keep_sent(target, message, arrivals)
        host = world.hosts.get(target)
        if host is None:
            return
        for at in arrivals:
            # A packet is for whoever runs when it arrives, so it belongs to no life.
            world.seq = seq = world.seq + 1
            heappush(world.heap, (at, seq, DELIVER, host, -1, self, message))

    def _keep_sent(self, target: str, message: Any, arrivals: tuple[Instant, ...]) -> None:
        world, program = self.world, self.program
        world.trace.sent(
            world.now,
            self.name,
            target,
            type(message).__name__ if program is None else program.kind_of(message),
            repr(message) if program is None else program.words_of(message),
            arrivals if target in world.hosts else (),
            world.network.explain(self.name, target, arrivals, world.now)
            if target in world.hosts
            else "no host has that name",
        )

    def persist(self, ticket: int, record: Any) -> None:
        """Write a record; `Program.persisted` follows, or the host stops (rule 5)."""
        world = self.world
        at = self.disk.write(ticket, record, world.now)
        if at is None:
            world.trace.note(world.now, self.name, "disk", "a write failed; the node stops")
            world.at(world.now, self._stop)
        else:
            world.push(at, WRITTEN, self, ticket, None)

    def moment(self) -> None:
        """The program does something delicate: a good time for a fault."""
        if self.world.on_moment is not None:
            self.world.on_moment(self)

    def local(self, delay_ns: Nanoseconds, what: Callable[[], None]) -> None:
        """Call back on this host after a delay, unless it has crashed by then."""
        self.world.push(self.world.now + delay_ns, LOCAL, self, what, None)

    def _stop(self) -> None:
        """The driver gives up, since it cannot promise durability any more (rule 5)."""
        self.crash()
        if self.world.on_stopped is not None:
            self.world.on_stopped(self)

    # -- what is done to it ----------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether a program runs, paused or not."""
        return self.program is not None and not self.program.ended

    @property
    def paused(self) -> bool:
        """Whether it handles nothing at the moment."""
        return self._paused_until > self.world.now

    def start(self) -> None:
        """Start the program on whatever is on the disk. A no-op when it runs, and when it never will again."""
        if self.is_scrap or self.up:
            return
        self._drop()
        self.starts += 1
        self.started_at = self.world.now
        world = self.world
        world.trace.started(world.now, self.name, f"start {self.starts}")
        self.program = program = self._make()
        program.start(self, self.disk.records())
        if world.trace.timeline is not None:
            world.trace.timeline.role(world.now, self.name, program.label())
        self._see_to_alarm(program)

    def crash(self) -> None:
        """A power cut (rule 2). A no-op when it is down."""
        if self.program is None:
            return
        self.world.trace.note(self.world.now, self.name, "crash", "power cut")
        if self.world.on_crash is not None:
            self.world.on_crash(self)
        if (timeline := self.world.trace.timeline) is not None:
            timeline.down(self.world.now, self.name, "power cut" if not self.is_scrap else "power cut for good")
        self._drop()
        self._paused_until = 0
        self.forget_put_off()
        self.disk.power_cut()

    def forget_put_off(self) -> None:
        """What came while the host was paused will not happen."""
        self._put_off.clear()

    def _drop(self) -> None:
        """What there is of a program is gone, and so is what would happen in its life."""
        if self.program is not None:
            self.program = None
            self.life += 1
            self._disarm()

    def scrap(self) -> None:
        """A power cut for good."""
        self.is_scrap = True
        self.crash()

    def pause(self, duration_ns: Nanoseconds) -> None:
        """Handle nothing for a while (rule 3)."""
        self._paused_until = max(self._paused_until, self.world.now + duration_ns)
        self.world.at(self._paused_until, self._go_on)
        self.world.trace.note(self.world.now, self.name, "pause", f"for {duration_ns / SECOND:.3f} s")
        if (timeline := self.world.trace.timeline) is not None:
            timeline.begin(self.world.now, self.name, PAUSED, text="handles nothing")

    def resume(self) -> None:
        """End a pause now."""
        self._paused_until = 0
        self._go_on()

    def _go_on(self) -> None:
        """What was put off comes now, in its order, unless the pause was extended."""
        if self._paused_until <= self.world.now:
            if (timeline := self.world.trace.timeline) is not None:
                timeline.end(self.world.now, self.name, PAUSED)
            put_off, self._put_off = self._put_off, []
            for kind, a, b in put_off:
                self.world.push(self.world.now, kind, self, a, b)

    def drift(self, rate: float) -> None:
        """Let the clock run at another rate from now on: 1.01 is one percent fast."""
        self._local_base, self._global_base = self.now(), self.world.now
        self.ahead = self._local_base - self._global_base
        self.rate = rate
        self._rearm()

    def jump(self, forward_ns: Nanoseconds) -> None:
        """Set the clock forward."""
        self._local_base, self._global_base = self.now() + forward_ns, self.world.now
        self.ahead = self._local_base - self._global_base
        self._rearm()

    # -- the loop's side -------------------------------------------------------------------------------------------

    def alarm(self, at: Instant) -> bool:
        """An alarm has come due. Whether the program is to be woken; if not, the alarm is put off (rule 4)."""
        if at != self._armed:
            return False
        self._disarm()
        assert self.program is not None
        deadline = self.program.deadline()
        if deadline is None or deadline <= self.now():
            return deadline is not None
        self.arm(deadline)
        return False

    def put_off(self, kind: Kind, a: Any, b: Any) -> None:
        """Handle an entry when the pause is over (rule 3)."""
        self._put_off.append((kind, a, b))

    def arm(self, deadline: Instant) -> None:
        """Set the alarm to an instant on the clock of this host."""
        self.armed_local = deadline
        self._armed = at = self.instant_of(deadline)
        self.world.push(at, ALARM, self, at, None)

    def _rearm(self) -> None:
        if self.program is not None:
            self._disarm()
            self._see_to_alarm(self.program)

    def _see_to_alarm(self, program: Program) -> None:
        deadline = program.deadline()
        if deadline is not None:
            self.arm(deadline)

    def _disarm(self) -> None:
        self._armed = self.armed_local = NEVER

    def look_at_alarm(self) -> None:
        """Somebody else than an event has given the program something to do: its deadline may have become earlier."""
        if self.program is not None and not self.paused:
            deadline = self.program.deadline()
            if deadline is not None and deadline < self.armed_local:
                self.arm(deadline)

    def instant_of(self, local: Instant) -> Instant:
        """The first instant of the world at which the clock of this host shows `local`."""
        if self.rate == 1.0:
            return max(self.world.now, local - self.ahead)
        ahead = int((local - self._local_base) / self.rate) + 1
        return max(self.world.now, self._global_base + ahead)

    def __repr__(self) -> str:
        return f"<host {self.name} {'up' if self.up else 'down'}>"


class World:
    """One simulated run."""

    def __init__(
        self,
        tape: Tape,
        *,
        ordered: bool,
        link: Link | None = None,
        disk: DiskProfile | None = None,
        trace: Trace | None = None,
        check_invariants: bool = False,
    ) -> None:
        self.tape = tape
        self.now: Instant = 0
        self.network = Network(tape, ordered=ordered, link=link)
        self.disk_profile = disk or DiskProfile()
        self.trace = trace or Trace()
        self.check_invariants = check_invariants
        self.watched = check_invariants or self.trace.timeline is not None
        """Whether programs are looked at after every event."""
        if self.trace.timeline is not None:
            self.network.on_change = self._on_links_changed
        self.hosts: dict[str, Host] = {}
        self.reached: dict[str, int] = {}
        """Interesting states, and how often they were reached."""
        self.events = 0
        self.on_stopped: Callable[[Host], None] | None = None
        """Who is told of hosts that have stopped by themselves."""
        self.on_crash: Callable[[Host], None] | None = None
        """Who is told of a host whose power is cut, just before."""
        self.on_moment: Callable[[Host], None] | None = None
        """Who is told of delicate moments."""
        self.heap: list[tuple[Instant, int, Kind, Host | None, int, Any, Any]] = []
        self.seq = 0
        self.extras: dict[str, object] = {}
        """What others keep for the whole world, by name."""
        self.storm_events = STORM_EVENTS
        self.horizon: Instant = 0
        """Up to when things happen in the present `run`."""
        self.idle_since: Instant | None = None
        """When the last thing happened, where the `run` before came to its end with nothing left that could."""
        self.on_stock: Callable[[int], None] | None = None
        """Who is told now and then how many events there have been."""

    def add_host(self, name: str, make: Callable[[], Program]) -> Host:
        """A host that is down until it is started. `make` creates its program at each start. A name is used once."""
        assert name not in self.hosts, f"there is a host {name} already"
        host = self.hosts[name] = Host(self, name, len(self.hosts), make)
        self.trace.hosts[host.number] = host.name
        if self.trace.timeline is not None:
            self.trace.timeline.begin(self.now, name, DOWN, text="not started yet")
        return host

    def reach(self, state: str) -> None:
        """An interesting state was reached; campaigns report which ones never are."""
        self.reached[state] = self.reached.get(state, 0) + 1

    def at(self, instant: Instant, what: Callable[[], None]) -> None:
        """Call something of the world itself (a fault, a client, a check) at an instant."""
        self.push(max(instant, self.now), CALL, None, what, None)

    def after(self, delay_ns: Nanoseconds, what: Callable[[], None]) -> None:
        """Call something of the world itself after a delay."""
        self.at(self.now + delay_ns, what)

    def push(self, at: Instant, kind: Kind, host: Host | None, a: Any, b: Any) -> None:
        """Put an entry into the heap."""
        self.seq = seq = self.seq + 1
        heappush(self.heap, (at, seq, kind, host, -1 if host is None else host.life, a, b))

    def run(self, until: Instant) -> None:
        """Let everything happen up to an instant, and set the clock to it. `halt` ends it before."""
        heap, trace, watched = self.heap, self.trace, self.watched
        self.horizon = until
        while heap and heap[0][0] <= self.horizon:
            at, _, kind, host, life, a, b = heappop(heap)
            self.now = at
            if host is None:
                a()
                continue
            program = host.program
            if program is None or (life >= 0 and life != host.life):
                continue
            if host._paused_until > at:
                host.put_off(kind, a, b)
                continue
            if kind == ALARM and not host.alarm(a):
                continue
            self.events = events = self.events + 1
            if kind == DELIVER:
                trace.event(at, host.number, kind, b)
                program.receive(a, b)
            else:
                trace.event(at, host.number, kind, a if kind == WRITTEN else None)
                if kind == ALARM:
                    program.wake()
                elif kind == WRITTEN:
                    host.disk.written(a)
                    program.persisted(a)
                else:
                    a()
            if watched:
                self.look_at(host, program)
            # Most events move the deadline away from an alarm that is set, which can stay (rule 4).
            deadline = program.deadline()
            if deadline is not None and deadline < host.armed_local:
                host.arm(deadline)
            if events % STATE_EVERY == 0:
                self._take_stock(at)
        self.idle_since = None
        if self.horizon == until != NEVER:
            self.idle_since = None if heap else self.now
            self.now = until

    def halt(self) -> None:
        """End the present `run` after this event. The clock stays where it is."""
        self.horizon = -1

    def skip_to(self, at: Instant, host: Host) -> None:
        """The alarm of a host that has the next event of all comes due while it is still at work on the one before."""
        self.now = at
        self.events = events = self.events + 1
        trace = self.trace
        if trace.digests:
            trace.event(at, host.number, ALARM, None)
        if events % STATE_EVERY == 0:
            self._take_stock(at)

    def _take_stock(self, at: Instant) -> None:
        self.digest_states()
        if self.on_stock is not None:
            self.on_stock(self.events)
        if self.events > self.storm_events + STORM_RATE * at // SECOND:
            raise Violation("no storms", f"{self.events} events in {at / SECOND:.1f} simulated seconds")

    def look_at(self, host: Host, program: Program) -> None:
        """Assert what must hold, and tell the timeline what the host is."""
        if self.check_invariants:
            program.invariants()
        if self.trace.timeline is not None and host.program is program:
            self.trace.timeline.role(self.now, host.name, program.label())

    def _on_links_changed(self) -> None:
        network, timeline = self.network, self.trace.timeline
        assert timeline is not None
        clogs = {(str(a), str(b)): until for (a, b), until in network.clogs().items()}
        timeline.links(self.now, [(str(a), str(b)) for a, b in network.cuts()], clogs)

    def digest_states(self) -> None:
        """Take the states of all machines into the digest."""
        for host in self.hosts.values():
            self.trace.state(host.number, None if host.program is None else host.program.fingerprint())
