"""A bench for the actor engine: the engine, and a driver that does only what a test tells it to.

Every call goes through the bench, which checks the contract as it goes: `invariants()` after each call, `Ready` only
for a cell that nobody holds, one thing in hand per actor, and the promise of `deadline()` after a `Wake`. Effects are
carried out (`Ready` fills `held`, `Terminated` becomes a notice) and kept for the test to compare.

The words of a script:

    a = bench.start("a")              an actor whose start has run
    bench.tell(a, 1, 2)               two messages
    bench.take(a)                     the driver takes one thing, which is then in hand
    bench.ok(a)                       the thing in hand ran to its end
    bench.fail(a, error)              the thing in hand raised
    bench.run(a)                      everything that there is for `a`, until it is idle
    bench.settle()                    the same for everybody
    bench.ran                         what was run, in order: ("a", Task.START), ("a", 1)
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import evolve

from casty_proto.actor import (
    IDLE,
    READY,
    ActorMachine,
    Cell,
    Done,
    Effect,
    Event,
    Failed,
    Failure,
    Job,
    Judged,
    Mailbox,
    Phase,
    Policy,
    Ready,
    Renew,
    Spawn,
    Stop,
    Stopped,
    SupervisionStrategy,
    Task,
    Terminated,
    Undelivered,
    Unwatch,
    Watch,
)
from casty_proto.actor.mailbox import Reason
from casty_proto.machine import SECOND, Instant, Nanoseconds, Rejected, Reply, Wake

RESTART = Policy(backoff_initial_ns=0)
"""Restarts at once, three times a minute."""
STOP = evolve(RESTART, strategy=SupervisionStrategy.STOP)
ESCALATE = evolve(RESTART, strategy=SupervisionStrategy.ESCALATE)
LATER = evolve(RESTART, backoff_initial_ns=SECOND, jitter=0.0)
"""Restarts after one second, then two, then four."""

HOOKS = (Task.START, Task.PRE_RESTART, Task.RESTART, Task.POST_STOP)
"""The jobs that are answered with `Done`."""


class Notice:
    """What the bench hands to a watcher."""

    def __init__(self, subject: Cell) -> None:
        self.subject = subject

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notice) and other.subject is self.subject

    def __hash__(self) -> int:
        return self.subject.uid

    def __repr__(self) -> str:
        return f"Notice({self.subject.name})"


class Reported:
    """Equal to a `Failure` about the same, whatever its text."""

    def __init__(self, cell: Cell, error: Exception, strategy: SupervisionStrategy, delay_ns: Nanoseconds = 0) -> None:
        self.parts = (cell, error, strategy, delay_ns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failure) and self.parts == (other.cell, other.error, other.strategy, other.delay_ns)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Reported({!r}, {!r}, {}, {})".format(*self.parts)


class Bench:
    """One engine and its scripted driver. `check=False` leaves out what costs time in large trees."""

    def __init__(self, seed: int = 1, check: bool = True) -> None:
        self.engine = ActorMachine(Random(seed))
        self.check = check
        self.now: Instant = 1_000 * SECOND
        self.held: dict[Cell, None] = {}
        """The run queue, and what is in hand."""
        self.hand: dict[Cell, Any] = {}
        """What is being run."""
        self.ran: list[tuple[str, Any]] = []
        self.last_hooks: list[Cell] = []
        """Whose `POST_STOP` was taken."""
        self.effects: list[Effect] = []
        """All effects, of `handle` and of the direct lane."""
        self.on_start: Callable[[Cell], None] | None = None
        """What the starts and restarts of all actors do."""

    # -- events ----------------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> list[Effect]:
        """Hand an event to the engine, carry out the effects and return them."""
        effects = self.engine.handle(event, self.now)
        self._verify()
        for effect in effects:
            self._carry_out(effect)
        return list(effects)

    def spawn(
        self,
        name: str | None,
        parent: Cell | None = None,
        policy: Policy = RESTART,
        mailbox: Mailbox | None = None,
        judges: bool = False,
    ) -> Cell:
        """Spawn an actor; its start is in the run queue."""
        mailbox = Mailbox() if mailbox is None else mailbox
        parent = self.engine.user if parent is None else parent
        reply, ready = self.feed(Spawn("request", parent, name, policy, mailbox=mailbox, judges=judges))
        assert isinstance(reply, Reply)
        assert reply.request == "request"
        assert isinstance(reply.result, Cell)
        assert ready == Ready(reply.result)
        return reply.result

    def refused(self, name: str | None, parent: Cell) -> str:
        """Spawn an actor that must be refused; returns the reason."""
        before = dict(parent.children or {})
        (reply,) = self.feed(Spawn("request", parent, name, RESTART))
        assert isinstance(reply, Reply)
        assert isinstance(reply.result, Rejected)
        assert dict(parent.children or {}) == before
        assert self.engine.spawn_problem(parent, name) == reply.result.reason
        return reply.result.reason

    def start(self, name: str | None, parent: Cell | None = None, **options: Any) -> Cell:
        """Spawn an actor and run its start."""
        cell = self.spawn(name, parent, **options)
        self.run(cell)
        return cell

    def stop(self, cell: Cell) -> list[Effect]:
        return self.feed(Stop(cell))

    def watch(self, watcher: Cell, subject: Cell) -> list[Effect]:
        return self.feed(Watch(watcher, subject))

    def unwatch(self, watcher: Cell, subject: Cell) -> list[Effect]:
        return self.feed(Unwatch(watcher, subject))

    def wake(self, after_ns: Nanoseconds = 0) -> list[Effect]:
        """Let time pass, then `Wake`."""
        self.now += after_ns
        effects = self.feed(Wake())
        deadline = self.engine.deadline()
        assert deadline is None or deadline > self.now
        return effects

    # -- messages --------------------------------------------------------------------------------------------------

    def tell(self, cell: Cell, *messages: Any) -> list[Undelivered]:
        """Deliver messages; returns those that could not be delivered, and those that had to go for them."""
        refused: list[Undelivered] = []
        for message in messages:
            answer = self.engine.deliver(cell, message)
            self._verify()
            if isinstance(answer, Undelivered):
                refused.append(answer)
                self.effects.append(answer)
            elif answer is READY:
                self._carry_out(Ready(cell))
        return refused

    def notify(self, cell: Cell, notice: Any) -> None:
        answer = self.engine.notify(cell, notice)
        if answer is READY:
            self._carry_out(Ready(cell))

    def stash(self, cell: Cell) -> bool:
        """Set the message in hand aside, and end its handler."""
        stashed = self.engine.stash(cell, self.hand[cell])
        self._verify()
        del self.hand[cell]
        return stashed

    def unstash(self, cell: Cell) -> int:
        """Unstash from the handler in hand."""
        assert cell in self.hand
        count = self.engine.unstash(cell)
        self._verify()
        return count

    # -- what the driver does --------------------------------------------------------------------------------------

    def take(self, cell: Cell) -> Any:
        """Take the next thing for `cell` into hand. Of a job, its task is returned; of a notice, the notice."""
        assert cell in self.held, f"{cell} is not the driver's"
        assert cell not in self.hand, f"{cell} has something in hand"
        item = self.engine.take(cell)
        if item is IDLE:
            del self.held[cell]
        else:
            self.hand[cell] = item
            self.ran.append((cell.name, _shown(item)))
            if self.ran[-1][1] is Task.POST_STOP:
                self.last_hooks.append(cell)
        self._verify()
        return item if item is IDLE else _shown(item)

    def job(self, cell: Cell) -> Job:
        """The job in hand."""
        job = self.hand[cell]
        assert isinstance(job, Job)
        return job

    def ok(self, cell: Cell) -> list[Effect]:
        """What is in hand has run to its end."""
        item = self.hand[cell]
        if isinstance(item, Job) and item.task in HOOKS:
            if self.on_start is not None and item.task in (Task.START, Task.RESTART):
                self.on_start(cell)
            del self.hand[cell]
            return self.feed(Done(cell, item.task))
        assert not isinstance(item, Job) or item.task is Task.NOTICE, f"{item} needs a verdict"
        del self.hand[cell]
        return []

    def fail(self, cell: Cell, error: Exception) -> list[Effect]:
        """What is in hand has raised."""
        item = self.hand.pop(cell)
        if isinstance(item, Job):
            assert item.task in (Task.START, Task.RESTART, Task.NOTICE), "no other job fails"
            item = item.item
        return self.feed(Failed(cell, error, item))

    def renew(self, cell: Cell, error: Exception) -> list[Effect]:
        """The message in hand was answered with a request for a restart."""
        return self.feed(Renew(cell, error, self.hand.pop(cell)))

    def judge(self, cell: Cell, strategy: SupervisionStrategy | None) -> list[Effect]:
        """The parent in whose hand the question is gives its verdict."""
        job = self.job(cell)
        del self.hand[cell]
        return self.feed(verdict(job, strategy))

    def run(self, cell: Cell) -> None:
        """Run everything there is for `cell`, what is in hand included, until it is idle. Questions get no verdict."""
        if cell in self.hand:
            self._end(cell)
        while cell in self.held and self.take(cell) is not IDLE:
            self._end(cell)

    def settle(self) -> None:
        """Run everything there is, in the order of the run queue."""
        while self.held:
            self.run(next(iter(self.held)))

    def begin(self, cell: Cell, message: Any) -> None:
        """Deliver a message and take it into hand, after whatever comes before it."""
        self.tell(cell, message)
        while self.take(cell) != message:
            self._end(cell)

    def break_on(self, cell: Cell, message: Any, error: Exception) -> list[Effect]:
        """Deliver a message and let the actor fail on it."""
        self.begin(cell, message)
        return self.fail(cell, error)

    def end(self) -> None:
        """Stop everything below the user guardian, and see that all of it ends as it should."""
        self.settle()
        self.stop(self.engine.user)
        self.settle()
        assert self.engine.user.phase == Phase.STOPPED
        assert self.engine.deadline() is None
        self.engine.invariants()
        assert len(set(self.stopped)) == len(self.stopped)
        for cell in self.stopped:
            assert cell.phase == Phase.STOPPED
            assert self.last_hooks.count(cell) == cell.began, f"the last hook of {cell}"

    # -- what came of it -------------------------------------------------------------------------------------------

    @property
    def dead(self) -> list[tuple[str, Any, Reason]]:
        """What was not delivered: to whom, what and why."""
        return [(e.cell.name, e.item, e.reason) for e in self.effects if isinstance(e, Undelivered)]

    @property
    def stopped(self) -> list[Cell]:
        """The actors that have stopped, in order."""
        return [effect.cell for effect in self.effects if isinstance(effect, Stopped)]

    def jobs(self, task: Task) -> list[str]:
        """Whose jobs of that kind were run, in order."""
        return [name for name, what in self.ran if what is task]

    # -- inside ----------------------------------------------------------------------------------------------------

    def _end(self, cell: Cell) -> None:
        item = self.hand[cell]
        if isinstance(item, Job) and item.task is Task.JUDGE:
            self.judge(cell, None)
        else:
            self.ok(cell)

    def _carry_out(self, effect: Effect) -> None:
        self.effects.append(effect)
        match effect:
            case Ready(cell):
                assert cell.held
                assert cell not in self.held, f"{cell} was ready already"
                self.held[cell] = None
            case Terminated(watcher, subject):
                self.notify(watcher, Notice(subject))
            case _:
                pass

    def _verify(self) -> None:
        if self.check:
            self.engine.invariants()


def verdict(job: Job, strategy: SupervisionStrategy | None) -> Judged:
    """The answer to a question, given now or late."""
    assert job.task is Task.JUDGE
    assert job.subject is not None
    assert job.error is not None
    return Judged(job.subject, job.error, job.item, strategy)


def _shown(item: Any) -> Any:
    if not isinstance(item, Job):
        return item
    return item.item if item.task is Task.NOTICE else item.task
