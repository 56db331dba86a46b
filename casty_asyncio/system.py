"""The actor system: what an application starts, spawns its actors in, and shuts down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from attrs import evolve

from casty_proto.actor import Behavior, Cell, Mailbox, Phase, Reason, Stop
from casty_proto.address import (
    ActorAddress,
    AddressError,
    NodeAddress,
    is_reserved,
    split_path,
    system_name_problem,
)

from .arguments import check_seconds
from .asks import ask_actor
from .context import _cell, watchable
from .errors import InvalidNameError, SystemShutDownError, UnreachableError, UsageError
from .event_stream import EventStream
from .events import EventStreamMsg
from .generic import Answer, Asked, Plain
from .health import Health
from .lookup import Lookup, MissingRef
from .metrics import Metric, counter
from .receptionist import Listing, ReceptionistMsg, Registry, ServiceKey, receptionist
from .refs import ActorRef, LocalRef
from .remote.asking import ask_remote
from .remote.refs import RemoteRef
from .remote.remoting import Remoting
from .runtime import Runtime
from .scheduler import SchedulerMsg, scheduler
from .shutdown import shut_down
from .spawning import blueprint
from .supervision import SupervisorConfig
from .tasks import TaskRunnerMsg, task_runner
from .threads import ThreadBridge
from .transport import Remote

if TYPE_CHECKING:
    from .actor import Actor
    from .cluster.system import DistributedSystem

TASK_RUNNER = "_task_runner"
EVENT_STREAM = "_event_stream"
SCHEDULER = "_scheduler"
RECEPTIONIST = "_receptionist"

_NEVER_GIVE_UP = SupervisorConfig(max_restarts=None, backoff_initial=0.0)
"""The system's own actors serve everybody: none of them may end because of what somebody told it."""


class _Node:
    """The class of the nodes of clusters, which is one of actor systems itself, and is imported when it is used."""

    def __get__(self, instance: object, owner: type) -> type[DistributedSystem]:
        from .cluster.system import DistributedSystem

        return DistributedSystem


