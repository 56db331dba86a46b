"""The actor engine: the tree of actors, their mailboxes, their failures and their ends.

Theory of operation
-------------------
The engine knows when something is to be run for an actor, and in which order; it never runs it. Handlers and hooks
are the driver's. A driver that gets `Ready(cell)` puts the cell into its run queue. When it has a turn for it, it
calls `take(cell)` again and again. Each call returns one message or one `Job`; the driver runs it to its end before
it calls `take` again, however long that lasts, and so an actor does one thing at a time. `IDLE` ends the turn.

The rules that tests prove, each by its number:

1.  One thing at a time: `Ready(cell)` is not repeated until `take(cell)` has returned `IDLE`.
2.  Messages are taken in the order in which they were delivered, and only while the actor is `RUNNING`. Jobs come
    before messages.
3.  A full mailbox drops the new message, drops the oldest, or rejects, as configured. What is dropped is reported.
4.  `START` is the first job. An actor that is stopped before it was begun runs no hook at all.
5.  A failure is judged by the parent if it asked for that, otherwise by the failing actor's own policy.
6.  A restart runs `PRE_RESTART`, stops the children, backs off, then runs `RESTART`; the mailbox is kept, and what
    was stashed goes back to its front. The message that failed is gone.
7.  More restarts than the policy grants within its window stop the actor.
8.  `ONE_FOR_ALL` and `REST_FOR_ONE` extend the decision to siblings. A sibling finishes what it has in hand first.
9.  `ESCALATE` makes the failure the parent's own. A failure that escalates past the top stops the top-level actor.
10. Stopping is bottom-up: children first, then `POST_STOP`, which runs exactly once for every actor that was begun.
11. From the moment that an actor stops, nothing can be delivered to it, and what was waiting is reported.
12. Watchers are told once, after the name is free. Watching an actor that has stopped tells at once.

The direct lane
---------------
`deliver`, `notify`, `take`, `withdraw`, `stash`, `unstash` and `put_back` are plain methods beside `handle`, because
they are called for every message, and building an event and a tuple of effects for each of them would halve the speed.
They touch one cell, need no clock, and return their only effect: `deliver` returns `READY`, an `Undelivered`, or
`None`, and so do `notify` and `put_back`.
While `cell.put` is not `None`, calling it with a message is the same as `deliver`, and has no effect to carry out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, Literal, assert_never

from ..address import actor_name_problem
from ..machine import Instant, Rejected, Reply, Wake
from .cell import CLOSED, RUNNING, Cell, Job, Phase, Task
from .events import (
    Done,
    Effect,
    Event,
    Failed,
    Judged,
    Renew,
    Restarted,
    Spawn,
    Started,
    Stop,
    Undelivered,
    Unwatch,
    Watch,
)
from .invariants import check_tree
from .mailbox import UNBOUNDED, MailboxOverflowStrategy, Reason
from .restarting import Restarting

_SPARE_QUEUES = 1024


class Mark(Enum):
    """What the direct lane answers besides messages and jobs."""

    IDLE = "idle"
    READY = "ready"


IDLE: Final = Mark.IDLE
"""What `take` returns when there is nothing to do; the driver no longer holds the cell then."""

READY: Final = Mark.READY
"""What `deliver` and `notify` return when the cell is to be put into the run queue."""


class ActorMachine(Restarting):
    """The engine of one actor system.

    `user` and `system` are the two guardians, the parents of all top-level actors: those of the application, and
    those that serve it. A failure in one group never concerns the other, and each is stopped by itself. `rng` draws
    the jitter of back-offs.
    """

    # -- the contract ----------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        """Apply one event; see `casty_proto.machine`."""
        match event:
            case Spawn():
                self._on_spawn(event)
            case Done(cell, task):
                self._on_done(cell, task, now)
            case Failed(cell, error, item):
                self._on_failed(cell, error, item, now)
            case Renew(cell, error, item):
                self._on_renew(cell, error, item, now)
            case Stop(cell):
                self._stop(cell, None)
            case Watch(watcher, subject):
                self._on_watch(watcher, subject)
            case Unwatch(watcher, subject):
                self._unlink(watcher, subject)
            case Judged(subject, error, item, strategy):
                self._on_judged(subject, error, item, strategy, now)
            case Wake():
                self._on_backoff_due(now)
            case _:
                assert_never(event)
        out = tuple(self._out)
        self._out.clear()
        return out

    def deadline(self) -> Instant | None:
        """When the earliest backing-off actor may start again."""
        return self._deadlines.earliest()

    def invariants(self) -> None:
        """Assert what must hold between two calls, over the whole tree. Linear in its size."""
        assert not self._out
        self._deadlines.invariants()
        check_tree((self.user, self.system), self._deadlines)

    # -- the direct lane -------------------------------------------------------------------------------------------

    def deliver(self, cell: Cell, item: Any) -> Literal[Mark.READY] | Undelivered | None:
        """Put a message at the end of the mailbox (rules 2, 3 and 11)."""
        queue = cell.queue
        if queue is None:
            if cell.limit == CLOSED:
                return Undelivered(cell, item, Reason.STOPPED)
            spare = self._spare
            cell.queue = queue = spare.pop() if spare else deque()
        elif cell.limit == UNBOUNDED:
            cell.put = queue.append
        elif len(queue) >= cell.limit:
            return self._overflow(cell, queue, item)
        queue.append(item)
        if cell.held or cell.phase != RUNNING:
            return None
        cell.held = True
        return READY

    def notify(self, cell: Cell, notice: Any) -> Literal[Mark.READY] | None:
        """Put a notice of the system at the end of the mailbox, whatever its size. Lost on one that is stopping."""
        if cell.limit == CLOSED:
            return None
        if cell.queue is None:
            cell.queue = deque()
        cell.queue.append(Job(Task.NOTICE, item=notice))
        cell.notices += 1
        if cell.held or cell.phase != RUNNING:
            return None
        cell.held = True
        return READY

    def take(self, cell: Cell) -> Any:
        """The next thing to run for `cell`: a message, an `Envelope` or a `Job`; or `IDLE` (rules 1 and 2)."""
        if cell.jobs:
            job = cell.jobs.pop(0)
            if not cell.jobs:
                cell.jobs = None
            if job.task is Task.START:
                cell.began = True
            return job
        queue = cell.queue
        if queue and cell.phase == RUNNING:
            item = queue.popleft()
            if type(item) is Job:
                cell.notices -= 1
            return item
        if queue is not None and not queue:
            cell.queue = cell.put = None
            if len(self._spare) < _SPARE_QUEUES:
                self._spare.append(queue)
        cell.held = False
        return IDLE

    def stash(self, cell: Cell, item: Any) -> bool:
        """Set the message in hand aside, to be taken again after `unstash`.

        False, and nothing done, when the stash is full, or the actor is stopping. Of a notice, the item of its job is
        what can be stashed; it is a message like any other from then on.
        """
        stashed = cell.stashed
        if stashed is None:
            stashed = cell.stashed = []
        if len(stashed) >= cell.limit:
            return False
        stashed.append(item)
        return True

    def unstash(self, cell: Cell) -> int:
        """Put what was stashed back to the front of the mailbox, in its old order. Returns how many there were.

        The capacity does not apply: these messages had been accepted. The cell is in the driver's hands here, so
        it need not be made ready.
        """
        return self._unstash(cell)

    def put_back(self, cell: Cell, items: Sequence[Any]) -> Literal[Mark.READY] | None:
        """Put messages that were taken, and not handled, back to the front of the mailbox, in their order.

        The capacity does not apply. The actor must not be stopping: what it has not handled is for the driver then.
        """
        assert cell.phase < Phase.STOPPING
        if not items:
            return None
        if cell.queue is None:
            cell.queue = deque()
        cell.queue.extendleft(reversed(items))
        if cell.held or cell.phase != RUNNING:
            return None
        cell.held = True
        return READY

    def withdraw(self, cell: Cell, kind: type) -> list[Any]:
        """Take the messages of exactly this class out of the mailbox, in their order. What is in hand stays there."""
        queue = cell.queue
        if not queue:
            return []
        withdrawn = [item for item in queue if type(item) is kind]
        if withdrawn:
            # It stays the same queue: `cell.put` leads into it.
            left = [item for item in queue if type(item) is not kind]
            queue.clear()
            queue.extend(left)
        return withdrawn

    def _overflow(self, cell: Cell, queue: deque[Any], item: Any) -> Undelivered | None:
        if len(queue) - cell.notices < cell.limit:
            # Notices take up no room. Something waits already, so there is no need to make the cell ready.
            queue.append(item)
            return None
        match cell.overflow:
            case MailboxOverflowStrategy.drop_new:
                return Undelivered(cell, item, Reason.OVERFLOW)
            case MailboxOverflowStrategy.reject:
                return Undelivered(cell, item, Reason.REJECTED)
            case MailboxOverflowStrategy.drop_oldest:
                # Notices are not for dropping. There is a message among what waits, or it would not be full.
                index = next(index for index, waiting in enumerate(queue) if type(waiting) is not Job)
                oldest = queue[index]
                del queue[index]
                queue.append(item)
                return Undelivered(cell, oldest, Reason.OVERFLOW)

    # -- spawning and watching -------------------------------------------------------------------------------------

    def child(self, parent: Cell, name: str) -> Cell | None:
        """The live child of that name. A pure query."""
        return parent.children.get(name) if parent.children else None

    def _on_spawn(self, event: Spawn) -> None:
        parent, name = event.parent, event.name
        if (problem := self.spawn_problem(parent, name)) is not None:
            self._out.append(Reply(event.request, Rejected(problem)))
            return
        self._uid = uid = self._uid + 1
        name = f"${uid}" if name is None else name
        cell = Cell(uid, name, parent, event.mailbox, event.policy, event.body, event.judges)
        if parent.children is None:
            parent.children = {}
        parent.children[name] = cell
        self._out.append(Reply(event.request, cell))
        self._give(cell, Job(Task.START))

    def spawn_problem(self, parent: Cell, name: str | None) -> str | None:
        """Why `Spawn` would be rejected, or `None`. A pure query."""
        if parent.phase >= Phase.STOPPING:
            if parent.parent is None:
                return "the actor system is shutting down, or was shut down; nothing can be spawned in it any more"
            return f"{parent.path} is stopping, or has stopped, and can no longer spawn"
        if parent.phase in (Phase.CLEARING, Phase.BACKING_OFF):
            # Its next incarnation waits for the children of the last one; nobody would stop this one.
            return f"{parent.path} is restarting; it can spawn again once its next incarnation has begun"
        if name is None:
            return None
        if (problem := actor_name_problem(name)) is not None:
            return problem
        if parent.children and name in parent.children:
            where = parent.path.rstrip("/") + "/" + name
            doing = " (it is still stopping)" if parent.children[name].phase == Phase.STOPPING else ""
            return (
                f"there is an actor {where} already{doing}; choose another name, or wait until that one has terminated"
            )
        return None

    # -- progress --------------------------------------------------------------------------------------------------

    def _on_done(self, cell: Cell, task: Task, now: Instant) -> None:
        # A job may end in another phase than the one it was given in: the actor was stopped, or its siblings' or its
        # parent's failure caught up with it. What that brought about is on its way already.
        match task:
            case Task.START if cell.phase == Phase.STARTING:
                cell.phase = RUNNING
                self._out.append(Started(cell))
            case Task.RESTART if cell.phase == Phase.STARTING:
                assert cell.error is not None
                cell.phase = RUNNING
                error, cell.error = cell.error, None
                self._out.append(Restarted(cell, error))
            case Task.PRE_RESTART if cell.phase == Phase.RESTARTING:
                self._clear(cell, now)
            case Task.POST_STOP:
                waiting = self._finish(cell)
                if waiting is not None:
                    self._cleared(waiting, now)
            case _:
                pass
