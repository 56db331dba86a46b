"""What a test of an application holds in its hand: the nodes, the network between them, the faults, and the history."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, cast

from casty_proto.machine import SECOND, nanoseconds

from ..faults import FaultPlan, Nemesis, draw_plan
from ..files import FileDisk
from ..loop import NotSimulatedError, running
from ..loop.alone import LOOPBACK
from ..network import Link
from ..scenario import Settings
from ..stack.names import Names
from ..tape import Tape
from ..trace import Trace
from ..world import Host, Violation, World
from .faults import Faults
from .history import History
from .losses import Losses
from .node import PORT, App, SimNode, describe
from .process import Process, TestProcess
from .unhandled import Collected, Policy, UnhandledError, kept

if TYPE_CHECKING:
    from casty_asyncio import ClusterClient

TEST = "test"
"""The host on which the test itself runs. Nothing breaks it, and a partition can name it."""

RESTART_SECONDS = 1.0
"""After how long a program that ended by an error of `restart_on` is started again."""

ENDS = (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)
"""What ends more than a function where it is raised."""

type Target = str | SimNode
type Group = Target | Iterable[Target]


class Sim:
    """One simulated run of an application. Made by `simulate`, and given to the test.

    Everything here happens at once, at the instant of the call; what follows from it takes simulated time.
    """

    def __init__(
        self, tape: Tape, settings: Settings, trace: Trace, faults: Faults, unhandled: Policy = "assertions"
    ) -> None:
        self.world = world = World(tape, ordered=False, trace=trace, check_invariants=settings.check_invariants)
        world.storm_events = 2_000_000
        self.settings = settings
        self.faults = faults if settings.faults else Faults.none()
        self.nodes: tuple[str, ...] = tuple([f"n{number}" for number in range(1, settings.nodes + 1)])
        """The names of the nodes that can be started."""
        self.history = History(world)
        """What clients have done, for `History.check`."""
        self.random: Random = tape.random("test")
        """Choices of the test, which are part of the seed, and are made plainer when a failure is shrunk."""
        self.unhandled = Collected(unhandled, lambda: world.now)
        """What nobody has handled so far in programs, and in the test itself."""
        self._names = Names.of(world)
        self._nodes = {name: SimNode(self, self._add_host(name)) for name in self.nodes}
        self._test = SimNode(self, self._add_host(TEST))
        self._lives: list[Process] = []
        self._failure: BaseException | None = None
        self._plan = draw_plan(tape.stream("plan"), self.faults.options(settings.nodes), world.network.default)
        if not self.faults.kinds:
            self._plan = FaultPlan((), world.network.default)
        hosts = [node.host for node in self._nodes.values()]
        options = self.faults.options(settings.nodes)
        started = lambda: [node for node in self._nodes.values() if node.app is not None]  # noqa: E731
        self._losses = Losses(started, nanoseconds(self.faults.recovery), options.down_at_once)
        for host in hosts:
            cast(FileDisk, host.disk).may_fail = lambda host=host: self._may_lose(host)  # type: ignore[misc]
        self._nemesis = Nemesis(world, hosts, self._plan, options, self._may_lose, self._may_lose)
        self._calm = world.network.default
        self._unleashed = False
        world.on_crash = self._on_crash

    def _add_host(self, name: str) -> Host:
        host = self.world.add_host(name, lambda: self._make(name))
        host.disk = disk = FileDisk(name, host.stream("files"), self.world.disk_profile)
        disk.tell = lambda text: self.world.trace.note(self.world.now, name, "disk", text)
        self._names.add(name)
        self.world.network.shape(name, name, LOOPBACK)
        return host

    # -- time and choices ----------------------------------------------------------------------------------------------

    @property
    def seed(self) -> int:
        """The seed of this run."""
        return self.world.tape.seed

    @property
    def clock(self) -> float:
        """The simulated seconds since the beginning, on a clock that no fault touches."""
        return self.world.now / SECOND

    @property
    def duration(self) -> float:
        """How many simulated seconds a run is meant to spend under faults (`--duration`)."""
        return self.settings.safety_ns / SECOND

    def reach(self, state: str) -> None:
        """An interesting state was reached. Campaigns report in how many runs each was."""
        self.world.reach(state)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def node(self, target: Target) -> SimNode:
        """The node of that name. Raises `KeyError`, with the names that there are."""
        if isinstance(target, SimNode):
            return target
        if target == TEST:
            return self._test
        if target not in self._nodes:
            raise KeyError(f"there is no node {target!r}; there are {', '.join(self.nodes)}")
        return self._nodes[target]

    def start(self, target: Target, app: App, *, restart_on: tuple[type[BaseException], ...] = ()) -> SimNode:
        """Start a node with an application: a coroutine function that is given the node.

        It is called again whenever the node starts again after a crash. An exception that it lets out fails the test,
        with two exceptions: one of `restart_on`, after which the node starts again a second later, as under an
        orchestrator; and any in a life in which its disk has failed or was full, after which the node starts again when
        that fault is over, or, where no drawn faults have begun, with `restart`. Raises `RuntimeError` when the node
        runs.
        """
        node = self.node(target)
        if node.up:
            raise RuntimeError(f"{node.id} runs already")
        node.app, node.restart_on = app, restart_on
        node.host.start()
        if self.faults.at_once:
            self.unleash()
        return node

    def crash(self, target: Target) -> None:
        """Cut the power of a node: no `finally` runs, nobody is told, unsynced writes are gone. It stays down
        until `restart`. A no-op when it is down.

        A node that does it to itself comes to the end of its present step, and loses what it writes until then."""
        node = self.node(target)
        if node.process is not None and running.current is node.process.loop:
            node.process.loop.bury()
            self.world.at(self.world.now, node.host.crash)
        else:
            node.host.crash()

    def kill(self, target: Target) -> None:
        """Kill the program of a node, as SIGKILL does: connections are closed, files keep what was written. Raises
        `RuntimeError` when it does not run."""
        process = self._running(target)
        process.kill()
        self._losses.lost(self.node(target).id)
        self._trace(target, "kill")

    def terminate(self, target: Target, number: int = signal.SIGTERM) -> None:
        """Send a node a signal. One that its program does not handle kills it. Raises `RuntimeError` when the program
        does not run."""
        node = self.node(target)
        process = self._running(node)
        self._trace(node, f"signal {number}")
        if not process.loop.on_signal(number):
            process.kill()
            self._losses.lost(node.id)
        node.host.look_at_alarm()

    def restart(self, target: Target) -> SimNode:
        """Start a node again that is down, or has ended, with the application that it had. Raises `RuntimeError`
        when it runs, or was never started."""
        node = self.node(target)
        if node.app is None or node.up:
            raise RuntimeError(f"{node.id} {'runs already' if node.up else 'was never started'}")
        node.host.start()
        return node

    def wipe(self, target: Target) -> None:
        """Lose everything on the disk of a node. Raises `RuntimeError` while its program runs."""
        node = self.node(target)
        if node.up:
            raise RuntimeError(f"{node.id} runs: crash it first")
        node.host.disk.wipe()
        self._losses.lost(node.id)

    def pause(self, target: Target, seconds: float) -> None:
        """Let a node do nothing for a while, as SIGSTOP does, or a machine that is being moved."""
        self.node(target).host.pause(nanoseconds(seconds))

    def fill_disk(self, target: Target, *, full: bool = True) -> None:
        """Let a node have no room on its disk, or room again: writes raise `OSError` meanwhile. A program that this has
        ended is not started again by that."""
        self.node(target).host.disk.full = full

    def _running(self, target: Target) -> Process:
        node = self.node(target)
        process = node.process
        if process is None or not node.up:
            raise RuntimeError(f"{node.id} does not run")
        return process

    # -- the network ---------------------------------------------------------------------------------------------------

    def partition(
        self, one: Iterable[Target] | Target, other: Iterable[Target] | Target | None = None, *, one_way: bool = False
    ) -> Callable[[], None]:
        """Cut every link between two groups of nodes; without a second one, between the first and all others, the test
        included. With `one_way`, only from the first to the second. Returns what undoes it."""
        first = self._group(one)
        second = (
            self._group(other) if other is not None else [name for name in (*self.nodes, TEST) if name not in first]
        )
        ways = self.world.network.partition(first, second, one_way=one_way)
        self._trace(TEST, f"partition {first} {'->' if one_way else '|'} {second}")

        def mend() -> None:
            while ways:
                self.world.network.mend(*ways.pop())

        return mend

    def isolate(self, target: Target) -> Callable[[], None]:
        """Cut a node off from everybody. Returns what undoes it."""
        return self.partition(target)

    def shape(self, source: Target, target: Target, link: Link | None) -> None:
        """Give one direction delays, losses or a bandwidth of its own; `None` for those of all others."""
        self.world.network.shape(self.node(source).id, self.node(target).id, link)

    def name(self, name: str, *targets: Target) -> None:
        """Let a name stand for the addresses of several nodes, as a headless service has them."""
        self._names.name(name, *[self.node(target).id for target in targets])

    def _group(self, targets: Group) -> list[str]:
        if isinstance(targets, str | SimNode):
            return [self.node(targets).id]
        return [self.node(target).id for target in targets]

    # -- faults --------------------------------------------------------------------------------------------------------

    def unleash(self) -> None:
        """Let the faults that this seed has drawn begin. A no-op when they have, and after `heal`."""
        if not self._unleashed and self.faults.kinds:
            self._unleashed = True
            self._nemesis.begin()

    def heal(self, core: Sequence[Target] | None = None) -> None:
        """End the faults. The nodes of the core, by default all, are put right and started again; the others recover
        when they would have. From here on the core must make progress, and the test can demand that it does."""
        nodes = [self.node(each) for each in (self.nodes if core is None else core)]
        nodes = [node for node in nodes if node.app is not None]
        self._unleashed = True
        self._nemesis.end([*[node.host for node in nodes], self._test.host], self._calm)
        for name in (*self.nodes, TEST):
            self.world.network.shape(name, name, LOOPBACK)

    def _may_lose(self, host: Host) -> bool:
        """Whether a node may lose what it has in memory, or its disk: as long as others have it."""
        return self._losses.may_lose(self._nodes[host.name])

    # -- clients -------------------------------------------------------------------------------------------------------

    def client(
        self, system_name: str = "casty", *, contacts: Sequence[Target] | None = None, **options: Any
    ) -> ClusterClient:
        """A client of the cluster, on the host of the test: `async with sim.client() as client`. It knows all nodes, or
        those of `contacts`. `options` are those of `ClusterClient`."""
        from casty_asyncio import ClusterClient

        points = [(self.node(each).id, PORT) for each in (self.nodes if contacts is None else contacts)]
        return ClusterClient(contact_points=points, system_name=system_name, **options)

    async def call_on[T](self, node: SimNode, work: Callable[[], Awaitable[T]]) -> T:
        """`SimNode.call`."""
        process = self._running(node)
        here = running.current
        assert here is not None, "awaited by a program of the simulation"
        answer: asyncio.Future[T] = here.create_future()

        async def run() -> None:
            try:
                result = await work()
            except BaseException as error:
                tell(answer.set_exception, error)
                if not isinstance(error, Exception):
                    raise
            else:
                tell(answer.set_result, result)

        def tell(settle: Callable[[Any], None], value: Any) -> None:
            here.call_soon(lambda: None if answer.done() else settle(value))
            here.host.look_at_alarm()

        process.loop.create_task(run())
        node.host.look_at_alarm()
        return await answer

    # -- running -------------------------------------------------------------------------------------------------------

    def run(self, test: Callable[[Sim], Awaitable[object]], limit: float) -> None:
        """Run the test to its end, for at most `limit` simulated seconds. Raises what it raises, what a program of a
        node raises that is not to be restarted, or `Violation` where the test does not end: at once where nothing is
        left that could happen."""
        self._test.app = lambda _: test(self)
        self._losses.watch()
        try:
            self._test.host.start()
            self.world.run(nanoseconds(limit))
        finally:
            self._losses.end()
        # What it fails by is the first thing that went wrong.
        error = self._verdict(limit)
        for process, context in kept(self._lives):
            process.loop.default_exception_handler(context)
        error = error or self._failure
        if error is not None:
            raise error

    def _verdict(self, limit: float) -> BaseException | None:
        if self._failure is not None or not self._test.up:
            return self._failure
        if self.world.idle_since is None:
            return Violation("the test ends", f"it has not ended after {limit:g} simulated seconds. {self._waits()}")
        # It would have been no other at the limit: the run was over then.
        self.world.now = self.world.idle_since
        return Violation("the test ends", self._why_never())

    def _waits(self) -> str:
        return cast(Process, self._test.process).loop.waiting()

    def _why_never(self) -> str:
        nodes = [
            f"{node.id}: {self._running(node).loop.waiting()}" if node.up else f"{node.id} is down."
            for node in self._nodes.values()
        ]
        why = "nothing will ever happen any more: no timer is set, no packet is on its way, and no fault is to come."
        return "\n".join([f"{why} {self._waits()}", *nodes])

    def dispose(self) -> None:
        """The run is over: drop everything. The `finally` of what was still running is run by the interpreter then, on
        no loop, and nobody hears of what comes of it."""
        hook, sys.unraisablehook = sys.unraisablehook, _ignore
        try:
            with warnings.catch_warnings():
                # A program that was started in the last moment has not begun.
                warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
                while self._lives:
                    self._lives.pop().dispose()
                self.world.heap.clear()
                for host in self.world.hosts.values():
                    host.forget_put_off()
                for node in (*self._nodes.values(), self._test):
                    node.process = node.host.program = node.role = node.app = None
                gc.collect()
        finally:
            sys.unraisablehook = hook
        for host in self.world.hosts.values():
            cast(FileDisk, host.disk).close()

    @property
    def plan(self) -> FaultPlan:
        """The faults that this seed has drawn."""
        return self._plan

    # -- what happens to programs --------------------------------------------------------------------------------------

    def _make(self, name: str) -> Process:
        node = self.node(name)
        app = node.app
        if app is None:
            raise RuntimeError(f"{name} was never started")
        node.role = None
        node.host.disk.failed = False
        kind = TestProcess if node is self._test else Process
        node.process = process = kind(
            lambda: app(node), lambda process: self._on_end(node, process), node.is_now, self._on_unhandled
        )
        self._lives.append(process)
        return process

    def _on_crash(self, host: Host) -> None:
        process = self.node(host.name).process
        self._losses.lost(host.name)
        if process is not None:
            process.power_cut()

    def _on_end(self, node: SimNode, process: Process) -> None:
        error = process.error
        self._losses.lost(node.id)
        self._trace(node, "ended" if error is None else f"ended by {describe(error)}")
        if node is self._test:
            # Something that nobody has handled may have come first.
            self._failure = self._failure or error
            self.world.halt()
        elif error is None:
            return
        elif node.host.disk.failed:
            if self.world.on_stopped is not None:
                self.world.on_stopped(node.host)
        elif isinstance(error, node.restart_on):
            self.world.after(nanoseconds(RESTART_SECONDS), lambda: self._start_again(node, process))
        elif self._failure is None:
            if isinstance(error, ENDS):
                # What is raised in a host ends that host, and must not end the process that simulates it.
                ended = RuntimeError(f"the program ended by {describe(error)}")
                error = ended.with_traceback(error.__traceback__)
            if not isinstance(error, NotSimulatedError):
                error.add_note(f"This ended the program of {node.id} at {self.clock:.3f} s of the simulation.")
            self._failure = error
            self.world.halt()

    def _on_unhandled(self, process: Process, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), SystemExit):
            return  # The program has ended by it.
        host = process.loop.host
        found = self.unhandled.add(host.name, context)
        # A disk that has failed excuses what follows, as it does for the program itself.
        if self._failure is None and not host.disk.failed and self.unhandled.fails(context):
            self._failure = error = context.get("exception") or UnhandledError(found.text)
            error.add_note(f"Nobody has handled this, on {host.name} at {self.clock:.3f} s of the simulation.")
            self.world.halt()

    def _start_again(self, node: SimNode, ended: Process) -> None:
        """As an orchestrator does it, unless somebody has started the node, or cut its power, meanwhile."""
        if node.host.program is ended:
            node.host.start()

    def _trace(self, target: Target, text: str) -> None:
        self.world.trace.note(self.world.now, self.node(target).id, "program", text)


def _ignore(_: object) -> None:
    """Nobody wants to know."""
