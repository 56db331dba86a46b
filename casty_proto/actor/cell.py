"""One actor as the engine sees it: its place in the tree, its mailbox, its phase, and the jobs that it owes.

A cell is a handle to everybody but the engine. A driver may read `body`, `name`, `parent`, `phase` and `path`, and
owns `body`, where it keeps whatever runs the handlers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Any

from .mailbox import Mailbox, MailboxOverflowStrategy
from .supervision import Policy, RestartWindow

CLOSED = -1
"""The limit of a mailbox that takes nothing more: every length exceeds it."""


class Phase(IntEnum):
    """Where an actor is in its life. Messages are handled in `RUNNING` alone and wait in every phase before it ends."""

    STARTING = 0
    """Its start (or the start of a new incarnation) is due or under way."""
    RUNNING = 1
    SUSPENDED = 2
    """It failed, and the verdict is not in yet."""
    RESTARTING = 3
    """The hooks of the old incarnation are due or under way."""
    CLEARING = 4
    """The old incarnation is waiting for its children to stop."""
    BACKING_OFF = 5
    STOPPING = 6
    """It takes no messages; its children are stopping, then its last hook runs."""
    STOPPED = 7


RUNNING = int(Phase.RUNNING)
"""The phase as a plain number, for the direct lane."""


class Task(Enum):
    """What a driver is asked to run for an actor besides its messages."""

    START = "start"
    """Create the first incarnation and run its start hook."""
    PRE_RESTART = "pre_restart"
    """Run the hook of the old incarnation. `error` is why, `item` what it was handling, if anything."""
    RESTART = "restart"
    """Drop the old incarnation, create a new one and run its hook. `error` is why."""
    JUDGE = "judge"
    """Ask the actor what is to become of its failing child `subject`. `error` is what the child raised."""
    NOTICE = "notice"
    """Hand `item`, a notice of the system, to the handler like a message."""
    POST_STOP = "post_stop"
    """Run the last hook."""


class Job:
    """One piece of work that `take` hands to the driver instead of a message."""

    __slots__ = ("error", "item", "subject", "task")

    def __init__(
        self, task: Task, error: Exception | None = None, item: Any = None, subject: Cell | None = None
    ) -> None:
        self.task = task
        self.error = error
        self.item = item
        self.subject = subject

    def __repr__(self) -> str:
        return f"Job({self.task.name}, error={self.error!r}, item={self.item!r}, subject={self.subject!r})"


class Cell:
    """An actor in the tree. Created by the engine; equal to itself only."""

    __slots__ = (
        "began",
        "body",
        "children",
        "error",
        "held",
        "jobs",
        "judges",
        "limit",
        "name",
        "notices",
        "overflow",
        "parent",
        "phase",
        "policy",
        "put",
        "queue",
        "resume_at",
        "stashed",
        "uid",
        "watchers",
        "watching",
        "window",
    )

    def __init__(
        self, uid: int, name: str, parent: Cell | None, mailbox: Mailbox, policy: Policy, body: Any, judges: bool
    ) -> None:
        self.uid = uid
        """The incarnation number of the actor: no other actor of this engine has it, whatever its name."""
        self.name = name
        self.parent = parent
        self.body = body
        self.policy = policy
        self.judges = judges
        """Whether it wants to be asked about its failing children."""
        self.phase: int = Phase.STARTING
        self.held = False
        """Whether a driver has it: in its run queue, or in hand."""
        self.began = False
        """Whether its start was begun, so that a last hook is owed."""
        self.queue: deque[Any] | None = None
        """Waiting messages. None while there are none: an empty deque costs 760 bytes, an idle actor should not."""
        self.put: Callable[[Any], None] | None = None
        """The queue's own `append`: the shortest way to deliver one more message to an unbounded mailbox.

        Set by the second message that waits, so that an actor with one message at a time does not pay for it.
        """
        self.limit: int = mailbox.limit
        """How many messages may wait; `CLOSED` from the moment that the actor stops."""
        self.notices = 0
        """How many of those that wait are notices, which take up no room."""
        self.overflow: MailboxOverflowStrategy = mailbox.overflow
        self.jobs: list[Job] | None = None
        """Jobs to be taken, hardly ever more than one. None while there are none."""
        self.children: dict[str, Cell] | None = None
        self.watchers: dict[Cell, None] | None = None
        self.watching: dict[Cell, None] | None = None
        self.window: RestartWindow | None = None
        self.stashed: list[Any] | None = None
        self.error: Exception | None = None
        """Why it is suspended, restarting or stopping."""
        self.resume_at = 0

    @property
    def path(self) -> str:
        """Where it is in the tree, like `/shop/cart`. The two guardians at the top have no name of their own."""
        names: list[str] = []
        cell: Cell | None = self
        while cell is not None:
            if cell.name:
                names.append(cell.name)
            cell = cell.parent
        return "/" + "/".join(reversed(names))

    def __repr__(self) -> str:
        return f"<actor {self.path}#{self.uid} {Phase(self.phase).name.lower()}>"
