"""The driver of the engine: feeds it events, carries out its effects, and owns the loop, the workers and the clock.

One `Runtime` serves one actor system on one event loop. Refs, contexts and services hold it; application code sees the
`ActorSystem` in front of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, assert_never

from casty_proto.actor import (
    READY,
    ActorMachine,
    Cell,
    Effect,
    Event,
    Failure,
    Judged,
    Phase,
    Ready,
    Reason,
    Restarted,
    Spawn,
    Started,
    Stop,
    Stopped,
    SupervisionStrategy,
    Terminated,
    Undelivered,
)
from casty_proto.machine import Instant, Note, Rejected, Reply, Wake

from . import events
from .asks import Ask
from .clock import Clock
from .deadletters import DeadLetters
from .errors import (
    DuplicateNameError,
    InvalidNameError,
    MailboxFullError,
    SpawnError,
    StartError,
    SystemShutDownError,
    UsageError,
    WrongThreadError,
    described,
)
from .logs import Log
from .mail import opened
from .refs import ActorRef, LocalRef, ReplyRef
from .scheduler import Timers
from .spawning import Blueprint, blueprint
from .tasks import TaskTracker
from .workers import Pool

if TYPE_CHECKING:
    from .remote.remoting import Remoting
    from .system import ActorSystem


class Runtime:
    """One engine, one loop, and everything between them."""

    def __init__(self, system: ActorSystem, name: str, seed: int | None) -> None:
        self.system = system
        self.name = name
        self.authority = name
        """The system, and where it can be dialled, as addresses have it."""
        self.incarnations = 0
        """What the numbers of actors in addresses begin at."""
        self.remoting: Remoting | None = None
        """What connects it with other systems, if anything does."""
        self.log: Log = logging.getLogger(f"casty.{name}")
        self.loop = asyncio.get_running_loop()
        self.rng = random.Random(seed)
        self.machine = ActorMachine(random.Random(self.rng.getrandbits(64)))
        self.deliver = self.machine.deliver
        self.take = self.machine.take
        self.clock = Clock(self.loop, self.machine.deadline, self._wake)
        self.pool = Pool(self, self.loop, contextvars.copy_context(), time.perf_counter)
        self.timers = Timers(self)
        self.tracker = TaskTracker(self)
        self.dead_letters = DeadLetters(self)
        self.publish: Callable[[Any], None] = _nowhere
        """Set by the event stream once somebody has asked for it."""
        self.ending = False
        """Whether handlers that did not end in time are being cancelled."""
        self._thread = threading.get_ident()
        self._now: Instant = 0
        self._effects: deque[Effect] = deque()
        self._performing = False
        self._starting: dict[Cell, asyncio.Future[None]] = {}
        self.guardian_gone = {self.machine.user: asyncio.Event(), self.machine.system: asyncio.Event()}
        """Set when everything below that guardian has stopped."""
        self.ended = asyncio.Event()
        """Set when the shutdown is complete."""
        self.started = self.stopped = self.restarted = 0
        """How many actors of the application have, so far."""

    async def close(self) -> None:
        """Let go of everything that the loop holds for this system. The actors have stopped before."""
        self.timers.clear()
        await self.tracker.close()
        self.clock.close()
        await self.pool.close()
        self.ended.set()

    # -- the engine ------------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Give one event to the engine and carry out its effects, in order."""
        self._perform(self._handle(event))

    def make_ready(self, cell: Cell) -> None:
        """A cell has become ready in the direct lane."""
        pool = self.pool
        pool.ready.append(cell)
        if pool.active is None:
            if threading.get_ident() != self._thread:
                pool.ready.pop()
                self._take_back(cell)
                raise WrongThreadError(
                    f"a message to {cell.path} was sent from another thread; use system.threadsafe there"
                )
            pool.activate()

    def _take_back(self, cell: Cell) -> None:
        """Undo the delivery that has just made an idle actor ready, in a thread that cannot wake it."""
        queue = cell.queue
        assert queue is not None
        queue.popleft()
        if queue:
            # Meanwhile the loop's own thread has relied upon the actor being ready.
            self.call_in_loop(self.pool.make_ready, cell)
        else:
            cell.queue = cell.put = None
            cell.held = False

    def check_thread(self) -> None:
        """Raises `WrongThreadError` elsewhere than in the thread of the loop, and `UsageError` once that has ended."""
        if threading.get_ident() != self._thread:
            raise WrongThreadError(
                f"actor system {self.name!r} was used in another thread than that of its event loop; use "
                "system.threadsafe there"
            )
        if self.loop.is_closed():
            raise UsageError(
                f"the event loop of actor system {self.name!r} has ended; create a system in the loop that uses it"
            )

    def in_thread(self) -> bool:
        """Whether this is the thread of the loop."""
        return threading.get_ident() == self._thread

    def call_in_loop(self, function: Callable[..., None], *args: Any) -> None:
        """Call something in the loop's thread, from any thread. A no-op once the loop is closed."""
        # Asking whether it is closed first would be a race with the thread that closes it.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(function, *args)

    def _handle(self, event: Event) -> tuple[Effect, ...]:
        self.check_thread()
        self._now = now = max(self._now, self.clock.now())
        return self.machine.handle(event, now)

    def _wake(self, now: Instant) -> None:
        self.feed(Wake())

    def _perform(self, effects: tuple[Effect, ...]) -> None:
        """Carry out effects. What they lead to is carried out after them, so that their order holds."""
        queue = self._effects
        queue.extend(effects)
        if self._performing:
            return
        self._performing = True
        try:
            while queue:
                self._carry_out(queue.popleft())
        finally:
            self._performing = False
        self.clock.machine_changed()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Ready(cell):
                self.pool.make_ready(cell)
            case Undelivered():
                self.undelivered(effect)
            case Terminated(watcher, subject):
                if self.machine.notify(watcher, events.Terminated(subject.body.ref)) is READY:
                    self.pool.make_ready(watcher)
            case Started(cell):
                self._settle_start(cell, None)
                if cell.parent is not self.machine.system:
                    self.started += 1
                    self.publish(events.ActorStarted(cell.body.ref))
            case Restarted(cell, error):
                self._settle_start(cell, None)
                if cell.parent is not self.machine.system:
                    self.restarted += 1
                    self.publish(events.ActorRestarted(cell.body.ref, error))
            case Stopped(cell, error):
                self._on_stopped(cell, error)
            case Failure():
                self._on_failure(effect)
            case Note(severity, text):
                self.log.log(severity, text)
            case Reply():
                raise AssertionError("a reply is taken by whoever made the request")
            case _:
                assert_never(effect)

    def _on_stopped(self, cell: Cell, error: Exception | None) -> None:
        if cell.body is None:
            self.guardian_gone[cell].set()
            return
        cell.body.ended(error)
        if cell.parent is None:
            return  # It stood for an actor elsewhere.
        self._settle_start(cell, error)
        if cell.parent is not self.machine.system:
            self.stopped += 1
            self.publish(events.ActorStopped(cell.body.ref))

    def _on_failure(self, failure: Failure) -> None:
        if failure.strategy is SupervisionStrategy.ESCALATE:
            # Its fate is now its parent's, which may be waiting for its start.
            self._fail_start(failure.cell, failure.error)
        level = logging.WARNING if failure.strategy is SupervisionStrategy.RESTART else logging.ERROR
        self.log.log(level, "%s", failure.text, exc_info=failure.error, extra={"actor": failure.cell.path})

    # -- spawning --------------------------------------------------------------------------------------------------

    def spawn(
        self, parent: Cell, actor: Any, name: str | None, mailbox: Any, supervision: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Spawn in either style: a ref for a behavior, a coroutine that ends in a ref for a class."""
        plan = blueprint(actor, mailbox, supervision, kwargs, where=parent)
        if plan.awaited:
            starting: Any = self._spawn_awaited(parent, plan, name)
            # What Python says when the `await` was forgotten.
            starting.__qualname__ = f"spawn({actor.__name__})"
            return starting
        return self.spawn_now(parent, plan, name)

    def spawn_now(self, parent: Cell, plan: Blueprint, name: str | None) -> LocalRef[Any]:
        """Create the actor; its start is still to come. Raises a `SpawnError` without having changed anything."""
        # The first instance of a class is made here, and it should not be made for nothing.
        if plan.awaited and (problem := self.machine.spawn_problem(parent, name)) is not None:
            raise self._spawn_error(parent, name, problem)
        body = plan.body(self)
        if parent.body is not None and parent.body.spies:
            body.spies = (*body.spies, *(spy for spy in parent.body.spies if spy.children))
        reply, *rest = self._handle(
            Spawn(None, parent, name, plan.policy, body=body, mailbox=plan.mailbox, judges=plan.judges)
        )
        assert isinstance(reply, Reply)
        if isinstance(reply.result, Rejected):
            raise self._spawn_error(parent, name, reply.result.reason)
        body.attach(reply.result)
        for key in plan.keys:
            self.system.receptionist.announce(key, body)
        for effect in rest:
            # A spawn leads to nothing but `Ready`, which need not wait for the effects of other events.
            self._carry_out(effect)
        return body.ref

    async def _spawn_awaited(self, parent: Cell, plan: Blueprint, name: str | None) -> LocalRef[Any]:
        ref = self.spawn_now(parent, plan, name)
        cell = ref._cell
        self._starting[cell] = started = self.loop.create_future()
        try:
            await started
        except asyncio.CancelledError:
            # Nobody has its ref. A name that is taken by nobody knows what would be worse than a start in vain.
            self.feed(Stop(cell))
            raise
        finally:
            self._starting.pop(cell, None)
        return ref

    def start_failed(self, cell: Cell) -> None:
        """A start failed. Whoever awaits it must not wait for a verdict that perhaps only he himself can give."""
        if cell in self._starting and cell.phase == Phase.SUSPENDED:
            assert cell.error is not None
            self.feed(Judged(cell, cell.error, None, None))

    def _settle_start(self, cell: Cell, error: Exception | None) -> None:
        waiter = self._starting.pop(cell, None) if self._starting else None
        if waiter is None or waiter.done():
            return
        if cell.phase < Phase.STOPPING:
            waiter.set_result(None)
            return
        self._starting[cell] = waiter
        self._fail_start(cell, error)

    def _fail_start(self, cell: Cell, error: Exception | None) -> None:
        waiter = self._starting.pop(cell, None)
        if waiter is None or waiter.done():
            return
        failure = StartError(
            f"{cell.path} was stopped before it had started"
            if error is None
            else f"{cell.path} did not start: {described(error)}"
        )
        failure.__cause__ = error
        waiter.set_exception(failure)

    def _spawn_error(self, parent: Cell, name: str | None, reason: str) -> Exception:
        if parent.parent is None and parent.phase >= Phase.STOPPING:
            return SystemShutDownError(f"actor system {self.name!r}: {reason}")
        if parent.phase not in (Phase.STARTING, Phase.RUNNING, Phase.SUSPENDED, Phase.RESTARTING):
            return SpawnError(reason)
        taken = name is not None and name in (parent.children or {})
        return DuplicateNameError(reason) if taken else InvalidNameError(reason)

    # -- what could not be done ------------------------------------------------------------------------------------

    def put_back(self, cell: Cell, items: Sequence[Any]) -> None:
        """Messages that an actor has taken and could not handle come first when it goes on. If it stops, they are
        dead letters."""
        if cell.phase >= Phase.STOPPING:
            for item in items:
                self.undelivered(Undelivered(cell, item, Reason.STOPPED))
        elif self.machine.put_back(cell, items) is READY:
            self.make_ready(cell)

    def undelivered(self, outcome: Undelivered) -> None:
        """A message will not be handled: end its ask, make it a dead letter; or refuse it, where senders are told."""
        message, sender, ask = opened(outcome.item)
        ref = outcome.cell.body.ref
        if outcome.reason is Reason.REJECTED:
            raise MailboxFullError(
                f"the mailbox of {ref.path} holds {outcome.cell.limit} messages and rejects {type(message).__name__}"
            )
        if ask is not None and not ask.fail_undelivered(outcome.reason):
            return
        self.dead_letters.add(events.DeadLetter(message, ref, outcome.reason, sender))

    def dead_letter(
        self, ref: ActorRef[Any], message: Any, reason: Reason, sender: ActorRef[Any] | None = None
    ) -> None:
        """A message that never came to a mailbox."""
        self.dead_letters.add(events.DeadLetter(message, ref, reason, sender))

    def unhandled(self, ref: ActorRef[Any], message: Any) -> None:
        """A handler did not understand a message."""
        self.log.debug("%s does not handle %s", ref.path, type(message).__name__)
        if not isinstance(message, events.SystemEvent):
            # A subscriber that does not understand an event must not be told of just that.
            self.publish(events.UnhandledMessage(message, ref))

    def hook_failed(self, ref: ActorRef[Any], hook: str, error: BaseException) -> None:
        """A hook raised where that changes nothing about what happens next."""
        self.log.error("%s: its hook %s failed", ref.path, hook, exc_info=error, extra={"actor": ref.path})

    def reply_ref(self, ask: Ask) -> ReplyRef[Any]:
        """The handle of an ask."""
        return ReplyRef(ask)


def _nowhere(event: Any) -> None:
    """Nobody has asked for events yet."""
