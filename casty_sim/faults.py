"""Faults: what may go wrong in a run, drawn from its tape, and put right again.

Swarm testing (Groce and others, 2012): each run draws which kinds of faults are on at all, and how hard they hit. A run
with everything on at once hides the bugs that need some faults to be absent.

A run has two phases. In the safety phase anything goes, and only what must never happen is checked. Then a core of
hosts, large enough that it could make progress, is healed and kept well, while the rest of the world stays cut off or
down until what was begun there is over, as it would have been; now the core must make progress. The idea of the two
phases is TigerBeetle's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import define, field, frozen

from casty_proto.machine import MILLISECOND, SECOND, Nanoseconds

from .network import Link
from .tape import Parts, Stream
from .world import Host, World

KINDS = (
    "loss",
    "tail",
    "duplicate",
    "bandwidth",
    "slow disk",
    "failing disk",
    "full disk",
    "crash",
    "wipe",
    "pause",
    "partition",
    "one way",
    "isolate",
    "clog",
    "drift",
    "jump",
    "timely",
)
"""Every kind of fault that a run can draw. Those of "timely" come just when a host does something delicate."""

TIMELY = ("crash", "pause", "isolate", "one way", "clog")
"""What may strike a host at a delicate moment, as far as the run has it on."""

STANDING = ("loss", "tail", "duplicate", "bandwidth", "slow disk", "failing disk")
"""What is wrong with links and disks all the time, as far as the run has it on."""

START_NS = MILLISECOND
"""How long a host that has stopped by itself takes to start again, at least."""

CHANCE = 0.5
"""How likely each kind is to be on in a run."""


@frozen
class FaultOptions:
    """What a scenario allows. Lengths of time in nanoseconds."""

    kinds: tuple[str, ...] = KINDS
    every_ns: Nanoseconds = 700 * MILLISECOND
    """The mean time between two faults."""
    longest_ns: Nanoseconds = 3 * SECOND
    """The longest that a fault lasts before it is put right."""
    drift: float = 0.01
    """How far the rate of a clock may be off, as a fraction."""
    jump_ns: Nanoseconds = 2 * SECOND
    down_at_once: int = 1
    """How many hosts may be down or wiped at the same time."""


@define
class FaultPlan:
    """The faults of one run."""

    enabled: tuple[str, ...]
    link: Link
    disk_slow: float = 0.0
    disk_failing: float = 0.0
    timely: float = 0.0
    """How often something strikes at a delicate moment."""
    log: list[str] = field(factory=list)
    """What was done, in order, for people."""
    struck: int = 0
    """How many faults have struck."""

    @property
    def faults(self) -> int:
        """How many there were: those that have struck, and those of links and disks that were on all the time."""
        return self.struck + sum(kind in STANDING for kind in self.enabled)

    def words(self) -> str:
        """The kinds that are on."""
        return ", ".join(self.enabled) or "none"


def draw_plan(stream: Stream, options: FaultOptions, base: Link) -> FaultPlan:
    """Draw which kinds are on in this run, and how hard those of the network and the disks hit.

    Each kind is a part of the stream (`Stream.part`).
    """
    enabled = tuple(kind for kind in options.kinds if stream.part(kind).chance(CHANCE))
    on = dict.fromkeys(enabled)

    def number(kind: str) -> float:
        return stream.part(kind).raw()

    link = Link(
        delay_ns=base.delay_ns,
        spread_ns=base.spread_ns,
        loss=0.3 * number("loss") ** 2 if "loss" in on else 0.0,
        tail=0.2 * number("tail") if "tail" in on else 0.0,
        tail_ns=int(stream.part("tail").uniform(0.2, 2.0) ** 2 * SECOND) if "tail" in on else base.tail_ns,
        duplicate=0.3 * number("duplicate") if "duplicate" in on else 0.0,
        bytes_per_second=int(10 ** (7.0 - 2.5 * number("bandwidth"))) if "bandwidth" in on else 0,
    )
    return FaultPlan(
        enabled=enabled,
        link=link,
        disk_slow=0.2 * number("slow disk") if "slow disk" in on else 0.0,
        disk_failing=0.02 * number("failing disk") if "failing disk" in on else 0.0,
        timely=0.1 * number("timely") ** 2 if "timely" in on else 0.0,
    )


def kinds_on(numbers: Sequence[float], parts: Parts) -> list[str]:
    """The kinds that are on in a plan that was drawn with these numbers."""
    return [
        kind for kind, places in parts.items() if any(n >= 1.0 - CHANCE for n in numbers[places[0] : places[0] + 1])
    ]


def numbers_of(kinds: Iterable[str], parts: Parts) -> list[float]:
    """Numbers that draw a plan with these kinds on, of those that have parts. How hard they hit comes after them."""
    on = dict.fromkeys(parts[kind][0] for kind in kinds)
    length = 1 + max((places[0] for places in parts.values()), default=-1)
    return [1.0 - CHANCE if place in on else 0.0 for place in range(length)]


class Nemesis:
    """Whoever breaks things. It acts at random times, on random hosts, and undoes what it did after a while."""

    def __init__(
        self,
        world: World,
        hosts: Sequence[Host],
        plan: FaultPlan,
        options: FaultOptions,
        may_crash: Callable[[Host], bool] = lambda _: True,
        may_wipe: Callable[[Host], bool] | None = None,
    ) -> None:
        """`may_crash` says whether the scenario can bear it right now that this host goes down, and `may_wipe` whether
        it can bear that the disk is lost as well, if that is another question."""
        self._world = world
        self._may_crash = may_crash
        self._may_wipe = may_wipe or may_crash
        self._hosts = list(hosts)
        self._plan = plan
        self._options = options
        self._when = world.tape.stream("faults")
        self._stream = self._when
        """That of the fault that strikes at the moment. Each has its own, so that one can be left out of a tape, and
        all others stay as they are."""
        self._over = False
        self._acts: dict[str, Callable[[Host], None]] = {
            "crash": self._crash,
            "wipe": self._wipe,
            "pause": self._pause,
            "partition": self._partition,
            "one way": self._one_way,
            "isolate": self._isolate,
            "clog": self._clog,
            "drift": self._drift,
            "jump": self._jump,
            "full disk": self._fill_disk,
        }
        self._menu = [kind for kind in plan.enabled if kind in self._acts]
        self._timely = [kind for kind in self._menu if kind in TIMELY]
        self._timely_stream = world.tape.stream("timely")
        self._strikes = 0

    def begin(self) -> None:
        """Break the standing things now, and go on breaking others until `end`."""
        self._world.network.default = self._plan.link
        profile = self._world.disk_profile
        for host in self._hosts:
            host.disk.profile = type(profile)(
                profile.delay_ns, profile.spread_ns, self._plan.disk_slow, profile.slow_ns, self._plan.disk_failing
            )
        self._world.on_stopped = self._on_stopped
        if self._plan.timely and self._timely:
            self._world.on_moment = self._on_moment
        self._next()

    def end(self, core: Sequence[Host], link: Link) -> None:
        """The liveness phase: nothing new breaks, and the core is put right. Other hosts recover when they would have.

        Clogs end, and the network behaves as `link` says, for everybody.
        """
        world = self._world
        self._over = True
        world.on_moment = None
        spared = dict.fromkeys(host.name for host in core)
        self._note(f"the core is healed: {', '.join(spared)}", strikes=False)
        network = world.network
        network.default = link
        others = [host for host in self._hosts if host.name not in spared]
        cut = [(a.name, b.name) for a in others for b in self._hosts if network.is_cut(a.name, b.name)]
        cut += [(a.name, b.name) for a in core for b in others if network.is_cut(a.name, b.name)]
        network.heal()
        for way in cut:
            network.cut(*way)
        for host in core:
            host.disk.profile = world.disk_profile
            host.disk.full = False
            host.resume()
            host.start()

    # -- one fault after the other ---------------------------------------------------------------------------------

    def _next(self) -> None:
        if self._over or not self._menu:
            return
        # The plainest choice, 0.0, is the longest wait: a tape of zeros must be quiet, and must end.
        wait = int(2 * (1.0 - self._when.raw()) * self._options.every_ns) + 1
        self._world.after(wait, self._strike)

    def _strike(self) -> None:
        if self._over:
            return
        stream = self._begin_fault()
        kind = stream.pick(["nothing", *self._menu])
        if kind != "nothing":
            self._acts[kind](stream.pick(self._hosts))
        self._next()

    def _begin_fault(self) -> Stream:
        self._strikes += 1
        self._stream = self._world.tape.stream(f"fault/{self._strikes}")
        return self._stream

    def _on_stopped(self, host: Host) -> None:
        self._world.reach("a failed write stopped a host")
        self._stream = self._when
        # No process starts again in no time; with a disk that stays full it would do so for ever.
        self._world.after(max(START_NS, self._duration()), host.start)

    def _on_moment(self, host: Host) -> None:
        """The host does something delicate. Strike now, or in the next milliseconds, while it is still at it."""
        if not self._timely_stream.chance(self._plan.timely):
            return
        stream = self._begin_fault()
        kind = stream.pick(["nothing", *self._timely])
        wait = int(stream.raw() ** 2 * 5 * MILLISECOND)

        def strike() -> None:
            if not self._over and kind != "nothing":
                self._stream = stream
                self._acts[kind](host)

        self._world.after(wait, strike)

    def _duration(self) -> Nanoseconds:
        """How long a fault lasts. Short ones are as interesting as long ones, and most are short."""
        return int(self._stream.raw() ** 3 * self._options.longest_ns) + 1

    def _later(self, undo: Callable[[], None]) -> None:
        """Undo a fault after a while. In the liveness phase only what concerns the core has been undone already."""
        self._world.after(self._duration(), undo)

    def _note(self, text: str, *, strikes: bool = True) -> None:
        self._plan.struck += strikes
        self._plan.log.append(f"{self._world.now / SECOND:9.4f}  {text}")
        self._world.trace.note(self._world.now, "", "fault", text)

    def _down(self) -> int:
        return sum(not host.up for host in self._hosts)

    def _is_next(self, host: Host) -> bool:
        return host.up and self._down() < self._options.down_at_once

    def _crash(self, host: Host) -> None:
        if not self._is_next(host) or not self._may_crash(host):
            return
        self._note(f"crash {host.name}")
        host.crash()
        self._later(host.start)

    def _wipe(self, host: Host) -> None:
        if not self._is_next(host) or not self._may_wipe(host):
            return
        self._note(f"crash {host.name} and wipe its disk")
        host.crash()
        host.disk.wipe()
        self._world.reach("a disk was wiped")
        self._later(host.start)

    def _pause(self, host: Host) -> None:
        if host.up:
            duration = self._duration()
            self._note(f"pause {host.name} for {duration / SECOND:.3f} s")
            host.pause(duration)

    def _cut(self, text: str, one: list[str], other: list[str], *, one_way: bool = False) -> None:
        if not one or not other:
            return
        self._note(text)
        network = self._world.network
        ways = network.partition(one, other, one_way=one_way)

        def mend() -> None:
            if not self._over:
                self._note(f"over: {text}", strikes=False)
            for way in ways:
                network.mend(*way)

        self._later(mend)

    def _partition(self, _: Host) -> None:
        names = [host.name for host in self._hosts]
        order = self._stream.shuffled(names)
        size = self._stream.between(1, max(1, len(names) - 1))
        self._cut(f"partition {order[:size]} | {order[size:]}", order[:size], order[size:])

    def _one_way(self, host: Host) -> None:
        others = [other.name for other in self._hosts if other is not host]
        if not others:
            return
        target = self._stream.pick(others)
        self._cut(f"cut {host.name} -> {target}", [host.name], [target], one_way=True)

    def _isolate(self, host: Host) -> None:
        others = [other.name for other in self._hosts if other is not host]
        self._cut(f"isolate {host.name}", [host.name], others)

    def _clog(self, host: Host) -> None:
        others = [other.name for other in self._hosts if other is not host]
        if not others:
            return
        target = self._stream.pick(others)
        duration = self._duration()
        self._note(f"clog {host.name} -> {target} for {duration / SECOND:.3f} s")
        self._world.network.clog(host.name, target, self._world.now + duration)

    def _drift(self, host: Host) -> None:
        off = self._stream.raw() * self._options.drift
        rate = 1.0 + self._stream.pick((off, -off))
        self._note(f"the clock of {host.name} runs at {rate:.4f}")
        host.drift(rate)

    def _jump(self, host: Host) -> None:
        forward = int(self._stream.raw() * self._options.jump_ns)
        self._note(f"the clock of {host.name} jumps {forward / SECOND:.3f} s forward")
        host.jump(forward)

    def _fill_disk(self, host: Host) -> None:
        if self._down() >= self._options.down_at_once or not self._may_crash(host):
            return
        self._note(f"the disk of {host.name} is full")
        host.disk.full = True

        def free() -> None:
            host.disk.full = False
            host.start()

        self._later(free)