class ActorSystem:
    """A tree of actors on one event loop.

    Used as `async with ActorSystem() as system:`, or by hand with `await system.shutdown()` at the end. It belongs to
    the event loop in which it is first used, and to the thread of that loop; for other threads see `threadsafe`.
    """

    def __init__(
        self,
        name: str = "casty",
        *,
        shutdown_timeout: float = 10.0,
        seed: int | None = None,
        remote: Remote | None = None,
    ) -> None:
        """`shutdown_timeout` is how long running handlers may take to end at the shutdown, in seconds.

        `seed` makes the jitter of back-offs repeatable. With `remote` it talks to other systems of the same name, from
        `start` on, which `async with` calls. Raises `InvalidNameError` and `UsageError`.
        """
        if not isinstance(name, str):
            raise InvalidNameError(f"the name of an actor system must be a string, not {name!r}")
        if (problem := system_name_problem(name)) is not None:
            raise InvalidNameError(problem)
        check_seconds(f"shutdown_timeout of actor system {name!r}", shutdown_timeout)
        if remote is not None and not isinstance(remote, Remote):
            raise UsageError(f"remote of actor system {name!r} must be a Remote, not {remote!r}")
        self.name = name
        self.shutdown_timeout = shutdown_timeout
        self.receptionist = Registry()
        """The lists of discoverable actors of this system."""
        self.stopping = False
        """Whether the shutdown has begun."""
        self._seed = seed
        self._remote = remote
        self._running: Runtime | None = None
        self._starting = asyncio.Lock()
        self._events = EventStream()
        self._services: dict[str, Callable[[Runtime], Behavior[Any]]] = {
            TASK_RUNNER: task_runner,
            EVENT_STREAM: lambda _: self._events.behavior(),
            SCHEDULER: lambda runtime: scheduler(runtime.timers),
            RECEPTIONIST: lambda _: receptionist(self.receptionist),
        }
        self._for_others: dict[str, None] = {}
        """Actors of the system itself that others may look up."""
        self._ending: asyncio.Task[tuple[str, ...]] | None = None

    distributed = _Node()
    """`ActorSystem.distributed(host, port, ...)` is `DistributedSystem(host, port, ...)`: a node of a cluster."""

    # -- beginning and end -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def start(self) -> None:
        """Begin to listen, and to talk to others, where `remote` says so. A no-op when that was done.

        Raises `UsageError`, with the reason, where it cannot listen; the system can be used within the process then,
        and be started again.
        """
        async with self._starting:
            runtime = self._runtime()
            if self._remote is None or runtime.remoting is not None:
                return
            remoting = Remoting(runtime, self._remote, self._find_for_others)
            runtime.remoting = remoting
            try:
                await self._connect(remoting)
            except BaseException:
                runtime.remoting = None
                raise

    async def _connect(self, remoting: Remoting) -> None:
        await remoting.start()

    @property
    def address(self) -> NodeAddress | None:
        """The host and port at which others dial this system; `None` where nobody can."""
        remoting = None if self._running is None else self._running.remoting
        return None if remoting is None else remoting.address

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.shutdown()

    async def shutdown(self) -> tuple[str, ...]:
        """Stop all actors, bottom-up, then the system's own, the task runner last. May be called more than once.

        Handlers that still run may end; after `shutdown_timeout` seconds they are cancelled. Returns the paths of the
        actors whose handlers had to be cancelled, each of which is logged as well. When this returns, no task, timer or
        socket of the system is left. Raises `UsageError` in a handler, which it would wait for: use `request_shutdown`.
        """
        cell = self._running.pool.in_hand() if self._running is not None else None
        if cell is not None:
            raise UsageError(
                f"{cell.path} awaits the shutdown that waits for its own handler; call "
                "ctx.system.request_shutdown() there"
            )
        ending = self.request_shutdown()
        return () if ending is None else await asyncio.shield(ending)

    def request_shutdown(self) -> asyncio.Task[tuple[str, ...]] | None:
        """Begin the shutdown and go on; for handlers. `None` when the system was never used."""
        if self._running is not None:
            self._running.check_thread()
        self.stopping = True
        if self._ending is None and self._running is not None:
            runtime = self._running
            # The task holds a context of its own, so that a handler's variables do not outlive it here.
            self._ending = runtime.loop.create_task(
                self._end(runtime), name="casty-shutdown", context=runtime.pool.base.copy()
            )
        return self._ending

    async def _end(self, runtime: Runtime) -> tuple[str, ...]:
        return await shut_down(runtime)

    async def wait_shutdown(self) -> None:
        """Wait until somebody has shut the system down. Raises `UsageError` in a handler, which that would wait for."""
        if self._running is not None and (waiting := self._running.pool.in_hand()) is not None:
            raise UsageError(f"{waiting.path} waits for the shutdown that waits for its own handler")
        if not self.stopping or self._running is not None:
            await self._runtime("never").ended.wait()

    # -- actors ----------------------------------------------------------------------------------------------------

    @overload
    def spawn[M](
        self,
        actor: Behavior[M],
        name: str | None = None,
        *,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
    ) -> ActorRef[M]: ...

    @overload
    def spawn[M](
        self,
        actor: type[Actor[M]],
        name: str | None = None,
        *,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, ActorRef[M]]: ...

    def spawn(
        self,
        actor: Behavior[Any] | type[Actor[Any]],
        name: str | None = None,
        *,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
        **kwargs: Any,
    ) -> ActorRef[Any] | Coroutine[Any, Any, ActorRef[Any]]:
        """Spawn a top-level actor.

        A behavior gives its ref at once; messages wait until it has started. A class gives a coroutine: awaiting it
        creates the instance, with `kwargs` for its `__init__`, and waits until `on_start` has run. Without `name` one
        is made up. `mailbox` and `supervision` win over what the behavior or the class says.

        Raises `DuplicateNameError`, `InvalidNameError`, `NotAnActorError`, `UsageError` or `SystemShutDownError`
        without having changed anything; for a class also whatever `__init__` raises, and `StartError` when it stopped
        because `on_start` failed.
        """
        if name is not None and not isinstance(name, str):
            raise InvalidNameError(f"the name of an actor must be a string, not {name!r}")
        if name is not None and is_reserved(name):
            raise InvalidNameError(f"top-level names that begin with '_' belong to the system; rename {name!r}")
        runtime = self._runtime()
        self._service(TASK_RUNNER)
        return runtime.spawn(runtime.machine.user, actor, name, mailbox, supervision, kwargs)  # type: ignore[no-any-return]

    async def ask(
        self, ref: ActorRef[Asked], build: Callable[[ActorRef[Answer]], Asked], timeout: float = 5.0
    ) -> Answer:
        """Send the message `build(reply_to)` and wait, at most `timeout` seconds, for what is told to `reply_to`.

        Raises what `ActorRef.ask` raises.
        """
        runtime = self._runtime("ended")
        if not callable(build):
            raise UsageError(
                f"system.ask of {ref!r} wants a function that makes the message, such as lambda r: Get(reply_to=r), "
                f"not {build!r}; a message as it is goes to ref.ask(message)"
            )
        answer: Answer
        if isinstance(ref, RemoteRef):
            answer = await ask_remote(runtime, ref, None, build, timeout)
        else:
            answer = await ask_actor(runtime, _cell(ref, runtime), None, build, timeout)
        return answer

    @overload
    def lookup[M](self, key: ServiceKey[M]) -> Listing[M]: ...

    @overload
    def lookup(self, key: str) -> Lookup: ...

    def lookup(self, key: ServiceKey[Any] | str) -> Listing[Any] | Lookup:
        """Find actors: by a service key all that offer it, by a path (`"cart"`, `"/shop/cart"`) the one that is there.

        Both answers can be used at once, or awaited. An address, `"casty://system@host:port/path"`, is that of an actor
        of another process: await the answer. Raises `InvalidNameError` for what cannot be a path or an address.
        """
        runtime = self._runtime("ended")
        if isinstance(key, ServiceKey):
            return self.receptionist.listing(key)
        address = self._parse(key)
        remoting = runtime.remoting
        is_here = address.node is None or (remoting is not None and address.node == remoting.address)
        if address.system != self.name or not is_here:
            missing = MissingRef(runtime, address, Reason.NOT_AWAITED)
            return Lookup(None, missing, partial(self._look_up_elsewhere, runtime, address))
        cell = self._find(runtime, evolve(address, node=None))
        return Lookup(None if cell is None else cell.body.ref, MissingRef(runtime, address))

    async def _look_up_elsewhere(self, runtime: Runtime, address: ActorAddress) -> ActorRef[Any] | None:
        if address.system != self.name:
            raise UnreachableError(
                f"{address} is of the system {address.system!r}, and this one is {self.name!r}; only systems of the "
                "same name talk to each other"
            )
        if runtime.remoting is None:
            raise UnreachableError(
                f"{address} is in another process, and actor system {self.name!r} does not talk to others; create it "
                "with remote=Remote(...) and start it, for example by `async with`"
            )
        return await runtime.remoting.lookup(address)

    def stop(self, ref: ActorRef[Any]) -> None:
        """Stop an actor and all below it, after the message that it is handling. A no-op when it has stopped."""
        runtime = self._runtime("never")
        runtime.feed(Stop(_cell(ref, runtime)))

    async def wait_stopped(self, ref: ActorRef[Any]) -> None:
        """Wait until an actor has stopped and its name is free.

        Raises `UsageError` in a handler of the actor itself or of one below it, which would wait for its own end.
        """
        runtime = self._runtime("never")
        cell = watchable(ref, runtime)
        if cell.phase == Phase.STOPPED:
            return
        above = waiting = runtime.pool.in_hand()
        while above is not None and waiting is not None:
            if above is cell:
                raise UsageError(
                    f"{waiting.path} waits for the end of {cell.path}, which waits for this handler; watch it instead"
                )
            above = above.parent
        gone = asyncio.Event()
        cell.body.call_at_end(gone.set)
        try:
            await gone.wait()
        finally:
            cell.body.forget_at_end(gone.set)

    # -- services --------------------------------------------------------------------------------------------------

    @property
    def event_stream(self) -> ActorRef[EventStreamMsg]:
        """The bus of system events: tell it `EventStreamSubscribe(event_type, handler)`."""
        return self._service(EVENT_STREAM)

    @property
    def receptionist_ref(self) -> ActorRef[ReceptionistMsg]:
        """The actor that keeps the lists: tell it `Register`, `Deregister`, `Find` or `SubscribeListing`."""
        return self._service(RECEPTIONIST)

    @property
    def task_runner(self) -> ActorRef[TaskRunnerMsg]:
        """The actor that runs coroutines beside the actors: tell it `RunTask(coro)`."""
        return self._service(TASK_RUNNER)

    @property
    def scheduler(self) -> ActorRef[SchedulerMsg]:
        """The actor that sends timed messages: tell it `ScheduleOnce`, `ScheduleTick` or `CancelSchedule`."""
        return self._service(SCHEDULER)

    def schedule[M](self, key: str, target: ActorRef[M], message: M | Plain, delay: float) -> None:
        """Send `message` to `target` once, after `delay` seconds. The same key replaces what was scheduled under it."""
        self._service(SCHEDULER)
        self._runtime().timers.schedule(key, target, message, delay)

    def tick[M](self, key: str, target: ActorRef[M], message: M | Plain, interval: float) -> None:
        """Send `message` to `target` every `interval` seconds, until cancelled, or until `target` has stopped."""
        self._service(SCHEDULER)
        self._runtime().timers.tick(key, target, message, interval)

    def cancel_schedule(self, key: str) -> bool:
        """Cancel what was scheduled under `key`. Nothing is sent after this. False when there was nothing."""
        return self._runtime("never").timers.cancel(key)

    @property
    def threadsafe(self) -> ThreadBridge:
        """Tell and ask for other threads, which may get it here themselves once the system is in use."""
        return ThreadBridge(self._runtime(any_thread=True))

    @property
    def dead_letters(self) -> int:
        """How many messages could not be delivered so far. Each was an event on the event stream."""
        return 0 if self._running is None else self._running.dead_letters.count

    def health(self) -> Health:
        """How the system is: live until it was shut down, and ready from its start until its shutdown begins."""
        running = self._running
        if self.stopping:
            over = running is None or running.ended.is_set()
            return Health(not over, False, ("it was shut down" if over else "it is shutting down",))
        if running is None or (self._remote is not None and running.remoting is None):
            return Health(True, False, ("it was not started yet",))
        return Health(True, True)

    def status(self) -> dict[str, Any]:
        """What there is to know about the system, made of what JSON knows."""
        health = self.health()
        return {
            "system": self.name,
            "address": None if self.address is None else str(self.address),
            "live": health.live,
            "ready": health.ready,
            "dead_letters": self.dead_letters,
            "services": [{"key": key.name, "count": len(self.lookup(key))} for key in self.receptionist.all_keys()],
        }

    def metrics(self) -> tuple[Metric, ...]:
        """The figures of the system. Cheap; to be called as often as somebody collects them."""
        running = self._running
        counts = (0, 0, 0) if running is None else (running.started, running.stopped, running.restarted)
        return (
            counter("casty_actors_started_total", "Actors that have started.", counts[0]),
            counter("casty_actors_stopped_total", "Actors that have stopped.", counts[1]),
            counter("casty_actors_restarted_total", "Restarts of actors that had failed.", counts[2]),
            counter("casty_dead_letters_total", "Messages that could not be delivered.", self.dead_letters),
        )

    # -- inside ----------------------------------------------------------------------------------------------------

    def _runtime(
        self, until: Literal["stopping", "ended", "never"] = "stopping", *, any_thread: bool = False
    ) -> Runtime:
        """The driver, bound to the running loop at the first use; or `SystemShutDownError` from `until` on.

        Nothing new may begin once the system is stopping. What runs still may look others up and ask them until the
        end, and stop and cancel things even after it.
        """
        running = self._running
        if self.stopping and (running is None or until == "stopping" or (until == "ended" and running.ended.is_set())):
            raise SystemShutDownError(
                f"actor system {self.name!r} is shutting down, or was shut down; create a new one"
            )
        if self._running is not None:
            if not any_thread:
                self._running.check_thread()
        else:
            try:
                self._running = Runtime(self, self.name, self._seed)
            except RuntimeError as error:
                raise UsageError(
                    f"actor system {self.name!r} is used outside of an event loop; use it in a coroutine, for example "
                    "in one that casty_asyncio.run(main()) runs"
                ) from error
        return self._running

    def _service(self, name: str) -> LocalRef[Any]:
        """An actor of the system itself, spawned when it is first wanted."""
        runtime = self._runtime("never")
        guardian = runtime.machine.system
        cell = runtime.machine.child(guardian, name)
        if cell is not None:
            return cell.body.ref  # type: ignore[no-any-return]
        behavior = self._services[name](runtime)
        ref = runtime.spawn_now(guardian, blueprint(behavior, None, _NEVER_GIVE_UP, {}, guardian), name)
        if name == EVENT_STREAM:
            self._events.ref = ref
            runtime.publish = self._events.publish
        return ref

    def _parse(self, text: str) -> ActorAddress:
        if not isinstance(text, str):
            raise UsageError(f"lookup wants a path or a ServiceKey, not {text!r}")
        try:
            return ActorAddress.parse(text if "://" in text else f"casty://{self.name}/{text.removeprefix('/')}")
        except AddressError as error:
            raise InvalidNameError(f"lookup({text!r}): {error}") from None

    def _find_for_others(self, path: str, incarnation: int | None) -> LocalRef[Any] | None:
        """The actor of the application at a path. What comes from outside does not reach the system's own."""
        runtime = self._runtime("never")
        try:
            address = ActorAddress(self.name, None, path, incarnation)
        except AddressError:
            return None
        first = split_path(path)[0]
        is_open = first in self._for_others or not is_reserved(first)
        cell = self._find(runtime, address) if is_open else None
        return None if cell is None else cell.body.ref

    def _find(self, runtime: Runtime, address: ActorAddress) -> Cell | None:
        machine = runtime.machine
        if address.system != self.name or address.node is not None:
            return None
        first, *rest = split_path(address.path)
        if first in self._services and not self.stopping:
            self._service(first)
        cell = machine.child(machine.system if is_reserved(first) else machine.user, first)
        for name in rest:
            cell = None if cell is None else machine.child(cell, name)
        if cell is not None and address.incarnation not in (None, runtime.incarnations + cell.uid):
            return None
        return cell
